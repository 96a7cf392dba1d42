"""The design of mechanisms: an environment whose best terms are known by hand, what can be free, and the commands."""

import dataclasses
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc.environment import Environment
from bayesalloc.errors import InputError
from bayesalloc.impact.design import affine, designing, state as design_state
from bayesalloc.impact.design.constraints import read_constraints
from bayesalloc.impact.design.free import free_numbers
from bayesalloc.impact.design.margins import solve
from bayesalloc.impact.design.programme import Programme, best, losses
from bayesalloc.mechanism import check_schema
from bayesalloc.report import terms
from tests.conftest import Run
from tests.test_cli import assert_refused

# A mill pays a farm for clean water. The farm's work costs it 3 EUR/yr; of what it is worth to the mill all that is
# known is that it lies between 0 and 10 EUR/yr, so that the mill gains worth - fee; not working pays if the bonus,
# which comes from outside, is below 3.
MILL = '''
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import msgspec
import numpyro
import numpyro.distributions as dist

import bayesalloc as ba

Money = Annotated[float, msgspec.Meta(ge=-20, le=20, extra={"unit": "EUR/yr"})]
Factor = Annotated[float, msgspec.Meta(ge=0, le=3, extra={"unit": "1"})]


class Deal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is agreed.

    Attributes:
        fee: agent -> money; sums to zero.
        bonus: to the farm for working.
        price: of water that is sold on.
        sold: how much of it.
        zeal: how well the farm works.
        digging: the farm's work that changes the water.
        square: a bonus that is squared.
        labour: shares of other work that changes the water; best where the mill does 0.3 of it.
    """

    fee: dict[str, Money] = {}
    bonus: Money = 0.0
    price: Money = 0.0
    sold: Factor = 0.0
    zeal: Factor = 1.0
    digging: Factor = 0.0
    square: Money = 0.0
    labour: dict[str, Factor] = {}


class Year(NamedTuple):
    water: jax.Array
    payoff: jax.Array
    spent: jax.Array


def action(mechanism):
    given = mechanism.parameters
    if given.fee and abs(sum(given.fee.values())) > 1e-6:
        raise ba.InputError(f"{mechanism.path}: fee must sum to 0")
    tables = ("fee", "labour")
    numbers = {name: jnp.float32(getattr(given, name)) for name in given.__struct_fields__ if name not in tables}
    fee = jnp.array([given.fee.get(agent, 0.0) for agent in ("mill", "farm")], jnp.float32)
    labour = jnp.float32(given.labour.get("mill", 0.3))
    return {**numbers, "fee": fee, "labour": labour, "works": jnp.float32(1.0), "agreed": jnp.float32(bool(given.fee))}


def step(water, deal, worth):
    water = 0.9 * water + deal["digging"] - (deal["labour"] - 0.3) ** 2 + 0.1 * numpyro.sample("rain", dist.Normal())
    bonus = deal["works"] * (deal["bonus"] + deal["square"] ** 2)
    mill = deal["agreed"] * worth * deal["zeal"] + deal["fee"][0] + deal["price"] * deal["sold"]
    farm = deal["agreed"] * 5.0 + bonus - 3.0 * deal["works"] * deal["agreed"] + deal["fee"][1] - deal["digging"] ** 2
    return water, Year(water, jnp.stack([mill, farm]), bonus)


def deviate(deal, agent):
    return {**deal, "works": deal["works"] * (1.0 - (jnp.asarray(agent) == 1))}


schema = ba.Schema(
    "mill",
    Deal,
    action=action,
    contract={"fee": 0.0, "labour": 1.0} | dict.fromkeys(("bonus", "price", "sold", "digging", "square")),
    responses=("zeal",),
)
none = ba.Mechanism("None", "None.", "mill", Deal(), "none")
deal = ba.Mechanism("Deal", "A deal.", "mill", Deal(fee={"mill": -1.0, "farm": 1.0}), "deal")
environment = ba.Environment(
    name="mill",
    prior=lambda: numpyro.sample("worth", dist.Uniform(0.0, 10.0)),
    initial=lambda worth: jnp.zeros(()),
    step=step,
    arms=lambda names: {
        each.name: action(each) for each in ({"none": none, "deal": deal}.get(n, n) for n in names or ["none", "deal"])
    },
    outcomes={
        "water": ba.Outcome("m", "higher"),
        "payoff": ba.Outcome("EUR/yr", "higher", ("agent",)),
        "spent": ba.Outcome("EUR/yr", "lower"),
    },
    coords={"agent": ("mill", "farm")},
    baseline="deal",
    payoff="payoff",
    deviate=deviate,
    refusal="none",
    mechanism=schema,
)
'''
DEAL = 'title = "Deal"\ndescription = "A deal."\nmodel = "mill"\nfee = { mill = -1.0, farm = 1.0 }\n'
FEES = {"fee.mill": (-9.0, 0.0), "fee.farm": (0.0, 9.0)}
BOTH = ["would_refuse<=0.1", "deviation_gain<=0"]
SMALL = {"draws": 200, "horizon": 3, "seed": 0}


