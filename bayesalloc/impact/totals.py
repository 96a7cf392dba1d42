"""Learning from a total: which projects made it is unknown, but the posterior knows what each was likely to add."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bayesalloc.impact.structured import KNOTS, ROOM_ERROR, Belief, Prior, Spreads, basis, reached


def with_total(
    belief: Belief,
    prior: Prior,
    spreads: Spreads,
    amount: Float[Array, " project"],
    log_total: Float[Array, ""],
    error: Float[Array, ""],
    n_kinds: int,
) -> Belief:
    """The posterior after the total of a round was reported, by moment matching.

    The impacts of projects are jointly log-normal, eta = log y ~ N(m, V). Their sum I is taken to be log-normal with
    the sum's own mean and variance (Fenton 1960), and Cov(beta, log I) = Cov(beta, I) / E I, which is exact for
    log-normal sums. That is the same as observing the mean of the eta, weighted by E y / E I, with the rest of
    Var log I as noise; to which comes the noise of reports, averaged by the same weights, and their shocks.

    Args:
        belief: before.
        prior: the projects.
        spreads: see there.
        amount: x, in budgets.
        log_total: logarithm of the total.
        error: standard deviation of its own error, log scale; NaN: as that of projects' reports.
        n_kinds: number of kinds of spill-overs.
    """
    n, latents = len(prior.room), len(belief.mean)
    ratio = amount / prior.room
    funded = amount > 0
    growth = jnp.where(funded, jnp.log1p(ratio), 1.0)
    slope = jnp.where(funded, 1.0 - ratio / ((1.0 + ratio) * growth), 0.0)
    touched = reached(amount, prior.room, prior.edges, n_kinds)
    kinds, weights = latents - n_kinds - len(KNOTS), latents - len(KNOTS)  # where each part of the mean begins
    strength = belief.mean[kinds:weights]
    factor = jnp.maximum(1.0 + touched @ strength, 0.1)
    design = jnp.concatenate(
        [
            jnp.eye(n),
            jnp.zeros((n, kinds - n)),
            touched / factor[:, None],
            basis(jnp.log1p(ratio)),
        ],
        1,
    )
    offset = jnp.log(prior.room * growth) + jnp.log(factor) - touched @ strength / factor
    covariance = jax.scipy.linalg.cho_solve((belief.root, False), design.T)
    between = design @ covariance + jnp.diag((slope * ROOM_ERROR) ** 2)
    mean = offset + design @ belief.mean
    expected = jnp.where(funded, jnp.exp(mean + 0.5 * jnp.diag(between)), 0.0)
    total = expected.sum()
    weight = expected / total
    variance = jnp.log1p(weight @ jnp.expm1(between) @ weight)
    centre = jnp.log(total) - 0.5 * variance
    reports = jnp.where(jnp.isnan(error), spreads.noise * jnp.sqrt(weight @ weight), jnp.nan_to_num(error))
    seen = weight @ design
    spread = seen @ covariance @ weight
    noise = jnp.maximum(variance - spread, 0.0) + reports**2 + 0.5 * spreads.shock**2 * (1.0 + weight @ weight)
    gain = covariance @ weight / (spread + noise)
    precision = belief.root.T @ belief.root + jnp.outer(seen, seen) / noise
    return belief._replace(
        mean=belief.mean + gain * (log_total - centre), root=jnp.linalg.cholesky(precision, upper=True)
    )
