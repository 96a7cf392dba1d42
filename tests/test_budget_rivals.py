"""Rivals of the learned office: the programme's solution, planners on effects from books, a network for each weight."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from bayesalloc.agents.hypervolume import hypervolume
from bayesalloc.agents.pareto.conditioned import Config
from bayesalloc.models.budget import environment
from bayesalloc.models.budgets import learned as offices, rivals
from bayesalloc.models.budgets.ceiling import REFERENCE, lattice, linear_targets, mean_rewards
from bayesalloc.models.budgets.experiments import agents, risk, rivals as beside
from bayesalloc.models.budgets.experiments.world import books_of
from bayesalloc.models.budgets.world import DEPARTMENTS, PROTECTED, TABLE, effects
from tests.test_training import KEY

BASE = np.array([TABLE[name].base for name in DEPARTMENTS])


@pytest.fixture(scope="module")
def learned():
    return rivals.effects_from(books_of(1, 2_000))


@pytest.mark.parametrize("room", [-9.0, -2.0, 1.0, 40.0])
def test_the_knapsack_is_the_linear_programme(room):
    rng = np.random.default_rng(0)
    gain, cost, lowest, highest = (
        rng.normal(size=20),
        rng.uniform(0.1, 1.0, 20),
        -rng.uniform(size=20),
        rng.uniform(size=20),
    )
    found = rivals.knapsack(*(jnp.asarray(each, jnp.float32) for each in (gain, cost, lowest, highest)), room)
    if room < cost @ lowest:
        np.testing.assert_allclose(found, lowest, rtol=1e-6)
        return
    best = linprog(-gain, A_ub=cost[None], b_ub=[room], bounds=np.stack([lowest, highest], 1))
    np.testing.assert_allclose(found, best.x, atol=1e-5)


def test_books_tell_effects(learned):
    truth = effects(DEPARTMENTS, jointly=True)
    later = [place for place, variable in enumerate(TABLE.values()) if variable.tier > 1]
    assert learned.shape == truth.shape and np.abs(learned - truth)[later].max() < 0.15  # 600 of them, error about .03
    np.testing.assert_array_equal(learned[[place for place, each in enumerate(TABLE.values()) if each.tier == 0]], 0.0)


def test_planners_keep_within_the_limits_and_beat_the_plan(learned):
    weights = lattice(1)
    targets = linear_targets(weights, learned)
    assert np.abs(targets).max() <= 30 + 1e-6 and (targets @ BASE / 100 <= 1.2 + 1e-6).all()
    held, once = np.split(
        mean_rewards(environment, np.concatenate([np.zeros((1, 20)), targets]), KEY, replicates=64), [1]
    )
    blind, told = (
        rivals.replanned(environment, weights, learned, KEY, curved=curved, replicates=64) for curved in (False, True)
    )
    for points in (once, blind, told):  # of the plans for performance and for efficiency alone
        assert points[0, 2] > held[0, 2] + 4.0 and points[2, 0] > held[0, 0] + 4.0
    volumes = [hypervolume(points, REFERENCE) for points in (held, once, told)]
    assert volumes[0] < volumes[1] < volumes[2]


def test_a_network_for_each_weight_learns_its_own():
    weights = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    config = Config(steps=12_000, environments=32, updates=2, batch=64, capacity=12_000, warmup=500)
    trainer = rivals.alone(config, environment, weights, (32,))
    run = jax.jit(trainer.begin)(KEY)
    assert run.weights.shape == (2, 32, 1)
    run, curve = jax.jit(lambda run: trainer.advance(run, config.iterations))(run)
    assert curve["return"].shape == (375, 1)
    brought = rivals.alone_brought(environment, run.network, KEY, replicates=64)
    assert brought[0, 0] > brought[1, 0] + 1.0 and brought[1, 2] > brought[0, 2] + 1.0


def test_the_office_beside_its_rivals_on_a_very_small_scale(monkeypatch):
    untrained = offices.network(offices.pareto(None, 1), KEY)
    monkeypatch.setattr(beside, "learning", lambda seed: dict.fromkeys(beside.SHOWN, untrained))
    monkeypatch.setattr(beside, "fixed_plans", lambda: linear_targets(agents.GRID))
    monkeypatch.setattr(beside, "_anew", lambda effects, curved: 700.0 + curved)  # tested above, as the next
    monkeypatch.setattr(beside, "_alone", lambda seed: 800.0)
    monkeypatch.setattr(beside, "REPLICATES", 4)
    beside._known.cache_clear()
    found = beside.measured(0)
    beside._known.cache_clear()
    volumes = found["hypervolume"]
    assert volumes["ceiling"] == volumes["planned once, effects known"] > volumes["planned once"] > volumes["hold"] > 0
    assert found["office / ceiling"] == volumes["400,000 steps"] / volumes["ceiling"]
    assert found["office / rival"]["planned anew"] == volumes["400,000 steps"] / volumes["planned anew"]


def test_what_a_price_of_causal_risk_takes_on_a_very_small_scale(monkeypatch):
    keys = jax.random.split(KEY, len(risk.LAMBDAS))
    monkeypatch.setattr(risk, "learned", lambda seed: jax.vmap(partial(offices.network, offices.pareto(None, 1)))(keys))
    monkeypatch.setitem(risk._JUDGED, "replicates", 4)
    found = risk.measured(0)
    first, last = found["lambda 0"], found["lambda 10"]
    assert first["causal risk"] > 0 and first["reward given up, %"] == first["causal risk removed, %"] == 0.0
    assert last["causal risk removed, %"] == pytest.approx(100 * (1 - last["causal risk"] / first["causal risk"]))
    assert all(found[f"switched on, {name}"]["low"] < found[f"switched on, {name}"]["high"] for name in PROTECTED)
    true = np.asarray(risk.true_risk().effect)
    assert true.shape == (1, 4, 20) and true[0, 0, DEPARTMENTS.index("operations")] < 0  # its money lowers the backlog
