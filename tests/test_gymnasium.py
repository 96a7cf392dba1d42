"""The Gymnasium adapters: Gymnasium's own checker, parity with `Episodes` and with each other, masks, ends."""

import functools
import os
import subprocess
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from gymnasium import make, register
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import bayesalloc as ba
from bayesalloc.agents.adapter import compiled, key_of
from bayesalloc.agents.gymnasium import GymnasiumEnv, GymnasiumVectorEnv
from bayesalloc.environment import Observation
from bayesalloc.episodes import Episodes, numbered

HORIZON = 5


class Moved(NamedTuple):
    pleasure: jax.Array
    effort: jax.Array


def _walk(at, number, slope):
    drift = numpyro.sample("drift", dist.Normal(0.0, 0.1))
    moved = jnp.where(number == 1, 1.0, -1.0)
    return jnp.maximum(at + moved + drift * slope, 0.0), Moved(at, jnp.abs(moved))


# A corridor from 0 to 3, with a wind of unknown strength: left (0) or right (1), and no left at the wall.
CORRIDOR = ba.Environment(
    name="corridor",
    prior=lambda: numpyro.sample("slope", dist.HalfNormal(1.0)),
    initial=lambda slope: numpyro.sample("start", dist.Uniform(0.0, 1.5)),
    step=_walk,
    arms=lambda names: {"left": 0, "right": 1},
    outcomes={"pleasure": ba.Outcome("1"), "effort": ba.Outcome("1")},
    observe=lambda at, slope: Observation(at[None], jnp.stack([at > 0.0, jnp.array(True)])),
    reward=lambda moved: jnp.stack([moved.pleasure, -moved.effort]),
    ended=lambda at, slope: at >= 3.0,
)


@pytest.fixture(params=["watershed", "corridor"])
def env(request, watershed):
    return watershed if request.param == "watershed" else CORRIDOR


def played(env, actions):
    """What an environment said to the actions, with a reset where it was over."""
    said = []
    for action in actions:
        said.append(env.step(action))
        if said[-1][2] or said[-1][3]:
            said.append(env.reset())
    return said


def test_gymnasiums_own_checker(env):
    bounds = (
        {"low": [0.0, 0.0, -9.0], "high": [1.0, 9.0, 9.0]} if env.name == "watershed" else {"low": 0.0, "high": 9.0}
    )
    register(f"{env.name}-v0", lambda **options: GymnasiumEnv(env, HORIZON, **bounds))  # it checks more with a spec
    check_env(make(f"{env.name}-v0").unwrapped)


def test_same_seed_same_trajectory(env):
    actions = np.random.default_rng(0).integers(2, size=20).tolist()
    runs = []
    for seed in (3, 3, 4):
        adapter = GymnasiumEnv(env, HORIZON)
        runs.append([adapter.reset(seed=seed), *played(adapter, actions)])
    assert data_equivalence(runs[0], runs[1], exact=True)
    assert not data_equivalence(runs[0][0][0], runs[2][0][0])
    firsts = [said[0] for said in runs[0] if len(said) == 2]
    assert len(np.unique(firsts, axis=0)) == len(firsts) > 2  # each episode has its own parameters and noise


def test_step_for_step_parity_with_episodes(env):
    actions = np.random.default_rng(1).integers(2, size=HORIZON)
    adapter = GymnasiumEnv(env, HORIZON)
    observation, info = adapter.reset(seed=7)

    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(7)))  # Gymnasium's own seeding
    _, params_key, start_key, noise_key = jax.random.split(key_of(generator), 4)
    episodes, action_of = Episodes(env, HORIZON), numbered(env)
    params = episodes.sample_params(params_key)
    expected, state = episodes.reset(start_key, params)
    # compiled and not, sums are rounded differently: a few units in the last place of float32
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    close(observation, expected.values)
    np.testing.assert_array_equal(info["action_mask"], expected.mask)
    for t, action in enumerate(actions):
        observation, reward, terminated, truncated, info = adapter.step(action)
        key = jax.random.fold_in(noise_key, t)
        expected, state, rewards, *ends, _ = episodes.advance(key, state, action_of(action), params)
        close(observation, expected.values)
        close(info["reward"], rewards)
        close(reward, rewards.sum(), rtol=1e-4)
        np.testing.assert_array_equal(info["action_mask"], expected.mask)
        assert (terminated, truncated) == tuple(map(bool, ends))
        if terminated:
            break
    assert terminated or truncated


