"""Bayesian optimisation in worlds of `altruism.py`: the centre allocates by the structured impact function alone.

It sees what `altruism.py` lets the centre see: estimates, room as seen, groups, edges and their kinds, who is on, and
the reports that have arrived; neither the laws of the world nor what its reports err by.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayesalloc.environment import Environment
from bayesalloc.impact.acquisition import World as Believed
from bayesalloc.impact.learning import Learned
from bayesalloc.impact.loop import (
    DRAWS,
    LEARN_AT,
    LEAST_ROUNDS,
    History,
    draws_of,
    learned_each,
    nothing_yet,
    plan,
    stacked,
)
from bayesalloc.impact.structured import Prior, Spreads, double_precision
from bayesalloc.models.funding.world import KINDS, Params, World
from bayesalloc.stepping import Hosted, Standing, played

OWN = 2**31 - 1  # folded into a replicate's noise key for draws of our own; no period has this number


class Funded(NamedTuple):
    """What came of it, by world and round.

    Attributes:
        share: allocations.
        share_of_oracle: see `altruism.Round`, as the next two.
        impact: see there.
        turnover: see there.
    """

    share: Float[np.ndarray, "world round project"]
    share_of_oracle: Float[np.ndarray, "world round"]
    impact: Float[np.ndarray, "world round"]
    turnover: Float[np.ndarray, "world round"]


class Believing(NamedTuple):
    """A round before its money is given: for whoever wants to know what is believed then.

    Attributes:
        round: its number, from 0.
        params: the truth of each world.
        on: who can work.
        share: what is about to be given.
        prior: what was known before any report.
        history: all that was funded and reported.
        learned: the spreads.
    """

    round: int
    params: Params
    on: Array
    share: Float[np.ndarray, "world project"]
    prior: Prior
    history: History
    learned: list[Learned]

    def draws(self, key: Array, n_draws: int, *, at_mode: bool = False) -> Believed:
        """Draws of what is believed in each world: as many at each point of the spreads, or at their mode alone."""
        with double_precision():
            keys = jax.random.split(key, len(self.share))
            points = stacked([each.points for each in self.learned])
            if at_mode:
                points = jax.tree.map(lambda leaf: leaf[:, None], stacked([each.mode for each in self.learned]))
            reports = self.history.reports(self.round)
            sizes = {"n_kinds": len(KINDS), "n_regions": int(np.asarray(self.prior.region).max()) + 1}
            return draws_of(self.prior, reports, points, keys, n_draws=n_draws, **sizes)


def prior_of(world: World, params: Params, stated: float = 0.0) -> Prior:
    """What the centre knows of the projects of several worlds; in double precision.

    Args:
        world: what the worlds are like.
        params: the projects.
        stated: standard deviation of the logarithm that every estimate is said to be off by, at least; 0: nothing is.
    """

    def double(leaf: Any) -> Array:
        values = np.asarray(leaf)
        return jnp.asarray(values, float if values.dtype.kind == "f" else values.dtype)

    known = jax.tree.map(double, params)
    shape = known.estimate.shape
    return Prior(
        estimate=known.estimate,
        stated=jnp.full(shape, stated),
        room=known.room_seen,
        domain=jnp.broadcast_to(jnp.asarray(world.domain), shape),
        intervention=jnp.broadcast_to(jnp.asarray(world.intervention), shape),
        region=known.region,
        edges=known.edges,
    )


class Memory(NamedTuple):
    """What the centre remembers: see `Believing`; `history` has room for more than the `rounds` there were.

    `strength` is what was expected of spill-overs in the last round.
    """

    prior: Prior
    history: History
    share: Float[Array, "world project"]
    strength: Float[Array, "world kind"]
    learned: list[Learned] | None = None
    rounds: int = 0


def optimiser(
    world: World,
    *,
    kappa: float = 0.0,
    sampled: bool = False,
    spillovers: bool = True,
    stated: float = 0.0,
    watch: Callable[[Believing], None] | None = None,
) -> Hosted:
    """Bayesian optimisation as a policy.

    Args:
        world: what the worlds are like; only its sizes and groups are looked at.
        kappa: weight of the standard deviation of the impact, beside its mean.
        sampled: whether to give what is best under a single draw of what is believed (Thompson sampling).
        spillovers: whether to know that projects affect each other.
        stated: see `prior_of`.
        watch: called before the money of each round is given.
    """
    n_draws = 1 if sampled else DRAWS

    def start(standing: Standing) -> Memory:
        with double_precision():
            prior = prior_of(world, standing.params, stated)
            edges = prior.edges
            prior = prior._replace(edges=edges._replace(there=edges.there & spillovers))
            share = jnp.full(prior.estimate.shape, 1.0 / world.n_projects)
            strength = jnp.zeros((len(share), len(KINDS)))
        return Memory(prior, nothing_yet(len(share), LEAST_ROUNDS, world.n_projects), share, strength)

    def act(memory: Memory, standing: Standing) -> tuple[Array, Memory]:
        prior, history, share, strength, learned, number = memory
        with double_precision():
            reports = history.reports(number)
            if number in LEARN_AT or learned is None:
                learned = learned_each(prior, reports, learned, len(KINDS), world.n_regions)
            keys = jax.vmap(lambda key: jax.random.fold_in(jax.random.fold_in(key, OWN), number))(standing.noise_key)
            spreads = stacked([_drawn(*pair) if sampled else pair[0].mode for pair in zip(learned, keys, strict=True)])
            on = jnp.asarray(np.asarray(standing.state.on))
            given = (prior, reports, spreads, on, share, keys, jnp.asarray(kappa), strength)
            share, strength = plan(*given, n_regions=world.n_regions, n_draws=n_draws)
            if watch is not None:
                watch(Believing(number, standing.params, on, np.asarray(share), prior, history, learned))
        return jnp.asarray(np.asarray(share, np.float32)), Memory(prior, history, share, strength, learned, number)

    def told(memory: Memory, happened: Any) -> Memory:
        history = with_round(memory.history, memory.rounds, happened)
        return memory._replace(history=history, rounds=memory.rounds + 1)

    return Hosted(start, act, told)


def with_round(history: History, number: int, happened: Any) -> History:
    """The history with what happened in a round, in the same arrays where they have room for it."""
    history = history.with_room(number + 1)
    history.amount[:, number] = np.where(np.asarray(happened.on), np.asarray(happened.share), 0.0)
    history.log_report[:, number] = np.asarray(happened.log_report)
    history.arrival[:, number] = np.asarray(happened.arrival)
    return history


def _drawn(learned: Learned, key: Array) -> Spreads:
    """One of the points that the spreads may have."""
    place = jax.random.randint(jax.random.fold_in(key, 0), (), 0, len(learned.points.noise))
    return jax.tree.map(lambda leaf: leaf[place], learned.points)


def fund(
    world: World,
    env: Environment,
    rng_key: Array,
    *,
    worlds: int,
    rounds: int,
    kappa: float = 0.0,
    stated: float = 0.0,
    watch: Callable[[Believing], None] | None = None,
) -> Funded:
    """Fund several worlds round after round, on the random numbers that `rollout` has for the same key.

    Args:
        world: what they are like.
        env: their environment, of `altruism.consortium`.
        rng_key: a key.
        worlds: how many.
        rounds: how many.
        kappa: see `optimiser`, as the others.
        stated: see there.
        watch: see there.
    """

    def kept(happened: Any) -> Funded:
        return Funded(*(getattr(happened, name) for name in Funded._fields))

    policy = optimiser(world, kappa=kappa, stated=stated, watch=watch)
    return played(env, policy, rng_key, replicates=worlds, horizon=rounds, collect=kept)
