"""An environment as reinforcement learning sees it: reset and step, with automatic reset at the end of an episode."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from bayesalloc.environment import Environment, Observation
from bayesalloc.errors import InputError
from bayesalloc.intervene import seed_by_name


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
        final, moved, reward, terminated, truncated, outcome = self.advance(step_key, state, action, params)
        over = terminated | truncated
        observation, after = jax.tree.map(
            lambda new, old: jnp.where(over, new, old), self.reset(reset_key, params), (final, moved)
        )
        return observation, after, reward, terminated, truncated, {"final_observation": final, "outcome": outcome}

    def advance(
        self, rng_key: Array, state: EpisodeState, action: Any, params: Any
    ) -> tuple[Observation, EpisodeState, Array, Array, Array, Any]:
        """One period without what comes after the end of an episode, for those who begin the next one themselves.

        Returns:
            observation, state, reward, terminated, truncated (as in `step`), and the outcome.
        """
        assert self.env.observe is not None and self.env.reward is not None
        with seed_by_name(rng_key=rng_key):
            inner, outcome = self.env.step(state.inner, action, params)
        period = state.period + 1
        terminated = jnp.zeros((), bool) if self.env.ended is None else jnp.asarray(self.env.ended(inner, params))
        truncated = (period >= self.horizon) & ~terminated
        observation = self.env.observe(inner, params)
        return observation, EpisodeState(inner, period), self.env.reward(outcome), terminated, truncated, outcome
