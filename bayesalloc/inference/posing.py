"""The inference problem of a model and a record: what is sampled, what is given, what its parts are called."""

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from numpyro import handlers

from bayesalloc import library
from bayesalloc.environment import Environment, as_model
from bayesalloc.errors import InputError, listed
from bayesalloc.inference.files import check_sites, latent_sites
from bayesalloc.inference.labels import carried, meant
from bayesalloc.intervene import Model, seed_by_name, unobserved
from bayesalloc.mechanism import Mechanism
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
        mechanism: the label of the mechanism in force throughout; "" where the record says.
        mechanisms: label -> mechanism, of the labels that are explained by a file.
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
    mechanism: str = ""
    mechanisms: Mapping[str, Mechanism] = {}


def pose(
    model: Environment | Model,
    record: str | Path | Table,
    *,
    mechanism: str | None = None,
    mechanisms: Iterable[str | Path | Mechanism] = (),
) -> Problem:
    """The inference problem of a model and a record.

    An environment reads its own columns. A plain model gets, for each keyword, the column of that name: numbers as
    they are, text as integer codes in order of appearance.

    Args:
        model: an environment, or a plain NumPyro model function.
        record: a CSV file.
        mechanism: the mechanism in force in every row, where the record has no such column; a name or a path.
        mechanisms: what labels of the record mean beside the shipped names: paths of mechanisms, or mechanisms. A
            label of the record is never taken as a path.

    Raises:
        InputError: naming file, column, row and what is allowed.
    """
    table = record if isinstance(record, Table) else Table(record)
    table.used.clear()
    mechanisms = list(mechanisms)
    if not isinstance(model, Environment):
        if mechanism or mechanisms:
            raise InputError("a plain model has no mechanisms that could be in force; give none")
        data = _columns(model, table)
        return Problem(getattr(model, "__name__", "model"), model, data, warnings=_unused(table))
    if model.read is None:
        raise InputError(f"{model.name} cannot be fitted: it does not say how to read a record")
    given = library.load_mechanisms([*mechanisms, *filter(library.is_path, [mechanism])])
    if library.is_path(mechanism):  # the user's own word, not the record's
        mechanism = Path(mechanism or "").stem
    recorded = model.read(table, mechanism)
    env = library.knowing(recorded.environment, given)
    labels = np.asarray(recorded.labels, dtype=object)
    for label in dict.fromkeys(table.columns.get("mechanism", []) if mechanism is None else []):
        try:
            env.arms([library.Label(label)])
        except InputError as error:
            raise table.error(table.columns["mechanism"].index(label), "mechanism", str(error)) from None
    distinct = [library.Label(label) for label in dict.fromkeys(labels.ravel().tolist())]
    arms = env.arms(distinct)
    places = {label: place for place, label in enumerate(distinct)}
    index = np.vectorize(places.__getitem__, otypes=[np.int32])(labels)
    warnings = [*recorded.warnings, *meant(given, places), *_unused(table)]
    horizon = len(recorded.years)
    return Problem(
        env.name, as_model(env, arms, horizon), recorded.data, env, arms, index, recorded.years, warnings,
        recorded.noncentered, mechanism or "", given,
    )  # fmt: skip


def restore(
    model: Environment | Model, tree: xr.DataTree, mechanisms: Iterable[str | Path | Mechanism] = ()
) -> Problem:
    """The inference problem that a saved posterior came from, from the record that it carries.

    Args:
        model: the model that was fitted.
        tree: the posterior.
        mechanisms: the Python mechanisms that were in force, whose code a posterior does not carry.

    Raises:
        InputError: where it has no record, or it cannot be the posterior of this model given that record.
    """
    if "record" not in tree.attrs:
        raise InputError("the posterior was not made by `bayesalloc fit`: it carries no record")
    file, label = tree.attrs.get("file", "the posterior"), tree.attrs.get("mechanism")
    known = carried(tree, library.load_mechanisms(mechanisms))
    table = Table(tree.attrs.get("record_name", "the record"), text=tree.attrs["record"])
    try:
        problem = pose(model, table, mechanism=library.Label(label) if label else None, mechanisms=known.values())
    except InputError as error:
        raise InputError(f"{file} belongs to another model: {error}") from None
    check_posterior(problem, tree)
    return problem


def check_posterior(problem: Problem, tree: xr.DataTree) -> None:
    """Refuse a posterior that cannot be one of this problem: other sites, labels or years, or impossible values.

    Raises:
        InputError: naming the file, the site and what is allowed.
    """
    labels = {} if problem.environment is None else dict(problem.environment.coords)
    if problem.years:
        labels["year"] = problem.years
    seeded = seed_by_name(problem.model, jax.random.key(0))
    check_sites(tree, labels, latent_sites(seeded, **keywords(problem)))


def _unused(table: Table) -> list[str]:
    return [f"{table.path}: not used: {listed(table.unused())}"] if table.unused() else []


def _columns(model: Model, table: Table) -> dict[str, Any]:
    wanted = inspect.signature(model).parameters
    data = {}
    for name, parameter in wanted.items():
        if name not in table.columns:
            if parameter.default is inspect.Parameter.empty and parameter.kind != inspect.Parameter.VAR_KEYWORD:
                raise InputError(f"{table.path}: the model needs a column '{name}'; there are {listed(table.columns)}")
            continue
        cells = table.labels(name)
        if not any(_is_number(cell) for cell in cells):
            places = {label: place for place, label in enumerate(dict.fromkeys(cells))}
            data[name] = np.array([places[cell] for cell in cells], np.int32)
            continue
        numbers = table.numbers(name, required=True)
        whole = all(cell.lstrip("+-").isdigit() for cell in cells) and np.abs(numbers).max() < 2**31
        data[name] = numbers.astype(np.int32 if whole else np.float32)
    if not data:
        raise InputError(f"{table.path}: no column is a keyword of the model; its keywords are {listed(wanted)}")
    return data


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def samplable(problem: Problem) -> None:
    """Refuse, before any time is spent, what neither NUTS nor SVI can sample."""
    sites = trace_of(problem).items()
    latent = {name: site for name, site in sites if site["type"] == "sample" and not site["is_observed"]}
    discrete = [name for name, site in latent.items() if site["fn"].support.is_discrete]
    if discrete:
        raise InputError(f"site '{listed(discrete)}' is discrete and not observed: it cannot be fitted, sum it out")
    if not latent:
        raise InputError("the model has no unobserved random site: there is nothing to fit")


def keywords(problem: Problem) -> dict[str, Any]:
    """The model's keywords for inference: its data, and for an environment the mechanisms in force."""
    return problem.data if problem.environment is None else {"mechanism": problem.labels, **problem.data}


def forward_model(problem: Problem) -> tuple[Model, dict[str, Any]]:
    """The model that draws the data anew, and the keywords that stay (covariates, mechanisms in force)."""
    if problem.environment is None:
        return unobserved(problem.model), problem.data
    model = problem.model

    def forward(mechanism: Any) -> None:
        model(mechanism=mechanism)

    return forward, {"mechanism": problem.labels}


def trace_of(problem: Problem) -> dict[str, Any]:
    """One trace of the model given the record: its sites, their values and which of them are observed."""
    return handlers.trace(seed_by_name(problem.model, jax.random.key(0))).get_trace(**keywords(problem))


def outcomes_of(problem: Problem) -> list[str]:
    """Names of the outcomes that an environment reports; a plain model has none of its own."""
    return [] if problem.environment is None else list(problem.environment.outcomes)
