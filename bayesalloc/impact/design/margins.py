"""Among equally good mechanisms, the one that keeps its constraints well and changes little: linear programmes.

At an optimum constraints may be kept by a hair, on the random numbers of the design only. So a margin t is made large,

    mean deviation gain_i(z) <= b - t,   the mean of gain_i(z) over its worst draws (as many as may refuse) >= t,

of which the second is a CVaR and so linear. Half of it is then given up to leave as much as can be as it was.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, hstack, vstack

from bayesalloc.impact.design.constraints import Constraint
from bayesalloc.impact.design.programme import Programme, best, irreducible, losses, sums

CAUTION = 2.0  # standard errors by which constraints are kept, where they can be
SPARED = 0.5  # share of the largest margin that is given up to change less
SAME = 1e-6  # of an objective: what counts as equal


class Solution(NamedTuple):
    """What was found.

    Attributes:
        status: optimal, infeasible or undecided (the time was over).
        values: of the free numbers; those that come nearest where none keep the constraints.
        bound: what the objective cannot exceed; NaN where no values were found.
        cautious: whether the constraints are kept by CAUTION standard errors too, but for rounding.
        margin: the largest by which all agents' constraints can be kept, in the payoffs' unit; below zero: they can't.
        conflict: constraints that cannot be kept together, though they could without any one of them.
    """

    status: str
    values: Float[np.ndarray, " number"]
    bound: float
    cautious: bool
    margin: float
    conflict: tuple[Constraint, ...]

    @property
    def found(self) -> bool:
        """Whether there are values that keep the constraints."""
        return not np.isnan(self.bound)

    def among(self, places: list[int], given: Float[np.ndarray, " number"]) -> "Solution":
        """The same as one of more numbers, of which its own have these places and the others are given."""
        values = given.copy()
        values[places] = self.values
        return self._replace(values=values)


class _Kept(NamedTuple):
    """What is not to be lost: the objective, and in which doubtful draws no agent may refuse."""

    objective: float
    refusing: list[Any]


def solve(programme: Programme, *, explained: bool = True) -> Solution:
    """The best mechanism within the constraints, or which of them are in each other's way.

    Args:
        programme: what is to be solved; its free numbers may be none.
        explained: whether to find the conflict where there is no solution, which takes many programmes.
    """
    free, effects = programme.free, programme.effects
    if not free.numbers:
        return _only(programme)
    status, values, refusing, bound = best(programme)
    if values is None:
        nearest, margin = _linear(programme, None) or (free.centre(), np.nan)
        nearest, _ = _linear(programme, None, margin - SAME * max(1.0, abs(margin))) or (nearest, margin)
        conflict = irreducible(programme) if explained and status == "infeasible" else ()
        return Solution(status, nearest, np.nan, cautious=False, margin=margin, conflict=conflict)
    tightened = (each.tightened(values, effects, CAUTION) for each in programme.constraints)
    asked, careful = programme, programme._replace(constraints=tuple(tightened))
    more = best(careful)
    cautious = more.values is not None
    if more.values is not None:
        programme, values, refusing = careful, more.values, more.refusing
    kept = _Kept(effects.outcome(programme.maximise, values), refusing)
    widest, margin = _linear(programme, kept) or (values, 0.0)
    nearby, _ = _linear(programme, kept, margin - SPARED * abs(margin)) or (widest, margin)
    for chosen, limits in ((free.rounded(nearby), asked), (nearby, programme), (widest, programme)):
        if all(each.kept(each.value(chosen, effects)) for each in limits.constraints):
            values = chosen
            break
    return Solution(status, values, bound, cautious=cautious, margin=margin, conflict=())


def _only(programme: Programme) -> Solution:
    """Where there is nothing to choose: whether what there is keeps the constraints."""
    values, effects, limits = np.zeros(0), programme.effects, programme.constraints
    careful = (each.tightened(values, effects, CAUTION) for each in limits)
    found, cautious = (all(not each.excess(values, effects) for each in of) for of in (limits, careful))
    bound = effects.outcome(programme.maximise, values) if found else np.nan
    status = "optimal" if found else "infeasible"
    return Solution(status, values, bound, cautious=cautious, margin=_margin(values, programme), conflict=())


def _margin(values: Float[np.ndarray, " number"], programme: Programme) -> float:
    """By how much values keep all agents' constraints."""
    rooms: list[float] = []
    for each in programme.constraints:
        if each.private:
            constant, slope = each.function(programme.effects)
            found = constant + slope @ values
            worst = max(1, each.allowed(len(programme.effects.gain[0])))
            rooms.append(float(np.sort(found)[:worst].mean() if each.chance else each.bound - found))
    return min(rooms, default=0.0)


