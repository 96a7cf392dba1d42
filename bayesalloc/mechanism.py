"""What can be chosen: a mechanism, as a document for an analyst, validated by the schema that its model brings.

A `Mechanism` is one TOML file, or the same table in a Python file that may add functions, for what numbers cannot
express. Which numbers and functions there are is said by a `Schema`, which stands with the environment.
"""

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from bayesalloc import limits
from bayesalloc.errors import InputError, listed
from bayesalloc.fields import Field, fields, unit_of

DEFAULT_MODEL = "watershed"  # of a file that names none
Text = Annotated[str, Meta(max_length=limits.TEXT)]


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every mechanism file says.

    Attributes:
        title: name for readers.
        description: what it is, in a sentence or two.
        model: the model whose mechanism it is, by name.
    """

    title: Text
    description: Text
    model: Text = DEFAULT_MODEL


@dataclasses.dataclass(frozen=True, eq=False)
class Mechanism:
    """One mechanism, as its file states it.

    Attributes:
        title, description, model: see `Document`.
        parameters: its numbers, of the type that the model's schema says.
        name: the file's name without its ending.
        path: the file.
        notes: parameter -> (unit, source), as far as the file states them.
        rules: functions of the names that the schema allows, from a Python file.
    """

    title: str
    description: str
    model: str
    parameters: Any
    name: str = ""
    path: str = ""
    notes: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    rules: Mapping[str, Callable[..., Any]] = dataclasses.field(default_factory=dict)

    def number(self, name: str) -> float | None:
        """One of its numbers, such as `market.price`; None where it is not stated."""
        found = self.parameters
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else getattr(found, part)
        return found

    def table(self) -> dict[str, Any] | None:
        """Its numbers, as `parse_mechanism` takes them; None where it has rules of its own, which numbers can't say."""
        if self.rules:
            return None
        document = {name: getattr(self, name) for name in Document.__struct_fields__}
        return {**document, **msgspec.to_builtins(self.parameters)}


class Schema(NamedTuple):
    """What the mechanism files of a model hold, and how they become actions of its environment.

    Attributes:
        model: the model's name, as the files state it.
        parameters: a frozen `msgspec.Struct` with `forbid_unknown_fields`: what a file holds beside its `Document`. A
            number's range stands in its type's `Meta`, and its unit in `Meta(extra={"unit": ...})`; a table is such a
            Struct too, or a dict by name. Its docstring's `Attributes` say what the fields mean.
        action: `Mechanism -> action`, what `step` takes; raises InputError where numbers do not fit together.
        rules: names of the functions that a Python file may define.
        alike: `actions -> actions`, the same actions in one structure, so that they can be stacked.
        contract: what a contract can set, and so may be designed: a number, or a table of numbers by agent -> what the
            table sums to (None: to anything). All else is an assumption.
        responses: the numbers, among the assumptions, that say how people respond: the first to be doubted.
    """

    model: str
    parameters: type[msgspec.Struct]
    action: Callable[[Mechanism], Any]
    rules: tuple[str, ...] = ()
    alike: Callable[[Sequence[Any]], Sequence[Any]] = list
    contract: Mapping[str, float | None] = {}
    responses: tuple[str, ...] = ()


def mechanism_fields(schema: Schema) -> list[Field]:
    """The fields of a mechanism file of a model, with units, ranges, defaults and meanings."""
    return [*fields(Document), *fields(schema.parameters)]


def check_schema(schema: Any, name: str) -> None:
    """Refuse a schema by which no file could be read.

    Args:
        schema: what an environment has.
        name: what the environment is called.

    Raises:
        InputError: naming the part and what is allowed.
    """
    if not isinstance(schema, Schema) or not (schema.model and isinstance(schema.model, str)):
        raise InputError(f"{name}: mechanism is {schema!r}; it must be a Schema, whose first part is the model's name")
    kind = schema.parameters
    if not (
        isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__struct_config__.forbid_unknown_fields
    ):
        raise InputError(
            f"{name}: the schema's parameters are {kind!r}; they must be a msgspec.Struct, forbid_unknown_fields=True"
        )
    twice = set(kind.__struct_fields__) & set(Document.__struct_fields__)
    if twice:
        raise InputError(f"{name}: the schema's parameters have a field '{listed(twice)}', as every mechanism file has")
    for part in ("action", "alike"):
        if not callable(getattr(schema, part)):
            raise InputError(f"{name}: the schema's {part} is {getattr(schema, part)!r}; it must be a function")
    there = {field.name.removesuffix(".<name>") for field in fields(kind)}
    strange = {*schema.contract, *schema.responses} - there
    if strange:
        raise InputError(f"{name}: the schema's contract or responses name '{listed(strange)}'; there is no such field")


