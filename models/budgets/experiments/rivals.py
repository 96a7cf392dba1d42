"""The learned office beside its rivals: planners on effects that books tell, a network for each weight, rules."""

from functools import cache

import jax
import numpy as np
from jaxtyping import Float

from bayesalloc.agents.hypervolume import hypervolume
from bayesalloc.agents.pareto import conditioned
from bayesalloc.agents.pareto.networks import Heads
from bayesalloc.models.budget import environment
from bayesalloc.models.budgets import rivals
from bayesalloc.models.budgets.ceiling import REFERENCE, linear_targets, mean_rewards
from bayesalloc.models.budgets.experiments.agents import GRID, STEPS, fixed_plans, learning
from bayesalloc.models.budgets.experiments.world import books_of
from bayesalloc.models.budgets.learned import front
from bayesalloc.models.budgets.world import DEPARTMENTS, lasting_effects

TITLE = "The learned office beside its rivals"
TERMS = {
    "hypervolume": "of what 28 weights of the objectives bring by the quarter, above efficiency -3, risk -6,"
    " performance -4; of the office after some quarters of one run.",
    "planned once": "fixed targets of a linear programme on effects from books of 2,000 rows.",
    "planned anew": "the same programme solved again every quarter, from the levels that are seen then.",
    "saturation known": "the planner is told how budgets saturate, which these books cannot tell.",
    "a network for each weight": "28 networks, each by double Q-learning of its weighted reward; together as many steps"
    " as the office's.",
    "ceiling": "the best fixed plans by who knows the world; who reacts to what happens may be above it.",
}
ROWS = 2_000
SHOWN = (20_000, 100_000, 200_000, STEPS)  # quarters after which the office is looked at
REPLICATES = 1_000
JUDGING = jax.random.key(2)


def measured(seed: int) -> dict[str, float | dict[str, float]]:
    """Hypervolumes, and the office's in parts of others'."""
    effects = rivals.effects_from(books_of(50 + seed, ROWS), seed)
    others = {
        "planned once": _fixed(linear_targets(GRID, effects)),
        "planned anew": _anew(effects, curved=False),
        "planned anew, saturation known": _anew(effects, curved=True),
        "a network for each weight": _alone(seed),
    }
    office = {f"{steps:,} steps": _office(learning(seed)[steps]) for steps in SHOWN}
    *_, best = office.values()
    return {
        "hypervolume": {**office, **others, **_known()},
        "office / rival": {name: best / volume for name, volume in others.items()},
        "office / ceiling": best / _known()["ceiling"],
    }


def _office(network: Heads) -> float:
    return hypervolume(front(environment, network, JUDGING, replicates=REPLICATES)[1], REFERENCE)


def _fixed(targets: Float[np.ndarray, "plan department"]) -> float:
    return hypervolume(mean_rewards(environment, targets, JUDGING, replicates=REPLICATES), REFERENCE)


def _anew(effects: Float[np.ndarray, "variable department"], *, curved: bool) -> float:
    points = rivals.replanned(environment, GRID, effects, JUDGING, curved=curved, replicates=REPLICATES)
    return hypervolume(points, REFERENCE)


def _alone(seed: int) -> float:
    """Of networks for one weight each, which share the office's steps and so its updates."""
    steps = STEPS // len(GRID)
    config = conditioned.Config(steps=steps, capacity=steps, warmup=steps // 10)
    trainer = rivals.alone(config, environment, GRID)
    run = jax.jit(trainer.begin)(jax.random.key(seed))
    run, _ = jax.jit(lambda run: trainer.advance(run, config.iterations))(run)
    return hypervolume(rivals.alone_brought(environment, run.network, JUDGING, replicates=REPLICATES), REFERENCE)


@cache
def _known() -> dict[str, float]:
    """Of the static rule, and of who knows the world; the same for every seed."""
    return {
        "hold": _fixed(np.zeros((1, len(DEPARTMENTS)))),
        "planned once, effects known": _fixed(linear_targets(GRID)),
        "planned anew, effects and saturation known": _anew(lasting_effects(), curved=True),
        "ceiling": _fixed(fixed_plans()),
    }
