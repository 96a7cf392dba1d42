"""Books of the organisation for every experiment, and what its office knows."""

import tomllib

import msgspec

from bayesalloc.discovery.books import Books, from_columns
from bayesalloc.discovery.knowledge import Office
from bayesalloc.models.budgets.books import draw_books, knowledge
from bayesalloc.models.budgets.world import TABLE, VARIABLES

OFFICE = msgspec.convert(tomllib.loads(knowledge()), Office)
CONDITIONS = [name for name, variable in TABLE.items() if variable.tier == 0]
TIERS = Office(tiers=OFFICE.tiers)  # the order in time alone


def books_of(seed: int, rows: int, *, gaps: bool = False) -> Books:
    """The 50 columns of some rows that are drawn from the table; with gaps, a quarter of them is whole."""
    columns = draw_books(seed, 1, rows, gaps=gaps).columns
    return from_columns({name: columns[name] for name in VARIABLES})
