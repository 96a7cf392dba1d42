"""Reports of `altruism.py` under way: who has reported on which round, and when that is read.

A report on round t is there from round t + delay on. Those under way are kept by the round they are about, in as many
places as a delay may have rounds, so none is overwritten before it has arrived.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from bayesalloc.models.funding.world import World

NEVER = 2**31 - 1  # the round in which a report arrives that there is not


class Pending(NamedTuple):
    """Reports on the last rounds, round t at place t modulo their number; arrival is -1 before the first rounds."""

    log_report: Float[Array, "place project"]
    amount: Float[Array, "place project"]
    arrival: Int[Array, "place project"]


class Arrived(NamedTuple):
    """What the reports say that arrive at the beginning of a round, all of a project's taken together.

    Attributes:
        reports: how many there are; the means are 0 where there is none.
        log_report: mean of the logs of the reported impacts.
        log_ratio: mean of the logs of reported impact over grant.
        age: mean rounds since the round a report is about.
    """

    reports: Float[Array, " project"]
    log_report: Float[Array, " project"]
    log_ratio: Float[Array, " project"]
    age: Float[Array, " project"]


def nothing_pending(world: World) -> Pending:
    """Before the first round."""
    shape = (world.depth, world.n_projects)
    return Pending(jnp.zeros(shape), jnp.ones(shape), jnp.full(shape, -1, jnp.int32))


def delays(world: World, lot: Float[Array, " project"]) -> Int[Array, " project"]:
    """1 + geometric rounds with mean `delay`, at most `depth`, from numbers that are uniform in [0, 1)."""
    if world.delay == 1.0:
        return jnp.ones(lot.shape, jnp.int32)
    waited = jnp.floor(jnp.log1p(-lot) / math.log1p(-1.0 / world.delay))
    return 1 + jnp.minimum(waited, world.depth - 1).astype(jnp.int32)


def filed(
    pending: Pending, period: Array, log_report: Array, amount: Array, arrival: Array, there: Bool[Array, " project"]
) -> Pending:
    """The reports under way after a round's have been filed."""
    place = period % pending.arrival.shape[0]
    amount = jnp.where(there, amount, 1.0)
    return Pending(*(kept.at[place].set(new) for kept, new in zip(pending, (log_report, amount, arrival), strict=True)))


def arrived(pending: Pending, period: Array) -> Arrived:
    """What arrives at the beginning of a round."""
    depth = pending.arrival.shape[0]
    due = (pending.arrival == period).astype(pending.log_report.dtype)
    age = ((period - 1 - jnp.arange(depth)) % depth + 1).astype(due.dtype)[:, None]
    count = due.sum(0)

    def mean(value: Array) -> Array:
        return (due * value).sum(0) / jnp.maximum(count, 1.0)

    log_ratio = pending.log_report - jnp.log(pending.amount)
    return Arrived(count, mean(pending.log_report), mean(log_ratio), mean(age))
