"""How far estimates, projects and reports spread: the standard deviations of the structured impact function, learned.

The most probable ones are the mode of their posterior on the log scale, where the mode of a half-normal prior stands at
its scale, and not at zero: so nothing is pooled away before there is evidence. How uncertain they are is kept as a few
points of equal weight, drawn around the mode by importance resampling: without them, intervals are far too narrow
before reports have shown how much estimates err.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import minimize

from bayesalloc.impact.structured import Belief, Prior, Reports, Spreads, believe, groups_in, strengths
from bayesalloc.impact.totals import Total, stacked, with_totals

# Scale of each half-normal prior, on the log scale of impact.
SCALES = Spreads(*map(float, (1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.2)))  # pyright: ignore[reportArgumentType] plain numbers
NARROWEST, WIDEST = 1e-3, 10.0
POINTS, PROPOSED = 8, 32  # points kept, and points that they are chosen from
WIDER = 1.2  # spread of the proposals, in those of the normal at the mode
DIGITS = 3  # of logarithms that are kept: the same table in another unit is to give the same spreads
LINEARISED = 2  # times that spill-overs are linearised around their estimate at the spreads found so far
LEAST_CURVED = 1.0  # a direction of which nothing is known is as wide as its prior


def log_density(
    log_spreads: Float[Array, " spread"],
    prior: Prior,
    reports: Reports,
    n_kinds: int,
    n_regions: int,
    totals: Total | None = None,
    n_groups: tuple[int, int] | None = None,
    around: Float[Array, " kind"] | None = None,
) -> Array:
    """Log posterior density of the logarithms of the spreads, up to a constant; see `structured.believe`."""
    spreads = jnp.exp(log_spreads)
    belief = _believe(prior, reports, totals, Spreads(*spreads), n_kinds, n_regions, n_groups, around)
    halves = -0.5 * (spreads / jnp.array(SCALES)) ** 2 + log_spreads
    return belief.log_evidence + halves.sum()


@partial(jax.jit, static_argnums=(3, 4, 6))
def _descent(log_spreads: Array, *given: Any) -> tuple[Array, Array]:
    return jax.value_and_grad(lambda at: -log_density(at, *given))(log_spreads)


class Learned(NamedTuple):
    """What is known of the spreads.

    Attributes:
        mode: the most probable ones.
        points: some of equal weight, on a leading axis.
    """

    mode: Spreads
    points: Spreads


def learned(
    prior: Prior,
    reports: Reports,
    n_kinds: int,
    n_regions: int,
    start: Spreads | None = None,
    totals: Sequence[Total] = (),
) -> Learned:
    """The posterior of the spreads.

    Args:
        prior: the projects.
        reports: what has been reported.
        n_kinds: number of kinds of spill-overs.
        n_regions: number of regions.
        start: where to begin the search; default: the priors' scales.
        totals: what was reported of all projects together.
    """
    given = (prior, reports, n_kinds, n_regions, stacked(totals), groups_in(prior))
    around = jnp.zeros(n_kinds)

    def descent(at: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _descent(jnp.asarray(at), *given, around)
        return float(value), np.asarray(slope, float)

    mode = np.log(np.array(SCALES if start is None else start, float))
    bounds = [(np.log(NARROWEST), np.log(WIDEST))] * len(mode)
    options = {"maxiter": 60, "ftol": 1e-12}
    for _ in range(LINEARISED):
        around = _strengths(jnp.asarray(mode), *given)
        mode = minimize(descent, mode, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    mode = mode.round(DIGITS)
    step = 1e-3 * np.eye(len(mode))
    curvature = np.array([(descent(mode + each)[1] - descent(mode - each)[1]) / 2e-3 for each in step])
    values, axes = np.linalg.eigh((curvature + curvature.T) / 2)
    # The symmetric root: where curvatures are alike, single axes are of any direction, by the last digit.
    root = WIDER * (axes / np.sqrt(np.maximum(values, LEAST_CURVED))) @ axes.T
    draws = np.random.default_rng(0)
    half = draws.normal(size=(PROPOSED // 2, len(mode)))
    normals = np.concatenate([half, -half])
    proposed = np.clip(mode + normals @ root, *bounds[0]).round(DIGITS)
    density = _densities(jnp.asarray(proposed), *given, around)
    weight = np.asarray(density) + 0.5 * (normals**2).sum(1)
    weight = np.exp(weight - weight.max())
    places = (np.arange(POINTS) + 0.5) / POINTS
    chosen = proposed[np.searchsorted(np.cumsum(weight) / weight.sum(), places)]
    return Learned(*(Spreads(*map(jnp.asarray, np.exp(each).T)) for each in (mode, chosen)))


@partial(jax.jit, static_argnums=(3, 4, 6))
def _strengths(at: Array, prior: Prior, reports: Reports, n_kinds: int, n_regions: int, *given: Any) -> Array:
    return strengths(_believe(prior, reports, given[0], Spreads(*jnp.exp(at)), n_kinds, n_regions, given[1]), n_kinds)


@partial(jax.jit, static_argnums=(3, 4, 6))
def _densities(at: Array, *given: Any) -> Array:
    return jax.lax.map(lambda each: log_density(each, *given), at)


def belief(
    prior: Prior, reports: Reports, totals: Sequence[Total], spreads: Spreads, n_kinds: int, n_regions: int
) -> Belief:
    """What is believed after the reports of projects, and after totals."""
    return _believe(prior, reports, stacked(totals), spreads, n_kinds, n_regions, groups_in(prior))


@partial(jax.jit, static_argnums=(4, 5, 6))
def _believe(
    prior: Prior,
    reports: Reports,
    totals: Total | None,
    spreads: Spreads,
    n_kinds: int,
    n_regions: int,
    n_groups: tuple[int, int] | None,
    around: Array | None = None,
) -> Belief:
    found = believe(prior, reports, spreads, n_kinds, n_regions, n_groups, around)
    return found if totals is None else with_totals(found, prior, spreads, totals, n_kinds)