def _linear(
    programme: Programme, kept: _Kept | None, margin: float | None = None
) -> tuple[Float[np.ndarray, " number"], float] | None:
    """The values with the largest margin, and the margin; or those with the least change at a margin.

    There are always some, but where the solver's own tolerance is all that they are kept by: then it is None.

    Variables: values, margin, the size of each change, and for each chance constraint a level and a shortfall a draw.

    Args:
        programme: what is designed.
        kept: what is not to be lost; None: all constraints may be missed by the margin.
        margin: that is to be there; None: it is to be large.
    """
    free, effects, n = programme.free, programme.effects, len(programme.free.numbers)
    width = free.high - free.low
    chances = [constraint for constraint in programme.constraints if constraint.chance]
    draws = len(effects.gain[0])
    places = [2 * n + 1 + i * (1 + draws) for i in range(len(chances))]
    variables = 2 * n + 1 + len(chances) * (1 + draws)
    rows: list[Any] = []
    bounds: list[Any] = []

    def add(parts: dict[int, Any], bound: Any) -> None:
        """Rows made of blocks, each by the variable that it begins with: together at most `bound`."""
        at, made, height = 0, [], len(np.atleast_1d(bound))
        for place, block in sorted(parts.items()):
            made += [csr_array((height, place - at)), csr_array(block)]
            at = place + block.shape[1]
        rows.append(hstack([*made, csr_array((height, variables - at))]))
        bounds.append(np.atleast_1d(bound))

    one = np.ones((1, 1))
    for constraint in programme.constraints:
        constant, slope = constraint.function(effects)
        if not constraint.chance:
            add({0: slope[None], n: one * (constraint.private or kept is None)}, constraint.bound - constant)
            if kept is not None:
                add({0: slope[None]}, constraint.bound - constant)
    for constraint, place in zip(chances, places, strict=True):
        constant, slope = constraint.function(effects)
        worst = np.full(draws, 1 / max(1, constraint.allowed(draws)))
        add({n: one, place: np.r_[-1.0, worst][None]}, 0.0)  # margin <= level - mean shortfall of the worst draws
        add({0: -slope, place: np.c_[np.ones(draws), -np.eye(draws)]}, constant)  # shortfall >= level - gain
    if kept is not None:
        constant, slope = effects.outcomes[programme.maximise]
        add({0: -slope[None]}, constant - kept.objective + SAME * (abs(kept.objective) + abs(slope) @ width))
        for constraint, refusing in zip(programme.constraints, kept.refusing, strict=True):
            if constraint.chance:
                constant, slope = constraint.function(effects)
                _, doubtful, always = losses(constraint, programme)
                held = np.r_[doubtful[~refusing], always]
                add({0: -slope[held]}, constant[held])
    for sign in (1.0, -1.0):  # change >= |value - start|, as a share of the range
        add({0: sign * np.eye(n), n + 1: -np.diag(width)}, sign * free.start)
    low = np.full(variables, -np.inf)
    high = np.full(variables, np.inf)
    low[:n], high[:n] = free.low, free.high
    for place in places:
        low[place + 1 : place + 1 + draws] = 0.0
    goal = np.zeros(variables)
    if margin is None:
        goal[n] = -1.0
        low[n + 1 : 2 * n + 1] = 0.0
        if kept is None or not any(constraint.private for constraint in programme.constraints):
            high[n] = 0.0  # enough where all is kept, or nothing has a margin
    else:
        low[n] = margin
        goal[n + 1 : 2 * n + 1] = 1.0
    at_most: Any = np.concatenate(bounds)
    ends: Any = (low, high)
    asked = LinearConstraint(vstack(rows), -np.inf, at_most)
    result = milp(goal, constraints=[asked, *sums(free, variables)], bounds=Bounds(*ends))
    if result.x is None:
        return None
    return np.clip(result.x[:n], free.low, free.high), float(result.x[n])
