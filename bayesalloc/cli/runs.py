"""`bayesalloc runs`: what has been computed, and whether it is whole."""

from pathlib import Path

from bayesalloc.cli.options import DEFAULT, Common
from bayesalloc.cli.session import refusing, show


def runs(folder: Path = Path("runs"), *, common: Common = DEFAULT) -> None:
    """List the runs in a folder: when, by which command, and whether all of their files are as they were written.

    Args:
        folder: Where to look, with all folders below.
        common: What every command takes.
    """
    with refusing():
        from bayesalloc import repeating
        from bayesalloc.report.tables import Sheet, rendered

        there = [*repeating.found(folder)]
        rows = [
            [
                repeating.relative(run.path),
                run.origin.time if run.origin else "",
                repeating.short(run.origin.arguments) if run.origin else run.command,
                run.state,
            ]
            for run in there
        ]
        names = ("folder", "time", "command", "state")
        answer = {"runs": [dict(zip(names, row, strict=True)) for row in rows]}
        text = rendered(Sheet("runs", [*names], rows, keys=4)) if rows else f"{folder}: holds no runs"
        show(common, text, answer)
