"""The usual rules for sharing out a budget, from what is believed of each project; no rule learns.

Each is a function of every project's expected effect of the first dollar, its room, and whether it is on; projects that
are off get nothing, and those that are on share the whole budget.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from bayesalloc.impact.waterfill import water_filled

TOP = 0.2  # share of the projects that the rules of the best ones fund: 20 of 100
Rule = Callable[[Array, Array, Array, ArrayLike], Array]


def in_proportion(
    weight: Float[Array, " project"], on: Bool[Array, " project"], budget: ArrayLike
) -> Float[Array, " project"]:
    """The budget in proportion to weights >= 0; nothing where no project that is on has any."""
    weight = jnp.where(on, weight, 0.0)
    return jnp.asarray(budget) * weight / jnp.maximum(weight.sum(), jnp.finfo(weight.dtype).tiny)


def spread_by_room(
    split: Float[Array, " project"], room: Float[Array, " project"], part: ArrayLike
) -> Float[Array, " project"]:
    """A split of a budget of 1, with a part of the money in proportion to room instead: no project gets nothing."""
    part = jnp.asarray(part)
    return (1.0 - part) * split + part * in_proportion(room, jnp.ones_like(room, bool), 1.0)


def _top(effect: Array, weight: Array, on: Array, budget: ArrayLike) -> Array:
    count = max(1, round(TOP * len(effect)))
    least = jax.lax.top_k(jnp.where(on, effect, -jnp.inf), count)[0][-1]
    return in_proportion(jnp.where(effect >= least, weight, 0.0), on, budget)


def _knapsack(effect: Array, room: Array, on: Array, budget: ArrayLike) -> Array:
    return water_filled(effect, room, budget, 0.0, jnp.where(on, jnp.inf, 0.0).astype(room.dtype))


RULES: Mapping[str, Rule] = {
    "uniform": lambda effect, room, on, budget: in_proportion(jnp.ones_like(room), on, budget),
    "proportional": lambda effect, room, on, budget: in_proportion(effect, on, budget),
    "proportional_room": lambda effect, room, on, budget: in_proportion(effect * room, on, budget),
    "top20_equal": lambda effect, room, on, budget: _top(effect, jnp.ones_like(room), on, budget),
    "top20_room": lambda effect, room, on, budget: _top(effect, room, on, budget),
    "knapsack": _knapsack,  # the best split if the expected effects were true and nothing spilled over
}
