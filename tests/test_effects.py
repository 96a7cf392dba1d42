"""Effects: closed forms, three kinds of plain models, posteriors, counterfactuals, and the split of the variance."""

import json

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.contrib.control_flow import scan

import bayesalloc as ba
from bayesalloc import programs
from bayesalloc.effects import Arm
from bayesalloc.effects.contrasts import contrast
from bayesalloc.effects.summaries import courses, latest_means, mean_courses, past
from bayesalloc.records import Table

KEY = jax.random.key(0)
SMALL = {"draws": 4, "futures": 2, "horizon": 2}


def statistic(tree, outcome, treatment, name):
    """Of the outcome, or of its mean where it has elements."""
    means = tree["effect_means"] if "effect_means" in tree.children else {}
    effects = means if outcome in means else tree["effects"]
    return float(effects[outcome].sel(treatment=treatment, statistic=name))


def regression(treatment=None, age=None, y=None):
    """A regression with a treatment and a covariate."""
    base = numpyro.sample("base", dist.Normal(0.0, 1.0))
    slope = numpyro.sample("slope", dist.Normal(3.0, 0.5))
    treated = numpyro.sample("treatment", dist.Bernoulli(0.4), obs=treatment)
    age = 0.0 if age is None else age
    numpyro.sample("y", dist.Normal(base + slope * treated + 0.1 * age, 1.0), obs=y)


def hierarchical():
    """Schools in a plate, each with its own effect; the mediator responds and is not held fixed."""
    mean = numpyro.sample("mean", dist.Normal(2.0, 0.3))
    dose = numpyro.sample("dose", dist.LogNormal(0.0, 0.5))
    with numpyro.plate("school", 6):
        effect = numpyro.sample("effect", dist.Normal(mean, 1.0))
        attendance = numpyro.sample("attendance", dist.Normal(0.5 * dose, 0.1))
        score = numpyro.sample("score", dist.Normal(effect * attendance, 0.2))
    numpyro.deterministic("average", score.mean())


def series():
    """A time series with scan: the intervened site stands inside it."""
    persistence = numpyro.sample("persistence", dist.Beta(5.0, 5.0))

    def body(x, _):
        rain = numpyro.sample("rain", dist.Normal(0.0, 1.0))
        x = persistence * x + rain
        numpyro.sample("flow", dist.Normal(x, 0.1))
        return x, x

    _, xs = scan(body, 0.0, None, length=4)
    numpyro.deterministic("last", xs[-1])


def test_a_regression_recovers_its_closed_form():
    tree = ba.compare(regression, {"no": {"treatment": 0}, "yes": {"treatment": 1}}, KEY, draws=400)
    # the effect is `slope` in every draw: mean 3, sd 0.5; 5 standard errors of 400 draws
    assert statistic(tree, "y", "yes", "ate") == pytest.approx(3.0, abs=5 * 0.5 / 20)
    assert statistic(tree, "y", "yes", "var_parameter") == pytest.approx(0.25, rel=0.4)
    assert statistic(tree, "y", "yes", "var_process") == pytest.approx(0.0, abs=1e-9)
    assert list(tree["effects"].data_vars) == ["y"]


def test_a_hierarchical_model_lets_the_mediator_respond():
    tree = ba.compare(hierarchical, {"low": {"dose": 1.0}, "high": {"dose": 2.0}}, KEY, draws=400)
    # score = effect * attendance, attendance rises by 0.5, E effect = 2; sd over draws is at most 0.6
    assert statistic(tree, "average", "high", "ate") == pytest.approx(1.0, abs=5 * 0.6 / 20)
    assert statistic(tree, "attendance", "high", "ate") == pytest.approx(0.5, abs=1e-5)
    assert "effect" not in tree["effects"]


def test_a_series_is_reached_inside_the_scan():
    tree = ba.compare(series, {"dry": {"rain": 0.0}, "wet": {"rain": 1.0}}, KEY, draws=300)
    draws = np.random.default_rng(0).beta(5, 5, 100_000)
    expected = (1 + draws + draws**2 + draws**3).mean()
    assert statistic(tree, "last", "wet", "ate") == pytest.approx(expected, abs=5 * 0.55 / np.sqrt(300))
    assert {"flow", "last"} <= set(tree["effects"].data_vars)


