"""The command that writes books to practise on: `python -m bayesalloc.models.budgets.books DIR`."""

from pathlib import Path

import numpy as np

from bayesalloc import runs
from bayesalloc.cli.options import Flag, Whole
from bayesalloc.cli.session import refusing
from bayesalloc.errors import InputError
from bayesalloc.models.budgets.books import as_csv, draw_books, knowledge


def write(
    folder: Path,
    /,
    *,
    sites: Whole = 8,
    quarters: Whole = 20,
    closed: Flag = False,
    simulated: Flag = False,
    levels: Flag = False,
    whole: Flag = False,
    seed: Whole = 0,
) -> None:
    """Write books and what the office knows beside them.

    Args:
        folder: A folder that does not exist yet, or is empty.
        sites: How many sites report.
        quarters: How many quarters each reports.
        closed: Budgets' changes add up to nothing.
        simulated: The past policy runs in the model, with its limits.
        levels: Deviations from the plan instead of surprises.
        whole: No cell is missing.
        seed: Seed of all random numbers.
    """
    with refusing():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder}: is a file or not empty; give a new folder")
        books = draw_books(seed, sites, quarters, closed=closed, simulated=simulated, levels=levels, gaps=not whole)
        with runs.folder(folder, "") as made:
            (made.path / "books.csv").write_text(as_csv(books))
            (made.path / "knowledge.toml").write_text(knowledge())
        complete = int((~np.isnan(books.values).any(1)).sum())
        print(f"{folder}: wrote books.csv, {len(books.units)} rows, {complete} of them complete, and knowledge.toml")
