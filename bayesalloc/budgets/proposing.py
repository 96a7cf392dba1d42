"""Proposed changes of budgets: the best within limits, by linear programming over draws of joint effects.

    maximise  sum_k w_k mean_m G^m_k . a  -  lambda CausalRisk(a)

over changes a in % of each decision's money, with G^m_k what a percent does to objective k under draw m: to the money
in % of all that is decided on, to another objective in its standard deviations. What changes themselves cost is part of
the money. CausalRisk is a sum of positive parts, so that the best is found exactly.
"""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, eye_array, hstack

from bayesalloc.budgets.question import MONEY, Question, named
from bayesalloc.discovery.joint import Joint
from bayesalloc.discovery.risk import Risk, risk_of

RISK_DRAWS = 200  # of the effects, in the programme
LAMBDAS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
LATTICE = {2: 10, 3: 5, 4: 3}  # number of objectives -> steps of their weights
LEAST = 0.05  # %; a smaller change is none


class Stakes(NamedTuple):
    """What is at stake, as numbers.

    Attributes:
        objectives: their names.
        gain: what a percent more of each decision does to each.
        weight: of each objective; they sum to 1.
        risk: of harm to what is protected, by percent changes too.
    """

    objectives: tuple[str, ...]
    gain: Float[np.ndarray, "draw objective decision"]
    weight: Float[np.ndarray, " objective"]
    risk: Risk


class Point(NamedTuple):
    """One way to change budgets, and what is expected of it.

    Attributes:
        change: % of each decision's money.
        weight: of the objectives it is best for.
        price: lambda, what a unit of causal risk costs.
        objectives: expected of each.
        causal_risk: see `discovery.risk`.
    """

    change: Float[np.ndarray, " decision"]
    weight: Float[np.ndarray, " objective"]
    price: float
    objectives: Float[np.ndarray, " objective"]
    causal_risk: float

    @property
    def worth(self) -> float:
        """W . R - lambda CausalRisk."""
        return float(self.weight @ self.objectives) - self.price * self.causal_risk


def stakes(question: Question, joint: Joint, spread: Float[np.ndarray, " variable"]) -> Stakes:
    """What is at stake.

    Args:
        question: of the office.
        joint: effects of all decisions at once, in the order of the question's.
        spread: standard deviation of each variable.
    """
    per_percent = joint.draws * question.per_percent
    objectives = named(question.goals)
    gain = worths(question, joint.names, per_percent.swapaxes(1, 2), spread).swapaxes(1, 2)
    if MONEY in objectives:
        gain[:, objectives.index(MONEY)] -= question.base / question.base.sum()
    weights = [_weight(question, name) for name in objectives]
    risk = risk_of(joint._replace(draws=per_percent), question.protected, spread)
    return Stakes(tuple(objectives), gain, np.array(weights) / np.sum(weights), risk)


def worths(
    question: Question,
    names: tuple[str, ...],
    moved: Float[np.ndarray, "*batch variable"],
    spread: Float[np.ndarray, " variable"],
) -> Float[np.ndarray, "*batch objective"]:
    """What movements of variables are worth to each objective, without what they cost.

    Args:
        question: of the office.
        names: the variables.
        moved: each in its own unit.
        spread: standard deviation of each.
    """
    found = []
    for name in named(question.goals):
        total = np.zeros(moved.shape[:-1])
        for each, goal in question.goals.items():
            if (each == name) if goal.base is None else (name == MONEY):
                place = names.index(each)
                own = 1.0 / spread[place] if goal.base is None else goal.base / question.base.sum()
                share = 1.0 if goal.base is None else goal.weight / (_weight(question, MONEY) or 1.0)
                total = total + (1.0 if goal.better == "higher" else -1.0) * share * own * moved[..., place]
        found.append(total)
    return np.stack(found, -1)


def _weight(question: Question, objective: str) -> float:
    """The office's weight of an objective: of the money, the largest among its parts."""
    if objective != MONEY:
        return question.goals[objective].weight
    return max(goal.weight for goal in question.goals.values() if goal.base is not None)