def test_a_draw_does_not_depend_on_the_number_of_draws():
    arms = {"no": {"treatment": 0}, "yes": {"treatment": 1}}
    few, many = (ba.compare(regression, arms, KEY, draws=n, futures=3) for n in (5, 40))
    np.testing.assert_allclose(few["values"]["y"], many["values"]["y"][:5], rtol=1e-6)


def test_posterior_effects_of_a_plain_model(tmp_path):
    rng = np.random.default_rng(0)
    treatment = np.arange(200) % 2
    age = rng.uniform(0, 10, 200)
    y = 1.0 + 2.0 * treatment + 0.1 * age + rng.normal(size=200)
    path = tmp_path / "data.csv"
    rows = [f"{t},{a:.4f},{v:.4f}" for t, a, v in zip(treatment, age, y, strict=True)]
    path.write_text("\n".join(["treatment,age,y", *rows]) + "\n")
    tree = ba.fit(regression, path, KEY, warmup=200, draws=300, chains=2)
    slope = tree["posterior"]["slope"].values
    # conjugate: known noise 1; prior N(0,1), N(3,0.5); the posterior of (base, slope) is Gaussian
    design = np.stack([np.ones(200), treatment], 1)
    precision = np.diag([1.0, 4.0]) + design.T @ design
    mean = np.linalg.solve(precision, np.array([0.0, 12.0]) + design.T @ (y - 0.1 * age))
    sd = np.sqrt(np.linalg.inv(precision)[1, 1])
    assert slope.mean() == pytest.approx(mean[1], abs=5 * sd / np.sqrt(100))  # at least 100 effective of 600
    assert slope.std() == pytest.approx(sd, rel=0.25)
    arms = {"no": {"treatment": 0}, "yes": {"treatment": 1}}
    effects = ba.compare(regression, arms, KEY, posterior=tree, draws=300)
    assert effects.attrs["basis"] == "posterior"
    assert statistic(effects, "y", "yes", "ate") == pytest.approx(slope.mean(), abs=5 * sd / np.sqrt(100))
    with pytest.raises(ba.InputError, match="plain model"):
        ba.counterfactual(regression, tree, {"treatment": 1})


def test_an_environment_without_outcomes_is_refused(watershed):
    with pytest.raises(ba.InputError, match="watershed has no outcomes"):
        ba.compare(watershed._replace(outcomes={}, payoff=""), None, KEY, **SMALL)


@pytest.mark.parametrize(
    ("arms", "options", "says"),
    [
        ({"a": {"slope": 1.0}}, {}, "at least two"),
        (["a", "b"], {}, "sites and values of each arm"),
        ({"a": {"treatment": 0}, "b": {"treatment": 1}}, {"baseline": "c"}, "'c' is not among"),
        ({"a": {"treatment": 0}, "b": {"treatment": 1}}, {"draws": 1}, "draws is 1"),
        ({"a": {"treatment": 0}, "b": {"treatment": 1}}, {"interval": 1.0}, "interval is 1"),
        ({"a": {"treatment": 0}, "b": {"treatment": 2}}, {}, "'treatment' takes values"),
        ({"a": {"y": 0.0}, "b": {"y": 1.0}}, {}, "nothing responds"),
    ],
)
def test_refusals(arms, options, says):
    with pytest.raises(ba.InputError, match=says):
        ba.compare(regression, arms, KEY, **{"draws": 10, **options})


def test_variance_is_split_as_it_was_made():
    """Effects 1 + 0.5 z_draw + 2 z_future: parameter 0.25, process 4, Monte Carlo (0.25 + 4 / 8) / 4000."""
    rng = np.random.default_rng(0)
    effect = 1 + 0.5 * rng.normal(size=(4000, 1)) + 2 * rng.normal(size=(4000, 8))
    found = contrast(effect, np.zeros_like(effect), 0.89)
    monte_carlo = (0.25 + 4 / 8) / 4000
    # relative standard errors of variances: sqrt(2 / 4000) of (0.75 total between), sqrt(2 / 28000)
    assert found.var_parameter == pytest.approx(0.25, abs=5 * 0.75 * np.sqrt(2 / 4000))
    assert found.var_process == pytest.approx(4.0, rel=5 * np.sqrt(2 / 28_000))
    assert found.var_monte_carlo == pytest.approx(monte_carlo, rel=5 * np.sqrt(2 / 4000))
    assert found.ate == pytest.approx(1.0, abs=5 * np.sqrt(monte_carlo))
    assert found.mcse == pytest.approx(np.sqrt(monte_carlo), rel=0.1)
    normal_quantile = 1.598  # of 0.945
    assert found.one_high == pytest.approx(1 + normal_quantile * np.sqrt(4.25), abs=0.1)
    assert found.prob_positive == pytest.approx(0.977, abs=0.01)  # Phi(1 / 0.5): the chance in futures is gone


