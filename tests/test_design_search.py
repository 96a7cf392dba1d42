"""Designs whose numbers enter the dynamics or are not linear: which are searched, what is found, and what is said."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc.environment import Environment
from bayesalloc.errors import InputError
from bayesalloc.impact.blackbox import Belief, Box, Hyperparameters, fitted
from bayesalloc.impact.design import designing, searching, splitting
from bayesalloc.impact.design.free import free_numbers
from bayesalloc.impact.design.searching import Point, search, worth
from tests.conftest import Run
from tests.test_designing import DEAL, FEES, MILL, START, posed

SQUARE, DIGGING, BONUS = {"square": (0.0, 3.0)}, {"digging": (0.0, 3.0)}, {"bonus": (0.0, 6.0)}
TRADE, LABOUR = {"price": (-3.0, 3.0), "sold": (0.0, 3.0)}, {"labour": (0.0, 1.0)}


@pytest.fixture
def mill(run: Run) -> Environment:
    """The model and the deal of `test_designing`, in the working directory."""
    Path("mill.py").write_text(MILL)
    Path("deal.toml").write_text(DEAL)
    env = ba.load_model("mill.py")
    assert isinstance(env, Environment)
    return env


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process with length-scales that are given, as `test_blackbox` tries how they are learned."""

    def given(points: np.ndarray, values: np.ndarray, space: Box) -> Belief:
        known = Hyperparameters(jnp.full(points.shape[1], 0.5), jnp.asarray(1.0), jnp.asarray(0.01))
        return fitted(points, values, space, hyperparameters=known)

    monkeypatch.setattr(searching, "fitted", given)


@pytest.mark.parametrize(
    ("free", "searched"),
    [
        ({**FEES, **BONUS}, {}),
        ({**DIGGING, **BONUS}, {"digging": "it moves water"}),
        ({**FEES, **SQUARE}, {"square": "payoff.farm is not linear in it"}),
        # At the middle of its range the price is nothing, so that the sales move nothing there.
        ({**FEES, **TRADE}, {"price": "payoff.mill is not linear in it and sold together"}),
        ({**BONUS, **LABOUR}, dict.fromkeys(["labour.mill", "labour.farm"], "it moves water")),
    ],
)
def test_only_numbers_that_no_programme_can_take_are_searched(mill, free, searched):
    assert designing.split(posed(mill, free, "spent")) == searched


def test_of_products_as_few_numbers_as_can_be_are_searched():
    edges = [("price", agent) for agent in "abc"] + [("quota", "quota"), ("b", "price")]
    assert splitting._cover(edges, dict.fromkeys(["price", "quota", *"abc"], 1), 6) == ["price", "quota"]
    # A table whose numbers can move in four ways is dearer than the three that it meets.
    assert splitting._cover([(x, "table") for x in "abc"], {"table": 4, "a": 1, "b": 1, "c": 1}, 6) == ["a", "b", "c"]
    assert splitting._cover([(x, x) for x in "abc"], dict.fromkeys("abc", 1), 2) is None


def test_too_many_numbers_to_search_are_refused_by_name(mill, monkeypatch):
    monkeypatch.setattr(splitting, "MOST", 1)
    with pytest.raises(InputError, match=r"not linear in digging, square.*at most 1 numbers can be searched"):
        designing.split(posed(mill, {**BONUS, **SQUARE, **DIGGING}, "spent"))


def point(at, objective, missed=()):
    """A point that is known by hand, with a limit that is missed by so much."""
    found = not any(missed)
    solution = designing.Solution("", np.zeros(0), 0.0 if found else np.nan, cautious=found, margin=0.0, conflict=())
    return Point(np.asarray(at), None, solution, objective, list(missed), list(missed))  # pyright: ignore[reportArgumentType]


def test_what_a_point_is_worth_has_no_units():
    given = [(3.0, [0.0, 0.0]), (5.0, [0.0, 0.0]), (99.0, [2.0, 0.0]), (99.0, [1.0, 4.0]), (4.0, [1.0, 0.0])]
    points = [point([0.0], value, missed) for value, missed in given]
    found = worth(points)
    assert found == pytest.approx([1.5, 2.5, 1.5, 1.0, 1.5])
    other = [point([0.0], 7.0 * value, [1e3 * missed[0], 1e-3 * missed[1]]) for value, missed in given]
    assert worth(other) == pytest.approx(found)
    assert worth(points[2:]) == pytest.approx([-1.0, -1.5, -0.5])  # none is kept: only what is missed counts
    assert searching.Search([], points).so_far == [3.0, 5.0, 5.0, 5.0, 5.0]
    assert searching.Search([], points[2:]).so_far == [None] * 3


