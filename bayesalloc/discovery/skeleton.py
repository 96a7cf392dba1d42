"""Which variables are joined: the PC algorithm's first stage in its stable version, level by level as array work.

Source: Colombo & Maathuis (2014), Order-independent constraint-based causal structure learning, JMLR 15.
"""

import itertools
import math
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from bayesalloc.discovery.independence import Independence, score_of
from bayesalloc.discovery.knowledge import NO_TIER, Knowledge

CASES = 200_000  # tests that are made at once
MOST, EACH = 60_000_000, 3_000_000  # tests of one level, in all and in each of many samples; beyond that it is left out


class Skeleton(NamedTuple):
    """What is joined in each sample, and why the rest is not.

    Attributes:
        joined: symmetric.
        separated: `[s, i, j, k]`: k is in a set that made i and j independent, of those of the smallest size; where
            false discoveries are controlled, in that with the largest p-value, of i's neighbours or of j's.
        tests: how many tests were made in all.
        level: the largest number of variables that were held fixed.
        ended: whether a level was left out since it would have taken too many tests.
    """

    joined: Bool[np.ndarray, "sample node node"]
    separated: Bool[np.ndarray, "sample node node node"]
    tests: int
    level: int
    ended: bool


class Cases(NamedTuple):
    """Tests of one variable each against its neighbours, given others of them.

    Attributes:
        sample: of each case.
        one: the variable.
        others: what it is tested against.
        given: what is held fixed.
    """

    sample: Int[np.ndarray, " case"]
    one: Int[np.ndarray, " case"]
    others: Int[np.ndarray, "other case"]
    given: Int[np.ndarray, "held case"]


def skeleton(
    test: Independence,
    alpha: float,
    knowledge: Knowledge,
    *,
    false_discoveries: bool = False,
    depth: int | None = None,
) -> Skeleton:
    """The pairs that no set of neighbours of one of them makes independent.

    All sets of a level are judged by the neighbours before it, so that no order of the variables matters. What is held
    fixed is never later than both variables of a pair. An edge that is required stays.

    Args:
        test: of independence, in one or many samples.
        alpha: the probability of finding a dependence that is not there, in one test.
        knowledge: what binds the search.
        false_discoveries: whether alpha is the share of edges that are not there among those that are found, by
            Benjamini and Hochberg's procedure on each pair's largest p-value (Li & Wang 2009, JMLR 10).
        depth: the largest number of variables that are held fixed; by default as many as neighbours and rows allow.
    """
    samples, count = test.shape
    joined = np.repeat(knowledge.possible[None], samples, axis=0)
    fixed = knowledge.required | knowledge.required.T
    separated = np.zeros((samples, count, count, count), bool)
    largest = np.full(joined.shape, -np.inf)
    most = test.most if depth is None else min(depth, test.most)
    tests, level = 0, -1
    threshold = float(score_of(alpha))
    ended = False
    while level < most and (joined.sum(2) > level + 1).any():
        if ended := _size(joined, level + 1) > max(MOST, EACH * samples):
            break
        level += 1
        removed = np.zeros_like(joined)
        for cases in _level(joined, level):
            score = test.scores(*cases)
            allowed = ~_too_late(cases, knowledge.tier)
            tests += int(allowed.sum()) if level else score.size
            if false_discoveries:
                _raise(largest, separated, cases, np.where(allowed, score, -np.inf))
            else:
                _note(removed, separated, cases, allowed & (score > threshold))
        if false_discoveries:
            largest = np.maximum(largest, largest.swapaxes(1, 2))
            removed = joined & ~_discovered(largest, alpha, knowledge.possible)
        removed |= removed.swapaxes(1, 2)
        joined &= ~(removed & ~fixed)
    separated |= separated.swapaxes(1, 2)
    separated[joined] = False
    return Skeleton(joined, separated, tests, max(level, 0), ended)


def _size(joined: np.ndarray, level: int) -> float:
    """How many tests a level takes."""
    times = np.bincount(joined.sum(2).reshape(-1))
    return sum(
        float(count) * math.comb(degree, level) * (degree - level) for degree, count in enumerate(times) if degree
    )


def _note(removed: np.ndarray, separated: np.ndarray, cases: Cases, hits: np.ndarray) -> None:
    """Pairs that were found independent, and what was held fixed."""
    other, case = np.nonzero(hits)
    pair = cases.sample[case], cases.one[case], cases.others[other, case]
    removed[pair] = True
    for held in cases.given:
        separated[(*pair, held[case])] = True


