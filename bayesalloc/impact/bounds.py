"""What an allocation may be: floors, caps, shares of domains, turnover and other resources; and filling them best.

Shares of the budget, B = 1. All limits are linear, so that the best allocation of separable logarithmic returns within
them is an exponential-cone programme, which Clarabel solves exactly (Goulart & Chen 2024, arXiv:2405.12762).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import clarabel
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy import sparse
from scipy.optimize import linprog

from bayesalloc.errors import InputError, listed
from bayesalloc.impact.projects import Projects
from bayesalloc.impact.waterfill import water_filled

_conic: Any = clarabel  # compiled from Rust: it comes without types
_water_filled = jax.jit(water_filled)
FAINT = 1e-7  # share of the budget that the solver cannot tell from nothing


class Bounds(NamedTuple):
    """Which allocations are allowed: those in [low, high] that sum to 1, with rows @ x <= most and little turnover.

    Attributes:
        low, high: of each project.
        rows: weights of each further limit.
        most: what it may be at most.
        names: what each further limit is called.
        current: the allocation that turnover is measured from.
        turnover: most of the budget that may move, half the sum of absolute changes; infinite where there is none.
        minimum: least that a project gets if it gets anything.
    """

    low: Float[np.ndarray, " project"]
    high: Float[np.ndarray, " project"]
    rows: Float[np.ndarray, "limit project"]
    most: Float[np.ndarray, " limit"]
    names: tuple[str, ...]
    current: Float[np.ndarray, " project"]
    turnover: float
    minimum: Float[np.ndarray, " project"]


class Limits(NamedTuple):
    """What a funder asks for beyond the table.

    Attributes:
        domain_caps: domain -> most of the budget that its projects may get together, a share.
        turnover: most of the budget that may move from the current allocation, a share; None: any.
        change: the largest change of a project's amount, as a share of what it gets now; None: any.
        resources: resource -> most that may be used.
    """

    domain_caps: Mapping[str, float] = {}
    turnover: float | None = None
    change: float | None = None
    resources: Mapping[str, float] = {}


def bounds(projects: Projects, budget: float, limits: Limits) -> Bounds:
    """The limits of a table and a funder, as shares of the budget.

    Raises:
        InputError: where a limit is about what is not there, or no allocation meets all of them; the ones that are in
            each other's way are named.
    """
    current = projects.current / budget
    low, high = projects.floor / budget, projects.cap / budget
    held = ~projects.estimated
    low, high = np.where(held, current, low), np.where(held, current, np.minimum(high, 1.0))
    if limits.turnover is not None or limits.change is not None:
        unknown = np.array(projects.names)[np.isnan(current)]
        if len(unknown):
            raise InputError(f"changes are limited, but what these get now is not known ('current'): {listed(unknown)}")
    if limits.change is not None:
        low = np.maximum(low, current * (1.0 - limits.change))
        high = np.minimum(high, current * (1.0 + limits.change))
    rows, most, names = [], [], []
    domains = np.array(projects.groups["domain"])
    for domain, share in limits.domain_caps.items():
        if domain not in domains:
            raise InputError(f"there is no domain '{domain}'; there are {listed(set(domains) - {''})}")
        rows.append((domains == domain) * 1.0)
        most.append(share)
        names.append(f"the cap of domain {domain}")
    for resource, amount in limits.resources.items():
        if resource not in projects.uses:
            raise InputError(f"no project says what it uses of '{resource}'; there are {listed(projects.uses)}")
        rows.append(projects.uses[resource] * budget / 1000.0)
        most.append(amount)
        names.append(f"the limit of {resource}")
    made = Bounds(
        low,
        high,
        np.array(rows).reshape(-1, len(low)),
        np.array(most, float),
        tuple(names),
        np.nan_to_num(current),
        np.inf if limits.turnover is None else limits.turnover,
        projects.minimum / budget,
    )
    _refuse_conflicts(made, budget)
    return made


def best_first_order(slope: np.ndarray, bounds: Bounds) -> np.ndarray | None:
    """The allowed allocation that is best where every dollar of a project were worth the same; None if none is allowed.

    Args:
        slope: worth of a dollar for each project.
        bounds: what is allowed.
    """
    n = len(bounds.low)
    matrix, most = _inequalities(bounds)
    extra = len(bounds.current) if np.isfinite(bounds.turnover) else 0
    sums = np.concatenate([np.ones(n), np.zeros(extra)])[None]
    ends = [*zip(bounds.low, bounds.high, strict=True), *[(0.0, None)] * extra]
    scale = np.abs(slope).max() or 1.0
    objective = np.concatenate([-slope / scale, np.zeros(extra)])
    found = linprog(objective, A_ub=matrix, b_ub=most, A_eq=sums, b_eq=[1.0], bounds=ends)
    return found.x[:n] if found.status == 0 else None


def filled(worth: np.ndarray, room: np.ndarray, bounds: Bounds) -> np.ndarray:
    """The allowed allocation with the most sum of worth K log(1 + x / K); by water-filling where only ends are set.

    Args:
        worth: of each project's first dollar, at least 0.
        room: K.
        bounds: what is allowed.

    Raises:
        ArithmeticError: where the solver finds none, with what it says.
    """
    if not len(bounds.most) and np.isinf(bounds.turnover):
        given = worth, room, 1.0, bounds.low, bounds.high
        return np.asarray(_water_filled(*map(jnp.asarray, given)))
    n = len(worth)
    matrix, most = _inequalities(bounds)
    extra = n if np.isfinite(bounds.turnover) else 0
    zero, one = sparse.csc_array((n, n)), sparse.csc_array(sparse.eye_array(n))
    beside = sparse.csc_array((n, extra))
    bounded = np.flatnonzero(np.isfinite(bounds.high))
    rows = [
        sparse.hstack([np.ones((1, n)), sparse.csc_array((1, n + extra))]),
        sparse.hstack([matrix[:, :n], sparse.csc_array((len(most), n)), matrix[:, n:]]),
        sparse.hstack([-one, zero, beside]),
        sparse.hstack([one[bounded], zero[bounded], beside[bounded]]),
    ]
    sides = [np.ones(1), most, -bounds.low, bounds.high[bounded]]
    cones = [_conic.ZeroConeT(1), _conic.NonnegativeConeT(sum(map(len, sides[1:])))]
    growth = np.arange(3 * n).reshape(3, n).T.ravel()  # (t, 1, 1 + x / K) of each project, one after another
    parts = [
        sparse.hstack([zero, -one, beside]),
        sparse.csc_array((n, 2 * n + extra)),
        sparse.hstack([sparse.diags_array(-1.0 / room), zero, beside]),
    ]
    rows.append(sparse.csr_array(sparse.vstack(parts))[growth])
    sides.append(np.concatenate([np.zeros(n), np.ones(2 * n)])[growth])
    cones += [_conic.ExponentialConeT()] * n
    value = worth * room
    objective = np.concatenate([np.zeros(n), -value / (value.max() or 1.0), np.zeros(extra)])
    settings = _conic.DefaultSettings()
    settings.verbose = False
    size = 2 * n + extra
    solver = _conic.DefaultSolver(
        sparse.csc_matrix((size, size)),
        objective,
        sparse.csc_matrix(sparse.vstack(rows)),
        np.concatenate(sides),
        cones,
        settings,
    )
    solution = solver.solve()
    amount = _tidied(np.asarray(solution.x[:n]), bounds)
    if not allowed(amount, bounds):  # one that is allowed but not best is no harm: the search looks at what it is worth
        raise ArithmeticError(f"the allocation within the limits could not be found: {solution.status}")
    return amount


def allowed(amount: np.ndarray, bounds: Bounds) -> bool:
    """Whether an allocation meets all limits, to a part in ten million of the budget."""
    moved = 0.5 * np.abs(amount - bounds.current).sum()
    within = (amount >= bounds.low - FAINT).all() and (amount <= bounds.high + FAINT).all()
    limited = (bounds.rows @ amount <= bounds.most * (1.0 + FAINT) + FAINT).all() and moved <= bounds.turnover + FAINT
    return bool(within and limited and abs(amount.sum() - 1.0) < FAINT)


def _tidied(amount: np.ndarray, bounds: Bounds) -> np.ndarray:
    """An allocation without the solver's last digits: traces are nothing, and it sums to 1."""
    amount = np.clip(amount, bounds.low, bounds.high)
    amount = np.where(amount < bounds.low + FAINT, bounds.low, amount)
    free = (amount > bounds.low) & (amount < bounds.high)
    return np.where(free, amount * (1.0 + (1.0 - amount.sum()) / max(amount[free].sum(), FAINT)), amount)


