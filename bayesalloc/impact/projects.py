"""A funder's projects: the table that they are read from, the edges between them, and what both mean."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bayesalloc.errors import InputError, listed
from bayesalloc.records import Table

COLUMNS = {
    "project": "its name; each stands once",
    "impact_per_1000usd": "estimated impact of the first 1,000 USD, above 0; empty: unknown, it stays at `current`",
    "usd_per_impact": "the same the other way round; one of the two columns",
    "low": "optional: lower end of the estimate's 89 % interval, in the estimate's own unit",
    "high": "optional: upper end",
    "unit": "optional: what impact is measured in; one for all projects",
    "agency": "optional: who carries it out",
    "domain": "optional: a kind of impact, whose projects resemble each other",
    "intervention": "optional: what is done; projects of one intervention resemble each other more",
    "region": "optional: where; shocks are shared in a region",
    "room_usd": "optional: room for more funding, the amount at which the next dollar does half as much as the first,"
    " above 0; default: `current`, or an equal share of the budget",
    "floor": "optional: least amount, USD",
    "cap": "optional: most, USD",
    "minimum": "optional: least amount if it gets anything, USD",
    "current": "optional: what it gets now, USD a round",
    "population": "optional: how many people it is for",
    "external_risk": "optional: probability, in [0, 1), that a round brings nothing for reasons outside the project",
    "uses_<resource>": "optional: what 1,000 USD use of another resource, at least 0",
}
NUMBERS = ("room_usd", "floor", "cap", "minimum", "current", "population", "external_risk")
GROUPS = ("agency", "domain", "intervention", "region")
NAMED = 10  # projects that a sentence lists
WIDTH = 2 * 1.5982  # standard deviations between the ends of an 89 % interval


class Edge(NamedTuple):
    """A spill-over: what project `source` does helps or hinders `target`; edges of one kind have one strength."""

    source: str
    target: str
    kind: str


class Projects(NamedTuple):
    """What is known of projects before a round, in USD; arrays have a place for each project, sorted by name.

    Attributes:
        names: the projects, sorted, so that nothing depends on the order in a file.
        effect: impact per 1,000 USD of the first dollars; NaN where nobody has estimated it.
        error: standard deviation of the estimate's logarithm, as the table states it; 0 where it states none.
        room: K, see `bayesalloc.impact.returns.saturating`.
        floor: the least that each may get.
        cap: the most; infinite where there is none.
        minimum: the least if it gets anything.
        current: what it gets now; NaN where unknown.
        population: how many people it is for; NaN where unknown.
        risk: probability of a round without any impact.
        uses: resource -> use per 1,000 USD.
        groups: agency, domain, intervention and region -> label of each project.
        edges: the spill-overs.
        unit: what impact is measured in.
    """

    names: tuple[str, ...]
    effect: Float[np.ndarray, " project"]
    error: Float[np.ndarray, " project"]
    room: Float[np.ndarray, " project"]
    floor: Float[np.ndarray, " project"]
    cap: Float[np.ndarray, " project"]
    minimum: Float[np.ndarray, " project"]
    current: Float[np.ndarray, " project"]
    population: Float[np.ndarray, " project"]
    risk: Float[np.ndarray, " project"]
    uses: dict[str, np.ndarray]
    groups: dict[str, tuple[str, ...]]
    edges: tuple[Edge, ...]
    unit: str

    @property
    def estimated(self) -> np.ndarray:
        """Which projects have an estimate, and so may move."""
        return ~np.isnan(self.effect)

    def amounts(self, given: Mapping[str, float]) -> Float[np.ndarray, " project"]:
        """Amounts by name as an array; 0 where a project is not named."""
        return np.array([given.get(name, 0.0) for name in self.names])

    def named(self, values: Sequence[float] | np.ndarray) -> dict[str, float]:
        """An array as numbers by name."""
        return {name: float(value) for name, value in zip(self.names, values, strict=True)}


def read_projects(table: Table, budget: float, edges: Table | None = None) -> tuple[Projects, list[str]]:
    """A funder's table and, optionally, the edges between projects; and sentences on what was assumed or ignored.

    Args:
        table: with the columns of `COLUMNS`.
        budget: USD to be given away in a round; above 0.
        edges: with columns `from`, `to` and optionally `type`.

    Raises:
        InputError: naming the file, the line, the column, the value and what is allowed.
    """
    names = table.labels("project")
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if twice:
        raise InputError(f"{table.path}: project '{listed(twice)}' stands twice; each may stand once")
    warnings: list[str] = []
    numbers = {name: table.numbers(name, low=0.0, above=name in ("room_usd", "population")) for name in NUMBERS}
    effect, error = _estimates(table)
    groups = {name: tuple(table.cells(name)) if name in table.columns else ("",) * len(names) for name in GROUPS}
    units = set(table.cells("unit")) - {""} if "unit" in table.columns else set()
    uses = {
        name.removeprefix("uses_"): np.nan_to_num(table.numbers(name, low=0.0))
        for name in table.columns
        if name.startswith("uses_") and name != "uses_"
    }
    if len(units) > 1:
        raise InputError(f"{table.path}: impact is in {listed(units)}; impacts of different units cannot be added")
    if table.unused():
        warnings.append(f"{table.path}: columns that are not used: {listed(table.unused())}")
    current, estimated = numbers["current"], ~np.isnan(effect)
    for index in np.flatnonzero(~estimated & np.isnan(current)):
        raise table.error(
            int(index), _estimate_column(table), "is empty, and so is 'current': one of them must be there"
        )
    for index in np.flatnonzero(numbers["external_risk"] >= 1.0):
        raise table.error(int(index), "external_risk", f"is {numbers['external_risk'][index]:g}; it must be below 1")
    floor, cap = np.nan_to_num(numbers["floor"]), np.where(np.isnan(numbers["cap"]), np.inf, numbers["cap"])
    minimum = np.nan_to_num(numbers["minimum"])
    for index in np.flatnonzero(cap < np.maximum(floor, minimum)):
        least = max(floor[index], minimum[index])
        raise table.error(int(index), "cap", f"is {cap[index]:g}, below the project's floor or minimum of {least:g}")
    if not estimated.all():
        held = np.array(names)[~estimated]
        which = listed(held) if len(held) <= NAMED else f"{len(held)} of {len(names)}"
        warnings.append(f"no estimate, so they stay at what they get now and count for no impact: {which}")
    if not estimated.any():
        raise InputError(f"{table.path}: no project has an estimate in '{_estimate_column(table)}'")
    room, guessed = _room(numbers["room_usd"], current, budget)
    if (guessed & estimated).any():
        taken = np.array(names)[guessed & estimated]
        which = listed(taken) if len(taken) <= NAMED else f"{len(taken)} of {len(names)}"
        warnings.append(
            "room for more funding was not given and is taken to be what they get now, or an equal share of the budget:"
            f" {which}"
        )
    order = np.argsort(np.array(names))
    projects = Projects(
        names=tuple(names[i] for i in order),
        effect=effect[order],
        error=error[order],
        room=room[order],
        floor=floor[order],
        cap=cap[order],
        minimum=minimum[order],
        current=current[order],
        population=numbers["population"][order],
        risk=np.nan_to_num(numbers["external_risk"])[order],
        uses={name: each[order] for name, each in uses.items()},
        groups={name: tuple(labels[i] for i in order) for name, labels in groups.items()},
        edges=(),
        unit=units.pop() if units else "",
    )
    return (projects if edges is None else projects._replace(edges=_edges(edges, projects.names))), warnings


def _estimate_column(table: Table) -> str:
    given = [name for name in ("impact_per_1000usd", "usd_per_impact") if name in table.columns]
    if len(given) != 1:
        found = "both" if given else "neither"
        raise InputError(
            f"{table.path}: there must be a column 'impact_per_1000usd' or 'usd_per_impact'; {found} is there"
        )
    return given[0]


def _estimates(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Impact per 1,000 USD, and the standard deviation of its logarithm that the interval stands for."""
    column = _estimate_column(table)
    values, low, high = (table.numbers(name, low=0.0, above=True) for name in (column, "low", "high"))
    for index in range(len(table)):
        ends = (low[index], high[index])
        if np.isnan(ends).sum() == 1:
            raise table.error(index, "low", "and 'high' must both be there, or both be empty")
        if not np.isnan(values[index]) and not np.isnan(ends[0]) and not ends[0] <= values[index] <= ends[1]:
            raise table.error(index, column, f"is {values[index]:g}, outside low to high, {ends[0]:g} to {ends[1]:g}")
    error = np.nan_to_num(np.log(high / low) / WIDTH)
    return (values if column == "impact_per_1000usd" else 1000.0 / values), error


def _room(room: np.ndarray, current: np.ndarray, budget: float) -> tuple[np.ndarray, np.ndarray]:
    guessed = np.isnan(room)
    instead = np.where(np.nan_to_num(current) > 0, current, budget / len(room))
    return np.where(guessed, instead, room), guessed


def _edges(table: Table, names: Sequence[str]) -> tuple[Edge, ...]:
    ends = {column: table.labels(column) for column in ("from", "to")}
    kinds = table.cells("type") if "type" in table.columns else [""] * len(table)
    for column, labels in ends.items():
        for index, label in enumerate(labels):
            if label not in names:
                raise table.error(index, column, f"is '{label}'; there is no such project")
    found: set[tuple[str, str]] = set()
    for index, pair in enumerate(zip(ends["from"], ends["to"], strict=True)):
        if pair[0] == pair[1]:
            raise table.error(index, "to", f"is '{pair[1]}' itself; a project has no spill-over on itself")
        if pair in found:
            raise table.error(index, "to", f"the edge from '{pair[0]}' to '{pair[1]}' stands twice")
        found.add(pair)
    return tuple(Edge(*edge) for edge in zip(ends["from"], ends["to"], kinds, strict=True))
