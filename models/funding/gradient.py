"""Policy gradients for `altruism.py`: shares are a softmax of logits, which climb what reports say (Williams 1992).

The logits l begin at the logarithm of the bandit's first split; impact is in units of what that split is expected to
bring, and R is a running mean of reported impact over money.

    own     Each dollar draws its project from the softmax, and its reward is its part of the project's report. The
            gradient of the expected reward is taken over all draws at once: a report y_j on a grant x_j gives

                l_j += rate (y_j - R x_j).

    total   In round t the shares are softmax(l + sigma eps_t), eps_t a standard normal of each project, and the reward
            is the sum of all reports on it: each, whenever it arrives, less the project's mean report b_j, gives

                l_k += rate n x_k (y_j - b_j) eps_tk / sigma    for every project k of n,

            where x_k keeps those that get next to nothing, which no reward depends on, from drifting.

Nothing is known of the projects but where it begins. Reports that arrive more than RING rounds late teach `total`
nothing; where several of one project arrive at once, their means count as that many reports on the nearest round.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from bayesalloc.environment import Observation
from bayesalloc.impact.returns import saturating
from bayesalloc.impact.rules import in_proportion
from bayesalloc.models.funding.seeing import Sight, first_split, seen
from bayesalloc.simulate import Remembering

RING = 64  # rounds whose deviations are remembered


class Gradient(NamedTuple):
    """What can be tuned; the arm of `own` and `total`.

    Attributes:
        rate: of learning.
        sigma: standard deviation of what `total` tries; `own` tries nothing.
        step: in (0, 1]: what a report counts for in running means.
        spread: in [0, 1]: part of the first split that is in proportion to the room seen.
    """

    rate: ArrayLike
    sigma: ArrayLike
    step: ArrayLike
    spread: ArrayLike


class Climbing(NamedTuple):
    """A policy gradient's memory: l, b, R, what the first split is expected to bring, and the last deviations."""

    logit: Float[Array, " project"]
    baseline: Float[Array, " project"]
    per_dollar: Float[Array, ""]
    unit: Float[Array, ""]
    tried: Float[Array, "place project"]


def start(gradient: Gradient, observation: Observation) -> Climbing:
    """Before any report."""
    sight = seen(observation.values)
    base = first_split(sight, gradient.spread)
    expected = sight.effect_expected * saturating(base, sight.room)
    unit = expected.sum()
    logit = jnp.log(jnp.maximum(base, 1e-12))
    return Climbing(logit, expected / unit, jnp.ones_like(unit), unit, jnp.zeros((RING, len(base))))


def _own(gradient: Gradient, memory: Climbing, observation: Observation, *_: Array) -> tuple[Array, Climbing]:
    sight = seen(observation.values)
    told = sight.reports > 0.0
    impact = jnp.where(told, sight.reports * jnp.exp(sight.log_report), 0.0) / memory.unit
    amount = jnp.where(told, sight.reports * jnp.exp(sight.log_report - sight.log_ratio), 0.0)
    logit = memory.logit + gradient.rate * (impact - memory.per_dollar * amount)
    ratio = impact.sum() / jnp.maximum(amount.sum(), 1e-12)
    per_dollar = memory.per_dollar + jnp.where(told.any(), gradient.step * (ratio - memory.per_dollar), 0.0)
    return _softmax(logit, sight), memory._replace(logit=logit, per_dollar=per_dollar)


def _total(
    gradient: Gradient, memory: Climbing, observation: Observation, period: Array, key: Array
) -> tuple[Array, Climbing]:
    sight = seen(observation.values)
    age = jnp.round(sight.age).astype(jnp.int32)
    told = (sight.reports > 0.0) & (age <= RING)
    impact = jnp.where(told, jnp.exp(sight.log_report), 0.0) / memory.unit
    surprise = jnp.where(told, sight.reports * (impact - memory.baseline), 0.0)
    moved = surprise @ memory.tried[(period - age) % RING]
    share = _softmax(memory.logit, sight)
    logit = memory.logit + gradient.rate / gradient.sigma * len(share) * share * moved
    baseline = memory.baseline + jnp.where(told, gradient.step * (impact - memory.baseline), 0.0)
    deviation = jax.random.normal(key, logit.shape, logit.dtype)
    tried = memory.tried.at[period % RING].set(deviation)
    return _softmax(logit + gradient.sigma * deviation, sight), memory._replace(
        logit=logit, baseline=baseline, tried=tried
    )


def _softmax(logit: Float[Array, " project"], sight: Sight) -> Float[Array, " project"]:
    """Shares of those that are on."""
    on = sight.on > 0.0
    exponent = jnp.where(on, logit, -jnp.inf)
    return in_proportion(jnp.exp(exponent - jnp.where(on.any(), exponent.max(), 0.0)), on, 1.0)


own, total = Remembering(start, _own), Remembering(start, _total)

# The best of 20 tries each by `benchmarks/funding_tuning.py`: 0.775 and 0.676 of the oracle on average over 500 rounds.
# Of `total` that is one that hardly moves: what it climbs is not to be seen in 500 rounds of such noisy reports.
TUNED = {
    "own": Gradient(*map(np.float32, (0.219, 0.0873, 0.0257, 0.252))),
    "total": Gradient(*map(np.float32, (0.000720, 0.252, 0.285, 0.0249))),
}
