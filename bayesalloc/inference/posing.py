"""The inference problem of a model and a record: what is sampled, what is given, what its parts are called."""

import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpyro import handlers

from bayesalloc import library
from bayesalloc.checking import checked, known_arms
from bayesalloc.environment import Environment, as_model
from bayesalloc.errors import InputError, listed
from bayesalloc.following import Model, seed_by_name
from bayesalloc.inference.files import check_sites, latent_sites
from bayesalloc.inference.given import STATIC, Given, Record, as_table, given, is_frame, parameters
from bayesalloc.inference.labels import carried_mechanisms, meant
from bayesalloc.inference.names import escaped, unescaped
from bayesalloc.inference.starting import startable
from bayesalloc.mechanism import Mechanism
from bayesalloc.records import Table

ANOTHER_RECORD = "was fitted to another record than it carries"


class Problem(NamedTuple):
    """A model together with a record: what is sampled, and what its parts are called.

    Attributes:
        name: the model's name or path.
        model: the NumPyro model function.
        data: its keywords.
        environment: the environment, or None for a plain model.
        arms: names of the arms that the site `mechanism` indexes.
        labels: index of the arm in force, per period (and person).
        periods: the label of each, such as its year; empty for a plain model.
        warnings: sentences on what was assumed or ignored.
        noncentered: sites to be sampled in non-centred form.
        categories: for keywords that were text, what the codes stand for.
        record: what the record is called.
        text: the record of an environment as CSV text.
        mechanism: the label of the mechanism in force throughout; "" where the record says.
        mechanisms: label -> mechanism, of the labels that are explained by a file.
    """

    name: str
    model: Model
    data: dict[str, Any]
    environment: Environment | None = None
    arms: dict[str, Any] = {}
    labels: Any = None
    periods: list[int] = []
    warnings: list[str] = []
    noncentered: tuple[str, ...] = ()
    categories: dict[str, Sequence[str]] = {}
    record: str = ""
    text: str = ""
    mechanism: str = ""
    mechanisms: Mapping[str, Mechanism] = {}


def pose(
    model: Environment | Model,
    record: Record,
    *,
    mechanism: str | None = None,
    mechanisms: Iterable[str | Path | Mechanism] = (),
    data: Mapping[str, Any] | None = None,
) -> Problem:
    """The inference problem of a model and a record.

    An environment reads its own columns. A plain model gets, for each keyword, the column or array of that name; see
    `given`.

    Args:
        model: an environment, or a plain NumPyro model function.
        record: a CSV file, a data frame, or a mapping of arrays.
        mechanism: the mechanism in force in every row, where the record has no such column; a name or a path.
        mechanisms: what labels of the record mean beside the shipped names: paths of mechanisms, or mechanisms. A
            label of the record is never taken as a path.
        data: further keywords of a plain model.

    Raises:
        InputError: naming file, column, row and what is allowed.
    """
    mechanisms = list(mechanisms)
    if not isinstance(model, Environment):
        if mechanism or mechanisms:
            raise InputError("a plain model has no mechanisms that could be in force; give none")
        return _plain(model, given(model, record, data), called(record))
    if data:
        raise InputError(f"{model.name} is an environment: it reads '{listed(data)}' from the record or not at all")
    model = checked(model)
    if model.read is None:
        raise InputError(f"{model.name} cannot be fitted: it does not say how to read a record")
    table = as_table(record)
    table.used.clear()
    known = library.load_mechanisms([*mechanisms, *filter(library.is_path, [mechanism])], model)
    if library.is_path(mechanism):  # the user's own word, not the record's
        mechanism = Path(mechanism).stem
    recorded = model.read(table, mechanism)
    env = known_arms(library.knowing(recorded.environment, known))
    labels = np.asarray(recorded.labels, dtype=object)
    distinct = [library.Label(label) for label in dict.fromkeys(labels.ravel().tolist())]
    for label in distinct:
        try:
            env.arms([label])
        except InputError as error:
            stated = [name for name in table.columns if name in table.used and label in table.columns[name]]
            if mechanism is not None or not stated:
                raise
            raise table.error(table.columns[stated[0]].index(label), stated[0], str(error)) from None
    arms = env.arms(distinct)
    places = {label: place for place, label in enumerate(distinct)}
    index = np.vectorize(places.__getitem__, otypes=[np.int32])(labels)
    unused = [f"{table.path}: not used: {listed(table.unused())}"] if table.unused() else []
    warnings = [*recorded.warnings, *meant(known, places, env.period), *unused]
    horizon = len(recorded.periods)
    return Problem(
        env.name,
        as_model(env, arms, horizon),
        recorded.data,
        env,
        arms,
        index,
        recorded.periods,
        warnings,
        recorded.noncentered,
        {},
        called(record),
        table.text(),
        mechanism or "",
        known,
    )


