"""How far one network for all weights gets in the organisation of budgets, and how fast fronts are found in tables.

Each number of steps is a run of its own, from beginning to end. A front is what the learned office brings by the
quarter for 28 weights, on courses of chance that no run was trained on, and is judged as the fixed plans of
`organisation_ceiling.py` are.

    python benchmarks/pareto.py
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import numpy as np

from bayesalloc.agents.hypervolume import hypervolume
from bayesalloc.agents.pareto import bounds, tabular
from bayesalloc.episodes import Episodes
from bayesalloc.models.budget import OBJECTIVES, environment
from bayesalloc.models.budgets.ceiling import QUARTERS, REFERENCE
from bayesalloc.models.budgets.learned import Plan, course, front, pareto
from tests.morl_problems import deep_sea, fruit_tree

JUDGING = jax.random.key(2)
RESULTS = Path(__file__).parent / "results"
TABLES = {
    "deep_sea_concave": (lambda: deep_sea("concave"), tabular.Config(steps=40_000, room=10)),
    "deep_sea_convex": (lambda: deep_sea("convex"), tabular.Config(steps=40_000, room=10)),
    "deep_sea_concave_3_ahead": (lambda: deep_sea("concave"), tabular.Config(steps=40_000, room=10, ahead=3)),
    "fruit_tree_6": (lambda: fruit_tree(6), tabular.Config(steps=4_000, room=64)),
}


def clock() -> tuple[float, float]:
    """CPU and wall seconds."""
    return time.process_time(), time.perf_counter()


def since(start: tuple[float, float]) -> dict[str, float]:
    cpu, wall = (now - then for now, then in zip(clock(), start, strict=True))
    return {"cpu_seconds": round(cpu, 1), "wall_seconds": round(wall, 1)}


def tables(seeds: int) -> dict[str, object]:
    """Steps a second, compiling apart, and how many seeds found the whole front."""
    found = {}
    for name, (make, config) in TABLES.items():
        known, keys = make(), jax.random.split(jax.random.key(0), seeds)
        train = jax.jit(jax.vmap(tabular.make_train(config, known.problem))).lower(keys).compile()
        start = clock()
        runs = jax.block_until_ready(train(keys))
        took = since(start)
        fronts = [
            tabular.front(config, known.problem, jax.tree.map(lambda leaf, k=k: leaf[k], runs)) for k in range(seeds)
        ]
        whole = [
            each.points.shape == known.front.shape and np.allclose(each.points, known.front, atol=1e-3)
            for each in fronts
        ]
        found[name] = {
            "seeds": seeds,
            "steps_of_each": config.steps,
            "points": len(known.front),
            "found_the_whole_front": sum(whole),
            "overflow": sum(each.overflow for each in fronts),
            "steps_per_cpu_second": round(seeds * config.steps / took["cpu_seconds"]),
            "steps_per_wall_second": round(seeds * config.steps / took["wall_seconds"]),
            "load": round(os.getloadavg()[0], 1),
        }
        print(name, found[name], flush=True)
    return found


def errors(plan: Plan, networks: list, *, episodes: int = 400, steps: int = 70) -> dict[str, object]:
    """Discounted n-step returns at the start for equal weights, with 89 % intervals and bounds, by objective."""
    weights = jax.numpy.full(3, 1 / 3)
    both = [bounds.played(Episodes(environment, steps), each, weights, JUDGING, episodes, steps) for each in networks]
    rewards, values = (np.stack([np.asarray(each) for each in leaves]) for leaves in zip(*both, strict=True))
    found = bounds.n_step_bounds(rewards, values, plan.config.discount, np.random.default_rng(0))
    names = ("mean", "low", "high", "bound")
    return {
        str(n): {
            objective: {name: round(float(getattr(found, name)[row, place]), 2) for name in names}
            for place, objective in enumerate(OBJECTIVES)
        }
        for row, n in enumerate(found.ahead)
    }


def office(steps: int, seeds: int, replicates: int) -> dict[str, object]:
    """Hypervolumes after so many steps, and what they took without compiling."""
    plan = pareto(None, steps // QUARTERS)
    run_of = course(plan)
    begin = jax.jit(run_of.trainer.begin)
    like = jax.eval_shape(begin, jax.random.key(0))
    advance = jax.jit(lambda run: run_of.trainer.advance(run, run_of.iterations)[0]).lower(like).compile()
    volumes, runs, start = [], [], clock()
    for seed in range(seeds):
        runs.append(jax.block_until_ready(advance(begin(jax.random.key(seed)))))
    took = since(start)
    for run in runs:
        _, points = front(environment, run.network, JUDGING, replicates=replicates)
        volumes.append(round(hypervolume(points, REFERENCE), 1))
    row = {"steps": steps, "updates": plan.config.updates * plan.config.iterations, "hypervolume": volumes}
    if steps == 400_000:
        row["n_step_returns"] = errors(plan, [run.network for run in runs])
    row |= {name: round(value / seeds, 1) for name, value in took.items()} | {"load": round(os.getloadavg()[0], 1)}
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[10_000, 20_000, 100_000, 200_000, 400_000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--table-seeds", type=int, default=32)
    parser.add_argument("--replicates", type=int, default=4_000)
    options = parser.parse_args()
    beside = json.loads((RESULTS / "organisation_ceiling.json").read_text())["hypervolume"]
    found: dict[str, object] = {"tables": tables(options.table_seeds), "fixed_plans": beside}
    found["office"] = [office(steps, options.seeds, options.replicates) for steps in options.steps]
    (RESULTS / "pareto.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
