"""Learning curves: named series, each with the way in which a part of a run becomes one number."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import xarray as xr


class Series(NamedTuple):
    """What a learning curve shows beside steps and episodes: numbers, or vectors with an element for each objective.

    Attributes:
        name: of it.
        over: what stands for a part of the run: the "sum" of its iterations, their "mean" (of those that are finite),
            the "last" of them, or their sum for each "episode" that ended, NaN where none did.
        says: what it is, for readers of the report.
    """

    name: str
    over: Literal["sum", "mean", "last", "episode"]
    says: str

    def reduced(self, values: np.ndarray, ended: int) -> np.ndarray:
        """A part of the run as one number (or vector), from a leading axis of iterations.

        >>> float(Series("loss", "mean", "how wrong it was").reduced(np.array([np.nan, 1.0, 2.0]), ended=0))
        1.5
        """
        if self.over == "last":
            return np.asarray(values[-1])
        known = np.isfinite(values) if self.over == "mean" else np.ones_like(values, bool)
        total = values.sum(0, dtype=float, where=known)
        if self.over == "sum":
            return np.asarray(total)
        count = np.asarray(ended if self.over == "episode" else known.sum(0), float)
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


class Row(NamedTuple):
    """A chunk in the learning curve: counts from the run's beginning, and series over the chunk (a list: a vector)."""

    steps: int
    episodes: int
    series: dict[str, float | list[float]]


class Written(msgspec.Struct):
    """A row as a checkpoint has it: null in place of what is not finite."""

    steps: int
    episodes: int
    series: dict[str, float | list[float | None] | None]


def fits(rows: Sequence[Row], series: Sequence[Series]) -> bool:
    """Whether rows have these series, and each of them everywhere as many elements."""
    forms = [{name: np.shape(value) for name, value in row.series.items()} for row in rows]
    return all(form == forms[0] and set(form) == {each.name for each in series} for form in forms)


def curve(rows: Sequence[Row], series: Sequence[Series], goal: str = "") -> xr.Dataset:
    """The learning curve as a dataset over the steps, and the objectives where a series has several.

    Args:
        rows: of the run.
        series: of its trainer; what each says, and over what it is taken, become attributes.
        goal: what an episode's return is.

    >>> returns = Series("return", "episode", "the sum of an episode's rewards")
    >>> curve([Row(100, 9, {"return": 0.5}), Row(200, 20, {"return": 0.75})], [returns])["return"].values.tolist()
    [0.5, 0.75]
    """
    data = xr.Dataset({"episodes": ("steps", [row.episodes for row in rows])}, {"steps": [row.steps for row in rows]})
    for each in series:
        values = np.asarray([row.series[each.name] for row in rows])
        data[each.name] = ("steps", "objective")[: values.ndim], values, {"says": each.says, "over": each.over}
    data.attrs["goal"] = goal
    return data


def written(row: Row) -> dict[str, Any]:
    """The row in types of JSON."""

    def or_null(value: Any) -> Any:
        return [*map(or_null, value)] if isinstance(value, list) else value if math.isfinite(value) else None

    return {**row._asdict(), "series": {name: or_null(value) for name, value in row.series.items()}}


def read(row: Written) -> Row:
    """The row that was written."""

    def or_nan(value: Any) -> Any:
        return [*map(or_nan, value)] if isinstance(value, list) else math.nan if value is None else value

    return Row(row.steps, row.episodes, {name: or_nan(value) for name, value in row.series.items()})
