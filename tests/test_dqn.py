"""The learner: against other libraries, on probes whose values are known, and on the cart with a pole."""

import dataclasses
import functools

import flashbax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax

from bayesalloc.agents import buffer, dqn
from bayesalloc.agents.dqn import Config, Transition
from bayesalloc.agents.networks import Dense, Scorer
from bayesalloc.environment import Observation
from bayesalloc.episodes import Episodes
from bayesalloc.errors import InputError
from tests.probes import CART_POLE, probe, seen

SMALL = Config(
    steps=8_000, environments=4, batch=32, capacity=4_000, warmup=100, discount=0.9, learning_rate=5e-3, target_every=20
)


def _batch(size: int = 16, actions: int = 3) -> Transition:
    keys = jax.random.split(jax.random.key(1), 5)
    return Transition(
        jax.random.normal(keys[0], (size, 4)), jax.random.randint(keys[1], (size,), 0, actions),
        jax.random.normal(keys[2], (size,)), jnp.full(size, 0.9), jax.random.normal(keys[3], (size, 4)),
        jax.random.bernoulli(keys[4], 0.5, (size, actions)),
    )  # fmt: skip


@functools.cache
def _trained(place: int, horizon: int = 50, **changes):
    """The network and the run after training on a probe."""
    config = dataclasses.replace(SMALL, **changes)
    env = PROBES[place]
    train = jax.jit(
        dqn.make_train(config, Episodes(env, horizon), lambda key: Dense((1, 16, len(env.arms(None))), key))
    )
    run, _ = train(jax.random.key(0))
    return run


ALWAYS = jnp.bool_(True)
PROBES = [
    probe(lambda s: seen(s * 0), lambda s, a: (s, 1.0), lambda s: ALWAYS),  # one step, always 1
    probe(lambda s: seen(s), lambda s, a: (s, s), lambda s: ALWAYS),  # worth what is seen
    probe(lambda s: seen(s), lambda s, a: (s + 1, s), lambda s: s > 1.5, first=0),  # 0 now, 1 next
    probe(
        lambda s: seen(s * 0, (True, True)), lambda s, a: (s, 2.0 * a - 1), lambda s: ALWAYS, actions=2
    ),  # -1 or 1 by the action
    probe(lambda s: seen(s, (True, True)), lambda s, a: (s, s * (2.0 * a - 1)), lambda s: ALWAYS, actions=2),  # by both
    probe(lambda s: seen(s * 0), lambda s, a: (s, 1.0), lambda s: ~ALWAYS),  # never over: cut off by the horizon
]


@pytest.mark.parametrize(
    ("place", "values"),
    [
        (0, {0.0: [1.0]}),
        (1, {-1.0: [-1.0], 1.0: [1.0]}),
        (2, {0.0: [0.9], 1.0: [1.0]}),
        (3, {0.0: [-1.0, 1.0]}),
        (4, {-1.0: [1.0, -1.0], 1.0: [-1.0, 1.0]}),
    ],
)
def test_values_of_a_probe(place: int, values: dict[float, list[float]]) -> None:
    network = _trained(place).learner.network
    for state, worth in values.items():
        np.testing.assert_allclose(network(jnp.array([state])), worth, atol=0.05)


def test_an_episode_that_is_cut_off_is_worth_what_would_have_come() -> None:
    """With reward 1 for ever and discount 0.9 the value is 10, wherever the horizon lies."""
    run = _trained(5, horizon=3, steps=40_000, learning_rate=1e-2)
    np.testing.assert_allclose(run.learner.network(jnp.zeros(1)), [10.0], rtol=0.05)
    assert int(run.episodes) == 40_000 // 3 // 4 * 4


def test_the_second_action_is_never_taken_where_it_is_masked() -> None:
    """It would pay 10; the best that can be done is 1 now and 1 next, worth 1.9."""
    env = probe(
        lambda s: seen(s, (True, False)), lambda s, a: (s + 1, 1.0 + 9.0 * a), lambda s: s > 1.5, actions=2, first=0
    )
    train = jax.jit(dqn.make_train(SMALL, Episodes(env, 9), lambda key: Dense((1, 16, 2), key)))
    run, curve = train(jax.random.key(0))
    np.testing.assert_allclose(run.learner.network(jnp.zeros(1))[0], 1.9, atol=0.1)
    assert float(curve["return"].sum()) == 2.0 * int(curve["ended"].sum())


