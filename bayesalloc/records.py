"""Reads a user's CSV: every refusal names the file, the column, the row and what is allowed."""

import csv
import io
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

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
        try:
            text = self.path.read_text(encoding="utf-8-sig") if text is None else text
        except FileNotFoundError:
            raise InputError(f"{self.path}: no such file") from None
        except (UnicodeDecodeError, OSError) as error:
            raise InputError(f"{self.path}: not a readable text file: {error}") from None
        reader = csv.reader(text.splitlines())
        try:
            lines = [(reader.line_num, [c.strip() for c in row]) for row in reader if any(c.strip() for c in row)]
        except csv.Error as error:
            raise InputError(f"{self.path}, line {reader.line_num}: not a valid CSV row: {error}") from None
        if not lines:
            raise InputError(f"{self.path}: the file is empty; it must have a header line and at least one row")
        header = lines[0][1]
        twice = {name for name in header if header.count(name) > 1}
        if twice:
            raise InputError(f"{self.path}: column '{listed(twice)}' stands twice in the header")
        if len(lines) == 1:
            raise InputError(f"{self.path}: there is a header but no row below it")
        for line, row in lines[1:]:
            if len(row) != len(header):
                raise InputError(f"{self.path}, line {line}: has {len(row)} cells where the header has {len(header)}")
        self.lines = [line for line, _ in lines[1:]]
        self.columns = {name: [row[i] for _, row in lines[1:]] for i, name in enumerate(header)}

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
        return self.cells(column)

    def integers(self, column: str) -> list[int]:
        """A column of whole numbers, none of them missing."""
        values = []
        for index, cell in enumerate(self.cells(column)):
            try:
                values.append(int(cell))
            except ValueError:
                raise self.error(index, column, f"is '{cell}'; it must be a whole number") from None
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
                value = float(cell)
            except ValueError:
                raise self.error(
                    index, column, f"is '{cell}'; it must be a number {allowed} (empty if missing)"
                ) from None
            if not low <= value <= high or (above and value == low) or not np.isfinite(value):
                raise self.error(index, column, f"is {cell}; it must be {allowed}")
            values[index] = value
        return values

    def unused(self) -> list[str]:
        """Columns that nothing asked for, for a warning that names them."""
        return [name for name in self.columns if name not in self.used]
