import io
import json
import os
import re
from html.parser import HTMLParser

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from matplotlib.figure import Figure
from numpyro.infer import Predictive
from rich.console import Console

import bayesalloc as ba
from bayesalloc.effects import Arm
from bayesalloc.inference.diagnosing import Verdict
from bayesalloc.report import comparison as compared, counterfactual as past, figures, fit as fits, incentives
from bayesalloc.report.reading import MANY, measures
from bayesalloc.report.words import size_of, words

YEARS = list(range(2001, 2013))
MECHANISMS = ["cost_sharing", "performance_contract", "credit_trading"]


@pytest.fixture(scope="module")
def comparison(watershed):
    return ba.compare(watershed, None, jax.random.key(0), draws=20, horizon=4, futures=3)


@pytest.fixture(scope="module")
def plain():
    def model():
        x = numpyro.sample("x", dist.Normal())
        slope = numpyro.sample("slope", dist.Normal(2.0, 0.1))
        numpyro.sample("y", dist.Normal(slope * x, 1.0))

    arms = {"a <b>&": Arm(sites={"x": 0.0}), "$x$ [bold] $": Arm(sites={"x": 1.0})}
    return ba.compare(model, arms, jax.random.key(0), draws=20)


@pytest.fixture(scope="module")
def fitted(watershed):
    """A fit's tree whose posterior is the prior: a report does not care how probable its draws are."""
    model = ba.as_model(watershed, watershed.arms(["cost_sharing"]), len(YEARS))
    drawn = Predictive(model, num_samples=20)(jax.random.key(1), mechanism=np.zeros(len(YEARS), int))
    coords = {"year": YEARS, "agent": list(watershed.coords["agent"])}
    names = {len(labels): dim for dim, labels in coords.items()}
    sites = xr.Dataset(
        {n: (["chain", "draw", *(names[size] for size in v.shape[1:])], np.asarray(v)[None]) for n, v in drawn.items()},
        coords,
    ).drop_vars("mechanism")
    data = [name for name in sites.data_vars if str(name).endswith("_observed") and "agent" not in sites[name].dims]
    observed = sites[data].isel(chain=0, draw=0).copy(deep=True)
    observed["forest_health_observed"][3] = np.nan
    tree = xr.DataTree.from_dict(
        {"posterior": sites, "prior": sites, "posterior_predictive": sites[data], "observed_data": observed}
    )
    values = zip(YEARS, *(observed[f"{name}_observed"].values for name in ("forest_health", "erosion")), strict=True)
    rows = [f"{year},{'' if np.isnan(health) else health},{erosion},cost_sharing" for year, health, erosion in values]
    tree.attrs = {
        "model": "watershed", "method": "nuts", "mechanism": "", "arms": '["cost_sharing"]', "warnings": "[]",
        "record": "\n".join(["year,forest_health,erosion,mechanism", *rows]), "record_name": "record.csv",
    }  # fmt: skip
    return tree


@pytest.fixture(scope="module")
def counterfactual(watershed, fitted):
    return ba.counterfactual(watershed, fitted, "credit_trading", from_year=2005, draws=20)


@pytest.fixture(scope="module")
def long_fit():
    """A fit without years, with a site of more values than are listed; 12 observations, one of them far off."""
    rng = np.random.default_rng(0)
    sites = {"slope": (), "effects": (MANY + 1,)}

    def drawn(scale):
        arrays = {name: rng.normal(0.0, scale, (1, 50, *shape)) for name, shape in sites.items()}
        return xr.Dataset({n: (["chain", "draw", *(f"{n}_dim" for _ in v.shape[2:])], v) for n, v in arrays.items()})

    groups = {
        "posterior": drawn(0.1),
        "prior": drawn(1.0),
        "posterior_predictive": xr.Dataset({"y": (("chain", "draw", "row"), rng.normal(size=(1, 50, 12)))}),
        "observed_data": xr.Dataset({"y": (("row",), np.linspace(-1.0, 9.0, 12))}),
    }
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {"model": "line", "method": "svi", "record_name": "r.csv", "arms": "[]", "warnings": '["z is unused"]'}
    return tree, verdict(["y"], pareto_k=float("inf"), usable=False, why="Pareto k is inf")


