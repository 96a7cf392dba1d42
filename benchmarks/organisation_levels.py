"""Books of levels beside the organisation's truth: as they are, by `--levels`, and as the surprises they stand for.

    python benchmarks/organisation_levels.py

Effects of 20 budgets on 26 later columns of simulated books, 89 % intervals, with the graph known and learned with
tiers from 50 random halves; of pairs with a path, the share that holds the truth, and of all budgets at once likewise.
Budgets saturate, so that the truth is the table's effects times the mean slope of 15 tanh(b / 15) in the books.
"""

import argparse
import json
import tomllib
from pathlib import Path

import msgspec
import numpy as np

from bayesalloc.discovery.books import Books, from_columns
from bayesalloc.discovery.effects import effects_of, evidence
from bayesalloc.discovery.graph import from_edges
from bayesalloc.discovery.joint import TooFew, joint_effects
from bayesalloc.discovery.knowledge import Office
from bayesalloc.discovery.search import USUAL, discover
from bayesalloc.models.budgets.books import Ledger, draw_books, knowledge
from bayesalloc.models.budgets.world import DEPARTMENTS, EDGES, PLACE, TABLE, VARIABLES, coefficients

OFFICE = msgspec.convert(tomllib.loads(knowledge()), Office)
LATER = [name for name, variable in TABLE.items() if variable.tier > 1]
BEFORE = [name for name, variable in TABLE.items() if variable.tier == 0]
BUDGETS = [PLACE[name] for name in DEPARTMENTS]
GRAPH, ENDS = from_edges(VARIABLES, EDGES), (0.055, 0.945)


def table(ledger: Ledger, **options) -> Books:
    columns = {name: ledger.columns[name] for name in VARIABLES}
    return from_columns(columns, ledger.units, ledger.periods, **options)


def truth(slope: np.ndarray, *, jointly: bool) -> np.ndarray:
    matrix = coefficients(decided=DEPARTMENTS if jointly else ())
    matrix[np.ix_([PLACE[name] for name in LATER], BUDGETS)] *= slope
    return np.linalg.inv(np.eye(len(matrix)) - matrix)[:, BUDGETS]


def inside(draws: np.ndarray, true: np.ndarray) -> list[bool]:
    low, high = np.quantile(draws, ENDS, axis=0)
    return [*((low <= true) & (true <= high))[np.abs(true) > 1e-12]]


def judged(books: Books, slope: np.ndarray, seed: int, *, learned: bool) -> dict[str, float]:
    rng, found = np.random.default_rng(seed), {}
    place = [books.names.index(name) for name in VARIABLES]
    samples = np.empty((1, len(place), len(place)), bool)
    samples[0][np.ix_(place, place)] = GRAPH.adjacency
    if learned:
        graph, true = discover(books, OFFICE).graph, {*EDGES}
        found["directed rightly"] = sum(edge in true for edge in graph.directed)
        found["directed wrongly"] = len(graph.directed) - found["directed rightly"]
        samples = discover(books, OFFICE, USUAL._replace(halves=True), bootstrap=50, seed=seed).samples
    given, held = evidence(books, len(samples), seed), []
    at = [books.names.index(name) for name in LATER]
    true = truth(slope, jointly=False)[[PLACE[name] for name in LATER]]
    for cause, name in enumerate(DEPARTMENTS):
        held += inside(effects_of(name, given, samples, rng).draws[:, at], true[:, cause])
    found["coverage"] = float(np.mean(held))
    try:
        joint = joint_effects(given, DEPARTMENTS, BEFORE, rng).draws[:, at]
    except TooFew:  # in half of the units
        return found | {"coverage, all at once": np.nan}
    together = inside(joint, truth(slope, jointly=True)[[PLACE[name] for name in LATER]])
    return found | {"coverage, all at once": float(np.mean(together))}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--books", type=int, default=8)
    given = parser.parse_args()
    result = {}
    for quarters in (20, 60):
        for learned in (False, True):
            rows: dict[str, list[dict[str, float]]] = {}
            for seed in range(given.books):
                levels, surprises = (
                    draw_books(seed, 8, quarters, simulated=True, levels=each) for each in (True, False)
                )
                budgets = draw_books(seed, 8, quarters, levels=True, gaps=False).values[:, BUDGETS]
                slope = (1.0 / np.cosh(budgets / 15.0) ** 2).mean(0)
                for label, books in {
                    "surprises": table(surprises),
                    "--levels": table(levels, levels=True),
                    "levels as they are": table(levels),
                }.items():
                    rows.setdefault(label, []).append(judged(books, slope, seed, learned=learned))
            for label, each in rows.items():
                told = {key: [row[key] for row in each if np.isfinite(row[key])] for key in each[0]}
                means: dict[str, float | None] = {
                    k: round(float(np.mean(v)), 3) if v else None for k, v in told.items()
                }
                error = np.std([row["coverage"] for row in each], ddof=1) / np.sqrt(len(each))
                means["its standard error"] = round(float(error), 3)
                result[f"8 sites, {quarters} quarters, graph {'learned' if learned else 'known'}, {label}"] = means
    text = json.dumps(result, indent=1)
    (Path(__file__).parent / "results" / "organisation_levels.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
