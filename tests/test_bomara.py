"""Bayesian optimisation in the world of funded projects: on rollout's random numbers, and what it learns."""

import jax
import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc.environment import stack
from bayesalloc.impact.loop import nothing_yet
from bayesalloc.impact.structured import double_precision
from bayesalloc.models.altruism import World, consortium
from bayesalloc.models.funding.bomara import fund

KEY, WORLDS, ROUNDS = jax.random.key(3), 2, 5
WORLD = World(n_projects=30, delay=2.0)


@pytest.fixture(scope="module")
def funded():
    seen = []
    done = fund(WORLD, consortium(WORLD), KEY, worlds=WORLDS, rounds=ROUNDS, watch=seen.append)
    return done, seen


def test_it_is_paired_with_what_rollout_does(funded):
    """The oracle's impact, which both see, is the same to the rounding of float32."""
    done, _ = funded
    env = consortium(WORLD)
    arms = stack(list(env.arms(["oracle"]).values()))
    impact = ba.rollout(env, ba.hold, KEY, arms=arms, replicates=WORLDS, horizon=ROUNDS, collect=lambda out: out.impact)
    assert np.allclose(done.impact / done.share_of_oracle, impact[:, 0], rtol=1e-3)


def test_allocations_are_the_whole_budget_for_projects_that_work(funded):
    done, seen = funded
    for number, now in enumerate(seen):
        assert now.round == number and np.allclose(now.share.sum(1), 1.0)
        assert (now.share[~np.asarray(now.on)] < 1e-9).all()
    assert np.allclose(done.share.sum(2), 1.0)


def test_reports_are_seen_when_they_arrive_and_not_before(funded):
    _, seen = funded
    history = seen[-1].history
    for now in (0, 2, ROUNDS - 1):
        with double_precision():
            reports = history.reports(now)
        there = np.asarray(reports.there)
        assert not there[:, now:].any()
        assert (there[:, :now] == (history.arrival[:, :now] <= now)).all()
        assert (np.asarray(reports.amount)[:, :now] == history.amount[:, :now]).all()
    assert there.any()
    with double_precision():
        assert not np.asarray(nothing_yet(2, 20, 5).reports(20).there).any()


def test_reports_teach(funded):
    """Before the last round beliefs are nearer to the truth than before the first, where there were reports."""
    _, seen = funded
    errors = []
    for now in (seen[0], seen[-1]):
        draws = np.asarray(now.draws(jax.random.key(0), 32).draws.log_effect)
        errors.append(np.abs(draws.mean(1) - np.asarray(now.params.log_effect)))
    reported = (seen[-1].history.arrival < ROUNDS).any(1)
    assert reported.sum() > 5
    assert errors[1][reported].mean() < 0.9 * errors[0][reported].mean()


def test_who_learns_is_an_arm_on_the_same_worlds(funded):
    """`compare` has the numbers of `fund`, paired with the rules'."""
    done, _ = funded
    names = ["knapsack", "bo", "bandit", "bandit_agencies"]
    tree = ba.compare(consortium(WORLD), names, KEY, draws=WORLDS, futures=1, horizon=ROUNDS)
    impact = tree["outcomes"]["impact"].sel(arm="bo").values
    assert np.allclose(impact, done.impact, rtol=1e-4)
    assert [*tree["effects"].treatment.values] == names[1:] and tree.attrs["control"] == "knapsack"
    with pytest.raises(ba.InputError, match="bandit_agencies and bo|bo"):
        ba.compare(consortium(WORLD), ["knapsack", "nobody"], KEY, draws=2)