def verdict(sites, **given):
    checks = {site: {"inside": 0.9, "p_mean": 0.1, "p_sd": 0.1} for site in sites}
    missing = dict.fromkeys(("rhat_max", "ess_bulk_min", "ess_tail_min", "divergences", "pareto_k"))
    return Verdict(**{**missing, **given, "checks": checks})


def printed(renderable):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def test_comparison_json_has_the_fields_of_the_contract_and_the_numbers_of_the_tree(comparison):
    found = compared.as_json(comparison, {"report": "r.html"}, 7)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    head = {key: found[key] for key in ("model", "kind", "basis", "draws", "horizon", "seed", "interval", "files")}
    assert head == {
        "model": "watershed", "kind": "interventional", "basis": "prior", "draws": 20, "horizon": 4, "seed": 7,
        "interval": {"kind": "eti", "prob": 0.89}, "files": {"report": "r.html"},
    }  # fmt: skip
    assert list(found["arms"]) == MECHANISMS
    assert set(found["arms"]["credit_trading"]["payoff.expert"]) == {"mean", "sd", "low", "high", "mcse"}
    assert len(found["effects"]) == 2 * len(found["arms"]["credit_trading"])
    effect = next(e for e in found["effects"] if (e["treatment"], e["outcome"]) == ("credit_trading", "forest_health"))
    of_tree = comparison["effects"]["forest_health"].sel(treatment="credit_trading")
    assert effect["control"] == "cost_sharing"
    for name in ("ate", "low", "high", "mcse", "relative", "prob_positive", "one_low", "one_high"):
        assert effect[name] == of_tree.sel(statistic=name).item()
    assert set(effect["variance"]) == {"parameter", "process", "monte_carlo"}
    # nobody pays from outside under cost sharing: a relative change has no number there
    outside = next(e for e in found["effects"] if e["outcome"] == "outside_money")
    assert outside["relative"] is None
    agent = found["agents"]["dam_owner"]["credit_trading"]
    assert agent["payoff"] == found["arms"]["credit_trading"]["payoff.dam_owner"]
    assert {"would_refuse", "deviation_gain"} <= set(agent)
    for name in ("prob_best", "expected_regret", "cvar"):
        assert set(found["decision"][name]["social_welfare"]) == set(MECHANISMS)
    assert sum(found["decision"]["prob_best"]["erosion"].values()) == pytest.approx(1.0)
    assert isinstance(found["decision"]["evpi"]["payoff.expert"], float)


