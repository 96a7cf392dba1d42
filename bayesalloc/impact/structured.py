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


def double_precision() -> AbstractContextManager[None]:
    """A context in which JAX computes in double precision."""
    return jax.enable_x64(True)  # noqa: FBT003 JAX's versions share no name for it


class Prior(NamedTuple):
    """What is known of projects before any report, B = 1.

    Attributes:
        estimate: m, the logarithm of the estimated impact of a whole budget at the first dollar's effect.
        stated: standard deviation of its error that is stated with it; 0 where none is.
        room: K, as it is seen.
        domain, intervention, region: index of each project's; -1 for an intervention of its own.
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


class Told(NamedTuple):
    """What totals have taught, as the mean of `seen` applied to (c, theta, weights of r), with an error.

    Attributes:
        seen: the weights.
        value: what was observed.
        variance: of the error.
        gain: what the observed values add to the shared unknowns of a `Belief`.
        effect_gain: the same of c.
    """

    seen: Float[Array, "total unknown"]
    value: Float[Array, " total"]
    variance: Float[Array, " total"]
    gain: Float[Array, "shared total"]
    effect_gain: Float[Array, "project total"]


class Belief(NamedTuple):
    """A normal distribution of what projects share, and of (c, kappa) of each given that.

    What is shared are deviations of domains, of interventions and of interventions' estimates (each in as many places
    as there are groups), the mean shock of each region, theta, and the weights of r, in this order. A project's own
    is independent of others' given its part of them.

    Attributes:
        effect: mean of c.
        shared: mean of the shared unknowns, totals left aside.
        root: R, upper triangular with R^T R their precision, totals left aside.
        part: places of each project's domain, intervention, the latter's estimates, and region among them.
        slope: c and kappa are `level` - `slope` (its part, theta, weights of r, c) + `scale` normals; c does not depend
            on itself.
        level: see there.
        scale: see there.
        told: what totals have taught beyond that.
        log_evidence: logarithm of the density of estimates, reports and totals.
    """

    effect: Float[Array, " project"]
    shared: Float[Array, " shared"]
    root: Float[Array, "shared shared"]
    part: Int[Array, "project 4"]
    slope: Float[Array, "project 2 seen"]
    level: Float[Array, "project 2"]
    scale: Float[Array, "project 2"]
    told: Told
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


def groups_in(prior: Prior) -> tuple[int, int]:
    """Number of domains and of interventions: of known projects, in any number of worlds."""
    return 1 + int(np.asarray(prior.domain).max()), 1 + max(0, int(np.asarray(prior.intervention).max()))


def believe(
    prior: Prior,
    reports: Reports,
    spreads: Spreads,
    n_kinds: int,
    n_regions: int,
    n_groups: tuple[int, int] | None = None,
    around: Float[Array, " kind"] | None = None,
) -> Belief:
    """The posterior, given the spreads.

    What is a project's own is eliminated first, so that the time it takes grows with the number of projects, and with
    the cube only of what they share.

    Args:
        prior: the projects.
        reports: what has been reported; rounds without any change nothing.
        spreads: the standard deviations.
        n_kinds: number of kinds of spill-overs.
        n_regions: number of regions.
        n_groups: see `groups_in`, which is the default; where projects are traced, it is to be given.
        around: strengths of spill-overs that these are linearised around; default: their own estimate.
    """
    n = len(prior.room)
    n_domains, n_interventions = groups_in(prior) if n_groups is None else n_groups
    centre = prior.estimate.mean()
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

    of_groups = [DOMAINS**2, spreads.intervention**2, 0.5 * spreads.estimate**2]
    sizes = [n_domains, n_interventions, n_interventions, n_regions, n_kinds, len(KNOTS)]
    variances = [*of_groups, of_region, STRENGTH**2, spreads.residual**2]
    shared_prior = jnp.concatenate([jnp.full(size, 1.0 / each) for size, each in zip(sizes, variances, strict=True)])
    tail = sum(sizes[:4])  # where theta and the weights of r begin
    alone = prior.intervention < 0
    intervention = n_domains + jnp.maximum(prior.intervention, 0)
    region = tail - n_regions + prior.region
    part = jnp.stack([prior.domain, intervention, intervention + n_interventions, region], 1)

    # Columns: domain, intervention, its estimates, region's shock; theta; weights of r; b, kappa, c; target.
    m = 4 + n_kinds + len(KNOTS)
    reported = jnp.array([0, 0, 0, 1, *range(2, 2 + m - 4), 1, m - 2, 1, m - 1])  # of what is reported, 0 for none
    together, zeros, ones = jnp.where(alone, 0.0, 1.0), jnp.zeros(n), jnp.ones(n)
    blank = [zeros] * (n_kinds + len(KNOTS))
    pooling = jnp.stack([-ones, -together, zeros, zeros, *blank, zeros, zeros, ones, zeros], 1)
    estimating = jnp.stack([zeros, zeros, together, zeros, *blank, zeros, zeros, ones, prior.estimate - centre], 1)
    pooling_variance = spreads.project**2 + (1.0 - together) * spreads.intervention**2
    estimating_variance = (1.0 - 0.5 * together) * spreads.estimate**2 + prior.stated**2
    own = jnp.zeros(m + 4).at[m].set(1.0 / spreads.bias**2).at[m + 1].set(1.0 / ROOM_ERROR**2)
    known = jnp.diag(own) + sum(
        row[:, :, None] * row[:, None] / variance[:, None, None]
        for row, variance in ((pooling, pooling_variance), (estimating, estimating_variance))
    )
    log_prior = -jnp.log(pooling_variance).sum() - jnp.log(estimating_variance).sum() + jnp.log(shared_prior).sum()
    log_prior = log_prior - 2.0 * n * (jnp.log(spreads.bias) + math.log(ROOM_ERROR))

    def update(strength: Array) -> Belief:
        spilled = touched @ strength
        factor = jnp.maximum(1.0 + spilled, 0.1)
        target = reports.log_impact - curve - centre - (jnp.log(factor) - spilled / factor)
        ones = jnp.ones_like(target)[..., None]
        columns = jnp.concatenate([ones, touched / factor[..., None], weights, slope[..., None], target[..., None]], -1)
        gram, log_scale = _whitened(columns, noise, reports.there, left)
        gram = jnp.pad(gram, ((0, 0), (1, 0), (1, 0)))[:, reported][:, :, reported] + known
        gram, _, pivot_bias = _without(gram, m)
        gram, of_room, pivot_room = _without(gram, m + 1)
        gram, of_effect, pivot_effect = _without(gram, m + 2)

        precision = jnp.diag(shared_prior)
        precision = precision.at[part[:, :, None], part[:, None]].add(gram[:, :4, :4])
        side = jnp.zeros((tail, m - 4)).at[part].add(gram[:, :4, 4:m])
        precision = precision.at[:tail, tail:].add(side).at[tail:, :tail].add(side.T)
        precision = precision.at[tail:, tail:].add(gram[:, 4:m, 4:m].sum(0))
        towards = jnp.zeros(len(precision)).at[part].add(gram[:, :4, -1]).at[tail:].add(gram[:, 4:m, -1].sum(0))
        root = jnp.linalg.cholesky(precision, upper=True)
        solved = jax.scipy.linalg.solve_triangular(root, towards, trans="T")
        shared = jax.scipy.linalg.solve_triangular(root, solved)
        pivots = jnp.stack([pivot_bias, pivot_room, pivot_effect])
        evidence = log_scale - 0.5 * gram[:, -1, -1].sum() + 0.5 * solved @ solved
        evidence = evidence + 0.5 * (log_prior - jnp.log(pivots).sum()) - jnp.log(jnp.diag(root)).sum()
        level = jnp.stack([of_effect[:, -1] + centre, of_room[:, -1] + of_room[:, m + 2] * centre], 1)
        slopes = jnp.stack([of_effect, of_room], 1)[:, :, jnp.array([*range(m), m + 2])]
        slopes = slopes.at[:, 0, -1].set(0.0)
        of_part = jnp.concatenate([shared[part], jnp.broadcast_to(shared[tail:], (n, m - 4))], 1)
        effect = level[:, 0] - (slopes[:, 0, :-1] * of_part).sum(1)
        scale = 1.0 / jnp.sqrt(jnp.stack([pivot_effect, pivot_room], 1))
        shapes = (0, n + m - 4), (0,), (0,), (len(shared), 0), (n, 0)
        return Belief(effect, shared, root, part, slopes, level, scale, Told(*map(jnp.zeros, shapes)), evidence)

    if around is not None:
        return update(around)
    steps = NEWTON - 1 if n_kinds else 0
    return update(jax.lax.fori_loop(0, steps, lambda _, at: strengths(update(at), n_kinds), jnp.zeros(n_kinds)))


def strengths(belief: Belief, n_kinds: int) -> Float[Array, " kind"]:
    """Expected strength of each kind of spill-over, totals left aside."""
    tail = len(belief.shared) - n_kinds - len(KNOTS)
    return belief.shared[tail : tail + n_kinds]


def draw(belief: Belief, prior: Prior, key: Array, n_draws: int, n_kinds: int) -> Draws:
    """Draws from the posterior; the first half of them mirrors the second around the mean."""
    n, size, told = len(prior.room), len(belief.shared), belief.told
    tail = size - n_kinds - len(KNOTS)
    keys = jax.random.split(key, 3)
    shapes = (size,), (n, 2), (len(told.value),)
    normals = (jax.random.normal(key, (n_draws // 2, *shape)) for key, shape in zip(keys, shapes, strict=True))
    mirrored = (jnp.concatenate([each, -each]).astype(belief.shared.dtype) for each in normals)
    shared_noise, own_noise, told_noise = mirrored
    own_noise = own_noise * belief.scale
    shared = belief.shared + jax.scipy.linalg.solve_triangular(belief.root, shared_noise.T).T

    def own(which: int, effect: Array) -> Array:
        *parts, itself = jnp.moveaxis(belief.slope[:, which], 1, 0)
        of_groups = sum(slope * shared[:, belief.part[:, at]] for at, slope in enumerate(parts[:4]))
        of_all = shared[:, tail:] @ jnp.stack(parts[4:])
        return belief.level[:, which] - of_groups - of_all - itself * effect + own_noise[..., which]

    effect = own(0, jnp.zeros(n))
    # What totals add: a draw is moved by what it says of them, with their error, and what they are, are apart.
    said = jnp.concatenate([effect, shared[:, tail:]], 1) @ told.seen.T + told_noise * jnp.sqrt(told.variance)
    effect = effect + (told.value - said) @ told.effect_gain.T
    shared = shared + (told.value - said) @ told.gain.T
    room = prior.room * jnp.exp(own(1, effect))
    return Draws(effect, room, shared[:, tail : tail + n_kinds], shared[:, tail + n_kinds :])


def moments(belief: Belief, n_kinds: int) -> tuple[Array, Array, Array]:
    """Mean and covariance of (c, theta, weights of r), and the covariance of what is shared with them; without totals.

    Args:
        belief: the posterior.
        n_kinds: number of kinds of spill-overs.
    """
    n, size = len(belief.effect), len(belief.shared)
    tail = size - n_kinds - len(KNOTS)
    of_shared = jnp.zeros((n, size)).at[jnp.arange(n)[:, None], belief.part].add(-belief.slope[:, 0, :4])
    of_shared = of_shared.at[:, tail:].add(-belief.slope[:, 0, 4:-1])
    of_shared = jnp.concatenate([of_shared, jnp.eye(size)[tail:]])
    half = jax.scipy.linalg.solve_triangular(belief.root, of_shared.T, trans="T")
    own = jnp.concatenate([belief.scale[:, 0] ** 2, jnp.zeros(size - tail)])
    mean = jnp.concatenate([belief.effect, belief.shared[tail:]])
    return mean, half.T @ half + jnp.diag(own), jax.scipy.linalg.solve_triangular(belief.root, half)


def _without(gram: Float[Array, "project column column"], place: int) -> tuple[Array, Array, Float[Array, " project"]]:
    """Sums of products after one unknown is eliminated; its row, which says what it is given the others; its pivot."""
    pivot = gram[:, place, place]
    row = gram[:, place] / pivot[:, None]
    return gram - pivot[:, None, None] * row[:, :, None] * row[:, None], row, pivot


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
