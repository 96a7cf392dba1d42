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
        root: L of the draws mean + L z sqrt(residual freedom / chi^2), with z normal, and chi^2 of `freedom`.
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
    kept = values > 1e-9 * max(values[-1], 1e-300)
    half = vectors[:, kept] / np.sqrt(values[kept])
    towards = correlation[at]
    mean = half @ (half.T @ towards)
    count = np.minimum(rows[np.ix_(at, at)].min(), rows[at].min(0))
    freedom = count - kept.sum() - 1.0
    left = np.maximum(1.0 - (towards * mean).sum(0), 0.0)
    residual = np.divide(left, freedom, out=np.full_like(left, np.nan), where=freedom > 0)
    mean[:, at] = np.nan
    return Slopes(mean, half, residual, freedom)


def drawn(found: Slopes, count: int, rng: np.random.Generator) -> Float[np.ndarray, "draw regressor node"]:
    """Draws of all slopes on every variable; of several variables they are independent of each other.

    Args:
        found: the posterior.
        count: how many draws.
        rng: their source.
    """
    nodes = len(found.freedom)
    normal = rng.normal(size=(count, found.root.shape[1], nodes))
    chi = rng.chisquare(np.where(found.freedom > 0, found.freedom, np.nan), (count, nodes))
    scale = np.sqrt(found.residual * found.freedom / chi)
    return found.mean + np.einsum("kr,drn->dkn", found.root, normal) * scale[:, None]
