"""The search over numbers that enter the dynamics, or in which payoffs are not linear: a Gaussian process over a box.

At each point the other numbers are solved for. What a point is worth is its objective where what is asked can be kept
there. Where it cannot, the nearest terms count: their objective, though never as worth more than the best that was kept
or less than the worst, less how far they are from keeping what is asked. That is the sum over constraints of how much
each is missed, in parts of the most by which any point misses it; objectives are in parts of how far those that keep
all lie apart. So no unit matters, and what is missed by nothing costs nothing. While no point keeps all, only what is
missed counts. Once terms are found that keep the limits of agents by some standard errors, this is asked of all.

The best terms often lie where a limit begins to bind, which is a kink that the process only creeps up to. So every
second point halves the way from the best so far to the nearest point that does not keep what is asked.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from bayesalloc.impact.blackbox import Box, box, fitted
from bayesalloc.impact.design.affine import Affine
from bayesalloc.impact.design.free import Free
from bayesalloc.impact.design.margins import SAME, Solution
from bayesalloc.impact.design.splitting import searched_along
from bayesalloc.impact.seeking import proposed

FIRST, FIRST_EACH = 6, 2  # points before the process is asked, and more for each number that is searched
TRIED, TRIED_EACH = 12, 6  # likewise of all
NARROW = 1 / 500  # of the ranges: ways that are not halved any more


class Point(NamedTuple):
    """Searched numbers, and the best terms with them.

    Attributes:
        searched: their values.
        effects: what the other numbers do there, as functions of all.
        solution: of all free numbers.
        objective: what it brings.
        missed: by how much each constraint is missed, in its own unit.
        careful: the same where agents' limits are to be kept by some standard errors.
    """

    searched: Float[np.ndarray, " searched"]
    effects: Affine
    solution: Solution
    objective: float
    missed: list[float]
    careful: list[float]

    @property
    def level(self) -> int:
        """2 where all is kept by some standard errors, 1 where it is kept, 0 where it is not."""
        return int(self.solution.found) + int(self.solution.found and self.solution.cautious)


class Search(NamedTuple):
    """What was tried.

    Attributes:
        names: of the searched numbers.
        points: in the order in which they were tried.
    """

    names: list[str]
    points: list[Point]

    @property
    def best(self) -> Point:
        """The first of those that bring most, with the most care; the nearest where none keeps what is asked."""
        level = max(point.level for point in self.points)
        if not level:
            return self.points[int(np.argmax(worth(self.points)))]
        kept = [point for point in self.points if point.level == level]
        top = max(point.objective for point in kept)
        return next(point for point in kept if point.objective >= top - SAME * abs(top))

    @property
    def so_far(self) -> list[float | None]:
        """The best objective among the points up to each that keep what is asked."""
        found: list[float | None] = []
        for i in range(len(self.points)):
            until = Search(self.names, self.points[: i + 1]).best
            found.append(until.objective if until.level else None)
        return found


def search(free: Free, evaluate: Callable[[Float[np.ndarray, " searched"]], Point], key: jax.Array) -> Search:
    """Try as many points as there are to be; the first is what is in force, or the nearest that is free.

    Args:
        free: the searched numbers.
        evaluate: what their values bring.
        key: of all that is random.
    """
    places = searched_along(free)
    space, keys = _space(free, places), jax.random.split(key, TRIED + TRIED_EACH * len(places))
    first = _spread(keys[0], FIRST + FIRST_EACH * len(places), len(places))
    starts = np.asarray(space.low) + first * np.asarray(space.high - space.low)
    points = [evaluate(free.nearest(free.start))]
    for count, each in enumerate(keys[1:], start=1):
        tried = np.array([point.searched for point in points])
        halved = _halfway(free, points) if count % 2 else None
        if count < len(starts):
            values = _values(free, places, starts[count])
        elif halved is not None:
            values = _values(free, places, halved[places])
        else:
            belief = fitted(tried[:, places], worth(points), space)
            values = _values(free, places, proposed(belief, each).point)
        if (np.abs(tried - values) <= 1e-9 * (free.high - free.low)).all(1).any():  # it is known: look elsewhere
            values = _values(free, places, np.asarray(space.random(each, 1)[0]))
        points.append(evaluate(values))
    return Search([number.name for number in free.numbers], points)


def worth(points: Sequence[Point]) -> Float[np.ndarray, " point"]:
    """What each point is worth, free of units; see the beginning of this file."""
    level = max(1, *(point.level for point in points))
    kept = np.array([point.level >= level for point in points])
    missed = np.array([point.careful if level > 1 else point.missed for point in points])
    missed = np.where(kept[:, None], 0.0, missed)
    most = missed.max(0, initial=0.0)
    lost = (missed / np.where(most > 0, most, 1.0)).sum(1)
    if not kept.any():
        return -lost
    objective = np.array([point.objective for point in points])
    low, high = objective[kept].min(), objective[kept].max()
    return np.clip(objective, low, high) / (high - low if high > low else max(abs(high), 1.0)) - lost


def _halfway(free: Free, points: list[Point]) -> Float[np.ndarray, " searched"] | None:
    """Between the best point and the nearest that does not keep what is asked; None: there is none, or it is close."""
    best = Search([], points).best
    beyond = [point.searched for point in points if point.level < best.level]
    apart = [float(np.abs((values - best.searched) / (free.high - free.low)).max()) for values in beyond]
    if not beyond or min(apart) <= NARROW:
        return None
    return 0.5 * (best.searched + beyond[int(np.argmin(apart))])


def _space(free: Free, places: list[int]) -> Box:
    """The ranges, narrowed to what the others leave of a sum."""
    low, high = free.low, free.high
    for members, total in free.tables():
        low[members] = np.maximum(free.low[members], total - (free.high[members].sum() - free.high[members]))
        high[members] = np.minimum(free.high[members], total - (free.low[members].sum() - free.low[members]))
    return box(low[places], high[places])


def _values(free: Free, places: list[int], point: Float[np.ndarray, " place"]) -> Float[np.ndarray, " searched"]:
    """All searched numbers, as a contract would state them: those left out make up for the others."""
    values = free.centre()
    values[places] = point
    for members, total in free.tables():
        [rest] = set(members) - set(places)
        values[rest] += total - values[members].sum()
    return free.rounded(free.nearest(values))


def _spread(key: jax.Array, count: int, dimensions: int) -> Float[np.ndarray, "point dimension"]:
    """A Latin hypercube."""
    order, within = jax.random.split(key)
    ranks = np.stack([jax.random.permutation(each, count) for each in jax.random.split(order, dimensions)], axis=1)
    return (ranks + np.asarray(jax.random.uniform(within, ranks.shape))) / count