def test_results_read_back_from_a_file_give_the_same_json(comparison, tmp_path):
    comparison.to_netcdf(tmp_path / "results.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "results.nc", engine="h5netcdf") as again:
        assert compared.as_json(again, {}, 0) == compared.as_json(comparison, {}, 0)


def test_terminal_tables_fit_and_show_the_numbers_of_the_tree(comparison):
    text = printed(compared.text(comparison))
    assert max(map(len, text.splitlines())) <= 100
    outcomes = [name for name, known in measures(comparison).items() if not known.dims]
    for name in [*MECHANISMS, *outcomes, "payoff.dam_owner"]:
        assert name in text
    table = text[text.index("Effects: credit_trading against cost_sharing") :]
    row = next(line for line in table.splitlines() if line.startswith("social_welfare"))
    shown = float(re.search(r"[+-]\d+(\.\d+)?", row).group())
    stats = comparison["effects"]["social_welfare"].sel(treatment="credit_trading")
    low, high, ate = (stats.sel(statistic=name).item() for name in ("low", "high", "ate"))
    # rounded to at least one digit of the interval's width, so off by at most half of the width's power of ten
    assert abs(shown - ate) <= 0.5 * 10 ** np.floor(np.log10(high - low))


def test_sentences_say_direction_size_and_doubt():
    def stats(low, mean, high):
        return {"ate": mean, "low": low, "high": high}

    assert size_of(stats(-0.394, -0.3405, -0.2833), "ate", None, "t", 0.89) == (
        -1, "0.34 t (89 % interval 0.28 to 0.39)",
    )  # fmt: skip
    assert size_of(stats(0.0, 0.0, 0.0), "ate", None, "t", 0.89) == (None, "")
    assert size_of(stats(-1.0, 1.0, 3.0), "ate", None, "", 0.0) == (0, " (-1.0 to 3.0)")


def test_who_would_refuse_and_not_comply_is_said(comparison):
    tree = comparison.copy()
    agents = tree["agents"].to_dataset().copy(deep=True)
    agents["would_refuse"][:] = 0.0
    agents["deviation_gain"][:] = -1.0
    agents["would_refuse"].loc[{"arm": "credit_trading", "agent": "expert"}] = 0.8
    agents["would_refuse"].loc[{"arm": "cost_sharing", "agent": "investor"}] = 0.2
    agents["deviation_gain"].loc[{"arm": "credit_trading", "agent": "regulator"}] = 5.0
    tree["agents"] = agents
    said = " ".join(compared.sentences(tree))
    assert "under credit_trading expert (80 %) probably" in said
    assert "under cost_sharing investor (20 %) perhaps" in said
    assert "under credit_trading for regulator (regulator most, 5.00 kEUR/yr)" in said
    figure = incentives.payoffs(tree)
    assert {text.get_text() for text in figure.axes[0].texts} == {"would refuse: 80 %", "would refuse: 20 %"}


@pytest.mark.parametrize(
    "draw", [figures.trajectories, compared.effects_plot, compared.uncertainty_split, incentives.payoffs]
)
def test_comparison_figures(comparison, draw):
    figure = draw(comparison)
    assert isinstance(figure, Figure)
    assert figure.axes


def test_figures_of_fits_and_counterfactuals(fitted, counterfactual, long_fit):
    assert len(past.counterfactual_plot(counterfactual).axes) == 3
    assert len(fits.predictive_check(fitted).axes) == 2
    assert len(fits.parameters(fitted).axes) == 1
    [axes] = fits.predictive_check(long_fit[0]).axes
    assert sum(len(line.get_xdata()) for line in axes.lines) == 12
    assert [label.get_text() for label in fits.parameters(long_fit[0]).axes[0].get_yticklabels()] == ["slope"]


class Reader(HTMLParser):
    """Tags, attributes and text of a page; refuses tags that are not closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.attributes, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in ("meta", "use"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        if tag not in ("meta", "use"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    assert not reader.open
    references = [value for _, name, value in reader.attributes if name in ("href", "src", "xlink:href", "data")]
    assert all(value.startswith("#") for value in references)
    assert not any(word in text for word in ("http:", "https:", "<script", "@import", "url(http"))
    images = [tag for tag in reader.attributes if tag[:2] == ("svg", "role")]
    labels = [value for tag, name, value in reader.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(images) == len(labels) > 0
    assert all(labels)
    return " ".join(" ".join(reader.text).split())


def test_comparison_page_needs_nothing_else_and_names_everything(comparison, tmp_path):
    path = compared.write(comparison, tmp_path / "report.html", 3)
    assert os.listdir(tmp_path) == ["report.html"]
    source = path.read_text(encoding="utf-8")
    assert len(source) < 1_500_000
    text = read(source)
    for name in [*MECHANISMS, *measures(comparison), *comparison["agents"]["agent"].values.tolist()]:
        assert words(name) in text
    for name in [*MECHANISMS, *measures(comparison)]:
        assert name in text
    for label in ("interventional", "based on the prior", "20 draws", "3 futures", "4 years", "Seed 3", "EVPI", "CVaR"):
        assert label in text
    assert "counterfactual" not in text
    for sentence in compared.sentences(comparison, words):
        assert sentence in text


def test_the_same_result_gives_the_same_page(comparison):
    assert compared.page(comparison, 0) == compared.page(comparison, 0)


def test_plain_models_and_strange_names(plain):
    found = compared.as_json(plain, {}, 0)
    json.dumps(found, allow_nan=False)
    assert found["agents"] == {}
    assert found["decision"]["evpi"] == {}
    assert list(found["arms"]) == ["a <b>&", "$x$ [bold] $"]
    assert "Effects: $x$ [bold] $ against a <b>&" in printed(compared.text(plain))
    text = read(compared.page(plain, 0))
    assert "Effects: $x$ [bold] $ against a <b>&" in text
    assert "would refuse" not in text


@pytest.mark.parametrize("usable", [True, False])
def test_fit(fitted, usable):
    sites = ["forest_health_observed", "erosion_observed"]
    numbers = {"rhat_max": 1.02, "ess_bulk_min": 400.0, "ess_tail_min": 300.0, "divergences": 3}
    found = verdict(sites, **numbers, usable=usable, why="so")
    shown = fits.as_json(fitted, found, {"posterior": "p.nc"})
    json.dumps(shown, allow_nan=False)
    expected = {"model", "method", "rhat_max", "ess_bulk_min", "ess_tail_min", "divergences", "usable", "why", "files"}
    assert expected <= set(shown)
    values = fitted["posterior"]["growth"].values
    assert shown["summary"]["growth"]["mean"] == pytest.approx(values.mean())
    assert shown["summary"]["growth"]["low"] == pytest.approx(np.quantile(values, 0.055))
    assert "tendency.dam_owner" in shown["summary"]
    assert not any("shock" in name or "decentered" in name for name in shown["summary"])
    for text in (printed(fits.text(fitted, found)), read(fits.page(fitted, 0, verdict=found))):
        assert ("can be used: so" if usable else "should not be used yet: so") in text
    assert "posterior: given the record" in read(fits.page(fitted, 0))


def test_long_sites_infinite_diagnostics_and_warnings_of_a_fit(long_fit):
    tree, unusable = long_fit
    found = fits.as_json(tree, unusable, {})
    assert found["pareto_k"] is None
    assert len(found["summary"]) == MANY + 2
    text = printed(fits.text(tree, unusable))
    assert f"effects ({MANY + 1} values)" in text
    assert "z is unused" in text
    assert "z is unused" in read(fits.page(tree, 0, verdict=unusable))


def test_counterfactual(counterfactual):
    found = past.as_json(counterfactual, {}, 1)
    json.dumps(found, allow_nan=False)
    assert (found["kind"], found["basis"], found["from_year"]) == ("counterfactual", "posterior", 2005)
    years = {row["year"]: row for row in found["outcomes"]["forest_health"]}
    assert years[2004]["effect"]["mean"] == 0.0
    last = years[max(years)]
    assert last["counterfactual"] - last["factual"] == pytest.approx(last["effect"]["mean"], abs=1e-6)
    assert found["overall"]["forest_health"]["mean"] == pytest.approx(last["effect"]["mean"], abs=1e-6)
    assert years[2004]["recorded"] is None
    assert years[2001]["recorded"] == counterfactual["record"]["forest_health_observed"].values[0]
    assert all(row["recorded"] is None for row in found["outcomes"]["social_welfare"])
    text = read(past.page(counterfactual, 0))
    assert "counterfactual: what would have happened" in text
    assert "interventional" not in text + json.dumps(found)
    assert "With credit trading from 2005 on, forest health in 2012 would have been" in text
    assert "credit_trading from 2005 on" in printed(past.text(counterfactual))


def test_a_page_that_fails_leaves_nothing_behind(comparison, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        compared.write(comparison, tmp_path / "report.html", 0)
    assert os.listdir(tmp_path) == []
