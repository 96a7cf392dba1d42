"""The structured impact function: what is believed of each project's effect, of its returns and of spill-overs.

The logarithm of a report of project j in a round with amounts x is

    log y_j = c_j + log(K_j v_j) + h_j kappa_j + log(1 + sum_k theta_type(k, j) z_k) + r(v_j)
              + b_j + g_region(j) + s_j + noise,   v_j = log(1 + x_j / K_j),

with c the logarithm of the effect, kappa the error of log K and h_j its slope, z_k = x_k / (x_k + K_k), theta the
strength of each type of spill-over, r a Matern-5/2 process for a curve other than assumed, b a lasting bias of the
project's reports, g and s shocks that persist, shared by a region and of the project's own. All of it is normal and
linear but for the spill-overs, which are linearised around their own estimate, so that the posterior is a normal
distribution in closed form. Estimates of effects m = c + error are shrunk: c is pooled by domain and intervention, and
the error, half of whose variance an intervention shares, is as large as reports have shown such estimates to err.

Money is in budgets: B = 1. Everything here is to be run in double precision.
"""

import math
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from bayesalloc.impact.returns import Edges, saturating

PERSISTENCE = 0.85  # of shocks, from one round to the next; between the 0.8 of a project and the 0.9 of a region
ROOM_ERROR = 0.3  # standard deviation of log K as it is seen; assumed
DOMAINS = 3.0  # standard deviation of the domains' means around the mean of all estimates, log scale: wide
STRENGTH = 0.2  # standard deviation of a spill-over's strength; the largest seen is a multiplier of 2.5 (Egger 2022)
KNOTS, LENGTH = np.array([0.15, 0.4, 0.8, 1.3, 2.0, 2.8, 3.8, 5.0]), 1.5  # of the residual, in log(1 + x / K)
NEWTON = 3  # linearisations of the spill-overs
JITTER = 1e-10


def double_precision() -> AbstractContextManager[None]:
    """A context in which JAX computes in double precision."""
    return jax.enable_x64(True)  # noqa: FBT003 the argument has no name that all versions of JAX share


class Prior(NamedTuple):
    """What is known of projects before any report, B = 1.

    Attributes:
        estimate: m, the logarithm of the estimated impact of a whole budget at the first dollar's effect.
        stated: standard deviation of its error that is stated with it; 0 where none is.
        room: K, as it is seen.
        domain, intervention, region: index of each project's.
        edges: the spill-overs.
    """

    estimate: Float[Array, " project"]
    stated: Float[Array, " project"]
    room: Float[Array, " project"]
    domain: Int[Array, " project"]
    intervention: Int[Array, " project"]
    region: Int[Array, " project"]
    edges: Edges


class Reports(NamedTuple):
    """What has been reported, by round and project.

    Attributes:
        amount: x, 0 where a project was off.
        log_impact: the logarithm of what was reported; any number where nothing was.
        error: standard deviation of the report's own error, log scale, where it is stated; NaN else.
        there: whether there is a report.
    """

    amount: Float[Array, "round project"]
    log_impact: Float[Array, "round project"]
    error: Float[Array, "round project"]
    there: Bool[Array, "round project"]


class Spreads(NamedTuple):
    """Standard deviations on the log scale, which are learned: see `bayesalloc.impact.learning`.

    Attributes:
        intervention: of interventions in a domain.
        project: of projects in an intervention.
        estimate: of the error of estimates beyond what is stated with them.
        noise: of a report.
        bias: of a project's lasting bias.
        shock: of persistent shocks, half of whose variance a region shares.
        residual: of the curve around the assumed one.
    """

    intervention: Float[Array, ""]
    project: Float[Array, ""]
    estimate: Float[Array, ""]
    noise: Float[Array, ""]
    bias: Float[Array, ""]
    shock: Float[Array, ""]
    residual: Float[Array, ""]


class Belief(NamedTuple):
    """A normal distribution of (c, theta, weights of r, mean shock of each region), and of kappa and b given them.

    Attributes:
        mean: of c, theta, r and the regions' shocks, in this order.
        root: R, upper triangular with R^T R the precision.
        own_mean, own_slope, own_root: of a project's (b, kappa) given its (c + shock, theta, r) = v: the mean is
            `own_mean` - `own_slope` v, and `own_root` the lower root of the covariance.
        log_evidence: logarithm of the density of estimates and reports.
    """

    mean: Float[Array, " latent"]
    root: Float[Array, "latent latent"]
    own_mean: Float[Array, "project 2"]
    own_slope: Float[Array, "project 2 shared"]
    own_root: Float[Array, "project 2 2"]
    log_evidence: Float[Array, ""]


