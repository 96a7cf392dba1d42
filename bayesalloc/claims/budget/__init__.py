"""What is asked of budgets that are learned from books, beside what is measured in the organisation that ships.

Nothing is published that could be held against a number: the source names its measures, and gives no table of them. So
its setting (20 departments, 50 variables, seed 42) and its measures are its own, the bounds are ours.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import xarray as xr

from bayesalloc.claims import Asked, Findings, Row, Table
from bayesalloc.claims.budget.cells import EXPERIMENTS, module, run
from bayesalloc.claims.budget.published import Average, Claim, Found, averages, load_claims, verdict
from bayesalloc.claims.judging import Verdict
from bayesalloc.errors import InputError, listed

NAME = "budget"
SEEDS = 20  # of a full run
KEEP = Path("runs") / "budget-cells"  # where nobody says otherwise


def measure(asked: Asked) -> Findings:
    """The published seed; a full run has 19 more.

    Options: `experiments`, names of some; `keep`, the folder of finished cells.
    """
    given = asked.only(NAME, "experiments", "keep")
    names = given.get("experiments", EXPERIMENTS)
    if strange := set(names) - set(EXPERIMENTS):
        raise InputError(f"budget has no experiment '{listed(strange)}'; there are {listed(EXPERIMENTS)}")
    names = [name for name in EXPERIMENTS if name in names]
    keep = Path(given.get("keep", KEEP))
    try:
        keep.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{keep}: cannot be written to: {error.strerror}") from None
    first = load_claims().seed + asked.seed
    seeds = range(first, first + (SEEDS if asked.full else 1))
    return report(run(names, seeds, keep, progress=asked.progress), seeds)


def report(found: Mapping[str, Sequence[Found]], seeds: Sequence[int]) -> Findings:
    """What the cells say of the claims."""
    published = load_claims()
    means = {name: averages(cells, published.interval) for name, cells in found.items()}
    claims = [each for each in published.claims if each.experiment in found]
    judged: list[tuple[Claim, Average | None, Verdict]] = [
        (each, at := means[each.experiment].get(tuple(each.quantity)), verdict(each, at)) for each in claims
    ]
    left_out = [name for name in EXPERIMENTS if name not in found]
    said = {word: sum(each == word for *_, each in judged) for word in ("holds", "does not hold", "undecided")}
    if len(seeds) > 1:
        measure = {"holds": f"a bound holds if the whole interval of the mean over {len(seeds)} seeds is within it"}
        counts = f"{said['holds']} hold, {said['does not hold']} do not and {said['undecided']} are undecided"
    else:
        measure = {f"seed {seeds[0]}": "whether this one seed is within the bound; a full run has more, and intervals"}
        left = f"; {said['undecided']} need more seeds" if said["undecided"] else ""
        counts = f"{said['holds']} are met by seed {seeds[0]}, and {said['does not hold']} are not{left}"
    return Findings(
        title="Budgets from books: what is asked beside what is measured",
        rows=[_row(*each, next(iter(measure))) for each in judged],
        measures=measure,
        sections={name: module(name).TITLE for name in found},
        sentences=[f"Of {len(judged)} bounds, {counts}."],
        record={
            "seeds": [*seeds],
            "interval": published.interval,
            "claims": [
                {**msgspec.structs.asdict(claim), "measured": at and msgspec.structs.asdict(at), "verdict": word}
                for claim, at, word in judged
            ],
            "measured": {name: [*cells] for name, cells in found.items()},
        },
        data=xr.DataTree.from_dict({f"/{name}": _dataset(cells, seeds) for name, cells in found.items()}),
        warnings=[f"Not part of this run: {listed(left_out)}."] if left_out else [],
        named={"published": "asked"},
        terms={word: text for name in found for word, text in module(name).TERMS.items()},
        tables=[table for name in found for table in _tables(name, means[name])],
    )


def _row(claim: Claim, found: Average | None, word: Verdict, measure: str) -> Row:
    ends = {"at least": claim.least, "at most": claim.most, "about": claim.near}
    asked = ", ".join(f"{name} {end:g}" for name, end in ends.items() if end is not None)
    measured = "" if found is None else _number(found)
    return Row(claim.experiment, claim.text, {measure: word}, "", asked, measured)


def _number(found: Average) -> str:
    shown = _short(found.mean)
    return shown if found.seeds < 2 else f"{shown} [{_short(found.low)}, {_short(found.high)}]"


def _short(number: float) -> str:
    """With three digits, or all of a whole number's."""
    return f"{number:,.0f}" if abs(number) >= 100 or number == round(number) else f"{number:.3g}"


def _tables(name: str, means: Mapping[tuple[str, ...], Average]) -> Iterator[Table]:
    """Numbers by one name in a table of their own, those by two in one whose columns are the second."""
    single = [[" ".join(way), _number(found)] for way, found in means.items() if len(way) == 1]
    if single:
        yield Table(name, "In all", ["", "mean"], single)
    rows: dict[str, dict[str, str]] = {}
    for way, found in means.items():
        if len(way) == 2:
            rows.setdefault(way[0], {})[way[1]] = _number(found)
    grouped: dict[tuple[str, ...], list[str]] = {}
    for row, cells in rows.items():
        grouped.setdefault(tuple(cells), []).append(row)
    for header, names in grouped.items():
        yield Table(name, "Measured", ["", *header], [[row, *rows[row].values()] for row in names])


def _dataset(cells: Sequence[Found], seeds: Sequence[int]) -> xr.Dataset:
    """Every number by its way, with an axis for the seeds."""
    each = [averages([cell], 0.5) for cell in cells]
    ways = dict.fromkeys(way for cell in each for way in cell)
    values = {
        ", ".join(way): ("seed", [cell[way].mean if way in cell else float("nan") for cell in each]) for way in ways
    }
    return xr.Dataset(values, {"seed": [*seeds]})
