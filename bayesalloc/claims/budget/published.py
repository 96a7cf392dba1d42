"""What is asked of the budget system, as `models/published/budget.toml` states it, and whether it holds."""

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import scipy.stats

from bayesalloc.claims.judging import Verdict
from bayesalloc.library import content

Found = Mapping[str, float | Mapping[str, float]]  # what one cell measures: numbers by name, or by name and name


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bound on a quantity; the file says what the fields mean."""

    experiment: str
    quantity: list[str]
    text: str
    least: float | None = None
    most: float | None = None
    near: float | None = None


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All claims, the published seed, and the probability of the intervals that decide."""

    seed: int
    interval: float
    claims: list[Claim]


class Average(msgspec.Struct, frozen=True):
    """The mean over seeds, its interval (Student's t; the mean itself for one seed), and its standard error."""

    mean: float
    low: float
    high: float
    error: float
    seeds: int


def load_claims() -> Published:
    """The shipped claims."""
    path = content("models") / "published" / "budget.toml"
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Published)


def average(values: Sequence[float], probability: float) -> Average:
    """Over the seeds in which there is a number.

    >>> found = average([1.0, 3.0], 0.5)
    >>> found.mean, round(found.low, 6), found.error, found.seeds
    (2.0, 1.0, 1.0, 2)
    """
    known = np.array(values, float)
    known = known[~np.isnan(known)]
    if not len(known):
        return Average(np.nan, np.nan, np.nan, np.nan, 0)
    mean, error = float(known.mean()), 0.0
    if len(known) > 1:
        error = float(known.std(ddof=1) / len(known) ** 0.5)
    half = float(scipy.stats.t.ppf((1 + probability) / 2, len(known) - 1)) * error if error else 0.0
    return Average(mean, mean - half, mean + half, error, len(known))


def averages(cells: Sequence[Found], probability: float) -> dict[tuple[str, ...], Average]:
    """Over cells of one experiment, by the way to the number."""
    flat = [dict(_flat(cell)) for cell in cells]
    ways = dict.fromkeys(way for cell in flat for way in cell)
    return {way: average([cell.get(way, np.nan) for cell in flat], probability) for way in ways}


def _flat(found: Mapping[str, Any]) -> list[tuple[tuple[str, ...], float]]:
    parts = []
    for name, value in found.items():
        inside = _flat(value) if isinstance(value, Mapping) else [((), float(value))]
        parts += [((name, *way), number) for way, number in inside]
    return parts


def verdict(claim: Claim, found: Average | None) -> Verdict:
    """Whether the mean is within the bounds with its whole interval, or outside them with all of it.

    `near` a number is within two standard errors of it, which one seed does not tell.

    >>> verdict(Claim("x", ["a"], "", least=1.0), average([1.5, 1.6], 0.89))
    'holds'
    """
    if found is None or not found.seeds:
        return "not measured"
    if claim.near is not None:
        if found.seeds < 2:
            return "undecided"
        return "holds" if abs(found.mean - claim.near) <= 2 * found.error else "does not hold"
    least, most = (bound if bound is not None else end for bound, end in ((claim.least, -np.inf), (claim.most, np.inf)))
    if found.low >= least and found.high <= most:
        return "holds"
    return "does not hold" if found.high < least or found.low > most else "undecided"
