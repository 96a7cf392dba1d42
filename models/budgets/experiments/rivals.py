"""The learned office beside its rivals: planners on effects that books tell, a network for each weight, rules."""

from functools import cache

import jax
import numpy as np
from jaxtyping import Float

from bayesalloc.agents.hypervolume import hypervolume
from bayesalloc.agents.pareto import conditioned
from bayesalloc.models.budget import environment
from bayesalloc.models.budgets import rivals
from bayesalloc.models.budgets.ceiling import REFERENCE, best_targets, lattice, linear_targets, mean_rewards
from bayesalloc.models.budgets.experiments.agents import STEPS, trained
from bayesalloc.models.budgets.experiments.world import books_of
from bayesalloc.models.budgets.learned import front
from bayesalloc.models.budgets.world import DEPARTMENTS, lasting_effects

TITLE = "The learned office beside its rivals"
TERMS = {
    "hypervolume": "of what 28 weights of the objectives bring by the quarter, above efficiency -3, risk -6,"
    " performance -4.",
    "planned once": "fixed targets of a linear programme on effects from books of 2,000 rows.",
    "planned anew": "the same programme solved again every quarter, from the levels that are seen then.",
    "saturation known": "the planner is told how budgets saturate, which these books cannot tell.",
    "a network for each weight": "28 networks, each by double Q-learning of its weighted reward; together as many steps"
    " as the office's.",
    "ceiling": "the best fixed plans by who knows the world; who reacts to what happens may be above it.",
}
ROWS = 2_000
SHORT = 100_000  # steps of a second office
REPLICATES = 1_000
MAKING, JUDGING = jax.random.key(1), jax.random.key(2)


def measured(seed: int) -> dict[str, float | dict[str, float]]:
    """Hypervolumes, and the office's in parts of others'."""
    weights, effects = lattice(6), rivals.effects_from(books_of(50 + seed, ROWS), seed)
    planned = {
        "planned once": mean_rewards(environment, linear_targets(weights, effects), JUDGING, replicates=REPLICATES),
        "planned anew": _anew(weights, effects, curved=False),
        "planned anew, saturation known": _anew(weights, effects, curved=True),
    }
    planners = {name: hypervolume(points, REFERENCE) for name, points in planned.items()}
    office = {f"{steps:,} steps": _office(seed, steps) for steps in (SHORT, STEPS)}
    best = office[f"{STEPS:,} steps"]
    alone = _alone(seed, weights)
    return {
        "hypervolume": {**office, **planners, "a network for each weight": alone, **_known()},
        "office / rival": {
            name: best / each for name, each in {**planners, "a network for each weight": alone}.items()
        },
        "office / ceiling": best / _known()["ceiling"],
    }


def _office(seed: int, steps: int) -> float:
    return hypervolume(front(environment, trained(seed, steps), JUDGING, replicates=REPLICATES)[1], REFERENCE)


def _anew(weights: np.ndarray, effects: np.ndarray, *, curved: bool) -> Float[np.ndarray, "weight objective"]:
    return rivals.replanned(environment, weights, effects, JUDGING, curved=curved, replicates=REPLICATES)


def _alone(seed: int, weights: np.ndarray) -> float:
    """Of networks for one weight each, which share the office's steps and so its updates."""
    steps = STEPS // len(weights)
    config = conditioned.Config(steps=steps, capacity=steps, warmup=steps // 10)
    trainer = rivals.alone(config, environment, weights)
    run = jax.jit(trainer.begin)(jax.random.key(seed))
    run, _ = jax.jit(lambda run: trainer.advance(run, config.iterations))(run)
    brought = rivals.alone_brought(environment, run.network, JUDGING, replicates=REPLICATES)
    return hypervolume(brought, REFERENCE)


@cache
def _known() -> dict[str, float]:
    """Of rules without learning, and of who knows the world; the same for every seed."""
    weights = lattice(6)
    plans = {
        "hold": np.zeros((1, len(DEPARTMENTS))),
        "planned once, effects known": linear_targets(weights),
        "ceiling": best_targets(environment, weights, MAKING, steps=150, replicates=8),
    }
    found = {
        name: hypervolume(mean_rewards(environment, targets, JUDGING, replicates=REPLICATES), REFERENCE)
        for name, targets in plans.items()
    }
    anew = _anew(weights, lasting_effects(), curved=True)
    return {**found, "planned anew, all known": hypervolume(anew, REFERENCE)}
