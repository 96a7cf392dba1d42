"""Where two causes meet: which unjoined neighbours x, y of z are both causes of it, and how sure that is.

In x - z - y with x and y not joined, z is a collider (x -> z <- y) if what makes x and y independent does not hold z.
Three rules judge by other sets:

* `maxp`: by the set with the largest p-value (Ramsey 2016, arXiv:1610.00378), among the neighbours of x and of y;
* `sepset`: by the sets that removed the edge, of which none may hold z;
* `majority`: by whether z is in fewer than half of all sets that make them independent (Colombo & Maathuis 2014).

Where only sets of more than `HELD` variables make x and y independent, all judge by those that removed the edge.
"""

from math import comb
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from bayesalloc.discovery.independence import Independence, score_of
from bayesalloc.discovery.knowledge import NO_TIER, Knowledge
from bayesalloc.discovery.skeleton import EACH, MOST, Skeleton, choices, parts

Rule = Literal["maxp", "sepset", "majority"]

HELD = 4  # most variables held fixed where all sets of neighbours are judged


class Colliders(NamedTuple):
    """The colliders that a rule finds, a place for each; the same in whatever order the variables stand.

    Attributes:
        sample: where.
        one: a cause, before `other` in the order of the variables.
        middle: what both cause.
        other: the other cause.
        strength: how much less independent the two are with `middle` held fixed than without, in scores; by `sepset`
            how little they are so with it.
        tests: how many tests that took.
    """

    sample: Int[np.ndarray, " collider"]
    one: Int[np.ndarray, " collider"]
    middle: Int[np.ndarray, " collider"]
    other: Int[np.ndarray, " collider"]
    strength: Float[np.ndarray, " collider"]
    tests: int


class _Survey(NamedTuple):
    """What all sets of neighbours say of each triple.

    Attributes:
        without: the largest score of a set without the middle.
        within: of one with it.
        votes: sets that make the two independent: with the middle less those without it.
        tests: how many were made.
    """

    without: Float[np.ndarray, " triple"]
    within: Float[np.ndarray, " triple"]
    votes: Int[np.ndarray, " triple"]
    tests: int


def colliders(
    test: Independence, found: Skeleton, alpha: float, knowledge: Knowledge, rule: Rule = "maxp", held: int = HELD
) -> Colliders:
    """The colliders of each sample's skeleton.

    A pair that knowledge keeps apart was not tested, so it makes none; nor is there one where knowledge has z cause x.

    Args:
        test: of independence, in the same samples.
        found: their skeletons.
        alpha: as there.
        knowledge: what binds the search.
        rule: how they are judged.
        held: the largest number of variables held fixed by the rules that judge all sets.
    """
    against = knowledge.forbidden  # [x, z]: x does not cause z
    apart = ~found.joined & knowledge.possible
    sample, middle, one = np.nonzero(found.joined & ~against.T)
    triple, other = np.nonzero(found.joined[sample, middle] & ~against.T[middle] & apart[sample, one])
    triple, other = triple[other > one[triple]], other[other > one[triple]]
    sample, middle, one = sample[triple], middle[triple], one[triple]
    if rule == "sepset":
        keep = ~found.separated[sample, one, other, middle]
        sample, one, middle, other = sample[keep], one[keep], middle[keep], other[keep]
        score = _with_middle(test, found.separated[sample, one, other], sample, one, middle, other)
        return Colliders(sample, one, middle, other, -score, len(score))
    survey = _surveyed(test, found.joined, alpha, knowledge.tier, (sample, one, middle, other), min(held, test.most))
    judged = survey.without > survey.within if rule == "maxp" else survey.votes < 0
    small = np.maximum(survey.without, survey.within) > score_of(alpha)
    keep = np.where(small, judged, ~found.separated[sample, one, other, middle])
    low = np.nextafter(-np.inf, 0.0)  # a difference of what is never found independent
    strength = np.maximum(survey.without, low) - np.maximum(survey.within, low)
    return Colliders(sample[keep], one[keep], middle[keep], other[keep], strength[keep], survey.tests)


def _with_middle(
    test: Independence,
    separating: np.ndarray,
    sample: np.ndarray,
    one: np.ndarray,
    middle: np.ndarray,
    other: np.ndarray,
) -> Float[np.ndarray, " triple"]:
    """Scores of the pairs where the middle is held fixed beside what separated them, so far as rows allow."""
    held = separating.copy()
    held[np.arange(len(middle)), middle] = True
    size, score = held.sum(1), np.full(len(middle), -np.inf)
    for count in np.unique(size):
        if count <= test.most:
            rows = np.flatnonzero(size == count)
            given = np.nonzero(held[rows])[1].reshape(-1, count).T
            score[rows] = test.scores(sample[rows], one[rows], other[None, rows], given)[0]
    return score


def _surveyed(
    test: Independence,
    joined: Bool[np.ndarray, "sample node node"],
    alpha: float,
    tier: Int[np.ndarray, " node"],
    triples: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    most: int,
) -> _Survey:
    """Tests of all unjoined pairs of the triples, given each set of neighbours of one of them, up to a size."""
    sample, one, middle, other = triples
    samples, count = test.shape
    pair = np.unique(np.stack([sample, one, other], axis=1), axis=0)
    place = np.full((samples, count, count), -1)
    place[tuple(pair.T)] = np.arange(len(pair))
    without, within = (np.full((len(pair), count), -np.inf) for _ in range(2))
    votes = np.zeros((len(pair), count), np.int64)
    threshold, tests = float(score_of(alpha)), 0
    until = np.where(tier == NO_TIER, len(tier), tier)
    degree = joined.sum(2)
    both = np.concatenate([pair, pair[:, [0, 2, 1]]])
    number = np.tile(np.arange(len(pair)), 2)
    width = degree[both[:, 0], both[:, 1]]
    while most > 1 and sum(comb(int(d), k) for d in width for k in range(most + 1)) > max(MOST, EACH * samples):
        most -= 1
    for neighbours in np.unique(width):
        rows = np.flatnonzero(width == neighbours)
        around = np.nonzero(joined[both[rows, 0], both[rows, 1]])[1].reshape(-1, neighbours)
        for size in range(min(int(neighbours), most) + 1):
            chosen, _ = choices(int(neighbours), size)
            inside = np.zeros((len(chosen), int(neighbours)), bool)
            inside[np.arange(len(chosen))[:, None], chosen] = True
            for part, these in parts(len(rows), len(chosen), int(neighbours)):
                held, now = inside[None, part], rows[these]
                times = held.shape[1]
                s, x, y = np.repeat(both[now], times, axis=0).T
                given = around[these][:, chosen[part]].reshape(len(s), size).T
                score = test.scores(s, x, y[None], given)[0]
                tests += len(score)
                if size:
                    score[tier[given].max(0) > np.maximum(until[x], until[y])] = -np.inf
                score = score.reshape(-1, times)
                where = number[now, None], around[these]
                # A pair may stand here twice, by the neighbours of each of the two.
                np.maximum.at(within, where, np.where(held, score[:, :, None], -np.inf).max(1))
                np.maximum.at(without, where, np.where(held, -np.inf, score[:, :, None]).max(1))
                alike = score > threshold
                np.add.at(votes, where, 2 * (alike @ held[0].astype(np.int64)) - alike.sum(1)[:, None])
    at = place[sample, one, other]
    return _Survey(without[at, middle], within[at, middle], votes[at, middle], tests)
