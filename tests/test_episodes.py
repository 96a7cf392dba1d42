"""The reinforcement learning interface: the six values, automatic reset, agreement with the simulator's dynamics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc.episodes import Episodes

HORIZON = 4


@pytest.fixture(scope="module")
def played(watershed):
    """Ten steps of 16 parallel episodes under cost sharing."""
    episodes = Episodes(watershed, HORIZON)
    arm = watershed.arms(["cost_sharing"])["cost_sharing"]
    params = episodes.sample_params(jax.random.key(0))

    def play(key):
        def step(carry, t):
            observation, state = carry
            result = episodes.step(jax.random.fold_in(key, t), state, arm, params)
            return result[:2], (observation, *result)

        return jax.lax.scan(step, episodes.reset(key, params), jnp.arange(10))[1]

    return params, jax.jit(jax.vmap(play))(jax.random.split(jax.random.key(1), 16))


def test_six_values_and_automatic_reset(played):
    params, (before, observation, state, reward, terminated, truncated, info) = played
    assert reward.shape == (16, 10, 5)
    assert observation.mask.all() and observation.mask.dtype == bool
    assert not terminated.any()
    ends = np.zeros(10, bool)
    ends[[3, 7]] = True
    np.testing.assert_array_equal(truncated, np.broadcast_to(ends, (16, 10)))
    # after the end the observation is the next episode's first, and the last one is in info
    np.testing.assert_allclose(observation.values[:, ends, 0], params.initial_health, rtol=1e-6)
    final = info["final_observation"].values[..., 0]
    np.testing.assert_allclose(final, info["outcome"].forest_health, rtol=1e-6)
    np.testing.assert_array_equal(final[:, ~ends], observation.values[:, ~ends, 0])
    np.testing.assert_array_equal(before.values[:, 1:], observation.values[:, :-1])
    np.testing.assert_array_equal(state.period[0], [1, 2, 3, 0, 1, 2, 3, 0, 1, 2])
    np.testing.assert_array_equal(reward, info["outcome"].payoff)


def test_an_environment_without_observations_is_refused():
    cooperation = ba.load_model("cooperation")
    episodes = Episodes(cooperation, 2)
    with pytest.raises(ba.InputError, match="observe"):
        episodes.reset(jax.random.key(0), episodes.sample_params(jax.random.key(0)))