def restore(
    model: Environment | Model,
    tree: xr.DataTree,
    data: Record = None,
    *,
    keywords: Mapping[str, Any] | None = None,
    mechanisms: Iterable[str | Path | Mechanism] = (),
) -> Problem:
    """The inference problem that a posterior came from, by the data that it carries or those beside it.

    Args:
        model: an environment, or a plain NumPyro model function.
        tree: any ArviZ tree of the model: from `fit`, or from NumPyro by `arviz.from_numpyro`.
        data: a record, or a mapping of the keywords of a plain model, instead of those that the tree carries.
        keywords: further keywords of a plain model.
        mechanisms: the Python mechanisms that were in force, whose code a posterior does not carry.

    Raises:
        InputError: where the data or the posterior are not the model's, or the posterior is of another record.
    """
    file = tree.attrs.get("file", "the posterior")
    if isinstance(model, Environment):
        if data is None and "record" not in tree.attrs:
            raise InputError(f"{file}: the posterior carries no record, as `fit` has it; give one beside it")
        label = tree.attrs.get("mechanism")
        known = carried_mechanisms(tree, library.load_mechanisms(mechanisms, model), model)
        try:
            table = Table(tree.attrs["record_name"], text=tree.attrs["record"]) if data is None else as_table(data)
            problem = pose(model, table, mechanism=library.Label(label) if label else None, mechanisms=known.values())
        except InputError as error:
            raise InputError(f"{file} belongs to another model: {error}") from None
    else:
        carried, categories = _carried(tree)
        wanted = parameters(model)
        data = data if data is None or isinstance(data, Mapping) or is_frame(data) else as_table(data)
        beside = set() if data is None else set(data if isinstance(data, Mapping) else map(str, data.columns))
        kept = {
            name: value
            for name, value in carried.items()
            if name in wanted
            and name not in beside
            and (data is None or isinstance(value, STATIC) or wanted[name].default is inspect.Parameter.empty)
        }
        try:
            found = given(model, {} if data is None else data, kept | dict(keywords or {}), categories)
        except InputError as error:
            raise InputError(f"{file} and its data do not fit the model: {error}") from None
        problem = _plain(model, found, tree.attrs.get("record_name", "the data") if data is None else called(data))
        if data is None and "keywords" not in tree.attrs:
            _agrees(problem, tree, file)
    check_posterior(problem, tree)
    if isinstance(model, Environment) and data is None:
        _check_observed(problem, tree, file)
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
    return Problem(name, model, found.data, warnings=found.warnings, categories=dict(found.categories), record=record)


def _carried(tree: xr.DataTree) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The keywords that a posterior carries: those of its groups, and those that are no arrays, in an attribute."""
    asked = json.loads(tree.attrs.get("keywords", "{}"))
    values = {
        unescaped(str(name)): variable.values
        for group in ("observed_data", "constant_data")
        if group in tree.children
        for name, variable in tree[group].data_vars.items()
    }
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


def _check_observed(problem: Problem, tree: xr.DataTree, file: str) -> None:
    """Refuse a tree of an environment whose observed data are not what the record that it carries says."""
    observed = tree["observed_data"].data_vars if "observed_data" in tree.children else {}
    for name, here in problem.data.items():
        if (site := escaped(f"{name}_observed")) not in observed:
            continue
        there = np.asarray(observed[site].values, float)
        used = np.isfinite(there)
        if there.shape != np.shape(here) or not np.allclose(there[used], np.asarray(here, float)[used], 1e-5, 0.0):
            raise InputError(f"{file} {ANOTHER_RECORD}: its observed '{name}' is not what that record says")


def check_posterior(problem: Problem, tree: xr.DataTree) -> None:
    """Refuse a posterior that cannot be one of this problem: other sites, labels or periods, or impossible values.

    A site that it lacks is refused where an environment needs it. A plain model may do without: what was observed then
    may be random now, and what descends from an intervention is drawn anew.

    Raises:
        InputError: naming the file, the site and what is allowed.
    """
    file = tree.attrs.get("file", "the posterior")
    draws = {unescaped(str(name)): values for name, values in tree["posterior"].data_vars.items()}
    latent = latent_sites(startable(seed_by_name(problem.model, jax.random.key(0))), **keywords(problem))
    for name in latent:
        if problem.environment is not None and name not in draws:
            raise InputError(f"{file} has no site '{name}': it belongs to another model; it has {listed(draws)}")
        bad = int((~np.isfinite(draws[name].values)).sum()) if name in draws else 0
        if bad:
            raise InputError(
                f"{file}: {bad} of {draws[name].size} draws of '{name}' are not numbers: it cannot be used"
            )
    labels: dict[str, Sequence[Any]] = {} if problem.environment is None else dict(problem.environment.coords)
    if problem.environment is not None:
        labels[problem.environment.period] = problem.periods
    check_sites(tree, labels, latent)


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
