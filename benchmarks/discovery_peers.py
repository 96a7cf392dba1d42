"""Discovery beside causal-learn's: the same rows, skeletons, separating sets, distances to the truth, and CPU time.

    python discovery_peers.py --causal-python PATH --networks FILE ... [--samples 20] [--rows 500 1000 5000]

A network is a JSON or BIF file, see `examples/network_files.py`; the world of `budget.py` is always among them. The
distance is the number of pairs whose mark differs from that of the true graph's class. Columns are shuffled in each
sample. causal-learn's default takes colliders in the order of the columns; `in_its_order` ours does so too.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from discovery_problems import Network, draw, read

from bayesalloc.discovery import bootstrap, meek
from bayesalloc.discovery.colliders import Rule, colliders
from bayesalloc.discovery.graph import Graph, cpdag, structural_hamming
from bayesalloc.discovery.independence import Discrete, Gaussian, Independence, Oracle
from bayesalloc.discovery.knowledge import Knowledge, Office, binding, nothing_known
from bayesalloc.discovery.moments import moments
from bayesalloc.discovery.orienting import oriented
from bayesalloc.discovery.pc import pc
from bayesalloc.discovery.skeleton import skeleton
from bayesalloc.models.budgets.world import FREEDOM, TABLE
from bayesalloc.threads import one_thread

ALPHA = 0.01
RULES: tuple[Rule, ...] = ("maxp", "sepset")
SURE = 0.9
TIERS = Office(tiers=[[name for name, variable in TABLE.items() if variable.tier == tier] for tier in range(6)])


def world(path: Path) -> Path:
    """The world of `budget.py` as a network file."""
    cpds = {
        name: {
            "parents": list(variable.parents),
            "coefficients": {"(Intercept)": [0.0], **{cause: [weight] for cause, weight in variable.parents.items()}},
            "variance": [variable.sd**2],
            "freedom": FREEDOM if variable.tier == 1 else 0.0,
        }
        for name, variable in TABLE.items()
    }
    path.write_text(json.dumps({"nodes": list(TABLE), "cpds": cpds}))
    return path


def tested(network: Network, values: np.ndarray, weights: np.ndarray | None = None) -> Independence:
    """The test of independence for a network's rows."""
    if network.discrete:
        return Discrete(values.astype(float), weights)
    return Gaussian(moments(values, weights=weights))


def named(adjacency: np.ndarray) -> Graph:
    """A graph of columns by number."""
    return Graph(tuple(map(str, range(len(adjacency)))), adjacency)


def left(arrows: np.ndarray, known: Knowledge) -> Graph:
    """The true graph's class, so far as what is known leaves it."""
    return named(meek.closed(cpdag(named(arrows)).adjacency & ~known.forbidden))


def timed(network: Network, values: np.ndarray, rule: Rule) -> tuple[np.ndarray, float]:
    """Our graph, and the CPU seconds of the fastest of three runs."""
    spent, found = [], np.zeros(0)
    for _ in range(3):
        started = time.process_time()
        found = graphed(tested(network, values), rule)
        spent.append(time.process_time() - started)
    return found, min(spent)


def compared(network: Network, rows: int, seed: int, theirs: dict[str, np.ndarray]) -> dict[str, float]:
    """One sample: whether both agree, distances, and seconds."""
    _, values, arrows = draw(network, rows, seed)
    truth, known = cpdag(named(arrows)), nothing_known(len(arrows))
    test = tested(network, values)
    found = skeleton(test, ALPHA, known)
    meeting = colliders(test, found, ALPHA, known, "sepset")
    its_order = np.lexsort((meeting.other, meeting.one, meeting.middle))
    ordered = oriented(found.joined, meeting, known, its_order)
    row = {
        "skeleton_equal": bool((found.joined[0] == theirs["joined"]).all()),
        "separating_sets_equal": bool((found.separated[0] == theirs["separated"]).all()),
        "graph_equal_in_its_order": bool((ordered.adjacency[0] == theirs["graph_default"]).all()),
        "contradictory_in_its_order": bool(ordered.circles[0] + sum(each[0] for each in ordered.refused)),
        "graph_equal_or_contradictory": False,
        "graph_cyclic_causal_learn": named(theirs["graph_default"]).cycle() is not None,
    }
    row["graph_equal_or_contradictory"] = row["graph_equal_in_its_order"] or row["contradictory_in_its_order"]
    for name in ("default", "maxp"):
        row[f"distance_causal_learn_{name}"] = structural_hamming(truth, named(theirs[f"graph_{name}"]))
        row[f"seconds_causal_learn_{name}"] = float(theirs[f"seconds_{name}"])
    for rule in RULES:
        graph, seconds = timed(network, values, rule)
        row[f"distance_{rule}"] = structural_hamming(truth, named(graph))
        row[f"seconds_{rule}"] = seconds
    return row


def sure(network: Network, rows: int, seed: int, office: Office | None = None, tables: int = 100) -> dict[str, float]:
    """Resampled tables: of what is in nine of ten how much is true, how far the consensus is, and seconds."""
    names, values, arrows = draw(network, rows, seed)
    known = binding(office or Office(), names)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(rows, np.full(rows, 1 / rows), tables).astype(float)
    started = time.process_time()
    graphs = pc(tested(network, values, weights), ALPHA, known).oriented.adjacency
    seconds = time.process_time() - started
    share = bootstrap.confidence(graphs)
    graph, _ = bootstrap.consensus(tuple(map(str, range(len(arrows)))), share)
    edges = np.triu(share.present >= SURE)
    directions = share.present * share.directed >= SURE
    return {
        "edges": int(edges.sum()),
        "edges_true": int((edges & (arrows | arrows.T)).sum()),
        "directions": int(directions.sum()),
        "directions_true": int((directions & arrows).sum()),
        "distance_consensus": structural_hamming(left(arrows, known), graph),
        "acyclic": graph.cycle() is None,
        "seconds": seconds,
    }


