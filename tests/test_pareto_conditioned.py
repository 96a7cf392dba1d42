"""One network for all weights: what it is made of, targets by hand, runs that repeat, and fronts it agrees with."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayesalloc.agents.pareto import conditioned
from bayesalloc.agents.pareto.bounds import n_step_bounds, played
from bayesalloc.agents.pareto.conditioned import Config, differences, explored
from bayesalloc.agents.pareto.networks import Heads, greedy, together
from bayesalloc.agents.pareto.steps import Step, Transition, added_up
from bayesalloc.episodes import Episodes
from bayesalloc.errors import InputError
from bayesalloc.simulate import rollout
from tests.morl_problems import CHOICES, FREE, QUARTERS, enumerated, small_organisation
from tests.test_training import assert_same

KEY = jax.random.key(3)
SMALL = small_organisation()
EPISODES = Episodes(SMALL, QUARTERS + 1)  # which end by themselves before
CONFIG = Config(
    steps=12_000,
    environments=16,
    updates=2,
    batch=64,
    capacity=10_000,
    warmup=200,
    discount=1.0,
    polyak=0.02,
    learning_rate=3e-3,
)


def heads(key):
    return Heads(len(FREE) + 1, len(FREE), len(CHOICES), 3, (32, 32), key)


def test_vectors_add_up_over_factors_and_each_factor_does_its_best():
    network = heads(KEY)
    values, weights = jax.random.normal(KEY, (5, 4)), jnp.tile(jnp.array([0.2, 0.5, 0.3]), (5, 1))
    found = network(values, weights)
    assert found.shape == (5, 3, 2, 3)
    mask = jnp.ones((5, 6), bool)
    best = max(
        float(together(found[0], jnp.array(moves)) @ weights[0]) for moves in np.ndindex(2, 2, 2)
    )  # of all joint actions
    assert float(together(found[0], greedy(found, weights, mask)[0]) @ weights[0]) == pytest.approx(best, abs=1e-6)
    only = mask.at[:, 2:4].set(jnp.array([False, True]))  # the second factor has one move left
    assert greedy(found, weights, only)[:, 1].tolist() == [1] * 5
    tried = explored(KEY, jnp.zeros((200, 3), jnp.int32), jnp.tile(only[:1], (200, 1)), jnp.float32(1.0))
    assert tried[:, 1].tolist() == [1] * 200 and 60 < int(tried[:, 0].sum()) < 140  # 100 expected, sd 7
    np.testing.assert_array_equal(explored(KEY, tried, jnp.tile(mask[:1], (200, 1)), jnp.float32(0.0)), tried)


def test_rewards_are_added_up_until_an_episode_ends():
    """One copy, discount 0.5, three steps ahead; the second step is the end, the fourth one cuts off."""
    count = jnp.arange(6.0)[:, None]
    flags = jnp.zeros((6, 1), bool)
    steps = Step(
        values=count[..., None],
        action=jnp.zeros((6, 1, 1), jnp.int32),
        weights=jnp.ones((6, 1, 2)),
        reward=jnp.stack([count, 10 * count], -1) + 1.0,
        next_values=count[..., None] + 0.5,
        next_mask=jnp.ones((6, 1, 3), bool),
        terminated=flags.at[1].set(True),
        over=flags.at[jnp.array([1, 3])].set(True),
        happened=~flags.at[0].set(True),
    )
    made, happened = added_up(steps, 3, 0.5)
    assert happened[:, 0].tolist() == [False, True, True, True]
    # rewards of the first objective are 1, 2, 3, 4, 5, 6, of the second 1, 11, 21, 31, 41, 51
    np.testing.assert_allclose(made.reward[:, 0], [[1 + 1, 1 + 5.5], [2, 11], [3 + 2, 21 + 15.5], [4, 31]])
    np.testing.assert_allclose(made.discount[:, 0], [0.0, 0.0, 0.25, 0.5])
    np.testing.assert_allclose(made.next_values[:, 0, 0], [1.5, 1.5, 3.5, 3.5])
    alone, _ = added_up(steps, 1, 0.5)
    np.testing.assert_allclose(alone.reward, steps.reward)
    np.testing.assert_allclose(alone.discount[:, 0], [0.5, 0.0, 0.5, 0.5, 0.5, 0.5])


def test_differences_are_those_of_double_learning_of_vectors():
    """By hand: the network chooses, its target values; and the envelope takes the best of several weights."""
    network, target = heads(KEY), heads(jax.random.key(4))
    items, dirichlet = 4, jax.random.dirichlet(KEY, jnp.ones(3), (6,))
    batch = Transition(
        values=jax.random.normal(jax.random.key(5), (items, 4)),
        action=jnp.zeros((items, 3), jnp.int32),
        weights=dirichlet[:items],
        reward=jax.random.normal(KEY, (items, 3)),
        discount=jnp.linspace(0.0, 1.0, items),
        next_values=jax.random.normal(jax.random.key(6), (items, 4)),
        next_mask=jnp.ones((items, 6), bool).at[2, 0].set(False),
    )
    for others in (dirichlet[items:items], dirichlet[items:]):
        found = differences(network, target, batch, others)
        for k in range(items):
            seen, own, best = batch.next_values[k], batch.weights[k], (-np.inf, None, None)
            for tried in (own, *others):
                for moves in np.ndindex(2, 2, 2):
                    if k == 2 and moves[0] == 0:
                        continue
                    worth = float(together(network(seen, tried), jnp.array(moves)) @ own)
                    best = max(best, (worth, moves, tried), key=lambda one: one[0])
            then = together(target(seen, best[2]), jnp.array(best[1]))
            now = together(network(batch.values[k], own), batch.action[k])
            np.testing.assert_allclose(found[k], batch.reward[k] + batch.discount[k] * then - now, atol=1e-4)


@pytest.fixture(scope="module")
def trained():
    return jax.jit(conditioned.make_train(CONFIG, EPISODES, heads, ()))(KEY)


def test_it_agrees_with_the_tabular_front(trained):
    """In the organisation of three departments, by many weights, it loses at most 2 % of the front's range."""
    run, curve = trained
    known = enumerated().front
    weights = jax.random.dirichlet(jax.random.key(8), jnp.ones(3), (40,))
    arms = (jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (40, *leaf.shape)), run.network), weights)
    brought = rollout(
        SMALL,
        conditioned.acting,
        KEY,
        arms=arms,
        replicates=1,
        horizon=QUARTERS,
        collect=lambda quarters: jax.vmap(jax.vmap(SMALL.reward))(quarters).sum(1),
    )[0]
    worth, best = (np.asarray(brought) * weights).sum(1), (known @ np.asarray(weights).T).max(0)
    spread = best - (known @ np.asarray(weights).T).min(0)
    assert (worth <= best + 1e-3).all()  # the front is the front
    lost = (best - worth) / spread
    assert lost.mean() < 0.02 and lost.max() < 0.2
    assert curve["return"].shape == (750, 3) and int(curve["ended"].sum()) == 12_000 // QUARTERS


