"""Meek's rules: the directions that follow from those known, without a new collider and without a cycle."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int


def closed(adjacency: Bool[np.ndarray, "*batch node node"]) -> Bool[np.ndarray, "*batch node node"]:
    """A graph, or many, with all edges directed that the rules direct.

    An undirected a - b becomes a -> b where one of these holds:

    1. c -> a, and c and b are no neighbours (else a new collider);
    2. a -> c -> b (else a cycle);
    3. a - c -> b and a - d -> b, and c and d are no neighbours (else one of both);
    4. a - c -> d -> b, a and d are neighbours, and c and b are not (else one of both).

    All edges are judged at once, until nothing changes, so that no order of the variables matters. On a graph that is
    estimated rules can contradict each other: what they direct both ways, and what would close a circle, stays
    undirected; see `refused`.

    Source: Meek (1995), Causal inference and causal explanation with background knowledge, UAI.
    """
    found = adjacency.reshape(-1, *adjacency.shape[-2:]).copy()
    busy, circling = np.arange(len(found)), np.zeros(found.shape, bool)
    while len(busy):
        wanted = _wanted(found, busy) & ~circling
        wanted &= ~wanted.swapaxes(1, 2)
        tried = found & ~wanted.swapaxes(1, 2)
        ring = on_circles(tried & ~tried.swapaxes(1, 2))
        inside = wanted & ring[:, :, None] & ring[:, None, :]
        circling |= inside
        found &= ~(wanted & ~inside).swapaxes(1, 2)
        busy = np.flatnonzero(wanted.any((1, 2)))
    return found.reshape(adjacency.shape)


class Refused(NamedTuple):
    """Edges of each graph that stay undirected although the rules direct them.

    Attributes:
        both_ways: since they do so both ways.
        circling: since the direction would close a circle.
    """

    both_ways: Int[np.ndarray, " sample"]
    circling: Int[np.ndarray, " sample"]


def refused(adjacency: Bool[np.ndarray, "sample node node"]) -> Refused:
    """What `closed` left undirected in graphs that it gave."""
    wanted = _wanted(adjacency, np.arange(len(adjacency)))
    both = (wanted & wanted.swapaxes(1, 2)).sum((1, 2))
    return Refused(both // 2, wanted.sum((1, 2)) - both)


def on_circles(arrows: Bool[np.ndarray, "sample node node"]) -> Bool[np.ndarray, "sample node"]:
    """Nodes on a circle, or between two: what is left when those without causes or effects are taken away, repeatedly.

    >>> on_circles(np.array([[[0, 1, 0], [1, 0, 1], [0, 0, 0]]], bool)).tolist()
    [[True, True, False]]
    """
    left = np.ones(arrows.shape[:2], bool)
    while True:
        inside = arrows & left[:, :, None] & left[:, None, :]
        still = inside.any(1) & inside.any(2)
        if (still == left).all():
            return left
        left = still


def _wanted(found: np.ndarray, busy: np.ndarray) -> np.ndarray:
    """`[g, a, b]`: a rule makes a -> b of a - b; only in the graphs that are `busy`."""
    into = found.swapaxes(1, 2)
    joined = found | into
    apart = ~joined & ~np.eye(found.shape[-1], dtype=bool)
    enters, leaves = into & ~found, found & ~into  # [g, b, c]: c -> b, b -> c
    graph, first, second = np.nonzero((found & into)[busy])
    graph = busy[graph]
    follows = (enters[graph, first] & apart[graph, second]).any(1)
    follows |= (leaves[graph, first] & enters[graph, second]).any(1)
    rest = np.flatnonzero(~follows)
    g, a, b = graph[rest], first[rest], second[rest]
    beside = found[g, a] & into[g, a]
    between = beside & enters[g, b]
    follows[rest] |= _some(between, apart, between, g)
    follows[rest] |= _some(beside & apart[g, b], leaves, joined[g, a] & enters[g, b], g)
    wanted = np.zeros_like(found)
    wanted[graph, first, second] = follows
    return wanted


def _some(start: np.ndarray, edges: np.ndarray, end: np.ndarray, graph: np.ndarray) -> np.ndarray:
    """Whether an edge of the row's graph leads from one of its nodes `start` to one of its nodes `end`."""
    found = np.zeros(len(graph), bool)
    there = np.flatnonzero(start.any(1) & end.any(1))
    for row in there:
        found[row] = edges[graph[row]][start[row]][:, end[row]].any()
    return found
