"""How near the graph that is learned from books is to the true one, with and without the order in time."""

import numpy as np

from bayesalloc.discovery import meek
from bayesalloc.discovery.graph import Graph, cpdag, from_edges, structural_hamming
from bayesalloc.discovery.knowledge import Office, binding
from bayesalloc.discovery.search import discover
from bayesalloc.models.budgets.experiments.world import TIERS, books_of
from bayesalloc.models.budgets.world import EDGES

TITLE = "Causes from the organisation's books"
TERMS = {
    "distance": "of the graph to the true one: pairs of variables whose mark (none, a direction, or either) differs. Of"
    " 50 variables with 93 edges; directions that no books could tell do not count.",
    "sure": "what nine of ten graphs of 100 resampled tables say.",
}
ROWS = (500, 1000, 5000)
TABLES, SURE = 100, 0.9
KNOWN = {"tiers": TIERS, "no tiers": Office()}


def measured(seed: int) -> dict[str, float | dict[str, float]]:
    """Distances and directions by number of rows; and of what is sure, the share that is true."""
    found: dict[str, dict[str, float]] = {}
    sure = {name: np.zeros(4) for name in KNOWN}  # edges that are, and that are true; directions likewise
    circles = 0
    for rows in ROWS:
        books = books_of(seed, rows)
        truth = from_edges(books.names, EDGES)
        either = truth.arrows | truth.arrows.T
        for name, office in KNOWN.items():
            forbidden = binding(office, books.names).forbidden
            left = Graph(books.names, meek.closed(cpdag(truth).adjacency & ~forbidden))
            graph = discover(books, office).graph
            sampled = discover(books, office, bootstrap=TABLES, seed=seed)
            share = sampled.confidence
            assert share is not None
            edges, directions = np.triu(share.present >= SURE), share.present * share.directed >= SURE
            each = edges, edges & either, directions, directions & truth.arrows
            sure[name] += [part.sum() for part in each]
            circles += sampled.graph.cycle() is not None
            row = {
                "distance": structural_hamming(left, graph),
                "distance of what most tables say": structural_hamming(left, sampled.graph),
                "directions right": int((graph.arrows & truth.arrows).sum()),
                "directions wrong": int((graph.arrows & truth.arrows.T).sum()),
            }
            for quantity, value in row.items():
                found.setdefault(f"{quantity}, {name}", {})[f"{rows} rows"] = float(value)
    return {
        **found,
        "sure edges true": {name: float(edges_true / edges) for name, (edges, edges_true, _, _) in sure.items()},
        "sure directions true": {name: float(true / directions) for name, (_, _, directions, true) in sure.items()},
        "circles": float(circles),
    }