def test_a_search_keeps_sums_and_ranges_and_is_the_same_again(mill, monkeypatch, quick):
    """Of three numbers, two of which sum to 1: the best is where the mill does 0.3 of the labour and digs up to 2."""
    monkeypatch.setattr(searching, "TRIED_EACH", 1)
    free = free_numbers(mill, ba.load_mechanism("deal.toml", mill), {"labour": (0.1, 0.7), **DIGGING})
    start = free.nearest(free.start)

    def evaluate(values):
        assert values[:2].sum() == pytest.approx(1.0) and (values >= free.low).all() and (values <= free.high).all()
        return point(values, values[2] - (values[0] - 0.3) ** 2, [max(0.0, values[2] - 2.0)])

    first, again = (search(free, evaluate, jax.random.key(1)) for _ in range(2))
    tried = np.array([each.searched for each in first.points])
    assert tried[0] == pytest.approx(start) and len(tried) == 12 + 2  # two can move on their own
    assert (tried == [each.searched for each in again.points]).all()
    assert first.best.searched == pytest.approx([0.3, 0.7, 2.0], abs=0.3)


def best_terms(problem):
    found = designing._searched(problem._replace(searched=designing.split(problem)))
    solution = found.best.solution
    assert solution.found and len(found.points) == searching.TRIED + 6
    names = [number.name for number in problem.free.numbers]
    return dict(zip(names, solution.values, strict=True))


def test_where_a_limit_begins_to_bind_the_best_terms_are_found(mill, monkeypatch):
    monkeypatch.setattr(searching, "TRIED", 8)
    found = best_terms(posed(mill, SQUARE, "payoff.farm", ["spent<=4"]))
    assert found == pytest.approx({"square": 2.0}, abs=0.1)


def test_searched_and_linear_numbers_are_best_together(mill, quick):
    """The farm's payoff is 5 - 3 + the fee of 1 + the bonus of at most 2 - digging^2, so that it digs at most 1."""
    found = best_terms(posed(mill, {**BONUS, **DIGGING}, "water", ["payoff.farm>=4", "spent<=2"]))
    assert found == pytest.approx({"bonus": 2.0, "digging": 1.0}, abs=0.02)


def test_that_none_was_found_is_no_proof(mill, run, monkeypatch, quick):
    monkeypatch.setattr(searching, "TRIED", 4)  # two beside the first
    free = ("--free", "square=0:1.5", "--free", "fee.mill=-9:0", "--free", "fee.farm=0:9")
    started = run(*START, *free, "--maximise", "payoff.farm", "--subject-to", "deviation_gain<=0")
    assert "A Gaussian process is to search square (payoff.farm is not linear in it)" in " ".join(started.out.split())
    ran = run("optimize", "ask", "s.json", "--json", "--out", "asked")
    answer = json.loads(ran.out)
    assert ran.code == 0, ran.err
    assert not answer["feasible"] and not answer["optimal"] and answer["proof"] is None
    found = answer["search"]
    assert (found["points"], found["kept"], found["so_far"]) == (10, 0, [None] * 10)
    assert "None was found among 10 points" in found["in_words"] and "no proof" in found["in_words"]
    # The farm gains 3 - 1.5^2 by not working under the terms that come nearest.
    assert ba.load_mechanism(answer["mechanism"], mill).parameters.square == pytest.approx(1.5, abs=0.02)
    assert found["missed"] == pytest.approx({"deviation_gain.farm<=0": 0.75}, abs=0.05)
    assert json.loads(run("optimize", "show", "s.json", "--json").out)["searched"] == found["numbers"]


def test_responses_are_doubted_with_the_searched_numbers_as_found(mill, run, monkeypatch, quick):
    monkeypatch.setattr(searching, "TRIED", 3)
    free = ("--free", "digging=0:1", "--free", "fee.mill=-9:0", "--free", "fee.farm=0:9")
    run(*START, *free, "--maximise", "payoff.farm", "--subject-to", "would_refuse.mill<=0.1", "water>=0.9")
    ran = run("optimize", "ask", "s.json", "--json", "--out", "asked")
    answer = json.loads(ran.out)
    assert ran.code == 0 and answer["feasible"] and answer["confirmed"] and answer["search"]["kept"] > 1, ran.err
    assert "digging" in answer["search"]["numbers"] and answer["search"]["so_far"][-1] == answer["search"]["value"]
    assert {doubt["values"]["digging"] for doubt in answer["doubts"]} == {answer["numbers"]["digging"]["value"]}
    fees = [doubt["values"]["fee.farm"] for doubt in answer["doubts"]]
    assert fees[0] < answer["numbers"]["fee.farm"]["value"] < fees[1]  # with less zeal the mill gains less
    made = ba.load_mechanism(answer["mechanism"], mill)
    assert made.notes["digging"][1].startswith("designed by a search: payoff.farm is largest")
    page = Path("asked/report.html").read_text()
    assert "The best so far" in page and "more is not ruled out" in page
