"""Agencies that adapt without learning, in `altruism.py`: each re-splits what Bayesian optimisation gives to it.

An agency alone sees the delivery s of its projects. Where returns are e K log(1 + x / K), the best amounts have the
same e / (x + K); delivery makes e exp(s) of e, and so (x + K) exp(s) of x + K. So of each agency's budget its projects
get amounts in proportion to (x + K) exp(s) - K, or nothing where that is below zero.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from bayesalloc.impact.rules import in_proportion
from bayesalloc.models.funding.bomara import Memory, optimiser
from bayesalloc.models.funding.world import AGENCY, World
from bayesalloc.stepping import Hosted, Standing


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


def tilted(
    share: Float[Array, " project"], room: Array, local: Array, on: Bool[Array, " project"]
) -> Float[Array, " project"]:
    """What the agencies make of their budgets.

    Args:
        share: what the centre gives to each project.
        room: K as seen.
        local: s as seen.
        on: which projects can work.
    """

    def agency(share: Array, room: Array, local: Array, on: Array) -> Array:
        wanted = on * jnp.maximum((share + room) * jnp.exp(local) - room, 0.0)
        return jnp.where(wanted.sum() > 0.0, in_proportion(wanted, on, share.sum()), share)  # or as it was

    return jax.vmap(agency)(*(each.reshape(-1, AGENCY) for each in (share, room, local, on))).ravel()


_tilted = jax.jit(jax.vmap(tilted))
