"""The PettingZoo adapter: PettingZoo's own checkers, parity with `Episodes`, ends, refusals."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.utils.seeding import np_random
from jaxtyping import Array
from pettingzoo.test import parallel_api_test, parallel_seed_test

import bayesalloc as ba
from bayesalloc.agents.adapter import key_of
from bayesalloc.agents.gymnasium import GymnasiumEnv
from bayesalloc.agents.pettingzoo import PettingZooEnv
from bayesalloc.environment import Observation
from bayesalloc.episodes import Episodes

HORIZON = 6
AGENTS = 3


class Fund(NamedTuple):
    """A common fund, and what each agent has of its own; numbers of tokens."""

    common: Array
    own: Array


class Round(NamedTuple):
    contribution: Array
    payoff: Array


def _initial(multiplier):
    return Fund(jnp.zeros(()), 2.0 + numpyro.sample("endowment", dist.Poisson(2.0).expand([AGENTS]).to_event(1)))


def _round(fund, tokens, multiplier):
    """Each agent gives 0, 1 or 2 tokens, of those it has; the fund grows by luck and is shared out equally."""
    given = jnp.minimum(tokens, fund.own)
    luck = numpyro.sample("luck", dist.Normal(0.0, 0.2))
    payoff = multiplier * jnp.exp(luck) * given.sum() / AGENTS - given
    return Fund(given.sum(), jnp.maximum(fund.own + payoff, 0.0)), Round(given, payoff)


def _observe(fund, multiplier):
    own = jnp.stack([fund.own, jnp.broadcast_to(fund.common, (AGENTS,))], axis=-1)
    return Observation(own, fund.own[:, None] >= jnp.arange(3))


PUBLIC_GOODS = ba.Environment(
    name="public_goods",
    prior=lambda: numpyro.sample("multiplier", dist.Uniform(1.2, 2.0)),
    initial=_initial,
    step=_round,
    arms=lambda names: {f"all_give_{tokens}": np.full(AGENTS, tokens) for tokens in range(3)},
    outcomes={"payoff": ba.Outcome("tokens", "higher", ("agent",))},
    coords={"agent": ("a", "b", "c")},
    observe=_observe,
    reward=lambda outcome: outcome.payoff,
    ended=lambda fund, multiplier: (fund.own < 1.0).any(),  # somebody is ruined
)


def public_goods():
    return PettingZooEnv(PUBLIC_GOODS, HORIZON)


def test_pettingzoos_own_checkers():
    parallel_api_test(public_goods(), num_cycles=40)
    parallel_seed_test(public_goods, num_cycles=20)


def test_step_for_step_parity_with_episodes():
    adapter = PettingZooEnv(PUBLIC_GOODS, HORIZON, names=["ann", "bob", "cem"])
    seen, info = adapter.reset(seed=3)
    _, params_key, start_key, noise_key = jax.random.split(key_of(np_random(3)[0]), 4)
    episodes = Episodes(PUBLIC_GOODS, HORIZON)
    params = episodes.sample_params(params_key)
    expected, state = episodes.reset(start_key, params)
    for t, actions in enumerate([[1, 1, 1], [2, 2, 2], [0, 1, 2], [1, 1, 1], [2, 1, 2], [1, 2, 1]]):
        for place, name in enumerate(("ann", "bob", "cem")):
            np.testing.assert_allclose(seen[name], expected.values[place], rtol=1e-5)
            np.testing.assert_array_equal(info[name]["action_mask"], expected.mask[place])
        # the order in which the agents are named does not matter
        given = dict(reversed(list(zip(("ann", "bob", "cem"), actions, strict=True))))
        seen, rewards, terminated, truncated, info = adapter.step(given)
        expected, state, reward, *ends, _ = episodes.advance(
            jax.random.fold_in(noise_key, t), state, jnp.array(actions), params
        )
        # differences of numbers near 1: a few units in the last place of float32 of those
        np.testing.assert_allclose([rewards[name] for name in ("ann", "bob", "cem")], reward, atol=1e-5)
        assert [set(terminated.values()), set(truncated.values())] == [{bool(end)} for end in ends]
    assert truncated["ann"] and not terminated["ann"] and adapter.agents == []


def test_ruin_terminates_and_then_a_reset_is_due():
    adapter = public_goods()
    with pytest.raises(ResetNeeded):
        adapter.step({})
    for seed in range(50):
        adapter.reset(seed=seed)
        while adapter.agents:  # agent_0 pays for all
            *_, terminated, truncated, _ = adapter.step({"agent_0": 2, "agent_1": 0, "agent_2": 0})
        assert terminated != truncated
        if terminated["agent_0"]:
            break
    assert set(terminated.values()) == {True} and set(truncated.values()) == {False}
    with pytest.raises(ResetNeeded):
        adapter.step(dict.fromkeys(adapter.possible_agents, 0))
    adapter.reset()
    assert adapter.agents == adapter.possible_agents


def test_resets_without_a_seed_go_on_to_other_episodes_of_the_same_sequence():
    adapters = [public_goods(), public_goods()]
    firsts = [[adapter.reset(seed=9)[0], adapter.reset()[0], adapter.reset()[0]] for adapter in adapters]
    assert data_equivalence(*firsts, exact=True)
    drawn = [adapter._playing.params for adapter in adapters]
    adapters[0].reset()
    assert drawn[0] == drawn[1] != adapters[0]._playing.params  # each episode has its own multiplier


def test_what_is_refused(watershed):
    with pytest.raises(ba.InputError, match="watershed does not have several actors"):
        PettingZooEnv(watershed, 3)
    with pytest.raises(ba.InputError, match="several actors"):
        GymnasiumEnv(PUBLIC_GOODS, 3)
    with pytest.raises(ba.InputError, match="3 agents; the names are ann, bob"):
        PettingZooEnv(PUBLIC_GOODS, 3, names=["ann", "bob"])
    alone = PUBLIC_GOODS._replace(arms=lambda names: {"give": np.int32(1)})
    with pytest.raises(ba.InputError, match="one whole number for each of 3 agents"):
        PettingZooEnv(alone, 3)
    adapter = public_goods()
    adapter.reset(seed=0)
    with pytest.raises(ba.InputError, match="one for agent_0, agent_1, agent_2"):
        adapter.step({"agent_0": 1})
    with pytest.raises(ba.InputError, match="0 to 2"):
        adapter.step(dict.fromkeys(adapter.agents, 3))
