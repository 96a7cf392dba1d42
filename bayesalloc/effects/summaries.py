"""What reports show beside the effects a result holds: courses over years, over a sweep and over a training run."""

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
    """Mean over draws, and the interval that holds the draws; each of shape (arm, year, ...)."""

    mean: Statistic
    low: Statistic
    high: Statistic


class Past(NamedTuple):
    """One outcome of a counterfactual over its years: both means, and statistics of their difference."""

    factual: Statistic
    counterfactual: Statistic
    mean: Statistic
    low: Statistic
    high: Statistic
    prob_positive: Statistic


def courses(tree: xr.DataTree) -> xr.Dataset:
    """The outcomes' courses over the years: axes statistic (mean, low, high), arm, year, ...

    Args:
        tree: a result of `compare` or `counterfactual` with the group `outcomes`.
    """
    tail = (1 - tree.attrs["interval"]) / 2

    def course(_: str, values: np.ndarray) -> Course:
        low, high = np.quantile(values, [tail, 1 - tail], axis=1)
        return Course(values.mean(1), low, high)

    return _each(tree, course, ("arm", "year"))


def yearly_means(tree: xr.DataTree) -> xr.Dataset:
    """Mean over draws of every outcome in every arm and year."""
    return tree["outcomes"].to_dataset().mean("draw")


def past(tree: xr.DataTree) -> xr.Dataset:
    """Each outcome of a counterfactual over its years: axis statistic (see `Past`), ...

    A stock is taken in the last year, a flow as the mean over the years from the intervention on.
    """
    units = json.loads(tree.attrs["units"])
    since = tree["outcomes"]["year"].values >= tree.attrs["from_year"]

    def over_years(outcome: str, values: np.ndarray) -> Past:
        at = units.get(outcome, {}).get("at")
        factual, counterfactual = values[:, :, -1] if at == "horizon" else values[:, :, since].mean(2)
        effect = difference(counterfactual - factual, tree.attrs["interval"])
        return Past(factual.mean(0), counterfactual.mean(0), *effect)

    return _each(tree, over_years, ())


def over_sweep(data: xr.Dataset) -> dict[str, np.ndarray]:
    """Method -> its outcome at each value of a sweep, the mean over episodes: shape (value, graph), NaN where unknown.

    The optimum, known on some graphs only, is taken relative to the last method, which was measured on all.

    Args:
        data: `welfare` with the axes method, value, graph and episode, and the `bound` of the optimum.
    """
    methods = data["method"].values.tolist()
    means = data["welfare"].mean("episode").transpose("method", "value", "graph").values
    lines = dict(zip(methods, means, strict=True))
    if "opt" in lines:
        first = data.isel(episode=0)
        above = (first["bound"] - first["welfare"].isel(method=-1)).transpose("value", "graph").values
        lines["opt"] = above + lines[methods[-1]].mean(1, keepdims=True)
    return lines


def known_means(values: Float[np.ndarray, "value graph"]) -> list[float]:
    """Mean over the graphs that are known at every value; empty where none is."""
    known = values[:, np.isfinite(values).all(0)]
    return known.mean(1).tolist() if known.size else []


def latest_means(values: Float[np.ndarray, " part"], *, logarithmic: bool = False) -> np.ndarray:
    """At each part of a run the mean of the latest tenth of the run up to it; of positive numbers the geometric one."""
    drawn = np.log(values) if logarithmic else values
    width = max(1, math.ceil(len(values) / 10))
    latest = [drawn[max(0, place - width + 1) : place + 1].mean() for place in range(len(drawn))]
    return np.exp(latest) if logarithmic else np.asarray(latest)


def _each(tree: xr.DataTree, summary: Callable[[str, np.ndarray], Any], left: Sequence[str]) -> xr.Dataset:
    """What a function makes of every outcome's values, axes arm, draw, year, ...; `left` are those that it keeps."""
    outcomes, found, names = tree["outcomes"].to_dataset(), {}, ()
    for name, variable in outcomes.data_vars.items():
        axes = [dim for dim in variable.dims if dim not in ("arm", "draw", "year")]
        values = variable.transpose("arm", "draw", "year", *axes).values.astype(float)
        statistics = summary(unescaped(str(name)), values)
        found[name], names = (("statistic", *left, *axes), np.stack(statistics)), statistics._fields
    return xr.Dataset(found, {"statistic": [*names]}).assign_coords(outcomes.drop_dims("draw").coords)
