"""What was forecast beside what happened: of a period after the books, given what was really decided in it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from bayesalloc.budgets.proposal import Proposal
from bayesalloc.discovery.books import PERIOD, UNIT, Books, numbers
from bayesalloc.discovery.regression import drawn, slopes
from bayesalloc.effects.contrasts import Difference, difference
from bayesalloc.errors import InputError, quoted
from bayesalloc.records import Table

DRAWS = 2000


class Outturn(NamedTuple):
    """One column in one row of the actuals.

    Attributes:
        row: its unit and period, or its line in the file.
        variable: the column.
        forecast: of this one row, what was decided and its conditions being known.
        happened: the value.
        inside: whether the interval holds it.
    """

    row: str
    variable: str
    forecast: Difference
    happened: float
    inside: bool


def judge(path: Path, books: Books, proposal: Proposal) -> list[Outturn]:
    """Forecasts from the books of what a later file says, for all that counts.

    Of books of levels the file must be about the period after their last. A condition that is missing there is as it
    is on average, with the spread that it has in the books.

    Args:
        path: a CSV file with columns as the books; of decisions, and of what counts, each at least in one row.
        books: the table that forecasts are made from; rows of it must not stand in the file.
        proposal: what was asked of the books.

    Raises:
        InputError: for a missing column, a number that is none, or a row that stands in the books.
    """
    table, joint = Table(path), proposal.joint
    known = [name for name in joint.decisions if name in books.names]
    counted = [*proposal.expected]
    for name in [*known, *counted]:
        if name not in table.columns:
            raise InputError(f"{path}: has no column '{quoted(name)}', which the proposal is about")
    labels = _labels(table)
    if books.units and books.periods and UNIT in table.columns and PERIOD in table.columns:
        both = {f"{unit}, {period}" for unit, period in zip(books.units, books.periods, strict=True)} & {*labels}
        if both:
            raise InputError(f"{path}: '{quoted(min(both))}' stands in the books, which then have seen what happened")
    causes = [*known, *joint.before]
    values = np.array([numbers(table, name) if name in table.columns else [np.nan] * len(table) for name in causes]).T
    for line, row in zip(table.lines, values, strict=True):
        if np.isnan(row[: len(known)]).any():
            name = known[int(np.isnan(row[: len(known)]).argmax())]
            raise InputError(f"{path}, line {line}: '{quoted(name)}' is missing; what was decided must be said")
    rng = np.random.default_rng(0)
    places = [books.names.index(name) for name in causes]
    found = slopes(proposal.moments, places)
    before = _carried(table, books, path)
    mean = np.nanmean(books.values, axis=0)
    slope = drawn(found, DRAWS, rng)
    left = np.sqrt(found.residual * (found.freedom + len(places) + 1))  # over degrees of freedom, not rows
    outturns = []
    for at, (label, row) in enumerate(zip(labels, values, strict=True)):
        away = (row - before[at, places] - mean[places]) / proposal.spread[places]
        lots = np.where(np.isnan(away), rng.normal(size=(DRAWS, len(away))), away)
        for name in counted:
            happened = numbers(table, name)[at]
            place = books.names.index(name)
            if np.isnan(happened + before[at, place]):
                continue
            drawn_ = (slope[:, place] * lots).sum(1) + left[place] * rng.normal(size=DRAWS)
            forecast = difference(before[at, place] + mean[place] + proposal.spread[place] * drawn_, proposal.interval)
            inside = bool(forecast.low <= happened <= forecast.high)
            outturns.append(Outturn(label, name, forecast, float(happened), inside))
    return outturns


def _carried(table: Table, books: Books, path: Path) -> np.ndarray:
    """What is left, in each row, of the levels in the books' last period; nothing where books are of surprises."""
    found = np.zeros((len(table), len(books.names)))
    if books.memory is None:
        return found
    units = table.labels(UNIT) if UNIT in table.columns else [""] * len(table)
    for at, unit in enumerate(units):
        if unit not in books.memory.last:
            raise InputError(f"{path}: the books say nothing of unit '{quoted(unit)}' in their last period")
        if units.index(unit) < at:
            raise InputError(
                f"{path}: unit '{quoted(unit)}' stands twice; with levels, give the period after the books'"
            )
        found[at] = books.memory.carried * books.memory.last[unit]
    return found


def _labels(table: Table) -> list[str]:
    """What a row is called."""
    parts = [table.columns[name] for name in (UNIT, PERIOD) if name in table.columns]
    return [", ".join(each) for each in zip(*parts, strict=True)] if parts else [f"line {n}" for n in table.lines]
