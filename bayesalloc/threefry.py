"""JAX's own random numbers, bit for bit, in a form that XLA vectorises on a processor.

For processors JAX lowers its hash to a loop over rounds, which XLA runs number by number. Here the rounds of
Threefry-2x32 are written out (Salmon et al. 2011, doi:10.1145/2063384.2063405).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl, threefry_prng_impl
from jaxtyping import Array, ArrayLike

ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)


def _hash(key: Array, high: Array, low: Array) -> tuple[Array, Array]:
    """The two words that a key, shape (2,), makes of each 64-bit number, given as two words."""
    keys = key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA)
    x, y = high + keys[0], low + keys[1]
    for block in range(5):
        for bits in ROTATIONS[block % 2]:
            x = x + y
            y = x ^ (y << np.uint32(bits) | y >> np.uint32(32 - bits))
        x, y = x + keys[(block + 1) % 3], y + keys[(block + 2) % 3] + np.uint32(block + 1)
    return x, y


def _hash_of_places(key: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """The hash of every place in an array of fewer than 2**32."""
    place = jnp.arange(math.prod(shape), dtype=np.uint32).reshape(shape)
    return _hash(key, jnp.zeros_like(place), place)


def _split(key: Array, shape: tuple[int, ...]) -> Array:
    return jnp.stack(_hash_of_places(key, shape), axis=-1)


def _fold_in(key: Array, data: ArrayLike) -> Array:
    return jnp.stack(_hash(key, jnp.uint32(0), jnp.asarray(data).astype(np.uint32)))


def _random_bits(key: Array, bit_width: int, shape: tuple[int, ...]) -> Array:
    x, y = _hash_of_places(key, shape)
    if bit_width == 64:
        return x.astype(np.uint64) << np.uint64(32) | y.astype(np.uint64)
    # a normal number uses its bits several times, and XLA would hash again for each
    return jax.lax.optimization_barrier(x ^ y).astype(f"uint{bit_width}")


_UNROLLED = define_prng_impl(
    key_shape=(2,),
    seed=threefry_prng_impl.seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="threefry2x32_unrolled",
    tag="fry_unrolled",
)


def unrolled(rng_key: Array) -> Array:
    """The key in this form; a key of another kind than JAX's default stays as it is.

    Args:
        rng_key: a key from `jax.random.key` or `jax.random.PRNGKey`.

    >>> import jax
    >>> key = jax.random.key(0)
    >>> bool(jax.random.normal(unrolled(key)) == jax.random.normal(key))
    True
    """
    if str(jax.random.key_impl(rng_key)) != "threefry2x32" or not jax.config.jax_threefry_partitionable:
        return rng_key
    return jax.random.wrap_key_data(jax.random.key_data(rng_key), impl=_UNROLLED)
