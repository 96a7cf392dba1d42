"""What offices and plans bring, spend and change in the organisation of `budget.py`, over the same quarters."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayesalloc.agents.pareto.networks import Heads, greedy
from bayesalloc.environment import Environment, Observation
from bayesalloc.models.budget import Quarter
from bayesalloc.models.budgets.decisions import MOVES, Decision
from bayesalloc.models.budgets.world import COSTS, DEPARTMENTS, JUDGED_BY, PLACE, TABLE
from bayesalloc.simulate import rollout

FIGURES = dict(JUDGED_BY.values())  # by which departments are judged -> which direction is good
HELD = np.zeros((1, len(DEPARTMENTS)), np.float32)  # the plan that holds every budget

_BUDGETS = np.array([PLACE[name] for name in DEPARTMENTS])
_FIGURES = np.array([PLACE[name] for name in FIGURES])
_GOOD = np.array([*FIGURES.values()], np.float32)
_COSTS = np.array([PLACE[name] for name in COSTS])
_COST_BASE = np.array([TABLE[name].base for name in COSTS], np.float32)


class Judged(NamedTuple):
    """What happened under each arm.

    Attributes:
        rewards: of the objectives.
        spent: budgets and costs, M in the quarter.
        figures: by which departments are judged, in the order of FIGURES; more is better.
        budgets: % from plan.
        changes: of each budget, %.
        violations: of hard limits.
    """

    rewards: Float[np.ndarray, "arm course quarter objective"]
    spent: Float[np.ndarray, "arm course quarter"]
    figures: Float[np.ndarray, "arm course quarter figure"]
    budgets: Float[np.ndarray, "arm course quarter department"]
    changes: Float[np.ndarray, "arm course quarter department"]
    violations: Float[np.ndarray, "arm course quarter"]


def of_office(
    env: Environment,
    network: Heads,
    weights: Float[np.ndarray, "arm objective"],
    rng_key: Array,
    *,
    courses: int,
    quarters: int,
) -> Judged:
    """A learned office, asked for each of some weights.

    Args:
        env: the organisation.
        network: what was learned.
        weights: of the objectives, an arm each.
        rng_key: of the quarters of chance.
        courses: how many begin anew.
        quarters: of each.
    """
    each = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(weights), *leaf.shape)), network)
    return _judged(env, _deciding, (each, jnp.asarray(weights, jnp.float32)), rng_key, courses, quarters)


def of_plans(
    env: Environment, targets: Float[np.ndarray, "arm department"], rng_key: Array, *, courses: int, quarters: int
) -> Judged:
    """Fixed plans: targets, % from plan, that are moved to and kept; other arguments as in `of_office`."""
    return _judged(env, _moving_to, jnp.asarray(targets, jnp.float32), rng_key, courses, quarters)


def _deciding(arm: tuple[Heads, Array], observation: Observation, period: Array, rng_key: Array) -> Decision:
    network, weights = arm
    return Decision(jnp.asarray(MOVES)[greedy(network(observation.values, weights), weights, observation.mask)])


def _moving_to(target: Array, observation: Observation, period: Array, rng_key: Array) -> Decision:
    return Decision(jnp.zeros(len(DEPARTMENTS)), target=target)


def _judged(env: Environment, policy: Any, arms: Any, rng_key: Array, courses: int, quarters: int) -> Judged:
    def collected(happened: Quarter) -> tuple[Array, ...]:
        level, budgets = happened.level, happened.level[..., _BUDGETS]
        costs = (_COST_BASE * jnp.exp(level[..., _COSTS] / 100.0)).sum(-1)
        return (
            jnp.stack([happened.efficiency, happened.risk, happened.performance], -1),
            (happened.budget.sum(-1) + costs) / 4.0,
            jnp.asarray(_GOOD) * level[..., _FIGURES],
            budgets,
            jnp.diff(budgets, axis=1, prepend=0.0),
            happened.violations,
        )

    found = rollout(env, policy, rng_key, arms=arms, replicates=courses, horizon=quarters, collect=collected)
    return Judged(*(np.asarray(leaf, float).swapaxes(0, 1) for leaf in found))
