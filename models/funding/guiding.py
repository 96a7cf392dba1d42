"""What the centre hands on to agencies in a round: its split, and what it believes of impact, in few numbers.

The belief is handed on as one draw that stands for all, with the expected effect of each project and the middle of all
else, so that the aggregate impact function can be evaluated inside a compiled program, by every agency in every round.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayesalloc.environment import Environment
from bayesalloc.impact.acquisition import World as Believed
from bayesalloc.impact.returns import Edges
from bayesalloc.impact.rules import RULES
from bayesalloc.impact.structured import KNOTS, Draws, double_precision, impacts
from bayesalloc.models.funding.bomara import Believing, Funded, fund
from bayesalloc.models.funding.world import KINDS, Params, World

DRAWS = 64  # that expectations are taken over, at the most probable spreads
UNKNOWN = -1.0


class Guide(NamedTuple):
    """What agencies are told in a round, or with a leading axis in every round.

    Attributes:
        share: the centre's split of the budget, shape (project,).
        on: 1 where a project is on, 0 where it is not, UNKNOWN where that is not said; shape (project,).
        doubt: standard deviation of each project's log effect, shape (project,).
        belief: of impact: one draw, with a leading axis of it.
    """

    share: Array
    on: Array
    doubt: Array
    belief: Draws


def believed_impact(amount: Float[Array, " project"], guide: Guide, edges: Edges) -> Float[Array, ""]:
    """The aggregate impact function of a round, as it is handed on."""
    return impacts(guide.belief, amount, edges).sum()


def in_short(draws: Draws) -> tuple[Draws, Array]:
    """One draw that stands for all of one world, and the standard deviation of log effects."""
    effect = draws.log_effect
    middle = Draws(*(leaf.mean(0, keepdims=True) for leaf in draws))
    expected = jax.nn.logsumexp(effect, 0, keepdims=True) - jnp.log(float(len(effect)))
    room = jnp.exp(jnp.log(draws.room).mean(0, keepdims=True))
    return middle._replace(log_effect=expected, room=room), effect.std(0)


@jax.jit
def _in_short(believed: Believed) -> tuple[Draws, Array]:
    return jax.vmap(in_short)(believed.draws)


def handed_on(now: Believing, rng_key: Array) -> Guide:
    """What agencies are told before the money of a round is given, in single precision; a leading axis of worlds."""
    with double_precision():
        belief, doubt = _in_short(now.draws(rng_key, DRAWS, at_mode=True))
    guide = Guide(jnp.asarray(now.share), now.on, doubt, belief)
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float32)), guide)


def uninformed(params: Params, rounds: int) -> Guide:
    """What there is to go by without any report, in every round: the knapsack's split, and what is expected."""
    n = len(params.room_seen)
    share = RULES["knapsack"](params.effect_expected, params.room_seen, jnp.ones(n, bool), 1.0)
    belief = Draws(
        log_effect=jnp.log(params.effect_expected)[None],
        room=params.room_seen[None],
        strength=jnp.zeros((1, len(KINDS))),
        residual=jnp.zeros((1, len(KNOTS))),
    )
    guide = Guide(share, jnp.full(n, UNKNOWN), jnp.ones(n), belief)
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (rounds, *leaf.shape)), guide)


def recorded(
    world: World, env: Environment, rng_key: Array, *, worlds: int, rounds: int
) -> tuple[Params, Guide, Funded]:
    """Bayesian optimisation alone in several worlds: their projects, what it would tell agencies, and its outcomes.

    Args:
        world: what they are like.
        env: their environment, of `altruism.consortium`.
        rng_key: a key; on the same one a `rollout` with these projects has the same random numbers.
        worlds: how many.
        rounds: how many.

    Returns:
        The projects with a leading axis of worlds; guides with leading axes world and round.
    """
    told: list[Guide] = []
    projects: list[Params] = []

    def watch(now: Believing) -> None:
        told.append(handed_on(now, jax.random.fold_in(rng_key, now.round)))
        if not projects:
            projects.append(now.params)

    done = fund(world, env, rng_key, worlds=worlds, rounds=rounds, watch=watch)
    return projects[0], jax.tree.map(lambda *leaves: jnp.stack(leaves, 1), *told), done
