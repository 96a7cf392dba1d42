"""A network that values moves of many factors in several objectives, for whatever weights it is asked about."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from bayesalloc.agents.dqn import best
from bayesalloc.agents.networks import Dense


class Heads(eqx.Module):
    """Q(s, a, w) as a sum over factors, as departments: of each, a vector for each of its moves.

    All factors share V(s, w), and each adds what its move is better than the mean of its moves (Wang et al. 2016,
    Dueling network architectures, ICML 48:1995), so that what is common to all is learned once.

    Args:
        features: numbers that are seen.
        factors: that each make a move.
        moves: of each.
        objectives: how many.
        layers: units of each hidden layer.
        rng_key: the weights' key.
    """

    dense: Dense
    form: tuple[int, int, int] = eqx.field(static=True)

    def __init__(
        self, features: int, factors: int, moves: int, objectives: int, layers: Sequence[int], rng_key: Array
    ) -> None:
        self.form = factors, moves, objectives
        self.dense = Dense((features + objectives, *layers, objectives * (1 + factors * moves)), rng_key)

    def __call__(
        self, values: Float[Array, "*batch feature"], weights: Float[Array, "*batch objective"]
    ) -> Float[Array, "*batch factor move objective"]:
        """The vectors, which add up over the factors' moves to the value of doing them all."""
        factors, _, objectives = self.form
        numbers = self.dense(jnp.concatenate([values, weights], axis=-1))
        common, each = numbers[..., :objectives], numbers[..., objectives:]
        each = each.reshape(*each.shape[:-1], *self.form)
        return common[..., None, None, :] / factors + each - each.mean(-2, keepdims=True)


def greedy(
    heads: Float[Array, "*batch factor move objective"],
    weights: Float[Array, "*batch objective"],
    mask: Bool[Array, "*batch choice"],
) -> Int[Array, "*batch factor"]:
    """Each factor's move of the largest weighted value among those that it can make.

    Args:
        heads: of the network.
        weights: of the objectives.
        mask: of the first factor's moves, then of the next one's.
    """
    return best(jnp.einsum("...fmo,...o->...fm", heads, weights), mask.reshape(heads.shape[:-1]))


def together(
    heads: Float[Array, "*batch factor move objective"], action: Int[Array, "*batch factor"]
) -> Float[Array, "*batch objective"]:
    """The value of doing all factors' moves."""
    return jnp.take_along_axis(heads, action[..., None, None], axis=-2).sum((-3, -2))
