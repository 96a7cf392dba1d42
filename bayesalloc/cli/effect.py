"""`bayesalloc effect`: what setting one column does to another, over all graphs that books allow."""

from pathlib import Path
from typing import Literal

from bayesalloc import defaults
from bayesalloc.cli.options import DEFAULT, Common, Flag, Whole
from bayesalloc.cli.session import session, warn
from bayesalloc.errors import InputError


def effect(
    data: Path,
    *,
    treatment: str,
    outcome: str,
    graph: Path | None = None,
    test: Literal["fisherz", "chisq"] = "fisherz",
    to: str = "",
    instead_of: str = "",
    label: str = "",
    bootstrap: Whole = 100,
    knowledge: Path | None = None,
    interval: float = defaults.INTERVAL,
    levels: Flag = False,
    common: Common = DEFAULT,
) -> None:
    """What setting one column does to another, and whether the books can tell.

    Of numbers: what raising it by one does. Of labels (`--test chisq`): what setting it to one label instead of
    another does to the probability of the outcome's.

    Args:
        data: A CSV file, as `bayesalloc discover` takes it.
        treatment: The column that is set.
        outcome: The column that it is to move.
        graph: A graph that `bayesalloc discover` wrote, or one of that form; default: graphs are learned.
        test: As of `bayesalloc discover`: `fisherz` of numbers, `chisq` of labels.
        to: The label that the treatment is set to; default: its last.
        instead_of: The label that it is set to otherwise; default: its first.
        label: The outcome's label whose probability is asked for; default: its last. The report has all.
        bootstrap: Number of random halves of the rows that graphs are learned from; 0: one graph, from all rows.
        knowledge: A TOML file with `tiers`, `forbidden` and `required` edges and stakeholders' comments.
        interval: Probability of the interval.
        levels: Columns are levels that last, not surprises or changes: the share of the level before that is left of it
            is taken off first.
        common: What every command takes.
    """
    with session(common, "effect", "report.html") as (say, folder):
        from bayesalloc import limits
        from bayesalloc.discovery.asking import ask
        from bayesalloc.discovery.books import read_books
        from bayesalloc.discovery.graph import read_graph
        from bayesalloc.discovery.knowledge import read_office
        from bayesalloc.discovery.tables import Setting
        from bayesalloc.report import effect as documents

        limits.probability("interval", interval)
        if graph is not None and knowledge is not None:
            raise InputError("--graph says what causes what, and --knowledge would change nothing; give one of them")
        found = ask(
            read_books(data, discrete=test == "chisq", levels=levels),
            treatment,
            outcome,
            None if knowledge is None else read_office(knowledge),
            None if graph is None else read_graph(graph),
            setting=Setting(to, instead_of, label),
            bootstrap=bootstrap,
            seed=common.seed,
            interval=interval,
            where=graph or knowledge or "knowledge",
        )
        warn(found.warnings)
        result = documents.as_json(found, interval, folder.files("report.html"))
        documents.write(found, interval, folder.path / "report.html", books=data.name, seed=common.seed)
        say(documents.text(found, interval), result)
