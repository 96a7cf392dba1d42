"""The world of organisation budgets: its table, its truth, an independent version of its quarters, and its limits."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

import bayesalloc as ba
from bayesalloc.effects.arms import Arm
from bayesalloc.environment import stack
from bayesalloc.episodes import Episodes
from bayesalloc.models import budget
from bayesalloc.models.budgets.bursts import Bursts
from bayesalloc.models.budgets.decisions import as_decision, decide, transfer, within_limits
from bayesalloc.models.budgets.world import (
    COSTS,
    DEPARTMENTS,
    EDGES,
    JUDGED_BY,
    PLACE,
    PROTECTED,
    SURVEY,
    TABLE,
    VARIABLES,
    coefficients,
    covariance,
    effects,
)
from bayesalloc.simulate import Scenario, schedule, trajectory

KEY, N, BUDGETS = jax.random.key(0), len(TABLE), slice(4, 24)
BASE = np.array([TABLE[name].base for name in DEPARTMENTS])


def test_the_table_is_as_it_was_before_anybody_learned_from_it():
    plain = {name: tuple(variable) for name, variable in TABLE.items()}
    digest = hashlib.sha256(repr(plain).encode()).hexdigest()
    assert digest[:16] == "0cbb644068f58073"
    assert len(TABLE) == 50 and len(EDGES) == len(set(EDGES)) == 93
    assert [sum(variable.tier == tier for variable in TABLE.values()) for tier in range(6)] == [4, 20, 8, 7, 9, 2]
    assert sum(sum(variable.parents.values()) for variable in TABLE.values()) == pytest.approx(18.25)
    assert BASE.sum() == pytest.approx(60) and sum(TABLE[name].base for name in COSTS) == pytest.approx(52)
    assert all(TABLE[cause].tier <= TABLE[effect].tier and PLACE[cause] < PLACE[effect] for cause, effect in EDGES)
    assert list(JUDGED_BY) == list(DEPARTMENTS) == list(VARIABLES[BUDGETS])
    assert {*PROTECTED, *SURVEY, *(name for name, _ in JUDGED_BY.values())} <= set(VARIABLES)


def test_the_edges_are_neither_faint_nor_plain():
    """Partial correlations of both ends of an edge given the effect's other causes."""
    found = []
    for cause, effect in EDGES:
        given_that = [PLACE[effect], PLACE[cause], *(PLACE[other] for other in TABLE[effect].parents if other != cause)]
        precision = np.linalg.inv(covariance()[np.ix_(given_that, given_that)])
        found.append(abs(precision[0, 1]) / np.sqrt(precision[0, 0] * precision[1, 1]))
    assert np.round([min(found), np.median(found), max(found)], 2).tolist() == [0.19, 0.34, 0.61]


def test_true_effects_are_not_what_slopes_say():
    def slope(effect, cause):
        return round(covariance()[PLACE[effect], PLACE[cause]] / covariance()[PLACE[cause], PLACE[cause]], 2)

    def true(effect, cause):
        return round(float(effects([cause])[PLACE[effect], 0]), 2)

    pairs = [("revenue", "marketing"), ("revenue", "training"), ("backlog", "customer_service"), ("backlog", "hr")]
    assert [slope(*pair) for pair in pairs] == [0.22, 0.14, -0.13, 0.04]
    assert [true(*pair) for pair in pairs] == [0.09, 0.02, -0.3, -0.04]
    later = [PLACE[name] for name, variable in TABLE.items() if variable.tier > 1]
    alone, together = (effects(DEPARTMENTS, jointly=jointly)[later] for jointly in (False, True))
    assert alone.size == 520 and (np.abs(alone) > 1e-12).sum() == 144
    assert (np.abs(alone - together) > 1e-12).sum() == 33
    walked = sum(np.linalg.matrix_power(coefficients(), length) for length in range(N))  # all paths, by length
    np.testing.assert_allclose(effects(VARIABLES), walked, atol=1e-12)


@jax.jit
def first_quarters(decisions):
    """The levels of a first quarter without noise; a leading axis of decisions."""
    sites = {"noise": jnp.zeros((1, 30)), "bursts": jnp.zeros((1, 20)), "condition_lot": jnp.zeros(1)}

    def one(decision):
        return trajectory(budget.environment, ba.hold, decision, KEY, Scenario(1, params=(), sites=sites)).level[0]

    return jax.vmap(one)(decisions)


