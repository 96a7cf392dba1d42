"""How sure a graph is: the same search in many resampled tables, how often they agree, and what most of them say."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import special
from scipy.sparse import csgraph

from bayesalloc.discovery.books import Books
from bayesalloc.discovery.graph import Graph

FEW_UNITS, FEW_ROWS = 20, 30
CLUSTERED = 0.1  # share of the variables in which units differ (at 1 %) from which rows of a unit are kept together


class Confidence(NamedTuple):
    """Shares of the graphs of resampled tables.

    Attributes:
        present: in which two variables are joined.
        directed: `[i, j]`: of these, in which the edge is i -> j.
    """

    present: Float[np.ndarray, "node node"]
    directed: Float[np.ndarray, "node node"]


def resampled(
    books: Books, count: int, rng: np.random.Generator, *, halves: bool = False
) -> tuple[Float[np.ndarray, "sample row"], list[str]]:
    """How often each row stands in each of `count` resampled tables, and sentences on how they were drawn.

    Where the rows of a unit are alike, whole units are drawn.

    Args:
        books: the table.
        count: how many.
        rng: source of the draws.
        halves: whether to draw a half of the rows, each once; else as many as there are, with replacement. Estimates
            vary as much, but repeated rows pass for evidence: of 100 edges that are not there, tests at 1 % find 7.
    """
    rows = len(books.values)
    if not clustered(books):
        few = [f"{rows} rows are few to resample: confidence is rough"] if rows < FEW_ROWS else []
        return _drawn(rows, count, rng, halves=halves), few
    units, unit = np.unique(np.array(books.units), return_inverse=True)
    drawn = _drawn(len(units), count, rng, halves=halves)
    said = ["rows of one unit are alike: tables were resampled by unit, but single tests take rows for independent"]
    if len(units) < FEW_UNITS:
        said.append(f"{len(units)} units are few to resample by: confidence is rough")
    return drawn[:, unit], said


def _drawn(size: int, count: int, rng: np.random.Generator, *, halves: bool) -> Float[np.ndarray, "sample one"]:
    if halves:  # in pairs that complement each other, so that their mean hardly varies
        order = rng.permuted(np.broadcast_to(np.arange(size), ((count + 1) // 2, size)), axis=1)
        first = (order < (size + 1) // 2).astype(float)
        return np.stack([first, 1.0 - first], 1).reshape(-1, size)[:count]
    return rng.multinomial(size, np.full(size, 1 / size), count).astype(float)


def clustered(books: Books) -> bool:
    """Whether units differ by more or by less than chance in more than a few variables (analysis of variance).

    They differ by less where each unit's own mean was taken off, which leaves its rows dependent all the same.
    """
    if books.units is None:
        return False
    units, unit = np.unique(np.array(books.units), return_inverse=True)
    differ = []
    for column in books.values.T:
        there = ~np.isnan(column)
        size = np.bincount(unit[there], minlength=len(units))
        groups, n = int((size > 0).sum()), int(there.sum())
        if groups < 2 or n <= groups:
            continue
        mean = np.bincount(unit[there], column[there], len(units)) / np.maximum(size, 1)
        between = (size * (mean - column[there].mean()) ** 2).sum() / (groups - 1)
        within = ((column[there] - mean[unit[there]]) ** 2).sum() / (n - groups)
        chance = special.fdtrc(groups - 1, n - groups, between / within) if within > 0 else 0.0
        differ.append(min(chance, 1.0 - chance) < 0.005)
    return bool(differ) and float(np.mean(differ)) > CLUSTERED


def confidence(adjacency: Bool[np.ndarray, "sample node node"]) -> Confidence:
    """How often edges and directions are there."""
    joined = adjacency | adjacency.swapaxes(1, 2)
    present = joined.mean(0)
    arrows = (adjacency & ~adjacency.swapaxes(1, 2)).mean(0)
    return Confidence(present, np.divide(arrows, present, out=np.zeros_like(arrows), where=present > 0))


def consensus(nodes: tuple[str, ...], sure: Confidence) -> tuple[Graph, int]:
    """What most graphs say, and how many directions were taken back since they were in a circle.

    Pairs that more than half of them join, with the direction that more than half of these have. In a circle the least
    sure direction is taken back.
    """
    joined = sure.present > 0.5
    adjacency = joined & ~(joined & (sure.directed.T > 0.5))
    undone = 0
    while (circling := _circling(adjacency)).any():
        sureness = np.where(circling, sure.present * sure.directed, np.inf)
        weakest = sureness == sureness.min()
        adjacency |= weakest.T
        undone += int(weakest.sum())
    return Graph(nodes, adjacency), undone


def _circling(adjacency: Bool[np.ndarray, "node node"]) -> Bool[np.ndarray, "node node"]:
    """The directed edges that are in a circle of such."""
    arrows = adjacency & ~adjacency.T
    _, part = csgraph.connected_components(arrows, directed=True, connection="strong")
    return arrows & (part[:, None] == part)
