"""What a plain model's keywords are given: columns of a CSV or a data frame, arrays, numbers; and what is missing."""

import csv
import inspect
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpyro import handlers
from numpyro.infer.util import log_density
from numpyro.primitives import Messenger

from bayesalloc.errors import InputError, listed
from bayesalloc.following import Model, seed_by_name
from bayesalloc.inference.starting import startable
from bayesalloc.records import Table

Record = Any  # a path, a Table, a mapping of arrays, a data frame (pandas or one that looks like it), or None
STATIC = (bool, int, float, str)  # what a model may use as a shape or a switch


class Given(NamedTuple):
    """The keywords of a model.

    Attributes:
        data: keyword -> array, NaN where a value is missing, or a plain Python value.
        categories: keyword -> what its integer codes stand for, where the record had text.
        warnings: sentences on what was assumed or ignored.
    """

    data: dict[str, Any]
    categories: dict[str, Sequence[str]] = {}
    warnings: list[str] = []


def is_frame(record: Any) -> TypeGuard[Any]:
    """Whether a record is a data frame; pandas need not be there to ask."""
    return hasattr(record, "to_csv") and hasattr(record, "columns")


def as_table(record: Record) -> Table:
    """A record as a table of text cells, as an environment reads it."""
    if isinstance(record, Table):
        return record
    if is_frame(record):
        return Table("the data frame", text=record.to_csv(index=False))
    if not isinstance(record, Mapping):
        return Table(record)
    columns = {name: np.atleast_1d(np.asarray(values)).tolist() for name, values in record.items()}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1 or any(isinstance(values[0], list) for values in columns.values() if values):
        raise InputError(f"the data are not columns of one length: {listed(f'{k} {v}' for k, v in lengths.items())}")
    rows = zip(*columns.values(), strict=True)
    text = io.StringIO()
    empty = [["" if cell is None or cell != cell else cell for cell in row] for row in rows]
    csv.writer(text, lineterminator="\n").writerows([list(columns), *empty])
    return Table("the data", text=text.getvalue())


