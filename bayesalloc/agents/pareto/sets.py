"""Sets of outcomes in several objectives as padded arrays: the dominated leave, and what has no room is counted."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def nondominated(
    points: Float[Array, "point objective"], valid: Bool[Array, " point"], tolerance: float = 0.0
) -> Bool[Array, " point"]:
    """Which points are such that no other one is as good in every objective, of points that are alike the first.

    Args:
        points: where more is better.
        valid: which of them count.
        tolerance: by which an objective may be less and still be as good, so that rounding makes no two of one.

    >>> points = jnp.array([[1.0, 2.0], [2.0, 1.0], [1.0, 1.0], [2.0, 1.0], [9.0, 9.0]])
    >>> nondominated(points, jnp.array([True, True, True, True, False])).tolist()
    [True, True, False, False, False]
    """
    as_good = jnp.stack([column[:, None] >= column[None] - tolerance for column in points.T]).all(0)
    place = jnp.arange(len(points))
    beats = as_good & (~as_good.T | (place[:, None] < place[None]))
    return valid & ~(beats & valid[:, None]).any(0)


def packed(
    points: Float[Array, "point objective"], kept: Bool[Array, " point"], room: int
) -> tuple[Float[Array, "room objective"], Bool[Array, " room"], Int[Array, ""]]:
    """The points that are kept, as many as there is room for, and which places are taken; also how many had none."""
    place = jnp.where(kept, jnp.cumsum(kept) - 1, room)
    count = kept.sum()
    found = jnp.zeros((room, points.shape[1])).at[place].set(points, mode="drop")
    return found, jnp.arange(room) < count, jnp.maximum(count - room, 0)


def area(
    points: Float[Array, "*set point 2"], valid: Bool[Array, "*set point"], reference: Float[Array, " 2"]
) -> Float[Array, "*set"]:
    """The hypervolume of sets in two objectives: that between a set and the reference point.

    >>> float(area(jnp.array([[2.0, 1.0], [1.0, 2.0]]), jnp.ones(2, bool), jnp.zeros(2)))
    3.0
    """
    above = points - reference
    above = jnp.where((valid & (above > 0).all(-1))[..., None], above, 0.0)
    height, width = jax.lax.sort((-above[..., 1], above[..., 0]), num_keys=1)
    last = jnp.zeros_like(height[..., :1])
    drop = -height + jnp.concatenate([height[..., 1:], last], axis=-1)
    return (drop * jax.lax.cummax(width, axis=width.ndim - 1)).sum(-1)
