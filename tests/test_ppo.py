"""Proximal policy optimisation: formulas against plain ones, probes with known values, memory, and several actors."""

import dataclasses
import functools
import math

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from bayesalloc.agents import actors, ppo, training
from bayesalloc.agents.heads import Continuous, Discrete
from bayesalloc.agents.ppo import Config
from bayesalloc.agents.recurrent import ActorCritic, Gated
from bayesalloc.agents.scaling import unscaled
from bayesalloc.environment import Environment, Observation
from bayesalloc.episodes import Episodes
from bayesalloc.errors import InputError
from tests.probes import crowd, probe, recalling, seen
from tests.test_training import Killed, assert_same, killing

SMALL = Config(
    steps=12_800, environments=16, rollout=8, epochs=4, minibatches=2, discount=0.9, learning_rate=1e-2,
    annealed=True, scaled=False,
)  # fmt: skip
ALWAYS = jnp.bool_(True)
ONE, TWO = Continuous(1, deviation=0.5, squashed=False), Discrete(2)


def _network(head, features=1, *, recurrent=False):
    return lambda key: ActorCritic(features, head, key, units=16, recurrent=recurrent)


def _train(env: Environment, head, config=SMALL, *, horizon=50, features=1, recurrent=False):
    train = ppo.make_train(config, Episodes(env, horizon), head, _network(head, features, recurrent=recurrent))
    return jax.jit(train)(jax.random.key(0))


def _together(probes, head, config):
    """Runs on several probes side by side, so that they are compiled once: the probe's number is the parameter."""

    def of(number, results):
        return jax.tree.map(lambda *leaves: jnp.stack(leaves)[number], *results)

    env = probes[0]._replace(
        initial=lambda number: of(number, [each.initial(()) for each in probes]),
        step=lambda state, action, number: of(number, [each.step(state, action, ()) for each in probes]),
        observe=lambda state, number: of(number, [each.observe(state, ()) for each in probes]),
        ended=lambda state, number: of(number, [each.ended(state, ()) for each in probes]),
    )

    def train(number):
        return ppo.make_train(config, Episodes(env, 3), head, _network(head), number)(jax.random.key(0))

    return jax.jit(jax.vmap(train))(jnp.arange(len(probes)))


def _look(run, place, values, head):
    """The value and the best action at each of some sights, of the run at a place."""
    actor = jax.tree.map(lambda leaf: leaf[place], run.learner.actor)
    x = jnp.array(values, float)[None, :, None]
    _, numbers, value = actors.look(actor, actor.nothing(len(values)), x, jnp.zeros(x.shape[:2], bool))
    return value[0], head.best(numbers, jnp.ones((1, len(values), 2), bool))[0]


