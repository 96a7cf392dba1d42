"""An environment is checked when it is loaded or first used: one sentence for each fault."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import bayesalloc as ba
from bayesalloc.checking import check_environment, checked
from bayesalloc.environment import Observation
from bayesalloc.library import available


class Year(NamedTuple):
    catch: jax.Array
    by_boat: jax.Array


def fishery(**changes) -> ba.Environment:
    def step(stock, quota, params):
        luck = numpyro.sample("luck", dist.Normal())
        return stock - quota + luck, Year(quota * stock, jnp.array([quota, stock]))

    parts = {
        "name": "fishery", "prior": lambda: numpyro.sample("start", dist.Uniform(0.4, 0.6)),
        "initial": lambda start: start, "step": step, "baseline": "closed",
        "arms": lambda names: {"closed": np.float32(0.0), "quota": np.float32(0.2)},
        "outcomes": {"catch": ba.Outcome("kt", "higher"), "by_boat": ba.Outcome("kt", "", ("agent",))},
        "coords": {"agent": ("north", "south")},
    }  # fmt: skip
    return ba.Environment(**{**parts, **changes})


def outcome(*args, **fields):
    return {"outcomes": {"catch": ba.Outcome(*args, **fields)}}


class Strange(NamedTuple):
    catch: jax.Array


FAULTS = [
    (outcome("kt", "more"), "outcome 'catch': better is 'more'; it must be one of 'higher', 'lower', ''"),
    (outcome("kt", at="end"), "at is 'end'; it must be one of 'horizon', 'periods'"),
    (outcome(3), "unit is 3"),
    (outcome("kt", dims="agent"), "dims are 'agent'"),
    (outcome("kt", dims=("boat",)), "the dimension 'boat' has no coords; there are agent"),
    (outcome("kt", dims=("agent",)), r"has shape \(\), which its dims do not fit: agent of 2"),
    (outcome("kt", dims=("arm",)), "a dimension is called 'arm'"),
    ({"outcomes": {"catch": "kt"}}, "outcome 'catch' is a str; it must be an Outcome"),
    ({"outcomes": {"profit": ba.Outcome("kt")}}, "'profit' is no field of step's outcome; there are by_boat, catch"),
    ({"coords": {"agent": ("north",)}}, r"'by_boat' has shape \(2,\), which its dims do not fit: agent of 1"),
    ({"coords": {"agent": ("north", "north")}}, "coords of 'agent'"),
    ({"baseline": "open"}, "baseline is 'open', which is no arm: .*; there are closed, quota"),
    ({"refusal": "open"}, "refusal is 'open', which is no arm"),
    ({"payoff": "profit"}, r"payoff is 'profit'; it must be an outcome with dims \('agent',\): by_boat"),
    ({"payoff": "catch"}, "payoff is 'catch'"),
    ({"arms": lambda names: {}}, "with at least one"),
    ({"step": 3}, "step is 3; it must be a function"),
    ({"step": lambda stock, quota, params: stock}, r"it must be \(state, outcome\)"),
    ({"step": lambda stock, quota, params: (stock, {"catch": stock})}, "it must be a NamedTuple"),
    ({"step": lambda stock, quota, params: ((stock, stock), Strange(stock))}, "a state keeps its form"),
    ({"step": lambda stock, quota, params: (stock, Strange(params["x"]))}, "step raised"),
    ({"prior": lambda: 1 / 0}, "prior raised ZeroDivisionError: division by zero"),
    ({"observe": lambda state, params: state}, "observe must return an Observation"),
    ({"observe": lambda state, params: Observation(state[None], jnp.ones((2, 2), bool))}, "mask has one dimension"),
    ({"reward": lambda outcome: "much"}, "reward returns a str"),
    ({"ended": lambda state, params: state}, "ended must return true or false"),
    ({"measure": lambda outcomes, params, data: outcomes.nothing}, "measure raised AttributeError"),
]


@pytest.mark.parametrize(("changes", "says"), FAULTS)
def test_faults(changes, says):
    with pytest.raises(ba.InputError, match=says) as caught:
        check_environment(fishery(**changes))
    assert "\n" not in str(caught.value)


def test_what_is_sound_is_accepted_and_checked_once():
    env = checked(fishery())
    assert checked(env) is env


@pytest.mark.parametrize("name", available("models"))
def test_what_is_shipped_is_sound(name):
    check_environment(ba.load_model(name))


@pytest.mark.parametrize(
    "arms",
    [
        lambda names: {"closed": 0.0, "quota": 0.2},  # does not look at the names
        lambda names: {name: {"closed": 0.0, "quota": 0.2}[name] for name in names or ("closed", "quota")},
        lambda names: {name: ["closed", "quota"].index(name) for name in names or ("closed", "quota")},
    ],
    ids=["all", "dict", "list"],
)
def test_an_unknown_arm_names_the_arms(arms):
    env = checked(fishery(arms=arms))
    assert list(env.arms(["quota"])) == ["quota"]
    with pytest.raises(ba.InputError, match="fishery has no arm 'open'; there are closed, quota"):
        env.arms(["quota", "open"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('outcomes={"catch": ba.Outcome("kt/yr", "more")}', "better is 'more'"),
        ('outcomes={"profit": ba.Outcome("kt/yr")}', "'profit' is no field"),
        ("outcomes={}", ""),
    ],
)
def test_a_file_is_checked_when_it_is_loaded(text, says, tmp_path):
    path = tmp_path / "fishery.py"
    path.write_text(
        "from typing import NamedTuple\nimport bayesalloc as ba\n"
        "class Year(NamedTuple):\n    catch: object\n"
        "ARMS = {'moratorium': 0.0, 'quota': 0.2}\n"
        "environment = ba.Environment(name='fishery', prior=lambda: 1.0, initial=lambda start: start,\n"
        "    step=lambda stock, quota, params: (stock, Year(quota * stock)),\n"
        f"    arms=lambda names: {{name: ARMS[name] for name in names or ARMS}}, {text})\n"
    )
    if says:
        with pytest.raises(ba.InputError, match=says) as caught:
            ba.load_model(path)
        assert str(path) in str(caught.value)
        return
    with pytest.raises(ba.InputError, match="no arm 'open'; there are moratorium, quota"):
        ba.load_model(path).arms(["open"])
