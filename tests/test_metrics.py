"""The published measures: their formulas in plain NumPy, and when convergence is unknown."""

import jax.numpy as jnp
import numpy as np
import pytest

from bayesalloc.effects import decisions
from bayesalloc.impact import metrics

RNG = np.random.default_rng(0)


def test_increase_over_a_window():
    impact = RNG.uniform(1, 2, (3, 2, 60))
    by_hand = 100 * (impact[0, :, 10:].mean(-1) / impact[1, :, 10:].mean(-1) - 1)
    np.testing.assert_allclose(metrics.impact_increase(*map(jnp.asarray, impact[:2])), by_hand, rtol=1e-3)
    per_mille = metrics.impact_increase_per_mille(*map(jnp.asarray, impact[:2]))
    np.testing.assert_allclose(per_mille, 10 * by_hand, rtol=1e-3)


def test_variance_and_turnover():
    shares = RNG.dirichlet(np.ones(5), 80)
    variance = metrics.allocation_variance(jnp.asarray(shares))
    assert float(variance) == pytest.approx(np.mean([np.var(shares[-50:, j]) for j in range(5)]), rel=1e-5)
    moved = metrics.turnover(jnp.asarray(shares[:-1]), jnp.asarray(shares[1:]))
    np.testing.assert_allclose(moved, np.abs(np.diff(shares, axis=0)).sum(1) / 2, rtol=1e-4)
    assert metrics.turnover(jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])) == 1.0


def by_hand(share):
    final = share[-50:].mean()
    mean = {end: share[end - 20 : end].mean() for end in range(20, len(share) + 1)}
    for start in mean:
        if all(mean[end] >= 0.98 * final for end in mean if end >= start):
            return start, False
    return len(share), True


@pytest.mark.parametrize(
    "share",
    [
        np.full(100, 0.9),
        np.concatenate([np.full(100, 0.5), np.full(100, 1.0)]),
        0.95 - 0.5 * np.exp(-np.arange(300) / 40) + 0.02 * RNG.normal(size=300),
        np.concatenate([np.full(100, 1.0), np.full(20, 0.5), np.full(80, 1.0)]),  # a relapse counts
        np.concatenate([np.full(100, 1.0), np.linspace(1.0, 0.5, 50)]),  # falls at the end: not converged
    ],
    ids=["at once", "a jump", "a curve", "a relapse", "never"],
)
def test_convergence(share):
    found, censored = metrics.convergence_round(jnp.asarray(share))
    assert (int(found), bool(censored)) == by_hand(share)


def test_the_never_converging_is_censored():
    assert by_hand(np.concatenate([np.full(100, 1.0), np.linspace(1.0, 0.5, 50)]))[1]


def test_gini_is_that_of_effects():
    amounts = RNG.gamma(1.0, size=(6, 8))
    np.testing.assert_allclose(metrics.gini(jnp.asarray(amounts)), decisions.gini(amounts), rtol=1e-5)
    assert metrics.gini(jnp.zeros(3)) == 0.0
