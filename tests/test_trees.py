"""A fit's tree as ArviZ reads it, and posteriors from elsewhere."""

import json

import arviz as az
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.contrib.control_flow import scan
from numpyro.handlers import scope
from numpyro.infer import MCMC, NUTS

import bayesalloc as ba
from bayesalloc.inference import restore, sampling
from bayesalloc.inference.draws import cautions
from bayesalloc.inference.names import escaped, unescaped
from bayesalloc.report import fit as fits

KEY, SHORT = jax.random.key(0), {"warmup": 100, "draws": 100, "chains": 2}
RNG = np.random.default_rng(1)
DOSE = RNG.normal(size=30)
DATA = {"dose": DOSE, "y": 1.5 * DOSE + 0.3 * RNG.normal(size=30)}


def line(dose, y=None):
    slope = numpyro.sample("slope", dist.Normal(0.0, 5.0))
    noise = numpyro.sample("noise", dist.HalfNormal(1.0))
    with numpyro.plate("row", len(dose)):
        given = numpyro.sample("given", dist.Normal(0.0, 1.0), obs=dose)
        numpyro.sample("y", dist.Normal(slope * given, noise), obs=y)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    made = ba.fit(line, DATA, KEY, warmup=300, draws=300, chains=2)
    path = tmp_path_factory.mktemp("tree") / "posterior.nc"
    made.to_netcdf(path, engine="h5netcdf")
    with xr.open_datatree(path, engine="h5netcdf") as again:
        return again.load()


@pytest.fixture(scope="module")
def sampler():
    sampler = MCMC(
        NUTS(line), num_warmup=300, num_samples=300, num_chains=2, chain_method="vectorized", progress_bar=False
    )
    sampler.run(KEY, **jax.tree.map(jnp.asarray, DATA), extra_fields=("energy",))
    return sampler


def test_groups_dims_and_draws(tree):
    assert {name: list(group.data_vars) for name, group in tree.children.items() if name != "sample_stats"} == {
        "posterior": ["noise", "slope"], "prior": ["noise", "slope"], "log_prior": ["noise", "slope"],
        "posterior_predictive": ["y"], "prior_predictive": ["y"], "log_likelihood": ["y"], "observed_data": ["y"],
        "constant_data": ["given", "dose"],
    }  # fmt: skip
    for group in ("posterior_predictive", "log_likelihood"):
        assert tree[group]["y"].dims == ("chain", "draw", "row")
        assert tree[group]["draw"].equals(tree["posterior"]["draw"])
    assert tree["constant_data"]["dose"].dims == ("row",)
    stats = tree["sample_stats"].to_dataset()
    assert set(stats) == {
        "diverging", "energy", "lp", "n_steps", "tree_depth", "acceptance_rate", "step_size",
    }  # fmt: skip
    assert (2 ** (stats["tree_depth"] - 1) <= stats["n_steps"]).all()


def test_densities_and_energy_mean_what_arviz_says(tree):
    """`lp` is the joint density where NUTS moves (log scale of `noise`); energy adds the kinetic part to its minus."""
    posterior, given = tree["posterior"].to_dataset(), np.float32(DATA["dose"])
    expected = dist.Normal(posterior["slope"].values[..., None] * given, posterior["noise"].values[..., None])
    np.testing.assert_allclose(
        tree["log_likelihood"]["y"], expected.log_prob(np.float32(DATA["y"])), rtol=1e-3, atol=1e-5
    )
    np.testing.assert_allclose(tree["log_prior"]["slope"], dist.Normal(0.0, 5.0).log_prob(posterior["slope"].values))
    treatment = dist.Normal().log_prob(given).sum()
    joint = (
        tree["log_likelihood"]["y"].sum("row") + tree["log_prior"].to_dataset().to_array().sum("variable") + treatment
    )
    np.testing.assert_allclose(tree["sample_stats"]["lp"], joint + np.log(posterior["noise"]), rtol=1e-3)
    assert (tree["sample_stats"]["energy"] + tree["sample_stats"]["lp"] > 0).all()


def test_bfmi_is_that_of_numpyro_by_arviz(tree, sampler):
    """The same sampler, once as ours and once as NumPyro's; of 300 draws a chain, BFMI has a standard error of 0.1."""
    theirs, ours = (az.bfmi(each)["energy"].mean() for each in (az.from_numpyro(sampler), tree))
    assert float(ours) == pytest.approx(float(theirs), abs=0.3)
    energy = tree["sample_stats"]["energy"]
    direct = (energy.diff("draw") ** 2).mean("draw") / energy.var("draw")
    np.testing.assert_allclose(az.bfmi(tree)["energy"], direct, rtol=0.05)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "use",
    [
        az.loo, lambda tree: az.compare({"a": tree, "b": tree}), az.plot_loo_pit, az.psense_summary, az.bfmi,
        az.plot_energy, az.summary, az.plot_forest, az.plot_ppc_dist, az.plot_prior_posterior,
    ],
    ids=lambda use: use.__name__,
)  # fmt: skip
def test_arviz_works_on_it(tree, use):
    plt.switch_backend("Agg")
    assert use(tree) is not None
    plt.close("all")


