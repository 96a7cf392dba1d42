"""Agencies that adapt without learning, in `altruism.py`: each re-splits what Bayesian optimisation gives to it.

An agency alone sees the delivery s of its projects. Where returns are e K log(1 + x / K) and x is the best split,
e / (x + K) is the same for all projects that get something; delivery makes e exp(s) of e. So the best split of an
agency's budget among these is the water-filling of first-dollar effects in proportion to (1 + x / K) exp(s). Amounts in
proportion to (x + K) exp(s) - K would forget that the level of e / (x + K) changes too.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayesalloc.impact.waterfill import water_filled
from bayesalloc.models.funding.bomara import Memory, optimiser
from bayesalloc.models.funding.world import AGENCY, World
from bayesalloc.stepping import Hosted, Standing

LEAST = 1e-6  # share of the budget below which the centre gives a project nothing


def tilting(world: World) -> Hosted:
    """The centre by Bayesian optimisation, its agencies by what they see.

    Args:
        world: what the worlds are like; only its sizes and groups are looked at.
    """
    centre = optimiser(world)

    def act(memory: Memory, standing: Standing) -> tuple[Array, Memory]:
        share, memory = centre.act(memory, standing)
        state, room = standing.state, standing.params.room_seen
        return _tilted(*(jnp.asarray(np.asarray(each)) for each in (share, room, state.local_seen, state.on))), memory

    return Hosted(centre.start, act, centre.told)


def tilted(share: Float[Array, " project"], room: Array, local: Array, on: Array) -> Float[Array, " project"]:
    """What the agencies make of their budgets.

    Args:
        share: what the centre gives to each project.
        room: K as seen.
        local: s as seen.
        on: whether each project can work.
    """

    def agency(share: Array, room: Array, local: Array, on: Array) -> Array:
        there = (share > LEAST) & (on > 0)
        high = jnp.where(there, jnp.inf, 0.0).astype(share.dtype)
        budget = jnp.where(there, share, 0.0).sum()
        split = water_filled((1.0 + share / room) * jnp.exp(local), room, budget, 0.0, high)
        return jnp.where(there.any(), split, share)

    return jax.vmap(agency)(*(each.reshape(-1, AGENCY) for each in (share, room, local, on))).ravel()


_tilted = jax.jit(jax.vmap(tilted))
