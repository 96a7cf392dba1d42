"""The unrolled random numbers: the same bits as JAX's own, for every operation, shape and width."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from bayesalloc.threefry import unrolled

seeds = st.integers(0, 2**31 - 1)
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)


def data(key):
    return np.asarray(jax.random.key_data(key))


@given(seeds, shapes, st.sampled_from(["uint8", "uint16", "uint32"]))
@settings(max_examples=40, deadline=None)
def test_bits(seed, shape, dtype):
    key = jax.random.key(seed)
    np.testing.assert_array_equal(jax.random.bits(unrolled(key), shape, dtype), jax.random.bits(key, shape, dtype))


@given(seeds, st.integers(0, 2**32 - 1), shapes)
@settings(max_examples=40, deadline=None)
def test_keys(seed, number, shape):
    key = jax.random.key(seed)
    folded = jax.random.fold_in(key, number)
    np.testing.assert_array_equal(data(jax.random.fold_in(unrolled(key), number)), data(folded))
    np.testing.assert_array_equal(
        data(jax.random.split(unrolled(folded), shape)), data(jax.random.split(folded, shape))
    )


def test_64_bits():
    with jax.enable_x64(True):
        key = jax.random.key(7)
        np.testing.assert_array_equal(
            jax.random.bits(unrolled(key), (3, 5), "uint64"), jax.random.bits(key, (3, 5), "uint64")
        )


@pytest.mark.parametrize("draw", [jax.random.normal, jax.random.uniform, lambda key: jax.random.beta(key, 2.0, 3.0)])
def test_draws_under_vmap_and_jit(draw):
    keys = jax.random.split(jax.random.key(1), 50)
    fold = jax.vmap(jax.random.fold_in, in_axes=(0, None))
    ours = jax.jit(lambda keys: jax.vmap(draw)(fold(unrolled(keys), 3)))(keys)
    np.testing.assert_allclose(ours, jax.vmap(draw)(fold(keys, 3)), rtol=1e-6)


def test_old_keys_and_other_kinds():
    old = jax.random.PRNGKey(2)
    np.testing.assert_array_equal(jax.random.bits(unrolled(old), (4,)), jax.random.bits(old, (4,)))
    other = jax.random.key(2, impl="rbg")
    assert unrolled(other) is other
    with jax.threefry_partitionable(False):
        key = jax.random.key(2)
        assert unrolled(key) is key
    assert jnp.issubdtype(unrolled(old).dtype, jax.dtypes.prng_key)