@pytest.fixture
def mill(run: Run) -> Environment:
    """The model and the deal that there is, in the working directory."""
    Path("mill.py").write_text(MILL)
    Path("deal.toml").write_text(DEAL)
    env = ba.load_model("mill.py")
    assert isinstance(env, Environment)
    return env


def posed(env, free, maximise, subject_to=(), start="deal.toml", **changed):
    return designing.posed(env, ba.load_mechanism(start, env), free, maximise, list(subject_to), **(SMALL | changed))


def solved(problem):
    effects = affine.affine(problem.env, problem.free, problem.key(), {}, draws=problem.draws, horizon=problem.horizon)
    return effects, Programme(problem.free, effects, problem.maximise, problem.constraints)


def test_the_best_fee_is_the_quantile_of_what_the_mill_gains(mill):
    problem = posed(mill, FEES, "payoff.farm", ["would_refuse.mill<=0.1"])
    effects, programme = solved(problem)
    found = affine.simulated(mill, [problem.free.mechanism], problem.key(), draws=200, horizon=3)
    worth = np.sort(found.gain[0, :, 0] + 1.0)  # in each draw; the deal's fee is 1
    exact = best(programme)
    assert exact.status == "optimal" and exact.values is not None
    assert exact.values[1] == pytest.approx(worth[20], abs=1e-4)  # 20 of 200 may refuse
    solution = solve(programme)
    assert solution.bound == pytest.approx(2.0 + worth[20], abs=1e-3)
    # Two standard errors of a share of 0.1 are 0.042, so that 11 may refuse; the fee leaves no choice.
    assert solution.cautious and solution.values[1] == pytest.approx(worth[11], abs=1e-2)
    assert solution.values.sum() == 0 and round(solution.values[1], 3) == solution.values[1]
    [constraint] = problem.constraints
    assert constraint.value(solution.values, effects) <= 12 / 200


def test_a_design_is_what_its_mechanism_brings(mill):
    problem = posed(mill, {**FEES, "bonus": (0.0, 6.0)}, "payoff.farm", [*BOTH, "spent<=4"])
    effects, programme = solved(problem)
    solution = solve(programme)
    made = problem.free.set(solution.values)
    found = affine.simulated(mill, [made], problem.key(), draws=200, horizon=3)
    for name, values in found.outcomes.items():
        assert effects.outcome(name, solution.values) == pytest.approx(values.mean(), abs=1e-4)
    assert solution.values[2] == pytest.approx(4.0, abs=1e-3)  # all that may be spent
    assert found.deviation[0].mean(0) == pytest.approx([0.0, -1.0], abs=1e-3)


def test_of_equally_good_terms_those_with_a_margin_that_change_little(mill):
    problem = posed(mill, {"bonus": (0.0, 6.0)}, "water", ["deviation_gain.farm<=0"])
    solution = solve(solved(problem)[1])
    assert solution.margin == pytest.approx(3.0, abs=1e-4)  # a bonus of 6; half of it is given up
    assert solution.values == pytest.approx([4.5], abs=0.01)


def test_where_there_are_no_terms_the_constraints_in_each_others_way_are_named(mill):
    problem = posed(mill, {"bonus": (0.0, 6.0)}, "payoff.farm", ["spent<=2", "payoff.mill>=-9", *BOTH])
    _, programme = solved(problem)
    solution = solve(programme)
    assert solution.status == "infeasible" and not solution.found
    assert {each.text for each in solution.conflict} == {"spent<=2", "deviation_gain.farm<=0"}
    for each in solution.conflict:
        others = tuple(other for other in problem.constraints if other != each)
        assert best(programme._replace(constraints=others)).status == "optimal"
    assert solution.values == pytest.approx([2.5], abs=0.01)  # it misses either by half


