"""Training steps a second of our DQN against the number of environments side by side, on whatever device JAX finds.

    python dqn_scale.py

The master's decision problem (`srap_sequence`, masked), a 100-50-25 network, and one update on 256 transitions whenever
every copy has made a step, so that more copies learn less from each. Compilation is stated apart.
"""

import argparse
import json
from pathlib import Path

import clock
import jax

from bayesalloc.agents import dqn
from bayesalloc.agents.networks import Dense
from bayesalloc.allocators.instances import SWEEP
from bayesalloc.allocators.sequential import environment
from bayesalloc.episodes import Episodes


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--environments", nargs="+", type=int, default=[8, 64, 512, 4096])
    parser.add_argument("--rule", choices=("thesis", "gain"), default="thesis")
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    device, env = jax.devices()[0], environment(SWEEP, options.rule)
    episodes = Episodes(env, 33)
    params = episodes.sample_params(jax.random.key(0))
    seen = jax.eval_shape(episodes.reset, jax.random.key(0), params)[0]
    sizes = (seen.values.size, 100, 50, 25, seen.mask.size)
    flat = episodes._replace(
        env=env._replace(observe=lambda *at: (seen := env.observe(*at))._replace(values=seen.values.reshape(-1)))
    )
    rows = []
    for n in options.environments:
        steps = n * options.iterations
        config = dqn.Config(steps=steps, environments=n, batch=256, capacity=max(20_000, n), warmup=256)
        compiled = []
        train = jax.jit(dqn.make_train(config, flat, lambda key: Dense(sizes, key), params))
        _, setup = clock.timed(lambda train=train, kept=compiled: kept.append(train.lower(jax.random.key(0)).compile()))
        row = {"environments": n, "setup_s": round(setup, 2)} | clock.rates(
            steps, lambda kept=compiled: jax.block_until_ready(kept[0](jax.random.key(1))), options.repeats
        )
        rows.append(row)
        print(f"{n:>6} environments {row['per_wall_second']:>12,.0f} steps a second", flush=True)
    kind = f"{device.platform}: {device.device_kind}"
    report = {"command": "python benchmarks/dqn_scale.py", "device": kind, "rule": options.rule, "rows": rows}
    (Path(__file__).parent / "results" / f"dqn_scale_{device.platform}.json").write_text(
        json.dumps(report, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