def summed(rows: list[dict[str, float]]) -> dict[str, object]:
    """A cell: counts of what is equal, mean distances, paired differences with standard errors, median seconds."""
    count = len(rows)
    cell: dict[str, object] = {"samples": count}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name.startswith("seconds"):
            cell[name] = round(median(values), 4)
        elif name.startswith("distance"):
            cell[name] = round(float(np.mean(values)), 2)
        else:
            cell[name] = int(sum(values))
    for ours in RULES:
        for theirs in ("default", "maxp"):
            gap = np.array([row[f"distance_{ours}"] - row[f"distance_causal_learn_{theirs}"] for row in rows])
            error = float(gap.std(ddof=1) / np.sqrt(count)) if count > 1 else 0.0
            cell[f"{ours}_less_causal_learn_{theirs}"] = [round(float(gap.mean()), 2), round(error, 2)]
    cell["times_faster_sepset"] = round(cell["seconds_causal_learn_default"] / cell["seconds_sepset"], 1)
    cell["times_faster_maxp"] = round(cell["seconds_causal_learn_default"] / cell["seconds_maxp"], 1)
    return cell


def over(several: list[dict[str, float]]) -> dict[str, float]:
    """Samples added up; distances on average and seconds in the middle."""
    both = {key: sum(row[key] for row in several) for key in several[0]}
    both["seconds"] = round(median(row["seconds"] for row in several), 3)
    both["distance_consensus"] = round(both["distance_consensus"] / len(several), 2)
    return both


def known_order(network: Network, rows: int, samples: int) -> dict[str, object]:
    """The world with and without its tiers: distance from the class that is left, and what is said of true edges."""
    result: dict[str, object] = {}
    for label in ("without tiers", "tiers"):
        counts: dict[str, list[int]] = {}
        for seed in range(samples):
            names, values, arrows = draw(network, rows, seed)
            known = binding(TIERS, names) if label == "tiers" else nothing_known(len(names))
            truth = left(arrows, known)
            test = Gaussian(moments(values))
            found = {rule: named(graphed(test, rule, known)) for rule in RULES}
            row = {f"distance_{rule}": structural_hamming(truth, graph) for rule, graph in found.items()}
            directed, either = found["maxp"].arrows, found["maxp"].links
            row |= {"right": int((directed & arrows).sum()), "wrong": int((directed & arrows.T).sum())}
            row |= {"either": int((either & arrows).sum()), "true_edges": int(arrows.sum())}
            for name, value in row.items():
                counts.setdefault(name, []).append(value)
        result[label] = {name: round(float(np.mean(each)), 2) for name, each in counts.items()}
    return result


def graphed(test: Independence, rule: Rule, known: Knowledge | None = None) -> np.ndarray:
    """Our graph of the one sample."""
    return pc(test, ALPHA, known, rule).oriented.adjacency[0]


@one_thread
def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--causal-python", type=Path, required=True)
    parser.add_argument("--networks", type=Path, nargs="+", default=[])
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--discrete-samples", type=int, default=5)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 500, 5000])
    parser.add_argument("--oracles", nargs="*", default=[], help="networks on which the peer's oracle is tried; slow")
    parser.add_argument("--keep", type=Path, help="folder of the peer's answers; it goes on where it stopped")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "discovery_peers.json")
    given = parser.parse_args()
    kept = given.keep or Path(tempfile.mkdtemp())
    peer = Path(__file__).with_name("discovery_causal_learn.py")
    result: dict[str, object] = {"alpha": ALPHA, "cells": {}, "oracle": {}, "confidence": {}, "tiers": {}}
    for path in [world(kept / "world.json"), *given.networks]:
        network, name = read(path), path.name.split(".")[0]
        count = given.discrete_samples if network.discrete else given.samples
        for rows in [*([0] if name in given.oracles else []), *given.rows]:
            times = count if rows else 1
            command = [given.causal_python, peer, kept, path.resolve(), str(rows), str(times)]
            subprocess.run(command, check=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})
            theirs = [dict(np.load(kept / f"{name}-{rows}-{seed}.npz")) for seed in range(times)]
            if not rows:
                arrows = draw(network, 10, 0)[2]
                ours = [graphed(Oracle(arrows), rule) for rule in RULES]
                equal = [bool((graph == theirs[0]["graph_default"]).all()) for graph in ours]
                result["oracle"][name] = {
                    "equal": all(equal),
                    "true": bool((ours[0] == cpdag(named(arrows)).adjacency).all()),
                }
                continue
            cell = summed([compared(network, rows, seed, each) for seed, each in enumerate(theirs)])
            result["cells"][f"{name} {rows}"] = cell
            print(name, rows, json.dumps(cell), flush=True)
            if not network.discrete:
                result["confidence"][f"{name} {rows}"] = over(
                    [sure(network, rows, seed) for seed in range(min(count, 5))]
                )
            if name == "world":
                several = [sure(network, rows, seed, TIERS) for seed in range(min(count, 5))]
                result["confidence"][f"{name} {rows} tiers"] = over(several)
                result["tiers"][str(rows)] = known_order(network, rows, count)
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
