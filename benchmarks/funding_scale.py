"""How one round of `optimize ask` grows with the number of projects: seconds to plan, to learn the spreads; memory.

Each size runs in a process of its own, so that its peak memory is its own. Before the round there were 16 others, which
the knapsack funded; seconds are after compilation, and the least of three; a relearning begins where the schedule does.

With `--closed` it is rounds of the closed loop instead: the centre learns and proposes, agencies of ten projects act
and, after 20 rounds, learn. One world is played twice, and the second time is measured, when all is compiled.

    python benchmarks/funding_scale.py [--projects 30 100 300 1000 3000] [--closed]
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 16


def measure_closed(projects: int, seed: int) -> dict[str, float]:
    import jax
    import numpy as np

    from bayesalloc.models.altruism import World, consortium
    from bayesalloc.models.funding.closed_loop import ONLINE, online
    from bayesalloc.stepping import advance, begin

    world = World(n_projects=projects)
    env, policy = consortium(world), online(world)
    for _ in range(2):
        standing, seconds = begin(env, jax.random.key(seed), replicates=1), []
        memory = policy.start(standing)
        for _ in range(ONLINE.rollout + 1):
            start = time.perf_counter()
            share, memory = policy.act(memory, standing)
            standing, happened = advance(env, standing, share)
            memory = policy.told(memory, jax.block_until_ready(happened))
            seconds.append(time.perf_counter() - start)
    return {
        "projects": projects,
        "agencies": world.n_agencies,
        "round_s": round(float(np.median(seconds)), 3),
        "agencies_learn_s": round(seconds[-1], 2),
        "largest_s": round(max(seconds), 2),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }


def measure(projects: int, seed: int) -> dict[str, float]:
    import jax
    import jax.numpy as jnp
    import numpy as np

    from bayesalloc.impact import learning, loop
    from bayesalloc.impact.structured import double_precision
    from bayesalloc.models.altruism import World, consortium
    from bayesalloc.models.funding.bomara import prior_of
    from bayesalloc.models.funding.world import KINDS
    from bayesalloc.stepping import advance, begin

    world = World(n_projects=projects)
    env, key = consortium(world), jax.random.key(seed)
    standing = begin(env, key, replicates=1)
    knapsack = jax.tree.map(lambda leaf: np.asarray(leaf)[None], env.arms(["knapsack"])["knapsack"])
    history = loop.nothing_yet(1, ROUNDS, projects)
    for number in range(ROUNDS):
        before = standing
        standing, happened = advance(env, standing, knapsack)
        history.amount[:, number] = np.where(np.asarray(before.state.on), np.asarray(happened.share), 0.0)
        history.log_report[:, number] = np.asarray(happened.log_report)
        history.arrival[:, number] = np.asarray(happened.arrival)
    sizes = {"n_kinds": len(KINDS), "n_regions": world.n_regions}
    with double_precision():
        prior, reports = prior_of(world, standing.params), history.reports(ROUNDS)
        mine, told = jax.tree.map(lambda leaf: leaf[0], (prior, reports))
        learned, planning, learning_seconds = learning.learned(mine, told, **sizes), [], []
        spreads = loop.stacked([learned.mode])
        on, last = jnp.asarray(np.asarray(standing.state.on)), jnp.asarray(np.asarray(happened.share, float))
        given = (prior, reports, spreads, on, last, jax.random.split(key, 1), jnp.asarray(0.0))
        given = (*given, jnp.zeros((1, len(KINDS))))
        jax.block_until_ready(loop.plan(*given, n_regions=world.n_regions))
        for _ in range(3):
            start = time.perf_counter()
            jax.block_until_ready(loop.plan(*given, n_regions=world.n_regions))
            planning.append(time.perf_counter() - start)
        for _ in range(3 if projects < 1000 else 1):
            start = time.perf_counter()
            learning.learned(mine, told, **sizes)
            learning_seconds.append(time.perf_counter() - start)
    return {
        "projects": projects,
        "reports": int(np.asarray(told.there).sum()),
        "plan_s": round(min(planning), 3),
        "learn_s": round(min(learning_seconds), 2),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--projects", type=int, nargs="+", default=[30, 100, 300, 1000, 3000])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--closed", action="store_true", help="rounds of the closed loop")
    parser.add_argument("--one", action="store_true", help="measure in this process and print")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    if options.one:
        one = measure_closed if options.closed else measure
        print(json.dumps(one(options.projects[0], options.seed)))
        return
    rows = []
    for projects in options.projects:
        command = [sys.executable, __file__, "--one", "--projects", str(projects), "--seed", str(options.seed)]
        command += ["--closed"] * options.closed
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(rows[-1], flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