class Draws(NamedTuple):
    """Draws of what impact depends on, the first axis of each field."""

    log_effect: Float[Array, "draw project"]
    room: Float[Array, "draw project"]
    strength: Float[Array, "draw kind"]
    residual: Float[Array, "draw knot"]


def _kernel(xp: Any, a: Any, b: Any) -> Any:
    d = math.sqrt(5.0) * abs(a[..., None] - b) / LENGTH
    return (1.0 + d + d**2 / 3.0) * xp.exp(-d)


_AT_ZERO = _kernel(np, np.zeros(1), KNOTS)[0]
_SEEN = _kernel(np, KNOTS, KNOTS) - _AT_ZERO[:, None] * _AT_ZERO + 1e-8 * np.eye(len(KNOTS))
_UNROOTED = np.linalg.inv(np.linalg.cholesky(_SEEN)).T


def basis(growth: Float[Array, "*shape"]) -> Float[Array, "*shape knot"]:
    """r(v) as weights times these functions of v = log(1 + x / K): a Matern-5/2 process that is 0 at v = 0."""
    knots, at_zero, unrooted = (jnp.asarray(each, growth.dtype) for each in (KNOTS, _AT_ZERO, _UNROOTED))
    seen = _kernel(jnp, growth, knots) - _kernel(jnp, growth, jnp.zeros(1, growth.dtype)) * at_zero
    return seen @ unrooted


def reached(amount: Float[Array, "*batch project"], room: Array, edges: Edges, n_kinds: int) -> Array:
    """Sum of z over the edges of each kind that lead into each project; shape (..., project, kind)."""
    active = amount / (amount + room)
    of_kind = (edges.kind[..., None] == jnp.arange(n_kinds)) & edges.there[..., None]
    return jnp.einsum("...je,jeq->...jq", active[..., edges.source], of_kind.astype(amount.dtype))


def impacts(
    draws: Draws, amount: Float[Array, " project"], edges: Edges, *, own: bool = False
) -> Float[Array, "draw project"]:
    """Each project's impact under every draw; with `own`, derivatives leave out what reaches other projects."""

    def one(draw: Draws) -> Array:
        growth = jnp.log1p(amount / draw.room)
        acting = jax.lax.stop_gradient(amount) if own else amount
        spilled = reached(acting, draw.room, edges, len(draw.strength)) @ draw.strength
        curve = jnp.exp(basis(growth) @ draw.residual)
        return jnp.exp(draw.log_effect) * saturating(amount, draw.room) * curve * jnp.maximum(1.0 + spilled, 0.0)

    return jax.vmap(one)(draws)


def pooled(prior: Prior, spreads: Spreads) -> tuple[Array, Array, Array]:
    """Mean and covariance of c given the estimates, and the log density of the estimates."""
    same = [(group[:, None] == group) * 1.0 for group in (prior.domain, prior.intervention)]
    own = jnp.eye(len(prior.estimate))
    centre = prior.estimate.mean()
    effects = DOMAINS**2 * same[0] + spreads.intervention**2 * same[1] + spreads.project**2 * own
    errors = spreads.estimate**2 * (0.5 * same[1] + 0.5 * own) + jnp.diag(prior.stated**2)
    root = jnp.linalg.cholesky(effects + errors + JITTER * own)
    half = jax.scipy.linalg.solve_triangular(root, effects, lower=True)
    deviation = jax.scipy.linalg.solve_triangular(root, prior.estimate - centre, lower=True)
    density = -0.5 * deviation @ deviation - jnp.log(jnp.diag(root)).sum()
    return centre + half.T @ deviation, effects - half.T @ half, density


