"""The study behind the default settings of CEN-RL: one change at a time, judged on networks that no policy has seen.

    python dqn_study.py [--steps 200000] [--seeds 2]

Each variant is trained for the same number of steps and then allocates the same 1,000 instances of all kinds, with the
default margin and with none. What is shown is what it gains over the greedy order (CEN-GRD+), in parts of its welfare,
with the standard error over instances and seeds.
"""

import argparse
import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np

from bayesalloc.agents import master, training
from bayesalloc.agents.networks import Scorer
from bayesalloc.allocators import Problem, evaluate
from bayesalloc.allocators.instances import arrivals_of_any, draw_network
from bayesalloc.allocators.sequential import greedy, in_sequence

VARIANTS = {
    "default": {},
    "learning rate 3e-4": {"learning_rate": 3e-4},
    "learning rate 3e-3": {"learning_rate": 3e-3},
    "one update in place of two": {"updates": 1},
    "four updates": {"updates": 4},
    "batch 32": {"batch": 32},
    "target every 100 updates": {"target_every": 100},
    "target every 2,000 updates": {"target_every": 2_000},
    "discount 0.95, as published": {"discount": 0.95},
    "all actions random at first": {"explore": (1.0, 0.05)},
    "stochastic gradient descent": {"optimiser": "sgd", "learning_rate": 1e-2},
    "64 units": {"layers": (64,)},
    "networks renewed every 400 iterations": {"renew": 400},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    plan = master.ours()

    def instance(key: jax.Array):
        for_network, for_arrivals = jax.random.split(key)
        return arrivals_of_any(plan.kinds, draw_network(plan.setting, for_network), for_arrivals)

    problems = jax.jit(jax.vmap(instance))(jax.random.split(jax.random.key(1_000), 1_000))
    usual = np.asarray(jax.jit(jax.vmap(_greedy))(problems))
    for name, changes in VARIANTS.items():
        config = {
            key: value for key, value in changes.items() if key in {f.name for f in dataclasses.fields(plan.config)}
        }
        others = {key: value for key, value in changes.items() if key not in config}
        variant = dataclasses.replace(
            plan, config=dataclasses.replace(plan.config, steps=options.steps, **config), **others
        )
        gains = {0.0: [], variant.margin: []}
        for seed in range(options.seeds):
            course = master.course(variant)
            network = jax.tree.map(jnp.asarray, course.network(training.train(course, jax.random.key(seed)).run))
            for margin in gains:
                gains[margin].append(np.asarray(_learned(network, margin, problems)) - usual)
        shown = {
            f"margin {margin:g}": [
                round(float(np.mean(all_) / usual.mean()), 5),
                round(_error(all_) / float(usual.mean()), 5),
            ]
            for margin, all_ in gains.items()
        }
        print(json.dumps({"variant": name, "steps": options.steps, "seeds": options.seeds, **shown}), flush=True)


def _greedy(problem: Problem) -> jax.Array:
    return evaluate(problem, in_sequence(problem, lambda now: greedy(now.options), "gain")).social_welfare


@jax.jit
def _learned(network: Scorer, margin: float, problems: Problem) -> jax.Array:
    allocator = master.cen_rl(network, "gain", margin)
    return jax.vmap(lambda problem: evaluate(problem, allocator(problem)).social_welfare)(problems)


def _error(gains: list[np.ndarray]) -> float:
    """Of the mean: over instances, and over seeds where there are several."""
    within = np.mean(gains, axis=0).std(ddof=1) / np.sqrt(len(gains[0]))
    between = np.std([g.mean() for g in gains], ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
    return float(np.hypot(within, between))


if __name__ == "__main__":
    main()