def _inequalities(bounds: Bounds) -> tuple[sparse.csc_array, np.ndarray]:
    """Matrix and right-hand side of what must not be exceeded, over the allocation and absolute changes, if limited."""
    if np.isinf(bounds.turnover):
        return sparse.csc_array(bounds.rows), bounds.most
    n = len(bounds.low)
    one = sparse.eye_array(n, format="csc")
    matrix = sparse.vstack(
        [
            sparse.hstack([sparse.csc_array(bounds.rows), sparse.csc_array((len(bounds.most), n))]),
            sparse.hstack([one, -one]),
            sparse.hstack([-one, -one]),
            sparse.hstack([sparse.csc_array((1, n)), np.full((1, n), 0.5)]),
        ]
    )
    return sparse.csc_array(matrix), np.concatenate([bounds.most, bounds.current, -bounds.current, [bounds.turnover]])


def _refuse_conflicts(made: Bounds, budget: float) -> None:
    """Refuse limits that no allocation meets; in the sentence those that suffice for it."""

    def met(given: Bounds) -> bool:
        return best_first_order(np.zeros(len(given.low)), given) is not None

    if (made.low > made.high + 1e-12).any():
        raise InputError("a project's floor, or what it keeps under the largest change, is above its cap")
    if made.low.sum() > 1.0 + 1e-9:
        least = f"{made.low.sum() * budget:,.0f} USD"
        raise InputError(f"floors, and what stays as it is, need {least}; the budget is {budget:,.0f} USD")
    if made.high.sum() < 1.0 - 1e-9:
        raise InputError(
            f"caps, and what stays as it is, leave room for {made.high.sum() * budget:,.0f} USD; the budget is"
            f" {budget:,.0f} USD"
        )
    if met(made):
        return
    kept = made  # without each limit in turn: what can go while the rest is still impossible is not in the way
    if not met(kept._replace(turnover=np.inf)):
        kept = kept._replace(turnover=np.inf)
    for name in made.names:
        without = [other != name for other in kept.names]
        names = tuple(other for other in kept.names if other != name)
        fewer = kept._replace(rows=kept.rows[without], most=kept.most[without], names=names)
        kept = kept if met(fewer) else fewer
    ways = [*sorted(kept.names), *(["the limit of turnover"] if np.isfinite(kept.turnover) else [])]
    raise InputError(
        "no allocation meets floors, caps and the budget together with " + " and ".join(ways) + "; one has to give way"
    )
