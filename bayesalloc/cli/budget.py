"""`bayesalloc budget`: proposed changes of an organisation's budgets, from its books."""

import importlib
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bayesalloc import defaults
from bayesalloc.cli.options import DEFAULT, Common, Flag
from bayesalloc.cli.session import session, warn

ADVISING = "bayesalloc.models.budgets.advising"  # what learned policies advise


def budget(
    books: Path,
    *,
    knowledge: Path,
    weights: Path | None = None,
    price: Annotated[float, Parameter(name="--lambda")] = 1.0,
    actuals: Path | None = None,
    policy: str | None = None,
    interval: float = defaults.INTERVAL,
    levels: Flag = False,
    common: Common = DEFAULT,
) -> None:
    """Propose next period's changes: what they do, why, what may break, and what the books cannot tell.

    Args:
        books: A CSV file with a column for each variable; `unit` and `period` say whose a row is and when.
        knowledge: A TOML file with `decisions`, `tiers`, `protected`, `weights`, `limits` and stakeholders' comments.
        weights: A TOML file whose table `weights` replaces that of the former.
        price: What a unit of causal risk costs, in units of the weighted objectives.
        actuals: A CSV file of a period that came after the books: what was decided and what happened.
        policy: A learned policy's file, as `bayesalloc train budget` writes it, whose changes are judged instead of the
            best ones; with weights of its objectives, as my.policy:0.6,0.2,0.2.
        interval: Probability of the intervals.
        levels: Columns are levels that last, not surprises or changes: the share of the level before that is left of it
            is taken off first.
        common: What every command takes.
    """
    with session(common, "budget", "report.html") as (say, folder):
        from bayesalloc.budgets import actuals as happened
        from bayesalloc.budgets.proposal import propose
        from bayesalloc.budgets.question import reweighted
        from bayesalloc.discovery.books import read_books
        from bayesalloc.discovery.knowledge import read_office
        from bayesalloc.report import budget as documents

        office = read_office(knowledge)
        if weights is not None:
            office = reweighted(office, read_office(weights), weights)
        table = read_books(books, levels=levels)
        adviser = None if policy is None else importlib.import_module(ADVISING).adviser(policy, table)
        found = propose(
            table, office, price=price, seed=common.seed, interval=interval, where=knowledge, adviser=adviser
        )
        judged = None if actuals is None else happened.judge(actuals, table, found)
        warn(found.warnings)
        result = documents.as_json(found, judged, folder.files("report.html"))
        documents.write(found, judged, folder.path / "report.html", books=books.name, seed=common.seed)
        say(documents.text(found, judged), result)
