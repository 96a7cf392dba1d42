"""Experiments on the social resource allocation problem: the claims file, judging on known numbers, one tiny run."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import pytest
import scipy.stats
import xarray as xr

from bayesalloc.agents import training
from bayesalloc.allocators import ALLOCATORS, LEARNED, Problem, evaluate
from bayesalloc.allocators.instances import Setting
from bayesalloc.claims.judging import average, decide
from bayesalloc.claims.srap import over_sweep, report
from bayesalloc.claims.srap.checks import Claim, Ours, judge, judge_ours
from bayesalloc.claims.srap.experiments import (
    Cell,
    Effort,
    Experiment,
    Published,
    instances,
    load_experiments,
    run,
    trained,
)
from bayesalloc.errors import InputError
from bayesalloc.models.srap import market
from bayesalloc.report import claims as documents

PUBLISHED = load_experiments()
BY_ID = {experiment.id: experiment for experiment in PUBLISHED.experiments}
ALL = ("scale_free", "small_world", "random")

# Section 7.5 once more, by hand: agents, degrees, types, tasks, utilities, required, requester and provider stock,
# package sizes, largest request, networks, number of learned methods, whether the figure has the optimum.
TABLE = {
    "7.5.1": ([8], [2], [2], [(4,)], (4, 9, 16, 25), 2, (1,), [7, 9, 11, 13, 15], [20], 8, ALL, 2, True),
    "7.5.2": ([8], [2], [2, 4, 6, 8], [(4,)], (4, 9, 16, 25), 2, (1,), [11], [20], 8, ALL, 2, True),
    "7.5.3": ([8], [2], [2], [(1,), (2,), (3,), (4,)], (5, 5, 5, 5), 2, (1,), [11], [20], 8, ALL, 2, True),
    "7.5.4": ([10], [4], [2], [(1, 2, 4)], (4, 9, 16, 25), 2, (0, 1, 2), [7, 9, 11, 13, 15], [20], 8, ALL, 2, False),
    "7.5.5": ([10], [4], [2], [(2,)], (9, 16), 5, (3,), [11], [1, 2, 3, 4, 5], 8, ALL, 2, False),
    "7.5.6": ([8, 16, 24, 32, 40], [2, 4, 6, 8, 10], [2], [(2,)], (9, 16), 2, (1,), [5], [20], 4, ALL, 0, True),
    "7.5.7": ([10], [2, 4, 6, 8], [2], [(2,)], (9, 16), 2, (1,), [5], [20], 10, ALL[1:], 0, False),
}


def distinct(values):
    return list(dict.fromkeys(values))


@pytest.mark.parametrize("name", TABLE)
def test_settings_are_the_published_ones(name):
    experiment = BY_ID[name]
    settings = [experiment.at(i, experiment.networks[0]) for i in range(len(experiment.values))]
    assert all(len(setting.provider_stock) == 1 for setting in settings)
    found = (
        *(distinct(getattr(s, field) for s in settings) for field in ("agents", "degree")),
        distinct(s.used or s.types for s in settings), distinct(s.tasks for s in settings),
        settings[0].utilities, settings[0].required, settings[0].requester_stock,
        distinct(s.provider_stock[0] for s in settings), distinct(s.package_size for s in settings),
        experiment.max_quantity, tuple(experiment.networks), len(set(LEARNED) & set(experiment.methods)),
        experiment.optimum,
    )  # fmt: skip
    assert found == TABLE[name]
    assert settings[0].shuffled_utilities == (name == "7.5.4")
    assert experiment.per_item == (name != "7.5.5")
    for setting in settings:
        market(dataclasses.replace(setting, network="small_world"))  # refuses what cannot be
        assert setting.layout == "thesis" and setting.per_item == 1


def test_the_claims_are_complete_and_well_formed():
    assert list(BY_ID) == list(TABLE)
    for experiment in PUBLISHED.experiments:
        assert len(experiment.settings) == len(experiment.values)
        assert {network for claim in experiment.claims for network in claim.networks} == set(experiment.networks)
        names = [(claim.id, network) for claim in experiment.claims for network in claim.networks]
        assert len(set(names)) == len(names)
        for claim in experiment.claims:
            assert set(claim.methods) <= set(experiment.methods)
            assert set(claim.networks) <= set(experiment.networks)
            assert (claim.against is not None) == (claim.kind == "wider")
            assert not isinstance(claim.at, list) or set(claim.at) <= set(experiment.values)
            assert claim.kind != "peaks" or (isinstance(claim.at, list) and len(claim.at) == 1)
            assert claim.kind != "steady" or claim.by > 0
            assert claim.level == 0 or claim.kind == "above"
    assert {claim.kind for e in PUBLISHED.experiments for claim in e.claims} == set(CASES)
    for ours in PUBLISHED.ours:
        assert all(BY_ID[name].per_item and BY_ID[name].optimum for name in ours.experiments)


def made(**methods):
    """Two networks, three sweep values (1, 2, 3), 40 graphs: the given averages, and noise that all methods share."""
    noise = np.random.default_rng(0).normal(0, 5, (40, 1))
    own = np.random.default_rng(1).normal(0, 0.2, (len(methods), 3, 40, 1))
    values = np.array(list(methods.values()), float)[:, :, None, None] + noise + own
    there = np.stack([values, values * np.array([1, 1, 1.2])[:, None, None]])  # the second: more at the last value
    coords = {
        "network": ["random", "small_world"], "method": list(methods), "value": [1, 2, 3], "graph": np.arange(40),
        "episode": [0],
    }  # fmt: skip
    welfare = xr.DataArray(there, coords, list(coords))
    bound = xr.full_like(welfare.isel(method=0, drop=True), 100.0)
    return xr.Dataset({"welfare": welfare, "bound": bound, "proven": bound * 0 + 1})


DATA = made(high=[90, 90, 90], low=[80, 80, 80], same=[80, 80, 80], up=[50, 60, 70], down=[70, 60, 30], hill=[5, 9, 5])
CASES = {
    "above": [
        ("holds", {"method": "high", "than": "low"}),
        ("does not hold", {"method": "low", "than": "high"}),
        ("undecided", {"method": "low", "than": "same"}),
        ("does not hold", {"method": "up", "than": "down"}),  # at 1 it is below
        ("holds", {"method": "up", "than": "down", "at": [3]}),
        ("holds", {"method": "up", "than": "down", "at": "mean"}),
        ("does not hold", {"method": "low", "than": "high", "by": 0.05}),
        ("holds", {"method": "low", "than": "high", "by": 0.15}),
        ("holds", {"method": "high", "share": True, "level": 0.8}),
        ("does not hold", {"method": "low", "share": True, "level": 0.9}),
    ],
    "rises": [
        ("holds", {"method": "up"}),
        ("does not hold", {"method": "down"}),
        ("undecided", {"method": "low", "than": "same"}),
        ("does not hold", {"method": "up", "by": 0.6}),
        ("holds", {"method": "up", "at": [1, 2]}),
    ],
    "falls": [
        ("holds", {"method": "down"}),
        ("does not hold", {"method": "up"}),
        ("holds", {"method": "high", "than": "up"}),
        ("holds", {"method": "down", "by": 0.5}),
        ("does not hold", {"method": "down", "by": 0.7}),
    ],
    "steady": [
        ("holds", {"method": "high", "by": 0.1}),
        ("does not hold", {"method": "up", "by": 0.1}),
        ("does not hold", {"method": "down", "by": 0.1}),
    ],
    "peaks": [
        ("holds", {"method": "hill", "at": [2]}),
        ("does not hold", {"method": "hill", "at": [1]}),
        ("does not hold", {"method": "up", "at": [2]}),
    ],
    "wider": [
        ("does not hold", {"method": "high", "than": "down", "against": "small_world"}),
        ("holds", {"method": "high", "than": "down", "against": "random", "network": "small_world"}),
    ],
}


@pytest.mark.parametrize(("kind", "expected", "fields"), [(k, v, f) for k, cases in CASES.items() for v, f in cases])
def test_each_kind_of_claim_is_judged_right(kind, expected, fields):
    network = fields.get("network", "random")
    claim = Claim("id", "text", [network], kind, **{k: v for k, v in fields.items() if k != "network"})
    found = judge(DATA, claim, network, 0.89)
    assert found["verdict"] == expected
    assert len(found["averages"]) == 3 and found["margin"]["low"] <= found["margin"]["mean"]


def test_a_claim_about_what_was_not_measured_says_so():
    learned = Claim("id", "text", ["random"], "above", "cen-rl", than="high")
    assert judge(DATA, learned, "random", 0.89)["verdict"] == "needs learning"
    absent = Claim("id", "text", ["random"], "above", "absent")
    assert judge(DATA, absent, "random", 0.89)["verdict"] == "not measured"
    unknown = DATA.assign(bound=DATA["bound"] * np.nan)
    share = Claim("id", "text", ["random"], "above", "high", share=True, level=0.8)
    assert judge(unknown, share, "random", 0.89) == {
        "verdict": "not measured", "margin": None, "check": None, "averages": None,
    }  # fmt: skip


def test_decide():
    def margin(low, high):
        return {"mean": (low + high) / 2, "low": low, "high": high}

    assert decide({"a": margin(1, 2), "b": margin(0.1, 3)}) == "holds"
    assert decide({"a": margin(1, 2), "b": margin(-1, 3)}) == "undecided"
    assert decide({"a": margin(-1, 3), "b": margin(-2, -1)}) == "does not hold"
    assert decide({"a": margin(0, 0)}) == "does not hold"  # no graph differs
    assert decide({"a": margin(1, 2), "b": None}) == "not measured"


def test_average_is_a_paired_t_interval_of_what_was_measured_on_both():
    rng = np.random.default_rng(3)
    treated, control = rng.normal(1, 1, (20, 2)), rng.normal(0, 1, (20, 2))
    control[12:] = np.nan  # as the optimum: on the first graphs only
    control[:, 1] = np.nan  # and in the first episode only
    effect = (treated - control)[:12, 0]
    found = average(treated, control, 0.89)
    low, high = scipy.stats.ttest_1samp(effect, 0.0).confidence_interval(0.89)
    expected = {"mean": effect.mean(), "low": low, "high": high, "graphs": 12}
    assert found == pytest.approx(expected, rel=1e-6)
    assert average(treated[:1], control[:1], 0.89) is None


def test_the_optimum_over_a_sweep_is_taken_relative_to_the_last_method():
    """The optimum is known on one of two graphs, where it is 1 above the last method."""
    welfare = np.array([[[4.0, 6.0], [5.0, 7.0]], [[1.0, np.nan], [2.0, np.nan]], [[3.0, 5.0], [4.0, 6.0]]])[..., None]
    axes = ("method", "value", "graph", "episode")
    bound = xr.DataArray(np.array([[4.0, np.nan], [5.0, np.nan]])[..., None], dims=axes[1:])
    data = xr.Dataset({"welfare": (axes, welfare), "bound": bound}, {"method": ["cen", "opt", "dec"]})
    lines = over_sweep(data)
    np.testing.assert_array_equal(lines["cen"], welfare[0, ..., 0])
    np.testing.assert_array_equal(lines["opt"], [[5.0, np.nan], [6.0, np.nan]])


def test_ours_is_judged_by_the_smallest_cell():
    data = DATA.expand_dims(measure=["per_item"])
    found = judge_ours({"x": data}, Ours("text", "down", 0.2, ["x"]), 0.89)
    assert found["verdict"] == "holds" and found["cells"] == 6
    assert found["smallest"]["value"] == 3 and found["smallest"]["network"] == "random"
    assert found["smallest"]["share"]["mean"] == pytest.approx(0.3, abs=0.03)
    assert judge_ours({"x": data}, Ours("text", "down", 0.5, ["x"]), 0.89)["verdict"] == "does not hold"


def test_a_sweep_shares_its_graphs_and_filling_up_changes_nothing():
    def of(tasks, slots, utilities=(4, 9, 16)):
        setting = Setting("small_world", agents=6, tasks=(tasks,), utilities=utilities, provider_stock=(3,))
        return instances(setting, slots, graphs=3, episodes=1, seed=5)

    one, filled = of(2, 2), of(2, 3)
    np.testing.assert_array_equal(one.weights, of(1, 1).weights)
    assert filled.real.sum() == one.real.sum() == 3 * 12

    def worth(name, problem):
        def one(problem):
            value = evaluate(problem, ALLOCATORS[name](problem, jax.random.key(0)))
            return value.social_welfare, value.feasible

        return jax.jit(jax.vmap(one))(Problem(*(leaf[0] for leaf in problem)))

    for name in ("cen-grd", "cen-grd+"):
        np.testing.assert_array_equal(worth(name, one)[0], worth(name, filled)[0])
    assert worth("dec-price", filled)[1].all()  # its tries differ by noise of the tasks' shape


def tiny():
    return Experiment(
        id="tiny", title="Tiny", sweep="stock", values=[2, 4], setting={"agents": 4, "tasks": [1, 2], "types": 1},
        settings=[{"provider_stock": [2]}, {"provider_stock": [4]}], networks=["random"],
        methods=["opt", "cen-rl", "cen-grd", "cen-grd+"], per_item=True, optimum=True, max_quantity=4, episodes=2,
        claims=[
            Claim("stock helps", "more stock, more welfare", ["random"], "rises", "opt"),
            Claim("learned", "a learned method", ["random"], "above", "cen-rl", than="cen-grd"),
        ],
    )  # fmt: skip


def test_a_tiny_experiment_from_end_to_end(tmp_path):
    published = Published(0.89, [tiny()], [Ours("greedy does well", "cen-grd+", 0.2, ["tiny"])])
    found = run(published.experiments, Effort(graphs=3, episodes=2, solved=(3, 2), time_limit=5.0), seed=1)
    data = found["tiny"]
    assert data["welfare"].sizes == {"measure": 3, "network": 1, "method": 3, "value": 2, "graph": 3, "episode": 2}
    solved = data["bound"].notnull().sum(("network", "value", "episode"))
    assert solved.sel(measure="per_item").values.tolist() == [2, 2, 2]  # each in its first episode
    greedy = data["welfare"].sel({"method": ["cen-grd", "cen-grd+"]})
    assert np.isfinite(greedy).all() and not (greedy > data["bound"] + 1e-4).any()
    assert jnp.allclose(data["bound"].values, data["welfare"].sel({"method": "opt"}).values, equal_nan=True)
    findings = report(published, found)
    result = findings.record
    assert [row["measured"]["published"]["verdict"] for row in result["claims"]][1] == "needs learning"
    assert result["claims"][0]["measured"]["per_item"]["averages"] is not None
    assert result["missing"] == ["cen-rl"] and result["ours"][0]["cells"] == 2
    assert result["optima"]["tiny"]["per_item"] == {"asked": 6, "proven": 6}
    json.dumps(result, allow_nan=False)
    documents.text(findings)
    findings.data.to_netcdf(tmp_path / "results.nc", engine="h5netcdf")
    text = documents.write(findings, tmp_path / "report.html", seed=1).read_text()
    assert text.count("<svg") == 3 and "needs learning" in text and "src=" not in text


def test_published_learners_are_trained_on_every_graph_for_the_whole_sweep_and_kept(tmp_path, monkeypatch):
    sweep = msgspec.structs.replace(
        tiny(), sweep="types", values=[1, 2], settings=[{"types": 1}, {"types": 2}], claims=[], optimum=False,
        methods=["cen-rl", "cen-grd"], per_item=False, max_quantity=2,
    )  # fmt: skip
    assert [(sweep.at(i, "random").types, sweep.at(i, "random").used) for i in (0, 1)] == [(2, 1), (2, 0)]
    effort = Effort(graphs=2, episodes=1, training=40, keep=tmp_path)
    welfare = run([sweep], effort)["tiny"]["welfare"]
    assert welfare["method"].values.tolist() == sweep.methods and np.isfinite(welfare).all()

    cells = [Cell(sweep, place, "random", problems=None) for place in (0, 1)]
    assert [file.name for file in tmp_path.iterdir()] == ["tiny-random-cen-rl.networks"]
    monkeypatch.setattr(training, "train", None)  # nothing is trained again
    weights = trained("cen-rl", cells, effort, 0).weights[0]
    assert len(weights) == 2 and not np.array_equal(weights[0], weights[1])  # one for each graph
    with pytest.raises(InputError, match="trained otherwise"):
        trained("cen-rl", cells, dataclasses.replace(effort, training=41), 0)