def test_the_problem_ends_or_the_horizon_is_reached_and_then_a_reset_is_due():
    adapter = GymnasiumEnv(CORRIDOR, HORIZON, params=jnp.zeros(()))
    with pytest.raises(ResetNeeded):
        adapter.step(1)
    adapter.reset(seed=0)
    ends = [adapter.step(1)[2:4] for _ in range(2)]
    ends += [adapter.step(1)[2:4]] if not any(ends[-1]) else []
    assert ends[-1] == (True, False) and not any(map(any, ends[:-1]))
    with pytest.raises(ResetNeeded, match="reset"):
        adapter.step(1)
    adapter.reset()
    said = [adapter.step(0) for _ in range(HORIZON)]
    assert [one[2:4] for one in said] == [(False, False)] * (HORIZON - 1) + [(False, True)]
    # against the wall left is not available
    np.testing.assert_array_equal(said[-1][4]["action_mask"], [False, True])
    np.testing.assert_array_equal(adapter.action_masks(), [False, True])
    with pytest.raises(ResetNeeded):
        adapter.step(0)


def test_a_number_stands_for_the_named_action_where_step_takes_no_numbers(watershed):
    for number, action in enumerate(watershed.arms(None).values()):
        pairs = zip(jax.tree.leaves(numbered(watershed)(jnp.int32(number))), jax.tree.leaves(action), strict=True)
        assert all(np.array_equal(one, other) for one, other in pairs)
    srap = ba.load_model("srap")
    for number, action in enumerate(srap.arms(None).values()):
        assert numbered(srap)(jnp.int32(number)) == action


def test_the_reward_is_made_one_number_as_asked(watershed):
    adapters = GymnasiumEnv(watershed, HORIZON), GymnasiumEnv(watershed, HORIZON, scalarise=worst_off)
    said = [adapter.reset(seed=2) and adapter.step(0) for adapter in adapters]
    np.testing.assert_allclose(said[0][1], said[0][4]["reward"].sum(), rtol=1e-5)
    assert said[1][1] == said[1][4]["reward"].min()
    np.testing.assert_allclose(said[0][4]["reward"], said[1][4]["reward"], rtol=1e-5)


def worst_off(reward):
    return reward.min()


def test_programs_are_compiled_once_per_environment(watershed):
    assert GymnasiumEnv(watershed, 3)._program is GymnasiumVectorEnv(watershed, 2, 3)._program
    assert compiled(watershed, 3) is not compiled(watershed, 4)


