"""Where the black box would look next: what acquisitions favour, by ascent from many starts, or on a grid.

With mu and sigma the standardised mean and standard deviation of impact:

| acquisition | formula |
| --- | --- |
| `published` | beta mu + sigma, beta in [0, 1] |
| `ucb` | mu + sigma / beta |
| `ei` | log E max(f - f0, 0), f0 the best posterior mean of what has been evaluated |

The ascent is projected gradient ascent in the coordinates of the space, with the step of Barzilai & Borwein (1988),
halved where it does not help; all starts at once. Half of the points that starts are chosen from are random, the others
are near the best evaluations: in many dimensions nothing random is near anything.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayesalloc.errors import InputError
from bayesalloc.impact import acquisition
from bayesalloc.impact.blackbox import Belief, PriorMean, Simplex, at, at_seen
from bayesalloc.impact.structured import double_precision

CANDIDATES, STARTS, STEPS = 1024, 12, 200
NEAR = 5  # best evaluations that starts are near to


class Proposal(NamedTuple):
    """A point to evaluate next, and its acquisition."""

    point: np.ndarray
    value: float


def proposed(
    belief: Belief, key: Array, kind: str = "ei", beta: float | None = None, prior_mean: PriorMean | None = None
) -> Proposal:
    """The point that an acquisition favours.

    Args:
        belief: the posterior.
        key: of the starts.
        kind: of the acquisition.
        beta: see the table above; None: its usual value.
        prior_mean: as the belief was fitted with.

    Raises:
        InputError: where there is no such acquisition, or it may not have this beta.
    """
    beta = _beta(kind, beta)
    with double_precision():
        points, values = _ascended(belief, key, jnp.asarray(beta), kind, prior_mean)
        best = int(np.argmax(values))
        return Proposal(np.asarray(points[best]), float(values[best]))


def on_grid(
    belief: Belief,
    steps: int,
    starts: np.ndarray,
    kind: str = "published",
    beta: float | None = None,
    prior_mean: PriorMean | None = None,
) -> Proposal:
    """The best allocation in whole multiples of 1 / steps of the budget that exchanges reach.

    From each start, rounded, the exchange of one step between two projects that gains most is made, until none gains.

    Args:
        belief: the posterior, over shares.
        steps: how many the budget has.
        starts: allocations to begin from, one a row.
        kind: of the acquisition.
        beta: see the table above; None: its usual value.
        prior_mean: as the belief was fitted with.

    Raises:
        InputError: where there is no such acquisition, or the ends of shares allow no allocation on the grid.
    """
    beta = _beta(kind, beta)
    if not isinstance(belief.space, Simplex):
        raise InputError("the grid is one of shares")
    least = np.ceil(np.asarray(belief.space.low) * steps - 1e-9).astype(int)
    most = np.floor(np.minimum(np.asarray(belief.space.high), 1.0) * steps + 1e-9).astype(int)
    if (least > most).any() or not least.sum() <= steps <= most.sum():
        raise InputError(f"no allocation in steps of 1/{steps} of the budget is between the ends of the shares")

    def valued(counts: np.ndarray) -> np.ndarray:
        padded = np.concatenate([counts, np.repeat(counts[:1], (1 << (len(counts) - 1).bit_length()) - len(counts), 0)])
        return np.asarray(_valued(belief, jnp.asarray(padded / steps), jnp.asarray(beta), kind, prior_mean))[
            : len(counts)
        ]

    def climbed(counts: np.ndarray) -> tuple[np.ndarray, float]:
        value = float(valued(counts[None])[0])
        while True:
            giver, taker = np.nonzero((counts > least)[:, None] & (counts < most) & ~np.eye(len(counts), dtype=bool))
            others = np.repeat(counts[None], len(giver), 0)
            others[np.arange(len(giver)), giver] -= 1
            others[np.arange(len(giver)), taker] += 1
            values = valued(others) if len(giver) else np.array([-np.inf])
            if values.max() <= value:
                return counts, value
            counts, value = others[values.argmax()], float(values.max())

    with double_precision():
        found = max((climbed(_rounded(start * steps, least, most)) for start in starts), key=lambda each: each[1])
    return Proposal(found[0] / steps, found[1])


def _beta(kind: str, beta: float | None) -> float:
    beta = acquisition.BETA.get(kind, 1.0) if beta is None else beta
    acquisition.check(kind, beta, "ev")
    return beta


def _rounded(wanted: np.ndarray, least: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Whole steps near what is wanted, between the ends, that sum to it: one by one to or from the furthest off."""
    total = round(wanted.sum())
    counts = np.clip(np.floor(wanted).astype(int), least, most)
    while (missing := total - counts.sum()) != 0:
        off = wanted - counts
        index = np.argmax(
            np.where(counts < most, off, -np.inf) if missing > 0 else np.where(counts > least, -off, -np.inf)
        )
        counts[index] += np.sign(missing)
    return counts


