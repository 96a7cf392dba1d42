"""What to hold fixed so that an effect can be read off a table: sets of direct causes, in all graphs of a class.

A variable's direct causes are enough to adjust for (Pearl 2009, section 3.3). Where edges at a treatment have no
direction, each choice of which neighbours are causes too is a possible set, if it makes no new pair of causes that meet
and no circle (IDA: Maathuis et al. 2009; with background knowledge Fang & He 2020): an effect is then one of several.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool

Set = tuple[int, ...]

MOST_SETS = 256  # for one treatment in one graph


def parent_sets(adjacency: Bool[np.ndarray, "node node"], node: int) -> list[Set]:
    """All sets that may be the direct causes of a node, of a graph in the class; at most `MOST_SETS`.

    Args:
        adjacency: of a `Graph`.
        node: its place.

    >>> line = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)  # a - b - c
    >>> parent_sets(line, 1), parent_sets(line, 0)
    ([(), (0,), (2,)], [(), (1,)])
    """
    joined = adjacency | adjacency.T
    links = adjacency & adjacency.T
    arrows = adjacency & ~links
    sure = np.flatnonzero(arrows[:, node])
    open_ = np.flatnonzero(links[node])
    # A cause that is not joined to another cause would make a pair that meets.
    possible = [int(each) for each in open_ if joined[each, sure].all()]
    sets: list[Set] = []
    for chosen in _cliques(possible, joined):
        others = np.setdiff1d(open_, chosen)
        if not arrows[np.ix_(others, chosen)].any():  # else: node -> other -> chosen -> node
            sets.append(tuple(sorted(int(each) for each in (*sure, *chosen))))
        if len(sets) == MOST_SETS:
            break
    return sets


def _cliques(among: list[int], joined: np.ndarray) -> Iterator[list[int]]:
    """Every set of nodes that are all joined to each other, the smaller first."""
    layer: list[list[int]] = [[]]
    while layer:
        yield from layer
        layer = [
            [*chosen, each]
            for chosen in layer
            for each in among
            if (not chosen or each > chosen[-1]) and joined[each, chosen].all()
        ]


def identified(adjacency: Bool[np.ndarray, "sample node node"], node: int) -> Bool[np.ndarray, "sample node"]:
    """On which variables the node's effect is the same in all graphs of a class, whatever is adjusted for.

    It is unless a path that may be one of causes begins with an edge without direction (Perković et al. 2017).

    Args:
        adjacency: of many graphs.
        node: its place.

    >>> line = np.array([[0, 1, 0], [1, 0, 1], [0, 0, 0]], bool)  # a - b -> c
    >>> identified(line[None], 0)[0].tolist()
    [True, False, False]
    """
    links = adjacency[:, node] & adjacency[:, :, node]
    ways = adjacency.copy()
    ways[:, node] = ways[:, :, node] = False
    reached = links
    while True:
        further = reached | (reached[:, :, None] & ways).any(1)
        if (further == reached).all():
            return ~reached
        reached = further


def undecided(adjacency: Bool[np.ndarray, "sample node node"], node: int, outcome: int) -> list[int]:
    """Neighbours that may be its cause or its effect, where that matters for its effect on an outcome.

    Args:
        adjacency: of many graphs.
        node: the treatment's place.
        outcome: the outcome's.
    """
    links = adjacency[:, node] & adjacency[:, :, node] & ~identified(adjacency, node)[:, outcome, None]
    count = links.sum(0)
    return [int(each) for each in np.argsort(-count, kind="stable") if count[each]]
