"""The bandit among funded projects: an independent version of its money, where it begins, and that it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc.models import altruism
from bayesalloc.models.funding.bandit import TUNED, Bandit, central, per_agency
from bayesalloc.models.funding.reports import NEVER
from bayesalloc.models.funding.world import World, draw_projects
from bayesalloc.simulate import Scenario, trajectories

KEY, N, ROUNDS, WORLDS = jax.random.key(2), 30, 40, 6
WORLD = World(n_projects=N, delay=2.0)
POLICIES = {"central": central, "per_agency": per_agency}


UNMOVED = Bandit(1.0, 0.1, 1.0, 0.0)


@pytest.fixture(scope="module")
def played():
    """Of each policy, for the bandit as it is tuned and for one that never explores: by replicate and round."""
    env = altruism.consortium(WORLD)

    def of(name):
        arms = ba.environment.stack([jax.tree.map(np.float32, each) for each in (TUNED[name], UNMOVED)])

        @jax.jit
        def run(keys):
            return trajectories(env, POLICIES[name], arms, keys, jnp.zeros(WORLDS, int), Scenario(ROUNDS))

        rounds = run(jax.random.split(KEY, WORLDS))
        by_replicate = jax.tree.map(lambda leaf: np.moveaxis(np.asarray(leaf), -1, 0), rounds)
        return [jax.tree.map(lambda leaf, arm=arm: leaf[:, :, arm], by_replicate) for arm in (0, 1)]

    return {name: of(name) for name in POLICIES}


@pytest.fixture(scope="module")
def rounds(played):
    return {name: tuned for name, (tuned, _) in played.items()}


def plain(name, bandit, rounds, world):
    """The shares in plain NumPy, from the formulas of the module's docstring and what was reported."""
    key = jax.random.fold_in(jax.random.split(KEY, WORLDS)[world], 0)
    params = jax.tree.map(np.asarray, ba.seed_by_name(lambda: draw_projects(WORLD), key)())
    effect, room = params.effect_expected.astype(float), params.room_seen.astype(float)
    low, high = 0.0, effect.max()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(room * (effect / middle - 1), 0).sum() > 1 else (low, middle)
    knapsack = np.maximum(room * (effect / low - 1), 0)
    base = (1 - bandit.spread) * knapsack + bandit.spread * room / room.sum()
    expected = np.log(effect * room * np.log1p(base / room) / base)
    mean, seen = expected.copy(), np.zeros(N)
    for t in range(ROUNDS):
        due = rounds.arrival[world, :t] == t
        ratio = rounds.log_report[world, :t] - np.log(np.where(due, rounds.share[world, :t], 1.0))
        for j in np.flatnonzero(due.any(0)):
            new = due[:, j].sum()
            seen[j] += new
            weight = max(new / (seen[j] + bandit.doubt), 1 - (1 - bandit.step) ** new)
            mean[j] += weight * (ratio[due[:, j], j].mean() - mean[j])
        raw = rounds.on[world, t] * base * np.exp((mean - expected) / bandit.temperature)
        if name == "central":
            yield raw / raw.sum()
            continue
        within = raw.reshape(-1, 10) / raw.reshape(-1, 10).sum(1, keepdims=True)
        bid = (within * (mean - expected).reshape(-1, 10)).sum(1)
        budget = (base * rounds.on[world, t]).reshape(-1, 10).sum(1) * np.exp(bid / bandit.temperature)
        yield (within * (budget / budget.sum())[:, None]).ravel()


@pytest.mark.parametrize("name", POLICIES)
def test_a_plain_version_gives_the_same_shares(rounds, name):
    assert (rounds[name].arrival != NEVER).any()
    for world in range(2):
        for t, share in enumerate(plain(name, TUNED[name], rounds[name], world)):
            np.testing.assert_allclose(rounds[name].share[world, t], share, rtol=5e-3, atol=1e-6)


@pytest.mark.parametrize("name", POLICIES)
def test_all_the_money_goes_to_those_that_are_on(rounds, name):
    share, on = rounds[name].share, rounds[name].on
    assert not on.all()
    assert (share[~on] == 0).all()
    np.testing.assert_allclose(share.sum(-1), 1.0, atol=1e-5)


@pytest.mark.parametrize("name", POLICIES)
def test_it_begins_as_the_knapsack_and_learns(played, name):
    env = altruism.consortium(WORLD)
    arms, keys = ba.environment.stack([*env.arms(["knapsack"]).values()]), jax.random.split(KEY, WORLDS)
    futures = jnp.zeros(WORLDS, int)
    static = jax.jit(lambda keys: trajectories(env, ba.hold, arms, keys, futures, Scenario(ROUNDS)))(keys)
    tuned, unmoved = played[name]
    first = unmoved.share[:, 0]
    np.testing.assert_allclose(first, np.asarray(static.share)[0, 0].T, atol=1e-5)
    gain = tuned.impact[:, -10:].mean(1) / np.asarray(static.impact)[-10:, 0].T.mean(1) - 1
    assert gain.mean() > 3 * gain.std() / np.sqrt(WORLDS) > 0
