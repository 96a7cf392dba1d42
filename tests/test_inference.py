"""Posteriors: named dimensions, gaps, verdicts, SVI, recovery of known parameters."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import scipy.stats
import xarray as xr

import bayesalloc as ba
from bayesalloc.inference import pose, restore, sampling, summary
from bayesalloc.inference.draws import cautions
from bayesalloc.inference.posing import site_shapes
from bayesalloc.inference.predicting import predict
from tests.conftest import fully_optimised

KEY = jax.random.key(0)


def test_the_tree_has_named_dimensions_and_survives_a_file(posterior, tmp_path):
    group = posterior["posterior"]
    assert group["forest_health"].dims == ("chain", "draw", "year")
    assert group["contribution"].dims == ("chain", "draw", "year", "agent")
    assert group["growth_shock"].dims == ("chain", "draw", "year")
    assert group["tendency"].dims == ("chain", "draw", "agent")
    assert group["year"].values.tolist() == list(range(2001, 2013))
    assert posterior["posterior_predictive"]["erosion_observed"].dims[-1] == "year"
    path = tmp_path / "posterior.nc"
    posterior.to_netcdf(path, engine="h5netcdf")
    with xr.open_datatree(path, engine="h5netcdf") as again:
        assert set(again.children) == {
            "posterior", "sample_stats", "posterior_predictive", "prior", "prior_predictive", "observed_data",
            "log_likelihood", "log_prior", "constant_data",
        }  # fmt: skip
        np.testing.assert_array_equal(again["posterior"]["growth"], group["growth"])


def test_gaps_are_gaps(posterior, watershed, simulated_record):
    observed = posterior["observed_data"].to_dataset()
    missing = observed["year"].values[np.isnan(observed["forest_health_observed"].values)]
    assert missing.tolist() == [2004, 2005, 2008]
    problem = pose(watershed, simulated_record)
    assert any("note" in warning for warning in problem.warnings)
    assert restore(watershed, posterior).periods == problem.periods


def test_the_record_says_more_than_the_prior(posterior):
    inside = posterior["posterior"]["forest_health"].std(("chain", "draw"))
    assert float(inside.mean()) < 0.06
    table = summary(posterior)
    assert "growth" in table and "forest_health" not in table
    assert (table.sel(statistic="low")["growth"] < table.sel(statistic="high")["growth"]).all()


def test_verdict(posterior):
    verdict = ba.diagnose(posterior)
    assert verdict.rhat_max is not None and verdict.rhat_max < 1.2
    assert not verdict.usable and "effective samples" in verdict.why  # 300 draws cannot have 400 effective ones
    assert verdict.checks["erosion_observed"]["inside"] > 0.6
    json.dumps(verdict._asdict(), allow_nan=False)


def gaussian(y=None):
    mean = numpyro.sample("mean", dist.Normal(0.0, 10.0))
    with numpyro.plate("rows", 40 if y is None else len(y)):
        numpyro.sample("y", dist.Normal(mean, 2.0), obs=y)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    values = np.random.default_rng(0).normal(3.0, 2.0, 40)
    path = tmp_path_factory.mktemp("gaussian") / "y.csv"
    path.write_text("\n".join(["y", *(f"{value:.5f}" for value in values)]) + "\n")
    precision = 1 / 100 + 40 / 4
    return path, values.sum() / 4 / precision, precision**-0.5


@pytest.mark.parametrize("method", ["nuts", "svi"])
def test_conjugate_posterior(method, data):
    path, mean, sd = data
    tree = ba.fit(gaussian, path, KEY, method=method, warmup=300, draws=500)
    found = tree["posterior"]["mean"].values
    assert found.mean() == pytest.approx(mean, abs=5 * sd / np.sqrt(400))  # at least 400 effective draws of 2,000
    assert found.std() == pytest.approx(sd, rel=0.15)
    verdict = ba.diagnose(tree)
    assert verdict.usable, verdict.why
    assert (verdict.pareto_k is None) == (method == "nuts")


@pytest.mark.parametrize(
    ("posterior", "usable", "says"),
    [
        (scipy.stats.norm(0.0, 0.5).logpdf, True, "Pareto k of the guide is -"),
        (scipy.stats.t(1).logpdf, False, "Pareto k of the guide is .*above 0.7"),
        (scipy.stats.norm.logpdf, True, "Pareto k of the guide is 0.00"),
        (scipy.stats.uniform(0.0, 0.01).logpdf, False, "is unknown: it takes 30 draws with finite weights"),
    ],
)
def test_a_normal_guide_is_judged_by_the_tails_that_it_misses(posterior, usable, says):
    """Weights p/q of draws from q are bounded where the posterior's tails are lighter, and have none where heavier."""
    x = np.random.default_rng(0).normal(size=1000)
    with np.errstate(divide="ignore"):
        ratio = posterior(x) - scipy.stats.norm.logpdf(x)
    groups = {"posterior": {"x": x}, "sample_stats": {"log_ratio": ratio}}
    dims = ("chain", "draw")
    tree = xr.DataTree.from_dict({
        group: xr.Dataset({k: (dims, v[None]) for k, v in values.items()}) for group, values in groups.items()
    })  # fmt: skip
    tree.attrs["method"] = "svi"
    verdict = ba.diagnose(tree)
    assert verdict.usable == usable
    assert re.search(says, verdict.why)


