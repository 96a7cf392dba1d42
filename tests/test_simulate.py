"""The simulator: pairing, independence of chunks, devices and counts, streaming, refusals."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc.environment import stack
from bayesalloc.simulate import Remembering, Scenario, schedule, trajectory

KEY, YEARS = jax.random.key(0), 5


@pytest.fixture(scope="module")
def arms(watershed):
    return stack(list(watershed.arms(None).values()))


def run(env, arms, replicates=20, **options):
    return ba.rollout(env, ba.hold, KEY, arms=arms, replicates=replicates, horizon=YEARS, **options)


def test_shapes(watershed, arms):
    years = run(watershed, arms)
    assert years.forest_health.shape == (20, 3, YEARS)
    assert years.payoff.shape == (20, 3, YEARS, 5)


@pytest.mark.parametrize("options", [{"chunk_size": 3}, {"chunk_size": 7, "devices": 1}, {"devices": 1}])
def test_chunks_and_devices_change_nothing(watershed, arms, options):
    usual, otherwise = (jax.tree.leaves(run(watershed, arms, **given)) for given in ({}, options))
    for a, b in zip(usual, otherwise, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-3)  # kEUR: float32 sums of about 1e2


def test_a_replicate_does_not_depend_on_their_number(watershed, arms):
    few, many = run(watershed, arms, replicates=6, futures=3), run(watershed, arms, replicates=18, futures=3)
    np.testing.assert_allclose(few.forest_health, many.forest_health[:6], rtol=1e-5)


def test_replicates_and_futures_differ(watershed, arms):
    health = np.asarray(run(watershed, arms, futures=2).forest_health)
    assert len(np.unique(health[:, 0, -1])) == 20


def test_a_replicate_draws_from_its_own_key(watershed, arms):
    """`rollout` hashes in its own form; one trajectory at a time draws with JAX's own."""
    arm = jax.tree.map(lambda leaf: leaf[1], arms)
    alone = trajectory(watershed, ba.hold, arm, jax.random.fold_in(KEY, 3), Scenario(YEARS), future=1).forest_health
    together = run(watershed, arms, futures=2).forest_health
    np.testing.assert_allclose(together[7, 1], alone, rtol=1e-5)


def test_arms_do_not_change_each_other(watershed):
    alone = run(watershed, stack(list(watershed.arms(["credit_trading"]).values())))
    together = run(watershed, stack(list(watershed.arms(["no_agreement", "credit_trading"]).values())))
    np.testing.assert_allclose(alone.forest_health[:, 0], together.forest_health[:, 1], rtol=1e-5)


def test_streamed_mean_is_the_mean(watershed, arms):
    streamed = run(watershed, arms, collect=lambda years: years.erosion, average=True, chunk_size=4)
    np.testing.assert_allclose(streamed, run(watershed, arms).erosion.mean(0), rtol=1e-5)


def test_a_schedule_is_followed(watershed, arms):
    plan = jax.tree.map(lambda leaf: leaf[jnp.array([0, 0, 1, 1, 1])][None], arms)
    planned = ba.rollout(watershed, schedule, KEY, arms=plan, replicates=4, horizon=YEARS).forest_health[:, 0]
    fixed = run(watershed, arms, replicates=4).forest_health
    np.testing.assert_allclose(planned[:, :2], fixed[:, 0, :2], rtol=1e-6)
    assert (planned[:, 2:] > fixed[:, 0, 2:]).all()


def test_policies_see_the_state(watershed):
    terms = list(watershed.arms(["cost_sharing", "credit_trading"]).values())
    both = stack(terms)

    def cautious(threshold, observation, period, key):
        """Trade credits only while the forest is poor."""
        return jax.tree.map(lambda leaf: jnp.where(observation.values[0] < threshold, leaf[1], leaf[0]), both)

    thresholds = jnp.array([0.0, 0.5, 1.1])
    health = ba.rollout(watershed, cautious, KEY, arms=thresholds, replicates=8, horizon=YEARS).forest_health
    fixed = run(watershed, both, replicates=8).forest_health
    np.testing.assert_allclose(health[:, 0], fixed[:, 0], rtol=1e-5)
    np.testing.assert_allclose(health[:, 2], fixed[:, 1], rtol=1e-5)


