"""Networks with a memory that act and value: dense, gated recurrent, then a head for actions and one for the value."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from bayesalloc.agents.heads import Head
from bayesalloc.agents.networks import Dense


class Gated(eqx.Module):
    """A gated recurrent unit: h' = (1 - z) n + z h, n = tanh(W x + r (U h + c)), r and z logistic in x and h.

    Source: Cho et al. (2014), EMNLP 1724, with the reset gate after the product as in cuDNN.

    Args:
        units: of the input and the memory.
        rng_key: the weights' key; those of the memory are orthogonal.
    """

    inputs: Dense
    weights: Float[Array, "units gates"]
    bias: Float[Array, " units"]

    def __init__(self, units: int, rng_key: Array) -> None:
        for_inputs, *keys = jax.random.split(rng_key, 4)
        self.inputs = Dense((units, 3 * units), for_inputs)
        draw = jax.nn.initializers.orthogonal()
        self.weights = jnp.concatenate([draw(key, (units, units)) for key in keys], axis=1)
        self.bias = jnp.zeros(units)

    def __call__(
        self, memory: Float[Array, "*batch units"], given: Float[Array, "*batch gates"]
    ) -> Float[Array, "*batch units"]:
        """The next memory, from `inputs` of what is given."""
        reset, keep, new = jnp.split(given, 3, axis=-1)
        from_reset, from_keep, from_new = jnp.split(memory @ self.weights, 3, axis=-1)
        new = jnp.tanh(new + jax.nn.sigmoid(reset + from_reset) * (from_new + self.bias))
        keep = jax.nn.sigmoid(keep + from_keep)
        return (1.0 - keep) * new + keep * memory


class ActorCritic(eqx.Module):
    """What is seen, and remembered -> the numbers of a head, and the value of where one is.

    At first the head's numbers do not depend on what is seen: the mean is 0, all actions are equally likely.

    Args:
        features: numbers seen.
        head: what its numbers mean.
        rng_key: the weights' key.
        units: of each hidden layer.
        recurrent: whether there is a memory; else a layer without one stands in its place.
    """

    embed: Dense
    middle: Gated | Dense
    act: Dense
    value: Dense
    log_deviations: Float[Array, " deviations"]

    def __init__(self, features: int, head: Head, rng_key: Array, *, units: int = 64, recurrent: bool = True) -> None:
        keys = jax.random.split(rng_key, 4)
        self.embed = Dense((features, units), keys[0])
        self.middle = Gated(units, keys[1]) if recurrent else Dense((units, units), keys[1])
        self.act = jax.tree.map(jnp.zeros_like, Dense((units, head.size), keys[2]))
        self.value = Dense((units, 1), keys[3])
        self.log_deviations = head.log_deviations

    def nothing(self, *batch: int) -> Float[Array, "*batch units"]:
        """The memory of those that have seen nothing."""
        return jnp.zeros((*batch, len(self.middle.bias) if isinstance(self.middle, Gated) else 0))

    def __call__(
        self,
        memory: Float[Array, "*batch units"],
        seen: Float[Array, "time ... feature"],
        fresh: Bool[Array, "time ..."],
    ) -> tuple[Array, Float[Array, "time ... number"], Float[Array, "time ..."]]:
        """Some periods, one after another.

        Args:
            memory: before them.
            seen: in each.
            fresh: whether an episode begins with it, so that what came before is forgotten.

        Returns:
            The memory after them; the head's numbers and the value in each.
        """
        x = jax.nn.relu(self.embed(seen))
        if isinstance(self.middle, Gated):
            cell = self.middle

            def period(memory: Array, given: tuple[Array, Array]) -> tuple[Array, Array]:
                inputs, fresh = given
                memory = cell(jnp.where(fresh[..., None], 0.0, memory), inputs)
                return memory, memory

            memory, x = jax.lax.scan(period, memory, (cell.inputs(x), fresh), unroll=len(seen) == 1)
        else:
            x = jax.nn.relu(self.middle(x))
        numbers = self.act(x)
        fixed = jnp.broadcast_to(self.log_deviations, (*numbers.shape[:-1], len(self.log_deviations)))
        return memory, jnp.concatenate([numbers, fixed], axis=-1), self.value(x)[..., 0]
