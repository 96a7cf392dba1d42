"""The PC algorithm, from a test of independence to a graph for each of its samples."""

from typing import NamedTuple

from bayesalloc.discovery.colliders import Rule, colliders
from bayesalloc.discovery.independence import Independence
from bayesalloc.discovery.knowledge import Knowledge, nothing_known
from bayesalloc.discovery.orienting import Oriented, oriented
from bayesalloc.discovery.skeleton import Skeleton, skeleton


class Search(NamedTuple):
    """What the algorithm finds.

    Attributes:
        oriented: the graphs, and what was given up.
        skeleton: what is joined, and what separates the rest.
        tests: how many tests were made in all.
    """

    oriented: Oriented
    skeleton: Skeleton
    tests: int


def pc(
    test: Independence,
    alpha: float = 0.01,
    knowledge: Knowledge | None = None,
    rule: Rule = "maxp",
    *,
    false_discoveries: bool = False,
    depth: int | None = None,
) -> Search:
    """The graph of each sample: what is joined, where causes meet, and what follows.

    Args:
        test: of independence, in one or many samples.
        alpha: see `skeleton`.
        knowledge: what binds the search; by default nothing is known.
        rule: how colliders are judged; see `colliders`.
        false_discoveries: see `skeleton`.
        depth: see `skeleton`.
    """
    known = nothing_known(test.shape[1]) if knowledge is None else knowledge
    found = skeleton(test, alpha, known, false_discoveries=false_discoveries, depth=depth)
    meeting = colliders(test, found, alpha, known, rule)
    return Search(oriented(found.joined, meeting, known), found, found.tests + meeting.tests)
