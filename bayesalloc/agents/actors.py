"""Actors side by side: networks with memories that see, act and value in copies of an environment.

Each acts on what it sees itself (among it, where the environment shows it, what the others do on average), by one
network that is all's or one for each. Arrays have axes group, (time,) sequence: a group is what shares a network, a
sequence is what one actor of it lives through in one copy.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from bayesalloc.agents.copies import opened
from bayesalloc.agents.heads import Discrete, Head
from bayesalloc.agents.recurrent import ActorCritic
from bayesalloc.agents.scaling import Scaling, unscaled
from bayesalloc.environment import Observation
from bayesalloc.episodes import Episodes, numbered
from bayesalloc.errors import InputError


class Actor(NamedTuple):
    """What a run leaves: networks, and the moments of what they see, with a leading axis of groups."""

    network: ActorCritic
    scaling: Scaling

    @property
    def groups(self) -> int:
        """How many networks there are."""
        return len(self.scaling.times)

    def nothing(self, sequences: int) -> Float[Array, "group sequence unit"]:
        """The memories of those that have seen nothing."""
        return jax.vmap(lambda network: network.nothing(sequences))(self.network)


class Copies(NamedTuple):
    """Where the copies of an environment, and those who act in them, stand.

    Attributes:
        params, state, observation: of each copy.
        fresh: whether its episode has just begun.
        memory: of each actor.
        returned: return so far of each copy's episode.
        ended: episodes that have ended, in all copies.
    """

    params: Any
    state: Any
    observation: Observation
    fresh: Bool[Array, " copy"]
    memory: Float[Array, "group sequence unit"]
    returned: Float[Array, " copy"]
    ended: Int[Array, ""]


class Lived(NamedTuple):
    """What the groups lived through; fields have axes (group, time, sequence).

    Attributes:
        values: seen.
        mask: of actions; it means nothing where they are not chosen from a list.
        fresh: whether an episode began there: what is remembered from before is forgotten.
        drawn: what the head drew.
        log_prob: of it.
        value: of where the actor was.
        reward: that it got.
        next_value: of where that led, before any new episode.
        terminated: whether nothing comes after it.
        over: whether an episode ended with it, terminated or truncated.
    """

    values: Float[Array, "*axes feature"]
    mask: Bool[Array, "*axes action"]
    fresh: Bool[Array, "*axes"]
    drawn: Num[Array, "..."]
    log_prob: Float[Array, "*axes"]
    value: Float[Array, "*axes"]
    reward: Float[Array, "*axes"]
    next_value: Float[Array, "*axes"]
    terminated: Bool[Array, "*axes"]
    over: Bool[Array, "*axes"]


def untrained(network: Callable[[Array], ActorCritic], features: int, groups: int, rng_key: Array) -> Actor:
    """The actor that a run begins with: so many networks, that see so many numbers."""
    moments = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (groups, *leaf.shape)), unscaled(features))
    return Actor(jax.vmap(network)(jax.random.split(rng_key, groups)), moments)


def look(actor: Actor, memory: Array, values: Array, fresh: Array) -> tuple[Array, Array, Array]:
    """A step of every actor, arrays with axes (group, sequence): its memory, its head's numbers, and its value."""

    def of_group(actor: Actor, memory: Array, values: Array, fresh: Array) -> tuple[Array, Array, Array]:
        memory, numbers, value = actor.network(memory, actor.scaling(values)[None], fresh[None])
        return memory, numbers[0], value[0]

    return jax.vmap(of_group)(actor, memory, values, fresh)


def decide(head: Head, actor: Actor, memory: Array | None, observation: Observation) -> tuple[Array, Array]:
    """What a learned policy does, without chance, and what it then remembers.

    Args:
        head: that it was trained with.
        actor: what was learned.
        memory: what the last step returned; None: nothing yet.
        observation: of one copy of the environment.
    """
    single = observation.values.ndim == 1
    values, mask = (_grouped(leaf[None], actor.groups, single=single) for leaf in _seen(head, observation))
    memory = actor.nothing(values.shape[1]) if memory is None else memory
    memory, numbers, _ = look(actor, memory, values, jnp.zeros(values.shape[:2], bool))
    return _copied(head.done(head.best(numbers, mask)), 1, single=single)[0], memory


