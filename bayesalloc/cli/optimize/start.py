"""`bayesalloc optimize start`: a new state."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bayesalloc.cli.options import DEFAULT, Common, Texts
from bayesalloc.cli.session import session, warn
from bayesalloc.errors import InputError


def start(
    projects: Path,
    *,
    budget: float,
    state: Path,
    edges: Path | None = None,
    rounds: Path | None = None,
    risk: str = "ev",
    acquisition: str = "ucb",
    beta: float | None = None,
    domain_cap: Annotated[Texts, Parameter(name="--domain-cap")] = None,
    turnover: float | None = None,
    change: float | None = None,
    limit: Texts = None,
    common: Common = DEFAULT,
) -> None:
    """Begin the optimisation of an allocation: a state file that `ask`, `tell` and `show` go on with.

    Args:
        projects: A CSV file with a row for each project: `project` and `impact_per_1000usd` or `usd_per_impact` (empty:
            unknown, the project stays at `current`); optional `low` and `high` (89 %), `unit`, `agency`, `domain`,
            `intervention`, `region`, `room_usd`, `floor`, `cap`, `minimum`, `current`, `population`, `external_risk`,
            `uses_<resource>`.
        budget: USD to be given away in each round.
        state: The file to write.
        edges: A CSV file of spill-overs: `from`, `to` and optionally `type`.
        rounds: A CSV file of past rounds: `round`, `project` (or * for all together), `amount_usd`, and optionally
            `reported_impact`, `reported_round`, `relative_error`, `on`.
        risk: What counts of an uncertain impact: ev, quantile:q, cvar:q, tails:lo,hi, dmreu:a or wlu:c.
        acquisition: ucb (impact + its standard deviation / beta), ei (expected improvement), or published (beta x
            impact + standard deviation, beta in [0, 1]).
        beta: How much more impact counts than its standard deviation; default: 10, or 1 of published.
        domain_cap: NAME=SHARE, the most that a domain's projects may get together, as a share of the budget; repeated.
        turnover: The largest share of the budget that may move from what projects get now.
        change: The largest change of what a project gets, as a share of what it gets now.
        limit: RESOURCE=AMOUNT, the most that may be used of it; repeated.
        common: What every command takes.
    """
    with session(common, "start") as (say, folder):
        from bayesalloc.impact import acquisition as acquisitions, proposing, rounds as past
        from bayesalloc.impact.projects import read_projects
        from bayesalloc.impact.state import Question, begun, create
        from bayesalloc.records import Table
        from bayesalloc.report import funding as documents

        if not 0 < budget < float("inf"):
            raise InputError(f"the budget is {budget:g} USD; it must be above 0")
        beta = acquisitions.BETA.get(acquisition, 1.0) if beta is None else beta
        acquisitions.check(acquisition, beta, risk)
        for name, share in {"turnover": turnover, "change": change}.items():
            if share is not None and not 0 <= share < float("inf"):
                raise InputError(f"{name} is {share:g}; it must be at least 0")
        caps = _named(domain_cap, "--domain-cap", most=1.0)
        resources = _named(limit, "--limit", most=float("inf"))
        table = Table(projects)
        links = None if edges is None else Table(edges)
        read, warnings = read_projects(table, budget, links)
        history = Table(rounds) if rounds is not None else None
        rows = [] if history is None else past.read_rounds(history, read.names)
        if history is not None and history.unused():
            warnings.append(f"{history.path}: columns that are not used: {', '.join(history.unused())}")
        question = Question(
            table.text(),
            "" if links is None else links.text(),
            budget,
            risk,
            acquisition,
            beta,
            caps,
            turnover,
            change,
            resources,
            common.seed,
        )
        new = begun(question, rows)
        understanding, new = proposing.understand(new)
        create(state, new)
        warn(warnings)
        result = documents.beginning(str(state), new, understanding, warnings, folder.files())
        say(documents.beginning_text(result), result)


def _named(texts: list[str] | None, option: str, *, most: float) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in texts or ():
        name, equals, number = text.rpartition("=")
        try:
            value = float(number) if equals and name else -1.0
        except ValueError:
            value = -1.0
        if not 0 <= value <= most or name in found:
            allowed = "at least 0" if most > 1 else "in [0, 1]"
            raise InputError(f"{option} '{text}': is not NAME=NUMBER with a number {allowed}, each name once")
        found[name] = value
    return found