def _raise(largest: np.ndarray, separated: np.ndarray, cases: Cases, score: np.ndarray) -> None:
    """The largest score of each pair so far, and the set that gave it."""
    count = largest.shape[1]
    code = (cases.sample * count + cases.one) * count + cases.others
    order = np.lexsort((score.reshape(-1), code.reshape(-1)))
    last = order[np.r_[np.flatnonzero(np.diff(code.reshape(-1)[order])), len(order) - 1]]
    best, case = score.reshape(-1)[last], last % score.shape[1]
    pair = cases.sample[case], cases.one[case], cases.others.reshape(-1)[last]
    more = best > largest[pair]
    pair, case = tuple(part[more] for part in pair), case[more]
    largest[pair] = best[more]
    separated[pair] = False
    for held in cases.given:
        separated[(*pair, held[case])] = True


def _level(joined: np.ndarray, level: int) -> Iterator[Cases]:
    """All tests of a level: each variable against each neighbour, given so many of its other neighbours."""
    if level == 0:
        sample, one, other = np.nonzero(np.triu(joined))
        for start in range(0, len(sample), CASES):
            part = slice(start, start + CASES)
            yield Cases(sample[part], one[part], other[None, part], np.empty((0, len(sample[part])), np.intp))
        return
    degree = joined.sum(2)
    for neighbours in np.unique(degree[degree > level]):
        sample, one = np.nonzero(degree == neighbours)
        around = np.nonzero(joined[sample, one])[1].reshape(-1, neighbours)
        chosen, rest = choices(int(neighbours), level)
        for part, rows in parts(len(sample), len(chosen), int(neighbours)):
            given = around[rows][:, chosen[part]]  # [node, choice, held]
            others = around[rows][:, rest[part]]
            times = given.shape[1]
            yield Cases(
                np.repeat(sample[rows], times),
                np.repeat(one[rows], times),
                others.reshape(-1, rest.shape[1]).T,
                given.reshape(-1, level).T,
            )


def parts(nodes: int, combinations: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Ranges of combinations and of nodes that are judged at once."""
    at_once = max(CASES // width, 1)
    step = min(combinations, at_once)
    many = max(at_once // step, 1)
    for start in range(0, combinations, step):
        for first in range(0, nodes, many):
            yield slice(start, start + step), slice(first, first + many)


@cache
def choices(count: int, size: int) -> tuple[Int[np.ndarray, "choice size"], Int[np.ndarray, "choice rest"]]:
    """All ways to choose so many of `count`, and for each what is left.

    >>> [part.tolist() for part in choices(3, 2)]
    [[[0, 1], [0, 2], [1, 2]], [[2], [1], [0]]]
    """
    found = np.array([*itertools.combinations(range(count), size)], np.intp).reshape(math.comb(count, size), size)
    left = np.ones((len(found), count), bool)
    left[np.arange(len(found))[:, None], found] = False
    return found, np.nonzero(left)[1].reshape(len(found), count - size)


def _too_late(cases: Cases, tier: Int[np.ndarray, " node"]) -> Bool[np.ndarray, "other case"]:
    """Whether something that is held fixed is in a later tier than both variables."""
    if not len(cases.given) or (tier == NO_TIER).all():
        return np.zeros(cases.others.shape, bool)
    until = np.where(tier == NO_TIER, len(tier), tier)
    return tier[cases.given].max(0) > np.maximum(until[cases.one], until[cases.others])


def _discovered(
    largest: Float[np.ndarray, "sample node node"], share: float, possible: Bool[np.ndarray, "node node"]
) -> Bool[np.ndarray, "sample node node"]:
    """The pairs that stand if at most this share of those that do is to be wrong."""
    pairs = np.nonzero(np.triu(possible))
    scores = largest[:, *pairs]
    order = np.sort(scores, axis=1)
    limits = score_of(share * np.arange(1, scores.shape[1] + 1) / scores.shape[1])
    passing = order <= limits
    last = np.where(passing.any(1), scores.shape[1] - 1 - passing[:, ::-1].argmax(1), -1)
    cut = np.where(last >= 0, order[np.arange(len(order)), last], -np.inf)
    found = np.zeros(largest.shape, bool)
    found[:, *pairs] = (scores <= cut[:, None]) & (last >= 0)[:, None]
    return found | found.swapaxes(1, 2)