def believe(prior: Prior, reports: Reports, spreads: Spreads, n_kinds: int, n_regions: int) -> Belief:
    """The posterior, given the spreads.

    Args:
        prior: the projects.
        reports: what has been reported; rounds without any change nothing.
        spreads: the standard deviations.
        n_kinds: number of kinds of spill-overs.
        n_regions: number of regions.
    """
    centre, covariance, density = pooled(prior, spreads)
    n = len(centre)
    ratio = reports.amount / prior.room
    growth = jnp.log1p(ratio)
    safe = jnp.where(reports.there, growth, 1.0)
    slope = jnp.where(reports.there, 1.0 - ratio / ((1.0 + ratio) * safe), 0.0)
    curve = jnp.log(prior.room * safe)
    touched = reached(reports.amount, prior.room, prior.edges, n_kinds)
    weights = basis(growth)

    # The mean over the rounds of a region's persistent shock is one unknown; what is left of it counts as a project's.
    n_rounds = jnp.maximum((reports.there.any(1) * jnp.arange(1, len(safe) + 1)).max(), 1)
    of_region = 0.5 * spreads.shock**2 * _of_mean(n_rounds)
    left = spreads.shock**2 - of_region
    noise = jnp.where(jnp.isnan(reports.error), spreads.noise, jnp.nan_to_num(reports.error)) ** 2

    shared = jnp.concatenate([1.0 / jnp.full(n_kinds, STRENGTH**2), 1.0 / jnp.full(len(KNOTS), spreads.residual**2)])
    regional = jnp.full(n_regions, 1.0 / of_region)
    belongs = jnp.concatenate([jnp.eye(n), (prior.region[:, None] == jnp.arange(n_regions)) * 1.0], 1)
    own = jnp.diag(jnp.array([1.0 / spreads.bias**2, 1.0 / ROOM_ERROR**2]))
    prior_root = jnp.linalg.cholesky(covariance + JITTER * jnp.eye(n))
    prior_precision = jax.scipy.linalg.cho_solve((prior_root, True), jnp.eye(n))
    log_prior = -2.0 * jnp.log(jnp.diag(prior_root)).sum() + jnp.log(shared).sum() + jnp.log(regional).sum()

    def update(strength: Array) -> Belief:
        spilled = touched @ strength
        factor = jnp.maximum(1.0 + spilled, 0.1)
        target = reports.log_impact - curve - centre - (jnp.log(factor) - spilled / factor)
        ones = jnp.ones_like(target)[..., None]
        columns = jnp.concatenate(
            [ones, touched / factor[..., None], weights, ones, slope[..., None], target[..., None]], -1
        )
        gram, log_scale = _whitened(columns, noise, reports.there, left)
        m = 1 + n_kinds + len(KNOTS)  # seen by all; then the project's own two, then the target
        own_precision = own + gram[:, m : m + 2, m : m + 2]
        own_covariance, log_own = _inverse_of_pairs(own_precision)
        cross = own_covariance @ gram[:, m : m + 2, :m]
        own_mean = (own_covariance @ gram[:, m : m + 2, -1:])[..., 0]
        common = gram[:, :m, :m] - jnp.einsum("jpa,jpb->jab", gram[:, m : m + 2, :m], cross)
        pull = gram[:, :m, -1] - jnp.einsum("jpa,jp->ja", gram[:, m : m + 2, :m], own_mean)

        top = belongs.T * common[:, 0, 0] @ belongs
        side = belongs.T @ common[:, 0, 1:]
        precision = jnp.block([[top, side], [side.T, common[:, 1:, 1:].sum(0)]])
        precision = precision.at[:n, :n].add(prior_precision)
        precision = precision + jnp.diag(jnp.concatenate([jnp.zeros(n), regional, shared]))
        towards = jnp.concatenate([belongs.T @ pull[:, 0], pull[:, 1:].sum(0)])
        root = jnp.linalg.cholesky(precision, upper=True)
        solved = jax.scipy.linalg.solve_triangular(root, towards, trans="T")
        mean = jax.scipy.linalg.solve_triangular(root, solved)
        own_pull = jnp.einsum("jp,jp->", own_mean, gram[:, m : m + 2, -1])
        log_own = log_own.sum() + 2.0 * n * (jnp.log(spreads.bias) + math.log(ROOM_ERROR))
        evidence = (
            density
            + log_scale
            - 0.5 * gram[:, -1, -1].sum()
            + 0.5 * (solved @ solved + own_pull)
            - jnp.log(jnp.diag(root)).sum()
            + 0.5 * (log_prior - log_own)
        )
        mean = mean.at[:n].add(centre)
        # The project's own given c + shock - centre: as the mean at the centre, less the slope times the deviation.
        own_mean = own_mean + cross[:, :, 0] * centre[:, None]
        own_root = _root_of_pairs(own_covariance)
        return Belief(mean, root, own_mean, cross, own_root, evidence)

    def again(strength: Array, _: None) -> tuple[Array, Belief]:
        belief = update(strength)
        return belief.mean[n + n_regions : n + n_regions + n_kinds], belief

    _, beliefs = jax.lax.scan(again, jnp.zeros(n_kinds), length=NEWTON if n_kinds else 1)
    return jax.tree.map(lambda leaf: leaf[-1], beliefs)


