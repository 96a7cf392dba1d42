"""What agencies that learn add to Bayesian optimisation among funded projects, and what each part of it adds.

Bayesian optimisation alone is recorded once in worlds to train in and in others to look at. Agencies learn in the first
(as `bayesalloc train altruism --preset ...`) and then act in the second, without chance; what the centre proposes there
stays what it was, on the same random numbers. Gains in impact are over Bayesian optimisation alone, paired by world.

    python benchmarks/funding_agencies.py --local 0.6 --keep paths
"""

import argparse
import dataclasses
import json
import pickle
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import bayesalloc as ba
from bayesalloc.agents import training
from bayesalloc.environment import stack
from bayesalloc.models.altruism import World, consortium
from bayesalloc.models.funding import learned
from bayesalloc.models.funding.agencies import SIZE, Guided
from bayesalloc.models.funding.guiding import recorded

TAIL = (1 - 0.89) / 2


def paths(world: World, worlds: int, seed: int, folder: Path):
    """What is recorded of Bayesian optimisation; kept in a folder of one's own."""
    file = folder / f"local-{world.local:g}-{worlds}-{seed}.pickle"
    if not file.exists():
        found = recorded(world, consortium(world), jax.random.key(seed), worlds=worlds, rounds=learned.ROUNDS)
        file.write_bytes(pickle.dumps(jax.tree.map(np.asarray, found)))
    return pickle.loads(file.read_bytes())


def interval(gains: np.ndarray) -> list[float]:
    """Mean and 89 % interval of the mean over worlds, by the bootstrap."""
    draws = np.random.default_rng(0).choice(gains, (4000, len(gains))).mean(1)
    return [round(float(each), 2) for each in (gains.mean(), *np.quantile(draws, [TAIL, 1 - TAIL]))]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--local", type=float, default=0.3)
    parser.add_argument("--train", type=int, default=12)
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--episodes", type=int, default=25_600)
    parser.add_argument("--eta", type=float, default=1.0)
    parser.add_argument("--presets", nargs="+", default=[*learned.VARIANTS])
    parser.add_argument("--keep", type=Path, required=True, help="folder of what is recorded")
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    world = World(local=options.local)
    params, guide, _ = paths(world, options.train, 1_000_000, options.keep)
    there, told, alone = paths(world, options.worlds, 0, options.keep)
    guided = Guided(*jax.tree.map(jnp.asarray, (there, told)), jnp.zeros(options.worlds))

    def looked_at(env, policy, arm) -> tuple[np.ndarray, np.ndarray]:
        found = ba.rollout(
            env, policy, jax.random.key(0), arms=stack([arm]), replicates=options.worlds, horizon=learned.ROUNDS,
            params=guided, collect=lambda acted: (acted.impact, acted.share_of_oracle, acted.turnover),
        )  # fmt: skip
        return tuple(np.asarray(leaf[:, 0]) for leaf in found)

    def told_of(name: str, found, seconds: float = 0.0) -> None:
        impact, share, turnover = found
        row = {"agencies": name, "local": options.local, "share": round(float(share[:, 20:].mean()), 4)}
        for part, rounds in {"all": slice(None), "from round 21": slice(20, None)}.items():
            gain = 100 * (impact[:, rounds].mean(1) / np.asarray(alone.impact)[:, rounds].mean(1) - 1)
            row[f"gain in %, {part}"] = interval(gain)
        print(json.dumps(row | {"turnover": round(float(turnover.mean()), 3), "seconds": round(seconds)}), flush=True)

    told_of("the centre alone", (alone.impact, alone.share_of_oracle, alone.turnover))
    for preset in options.presets:
        plan = learned.METHODS["bomara"].presets[preset](world, options.episodes)
        plan = dataclasses.replace(plan, worlds=options.train)
        if preset != "no_gaussian_process":
            plan = dataclasses.replace(plan, eta=(options.eta, 0.0))
        course = learned.course(plan)._replace(
            furnish=lambda run, plan=plan: learned.furnished(plan, run, params, guide)
        )
        env = plan.environment
        if preset == options.presets[0]:
            told_of("nothing learned", looked_at(env, ba.hold, jnp.zeros((world.n_agencies, SIZE))))
        begun = time.perf_counter()
        done = training.train(course, jax.random.key(1))
        told_of(preset, looked_at(env, learned.acting(plan), done.run.learner.actor), time.perf_counter() - begun)


if __name__ == "__main__":
    main()
