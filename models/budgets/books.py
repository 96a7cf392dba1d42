"""Historical books of the organisation of `budget.py`, with gaps, and what its finance office knows beside them.

    python -m bayesalloc.models.budgets.books DIR --sites 8 --quarters 20

writes `DIR/books.csv` and `DIR/knowledge.toml`: a row for each site and quarter with the 50 surprises against the
forecast, the budgets' `total` and the `reserve` that is kept back from them (M/yr; both follow from the others, as such
columns do). One cell in fifty is missing, and the six columns of surveys together the more often the worse the
quarter before was, so that about a quarter of the rows is complete.
"""

import csv
import io
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from bayesalloc.errors import InputError
from bayesalloc.models.budget import Quarter, environment
from bayesalloc.models.budgets.decisions import SLACK, STEP, decide
from bayesalloc.models.budgets.world import (
    COSTS,
    DEPARTMENTS,
    FREEDOM,
    PLACE,
    PROTECTED,
    REVENUE,
    SURVEY,
    TABLE,
    TIERS,
    VARIABLE_COST,
    VARIABLES,
)
from bayesalloc.simulate import hold, rollout

MISSING = 0.02  # of all cells
UNASKED = (1.2, 0.5)  # surveys are missing with probability 1 / (1 + exp(a + b revenue_before))
RUN_IN = 8  # quarters before the first that is written, of simulated books
MOST_ROWS = 1_000_000
TOLERANCE = 0.5  # %; harm that the office would bear
DERIVED = ("total", "reserve")

_BASE = np.array([variable.base for variable in TABLE.values()]) / 100.0  # M/yr for a percent
_BUDGETS = np.array([PLACE[name] for name in DEPARTMENTS])


class Ledger(NamedTuple):
    """Books, a row for each site and quarter.

    Attributes:
        values: the 50 variables, then DERIVED; NaN where missing.
        units: the site of each row.
        periods: its quarter.
    """

    values: Float[np.ndarray, "row column"]
    units: list[str]
    periods: list[str]

    @property
    def columns(self) -> dict[str, Float[np.ndarray, " row"]]:
        """The values by name."""
        return dict(zip((*VARIABLES, *DERIVED), self.values.T, strict=True))


def draw_books(
    seed: int,
    sites: int = 8,
    quarters: int = 20,
    *,
    closed: bool = False,
    simulated: bool = False,
    levels: bool = False,
    gaps: bool = True,
) -> Ledger:
    """Books of some sites, which share the graph and nothing else.

    Args:
        seed: of all random numbers.
        sites: how many.
        quarters: rows of each.
        closed: whether budgets' changes, in money, are forced to add up to nothing: what one gets the others lose.
        simulated: whether the past policy runs in the environment, where budgets saturate and limits bind; else rows
            are independent and exactly what the table says.
        levels: whether to write deviations from the plan, which last, instead of surprises; they are simulated.
        gaps: whether cells are missing.

    Raises:
        InputError: for counts below 1, too many rows, or closed books that are simulated.

    >>> books = draw_books(0, sites=2, quarters=3)
    >>> books.values.shape, books.units[-1], books.periods[-1]
    ((6, 52), 'site_2', '2020-Q3')
    """
    for name, count in {"sites": sites, "quarters": quarters}.items():
        if count < 1:
            raise InputError(f"{name} is {count}; it must be at least 1")
    if sites * quarters > MOST_ROWS:
        raise InputError(f"sites x quarters is {sites * quarters:,}; it must be at most {MOST_ROWS:,}")
    if closed and (simulated or levels):
        raise InputError("closed books are drawn from the table: they cannot be simulated, or of levels, too")
    rng = np.random.default_rng(seed)
    if simulated or levels:
        values = _simulated(seed, sites, quarters, levels=levels)
    else:
        values = _rows(rng, sites * quarters, closed=closed)
    values = np.column_stack([values, _derived(values)])
    if gaps:
        lots, asked = rng.uniform(size=(len(values), len(TABLE))), rng.uniform(size=len(values))
        unasked = 1.0 / (1.0 + np.exp(UNASKED[0] + UNASKED[1] * values[:, PLACE["revenue_before"]]))
        values[:, : len(TABLE)][lots < MISSING] = np.nan
        values[np.ix_(asked < unasked, [PLACE[name] for name in SURVEY])] = np.nan
    units = [f"site_{site + 1}" for site in range(sites) for _ in range(quarters)]
    return Ledger(values, units, [f"{2020 + q // 4}-Q{q % 4 + 1}" for q in range(quarters)] * sites)


