"""Books: a table of numbers, a row for each unit and period, as a user keeps them; what is wrong with them is said."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bayesalloc import limits
from bayesalloc.discovery import identities
from bayesalloc.discovery.levels import Memory, ordered, surprises
from bayesalloc.errors import InputError, listed, quoted
from bayesalloc.records import Table

UNIT, PERIOD = "unit", "period"  # columns that are no variables
LEAST_ROWS = 5
MOST_LEVELS = 50  # values of a discrete variable
ALIKE = 0.5  # correlation of consecutive periods, in the middle of the columns, above which it is said
EXACT = 1e-6  # share of a column by which a total may be off
SEPARATORS = {";": "a semicolon", "\t": "a tab", "|": "a bar"}

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}[-/.][0-9]{1,2}([-/.][0-9]{1,2})?([ T].*)?|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{2,4}")
_QUARTER = re.compile(r"[0-9]{4}[- ]?[QqMmWw][0-9]{1,2}|[QqWw][0-9]{1,2}[-/ ]?[0-9]{4}")
_DAY = re.compile(r"(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])?")
_TOTAL = re.compile(r"(grand |sub-?)?(totals?|sums?|mean|average|overall)( of .*)?:?")
_CALENDAR = re.compile(r"(^|[^a-z])(years?|dates?|days?|months?|weeks?|quarters?|time|timestamp)($|[^a-z])")


class Books(NamedTuple):
    """A table that causes can be looked for in.

    Attributes:
        names: the variables, in the order of the file's columns.
        values: NaN where a cell is empty; of discrete variables a label's place in `labels`.
        units: who a row is about; None where no column says so.
        periods: when; likewise.
        labels: variable -> its values, where variables are discrete; else empty.
        closed: sets of variables whose (weighted) sum never changes. What one gains the others lose, so that no
            edge among them can be told, also where one of them is left out.
        left_out: column -> why it is no variable here.
        warnings: sentences on all of that.
        memory: where levels were given, what lasts of them; `values` then are what each period adds.
    """

    names: tuple[str, ...]
    values: Float[np.ndarray, "row variable"]
    units: tuple[str, ...] | None = None
    periods: tuple[str, ...] | None = None
    labels: dict[str, tuple[str, ...]] = {}
    closed: tuple[tuple[str, ...], ...] = ()
    left_out: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
    memory: Memory | None = None

    @property
    def given(self) -> Float[np.ndarray, "row variable"]:
        """The values as they were given: levels, where these were."""
        return self.values if self.memory is None else self.memory.values

    def column(self, name: str) -> Float[np.ndarray, " row"]:
        """A variable's values.

        Raises:
            InputError: where there is no such variable; a column that was left out is refused with its reason.
        """
        if name in self.left_out:
            raise InputError(f"'{quoted(name)}' cannot be used: {self.left_out[name]}")
        if name not in self.names:
            raise InputError(f"there is no variable '{quoted(name)}'; there are {quoted(', '.join(self.names))}")
        return self.values[:, self.names.index(name)]


def read_books(path: str | Path | Table, *, discrete: bool = False, levels: bool = False) -> Books:
    """The books in a CSV file; other columns than `unit` and `period` are variables, and an empty cell is missing.

    Left out, with a warning that names them, are columns that never change, that repeat another, or that others add
    up to. An estimate from fewer rows than variables, or from consecutive rows that are alike, is warned of.

    Args:
        path: the file, or its table.
        discrete: whether a variable's cells are labels; else they are numbers.
        levels: whether columns are levels that last; the books then are of what each period adds, see `levels`.

    Raises:
        InputError: naming the file, the line, the column, the value and what is allowed.
    """
    table = path if isinstance(path, Table) else _table(Path(path))
    if "" in table.columns:
        raise InputError(f"{table.path}: column {list(table.columns).index('') + 1} has no name in the header")
    units = tuple(table.labels(UNIT)) if UNIT in table.columns else None
    periods = tuple(table.labels(PERIOD)) if PERIOD in table.columns else None
    for name in (UNIT, PERIOD):
        _no_totals(table, name)
    if periods:
        _once(table, units, periods)
    names = [name for name in table.columns if name not in (UNIT, PERIOD)]
    if len(names) < 2:
        raise InputError(f"{table.path}: has {len(names)} columns of variables; there must be at least 2")
    labels: dict[str, tuple[str, ...]] = {}
    if discrete:
        columns = []
        for name in names:
            labels[name] = _levels(table, name)
            place = {label: float(i) for i, label in enumerate(labels[name])}
            columns.append([place.get(cell, np.nan) for cell in table.cells(name)])
    else:
        _all_numbers(table, names)
        columns = [numbers(table, name) for name in names]
    books = Books(tuple(names), np.array(columns).T, units, periods, labels)
    if not discrete and _of_others(books.values):
        raise table.error(
            len(table) - 1, names[0], "is in a row that sums up or averages all others; leave the row out"
        )
    if len(table) < LEAST_ROWS:
        raise InputError(f"{table.path}: has {len(table)} rows; nothing can be told from fewer than {LEAST_ROWS}")
    return _told(books, table.path, table.lines, levels=levels)


def from_columns(
    columns: Mapping[str, Sequence[float] | np.ndarray],
    units: Sequence[str] | None = None,
    periods: Sequence[str] | None = None,
    *,
    levels: bool = False,
) -> Books:
    """Books of numbers that are at hand already, checked as a file's are.

    Args:
        columns: variable -> values, NaN where missing.
        units: who each row is about.
        periods: when.
        levels: whether they are levels that last.
    """
    values = np.stack([np.asarray(column, float) for column in columns.values()], axis=1)
    when = None if periods is None else tuple(periods)
    return _told(
        Books(tuple(columns), values, None if units is None else tuple(units), when), "the books", levels=levels
    )


def _table(path: Path) -> Table:
    """The table in a file; one with other separators is refused before its cells are counted."""
    text = limits.read_text(path, limits.CSV_BYTES, "a CSV file", "utf-8-sig")
    header = next((line for line in text.splitlines() if line.strip()), "")
    if "," not in header and (found := [mark for mark in SEPARATORS if mark in header]):
        raise InputError(f"{path}: columns are separated by {SEPARATORS[found[0]]}; it must be a comma")
    return Table(path, text)


def _once(table: Table, units: Sequence[str] | None, periods: Sequence[str]) -> None:
    rows: dict[tuple[str, str], int] = {}
    for index, row in enumerate(zip(units or [""] * len(periods), periods, strict=True)):
        if row in rows:
            whose = f"of unit '{row[0]}' " if units else ""
            hint = "" if units else f"; where several units report, a column '{UNIT}' must name them"
            raise table.error(index, PERIOD, f"'{row[1]}' {whose}stands in line {table.row(rows[row])} already{hint}")
        rows[row] = index


def _no_totals(table: Table, name: str) -> None:
    """Refuse a row that by its label sums up others."""
    if name not in table.columns:
        return
    for index, cell in enumerate(table.cells(name)):
        if _TOTAL.fullmatch(cell.strip().lower()):
            raise table.error(
                index, name, f"is '{quoted(cell)}': a row that sums up others is none of its own; leave it out"
            )


def _of_others(values: Float[np.ndarray, "row variable"]) -> bool:
    """Whether the last row is the sum or the mean of all others, where it has a number and they differ."""
    differ = np.nan_to_num(np.abs(values[:-1] - values[0])).max(0, initial=0.0) > 0
    columns = values[:, ~np.isnan(values[-1]) & differ]
    others, last = np.nan_to_num(columns[:-1]), columns[-1]
    size, there = np.abs(others).sum(0), (~np.isnan(columns[:-1])).sum(0)
    total = others.sum(0)
    near = np.minimum(np.abs(last - total), np.abs(last - total / np.maximum(there, 1))) <= EXACT * size
    return len(values) > 2 and len(last) > 1 and bool((near & (last != 0)).all())


def _levels(table: Table, name: str) -> tuple[str, ...]:
    """A discrete variable's labels, sorted, as numbers where they are."""
    found = sorted(set(table.cells(name)) - {""}, key=lambda text: (not _NUMBER.fullmatch(text), text))
    if len(found) > MOST_LEVELS:
        raise InputError(
            f"{table.path}, column '{name}': has {len(found)} different values; a discrete variable has at most"
            f" {MOST_LEVELS}; put numbers into a few classes, such as low, middle and high"
        )
    return tuple(found)


