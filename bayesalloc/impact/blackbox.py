"""The aggregate impact function as a black box: a Gaussian process over allocations.

A point is seen through coordinates in which two points drawn at random lie about 0.64 apart whatever their number, so
that one prior of the length-scale serves all. Shares are seen as their square roots, of squared distance
2 - 2 sum_j sqrt(x_j x'_j), which no permutation of projects changes and which leaves no share out.

Values less the prior mean function, standardised, are m + g(x) + noise: a constant m ~ N(0, 1), and g with the
Matern-5/2 kernel s^2 (1 + a + a^2 / 3) exp(-a), where a / sqrt(5) is the distance in coordinates divided by their
length-scales. A length-scale is the common one, LogNormal(ln 0.5, 0.5), times the coordinate's own, LogNormal(0, 1) for
shares, as projects differ in how much they matter, and 1 for plain coordinates. s ~ LogNormal(0, 1). Noise, unless
given, ~ HalfNormal(1). They are the mode of their posterior, in logarithms; but the noise itself, so that values with
little noise and values with none can be told apart. m is integrated out.

Rows are padded to a multiple of 32, so that one more evaluation seldom compiles anything anew.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, ArrayLike, Bool, Float
from scipy.optimize import minimize

from bayesalloc.errors import InputError
from bayesalloc.impact.structured import double_precision
from bayesalloc.impact.waterfill import water_filled

JITTERS = (1e-10, 1e-8, 1e-6, 1e-4)  # shares of the variance that are added to it until the matrix can be factored
LENGTH, LENGTH_SPREAD, OWN_SPREAD = 0.5, 0.5, 1.0
APART = 0.64  # what two random points are apart
PADDED = 32
FAINT = 1e-16  # share from which one that is nothing grows where the others are at their ends
_ENDS = np.log([[5e-3, 50.0], [1e-2, 1e2], [1e-5, 3.0], [1e-2, 1e2]])  # common length, scale, noise, own lengths
_STARTS = np.log([[LENGTH, 1.0, 1e-2], [2.0, 3.0, 0.3]])

PriorMean = Callable[[Array], Array]


class IllConditioned(ArithmeticError):
    """The covariance of the evaluations cannot be factored, whatever jitter is tried: one sentence."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Simplex:
    """Shares that sum to 1, each between its ends; seen as square roots.

    Attributes:
        low, high: of each share.
        free: whether every share may be anything from 0 to 1.
    """

    low: Float[Array, " coordinate"]
    high: Float[Array, " coordinate"]
    free: bool = field(metadata={"static": True})

    def seen(self, point: Float[Array, " coordinate"]) -> Float[Array, " coordinate"]:
        """The coordinates of a point."""
        return jnp.sqrt(point)

    def point(self, seen: Float[Array, " coordinate"]) -> Float[Array, " coordinate"]:
        """The allowed point at coordinates, or near them: shares in proportion to their squares, as far as allowed."""
        shares = jnp.maximum(jnp.square(jnp.maximum(seen, 0.0)), FAINT)
        if self.free:
            return shares / shares.sum()
        return water_filled(jnp.ones_like(shares), shares, 1.0, self.low, self.high)

    def random(self, key: Array, count: int) -> Float[Array, "point coordinate"]:
        """Allowed points from Dirichlet(1), as far as allowed."""
        return jax.vmap(self.point)(jnp.sqrt(jax.random.dirichlet(key, jnp.ones_like(self.low), (count,))))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Box:
    """Numbers between two ends each.

    Attributes:
        low, high: the ends.
    """

    low: Float[Array, " coordinate"]
    high: Float[Array, " coordinate"]

    def seen(self, point: Float[Array, " coordinate"]) -> Float[Array, " coordinate"]:
        """The coordinates of a point: from 0, all as wide."""
        return (point - self.low) / (self.high - self.low) * self._width()

    def point(self, seen: Float[Array, " coordinate"]) -> Float[Array, " coordinate"]:
        """The point of the box at coordinates, or nearest to them."""
        return self.low + jnp.clip(seen / self._width(), 0.0, 1.0) * (self.high - self.low)

    def random(self, key: Array, count: int) -> Float[Array, "point coordinate"]:
        """Points anywhere in the box."""
        return jax.random.uniform(key, (count, *self.low.shape), minval=self.low, maxval=self.high)

    def _width(self) -> float:
        return APART * (6.0 / len(self.low)) ** 0.5


Space = Simplex | Box


def simplex(low: np.ndarray, high: np.ndarray) -> Simplex:
    """All allocations of a budget of 1 between the ends of each share."""
    low, high = np.asarray(low, float), np.asarray(high, float)
    if not ((low >= 0) & (low <= high)).all() or not low.sum() <= 1.0 + 1e-9 <= high.sum() + 2e-9:
        raise InputError("shares must have 0 <= low <= high, and low must sum to at most 1, high to at least 1")
    with double_precision():
        return Simplex(jnp.asarray(low), jnp.asarray(high), free=bool((low == 0).all() and (high >= 1).all()))


