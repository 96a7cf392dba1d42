"""An office that learns: that runs go on exactly, the command, and learned offices as arms with weights."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayesalloc.agents import orders, policies, training
from bayesalloc.agents.hypervolume import hypervolume
from bayesalloc.errors import InputError
from bayesalloc.models.budget import World, arms, environment, organisation
from bayesalloc.models.budgets import learned
from bayesalloc.models.budgets.ceiling import QUARTERS, REFERENCE
from bayesalloc.models.budgets.registry import REGISTRY, deciding
from tests.test_training import KEY, Killed, assert_same, killing

PLAN = learned.pareto(World(plan={"training": 2.5}), 16)
PLAN = dataclasses.replace(
    PLAN, layers=(16,), config=dataclasses.replace(PLAN.config, environments=8, capacity=256, batch=16, updates=1)
)
METHOD = learned.METHODS["pareto"]


@pytest.fixture(scope="module")
def whole():
    """The run that nothing interrupts."""
    return training.train(METHOD.course(PLAN), KEY)


@pytest.fixture(scope="module")
def file(whole, tmp_path_factory):
    path = tmp_path_factory.mktemp("office") / "office.policy"
    policies.save(path, orders.Order("budget", "pareto", PLAN, 2, METHOD.course(PLAN)).policy(whole))
    return path


def test_a_run_ends_as_if_it_had_not_been_interrupted(tmp_path, whole):
    path, course = tmp_path / "checkpoint.run", METHOD.course(PLAN)
    order = orders.Order("budget", "pareto", PLAN, 2, course)
    with pytest.raises(Killed):
        training.train(course, KEY, checkpoint=path, asked=order.asked, every=0.0, on_chunk=killing(160))
    again = orders.order(REGISTRY, checkpoint=path)
    assert again.plan == PLAN and again.course is course
    done = training.train(again.course, jax.random.key(9), resume=path, asked=again.asked)
    assert_same(done.run, whole.run)
    assert json.dumps(done.rows) == json.dumps(whole.rows)
    assert whole.rows[-1].steps == 16 * QUARTERS and whole.rows[-1].episodes == 16
    assert len(whole.rows[-1].series["return"]) == len(whole.rows[-1].series["loss"]) == 3


def test_a_learned_office_is_an_arm_with_weights(file, run):
    back = policies.load(REGISTRY, file)
    assert back.plan == PLAN and hash(back.plan) == hash(PLAN)
    found = arms([f"{file}:2,1,1", "hold", str(file)])
    assert list(found) == ["office:2,1,1", "hold", "office"]
    np.testing.assert_allclose(found["office:2,1,1"].given[1], [0.5, 0.25, 0.25])
    np.testing.assert_allclose(found["office"].given[1], [1 / 3] * 3)
    command = ("compare", "budget", "--draws", 8, "--horizon", 3, "--json", "--mechanisms")
    ran = run(*command, file, f"{file}:1,0,0", "hold")
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    assert list(result["arms"]) == ["office", "office:1,0,0", "hold"]
    changed = {name: arm["changed"]["mean"] for name, arm in result["arms"].items()}
    assert changed["hold"] < 1.0 < min(changed["office"], changed["office:1,0,0"])  # it is cut where money is short
    assert changed["office"] != changed["office:1,0,0"] and result["arms"]["office"]["violations"]["mean"] == 0.0


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (":1,2", r"weights are \[1.0, 2.0\]; they are three numbers of at least 0"),
        (":1,-1,1", "they are three numbers of at least 0, of efficiency, risk, performance, one of them above 0"),
        (":0,0,0", "one of them above 0"),
        (":1,two,3", "weights are numbers with commas between them, as 0.6,0.2,0.2"),
        (".policy", "weights are numbers"),
    ],
)
def test_weights_that_are_none_are_refused(file, ending, said):
    with pytest.raises(InputError, match=said):
        arms([f"{file}{ending}"])
    with pytest.raises(InputError, match="two arms are called 'office'"):
        arms([str(file), str(file)])
    with pytest.raises(InputError, match="other.policy: no such file"):
        arms([str(file.with_name("other.policy"))])


def test_a_front_is_what_all_weights_bring(file):
    policy = policies.load(REGISTRY, file)
    weights, points = learned.front(environment, policy.network, KEY, parts=2, replicates=16)
    assert weights.shape == points.shape == (6, 3)
    assert 0.0 < hypervolume(points, REFERENCE) < 1_100.0
    assert deciding(policy, weights[0]).policy is deciding(policy).policy  # so that they run together


def test_the_command(tmp_path, run):
    setting = tmp_path / "world.toml"
    setting.write_text("[plan]\ntraining = 2.5\n")
    ran = run("train", "budget", "--setting", setting, "--episodes", 16, "--out", "d", "--json")
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    assert result["problem"] == "budget" and result["method"] == "pareto" and result["episodes"] == 16
    assert len(result["return"]) == 3 and (tmp_path / "d" / "pareto.policy").exists()
    judged, returns = result["judged"], result["judged"]["n_step_returns"]
    assert len(judged["front"]) == 28 and judged["hypervolume"] > 0 and len(judged["objectives"]) == 3
    assert returns["ahead"] == [1, 3, 5, 10] and np.shape(returns["bound"]) == (4, 3)
    assert (np.asarray(returns["low"]) <= np.asarray(returns["mean"])).all()
    assert "by n steps" in (tmp_path / "d" / "report.html").read_text()
    setting.write_text("[plan]\ntrainings = 2.5\n")
    ran = run("train", "budget", "--setting", setting)
    assert ran.code == 2 and "plan has no department 'trainings'" in ran.err
    ran = run("train", "budget", "--method", "dqn")
    assert ran.code == 2 and "there are pareto, one network for all weights" in ran.err


def test_plans_that_cannot_be_are_refused():
    with pytest.raises(InputError, match=r"layers is \[0\]"):
        learned.check_plan(dataclasses.replace(PLAN, layers=(0,)))
    assert organisation(World()).name == "budget" and jnp.isfinite(PLAN.config.discount)