def draw(belief: Belief, prior: Prior, key: Array, n_draws: int, n_kinds: int) -> Draws:
    """Draws from the posterior; the first half of them mirrors the second around the mean."""
    n, latents = len(prior.room), len(belief.mean)
    n_regions = latents - n - n_kinds - len(KNOTS)
    keys = jax.random.split(key)
    normals = jax.random.normal(keys[0], (n_draws // 2, latents)), jax.random.normal(keys[1], (n_draws // 2, n, 2))
    latent_noise, own_noise = (jnp.concatenate([each, -each]).astype(belief.mean.dtype) for each in normals)
    latent = belief.mean + jax.scipy.linalg.solve_triangular(belief.root, latent_noise.T).T
    effect, shocks, shared = jnp.split(latent, [n, n + n_regions], 1)
    seen = jnp.concatenate([(effect + shocks[:, prior.region])[..., None], jnp.repeat(shared[:, None], n, 1)], -1)
    own = belief.own_mean - jnp.einsum("jpa,sja->sjp", belief.own_slope, seen)
    own = own + jnp.einsum("jpa,sja->sjp", belief.own_root, own_noise)
    room = prior.room * jnp.exp(own[..., 1])
    return Draws(effect, room, shared[:, :n_kinds], shared[:, n_kinds:])


def _inverse_of_pairs(matrix: Float[Array, "project 2 2"]) -> tuple[Array, Float[Array, " project"]]:
    """Inverses and log determinants of symmetric 2 x 2 matrices, without a call of LAPACK for each."""
    (a, b), (_, d) = matrix.transpose(1, 2, 0)
    determinant = a * d - b * b
    adjugate = jnp.stack([jnp.stack([d, -b], -1), jnp.stack([-b, a], -1)], -1)
    return adjugate / determinant[:, None, None], jnp.log(determinant)


def _root_of_pairs(matrix: Float[Array, "project 2 2"]) -> Float[Array, "project 2 2"]:
    """Lower Cholesky roots of symmetric 2 x 2 matrices."""
    (a, b), (_, d) = matrix.transpose(1, 2, 0)
    first = jnp.sqrt(a)
    below = b / first
    return jnp.stack([jnp.stack([first, 0.0 * a], -1), jnp.stack([below, jnp.sqrt(d - below**2)], -1)], -2)


def _of_mean(n_rounds: Array) -> Array:
    """Variance of the mean of `n_rounds` rounds of a shock of variance 1 (an autoregression of first order)."""
    p, n = PERSISTENCE, n_rounds.astype(float)
    return ((1.0 + p) / (1.0 - p) - 2.0 * p * (1.0 - p**n) / (n * (1.0 - p) ** 2)) / n


def _whitened(
    columns: Float[Array, "round project column"],
    noise: Float[Array, "round project"],
    there: Bool[Array, "round project"],
    shock: Float[Array, ""],
) -> tuple[Float[Array, "project column column"], Float[Array, ""]]:
    """Sums of products of columns whose noise has been made independent by a Kalman filter for the persistent shock.

    Also half the log determinant of the noise's precision.
    """

    def step(
        carry: tuple[Array, Array], now: tuple[Array, Array, Array]
    ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        predicted, variance = carry
        column, error, seen = now
        total = variance + error
        innovation = column - predicted
        gain = jnp.where(seen, variance / total, 0.0)
        predicted = PERSISTENCE * (predicted + gain[:, None] * innovation)
        after = PERSISTENCE**2 * variance * (1.0 - gain) + (1.0 - PERSISTENCE**2) * shock
        white = jnp.where(seen, 1.0 / jnp.sqrt(total), 0.0)
        return (predicted, after), (white[:, None] * innovation, jnp.where(seen, jnp.log(total), 0.0))

    start = jnp.zeros_like(columns[0]), jnp.full(columns.shape[1], shock)
    _, (white, scales) = jax.lax.scan(step, start, (columns, noise, there))
    return jnp.einsum("tja,tjb->jab", white, white), -0.5 * scales.sum()
