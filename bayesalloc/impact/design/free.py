"""The numbers of a mechanism that a contract may set: which are free, between what, and what their tables sum to."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from jaxtyping import Float
from scipy.optimize import linprog

from bayesalloc.environment import Environment, schema_of
from bayesalloc.errors import InputError, listed
from bayesalloc.fields import unit_of
from bayesalloc.mechanism import Mechanism, Schema, mechanism_fields, parse_mechanism

MOST = 100  # free numbers
FINE = 2000  # parts of a range to which a designed number is rounded


class Number(NamedTuple):
    """A free number.

    Attributes:
        name: as `Mechanism.notes` has it, such as `market.price`.
        path: its place in a mechanism's table.
        low, high: between what it is free.
        start: what it is in the mechanism that is begun from; in a table that is not there, an equal part of the sum.
        unit: its unit.
        table: the table whose sum it is a part of; "": of none.
    """

    name: str
    path: tuple[str, ...]
    low: float
    high: float
    start: float
    unit: str
    table: str


class Free(NamedTuple):
    """Free numbers of a mechanism; vectors of their values have the shape (number,).

    Attributes:
        mechanism: what is begun from.
        schema: of its model's mechanisms.
        numbers: those that are free.
        sums: table -> what its free numbers sum to.
    """

    mechanism: Mechanism
    schema: Schema
    numbers: tuple[Number, ...]
    sums: dict[str, float]

    @property
    def low(self) -> Float[np.ndarray, " number"]:
        """The least values."""
        return np.array([number.low for number in self.numbers])

    @property
    def high(self) -> Float[np.ndarray, " number"]:
        """The largest values."""
        return np.array([number.high for number in self.numbers])

    @property
    def start(self) -> Float[np.ndarray, " number"]:
        """The values that are begun from, which need not lie in the ranges."""
        return np.array([number.start for number in self.numbers])

    def begun_from(self, values: Float[np.ndarray, " number"]) -> "Free":
        """The same, where change is measured from these values."""
        numbers = (number._replace(start=float(value)) for number, value in zip(self.numbers, values, strict=True))
        return self._replace(numbers=tuple(numbers))

    def tables(self) -> Iterator[tuple[list[int], float]]:
        """For each table that sums to something: its numbers' places, and what they sum to."""
        for table, total in self.sums.items():
            yield [i for i, number in enumerate(self.numbers) if number.table == table], total

    def of(self, names: Collection[str]) -> "Free":
        """Only the numbers with these names; a table that sums to something must be among them whole, or not at all."""
        numbers = tuple(number for number in self.numbers if number.name in names)
        tables = {number.table for number in numbers}
        return self._replace(numbers=numbers, sums={k: total for k, total in self.sums.items() if k in tables})

    def set(self, values: Iterable[float], others: Mapping[str, float] | None = None) -> Mechanism:
        """The mechanism with these values of the free numbers, and `others` by name.

        Raises:
            InputError: where they do not fit together.
        """
        table = _copy(self.mechanism)
        for number, value in zip(self.numbers, values, strict=True):
            put(table, number.path, float(value))
        for name, value in (others or {}).items():
            put(table, name.split("."), value)
        return parse_mechanism(table, self.mechanism.path or self.mechanism.name, self.schema)

    def rounded(self, values: Float[np.ndarray, " number"]) -> Float[np.ndarray, " number"]:
        """The values as a contract would state them: to about a two-thousandth of the range, sums kept."""
        places = [max(0, math.ceil(-math.log10((number.high - number.low) / FINE))) for number in self.numbers]
        rounded = np.array([round(value, place) for value, place in zip(values, places, strict=True)])
        rounded = np.clip(rounded, self.low, self.high)
        for members, total in self.tables():
            rest = total - rounded[members].sum()
            room = np.where(rest > 0, self.high - rounded, rounded - self.low)[members]
            rounded[members[int(room.argmax())]] += rest
        return np.round(rounded, 10) + 0.0

    def nearest(self, values: Float[np.ndarray, " number"]) -> Float[np.ndarray, " number"]:
        """What lies in the ranges and keeps the sums, nearest to the values."""
        found = np.clip(values, self.low, self.high)
        for members, total in self.tables():
            # Each sum is a rising, piecewise linear function of what is added to all that it is made of.
            added = np.unique(np.r_[self.low[members] - values[members], self.high[members] - values[members]])
            moved = np.clip(values[members] + added[:, None], self.low[members], self.high[members])
            shift = np.interp(total, moved.sum(1), added)
            found[members] = np.clip(values[members] + shift, self.low[members], self.high[members])
        return found

    def centre(self) -> Float[np.ndarray, " number"]:
        """Values that keep the sums, as far from the ends of the ranges as can be, as a share of the ranges.

        Raises:
            InputError: where the ranges do not allow a sum.
        """
        n, width = len(self.numbers), self.high - self.low
        if not n:
            return np.zeros(0)
        sums = [(np.isin(np.arange(n), members).astype(float), total) for members, total in self.tables()]
        found = linprog(
            [*np.zeros(n), -1.0],  # values, and the least share of a range that is left on either side
            A_ub=np.vstack([np.c_[-np.eye(n), width], np.c_[np.eye(n), width]]),
            b_ub=np.r_[-self.low, self.high],
            A_eq=np.array([[*row, 0.0] for row, _ in sums]) if sums else None,
            b_eq=np.array([total for _, total in sums]) if sums else None,
            bounds=[(None, None)] * n + [(None, 0.5)],
        )
        for table, (members, total) in zip(self.sums, self.tables(), strict=True):
            if not (found.success and found.x[-1] > 1e-9) and not (
                self.low[members].sum() < total < self.high[members].sum()
            ):
                raise InputError(
                    f"--free: the numbers of {table} must sum to {total:g}, and their ranges only allow from"
                    f" {self.low[members].sum():g} to {self.high[members].sum():g}; there must be room on both sides"
                )
        return found.x[:-1]

    def best(self, slope: Float[np.ndarray, "*row number"]) -> Float[np.ndarray, "*row"]:
        """The largest that slope . values can be within the ranges and sums: exact, as each sum is filled greedily."""
        low, width = self.low, self.high - self.low
        found = slope @ low
        alone = [i for i, number in enumerate(self.numbers) if not number.table]
        found = found + np.maximum(slope[..., alone], 0.0) @ width[alone]
        for members, total in self.tables():
            order = np.argsort(-slope[..., members], axis=-1)
            room = width[members][order]
            before = room.cumsum(-1) - room
            filled = np.clip(total - low[members].sum() - before, 0.0, room)
            found = found + (np.take_along_axis(slope[..., members], order, -1) * filled).sum(-1)
        return np.asarray(found)


