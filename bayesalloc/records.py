"""Reads a user's CSV: every refusal names the file, the column, the row and what is allowed."""

import csv
import io
import itertools
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from bayesalloc import limits
from bayesalloc.errors import InputError, listed


class Table:
    """A CSV file with a header, as text cells; its methods turn columns into checked values.

    Rows are counted as an editor counts lines: the header is line 1. An empty cell is missing.

    Args:
        path: the file.
        text: its content, where it has been read already.

    Raises:
        InputError: for a file that is missing, empty, not text, or whose rows differ in length.
    """

    def __init__(self, path: str | Path, text: str | None = None) -> None:
        self.path = Path(path)
        self.used: set[str] = set()
        if text is None:
            text = limits.read_text(self.path, limits.CSV_BYTES, "a CSV file", "utf-8-sig")
        lines = list(self._rows(text))
        if not lines:
            raise InputError(f"{self.path}: the file is empty; it must have a header line and at least one row")
        header = lines[0][1]
        twice = {name for name, times in Counter(header).items() if times > 1}
        if twice:
            raise InputError(f"{self.path}: column '{listed(twice)}' stands twice in the header")
        if len(lines) == 1:
            raise InputError(f"{self.path}: there is a header but no row below it")
        for line, row in lines[1:]:
            if len(row) != len(header):
                raise InputError(f"{self.path}, line {line}: has {len(row)} cells where the header has {len(header)}")
        self.lines = [line for line, _ in lines[1:]]
        self.columns = {name: [row[i] for _, row in lines[1:]] for i, name in enumerate(header)}

    def _rows(self, text: str) -> Iterator[tuple[int, list[str]]]:
        """Line number and cells of every row that is not empty; refused where there are more than the limits allow."""
        reader, cells = csv.reader(text.splitlines()), 0
        try:
            for row in reader:
                row = [sys.intern(cell.strip()) for cell in row]
                if not any(row):
                    continue
                cells += len(row)
                where = f"{self.path}, line {reader.line_num}"
                if len(row) > limits.CSV_COLUMNS:
                    raise InputError(f"{where}: has {len(row):,} cells; at most {limits.CSV_COLUMNS:,} are allowed")
                if cells > limits.CSV_CELLS:
                    raise InputError(f"{where}: the file has more than {limits.CSV_CELLS:,} cells up to here")
                if max(map(len, row)) > limits.CELL:
                    raise InputError(f"{where}: has a cell of more than {limits.CELL:,} characters")
                yield reader.line_num, row
        except csv.Error as error:
            raise InputError(f"{self.path}, line {reader.line_num}: not a valid CSV row: {error}") from None

    def __len__(self) -> int:
        return len(self.lines)

    def text(self) -> str:
        """The table as CSV text, as a posterior carries it."""
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([self.columns, *zip(*self.columns.values(), strict=True)])
        return buffer.getvalue()

    def row(self, index: int) -> int:
        """The line in the file of a row counted from 0."""
        return self.lines[index]

    def error(self, index: int, column: str, problem: str) -> InputError:
        """An error about one cell."""
        return InputError(f"{self.path}, line {self.lines[index]}, column '{column}': {problem}")

    def cells(self, column: str) -> list[str]:
        """A column's text; refused where the column is missing."""
        if column not in self.columns:
            raise InputError(f"{self.path}: there is no column '{column}'; the columns are {listed(self.columns)}")
        self.used.add(column)
        return self.columns[column]

    def labels(self, column: str) -> list[str]:
        """A column of labels, none of them missing."""
        for index, cell in enumerate(self.cells(column)):
            if not cell:
                raise self.error(index, column, "is empty: a label is missing")
            if len(cell) > limits.LABEL:
                raise self.error(index, column, f"has {len(cell)} characters; a label has at most {limits.LABEL}")
        return self.cells(column)

    def integers(self, column: str, low: int = -limits.EXACT, high: int = limits.EXACT) -> list[int]:
        """A column of whole numbers in [low, high], none of them missing."""
        values = []
        for index, cell in enumerate(self.cells(column)):
            if not re.fullmatch("[+-]?[0-9]+", cell):
                raise self.error(index, column, f"is '{cell}'; it must be a whole number")
            if not low <= int(cell) <= high:
                raise self.error(index, column, f"is {cell}; it must be in [{low}, {high}]")
            values.append(int(cell))
        return values

    def increasing(self, column: str, values: Sequence[int]) -> None:
        """Refuse values that do not increase from row to row."""
        for index, (before, value) in enumerate(itertools.pairwise(values), start=1):
            if value == before:
                raise self.error(index, column, f"{value} stands twice; each {column} may stand once")
            if value < before:
                raise self.error(index, column, f"{value} stands after {before}; {column}s must increase")

    def numbers(
        self,
        column: str,
        *,
        low: float = -np.inf,
        high: float = np.inf,
        above: bool = False,
        required: bool = False,
        required_column: bool = False,
    ) -> Float[np.ndarray, " row"]:
        """A column of numbers in [low, high] (or (low, high] with `above`); NaN where missing, or where no such column.

        Args:
            column: its name.
            low: the lowest allowed value.
            high: the highest.
            above: whether `low` itself is refused.
            required: whether a missing cell is refused.
            required_column: whether a missing column is refused.
        """
        if column not in self.columns and not (required or required_column):
            return np.full(len(self), np.nan)
        allowed = f"at least {low:g}" if high == np.inf else f"in [{low:g}, {high:g}]"
        allowed = f"above {low:g}" if above else allowed
        values = np.full(len(self), np.nan)
        for index, cell in enumerate(self.cells(column)):
            if not cell:
                if required:
                    raise self.error(index, column, f"is empty; it must be a number {allowed}")
                continue
            try:
                value = math.nan if "_" in cell else float(cell)
            except ValueError:
                raise self.error(
                    index, column, f"is '{cell}'; it must be a number {allowed} (empty if missing)"
                ) from None
            if not low <= value <= high or (above and value == low) or not np.isfinite(value):
                raise self.error(index, column, f"is {cell}; it must be {allowed}")
            if reason := limits.single_precision(value):
                raise self.error(index, column, f"is {cell}: {reason}")
            values[index] = value
        return values

    def unused(self) -> list[str]:
        """Columns that nothing asked for, for a warning that names them."""
        return [name for name in self.columns if name not in self.used]
