"""Books of levels that last: what each period adds, which tells causes and effects where levels do not.

A level is taken for a share d of the level before and a surprise, L(t) = d L(t-1) + x(t); graphs and effects are those
of surprises. d is the slope within units, for each column, freed of what short records take off it (Nickell 1981,
Econometrica 49:1417; of few units Kendall 1954, Biometrika 41:403). Columns whose sum never changes share one.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bayesalloc.errors import InputError, quoted

LEAST = 5  # pairs of periods, below which nothing is said to be carried over


class Memory(NamedTuple):
    """What lasts of levels.

    Attributes:
        carried: share of each variable's level that is left a period later.
        values: the levels, in the rows of the surprises.
        last: unit ("" where there is none) -> its levels in the last period of all, NaN where missing.
    """

    carried: Float[np.ndarray, " variable"]
    values: Float[np.ndarray, "row variable"]
    last: dict[str, Float[np.ndarray, " variable"]]


def ordered(periods: Sequence[str], path: str | Path) -> dict[str, int]:
    """The place of each period in time: by its year, and by its other numbers.

    Raises:
        InputError: where two have the same.

    >>> ordered(["2021-Q1", "2020-Q4", "2020-Q1"], "books.csv")
    {'2020-Q1': 0, '2020-Q4': 1, '2021-Q1': 2}
    """
    keys: dict[tuple[int, ...], str] = {}
    for period in dict.fromkeys(periods):
        numbers = re.findall("[0-9]+", period)
        key = tuple(map(int, sorted(numbers, key=lambda number: len(number) != 4)))  # the year first
        if key in keys:
            raise InputError(
                f"{path}: of the periods '{quoted(keys[key])}' and '{quoted(period)}' it cannot be told which comes"
                " first; write them as 2024-Q1, 2024-Q2"
            )
        keys[key] = period
    return {keys[key]: place for place, key in enumerate(sorted(keys))}


def surprises(
    values: Float[np.ndarray, "row variable"],
    units: Sequence[str],
    when: Sequence[int],
    together: Sequence[Sequence[int]] = (),
) -> tuple[Float[np.ndarray, "pair variable"], np.ndarray, Memory]:
    """What each period adds to levels, and in which rows.

    Args:
        values: levels.
        units: of each row.
        when: of each row, counted in periods.
        together: variables that share a d.

    >>> level = np.array([[1.0], [3.0], [1.5], [4.0], [2.0], [1.0], [3.0]])
    >>> added, rows, memory = surprises(level, ["a"] * 7, range(7))
    >>> rows.tolist(), bool(np.allclose(added, level[1:] - memory.carried * level[:-1]))
    ([1, 2, 3, 4, 5, 6], True)
    """
    place: dict[tuple[str, int], int] = {key: row for row, key in enumerate(zip(units, when, strict=True))}
    rows = np.array([row for (unit, at), row in place.items() if (unit, at - 1) in place], int)
    earlier = np.array([place[units[int(row)], when[int(row)] - 1] for row in rows], int)
    whose = np.unique([units[row] for row in rows], return_inverse=True)[1]
    carried = np.array([carried_over(values[earlier, j], values[rows, j], whose) for j in range(values.shape[1])])
    for members in together:
        carried[list(members)] = carried[list(members)].mean()
    end = max(when, default=0)
    last = {unit: values[row] for (unit, at), row in place.items() if at == end}
    return values[rows] - carried * values[earlier], rows, Memory(carried, values[rows], last)


def carried_over(before: np.ndarray, after: np.ndarray, units: np.ndarray) -> float:
    """The share of a level that is left a period later; between 0 and 1.

    Args:
        before: levels.
        after: those a period later.
        units: whose they are, as numbers from 0.
    """
    there = ~np.isnan(before + after)
    size = np.bincount(units[there])
    if there.sum() < LEAST or size.max(initial=0) < 3:
        return 0.0
    inside = [
        each[there] - (np.bincount(units[there], each[there]) / np.maximum(size, 1))[units[there]]
        for each in (before, after)
    ]
    spread = (inside[0] ** 2).sum()
    slope = float((inside[0] * inside[1]).sum() / spread) if spread > 0 else 0.0
    grid = np.linspace(0.0, 0.999, 1000)
    periods, count = float(size[size > 0].mean()), int((size > 0).sum())
    return float(grid[np.abs(grid + _bias(grid, periods) - 2 * grid / (count * periods) - slope).argmin()])


def _bias(carried: np.ndarray, periods: float) -> np.ndarray:
    """What the slope within many units falls short by, for so many pairs of periods in each."""
    left = 1.0 - carried
    mean = (1.0 - carried**periods) / (periods * left)
    return (
        -(1.0 + carried)
        / (periods - 1.0)
        * (1.0 - mean)
        / (1.0 - 2.0 * carried * (1.0 - mean) / (left * (periods - 1.0)))
    )
