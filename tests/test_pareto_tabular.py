"""Tabular Pareto Q-learning: whole fronts that are known, what had no room, and problems that are refused."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayesalloc.agents.hypervolume import hypervolume
from bayesalloc.agents.pareto import tabular
from bayesalloc.agents.pareto.sets import area, nondominated, packed
from bayesalloc.agents.pareto.tabular import Config, Problem
from bayesalloc.errors import InputError
from tests.morl_problems import by_definition, deep_sea, enumerated, fruit_tree, sorted_rows, tabled

KNOWN = {
    "concave": partial(deep_sea, "concave"),
    "convex": partial(deep_sea, "convex"),
    "fruit": partial(fruit_tree, 5),
    "organisation": enumerated,
}


def found(known, config, seeds):
    """The fronts of several seeds, trained side by side in one program; and the runs."""
    keys = jax.random.split(jax.random.key(7), seeds)
    runs = jax.jit(jax.vmap(tabular.make_train(config, known.problem)))(keys)
    each = [jax.tree.map(lambda leaf, k=k: leaf[k], runs) for k in range(seeds)]
    return [tabular.front(config, known.problem, run) for run in each], each


@pytest.mark.parametrize(
    ("problem", "config", "seeds"),
    [
        ("concave", Config(steps=40_000, room=10), 3),
        ("convex", Config(steps=40_000, room=10), 3),
        ("concave", Config(steps=40_000, room=10, ahead=3, choice="area", reference=(0.0, -25.0)), 3),
        ("fruit", Config(steps=400, room=32, ahead=5, explore=(1.0, 1.0)), 4),
        ("organisation", Config(steps=1_600, room=64, ahead=3, explore=(1.0, 1.0)), 2),
    ],
    ids=["concave", "convex", "concave-3-ahead-by-area", "fruit-tree", "three-departments"],
)
def test_the_whole_front_is_found_by_every_seed(problem, config, seeds):
    known = KNOWN[problem]()
    fronts, runs = found(known, config, seeds)
    for front in fronts:
        np.testing.assert_allclose(front.points, known.front, atol=1e-3)
        assert front.overflow == 0
    for point in known.front[:: len(known.front) // 3]:  # the actions that bring it do
        state, total = known.problem.start, 0.0
        for action in tabular.plan(config, known.problem, runs[0], point):
            state, reward, _ = known.problem.step(jax.random.key(0), jnp.int32(state), jnp.int32(action))
            total += np.asarray(reward)
        np.testing.assert_allclose(total, point, atol=1e-3)


def test_outcomes_without_room_are_counted():
    [front], _ = found(deep_sea("concave"), Config(steps=20_000, room=4), 1)
    assert front.overflow > 0


@pytest.mark.parametrize("ahead", [1, 3])
def test_looking_ahead_finds_paths_sooner(ahead):
    """In a corridor of seven states an outcome is known at the start after the first episode, or only after three."""
    onwards = np.minimum(np.arange(8)[:, None] + 1, 7)
    rewards = np.where(np.arange(8)[:, None, None] == 6, [1.0, 2.0], 0.0)
    problem = tabled(onwards, rewards, np.arange(8) == 7)
    config = Config(steps=7 * 3 + 1, room=2, ahead=ahead)
    run = jax.jit(tabular.make_train(config, problem))(jax.random.key(0))
    assert np.asarray(run.tables.there[:7, 0, 0]).tolist() == [ahead == 3 or state >= 4 for state in range(7)]


def test_problems_with_chance_are_refused():
    def slipping(key, state, action):
        there = jax.random.randint(key, (), 1, 3)
        return there, jnp.ones(2), there == 2

    def moody(key, state, action):
        return jnp.int32(1), jax.random.normal(key, (2,)), jnp.bool_(True)

    for step, config, said in [
        (slipping, Config(steps=50, room=4), "steps led elsewhere than the same action in the same state had before"),
        (moody, Config(steps=50, room=4, ahead=3), "looking 3 steps ahead is for problems without chance"),
    ]:
        problem = Problem(3, 1, 2, 0, step)
        run = jax.jit(tabular.make_train(config, problem))(jax.random.key(0))
        with pytest.raises(InputError, match=said):
            tabular.front(config, problem, run)
    mean = jax.jit(tabular.make_train(Config(steps=400), problem))(jax.random.key(0))
    [point] = tabular.front(Config(steps=400), problem, mean).points
    np.testing.assert_allclose(point, 0.0, atol=4 / 400**0.5)  # the mean of 400 rewards of sd 1, within 4 errors


def test_what_is_not_allowed_is_not_done_and_risk_counts_in_every_objective():
    onwards, rewards = np.ones((2, 3), int), np.stack([np.eye(3), np.eye(3)])[..., :2]
    rewards[:, 2] = 5.0
    allowed = np.array([[True, True, False]] * 2)
    problem = tabled(onwards, rewards, [False, True], allowed=allowed)
    config = Config(steps=40, aversion=2.0)
    train = tabular.make_train(config, problem, risk=lambda state, action: 0.25 * (action == 0))
    points = tabular.front(config, problem, jax.jit(train)(jax.random.key(0))).points
    np.testing.assert_allclose(points, [[0.0, 1.0], [0.5, -0.5]])


def test_sets_keep_what_is_not_dominated_and_areas_are_hypervolumes():
    rng = np.random.default_rng(0)
    for objectives in (2, 3):
        points = rng.integers(0, 6, (12, objectives)).astype(np.float32)
        kept = nondominated(jnp.asarray(points), jnp.arange(12) < 10)
        unique = np.unique(by_definition(points[:10]), axis=0)
        np.testing.assert_array_equal(sorted_rows(points[np.asarray(kept)]), sorted_rows(unique))
        held, there, too_many = packed(jnp.asarray(points), kept, 2)
        assert int(too_many) == max(0, len(unique) - 2) and int(there.sum()) == min(2, len(unique))
        np.testing.assert_array_equal(held, points[np.asarray(kept)][:2])
    for _ in range(5):
        points, valid = rng.normal(size=(7, 2)).astype(np.float32), rng.random(7) < 0.7
        areas = area(jnp.asarray(points), jnp.asarray(valid), jnp.array([-1.0, -0.5]))
        assert float(areas) == pytest.approx(hypervolume(points[valid], np.array([-1.0, -0.5])), abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"room": 0}, "room is 0; it must be at least 1"),
        ({"discount": 1.5}, "discount and explore_for are 1.5 and 0.8"),
        ({"choice": "area", "reference": (0.0,)}, "areas are of two objectives"),
    ],
)
def test_configurations_that_cannot_be_are_refused(changes, said):
    with pytest.raises(InputError, match=said):
        dataclasses.replace(Config(), **changes)
    with pytest.raises(InputError, match="areas are of two objectives, and there are 3"):
        tabular.trainer(Config(choice="area"), Problem(2, 1, 3, 0, lambda *given: given))
