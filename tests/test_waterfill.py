"""The best split of a budget where everything is known, and the usual rules: an independent optimiser, invariants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from bayesalloc.impact.returns import Edges, impacts, saturating
from bayesalloc.impact.rules import RULES
from bayesalloc.impact.waterfill import best_split, water_filled

N = 12


def problem(seed, spread=1.2, room=1.5):
    rng = np.random.default_rng(seed)
    effect, size = np.exp(spread * rng.normal(size=N)), np.exp(1.2 * rng.normal(size=N))
    return effect, room * size / size.sum()


def network(seed):
    rng = np.random.default_rng(seed)
    source = np.array([rng.choice(np.delete(np.arange(N), j), 3, replace=False) for j in range(N)])
    edges = Edges(jnp.asarray(source), jnp.zeros((N, 3), int), jnp.ones((N, 3), bool))
    return rng.uniform(-0.3, 0.6, (N, 3)), edges


def slsqp(value, low, high, start):
    """The best amounts by SciPy."""
    gradient = jax.jit(jax.value_and_grad(lambda x: -value(x)))
    found = minimize(
        lambda x: tuple(np.asarray(each, float) for each in gradient(x)),
        start,
        jac=True,
        bounds=list(zip(low, high, strict=True)),
        constraints={"type": "eq", "fun": lambda x: x.sum() - 1.0, "jac": np.ones_like},
        options={"ftol": 1e-13, "maxiter": 500},
    )
    return found.x


@pytest.mark.parametrize("eta", [1.0, 0.375])
@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_water_filling_is_what_an_optimiser_finds(seed, bounded, eta):
    effect, room = problem(seed)
    low = np.full(N, 0.02) if bounded else np.zeros(N)
    high = np.full(N, 0.2) if bounded else np.ones(N)
    with jax.enable_x64(True):
        ours = water_filled(jnp.asarray(effect), jnp.asarray(room), 1.0, low, high, eta)

        def value(amount):
            return (effect * saturating(amount, room, eta)).sum()

        theirs = slsqp(value, low, high, np.full(N, 1 / N))
        assert value(ours) >= value(theirs) * (1 - 1e-9)
        np.testing.assert_allclose(ours, theirs, atol=2e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_whole_budget_within_bounds_at_one_marginal_return(dtype, scale):
    """Whatever the spread of effects and the room; to a few units in the last place."""
    rng = np.random.default_rng(0)
    eps = float(np.finfo(dtype).eps)
    with jax.enable_x64(dtype == np.float64):
        fill = jax.jit(water_filled)
        for spread in (0.0, 1.0, 6.0):
            effect = jnp.asarray(np.exp(spread * rng.normal(size=50)), dtype)
            room = jnp.asarray(scale * np.exp(rng.normal(size=50)), dtype)
            low = jnp.asarray(rng.uniform(0, 0.01, 50), dtype)
            for least, most in ((low, low + 0.1), (jnp.zeros_like(low), jnp.full_like(low, jnp.inf))):
                amount = np.asarray(fill(effect, room, 1.0, least, most))
                assert amount.dtype == dtype
                assert (amount >= least).all() and (amount <= most).all()
                assert amount.sum(dtype=float) == pytest.approx(1.0, abs=20 * eps)
                marginal = np.asarray(effect / (1.0 + amount / room), float)
                more, less = amount < np.minimum(most, 1.0) - 1e-6, amount > least + 1e-6
                assert marginal[more].max() <= marginal[less].min() * (1 + 1e-3 if dtype == np.float32 else 1 + 1e-8)


def test_units_and_order_do_not_matter():
    effect, room = map(jnp.asarray, problem(1))
    order = np.random.default_rng(0).permutation(N)
    amount = water_filled(effect, room)
    for other in (
        water_filled(effect * 1e12, room),
        water_filled(effect * 1e-12, room),
        water_filled(effect, room * 1e6, 1e6) / 1e6,
        water_filled(effect[order], room[order])[np.argsort(order)],
        jax.vmap(water_filled)(jnp.stack([effect, effect[::-1]]), jnp.stack([room, room[::-1]]))[0],
    ):
        np.testing.assert_allclose(other, amount, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({"high": 0.0}, np.zeros(N)),  # all off
        ({"high": 0.05}, np.full(N, 0.05)),  # too little room for the budget
        ({"low": 0.2}, np.full(N, 0.2)),  # floors beyond the budget
        ({"budget": 0.0}, np.zeros(N)),
    ],
)
def test_bounds_that_decide_everything(changes, result):
    effect, room = map(jnp.asarray, problem(2))
    np.testing.assert_allclose(water_filled(effect, room, **changes), result, atol=1e-7)


def test_what_has_no_effect_gets_only_its_floor():
    effect, room = map(jnp.asarray, problem(3))
    effect = effect.at[:4].set(0.0).at[4].set(-1.0)
    np.testing.assert_allclose(water_filled(effect, room, 1.0, 0.01)[:5], 0.01, rtol=1e-6)
    assert water_filled(0.0 * effect, room).sum() == 0.0
    for least in (1e-20, 1e-30, 1e-37, 1e-45):  # nothing to speak of, beside what has some
        amount = water_filled(effect.at[5].set(least), room)
        assert float(amount.sum()) == pytest.approx(1.0, rel=1e-6) and float(amount[5]) == 0.0


@pytest.mark.parametrize(("eta", "local"), [(1.0, 2e-3), (0.375, 1e-2)])
def test_the_best_split_with_spillovers_is_what_an_optimiser_finds(eta, local):
    """From where it ends SciPy finds nothing better; from elsewhere little, though spill-overs make local optima."""
    for seed in range(2):
        effect, room = problem(seed)
        on = np.arange(N) != 3
        with jax.enable_x64(True):
            weight, edges = network(seed)
            given = jnp.log(jnp.asarray(effect)), jnp.asarray(room), jnp.asarray(weight), edges

            def value(amount, given=given):
                amount = jnp.asarray(amount)
                return impacts(amount, *given, eta).sum()

            ours = best_split(*given, jnp.asarray(on), eta=eta, rounds=200)
            starts = np.random.default_rng(seed).dirichlet(np.ones(N), 8)
            high = on.astype(float)
            best = max(float(value(slsqp(value, np.zeros(N), high, start * on))) for start in starts)
            assert float(value(slsqp(value, np.zeros(N), high, ours))) <= float(value(ours)) * (1 + 1e-6)
            assert float(ours.sum()) == pytest.approx(1.0, abs=1e-12) and float(ours[3]) == 0.0
            assert float(value(ours)) >= best * (1 - local)
            usual = best_split(*given, jnp.asarray(on), eta=eta)
            assert float(value(usual)) >= float(value(ours)) * (1 - 1e-3)
            again = best_split(*given, jnp.asarray(on), eta=eta, rounds=10, start=usual)
            assert float(value(again)) >= float(value(usual)) * (1 - 1e-6)


@pytest.mark.parametrize("name", RULES)
def test_rules_give_all_to_those_that_are_on(name):
    effect, room = map(jnp.asarray, problem(4))
    for on in (jnp.ones(N, bool), jnp.arange(N) % 3 > 0, jnp.arange(N) == 1):
        amount = RULES[name](effect, room, on, 5.0)
        assert float(amount.sum()) == pytest.approx(5.0, rel=1e-5)
        assert (np.asarray(amount)[~np.asarray(on)] == 0).all() and (amount >= 0).all()
    assert (RULES[name](effect, room, jnp.zeros(N, bool), 5.0) == 0).all()


def test_rules_are_what_they_are_called():
    effect, room = map(jnp.asarray, problem(5))
    on = jnp.ones(N, bool)
    given = {name: np.asarray(rule(effect, room, on, 1.0)) for name, rule in RULES.items()}
    np.testing.assert_allclose(given["uniform"], 1 / N, rtol=1e-6)
    np.testing.assert_allclose(given["proportional"], effect / effect.sum(), rtol=1e-5)
    np.testing.assert_allclose(given["proportional_room"], effect * room / (effect * room).sum(), rtol=1e-5)
    top = np.argsort(-np.asarray(effect))[:2]  # a fifth of twelve
    assert set(np.flatnonzero(given["top20_equal"])) == set(np.flatnonzero(given["top20_room"])) == set(top)
    assert given["top20_equal"].max() == pytest.approx(0.5)
    np.testing.assert_allclose(given["top20_room"][top], (room / room[top].sum())[top], rtol=1e-5)
    reached = {name: float((effect * saturating(amount, room)).sum()) for name, amount in given.items()}
    assert max(reached, key=lambda name: reached[name]) == "knapsack"
