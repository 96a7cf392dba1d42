"""How often intervals of effects that are learned from books hold the true effects of the organisation."""

import numpy as np

from bayesalloc.defaults import INTERVAL
from bayesalloc.discovery.books import Books
from bayesalloc.discovery.effects import SURE, Evidence, effects_of, evidence
from bayesalloc.discovery.graph import from_edges
from bayesalloc.discovery.joint import joint_effects
from bayesalloc.discovery.knowledge import Office
from bayesalloc.discovery.search import USUAL, discover
from bayesalloc.models.budgets.experiments.world import CONDITIONS, TIERS, books_of
from bayesalloc.models.budgets.world import DEPARTMENTS, EDGES, PLACE, TABLE, effects

TITLE = "Effects of 20 budgets on 26 later variables"
TERMS = {
    "coverage": "the share of pairs with a path between them whose 89 % interval holds the true effect of setting the"
    " budget: with the graph known, or learned from 100 random halves of the rows. All at once: of all pairs.",
    "identified": "the share of all pairs whose effect nine of ten graphs give alike, whatever is held fixed.",
}
LATER = [name for name, variable in TABLE.items() if variable.tier > 1]
ENDS = ((1 - INTERVAL) / 2, (1 + INTERVAL) / 2)
GRAPHS = 100
CASES = {
    "500 rows": (500, False),
    "1000 rows": (1000, False),
    "a quarter whole": (1000, True),
    "5000 rows": (5000, False),
}
NO_TIERS = "1000 rows"  # where the order in time is left out too


def measured(seed: int) -> dict[str, dict[str, float]]:
    """Coverage and what is identified, by books."""
    found: dict[str, dict[str, float]] = {}
    for column, (rows, gaps) in CASES.items():
        books, rng = books_of(1000 + seed, rows, gaps=gaps), np.random.default_rng(seed)
        given, known = evidence(books, 1), from_edges(books.names, EDGES).adjacency[None]
        row = {"coverage, graph known": covered(given, known, rng)[0]}
        for name, office in {"tiers": TIERS, **({"no tiers": Office()} if column == NO_TIERS else {})}.items():
            row[f"coverage, learned, {name}"], row[f"identified, {name}"] = _learned(books, office, seed, rng)
        joint = joint_effects(given, DEPARTMENTS, CONDITIONS, rng)
        low, high = np.quantile(joint.draws[:, [joint.names.index(name) for name in LATER]], ENDS, axis=0)
        together = effects(DEPARTMENTS, jointly=True)[[PLACE[name] for name in LATER]]
        row["coverage, all budgets at once"] = float(((low <= together) & (together <= high)).mean())
        for quantity, value in row.items():
            found.setdefault(quantity, {})[column] = value
    return found


def _learned(books: Books, office: Office, seed: int, rng: np.random.Generator) -> tuple[float, float]:
    found = discover(books, office, USUAL._replace(halves=True), bootstrap=GRAPHS, seed=seed)
    return covered(evidence(books, GRAPHS, seed), found.samples, rng)


def covered(given: Evidence, samples: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Of pairs with a path, the share whose interval holds the truth; of all pairs, the share that is identified.

    Args:
        given: the evidence.
        samples: graphs, of shape (sample, node, node).
        rng: source of the draws.
    """
    truth, inside, told = effects(DEPARTMENTS), [], []
    for place, name in enumerate(DEPARTMENTS):
        found = effects_of(name, given, samples, rng)
        at = [found.names.index(later) for later in LATER]
        true = truth[[PLACE[later] for later in LATER], place]
        low, high = np.quantile(found.draws[:, at], ENDS, axis=0)
        inside += [*((low <= true) & (true <= high))[np.abs(true) > 1e-12]]
        told += [*(found.identified[at] >= SURE)]
    return float(np.mean(inside)), float(np.mean(told))
