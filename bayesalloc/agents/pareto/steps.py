"""Steps of several copies of an environment, and the transitions over some steps that a learner remembers of them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Step(NamedTuple):
    """What happened in one step of each copy; axes (step, copy, ...).

    Attributes:
        values: seen before it.
        action: each factor's move.
        weights: of the objectives, of the episode.
        reward: in each objective.
        next_values, next_mask: seen where it led, before any new episode.
        terminated: whether nothing comes after it.
        over: whether an episode ended with it, terminated or truncated.
        happened: False before the run's first step.
    """

    values: Float[Array, "*axes feature"]
    action: Int[Array, "*axes factor"]
    weights: Float[Array, "*axes objective"]
    reward: Float[Array, "*axes objective"]
    next_values: Float[Array, "*axes feature"]
    next_mask: Bool[Array, "*axes choice"]
    terminated: Bool[Array, "*axes"]
    over: Bool[Array, "*axes"]
    happened: Bool[Array, "*axes"]


class Transition(NamedTuple):
    """What an action led to some steps later; `discount` is that of the value there, 0 where nothing comes after."""

    values: Float[Array, "*axes feature"]
    action: Int[Array, "*axes factor"]
    weights: Float[Array, "*axes objective"]
    reward: Float[Array, "*axes objective"]
    discount: Float[Array, "*axes"]
    next_values: Float[Array, "*axes feature"]
    next_mask: Bool[Array, "*axes choice"]


def added_up(steps: Step, ahead: int, discount: float) -> tuple[Transition, Bool[Array, "start copy"]]:
    """Transitions over `ahead` steps, fewer where an episode ends before; and which of them happened.

    Args:
        steps: one after another; there is a transition for each but the last `ahead` - 1.
        ahead: how many rewards are added up, at most.
        discount: of a reward one step later.
    """
    count = len(steps.over) - ahead + 1
    first = jax.tree.map(lambda leaf: leaf[:count], steps)
    reward, there = jnp.zeros_like(first.reward), jnp.ones_like(first.over)
    found = Transition(
        first.values,
        first.action,
        first.weights,
        reward,
        jnp.ones(first.over.shape),
        first.next_values,
        first.next_mask,
    )
    for k in range(ahead):
        here = jax.tree.map(lambda leaf, k=k: leaf[k : k + count], steps)
        left = jnp.where(here.terminated, 0.0, discount ** (k + 1))
        later = found._replace(
            reward=found.reward + discount**k * here.reward,
            discount=left,
            next_values=here.next_values,
            next_mask=here.next_mask,
        )
        found = jax.tree.map(
            lambda new, old, there=there: jnp.where(there.reshape(*there.shape, *[1] * (new.ndim - 2)), new, old),
            later,
            found,
        )
        there = there & ~here.over
    return found, first.happened
