"""The master's decision problem: greedy sequences are the central allocators, and what any sequence must keep."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayesalloc.allocators import cen_grd, cen_grd_plus, evaluate, make_problem
from bayesalloc.allocators.instances import BASE, SWEEP, Setting, arrivals, draw_network
from bayesalloc.allocators.sequential import (
    FEATURES,
    begin,
    carry_out,
    environment,
    features,
    greedy,
    in_sequence,
    over,
    shipment,
)
from bayesalloc.episodes import Episodes
from bayesalloc.errors import InputError
from bayesalloc.following import seed_by_name

SETTINGS = {
    "published": BASE,
    "varied": dataclasses.replace(SWEEP, tasks=(1, 2, 3, 4), utilities=(4, 5, 9, 16, 25), shuffled_utilities=True),
    "packages": Setting(
        network="random", agents=6, degree=4, types=3, tasks=(1, 3), utilities=(5, 5, 9), shuffled_utilities=True,
        required=3, requester_stock=(0, 1, 2), provider_stock=(4, 7), per_item=0.7, package_size=2,
        layout="shuffled",
    ),
    "for nothing": Setting(agents=4, tasks=(2,), required=0, per_item=3.0),
    "two agents": Setting(network="random", agents=2, degree=1, types=1, tasks=(1, 4)),
}  # fmt: skip
QUICK = {"xla_backend_optimization_level": 0}  # compiles in less time
SMALL = Setting(agents=5, degree=2, tasks=(1, 2), requester_stock=(0, 1), provider_stock=(2, 5))


def drawn(setting: Setting, seed: int, count: int):
    def one(key):
        network, arrive = jax.random.split(key)
        return seed_by_name(lambda: arrivals(setting, draw_network(setting, network)), arrive)()

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(seed), count))


def first_agent(now):
    return greedy(now.options)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_greedy_sequence_is_the_central_greedy_allocation(name):
    """By `gain` CEN-GRD+, and by `thesis`, where the agent with the task of best initial efficiency is named, CEN-GRD:
    as stock only falls, a task that is not possible once never is, so that one pass in that order is all there is.
    And what the greedy order is foreseen to gain is what CEN-GRD+ gains."""

    def pairs(problem):
        sequences = (in_sequence(problem, first_agent, rule) for rule in ("gain", "thesis"))
        pairs = [(one.quantity, other(problem).quantity) for one, other in zip(sequences, CENTRAL, strict=True)]
        foreseen = begin(problem, "gain", look_ahead=True).ahead
        return pairs, (foreseen, evaluate(problem, cen_grd_plus(problem)).social_welfare)

    problems = drawn(SETTINGS[name], 1, 60)
    sequences, gains = jax.jit(jax.vmap(pairs), compiler_options=QUICK)(problems)
    for ours, theirs in sequences:
        np.testing.assert_array_equal(ours, theirs)
        assert theirs.any() or name == "for nothing"
    np.testing.assert_allclose(*gains, rtol=1e-5)


CENTRAL = (cen_grd_plus, cen_grd)


@functools.cache
def played(rule: str):
    """Whole episodes of random choices, impossible ones and stopping among them."""
    ours = rule == "gain"

    def episode(problem, key):
        keys = jax.random.split(key, len(problem.owner) + 1)
        names = jax.vmap(lambda key: jax.random.randint(key, (), 0, SMALL.agents + 1))(keys)
        first = begin(problem, rule, look_ahead=ours)

        def step(now, name):
            after, outcome = carry_out(now, name, rule, look_ahead=ours)
            return after, (outcome, now.stock - after.stock, now.waiting & ~after.waiting, over(after), after.stopped)

        last, (outcome, given, done, ends, stopped) = jax.lax.scan(step, first, names)
        quantity = jnp.einsum("st,sar->tar", done.astype(int), given)
        return first, last, outcome, quantity, ends, stopped, names

    return jax.jit(jax.vmap(episode), compiler_options=QUICK)


@pytest.mark.parametrize("rule", ["gain", "thesis"])
def test_any_sequence_is_feasible_and_adds_up(rule):
    problems = drawn(SMALL, 2, 300)
    first, last, outcome, quantity, ends, *_ = played(rule)(problems, jax.random.split(jax.random.key(3), 300))
    assert (np.diff(ends.astype(int), axis=1) >= 0).all() and ends.mean() > 0.2

    def value(problem, quantity, distance):
        central = cen_grd_plus(problem)
        return evaluate(problem, central._replace(quantity=quantity)), evaluate(problem, central)

    found, central = jax.jit(jax.vmap(value))(problems, quantity, first.market.distance)
    assert found.feasible.all()
    np.testing.assert_array_equal(last.stock, problems.resources - quantity.sum(1))
    welfare = outcome.social_welfare.sum(1)
    np.testing.assert_allclose(welfare, found.social_welfare, rtol=1e-6, atol=1e-4)
    assert np.count_nonzero(welfare) > 100
    if rule == "thesis":
        return
    # Shaped rewards telescope: the part of an episode that is not over lacks what the greedy order gains from there on.
    advantage = (welfare + last.ahead - central.social_welfare) / first.market.scale
    np.testing.assert_allclose(outcome.advantage.sum(1), advantage, rtol=1e-5, atol=1e-4)
    over_ = ends[:, -1]
    np.testing.assert_array_equal(last.ahead[over_], 0)
    np.testing.assert_allclose(first.ahead, central.social_welfare, rtol=1e-6)


def test_stopping_ends_all_and_later_names_do_nothing():
    problems = drawn(SMALL, 2, 300)
    _, _, outcome, _, ends, stopped, names = played("gain")(problems, jax.random.split(jax.random.key(3), 300))
    said = np.cumsum(names == SMALL.agents, axis=1) > 0
    np.testing.assert_array_equal(stopped, said)
    assert ends[said].all() and said.any(1).mean() > 0.5
    later = np.concatenate([np.zeros_like(said[:, :1]), said[:, :-1]], axis=1)
    assert not outcome.social_welfare[said].any() and not outcome.advantage[later].any()
    assert (outcome.advantage[said] <= 0).all()  # stopping forgoes what the greedy order would still gain


def line(**changes):
    """Agents 0 - 1 - 2 with four items at agent 1 and tasks of 2 items: 9 and 3 of agent 0, 7 of agent 2."""
    problem = make_problem([[0, 1], [1, 2]], [1.0, 1.0], [[0], [4], [0]], [0, 0, 2], [3.0, 9.0, 7.0], [[2]] * 3)
    return problem._replace(**changes)


def test_options_by_hand():
    first = begin(line(), "gain")
    options = first.options
    assert options.possible.tolist() == [True, False, True]
    assert options.task.tolist()[0] == 1 and options.net.tolist() == [7.0, 0.0, 5.0]
    assert options.efficiency.tolist() == [3.5, 0.0, 2.5]
    given, net = shipment(first.market, first.stock, options.task[2])
    assert given.tolist() == [[0], [2], [0]] and net == 5
    assert options.worth.tolist() == [1.0, 7.0, 5.0]
    after, step = carry_out(begin(line(), "gain", look_ahead=True), jnp.int32(0), "gain", look_ahead=True)
    assert step.social_welfare == 7 and step.advantage == 0
    assert after.ahead == 5 and after.options.net.tolist() == [1.0, 0.0, 5.0]


def test_a_task_that_loses_is_possible_only_as_published():
    problem = line(per_item=jnp.float32(4.0))  # two items cost 8
    assert begin(problem, "gain").options.possible.tolist() == [True, False, False]
    assert begin(problem, "thesis").options.possible.tolist() == [True, False, True]


def relabelled(problem, name):
    """The same instance where agent k is called name[k]."""
    return problem._replace(
        edges=name[problem.edges], owner=name[problem.owner], resources=problem.resources[np.argsort(name)]
    )


def test_features_do_not_depend_on_names():
    """With lengths and utilities that leave no ties; the master's choice is then the same agent's."""
    rng = np.random.default_rng(5)
    one, two, names = [], [], []
    for _ in range(100):
        edges = [(0, 1), (1, 2), (2, 3), (3, 4), (0, 3), (1, 4)]
        problem = make_problem(
            edges, rng.uniform(0.5, 2, 6), rng.integers(0, 6, (5, 2)), rng.integers(0, 5, 8), rng.uniform(3, 30, 8),
            rng.integers(1, 4, (8, 2)),
        )  # fmt: skip
        name = rng.permutation(5).astype(np.int32)
        problem = jax.tree.map(np.asarray, problem)
        one.append(problem)
        two.append(relabelled(problem, name))
        names.append(name)

    @jax.jit
    @jax.vmap
    def shown(problem):
        now = begin(problem, "gain")
        return features(now), now.options.possible, greedy(now.options)

    rows, possible, best = shown(jax.tree.map(lambda *x: np.stack(x), *one))
    others, allowed, chosen = shown(jax.tree.map(lambda *x: np.stack(x), *two))
    assert rows.shape == (100, 5, FEATURES) and possible.mean() > 0.3
    names = np.stack(names)
    rows, others, at = np.asarray(rows), np.asarray(others), np.arange(100)[:, None]
    np.testing.assert_array_equal(np.asarray(allowed)[at, names], possible)
    np.testing.assert_allclose(others[at, names], rows, rtol=1e-4, atol=1e-4)
    some = np.asarray(possible).any(1)
    assert (np.asarray(chosen) == names[at[:, 0], best])[some].all()
    assert not rows[~np.asarray(possible)].any() and ((rows[..., 0] == 1) == possible).all()


@pytest.mark.parametrize("rule", ["gain", "thesis"])
def test_episodes_of_the_environment(rule):
    """Named at random among what the mask allows, episodes end by themselves and pay what the allocation is worth."""
    env = environment(SMALL, rule)
    episodes, longest = Episodes(env, 11), 11

    def episode(key):
        keys = jax.random.split(key, longest + 2)
        params = episodes.sample_params(keys[0])
        observation, state = episodes.reset(keys[1], params)

        def step(carry, key):
            observation, state, up = carry
            chance = jnp.where(observation.mask, jax.random.uniform(key, observation.mask.shape), -1.0)
            chance = chance.at[SMALL.agents :].add(-0.9)  # stops rarely
            after, state, _, terminated, truncated, info = episodes.advance(key, state, jnp.argmax(chance), params)
            gain = jnp.where(up, info["outcome"].social_welfare, 0.0)
            return (after, state, up & ~terminated), (gain, terminated, truncated, up & ~observation.mask.any())

        (_, state, up), log = jax.lax.scan(step, (observation, state, jnp.bool_(True)), keys[2:])
        problem, stock = state.inner.market.problem, state.inner.stock
        done = problem.real & ~state.inner.waiting
        return observation, up, log, problem.resources - stock, problem.requires, done

    observation, up, (gain, terminated, truncated, nothing), used, requires, done = jax.jit(jax.vmap(episode))(
        jax.random.split(jax.random.key(6), 200)
    )
    assert not up.any() and not (terminated & truncated).any()
    assert not nothing[:, 1:].any()  # an episode goes on only where there is something to choose
    np.testing.assert_array_equal(used.sum(1), np.where(np.asarray(done)[..., None], requires, 0).sum(1))
    assert (gain.sum(1) != 0).mean() > 0.5
    size = SMALL.agents + (rule == "gain")
    assert observation.mask.shape == (200, size) and list(env.arms(None))[: SMALL.agents] == [
        f"agent_{k}" for k in range(SMALL.agents)
    ]
    with pytest.raises(InputError, match="no action 'agent_9'"):
        env.arms(["agent_9"])