def stated(texts: Sequence[str]) -> dict[str, Any]:
    """Keywords given as texts, `J=8` each: JSON, or else text as it is.

    Raises:
        InputError: where one is not of that form, or given twice.

    >>> stated(["J=8", "sigma=[15, 10]", "link=logit"])
    {'J': 8, 'sigma': array([15, 10]), 'link': 'logit'}
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name or not value:
            raise InputError(f"'{text}' is not of the form KEYWORD=VALUE")
        if name in found:
            raise InputError(f"'{name}' is given twice, the second time as '{text}'")
        try:
            found[name] = json.loads(value)
            found[name] = np.asarray(found[name]) if isinstance(found[name], list) else found[name]
        except ValueError:  # no JSON, or rows of different lengths
            found[name] = value
    return found


def given(
    model: Model,
    record: Record,
    data: Mapping[str, Any] | None = None,
    categories: Mapping[str, Sequence[str]] | None = None,
) -> Given:
    """The keywords of a plain model.

    A column or array becomes numbers as they are, or text as integer codes in order of appearance; what has no
    dimension stays a plain Python value. An empty cell or NaN is missing, which the model has to give a meaning.

    Args:
        model: a plain NumPyro model function.
        record: where the columns are: those that are no keyword are left out with a warning.
        data: further keywords, each by its own name.
        categories: what codes stand for already, by keyword; other text is then refused.

    Raises:
        InputError: naming what is missing, what there is, and what is allowed.
    """
    wanted, where = parameters(model), "the data"
    anything = any(parameter.kind == inspect.Parameter.VAR_KEYWORD for parameter in wanted.values())
    asked = dict(data or {}) | (dict(record) if isinstance(record, Mapping) else {})
    strange = [] if anything else [name for name in asked if name not in wanted]
    if strange:
        raise InputError(f"the model has no keyword '{listed(strange)}'; its keywords are {listed(wanted)}")
    columns: dict[str, Callable[[], Column]] = {}
    if is_frame(record):
        where = "the data frame"
        columns = {str(name): lambda name=name: _series(str(name), record[name]) for name in record.columns}
    elif record is not None and not isinstance(record, Mapping):
        table = as_table(record)
        table.used.clear()
        where = str(table.path)
        columns = {name: lambda name=name: _cells(table, name) for name in table.columns}
    twice = set(columns) & set(data or {})
    if twice:
        raise InputError(f"{where}: the column '{listed(twice)}' is given as a keyword too")
    columns |= {name: lambda name=name, value=value: _value(name, value) for name, value in asked.items()}
    chosen = {name: read() for name, read in columns.items() if anything or name in wanted}
    for name, parameter in wanted.items():
        required = parameter.default is inspect.Parameter.empty and parameter.kind not in VARIADIC
        if required and name not in chosen:
            raise InputError(f"{where}: the model needs a column '{name}'; there are {listed(columns)}")
    if columns and not chosen:
        raise InputError(f"{where}: no column is a keyword of the model; its keywords are {listed(wanted)}")
    for name, known in (categories or {}).items():
        if name in chosen and chosen[name].categories:
            chosen[name] = _recoded(where, name, chosen[name], list(known))
    values = {name: column.values for name, column in chosen.items() if column.values is not None}
    warnings = _heeded(model, values, {name: column for name, column in chosen.items() if column.empty})
    unused = [name for name in columns if name not in chosen]
    warnings += [f"{where}: not used: {listed(unused)}"] if unused else []
    coded = {name: column.categories for name, column in chosen.items() if column.categories}
    return Given(values, {**(categories or {}), **coded}, warnings)


def parameters(model: Model) -> Mapping[str, inspect.Parameter]:
    """The keywords of a model, also under handlers and `do`, which hide its signature."""
    inside: Any = model
    while inside is not None:
        model = inside
        inside = model.fn if isinstance(model, Messenger) else getattr(model, "__wrapped__", None)
    return inspect.signature(model).parameters


VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


class Column(NamedTuple):
    """One keyword: its values, what codes stand for, and where a value is missing (a phrase; "" where none is)."""

    values: Any
    categories: list[str] = []
    empty: str = ""
    whole: bool = False


def _cells(table: Table, name: str) -> Column:
    """A column of a CSV."""
    cells = table.cells(name)
    there = [cell for cell in cells if cell]
    if there and not any(_is_number(cell) for cell in there):
        return _codes(table.labels(name))
    numbers = table.numbers(name)
    whole = all(cell.lstrip("+-").isdigit() for cell in there)
    gaps = [index for index, cell in enumerate(cells) if not cell]
    where = f"{table.path}, line {table.row(gaps[0])}, column '{name}': is empty" if gaps else ""
    return _numbers(numbers, where, f"{table.path}: column '{name}'", whole=whole)


def _series(name: str, series: Any) -> Column:
    """A column of a data frame."""
    kind = getattr(series.dtype, "kind", "O")
    gaps = np.flatnonzero(np.asarray(series.isna()))
    where = f"the data frame, row {gaps[0]}, column '{name}': is missing" if len(gaps) else ""
    if kind in "iufb":
        if kind == "b" and len(gaps):
            raise InputError(f"{where}; it must be true or false")
        values = series.to_numpy(dtype=float, na_value=np.nan) if len(gaps) else series.to_numpy()
        return _numbers(values, where, f"column '{name}'", whole=kind in "iu")
    if kind not in "OSU" or not all(isinstance(label, str) for label in series.dropna().tolist()):
        raise InputError(f"the data frame, column '{name}': has type {series.dtype}; it must be numbers or text")
    if where:
        raise InputError(f"{where}: a label is missing")
    return _codes(series.tolist())


def _value(name: str, value: Any) -> Column:
    """What a mapping gives a keyword."""
    if value is None or isinstance(value, STATIC):
        return Column(value)
    try:
        array = value if isinstance(value, jax.Array) else np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    kind = array.dtype.kind
    if array.ndim and kind == "U":
        return _codes(array.ravel().tolist(), array.shape)
    if kind not in "iufb":
        raise InputError(f"'{name}' is a {type(value).__name__}; it must be an array, a number or text")
    if not array.ndim:
        return Column(array.item())
    gaps = np.argwhere(np.isnan(array)) if kind == "f" else []
    place = ", ".join(str(int(index)) for index in gaps[0]) if len(gaps) else ""
    return _numbers(array, f"'{name}'[{place}] is NaN" if len(gaps) else "", f"'{name}'")


def _numbers(values: Any, empty: str, where: str, *, whole: bool = False) -> Column:
    """Numbers in the types that JAX computes with; refused where those can't hold them."""
    whole = whole or values.dtype.kind in "iu"
    if values.dtype.kind == "b":
        return Column(values)
    there = np.asarray(values)[~np.isnan(values)] if values.dtype.kind == "f" else np.asarray(values)
    whole = whole and (not there.size or np.abs(there.astype(float)).max() < 2**31)
    if values.dtype.kind in "iu" and not whole:
        raise InputError(f"{where}: {there.flat[np.abs(there.astype(float)).argmax()]} is beyond 32-bit whole numbers")
    with np.errstate(over="ignore"):
        cast = values.astype(np.int32 if whole and not empty else np.float32)
    lost = np.isfinite(values) & ~np.isfinite(cast)
    if lost.any():
        raise InputError(f"{where}: {np.asarray(values)[lost][0]:g} is beyond single precision, at most 3.4e38")
    return Column(cast, [], empty, whole)


