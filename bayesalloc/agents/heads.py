"""What actors do, drawn from the numbers that a network gives: real numbers, or one of several actions.

A head turns the last axis of a network's numbers into a distribution of actions. The log density is that of what was
drawn, before it is squashed, so that its ratio between two networks is exact.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

REFUSED = -1e9  # the logit of an action that cannot be taken: finite, since 0 x infinity is not a number


class Continuous(NamedTuple):
    """Independent normal numbers u with a standard deviation that depends on nothing seen; what is done is tanh(u).

    Attributes:
        size: how many numbers make up an action.
        deviation: of u at first.
        squashed: whether tanh is taken; else what is done is u, which the environment bounds.
    """

    size: int
    deviation: float = 1.0
    squashed: bool = True

    @property
    def log_deviations(self) -> Float[Array, " size"]:
        """The parameters at first that no input reaches; a network's numbers end with them."""
        return jnp.full(self.size, math.log(self.deviation))

    def sample(self, rng_key: Array, numbers: Float[Array, "*batch twice"], mask: Any) -> Float[Array, "*batch size"]:
        """What is drawn."""
        mean, log_sd = jnp.split(numbers, 2, axis=-1)
        return mean + jnp.exp(log_sd) * jax.random.normal(rng_key, mean.shape)

    def best(self, numbers: Float[Array, "*batch twice"], mask: Any) -> Float[Array, "*batch size"]:
        """The mean, before it is squashed."""
        return jnp.split(numbers, 2, axis=-1)[0]

    def log_prob(
        self, numbers: Float[Array, "*batch twice"], drawn: Float[Array, "*batch size"], mask: Any
    ) -> Float[Array, "*batch"]:
        """The log density of what was drawn."""
        mean, log_sd = jnp.split(numbers, 2, axis=-1)
        standard = (drawn - mean) * jnp.exp(-log_sd)
        return -(0.5 * jnp.square(standard) + log_sd + 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self, numbers: Float[Array, "*batch twice"], mask: Any) -> Float[Array, "*batch"]:
        """The entropy of what is drawn, in nats."""
        return (jnp.split(numbers, 2, axis=-1)[1] + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def done(self, drawn: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
        """The action that the environment takes."""
        return jnp.tanh(drawn) if self.squashed else drawn


class Discrete(NamedTuple):
    """One of several actions; those that cannot be taken have no probability.

    Attributes:
        size: how many actions there are.
    """

    size: int

    @property
    def log_deviations(self) -> Float[Array, " none"]:
        """None: see `Continuous`."""
        return jnp.zeros(0)

    def sample(self, rng_key: Array, numbers: Float[Array, "*batch size"], mask: Bool[Array, "*batch size"]) -> Array:
        """The number of an action."""
        return jax.random.categorical(rng_key, jnp.where(mask, numbers, REFUSED))

    def best(self, numbers: Float[Array, "*batch size"], mask: Bool[Array, "*batch size"]) -> Array:
        """The most probable action (ties: the first)."""
        return jnp.argmax(jnp.where(mask, numbers, REFUSED), axis=-1)

    def log_prob(
        self, numbers: Float[Array, "*batch size"], drawn: Array, mask: Bool[Array, "*batch size"]
    ) -> Float[Array, "*batch"]:
        """The log probability of an action."""
        logs = jax.nn.log_softmax(jnp.where(mask, numbers, REFUSED))
        return jnp.take_along_axis(logs, drawn[..., None], axis=-1)[..., 0]

    def entropy(self, numbers: Float[Array, "*batch size"], mask: Bool[Array, "*batch size"]) -> Float[Array, "*batch"]:
        """The entropy, in nats."""
        logs = jax.nn.log_softmax(jnp.where(mask, numbers, REFUSED))
        return -(jnp.exp(logs) * logs).sum(-1)

    def done(self, drawn: Array) -> Array:
        """The action that the environment takes."""
        return drawn


Head = Continuous | Discrete