@pytest.mark.parametrize("policy", [False, True])
def test_what_is_fixed_does_what_the_linear_truth_says(policy):
    """One at a time under the past policy; else jointly with budgets. At .5 % a budget's saturation takes .037 %."""
    template, size = decide(follows=policy), 0.5
    fixed = np.where(np.eye(N) > 0, np.array([0.0, size])[:, None, None], np.nan).astype(np.float32)
    levels = first_quarters(stack([template._replace(fixed=row) for row in fixed.reshape(-1, N)]))
    without, with_it = np.asarray(levels).reshape(2, N, N)
    matrix = coefficients(decided=() if policy else DEPARTMENTS)
    truth = np.linalg.inv(np.eye(N) - matrix)
    np.testing.assert_allclose((with_it - without).T / size, truth, atol=5e-4)


def plain_quarters(changes, noise, bursts, conditions):
    """Quarters by the formulas of the docstring, with matrices; also the three rewards."""
    b, d = coefficients(decided=DEPARTMENTS), np.array([variable.carried for variable in TABLE.values()])
    sd, solve = np.array([variable.sd for variable in TABLE.values()]), np.linalg.inv(np.eye(N) - b)
    level, before, reserve, rows = np.zeros(N), 0.0, 0.0, []
    for change, normal, burst, condition in zip(changes, noise, bursts, conditions, strict=True):
        e = sd * np.concatenate([normal[:4], burst, normal[4:]])
        e[0], e[3] = e[0] + [0.1, 1.2, -1.6][condition], before
        budgets = [level[BUDGETS], level[BUDGETS] + change]
        solved = []
        for alone, budgeted in zip([d * level, d * level + e], budgets, strict=True):
            alone[BUDGETS] = 15 * np.tanh(budgeted / 15)
            found = solve @ alone
            found[BUDGETS] = budgeted
            solved.append(found)
        forecast, level = solved
        at = {name: level[PLACE[name]] for name in VARIABLES}
        money = 120 * 0.35 * np.expm1(at["revenue"] / 100)
        money -= sum(TABLE[name].base * np.expm1(at[name] / 100) for name in (*COSTS, *DEPARTMENTS))
        dev, reserve = 100 * money / 120, np.clip(reserve + money / 4, -20, 20)
        risk = -5 * np.expm1((at["incidents"] + 0.3 * at["overtime_cost"]) / 12) - min(0, dev) ** 2 / 2
        risk -= 0.25 * max(0, -reserve) + 0.1 * np.abs(change).mean()
        performance = 10 * np.mean([np.tanh(sign * at[name] / 6) for name, sign in JUDGED_BY.values()])
        surprise = level - forecast
        before = surprise[PLACE["revenue"]]
        rows.append((level, surprise, np.array([dev, risk, performance])))
    return [np.stack(column) for column in zip(*rows, strict=True)]


def test_a_plain_version_gives_the_same_quarters():
    rng, horizon = np.random.default_rng(1), 12
    changes = rng.uniform(-4, 1, (horizon, 20)).astype(np.float32)  # cuts, so that no hard limit binds
    noise, bursts = rng.normal(size=(horizon, 30)), rng.standard_t(5, (horizon, 20))
    lots = np.array([0.0, 0.93, 0.0, 0.99, 0.0, 0.95, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    conditions = [0, 0, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1]  # a boom ends with the higher half of what ends it: on by two
    sites = {"noise": noise, "bursts": bursts, "condition_lot": lots}
    sites = {name: values.astype(np.float32) for name, values in sites.items()}
    scenario = Scenario(horizon, params=(), sites=sites)
    quarters = jax.jit(lambda: trajectory(budget.environment, schedule, jnp.asarray(changes), KEY, scenario))()
    assert quarters.condition.tolist() == conditions
    level, surprise, rewards = plain_quarters(changes, noise, bursts, conditions)
    np.testing.assert_allclose(quarters.level, level, atol=2e-4)
    np.testing.assert_allclose(quarters.surprise, surprise, atol=2e-4)
    np.testing.assert_allclose(jax.vmap(budget.environment.reward)(quarters), rewards, atol=2e-3)
    np.testing.assert_allclose(quarters.budget, BASE * np.exp(np.cumsum(changes, 0) / 100), rtol=1e-5)
    harm = [level[:, PLACE[name]] * (-1 if name == "customer_satisfaction" else 1) for name in PROTECTED]
    np.testing.assert_allclose(quarters.side_effect, np.stack(harm, 1), atol=2e-4)


def test_books_of_the_past_policy_hold_what_the_table_says():
    """Without a limit that bites, a budget's surprise is its causes' surprises and its burst."""
    noise = np.random.default_rng(2).normal(size=50) * 0.2
    sites = {"noise": noise[None, 20:], "bursts": noise[None, :20], "condition_lot": np.zeros(1)}
    scenario = Scenario(1, params=(), sites={name: values.astype(np.float32) for name, values in sites.items()})
    quarter = jax.jit(lambda: trajectory(budget.environment, ba.hold, decide(follows=True), KEY, scenario))()
    sd = np.array([variable.sd for variable in TABLE.values()])
    e = sd * np.concatenate([noise[20:24], noise[:20] * np.sqrt(3 / 5), noise[24:]])
    e[0], e[3] = e[0] + 0.1, 0.0  # a normal quarter; there was no quarter before it
    truth = np.linalg.solve(np.eye(N) - coefficients(), e)
    np.testing.assert_allclose(quarter.surprise[0, BUDGETS], truth[BUDGETS], atol=1e-4)


limited = jax.jit(lambda wanted, before, money: within_limits(wanted, before, BASE.astype(np.float32), money))


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), money=st.floats(40.0, 80.0), size=st.floats(0.1, 100.0))
def test_no_hard_limit_is_ever_broken(seed, money, size):
    rng = np.random.default_rng(seed)
    wanted, before = size * rng.standard_t(2, 20), rng.uniform(-30, 30, 20)
    changes = np.asarray(limited(wanted.astype(np.float32), before.astype(np.float32), np.float32(money)), float)
    least = np.maximum(-5, -30 - before)
    spent, attainable = ((BASE * np.exp((before + each) / 100)).sum() for each in (changes, least))
    assert (np.abs(changes) <= 5 + 1e-4).all() and (np.abs(before + changes) <= 30 + 1e-4).all()
    assert spent <= max(money, attainable) * (1 + 1e-6)
    possible = np.clip(wanted, least, np.minimum(5, 30 - before))
    if (BASE * np.exp((before + possible) / 100)).sum() <= money:
        np.testing.assert_allclose(changes, possible, atol=1e-4)  # nothing more is taken than has to be
    else:
        assert (changes <= possible + 1e-4).all()