def box(low: np.ndarray, high: np.ndarray) -> Box:
    """All points between two ends of each coordinate."""
    low, high = np.asarray(low, float), np.asarray(high, float)
    if not (np.isfinite(low) & np.isfinite(high) & (low < high)).all():
        raise InputError("a box must have low < high in every coordinate, both finite")
    with double_precision():
        return Box(jnp.asarray(low), jnp.asarray(high))


class Hyperparameters(NamedTuple):
    """Of the process, for standardised values: length-scales, standard deviation of g, and of the noise."""

    length: Float[Array, " coordinate"]
    scale: Float[Array, ""]
    noise: Float[Array, ""]


class Evaluations(NamedTuple):
    """What has been evaluated, padded.

    Attributes:
        seen: coordinates.
        value: standardised, less the prior mean function.
        noise: standard deviation of the noise where it is given, standardised; NaN where it is to be learned.
        there: which rows are no pads.
        centre, spread: of the values before they were standardised.
    """

    seen: Float[Array, "row coordinate"]
    value: Float[Array, " row"]
    noise: Float[Array, " row"]
    there: Bool[Array, " row"]
    centre: Float[Array, ""]
    spread: Float[Array, ""]


class Belief(NamedTuple):
    """The posterior of the impact function.

    Attributes:
        space: what points there are.
        evaluations: what it rests on.
        hyperparameters: of the process.
        root: lower Cholesky factor of the covariance of the evaluations.
        weight: their inverse covariance times their values.
    """

    space: Space
    evaluations: Evaluations
    hyperparameters: Hyperparameters
    root: Float[Array, "row row"]
    weight: Float[Array, " row"]


def fitted(
    points: np.ndarray,
    values: np.ndarray,
    space: Space,
    *,
    noise: float | np.ndarray | None = None,
    prior_mean: PriorMean | None = None,
    hyperparameters: Hyperparameters | None = None,
) -> Belief:
    """The posterior after evaluations.

    Args:
        points: one a row.
        values: impact at each, in any unit.
        space: what points there are.
        noise: standard deviation of the values' noise, of all or of each; None: it is learned.
        prior_mean: what impact is expected to be at a point, in the unit of the values; a function that JAX can compile
            and differentiate. To be given to `predicted` again. None: a constant.
        hyperparameters: None: learned.

    Raises:
        InputError: where the data are not finite, or not as many values as points.
        IllConditioned: where the covariance cannot be factored.
    """
    with double_precision():
        evaluations = _evaluations(np.asarray(points, float), np.asarray(values, float), space, noise, prior_mean)
        for jitter in JITTERS:
            chosen = _learned(evaluations, space, jitter) if hyperparameters is None else hyperparameters
            root, weight, density = conditioned(chosen, evaluations, jitter)
            if np.isfinite(density):
                return Belief(space, evaluations, chosen, root, weight)
    raise IllConditioned(
        f"the covariance of {len(points)} evaluations has no Cholesky factor, even with {JITTERS[-1]:g} of it added"
    )