def _rows(rng: np.random.Generator, count: int, *, closed: bool) -> Float[np.ndarray, "row variable"]:
    """Independent rows of x = B x + e."""
    values = rng.normal(size=(count, len(TABLE)))
    values[:, _BUDGETS] = rng.standard_t(FREEDOM, (count, len(DEPARTMENTS))) * np.sqrt(1.0 - 2.0 / FREEDOM)
    for name, variable in TABLE.items():
        causes = [PLACE[cause] for cause in variable.parents]
        values[:, PLACE[name]] = variable.sd * values[:, PLACE[name]] + values[:, causes] @ [*variable.parents.values()]
        if closed and name == DEPARTMENTS[-1]:
            base = _BASE[_BUDGETS]
            values[:, _BUDGETS] -= (values[:, _BUDGETS] @ base / base.sum())[:, None]
    return values


def _simulated(seed: int, sites: int, quarters: int, *, levels: bool) -> Float[np.ndarray, "row variable"]:
    past, key = jax.tree.map(lambda leaf: np.asarray(leaf)[None], decide(follows=True)), jax.random.key(seed)
    horizon = RUN_IN + quarters
    both = rollout(environment, hold, key, arms=past, replicates=sites, horizon=horizon, collect=_kept)
    return np.asarray(both[int(levels)], float).reshape(-1, len(TABLE))


def _kept(happened: Quarter) -> tuple[Array, Array]:
    """Surprises and levels of the one arm, from where the books begin."""
    return happened.surprise[0, RUN_IN:], happened.level[0, RUN_IN:]


def _derived(values: Float[np.ndarray, "row variable"]) -> Float[np.ndarray, "row derived"]:
    """DERIVED, M/yr, to first order: all budgets above plan, and what is kept back of the money there is for them."""
    total = values[:, _BUDGETS] @ _BASE[_BUDGETS]
    return np.column_stack([total, 100.0 * (SLACK - 1.0) * _BASE[_BUDGETS].sum() - total])


def as_csv(books: Ledger) -> str:
    """Books as CSV text; an empty cell is missing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["unit", "period", *VARIABLES, *DERIVED])
    for unit, period, row in zip(books.units, books.periods, books.values, strict=True):
        writer.writerow([unit, period, *("" if np.isnan(value) else f"{value:.5f}" for value in row)])
    return text.getvalue()


def knowledge() -> str:
    """What the office knows beside its books, as a TOML file: what is decided, what comes when, what is protected."""
    lines = ["# Budgets by plan, M/yr: a percent of one is a hundredth of it.", "[decisions]"]
    lines += [f"{name} = {{ base = {TABLE[name].base:g} }}" for name in DEPARTMENTS]
    lines += ["", "# Nothing in a later tier is a cause of anything in an earlier one.", "[tiers]"]
    for tier, label in enumerate(TIERS):
        names = [f'"{name}"' for name, variable in TABLE.items() if variable.tier == tier]
        lines += [f"{label} = [", *(f"    {', '.join(names[at : at + 4])}," for at in range(0, len(names), 4)), "]"]
    lines += ["", "# Which direction harms, and what harm would be borne, in the column's own unit.", "[protected]"]
    for name, harmful in PROTECTED.items():
        lines += [f'{name} = {{ harm = "{"up" if harmful > 0 else "down"}", tolerance = {TOLERANCE:g} }}']
    lines += ["", "# What changes are for: the result (base: M/yr of 100 % of a column), incidents, reputation."]
    lines += ["[weights]", f"revenue = {{ base = {(1.0 - VARIABLE_COST) * REVENUE:g} }}"]
    lines += [f'{name} = {{ better = "lower", base = {TABLE[name].base:g} }}' for name in COSTS]
    lines += ['incidents = { weight = 0.3, better = "lower" }', "reputation = 0.3"]
    whole = SLACK * sum(TABLE[name].base for name in DEPARTMENTS)
    lines += ["", "# % that a budget may change by in a quarter; M/yr that all may come to."]
    lines += ["[limits]", f"change = {STEP:g}", f"total = {whole:g}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import cyclopts

    from bayesalloc.models.budgets.writing import write

    cyclopts.run(write)
