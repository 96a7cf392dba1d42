"""Known networks in files, and rows drawn from them; needs NumPy only.

Gaussian ones are JSON (`nodes`, and `cpds` with parents, coefficients and variance), as those of the bnlearn repository
are in pgmpy; discrete ones are BIF files, as https://www.bnlearn.com/bnrepository and pgmpy's wheel have them.
"""

import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Network(NamedTuple):
    """A known acyclic graph and how to draw rows from it.

    Attributes:
        nodes: causes before their effects.
        arrows: `[i, j]`: i causes j.
        parts: of each node, what its rows are drawn by.
    """

    nodes: list[str]
    arrows: np.ndarray
    parts: list

    @property
    def discrete(self) -> bool:
        """Whether rows are labels."""
        return isinstance(self.parts[0], tuple)


def read(path: Path) -> Network:
    """The network in a file."""
    return _bif(path) if ".bif" in path.name else _gaussian(json.loads(path.read_text()))


def _ordered(parents: dict[str, list[str]]) -> list[str]:
    found: list[str] = []
    while len(found) < len(parents):
        found += [name for name in parents if name not in found and set(parents[name]) <= set(found)]
    return found


def _made(parents: dict[str, list[str]], parts: dict) -> Network:
    nodes = _ordered(parents)
    arrows = np.zeros((len(nodes),) * 2, bool)
    for name in nodes:
        arrows[[nodes.index(cause) for cause in parents[name]], nodes.index(name)] = True
    return Network(nodes, arrows, [parts[name] for name in nodes])


def _gaussian(found: dict) -> Network:
    parents = {name: found["cpds"][name]["parents"] for name in found["nodes"]}
    parts = {}
    for name, cpd in found["cpds"].items():
        weight = {cause: cpd["coefficients"][cause][0] for cause in cpd["parents"]}
        parts[name] = {"mean": cpd["coefficients"]["(Intercept)"][0], "sd": cpd["variance"][0] ** 0.5, "weight": weight}
        parts[name]["freedom"] = cpd.get("freedom", 0.0)
    return _made(parents, parts)


def _bif(path: Path) -> Network:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    labels = {
        name: [label.strip() for label in inside.split(",")]
        for name, inside in re.findall(r"variable (\S+) \{\s*type discrete \[[^]]*\] \{([^}]*)\}", text)
    }
    parents, parts = {}, {}
    for inside, body in re.findall(r"probability \(([^)]*)\) \{(.*?)\n\}", text, re.DOTALL):
        name, _, given = (part.strip() for part in inside.partition("|"))
        parents[name] = [cause.strip() for cause in given.split(",")] if given else []
        table = np.empty([*(len(labels[cause]) for cause in parents[name]), len(labels[name])])
        for when, row in re.findall(r"(?:\(([^)]*)\)|table)\s*([^;]*);", body):
            values = np.array([float(value) for value in row.split(",")])
            place = [labels[c].index(label.strip()) for c, label in zip(parents[name], when.split(","), strict=False)]
            table[tuple(place)] = values / values.sum()
        parts[name] = (parents[name], table)
    return _made(parents, parts)


def draw(
    network: Network, rows: int, seed: int, fixed: Mapping[str, float] | None = None
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names of the columns, rows with labels as whole numbers, and the arrows among columns.

    Columns are shuffled: what a method finds may depend on their order, and is not to be helped by it. Where some
    variables are `fixed` from outside, all others have the random numbers that they have without.
    """
    rng = np.random.default_rng(seed)
    columns: dict[str, np.ndarray] = {}
    for name, part in zip(network.nodes, network.parts, strict=True):
        if network.discrete:
            causes, table = part
            chance = table[tuple(columns[cause] for cause in causes)] if causes else np.tile(table, (rows, 1))
            columns[name] = (rng.random((rows, 1)) > chance.cumsum(1)[:, :-1]).sum(1)
            if fixed and name in fixed:
                columns[name] = np.full(rows, int(fixed[name]))
            continue
        free = part["freedom"]
        noise = rng.standard_t(free, rows) * np.sqrt(1 - 2 / free) if free else rng.standard_normal(rows)
        columns[name] = part["mean"] + part["sd"] * noise
        for cause, weight in part["weight"].items():
            columns[name] = columns[name] + weight * columns[cause]
        if fixed and name in fixed:
            columns[name] = np.full(rows, float(fixed[name]))
    order = rng.permutation(len(network.nodes))
    values = np.stack([columns[name] for name in network.nodes], axis=1)
    return [network.nodes[i] for i in order], values[:, order], network.arrows[np.ix_(order, order)]
