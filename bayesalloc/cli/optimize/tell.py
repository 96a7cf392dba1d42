"""`bayesalloc optimize tell`: what happened."""

from pathlib import Path

from bayesalloc.cli.optimize import designing
from bayesalloc.cli.options import DEFAULT, Common
from bayesalloc.cli.session import session, warn
from bayesalloc.errors import InputError


def tell(
    state: Path,
    *,
    ask: str | None = None,
    allocation: Path | None = None,
    impact: float | None = None,
    by_project: Path | None = None,
    common: Common = DEFAULT,
) -> None:
    """Tell what came of a proposal, or of another allocation; reports that come later are told later.

    Args:
        state: The state file of `start`.
        ask: The proposal that was carried out, by its id.
        allocation: What was funded instead: a CSV file with `project` and `amount_usd`.
        impact: The total that was reported, in the unit of the project table.
        by_project: What projects reported: a CSV file with `project`, `reported_impact` and optionally `amount_usd` and
            `relative_error`.
        common: What every command takes.
    """
    with session(common, "tell") as (say, _):
        from bayesalloc.impact import telling
        from bayesalloc.impact.state import locked, save
        from bayesalloc.records import Table

        if (ask is None) == (allocation is None):
            raise InputError("tell either which proposal was carried out, or what was funded instead")
        if designing.is_design(state):
            raise InputError(f"{state}: is the state of a mechanism's design, of which nothing is told; ask for it")
        with locked(state) as known:
            projects, _ = known.projects()
            reports = None if by_project is None else telling.read_reports(Table(by_project), projects.names)
            funded = None if allocation is None else telling.read_allocation(Table(allocation), projects.names)
            known, warnings = telling.told(known, projects, ask=ask, allocation=funded, impact=impact, reports=reports)
            save(state, known)
        warn(warnings)
        result = {"state": str(state), "rounds": known.rounds, "warnings": warnings}
        say(f"{state} knows of {known.rounds} rounds.", result)