def test_a_thousand_random_quarters_keep_within_the_limits():
    moves = jax.random.randint(KEY, (25, 40, 20), 0, 3)
    quarters, again = (
        ba.rollout(budget.environment, schedule, KEY, arms=moves, replicates=4, horizon=40) for _ in range(2)
    )
    assert quarters.level.shape == (4, 25, 40, 50) and (np.asarray(quarters.violations) == 0).all()
    level = np.asarray(quarters.level, float)
    before = np.concatenate([np.zeros_like(level[:, :, :1]), level[:, :, :-1]], 2)
    assert np.abs(level - before)[..., BUDGETS].max() <= 5 + 1e-3 and np.abs(level[..., BUDGETS]).max() <= 30 + 1e-3
    most = 60 * (1.02 + 0.003 * before[..., PLACE["revenue"]])
    assert (np.asarray(quarters.budget, float).sum(-1) <= most * (1 + 1e-5)).mean() > 0.99
    assert all((np.asarray(a) == np.asarray(b)).all() for a, b in zip(quarters, again, strict=True))


def test_a_break_and_another_plan_change_what_they_say():
    still = dict.fromkeys(DEPARTMENTS, 0.0)
    arms = stack([decide(fixed=still | more) for more in ({}, {"marketing": 1.0}, {"maintenance": 1.0})])

    def moved(world):
        quarters = ba.rollout(budget.organisation(world), ba.hold, KEY, arms=arms, replicates=1, horizon=2)
        return np.asarray(quarters.level[0, 1:] - quarters.level[0, :1]), np.asarray(quarters.budget[0, 0, 0])

    (usual, _), (broken, _) = moved(budget.World()), moved(budget.World(break_at=1))
    np.testing.assert_allclose(usual[:, 0], broken[:, 0], atol=1e-5)
    own = [(0, "reputation"), (1, "incidents")]
    fresh = [usual[arm, 0, PLACE[name]] for arm, name in own]  # .2 of the level before is carried on
    now = [broken[arm, 1, PLACE[name]] - 0.2 * broken[arm, 0, PLACE[name]] for arm, name in own]
    assert now[0] / fresh[0] == pytest.approx(0.5, abs=0.06)  # also by way of a project, which carries on
    assert now[1] / fresh[1] == pytest.approx(2.0, abs=0.25)
    assert moved(budget.World(plan={"training": 2.5}))[1].sum() == pytest.approx(60.5, rel=1e-5)


def test_bursts_have_the_law_of_student():
    """Kolmogorov-Smirnov at a fixed seed; and a finite value at the ends of the uniform numbers."""
    draws = np.asarray(Bursts(5.0).expand([20_000]).sample(KEY))
    assert stats.kstest(draws, stats.t(5).cdf).pvalue > 0.01


def test_conditions_stay_and_change_as_stated():
    """Frequencies within four standard errors, over some 8,000 quarters."""
    arms = jnp.ones((1, 20), int)
    condition = np.asarray(
        ba.rollout(
            budget.environment, ba.hold, KEY, arms=arms, replicates=80, horizon=100, collect=lambda q: q.condition[0]
        )
    )
    for kind, (_, stays) in enumerate(budget.CONDITIONS.values()):
        there = condition[:, :-1] == kind
        after, count = condition[:, 1:][there], there.sum()
        assert (after == kind).mean() == pytest.approx(stays, abs=4 * np.sqrt(stays * (1 - stays) / count))
        left = after[after != kind]
        assert (left == (kind + 1) % 3).mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(left)))


