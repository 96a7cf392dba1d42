"""What holds in every row by bookkeeping: columns that repeat others, add up to them, or sum to a constant."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bayesalloc.errors import quoted
from bayesalloc.threads import one_thread

EXACT = 1e-5  # share of the spread that rounding in a file may leave
PART = 1e-3  # of the largest term: smaller ones are rounding
SHOWN = 30  # columns that a sentence lists
TOTALS = re.compile("total|sum|overall|balance")  # names of columns that ought to add others up
MOST_ROWS = 0.8  # of the rows, in which a total that is none elsewhere must add up
ROUNDS = 50  # of reweighting


class Identity(NamedTuple):
    """Columns that depend on each other exactly.

    Attributes:
        members: the columns, in the order of the table.
        left_out: the one that is left out, as the others say all that it says; "" where the sum of all is constant,
            since then leaving one out would not help.
        sentence: what holds.
    """

    members: tuple[str, ...]
    left_out: str
    sentence: str


@one_thread
def found(
    columns: Sequence[str], values: Float[np.ndarray, "row column"], lines: Sequence[int] | None = None
) -> list[Identity]:
    """The identities among columns that do change, one for each dependency; and totals that hold in most rows only.

    They are looked for in rows without a gap; where these are too few, in fewer columns: those with the fewest gaps.
    Pairs are looked for in all columns.

    Args:
        columns: their names.
        values: NaN where missing.
        lines: what a sentence calls the rows; by default they are counted from 1.
    """
    lines = range(1, len(values) + 1) if lines is None else lines
    said, names = [], np.array(columns, dtype=object)
    keep = np.ones(len(names), bool)
    for i, j in _pairs(values):
        if keep[i] and keep[j]:
            drop, other = (i, j) if np.isnan(values[:, i]).sum() > np.isnan(values[:, j]).sum() else (j, i)
            keep[drop] = False
            why = _repeats(values, drop, other, str(names[other]))
            said.append(Identity((str(names[i]), str(names[j])), str(names[drop]), why))
    names, values = names[keep], values[:, keep]
    order = np.argsort(np.isnan(values).sum(0), kind="stable")
    whole = np.cumsum(np.isnan(values[:, order]), axis=1) == 0  # [row, columns so far]
    used = np.sort(order[: int(np.cumprod(whole.sum(0) > np.arange(len(order)) + 2).sum())])
    if len(used) < 2:
        return said
    complete = np.flatnonzero(~np.isnan(values[:, used]).any(1))
    rows = values[np.ix_(complete, used)]
    spread = rows.std(0)
    for weights in _null(rows[:, spread > 0]):
        terms = np.flatnonzero(weights)
        among = used[spread > 0][terms]
        said.append(_identity([str(names[k]) for k in among], weights[terms] / spread[spread > 0][terms]))
    known = {name for identity in said for name in identity.members}
    for k, name in enumerate(names[used]):
        if TOTALS.search(name.lower()) and name not in known and spread[k] > 0:
            said += _mostly(list(map(str, names[used])), rows, k, [lines[int(i)] for i in complete])
    return said


def _mostly(names: list[str], rows: np.ndarray, total: int, lines: Sequence[int]) -> list[Identity]:
    """A total that adds up in most rows; where and by how much it does not. Found by least absolute deviations."""
    others = [k for k in range(len(names)) if k != total]
    causes = np.column_stack([rows[:, others] - rows[:, others].mean(0), np.ones(len(rows))])
    scale, aim = rows[:, total].std(), rows[:, total] - rows[:, total].mean()
    weight, left, slope = np.ones(len(rows)), aim, np.zeros(len(others) + 1)
    for _ in range(ROUNDS):
        root = np.sqrt(weight)[:, None]
        slope = np.linalg.lstsq(causes * root, aim * root[:, 0], rcond=None)[0]
        left = aim - causes @ slope
        weight = 1 / np.maximum(np.abs(left), 1e-6 * scale)
    holds = np.abs(left) < np.sqrt(EXACT) * scale
    if holds.mean() < MOST_ROWS or holds.sum() < len(names) + 2:
        return []
    slope = np.linalg.lstsq(causes[holds], aim[holds], rcond=None)[0]
    left = aim - causes @ slope
    share = np.abs(slope[:-1]) * rows[:, others].std(0)
    parts = [names[k] for k, part in zip(others, share, strict=True) if part > np.sqrt(EXACT) * share.max()]
    wrong = np.flatnonzero(~holds)
    shown = ", ".join(f"in line {lines[i]} by {left[i]:+.4g}" for i in wrong[:5])
    more = f" and in {len(wrong) - 5} more" if len(wrong) > 5 else ""
    why = f"it adds up {_listing([f"'{quoted(name)}'" for name in parts])}, but is off {shown}{more}"
    return [Identity((*parts, names[total]), names[total], why)]


def _pairs(values: Float[np.ndarray, "row column"]) -> list[tuple[int, int]]:
    """Pairs of columns that are the same up to unit and origin, in all rows that have both."""
    there = ~np.isnan(values)
    centred = np.where(there, values - np.nanmean(values, 0), 0.0) / np.nanstd(values, 0)
    mask = there.astype(float)
    n = mask.T @ mask
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = centred.T @ mask / n
        square = (centred**2).T @ mask / n - mean**2
        left = 1 - (centred.T @ centred / n - mean * mean.T) ** 2 / (square * square.T)
    close = np.argwhere(np.triu((left < EXACT) & (n > 4), 1))
    return [(int(i), int(j)) for i, j in close]


def _repeats(values: np.ndarray, drop: int, other: int, name: str) -> str:
    both = ~np.isnan(values[:, drop] + values[:, other])
    slope, origin = np.polyfit(values[both, other], values[both, drop], 1)
    same = np.allclose(values[both, drop], values[both, other])
    scale = f"{slope:.6g} times " if abs(slope - 1) > PART else ""
    shift = (
        f" {'+' if origin > 0 else '-'} {abs(origin):.6g}" if abs(origin) > PART * np.ptp(values[both, drop]) else ""
    )
    return f"it repeats '{quoted(name)}'" if same else f"it is {scale}'{quoted(name)}'{shift}"


def _null(rows: Float[np.ndarray, "row column"]) -> list[np.ndarray]:
    """Weights of the standardised columns whose sum is nothing, a dependency each, with as few terms as can be."""
    values, vectors = np.linalg.eigh(np.corrcoef(rows.T))
    basis = vectors[:, values < EXACT].T.copy()
    for row in range(len(basis)):
        pivot = max(
            range(basis.shape[1]), key=lambda column: (np.abs(basis[row:, column]).max() > 0.05, column)
        )  # the last column that takes part
        best = row + int(np.abs(basis[row:, pivot]).argmax())
        basis[[row, best]] = basis[[best, row]]
        basis[row] /= basis[row, pivot]
        others = np.arange(len(basis)) != row
        basis[others] -= np.outer(basis[others, pivot], basis[row])
    return [np.where(np.abs(weights) > PART * np.abs(weights).max(), weights, 0.0) for weights in basis]


def _identity(members: list[str], weights: np.ndarray) -> Identity:
    """Which of the members is the sum of the others: the one with the other sign, or else the last one."""
    positive = weights > 0
    shown = [f"'{quoted(name)}'" for name in members]
    if positive.all() or not positive.any():
        equal = np.allclose(weights, weights[0], rtol=PART)
        return Identity(tuple(members), "", f"the {'' if equal else 'weighted '}sum of {_listing(shown)} never changes")
    lonely = np.flatnonzero(positive == (positive.sum() == 1))
    total = int(lonely[0]) if len(lonely) == 1 else len(members) - 1
    rest = [name for i, name in enumerate(shown) if i != total]
    equal = np.allclose(np.abs(weights), abs(weights[total]), rtol=PART)
    how = "given by" if len(lonely) != 1 else "the sum of" if equal else "a weighted sum of"
    return Identity(tuple(members), members[total], f"it is {how} {_listing(rest)}")


def _listing(names: list[str]) -> str:
    more = len(names) - SHOWN
    return f"{', '.join(names[:SHOWN])} and {more} more" if more > 0 else f"{', '.join(names[:-1])} and {names[-1]}"
