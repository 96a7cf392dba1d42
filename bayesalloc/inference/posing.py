"""The inference problem of a model and a record: what is sampled, what is given, what its parts are called."""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpyro import handlers

from bayesalloc.checking import checked, known_arms
from bayesalloc.environment import Environment, as_model
from bayesalloc.errors import InputError, listed
from bayesalloc.following import Model, seed_by_name
from bayesalloc.inference.given import STATIC, Given, Record, as_table, given, is_frame
from bayesalloc.inference.names import escaped, unescaped
from bayesalloc.inference.starting import startable
from bayesalloc.records import Table


class Problem(NamedTuple):
    """A model together with a record: what is sampled, and what its parts are called.

    Attributes:
        name: the model's name or path.
        model: the NumPyro model function.
        data: its keywords.
        environment: the environment, or None for a plain model.
        arms: names of the arms that the site `mechanism` indexes.
        labels: index of the arm in force, per year (and person).
        years: the year of each period; empty for a plain model.
        warnings: sentences on what was assumed or ignored.
        noncentered: sites to be sampled in non-centred form.
        categories: for keywords that were text, what the codes stand for.
        record: what the record is called.
        text: the record of an environment as CSV text.
    """

    name: str
    model: Model
    data: dict[str, Any]
    environment: Environment | None = None
    arms: dict[str, Any] = {}
    labels: Any = None
    years: list[int] = []
    warnings: list[str] = []
    noncentered: tuple[str, ...] = ()
    categories: dict[str, list[str]] = {}
    record: str = ""
    text: str = ""


def pose(
    model: Environment | Model, record: Record, *, mechanism: str | None = None, data: Mapping[str, Any] | None = None
) -> Problem:
    """The inference problem of a model and a record.

    An environment reads its own columns. A plain model gets, for each keyword, the column or array of that name; see
    `given`.

    Args:
        model: an environment, or a plain NumPyro model function.
        record: a CSV file, a data frame, or a mapping of arrays.
        mechanism: the mechanism in force in every row, where the record has no such column.
        data: further keywords of a plain model.

    Raises:
        InputError: naming file, column, row and what is allowed.
    """
    if not isinstance(model, Environment):
        return _plain(model, given(model, record, data), called(record))
    if data:
        raise InputError(f"{model.name} is an environment: it reads '{listed(data)}' from the record or not at all")
    model = checked(model)
    if model.read is None:
        raise InputError(f"{model.name} cannot be fitted: it does not say how to read a record")
    table = as_table(record)
    table.used.clear()
    recorded = model.read(table, mechanism)
    env = known_arms(recorded.environment)
    labels = np.asarray(recorded.labels, dtype=object)
    for label in dict.fromkeys(table.columns.get("mechanism", []) if mechanism is None else []):
        try:
            env.arms([label])
        except InputError as error:
            raise table.error(table.columns["mechanism"].index(label), "mechanism", str(error)) from None
    arms = env.arms(list(dict.fromkeys(labels.ravel().tolist())))
    loaded = dict(zip(dict.fromkeys(labels.ravel().tolist()), arms, strict=True))  # a path's arm has its file's name
    places = {name: list(arms).index(loaded[name]) for name in loaded}
    index = np.vectorize(places.__getitem__, otypes=[np.int32])(labels)
    unused = [f"{table.path}: not used: {listed(table.unused())}"] if table.unused() else []
    warnings = [*recorded.warnings, *unused]
    horizon = len(recorded.years)
    return Problem(
        env.name, as_model(env, arms, horizon), recorded.data, env, arms, index, recorded.years, warnings,
        recorded.noncentered, {}, called(record), table.text(),
    )  # fmt: skip


def restore(model: Environment | Model, tree: xr.DataTree, data: Record = None) -> Problem:
    """The inference problem that a posterior came from, by the data that it carries or those beside it.

    Args:
        model: an environment, or a plain NumPyro model function.
        tree: any ArviZ tree of the model: from `fit`, or from NumPyro by `arviz.from_numpyro`.
        data: a record, or a mapping of the keywords of a plain model, instead of those that the tree carries.

    Raises:
        InputError: where the data or the posterior are not the model's.
    """
    file = tree.attrs.get("file", "the posterior")
    if isinstance(model, Environment):
        if data is None and "record" not in tree.attrs:
            raise InputError(f"{file}: the posterior carries no record, as `bayesalloc fit` has it; give one beside it")
        table = Table(tree.attrs["record_name"], text=tree.attrs["record"]) if data is None else as_table(data)
        try:
            problem = pose(model, table, mechanism=tree.attrs.get("mechanism") or None)
        except InputError as error:
            raise InputError(f"{file} belongs to another model: {error}") from None
    else:
        carried, categories = _carried(tree)
        wanted = inspect.signature(model).parameters
        data = data if data is None or isinstance(data, Mapping) or is_frame(data) else as_table(data)
        beside = set() if data is None else set(data if isinstance(data, Mapping) else map(str, data.columns))
        kept = {
            name: value
            for name, value in carried.items()
            if name in wanted and name not in beside
            and (data is None or isinstance(value, STATIC) or wanted[name].default is inspect.Parameter.empty)
        }  # fmt: skip
        try:
            found = given(model, {} if data is None else data, kept, categories)
        except InputError as error:
            raise InputError(f"{file} and its data do not fit the model: {error}") from None
        problem = _plain(model, found, tree.attrs.get("record_name", "the data") if data is None else called(data))
        if data is None and "keywords" not in tree.attrs:
            _agrees(problem, tree, file)
    _belongs(problem, tree, file)
    return problem