def test_the_same_key_gives_the_same_run_in_parts_or_whole(trained):
    trainer = conditioned.trainer(CONFIG, EPISODES, heads, ())
    advance, parts = jax.jit(lambda run: trainer.advance(run, 375)[0]), jax.jit(trainer.begin)(KEY)
    for _ in range(2):
        parts = advance(parts)
    assert_same(trained[0], parts)
    assert int(parts.memory.added) == 12_000 - 2 * 16  # two steps of each copy wait for what comes after them


def test_risk_is_taken_from_every_objective():
    config = dataclasses.replace(CONFIG, steps=16 * QUARTERS, aversion=3.0, explore=(0.0, 0.0))

    def returned(amount):
        train = conditioned.make_train(
            config, EPISODES, heads, (), risk=lambda state, outcome, about: about, about=amount
        )
        curve = train(KEY)[1]
        return curve["return"].sum(0), curve["risk"]

    (plain, averse), risk = jax.jit(jax.vmap(returned))(jnp.array([0.0, 0.5]))
    np.testing.assert_array_equal(risk[:, 0], [0.0, 0.5])
    np.testing.assert_allclose(plain - averse, [16 * QUARTERS * 1.5] * 3, rtol=1e-4)


def test_n_step_returns_have_bounds():
    """With rewards 1 and values that are off by 1 each, the n-step return is off by d^n, and there is no chance."""
    rewards, exact = np.ones((2, 8, 12, 1)), np.full((2, 8, 13, 1), 2.0)  # discount 0.5: 1 / (1 - 0.5)
    values = exact + 1.0
    values[:, :, -1] = 2.0
    bounds = n_step_bounds(rewards, values, 0.5, np.random.default_rng(0), resamples=50)
    np.testing.assert_allclose(bounds.mean[:, 0], [2 + 0.5**n for n in (1, 3, 5, 10)])
    np.testing.assert_allclose(bounds.bound[:, 0], [0.5**n for n in (1, 3, 5, 10)])
    np.testing.assert_allclose(bounds.low, bounds.high)
    noisy = 1.0 + np.random.default_rng(1).normal(size=(2, 400, 12, 1))
    bounds = n_step_bounds(noisy, np.full((2, 400, 13, 1), 2.0), 0.5, np.random.default_rng(0), ahead=(1, 10))
    sd = np.sqrt([1.0, (1 - 0.25**10) / 0.75]) / np.sqrt(800)  # of a mean over 800 episodes
    np.testing.assert_allclose((bounds.high - bounds.low)[:, 0], 2 * 1.598 * sd, rtol=0.15)
    with pytest.raises(InputError, match="ahead is .*; episodes have 12 steps"):
        n_step_bounds(noisy, noisy, 0.5, np.random.default_rng(0), ahead=(13,))


