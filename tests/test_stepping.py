"""Replicates stepped from outside JAX: the outcomes of `rollout`, on its random numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc.environment import stack
from bayesalloc.stepping import advance, begin, seen

KEY, YEARS = jax.random.key(4), 4


def each(action, n):
    return jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * n), action)


@pytest.mark.parametrize("old_key", [False, True])
@pytest.mark.parametrize("futures", [1, 2])
def test_the_outcomes_of_rollout(watershed, futures, old_key):
    """To the rounding of float32: `rollout` hashes in a form of its own, and its program adds in another order."""
    key = jax.random.PRNGKey(4) if old_key else KEY
    arm = watershed.arms(["credit_trading"])["credit_trading"]
    whole = ba.rollout(watershed, ba.hold, key, arms=stack([arm]), replicates=6, futures=futures, horizon=YEARS)
    standing = begin(watershed, key, replicates=6, futures=futures)
    for year in range(YEARS):
        assert int(standing.period) == year
        standing, stepped = advance(watershed, standing, each(arm, 6))
        for rolled, here in zip(jax.tree.leaves(whole), jax.tree.leaves(stepped), strict=True):
            np.testing.assert_allclose(here, rolled[:, 0, year], rtol=2e-5, atol=1e-3)


def test_given_parameters_and_what_is_seen(watershed):
    drawn = begin(watershed, KEY, replicates=4, futures=2)
    two = jax.tree.map(lambda leaf: leaf[::2], drawn.params)
    given = begin(watershed, KEY, replicates=4, futures=2, params=two)
    for a, b in zip(
        jax.tree.leaves((drawn.params, drawn.state)), jax.tree.leaves((given.params, given.state)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    observation = seen(watershed, given)
    assert (observation.values[:, 0] == given.state.forest_health).all() and observation.mask.shape == (4, 3)


def test_another_action_can_be_tried_from_the_same_place(watershed):
    terms = watershed.arms(["cost_sharing", "credit_trading"])
    standing = begin(watershed, KEY, replicates=3)
    tried = [advance(watershed, standing, each(action, 3))[1] for action in (*terms.values(), terms["cost_sharing"])]
    assert (tried[0].forest_health == tried[2].forest_health).all()
    assert (tried[0].forest_health != tried[1].forest_health).all()


def test_refusals(watershed):
    for counts, says in (({"replicates": 0}, "replicates is 0"), ({"replicates": 2, "futures": 0}, "futures is 0")):
        with pytest.raises(ba.InputError, match=says):
            begin(watershed, KEY, **counts)
    blind = watershed._replace(observe=None)
    with pytest.raises(ba.InputError, match="nothing is seen"):
        seen(blind, begin(blind, KEY, replicates=1))