def model_of(table: Mapping[str, Any]) -> Any:
    """The model that a mechanism's table names."""
    return table.get("model", DEFAULT_MODEL)


def parse_mechanism(
    table: Mapping[str, Any], path: str | Path, schema: Schema, rules: Mapping[str, Callable[..., Any]] | None = None
) -> Mechanism:
    """A mechanism from its table; a parameter is a number or `{value = , unit = , source = }`.

    Raises:
        InputError: naming the file, the field and what is allowed.
    """
    notes: dict[tuple[str, ...], tuple[str, str]] = {}

    def plain(value: Any, where: tuple[str, ...]) -> Any:
        shown = ".".join(map(str, where))
        if len(where) > limits.NESTED:
            raise InputError(f"{path}: {shown[:60]}... is nested too deeply; {limits.NESTED} tables are allowed")
        if isinstance(value, int) and abs(value) > limits.EXACT:
            raise InputError(f"{path}: {shown} is a whole number of {value.bit_length()} bits; at most 53 are allowed")
        if not isinstance(value, Mapping):
            return value
        if "value" not in value:
            return {key: plain(inner, (*where, key)) for key, inner in value.items()}
        strange = set(value) - {"value", "unit", "source"}
        if strange:
            raise InputError(f"{path}: {shown} has '{listed(strange)}'; allowed are value, unit, source")
        notes[where] = (str(value.get("unit", "")), str(value.get("source", "")))
        return plain(value["value"], where)

    numbers = plain(table, ())
    head = {name: numbers.pop(name) for name in Document.__struct_fields__ if name in numbers}
    document = _converted(head, Document, path)
    _check_model(document.model, path, schema, named="model" in head)
    parameters = _converted(numbers, schema.parameters, path)
    for where, (unit, _) in notes.items():
        expected = unit_of(Document if where[0] in head else schema.parameters, where)
        if unit and unit != expected:
            raise InputError(f"{path}: {'.'.join(where)} has unit '{unit}'; it must be given in '{expected}'")
    named = {".".join(where): note for where, note in notes.items()}
    return Mechanism(
        document.title, document.description, document.model, parameters, Path(path).stem, str(path), named, rules or {}
    )


def of_model(mechanism: Mechanism, schema: Schema) -> Mechanism:
    """The mechanism, if it is one of the schema's model.

    Raises:
        InputError: naming both models.
    """
    _check_model(mechanism.model, mechanism.path or mechanism.title, schema, named=True)
    return mechanism


def _check_model(model: str, path: str | Path, schema: Schema, *, named: bool) -> None:
    if model != schema.model:
        how = "" if named else f" (as it names none; one of '{schema.model}' says model = \"{schema.model}\")"
        raise InputError(f"{path}: is a mechanism of the model '{model}'{how}, and not of '{schema.model}'")


def _converted(table: Mapping[str, Any], kind: type[Any], path: str | Path) -> Any:
    """A table as a Struct; what msgspec says of a fault is said of the file."""
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        reason, _, at = str(error).partition(" - at ")
        if "[...]" in at:
            at = at.replace("[...]", f".{_culprit(table, at, kind)}")
        where = at.strip("`").removeprefix("$.").removeprefix("$") or "the file"
        raise InputError(f"{path}: {where}: {reason[:1].lower() + reason[1:]}") from None


def _culprit(table: Mapping[str, Any], at: str, kind: type[Any]) -> str:
    """The key that a validation error means where it says only that some value of a table is wrong."""
    path = at.strip("`").removeprefix("$.").removesuffix("[...]").split(".")
    for key in _inner(table, path):
        alone = copy.deepcopy(dict(table))
        inner = _inner(alone, path)
        for other in set(inner) - {key}:
            del inner[other]
        try:
            msgspec.convert(alone, kind)
        except msgspec.ValidationError as error:
            if str(error).endswith(at):
                return str(key)
    return "..."


def _inner(table: Any, path: Sequence[str]) -> Any:
    for part in path:
        table = table.get(part, {}) if isinstance(table, Mapping) else {}
    return table
