"""Posteriors: named dimensions, gaps, verdicts, SVI, recovery of known parameters."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr

import bayesalloc as ba
from bayesalloc.inference import pose, restore, summary

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
    assert restore(watershed, posterior).years == problem.years


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


def test_intervals_cover_known_truths(tmp_path):
    """Twenty simulated records (two hundred: benchmarks/recovery.py), pooled over parameters and effects.

    One record's share of covered truths has a standard deviation of at most 0.31 (all or nothing at 0.89); over 20
    records the pooled share then has a standard error of at most 0.07: two of them.
    """
    out = tmp_path / "recovery.json"
    script = Path(__file__).resolve().parents[1] / "benchmarks" / "recovery.py"
    sizes = ["--records", "20", "--chains", "2", "--warmup", "400", "--draws", "400", "--out", str(out)]
    subprocess.run([sys.executable, str(script), *sizes], check=True, capture_output=True)
    result = json.loads(out.read_text())
    covered = [row["covered"] for row in result["coverage"].values()]
    assert result["records"] == 20
    assert np.mean(covered) == pytest.approx(0.89, abs=0.14)
    assert min(covered) > 0.5
