"""A replay buffer that is written without conditional copies, so that many can live side by side under vmap."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


class Buffer(NamedTuple):
    """The latest items, in a ring.

    Attributes:
        items: a pytree whose leaves have a leading axis of the buffer's capacity.
        added: items ever added.
    """

    items: Any
    added: Int[Array, ""]

    @property
    def size(self) -> Int[Array, ""]:
        """How many items there are to sample from."""
        return jnp.minimum(self.added, len(jax.tree.leaves(self.items)[0]))


def empty(example: Any, capacity: int) -> Buffer:
    """A buffer for items like the example.

    >>> empty({"reward": jnp.zeros(())}, 8).items["reward"].shape
    (8,)
    """
    items = jax.tree.map(lambda leaf: jnp.zeros((capacity, *jnp.shape(leaf)), jnp.result_type(leaf)), example)
    return Buffer(items, jnp.int32(0))


def add(buffer: Buffer, items: Any, valid: Bool[Array, " item"] | None = None) -> Buffer:
    """The buffer with more items, of which the oldest give way.

    Args:
        buffer: what is remembered.
        items: with a leading axis, no longer than the buffer's.
        valid: which of them count; the others are written to a place that is not there, which costs nothing (a
            conditional write would copy the buffer under vmap). None: all.
    """
    capacity, count = (len(jax.tree.leaves(tree)[0]) for tree in (buffer.items, items))
    if count > capacity:
        raise ValueError(f"{count} items do not fit into a buffer of {capacity}")
    keep = jnp.ones(count, bool) if valid is None else valid
    place = (buffer.added + jnp.cumsum(keep) - 1) % capacity
    place = jnp.where(keep, place, capacity)
    written = jax.tree.map(lambda old, new: old.at[place].set(new, mode="drop"), buffer.items, items)
    return Buffer(written, buffer.added + keep.sum())


def sample(buffer: Buffer, rng_key: Array, count: int) -> Any:
    """Items drawn uniformly with replacement; meaningless while the buffer is empty."""
    place = jax.random.randint(rng_key, (count,), 0, jnp.maximum(buffer.size, 1))
    return jax.tree.map(lambda leaf: leaf.at[place].get(mode="promise_in_bounds"), buffer.items)
