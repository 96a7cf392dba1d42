"""Bayesian optimisation and agencies in a closed loop."""

import jax
import numpy as np
import pytest

from bayesalloc.agents.actors import untrained
from bayesalloc.agents.ppo import Config
from bayesalloc.agents.recurrent import ActorCritic
from bayesalloc.models.altruism import World, consortium
from bayesalloc.models.funding.bomara import fund
from bayesalloc.models.funding.closed_loop import FEATURES, HEAD, closed_loop, online
from bayesalloc.stepping import played

KEY, WORLDS, ROUNDS = jax.random.key(6), 2, 5
WORLD = World(n_projects=30, delay=2.0)
LEARNING = Config(rollout=2, minibatches=1, environments=1, epochs=2, learning_rate=0.01)


@pytest.fixture(scope="module")
def env():
    return consortium(WORLD)


@pytest.fixture(scope="module")
def actor():
    return untrained(lambda key: ActorCritic(FEATURES, HEAD, key, units=8), FEATURES, 1, KEY)


def shares(env, policy):
    return played(env, policy, KEY, replicates=WORLDS, horizon=ROUNDS, collect=lambda happened: happened.share)


def test_agencies_that_have_learned_nothing_resplit_what_the_centre_gives(env, actor):
    """An untrained network's mean is to hold: in the first round budgets are those of the centre alone."""
    alone = fund(WORLD, env, KEY, worlds=WORLDS, rounds=ROUNDS)
    held = shares(env, closed_loop(WORLD, actor, rounds=ROUNDS, eta=0.5))
    first = [each[:, 0].reshape(WORLDS, 3, 10) for each in (held, alone.share)]
    np.testing.assert_allclose(*(each.sum(-1) for each in first), atol=1e-4)
    assert np.abs(first[0] - first[1]).sum((1, 2)).min() > 0.01


def test_it_learns_in_each_world_by_itself(env, actor):
    """Networks change after every `rollout` rounds, each by what happened in its world."""
    seen = []
    policy = online(WORLD, rounds=ROUNDS, eta=0.5, learning=LEARNING)
    watched = policy._replace(told=lambda *given: seen.append(policy.told(*given)) or seen[-1])
    both = shares(env, watched)
    assert np.allclose(both.sum(-1), 1.0, atol=1e-5) and [each.updates for each in seen] == [0, 0, 1, 1, 2]
    first, last = (seen[k].learner.actor.network.act.weights[0] for k in (0, -1))
    assert not np.asarray(first).any() and np.abs(np.asarray(last)).max((1, 2)).min() > 1e-4
    assert not np.allclose(last[0], last[1])
    assert np.abs(both - shares(env, closed_loop(WORLD, actor, rounds=ROUNDS, eta=0.5))).max() > 1e-3
