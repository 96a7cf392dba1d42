"""Whether two variables are independent once others are held fixed: many such tests at once, as array work.

A test answers with a score: the standard normal deviate whose two-sided probability is the p-value, with a minus sign,
so that p = 2 Phi(score). It orders tests also where p-values are too small to be told apart from 0.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import special

from bayesalloc.discovery.moments import Moments

DETERMINED = 1e-9  # share of a variable's spread that others leave it, below which they say all that it says
DENSE = 1_000_000  # cells of a table of counts that is filled as it stands


@runtime_checkable
class Independence(Protocol):
    """A test of independence in some samples of the same variables.

    Attributes:
        shape: samples and variables.
        most: the largest number of variables that may be held fixed.
    """

    shape: tuple[int, int]
    most: int

    def scores(
        self,
        sample: Int[np.ndarray, " case"],
        one: Int[np.ndarray, " case"],
        others: Int[np.ndarray, "other case"],
        given: Int[np.ndarray, "held case"],
    ) -> Float[np.ndarray, "other case"]:
        """Scores of `one` against each of `others`, given the same variables; minus infinity where none can be told."""
        ...


def score_of(probability: float | np.ndarray) -> np.ndarray:
    """The score of a p-value; 0 of 1."""
    return np.asarray(special.ndtri(np.asarray(probability) / 2))


def probability_of(score: float | np.ndarray) -> np.ndarray:
    """The p-value of a score.

    >>> round(float(probability_of(score_of(0.01))), 6)
    0.01
    """
    return np.asarray(2 * special.ndtr(score))


class Gaussian:
    """Partial correlations by Fisher's z: sqrt(n - held - 3) artanh |r| is a standard normal deviate, in float64.

    r is what is left of a correlation matrix's entries by Schur complements, one held variable after the other, in all
    cases at once. Where pairs stand on different numbers of rows, a test has as many as the pair in it with fewest.
    """

    def __init__(self, found: Moments) -> None:
        self.correlation, self.rows = found
        self.shape = self.correlation.shape[:2]
        self.one_size = bool((self.rows == self.rows[:, :1, :1]).all())
        self.most = max(int(self.rows.max(initial=0.0)) - 4, 0)

    def scores(
        self,
        sample: Int[np.ndarray, " case"],
        one: Int[np.ndarray, " case"],
        others: Int[np.ndarray, "other case"],
        given: Int[np.ndarray, "held case"],
    ) -> Float[np.ndarray, "other case"]:
        """See `Independence`."""
        held, width = len(given), self.shape[1]
        rows = np.concatenate([given, one[None]])
        columns = np.concatenate([rows, others])
        places = (sample * width + rows) * width + columns[:, None]  # [column, row, case]
        block = self.correlation.reshape(-1).take(places)
        left = np.ones(others.shape)
        fine = np.ones(one.shape, bool)
        for k in range(held):
            pivot = block[k, k]
            fine &= pivot > DETERMINED
            scaled = block[k + 1 :, k] / np.where(fine, pivot, 1.0)
            left -= scaled[held - k :] * block[held + 1 :, k]
            block[k + 1 :, k + 1 :] -= scaled[:, None] * block[k + 1 : held + 1, k]
        own = block[held, held]
        fine = fine & (own > DETERMINED) & (left > DETERMINED)
        share = block[held + 1 :, held] / np.sqrt(np.where(fine, own * left, 1.0))
        size = self.rows[sample, 0, 0] if self.one_size else self._sizes(places, held)
        free = size - held - 3
        told = free > 0
        deviate = np.arctanh(np.minimum(np.abs(share), 1 - 1e-15)) * np.sqrt(np.maximum(free, 0.0))
        if not held:  # too few rows say of no two variables that they go together
            return np.where(told, np.where(fine, -deviate, -np.inf), 0.0)
        return np.where(fine & told, -deviate, -np.inf)

    def _sizes(self, places: np.ndarray, held: int) -> np.ndarray:
        """Rows of the pair with fewest: among what is tested, and between it and what is held."""
        rows = self.rows.reshape(-1)
        found = rows.take(places[held + 1 :]).min(1)
        return np.minimum(found, rows.take(places[:held, held]).min(0)) if held else found


class Discrete:
    """The likelihood-ratio test of labels, G2, whose degrees of freedom leave out rows and columns without a count.

    G2 = 2 sum O log(O / E), over the tables of two variables, one for each value of those held fixed. Rows with a gap
    in one of them are left out. Where no degree of freedom is left, nothing speaks against independence.
    """

    def __init__(self, values: Float[np.ndarray, "row node"], weights: Float[np.ndarray, "sample row"] | None) -> None:
        self.weights = np.ones((1, len(values))) if weights is None else weights
        self.gaps = np.isnan(values).T.copy()
        self.codes = np.where(self.gaps, 0, values.T).astype(np.int64)  # [node, row]
        self.levels = self.codes.max(1) + 1
        self.shape = len(self.weights), len(self.codes)
        self.most = len(self.codes)

    def scores(
        self,
        sample: Int[np.ndarray, " case"],
        one: Int[np.ndarray, " case"],
        others: Int[np.ndarray, "other case"],
        given: Int[np.ndarray, "held case"],
    ) -> Float[np.ndarray, "other case"]:
        """See `Independence`."""
        found, freedom = np.empty(others.shape), np.empty(others.shape)
        some_gap = self.gaps.any()
        for case, (drawn, x) in enumerate(zip(sample, one, strict=True)):
            held, layers = self._layers(given[:, case])
            weights = self.weights[drawn]
            stem = (held * self.levels[x] + self.codes[x]) if layers else self.codes[x]
            out = self.gaps[given[:, case]].any(0) | self.gaps[x] if some_gap else None
            for place, y in enumerate(others[:, case]):
                kept = weights if out is None else np.where(out | self.gaps[y], 0.0, weights)
                size = (layers, int(self.levels[x]), int(self.levels[y]))
                counts = np.bincount(stem * size[2] + self.codes[y], kept, minlength=int(np.prod(size)))
                found[place, case], freedom[place, case] = _ratio(counts.reshape(size))
        return _chi_square_score(found, freedom)

    def _layers(self, given: np.ndarray) -> tuple[np.ndarray, int]:
        """Each row's value of what is held fixed, and how many there are."""
        held = np.zeros(self.codes.shape[1], np.int64)
        layers = 1
        for k in given:
            held = held * self.levels[k] + self.codes[k]
            layers *= int(self.levels[k])
            if layers > DENSE // 2500:
                there, held = np.unique(held, return_inverse=True)
                layers = len(there)
        return held, layers