def test_differences_are_those_of_rlax() -> None:
    batch, keys = _batch(), jax.random.split(jax.random.key(2))
    network, target = (Dense((4, 8, 3), key) for key in keys)
    theirs = jax.vmap(rlax.double_q_learning)(
        jax.vmap(network)(batch.values), batch.action, batch.reward, batch.discount,
        jax.vmap(target)(batch.next_values), jax.vmap(network)(batch.next_values),
    )  # fmt: skip
    everything = batch._replace(next_mask=jnp.ones_like(batch.next_mask))
    np.testing.assert_allclose(dqn.differences(network, target, everything), theirs, rtol=1e-5, atol=1e-6)
    plain = jax.vmap(rlax.q_learning)(
        jax.vmap(network)(batch.values), batch.action, batch.reward, batch.discount,
        jax.vmap(target)(batch.next_values),
    )  # fmt: skip
    np.testing.assert_allclose(dqn.differences(network, target, everything, double=False), plain, rtol=1e-5, atol=1e-6)
    unmasked = batch._replace(next_mask=batch.next_mask.at[:, 0].set(True))
    np.testing.assert_allclose(dqn.differences(network, target, unmasked, masked=False), theirs, rtol=1e-5, atol=1e-6)


def test_a_masked_target_does_not_bootstrap_from_what_cannot_be_done() -> None:
    """The network thinks the second action is worth 1,000; it cannot be taken next."""

    def network(x):
        return jnp.array([1.0, 1000.0]) + 0 * x.sum()

    one = Transition(*(jnp.asarray(part)[None] for part in ([0.0], 0, 0.5, 0.9, [0.0], [True, False])))
    assert float(dqn.differences(network, network, one)[0]) == pytest.approx(0.5 + 0.9 - 1.0)
    assert float(dqn.differences(network, network, one, masked=False)[0]) == pytest.approx(0.5 + 900.0 - 1.0)
    nothing = one._replace(next_mask=jnp.zeros((1, 2), bool))
    assert float(dqn.differences(network, network, nothing)[0]) == pytest.approx(0.5 - 1.0)


def test_exploring_takes_only_what_can_be_taken_and_all_of_it() -> None:
    mask = jnp.array([False, True, False, True, True])
    keys = jax.random.split(jax.random.key(0), 3000)
    q = jnp.array([9.0, 1.0, 9.0, 3.0, 2.0])
    taken = np.bincount(jax.vmap(lambda key: dqn.explore(key, q, mask, jnp.float32(0.6)))(keys), minlength=5)
    expected = 3000 * np.array([0.0, 0.2, 0.0, 0.6, 0.2])
    assert taken[0] == taken[2] == 0
    assert np.all(np.abs(taken - expected) < 4 * np.sqrt(3000 * 0.6 * 0.4))  # 4 standard errors