def _all_numbers(table: Table, names: Sequence[str]) -> None:
    """Refuse columns of labels with what can be done of them; cells that are no numbers are refused one by one."""
    words = [
        name for name in names if not any(map(re.compile("[0-9]").search, table.cells(name))) and any(table.cells(name))
    ]
    if not words:
        return
    shown = next(cell for cell in table.cells(words[0]) if cell)
    said = f"{table.path}, column '{quoted(words[0])}': holds labels such as '{quoted(shown)}'"
    if len(words) == len(names):
        raise InputError(f"{said}, as all columns do; `discover` and `effect` take labels with --test chisq")
    raise InputError(
        f"{said}, and others hold numbers; either all must be numbers (two labels may be 0 and 1), or all labels, with"
        " numbers put into a few classes, such as low, middle and high, and --test chisq"
    )


def numbers(table: Table, name: str) -> list[float]:
    """A column's numbers, NaN where a cell is empty.

    Raises:
        InputError: naming the line and what is no number.
    """
    cells = table.cells(name)
    values = [float(cell) if _NUMBER.fullmatch(cell) else np.nan for cell in cells]
    for index, (cell, value) in enumerate(zip(cells, values, strict=True)):
        if cell and not np.isfinite(value):
            raise table.error(index, name, f"is '{quoted(cell)}'; {_advice(cell)}")
        if reason := limits.single_precision(value):
            raise table.error(index, name, f"is {cell}: {reason}")
    there = [cell for cell in cells if cell]
    dated = _CALENDAR.search(name.lower().replace("_", " "))
    if there and (
        all(_DAY.fullmatch(cell) for cell in there)
        or (dated and all(re.fullmatch("(19|20)[0-9]{2}", cell) for cell in there))
        or (dated and len(there) > 2 and (np.diff([float(cell) for cell in there]) > 0).all())
    ):
        raise table.error(
            cells.index(there[0]),
            name,
            f"is {there[0]}, a date as a number; call the column '{PERIOD}' if it says when a row was, or leave it out",
        )
    return values