def test_svi_with_a_handful_of_draws_is_not_usable(data):
    verdict = ba.diagnose(ba.fit(gaussian, data[0], KEY, method="svi", warmup=1, draws=10, chains=1))
    assert verdict.pareto_k is None and not verdict.usable


def test_a_bad_fit_is_called_so(data):
    tree = ba.fit(gaussian, data[0], KEY, warmup=2, draws=20)
    verdict = ba.diagnose(tree)
    assert not verdict.usable
    assert "R-hat" in verdict.why or "effective" in verdict.why


@pytest.mark.parametrize(("options", "says"), [({"chains": 0}, "chains is 0"), ({"draws": 0}, "draws is 0")])
def test_refusals(options, says, data):
    with pytest.raises(ba.InputError, match=says):
        ba.fit(gaussian, data[0], KEY, **options)


def test_a_plain_model_needs_its_columns(tmp_path):
    def needs(x, y=None):
        numpyro.sample("y", dist.Normal(x, 1.0), obs=y)

    path = tmp_path / "data.csv"
    path.write_text("y\n1.0\n")
    with pytest.raises(ba.InputError, match="column 'x'"):
        pose(needs, path)
    path.write_text("x,y\n1.0,\n")
    with pytest.raises(ba.InputError, match="line 2, column 'y'"):
        pose(needs, path)
    path.write_text("z\n1.0\n")
    with pytest.raises(ba.InputError, match="no column is a keyword"):
        pose(gaussian, path)


def improper(y):
    mean = numpyro.sample("mean", dist.ImproperUniform(dist.constraints.real, (), ()))
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)


@pytest.mark.parametrize("method", ["nuts", "svi"])
def test_an_improper_prior_is_fitted_without_groups_of_the_prior(method):
    y = np.random.default_rng(0).normal(3.0, 1.0, 20)
    tree = ba.fit(improper, {"y": y}, KEY, method=method, warmup=300, draws=300, chains=2)
    assert float(tree["posterior"]["mean"].mean()) == pytest.approx(y.mean(), abs=5 * 20**-0.5 / 10)  # 100 effective
    assert not {"prior", "prior_predictive"} & set(tree.children)
    assert "'mean' has an improper prior" in tree.attrs["warnings"]


def subsampling(y):
    mean = numpyro.sample("mean", dist.Normal())
    with numpyro.plate("rows", len(y), subsample_size=2) as chosen:
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=y[chosen])


