"""The published measures in the organisation: what is simulated for them, and each experiment on a very small scale."""

import jax
import numpy as np
import pytest

from bayesalloc.budgets.proposal import propose
from bayesalloc.models.budget import environment
from bayesalloc.models.budgets import learned
from bayesalloc.models.budgets.ceiling import lattice, linear_targets
from bayesalloc.models.budgets.experiments import accuracy, adaptability, agents, growth, metrics
from bayesalloc.models.budgets.experiments.world import OFFICE, books_of
from bayesalloc.models.budgets.judging import FIGURES, HELD, of_office, of_plans

KEY, SIZE = jax.random.key(5), {"courses": 6, "quarters": 20}


def network(seed):
    return learned.network(learned.pareto(None, 1), jax.random.key(seed))


def test_an_office_is_judged_on_what_its_front_is():
    office = of_office(environment, network(0), lattice(1), KEY, **SIZE)
    _, front = learned.front(environment, network(0), KEY, parts=1, replicates=6)
    np.testing.assert_allclose(office.rewards.mean((1, 2)), front, rtol=1e-4, atol=1e-4)


def test_what_offices_spend_and_change_adds_up():
    found = of_office(environment, network(0), lattice(1), KEY, **SIZE)
    assert found.figures.shape == (3, 6, 20, len(FIGURES)) and len(FIGURES) == 15
    np.testing.assert_allclose(found.changes.cumsum(2), found.budgets, atol=1e-3)
    assert not found.violations.any() and np.abs(found.changes).max() <= 5.001
    held = of_plans(environment, HELD, KEY, **SIZE)
    assert abs(held.spent.mean() - 112 / 4) < 1.0  # M a quarter, by plan
    assert held.changes[:, :, 0].max() == 0.0


def plans(env, weights, *_, **__):
    """Instead of the best ones those of a linear programme, in any organisation."""
    return linear_targets(weights)


@pytest.fixture
def small(monkeypatch):
    """Offices that have learned nothing, on few quarters, and plans that are not the best."""
    for module in (metrics, adaptability):
        monkeypatch.setattr(module, "trained", lambda seed, steps: network(seed + steps))
        monkeypatch.setattr(module, "fixed_plans", lambda: plans(environment, agents.GRID))
    monkeypatch.setattr(growth, "fixed_plans", lambda: plans(environment, agents.GRID))
    monkeypatch.setattr(metrics, "learning", lambda seed, steps: {10: network(0), steps: network(seed + steps)})
    for module in (adaptability, growth):
        monkeypatch.setattr(module, "best_targets", plans)
    for module in (metrics, adaptability, growth, accuracy):
        monkeypatch.setattr(module, "COURSES", 3)
    monkeypatch.setattr(metrics, "ROWS", 200)
    monkeypatch.setattr(accuracy, "ROWS", {"400 rows": (400, False)})
    monkeypatch.setattr(accuracy, "PROPOSED", "400 rows")
    monkeypatch.setattr(accuracy, "GRAPHS", 10)


def test_measures_of_an_office(small):
    found = metrics.measured(0)
    offices = ["400,000 quarters of training", "1,000 quarters of training"]
    assert [*found["stability"]] == [*offices, "from books"]
    assert all(0 < value <= 1 for measure in ("stability", "interpretability") for value in found[measure].values())
    assert found["of the ceiling"]["best fixed plans"] == 1.0 and found["epsilon"]["static rule"] > 0
    assert {found[f"saved, {name}, %"]["static rule"] for name in metrics.SHOWN} == {0.0}
    assert not any(found["violations"].values()) and found["steps to 90 %"][offices[0]] in (10, 400_000)
    lower = [found[f"{name}, better by, sd"][offices[0]] < -0.1 for name in FIGURES]
    assert sum(lower) == found["figures lower, equal weights"][offices[0]]


def test_contributions_add_up_to_what_a_proposal_is_worth():
    proposal = propose(books_of(1, 1_000), OFFICE)
    whole = proposal.point.weight @ proposal.point.objectives
    assert abs(whole) > 0.1 and metrics._contributions(proposal).sum() == pytest.approx(whole)


def test_runs_are_looked_at_on_their_way(monkeypatch):
    monkeypatch.setattr(learned, "LEAST_UPDATES", 4)
    monkeypatch.setattr(agents, "LOOKS", 2)
    found = agents.learning(0, 160)
    assert [*found] == [80, 160] and agents.trained(0, 160) is found[160]


def test_forecasts_with_causes_are_nearer_than_those_without(small):
    found = accuracy.measured(0)
    for way in ("one at a time", "all at once"):
        error, signs = found[f"error, {way}, 400 rows"], found[f"right signs, {way}, 400 rows"]
        assert error["network"] < min(error["linear"], error["cash flow"])
        assert signs["network"] > 0.5 and signs["cash flow"] == 0.0
        assert [*found[f"coverage, {way}, 400 rows"]] == ["network", "linear"]
    row = found["proposal, backlog"]
    assert row["cash flow"] == 0.0 and abs(row["simulated"]) > 0.1
    assert found["proposal, error, over network's"]["cash flow"] > 1.0


def test_a_broken_and_a_grown_organisation(small):
    broken, grown = adaptability.measured(0), growth.measured(0)
    assert [*grown["regret, %"]] == [*agents.FOUR, "largest"]
    assert grown["same directions"]["least"] == 20 and grown["regret, %"]["largest"] == 0.0
    assert all(0 <= each <= 20 for name, row in broken.items() if "quarters, " in name for each in row.values())
    assert broken["quarters, old plan"] == dict.fromkeys(agents.FOUR, 0.0)