def test_no_loss_is_ruled_out_that_terms_can_bring(mill):
    """What a draw's loss is said to be at most holds under any terms under which few enough draws are lost."""
    problem = posed(mill, {**FEES, "price": (-3.0, 3.0)}, "payoff.farm", ["would_refuse.mill<=0.1"])
    effects, programme = solved(problem)
    # Here the mill's gain from a fee differs from draw to draw, so that no draw is always the first to be lost.
    constant, slope = effects.gain
    slope = slope * np.random.default_rng(1).uniform(0.5, 1.5, (200, 1, 1))
    programme = programme._replace(effects=effects._replace(gain=(constant, slope)))
    [constraint] = problem.constraints
    most, doubtful, kept = losses(constraint, programme)
    loosest = problem.free.best(-slope[:, 0]) - constant[:, 0]
    assert (most <= loosest + 1e-9).all() and (most < loosest - 1.0).mean() > 0.5
    assert len(kept) > 100 and not set(kept) & set(doubtful)
    tried = 0
    for fee, price in np.random.default_rng(2).uniform((0.0, -3.0), (9.0, 3.0), (3000, 2)):
        gain = constant[:, 0] + slope[:, 0] @ np.array([-fee, fee, price])
        if (gain < 0).sum() <= 20:
            tried += 1
            assert (gain >= -most - 1e-9).all()
    assert tried > 50


def test_the_greedy_bound_is_that_of_a_linear_programme(mill):
    from scipy.optimize import linprog

    free = free_numbers(mill, ba.load_mechanism("deal.toml", mill), {**FEES, "bonus": (-1.0, 2.0)})
    slopes = np.random.default_rng(0).normal(size=(20, 3))
    for slope, found in zip(slopes, free.best(slopes), strict=True):
        exact = linprog(-slope, A_eq=[[1, 1, 0]], b_eq=[0], bounds=list(zip(free.low, free.high, strict=True)))
        assert found == pytest.approx(-exact.fun)


@pytest.mark.parametrize(
    ("free", "said"),
    [
        ({"zeal": (0.5, 1.0)}, "how people respond"),
        ({"title": (0.0, 1.0)}, "is an assumption or a name"),
        ({"fees": (0.0, 1.0)}, "no field"),
        ({"fee.miller": (0.0, 1.0)}, "the agents are farm, mill"),
        ({"fee.mill": (-1.0, 0.0)}, "cannot change alone"),
        ({"fee": (0.5, 1.0)}, "must sum to 0, and their ranges only allow from 1 to 2"),
        ({"fee": (-1.0, 1.0), "fee.mill": (-1.0, 0.0)}, "free twice"),
        ({"bonus": (2.0, 1.0)}, "below the second"),
        ({"bonus": (0.0, 21.0)}, "<= 20"),
    ],
)
def test_only_what_a_contract_sets_is_free(mill, free, said):
    with pytest.raises(InputError, match=said):
        design_state.begun("mill.py", "deal.toml", free, "spent", [], **SMALL)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("would_refuse=0.1", "NAME<=NUMBER"),
        ("would_refuse<=much", "NAME<=NUMBER"),
        ("would_refuse<=nan", "NAME<=NUMBER"),
        ("would_refuse>=0.1", "limited by <="),
        ("would_refuse<=1", "from 0 to below 1"),
        ("deviation_gain.miller<=0", "there are farm, mill"),
        ("payoff<=3", "there is no 'payoff'"),
    ],
)
def test_a_constraint_that_is_not_one_is_refused(mill, text, said):
    with pytest.raises(InputError, match=said):
        read_constraints([text], affine.outcome_names(mill), mill.coords["agent"])


def test_a_schema_says_what_a_contract_sets_by_names_that_there_are(mill):
    wrong = mill.mechanism._replace(contract={"wage": None})
    with pytest.raises(InputError, match="'wage'"):
        check_schema(wrong, "mill")
    with pytest.raises(InputError, match="do not say what a contract can set"):
        free_numbers(
            mill._replace(mechanism=mill.mechanism._replace(contract={})), ba.load_mechanism("deal.toml", mill), {}
        )


def test_every_shipped_mechanism_is_written_as_it_is_read(watershed, tmp_path):
    for name in ("cost_sharing", "credit_trading", "no_agreement", "performance_contract"):
        mechanism = ba.load_mechanism(name, watershed)
        path = tmp_path / f"{name}.toml"
        path.write_text(terms.toml(dataclasses.replace(mechanism, title='"A"\n\tb'), watershed.mechanism))
        again = ba.load_mechanism(path, watershed)
        assert again.parameters == mechanism.parameters and again.title == '"A"\n\tb'
        assert dict(again.notes) == dict(mechanism.notes)


# The commands

START = (
    "optimize",
    "start",
    "mill.py",
    "--mechanisms",
    "deal.toml",
    "--draws",
    "200",
    "--horizon",
    "3",
    "--state",
    "s.json",
)


