"""What a quarter of `budget.py` is worth: the result against plan, and the three objectives, all from levels."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayesalloc.models.budgets.world import COSTS, JUDGED_BY, PLACE, REVENUE, TABLE, VARIABLE_COST

DEEP = 20.0  # M; neither less nor more is remembered of past results

_COSTS = np.array([PLACE[name] for name in COSTS])
_COST_BASE = np.array([TABLE[name].base for name in COSTS], np.float32)
_JUDGED = np.array([PLACE[name] for name, _ in JUDGED_BY.values()])
_GOOD = np.array([sign for _, sign in JUDGED_BY.values()], np.float32)


def above_plan(level: Float[Array, " variable"], budgets: Array) -> Array:
    """M by which a quarter's result is above plan.

    Args:
        level: % or points from plan.
        budgets: M/yr by which all budgets together are above plan.
    """
    revenue = REVENUE * jnp.expm1(level[PLACE["revenue"]] / 100.0)
    costs = (_COST_BASE * jnp.expm1(level[_COSTS] / 100.0)).sum()
    return ((1.0 - VARIABLE_COST) * revenue - costs - budgets) / 4.0


def efficiency(above: Array) -> Array:
    """The result above plan, M, in % of a quarter's revenue by plan."""
    return 100.0 * above / (REVENUE / 4.0)


def risk(level: Float[Array, " variable"], earned: Array, reserve: Array, change: Float[Array, " department"]) -> Array:
    """At most about 5: incidents with overtime, a result below plan, a reserve below 0, and change itself.

    Args:
        level: % or points from plan.
        earned: the quarter's efficiency, %.
        reserve: M, results above plan in all, from -DEEP to DEEP.
        change: % by which budgets changed.
    """
    strain = level[PLACE["incidents"]] + 0.3 * level[PLACE["overtime_cost"]]
    lost = jnp.minimum(earned, 0.0) ** 2 / 2.0
    return -5.0 * jnp.expm1(strain / 12.0) - lost - 0.25 * jnp.maximum(-reserve, 0.0) - 0.1 * jnp.abs(change).mean()


def performance(level: Float[Array, " variable"]) -> Array:
    """From -10 to 10: the departments' mean of the tanh of the figure each is judged by, over 6."""
    return 10.0 * jnp.tanh(_GOOD * level[_JUDGED] / 6.0).mean()