def free_numbers(env: Environment, mechanism: Mechanism, given: Mapping[str, tuple[float, float]]) -> Free:
    """The free numbers of a mechanism.

    Args:
        env: the environment whose mechanism it is.
        mechanism: what is begun from.
        given: name -> range; a table's name, or `<table>.<name>`, stands for all agents.

    Raises:
        InputError: naming the number and what is allowed.
    """
    schema = schema_of(env)
    if not schema.contract:
        raise InputError(f"{env.name} has mechanisms that do not say what a contract can set, so that none can be free")
    table, agents, found = _copy(mechanism), list(env.coords.get("agent", ())), []
    tables = {field.name.removesuffix(".<name>") for field in mechanism_fields(schema) if field.name.endswith("<name>")}
    for name, (low, high) in given.items():
        key = _contract_key(schema, name)
        if not -math.inf < low < high < math.inf:
            raise InputError(f"--free {name}={low:g}:{high:g}: the first number must be below the second")
        rest = name.removeprefix(key).removeprefix(".")
        if key in tables:
            if rest not in (*agents, "", "<name>"):
                raise InputError(f"--free {name}: {key} has no '{rest}'; the agents are {listed(agents)}")
            whole = rest in ("", "<name>")
            paths = [(*key.split("."), agent) for agent in (agents if whole else [rest])]
        else:
            paths = [tuple(key.split("."))]
        total = schema.contract[key]
        for path in paths:
            at, unit = ".".join(path), unit_of(schema.parameters, path)
            if any(number.name == at for number in found):
                raise InputError(f"--free: {at} is free twice")
            for end in (low, high):  # a range that the field itself does not allow is refused by name
                beyond = _copy(mechanism)
                put(beyond, path, end)
                parse_mechanism(beyond, f"--free {at}={low:g}:{high:g}", schema)
            amounts = _at(table, key.split(".")) if key in tables else {}
            equal = (total or 0.0) / max(1, len(agents))
            start = (amounts.get(path[-1], 0.0) if amounts else equal) if key in tables else _at(table, path) or 0.0
            found.append(Number(at, path, low, high, start, unit, "" if total is None else key))
    if not 1 <= len(found) <= MOST:
        raise InputError(f"--free: {len(found)} numbers are free; there must be from 1 to {MOST}")
    sums = {}
    for key in dict.fromkeys(number.table for number in found if number.table):
        members = [number for number in found if number.table == key]
        if len(members) == 1:
            raise InputError(
                f"--free {members[0].name}: {key} must sum to {schema.contract[key]:g}, so that one of its numbers"
                " cannot change alone; free another one too"
            )
        fixed = _at(table, key.split("."))
        free = {number.path[-1] for number in members}
        sums[key] = (schema.contract[key] or 0.0) - sum(v for k, v in fixed.items() if k not in free)
    return Free(mechanism, schema, tuple(found), sums)


def _contract_key(schema: Schema, name: str) -> str:
    for key in schema.contract:
        if name == key or name.startswith(f"{key}."):
            return key
    known = {field.name.removesuffix(".<name>") for field in mechanism_fields(schema)}
    can = f"a contract of {schema.model} can set {listed(schema.contract)}"
    if name in schema.responses:
        raise InputError(f"--free {name}: says how people respond, which is an assumption and not a contract's; {can}")
    if name in known:
        raise InputError(f"--free {name}: is an assumption or a name, which no contract can set; {can}")
    raise InputError(f"--free {name}: is no field of a mechanism of {schema.model}; {can}")


def put(table: dict[str, Any], path: Sequence[str], value: float | dict[str, float]) -> None:
    """Set the number, or the table of numbers, at a place in a mechanism's table."""
    for part in path[:-1]:
        table = table.setdefault(part, {})
    table[path[-1]] = value


def _at(table: Mapping[str, Any], path: Sequence[str]) -> Any:
    found: Any = table
    for part in path:
        found = found[part]
    return found


def _copy(mechanism: Mechanism) -> dict[str, Any]:
    """Its table, which may be changed."""
    return msgspec.json.decode(msgspec.json.encode(mechanism.table()))
