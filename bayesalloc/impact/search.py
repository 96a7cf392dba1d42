"""The search for the allocation that an acquisition favours: ascent by water-filling, from several starts.

Where the acquisition has slope g at x, it is replaced by separable logarithmic returns of the same slopes,
sum_j g_j (1 + x_j / K_j) K_j log(1 + x_j / K_j), whose best allowed allocation is exact (`bounds.filled`). The step
towards it is halved as long as that is better, and the search ends where a step gains less than one part in 10^9. What
is left to gain to first order is reported: it is zero where the Karush-Kuhn-Tucker conditions hold.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from bayesalloc.impact.bounds import Bounds, best_first_order, filled

STEPS, HALVINGS, LEAST_GAIN = 100, 12, 1e-9
ValueAndSlope = Callable[[np.ndarray], tuple[float, np.ndarray]]


class Found(NamedTuple):
    """The best allocation that was found.

    Attributes:
        amount: shares of the budget, in the order of the projects.
        value: its acquisition.
        residual: what could be gained at most if slopes were to stay as they are, as a share of the value.
        steps: how many were taken from the best start.
    """

    amount: np.ndarray
    value: float
    residual: float
    steps: int


def best(acquisition: ValueAndSlope, room: np.ndarray, bounds: Bounds, starts: Iterable[np.ndarray]) -> Found:
    """The allowed allocation with the largest acquisition.

    Args:
        acquisition: `amount -> (value, slope)`.
        room: K of each project.
        bounds: what is allowed.
        starts: allowed allocations to search from.
    """
    found = max((_ascent(acquisition, room, bounds, start) for start in starts), key=lambda each: each.value)
    below = (found.amount > 0) & (found.amount < bounds.minimum * (1.0 - 1e-9)) & (bounds.high > 0)
    if not below.any():
        return found
    # The smallest grant below its least is dropped or raised, whichever is better, and the rest is searched again.
    index = int(np.flatnonzero(below)[np.argmin(found.amount[below])])
    options = []
    if bounds.low[index] <= 0:
        options.append(bounds._replace(high=_changed(bounds.high, index, 0.0)))
    if bounds.high[index] >= bounds.minimum[index]:
        options.append(bounds._replace(low=_changed(bounds.low, index, bounds.minimum[index])))
    tried = []
    for option in options:
        start = best_first_order(acquisition(found.amount)[1], option)
        if start is not None:
            tried.append((_ascent(acquisition, room, option, start), option))
    if not tried:
        return found
    better, option = max(tried, key=lambda pair: pair[0].value)
    return best(acquisition, room, option, [better.amount])


def residual(value: float, slope: np.ndarray, amount: np.ndarray, bounds: Bounds) -> float:
    """What could be gained at most to first order, as a share of the value (the Frank-Wolfe gap)."""
    towards = best_first_order(slope, bounds)
    gap = 0.0 if towards is None else max(float(slope @ (towards - amount)), 0.0)
    return gap / max(abs(value), np.finfo(float).tiny)


def _ascent(acquisition: ValueAndSlope, room: np.ndarray, bounds: Bounds, start: np.ndarray) -> Found:
    amount = start
    value, slope = acquisition(amount)
    steps = 0
    while steps < STEPS:
        steps += 1
        worth = np.maximum(slope, 0.0) * (1.0 + amount / room)
        step = filled(worth, room, bounds) - amount
        before, best_of = value, amount
        for size in 0.5 ** np.arange(HALVINGS):
            tried = amount + size * step
            new_value, new_slope = acquisition(tried)
            if new_value > value:
                best_of, value, slope = tried, new_value, new_slope
            elif best_of is not amount:  # a smaller step is worse again
                break
        amount = best_of
        if value - before <= LEAST_GAIN * abs(value):
            break
    return Found(amount, value, residual(value, slope, amount, bounds), steps)


def _changed(values: np.ndarray, index: int, value: float) -> np.ndarray:
    changed = values.copy()
    changed[index] = value
    return changed
