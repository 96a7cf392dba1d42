"""Funding round after round by the structured impact function: many worlds side by side, in double precision.

`plan` is what `optimize ask` does, where nothing limits an allocation but which projects can work: compiled, and the
same for many worlds at once. The expected impact is taken over draws of the posterior at the most probable spreads.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from bayesalloc.impact import acquisition, learning
from bayesalloc.impact.learning import Learned
from bayesalloc.impact.structured import (
    Draws,
    Prior,
    Reports,
    Spreads,
    believe,
    double_precision,
    draw,
    groups_in,
    strengths,
)
from bayesalloc.impact.waterfill import water_filled

DRAWS = 128
STEPS = 12  # half-and-half steps of water-filling, from the last allocation and that without spill-overs
LEAST_ROUNDS = 8  # that histories are padded to
LEARN_AT = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)  # rounds before which the spreads are learned


class History(NamedTuple):
    """What was funded and reported in each world so far.

    Attributes:
        amount: x, 0 where a project was off.
        log_report: the logarithm of the report on a round; any number where there is none.
        arrival: the round at whose beginning it is there; a number that no round reaches where there is none.
    """

    amount: Float[np.ndarray, "world round project"]
    log_report: Float[np.ndarray, "world round project"]
    arrival: Int[np.ndarray, "world round project"]

    def with_room(self, rounds: int) -> "History":
        """The same where there is room for so many rounds; else a copy with twice the room."""
        room = self.amount.shape[1]
        if rounds <= room:
            return self
        more = nothing_yet(len(self.amount), room, self.amount.shape[2])
        return History(*(np.concatenate(pair, 1) for pair in zip(self, more, strict=True)))

    def reports(self, now: int) -> Reports:
        """What has arrived by the beginning of a round, padded to a power of two of rounds."""
        padded = LEAST_ROUNDS
        while padded < now:
            padded *= 2
        taken = min(now, padded)
        shape = (len(self.amount), padded, self.amount.shape[2])
        amount, log_report, there = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)
        amount[:, :taken] = self.amount[:, :taken]
        there[:, :taken] = self.arrival[:, :taken] <= now
        log_report[:, :taken] = np.where(there[:, :taken], self.log_report[:, :taken], 0.0)
        return Reports(*map(jnp.asarray, (amount, log_report, np.full(shape, np.nan), there)))


def nothing_yet(worlds: int, rounds: int, projects: int) -> History:
    """Before the first of so many rounds."""
    shape = (worlds, rounds, projects)
    return History(np.zeros(shape), np.zeros(shape), np.full(shape, np.iinfo(np.int64).max))


def plan(
    prior: Prior,
    reports: Reports,
    spreads: Spreads,
    on: Bool[Array, "world project"],
    last: Float[Array, "world project"],
    keys: Array,
    kappa: Float[Array, ""],
    around: Float[Array, "world kind"],
    *,
    n_regions: int,
    n_draws: int = DRAWS,
) -> tuple[Float[Array, "world project"], Float[Array, "world kind"]]:
    """The allocation with the largest mu + kappa sigma in each world, and the expected strengths of spill-overs.

    Args:
        prior: the projects of each world.
        reports: what has arrived.
        spreads: of each world.
        on: which projects can work.
        last: the last allocation.
        keys: one for each world.
        kappa: weight of the standard deviation of the impact.
        around: strengths that spill-overs are linearised around: what was expected of them in the round before.
        n_regions: number of regions.
        n_draws: of the posterior, that mu and sigma are taken over.
    """
    sizes = (around.shape[1], n_regions, groups_in(prior))
    return _plan(prior, reports, spreads, on, last, keys, around, kappa, sizes, n_draws)


@partial(jax.jit, static_argnums=(8, 9))
def _plan(
    prior: Prior,
    reports: Reports,
    spreads: Spreads,
    on: Array,
    last: Array,
    keys: Array,
    around: Array,
    kappa: Array,
    sizes: tuple[int, int, tuple[int, int]],
    n_draws: int,
) -> tuple[Array, Array]:
    n_kinds = sizes[0]

    def one(
        prior: Prior, reports: Reports, spreads: Spreads, on: Array, last: Array, key: Array, around: Array
    ) -> tuple[Array, Array]:
        belief = believe(prior, reports, spreads, *sizes, around)
        draws = jax.tree.map(lambda leaf: leaf[:n_draws], draw(belief, prior, key, n_draws + n_draws % 2, n_kinds))
        world = acquisition.World(draws, jnp.broadcast_to(on.astype(last.dtype), draws.log_effect.shape), prior.edges)
        high = on.astype(last.dtype)

        def worth(amount: Array) -> Array:
            impact = acquisition.impact(amount, world)
            return impact.mean() + kappa * jnp.sqrt(jnp.var(impact) + 1e-30)

        def step(_: ArrayLike, amount: Array) -> Array:
            first_dollar = jnp.maximum(jax.grad(worth)(amount), 0.0) * (1.0 + amount / prior.room)
            return 0.5 * (amount + water_filled(first_dollar, prior.room, 1.0, 0.0, high))

        start = water_filled(jnp.exp(belief.effect), prior.room, 1.0, 0.0, high)
        kept = last * high
        kept = jnp.where(kept.sum() > 0, kept / jnp.maximum(kept.sum(), 1e-30), start)
        return jax.lax.fori_loop(0, STEPS, step, 0.5 * (start + kept)), strengths(belief, n_kinds)

    return jax.vmap(one)(prior, reports, spreads, on, last, keys, around)


def learned_each(
    prior: Prior, reports: Reports, before: Sequence[Learned] | None, n_kinds: int, n_regions: int
) -> list[Learned]:
    """The spreads of each world, two worlds at a time."""

    def of(index: int) -> Learned:
        with double_precision():  # a thread of its own starts in single
            mine, told = jax.tree.map(lambda leaf: leaf[index], (prior, reports))
            start = None if before is None else before[index].mode
            return learning.learned(mine, told, n_kinds, n_regions, start)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(of, range(len(prior.estimate))))


def draws_of(
    prior: Prior,
    reports: Reports,
    points: Spreads,
    keys: Array,
    *,
    n_kinds: int,
    n_regions: int,
    n_draws: int,
) -> acquisition.World:
    """Draws of what is believed in each world, as many at each of its points of the spreads.

    Args:
        prior: the projects of each world.
        reports: what has arrived.
        points: see `bayesalloc.impact.learning.Learned`; the first two axes are world and point.
        keys: one for each world.
        n_kinds: number of kinds of spill-overs.
        n_regions: number of regions.
        n_draws: at each point; even.
    """
    return _draws_of(prior, reports, points, keys, (n_kinds, n_regions, groups_in(prior)), n_draws)


@partial(jax.jit, static_argnums=(4, 5))
def _draws_of(
    prior: Prior, reports: Reports, points: Spreads, keys: Array, sizes: tuple[int, int, tuple[int, int]], n_draws: int
) -> acquisition.World:

    def one(prior: Prior, reports: Reports, points: Spreads, key: Array) -> acquisition.World:
        around = strengths(believe(prior, reports, jax.tree.map(lambda leaf: leaf[0], points), *sizes), sizes[0])

        def at(given: tuple[Spreads, Array]) -> Draws:
            belief = believe(prior, reports, given[0], *sizes, around)
            return draw(belief, prior, given[1], n_draws, sizes[0])

        keys = jax.random.split(key, len(points.noise))
        draws = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), jax.lax.map(at, (points, keys)))
        return acquisition.World(draws, jnp.ones_like(draws.log_effect), prior.edges)

    return jax.vmap(one)(prior, reports, points, keys)


def stacked(parts: Sequence[Spreads]) -> Spreads:
    """Spreads of several worlds on a leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)
