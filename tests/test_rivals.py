"""Rivals of Bayesian optimisation among funded projects: independent versions of their money, and what they must do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc.impact.loop import nothing_yet
from bayesalloc.impact.returns import saturating
from bayesalloc.models import altruism
from bayesalloc.models.funding import blackbox, gradient
from bayesalloc.models.funding.allocators import ALLOCATORS
from bayesalloc.models.funding.gradient import RING, Gradient
from bayesalloc.models.funding.reports import NEVER
from bayesalloc.models.funding.tilt import tilted
from bayesalloc.models.funding.world import World
from bayesalloc.simulate import rollout
from bayesalloc.stepping import begin, played

KEY, N, ROUNDS, WORLDS = jax.random.key(4), 30, 30, 6
WORLD = World(n_projects=N, delay=2.0)
ENV = altruism.consortium(WORLD)
CLIMB = {"own": Gradient(0.2, 0.1, 0.1, 0.25), "total": Gradient(0.02, 0.3, 0.1, 0.25)}


@pytest.fixture(scope="module")
def climbed():
    def played(name):
        arms = jax.tree.map(lambda leaf: jnp.float32(leaf)[None], CLIMB[name])
        found = rollout(ENV, getattr(gradient, name), KEY, arms=arms, replicates=WORLDS, horizon=ROUNDS)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:, 0], found)

    return {name: played(name) for name in CLIMB}


def plain(name, rounds, world):
    """The shares in plain NumPy, from the formulas of the module's docstring and what was reported."""
    tuned = CLIMB[name]
    params = jax.tree.map(lambda leaf: np.asarray(leaf)[world], begin(ENV, KEY, replicates=WORLDS).params)
    effect, room = params.effect_expected.astype(float), params.room_seen.astype(float)
    knapsack = np.asarray(ba.impact.rules.RULES["knapsack"](*map(jnp.asarray, (effect, room)), jnp.ones(N, bool), 1.0))
    base = (1 - tuned.spread) * knapsack + tuned.spread * room / room.sum()
    expected = effect * np.asarray(saturating(base, room))
    unit, logit, mean, ratio = expected.sum(), np.log(base), expected / expected.sum(), 1.0
    noise_key = jax.random.fold_in(jax.random.fold_in(KEY, world), 1)
    tried = []
    for t in range(ROUNDS):
        on = rounds.on[world, t]
        softmax = np.where(on, np.exp(logit), 0.0) / np.exp(logit[on]).sum()
        due = rounds.arrival[world, :t] == t
        reported = due.any(0)
        count = due.sum(0)
        average = np.where(reported, (due * rounds.log_report[world, :t]).sum(0) / np.maximum(count, 1), 0.0)
        grant = np.where(due, np.log(np.maximum(rounds.share[world, :t], 1e-30)), 0.0).sum(0) / np.maximum(count, 1)
        impact = np.where(reported, np.exp(average) / unit, 0.0)
        if name == "own":
            amount = np.where(reported, np.exp(grant), 0.0)
            logit = logit + tuned.rate * count * (impact - ratio * amount)
            if reported.any():
                ratio += tuned.step * ((count * impact).sum() / (count * amount).sum() - ratio)
        else:
            age = np.round((due * (t - np.arange(t))[:, None]).sum(0) / np.maximum(count, 1)).astype(int)
            moved = sum(count[j] * (impact[j] - mean[j]) * tried[t - age[j]] for j in np.flatnonzero(reported))
            logit = logit + tuned.rate / tuned.sigma * N * softmax * moved
            mean = np.where(reported, mean + tuned.step * (impact - mean), mean)
            key = jax.random.fold_in(jax.random.fold_in(noise_key, t), 0)
            tried.append(np.asarray(jax.random.normal(key, (N,), jnp.float32)))
        raw = np.where(on, np.exp(logit + (tuned.sigma * tried[t] if name == "total" else 0.0)), 0.0)
        yield raw / raw.sum()


@pytest.mark.parametrize("name", CLIMB)
def test_a_plain_version_of_a_policy_gradient_gives_the_same_shares(climbed, name):
    assert (climbed[name].arrival != NEVER).any() and ROUNDS < RING
    for t, share in enumerate(plain(name, climbed[name], 1)):
        np.testing.assert_allclose(climbed[name].share[1, t], share, rtol=5e-3, atol=1e-6)


def test_climbing_ones_own_reports_pays(climbed):
    static = ba.environment.stack([*ENV.arms(["knapsack"]).values()])
    found = rollout(ENV, ba.hold, KEY, arms=static, replicates=WORLDS, horizon=ROUNDS, collect=lambda out: out.impact)
    gain = climbed["own"].impact[:, -10:].mean(1) / np.asarray(found)[:, 0, -10:].mean(1) - 1
    assert gain.mean() > 2 * gain.std() / np.sqrt(WORLDS) > 0


