"""The agencies of the world of funded projects: what they see and do, and what they are rewarded by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import bayesalloc as ba
from bayesalloc.environment import stack
from bayesalloc.episodes import Episodes
from bayesalloc.impact.rules import RULES
from bayesalloc.models.altruism import State, World, consortium
from bayesalloc.models.funding.agencies import AGENCY, MOVES, Guided, agencies, from_centre, moved, split_by, working
from bayesalloc.models.funding.guiding import recorded

KEY, WORLDS, ROUNDS = jax.random.key(5), 2, 4
WORLD = World(n_projects=30, delay=2.0)


@pytest.fixture(scope="module")
def paths():
    return recorded(WORLD, consortium(WORLD), KEY, worlds=WORLDS, rounds=ROUNDS)


def rolled(env, guided, action, horizon=ROUNDS):
    arms = stack([action])
    outcomes = ba.rollout(env, ba.hold, KEY, arms=arms, replicates=WORLDS, horizon=horizon, params=guided)
    return jax.tree.map(lambda leaf: np.asarray(leaf[:, 0]), outcomes)


def test_holding_is_to_resplit_what_the_centre_gives(paths):
    """On its random numbers; where delivery is seen to be usual everywhere, that is what the centre would have done."""
    params, guide, done = paths
    guided = Guided(params, guide, jnp.full(WORLDS, 0.5))
    held = rolled(agencies(WORLD, rounds=ROUNDS), guided, jnp.zeros((3, AGENCY + 1)))
    budgets = [each.reshape(WORLDS, ROUNDS, 3, AGENCY).sum(-1) for each in (held.share, done.share)]
    np.testing.assert_allclose(*budgets, atol=1e-4)
    best = held.impact / held.share_of_oracle
    np.testing.assert_allclose(best, done.impact / done.share_of_oracle, rtol=1e-4)
    even = State(*[None] * len(State._fields))._replace(local_seen=jnp.zeros(30))  # nothing else is looked at
    first = (jax.tree.map(lambda leaf: leaf[0, 0], guide), jax.tree.map(lambda leaf: leaf[0], params))
    np.testing.assert_allclose(from_centre(even, *first), guide.share[0, 0], atol=1e-4)


def test_a_resplit_is_the_best_where_returns_are_logarithmic_and_nothing_spills_over(paths):
    """An agency that gets all and sees its delivery does what who knows it would."""
    params, guide, _ = jax.tree.map(lambda leaf: leaf[0], paths)
    n, effect = AGENCY, jnp.linspace(1.0, 1.5, AGENCY)
    on, room, local = jnp.ones(n, bool), jnp.full(n, 0.1), jnp.linspace(-0.1, 0.1, n)
    guide = jax.tree.map(lambda leaf: leaf[0], guide)._replace(
        share=RULES["knapsack"](effect, room, on, 1.0), on=on * 1.0
    )
    inner = State(*[None] * len(State._fields))._replace(local_seen=local)
    wanted = RULES["knapsack"](effect * jnp.exp(local), room, on, 1.0)
    assert wanted.min() > 0.0
    np.testing.assert_allclose(from_centre(inner, guide, params._replace(room_seen=room)), wanted, atol=1e-4)


def test_rewards_are_reports_when_they_are_read_and_what_the_centre_expects(paths):
    """In units of the impact that it expected of its first split."""
    params, guide, _ = paths
    guided = Guided(params, guide, jnp.full(WORLDS, 0.5))
    action = jnp.linspace(-1.0, 1.0, 3 * (AGENCY + 1)).reshape(3, -1)
    acted = rolled(agencies(WORLD, rounds=ROUNDS), guided, action)
    assert np.allclose(acted.share.sum(-1), 1.0, atol=1e-5)
    assert (acted.reported >= 0.0).all() and acted.reported.any()
    assert not acted.reported[:, 0].all() and np.abs(acted.expected).max() > 1e-4
    np.testing.assert_allclose(acted.reward, acted.reported + 0.5 * acted.expected, rtol=1e-5, atol=1e-6)
    # To first order the changes of all agencies together bring what each brings, and the centre's split is the best.
    assert acted.expected.sum(-1).mean() < 1e-2


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1.0, 1.0, width=32), min_size=33, max_size=33), st.integers(0, 2**16))
def test_moves_keep_the_budget_and_stay_near(action, seed):
    base = jax.random.dirichlet(jax.random.key(seed), jnp.ones(30))
    share, bid = split_by(base, jnp.asarray(action).reshape(3, -1))
    assert abs(float(share.sum()) - 1.0) < 1e-5 and (share >= 0.0).all() and bid.shape == (3,)
    most = (1.2 / 0.8) * np.exp(0.4)
    assert (share <= base * most + 1e-6).all() and (share >= base / most - 1e-6).all()


def test_moves_by_number():
    base = jnp.full(30, 1.0 / 30.0)
    same, bid = moved(base, jnp.zeros(3, int))
    assert np.allclose(same, base) and np.allclose(bid, 0.0)
    share, bid = moved(base, jnp.array([1, 2 + 2 * 9, 0]))
    assert np.allclose(share.sum(), 1.0)
    assert np.allclose([share[0] / share[1], share[19] / share[18]], [1.2, 0.8], rtol=1e-5)
    assert bid[0] > bid[2] > bid[1]


def test_what_is_off_gets_nothing_and_the_rest_all():
    share = working(jnp.full(30, 1.0 / 30.0), (jnp.arange(30) > 3).astype(float))
    assert not share[:4].any() and np.allclose(share.sum(), 1.0)
    alone = working(jnp.eye(30)[0], jnp.ones(30).at[0].set(0.0))
    assert not alone[0] and np.allclose(alone[1:], 1.0 / 29.0)


@pytest.mark.parametrize("numbered", [False, True])
def test_they_can_be_acted_in_without_a_centre(numbered):
    env = agencies(WORLD, rounds=ROUNDS, seeded=False, numbered=numbered)
    episodes = Episodes(env, ROUNDS)
    guided = episodes.sample_params(KEY)
    observation, state = episodes.reset(KEY, guided)
    assert observation.values.shape == (3, 11 * AGENCY + 3 + AGENCY + 1)
    assert np.isfinite(observation.values).all() and observation.mask.shape == (MOVES if numbered else AGENCY + 1,)
    action = jnp.array([1, 0, 4]) if numbered else jnp.ones((3, AGENCY + 1)).at[1].set(0.0)
    after, state, reward, *_ = episodes.step(KEY, state, action, guided)
    assert reward.shape == (3,) and state.inner.inner.period == 1 and np.isfinite(after.values).all()
    blind = agencies(WORLD, rounds=ROUNDS, mean_field=False)
    assert not blind.observe(state.inner, guided).values[:, -11:].any()