def mixture(y):
    with numpyro.plate("rows", len(y)):
        kind = numpyro.sample("kind", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
        numpyro.sample("y", dist.Normal(kind, 1.0), obs=y)


def optimised(y):
    numpyro.sample("y", dist.Normal(numpyro.param("mean", 0.0), numpyro.sample("sd", dist.HalfNormal())), obs=y)


def nowhere(y):
    mean = numpyro.sample("mean", dist.Normal())
    numpyro.sample("y", dist.Uniform(10.0 + 0.0 * mean, 11.0), obs=y)


@pytest.mark.filterwarnings("ignore:Out-of-support")
@pytest.mark.parametrize(
    ("model", "method", "says"),
    [
        (subsampling, "nuts", "the plate 'rows' takes 2 of 9 rows at a time, and nuts weighs every row"),
        (subsampling, "svi", "the plate 'rows' takes 2 of 9 rows at a time, and the Pareto k"),
        (mixture, "nuts", "site 'kind' is discrete and not observed, which nuts cannot sample: sum it out"),
        (mixture, "svi", "site 'kind' is discrete and not observed, which svi cannot sample: sum it out"),
        (optimised, "nuts", "'mean' is a numpyro.param.*give it a prior"),
        (nowhere, "nuts", "no starting point was found"),
    ],
)
def test_what_cannot_be_sampled_is_refused_by_name(model, method, says):
    with pytest.raises(ba.InputError, match=says):
        ba.fit(model, {"y": np.zeros(9)}, KEY, method=method, warmup=10, draws=10, chains=1)


def test_a_record_that_taught_nothing_is_not_usable(watershed, tmp_path, monkeypatch):
    """The posterior is the prior where the likelihood is the same at every draw."""
    path = tmp_path / "record.csv"
    path.write_text("\n".join(["year,forest_health,erosion", *(f"{2001 + k},," for k in range(3))]) + "\n")

    def prior(problem, *_, **__):
        latent = [name for name, (_, observed) in site_shapes(problem).items() if not observed]
        drawn = predict(problem, {}, KEY, 20, latent, densities=False).sites
        return {name: values[None] for name, values in drawn.items()}, {"diverging": np.zeros((1, 20), bool)}

    with monkeypatch.context() as patched:
        patched.setattr(sampling, "_nuts", prior)  # where nothing is known, this is what it samples
        empty = ba.fit(watershed, path, KEY, mechanism="cost_sharing", draws=20, chains=1)

    def apart(y):
        numpyro.sample("mean", dist.Normal())
        numpyro.sample("y", dist.Normal(), obs=y)

    aside = ba.fit(apart, {"y": np.zeros(9)}, KEY, warmup=500, draws=500, chains=4)
    for tree in (empty, aside):
        verdict = ba.diagnose(tree)
        assert not verdict.usable and "the record taught nothing: the posterior is the prior" in verdict.why
    assert verdict.rhat_max < 1.01 and "effective" not in verdict.why  # nothing else is wrong


def test_predictive_checks_are_of_outcomes_and_fail_in_words():
    """Doses are not modelled; scores spread four times as far as the model has it."""
    rng = np.random.default_rng(0)
    dose = rng.normal(5.0, 1.0, 50)

    def model(dose, score=None):
        effect = numpyro.sample("effect", dist.Normal())
        with numpyro.plate("row", len(dose)):
            given = numpyro.sample("dose", dist.Normal(0.0, 1.0), obs=dose)
            numpyro.sample("score", dist.Normal(effect * given, 1.0), obs=score)

    tree = ba.fit(model, {"dose": dose, "score": dose + rng.normal(0.0, 4.0, 50)}, KEY, warmup=500, draws=500)
    verdict = ba.diagnose(tree)
    assert list(verdict.checks) == ["score"]
    assert verdict.doubts == "replicated data do not reproduce the spread of score"
    assert verdict.usable and verdict.why.endswith(verdict.doubts)
    assert any(verdict.doubts in caution for caution in cautions(tree))


def test_draws_that_are_not_finite_are_not_usable(posterior):
    broken = posterior.copy()
    sites = posterior["posterior"].to_dataset()
    broken["posterior"] = sites.assign(growth=sites["growth"].where(sites["draw"] != 3))
    verdict = ba.diagnose(broken)
    assert not verdict.usable and "draws of 'growth' are not finite numbers" in verdict.why


def test_intervals_cover_known_truths(tmp_path):
    """Sixteen simulated records (two hundred: benchmarks/recovery.py), pooled over parameters and effects.

    One record's share of covered truths has a standard deviation of at most 0.31 (all or nothing at 0.89); over 16
    records the pooled share then has a standard error of at most 0.078: two of them.
    """
    out = tmp_path / "recovery.json"
    script = Path(__file__).resolve().parents[1] / "benchmarks" / "recovery.py"
    sizes = ["--records", "16", "--chains", "2", "--warmup", "200", "--draws", "150", "--out", str(out)]
    with fully_optimised():
        subprocess.run([sys.executable, str(script), *sizes], check=True, capture_output=True)
    result = json.loads(out.read_text())
    covered = [row["covered"] for row in result["coverage"].values()]
    assert result["records"] == 16
    assert np.mean(covered) == pytest.approx(0.89, abs=0.156)
    assert min(covered) > 0.5