@pytest.mark.parametrize("given", [False, True], ids=["prior", "params"])
def test_copies_are_single_environments_episode_after_episode(env, given):
    n, steps = 4, 12
    params = Episodes(env, HORIZON).sample_params(jax.random.key(5)) if given else None
    actions = np.random.default_rng(2).integers(2, size=(steps, n))
    envs, singles = GymnasiumVectorEnv(env, n, HORIZON, params), [GymnasiumEnv(env, HORIZON, params) for _ in range(n)]
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    observations, info = envs.reset(seed=11)
    assert observations in envs.observation_space
    for i, single in enumerate(singles):
        observation, single_info = single.reset(seed=11 + i)
        close(observations[i], observation)
        np.testing.assert_array_equal(info["action_mask"][i], single_info["action_mask"])
    ended = np.zeros(n, int)
    for t in range(steps):
        observations, rewards, terminated, truncated, info = envs.step(actions[t])
        for i, single in enumerate(singles):
            observation, reward, *ends, single_info = single.step(actions[t, i])
            assert [terminated[i], truncated[i]] == ends
            close(rewards[i], reward)
            close(info["reward"][i], single_info["reward"])
            if any(ends):
                ended[i] += 1
                close(info["final_obs"][i], observation)
                np.testing.assert_array_equal(info["final_info"]["action_mask"][i], single_info["action_mask"])
                assert info["_final_obs"][i] and info["final_info"]["_reward"][i]
                observation, single_info = single.reset()
            elif "final_obs" in info:
                assert info["final_obs"][i] is None and not info["_final_obs"][i]
            close(observations[i], observation)
            np.testing.assert_array_equal(info["action_mask"][i], single_info["action_mask"])
            np.testing.assert_array_equal(envs.action_masks()[i], single.action_masks())
    assert (ended >= 2).all()


def test_gymnasiums_vector_wrappers_count_what_the_episodes_paid():
    envs = RecordEpisodeStatistics(GymnasiumVectorEnv(CORRIDOR, 3, HORIZON))
    envs.reset(seed=0)
    paid, seen = np.zeros(3), 0
    for t in range(12):
        _, rewards, terminated, truncated, info = envs.step(np.full(3, t % 3 == 0, int))
        paid += rewards
        over = terminated | truncated
        if over.any():
            np.testing.assert_allclose(info["episode"]["r"][over], paid[over], rtol=1e-5, atol=1e-5)
            paid[over], seen = 0.0, seen + over.sum()
    assert seen >= 6


def test_seeds_of_copies():
    envs = GymnasiumVectorEnv(CORRIDOR, 3, HORIZON)
    first, _ = envs.reset(seed=[4, 5, 6])
    np.testing.assert_array_equal(first, envs.reset(seed=4)[0])
    assert not np.array_equal(first, envs.reset()[0])
    unseeded = [GymnasiumVectorEnv(CORRIDOR, 3, HORIZON).reset()[0] for _ in range(2)]
    assert not np.array_equal(*unseeded)


def test_what_is_refused(watershed):
    with pytest.raises(ba.InputError, match="observe"):
        GymnasiumEnv(ba.load_model("cooperation"), 3)
    with pytest.raises(ba.InputError, match="horizon is 0"):
        GymnasiumEnv(watershed, 0)
    with pytest.raises(ba.InputError, match="num_envs is 0"):
        GymnasiumVectorEnv(watershed, 0, 3)
    adapter, envs = GymnasiumEnv(CORRIDOR, 3), GymnasiumVectorEnv(CORRIDOR, 2, 3)
    with pytest.raises(ResetNeeded):
        envs.step(np.zeros(2, int))
    adapter.reset(), envs.reset()
    with pytest.raises(ba.InputError, match="0 to 1"):
        adapter.step(2)
    for actions in ([0, 2], [-1, 0], [0]):
        with pytest.raises(ba.InputError, match="2 numbers from 0 to 1"):
            envs.step(np.array(actions))
    with pytest.raises(ba.InputError, match="3 seeds"):
        envs.reset(seed=[1, 2, 3])
    with pytest.raises(ba.InputError, match="reset_mask"):
        envs.reset(options={"reset_mask": np.ones(2, bool)})


@pytest.mark.parametrize("adapter", ["gymnasium", "pettingzoo"])
def test_without_the_extra_one_sentence_says_what_to_install(adapter):
    code = f"""
import sys
sys.modules["gymnasium"] = sys.modules["pettingzoo"] = None  # as if they were not installed
import bayesalloc, bayesalloc.episodes
try:
    import bayesalloc.agents.{adapter}
except bayesalloc.InputError as error:
    print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    ).stdout
    assert said.strip().endswith("pip install 'bayesalloc[rl]'")
