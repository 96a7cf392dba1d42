"""Project tables from public files: grants that were made, and published cost-effectiveness."""

import calendar
import csv
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bayesalloc import limits
from bayesalloc.errors import InputError, listed, quoted
from bayesalloc.impact.projects import WIDTH
from bayesalloc.records import Table

GRANTS = ("Grant", "Organization Name", "Focus Area", "Amount", "Date")
MONTHS = list(calendar.month_name)[1:]
USUAL = 3  # full years whose mean is what an area gets now
# DALY-equivalents per 1,000 USD of a typical intervention, and the log standard deviation around it: Rethink
# Priorities' cross-cause model (health at GiveWell's bar and around it; animals at a moral weight of 0.0026, which is
# parity with health by construction; other weights give anything from none to all to animals).
DOMAINS = {"health": 5.0, "animals": 4.9}
SPREAD = 1.17
AREAS = {
    "GiveWell-Recommended Charities": "health",
    "Global Health & Development": "health",
    "Global Health R&D": "health",
    "Global Public Health Policy": "health",
    "South Asian Air Quality": "health",
    "Farm Animal Welfare": "animals",
    "Broiler Chicken Welfare": "animals",
    "Cage-Free Reforms": "animals",
    "Alternatives to Animal Products": "animals",
    "Fish Welfare": "animals",
}
BENCHMARK = 3.33  # GiveWell's units of value per 1,000 USD of cash (analyses of November 2025; 3.35 in some of them)
PLAUSIBLE = 30.0  # times the benchmark; more than any of GiveWell's programmes is published with
ADJUSTMENTS = ("OlderMortalities", "Developmental", "Consumption", "ProgramBenefits", "Grantee")
ESTIMATES = ("impact_per_1000usd", "usd_per_impact", "low", "high", "unit", "domain", "intervention", "room_usd")


def written(
    source: str, file: Path, out: Path, estimates: Path | None = None, rounds: Path | None = None
) -> tuple[list[str], str]:
    """Write the project table of a public file; warnings, and a sentence on what was written.

    Args:
        source: open-philanthropy or givewell.
        file: the public file.
        out: the table to write.
        estimates: cost-effectiveness to join by `project`; for grants.
        rounds: a table of past rounds to write, one a year; for grants.

    Raises:
        InputError: where a file is not what it should be, or something would be written over.
    """
    if source not in ("open-philanthropy", "givewell"):
        raise InputError(f"there is no importer '{quoted(source)}'; there are givewell, open-philanthropy")
    if source == "givewell" and (estimates is not None or rounds is not None):
        raise InputError("a file of cost-effectiveness has neither estimates to join nor past rounds")
    for path in (out, rounds):
        if path is not None and path.exists():
            raise InputError(f"{path}: is there already; give another name")
    past: list[dict[str, Any]] = []
    if source == "givewell":
        rows, warnings = givewell(file)
    else:
        rows, past, warnings = open_philanthropy(file, estimates)
    _write(out, rows)
    if rounds is not None:
        _write(rounds, past)
    with_estimate = sum(bool(row.get("impact_per_1000usd") or row.get("usd_per_impact")) for row in rows)
    return warnings, f"{out}: {len(rows)} projects, {with_estimate} of them with an estimate"