def test_actions_may_be_moves_percentages_or_decisions():
    moves = np.ones(20, int)
    moves[3] = 0
    for action in (moves, jnp.zeros(20).at[3].set(-5.0), decide({"sales": -5.0})):
        assert np.asarray(as_decision(action).change).tolist() == [0, 0, 0, -5.0, *[0] * 16]
    pair = transfer("sales", "hr", 0.05)
    money = BASE * np.expm1(np.asarray(pair.change, float) / 100)
    np.testing.assert_allclose(money[[3, 14]], [-0.05, 0.05], rtol=1e-4)


def compared(arms):
    return ba.compare(budget.environment, arms, KEY, draws=2, horizon=2, futures=1)


def test_arms_may_be_actions_of_every_kind():
    result = compared(
        {"hold": {}, "moves": Arm(np.ones(20, int)), "less": Arm(decide(dict.fromkeys(DEPARTMENTS, -5.0)))}
    )
    spent = result["arms"]["budget"].sel(statistic="mean").sum("department")
    np.testing.assert_allclose(spent, [60, 60, 60 * np.mean(np.exp([-0.05, -0.1]))], rtol=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: decide({"sails": 1.0}), "no department 'sails'"),
        (lambda: decide(fixed={"moon": 1.0}), "no variable 'moon'"),
        (lambda: transfer("sales", "moon", 0.1), "no department 'moon'"),
        (lambda: transfer("sales", "hr", 0.5), "more than 5 %"),
        (lambda: budget.World(break_at=-1), "break_at is -1"),
        (lambda: budget.World(plan={"moon": 1.0}), "no department 'moon'"),
        (lambda: budget.World(plan={"hr": 0.0}), "plan.hr is 0"),
        (
            lambda: budget.environment.arms(["held"]),
            "no mechanism is called 'held'; there are hold, past_policy, or give",
        ),
        (lambda: compared({"hold": {}, "b": {"bursts": np.zeros(20)}}), "'bursts' are changes"),
        (lambda: compared({"hold": {}, "b": Arm(np.zeros(3))}), r"the shape \(3,\); there are 20"),
    ],
)
def test_a_mistake_is_refused_in_a_sentence(make, message):
    with pytest.raises(ba.InputError, match=message):
        make()


def test_what_the_office_sees_and_may_do():
    level = np.zeros(N, np.float32)
    level[4:8] = [-30.0, 30.0, 26.0, -24.0]
    state = budget.State(jnp.asarray(level), jnp.float32(2.0), jnp.float32(5.0), jnp.int32(0), jnp.int32(7))
    seen = budget.environment.observe(state, ())
    assert seen.mask.reshape(20, 3)[:5].tolist() == [[0, 1, 1], [1, 1, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1]]
    assert float(seen.values[PLACE["revenue_before"]]) == pytest.approx(0.2)
    assert float(seen.values[-2]) == pytest.approx(0.25)
    assert float(seen.values[-1]) == pytest.approx(
        10 * (61.2 / (BASE * np.exp(level[BUDGETS] / 100)).sum() - 1), rel=1e-3
    )


def test_whoever_learns_may_act_in_it_with_moves():
    episodes = Episodes(budget.environment, horizon=2)

    @jax.jit
    @jax.vmap
    def played(key):
        observation, state = episodes.reset(key, ())
        moves = jnp.zeros(20, int)
        first = episodes.step(key, state, moves, ())
        return observation.mask, first[2], episodes.step(key, first[1], moves, ())[4]

    mask, reward, over = played(jax.random.split(KEY, 3))
    assert mask.shape == (3, 60) and mask.all() and reward.shape == (3, 3) and over.all()
    assert len(np.unique(reward)) == 9


def test_a_file_is_an_arm_of_a_comparison(tmp_path, run):
    path = tmp_path / "lean.toml"
    head = 'title = "Lean"\ndescription = "Less marketing."\nmodel = "budget"\n'
    path.write_text(f"{head}[target]\nmarketing = -10.0\n")
    done = run("compare", "budget", "--mechanisms", "hold", path, "--draws", "2", "--horizon", "2", "--quiet", "--json")
    assert done.code == 0 and '"lean"' in done.out
    path.write_text(f"{head}[target]\nmarkting = -10.0\n")
    refused = run("compare", "budget", "--mechanisms", "hold", path, "--draws", "2")
    assert refused.code == 2 and "no department 'markting'" in refused.err
