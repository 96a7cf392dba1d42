"""Meek's rules: the directions that follow from those known, without a new collider and without a cycle."""

import numpy as np
from jaxtyping import Bool, Int


def closed(adjacency: Bool[np.ndarray, "*batch node node"]) -> Bool[np.ndarray, "*batch node node"]:
    """A graph, or many, with all edges directed that the rules direct.

    An undirected a - b becomes a -> b where one of these holds:

    1. c -> a, and c and b are no neighbours (else a new collider);
    2. a -> c -> b (else a cycle);
    3. a - c -> b and a - d -> b, and c and d are no neighbours (else one of both);
    4. a - c -> d -> b, a and d are neighbours, and c and b are not (else one of both).

    All edges are judged at once, until nothing changes, so that no order of the variables matters. What the rules
    direct both ways, as they can on a graph that is estimated, stays undirected.

    Source: Meek (1995), Causal inference and causal explanation with background knowledge, UAI.
    """
    found = adjacency.reshape(-1, *adjacency.shape[-2:]).copy()
    busy = np.arange(len(found))
    while len(busy):
        wanted = _wanted(found, busy)
        wanted &= ~wanted.swapaxes(1, 2)
        found &= ~wanted.swapaxes(1, 2)
        busy = np.flatnonzero(wanted.any((1, 2)))
    return found.reshape(adjacency.shape)


def contradicted(adjacency: Bool[np.ndarray, "sample node node"]) -> Int[np.ndarray, " sample"]:
    """How many edges of each graph that `closed` gives are undirected since the rules direct them both ways."""
    wanted = _wanted(adjacency, np.arange(len(adjacency)))
    return (wanted & wanted.swapaxes(1, 2)).sum((1, 2)) // 2


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