def _advice(cell: str) -> str:
    """What to write instead of a cell that is no number."""
    if cell.endswith("%"):
        return "a number must stand without its percent sign, and the whole column in one unit"
    if _DATE.fullmatch(cell) or _QUARTER.fullmatch(cell):
        return f"a date is no number: call the column '{PERIOD}' if it says when a row was, or leave it out"
    if re.fullmatch(r"[+-]?[0-9]+,[0-9]{1,2}|[+-]?[0-9]+,[0-9]{4,}", cell):
        return f"the decimal mark must be a point: {cell.replace(',', '.')}"
    if re.fullmatch(r"[+-]?[0-9]{1,3}([,' \N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}][0-9]{3})+(\.[0-9]*)?", cell):
        return f"a number must stand without thousands separators: {re.sub(r'[^0-9.+-]', '', cell)}"
    return "it must be a number (empty if missing)"


def _told(books: Books, path: str | Path, lines: Sequence[int] | None = None, *, levels: bool = False) -> Books:
    """The books without the columns that say nothing, and with sentences on what to beware of."""
    left_out: dict[str, str] = {}
    warnings: list[str] = []
    for name, column in zip(books.names, books.values.T, strict=True):
        there = column[~np.isnan(column)]
        if not len(there):
            left_out[name] = "it is empty"
        elif there.min() == there.max():
            given = books.labels[name][0] if name in books.labels else f"{there[0] + 0.0:g}"
            left_out[name] = f"it is {given} in every row"
    changing = _without(books, left_out)
    found = [] if books.labels or not changing.names else identities.found(changing.names, changing.values, lines)
    for identity in found:
        if identity.left_out:
            left_out[identity.left_out] = identity.sentence
        else:
            warnings.append(f"{path}: {identity.sentence}, so no edge among them can be told")
    warnings = [f"{path}: column '{quoted(name)}' is left out: {why}" for name, why in left_out.items()] + warnings
    kept = _without(books, left_out)
    if len(kept.names) < 2:
        raise InputError(
            f"{path}: fewer than 2 columns are left; not used: "
            + "; ".join(f"'{quoted(name)}' ({why})" for name, why in left_out.items())
        )
    closed = tuple(identity.members for identity in found if not identity.left_out)
    if levels:
        kept, said = _added(kept, closed, path)
        warnings += said
    warnings += _few(kept, path) + _alike(kept, path)
    return kept._replace(closed=closed, left_out=left_out, warnings=tuple(warnings))


