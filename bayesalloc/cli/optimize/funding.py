"""`bayesalloc optimize start` on a project table: its options, and the new state of an allocation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from bayesalloc.cli.options import Texts
from bayesalloc.cli.session import warn
from bayesalloc.errors import InputError


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What `start` takes of an allocation."""

    budget: float | None = None
    "USD to be given away in each round."
    edges: Path | None = None
    "A CSV file of spill-overs: `from`, `to` and optionally `type`."
    rounds: Path | None = None
    """A CSV file of past rounds: `round`, `project` (or * for all together), `amount_usd`, and optionally
    `reported_impact`, `reported_round`, `relative_error`, `on`."""
    risk: str | None = None
    "What counts of an uncertain impact: ev (the default), quantile:q, cvar:q, tails:lo,hi, dmreu:a or wlu:c."
    acquisition: str | None = None
    """ucb (the default: impact + its standard deviation / beta), ei (expected improvement), or published (beta x
    impact + standard deviation, beta in [0, 1])."""
    beta: float | None = None
    "How much more impact counts than its standard deviation; default: 10, or 1 of published."
    domain_cap: Annotated[Texts, Parameter(name="--domain-cap")] = None
    "NAME=SHARE, the most that a domain's projects may get together, as a share of the budget; repeated."
    turnover: float | None = None
    "The largest share of the budget that may move from what projects get now."
    change: float | None = None
    "The largest change of what a project gets, as a share of what it gets now."
    limit: Texts = None
    "RESOURCE=AMOUNT, the most that may be used of it; repeated."
    step: float | None = None
    "USD of which every grant is a multiple; default: any amount."


def start(projects: Path, given: Options, state: Path, seed: int, say: Any, files: dict[str, str]) -> None:
    """Begin the optimisation of an allocation: a state file with the table and what it is taken to mean."""
    import numpy as np

    from bayesalloc.impact import acquisition as acquisitions, proposing, rounds as past
    from bayesalloc.impact.files import create
    from bayesalloc.impact.grid import nearest
    from bayesalloc.impact.projects import read_projects
    from bayesalloc.impact.state import Question, begun
    from bayesalloc.records import Table
    from bayesalloc.report import funding as documents

    budget, risk, acquisition = given.budget, given.risk or "ev", given.acquisition or "ucb"
    if budget is None:
        raise InputError("--budget is missing: say how many USD are given away in each round")
    if not 0 < budget < float("inf"):
        raise InputError(f"the budget is {budget:g} USD; it must be above 0")
    beta = acquisitions.BETA.get(acquisition, 1.0) if given.beta is None else given.beta
    acquisitions.check(acquisition, beta, risk)
    for name, share in {"turnover": given.turnover, "change": given.change}.items():
        if share is not None and not 0 <= share < float("inf"):
            raise InputError(f"{name} is {share:g}; it must be at least 0")
    if given.step is not None and not 0 < given.step <= budget:
        raise InputError(f"the step is {given.step:g} USD; it must be above 0, and at most the budget")
    caps = _named(given.domain_cap, "--domain-cap", most=1.0)
    resources = _named(given.limit, "--limit", most=float("inf"))
    table = Table(projects)
    links = None if given.edges is None else Table(given.edges)
    read, warnings = read_projects(table, budget, links)
    history = Table(given.rounds) if given.rounds is not None else None
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
        given.turnover,
        given.change,
        resources,
        seed,
        given.step,
    )
    new = begun(question, rows)
    understanding, new = proposing.understand(new)
    if given.step is not None:
        nearest(understanding.bounds, np.zeros(len(understanding.which)), given.step / budget)  # refused where none is
    create(state, new)
    warn(warnings)
    result = documents.beginning(str(state), new, understanding, warnings, files)
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
