"""Correlations of a table with gaps, and how many rows they stand on; of many resampled tables at once."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from bayesalloc.discovery.books import LEAST_ROWS
from bayesalloc.errors import InputError
from bayesalloc.threads import one_thread

Missing = Literal["pairwise", "complete", "em"]

FLOOR = 1e-3  # smallest eigenvalue that a repaired correlation matrix has
STEPS, SETTLED = 100, 1e-5  # of expectation and maximisation


class Moments(NamedTuple):
    """What a test of normal variables needs to know of a table, or of each of many.

    Attributes:
        correlation: positive semidefinite, with ones on its diagonal.
        rows: how many rows each pair's correlation stands on.
    """

    correlation: Float[np.ndarray, "sample node node"]
    rows: Float[np.ndarray, "sample node node"]


@one_thread
def moments(
    values: Float[np.ndarray, "row node"],
    missing: Missing = "pairwise",
    weights: Float[np.ndarray, "sample row"] | None = None,
) -> Moments:
    """Correlations of a table whose gaps are NaN.

    Args:
        values: the table; no column may be constant.
        missing: `pairwise` takes for each pair the rows that have both, and repairs the matrix where it could not be
            one of correlations; `complete` takes the rows without a gap; `em` is the maximum of the likelihood of all
            cells, if variables are normal and gaps depend on nothing that is missing.
        weights: how often each row counts, in each of many resampled tables; by default once, in one.

    Raises:
        InputError: for `complete`, where hardly a row is.

    >>> x = np.random.default_rng(0).normal(size=50)
    >>> found = moments(np.stack([x, -2 * x, np.where(x > 0, x, np.nan)], axis=1))
    >>> found.correlation[0, 0].round(2).tolist()[:2], found.rows[0, 0, 1]
    ([1.0, -1.0], np.float64(50.0))
    """
    weights = np.ones((1, len(values))) if weights is None else weights
    gaps = np.isnan(values)
    whole = ~gaps.any(1)
    if missing == "complete" and whole.sum() < LEAST_ROWS:
        raise InputError(f"missing is 'complete', and {whole.sum()} rows have no gap; it takes {LEAST_ROWS} at least")
    if missing == "complete" or whole.all():
        return _complete(values[whole], weights[:, whole])
    found = _pairwise(values, ~gaps, weights)
    if missing == "pairwise":
        return found
    values = (values - np.nanmean(values, 0)) / np.nanstd(values, 0)
    correlation = [_em(values, each, begun) for each, begun in zip(weights, found.correlation, strict=True)]
    return found._replace(correlation=np.stack(correlation))


def _complete(values: np.ndarray, weights: np.ndarray) -> Moments:
    centred = values - values.mean(0)
    made = np.empty((len(weights), values.shape[1], values.shape[1]))
    for each, weight in zip(made, weights, strict=True):
        weighted, total = centred * weight[:, None], max(weight.sum(), 1.0)
        mean = weighted.sum(0) / total
        each[:] = weighted.T @ centred / total - np.outer(mean, mean)
    rows = np.broadcast_to(weights.sum(1)[:, None, None], made.shape)
    return Moments(_scaled(made), np.ascontiguousarray(rows))


def _pairwise(values: np.ndarray, there: np.ndarray, weights: np.ndarray) -> Moments:
    mask = there.astype(float)
    filled = np.where(there, values, 0.0)
    filled = np.where(there, values - filled.sum(0) / mask.sum(0), 0.0)
    filled /= np.sqrt((filled**2).sum(0) / mask.sum(0))
    square = filled**2
    shape = (len(weights), values.shape[1], values.shape[1])
    correlation, rows = np.empty(shape), np.empty(shape)
    for sample, weight in enumerate(weights):
        weighted = mask * weight[:, None]
        n = weighted.T @ mask
        rows[sample] = n
        some = np.maximum(n, 1.0)
        mean = (filled * weight[:, None]).T @ mask / some  # [i, j]: of i, in rows that have j
        spread = (square * weight[:, None]).T @ mask / some - mean**2
        cross = (filled * weight[:, None]).T @ filled / some - mean * mean.T
        scale = np.sqrt(np.maximum(spread * spread.T, 1e-12))
        correlation[sample] = np.where(n > 3, np.clip(cross / scale, -1.0, 1.0), 0.0)
    return Moments(_repaired(correlation), rows)


def _repaired(correlation: Float[np.ndarray, "sample node node"]) -> Float[np.ndarray, "sample node node"]:
    """The same, with eigenvalues of at least `FLOOR` where one was smaller."""
    values, vectors = np.linalg.eigh(correlation)
    bad = values[:, 0] < FLOOR
    raised = vectors[bad] * np.maximum(values[bad], FLOOR)[:, None, :] @ vectors[bad].swapaxes(1, 2)
    correlation[bad] = _scaled(raised)
    return correlation


def _scaled(covariance: np.ndarray) -> np.ndarray:
    """Correlations; of a column that does not vary in a sample, none."""
    spread = np.sqrt(np.maximum(np.diagonal(covariance, axis1=-2, axis2=-1), 0.0))
    inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    found = covariance * inverse[..., :, None] * inverse[..., None, :]
    np.einsum("...ii->...i", found)[:] = 1.0
    return found


def _em(values: np.ndarray, weights: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """The correlation matrix of the most likely normal distribution, from a first guess."""
    rows = weights > 0
    values, weights = values[rows], weights[rows]
    there = ~np.isnan(values)
    patterns, which = np.unique(there, axis=0, return_inverse=True)
    groups = [np.flatnonzero(which.reshape(-1) == k) for k in range(len(patterns))]
    mean, covariance = np.zeros(values.shape[1]), correlation.copy()
    for _ in range(STEPS):
        filled, spread = np.where(there, values, 0.0), np.zeros_like(covariance)
        for seen, group in zip(patterns, groups, strict=True):
            if seen.all():
                continue
            known, hidden = np.flatnonzero(seen), np.flatnonzero(~seen)
            slope = np.linalg.lstsq(covariance[np.ix_(known, known)], covariance[np.ix_(known, hidden)], rcond=None)[0]
            guess = mean[hidden] + (values[np.ix_(group, known)] - mean[known]) @ slope
            filled[np.ix_(group, hidden)] = guess
            left = covariance[np.ix_(hidden, hidden)] - covariance[np.ix_(hidden, known)] @ slope
            spread[np.ix_(hidden, hidden)] += weights[group].sum() * left
        mean = weights @ filled / weights.sum()
        centred = filled - mean
        before, covariance = covariance, ((centred * weights[:, None]).T @ centred + spread) / weights.sum()
        if np.abs(covariance - before).max() < SETTLED:
            break
    return _scaled(covariance)