def predicted(belief: Belief, points: np.ndarray, prior_mean: PriorMean | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the impact at points, one a row, without noise."""
    with double_precision():
        mean, spread = _predicted(belief, jnp.asarray(points, float), prior_mean)
        centre, scale = belief.evaluations.centre, belief.evaluations.spread
        return np.asarray(centre + scale * mean), np.asarray(scale * spread)


def at(
    belief: Belief, point: Float[Array, " coordinate"], prior_mean: PriorMean | None
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean and standard deviation at a point, standardised; can be differentiated, for shares by their square roots."""
    return at_seen(belief, belief.space.seen(point), point, prior_mean)


def kernel(
    seen: Float[Array, "row coordinate"], others: Float[Array, "other coordinate"], hyperparameters: Hyperparameters
) -> Float[Array, "row other"]:
    """Covariance of m + g between points, from their coordinates."""
    seen, others = seen / hyperparameters.length, others / hyperparameters.length
    squared = (seen**2).sum(1)[:, None] + (others**2).sum(1) - 2.0 * seen @ others.T
    distance = jnp.sqrt(5.0 * jnp.maximum(squared, 0.0) + 1e-30)  # the root itself has no slope at zero
    return 1.0 + hyperparameters.scale**2 * (1.0 + distance + distance**2 / 3.0) * jnp.exp(-distance)


@jax.jit
def conditioned(
    hyperparameters: Hyperparameters, evaluations: Evaluations, jitter: ArrayLike
) -> tuple[Float[Array, "row row"], Float[Array, " row"], Float[Array, ""]]:
    """Cholesky factor and weights of a belief, and the log density of the values; not finite where it cannot be had."""
    seen, there = evaluations.seen, evaluations.there
    covariance = jnp.where(there[:, None] & there, kernel(seen, seen, hyperparameters), 0.0)
    noise = jnp.where(jnp.isnan(evaluations.noise), hyperparameters.noise, evaluations.noise)
    own = noise**2 + jitter * (1.0 + hyperparameters.scale**2)
    root = jnp.linalg.cholesky(covariance + jnp.diag(jnp.where(there, own, 1.0)))
    white = solve_triangular(root, evaluations.value, lower=True)
    density = -0.5 * white @ white - jnp.log(jnp.diag(root)).sum() - 0.5 * jnp.log(2.0 * jnp.pi) * there.sum()
    return root, solve_triangular(root, white, lower=True, trans="T"), density


def at_seen(
    belief: Belief,
    seen: Float[Array, " coordinate"],
    point: Float[Array, " coordinate"],
    prior_mean: PriorMean | None,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """As `at`, where the coordinates of the point are known."""
    hyperparameters, evaluations = belief.hyperparameters, belief.evaluations
    across = jnp.where(evaluations.there, kernel(evaluations.seen, seen[None], hyperparameters)[:, 0], 0.0)
    solved = solve_triangular(belief.root, across, lower=True)
    prior = 1.0 + hyperparameters.scale**2
    variance = jnp.maximum(prior - solved @ solved, 1e-14 * prior)
    known = 0.0 if prior_mean is None else prior_mean(point) / evaluations.spread
    return known + across @ belief.weight, jnp.sqrt(variance)


@partial(jax.jit, static_argnums=2)
def _predicted(belief: Belief, points: Array, prior_mean: PriorMean | None) -> tuple[Array, Array]:
    return jax.vmap(lambda point: at(belief, point, prior_mean))(points)


def _evaluations(
    points: np.ndarray, values: np.ndarray, space: Space, noise: float | np.ndarray | None, prior_mean: PriorMean | None
) -> Evaluations:
    if not len(values) or len(points) != len(values) or points.shape[1:] != space.low.shape:
        raise InputError(
            f"there are {len(values)} values and points of shape {points.shape}; there must be a value for each point,"
            f" and of each {len(space.low)} coordinates"
        )
    given = np.broadcast_to(np.nan if noise is None else np.asarray(noise, float), values.shape)
    if noise is not None and not (np.isfinite(given) & (given >= 0)).all():
        raise InputError("the noise of an evaluation must be finite and at least 0")
    for row, (point, value) in enumerate(zip(points, values, strict=True)):
        if not (np.isfinite(value) and np.isfinite(point).all()):
            raise InputError(f"evaluation {row} is not finite: its value is {value:g}")
    seen = np.asarray(jax.vmap(space.seen)(jnp.asarray(points)))
    if not np.isfinite(seen).all():
        raise InputError("a share is negative")
    residuals = values if prior_mean is None else values - np.asarray(jax.vmap(prior_mean)(jnp.asarray(points)))
    centre = residuals.mean()
    spread = next(size for size in (residuals.std(), abs(values).max(), 1.0) if size > 0)
    extra = -len(values) % PADDED
    return Evaluations(
        jnp.asarray(np.pad(seen, [(0, extra), (0, 0)])),
        jnp.asarray(np.pad((residuals - centre) / spread, (0, extra))),
        jnp.asarray(np.pad(given / spread, (0, extra))),
        jnp.asarray(np.arange(len(values) + extra) < len(values)),
        jnp.asarray(centre),
        jnp.asarray(spread),
    )


def _learned(evaluations: Evaluations, space: Space, jitter: ArrayLike) -> Hyperparameters:
    own = evaluations.seen.shape[1] if isinstance(space, Simplex) else 0

    def descent(logs: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _descent(logs, evaluations, jitter)
        return (float(value), np.asarray(slope)) if np.isfinite(slope).all() else (1e10, np.zeros(len(logs)))

    ends = np.concatenate([_ENDS[:3], np.repeat(_ENDS[3:], own, 0)])
    starts = [np.pad(start, (0, own)) for start in _STARTS]
    options = {"maxiter": 100}
    found = [minimize(descent, start, jac=True, method="L-BFGS-B", bounds=ends, options=options) for start in starts]
    logs = min(found, key=lambda each: each.fun).x
    return _hyperparameters(jnp.asarray(logs), evaluations.seen.shape[1])


def _hyperparameters(logs: Array, coordinates: int) -> Hyperparameters:
    common, scale, noise = jnp.exp(logs[:3])
    own = jnp.exp(logs[3:]) if len(logs) > 3 else jnp.ones(coordinates)
    return Hyperparameters(common * own, scale, noise)


@jax.jit
def _descent(logs: Array, evaluations: Evaluations, jitter: ArrayLike) -> tuple[Array, Array]:
    def loss(logs: Array) -> Array:
        _, _, density = conditioned(_hyperparameters(logs, evaluations.seen.shape[1]), evaluations, jitter)
        common, scale, noise = logs[:3]
        own = (logs[3:] ** 2).sum() / OWN_SPREAD**2
        away = ((common - jnp.log(LENGTH)) / LENGTH_SPREAD) ** 2 + own + scale**2 + jnp.exp(2.0 * noise)
        return 0.5 * away - density

    return jax.value_and_grad(loss)(logs)
