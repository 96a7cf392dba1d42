"""The best split of a budget among projects whose effects are known: water-filling, and spill-overs by a fixed point.

Where returns saturate and nothing spills over, the best split has the same marginal return lambda wherever it is
between its bounds, x_j = clip(K_j ((e_j / lambda)^(1/eta) - 1), low_j, high_j), and lambda is where the amounts add up
to the budget.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from bayesalloc.impact.returns import Edges, impacts

AVERAGED = 30  # times that the split with spill-overs is averaged half and half with the next one


def water_filled(
    effect: Float[Array, " project"],
    room: Float[Array, " project"],
    budget: ArrayLike = 1.0,
    low: ArrayLike = 0.0,
    high: ArrayLike = jnp.inf,
    eta: float = 1.0,
) -> Float[Array, " project"]:
    """The amounts that maximise sum_j e_j K_j log(1 + x_j / K_j), or its isoelastic kin, within bounds and a budget.

    The level v = lambda^(-1/eta) is found by Newton's method between two bounds of it, and by bisection wherever Newton
    would leave them: what is spent grows with v in straight pieces, on the last of which Newton is exact.

    Args:
        effect: e >= 0, of the first dollar, in any unit.
        room: K > 0, in the unit of the budget.
        budget: what is split.
        low: the least that each project gets, >= 0.
        high: the most that each project gets, >= low; 0 for one that is off.
        eta: curvature; see `saturating`.

    Returns:
        Amounts that add up to the budget; or `low` or `high` where those add up to more or to less than it, and where
        projects without any effect are all that is left.

    >>> water_filled(jnp.array([4.0, 1.0]), jnp.array([1.0, 1.0]), 1.0).tolist()
    [1.0, 0.0]
    >>> water_filled(jnp.array([4.0, 1.0]), jnp.array([1.0, 1.0]), 8.0).tolist()
    [7.0, 1.0]
    """
    strength = jnp.maximum(effect, 0.0) ** (1.0 / eta)
    budget, low, high = (jnp.asarray(bound, strength.dtype) for bound in (budget, low, high))
    tiny, precision = jnp.finfo(strength.dtype).tiny, 4 * jnp.finfo(strength.dtype).eps
    high = jnp.minimum(jnp.broadcast_to(high, strength.shape), jnp.maximum(budget, low))
    moves = (strength > 0.0) & (high > low)
    # strengths are taken as shares of the strongest: their unit must not matter to a number's precision
    strength = jnp.where(moves, strength, 0.0)
    strength = strength / jnp.maximum(strength.max(), tiny)
    inverse = 1.0 / jnp.where(moves, strength, 1.0)
    begins, ends = (inverse * (1.0 + bound / room) for bound in (low, high))  # levels at which each moves
    lowest = jnp.where(moves, begins, jnp.inf).min()
    highest = jnp.where(moves, ends, 0.0).max()
    lowest, highest = jnp.where(moves.any(), lowest, 1.0), jnp.where(moves.any(), highest, 1.0)
    scale = budget + jnp.where(moves, room, 0.0).sum()  # of what is added up

    def amounts(level: Array) -> Array:
        return jnp.clip(room * (strength * level - 1.0), low, high)

    def rates(level: Array, gap: Array) -> Array:  # how fast each grows on the side of the level where the gap closes
        rising, falling = (begins <= level) & (level < ends), (begins < level) & (level <= ends)
        return jnp.where(moves & jnp.where(gap > 0, rising, falling), room * strength, 0.0)

    def unspent(level: Array) -> Array:
        return budget - amounts(level).sum()

    def better(search: tuple[Array, ...]) -> tuple[Array, ...]:
        step, below, above, level, gap = search
        below, above = jnp.where(gap > 0, level, below), jnp.where(gap > 0, above, level)
        newton = level + gap / jnp.maximum(rates(level, gap).sum(), tiny)
        level = jnp.where((newton > below) & (newton < above), newton, jnp.sqrt(below) * jnp.sqrt(above))
        return step + 1, below, above, level, unspent(level)

    def goes_on(search: tuple[Array, ...]) -> Array:
        step, below, above, _, gap = search
        return (step < 100) & (jnp.abs(gap) > precision * scale) & (above > below * (1.0 + precision))

    # Newton comes from above without overshooting where nothing is at its upper bound: there what is spent is convex
    alone = jnp.where(moves, inverse * (1.0 + budget / room), jnp.inf).min()
    level = jnp.clip(alone, lowest, highest)
    level = jnp.where(unspent(lowest) <= 0, lowest, jnp.where(unspent(highest) >= 0, highest, level))
    search = (jnp.int32(0), lowest, highest, level, unspent(level))
    level = jax.lax.while_loop(goes_on, better, search)[3]
    found, gap = amounts(level), unspent(level)
    rate = jnp.where(moves & (begins <= level) & (level <= ends), room * strength, 0.0)  # takes what rounding left over
    return jnp.clip(found + gap * rate / jnp.maximum(rate.sum(), tiny), low, high)


def best_split(
    log_effect: Float[Array, " project"],
    room: Float[Array, " project"],
    weight: Float[Array, "project edge"],
    edges: Edges,
    on: Bool[Array, " project"],
    budget: ArrayLike = 1.0,
    eta: float = 1.0,
    rounds: int = AVERAGED,
    start: Float[Array, " project"] | None = None,
) -> Float[Array, " project"]:
    """The amounts that maximise the impact with its spill-overs, where everything is known.

    What a project's dollar does to itself and to its neighbours, e'_k = (dI/dx_k) (1 + x_k/K_k)^eta, takes the place of
    e_k in the water-filling; the amounts are averaged half and half with the result, `rounds` times. For logarithmic
    returns e'_k = e_k (1 + sum_j W_kj z_j) + sum_j W_jk f_j / (K_k + x_k), with f_j = e_j K_j log(1 + x_j/K_j).

    Args:
        log_effect: log e; a project's own shock may be part of it.
        room: K.
        weight: W.
        edges: the network.
        on: projects that may get something.
        budget: what is split.
        eta: see `saturating`.
        rounds: how often.
        start: amounts to begin with, such as the best ones when a few more projects were on; None: the water-filling
            without spill-overs.
    """
    high = jnp.where(on, jnp.inf, 0.0).astype(room.dtype)
    log_effect = log_effect - jnp.where(on, log_effect, -jnp.inf).max()  # the same for all: the split does not move
    log_effect = jnp.where(on, log_effect, 0.0)

    def total(amount: Array) -> Array:
        return impacts(amount, log_effect, room, weight, edges, eta).sum()

    def filled(amount: Array) -> Array:
        effect = jax.grad(total)(amount) * (1.0 + amount / room) ** eta
        return water_filled(effect, room, budget, 0.0, high, eta)

    if start is None:
        begun = water_filled(jnp.exp(log_effect), room, budget, 0.0, high, eta)
    else:
        begun = filled(jnp.where(on, start, 0.0))
    return jax.lax.fori_loop(0, rounds, lambda _, amount: 0.5 * (amount + filled(amount)), begun)
