"""Agencies without a centre, as arms of a comparison: what they do, and that they learn as they go."""

import dataclasses

import jax
import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc.environment import stack
from bayesalloc.models.altruism import consortium
from bayesalloc.models.funding import alone, learned
from tests.test_learned_agencies import KEY, WORLD, small

FUNDING = consortium(WORLD)


def shares(env, policy, arm, horizon, replicates=2):
    sizes = {"replicates": replicates, "horizon": horizon, "chunk_size": replicates, "devices": 1}
    found = ba.rollout(env, policy, KEY, arms=stack([arm]), collect=lambda outcomes: outcomes.share, **sizes)
    return np.asarray(found[:, 0])


def test_what_was_learned_among_agencies_does_the_same_among_all_rules():
    """The same worlds, the same noise, the same moves: in one environment they act, in the other they decide."""
    plan = dataclasses.replace(small("ppo"), rounds=alone.HORIZON)
    actor = learned.network(plan, KEY)
    actor = jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(KEY, leaf.shape), actor)
    mine = shares(FUNDING, alone.as_learned(plan), actor, 6)
    theirs = shares(plan.environment, learned.acting(plan), actor, 6)
    np.testing.assert_allclose(mine, theirs, rtol=2e-4, atol=1e-6)
    assert (np.abs(np.diff(mine, axis=1)).sum(-1) > 0.005).all()


KEEN = alone.Policy(*map(np.float32, (3e-2, 0.9, 0.0, 2.0, 0.1)))
GREEDY = alone.Values(*map(np.float32, (1e-2, 0.9, 0.3, 0.0, 0.1)))
HELD = 30.0  # logit of not moving
ROUNDS = 24  # the same in all tests of a policy, so that it is compiled once


def test_they_can_begin_by_holding():
    held = shares(FUNDING, alone.by_policy, KEEN._replace(hold=np.float32(HELD), learning_rate=np.float32(0.0)), ROUNDS)
    assert np.abs(np.diff(held, axis=1)).sum(-1).min() < 1e-6  # the rest is projects that go off or on


@pytest.mark.parametrize(("policy", "arm"), [(alone.by_policy, KEEN), (alone.by_values, GREEDY)], ids=["ppo", "dqn"])
def test_they_learn_as_they_go(policy, arm):
    """With another rate the first rounds are the same, those after the first update are not."""
    slow, keen = (
        shares(FUNDING, policy, arm._replace(learning_rate=np.float32(rate)), ROUNDS) for rate in (1e-9, 3e-2)
    )
    first = alone.ROLLOUT
    np.testing.assert_allclose(slow[:, :first], keen[:, :first], rtol=1e-4, atol=1e-7)
    assert np.abs(slow[:, first + 1 :] - keen[:, first + 1 :]).max() > 1e-3
    np.testing.assert_allclose(keen.sum(-1), 1.0, atol=1e-5)


def test_the_shipped_policy_is_an_arm():
    pretrained = FUNDING.arms(["ppo_pretrained"])["ppo_pretrained"]
    assert pretrained is alone.pretrained()
    split = shares(FUNDING, pretrained.policy, pretrained.given, 3)
    np.testing.assert_allclose(split.sum(-1), 1.0, atol=1e-5)
    assert np.isfinite(split).all() and (split >= 0).all()


def test_rewarded_together_each_gets_the_mean():
    plan = learned.rivals(WORLD, 8, "together", together=True)
    own = dataclasses.replace(plan, together=False)
    each, all_of_it = (
        ba.rollout(
            made.environment,
            ba.hold,
            KEY,
            arms=stack([np.ones(WORLD.n_agencies, int)]),
            replicates=2,
            horizon=12,
            collect=lambda it: it.reward,
        )
        for made in (own, plan)
    )
    np.testing.assert_allclose(np.asarray(all_of_it).mean(-1), np.asarray(each).mean(-1), rtol=1e-5, atol=1e-7)
    assert np.ptp(np.asarray(all_of_it), axis=-1).max() < 1e-6 < np.ptp(np.asarray(each), axis=-1).max()


def test_they_are_arms_of_a_comparison():
    arms = FUNDING.arms(["knapsack", "ppo", "dqn"])
    assert arms["ppo"] == alone.RIVALS["ppo"] and arms["dqn"].policy is alone.by_values