def placed(episodes: Episodes, count: int, params: Any, actor: Actor, rng_key: Array) -> Copies:
    """So many copies at the beginning of their first episodes; `params` as in `copies.opened`."""
    drawn, observation, state = opened(episodes, count, params, rng_key)
    memory = actor.nothing(count * actors_of(observation) // actor.groups)
    return Copies(drawn, state, observation, jnp.ones(count, bool), memory, jnp.zeros(count), jnp.int32(0))


def collect(
    episodes: Episodes,
    head: Head,
    actor: Actor,
    copies: Copies,
    rng_key: Array,
    steps: int,
    shown: Sequence[str] = (),
) -> tuple[Copies, Lived, dict[str, Array]]:
    """The copies act for so many steps.

    Returns:
        Where they then stand; what was lived through; and how many episodes ended, what these brought together, and the
        mean of those fields of the outcome that are to be shown.
    """
    count, actors, single = len(copies.fresh), actors_of(copies.observation), copies.observation.values.ndim == 2
    shape = () if single else (actors,)
    take = numbered(episodes.env, shape) if isinstance(head, Discrete) else lambda action: action
    grouped = partial(_grouped, groups=actor.groups, single=single)

    def of_all(leaf: Array) -> Array:
        return _grouped(jnp.broadcast_to(leaf[:, None], (count, actors)), actor.groups, single=False)

    def step(copies: Copies, key: Array) -> tuple[Copies, tuple[Any, ...]]:
        choose, move = jax.random.split(key)
        values, mask = (grouped(leaf) for leaf in _seen(head, copies.observation))
        fresh = of_all(copies.fresh)
        memory, numbers, value = look(actor, copies.memory, values, fresh)
        drawn = jax.vmap(head.sample)(jax.random.split(choose, actor.groups), numbers, mask)
        action = _copied(head.done(drawn), count, single=single)
        observation, state, reward, terminated, truncated, info = episodes.step_many(
            jax.random.split(move, count), copies.state, jax.vmap(take)(action), copies.params
        )
        reward = reward.reshape(count, -1).sum(-1, keepdims=True) if single else reward
        if reward.shape != (count, actors):
            raise InputError(
                f"{episodes.env.name} shows something to {actors} actors, but its reward has shape {reward.shape[1:]}"
            )
        over = terminated | truncated
        _, _, next_value = look(actor, memory, grouped(info["final_observation"].values), jnp.zeros_like(fresh))
        lived = Lived(
            values=values,
            mask=mask,
            fresh=fresh,
            drawn=drawn,
            log_prob=head.log_prob(numbers, drawn, mask),
            value=value,
            reward=_grouped(reward, actor.groups, single=False),
            next_value=next_value,
            terminated=of_all(terminated),
            over=of_all(over),
        )
        total = copies.returned + reward.sum(-1)
        returned, ended = jnp.where(over, 0.0, total), copies.ended + over.sum()
        copies = Copies(copies.params, state, observation, over, memory, returned, ended)
        counts = {"ended": over.sum(), "return": jnp.where(over, total, 0.0).sum()}
        return copies, (lived, counts, {name: getattr(info["outcome"], name).mean() for name in shown})

    copies, (lived, counts, means) = jax.lax.scan(step, copies, jax.random.split(rng_key, steps))
    lived = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), lived)
    return copies, lived, jax.tree.map(jnp.sum, counts) | jax.tree.map(jnp.mean, means)


def actors_of(observation: Observation) -> int:
    """How many act in each of several copies."""
    return 1 if observation.values.ndim == 2 else observation.values.shape[1]


def _seen(head: Head, observation: Observation) -> tuple[Array, Array]:
    """Values and mask; that means nothing where actions are not chosen from a list."""
    values = observation.values
    return values, observation.mask if isinstance(head, Discrete) else jnp.ones((*values.shape[:-1], 1), bool)


def _grouped(leaf: Array, groups: int, *, single: bool) -> Array:
    """Axes (copy, actor) to (group, sequence); where there is a single actor it has no axis."""
    leaf = leaf[:, None] if single else leaf
    return jnp.moveaxis(leaf.reshape(-1, groups, *leaf.shape[2:]), 1, 0)


def _copied(leaf: Array, copies: int, *, single: bool) -> Array:
    """Axes (group, sequence) back to (copy, actor)."""
    leaf = jnp.moveaxis(leaf, 0, 1).reshape(copies, -1, *leaf.shape[2:])
    return leaf[:, 0] if single else leaf