def open_philanthropy(
    file: Path, estimates: Path | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    """One project for each focus area of Open Philanthropy's grants, one round for each year; and warnings.

    What an area gets now is its mean over the last three full years, and its room for more funding the most that it
    got in one year. Grants say nothing about effectiveness: that comes from `estimates`, where areas without one stay
    as they are; without a file from the wide prior of the area's domain, where it has one.
    """
    table = Table(file)
    missing = [name for name in GRANTS if name not in table.columns]
    if missing:
        raise InputError(f"{table.path}: there is no column {listed(missing)}; grants have {', '.join(GRANTS)}")
    totals: dict[str, Counter[int]] = defaultdict(Counter)
    months: set[tuple[int, int]] = set()
    blank = 0
    for index, (area, text, date) in enumerate(
        zip(table.labels("Focus Area"), table.cells("Amount"), table.cells("Date"), strict=True)
    ):
        month, _, year = date.partition(" ")
        if month not in MONTHS or not re.fullmatch("[12][0-9]{3}", year):
            raise table.error(index, "Date", f"is '{date}'; it must be a month and a year, as October 2024")
        if not text:
            blank += 1
            continue
        if not re.fullmatch(r"\$?[0-9]{1,3}(,?[0-9]{3})*(\.[0-9]+)?", text):
            raise table.error(index, "Amount", f"is '{text}'; it must be an amount, as $484,000")
        totals[area][int(year)] += round(float(text.replace("$", "").replace(",", "")))
        months.add((int(year), MONTHS.index(month) + 1))
    years = sorted({year for year, _ in months})
    full = [year for year in years if (year, 12) in months or year < years[-1]][-USUAL:]
    warnings = [f"{blank} grants without an amount were left out"] if blank else []
    warnings.append(
        f"what an area gets now is its mean over {full[0]} to {full[-1]}; its room for more funding the most that it"
        " got in one year"
    )
    if full[-1] != years[-1]:
        warnings.append(f"{years[-1]} is not over in the file, and does not count")
    known = {} if estimates is None else _estimates(estimates, set(totals))
    if estimates is None:
        warnings.append(
            "no estimates were given: areas of health and animals have a wide prior for their whole domain (animals at"
            " a moral weight of 0.0026, parity with health by construction), and the others stay as they are"
        )
    rows = []
    for area in sorted(totals):
        row: dict[str, Any] = {
            "project": area,
            "impact_per_1000usd": "",
            "low": "",
            "high": "",
            "unit": "DALY-equivalents" if estimates is None else "",
            "domain": AREAS.get(area, ""),
            "room_usd": max(totals[area].values()),
            "current": round(sum(totals[area][year] for year in full) / len(full)),
        }
        if estimates is None and area in AREAS:
            typical, factor = DOMAINS[AREAS[area]], float(np.exp(SPREAD * WIDTH / 2))
            row |= {"impact_per_1000usd": typical, "low": typical / factor, "high": typical * factor}
        rows.append(row | {name: value for name, value in known.get(area, {}).items() if value})
    past = [
        {"round": number, "project": area, "amount_usd": totals[area][year], "reported_impact": ""}
        for number, year in enumerate((year for year in years if year <= full[-1]), 1)
        for area in sorted(totals)
    ]
    return rows, past, warnings


def givewell(file: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """One project for each place of GiveWell's programmes, in its units of value per 1,000 USD; and warnings.

    Deaths averted per 1,000 USD, times the moral weight of one, times (1 + each adjustment), times (1 + leverage +
    funging): the formula of GiveWell's analyses of November 2025, whose results it gives for the spreadsheets' own
    parameters. Leverage or funging outside [-1, 1] is no adjustment, and a result that no analysis has come near is
    no result: a programme with such a place is left out.

    Raises:
        InputError: where the file is not such a file.
    """
    text = limits.read_text(file, limits.TEXT_BYTES, "a file of parameters")
    try:
        programmes = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{file}: is not JSON") from None
    if not isinstance(programmes, dict) or not programmes.keys() & DEATHS.keys():
        raise InputError(f"{file}: has none of the programmes {listed(DEATHS)}")
    rows, warnings = [], []
    for programme, places in programmes.items():
        if programme not in DEATHS:
            warnings.append(f"{quoted(programme)}: no formula is known for it; it was left out")
            continue
        found, doubts = {}, {}
        for place, parameters in places.items() if isinstance(places, dict) else ():
            found[place], doubt = _units_of_value(f"{file}, {programme} {place}", programme, parameters)
            doubts |= {place: doubt} if doubt else {}
        if doubts:  # the same mistake may be less visible in the other places
            place, doubt = max(doubts.items(), key=lambda item: found[item[0]])
            warnings.append(
                f"{programme} was left out: {doubt} in {quoted(place)}, and {len(doubts)} of its {len(found)} places"
                " are like that; check its parameters"
            )
            continue
        rows += [
            {
                "project": f"{programme} {place}",
                "impact_per_1000usd": f"{value:.6g}",
                "unit": "units of value",
                "domain": "health",
                "intervention": programme,
                "region": place,
            }
            for place, value in found.items()
        ]
    if not rows:
        raise InputError(f"{file}: no place could be used: {warnings[0]}")
    return rows, warnings


def _units_of_value(where: str, programme: str, parameters: Any) -> tuple[float, str]:
    """Units of value per 1,000 USD, and what is to be doubted about them, if anything."""

    def of(name: str) -> float:
        value = parameters.get(name) if isinstance(parameters, dict) else None
        if not isinstance(value, int | float) or isinstance(value, bool) or not np.isfinite(value):
            raise InputError(f"{where}: '{name}' is {quoted(value)}; it must be a number")
        return float(value)

    result = DEATHS[programme](of) * of("moralWeightUnder5")
    for adjustment in ADJUSTMENTS:
        if f"adjustment{adjustment}" in parameters:
            result *= 1.0 + of(f"adjustment{adjustment}")
    leverage, funging = of("adjustmentLeverage"), of("adjustmentFunging")
    for name, value in {"leverage": leverage, "funging": funging}.items():
        if not -1.0 <= value <= 1.0:
            return 0.0, f"{name} is {value:g}, not in [-1, 1],"
    result *= 1.0 + leverage + funging
    if not 0.0 < result <= PLAUSIBLE * BENCHMARK:
        times = f"{result / BENCHMARK:.3g} times the benchmark"
        return result, f"it would do {times}, where at most {PLAUSIBLE:g} is plausible,"
    return result, ""


Of = Callable[[str], float]
# Deaths of children averted per 1,000 USD.
DEATHS: Mapping[str, Callable[[Of], float]] = {
    "amf": lambda of: (
        1000.0
        / of("costPerUnder5Reached")
        * of("yearsEffectiveCoverage")
        * of("malariaMortalityRate")
        * of("itnEffectOnDeaths")
    ),
    "malaria_consortium": lambda of: (
        1000.0
        / of("costPerChildReached")
        * of("malariaMortalityRate")
        * of("proportionMortalityDuringSeason")
        * of("smcEffect")
    ),
    "helen_keller": lambda of: (
        1000.0
        / of("costPerPersonUnder5")
        * (1.0 - of("proportionReachedCounterfactual"))
        * of("mortalityRateUnder5")
        * of("vasEffect")
    ),
    "new_incentives": lambda of: (
        1000.0
        / of("costPerChildReached")
        * (1.0 - of("proportionReachedCounterfactual"))
        * of("probabilityDeathUnvaccinated")
        * of("vaccineEffect")
    ),
}


def _estimates(path: Path, areas: set[str]) -> dict[str, dict[str, str]]:
    """What a file says of each area."""
    table = Table(path)
    names = table.labels("project")
    for index, name in enumerate(names):
        if name not in areas:
            raise table.error(index, "project", f"is '{name}'; the grants have no such focus area")
        if name in names[:index]:
            raise table.error(index, "project", f"'{name}' stands twice")
    columns = {name: table.cells(name) for name in ESTIMATES if name in table.columns}
    if not columns.keys() & {"impact_per_1000usd", "usd_per_impact"}:
        raise InputError(f"{table.path}: there must be a column 'impact_per_1000usd' or 'usd_per_impact'")
    return {name: {column: cells[index] for column, cells in columns.items()} for index, name in enumerate(names)}


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if "usd_per_impact" in columns:
        columns.remove("impact_per_1000usd")
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, extrasaction="ignore", lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    try:
        path.write_text(buffer.getvalue(), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
