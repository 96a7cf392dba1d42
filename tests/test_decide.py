"""Decision measures against hand-computed answers and invariants."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from bayesalloc.effects import decisions as decide
from bayesalloc.effects.arms import Simulated
from bayesalloc.environment import Environment, Outcome

ARMS = ["a", "b"]
# Magnitudes from 1e-3 to 1e6 or zero, so that a rescaled payoff neither overflows nor vanishes.
PAYOFF = st.floats(-1e6, 1e6).map(lambda x: 0.0 if abs(x) < 1e-3 else x)
PAYOFFS = st.integers(2, 7).flatmap(lambda n: hnp.arrays(np.float64, (n,), elements=PAYOFF))
VALUES = st.tuples(st.integers(2, 6), st.integers(1, 4), st.integers(2, 4)).flatmap(
    lambda shape: hnp.arrays(np.float64, shape, elements=st.floats(-1e3, 1e3))
)
TOLERANCE = 1e-9  # sums of at most 24 numbers up to 1e3 in double precision: 24 x 1e3 x 2e-16 = 5e-12


def decided(values: np.ndarray, better: str = "higher", arms: list[str] | None = None):
    arms = arms or [f"arm{i}" for i in range(values.shape[2])]
    return decide.decision({"y": values}, {"y": Outcome("1", better)}, {}, arms).sel(criterion="y")


def per_draw(*rows: tuple[float, ...]) -> np.ndarray:
    """Expected outcomes (draw, arm) as values (draw, future, arm): two futures, one above and one below."""
    expected = np.array(rows)
    return np.stack([expected - 1e-4, expected + 1e-4], axis=1)


@pytest.mark.parametrize(
    ("payoffs", "expected"),
    [
        ([1.0, 1.0, 1.0], 0.0),
        ([0.0, 0.0, 5.0], 1.0),
        ([0.0, 0.0, 0.0], 0.0),
        ([1.0, 3.0], 0.5),  # |1 - 3| x 2 / (2 x 1 x 4)
        ([1.0, 2.0, 3.0], 1 / 3),  # 8 / (2 x 2 x 6); the usual Gini 2/9 times 3/2
        ([-1.0, 1.0], 1.0),  # 4 / (2 x 1 x 2)
        ([-2.0, -2.0], 0.0),
        ([4.0], 0.0),
    ],
)
def test_gini_of_known_payoffs(payoffs, expected):
    assert decide.gini(np.array(payoffs)) == pytest.approx(expected)


def test_gini_is_taken_over_the_last_axis():
    payoffs = np.array([[[1.0, 1.0], [0.0, 1.0]], [[1.0, 3.0], [3.0, 1.0]]])
    np.testing.assert_allclose(decide.gini(payoffs), [[0.0, 1.0], [0.5, 0.5]])


@settings(deadline=None)
@given(PAYOFFS, st.floats(1e-3, 1e3), st.randoms(use_true_random=False))
def test_gini_is_bounded_and_ignores_scale_and_order(payoffs, scale, random):
    found = float(decide.gini(payoffs))
    assert -TOLERANCE <= found <= 1 + TOLERANCE
    assert float(decide.gini(scale * payoffs)) == pytest.approx(found, abs=TOLERANCE)
    assert float(decide.gini(-payoffs)) == pytest.approx(found, abs=TOLERANCE)
    shuffled = random.sample(payoffs.tolist(), len(payoffs))
    assert float(decide.gini(np.array(shuffled))) == pytest.approx(found, abs=TOLERANCE)


@settings(deadline=None)
@given(st.integers(2, 7).flatmap(lambda n: hnp.arrays(np.float64, (n,), elements=st.floats(1.0, 100.0))))
def test_gini_of_positive_payoffs_is_the_textbook_formula(payoffs):
    n, ordered = len(payoffs), np.sort(payoffs)
    textbook = 2 * (np.arange(1, n + 1) @ ordered) / (n * ordered.sum()) - (n + 1) / n
    assert float(decide.gini(payoffs)) == pytest.approx(textbook * n / (n - 1), abs=TOLERANCE)


def test_two_by_two_choice():
    """Two equally likely states: a is worth 10 or 0, b 4 or 7; knowing is worth (10 + 7) / 2 - 5.5 = 3."""
    found = decided(per_draw((10.0, 4.0), (0.0, 7.0)), arms=ARMS)
    np.testing.assert_allclose(found["prob_best"], [0.5, 0.5])
    np.testing.assert_allclose(found["expected_regret"], [3.5, 3.0])
    assert float(found["evpi"]) == pytest.approx(3.0)


def test_where_lower_is_better_the_same_losses_give_the_same_choice():
    gains = per_draw((10.0, 4.0), (0.0, 7.0))
    found, mirrored = decided(gains, "higher"), decided(-gains, "lower")
    for measure in ("prob_best", "expected_regret", "evpi"):
        np.testing.assert_allclose(mirrored[measure], found[measure])
    np.testing.assert_allclose(mirrored["cvar"], -found["cvar"])


def test_the_arm_that_is_always_best_has_no_regret():
    for better, best in (("higher", 1), ("lower", 0)):
        found = decided(per_draw((1.0, 2.0), (5.0, 9.0), (-4.0, -3.0)), better)
        assert float(found["expected_regret"][best]) == 0.0
        assert float(found["expected_regret"][1 - best]) == pytest.approx(2.0)  # (1 + 4 + 1) / 3
        assert float(found["prob_best"][best]) == 1.0
        assert float(found["evpi"]) == 0.0


def test_arms_that_tie_share_the_probability():
    found = decided(per_draw((2.0, 2.0, 1.0), (3.0, 3.0, 4.0)))
    np.testing.assert_allclose(found["prob_best"], [0.25, 0.25, 0.5])


@pytest.mark.parametrize(("better", "expected"), [("higher", 4.5), ("lower", 94.5)])
def test_cvar_is_the_mean_of_the_worst_tenth(better, expected):
    sample = np.random.default_rng(0).permutation(100.0 * np.arange(100) / 100).reshape(10, 10)
    found = decided(np.stack([sample, sample + 1000.0], axis=-1), better)
    np.testing.assert_allclose(found["cvar"], [expected, expected + 1000.0])


@settings(deadline=None)
@given(VALUES, st.sampled_from(["higher", "lower"]))
def test_invariants_of_any_choice(values, better):
    found = decided(values, better)
    assert float(found["prob_best"].sum()) == pytest.approx(1.0)
    assert float(found["expected_regret"].min()) >= -TOLERANCE
    assert float(found["evpi"]) >= -TOLERANCE
    # The best arm without knowing is the one of least regret, and that regret is what knowing would save.
    assert float(found["evpi"]) == pytest.approx(float(found["expected_regret"].min()), abs=TOLERANCE)
    mean = values.mean((0, 1))
    tail = found["cvar"].values
    assert np.all(tail <= mean + TOLERANCE) if better == "higher" else np.all(tail >= mean - TOLERANCE)


def test_criteria_are_the_outcomes_with_a_direction_and_one_per_label():
    values = {"y": np.zeros((2, 2, 2)), "z": np.zeros((2, 2, 2, 2)), "neither": np.zeros((2, 2, 2))}
    values["z"][..., 1, 1] = 1.0  # in arm b the second agent has one more
    outcomes = {"y": Outcome("1", "lower"), "z": Outcome("EUR", "higher", ("agent",)), "neither": Outcome("1")}
    found = decide.decision(values, outcomes, {"agent": ["ann", "bob"]}, ARMS)
    assert found["criterion"].values.tolist() == ["y", "z.ann", "z.bob"]
    assert found["prob_best"].sel(criterion="z.bob").values.tolist() == [0.0, 1.0]
    assert found["prob_best"].sel(criterion="z.ann").values.tolist() == [0.5, 0.5]


def test_agents_payoffs_refusals_and_deviations(watershed: Environment):
    n = len(watershed.coords["agent"])
    payoff = np.zeros((2, 2, 2, n))  # (draw, future, arm, agent)
    payoff[:, :, 0] = 1.0
    payoff[:, :, 1, 0] = [[3.0, 5.0], [-1.0, -3.0]]  # first agent in arm b: 4 in one draw, -2 in the other
    payoff[:, :, 1, 1] = -7.0
    refusal, deviation = np.zeros((2, 2, n)), payoff.copy()
    deviation[:, :, 0, 2] += 0.5
    found = decide.agents(Simulated({"payoff": payoff}, {}, refusal, deviation), watershed, ARMS)
    first, second, third = watershed.coords["agent"][:3]
    assert float(found["payoff"].sel(arm="b", agent=first)) == pytest.approx(1.0)
    assert float(found["would_refuse"].sel(arm="b", agent=first)) == 0.5
    assert float(found["would_refuse"].sel(arm="b", agent=second)) == 1.0
    assert float(found["gain_over_refusal"].sel(arm="b", agent=second)) == pytest.approx(-7.0)
    assert float(found["deviation_gain"].sel(arm="a", agent=third)) == pytest.approx(0.5)
    assert float(found["deviation_gain"].sel(arm="b", agent=third)) == 0.0
    assert found["worst_off"].sel(arm="b").item() == second
    assert float(found["gini"].sel(arm="a")) == 0.0
    assert float(found["gini"].sel(arm="b")) == pytest.approx(float(decide.gini(np.array([1.0, -7.0, 0, 0, 0]))))