def best(
    question: Question,
    at: Stakes,
    weight: Float[np.ndarray, " objective"] | None = None,
    price: float = 1.0,
) -> Point:
    """The best changes within the limits.

    Args:
        question: of the office.
        at: what is at stake.
        weight: of the objectives; default: the office's own.
        price: lambda.
    """
    weight = at.weight if weight is None else weight
    n, limits = len(question.decisions), question.limits
    harm = at.risk.effect[:RISK_DRAWS] if price > 0 else at.risk.effect[:0]
    draws, guarded = harm.shape[:2]
    worth = weight @ at.gain.mean(0)
    penalty = np.tile(at.risk.weight, draws) * price / max(draws, 1)
    # Up, down, harm beyond what is tolerated (a number for each draw and what is protected), whether it changes.
    ties = 1e-9 * np.abs(worth).max()
    cost = np.concatenate([ties - worth, ties + worth, penalty, np.zeros(n)])
    flat = csr_array(harm.reshape(-1, n))
    unit = eye_array(n)
    rows = (
        [
            LinearConstraint(
                hstack([flat, -flat, -eye_array(draws * guarded), csr_array((draws * guarded, n))]),
                -np.inf,
                np.tile(at.risk.tolerance, draws),  # pyright: ignore[reportArgumentType] SciPy's types say one number
            )
        ]
        if draws * guarded
        else []
    )
    money = np.concatenate([question.base, -question.base, np.zeros(draws * guarded + n)]) / 100.0
    rows.append(LinearConstraint(money, 0.0 if question.balanced else -np.inf, question.room))
    most = np.where(question.free, limits.change, 0.0)
    switched = hstack([unit, unit, csr_array((n, draws * guarded)), -limits.change * unit])
    rows.append(LinearConstraint(switched, -np.inf, 0.0))
    count = np.concatenate([np.zeros(2 * n + draws * guarded), np.ones(n)])
    rows.append(LinearConstraint(count, 0, limits.departments or n))
    high = np.concatenate([most, most, np.full(draws * guarded, np.inf), np.ones(n)])
    integral = np.concatenate([np.zeros(2 * n + draws * guarded), np.full(n, float(limits.departments is not None))])
    between = Bounds(0, high)  # pyright: ignore[reportArgumentType] SciPy's types say one number
    found = milp(cost, constraints=rows, bounds=between, integrality=integral)
    if found.x is None:
        raise ArithmeticError(f"the linear programme was not solved: {found.message}")
    change = found.x[:n] - found.x[n : 2 * n]
    return judged(at, np.where(np.abs(change) < LEAST, 0.0, change), weight, price)


def helps(at: Stakes, point: Point) -> Float[np.ndarray, " decision"]:
    """The probability that each change is worth more than none of that decision, the others being made."""
    worth = np.einsum("k,mkd->md", point.weight, at.gain) * point.change
    moved = at.risk.effect * point.change
    harm = moved.sum(-1) - at.risk.tolerance
    spared = harm.clip(0.0)[..., None] - (harm[..., None] - moved).clip(0.0)
    return (worth > point.price * np.einsum("v,mvd->md", at.risk.weight, spared)).mean(0)


def sure_ones(question: Question, at: Stakes, least: float, price: float) -> Point:
    """The best changes of decisions whose change helps at least so probably.

    Args:
        question: of the office.
        at: what is at stake.
        least: that probability.
        price: lambda.
    """
    free = question.free
    while True:
        point = best(question._replace(free=free), at, price=price)
        left = free & ((helps(at, point) >= least) | (point.change == 0))
        if (left == free).all():
            return point
        free = left


def judged(at: Stakes, change: Float[np.ndarray, " decision"], weight: np.ndarray, price: float) -> Point:
    """What is expected of changes."""
    return Point(change, weight, price, at.gain.mean(0) @ change, float(at.risk.parts(change).sum()))


def front(question: Question, at: Stakes, price: float) -> list[Point]:
    """The best changes for other prices of causal risk and other weights, none of which another beats in all respects.

    Args:
        question: of the office.
        at: what is at stake.
        price: lambda of those with other weights.
    """
    points = [best(question, at, price=each) for each in LAMBDAS]
    count = len(at.objectives)
    if count in LATTICE:
        steps = LATTICE[count]
        grid = [each for each in itertools.product(range(steps + 1), repeat=count) if sum(each) == steps]
        points += [best(question, at, np.array(each) / steps, price) for each in grid]
    elif count > 1:
        points += [best(question, at, each, price) for each in np.eye(count)]
    values = np.array([[*point.objectives, -point.causal_risk] for point in points]).round(9)
    beaten = [((values >= each).all(1) & (values > each).any(1)).any() for each in values]
    _, first = np.unique(values, axis=0, return_index=True)
    return [points[i] for i in sorted(first) if not beaten[i]]


def of_all(joint: Joint, question: Question) -> Joint:
    """With decisions that were left out of the books since others give them: nothing is told of those but transfers."""
    draws = np.zeros((*joint.draws.shape[:2], len(question.decisions)))
    for place, name in enumerate(question.decisions):
        if name in joint.decisions:
            draws[..., place] = joint.draws[..., joint.decisions.index(name)]
    return joint._replace(draws=draws, decisions=question.decisions)