def _codes(labels: list[str], shape: tuple[int, ...] = (-1,)) -> Column:
    """Text as integer codes in order of appearance."""
    places = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    return Column(np.array([places[label] for label in labels], np.int32).reshape(shape), list(places))


def _recoded(where: str, name: str, column: Column, known: list[str]) -> Column:
    """The same labels by the codes that a posterior was made with."""
    strange = set(column.categories) - set(known)
    if strange:
        raise InputError(
            f"{where}: '{name}' has '{listed(strange)}', which the posterior has not; it has {listed(known)}"
        )
    codes = np.array([known.index(label) for label in column.categories], np.int32)
    return column._replace(values=codes[column.values], categories=known)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _heeded(model: Model, data: dict[str, Any], gaps: Mapping[str, Column]) -> list[str]:
    """Refuse missing values to which the model gives no meaning; say of the others that there are some.

    It gives them one (a mask, or a site of their own) if its density and gradient stay numbers, and if its density is
    not the same with one of the column's own numbers in the gaps, as where a comparison takes NaN for a small number.
    """
    filled = {name: _fills(column) for name, column in gaps.items()}
    others = {**data, **{name: fills[0] for name, fills in filled.items()}}
    for name, column in gaps.items():
        known = [_weighed(model, {**others, name: fill}) for fill in filled[name]]
        found = _weighed(model, {**others, name: column.values})
        if found is None and known == [None] * len(known):
            _density(model, {**others, name: filled[name][0]})  # what it raises has nothing to do with what is missing
        if found is None or np.isnan(found) or found in known:
            raise InputError(
                f"{column.empty}, and the model gives a missing '{name}' no meaning; mask it"
                f" (numpyro.handlers.mask(mask=~jnp.isnan({name}))), give it a site of its own, or leave the row out"
            )
    counts = {name: int(np.isnan(column.values).sum()) for name, column in gaps.items()}
    return [
        f"'{name}' is missing in {n} of {np.size(data[name])} places, as the model allows" for name, n in counts.items()
    ]


def _fills(column: Column) -> list[Any]:
    values = np.asarray(column.values)
    there = values[~np.isnan(values)] if not np.isnan(values).all() else np.zeros(1, np.float32)
    kind = np.int32 if column.whole else values.dtype
    fills: Iterable[Any] = (np.mean(there), np.min(there), np.max(there))
    return [np.where(np.isnan(values), fill, values).astype(kind) for fill in fills]


def _weighed(model: Model, data: Mapping[str, Any]) -> float | None:
    """The log density, NaN where it or its gradient has a NaN, None where the model fails."""
    try:
        value, gradients = _density(model, data)
    except Exception:  # whatever a model raises over a value that it does not expect
        return None
    return value if not any(np.isnan(gradient).any() for gradient in gradients) else np.nan


def _density(model: Model, data: Mapping[str, Any]) -> tuple[float, list[Array]]:
    """The log density at one draw of the latent sites, and its gradient."""
    seeded = startable(seed_by_name(model, jax.random.key(0)))
    trace = handlers.trace(seeded).get_trace(**data)
    free = {k: s["value"] for k, s in trace.items() if s["type"] == "sample" and not s["is_observed"]}
    real = {k: value for k, value in free.items() if jnp.issubdtype(jnp.asarray(value).dtype, jnp.floating)}
    value, gradient = jax.value_and_grad(lambda at: log_density(seeded, (), dict(data), at)[0])(real)
    return float(value), jax.tree.leaves(gradient)
