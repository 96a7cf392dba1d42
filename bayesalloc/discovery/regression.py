"""Linear regression from correlations: the posterior of slopes, for many outcomes at once.

With the prior 1 / sigma^2 of an intercept, slopes and the variance, slopes have Student's t distribution around their
least squares estimate, with as many degrees of freedom as there are rows more than coefficients.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bayesalloc.discovery.moments import Moments


class Slopes(NamedTuple):
    """The posterior of slopes on some regressors, of every variable; standardised.

    Attributes:
        mean: NaN of the regressors themselves.
        root: L of the covariance residual L L^T of the t distribution.
        residual: variance that is left, over `freedom`.
        freedom: degrees of freedom; where they are not positive, nothing can be told.
    """

    mean: Float[np.ndarray, "regressor node"]
    root: Float[np.ndarray, "regressor rank"]
    residual: Float[np.ndarray, " node"]
    freedom: Float[np.ndarray, " node"]


def slopes(moments: Moments, regressors: Sequence[int], sample: int = 0) -> Slopes:
    """Regress every variable on some of them.

    A combination of regressors that does not vary is left at nothing, as where all budgets add up to a constant.

    Args:
        moments: of the table; each regression counts the rows of its scarcest pair.
        regressors: their places.
        sample: which of the resampled tables.
    """
    at = list(regressors)
    correlation, rows = moments.correlation[sample], moments.rows[sample]
    values, vectors = np.linalg.eigh(correlation[np.ix_(at, at)])
    kept = values > 1e-9 * values.max(initial=1e-300)
    half = vectors[:, kept] / np.sqrt(values[kept])
    towards = correlation[at]
    mean = half @ (half.T @ towards)
    count = rows[at].min(0, initial=np.inf)
    count = np.minimum(np.minimum(count, rows[np.ix_(at, at)].min(initial=np.inf)), rows.diagonal())
    freedom = count - kept.sum() - 1.0
    left = np.maximum(1.0 - (towards * mean).sum(0), 0.0)
    residual = np.divide(left, freedom, out=np.full_like(left, np.nan), where=freedom > 0)
    mean[:, at] = np.nan
    return Slopes(mean, half, residual, freedom)


def drawn(found: Slopes, count: int, rng: np.random.Generator) -> Float[np.ndarray, "draw node regressor"]:
    """Draws of all slopes of every variable; of several variables they are independent of each other.

    Args:
        found: the posterior.
        count: how many draws; 0: the mean, once.
        rng: their source.
    """
    if not count:
        return found.mean.T[None]
    normal = rng.normal(size=(count, len(found.freedom), found.root.shape[1]))
    freedom = np.where(found.freedom > 0, found.freedom, np.nan)
    scale = np.sqrt(found.residual * freedom / rng.chisquare(freedom, (count, len(freedom))))
    return found.mean.T + scale[..., None] * (normal @ found.root.T)
