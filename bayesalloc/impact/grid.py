"""The best allocation in whole steps, as grants often are, and as the published search has it.

The allowed allocation in whole steps that is nearest to the best one in dollars is found by a mixed-integer programme,
which also says where there is none. From there on the exchange of one step between two projects that promises most by
the slopes of the acquisition is made if it helps, until none of the likeliest does.
"""

import itertools
from typing import Any

import numpy as np
from scipy import optimize, sparse

from bayesalloc.errors import InputError
from bayesalloc.impact.bounds import Bounds, allowed
from bayesalloc.impact.search import Found, ValueAndSlope

FEW = 4  # projects that might give, and that might take, by the slopes: of these all pairs are tried
MOST_STEPS = 1_000_000  # of the budget
NEAR = 1e-6  # of a step


def on_grid(acquisition: ValueAndSlope, bounds: Bounds, found: Found, step: float) -> Found:
    """The best allocation in whole steps that is found near the best in dollars.

    Projects that may not change keep what they have, whole steps or not.

    Args:
        acquisition: `amount -> (value, slope)`.
        bounds: what is allowed.
        found: the best allocation in dollars.
        step: as a share of the budget.

    Returns:
        The allocation; its residual is what the steps cost, as a share of the value in dollars.

    Raises:
        InputError: where no allocation in such steps is allowed.
    """
    amount = nearest(bounds, found.amount, step)
    value, slope = acquisition(amount)
    made = 0
    while (better := _exchanged(acquisition, bounds, amount, value, slope, step)) is not None:
        amount, value, slope = better
        made += 1
    cost = max(found.value - value, 0.0) / max(abs(found.value), np.finfo(float).tiny)
    return Found(amount, value, cost, found.steps + made)


def nearest(bounds: Bounds, wanted: np.ndarray, step: float) -> np.ndarray:
    """The allowed allocation in whole steps that is nearest to another, by the sum of absolute differences.

    Args:
        bounds: what is allowed.
        wanted: the other, as shares of the budget.
        step: as a share of the budget.

    Raises:
        InputError: where there is none.
    """
    held = bounds.low == bounds.high
    free = np.flatnonzero(~held)
    left = (1.0 - bounds.low[held].sum()) / step
    if left > MOST_STEPS:
        raise InputError(f"there are {left:,.0f} steps to share out; there may be at most {MOST_STEPS:,}")
    if not free.size or abs(left - round(left)) > NEAR * max(left, 1.0):
        raise InputError(f"beside what stays as it is there are {left:g} steps to share out; it must be a whole number")
    n = len(free)
    low, high = np.ceil(bounds.low[free] / step - NEAR), np.floor(bounds.high[free] / step + NEAR)
    least = np.maximum(np.ceil(bounds.minimum[free] / step - NEAR), 0.0)
    one, every, there = sparse.eye_array(n), np.ones((1, n)), wanted[free] / step
    # The unknowns are steps, whether there are any, how far off they are, and how much moves; None: are not in it.
    blocks: list[list[Any]] = [
        [every, None, None, None],
        [one, -sparse.diags_array(least), None, None],
        [one, -sparse.diags_array(np.maximum(high, 0.0)), None, None],
        [one, None, -one, None],
        [one, None, one, None],
    ]
    ends = [(round(left), round(left)), (0.0, np.inf), (-np.inf, 0.0), (-np.inf, there), (there, np.inf)]
    if len(bounds.most):
        blocks.append([bounds.rows[:, free] * step, None, None, None])
        ends.append((-np.inf, bounds.most - bounds.rows[:, held] @ bounds.low[held]))
    if np.isfinite(bounds.turnover):
        standing, stay = bounds.current[free] / step, np.abs(bounds.low - bounds.current)[held].sum() / step
        blocks += [[one, None, None, -one], [one, None, None, one], [None, None, None, every]]
        ends += [(-np.inf, standing), (standing, np.inf), (-np.inf, 2.0 * bounds.turnover / step - stay + NEAR)]
    else:
        blocks = [row[:3] for row in blocks]
    unknowns = n * len(blocks[0])
    sizes = [next(block for block in row if block is not None).shape[0] for row in blocks]
    sides = [
        np.concatenate([np.broadcast_to(end[k], size) for end, size in zip(ends, sizes, strict=True)]) for k in (0, 1)
    ]
    bottom, top, cost, whole = np.zeros(unknowns), np.full(unknowns, np.inf), np.zeros(unknowns), np.zeros(unknowns)
    bottom[:n], top[:n], top[n : 2 * n], cost[2 * n : 3 * n], whole[: 2 * n] = low, high, 1.0, 1.0, 1
    matrix = sparse.csc_array(sparse.block_array(blocks))
    solved: Any = optimize.milp(
        cost,
        constraints=optimize.LinearConstraint(matrix, *sides),  # pyright: ignore[reportArgumentType] arrays are taken
        integrality=whole,
        bounds=optimize.Bounds(bottom, top),  # pyright: ignore[reportArgumentType] arrays are taken
    )
    if solved.x is None:
        raise InputError(f"no allocation in whole steps meets all limits; there are {left:,.0f} steps to share out")
    amount = bounds.low.copy()
    amount[free] = np.maximum(np.round(solved.x[:n]), 0.0) * step
    return amount


def _exchanged(
    acquisition: ValueAndSlope, bounds: Bounds, amount: np.ndarray, value: float, slope: np.ndarray, step: float
) -> tuple[np.ndarray, float, np.ndarray] | None:
    """After the likeliest exchange that helps, with its acquisition; None where none does.

    What would leave less than the least grant is withdrawn as a whole; what begins one gives the least.
    """
    free = bounds.low < bounds.high
    least = np.ceil(bounds.minimum / step - NEAR) * step

    def few(which: np.ndarray, order: np.ndarray) -> np.ndarray:
        indices = np.flatnonzero(which)
        return indices[np.argsort(order[indices])][:FEW]

    pairs = itertools.product(few(free & (amount > 0), slope), few(free, -slope))
    for giver, taker in sorted(pairs, key=lambda pair: slope[pair[0]] - slope[pair[1]]):
        sizes = (step, float(max(step, least[taker] - amount[taker])), float(amount[giver]))
        for size in dict.fromkeys(sizes):
            tried = amount.copy()
            tried[giver] -= size
            tried[taker] += size
            tried = np.where(free, np.round(tried / step) * step, amount)
            grants = (tried > NEAR * step) & (tried < least - NEAR * step)
            if giver == taker or (grants & free).any() or not allowed(tried, bounds):
                continue
            new_value, new_slope = acquisition(tried)
            if new_value > value:
                return tried, new_value, new_slope
    return None
