"""From a skeleton and its colliders to a graph: the strongest first, then what follows, and no circle."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from bayesalloc.discovery import meek
from bayesalloc.discovery.colliders import Colliders
from bayesalloc.discovery.knowledge import Knowledge
from bayesalloc.discovery.meek import Refused


class Oriented(NamedTuple):
    """A graph for each sample, in which directed edges are in no circle.

    Attributes:
        adjacency: as in `Graph`.
        conflicts: colliders given up since a stronger one directs an edge the other way.
        circles: colliders given up since with stronger ones they would close a circle.
        refused: edges whose direction would follow, but is contradicted.
    """

    adjacency: Bool[np.ndarray, "sample node node"]
    conflicts: Int[np.ndarray, " sample"]
    circles: Int[np.ndarray, " sample"]
    refused: Refused


def oriented(
    joined: Bool[np.ndarray, "sample node node"],
    found: Colliders,
    knowledge: Knowledge,
    order: Int[np.ndarray, " collider"] | None = None,
) -> Oriented:
    """Directs what is known, then colliders, the strongest first, then what follows by Meek's rules.

    A collider is given up that a stronger one contradicts, or that would close a circle with stronger ones.

    Args:
        joined: the skeletons.
        found: their colliders.
        knowledge: what binds the search.
        order: in which colliders are taken instead.
    """
    adjacency = joined & ~(joined & (knowledge.forbidden | knowledge.required.T))
    samples, count = joined.shape[:2]
    conflicts, circles = np.zeros(samples, np.int64), np.zeros(samples, np.int64)
    below = [_reached(arrows) for arrows in adjacency & ~adjacency.swapaxes(1, 2)]
    if order is None:
        order = np.lexsort((-found.strength, found.sample))
    for i in order:
        s, x, z, y = (int(part[i]) for part in (found.sample, found.one, found.middle, found.other))
        reached = below[s]
        if not (adjacency[s, x, z] and adjacency[s, y, z]):
            conflicts[s] += 1
        elif reached[z] >> x & 1 or reached[z] >> y & 1:
            circles[s] += 1
        else:
            adjacency[s, z, x] = adjacency[s, z, y] = False
            more = reached[z] | 1 << z
            for node in range(count):
                if node in (x, y) or reached[node] >> x & 1 or reached[node] >> y & 1:
                    reached[node] |= more
    closed = meek.closed(adjacency)
    return Oriented(closed, conflicts, circles, meek.refused(closed))


def _reached(arrows: Bool[np.ndarray, "node node"]) -> list[int]:
    """What each node leads to, a bit for each node."""
    found = [sum(1 << int(effect) for effect in np.flatnonzero(row)) for row in arrows]
    for via in range(len(found)):
        for node in range(len(found)):
            if found[node] >> via & 1:
                found[node] |= found[via]
    return found
