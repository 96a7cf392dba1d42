"""The design of a mechanism as a linear programme with chance constraints: solved exactly, or shown to be infeasible.

With payoffs that are linear in the free numbers z in every draw,

    maximise c . z   within the ranges of z,   mean deviation gain_i(z) <= b,   #{draws: gain_i(z) < 0} <= p x draws,

where a binary number for each agent and draw says whether the agent may refuse in it. HiGHS solves it to the optimum.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, hstack, vstack

from bayesalloc.impact.affine import Affine
from bayesalloc.impact.constraints import Constraint
from bayesalloc.impact.free import Free

SECONDS = 20.0  # that one programme may take


class Programme(NamedTuple):
    """What is to be solved: free numbers, what they do, the name of the objective, and constraints."""

    free: Free
    effects: Affine
    maximise: str
    constraints: tuple[Constraint, ...]


class Best(NamedTuple):
    """The solution of a programme.

    Attributes:
        status: optimal, infeasible or undecided (the time was over).
        values: of the free numbers; None where none were found.
        refusing: of each constraint on a probability, in which of its doubtful draws the agent may refuse.
        bound: what the objective cannot exceed; NaN where there are no values.
    """

    status: str
    values: Float[np.ndarray, " number"] | None
    refusing: list[Any]
    bound: float


class _Rows(NamedTuple):
    """Rows values . z + binaries . y <= bound, of one constraint."""

    values: Float[np.ndarray, "row number"]
    binaries: Any
    bound: Float[np.ndarray, " row"]


def best(programme: Programme) -> Best:
    """The values that are best within the constraints, or that there are none."""
    free, n = programme.free, len(programme.free.numbers)
    constant, slope = programme.effects.outcomes[programme.maximise]
    rows = [_rows(constraint, programme) for constraint in programme.constraints]
    sizes = [each.binaries.shape[1] for each in rows]
    more = sum(sizes)
    asked: list[Any] = sums(free, n + more)
    if rows:
        blocks = [
            hstack(
                [
                    csr_array(each.values),
                    *(each.binaries if i == k else csr_array((len(each.bound), m)) for k, m in enumerate(sizes)),
                ]
            )
            for i, each in enumerate(rows)
        ]
        bounds: Any = np.concatenate([each.bound for each in rows])
        asked.append(LinearConstraint(vstack(blocks), -np.inf, bounds))
    ends: Any = (np.r_[free.low, np.zeros(more)], np.r_[free.high, np.ones(more)])
    result = milp(
        np.r_[-slope, np.zeros(more)],
        constraints=asked,
        bounds=Bounds(*ends),
        integrality=np.r_[np.zeros(n), np.ones(more)],
        options={"time_limit": SECONDS, "mip_rel_gap": 1e-9},
    )
    status = {0: "optimal", 2: "infeasible"}.get(result.status, "undecided")
    if result.x is None:
        return Best(status, None, [], np.nan)
    places = list(itertools.accumulate([n, *sizes]))
    refusing = [result.x[a:b] > 0.5 for a, b in itertools.pairwise(places)]
    at_least = result.fun if result.mip_dual_bound is None else result.mip_dual_bound
    return Best(status, np.clip(result.x[:n], free.low, free.high), refusing, constant - float(at_least))


def irreducible(programme: Programme) -> tuple[Constraint, ...]:
    """Of an infeasible programme, constraints that cannot be kept together, though they could without any one of them.

    Each is left out in turn, and stays out where the others cannot be kept all the same.
    """
    kept = programme.constraints
    for constraint in programme.constraints:
        without = tuple(other for other in kept if other != constraint)
        if best(programme._replace(constraints=without)).status == "infeasible":
            kept = without
    return kept


def doubtful(
    constraint: Constraint, programme: Programme
) -> tuple[Float[np.ndarray, " draw"], Int[np.ndarray, " doubtful"]]:
    """The largest loss that an agent can have in each draw, and the draws in which it can have any."""
    constant, slope = constraint.function(programme.effects)
    most = programme.free.best(-slope) - constant
    return most, np.flatnonzero(most > 0)


def sums(free: Free, variables: int) -> list[LinearConstraint]:
    """Each table's sum, as a constraint on so many variables, the free numbers first."""
    return [
        LinearConstraint(np.isin(np.arange(variables), members).astype(float)[None], total, total)
        for members, total in free.tables()
    ]


def _rows(constraint: Constraint, programme: Programme) -> _Rows:
    constant, slope = constraint.function(programme.effects)
    if not constraint.chance:
        return _Rows(slope[None], csr_array((1, 0)), np.array([constraint.bound - constant]))
    most, draws = doubtful(constraint, programme)  # gain >= -most x binary
    places = np.arange(len(draws))
    losses = csr_array((-most[draws], (places, places)), shape=(len(draws), len(draws)))
    return _Rows(
        np.vstack([-slope[draws], np.zeros((1, slope.shape[1]))]),
        vstack([losses, csr_array(np.ones((1, len(draws))))]),
        np.r_[constant[draws], constraint.allowed(len(constant))],
    )
