"""The reinforcement learning interface: the six values, automatic reset, agreement with the simulator's dynamics."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import bayesalloc as ba
from bayesalloc.environment import Observation
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


class Moved(NamedTuple):
    at: jax.Array


def line(goal, *, lasting=False):
    """A walk that starts at 0 or 0.25 and is over at `goal`, or never where it is `lasting`."""

    def step(at, action, params):
        at = at + action
        return at, Moved(at)

    return ba.Environment(
        name="line",
        prior=lambda: jnp.zeros(()),
        initial=lambda params: numpyro.sample("start", dist.Bernoulli(0.5)) / 4 + params,
        step=step,
        arms=lambda names: {"wait": 0.0, "go": 1.0},
        outcomes={"at": ba.Outcome("1")},
        observe=lambda at, params: Observation(at[None], jnp.ones(2, bool)),
        reward=lambda moved: moved.at,
        ended=None if lasting else lambda at, params: at >= goal,
    )


def walk(env, horizon, actions):
    episodes = Episodes(env, horizon)

    def step(state, keyed):
        key, action = keyed
        observation, state, reward, terminated, truncated, info = episodes.step(key, state, action, jnp.zeros(()))
        return state, (observation.values[0], reward, terminated, truncated, info["final_observation"].values[0])

    _, state = episodes.reset(jax.random.key(0), jnp.zeros(()))
    keys = jax.random.split(jax.random.key(1), len(actions))
    return state.inner, *jax.lax.scan(step, state, (keys, jnp.asarray(actions, float)))[1]


def test_the_end_of_the_problem_terminates_and_the_horizon_truncates():
    # at a goal of 2: over after 2 steps; then waiting for 4 periods; then over in the very period of the horizon
    actions = [1, 1, 0, 0, 0, 0, 0, 0, 1, 1]
    first, observed, reward, terminated, truncated, final = walk(line(2), 4, actions)
    np.testing.assert_array_equal(np.flatnonzero(terminated), [1, 9])
    np.testing.assert_array_equal(np.flatnonzero(truncated), [5])
    over = np.asarray(terminated | truncated)
    starts = [first, *np.asarray(observed)[:-1]]  # an observation after the end is the next episode's first
    np.testing.assert_array_equal(final, starts + np.asarray(actions))
    np.testing.assert_array_equal(reward, final)
    assert (np.asarray(observed)[over] < 0.5).all() and (np.asarray(final)[terminated] >= 2).all()
    np.testing.assert_array_equal(np.asarray(observed)[~over], np.asarray(final)[~over])


def test_an_environment_without_an_end_goes_on_as_if_it_were_never_reached():
    never, without = walk(line(100), 3, [1] * 8), walk(line(2, lasting=True), 3, [1] * 8)
    jax.tree.map(np.testing.assert_array_equal, never, without)
    assert not without[3].any() and without[4].sum() == 2


@pytest.mark.parametrize("copies", [1, 40])
def test_many_copies_together_are_what_each_is_alone(copies):
    episodes = Episodes(line(2), 4)
    params = jnp.linspace(0.0, 0.5, copies)
    actions = jax.random.bernoulli(jax.random.key(2), 0.4, (12, copies)).astype(float).at[5].set(2.0)  # 5: all end

    def play(together):
        def step(state, at):
            key, action = at
            keys = jax.random.split(key, copies)
            found = (episodes.step_many if together else jax.vmap(episodes.step))(keys, state, action, params)
            return found[1], found

        state = jax.vmap(episodes.reset)(jax.random.split(jax.random.key(0), copies), params)[1]
        return jax.jit(lambda: jax.lax.scan(step, state, (jax.random.split(jax.random.key(1), 12), actions))[1])()

    together, alone = play(True), play(False)
    jax.tree.map(np.testing.assert_array_equal, together, alone)
    over = together[3] | together[4]
    assert over[5].all() and not over.all()
    if copies > 1:
        assert over.any(0).all() and len(np.unique(over.sum(1))) > 2
