"""Rivals of the learned office of `learned.py`: planners on effects from books, and a network for each weight.

A planner knows how rewards follow from levels, and from books what a percent of each budget does to every level within
a quarter; that is all that books against plan can tell. Its plan is a target for each department, or made anew every
quarter from the levels that it sees: then the linear programme has one constraint, money, and is solved by raising
those first who bring the most for it (Dantzig 1957, Discrete-variable extremum problems, Operations Research 5:266).
The other rival is double Q-learning of one number, the weighted reward, with a network for each weight.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from bayesalloc.agents.pareto import conditioned
from bayesalloc.agents.pareto.networks import Heads
from bayesalloc.agents.training import SideBySide
from bayesalloc.discovery.books import Books
from bayesalloc.discovery.effects import evidence
from bayesalloc.discovery.joint import joint_effects
from bayesalloc.environment import Environment, Observation
from bayesalloc.episodes import Episodes
from bayesalloc.models.budget import SATURATION
from bayesalloc.models.budgets import rewards
from bayesalloc.models.budgets.ceiling import QUARTERS, by_the_quarter
from bayesalloc.models.budgets.decisions import MOVES, REACH, STEP
from bayesalloc.models.budgets.learned import SEEN
from bayesalloc.models.budgets.world import DEPARTMENTS, PLACE, TABLE, VARIABLES

_BASE = np.array([TABLE[name].base for name in DEPARTMENTS], np.float32)
_BUDGETS = np.array([PLACE[name] for name in DEPARTMENTS])
_NOTHING = jnp.zeros(())


def effects_from(books: Books, seed: int = 0) -> Float[np.ndarray, "variable department"]:
    """What books say that a percent more of each budget does to every variable, all budgets being set: mean of draws.

    Args:
        books: with the 50 variables.
        seed: of the draws.
    """
    conditions = [name for name, variable in TABLE.items() if variable.tier == 0]
    joint = joint_effects(evidence(books, 1), DEPARTMENTS, conditions, np.random.default_rng(seed))
    found = np.nan_to_num(joint.draws.mean(0)[[joint.names.index(name) for name in VARIABLES]])
    found[_BUDGETS] = np.eye(len(DEPARTMENTS))
    return found


class Planner(NamedTuple):
    """An arm of `replanning`.

    Attributes:
        weights: of the objectives.
        effects: of a percent of each budget on every variable.
        curved: 1 where the planner knows how budgets saturate, which books of small changes cannot tell; else 0.
    """

    weights: Float[ArrayLike, "*arm objective"]
    effects: Float[ArrayLike, "*arm variable department"]
    curved: Float[ArrayLike, "*arm"]


def replanning(arm: Planner, observation: Observation, period: Array, rng_key: Array) -> Float[Array, " department"]:
    """A policy of `rollout`: the best changes for this quarter, as far as slopes at what is seen go."""
    level, room = 10.0 * observation.values[: len(TABLE)], observation.values[-1] / 10.0
    before = level[_BUDGETS]
    slope = 1.0 - arm.curved * jnp.tanh(before / SATURATION) ** 2
    weights, effects = jnp.asarray(arm.weights), jnp.asarray(arm.effects)

    def worth(change: Array) -> Array:
        after = level + effects @ (slope * change)
        above = rewards.above_plan(after, (jnp.expm1((before + change) / 100.0) * _BASE).sum())
        earned = rewards.efficiency(above)
        at_risk = rewards.risk(after, earned, _NOTHING, jnp.zeros(len(DEPARTMENTS)))
        return weights @ jnp.stack([earned, at_risk, rewards.performance(after)])

    spent = _BASE * jnp.exp(before / 100.0)
    lowest, highest = jnp.maximum(-STEP, -REACH - before), jnp.minimum(STEP, REACH - before)
    return knapsack(jax.grad(worth)(jnp.zeros(len(DEPARTMENTS))), spent / 100.0, lowest, highest, room * spent.sum())


def knapsack(
    gain: Float[Array, " item"],
    cost: Float[ArrayLike, " item"],
    lowest: Float[Array, " item"],
    highest: Float[Array, " item"],
    room: Float[ArrayLike, ""],
) -> Float[Array, " item"]:
    """The changes a of the largest gain . a between bounds, with cost . a <= room, or all at their lowest."""
    cost = jnp.asarray(cost)
    best_first = jnp.argsort(-gain / cost)
    needed = (cost * (highest - lowest))[best_first]
    left = room - (cost * lowest).sum() - (jnp.cumsum(needed) - needed)
    given = jnp.where(gain[best_first] > 0, jnp.clip(left, 0.0, needed), 0.0)
    return lowest + jnp.zeros_like(lowest).at[best_first].set(given) / cost


def replanned(
    env: Environment,
    weights: Float[np.ndarray, "weight objective"],
    effects: Float[np.ndarray, "variable department"],
    rng_key: Array,
    *,
    curved: bool,
    replicates: int = 2_000,
) -> Float[np.ndarray, "weight objective"]:
    """Mean rewards by the quarter of planning anew every quarter, for each of some weights.

    Args:
        env: the organisation.
        weights: of the objectives.
        effects: of a percent of each budget on every variable.
        rng_key: of the quarters of chance.
        curved: whether the planner knows how budgets saturate.
        replicates: courses of chance.
    """
    count = len(weights)
    each = jnp.broadcast_to(jnp.asarray(effects, jnp.float32), (count, *effects.shape))
    arms = Planner(jnp.asarray(weights, jnp.float32), each, jnp.full(count, float(curved)))
    return by_the_quarter(env, replanning, arms, rng_key, replicates)


def alone(
    config: conditioned.Config,
    env: Environment,
    weights: Float[np.ndarray, "weight objective"],
    layers: tuple[int, ...] = (128, 128),
) -> SideBySide:
    """A trainer of a network for each weight, all in one compiled run.

    Args:
        config: how each of them learns.
        env: the organisation.
        weights: of the objectives.
        layers: units of each hidden layer.
    """
    assert env.reward is not None
    reward = env.reward

    def make(weight: Array) -> Any:
        one = env._replace(reward=lambda quarter: (weight @ reward(quarter))[None])
        network = partial(Heads, SEEN, len(DEPARTMENTS), len(MOVES), 1, layers)
        return conditioned.trainer(config, Episodes(one, QUARTERS), lambda key: network(rng_key=key), ())

    return SideBySide(make, jnp.asarray(weights, jnp.float32))


def alone_brought(
    env: Environment, networks: Heads, rng_key: Array, *, replicates: int = 2_000
) -> Float[np.ndarray, "weight objective"]:
    """Mean rewards by the quarter of networks for one weight each, which have a leading axis."""
    count = len(jax.tree.leaves(networks)[0])
    return by_the_quarter(env, conditioned.acting, (networks, jnp.ones((count, 1))), rng_key, replicates)