def _acquired(mean: Array, spread: Array, best: Array, beta: Array, kind: str) -> Array:
    if kind == "ei":
        return acquisition.log_expected_improvement(mean - best, spread)
    return beta * mean + spread if kind == "published" else mean + spread / beta


def _best_mean(belief: Belief, prior_mean: PriorMean | None) -> tuple[Array, Array]:
    """Means at the evaluations, minus infinity at pads; and their points."""
    evaluations = belief.evaluations
    points = jax.vmap(belief.space.point)(evaluations.seen)
    means = jax.vmap(lambda seen, point: at_seen(belief, seen, point, prior_mean)[0])(evaluations.seen, points)
    return jnp.where(evaluations.there, means, -jnp.inf), points


@partial(jax.jit, static_argnames=("kind", "prior_mean"))
def _valued(belief: Belief, points: Array, beta: Array, kind: str, prior_mean: PriorMean | None) -> Array:
    best = _best_mean(belief, prior_mean)[0].max()
    return jax.vmap(lambda point: _acquired(*at(belief, point, prior_mean), best, beta, kind))(points)


@partial(jax.jit, static_argnames=("kind", "prior_mean"))
def _ascended(
    belief: Belief, key: Array, beta: Array, kind: str, prior_mean: PriorMean | None
) -> tuple[Float[Array, "start coordinate"], Float[Array, " start"]]:
    """Where each start leads, and what the acquisition is there."""
    space = belief.space
    means, points = _best_mean(belief, prior_mean)

    def value(seen: Array) -> Array:
        # Where coordinates lie on the allowed set, they are those of their point.
        point = jnp.square(seen) if isinstance(space, Simplex) else space.point(seen)
        return _acquired(*at_seen(belief, seen, point, prior_mean), means.max(), beta, kind)

    def onto(seen: Array) -> Array:
        return space.seen(space.point(seen))

    keys = jax.random.split(key, 3)
    anywhere = jax.vmap(space.seen)(space.random(keys[0], CANDIDATES // 2))
    top = jax.vmap(space.seen)(points[jax.lax.top_k(means, min(NEAR, len(means)))[1]])
    rows = jnp.arange(CANDIDATES // 2) % len(top)
    length = jnp.exp(jnp.log(belief.hyperparameters.length).mean())
    size = length * 10.0 ** jax.random.uniform(keys[1], (len(rows), 1), minval=-3.0, maxval=0.0)
    moved = size * jax.random.normal(keys[2], (len(rows), top.shape[1])) / top.shape[1] ** 0.5
    candidates = jnp.concatenate([anywhere, jax.vmap(onto)(top[rows] + moved)])
    worth = jax.vmap(value)(candidates)
    half = len(rows)
    firsts = [jax.lax.top_k(part, STARTS // 2)[1] + begin for part, begin in ((worth[:half], 0), (worth[half:], half))]
    starts = candidates[jnp.concatenate(firsts)]
    slopes = jax.vmap(jax.value_and_grad(value))

    def step(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        count, seen, values, slope, size = carry
        tried = jax.vmap(onto)(seen + size[:, None] * slope)
        new_values, new_slope = slopes(tried)
        moved, bent = tried - seen, slope - new_slope
        better = new_values > values
        curved = (moved * bent).sum(1)
        length = jnp.where(curved > 0, (moved**2).sum(1) / jnp.where(curved > 0, curved, 1.0), 4.0 * size)
        size = jnp.where(better, jnp.clip(length, 1e-3 * size, 1e3 * size), 0.25 * size)
        kept = better[:, None]
        return (
            count + 1,
            jnp.where(kept, tried, seen),
            jnp.where(better, new_values, values),
            jnp.where(kept, new_slope, slope),
            size,
        )

    def goes_on(carry: tuple[Array, ...]) -> Array:
        count, _, _, slope, size = carry
        return (count < STEPS) & (size * jnp.sqrt((slope**2).sum(1)) > 1e-9).any()

    values, slope = slopes(starts)
    first = 0.1 * length / jnp.maximum(jnp.sqrt((slope**2).sum(1)), 1e-30)
    _, seen, values, *_ = jax.lax.while_loop(goes_on, step, (jnp.int32(0), starts, values, slope, first))
    return jax.vmap(space.point)(seen), values
