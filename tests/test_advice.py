"""A learned policy's changes in the place of the best ones: within an office's limits, and judged by its books."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings, strategies as some

from bayesalloc.agents import policies
from bayesalloc.budgets.advice import Adviser, within
from bayesalloc.budgets.proposal import propose
from bayesalloc.budgets.proposing import Stakes
from bayesalloc.budgets.question import Limits, Question
from bayesalloc.discovery.books import from_columns
from bayesalloc.discovery.risk import Risk
from bayesalloc.models.budgets import learned
from bayesalloc.models.budgets.books import draw_books, knowledge
from bayesalloc.models.budgets.world import DEPARTMENTS, VARIABLES
from tests.test_proposals import OFFICE as SMALL, small

BASE = np.array([10.0, 20.0, 5.0, 1.0])
NAMES = ("a", "b", "c", "d")
NO_RISK = Risk(np.zeros((1, 0, 4)), np.zeros(0), np.zeros(0))
AT = Stakes(("x",), np.array([[[1.0, 2.0, -1.0, 0.5]]]), np.ones(1), NO_RISK)


def asked(*, balanced: bool = False, **limits) -> Question:
    known = Limits(**limits)
    free = np.array([name not in known.frozen for name in NAMES])
    return Question(NAMES, BASE, np.ones(4), {}, (), known, free, balanced)


@pytest.mark.parametrize(
    ("question", "advised", "left"),
    [
        (asked(), [-5, 2, 0, 0], [-5, 2, 0, 0]),
        (asked(change=2.0), [-5, 0.5, 0, 0], [-2, 0.5, 0, 0]),
        (asked(frozen=("a",)), [-5, 0, 0, 0], [0, 0, 0, 0]),
        (asked(), [-2, 5, 0, 0], [-2, 1, 0, 0]),  # .2 for b's raise, which asks 1
        (asked(total=37.0), [-2, 5, 0, 0], [-2, 5, 0, 0]),
        (asked(total=35.8), [0, 5, 0, 0], [-5 / 9, -5 / 9, -5 / 9, -5 / 9]),  # .2 less of 36: all are cut
        (asked(departments=1, total=40.0), [5, 3, -5, 0], [0, 3, 0, 0]),  # worth 5, 6, 5
        (asked(balanced=True), [-5, 1, 0, 0], [-2, 1, 0, 0]),
    ],
)
def test_what_limits_leave(question, advised, left):
    np.testing.assert_allclose(within(question, AT, np.array(advised, float)), left)


@settings(max_examples=100, deadline=None)
@given(
    some.lists(some.floats(-9, 9), min_size=4, max_size=4),
    some.booleans(),
    some.floats(1, 6),
    some.integers(1, 4),
    some.sampled_from([None, 34.5, 36.0, 38.0]),
)
def test_no_limit_is_ever_broken(advised, balanced, change, departments, total):
    question = asked(balanced=balanced, change=change, departments=departments, total=total, frozen=("d",))
    found = within(question, AT, np.array(advised))
    assert np.abs(found).max() <= change + 1e-9 and found[3] == 0.0
    room = max(question.room, -change * BASE[:3].sum() / 100)  # as low as all can be cut
    rounding = 0.05 * BASE.sum() / 100  # what is smaller than the least change is none
    assert BASE @ found / 100 <= room + rounding
    if question.room >= 0:
        assert (found != 0).sum() <= departments
    if balanced:
        assert abs(BASE @ found / 100) <= rounding


def test_books_judge_what_an_adviser_proposes():
    books, seen = from_columns(small(200)), []

    def advise(question):
        seen.append(question.decisions)
        return np.array([5.0, -2.0, 5.0])

    found = propose(books, SMALL, adviser=Adviser("neighbour", advise))
    share = 0.4 / 0.75  # of what raises ask, for what is cut
    np.testing.assert_allclose(found.point.change, [5.0 * share, -2.0, 5.0 * share])
    assert found.by == "neighbour" and found.trust is None and set(seen) == {("a", "b", "c")}
    assert all(each.effect.mean == pytest.approx(each.promised) for each in found.expected.values())
    assert found.worth == pytest.approx(found.point.worth) and not any("too small" in each for each in found.warnings)


@pytest.fixture
def office(run):
    """A policy that has learned nothing, and an office's files."""
    assert run("init", "unused").code == 0
    plan = learned.pareto(None, 16)
    policies.save("office.policy", policies.Policy("pareto", plan, learned.network(plan, jax.random.key(1))))
    ledger = draw_books(0, 2, 60, gaps=False)
    rows = np.column_stack([ledger.columns[name] for name in VARIABLES])
    lines = [",".join(["unit", "period", *VARIABLES])]
    for unit, period, row in zip(ledger.units, ledger.periods, rows, strict=True):
        lines.append(",".join([unit, period, *(f"{value:.4f}" for value in row)]))
    Path("books.csv").write_text("\n".join(lines) + "\n")
    Path("k.toml").write_text(knowledge())
    return run


def test_the_command_says_whose_changes_they_are(office):
    command = ("budget", "books.csv", "--knowledge", "k.toml", "--policy")
    found = json.loads(office(*command, "office.policy:1,0,0", "--json", "--out", "a").out)
    assert found["policy"] == "office:1,0,0" and {each["department"] for each in found["changes"]} <= {*DEPARTMENTS}
    assert found["changes"] and all(abs(each["percent"]) <= 5 for each in found["changes"])
    text = office(*command, "office.policy", "--out", "b").out
    assert "those of the policy 'office'" in " ".join(text.split())


def test_a_policy_for_other_decisions_is_refused(office):
    Path("k.toml").write_text(Path("k.toml").read_text().replace("hr = { base = 1.7 }\n", ""))
    ran = office("budget", "books.csv", "--knowledge", "k.toml", "--policy", "office.policy")
    assert ran.code == 2 and "differ in hr" in ran.err
    ran = office("budget", "books.csv", "--knowledge", "k.toml", "--policy", "none.policy")
    assert ran.code == 2 and "none.policy" in ran.err
