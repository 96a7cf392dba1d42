"""What a plain model's keywords are given: CSVs, mappings, data frames, keywords; and what a missing value means."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
from numpyro import handlers
from numpyro.infer.reparam import LocScaleReparam

import bayesalloc as ba
from bayesalloc.inference import pose, restore
from bayesalloc.inference.given import stated

KEY, SHORT = jax.random.key(0), {"warmup": 100, "draws": 100, "chains": 2}
Y = np.random.default_rng(0).normal(2.0, 1.0, 20)
HOLES = np.where(np.arange(20) % 7 == 3, np.nan, Y)


def regression(X, y=None, degree=1, link="identity"):
    slope = numpyro.sample("slope", dist.Normal().expand([X.shape[1], degree]).to_event(2))
    numpyro.sample("y", dist.Normal((X @ slope).sum(-1), 1.0), obs=y)


def schools(school, y=None):
    with numpyro.plate("school", int(school.max()) + 1):
        level = numpyro.sample("level", dist.Normal(0.0, 5.0))
    with numpyro.plate("pupil", len(school)):
        numpyro.sample("y", dist.Normal(level[school], 1.0), obs=y)


def test_a_mapping_keeps_design_matrices_and_plain_values():
    X = np.random.default_rng(1).normal(size=(20, 2))
    data = pose(regression, {"X": X, "y": jnp.asarray(Y), "degree": np.int64(2)}, data={"link": "log"}).data
    assert data["X"].shape == (20, 2) and data["X"].dtype == np.float32
    assert isinstance(data["y"], jax.Array)
    assert type(data["degree"]) is int and data["degree"] == 2 and data["link"] == "log"


FRAME = pd.DataFrame({"school": ["north", "south", "north", "east"], "y": [1.0, 2.0, 3.0, 4.0], "note": "x"})


def test_a_data_frame_is_read_like_its_csv(tmp_path):
    FRAME.to_csv(tmp_path / "r.csv", index=False)
    found, same = pose(schools, FRAME), pose(schools, tmp_path / "r.csv")
    np.testing.assert_array_equal(found.data["school"], same.data["school"])
    np.testing.assert_array_equal(found.data["y"], same.data["y"])
    assert found.categories == same.categories == {"school": ["north", "south", "east"]}
    assert any("note" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    "around",
    [
        lambda model: handlers.reparam(model, config={"level": LocScaleReparam(0.0)}),
        lambda model: handlers.mask(handlers.scope(model, prefix="in"), mask=True),
        lambda model: ba.do(handlers.condition(model, {}), {"level": 0.0}),
    ],
)
def test_a_model_under_handlers_has_its_keywords(around):
    """Else it is handed every column, and after a fit none."""
    found = pose(around(schools), FRAME)
    assert set(found.data) == {"school", "y"} and any("note" in warning for warning in found.warnings)


def test_an_environment_reads_mappings_and_frames(watershed):
    columns = {"year": [2001, 2002], "forest_health": [0.5, np.nan], "erosion": [0.6, 0.5]}
    found = [pose(watershed, record, mechanism="cost_sharing") for record in (columns, pd.DataFrame(columns))]
    for problem in found:
        np.testing.assert_allclose(problem.data["forest_health"], np.float32([0.5, np.nan]))
    with pytest.raises(ba.InputError, match="not columns of one length: erosion 2, year 1"):
        pose(watershed, {"year": [2001], "erosion": [0.6, 0.5]})


def test_what_was_fitted_is_restored_from_the_tree():
    tree = ba.fit(schools, FRAME, KEY, **SHORT)
    assert tree["posterior"]["level"].dims == ("chain", "draw", "school")
    assert tree["posterior"]["school"].values.tolist() == ["north", "south", "east"]
    problem = restore(schools, tree)
    np.testing.assert_array_equal(problem.data["school"], [0, 1, 0, 2])
    np.testing.assert_array_equal(problem.data["y"], [1, 2, 3, 4])
    other = restore(
        schools, tree, pd.DataFrame({"school": ["east", "north", "south"]})
    )  # the codes stay what they were
    np.testing.assert_array_equal(other.data["school"], [2, 0, 1])
    with pytest.raises(ba.InputError, match="'school' has 'west'"):
        restore(schools, tree, pd.DataFrame({"school": ["west", "north", "south"]}))


def test_keywords_that_are_no_columns_are_carried(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("sigma,y\n3,1.0\n3,2.0\n")

    def eight(J, sigma, y=None, scale=(1.0,)):
        with numpyro.plate("J", J):
            mean = numpyro.sample("mean", dist.Normal(0.0, scale[0]))
            numpyro.sample("y", dist.Normal(mean, sigma), obs=y)

    tree = ba.fit(eight, path, KEY, data=stated(["J=2", "scale=[5, 1]"]), **SHORT)
    restored = restore(eight, tree).data
    assert restored["J"] == 2 and restored["scale"].tolist() == [5, 1] and restored["sigma"].tolist() == [3, 3]
    with pytest.raises(ba.InputError, match="column 'y' is given as a keyword too"):
        pose(eight, path, data={"J": 2, "y": Y})


@pytest.mark.parametrize("text", ["J", "=2", "J=", "J=1 J=2"])
def test_keywords_of_another_form_are_refused(text):
    with pytest.raises(ba.InputError, match="KEYWORD=VALUE|twice"):
        stated(text.split())


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"y": Y, "z": 1}, "no keyword 'z'; its keywords are X, degree, link, y"),
        ({"y": Y}, "needs a column 'X'; there are y"),
        ({"X": np.ones((20, 2)), "y": {"a": 1}}, "'y' is a dict; it must be an array, a number or text"),
        ({"X": np.ones((20, 2)), "y": np.full(20, 1e39)}, "'y': 1e.39 is beyond single precision"),
        ({"X": np.ones((20, 2)), "y": np.full(20, 2**31)}, "'y': 2147483648 is beyond 32-bit"),
        (pd.DataFrame({"X": pd.to_datetime(["2001-01-01"])}), "column 'X': has type datetime64"),
        (pd.DataFrame({"X": ["a", None]}), "row 1, column 'X': is missing: a label is missing"),
    ],
)
def test_refusals(record, says):
    with pytest.raises(ba.InputError, match=says):
        pose(regression, record)


def masked(y):
    mean = numpyro.sample("mean", dist.Normal(0.0, 5.0))
    there = ~jnp.isnan(y)
    with numpyro.plate("row", len(y)), handlers.mask(mask=there):
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=jnp.where(there, y, 0.0))


def by_obs_mask(y):
    mean = numpyro.sample("mean", dist.Normal(0.0, 5.0))
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=y, obs_mask=~np.isnan(y))


def imputing(y):
    mean = numpyro.sample("mean", dist.Normal(0.0, 5.0))
    gaps = np.flatnonzero(np.isnan(y))
    with numpyro.plate("gap", len(gaps)):  # there are some: an empty plate is an error
        filling = numpyro.sample("y_missing", dist.Normal(mean, 1.0).mask(mask=False))
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=jnp.asarray(y).at[gaps].set(filling))


@pytest.mark.parametrize(("model", "site"), [(masked, "y"), (by_obs_mask, "y_observed"), (imputing, "y")])
def test_a_missing_value_means_what_the_model_says(model, site):
    """The posterior of the mean is that of the recorded values alone, and only they have a likelihood."""
    tree = ba.fit(model, {"y": HOLES}, KEY, warmup=300, draws=300, chains=2)
    there = HOLES[~np.isnan(HOLES)]
    precision = 1 / 25 + len(there)
    assert float(tree["posterior"]["mean"].mean()) == pytest.approx(there.sum() / precision, abs=0.1)
    assert float(tree["posterior"]["mean"].std()) == pytest.approx(precision**-0.5, rel=0.25)
    np.testing.assert_allclose(tree["observed_data"][site], np.float32(HOLES))
    assert tree["log_likelihood"][site].shape == (2, 300, len(there))
    assert np.isfinite(tree["log_likelihood"][site]).all()
    assert tree["posterior_predictive"][site].shape == (2, 300, 20)
    assert any("missing in 3 of 20" in warning for warning in pose(model, {"y": HOLES}).warnings)


def unaware(y):
    numpyro.sample("y", dist.Normal(numpyro.sample("mean", dist.Normal()), 1.0), obs=y)


def comparing(y):
    """NaN is not above zero, so that a missing value silently counts as a low one."""
    numpyro.sample("high", dist.Bernoulli(numpyro.sample("rate", dist.Beta(1.0, 1.0))), obs=(y > 0).astype(int))


def without_gradient(y):
    mean = numpyro.sample("mean", dist.Normal())
    numpyro.factor("y", jnp.where(jnp.isnan(y), 0.0, dist.Normal(mean, 1.0).log_prob(y)).sum())


@pytest.mark.parametrize("model", [unaware, comparing, without_gradient])
@pytest.mark.parametrize("form", ["mapping", "frame", "csv"])
def test_a_missing_value_without_a_meaning_is_refused(model, form, tmp_path):
    record = {"y": HOLES}
    if form != "mapping":
        record = pd.DataFrame(record)
    if form == "csv":
        record.to_csv(tmp_path / "r.csv", index_label="row")
        record = tmp_path / "r.csv"
    place = {"mapping": r"'y'\[3\] is NaN", "frame": "row 3, column 'y'", "csv": "line 5, column 'y': is empty"}[form]
    with pytest.raises(ba.InputError, match=f"{place}.*, and the model gives a missing 'y' no meaning; mask it"):
        pose(model, record)