def test_a_learner_follows_the_square_of_its_error() -> None:
    config = Config(optimiser="sgd", learning_rate=0.1, target_every=2)
    batch, network = _batch(), Dense((4, 8, 3), jax.random.key(3))
    learner, loss = dqn.learn(config, dqn.start(config, network), batch)
    error = dqn.differences(network, network, batch)
    assert float(loss) == pytest.approx(float(jnp.square(error).mean()), rel=1e-6)
    by_hand = jax.grad(lambda net: jnp.square(dqn.differences(net, network, batch)).mean())(network)
    stepped = jax.tree.map(lambda old, slope: old - 0.1 * slope, network, by_hand)
    for ours, theirs in zip(jax.tree.leaves(learner.network), jax.tree.leaves(stepped), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    assert jax.tree.leaves(learner.target)[0] is not None and learner.updates == 1
    same = jax.tree.map(lambda a, b: bool((a == b).all()), learner.target, network)
    assert all(jax.tree.leaves(same))
    later, _ = dqn.learn(config, learner, batch)
    same = jax.tree.map(lambda a, b: bool((a == b).all()), later.target, later.network)
    assert all(jax.tree.leaves(same))


def test_the_rate_falls_when_the_loss_does_not() -> None:
    config = Config(optimiser="sgd", learning_rate=1.0, patience=3, plateau=1, reduction=0.5, least_rate=0.25)
    flat = _batch()._replace(discount=jnp.zeros(16), reward=jnp.zeros(16), values=jnp.zeros((16, 4)))
    network = jax.tree.map(jnp.zeros_like, Dense((4, 8, 3), jax.random.key(3)))
    learner = dqn.start(config, network)
    scales = []
    for _ in range(12):
        learner, _ = dqn.learn(config, learner, flat)
        scales.append(float(learner.optimiser[-1].scale))
    assert scales[0] == 1.0 and scales[4] == 0.5 and scales[-1] == 0.25


def test_the_buffer_is_that_of_flashbax() -> None:
    theirs = flashbax.make_item_buffer(max_length=8, min_length=1, sample_batch_size=4, add_batches=True)
    item = {"x": jnp.zeros(2), "n": jnp.int32(0)}
    state, ours = theirs.init(item), buffer.empty(item, 8)
    for start in range(0, 21, 3):
        block = {"x": jnp.arange(start, start + 3.0)[:, None] * jnp.ones(2), "n": jnp.arange(start, start + 3)}
        state, ours = theirs.add(state, block), buffer.add(ours, block)
    kept = np.sort(np.asarray(state.experience["n"]).reshape(-1))
    np.testing.assert_array_equal(np.sort(ours.items["n"]), kept)
    np.testing.assert_array_equal(np.sort(ours.items["n"]), np.arange(13, 21))
    drawn = buffer.sample(ours, jax.random.key(0), 4000)
    np.testing.assert_array_equal(drawn["x"][:, 0], drawn["n"])
    counts = np.bincount(drawn["n"], minlength=21)[13:]
    assert np.all(np.abs(counts - 500) < 4 * np.sqrt(500))


def test_items_that_do_not_count_leave_no_trace() -> None:
    valid = jnp.array([True, False, True, False])
    some = buffer.add(buffer.empty(jnp.int32(0), 8), jnp.arange(4), valid)
    assert some.items[:3].tolist() == [0, 2, 0] and int(some.size) == 2
    with pytest.raises(ValueError, match="5 items do not fit"):
        buffer.add(buffer.empty(jnp.int32(0), 4), jnp.arange(5))


def test_seeds_side_by_side_learn_what_they_learn_alone() -> None:
    config = dataclasses.replace(SMALL, steps=400)
    train = dqn.make_train(config, Episodes(PROBES[4], 9), lambda key: Dense((1, 16, 2), key))
    keys = jax.random.split(jax.random.key(4), 2)
    both, _ = jax.jit(jax.vmap(train))(keys)
    alone, _ = jax.jit(train)(keys[1])
    for side, one in zip(jax.tree.leaves(both.learner.network), jax.tree.leaves(alone.learner.network), strict=True):
        np.testing.assert_allclose(side[1], one, rtol=2e-4, atol=2e-5)


def test_a_scorer_does_not_care_about_order_or_what_is_not_there() -> None:
    network = Scorer(5, 8, jax.random.key(0), each=2)
    x = jax.random.normal(jax.random.key(1), (4, 5)).at[:, 0].set(1.0)
    q, order = network(x), jnp.array([2, 0, 3, 1])
    np.testing.assert_allclose(network(x[order])[:-1].reshape(4, 2), q[:-1].reshape(4, 2)[order], rtol=1e-5, atol=1e-6)
    padded = network(jnp.concatenate([x, jnp.zeros((3, 5))]))
    np.testing.assert_allclose(padded[:8], q[:8], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(padded[-1], q[-1], rtol=1e-5, atol=1e-6)


def test_the_pole_stays_up() -> None:
    episodes = Episodes(CART_POLE, 500)
    config = Config(
        steps=200_000, environments=8, batch=128, capacity=50_000, warmup=1_000, learning_rate=1e-3, target_every=50,
        explore_for=0.3,
    )  # fmt: skip
    run, _ = jax.jit(dqn.make_train(config, episodes, lambda key: Dense((4, 120, 84, 2), key)))(jax.random.key(1))

    def return_of(key):
        def step(carry, key):
            observation, state, up, total = carry
            action = dqn.best(run.learner.network(observation.values), observation.mask)
            observation, state, reward, fell, *_ = episodes.advance(key, state, action, ())
            return (observation, state, up & ~fell, total + jnp.where(up, reward, 0.0)), None

        begin = (*episodes.reset(key, ()), jnp.bool_(True), jnp.float32(0))
        return jax.lax.scan(step, begin, jax.random.split(key, 500))[0][3]

    returns = jax.jit(jax.vmap(return_of))(jax.random.split(jax.random.key(9), 100))
    assert float(returns.mean()) >= 475


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batch": 0}, "batch is 0; it must be at least 1"),
        ({"discount": 1.5}, "discount is 1.5"),
        ({"explore": (2.0, 0.0)}, "explore must be"),
        ({"environments": 100, "capacity": 50}, "capacity is 50; 100 steps come at once"),
    ],
)
def test_a_config_that_cannot_be_is_refused(changes: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Config(**changes)


def test_the_observation_type_is_kept() -> None:
    observation, _ = Episodes(PROBES[2], 9).reset(jax.random.key(0), ())
    assert isinstance(observation, Observation)
