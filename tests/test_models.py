"""The shipped models: an independent reference, accounting identities, published claims, real data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

import bayesalloc as ba
from bayesalloc.claims.watershed import load_claims, once
from bayesalloc.environment import stack
from bayesalloc.models import cooperation, watershed as content
from bayesalloc.simulate import Scenario, trajectory
from tests.conftest import REAL_DATA, fully_optimised

KEY, YEARS = jax.random.key(0), 10


def plain_step(health, sentiment, mechanism, p, noise, first_erosion):
    """One year in plain Python, written from the formulas in the model's docstring and the mechanism's file."""
    m, market = mechanism.incentive, mechanism.market
    sentiment = market.persistence * sentiment + np.sqrt(1 - market.persistence**2) * noise["sentiment_shock"]
    ratio = np.exp(market.cycle * np.tanh(sentiment) + market.price_volatility * noise["price_shock"])
    above = m.modifier if m.modifier_above is None else m.modifier_above
    modifier = m.modifier + (above - m.modifier) / (1 + np.exp(-(health - m.threshold) / 0.02))
    modifier *= ratio**market.response
    effort = [
        min(max((0.6 + p["tendency"][i] + p["urgency"] * (1 - health)) * modifier + m.volatility * shock, 0.0), 1.0)
        for i, shock in enumerate(noise["effort_shock"])
    ]
    joint = sum(w * e for w, e in zip([0.15, 0.35, 0.10, 0.20, 0.20], effort, strict=True))
    change = p["growth"] * joint * health * (1 - health) - p["degradation"] * (1 - joint) ** 2 * health
    health = min(max(health + change + p["growth_noise"] * health * (1 - health) * noise["growth_shock"], 0.0), 1.0)
    erosion = p["erosion_reference"] * np.exp(-p["erosion_decay"] * health)
    costs = dict(zip(content.AGENTS, np.array([60, 80, 30, 50, 70]) * effort, strict=True))
    payment = dict.fromkeys(content.AGENTS, 0.0)
    held = int(health > mechanism.milestones.forest_health)
    held += int(1 - erosion / first_erosion > mechanism.milestones.erosion_reduction)
    sales = mechanism.credits.per_health * max(health - p["initial_health"], 0) * market.price * ratio
    for agent in content.AGENTS:
        if mechanism.cost_sharing:
            payment[agent] += costs[agent] - mechanism.cost_sharing[agent] * sum(costs.values())
        payment[agent] += held * mechanism.milestones.payment.get(agent, 0.0)
        payment[agent] += mechanism.verification.payment.get(agent, 0.0)
        payment[agent] += sales * mechanism.credits.shares.get(agent, 0.0)
    benefit = np.array([0, 120, 40, 150, 110]) * health
    benefit += np.array([150, 0, 0, 40, 0]) * (1 - erosion / p["erosion_reference"])
    payoff = benefit - np.array([costs[a] for a in content.AGENTS]) + np.array([payment[a] for a in content.AGENTS])
    return health, sentiment, erosion, effort, payoff, sales


@pytest.mark.parametrize("name", ["cost_sharing", "performance_contract", "credit_trading", "no_agreement"])
def test_the_watershed_equals_a_plain_python_version(watershed, name):
    rng = np.random.default_rng(0)
    noise = {site: rng.normal(size=YEARS) for site in ("growth_shock", "sentiment_shock", "price_shock")}
    noise["effort_shock"] = rng.normal(size=(YEARS, 5))
    params = ba.seed_by_name(watershed.prior, KEY)()
    arm = watershed.arms([name])[name]
    sites = {site: jnp.asarray(values, jnp.float32) for site, values in noise.items()}
    years = trajectory(watershed, ba.hold, arm, KEY, Scenario(YEARS, params=params, sites=sites))
    p = {field: np.asarray(value, float) for field, value in params._asdict().items()}
    health, sentiment = float(p["initial_health"]), 0.0
    first = float(p["erosion_reference"] * np.exp(-p["erosion_decay"] * health))
    for year in range(YEARS):
        now = {site: values[year] for site, values in noise.items()}
        health, sentiment, erosion, effort, payoff, sales = plain_step(
            health, sentiment, ba.load_mechanism(name).parameters, p, now, first
        )
        assert float(years.forest_health[year]) == pytest.approx(health, abs=2e-5)
        assert float(years.erosion[year]) == pytest.approx(erosion, abs=2e-5)
        np.testing.assert_allclose(years.contribution[year], effort, atol=2e-5)
        np.testing.assert_allclose(years.payoff[year], payoff, atol=2e-2)
        assert float(years.outside_money[year]) == pytest.approx(sales, abs=1e-2)


def test_payments_sum_to_the_outside_money_and_states_stay_in_range(watershed):
    arms = watershed.arms(["no_agreement", *content.MECHANISMS])
    years = ba.rollout(watershed, ba.hold, KEY, arms=stack(list(arms.values())), replicates=200, horizon=YEARS)
    np.testing.assert_allclose(years.payment.sum(-1), years.outside_money, atol=1e-3)
    assert float(jnp.abs(years.outside_money[:, :3]).max()) == 0.0  # only credit trading brings money from outside
    assert ((years.forest_health >= 0) & (years.forest_health <= 1)).all()
    assert ((years.contribution >= 0) & (years.contribution <= 1)).all()
    assert (years.erosion > 0).all()
    np.testing.assert_allclose(years.social_welfare, years.payoff.sum(-1), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("seed", range(20))
def test_published_claims_and_orderings(seed):
    result = once(load_claims(), seed)[0]
    broken = [row for kind in ("claims", "orderings") for row in result[kind] if not row["holds"]]
    assert not broken


@pytest.mark.parametrize(("loc", "scale", "nothing", "everything"), [(0.4, 0.3, 0.1, 0.2), (0.9, 0.2, 0.05, 0.0)])
def test_contributed_is_a_distribution(loc, scale, nothing, everything):
    law = cooperation.Contributed(loc, scale, nothing, everything)

    def density(x):
        return float(jnp.exp(law.log_prob(x)))

    inside = quad(density, 1e-6, 1 - 1e-6)[0]
    assert inside + density(0.0) + density(1.0) == pytest.approx(1.0, abs=1e-3)
    mean = quad(lambda x: x * density(x), 1e-6, 1 - 1e-6)[0] + density(1.0)
    assert float(law.mean) == pytest.approx(mean, abs=1e-3)
    draws = np.asarray(law.sample(KEY, (20_000,)))
    for end in (0.0, 1.0):
        share = density(end)
        assert (draws == end).mean() == pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / 20_000) + 1e-9)
    assert draws.mean() == pytest.approx(mean, abs=5 * draws.std() / np.sqrt(20_000))


def test_the_watershed_contributes_as_the_cooperation_model_does():
    assert content.contribution is cooperation.contribution
    assert content.tendencies is cooperation.tendencies


def test_cooperation_effects_under_the_prior_are_symmetric():
    tree = ba.compare(ba.load_model("cooperation"), None, KEY, draws=300, futures=4)
    effect = tree["effects"]["contribution"].sel(treatment="treatment")
    spread = np.sqrt(float(effect.sel(statistic="var_parameter")))
    assert abs(float(effect.sel(statistic="ate"))) < 5 * spread / np.sqrt(300) + 0.1


@pytest.mark.skipif(
    not (REAL_DATA / "public_goods_experiment.csv").is_file(),
    reason="needs the authors' data file in ../shared/data (see examples/public_goods_experiment.py)",
)
def test_the_experiment_on_real_people(tmp_path):
    from examples.public_goods_experiment import to_record

    record = tmp_path / "record.csv"
    contributions = to_record(REAL_DATA / "public_goods_experiment.csv", record)
    cooperation_model = ba.load_model("cooperation")
    with fully_optimised():
        posterior = ba.fit(cooperation_model, record, KEY, warmup=200, draws=150, chains=2)
    for incentive in ("hypothetical", "real"):
        pair = [f"no_punish_{incentive}", f"punish_{incentive}"]
        tree = ba.compare(cooperation_model, pair, KEY, posterior=posterior, draws=150)
        effect = tree["effects"]["contribution"].sel(treatment=pair[1])
        truth = contributions[pair[1]].mean() - contributions[pair[0]].mean()
        assert float(effect.sel(statistic="low")) < truth < float(effect.sel(statistic="high"))
