"""What reports show beside the effects that a result holds: courses over its periods and over a training run."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from bayesalloc.effects.contrasts import Statistic, difference
from bayesalloc.inference.names import unescaped


class Course(NamedTuple):
    """Mean over draws, and the interval that holds the draws; each of shape (arm, period, ...)."""

    mean: Statistic
    low: Statistic
    high: Statistic


class Past(NamedTuple):
    """One outcome of a counterfactual over its periods: both means, and statistics of their difference."""

    factual: Statistic
    counterfactual: Statistic
    mean: Statistic
    low: Statistic
    high: Statistic
    prob_positive: Statistic


def courses(tree: xr.DataTree) -> xr.Dataset:
    """The outcomes' courses over the periods: axes statistic (mean, low, high), arm, period, ...

    Args:
        tree: a result of `compare` or `counterfactual` with the group `outcomes`.
    """
    tail = (1 - tree.attrs["interval"]) / 2

    def course(_: str, values: np.ndarray) -> Course:
        low, high = np.quantile(values, [tail, 1 - tail], axis=1)
        return Course(values.mean(1), low, high)

    return _each(tree, course, ("arm", _period(tree)))


def mean_courses(tree: xr.DataTree) -> xr.Dataset:
    """Mean over draws of every outcome in every arm and period."""
    return tree["outcomes"].to_dataset().mean("draw")


def past(tree: xr.DataTree) -> xr.Dataset:
    """Each outcome of a counterfactual over its periods: axis statistic (see `Past`), ...

    A stock is taken in the last period, a flow as the mean over those from the intervention on.
    """
    units = json.loads(tree.attrs["units"])
    since = tree["outcomes"][_period(tree)].values >= tree.attrs["from_year"]

    def over_periods(outcome: str, values: np.ndarray) -> Past:
        at = units.get(outcome, {}).get("at")
        factual, counterfactual = values[:, :, -1] if at == "horizon" else values[:, :, since].mean(2)
        effect = difference(counterfactual - factual, tree.attrs["interval"])
        return Past(factual.mean(0), counterfactual.mean(0), *effect)

    return _each(tree, over_periods, ())


def latest_means(values: Float[np.ndarray, " part"], *, logarithmic: bool = False) -> np.ndarray:
    """At each part of a run the mean of the latest tenth of the run up to it; of positive numbers the geometric one."""
    drawn = np.log(values) if logarithmic else values
    width = max(1, math.ceil(len(values) / 10))
    latest = [drawn[max(0, place - width + 1) : place + 1].mean() for place in range(len(drawn))]
    return np.exp(latest) if logarithmic else np.asarray(latest)


def _period(tree: xr.DataTree) -> str:
    return str(tree.attrs.get("period", "year"))


def _each(tree: xr.DataTree, summary: Callable[[str, np.ndarray], Any], left: Sequence[str]) -> xr.Dataset:
    """What a function makes of every outcome's values, axes arm, draw, period, ...; `left` are those that it keeps."""
    outcomes, found, names, first = tree["outcomes"].to_dataset(), {}, (), ("arm", "draw", _period(tree))
    for name, variable in outcomes.data_vars.items():
        axes = [dim for dim in variable.dims if dim not in first]
        values = variable.transpose(*first, *axes).values.astype(float)
        statistics = summary(unescaped(str(name)), values)
        found[name], names = (("statistic", *left, *axes), np.stack(statistics)), statistics._fields
    return xr.Dataset(found, {"statistic": [*names]}).assign_coords(outcomes.drop_dims("draw").coords)
