"""`bayesalloc optimize show`: what is believed."""

from pathlib import Path

from bayesalloc.cli.options import DEFAULT, Common
from bayesalloc.cli.session import session, warn


def show(state: Path, *, common: Common = DEFAULT) -> None:
    """Show what is believed of each project, after all that was told.

    Args:
        state: The state file of `start`.
        common: What every command takes.
    """
    with session(common, "show", "report.html") as (say, folder):
        from bayesalloc.impact import proposing
        from bayesalloc.impact.state import load
        from bayesalloc.report import funding as documents

        known = load(state)
        understanding, _ = proposing.understand(known)
        warn(understanding.warnings)
        result = documents.beginning(str(state), known, understanding, understanding.warnings, folder.files())
        say(documents.beginning_text(result), result)
