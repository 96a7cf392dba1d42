"""Copies of an environment that a learner acts in side by side."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from bayesalloc.environment import Observation
from bayesalloc.episodes import Episodes


def opened(
    episodes: Episodes, count: int, params: Any | Callable[[Array], Any], rng_key: Array
) -> tuple[Any, Observation, Any]:
    """Copies at the beginning of an episode: their parameters, what is seen, and their states.

    Args:
        episodes: of the environment.
        count: how many.
        params: of all; None: each copy has its own, drawn from the prior; a function of a key: drawn by it.
        rng_key: a key.
    """
    draw, begin = jax.random.split(rng_key)
    if params is None or callable(params):
        drawn = jax.vmap(params or episodes.sample_params)(jax.random.split(draw, count))
    else:
        drawn = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *jnp.shape(leaf))), params)
    return drawn, *jax.vmap(episodes.reset)(jax.random.split(begin, count), drawn)
