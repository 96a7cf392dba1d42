"""The study behind the default settings of a learned method: one change at a time, on networks that none has seen.

    python dqn_study.py cen-rl [--steps 200000] [--seeds 2] [--variants NAME ...]
    python dqn_study.py dec-rl [--steps 20000]

Each variant is trained for the same number of steps (of the master) or episodes (of negotiation) and then allocates the
same instances of all kinds, with the default margin and with none. What is shown is what it gains over the greedy order
(CEN-GRD+), or over the same negotiation with greedy answers, in parts of its welfare, with the standard error over
instances and seeds.
"""

import argparse
import dataclasses
import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bayesalloc.agents import training
from bayesalloc.allocators import Problem, cen_grd_plus, evaluate
from bayesalloc.allocators.darap import dec_grd
from bayesalloc.allocators.instances import arrivals_of_any, draw_network
from bayesalloc.allocators.learned import LEARNED

INSTANCES = 1_000
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {  # fields of the plan or of its config
    "cen-rl": {
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
    },
    "dec-rl": {
        "default": {},
        "learning rate 3e-4": {"learning_rate": 3e-4},
        "learning rate 3e-3": {"learning_rate": 3e-3},
        "one update in place of four": {"updates": 1},
        "batch 64": {"batch": 64},
        "learning rate never reduced": {"patience": 0},
        "all actions random at first": {"explore": (1.0, 0.02)},
        "64 units": {"layers": (64,)},
        "only experiment 7.5.1": {"kinds": ()},
        "confirming is learned too": {"confirming": True},
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=VARIANTS)
    parser.add_argument("--steps", type=int, help="default: 200,000, and 20,000 for dec-rl")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--variants", nargs="+", help="default: all")
    options = parser.parse_args()
    method = LEARNED[options.method].method
    steps = options.steps or {"cen-rl": 200_000, "dec-rl": 20_000}[options.method]
    plan = method.presets["ours"](None, None)

    def greedy(problem: Problem, key: jax.Array) -> Any:
        return cen_grd_plus(problem) if options.method == "cen-rl" else dec_grd(problem, key, plan.protocol)[0]

    def instance(key: jax.Array) -> Problem:
        for_network, for_arrivals = jax.random.split(key)
        return arrivals_of_any(plan.kinds, draw_network(plan.setting, for_network), for_arrivals)

    problems = jax.jit(jax.vmap(instance))(jax.random.split(jax.random.key(1_000), INSTANCES))
    keys = jax.random.split(jax.random.key(2_000), INSTANCES)
    usual = np.asarray(jax.jit(jax.vmap(functools.partial(_welfare, greedy)))(problems, keys))
    for name in options.variants or VARIANTS[options.method]:
        changes = VARIANTS[options.method][name]
        of_config = {field.name for field in dataclasses.fields(plan.config)}
        config = {key: value for key, value in changes.items() if key in of_config}
        others = {key: value for key, value in changes.items() if key not in of_config}
        config = dataclasses.replace(plan.config, steps=steps, **config)
        variant = dataclasses.replace(plan, config=config, **others)
        gains: dict[float, list[np.ndarray]] = {0.0: [], plan.margin: []}
        for seed in range(options.seeds):
            course = method.course(variant)
            network = jax.tree.map(jnp.asarray, course.network(training.train(course, jax.random.key(seed)).run))
            for margin in gains:
                acting = dataclasses.replace(variant, margin=margin, config=plan.config, kinds=plan.kinds)
                gains[margin].append(np.asarray(_learned(options.method, acting, network, problems, keys)) - usual)
        shown = {
            f"margin {margin:g}": [round(float(x) / float(usual.mean()), 5) for x in (np.mean(all_), _error(all_))]
            for margin, all_ in gains.items()
        }
        print(json.dumps({"variant": name, "steps": steps, "seeds": options.seeds, **shown}), flush=True)


def _welfare(allocator: Any, problem: Problem, key: jax.Array) -> jax.Array:
    return evaluate(problem, allocator(problem, key)).social_welfare


@functools.partial(jax.jit, static_argnums=(0, 1))
def _learned(method: str, plan: Any, network: Any, problems: Problem, keys: jax.Array) -> jax.Array:
    allocator = LEARNED[method].allocator(plan, network, max(plan.setting.tasks))  # else with room for every task
    return jax.vmap(functools.partial(_welfare, allocator))(problems, keys)


def _error(gains: list[np.ndarray]) -> float:
    """Of the mean: over instances, and over seeds where there are several."""
    within = np.mean(gains, axis=0).std(ddof=1) / np.sqrt(len(gains[0]))
    between = np.std([g.mean() for g in gains], ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
    return float(np.hypot(within, between))


if __name__ == "__main__":
    main()
