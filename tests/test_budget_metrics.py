"""The published measures of a budget office on hand-made numbers, and the plain forecasts beside learned effects."""

import numpy as np
import pytest

from bayesalloc.budgets import metrics
from bayesalloc.budgets.forecasts import cash_flow, linear, linear_apart
from bayesalloc.discovery.books import from_columns

RNG = np.random.default_rng(0)


def test_a_saving_says_at_whose_expense_it_was_made():
    static = {name: RNG.normal(size=400) for name in ("sales", "backlog", "quality")}
    by = {"sales": 0.5, "backlog": -0.3, "quality": -0.09}
    moved = {name: values + by[name] * values.std() for name, values in static.items()}
    found = metrics.budget_efficiency(np.full(400, 27.0), np.full(400, 30.0), moved, static)
    assert found.percent == pytest.approx(10.0)
    assert found.better == pytest.approx(by)
    assert found.failing == ["backlog"]
    assert metrics.budget_efficiency(np.ones(400), np.ones(400), static, static).failing == []


def test_epsilon_is_what_has_to_be_added():
    points, union = RNG.normal(size=(5, 3)), RNG.normal(size=(9, 3))
    found = metrics.additive_epsilon(points, np.concatenate([points, union]))

    def as_good(by):
        return all(any((a + by >= z).all() for a in points) for z in union)

    assert as_good(found + 1e-9) and not as_good(found - 1e-6)
    assert metrics.additive_epsilon(points, points) == 0.0  # no front lacks anything of itself


def test_shares_of_a_ceiling():
    ceiling = RNG.uniform(1, 2, (6, 3))
    assert metrics.pareto_share(ceiling, ceiling, np.zeros(3)) == 1.0
    assert metrics.pareto_share(0.5 * ceiling, ceiling, np.zeros(3)) == pytest.approx(1 / 8)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, 1.0, 1.0], 10), ([0.1, 0.95, 1.0], 20), ([0.95, 0.1, 1.0], 30), ([1.0, 2.0, 1.1], 10)],
    ids=["at once", "a jump", "a relapse", "a peak"],
)
def test_steps_to_the_end(values, expected):
    assert metrics.steps_to_end([10, 20, 30], values) == expected


def test_accuracy_counts_signs_and_coverage_of_what_is_moved():
    truth = np.array([[0.0, 2.0], [-1.0, 1.0]])
    forecast = np.array([[0.5, 1.0], [0.0, 1.0]])
    found = metrics.impact_accuracy(forecast, truth, (forecast - 0.6, forecast + 0.6))
    assert found == (pytest.approx(np.sqrt((0.25 + 1 + 1 + 0) / 4)), pytest.approx(2 / 3), pytest.approx(1 / 3))


def test_stability_is_between_opposites_and_the_same():
    reach = np.array([5.0, 2.0, 1.0])
    a, b = RNG.uniform(-1, 1, (2, 50, 3)) * reach
    assert metrics.stability(a, a, reach) == 1.0 and metrics.stability(reach, -reach, reach) == 0.0
    assert 0.5 < metrics.stability(a, b, reach) < 0.8  # by chance alone two thirds


def test_interpretability_does_not_depend_on_signs_order_or_scale():
    effects = RNG.normal(size=(4, 5))
    share = metrics.interpretability(effects)
    again = -3.0 * RNG.permutation(effects.ravel())
    assert 0.25 < share < 1.0 and share == pytest.approx(metrics.interpretability(again))
    assert metrics.interpretability(effects, 20) == pytest.approx(1.0) and metrics.interpretability(np.zeros(7)) == 1.0


def test_what_is_asked_of_those_who_carry_it_out():
    changes = np.array([[5.0, 1e-6, 0.0], [0.0, -5.0, 2.0]])
    assert metrics.manageability(changes, np.array([0.0, 2.0])) == (1.5, 2)


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [([10, 10, 10], (0, False)), ([2, 9.6, 9.7], (1, False)), ([9.6, 2, 9.6], (2, False)), ([9.6, 9.6, 9], (3, True))],
)
def test_adaptability(rewards, expected):
    rewards, static = np.array(rewards, float), np.array([1.0, -1.0, 3.0])
    assert metrics.adaptability(rewards + static, static, 10.0 + static) == expected


def drifting(rows: int = 600):
    """Two budgets that follow demand, which the books do not hold, and a backlog; all of them drift."""
    time, (demand, a, b, left) = np.arange(rows) / rows, RNG.normal(size=(4, rows))
    staff, training = 2 * demand + a + 5 * time, demand + b
    columns = {"staff": staff, "training": training, "backlog": 3 * demand - staff + 20 * time + left}
    return columns, [f"{row:04d}" for row in range(rows)]


def test_linear_forecasts_are_least_squares_on_budgets_and_time():
    columns, periods = drifting()
    books, decisions = from_columns(columns, periods=periods), ["staff", "training"]
    design = np.column_stack([np.ones(600), np.arange(600), columns["staff"], columns["training"]])
    together = np.linalg.lstsq(design, columns["backlog"])[0][2:]
    apart = [np.linalg.lstsq(design[:, [0, 1, k]], columns["backlog"])[0][2] for k in (2, 3)]
    for forecast, expected in ((linear, together), (linear_apart, apart)):
        found = forecast(books, decisions, np.random.default_rng(0), 4000)
        assert found.names == books.names and found.decisions == ("staff", "training")
        error = found.on("backlog").std(0) / np.sqrt(4000)
        assert (np.abs(found.on("backlog").mean(0) - expected) < 4 * error + 1e-6).all()
    without = linear(books._replace(periods=None), decisions, np.random.default_rng(0)).on("backlog").mean(0)
    assert abs(without[0] - together[0]) > 0.1  # growth passes for an effect
    one_period = books._replace(periods=("a",) * 600)
    np.testing.assert_allclose(linear(one_period, decisions, np.random.default_rng(0)).on("backlog").mean(0), without)


def test_accounts_expect_nothing_to_move():
    books = from_columns(drifting()[0])
    found = cash_flow(books, ["staff", "training"])
    assert found.names == books.names and found.draws.shape == (1, 3, 2) and not found.draws.any()
