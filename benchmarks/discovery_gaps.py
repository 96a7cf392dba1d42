"""Discovery on the books of `budget.py` with their gaps, by each way to deal with them; and what resampling costs.

    python discovery_gaps.py [--samples 20]

Tiers are known. The distance is from the class that they leave of the true graph.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from bayesalloc.discovery import meek
from bayesalloc.discovery.books import Books
from bayesalloc.discovery.graph import Graph, cpdag, structural_hamming
from bayesalloc.discovery.knowledge import Office, binding
from bayesalloc.discovery.search import Settings, discover
from bayesalloc.models.budgets.books import draw_books
from bayesalloc.models.budgets.world import TABLE, VARIABLES, coefficients
from bayesalloc.threads import one_thread

TIERS = Office(tiers=[[name for name, variable in TABLE.items() if variable.tier == tier] for tier in range(6)])
WAYS = {"no gaps": "pairwise", "pairwise": "pairwise", "em": "em", "complete": "complete"}


def books(seed: int, rows: int, *, gaps: bool) -> Books:
    """Books without the columns that follow from others."""
    drawn = draw_books(seed, sites=rows // 20, quarters=20, gaps=gaps)
    return Books(tuple(VARIABLES), drawn.values[:, : len(TABLE)])


@one_thread
def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=20)
    given = parser.parse_args()
    dag = Graph(tuple(VARIABLES), (coefficients() != 0).T)
    known = binding(TIERS, VARIABLES)
    truth = Graph(dag.nodes, meek.closed(cpdag(dag).adjacency & ~known.forbidden))
    result: dict[str, dict] = {"distance": {}, "seconds_of_100_tables_of_2000_rows": {}}
    for rows in (500, 1000):
        for label, missing in WAYS.items():
            found = [
                discover(books(seed, rows, gaps=label != "no gaps"), TIERS, Settings(missing=missing)).graph
                for seed in range(given.samples)
            ]
            distance = [structural_hamming(truth, graph) for graph in found]
            error = np.std(distance, ddof=1) / np.sqrt(given.samples)
            result["distance"][f"{rows}, {label}"] = [round(float(np.mean(distance)), 2), round(float(error), 2)]
    whole = books(0, 2000, gaps=False)
    for rule in ("sepset", "maxp"):
        for label, office in (("without tiers", None), ("tiers", TIERS)):
            started = time.process_time()
            discover(whole, office, Settings(rule=rule), bootstrap=100)
            result["seconds_of_100_tables_of_2000_rows"][f"{rule}, {label}"] = round(time.process_time() - started, 2)
    text = json.dumps(result, indent=1)
    (Path(__file__).parent / "results" / "discovery_gaps.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
