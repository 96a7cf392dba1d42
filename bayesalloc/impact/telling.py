"""What happened, told to a state: reports of projects or of the total, for a proposal or for another allocation."""

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from bayesalloc.errors import InputError, listed, quoted
from bayesalloc.impact.projects import Projects
from bayesalloc.impact.rounds import TOTAL, Row
from bayesalloc.impact.state import State
from bayesalloc.records import Table

COLUMNS = {
    "project": "its name",
    "reported_impact": "what was reported, above 0; empty: not yet",
    "amount_usd": "optional: what it got, where that is not what was proposed",
    "relative_error": "optional: standard error of the report as a share of it",
}


class Report(msgspec.Struct, frozen=True):
    """What one project reported.

    Attributes:
        impact: None: nothing yet.
        amount: USD that it got; None: as proposed.
        error: relative standard error; None: unknown.
    """

    impact: float | None
    amount: float | None = None
    error: float | None = None


def read_reports(table: Table, names: Sequence[str]) -> dict[str, Report]:
    """Reports by project.

    Raises:
        InputError: naming the file, the line, the column, the value and what is allowed.
    """
    projects = table.labels("project")
    impacts = table.numbers("reported_impact", low=0.0, above=True, required_column=True)
    amounts = table.numbers("amount_usd", low=0.0)
    errors = table.numbers("relative_error", low=0.0, above=True)
    found: dict[str, Report] = {}
    for index, project in enumerate(projects):
        if project not in names:
            raise table.error(index, "project", f"is '{project}'; there is no such project")
        if project in found:
            raise table.error(index, "project", f"'{project}' stands twice")
        numbers = (None if math.isnan(each[index]) else float(each[index]) for each in (impacts, amounts, errors))
        found[project] = Report(*numbers)
    return found


def read_allocation(table: Table, names: Sequence[str]) -> dict[str, float]:
    """An allocation by project, in USD: columns `project` and `amount_usd`.

    Raises:
        InputError: naming the file, the line, the column, the value and what is allowed.
    """
    projects = table.labels("project")
    amounts = table.numbers("amount_usd", low=0.0, required=True)
    for index, project in enumerate(projects):
        if project not in names:
            raise table.error(index, "project", f"is '{project}'; there is no such project")
        if project in projects[:index]:
            raise table.error(index, "project", f"'{project}' stands twice")
    return dict(zip(projects, map(float, amounts), strict=True))


def told(
    state: State,
    projects: Projects,
    *,
    ask: str | None = None,
    allocation: Mapping[str, float] | None = None,
    impact: float | None = None,
    reports: Mapping[str, Report] | None = None,
) -> tuple[State, list[str]]:
    """The state with what happened, and sentences on what was not as expected.

    Args:
        state: as it is.
        projects: its table.
        ask: the proposal that was carried out; one of `ask` and `allocation`.
        allocation: what was funded instead of a proposal: project -> USD.
        impact: the total that was reported.
        reports: what projects reported; later ones may follow, for the same proposal.

    Raises:
        InputError: where nothing was reported, something is told for the second time, an impact is not a number above
            0, there is no such proposal, or the allocation does not sum to the budget.
    """
    reports = reports or {}
    if impact is not None and not (impact > 0 and math.isfinite(impact)):
        raise InputError(f"the impact is {impact:g}; it must be a number above 0")
    if impact is None and not any(report.impact is not None for report in reports.values()):
        raise InputError("nothing was told: neither the total impact, nor that of any project")
    warnings: list[str] = []
    if ask is not None:
        asks = {each.id: each for each in state.asks}
        if ask not in asks:
            raise InputError(f"there is no proposal '{quoted(ask)}'; there are {listed(asks)}")
        number, planned = asks[ask].round, asks[ask].allocation
    else:
        number, planned = _of_allocation(state, projects, allocation or {}, warnings)
    changed = {name: report.amount for name, report in reports.items() if report.amount is not None}
    funded = {**planned, **changed}
    before = {row.project: row for row in state.rows if row.round == number}
    known = {name: row for name, row in before.items() if name != TOTAL}
    if known and any(not math.isclose(known[name].amount, funded.get(name, 0.0)) for name in known):
        raise InputError(f"round {number} has been told with other amounts")
    again = {name for name in reports if name in known and known[name].impact is not None}
    if again or (impact is not None and TOTAL in before):
        what = listed(again) if again else "the total"
        raise InputError(f"round {number} has been told already: {what}")
    if changed:
        _sums(funded, state.question.budget, "with the amounts told, the allocation")
    unfunded = sorted(name for name, report in reports.items() if report.impact is not None and not funded.get(name))
    if unfunded:
        raise InputError(f"these report an impact, but got nothing: {listed(unfunded)}")
    if impact is not None and reports:
        warnings.append("the total is kept, but not learned from: the reports of projects are parts of it")
    now = max(state.rounds, number)
    rows = []
    for name in projects.names:
        report = reports.get(name, Report(None))
        row = known.get(name, Row(number, name, funded.get(name, 0.0)))
        if report.impact is not None:
            row = msgspec.structs.replace(row, impact=report.impact, reported=now, error=report.error)
        rows.append(row)
    total = [before[TOTAL]] if TOTAL in before else []
    if impact is not None:
        total = [Row(number, TOTAL, 0.0, impact, now)]
    others = [row for row in state.rows if row.round != number]
    return msgspec.structs.replace(state, rows=[*others, *rows, *total]), warnings


def _of_allocation(
    state: State, projects: Projects, allocation: Mapping[str, float], warnings: list[str]
) -> tuple[int, Mapping[str, float]]:
    """Round and amounts of an allocation that is told by itself: a proposal's, where it is one."""
    _sums(allocation, state.question.budget, "the allocation")
    amounts = projects.amounts(allocation)
    for ask in state.asks:
        if np.allclose(projects.amounts(ask.allocation), amounts, rtol=0.0, atol=1e-6 * state.question.budget):
            return ask.round, ask.allocation
    warnings.append("this allocation was not proposed; it is told as a round of its own")
    return max([state.rounds, *(ask.round for ask in state.asks)]) + 1, allocation


def _sums(allocation: Mapping[str, float], budget: float, what: str) -> None:
    total = sum(allocation.values())
    if not math.isclose(total, budget, rel_tol=1e-6):
        raise InputError(f"{what} sums to {total:,.2f} USD; the budget is {budget:,.2f} USD")
