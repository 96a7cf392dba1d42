"""A fit as an ArviZ tree: its groups, and what the dimensions of every variable are called."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from bayesalloc.following import mask_of
from bayesalloc.inference.names import escaped
from bayesalloc.inference.posing import Problem, keywords
from bayesalloc.sites import site_dims

Dims = Mapping[str, Sequence[str]]


def dimensions(problem: Problem, trace: Mapping[str, Any]) -> tuple[dict[str, tuple[str, ...]], dict[str, Any]]:
    """Names for the axes of every site, and labels for those that have some.

    They are named by the plates and scans of the program; in an environment the scan is over periods, and other axes
    get the environment's own dimension where one alone has their length.
    """
    env = problem.environment
    coords: dict[str, Any] = {} if env is None else {name: list(labels) for name, labels in env.coords.items()}
    named = site_dims(trace)
    for name, labels in problem.categories.items():
        coords |= dict.fromkeys((name, f"{name}s"), labels)
    if env is None:
        return named, coords
    dims = {}
    for name, axes in named.items():
        outcome = name.removesuffix("_observed")
        sizes, known = np.shape(trace[name]["value"]), env.outcomes[outcome].dims if outcome in env.outcomes else ()
        fitting = [[dim for dim, labels in coords.items() if len(labels) == size] for size in sizes]
        anew = [found[0] if len(found) == 1 else axis for found, axis in zip(fitting, axes, strict=True)]
        if sizes and sizes[0] == len(problem.periods) and (axes[0] == "period" or outcome in env.outcomes):
            anew[0] = env.period
            anew[1:] = known if len(known) == len(anew) - 1 else anew[1:]
        dims[name] = tuple(anew)
    return dims, {**coords, env.period: problem.periods}


def group(
    values: Mapping[str, Any], dims: Dims, coords: Mapping[str, Any], leading: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """Arrays as one group of a tree.

    Args:
        values: site -> array.
        dims: site -> names of its axes; those that fit nothing else are `<site>_dim_0` and so on.
        coords: dimension -> labels.
        leading: dimensions that every array has first, with their labels.
    """
    first = dict(leading or {})
    sizes: dict[str, int] = {name: len(labels) for name, labels in first.items()}
    variables, used = {}, {}
    for name, value in values.items():
        shape = np.shape(value)[len(first) :]
        named = dims.get(name, ())[: len(shape)]  # the density of an event lacks its axes
        named = named if len(named) == len(shape) else [f"{name}_dim_{axis}" for axis in range(len(shape))]
        axes = []
        for axis, (dim, size) in enumerate(zip(named, shape, strict=True)):
            free = dim not in values and dim not in axes and sizes.get(dim, size) == size
            axes.append(dim if free else f"{name}_dim_{axis}")
            sizes[axes[-1]] = size
            labels = coords.get(axes[-1], ())
            used[axes[-1]] = list(labels) if len(labels) == size else np.arange(size)
        variables[escaped(name)] = ([*first, *map(escaped, axes)], np.asarray(value))
    return xr.Dataset(variables, {**first, **{escaped(dim): labels for dim, labels in used.items()}})


def likelihoods(values: Mapping[str, Any], dims: Dims, coords: Mapping[str, Any], leading: Mapping[str, Any]) -> Any:
    """The group `log_likelihood`: what is missing has no density, so the elements that are there make a list.

    The list of a site with gaps has a dimension of its own, `<site>_there`: the labels of its elements along a site's
    one dimension, or their places in the flattened site.
    """
    kept, axes, labels = {}, dict(dims), dict(coords)
    for name, value in values.items():
        gaps = np.isnan(value).all((0, 1))
        if gaps.any():
            places = np.flatnonzero(~gaps)
            known = labels.get(dims[name][0]) if gaps.ndim == 1 and name in dims else None
            axes[name] = (f"{name}_there",)
            labels[f"{name}_there"] = places if known is None else np.asarray(known)[places]
            value = value.reshape(*value.shape[:2], -1)[..., places]
        kept[name] = value
    return group(kept, axes, labels, leading)


def observed(trace: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The observed sites' recorded values, NaN where one is missing: masked, or imputed.

    Args:
        trace: one trace of the model given the record.
        other: another one; an observed value that differs between them is not from the record.
    """
    found = {}
    for name, site in trace.items():
        if site["type"] == "sample" and site["is_observed"] and np.size(site["value"]):
            value = np.asarray(site["value"])
            mask = mask_of(site["fn"], value.shape)
            there = (value == np.asarray(other[name]["value"])) & (True if mask is None else np.asarray(mask))
            found[name] = value if there.all() else np.where(there, value, np.nan)
    return found


def constants(problem: Problem, recorded: Mapping[str, Any], outcomes: Sequence[str]) -> dict[str, Any]:
    """What is not an outcome: other observed sites, and the keywords that no outcome of the same name equals."""
    found = {name: value for name, value in recorded.items() if name not in outcomes}
    if problem.environment is not None:
        return found
    return found | {
        name: np.asarray(value)
        for name, value in keywords(problem).items()
        if np.ndim(value)
        and not (name in outcomes and np.array_equal(recorded[name], np.asarray(value), equal_nan=True))
    }


def described(given: Mapping[str, Any], categories: Mapping[str, Sequence[str]]) -> str:
    """The attribute `keywords`: which arrays the groups hold, all other keywords, and what codes stand for."""
    arrays = [name for name, value in given.items() if np.ndim(value)]
    static = {name: value for name, value in given.items() if name not in arrays}
    on_device = [name for name in arrays if isinstance(given[name], jax.Array)]
    return json.dumps({"arrays": arrays, "jax": on_device, "static": static, "categories": categories})


def constant_dims(values: Mapping[str, Any], dims: Dims, recorded: Mapping[str, Any]) -> Dims:
    """A keyword's leading axis is called as the one dimension of observed sites that has its length."""
    named = {
        (size, dim)
        for name, value in recorded.items()
        if name in dims
        for size, dim in zip(np.shape(value), dims[name], strict=True)
    }
    found = dict(dims)
    for name, value in values.items():
        if name not in recorded:
            fitting = sorted({dim for size, dim in named if size == len(value)})
            rest = [f"{name}_dim_{axis}" for axis in range(1, np.ndim(value))]
            found[name] = [fitting[0] if len(fitting) == 1 else f"{name}_dim_0", *rest]
    return found