def test_a_posterior_from_numpyro_is_used_with_its_data(sampler):
    foreign = az.from_numpyro(sampler)
    assert restore(line, foreign, DATA).data.keys() == {"dose", "y"}
    with pytest.raises(ba.InputError, match="needs a column 'dose'"):
        restore(line, foreign)
    verdict = ba.diagnose(foreign)
    assert verdict.rhat_max < 1.1 and verdict.divergences == 0 and "log_likelihood" not in foreign.children
    assert (not verdict.usable) == bool(cautions(foreign))
    bare = xr.DataTree.from_dict({"posterior": foreign["posterior"].to_dataset()})
    assert ba.diagnose(bare).divergences is None
    assert restore(line, bare, DATA).data.keys() == {"dose", "y"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: p.drop_vars("slope"), "has no site 'slope'"),
        (
            lambda p: p.assign(slope=p["slope"].expand_dims(k=2, axis=2)),
            r"'slope' has shape \(2,\); the model's has \(\)",
        ),
        (lambda p: p.assign(slope=p["slope"].where(p["draw"] > 0)), "2 of 600 draws of 'slope' are not numbers"),
    ],
)
def test_a_posterior_that_is_not_the_models_is_refused(tree, change, says):
    other = tree.copy()
    other["posterior"] = change(tree["posterior"].to_dataset())
    with pytest.raises(ba.InputError, match=says):
        ba.compare(line, {"low": {"given": 0.0}, "high": {"given": 1.0}}, KEY, posterior=other)


def test_observed_data_of_another_meaning_are_not_taken_for_keywords():
    def logged(y):
        numpyro.sample("y", dist.Normal(numpyro.sample("mean", dist.Normal()), 1.0), obs=jnp.log(y))

    y = np.exp(DATA["y"])
    own = ba.fit(logged, {"y": y}, KEY, **SHORT)
    np.testing.assert_allclose(restore(logged, own).data["y"], np.float32(y))
    foreign = xr.DataTree.from_dict({name: own[name].to_dataset() for name in ("posterior", "observed_data")})
    with pytest.raises(ba.InputError, match="observed 'y' is not the keyword 'y'"):
        restore(logged, foreign)


def test_large_groups_are_thinned_and_that_is_said(monkeypatch):
    monkeypatch.setattr(sampling, "LARGE", 4 * 32 * 2 * 100 // 5)  # a fifth of 2 chains x 100 draws of 32 numbers
    tree = ba.fit(line, DATA, KEY, **SHORT)
    assert tree["posterior"].sizes["draw"] == 100
    for group in ("posterior_predictive", "log_likelihood", "log_prior"):
        assert tree[group]["draw"].values.tolist() == list(range(0, 100, 5))
    assert any("every 5th draw" in warning for warning in json.loads(tree.attrs["warnings"]))


def level(y):
    spread = numpyro.sample("spread", dist.HalfNormal(1.0))

    def step(state, seen):
        state = state + spread * numpyro.sample("noise", dist.Normal())
        numpyro.sample("y", dist.Normal(state, 0.5), obs=seen)
        return state, state

    scan(step, 0.0, y)


def in_the_north(y):
    with scope(prefix="north"):
        level(y)


def test_names_with_a_slash_inside_a_scan_too():
    """A scope changes names and nothing else; NumPyro's own samplers lose the latent sites of a scan inside one."""
    short = {"warmup": 50, "draws": 20, "chains": 1}
    plain, scoped = (ba.fit(model, {"y": DATA["y"]}, KEY, **short) for model in (level, in_the_north))
    for name in ("spread", "noise"):
        np.testing.assert_array_equal(scoped["posterior"][escaped(f"north/{name}")], plain["posterior"][name])
    assert scoped["posterior"]["north%2Fnoise"].dims == ("chain", "draw", "period")
    np.testing.assert_allclose(scoped["log_likelihood"]["north%2Fy"], plain["log_likelihood"]["y"])
    verdict = ba.diagnose(scoped)
    assert list(verdict.checks) == ["north/y"]
    shown = fits.page(scoped, 0, verdict=verdict)
    assert "north/y" in shown and "%2F" not in shown
    assert "north/spread" in fits.as_json(scoped, verdict, {})["summary"]
    assert restore(in_the_north, scoped).data.keys() == {"y"}


@pytest.mark.parametrize("name", ["a/b", "a%2Fb", "50%", "%25/", "draw", "plain"])
def test_escaped_names_are_reversible_and_have_no_slash(name):
    assert unescaped(escaped(name)) == name
    assert "/" not in escaped(name)


def test_a_posterior_from_elsewhere_may_hold_what_is_true_or_false(tree):
    other = xr.DataTree.from_dict(
        {"posterior": tree["posterior"].to_dataset().assign(steep=tree["posterior"]["slope"] > 1)}
    )
    assert ba.diagnose(other).rhat_max is not None
