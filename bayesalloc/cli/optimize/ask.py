"""`bayesalloc optimize ask`: a proposal."""

from pathlib import Path

from bayesalloc.cli.options import DEFAULT, Common
from bayesalloc.cli.session import session, warn


def ask(state: Path, *, common: Common = DEFAULT) -> None:
    """Propose what to fund next, with the reasons, what to expect of it, and how sure that is.

    Asking again before anything is told gives the same proposal.

    Args:
        state: The state file of `start`.
        common: What every command takes.
    """
    with session(common, "ask", "report.html", "allocation.csv") as (say, folder):
        from bayesalloc.impact import explaining, proposing
        from bayesalloc.impact.state import asked, locked, save
        from bayesalloc.report import funding as documents

        with locked(state) as known:
            understanding, known = proposing.understand(known)
            proposal = proposing.propose(known, understanding)
            known, ask = asked(known, understanding.projects.named(proposal.amount))
            save(state, known)
        warn(understanding.warnings)
        reasons = documents.Reasons(
            explaining.cases(known, understanding, proposal),
            explaining.rivals(understanding, proposal),
            explaining.backtest(known, understanding),
            explaining.implied_beliefs(understanding),
            explaining.moves(known, understanding, proposal),
        )
        files = folder.files("report.html", allocation="allocation.csv")
        result = documents.as_json(str(state), [(ask, proposal)], understanding, reasons, files)
        documents.write(result, understanding, reasons, folder.path)
        say(documents.text(result, reasons), result)