def test_values_along_episodes_are_the_networks():
    network = heads(KEY)
    rewards, values = played(EPISODES, network, jnp.array([1.0, 0.0, 0.0]), KEY, 3, 2)
    assert rewards.shape == (3, 2, 3) and values.shape == (3, 3, 3)
    first = network(jnp.zeros(4), jnp.array([1.0, 0.0, 0.0]))
    action = greedy(first, jnp.array([1.0, 0.0, 0.0]), jnp.ones(6, bool))
    np.testing.assert_allclose(values[:, 0], jnp.tile(together(first, action), (3, 1)), atol=1e-5)
    _, quarter = SMALL.step(SMALL.initial(()), action, ())
    np.testing.assert_allclose(rewards[0, 0], SMALL.reward(quarter), atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ahead": 0}, "ahead is 0; it must be at least 1"),
        ({"capacity": 8}, "capacity is 8; 16 steps come at once"),
        ({"discount": 1.1}, "discount is 1.1"),
        ({"aversion": -1.0}, "aversion is -1; it must be at least 0"),
        ({"concentration": 0.0}, "concentration is 0; it must be above 0"),
        ({"explore": (1.0, 2.0)}, r"explore is \[1.0, 2.0\]"),
    ],
)
def test_configurations_that_cannot_be_are_refused(changes, said):
    with pytest.raises(InputError, match=said):
        dataclasses.replace(CONFIG, **changes)


def test_networks_of_another_form_are_refused():
    for made, said in [
        (lambda key: Heads(4, 2, 2, 3, (8,), key), r"mask of shape \(6,\); 2 factors with 2 moves each need \(4,\)"),
        (lambda key: Heads(4, 3, 2, 2, (8,), key), r"reward of shape \(3,\); the network has 2 objectives"),
    ]:
        trainer = conditioned.trainer(CONFIG, EPISODES, made, ())
        with pytest.raises(InputError, match=said):
            jax.eval_shape(lambda key, trainer=trainer: trainer.advance(trainer.begin(key), 1), KEY)