def _added(books: Books, closed: Sequence[Sequence[str]], path: str | Path) -> tuple[Books, list[str]]:
    """Of levels, what each period adds, and a sentence on that."""
    if books.labels:
        raise InputError(f"{path}: levels are of numbers; these books are of labels")
    if books.periods is None:
        raise InputError(f"{path}: levels need a column '{PERIOD}', which says which row follows which")
    place = ordered(books.periods, path)
    units, when = books.units or ("",) * len(books.periods), [place[period] for period in books.periods]
    together = [[books.names.index(name) for name in members if name in books.names] for members in closed]
    values, rows, memory = surprises(books.values, units, when, together)
    if len(rows) < LEAST_ROWS:
        raise InputError(
            f"{path}: {len(rows)} rows follow one of the same unit in the period before; levels need {LEAST_ROWS}"
        )
    said = (
        f"{path}: levels are taken for a share of the level before, {np.median(memory.carried):.2f} in the middle of"
        f" the columns, and what a period adds; all that is said is about the latter, within one period, from"
        f" {len(rows)} rows of {len(books.values)}"
    )
    kept = None if books.units is None else tuple(books.units[row] for row in rows)
    periods = tuple(books.periods[row] for row in rows)
    return books._replace(values=values, units=kept, periods=periods, memory=memory), [said]


def _without(books: Books, left_out: dict[str, str]) -> Books:
    keep = [i for i, name in enumerate(books.names) if name not in left_out]
    names = tuple(books.names[i] for i in keep)
    return books._replace(
        names=names, values=books.values[:, keep], labels={n: v for n, v in books.labels.items() if n in names}
    )


def _few(books: Books, path: str | Path) -> list[str]:
    """What can still be told from few rows."""
    rows, variables = books.values.shape
    said = []
    if rows < variables:
        said.append(
            f"{path}: {rows} rows are fewer than the {variables} variables: only strong links can be told, and with at"
            f" most {max(rows - 4, 0)} variables held fixed; what isn't found may still be there"
        )
    there = (~np.isnan(books.values)).sum(0)
    if sparse := [name for name, count in zip(books.names, there, strict=True) if count < LEAST_ROWS]:
        said.append(
            f"{path}: fewer than {LEAST_ROWS} cells, so that nothing can be told: {listed(map(quoted, sparse))}"
        )
    return said


def _alike(books: Books, path: str | Path) -> list[str]:
    """A warning where consecutive periods of a unit are alike, as levels are: tests take rows for independent."""
    if books.periods is None or books.labels:
        return []
    units = np.array(books.units or ("",) * len(books.periods))
    if max(Counter(units.tolist()).values()) < 3:
        return []
    order = np.argsort(units, kind="stable")
    same = units[order][1:] == units[order][:-1]
    before, after = books.values[order][:-1][same], books.values[order][1:][same]
    there = ~np.isnan(before + after)
    middle = [
        np.corrcoef(a[t], b[t])[0, 1]
        for a, b, t in zip(before.T, after.T, there.T, strict=True)
        if t.sum() > 2 and np.ptp(a[t]) > 0 and np.ptp(b[t]) > 0
    ]
    if not middle or np.median(middle) <= ALIKE:
        return []
    return [
        f"{path}: a row is much like that of the period before (correlation {np.median(middle):.2f} in the middle"
        " of the columns), and the tests take rows for independent: too many edges, and effects that are none;"
        " give changes, or surprises against the plan, or say --levels"
    ]