def test_a_policy_may_remember(watershed):
    """One that changes over after as many poor years as its arm says, and so knows more than what it sees."""
    both = stack(list(watershed.arms(["cost_sharing", "credit_trading"]).values()))

    def start(limit, observation):
        return {"poor": jnp.int32(0), "first": observation.values[0]}

    def act(limit, memory, observation, period, key):
        poor = memory["poor"] + (observation.values[0] < memory["first"] + 0.2).astype(jnp.int32)
        action = jax.tree.map(lambda leaf: jnp.where(poor > limit, leaf[1], leaf[0]), both)
        return action, {**memory, "poor": poor}

    limits = jnp.array([0, 2, 99])
    remembered = ba.rollout(watershed, Remembering(start, act), KEY, arms=limits, replicates=8, horizon=YEARS)
    fixed = run(watershed, both, replicates=8)
    np.testing.assert_allclose(remembered.forest_health[:, 0], fixed.forest_health[:, 1], rtol=1e-5)
    np.testing.assert_allclose(remembered.forest_health[:, 2], fixed.forest_health[:, 0], rtol=1e-5)
    plan = jax.tree.map(lambda leaf: leaf[jnp.array([0, 0, 1, 1, 1])][None], both)  # the first three years are poor
    planned = ba.rollout(watershed, schedule, KEY, arms=plan, replicates=8, horizon=YEARS)
    np.testing.assert_allclose(remembered.forest_health[:, 1], planned.forest_health[:, 0], rtol=1e-5)


def test_a_plain_policy_is_one_without_a_memory(watershed, arms):
    """Bit for bit."""

    def act(arm, memory, observation, period, key):
        return arm, memory + 1

    remembering = Remembering(lambda arm, observation: jnp.int32(0), act)
    paths = [
        ba.rollout(watershed, policy, KEY, arms=arms, replicates=4, horizon=YEARS) for policy in (ba.hold, remembering)
    ]
    for plain, remembered in zip(*map(jax.tree.leaves, paths), strict=True):
        assert (plain == remembered).all()


def test_interventions_on_sites(watershed, arms):
    calm = run(watershed, arms, interventions={"growth_shock": 0.0}, start=2)
    usual = run(watershed, arms)
    np.testing.assert_allclose(calm.forest_health[:, :, :2], usual.forest_health[:, :, :2], rtol=1e-6)
    assert not np.allclose(calm.forest_health[:, :, 2:], usual.forest_health[:, :, 2:])
    with pytest.raises(ba.InterventionError, match="no site 'growth'|'rain'"):
        run(watershed, arms, interventions={"rain": 0.0})
    with pytest.raises(ba.InterventionError, match="initial_health"):
        run(watershed, arms, interventions={"initial_health": 1.5})


@pytest.mark.parametrize("options", [{"replicates": 0}, {"futures": 0}, {"chunk_size": 0}])
def test_counts_below_one_are_refused(watershed, arms, options):
    with pytest.raises(ba.InputError, match="at least 1"):
        run(watershed, arms, **{"replicates": 2, **options})


EIGHT_DEVICES = """
import json, jax, numpy as np, bayesalloc as ba
from bayesalloc.environment import stack
assert len(jax.devices()) == 8
env = ba.load_model("watershed")
arms = stack(list(env.arms(None).values()))
years = ba.rollout(env, ba.hold, jax.random.key(0), arms=arms, replicates=20, horizon=5)
print(json.dumps(np.asarray(years.forest_health, float).tolist()))
"""


def test_sharded_over_eight_devices(watershed, arms):
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "8", "JAX_PLATFORMS": "cpu"}
    found = subprocess.run(
        [sys.executable, "-c", EIGHT_DEVICES], env=environment, capture_output=True, text=True, check=True
    )
    np.testing.assert_allclose(json.loads(found.stdout), run(watershed, arms).forest_health, rtol=2e-5)