def _ratio(counts: Float[np.ndarray, "layer one other"]) -> tuple[float, float]:
    one, other = counts.sum(2), counts.sum(1)
    layer = one.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = counts * np.log(counts * layer[:, None, None] / (one[:, :, None] * other[:, None, :]))
    freedom = np.maximum((one > 0).sum(1) - 1, 0) @ np.maximum((other > 0).sum(1) - 1, 0)
    return 2 * float(terms[counts > 0].sum()), float(freedom)


def _chi_square_score(statistic: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """The score of a chi-square variable; far out, where float64 has no such probability, by its tail's first term."""
    half, shape = np.maximum(statistic, 0.0) / 2, np.maximum(freedom, 1.0) / 2
    upper = special.gammaincc(shape, half)
    with np.errstate(divide="ignore", invalid="ignore"):
        tail = (shape - 1) * np.log(half) - half - special.gammaln(shape)
        exponent = np.where(upper > 1e-290, np.log(upper), tail)
    return np.where(freedom > 0, special.ndtri_exp(exponent - np.log(2.0)), 0.0)


class Oracle:
    """Independence as an acyclic directed graph has it, by d-separation: what can be found at all."""

    def __init__(self, arrows: Bool[np.ndarray, "node node"]) -> None:
        self.parents = [np.flatnonzero(column).tolist() for column in arrows.T]
        self.children = [np.flatnonzero(row).tolist() for row in arrows]
        self.shape = (1, len(arrows))
        self.most = len(arrows)
        self._reached: dict[tuple[int, frozenset[int]], np.ndarray] = {}

    def scores(
        self,
        sample: Int[np.ndarray, " case"],
        one: Int[np.ndarray, " case"],
        others: Int[np.ndarray, "other case"],
        given: Int[np.ndarray, "held case"],
    ) -> Float[np.ndarray, "other case"]:
        """See `Independence`: 0 where the graph separates the two, else minus infinity."""
        del sample
        reached = [
            self._from(int(x), frozenset(held.tolist()))[y] for x, held, y in zip(one, given.T, others.T, strict=True)
        ]
        return np.where(np.array(reached).reshape(others.shape[::-1]).T, -np.inf, 0.0)

    def _from(self, start: int, held: frozenset[int]) -> np.ndarray:
        """What an open path leads to: along arrows and against them, through a collider only above what is held."""
        if (start, held) not in self._reached:
            above, stack = set(), list(held)
            while stack:
                node = stack.pop()
                if node not in above:
                    above.add(node)
                    stack += self.parents[node]
            seen, stack = set(), [(start, True)]  # whether it is entered from below
            while stack:
                node, upwards = stack.pop()
                if (node, upwards) in seen:
                    continue
                seen.add((node, upwards))
                if upwards and node not in held:
                    stack += [(parent, True) for parent in self.parents[node]]
                if node not in held:
                    stack += [(child, False) for child in self.children[node]]
                if not upwards and node in above:
                    stack += [(parent, True) for parent in self.parents[node]]
            reached = np.zeros(self.shape[1], bool)
            reached[[node for node, _ in seen if node not in held]] = True
            self._reached[start, held] = reached
        return self._reached[start, held]
