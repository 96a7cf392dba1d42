"""Learning from totals: which projects made them is unknown, but the posterior knows what each was likely to add.

Given what is believed, the impacts of projects are jointly log-normal, eta = log y ~ N(m, V). Their sum I is taken to
be log-normal with the sum's own mean and variance (Fenton 1960), and Cov(eta, log I) = Cov(eta, I) / E I, which is
exact for log-normal sums. That is the same as observing the mean of the eta, weighted by E y / E I, with the rest of
Var log I as noise; to which comes the noise of reports, averaged by the same weights, and their shocks. As a total that
surprises moves the weights, they are taken anew from the posterior they led to, a few times: all totals at once, so
that their order does not matter (iterated posterior linearisation, García-Fernández et al. 2015).
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bayesalloc.impact.structured import ROOM_ERROR, Belief, Prior, Spreads, Told, basis, moments, reached

UPDATES = 5  # of the weights
NOTHING = 1e6  # error of a total from which nothing is learned


class Total(NamedTuple):
    """What was reported of all projects together: amounts in budgets, the logarithm of the impact, and its error.

    `error` is its standard deviation on the log scale; NaN where unknown.
    """

    amount: Float[Array, "*total project"]
    log_impact: Float[Array, "*total"]
    error: Float[Array, "*total"]


def stacked(totals: Sequence[Total]) -> Total | None:
    """Totals on a leading axis, padded to a power of two of them by some that teach nothing; None: there are none."""
    if not totals:
        return None
    pads = (1 << (len(totals) - 1).bit_length()) - len(totals)
    every = [*totals, *[totals[-1]._replace(error=jnp.asarray(NOTHING))] * pads]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *every)


def with_totals(belief: Belief, prior: Prior, spreads: Spreads, totals: Total, n_kinds: int) -> Belief:
    """The posterior after the totals of some rounds were reported, by moment matching.

    Args:
        belief: before.
        prior: the projects.
        spreads: see there.
        totals: on a leading axis; an unknown error is taken as that of projects' reports.
        n_kinds: number of kinds of spill-overs.
    """
    n = len(prior.room)
    start, covariance, of_shared = moments(belief, n_kinds)

    def linear(total: Total, mean: Array, covariance: Array) -> tuple[Array, Array, Array]:
        """The weights of the unknowns in a total, what it is where they are all 0, and the variance around that."""
        ratio = total.amount / prior.room
        funded = total.amount > 0
        growth = jnp.where(funded, jnp.log1p(ratio), 1.0)
        slope = jnp.where(funded, 1.0 - ratio / ((1.0 + ratio) * growth), 0.0)
        touched = reached(total.amount, prior.room, prior.edges, n_kinds)
        spilled = touched @ mean[n : n + n_kinds]
        factor = jnp.maximum(1.0 + spilled, 0.1)
        design = jnp.concatenate([jnp.eye(n), touched / factor[:, None], basis(jnp.log1p(ratio))], 1)
        expected_log = jnp.log(prior.room * growth) + jnp.log(factor) - spilled / factor + design @ mean
        between = design @ covariance @ design.T + jnp.diag((slope * ROOM_ERROR) ** 2)
        expected = jnp.where(funded, jnp.exp(expected_log + 0.5 * jnp.diag(between)), 0.0)
        weight = expected / expected.sum()
        variance = jnp.log1p(weight @ jnp.expm1(between) @ weight)
        seen = weight @ design
        unexplained = jnp.maximum(variance - seen @ covariance @ seen, 0.0)
        of_reports = spreads.noise * jnp.sqrt(weight @ weight)
        error = jnp.where(jnp.isnan(total.error), of_reports, jnp.nan_to_num(total.error))
        noise = unexplained + error**2 + 0.5 * spreads.shock**2 * (1.0 + weight @ weight)
        return seen, jnp.log(expected.sum()) - 0.5 * variance - seen @ mean, noise

    def update(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], tuple[Told, Array]]:
        seen, constant, noise = jax.lax.map(lambda total: linear(total, *carry), totals)
        crossed = covariance @ seen.T
        joint = jnp.linalg.cholesky(seen @ crossed + jnp.diag(noise))
        gain, of_shared_gain = (
            jax.scipy.linalg.cho_solve((joint, True), each.T).T for each in (crossed, of_shared @ seen.T)
        )
        value = totals.log_impact - constant
        deviation = jax.scipy.linalg.solve_triangular(joint, value - seen @ start, lower=True)
        evidence = -0.5 * deviation @ deviation - jnp.log(jnp.diag(joint)).sum()
        mean = start + gain @ (value - seen @ start)
        return (mean, covariance - gain @ crossed.T), (Told(seen, value, noise, of_shared_gain, gain[:n]), evidence)

    (mean, _), updates = jax.lax.scan(update, (start, covariance), length=UPDATES)
    told, evidence = jax.tree.map(lambda leaf: leaf[-1], updates)
    return belief._replace(effect=mean[:n], told=told, log_evidence=belief.log_evidence + evidence)