def test_relative_change_in_any_unit_and_none_of_what_adds_up_to_nothing(watershed):
    rng = np.random.default_rng(0)
    control = rng.uniform(1, 3, (50, 4))
    plain, tiny = (contrast(2 * unit * control, unit * control, 0.89).relative for unit in (1.0, 1e-15))
    assert plain == pytest.approx(1.0) and tiny == pytest.approx(1.0)
    assert np.isnan(contrast(control, np.zeros_like(control), 0.89).relative)
    # under cost sharing what some pay others get: the mean over agents is zero but for rounding
    tree = ba.compare(watershed, ["cost_sharing", "credit_trading"], KEY, draws=20, futures=2, horizon=5)
    assert np.isnan(tree["effect_means"]["payment"].sel(statistic="relative").item())
    assert abs(tree["effect_means"]["payment"].sel(statistic="ate").item()) > 1


def test_watershed_arms_by_name_path_and_site(watershed, tmp_path):
    shipped = ba.library.content("mechanisms") / "credit_trading.toml"
    mine = tmp_path / "mine.toml"
    mine.write_text(shipped.read_text())
    arms = ["cost_sharing", "credit_trading", str(mine)]
    tree = ba.compare(watershed, arms, KEY, draws=20, futures=2, horizon=5)
    by_name, by_path = (tree["arms"]["erosion"].sel(arm=name) for name in ("credit_trading", "mine"))
    np.testing.assert_array_equal(by_name, by_path)
    calm = {"usual": {"mechanism": "cost_sharing"}, "calm": Arm(None, {"growth_shock": 0.0, "effort_shock": 0.0})}
    tree = ba.compare(watershed, calm, KEY, draws=20, futures=2, horizon=5)
    assert statistic(tree, "forest_health", "calm", "ate") == pytest.approx(0.0, abs=0.03)
    futures = tree["values"]["forest_health"].std("future")
    np.testing.assert_allclose(futures.sel(arm="calm"), 0.0, atol=1e-6)  # no noise, no difference between futures
    assert float(futures.sel(arm="usual").min()) > 0


def test_agents_refuse_and_deviate(watershed):
    tree = ba.compare(watershed, None, KEY, draws=30, futures=2, horizon=8)
    agents = tree["agents"].to_dataset()
    assert agents["would_refuse"].shape == (3, 5)
    assert ((agents["would_refuse"] >= 0) & (agents["would_refuse"] <= 1)).all()
    # an agent that withholds effort saves its cost at once; the others' effort still carries the forest
    assert float(agents["deviation_gain"].sel(arm="credit_trading", agent="expert")) != 0.0
    solo = ba.compare(watershed, ["no_agreement", "cost_sharing"], KEY, draws=30, futures=2, horizon=8)
    same = solo["agents"].to_dataset().sel(arm="no_agreement")
    np.testing.assert_allclose(same["gain_over_refusal"], 0.0, atol=1e-3)
    np.testing.assert_allclose(same["deviation_gain"], 0.0, atol=1e-3)


def test_counterfactual_keeps_the_record_and_changes_the_rest(watershed, posterior):
    tree = ba.counterfactual(watershed, posterior, "performance_contract", from_year=2007, draws=50)
    health = tree["outcomes"]["forest_health"]
    samples = posterior["posterior"]["forest_health"].values.reshape(-1, 12)
    index = np.linspace(0, len(samples) - 1, 50).round().astype(int)
    # replaying the abducted noise under what happened gives back what happened, draw by draw
    np.testing.assert_allclose(health.sel(arm="factual"), samples[index], atol=2e-4)
    before = health.sel(year=slice(None, 2006))
    np.testing.assert_array_equal(before.sel(arm="factual"), before.sel(arm="counterfactual"))
    assert (tree["effects"]["forest_health"].sel(statistic="mean", year=slice(2007, None)) > 0).all()
    assert tree.attrs["kind"] == "counterfactual"


