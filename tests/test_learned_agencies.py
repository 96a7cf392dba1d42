"""Agencies that learn: what they begin with, that runs go on exactly, and the command."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc.agents import dqn, orders, policies, training
from bayesalloc.environment import stack
from bayesalloc.episodes import Episodes
from bayesalloc.errors import InputError
from bayesalloc.models.funding import learned
from bayesalloc.models.funding.learned import METHODS, VARIANTS
from bayesalloc.models.funding.registry import REGISTRY
from bayesalloc.models.funding.world import World
from tests.test_training import KEY, Killed, assert_same, killing

WORLD, ROUNDS = World(n_projects=30, delay=2.0), 4


def small(method, preset="ours"):
    """The preset's own plan, for a few short episodes in a small world."""
    full = METHODS[method].presets[preset](WORLD, 32)
    sizes = {"environments": 4, "steps": 32 * ROUNDS}
    if method == "dqn":
        config = dataclasses.replace(full.config, batch=8, capacity=512, warmup=32, **sizes)
        return dataclasses.replace(full, config=config, rounds=ROUNDS)
    config = dataclasses.replace(full.config, rollout=ROUNDS, minibatches=2, **sizes)
    return dataclasses.replace(full, config=config, rounds=ROUNDS, worlds=min(full.worlds, 2))


@pytest.fixture(scope="module")
def trained():
    """Of each method: its plan, and the run that nothing interrupts."""
    return {name: (plan := small(name), training.train(METHODS[name].course(plan), KEY)) for name in METHODS}


@pytest.mark.parametrize("method", METHODS)
def test_a_run_ends_as_if_it_had_not_been_interrupted(tmp_path, trained, method):
    plan, whole = trained[method]
    path, course = tmp_path / "checkpoint.run", METHODS[method].course(plan)
    order = orders.Order("altruism", method, plan, 2, course)
    with pytest.raises(Killed):
        training.train(course, KEY, checkpoint=path, asked=order.asked, every=0.0, on_chunk=killing(64))
    again = orders.order(REGISTRY, checkpoint=path)
    assert again.plan == plan
    done = training.train(again.course, jax.random.key(9), resume=path, asked=again.asked)
    assert_same(done.run, whole.run)
    assert json.dumps(done.rows) == json.dumps(whole.rows)
    assert whole.rows[-1].episodes == plan.episodes == 32
    assert 0.0 < whole.rows[-1].series["share_of_oracle"] <= 1.2


@pytest.mark.parametrize("method", METHODS)
def test_what_was_learned_comes_back_from_its_file(tmp_path, trained, method):
    plan, whole = trained[method]
    path = tmp_path / policies.file_name(method)
    policies.save(path, orders.Order("altruism", method, plan, 2, METHODS[method].course(plan)).policy(whole))
    back = policies.load(REGISTRY, path, method)
    assert back.plan == plan
    env, policy = plan.environment, (learned.value_acting if method == "dqn" else learned.acting)(plan)
    arms = jax.tree.map(lambda leaf: leaf[None], back.network)
    shown = ba.rollout(env, policy, KEY, arms=arms, replicates=2, horizon=ROUNDS).share
    np.testing.assert_allclose(shown.sum(-1), 1.0, atol=1e-5)


@pytest.mark.parametrize("preset", ["ours", "unseeded"])
def test_agencies_that_have_learned_nothing_hold(preset):
    plan = small("bomara", preset)
    learner = learned.acting(plan)

    def act(arm, memory, *seen):
        actor, holds = arm
        action, memory = learner.act(actor, memory, *seen)
        return jnp.where(holds, 0.0, action), memory

    policy = learner._replace(start=lambda arm, observation: learner.start(arm[0], observation), act=act)
    actor = learned.network(plan, KEY)
    arms = stack([(actor, np.bool_(holds)) for holds in (False, True)])  # one program for both
    share = np.asarray(ba.rollout(plan.environment, policy, KEY, arms=arms, replicates=2, horizon=ROUNDS).share)
    np.testing.assert_allclose(share[:, 0], share[:, 1], atol=1e-7)
    assert not np.allclose(share, 1 / 30)


def test_worlds_are_those_of_bayesian_optimisation(trained):
    """Copies take turns in them, and what is recorded of each is what the centre proposed."""
    plan, whole = trained["bomara"]
    guided = whole.run.copies.params
    assert float(guided.eta[0]) == pytest.approx(plan.eta[0] / 8)  # after 7 of 8 iterations
    assert guided.guide.share.shape == (4, ROUNDS, 30) and guided.params.estimate.shape == (4, 30)
    np.testing.assert_array_equal(guided.guide.share[:2], guided.guide.share[2:])
    np.testing.assert_allclose(guided.guide.share.sum(-1), 1.0, atol=1e-5)
    assert not np.allclose(guided.guide.share[0], guided.guide.share[1])
    assert (np.abs(np.diff(guided.guide.share, axis=1)).sum((1, 2)) > 0.01).all()
    rivals = trained["ppo"][1].run.copies.params
    assert not np.asarray(rivals.eta).any() and len(np.unique(rivals.params.estimate[:, 0])) == 4


def test_the_command(tmp_path, run):
    setting = tmp_path / "world.toml"
    setting.write_text("n_projects = 30\ndelay = 2.0\n")
    ran = run("train", "altruism", "--method", "dqn", "--setting", setting, "--episodes", 32, "--out", "d", "--json")
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    assert result["problem"] == "altruism" and result["episodes"] == 32 and result["share_of_oracle"] > 0
    ran = run("train", "altruism", "--preset", "no_such")
    assert ran.code == 2 and "bomara has no preset 'no_such'; there are no_gaussian_process" in ran.err
    setting.write_text("n_projects = 31\n")
    ran = run("train", "altruism", "--setting", setting)
    assert ran.code == 2 and "n_projects is 31; it must be a multiple of 10" in ran.err


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"worlds": -1}, "worlds is -1"), ({"units": 0}, r"layers is \[0\]"), ({"deviation": 0.0}, "deviation above 0")],
)
def test_plans_that_cannot_be_are_refused(changes, said):
    with pytest.raises(InputError, match=said):
        learned.check_plan(dataclasses.replace(small("bomara"), **changes))


def test_variants_differ_in_what_they_are_named_by():
    full = METHODS["bomara"].presets["ours"](WORLD, None)
    for preset, changes in VARIANTS.items():
        plan = METHODS["bomara"].presets[preset](WORLD, None)
        assert plan == dataclasses.replace(full, preset=preset, **changes) and (plan == full) == (preset == "ours")
    assert full.episodes == 25_600 and full.config.environments == 128 and full.rounds == 50


def test_several_share_a_network_by_value_too():
    """A transition for each agency and step is remembered, with its own reward."""
    plan = small("dqn")
    course = learned.value_course(plan)
    run = jax.eval_shape(course.trainer.begin, KEY)
    assert run.memory.items.values.shape == (512, 124) and run.observation.values.shape == (4, 3, 124)
    few = plan.environment._replace(reward=lambda acted: acted.reward[:2])
    made = dqn.trainer(plan.config, Episodes(few, ROUNDS), lambda key: learned.value_network(plan, key))
    with pytest.raises(InputError, match="agencies shows something to 3 actors, but its reward has shape"):
        jax.eval_shape(lambda run: made.advance(run, 1), run)
