"""Student's t distribution, drawn from two uniform numbers; a gamma variable would take many times as long."""

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array


class Bursts(dist.StudentT):
    """Student's t: sqrt(n (u^(-2/n) - 1)) cos(2 pi v) has n degrees of freedom (Bailey 1994, Math. Comp. 62:779)."""

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """NumPyro's hook."""
        shape, freedom = (2, *sample_shape, *self.batch_shape), jnp.asarray(self.df)
        u, v = jax.random.uniform(key, shape, minval=jnp.finfo(jnp.float32).tiny)
        size = jnp.sqrt(freedom * jnp.expm1(-2.0 / freedom * jnp.log(u)))
        return jnp.asarray(self.loc) + jnp.asarray(self.scale) * size * jnp.cos(2.0 * jnp.pi * v)
