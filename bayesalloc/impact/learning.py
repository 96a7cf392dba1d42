"""How far estimates, projects and reports spread: the standard deviations of the structured impact function, learned.

They are the mode of their posterior on the log scale, where the mode of a half-normal prior stands at its scale, and
not at zero: so nothing is pooled away before there is evidence.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import minimize

from bayesalloc.impact.structured import Belief, Prior, Reports, Spreads, believe
from bayesalloc.impact.totals import with_total

# Scale of each half-normal prior, on the log scale of impact.
SCALES = Spreads(*map(float, (1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.2)))  # pyright: ignore[reportArgumentType] plain numbers
NARROWEST, WIDEST = 1e-3, 10.0


def log_density(
    log_spreads: Float[Array, " spread"], prior: Prior, reports: Reports, n_kinds: int, n_regions: int
) -> Array:
    """Log posterior density of the logarithms of the spreads, up to a constant."""
    spreads = jnp.exp(log_spreads)
    belief = believe(prior, reports, Spreads(*spreads), n_kinds, n_regions)
    halves = -0.5 * (spreads / jnp.array(SCALES)) ** 2 + log_spreads
    return belief.log_evidence + halves.sum()


@partial(jax.jit, static_argnums=(3, 4))
def _descent(log_spreads: Array, prior: Prior, reports: Reports, n_kinds: int, n_regions: int) -> tuple[Array, Array]:
    return jax.value_and_grad(lambda at: -log_density(at, prior, reports, n_kinds, n_regions))(log_spreads)


def learned(prior: Prior, reports: Reports, n_kinds: int, n_regions: int, start: Spreads | None = None) -> Spreads:
    """The most probable spreads.

    Args:
        prior: the projects.
        reports: what has been reported.
        n_kinds: number of kinds of spill-overs.
        n_regions: number of regions.
        start: where to begin the search; default: the priors' scales.
    """
    from_scales = np.log(np.array(SCALES if start is None else start, float))

    def descent(at: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _descent(jnp.asarray(at), prior, reports, n_kinds, n_regions)
        return float(value), np.asarray(slope, float)

    bounds = [(np.log(NARROWEST), np.log(WIDEST))] * len(from_scales)
    found = minimize(descent, from_scales, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 60})
    return Spreads(*(jnp.asarray(value) for value in np.exp(found.x)))


class Total(NamedTuple):
    """What was reported of all projects together: amounts in budgets, the logarithm of the impact, and its error.

    `error` is its standard deviation on the log scale; NaN where unknown.
    """

    amount: Float[Array, " project"]
    log_impact: Float[Array, ""]
    error: Float[Array, ""]


def belief(
    prior: Prior, reports: Reports, totals: Sequence[Total], spreads: Spreads, n_kinds: int, n_regions: int
) -> Belief:
    """What is believed after the reports of projects and after totals, one after another."""
    found = _believe(prior, reports, spreads, n_kinds, n_regions)
    for total in totals:
        found = _with_total(found, prior, spreads, *total, n_kinds)
    return found


_believe = jax.jit(believe, static_argnums=(3, 4))
_with_total = jax.jit(with_total, static_argnums=6)
