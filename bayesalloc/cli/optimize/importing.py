"""`bayesalloc optimize import`: a project table from public files."""

from pathlib import Path

from bayesalloc.cli.options import Flag
from bayesalloc.cli.session import refusing, warn


def importing(
    source: str,
    file: Path,
    *,
    out: Path,
    estimates: Path | None = None,
    rounds: Path | None = None,
    quiet: Flag = False,
) -> None:
    """Make a project table from a public file of grants or of cost-effectiveness.

    Args:
        source: open-philanthropy (grants: Grant, Organization Name, Focus Area, Amount, Date) or givewell (parameters
            of its cost-effectiveness analyses, as JSON).
        file: The file.
        out: The project table to write, which must not be there.
        estimates: A CSV file with cost-effectiveness for some projects, joined by `project`; for open-philanthropy.
        rounds: A table of past rounds to write, one a year; for open-philanthropy.
        quiet: Print nothing but errors.
    """
    with refusing():
        from bayesalloc.impact import importers

        warnings, said = importers.written(source, file, out, estimates, rounds)
        if not quiet:
            warn(warnings)
            print(said)
