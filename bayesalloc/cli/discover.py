"""`bayesalloc discover`: a causal graph from books."""

from pathlib import Path
from typing import Literal

from bayesalloc.cli.options import DEFAULT, Common, Flag, Whole
from bayesalloc.cli.session import session, warn

RESAMPLED = 100
PROGRAM = "network.py"


def discover(
    data: Path,
    *,
    alpha: float = 0.01,
    test: Literal["fisherz", "chisq"] = "fisherz",
    bootstrap: Whole | None = None,
    knowledge: Path | None = None,
    rule: Literal["maxp", "sepset", "majority"] = "maxp",
    missing: Literal["pairwise", "complete", "em"] = "pairwise",
    fdr: Flag = False,
    program: Flag = False,
    levels: Flag = False,
    common: Common = DEFAULT,
) -> None:
    """Find who causes whom in a table, as far as it can tell, and how sure that is.

    Args:
        data: A CSV file with a column for each variable; `unit` and `period` say whose a row is and when; an empty cell
            is missing.
        alpha: Probability of finding a dependence that is not there, in one test.
        test: Of independence: partial correlations of numbers, or the likelihood ratio (G2) of labels.
        bootstrap: Number of resampled tables that say how sure each edge is; the graph is then what most of them say.
            Default: 100 for numbers, 0 for labels, which take longer.
        knowledge: A TOML file with `tiers`, `forbidden` and `required` edges and stakeholders' comments.
        rule: How it is judged where two causes meet.
        missing: How gaps in numbers are dealt with.
        fdr: Take alpha for the share of wrong edges among those that are found.
        program: Also write what was found as a NumPyro program, `network.py`, which `bayesalloc compare` takes.
        levels: Columns are levels that last, not surprises or changes: the share of the level before that is left of it
            is taken off first.
        common: What every command takes.
    """
    written = {"report": "report.html"} | ({"program": PROGRAM} if program else {})
    with session(common, "discover", *written.values()) as (say, folder):
        from bayesalloc.discovery.books import read_books
        from bayesalloc.discovery.knowledge import Office, read_office
        from bayesalloc.discovery.search import Settings, discover as search
        from bayesalloc.report import discovery as documents

        settings = Settings(alpha, test, rule, missing, fdr)
        office = Office() if knowledge is None else read_office(knowledge)
        books = read_books(data, discrete=test == "chisq", levels=levels)
        times = bootstrap if bootstrap is not None else RESAMPLED if test == "fisherz" else 0
        found = search(books, office, settings, bootstrap=times, seed=common.seed, where=knowledge or "knowledge")
        warn(found.warnings)
        if program:
            from bayesalloc.discovery import network

            network.write(network.fitted(books, found.graph, common.seed), folder.path)
        result = documents.as_json(books, found, settings, folder.files(**written))
        page = folder.path / "report.html"
        documents.write(result, page, books=data.name, office=office, seed=common.seed)
        say(documents.text(result), result)
