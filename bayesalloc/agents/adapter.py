"""What the adapters to other toolkits share: starting and stepping episodes, compiled once per environment.

An episode's randomness is a function of one key, and that key's first child starts the next episode. So an environment
that is reset by hand and one of many that reset themselves go through the same episodes.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from bayesalloc.environment import Environment
from bayesalloc.episodes import Episodes, EpisodeState, numbered
from bayesalloc.errors import InputError


class Playing(NamedTuple):
    """An episode under way: the key of the next one, that of this one's noise, its parameters and its state."""

    next_key: Array
    noise_key: Array
    params: Any
    state: EpisodeState


class Seen(NamedTuple):
    """What an actor sees: values (float32) and the mask of available actions, of an observation."""

    values: Any
    mask: Any


class Stepped(NamedTuple):
    """What a step shows: where the action led, its reward (a number, or one per agent) and whether that was the end.

    `rewards` is the reward as the environment gives it, per agent or per objective.
    """

    seen: Seen
    reward: Any
    rewards: Any
    terminated: Any
    truncated: Any


class Program(NamedTuple):
    """The compiled functions of an environment.

    Attributes:
        start: `(key, params or None) -> (playing, seen)`, a new episode.
        step: `(playing, number) -> (state, stepped)`, one period.
        start_many: `start` for a leading axis of keys.
        step_many: `(playing, numbers, params or None) -> (playing, seen, stepped)`; an episode that ended is followed
            by a new one, whose first sight is `seen`.
        seen: shapes and types of what is seen.
    """

    start: Callable[..., tuple[Playing, Seen]]
    step: Callable[..., tuple[EpisodeState, Stepped]]
    start_many: Callable[..., tuple[Playing, Seen]]
    step_many: Callable[..., tuple[Playing, Seen, Stepped]]
    seen: Seen


def compiled(
    env: Environment, horizon: int, *, actors: int | None = None, scalarise: Callable[[Array], Array] | None = None
) -> Program:
    """The environment's program; the same one for every adapter of the same environment and horizon.

    Args:
        env: the environment; it must have `observe` and `reward`.
        horizon: periods until an episode is truncated.
        actors: how many act, each by a number; None: one, and numbers have no axis.
        scalarise: a number from the environment's reward; None: the reward as it is.

    Raises:
        InputError: where the environment cannot be acted in, or the horizon is below 1.
    """
    if horizon < 1:
        raise InputError(f"horizon is {horizon}; it must be at least 1")
    leaves, form = jax.tree.flatten(env._replace(outcomes={}, coords={}))  # what is left has leaves that can be hashed
    return _compiled(tuple(leaves), form, horizon, actors, scalarise)


@functools.lru_cache(maxsize=32)
def _compiled(
    leaves: tuple[Any, ...],
    form: Any,
    horizon: int,
    actors: int | None,
    scalarise: Callable[[Array], Array] | None,
) -> Program:
    env: Environment = jax.tree.unflatten(form, leaves)
    episodes = Episodes(env, horizon)
    action_of = numbered(env, () if actors is None else (actors,))

    def start(key: Array, params: Any) -> tuple[Playing, Seen]:
        next_key, params_key, start_key, noise_key = jax.random.split(key, 4)
        if params is None:
            params = episodes.sample_params(params_key)
        observation, state = episodes.reset(start_key, params)
        seen = Seen(observation.values.astype(jnp.float32), observation.mask)
        return Playing(next_key, noise_key, params, state), seen

    def step(playing: Playing, number: Array) -> tuple[EpisodeState, Stepped]:
        key = jax.random.fold_in(playing.noise_key, playing.state.period)
        observation, state, rewards, terminated, truncated, _ = episodes.advance(
            key, playing.state, action_of(number), playing.params
        )
        seen = Seen(observation.values.astype(jnp.float32), observation.mask)
        reward = rewards if scalarise is None else scalarise(rewards)
        return state, Stepped(seen, reward, rewards, terminated, truncated)

    def step_and_restart(playing: Playing, number: Array, params: Any) -> tuple[Playing, Seen, Stepped]:
        state, stepped = step(playing, number)
        over = stepped.terminated | stepped.truncated
        led_to = playing._replace(state=state), stepped.seen
        playing, seen = jax.tree.map(
            lambda new, old: jnp.where(over, new, old), start(playing.next_key, params), led_to
        )
        return playing, seen, stepped

    return Program(
        start=jax.jit(start),
        step=jax.jit(step),
        start_many=jax.jit(jax.vmap(start, in_axes=(0, None))),
        step_many=jax.jit(jax.vmap(step_and_restart, in_axes=(0, 0, None))),
        seen=jax.eval_shape(lambda key: start(key, None)[1], jax.random.key(0)),
    )


def key_of(generator: np.random.Generator) -> Array:
    """A key from another toolkit's source of randomness."""
    return jax.random.key(generator.integers(2**32, dtype=np.uint32))
