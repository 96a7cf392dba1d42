"""From a skeleton and its colliders to a graph: the strongest first, then what follows, and no cycle."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from bayesalloc.discovery import meek
from bayesalloc.discovery.colliders import Colliders
from bayesalloc.discovery.knowledge import Knowledge

ALIKE = 1e-9  # difference of strength that is rounding: one set may be the best for two colliders
PATIENCE = 10  # colliders that are given up one by one; after that 2, 4, 8, ... at once


class Oriented(NamedTuple):
    """A graph for each sample, in which directed edges are in no circle.

    Attributes:
        adjacency: as in `Graph`.
        conflicts: colliders given up since a stronger one directs an edge the other way.
        cycles: colliders given up since they would have closed a circle.
        undone: directions that follow from what is known and were taken back since they were in a circle.
        contradicted: edges that are undirected since what follows is either direction.
    """

    adjacency: Bool[np.ndarray, "sample node node"]
    conflicts: Int[np.ndarray, " sample"]
    cycles: Int[np.ndarray, " sample"]
    undone: Int[np.ndarray, " sample"]
    contradicted: Int[np.ndarray, " sample"]


def oriented(
    joined: Bool[np.ndarray, "sample node node"],
    found: Colliders,
    knowledge: Knowledge,
    order: Int[np.ndarray, " collider"] | None = None,
) -> Oriented:
    """Directs what is known, then colliders, the strongest first, then what follows by Meek's rules.

    A collider that a stronger one contradicts is given up. Where directions end in a circle, the weakest collider with
    an arrow in it is given up, or where there is none, what was concluded there.

    Args:
        joined: the skeletons.
        found: their colliders.
        knowledge: what binds the search.
        order: in which colliders are taken instead.
    """
    known = joined & ~(joined & (knowledge.forbidden | knowledge.required.T))
    samples = len(joined)
    kept = np.ones(len(found.strength), bool)
    if order is None:
        order = np.lexsort((-found.strength, found.sample))
    conflicts, cycles, undone = (np.zeros(samples, np.int64) for _ in range(3))
    arrows = known & ~known.swapaxes(1, 2)
    begun = arrows.copy()
    for i in order:
        s, x, z, y = found.sample[i], found.one[i], found.middle[i], found.other[i]
        if begun[s, z, x] or begun[s, z, y]:
            kept[i] = False
            conflicts[s] += 1
        else:
            begun[s, x, z] = begun[s, y, z] = True
    ends = np.full(samples, fill_value=True)
    adjacency = known.copy()
    tries = 0
    while ends.any():
        at_once = 2 ** max(tries - PATIENCE, 0)
        tries += 1
        (busy,) = np.nonzero(ends)
        adjacency[busy] = _followed(known[busy], found, kept, busy)
        rings = _on_cycles(adjacency[busy] & ~adjacency[busy].swapaxes(1, 2))
        ends = np.zeros(samples, bool)
        ends[busy] = rings.any(1)
        for s, ring in zip(busy[rings.any(1)], rings[rings.any(1)], strict=True):
            inside = kept & (found.sample == s) & ring[found.middle] & (ring[found.one] | ring[found.other])
            if inside.any():
                strength = np.sort(found.strength[inside])
                weakest = inside & (found.strength <= strength[:at_once][-1] + ALIKE)
                kept &= ~weakest
                cycles[s] += int(weakest.sum())
                continue
            concluded = adjacency[s] & ~adjacency[s].T & ~arrows[s] & np.outer(ring, ring)
            adjacency[s] |= concluded.T
            undone[s] += int(concluded.sum())
            ends[s] = False
    return Oriented(adjacency, conflicts, cycles, undone, meek.contradicted(adjacency))


def _followed(
    known: Bool[np.ndarray, "sample node node"],
    found: Colliders,
    kept: Bool[np.ndarray, " collider"],
    samples: Int[np.ndarray, " sample"],
) -> Bool[np.ndarray, "sample node node"]:
    """What is known and the colliders that are kept, with all that follows."""
    place = np.full(max(samples.max(initial=0), found.sample.max(initial=0)) + 1, -1)
    place[samples] = np.arange(len(samples))
    chosen = np.flatnonzero(kept & (place[found.sample] >= 0))
    adjacency = known.copy()
    s, z = place[found.sample[chosen]], found.middle[chosen]
    for cause in (found.one[chosen], found.other[chosen]):
        adjacency[s, z, cause] = False
    return meek.closed(adjacency)


def _on_cycles(arrows: Bool[np.ndarray, "sample node node"]) -> Bool[np.ndarray, "sample node"]:
    """Nodes that are left when those without causes or without effects are taken away, again and again."""
    left = np.ones(arrows.shape[:2], bool)
    while True:
        inside = arrows & left[:, :, None] & left[:, None, :]
        still = inside.any(1) & inside.any(2)
        if (still == left).all():
            return left
        left = still
