"""A mechanism's numbers as sliders: their ranges and units, and the mechanism with other values."""

import copy
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from bayesalloc.errors import InputError
from bayesalloc.fields import range_of
from bayesalloc.impact.design.free import put
from bayesalloc.mechanism import Mechanism, Schema, mechanism_fields, parse_mechanism

WIDE = 10.0  # a range up to which a slider shows all that is allowed
ROOM = 3.0  # times the largest value among the mechanisms at hand, beyond which a slider does not go
STEPS = 200
HERE = "set on the dashboard"
Values = Mapping[str, float | Mapping[str, float]]


class Number(NamedTuple):
    """One number of a mechanism, as a slider.

    Attributes:
        name: its place in the file, such as `milestones.payment.expert`.
        table: of numbers by agent in which it stands; "" for one that stands alone.
        unit: "1" for a pure number.
        low: the slider's lower end.
        high: its upper end.
        step: between its positions.
        value: what the mechanism says.
        meaning: in words.
    """

    name: str
    table: str
    unit: str
    low: float
    high: float
    step: float
    value: float
    meaning: str


def numbers(
    mechanism: Mechanism, schema: Schema, agents: Sequence[str], others: Sequence[Mechanism] = ()
) -> list[Number]:
    """The numbers of a mechanism in the order of its file; one that may be left out and is, is not among them.

    Args:
        mechanism: whose.
        schema: what its file holds.
        agents: for whom a table by name has numbers.
        others: mechanisms of the same model, by which the sliders' ranges are chosen too.
    """
    found = []
    for field in mechanism_fields(schema):
        table = field.name.removesuffix(".<name>") if field.name.endswith(".<name>") else ""
        if field.kind != "number" or (not table and mechanism.number(field.name) is None):
            continue
        low, high = _range(table or field.name, f"{table}.any" if table else field.name, schema, [mechanism, *others])
        for name in [f"{table}.{agent}" for agent in agents] if table else [field.name]:
            value = float(mechanism.number(name) or 0.0)
            reach = min(low, value), max(high, value)
            found.append(Number(name, table, field.unit, *reach, _step(high - low), value, field.meaning))
    return found


def _range(name: str, at: str, schema: Schema, mechanisms: Sequence[Mechanism]) -> tuple[float, float]:
    """All that is allowed where that is little; else as far as three times the largest value at hand, to two digits."""
    low, high = range_of(schema.parameters, at.split("."))
    if high - low <= WIDE:
        return low, high
    reach = ROOM * max((abs(value) for each in mechanisms for value in _values(each, name)), default=0.0) or 1.0
    size = 10.0 ** (math.floor(math.log10(reach)) - 1)
    reach = math.ceil(reach / size) * size
    return max(low, -reach), min(high, reach)


def _values(mechanism: Mechanism, name: str) -> list[float]:
    found: Any = msgspec.to_builtins(mechanism.parameters)
    for part in name.split("."):
        found = found[part]
    return [float(each) for each in (found.values() if isinstance(found, Mapping) else [found]) if each is not None]


def _step(width: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that makes about `STEPS` of a width."""
    rough = width / STEPS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.999 * rough)


def balanced(values: Mapping[str, float], total: float, last: str) -> dict[str, float]:
    """Numbers by agent that sum to `total`, the one of `last` being what is left; none where all others are zero.

    >>> balanced({"a": 0.2, "b": 0.5, "c": 0.9}, 1.0, "c")["c"]
    0.3
    """
    others = {name: value for name, value in values.items() if name != last}
    if not any(others.values()):
        return {}
    return {**others, last: round(total - math.fsum(others.values()), 10)}


def changed(mechanism: Mechanism, schema: Schema, values: Values, name: str) -> Mechanism:
    """The mechanism with other numbers, each with a note that says so.

    Args:
        mechanism: to begin from.
        schema: what its file holds.
        values: number -> value, or table -> all of its numbers by name; what is not there stays.
        name: of the new mechanism.

    Raises:
        InputError: where numbers are not allowed, or do not fit together, or the mechanism has rules in Python.
    """
    table = copy.deepcopy(mechanism.table())
    if table is None:
        raise InputError(f"{mechanism.name}: has rules in Python, which sliders cannot show; change its file")
    notes = dict(mechanism.notes)
    for where, value in values.items():
        put(table, where.split("."), dict(value) if isinstance(value, Mapping) else value)
        inside = (
            {f"{where}.{key}": each for key, each in value.items()} if isinstance(value, Mapping) else {where: value}
        )
        notes |= {full: ("", HERE) for full, each in inside.items() if each != mechanism.number(full)}
    table["title"] = name.replace("_", " ").capitalize()
    made = parse_mechanism(table, f"{name}.toml", schema)
    schema.action(made)
    return dataclasses.replace(
        made, notes={full: note for full, note in notes.items() if made.number(full) is not None}
    )
