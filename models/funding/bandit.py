"""A bandit for `altruism.py`: money follows the reports on what a grant brought, without any model of the projects.

A Boltzmann bandit gives project j a share in proportion to b_j exp((q_j - q0_j) / T), with q_j the running mean of
log(report / grant). It starts at q0_j, what is expected of the first split b: the knapsack's, with a part of the money
spread over all projects in proportion to their room. So it begins as the knapsack, and leaves it as reports surprise.
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
from bayesalloc.models.funding.world import AGENCY
from bayesalloc.simulate import Remembering


class Bandit(NamedTuple):
    """What can be tuned; the arm of `central` and `per_agency`.

    Attributes:
        temperature: T > 0; the lower, the more the money follows reports.
        step: in (0, 1]: what a report counts for once many have come; before that they are averaged.
        doubt: how many reports the expectation counts for.
        spread: in [0, 1]: part of the first split that is in proportion to the room seen.
    """

    temperature: ArrayLike
    step: ArrayLike
    doubt: ArrayLike
    spread: ArrayLike


class Running(NamedTuple):
    """A bandit's memory: q, how many reports it is the mean of, q0 and the knapsack's split of all projects."""

    mean: Float[Array, " project"]
    reports: Float[Array, " project"]
    expected: Float[Array, " project"]
    base: Float[Array, " project"]


def start(bandit: Bandit, observation: Observation) -> Running:
    """Before any report."""
    sight = seen(observation.values)
    base = first_split(sight, bandit.spread)
    ratio = sight.effect_expected * saturating(base, sight.room) / jnp.maximum(base, 1e-12)
    expected = jnp.log(jnp.where(base > 0.0, ratio, sight.effect_expected))
    return Running(expected, jnp.zeros_like(expected), expected, base)


def learned(bandit: Bandit, memory: Running, sight: Sight) -> Running:
    """The memory when the reports of a round have come in."""
    reports = memory.reports + sight.reports
    weight = jnp.maximum(sight.reports / (reports + bandit.doubt), 1.0 - (1.0 - bandit.step) ** sight.reports)
    mean = memory.mean + jnp.where(sight.reports > 0.0, weight * (sight.log_ratio - memory.mean), 0.0)
    return memory._replace(mean=mean, reports=reports)


def _central(bandit: Bandit, memory: Running, observation: Observation, *_: Array) -> tuple[Array, Running]:
    sight = seen(observation.values)
    memory = learned(bandit, memory, sight)
    return _boltzmann(bandit, memory.base, memory.mean - memory.expected, sight.on > 0.0), memory


def _per_agency(bandit: Bandit, memory: Running, observation: Observation, *_: Array) -> tuple[Array, Running]:
    sight = seen(observation.values)
    memory = learned(bandit, memory, sight)
    on = (sight.on > 0.0).reshape(-1, AGENCY)
    base, surprise = (each.reshape(-1, AGENCY) for each in (memory.base, memory.mean - memory.expected))
    within = jax.vmap(lambda *given: _boltzmann(bandit, *given))(base, surprise, on)
    budget = (base * on).sum(-1)
    bid = (within * surprise).sum(-1)  # of the money as the agency would split it
    return (_boltzmann(bandit, budget, bid, budget > 0.0)[:, None] * within).reshape(-1), memory


def _boltzmann(bandit: Bandit, base: Array, surprise: Array, on: Array) -> Array:
    there = on & (base > 0.0)
    exponent = jnp.where(there, surprise / bandit.temperature, -jnp.inf)
    most = exponent.max()
    return in_proportion(base * jnp.exp(exponent - jnp.where(jnp.isfinite(most), most, 0.0)), on, 1.0)


central = Remembering(start, _central)  # one bandit over all projects
per_agency = Remembering(start, _per_agency)  # one in each agency over its own, and one over the agencies' bids

# The best of 20 tries drawn at random on 20 worlds of their own, by the mean share of the oracle over 500 rounds.
TUNED = {
    "central": Bandit(*map(np.float32, (0.373, 0.0377, 2.15, 0.221))),
    "per_agency": Bandit(*map(np.float32, (0.619, 0.0490, 0.948, 0.0786))),
}
