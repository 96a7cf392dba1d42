"""What causes what, as documents: the answer of `bayesalloc discover`, in a terminal and as a page."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group

from bayesalloc.discovery.books import Books
from bayesalloc.discovery.graph import Graph, as_json as edges, from_json
from bayesalloc.discovery.knowledge import Office
from bayesalloc.discovery.search import Found, Settings
from bayesalloc.report import html
from bayesalloc.report.networks import SURE, network
from bayesalloc.report.tables import Name, Sheet, document, for_json
from bayesalloc.report.words import MISSING, listing, words

SHOWN = 40  # edges in a terminal
MANY = 3  # causes of one variable that are worth a sentence
NAMED = 8  # variables in a sentence
UNSURE = f"a direction in fewer than {100 * SURE:.0f} % of those that join the two"
LEAST = 0.1  # share of the tables in which a pair must be joined to be listed
TERMS = {
    "causes": "when it is moved, the other moves, with all other columns held as they are; found from who goes with"
    " whom once others are held fixed, and from what is known beforehand.",
    "either way": "the two are joined, but the books look the same whichever of them is the cause.",
    "joined in": "share of the resampled tables in which the two are joined. Of pairs at 90 % or more nearly all are"
    " right where rows are independent and relations linear.",
    "this way in": "share of these in which the edge has the direction that is named.",
    "a tier": "a place in time: what comes later causes nothing that comes before. It is what directs most edges.",
}
METHODS = {
    "fisherz": "partial correlations (Fisher's z)",
    "chisq": "likelihood ratios of counts (G2)",
    "maxp": "the set with the largest p-value",
    "sepset": "the sets that separated the pair",
    "majority": "most of the sets that separate the pair",
    "pairwise": "each pair's own rows",
    "complete": "rows without a gap",
    "em": "the most likely normal distribution",
}


def as_json(books: Books, found: Found, settings: Settings, files: Mapping[str, str]) -> dict[str, Any]:
    """The document of `bayesalloc discover`, which a graph file is too."""
    return for_json(
        {
            **edges(found.graph),
            "confidence": _confidence(found),
            "alpha": settings.alpha,
            "test": settings.test,
            "rule": settings.rule,
            "missing": settings.missing,
            "tests": found.tests,
            "rows": len(books.values),
            "resampled": len(found.samples) if found.confidence else 0,
            "left_out": books.left_out,
            "closed": [list(members) for members in books.closed],
            "warnings": list(found.warnings),
            "files": dict(files),
        }
    )


def text(result: Mapping[str, Any]) -> Group:
    """The same in a terminal."""
    sheet = edges_sheet(result, shown=SHOWN)
    return document([*sentences(result), *result["warnings"]], [sheet] if sheet.rows else [])


def write(result: Mapping[str, Any], path: Path, *, books: str, office: Office, seed: int) -> Path:
    """The page; there is never half a file.

    Args:
        result: of `as_json`.
        path: of the page.
        books: the table's name.
        office: what was known beforehand.
        seed: of the resampled tables.
    """
    return html.write(html.frame(f"What causes what: {books}", _body(result, office), seed), path)


def sentences(result: Mapping[str, Any]) -> list[str]:
    """What was found, how sure it is, and what it takes for granted."""
    graph = from_json(result)
    with_way, links = len(graph.directed), len(graph.undirected)
    said = [
        f"Of {len(graph.nodes)} variables in {result['rows']:,} rows, {with_way + links} pairs are joined:"
        f" {with_way} with a direction, and {links} where either may be the cause."
    ]
    if result["confidence"] is not None:
        arrows = set(graph.directed)
        firm = sum(row["present"] >= SURE for row in result["confidence"] if _in(graph, row))
        sure = [row["present"] * row["directed"] for row in result["confidence"] if (row["from"], row["to"]) in arrows]
        said.append(
            f"Of these pairs {firm} are joined in {100 * SURE:.0f} % or more of {result['resampled']} resampled tables,"
            f" and {sum(share >= SURE for share in sure)} have their direction in as many."
        )
    effects = sorted(graph.nodes, key=lambda name: (-len(graph.parents(name)), name))[:3]
    if len(graph.parents(effects[0])) >= MANY:
        name = effects[0]
        said.append(f"Most causes lead to {words(name)}: {listing(map(words, graph.parents(name)[:NAMED]))}.")
    alone = isolated(graph)
    if alone:
        shown = [words(name) for name in alone[:NAMED]] + ([f"{len(alone) - NAMED} more"] if len(alone) > NAMED else [])
        said.append(f"Joined to nothing: {listing(shown)}. Weak links may be missing.")
    if links:
        said.append(
            "Where either may be the cause, the books cannot tell; what comes first (tiers), or a change made on"
            " purpose, would."
        )
    said.append(
        "All of this takes for granted that nothing outside these columns moves two of them, that relations are"
        + (" linear," if result["test"] == "fisherz" else " those of the labels,")
        + " and that rows are independent."
    )
    return said


def isolated(graph: Graph) -> list[str]:
    """Variables without an edge."""
    joined = (graph.adjacency | graph.adjacency.T).any(1)
    return [name for name, there in zip(graph.nodes, joined, strict=True) if not there]


def edges_sheet(result: Mapping[str, Any], *, shown: int | None = None, name: Name = str) -> Sheet:
    """The edges, the surest first; then, with confidence, pairs that fewer than half of the tables join."""
    graph = from_json(result)
    kinds = {**{pair: "causes" for pair in graph.directed}, **{pair: "either way" for pair in graph.undirected}}
    sure = {(row["from"], row["to"]): row for row in result["confidence"] or ()}
    rows = []
    for pair, kind in kinds.items():
        row = sure.get(pair) or sure.get((pair[1], pair[0]))
        rows.append((row["present"] if row else 1.0, _row(pair, kind, row, name)))
    for pair, row in sure.items():
        if not _in(graph, row):
            rows.append((row["present"], _row(pair, "perhaps", row, name)))
    rows.sort(key=lambda row: -row[0])
    left = len(rows) - shown if shown else 0
    listed = [row for _, row in rows[:shown]]
    if left > 0:
        listed.append([f"and {left} more, in discover.json", "", "", "", ""])
    return Sheet("Edges", ["from", "edge", "to", "joined in", "this way in"], listed, keys=3)


def _row(pair: tuple[str, str], kind: str, row: Mapping[str, Any] | None, name: Name) -> list[str]:
    if row and kind == "causes" and row["directed"] < SURE:
        kind = "may cause"
    if row is None:
        return [name(pair[0]), kind, name(pair[1]), MISSING, MISSING]
    shown = MISSING if kind == "either way" else f"{100 * row['directed']:.0f} %"
    return [name(pair[0]), kind, name(pair[1]), f"{100 * row['present']:.0f} %", shown]


def _in(graph: Graph, row: Mapping[str, Any]) -> bool:
    i, j = graph.index(row["from"]), graph.index(row["to"])
    return bool(graph.adjacency[i, j] or graph.adjacency[j, i])


def _confidence(found: Found) -> list[dict[str, Any]] | None:
    """A row for each pair that some tables join, in the graph's direction, or else in the more frequent one."""
    if found.confidence is None:
        return None
    present, directed = found.confidence
    nodes, adjacency, rows = found.graph.nodes, found.graph.adjacency, []
    for i in range(len(nodes)):
        for j in range(i + 1, len(nodes)):
            if present[i, j] < LEAST and not (adjacency[i, j] or adjacency[j, i]):
                continue
            one_way = adjacency[i, j] != adjacency[j, i]
            turned = adjacency[j, i] if one_way else directed[j, i] > directed[i, j]
            a, b = (j, i) if turned else (i, j)
            rows.append({"from": nodes[a], "to": nodes[b], "present": present[a, b], "directed": directed[a, b]})
    return sorted(rows, key=lambda row: -row["present"])