def agencies():
    """What a centre gives to three agencies that knows all effects, with rooms and deliveries; all are on."""
    normals = np.random.default_rng(0).normal(size=(3, 30))
    effect, room = jnp.exp(normals[0]), jnp.exp(normals[1]) / 30
    on = jnp.ones(30, bool)
    return effect, room, ba.impact.rules.RULES["knapsack"](effect, room, on, 1.0), jnp.asarray(0.5 * normals[2]), on


def test_without_delivery_to_react_to_agencies_change_nothing():
    _, room, share, local, on = agencies()
    np.testing.assert_allclose(tilted(share, room, 0.0 * local, on), share, atol=1e-5)


def test_agencies_move_their_own_money_to_what_delivers():
    effect, room, share, local, _ = agencies()
    on = jnp.arange(30) % 10 != 3
    share = share * on
    after = np.asarray(tilted(share, room, local, on))
    np.testing.assert_allclose(after.reshape(3, 10).sum(1), share.reshape(3, 10).sum(1), atol=1e-5)
    assert (after[~on] == 0).all() and (after >= 0).all()
    wanted = (share + room) * jnp.exp(local) - room
    wanted = (jnp.maximum(wanted, 0.0) * (share > 0.0)).reshape(3, 10)
    roughly = (wanted / wanted.sum(1, keepdims=True) * share.reshape(3, 10).sum(1, keepdims=True)).ravel()
    worth = [float((effect * jnp.exp(local) * saturating(amount, room)).sum()) for amount in (share, roughly, after)]
    assert worth[0] < worth[1] < worth[2]


def test_where_no_project_of_an_agency_delivers_its_money_stays():
    _, room, share, local, on = agencies()
    np.testing.assert_allclose(tilted(share, room, 0.0 * local - 50.0, on), share, atol=1e-5)


@pytest.fixture(scope="module")
def hosted():
    names = ("bo", "thompson", "bo_no_spillovers", "tilt")
    return {
        name: played(ENV, ALLOCATORS[name](WORLD).policy, KEY, replicates=2, horizon=2, collect=lambda out: out.share)
        for name in names
    }


def test_the_black_box_sees_totals_of_settled_rounds_scaled_to_all_that_were_funded():
    history = nothing_yet(1, 9, 3)
    history.amount[0, :9] = (0.5, 0.5, 0.0)
    history.amount[0, 1] = (0.2, 0.2, 0.4)  # a fifth went to who was off
    history.log_report[0] = np.log(2.0)
    history.arrival[0, 0, :2], history.arrival[0, 1, 0], history.arrival[0, 2, 0] = 3, 8, 9
    points, totals = blackbox.settled(history, 0, 2 + blackbox.SETTLED)
    np.testing.assert_allclose(points, [(0.5, 0.5, 0.0), (0.25, 0.25, 0.5)])
    np.testing.assert_allclose(totals, [4.0, 6.0])
    assert len(blackbox.settled(history, 0, 3 + blackbox.SETTLED)[1]) == 3


def test_the_black_box_begins_with_mixtures_of_rules_and_then_looks_for_itself():
    horizon = blackbox.BEGUN + 2
    share = played(ENV, blackbox.black_box(WORLD), KEY, replicates=2, horizon=horizon, collect=lambda out: out.share)
    np.testing.assert_allclose(share.sum(2), 1.0, atol=1e-5)
    params, on = begin(ENV, KEY, replicates=2).params, jnp.ones(N, bool)
    known = params.effect_expected[0], params.room_seen[0]
    rules = [np.asarray(rule(*known, on, 1.0)) for rule in ba.impact.rules.RULES.values()]
    missed = [np.linalg.lstsq(np.array(rules).T, each)[1].sum() for each in share[0]]
    assert missed[0] < 1e-8 < missed[-1]


def test_all_of_them_give_the_budget(hosted):
    for share in hosted.values():
        np.testing.assert_allclose(share.sum(2), 1.0, atol=1e-5)
        assert (share >= 0).all()


def test_thompson_sampling_moves_more_money_than_the_mean(hosted):
    moved = {name: abs(np.diff(share, axis=1)).sum() for name, share in hosted.items()}
    assert moved["thompson"] > 1.5 * moved["bo"]


def test_the_first_budgets_of_agencies_that_tilt_are_those_of_the_centre(hosted):
    budgets = [hosted[name][:, 0].reshape(2, 3, 10).sum(2) for name in ("bo", "tilt")]
    np.testing.assert_allclose(*budgets, atol=1e-5)
    assert abs(hosted["bo"] - hosted["tilt"]).max() > 0.01
    assert abs(hosted["bo"] - hosted["bo_no_spillovers"])[:, 0].max() > 1e-4
