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

from bayesalloc.impact.design.affine import Affine
from bayesalloc.impact.design.constraints import Constraint
from bayesalloc.impact.design.free import Free

SECONDS = 10.0  # that one programme may take
BRIEFLY = 2.0  # seconds where many are solved
HARDEST = 50  # draws that are looked at, beside twice those in which an agent may refuse


class Programme(NamedTuple):
    """What is to be solved: free numbers, what they do, the name of the objective, constraints, and the time for it."""

    free: Free
    effects: Affine
    maximise: str
    constraints: tuple[Constraint, ...]
    seconds: float = SECONDS


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
        options={"time_limit": programme.seconds, "mip_rel_gap": 1e-6},
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

    Each is left out in turn, and stays out where the others are shown not to be kept all the same.
    """
    kept = programme.constraints
    for constraint in programme.constraints:
        without = tuple(other for other in kept if other != constraint)
        if best(programme._replace(constraints=without, seconds=BRIEFLY)).status == "infeasible":
            kept = without
    return kept


class Losses(NamedTuple):
    """Where an agent may refuse, under any terms under which it does so in few enough draws.

    Attributes:
        most: the largest loss that it can have in each draw.
        doubtful: the draws in which it can have any.
        kept: those in which it could, but for what the others say: its gain there is not negative.
    """

    most: Float[np.ndarray, " draw"]
    doubtful: Int[np.ndarray, " doubtful"]
    kept: Int[np.ndarray, " kept"]


def losses(constraint: Constraint, programme: Programme) -> Losses:
    """The losses that an agent can have.

    An agent may refuse in at most k draws. So of the k + 1 draws whose keeping would say most about this one's gain, at
    least one is kept: the gain here is no less than what the last of them says (Luedtke, Ahmed & Nemhauser 2010,
    Mathematical Programming 122:247).
    """
    constant, slope = constraint.function(programme.effects)
    free, allowed = programme.free, constraint.allowed(len(constant))
    alone = most = free.best(-slope) - constant
    hardest = np.argsort(constant + slope @ free.centre())[: 2 * (allowed + 1) + HARDEST]
    if len(hardest) > allowed:
        apart = free.best(slope[hardest] - slope[:, None]) + constant[hardest] - constant[:, None]
        most = np.minimum(most, np.partition(apart, allowed, axis=1)[:, allowed])
    return Losses(most, np.flatnonzero(most > 0), np.flatnonzero((alone > 0) & (most <= 0)))


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
    most, draws, kept = losses(constraint, programme)  # gain >= -most x binary
    m = len(draws)
    binaries = csr_array((-most[draws], (np.arange(m), np.arange(m))), shape=(m, m))
    return _Rows(
        np.vstack([-slope[draws], -slope[kept], np.zeros((1, slope.shape[1]))]),
        vstack([binaries, csr_array((len(kept), m)), csr_array(np.ones((1, m)))]),
        np.r_[constant[draws], constant[kept], constraint.allowed(len(constant))],
    )
