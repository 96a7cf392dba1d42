"""What was funded and what was reported, round by round; and both as the impact function takes them."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import msgspec
import numpy as np
from jaxtyping import Array, Int

from bayesalloc.errors import InputError, listed
from bayesalloc.impact.projects import Projects
from bayesalloc.impact.returns import Edges
from bayesalloc.impact.structured import Prior, Reports
from bayesalloc.impact.totals import Total
from bayesalloc.records import Table

COLUMNS = {
    "round": "whole number, from 1",
    "project": "a project's name, or * for all of them together",
    "amount_usd": "what it got, at least 0; empty for *",
    "reported_impact": "optional: what was reported, above 0; empty: not yet",
    "reported_round": "optional: the round in which it was",
    "relative_error": "optional: standard error of the report as a share of it",
    "on": "optional: 0 where the project could not work for reasons outside it, else 1",
}
TOTAL = "*"
REPORTABLE = 1e-3  # share of the budget from which a report says anything
MOST = 100_000  # rounds


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One project in one round, or with the project `*` all of them together.

    Attributes:
        round: its number.
        project: the name.
        amount: USD that it got.
        impact: what was reported; None: nothing yet.
        reported: the round in which it was.
        error: the report's relative standard error; None: unknown.
        on: whether the project could work.
    """

    round: int
    project: str
    amount: float
    impact: float | None = None
    reported: int | None = None
    error: float | None = None
    on: bool = True


def read_rounds(table: Table, names: Sequence[str]) -> list[Row]:
    """Past rounds of a funder.

    Raises:
        InputError: naming the file, the line, the column, the value and what is allowed.
    """
    numbers = table.integers("round", 1, MOST)
    projects = table.labels("project")
    amounts = table.numbers("amount_usd", low=0.0, required_column=True)
    impacts = table.numbers("reported_impact", low=0.0, above=True)
    reported = table.numbers("reported_round", low=1.0, high=float(MOST))
    errors = table.numbers("relative_error", low=0.0, above=True)
    working = table.numbers("on", low=0.0, high=1.0)
    rows: list[Row] = []
    seen: set[tuple[int, str]] = set()
    for index, (number, project) in enumerate(zip(numbers, projects, strict=True)):
        if project != TOTAL and project not in names:
            raise table.error(index, "project", f"is '{project}'; there is no such project")
        if (number, project) in seen:
            raise table.error(index, "project", f"'{project}' stands twice in round {number}")
        if project != TOTAL and math.isnan(amounts[index]):
            raise table.error(index, "amount_usd", "is empty; it must be a number at least 0")
        if reported[index] < number or reported[index] % 1 > 0:
            raise table.error(index, "reported_round", f"is {reported[index]:g}; it must be a round from {number} on")
        seen.add((number, project))
        row = Row(
            number,
            project,
            float(np.nan_to_num(amounts[index])),
            _or_none(impacts[index]),
            None if math.isnan(reported[index]) else int(reported[index]),
            _or_none(errors[index]),
            bool(working[index] != 0.0),
        )
        rows.append(row)
    alone = {row.round for row in rows} - {row.round for row in rows if row.project != TOTAL}
    if alone:
        raise InputError(f"{table.path}: round {listed(alone)} has a total, but says of no project what it got")
    return rows


def prior_of(projects: Projects, budget: float) -> Prior:
    """The projects that have an estimate, in budgets.

    Those without a domain, or without a region, are in one together; each without an intervention is one of its own.
    """
    which = np.flatnonzero(projects.estimated)
    place = {projects.names[index]: at for at, index in enumerate(which)}
    kinds = kinds_of(projects)
    into = [[edge for edge in projects.edges if edge.target == name and edge.source in place] for name in place]
    most = max(1, *map(len, into))
    source, kind, there = (np.zeros((len(which), most), int) for _ in range(3))
    for row, edges in enumerate(into):
        for column, edge in enumerate(edges):
            source[row, column], kind[row, column], there[row, column] = place[edge.source], kinds.index(edge.kind), 1
    groups = {name: [labels[i] for i in which] for name, labels in projects.groups.items()}
    return Prior(
        estimate=jnp.asarray(np.log(projects.effect[which] * budget / 1000.0)),
        stated=jnp.asarray(projects.error[which]),
        room=jnp.asarray(projects.room[which] / budget),
        domain=_indices(groups["domain"]),
        intervention=jnp.where(
            jnp.array([label != "" for label in groups["intervention"]]), _indices(groups["intervention"]), -1
        ),
        region=_indices(groups["region"]),
        edges=Edges(jnp.asarray(source), jnp.asarray(kind), jnp.asarray(there.astype(bool))),
    )


def kinds_of(projects: Projects) -> list[str]:
    """The kinds of spill-overs that there are."""
    return sorted({edge.kind for edge in projects.edges})


def reports_of(rows: Sequence[Row], projects: Projects, budget: float) -> Reports:
    """Rounds as arrays, in budgets, for projects with an estimate; padded to a power of two of rounds.

    Args:
        rows: what was funded and reported.
        projects: all of them.
        budget: USD.
    """
    which = projects.estimated
    place = {name: at for at, name in enumerate(np.array(projects.names)[which].tolist())}
    numbers = {number: at for at, number in enumerate(sorted({row.round for row in rows}))}
    shape = (max(8, 2 ** math.ceil(math.log2(max(len(numbers), 1)))), len(place))
    amount, impact, error = np.zeros(shape), np.ones(shape), np.full(shape, np.nan)
    there = np.zeros(shape, bool)
    for row in rows:
        if row.project not in place:
            continue
        at = numbers[row.round], place[row.project]
        amount[at] = row.amount / budget * row.on
        if row.impact is not None and amount[at] >= REPORTABLE:
            impact[at], there[at] = row.impact, True
            error[at] = np.nan if row.error is None else _log_error(row.error)
    return Reports(*map(jnp.asarray, (amount, np.log(impact), error, there)))


def totals_of(rows: Sequence[Row], projects: Projects, budget: float) -> list[Total]:
    """The totals that are learned from: those of rounds of which no project has reported."""
    by_project = {row.round for row in rows if row.project != TOTAL and row.impact is not None}
    amounts = amounts_of([msgspec.structs.replace(row, amount=row.amount * row.on) for row in rows], projects)
    found = []
    for row in sorted(rows, key=lambda row: row.round):
        if row.project == TOTAL and row.impact is not None and row.round not in by_project:
            amount = amounts[row.round][projects.estimated] / budget
            error = math.nan if row.error is None else _log_error(row.error)
            found.append(Total(*map(jnp.asarray, (amount, math.log(row.impact), error))))
    return found


def _log_error(relative: float) -> float:
    """Standard deviation of the logarithm of what is log-normal, from its relative one."""
    return math.sqrt(math.log1p(relative**2))


def amounts_of(rows: Sequence[Row], projects: Projects) -> dict[int, np.ndarray]:
    """Round -> USD of each project."""
    found: dict[int, dict[str, float]] = {}
    for row in rows:
        if row.project != TOTAL:
            found.setdefault(row.round, {})[row.project] = row.amount
    return {number: projects.amounts(given) for number, given in sorted(found.items())}


def _indices(labels: Sequence[str]) -> Int[Array, " project"]:
    return jnp.asarray(np.unique(np.array(labels), return_inverse=True)[1])


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