def called(record: Record) -> str:
    """What a record is called in results."""
    if isinstance(record, Table):
        return record.path.name
    if is_frame(record) or isinstance(record, Mapping) or record is None:
        return "the data"
    return Path(record).name


def _plain(model: Model, found: Given, record: str) -> Problem:
    name = getattr(model, "__name__", "model")
    return Problem(
        name, model, found.data, warnings=found.warnings, categories=dict(found.categories), record=record
    )  # fmt: skip


def _carried(tree: xr.DataTree) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The keywords that a posterior carries: those of its groups, and those that are no arrays, in an attribute."""
    asked = json.loads(tree.attrs.get("keywords", "{}"))
    values = {
        unescaped(str(name)): variable.values
        for group in ("observed_data", "constant_data") if group in tree.children
        for name, variable in tree[group].data_vars.items()
    }  # fmt: skip
    if "keywords" in tree.attrs:
        arrays = {name: values[name] for name in asked["arrays"]}
        values = arrays | {name: jnp.asarray(arrays[name]) for name in asked["jax"]} | asked["static"]
    return values, asked.get("categories", {})


def _agrees(problem: Problem, tree: xr.DataTree, file: str) -> None:
    """Refuse a tree whose observed data are named like keywords and are not what the model observes under them."""
    observed = tree["observed_data"].data_vars if "observed_data" in tree.children else {}
    for name, site in trace_of(problem).items():
        if site["type"] == "sample" and site["is_observed"] and escaped(name) in observed:
            there, here = np.asarray(observed[escaped(name)].values), np.asarray(site["value"])
            if there.shape != here.shape or not np.allclose(there, here, rtol=1e-4, equal_nan=True):
                raise InputError(
                    f"{file}: its observed '{name}' is not the keyword '{name}' of the model; give the data"
                )


def _belongs(problem: Problem, tree: xr.DataTree, file: str) -> None:
    """Refuse a posterior that lacks a site of the model, or whose draws are of another shape or no numbers.

    What was observed when it was made may be random now, for want of data beside it.
    """
    draws = {unescaped(str(name)): values for name, values in tree["posterior"].data_vars.items()}
    recorded = tree["observed_data"].data_vars if "observed_data" in tree.children else {}
    latent = {name: shape for name, (shape, observed) in site_shapes(problem).items() if not observed}
    for name, shape in latent.items():
        if name not in draws and escaped(name) in recorded:
            continue
        if name not in draws:
            raise InputError(f"{file} has no site '{name}': it belongs to another model; it has {listed(draws)}")
        if draws[name].shape[2:] != shape:
            raise InputError(f"{file}: its site '{name}' has shape {draws[name].shape[2:]}; the model's has {shape}")
        bad = int((~np.isfinite(draws[name].values)).sum())
        if bad:
            raise InputError(
                f"{file}: {bad} of {draws[name].size} draws of '{name}' are not numbers: it cannot be used"
            )


def keywords(problem: Problem) -> dict[str, Any]:
    """The model's keywords for inference: its data, and for an environment the mechanisms in force."""
    return problem.data if problem.environment is None else {"mechanism": problem.labels, **problem.data}


def trace_of(problem: Problem, seed: int = 0) -> dict[str, Any]:
    """One trace of the model given the record: its sites, their values and which of them are observed."""
    return handlers.trace(startable(seed_by_name(problem.model, jax.random.key(seed)))).get_trace(**keywords(problem))


def site_shapes(problem: Problem) -> dict[str, tuple[tuple[int, ...], bool]]:
    """The random sites: the shape of the value, and whether it is observed; nothing is computed."""
    found = {}

    def look() -> None:
        for name, site in trace_of(problem).items():
            if site["type"] == "sample":
                found[name] = jnp.shape(site["value"]), site["is_observed"]

    jax.eval_shape(look)
    return found


def outcomes_of(problem: Problem) -> list[str]:
    """Names of the outcomes that an environment reports; a plain model has none of its own."""
    return [] if problem.environment is None else list(problem.environment.outcomes)
