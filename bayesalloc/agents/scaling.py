"""What is seen, brought to mean 0 and variance 1 by what was seen so far."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

LEAST_VARIANCE = 1e-6
FARTHEST = 10.0  # standard deviations


class Scaling(NamedTuple):
    """Running moments of each number that is seen.

    Attributes:
        mean: of it.
        variance: of it; 1 while nothing was seen.
        times: how often it was seen.
    """

    mean: Float[Array, "*group feature"]
    variance: Float[Array, "*group feature"]
    times: Float[Array, "*group"]

    def __call__(self, values: Float[Array, "*batch feature"]) -> Float[Array, "*batch feature"]:
        """The values in standard deviations from the mean, cut off where they are far from it."""
        standard = (values - self.mean) / jnp.sqrt(jnp.maximum(self.variance, LEAST_VARIANCE))
        return jnp.clip(standard, -FARTHEST, FARTHEST)

    def after(self, values: Float[Array, "*batch feature"]) -> "Scaling":
        """The moments with more values (Chan, Golub & LeVeque 1983, The American Statistician 37:242)."""
        flat = values.reshape(-1, values.shape[-1])
        new = jnp.float32(len(flat))
        part = new / (self.times + new)
        apart = flat.mean(0) - self.mean
        variance = (1.0 - part) * self.variance + part * flat.var(0) + part * (1.0 - part) * jnp.square(apart)
        return Scaling(self.mean + part * apart, variance, self.times + new)


def unscaled(features: int) -> Scaling:
    """The moments before anything is seen, which change nothing that is not far.

    >>> unscaled(2)(jnp.array([0.5, -3.0])).tolist()
    [0.5, -3.0]
    """
    return Scaling(jnp.zeros(features), jnp.ones(features), jnp.float32(0))
