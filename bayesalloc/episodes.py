"""An environment as reinforcement learning sees it: reset and step, with automatic reset at the end of an episode."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from bayesalloc.environment import Environment, Observation, stack
from bayesalloc.errors import InputError
from bayesalloc.following import seed_by_name


class EpisodeState(NamedTuple):
    """The environment's state, and the periods gone by in this episode."""

    inner: Any
    period: Array


class Episodes(NamedTuple):
    """Episodes of `horizon` periods of an environment; pure functions, to be vmapped and scanned.

    Attributes:
        env: the environment; it must have `observe` and `reward`.
        horizon: periods until an episode is truncated.

    >>> import jax, bayesalloc
    >>> episodes = Episodes(bayesalloc.load_model("watershed"), horizon=3)
    >>> params = episodes.sample_params(jax.random.key(0))
    >>> observation, state = episodes.reset(jax.random.key(1), params)
    >>> observation.values.shape, observation.mask.shape
    ((3,), (3,))
    """

    env: Environment
    horizon: int

    def sample_params(self, rng_key: Array) -> Any:
        """Parameters drawn from the environment's prior."""
        return seed_by_name(self.env.prior, rng_key)()

    def reset(self, rng_key: Array, params: Any) -> tuple[Observation, EpisodeState]:
        """A new episode: the first observation, with its mask of available actions, and the state."""
        if self.env.observe is None or self.env.reward is None:
            raise InputError(f"{self.env.name} cannot be acted in: it has no `observe` or no `reward`")
        inner = seed_by_name(self.env.initial, rng_key)(params)
        return self.env.observe(inner, params), EpisodeState(inner, jnp.int32(0))

    def advance(
        self, rng_key: Array, state: EpisodeState, action: Any, params: Any
    ) -> tuple[Observation, EpisodeState, Array, Array, Array, dict[str, Any]]:
        """One period, and nothing after it: `step` without the automatic reset.

        Returns:
            As `step`, but for the observation and the state: they are those that the action led to.
        """
        assert self.env.observe is not None and self.env.reward is not None
        with seed_by_name(rng_key=rng_key):
            inner, outcome = self.env.step(state.inner, action, params)
        observation = self.env.observe(inner, params)
        period = state.period + 1
        terminated = jnp.zeros((), bool) if self.env.ended is None else jnp.asarray(self.env.ended(inner, params))
        truncated = (period >= self.horizon) & ~terminated
        info = {"final_observation": observation, "outcome": outcome}
        return observation, EpisodeState(inner, period), self.env.reward(outcome), terminated, truncated, info

    def step(
        self, rng_key: Array, state: EpisodeState, action: Any, params: Any
    ) -> tuple[Observation, EpisodeState, Array, Array, Array, dict[str, Any]]:
        """One period; at its end an episode is followed by a new one.

        Returns:
            observation (of the next episode where this one ended), state, reward (per agent or objective), terminated
            (the problem is over, by `env.ended`), truncated (the horizon was reached and the problem is not over), and
            info with `final_observation`, the observation of the state that the action led to, and the `outcome`.
        """
        step_key, reset_key = jax.random.split(rng_key)
        final, state, reward, terminated, truncated, info = self.advance(step_key, state, action, params)
        over = terminated | truncated
        fresh = self.reset(reset_key, params)
        observation, after = jax.tree.map(lambda new, old: jnp.where(over, new, old), fresh, (final, state))
        return observation, after, reward, terminated, truncated, info

    def step_many(
        self, rng_keys: Array, state: EpisodeState, action: Any, params: Any
    ) -> tuple[Observation, EpisodeState, Array, Array, Array, dict[str, Any]]:
        """`step` of many copies, the same as under vmap, but faster: only where an episode ended a new one begins.

        Under vmap every copy begins a new episode at every step, which nearly always is thrown away. Here copies whose
        episode ended begin new ones together, a sixteenth of all at a time, until none is left.

        Args:
            rng_keys: of the copies, shape (copy,).
            state: with a leading axis of copies, as all that follows.
            action: of each copy.
            params: of each copy.

        Returns:
            As `step`, all with a leading axis of copies.
        """
        step_keys = jax.vmap(jax.random.split)(rng_keys)[:, 0]
        final, state, reward, terminated, truncated, info = jax.vmap(self.advance)(step_keys, state, action, params)
        count = len(rng_keys)
        together = -(-count // 16)

        def begin(left: tuple[Array, Any]) -> tuple[Array, Any]:
            over, there = left
            which = jnp.flatnonzero(over, size=together, fill_value=count)
            key, here = jax.tree.map(lambda leaf: leaf.at[which].get(mode="clip"), (rng_keys, params))
            fresh = jax.vmap(self.reset)(jax.vmap(jax.random.split)(key)[:, 1], here)
            there = jax.tree.map(lambda old, new: old.at[which].set(new, mode="drop"), there, fresh)
            return over.at[which].set(False, mode="drop"), there

        over = terminated | truncated
        _, (observation, state) = jax.lax.while_loop(lambda left: left[0].any(), begin, (over, (final, state)))
        return observation, state, reward, terminated, truncated, info


def numbered(env: Environment, shape: tuple[int, ...] = ()) -> Callable[[Array], Any]:
    """What an environment's `step` takes for an action's number, by one rule.

    Where the environment's named actions (`env.arms(None)`) are whole numbers, or where it names none, `step` takes the
    number itself. Otherwise number k stands for the k-th named action.

    Args:
        env: the environment.
        shape: of the numbers: () for one actor, (n_agents,) for several.

    Returns:
        A function from the number, or the array of them, to the action.

    Raises:
        InputError: where several actors' actions are not whole numbers, one for each.

    >>> import bayesalloc
    >>> terms = numbered(bayesalloc.load_model("watershed"))(jnp.int32(1))  # performance_contract
    >>> numbered(bayesalloc.load_model("srap"))(jnp.int32(1)).tolist()
    1
    """
    actions = list(env.arms(None).values())
    if all(_whole_numbers(action, shape) for action in actions):
        return lambda number: number
    if shape:
        raise InputError(f"an action of {env.name} must be one whole number for each of {shape[0]} agents")
    stacked = stack(actions)
    return lambda number: jax.tree.map(lambda leaf: leaf[number], stacked)


def _whole_numbers(action: Any, shape: tuple[int, ...]) -> bool:
    if not isinstance(action, int | np.integer | np.ndarray | Array):
        return False
    return np.shape(action) == shape and jnp.issubdtype(jnp.result_type(action), jnp.integer)
