"""Networks that value actions: from what a decision-maker sees to one number per action."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


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
        self.weights = tuple(draw(key, pair) for key, pair in zip(keys, zip(sizes, sizes[1:]), strict=False))
        self.biases = tuple(jnp.zeros(size) for size in sizes[1:])

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        """The outputs."""
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = jax.nn.relu(x @ weight + bias)
        return x @ self.weights[-1] + self.biases[-1]