def test_counterfactual_on_a_site(watershed, posterior):
    tree = ba.counterfactual(watershed, posterior, {"growth_shock": -2.0}, from_year=2010, draws=20)
    effect = tree["effects"]["forest_health"].sel(statistic="mean")
    np.testing.assert_array_equal(effect.sel(year=slice(None, 2009)), 0.0)
    assert float(effect.sel(year=2012)) < 0
    with pytest.raises(ba.InputError, match="2001 to 2012"):
        ba.counterfactual(watershed, posterior, "cost_sharing", from_year=1990)
    with pytest.raises(ba.InterventionError, match="growth_shok"):
        ba.counterfactual(watershed, posterior, {"growth_shok": -2.0}, draws=20)


def test_posterior_effects_of_the_watershed(watershed, posterior, simulated_record):
    assert posterior.attrs["record"] == Table(simulated_record).text()
    tree = ba.compare(watershed, None, KEY, posterior=posterior, draws=40, futures=2)
    assert tree.attrs["basis"] == "posterior"
    assert statistic(tree, "forest_health", "performance_contract", "prob_positive") > 0.9
    with pytest.raises(ba.InputError, match="another model"):
        stranger = posterior.copy()
        stranger["posterior"] = stranger["posterior"].to_dataset().drop_vars("growth")
        ba.compare(watershed, None, KEY, posterior=stranger, draws=10)


def test_another_posterior_of_the_same_shape_compiles_nothing(watershed, posterior, compilations):
    """And gives what it gives where nothing is compiled yet."""
    other = posterior.copy(deep=True)
    other["posterior"]["growth"][:] *= 1.1

    def both(tree):
        compared = ba.compare(watershed, ["cost_sharing", "credit_trading"], KEY, posterior=tree, **SMALL)
        return compared["effects"], ba.counterfactual(watershed, tree, "credit_trading", draws=4)["effects"]

    before = both(posterior)
    with compilations() as found:
        after = both(other)
    assert not found
    assert not any(a.identical(b) for a, b in zip(before, after, strict=True))
    programs.forget()
    assert all(a.identical(b) for a, b in zip(both(other), after, strict=True))


def test_courses_and_a_past_are_those_of_the_draws():
    """Two arms, four draws, three years; a stock counts in the last year, a flow from the second year on."""
    values = np.arange(24.0, dtype=np.float32).reshape(4, 2, 3) ** 2
    years = {"arm": ["factual", "counterfactual"], "year": [1, 2, 3], "agent": ["a", "b"]}
    flow = np.stack([values, 2 * values], axis=-1)
    tree = xr.DataTree()
    dims = ("draw", "arm", "year")
    tree["outcomes"] = xr.Dataset({"stock": (dims, values), "flow": ((*dims, "agent"), flow)}, years)
    units = {"stock": {"unit": "1", "at": "horizon"}, "flow": {"unit": "1", "at": "periods"}}
    tree.attrs = {"interval": 0.5, "from_year": 2, "units": json.dumps(units)}
    course, sums, means = courses(tree), past(tree), mean_courses(tree)
    np.testing.assert_allclose(course["stock"].sel(statistic="mean"), values.mean(0))
    np.testing.assert_allclose(course["flow"].sel(statistic="high"), np.quantile(flow, 0.75, axis=0))
    np.testing.assert_allclose(means["flow"], flow.mean(0))
    assert float(sums["stock"].sel(statistic="mean")) == (values[:, 1, 2] - values[:, 0, 2]).mean()
    assert float(sums["stock"].sel(statistic="prob_positive")) == 1.0
    of_b = sums["flow"].sel(agent="b")
    np.testing.assert_allclose(of_b.sel(statistic="counterfactual"), flow[:, 1, 1:, 1].mean())
    np.testing.assert_allclose(
        of_b.sel(statistic="low"), np.quantile(2 * (values[:, 1] - values[:, 0])[:, 1:].mean(1), 0.25)
    )


def test_latest_means_of_a_run():
    np.testing.assert_allclose(latest_means(np.arange(20.0)), [0.0, *(np.arange(19) + 0.5)])
    np.testing.assert_allclose(latest_means(np.exp([1.0, 2.0]), logarithmic=True), np.exp([1.0, 2.0]))