def test_from_a_question_to_a_mechanism_file(mill, run):
    free = ("--free", "fee.mill=-9:0", "--free", "fee.farm=0:9", "--free", "bonus=0:6")
    started = run(*START, *free, "--maximise", "payoff.farm", "--subject-to", *BOTH, "spent<=5")
    assert started.code == 0 and "subject to would_refuse<=0.1" in " ".join(started.out.split())
    ran = run("optimize", "ask", "s.json", "--json", "--out", "asked")
    assert ran.code == 0, ran.err
    answer = json.loads(ran.out)
    assert answer["feasible"] and answer["optimal"] and answer["confirmed"] and answer["proof"]["cautious"]
    made = ba.load_mechanism(answer["mechanism"], mill)
    assert made.parameters.bonus == pytest.approx(5.0, abs=1e-3) and sum(made.parameters.fee.values()) == 0
    assert made.notes["bonus"][0] == "EUR/yr" and "designed: payoff.farm is largest" in made.notes["bonus"][1]
    assert tomllib.loads(Path(answer["mechanism"]).read_text())["bonus"]["unit"] == "EUR/yr"
    # With less zeal the mill gains less than the same fee in more draws: the design breaks, and moves.
    less, more = answer["doubts"]
    assert (less["value"], more["value"]) == (0.8, 1.2) and not more["broken"]
    assert less["values"]["fee.farm"] < answer["numbers"]["fee.farm"]["value"] < more["values"]["fee.farm"]
    page = Path("asked/report.html").read_text()
    assert "The design" in page and page.count("<svg") > 3
    assert (Path("asked/results.nc")).exists()
    shown = run("optimize", "show", "s.json", "--json")
    assert json.loads(shown.out)["free"]["bonus"] == [0.0, 6.0]


def test_the_proof_that_there_is_none_is_an_answer(mill, run):
    run(*START, "--free", "bonus=0:2", "--maximise", "payoff.farm", "--subject-to", "deviation_gain<=0")
    ran = run("optimize", "ask", "s.json", "--json", "--out", "asked")
    answer = json.loads(ran.out)
    assert ran.code == 0 and not answer["feasible"] and answer["proof"]["status"] == "infeasible"
    assert answer["proof"]["conflict"] == ["deviation_gain.farm<=0"] and answer["proof"]["margin"] == pytest.approx(-1)
    assert "no such terms" in answer["proof"]["in_words"] and answer["proof"]["bound"] is None
    assert ba.load_mechanism(answer["mechanism"], mill).parameters.bonus == pytest.approx(2.0, abs=1e-3)


def test_each_kind_of_state_is_told_from_the_other(mill, run):
    Path("projects.csv").write_text("project,impact_per_1000usd,low,high\na,3,1,9\nb,2,1,4\n")
    run("optimize", "start", "projects.csv", "--budget", "1000", "--state", "a.json")
    good = (*START[:-1], "d.json", "--free", "bonus=0:6", "--maximise", "payoff.farm")
    assert run(*good).code == 0
    before = Path("d.json").read_text()
    for arguments, said in {
        good: "is there already",
        (*START, "--free", "bonus=0:6"): "--maximise is missing",
        (*START, "--free", "bonus=0:6", "--maximise", "payoff"): "which of its elements? payoff.mill, payoff.farm",
        (*START, "--free", "bonus=0:6", "--maximise", "rain"): "is no outcome",
        (*START, "--free", "bonus", "--maximise", "spent"): "NUMBER=LOW:HIGH",
        (*START, "--free", "bonus=0:x", "--maximise", "spent"): "NUMBER=LOW:HIGH",
        (*START, "--free", "bonus=0:6", "--maximise", "spent", "--budget", "3"): "--budget: belongs to an allocation",
        (*START, "--maximise", "spent"): "belongs to the design of a mechanism",
        ("optimize", "start", "projects.csv", "--state", "s.json"): "--budget is missing",
        ("optimize", "tell", "d.json", "--ask", "1", "--impact", "3"): "of which nothing is told",
        ("optimize", "ask", "d.json", "--batch", "2"): "--batch",
        ("optimize", "show", "d.json", "--nuts"): "--nuts",
    }.items():
        assert_refused(run(*arguments), said)
    for path in ("projects.csv", "nowhere.json"):
        assert_refused(run("optimize", "ask", path))
    assert Path("d.json").read_text() == before and not Path("s.json").exists()
    Path("d.json").write_text(before.replace("payoff.farm", "payoff.mill"))
    assert_refused(run("optimize", "ask", "d.json"), "not those that it began with")
    with pytest.raises(InputError, match=r"state of an allocation, and not of a mechanism's design"):
        design_state.load(Path("a.json"))
