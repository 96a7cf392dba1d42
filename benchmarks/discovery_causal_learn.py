"""The peer of `discovery_peers.py`: causal-learn's PC on the same rows; needs an environment with causal-learn.

    python discovery_causal_learn.py FOLDER NETWORK ROWS SEEDS        (ROWS 0: an oracle instead of rows)

Writes a file for each seed that has none: the skeleton, the separating sets as unions, the graphs of its default
(separating sets, the first collider wins) and of its MaxP rule, and CPU seconds.
"""

import argparse
import time
import warnings
from pathlib import Path

import networkx as nx
import numpy as np
from causallearn.search.ConstraintBased.PC import pc
from discovery_problems import Network, draw, read

warnings.filterwarnings("ignore")


def graph(found) -> np.ndarray:
    """`[i, j]` alone is i -> j, both are i - j; an edge with two heads counts as undirected."""
    marks = found.G.graph
    arrow = (marks == -1) & (marks.T == 1)
    return arrow | ((marks != 0) & (marks == marks.T))


def search(network: Network, rows: int, seed: int) -> dict[str, object]:
    """What it finds in one sample; or, without rows, with an oracle, whose p-values its MaxP cannot compare."""
    _, values, arrows = draw(network, rows or 10, seed)
    options = {"alpha": 0.01, "indep_test": "gsq" if network.discrete else "fisherz", "show_progress": False}
    if not rows:
        dag = nx.from_numpy_array(arrows, create_using=nx.DiGraph)
        options |= {"indep_test": "d_separation", "true_dag": dag}
    started = time.process_time()
    found = pc(values, **options)
    kept: dict[str, object] = {"seconds_default": time.process_time() - started, "graph_default": graph(found)}
    count = len(network.nodes)
    separated = np.zeros((count,) * 3, bool)
    for i in range(count):
        for j in range(count):
            for held in found.sepset[i, j] or ():
                separated[i, j, list(held)] = True
    kept |= {"joined": found.G.graph != 0, "separated": separated}
    if rows:
        started = time.process_time()
        kept["graph_maxp"] = graph(pc(values, uc_rule=1, uc_priority=3, **options))
        kept["seconds_maxp"] = time.process_time() - started
    return kept


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("network", type=Path)
    parser.add_argument("rows", type=int)
    parser.add_argument("seeds", type=int)
    given = parser.parse_args()
    network, name = read(given.network), given.network.name.split(".")[0]
    for seed in range(given.seeds):
        out = given.folder / f"{name}-{given.rows}-{seed}.npz"
        if not out.exists():
            np.savez(out, **search(network, given.rows, seed))


if __name__ == "__main__":
    main()
