"""The published measures of an allocator, each with its formula; time is the last axis, and all are for one world."""

import jax.numpy as jnp
from jaxtyping import Array, Float

WINDOW = 50  # rounds at the end, over which levels and variances are taken
SMOOTHED = 20  # rounds of the running mean that must stay near the final level
NEAR = 0.98  # of the final level


def impact_increase(
    treatment: Float[Array, "*batch round"], control: Float[Array, "*batch round"], window: int = WINDOW
) -> Float[Array, "*batch"]:
    """Overall impact increase in %: 100 (mean I_A / mean I_S - 1) over the last rounds, for one world or each of some.

    Args:
        treatment: I_A, the impact of each round under the allocator.
        control: I_S, the same under what it is compared with, in the same world.
        window: how many rounds at the end are taken.

    >>> float(impact_increase(jnp.array([1.0, 3.0]), jnp.array([1.0, 2.0]), window=1))
    50.0
    """
    return 100.0 * (treatment[..., -window:].mean(-1) / control[..., -window:].mean(-1) - 1.0)


def impact_increase_per_mille(
    treatment: Float[Array, "*batch round"], control: Float[Array, "*batch round"], window: int = WINDOW
) -> Float[Array, "*batch"]:
    """Overall impact increase in per mille, 1000 (mean I_A / mean I_S - 1); see `impact_increase`."""
    return 10.0 * impact_increase(treatment, control, window)


def allocation_variance(shares: Float[Array, "round project"], window: int = WINDOW) -> Array:
    """Resource allocation variance: the mean over projects j of Var_t(x_jt / B) over the last rounds.

    Args:
        shares: x / B in every round.
        window: how many rounds at the end are taken.

    >>> float(allocation_variance(jnp.array([[0.0, 1.0], [1.0, 0.0]])))
    0.25
    """
    return shares[-window:].var(0).mean()


def turnover(before: Float[Array, "*batch project"], after: Float[Array, "*batch project"]) -> Float[Array, "*batch"]:
    """Share of the budget that moves from one round to the next: 1/2 sum_j |x_j' - x_j| / B.

    Args:
        before: x / B.
        after: x' / B.
    """
    return 0.5 * jnp.abs(after - before).sum(-1)


def convergence_round(
    share: Float[Array, " round"], window: int = WINDOW, smoothed: int = SMOOTHED, near: float = NEAR
) -> tuple[Array, Array]:
    """Convergence: the first round from which on the running mean stays at the final level or close to it.

    The running mean over `smoothed` rounds ends in the round; it stays close where it is at least `near` times the mean
    over the last `window` rounds, in that round and in every later one.

    Args:
        share: share of the oracle's impact in every round.
        window: how many rounds at the end give the final level.
        smoothed: how many rounds the running mean is taken over; no earlier round than this can be the answer.
        near: which part of the final level is close.

    Returns:
        The round, counted from 1, and whether it is censored: where even the last running mean is not close, the round
        is the last one, and all that is known is that convergence would be later.

    >>> rising = jnp.concatenate([jnp.full(100, 0.5), jnp.ones(100)])
    >>> tuple(each.item() for each in convergence_round(rising))
    (120, False)
    """
    n = share.shape[-1]
    total = jnp.concatenate([jnp.zeros(1, share.dtype), jnp.cumsum(share)])
    mean = (total[smoothed:] - total[:-smoothed]) / smoothed  # the one at k ends in round k + smoothed
    far = mean < near * share[-window:].mean()
    last_far = jnp.where(far.any(), len(far) - jnp.argmax(far[::-1]), 0)  # counted from 1; 0 where none is
    censored = far[-1]
    return jnp.where(censored, n, last_far + smoothed), censored


def gini(amounts: Float[Array, "*batch group"]) -> Float[Array, "*batch"]:
    """Gini coefficient of amounts >= 0, in [0, 1]: sum_ij |x_i - x_j| / (2 (n - 1) sum_i x_i), 0 where all are 0.

    As that of an effects report on payoffs, it is 1 when one group has all.

    >>> gini(jnp.array([[1.0, 1.0, 1.0], [0.0, 0.0, 1.0]])).tolist()
    [0.0, 1.0]
    """
    n = amounts.shape[-1]
    rank = jnp.arange(1, n + 1) * 2.0 - n - 1.0  # sum_ij |x_i - x_j| = 2 sum_i (2 i - n - 1) x_(i), in order of size
    total = amounts.sum(-1)
    return (rank * jnp.sort(amounts, -1)).sum(-1) / jnp.where(total > 0, (n - 1) * total, 1.0)
