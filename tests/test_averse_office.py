"""An office that is averse to the causal risk that books tell: what it takes, the command, and resuming."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from bayesalloc.agents import training
from bayesalloc.discovery.books import from_columns, read_books
from bayesalloc.discovery.knowledge import Office, read_office
from bayesalloc.discovery.risk import Risk
from bayesalloc.errors import InputError
from bayesalloc.models.budget import environment
from bayesalloc.models.budgets import books as ledgers, causal_risk, learned
from bayesalloc.models.budgets.decisions import MOVES
from bayesalloc.models.budgets.world import DEPARTMENTS, PLACE, PROTECTED, effects
from bayesalloc.simulate import Scenario, schedule, trajectory
from tests.test_training import KEY

HR = DEPARTMENTS.index("hr")
PLAN = learned.pareto(None, 2)
PLAN = dataclasses.replace(
    PLAN,
    layers=(8,),
    config=dataclasses.replace(PLAN.config, environments=2, capacity=64, batch=4, updates=1, ahead=1, aversion=3.0),
    averse=causal_risk.Averse("of no books", ("staff_turnover",)),
)


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    """Files of 400 rows and what the office knows."""
    folder = tmp_path_factory.mktemp("office")
    (folder / "books.csv").write_text(ledgers.as_csv(ledgers.draw_books(1, 1, 400, gaps=False)))
    (folder / "knowledge.toml").write_text(ledgers.knowledge())
    return folder


def known_risk(draws=causal_risk.DRAWS):
    """By hand: a percent less for hr is .5 of harm, beyond a tolerance of 1, and counts twice."""
    effect = np.zeros((draws, 1, len(DEPARTMENTS)), np.float32)
    effect[:, 0, HR] = -0.5
    return Risk(effect, np.array([1.0], np.float32), np.array([2.0], np.float32))


def test_risk_is_that_of_what_is_done_and_less_where_budgets_are_saturated():
    """Hr is cut by 5 % five times: harm 2.5 sech^2(b / 15) - 1, twice; and once more at the limit of 30 %."""
    moves = np.ones((8, len(DEPARTMENTS)), np.int32)
    moves[:7, HR] = 0
    quarters = trajectory(environment, schedule, moves, KEY, Scenario(8, params=()))
    before = np.array([0.0, -5.0, -10.0, -15.0, -20.0, -25.0])
    expected = 2.0 * np.maximum(2.5 / np.cosh(before / 15.0) ** 2 - 1.0, 0.0)
    found = causal_risk.over_quarters(known_risk(), quarters)
    np.testing.assert_allclose(found, [*expected, 0.0, 0.0], atol=2e-3)  # sums of cuts in float32
    assert expected[0] == 3.0 and expected[-1] == 0.0


def test_exactly_so_much_is_taken_from_each_reward():
    course = learned.course(PLAN, known_risk())
    run = jax.jit(course.trainer.begin)(KEY)
    advance = jax.jit(lambda run: course.trainer.advance(run, 20)).lower(run).compile()
    (averse, curve), (plain, _) = advance(course.furnish(run)), advance(run)  # arrays of zeros: nothing is at risk
    after, before = averse.memory.items, plain.memory.items
    np.testing.assert_array_equal(after.action[:4], before.action[:4])  # nothing is learned before the warm-up
    first = np.asarray(after.values[:2, PLACE["hr"]])
    cut = np.maximum(-0.5 * MOVES[np.asarray(after.action[:2, HR])] - 1.0, 0.0)
    np.testing.assert_allclose(first, 0.0)
    np.testing.assert_allclose(before.reward[:2] - after.reward[:2], 3.0 * 2.0 * cut[:, None] * np.ones(3), atol=1e-4)
    assert float(curve["risk"].max()) > 0.0 and [each.name for each in course.trainer.series][-1] == "risk"
    with pytest.raises(InputError, match="its books tell"):
        training.train(learned.course(PLAN), KEY)


def test_books_tell_what_is_at_risk(office):
    books, known = read_books(office / "books.csv"), read_office(office / "knowledge.toml")
    risk = causal_risk.risk_in(books, known)
    assert risk.effect.shape == (causal_risk.DRAWS, 4, 20) and risk.weight.tolist() == [1.0] * 4
    truth = (
        effects(DEPARTMENTS, jointly=True)[[PLACE[name] for name in PROTECTED]]
        * np.array([*PROTECTED.values()])[:, None]
    )
    spread = np.nanstd(np.stack([books.column(name) for name in PROTECTED], 1), axis=0)
    error = np.asarray(risk.effect).mean(0) - truth / spread[:, None]
    wide = np.asarray(risk.effect).std(0)
    assert (np.abs(error) < 4.5 * wide).all()  # of 80 normal errors, with a tenth more for the mean of 100 draws
    np.testing.assert_allclose(risk.tolerance, ledgers.TOLERANCE / spread, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda office: {"decisions": {k: v for k, v in office.decisions.items() if k != "hr"}}, "hr are missing"),
        (lambda office: {"protected": []}, "protects nothing"),
    ],
)
def test_offices_that_cannot_learn_so_are_refused(office, change, said):
    known = read_office(office / "knowledge.toml")
    fields = {name: getattr(known, name) for name in known.__struct_fields__} | change(known)
    with pytest.raises(InputError, match=said):
        causal_risk.risk_in(read_books(office / "books.csv"), Office(**fields))


def test_books_without_a_department_or_with_a_constant_total_are_refused(office):
    books, known = read_books(office / "books.csv"), read_office(office / "knowledge.toml")
    without = from_columns({name: books.column(name) for name in books.names if name != "hr"})
    with pytest.raises(InputError, match="'hr' cannot be learned with: there is no such column"):
        causal_risk.risk_in(without, known)
    ledger = ledgers.draw_books(1, 1, 300, gaps=False, closed=True)
    columns = {name: column for name, column in ledger.columns.items() if name not in ledgers.DERIVED}
    with pytest.raises(InputError, match="decisions"):
        causal_risk.risk_in(from_columns(columns), known)


def test_the_command_remembers_books_and_lambda(office, tmp_path, run):
    books = "--books", office / "books.csv", "--knowledge", office / "knowledge.toml"
    ran = run("train", "budget", *books, "--lambda", 2, "--episodes", 16, "--out", "d", "--json")
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    assert result["averse"]["lambda"] == 2.0 and result["averse"]["protected"] == [*PROTECTED] and result["risk"] > 0
    assert "2 times the causal risk" in (tmp_path / "d" / "report.html").read_text()
    assert run("train", "budget", "--resume", "d", "--json").code == 0  # it has what its books told
    other = office / "other.csv"
    other.write_text(ledgers.as_csv(ledgers.draw_books(2, 1, 400, gaps=False)))
    for options, said in {
        (*books, "--lambda", 3): "config aversion 2.0; it cannot go on with 3.0",
        ("--books", other, *books[2:], "--lambda", 2): "begun with averse books",
    }.items():
        ran = run("train", "budget", "--resume", "d", *options)
        assert ran.code == 2 and said in ran.err
    assert run("train", "budget", "--resume", "d", *books).code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--lambda", 2), "--books is missing"),
        (("--books", "x.csv"), "--knowledge is missing"),
        (("--books", "x.csv", "--knowledge", "x.toml", "--lambda", -1), "lambda is -1; it must be at least 0"),
        (("--books", "x.csv", "--knowledge", "x.toml"), "x.toml"),
    ],
)
def test_orders_that_cannot_be_are_refused(run, options, said):
    ran = run("train", "budget", *options)
    assert ran.code == 2 and said in ran.err
    ran = run("train", "srap", "--books", "x.csv", "--knowledge", "x.toml")
    assert ran.code == 2 and "nothing about srap is learned from books" in ran.err