def _body(result: Mapping[str, Any], office: Office) -> Iterator[str]:
    graph, tiers = from_json(result), office.ordered
    resampled = f"{result['resampled']} resampled tables" if result["resampled"] else "one search, no confidence"
    yield html.tags("observational: from books", resampled)
    yield html.answer(sentences(result), result["warnings"])
    sure = result["confidence"] or ()
    width = {frozenset((row["from"], row["to"])): row["present"] for row in sure}
    direction = {(row["from"], row["to"]): row["directed"] for row in sure}
    caption = (
        "An arrow leads from a cause to what it moves; orange: joined, but either may be the cause. "
        + (f"The wider, the more of the resampled tables have it; light blue: {UNSURE}. " if sure else "")
        + ("Columns are the tiers, the earliest on the left." if tiers else "Causes are to the left of their effects.")
    )
    if graph.adjacency.any():
        yield html.section("The graph")
        picture = html.svg(network(graph, width, direction, tiers), "The graph; its edges are in the table below.")
        yield html.figure([picture], caption, full=True)
    sheet = edges_sheet(result, name=words)
    if sheet.rows:
        yield html.section("How sure is each edge?" if sure else "The edges")
        note = f"May cause: {UNSURE}. Perhaps: fewer than half of the tables join the two; not in the graph."
        yield html.table(sheet, note if sure else "")
    yield html.section("What the words mean") + html.terms(TERMS)
    yield html.section("How it was made") + html.terms(
        {
            "tests": f"{result['tests']:,} of independence, by {METHODS[result['test']]}, at alpha {result['alpha']:g}",
            "known beforehand": f"{len(tiers)} tiers, {len(office.edges('forbidden'))} edges that there cannot be,"
            f" {len(office.edges('required'))} that there must be" + (", of comments too" if office.comments else ""),
            "where causes meet": f"judged by {METHODS[result['rule']]}",
            "gaps": f"dealt with by {METHODS[result['missing']]}"
            if result["test"] == "fisherz"
            else "left out, test by test",
            "left out": "; ".join(f"{words(name)}: {why}" for name, why in result["left_out"].items()) or "no column",
        }
    )