@given(st.integers(0, 2**31 - 1), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_advantages_are_those_of_a_plain_loop(seed, discount, trace):
    """Each is the sum of later surprises up to the end of its own episode, written out."""
    rng = np.random.default_rng(seed)
    reward, value, next_value = rng.normal(size=(3, 12, 2)).astype(np.float32)
    terminated = rng.random((12, 2)) < 0.2
    over = terminated | (rng.random((12, 2)) < 0.2)
    expected = np.zeros((12, 2))
    for copy in range(2):
        for start in range(12):
            weight = 1.0
            for t in range(start, 12):
                after = 0.0 if terminated[t, copy] else next_value[t, copy]
                expected[start, copy] += weight * (reward[t, copy] + discount * after - value[t, copy])
                if over[t, copy]:
                    break
                weight *= discount * trace
    given = map(jnp.asarray, (reward, value, next_value, terminated, over))
    found = jax.jit(ppo.advantages)(*given, jnp.float32(discount), jnp.float32(trace))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_heads_are_those_of_distrax():
    numbers = jax.random.normal(jax.random.key(0), (5, 4))
    normal, mask = Continuous(2), jnp.array([True, False, True, True])
    theirs = distrax.MultivariateNormalDiag(numbers[:, :2], jnp.exp(numbers[:, 2:]))
    drawn = normal.sample(jax.random.key(1), numbers, None)
    np.testing.assert_allclose(normal.log_prob(numbers, drawn, None), theirs.log_prob(drawn), rtol=1e-5)
    np.testing.assert_allclose(normal.entropy(numbers, None), theirs.entropy(), rtol=1e-5)
    np.testing.assert_array_equal(normal.done(drawn), jnp.tanh(drawn))
    chosen, masks = Discrete(4), jnp.broadcast_to(mask, (5, 4))
    without = distrax.Categorical(numbers[:, jnp.array([0, 2, 3])])
    place = jnp.array([0, 1, 2, 2, 1])
    log_prob = chosen.log_prob(numbers, jnp.array([0, 2, 3])[place], masks)
    np.testing.assert_allclose(log_prob, without.log_prob(place), rtol=1e-5)
    np.testing.assert_allclose(chosen.entropy(numbers, masks), without.entropy(), rtol=1e-5)
    many = jax.vmap(lambda key: chosen.sample(key, numbers, masks))(jax.random.split(jax.random.key(2), 200))
    assert set(np.unique(many)) == {0, 2, 3} and not bool((chosen.best(numbers, masks) == 1).any())
    nothing = chosen.log_prob(numbers, many[0], jnp.zeros((5, 4), bool))
    assert bool(jnp.isfinite(nothing).all())


def test_moments_are_those_of_everything_seen():
    x = 3.0 + 2.0 * jax.random.normal(jax.random.key(0), (5, 40, 3))
    moments = unscaled(3)
    for part in x:
        moments = moments.after(part)
    flat = np.asarray(x).reshape(-1, 3)
    np.testing.assert_allclose(moments.mean, flat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(moments.variance, flat.var(0), rtol=1e-4)
    np.testing.assert_allclose(moments(jnp.full(3, 1e6)), 10.0)


def test_a_gated_unit_by_hand():
    """h' = (1 - z) n + z h, number by number."""
    head = Discrete(3)
    network = ActorCritic(2, head, jax.random.key(0), units=3)
    memory, x = jnp.array([0.3, -0.2, 0.9]), jnp.array([0.5, -1.0])
    found = network(memory, x[None], jnp.zeros(1, bool))[0]
    cell, h = network.middle, np.asarray(memory, float)
    assert isinstance(cell, Gated)
    given = np.asarray(cell.inputs(jax.nn.relu(network.embed(x))), float)
    remembered = h @ np.asarray(cell.weights, float)
    reset, keep = (1 / (1 + np.exp(-given[part] - remembered[part])) for part in (slice(3), slice(3, 6)))
    new = np.tanh(given[6:] + reset * (remembered[6:] + np.asarray(cell.bias)))
    np.testing.assert_allclose(found, (1 - keep) * new + keep * h, rtol=1e-5)
    fresh = network(memory, x[None], jnp.ones(1, bool))[0]
    np.testing.assert_allclose(fresh, network(jnp.zeros(3), x[None], jnp.zeros(1, bool))[0], rtol=1e-6)


def test_a_run_begins_with_the_zero_action():
    actor = actors.untrained(_network(ONE, 3, recurrent=True), 3, 1, jax.random.key(0))
    action, memory = actors.decide(ONE, actor, None, Observation(jnp.arange(3.0), jnp.ones(1, bool)))
    assert action.tolist() == [0.0] and memory.shape == (1, 1, 16)


def _both(value):
    return seen(value, (True, True))


PROBES = [
    probe(lambda s: _both(s * 0), lambda s, a: (s, 1.0), lambda s: ALWAYS, actions=2),  # one step, always 1
    probe(lambda s: _both(s), lambda s, a: (s, s), lambda s: ALWAYS, actions=2),  # worth what is seen
    probe(lambda s: _both(s), lambda s, a: (s + 1, s), lambda s: s > 1.5, actions=2, first=0),  # 0 now, 1 next
    probe(lambda s: _both(s * 0), lambda s, a: (s, 1.0), lambda s: ~ALWAYS, actions=2),  # cut off by the horizon
    probe(lambda s: _both(s * 0), lambda s, a: (s, 2.0 * a - 1), lambda s: ALWAYS, actions=2),  # -1 or 1 by the action
    probe(lambda s: _both(s), lambda s, a: (s, s * (2.0 * a - 1)), lambda s: ALWAYS, actions=2),  # by both
    probe(lambda s: seen(s, (True, False)), lambda s, a: (s, 1.0 + 9.0 * a), lambda s: ALWAYS, actions=2),  # masked
]


@pytest.fixture(scope="module")
def probed():
    return _together(PROBES, TWO, dataclasses.replace(SMALL, steps=25_600, discount=0.5))


@pytest.mark.parametrize(
    ("place", "values"),
    [(0, {0.0: 1.0}), (1, {-1.0: -1.0, 1.0: 1.0}), (2, {0.0: 0.5, 1.0: 1.0}), (3, {0.0: 2.0})],
    ids=["constant", "seen", "discounted", "cut off"],
)
def test_values_of_a_probe(probed, place, values):
    """Where reward is 1 for ever, and the discount 1/2, the value is 2 wherever the horizon lies."""
    np.testing.assert_allclose(_look(probed[0], place, [*values], TWO)[0], [*values.values()], atol=0.05)


def test_the_action_that_pays_is_found(probed):
    """And the last one, which would pay 10, is never taken where it is masked."""
    run, curve = probed
    assert _look(run, 4, [0.0], TWO)[1].tolist() == [1]
    assert _look(run, 5, [-1.0, 1.0], TWO)[1].tolist() == [0, 1]
    returned, ended = (np.asarray(curve[name], float) for name in ("return", "ended"))
    assert (returned[4:6, -20:].sum(1) > 0.95 * ended[4:6, -20:].sum(1)).all()
    assert returned[6].sum() == ended[6].sum() > 0


def test_the_number_that_pays_is_found():
    """The reward is -(a - 0.6)^2, or -(a - s/2)^2 of what is seen."""
    fixed = probe(lambda s: seen(s * 0), lambda s, a: (s, -jnp.square(a[0] - 0.6)), lambda s: ALWAYS)
    seeing = probe(lambda s: seen(s), lambda s, a: (s, -jnp.square(a[0] - 0.5 * s)), lambda s: ALWAYS)
    run, _ = _together([fixed, seeing], ONE, SMALL)
    np.testing.assert_allclose(_look(run, 0, [0.0], ONE)[1][:, 0], [0.6], atol=0.05)
    np.testing.assert_allclose(_look(run, 1, [-1.0, 1.0], ONE)[1][:, 0], [-0.5, 0.5], atol=0.07)


@functools.cache
def _recalled(*, recurrent):
    config = dataclasses.replace(SMALL, steps=40_960, learning_rate=5e-3, entropy_weight=0.01, scaled=True)
    return _train(recalling(4), TWO, config, features=2, recurrent=recurrent)


@functools.cache
def _crowded(*, shown, differ, shared):
    env, head = crowd(4, 0.9, shown=shown, differ=differ), Continuous(1, deviation=0.4)
    config = dataclasses.replace(SMALL, shared=shared, discount=0.5)
    return env, head, *_train(env, head, config, horizon=5, recurrent=shown)


ALIKE, HIDDEN, APART = (
    {"shown": True, "differ": False, "shared": True},
    {"shown": False, "differ": False, "shared": True},
    {"shown": True, "differ": True, "shared": False},
)


@pytest.mark.parametrize(
    "made", [lambda: _recalled(recurrent=True), lambda: _crowded(**ALIKE)[2:], lambda: _crowded(**APART)[2:]],
    ids=["list", "numbers", "networks"],
)  # fmt: skip
def test_at_the_first_update_nothing_has_changed(made):
    """The ratio is 1 in the first minibatch of the first epoch, with episodes that end in the midst of what was lived.

    A memory that is reset a step too soon or too late, or moments that move in between, would change it.
    """
    _, curve = made()
    assert curve["ended"][0] > 0 and 8 % 5
    assert float(curve["farthest"][:9].max()) < 2e-6 and float(curve["divergence"][:9].min()) > 1e-5


def test_what_was_lived_through_fits_together():
    """Episodes of three periods that are cut off: the next one begins afresh, and values go on within each."""
    head, episodes = TWO, Episodes(recalling(9), 3)
    actor = actors.untrained(_network(head, 2, recurrent=True), 2, 1, jax.random.key(0))

    @jax.jit
    def lived(key):
        return actors.collect(episodes, head, actor, actors.placed(episodes, 2, (), actor, key), key, 8)

    copies, found, counts = lived(jax.random.key(1))
    over, fresh = np.asarray(found.over[0]), np.asarray(found.fresh[0])
    assert over[[2, 5]].all() and over.sum() == 4 == int(counts["ended"]) and not found.terminated.any()
    assert fresh[0].all() and np.array_equal(fresh[1:], over[:-1]) and np.array_equal(copies.fresh, over[-1])
    after, now = np.asarray(found.next_value[0, :-1]), np.asarray(found.value[0, 1:])
    np.testing.assert_allclose(after[~over[:-1]], now[~over[:-1]], rtol=1e-5)
    assert (np.abs(after[over[:-1]] - now[over[:-1]]) > 1e-5).all()


def test_a_cue_is_remembered_with_a_memory_and_only_with_one():
    """Without one the policy at the choice is the same whatever the cue, so that the expected return is 0.

    2,000 episodes ended in the last iterations, each -1 or 1: four standard errors are 0.09.
    """
    for recurrent in (True, False):
        _, curve = _recalled(recurrent=recurrent)
        returned, ended = (float(curve[name][-80:].sum()) for name in ("return", "ended"))
        assert ended >= 2_000 and (returned / ended > 0.95 if recurrent else abs(returned / ended) < 0.09)


@pytest.mark.parametrize("which", [ALIKE, HIDDEN, APART], ids=["alike", "hidden", "apart"])
def test_what_the_others_do_on_average_matters_where_it_does(which):
    """The best is worth 0; to those who do not see it, -0.9^2/6. Agents that differ need a network each.

    The mean of 500 x 4 squares, of a standard deviation of about 0.16, has a standard error of 0.004.
    """
    env, head, run, _ = _crowded(**which)
    actor, episodes = run.learner.actor, Episodes(env, 9)
    assert actor.groups == (1 if which["shared"] else 4)

    def first(key):
        observation, state = episodes.reset(key, ())
        action, _ = actors.decide(head, actor, None, observation)
        return episodes.advance(key, state, action, ())[2]

    reward = jax.jit(jax.vmap(first))(jax.random.split(jax.random.key(7), 500)).mean(0)
    if which["shown"]:
        assert reward.min() > -0.012
    else:
        assert float(reward.mean()) == pytest.approx(-(0.9**2) / 6, abs=0.02)


def test_seeds_and_numbers_side_by_side_learn_what_they_learn_alone():
    config = dataclasses.replace(SMALL, steps=640)
    train = ppo.make_train(config, Episodes(PROBES[1], 9), TWO, _network(TWO))
    keys = jax.random.split(jax.random.key(4), 2)
    tuning = config.tuning._replace(learning_rate=jnp.array([1e-3, 1e-2]), clip=jnp.array([0.1, 0.2]))
    axes = ppo.Tuning(*(0 if isinstance(each, jax.Array) else None for each in tuning))
    both, _ = jax.jit(jax.vmap(train, in_axes=(0, axes)))(keys, tuning)
    alone, _ = jax.jit(train)(keys[1])
    for side, one in zip(jax.tree.leaves(both.learner.actor), jax.tree.leaves(alone.learner.actor), strict=True):
        np.testing.assert_allclose(side[1], one, rtol=2e-4, atol=2e-5)


def test_a_run_goes_on_from_its_checkpoint_as_if_it_had_not_been_killed(tmp_path):
    config = dataclasses.replace(SMALL, steps=20 * 128, scaled=True)
    trainer = ppo.trainer(config, Episodes(recalling(2), 9), TWO, _network(TWO, 2, recurrent=True), renew=7)
    course = training.Course(trainer, config.iterations, 0, 128, lambda run: run.learner.actor, "reward")
    whole, path = training.train(course, jax.random.key(3)), tmp_path / "checkpoint.run"
    with pytest.raises(Killed):
        training.train(course, jax.random.key(3), checkpoint=path, every=0.0, on_chunk=killing(1_000))
    done = training.train(course, jax.random.key(9), checkpoint=path, resume=path)
    assert_same(done.run, whole.run)
    assert [row.steps for row in done.rows] == list(range(128, 2561, 128))
    assert np.isfinite([row.series["value_loss"] for row in done.rows]).all()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"epochs": 0}, "epochs is 0; it must be at least 1"),
        ({"minibatches": 3}, "minibatches is 3; it must divide the number of environments, 128"),
        ({"trace": 1.5}, r"trace is 1.5; it must be in \[0, 1\]"),
        ({"clip": 0.0}, r"clip is 0; it must be in \(0, 1\)"),
        ({"learning_rate": math.nan}, "learning_rate is nan; it must be above 0"),
        ({"entropy_weight": -0.1}, "entropy_weight is -0.1; it must be at least 0"),
    ],
)
def test_a_config_that_cannot_be_is_refused(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        Config(**changes)


def test_rewards_must_be_of_those_who_see():
    env = crowd(4)._replace(reward=lambda outcome: outcome.reward[:2])
    with pytest.raises(InputError, match=r"crowd shows something to 4 actors, but its reward has shape \(2,\)"):
        _train(env, Continuous(1))
