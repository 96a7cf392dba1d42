"""The published measures of a budget office, each with its formula.

The source names its measures and what they are for, not how they are computed; the formulas are ours. An office is held
against the static rule, which keeps every budget as it is, in the same quarters of chance.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bayesalloc.agents.hypervolume import hypervolume

BORNE = 0.1  # standard deviations that a figure may be lower by
NAMED = 5  # effects that a reader can keep in mind
END = 0.9  # of what a run ends with
NEAR = 0.95  # of what can be had
NEGLIGIBLE = 1e-3  # %; a smaller change is rounding


class Saving(NamedTuple):
    """Budget efficiency.

    Attributes:
        percent: of what the static rule spends.
        better: figure -> by how many standard deviations it is better than under the static rule.
    """

    percent: float
    better: dict[str, float]

    @property
    def failing(self) -> list[str]:
        """The figures that are lower by more than BORNE, the worst first: money is saved at their expense."""
        return sorted((name for name, by in self.better.items() if by < -BORNE), key=self.better.__getitem__)


def budget_efficiency(
    spent: Float[np.ndarray, " quarter"],
    static: Float[np.ndarray, " quarter"],
    figures: Mapping[str, Float[np.ndarray, " quarter"]],
    static_figures: Mapping[str, Float[np.ndarray, " quarter"]],
) -> Saving:
    """Budget efficiency: 100 (1 - sum_t c_A(t) / sum_t c_S(t)) %, and what became of each figure k for it.

    A figure is better by (mean F_A,k - mean F_S,k) / sd F_S,k.

    Args:
        spent: c_A, budgets and costs in each quarter.
        static: c_S, the same under the static rule.
        figures: F_A, by which departments are judged; more is better.
        static_figures: F_S.

    >>> spent, static = np.array([[9.0, 9.0], [10.0, 10.0]])
    >>> found = budget_efficiency(spent, static, {"sales": np.zeros(2)}, {"sales": np.arange(2.0)})
    >>> round(found.percent), found.better, found.failing
    (10, {'sales': -1.0}, ['sales'])
    """
    better = {
        name: float((values.mean() - static_figures[name].mean()) / static_figures[name].std())
        for name, values in figures.items()
    }
    return Saving(100.0 * float(1.0 - spent.sum() / static.sum()), better)


def pareto_share(
    points: Float[np.ndarray, "point objective"],
    ceiling: Float[np.ndarray, "other objective"],
    reference: Float[np.ndarray, " objective"],
) -> float:
    """Pareto optimality: the hypervolume over that of the ceiling, from the same reference.

    Args:
        points: what an office brings for some weights.
        ceiling: what the best plans bring.
        reference: what counts as nothing.

    >>> pareto_share(np.array([[1.0, 1.0]]), np.array([[2.0, 1.0], [1.0, 2.0]]), np.zeros(2)).__round__(2)
    0.33
    """
    return hypervolume(points, reference) / hypervolume(ceiling, reference)


def additive_epsilon(
    points: Float[np.ndarray, "point objective"], union: Float[np.ndarray, "other objective"]
) -> float:
    """Pareto optimality: max_z min_a max_k (z_k - a_k), what all points lack to be as good as the union's front.

    Args:
        points: a, what an office brings for some weights.
        union: z, what all offices that are compared bring, these points among it; only its front matters.

    >>> additive_epsilon(np.array([[1.0, 1.0]]), np.array([[1.0, 1.0], [1.5, 0.0]]))
    0.5
    """
    return float((union[:, None] - points).max(-1).min(1).max())


def steps_to_end(steps: Sequence[int], values: Sequence[float], part: float = END) -> int:
    """Pareto optimality: the first of the steps looked at from which on the value is at least a part of the last one.

    >>> steps_to_end([10, 20, 30, 40], [9.0, 5.0, 9.5, 10.0])
    30
    """
    below = np.flatnonzero(np.asarray(values) < part * values[-1])
    return steps[below[-1] + 1 if len(below) else 0]


class Accuracy(NamedTuple):
    """Impact accuracy.

    Attributes:
        rmse: root mean square error.
        signs: of what is moved, the share whose direction is forecast rightly; a forecast of nothing is not right.
        coverage: of what is moved, the share inside its interval; None where there are no intervals.
    """

    rmse: float
    signs: float
    coverage: float | None


def impact_accuracy(
    forecast: Float[np.ndarray, "*pair"],
    truth: Float[np.ndarray, "*pair"],
    interval: tuple[Float[np.ndarray, "*pair"], Float[np.ndarray, "*pair"]] | None = None,
) -> Accuracy:
    """Impact accuracy: sqrt(mean (f - x)^2), and over x not 0 the shares of sign f = sign x and of low <= x <= high.

    Args:
        forecast: f, what was expected.
        truth: x, what happens.
        interval: low and high.

    >>> impact_accuracy(np.array([0.0, 1.0, 1.0]), np.array([0.0, 1.0, -1.0]))
    Accuracy(rmse=1.1547005383792515, signs=0.5, coverage=None)
    """
    moved = np.abs(truth) > 1e-12
    inside = None if interval is None else (interval[0] <= truth) & (truth <= interval[1])
    return Accuracy(
        float(np.sqrt(np.square(forecast - truth).mean())),
        float((np.sign(forecast) == np.sign(truth))[moved].mean()),
        None if inside is None else float(inside[moved].mean()),
    )


def stability(
    one: Float[np.ndarray, "*batch department"],
    other: Float[np.ndarray, "*batch department"],
    reach: Float[np.ndarray, " department"],
) -> float:
    """Stability: 1 - sum_d |a_d - a'_d| / (2 sum_d m_d), the mean over a batch; 1 where two seeds propose the same.

    Args:
        one: a, changes that are proposed with one seed.
        other: a', with another.
        reach: m, the largest change there may be, up or down.

    >>> stability(np.array([5.0, 0.0]), np.array([-5.0, 0.0]), np.full(2, 5.0))
    0.5
    """
    return float(1.0 - (np.abs(one - other).sum(-1) / (2.0 * reach.sum())).mean())


def interpretability(contributions: Float[np.ndarray, "..."], named: int = NAMED) -> float:
    """Interpretability: the share of a forecast in its largest effects, sum over these of |c_i| / sum_i |c_i|.

    Args:
        contributions: c, one for each effect that has a name, as a department's on an objective.
        named: how many effects are named; of a forecast of nothing the share is 1.

    >>> interpretability(np.array([[4.0, -4.0], [1.0, 1.0]]), named=2)
    0.8
    """
    sizes = np.sort(np.abs(contributions), axis=None)[::-1]
    return float(sizes[:named].sum() / sizes.sum()) if sizes.any() else 1.0


class Manageability(NamedTuple):
    """How much is asked of those who carry it out: departments whose budget changes a quarter, and broken limits."""

    departments: float
    violations: int


def manageability(
    changes: Float[np.ndarray, "*quarter department"], violations: Float[np.ndarray, "*quarter"]
) -> Manageability:
    """Manageability: mean_t #{d: a_d(t) is not 0}, and the sum of violations, which must be 0.

    Args:
        changes: a, of each budget, %.
        violations: of hard limits.

    >>> manageability(np.array([[5.0, 0.0], [-5.0, 5.0]]), np.zeros(2))
    Manageability(departments=1.5, violations=0)
    """
    return Manageability(float((np.abs(changes) > NEGLIGIBLE).sum(-1).mean()), int(violations.sum()))


class Adapted(NamedTuple):
    """Quarters until an office is near the new ceiling; where it never is, `censored`, as many as were looked at."""

    quarters: int
    censored: bool


def adaptability(
    rewards: Float[np.ndarray, " quarter"],
    static: Float[np.ndarray, " quarter"],
    ceiling: Float[np.ndarray, " quarter"],
    near: float = NEAR,
) -> Adapted:
    """Adaptability: the quarters after a break until r_A - r_S stays at 95 % or more of r_C - r_S.

    Args:
        rewards: r_A, weighted rewards in the quarters from the break on, means over courses of chance.
        static: r_S, under the static rule.
        ceiling: r_C, of the best plan for what is now, if it had been moved to before.
        near: which part is near.

    >>> adaptability(np.array([1.0, 5.0, 9.6, 9.7]), np.zeros(4), np.full(4, 10.0))
    Adapted(quarters=2, censored=False)
    """
    far = np.flatnonzero(rewards - static < near * (ceiling - static))
    quarters = int(far[-1]) + 1 if len(far) else 0
    return Adapted(quarters, quarters == len(rewards))
