"""Networks that value actions: from what a decision-maker sees to one number per action."""

import itertools
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bayesalloc.errors import InputError

MOST_LAYERS, MOST_UNITS = 8, 4096


def check_layers(layers: Sequence[int]) -> None:
    """Refuses hidden layers that are too many or too large.

    Raises:
        InputError: saying what is allowed.
    """
    if not 1 <= len(layers) <= MOST_LAYERS or not all(1 <= units <= MOST_UNITS for units in layers):
        raise InputError(f"layers is {list(layers)[:9]}; there are 1 to {MOST_LAYERS}, of 1 to {MOST_UNITS} units each")


class Dense(eqx.Module):
    """A multilayer perceptron with rectified hidden layers: x -> W x + b, max(0, .), ..., W x + b.

    Args:
        sizes: number of inputs, of units in each hidden layer, and of outputs.
        rng_key: the weights' key; uniform of variance 2 / (inputs + outputs) (Glorot & Bengio 2010, AISTATS 9:249).
    """

    weights: tuple[Float[Array, "..."], ...]
    biases: tuple[Float[Array, "..."], ...]

    def __init__(self, sizes: Sequence[int], rng_key: Array) -> None:
        keys = jax.random.split(rng_key, len(sizes) - 1)
        draw = jax.nn.initializers.glorot_uniform()
        self.weights = tuple(draw(key, pair) for key, pair in zip(keys, itertools.pairwise(sizes), strict=True))
        self.biases = tuple(jnp.zeros(size) for size in sizes[1:])

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        """The outputs."""
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = jax.nn.relu(x @ weight + bias)
        return x @ self.weights[-1] + self.biases[-1]


class Scorer(eqx.Module):
    """Values of choosing among agents, requests or offers, the same whatever their order and number, and of none.

    Each row's features, embedded, are valued beside their mean and maximum over all rows (Zaheer et al. 2017, Deep
    sets, NeurIPS 30:3391). A row whose first feature is 0 is not there.

    Args:
        features: numbers per row.
        units: in each hidden layer.
        rng_key: the weights' key.
        each: actions per row.
    """

    embed: Dense
    value: Dense
    none: Dense

    def __init__(self, features: int, units: int, rng_key: Array, each: int = 1) -> None:
        keys = jax.random.split(rng_key, 3)
        self.embed = Dense((features, units, units), keys[0])
        self.value = Dense((3 * units, units, each), keys[1])
        self.none = Dense((2 * units, units, 1), keys[2])

    def __call__(self, x: Float[Array, "*batch row feature"]) -> Float[Array, "*batch action"]:
        """The values of each row's actions, row by row, and last that of choosing none."""
        there = (x[..., :1] > 0).astype(float)
        rows = jax.nn.relu(self.embed(x)) * there
        mean = rows.sum(-2) / jnp.maximum(there.sum(-2), 1)
        all_ = jnp.concatenate([mean, rows.max(-2)], axis=-1)
        beside = jnp.broadcast_to(all_[..., None, :], (*rows.shape[:-1], all_.shape[-1]))
        values = self.value(jnp.concatenate([rows, beside], axis=-1))
        return jnp.concatenate([values.reshape(*values.shape[:-2], -1), self.none(all_)], axis=-1)
