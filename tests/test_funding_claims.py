"""Claims on funding: the file, statistics on known numbers, cells that are kept, and a tiny run from end to end."""

import json

import jax
import msgspec
import numpy as np
import pytest

from bayesalloc import claims
from bayesalloc.claims import altruism, versions
from bayesalloc.claims.altruism import cells, checks, regression
from bayesalloc.claims.altruism.cells import Effort, run
from bayesalloc.claims.altruism.published import Claim, load_claims
from bayesalloc.claims.altruism.statistics import compared, converged, rounds_of, sign_flips, with_interval
from bayesalloc.errors import InputError
from bayesalloc.models.altruism import NEVER, World, consortium
from bayesalloc.report import claims as documents
from bayesalloc.report.tables import for_json
from bayesalloc.stepping import begin, played

PUBLISHED = load_claims()
SMALL = {"n_projects": 30, "delay": 2.0}
NAMES = ["uniform", "knapsack", "oracle", "bandit"]


def test_the_claims_are_well_formed():
    names = [each.name for each in PUBLISHED.settings]
    assert len(set(names)) == len(names) and names[0] == "default" and PUBLISHED.settings[0].world == {}
    for setting in PUBLISHED.settings:
        World(**setting.world)  # refused where there is no such world
    for claim in PUBLISHED.claims:
        assert set(claim.at) <= {*checks.AT} and set(claim.settings or ()) <= {*names}
        assert bool(claim.than) == (claim.quantity == "gain")
    with pytest.raises(InputError, match="no setting 'mars'; there are default"):
        PUBLISHED.only(["mars"])


def test_who_is_measured_where():
    names, (first, other) = ["knapsack", "bo", "tilt", "blackbox"], PUBLISHED.settings[:2]
    assert PUBLISHED.measured(first, names, full=True) == names
    assert PUBLISHED.measured(first, names, full=False) == ["knapsack", "bo", "tilt"]
    assert PUBLISHED.measured(other, names, full=True) == ["knapsack", "bo"]
    assert {*PUBLISHED.full_only, *PUBLISHED.first_only} <= {*cells.there("altruism")}


def test_a_gain_is_one_of_means_over_the_rounds_in_each_world():
    treated, control = np.array([[1.0, 2.0, 4.0], [1.0, 1.0, 3.0]]), np.array([[1.0, 1.0, 2.0], [1.0, 2.0, 3.0]])
    found = compared(treated, control, slice(1, 3), 0.89)
    assert found["gain"]["mean"] == pytest.approx((100.0 - 20.0) / 2)
    assert (found["ahead"], found["worlds"], found["p"]) == (1, 2, 1.0)


def test_intervals_are_as_wide_as_the_standard_error_says():
    values = np.random.default_rng(1).normal(5.0, 2.0, 400)
    found = with_interval(values, 0.89)
    half = 1.598 * values.std() / 20  # the normal's quantile; the bootstrap's own error is about 2 % of it
    assert found["low"] == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found["high"] == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert with_interval(values[:1], 0.89) is None


@pytest.mark.parametrize(("differences", "p"), [([1, 1, 1, 1], 2 / 16), ([3, 1, -1], 6 / 8), ([0.0, 0.0], 1.0)])
def test_sign_flips_try_all_choices_of_few_worlds(differences, p):
    assert sign_flips(np.array(differences, np.float32)) == p


def test_sign_flips_of_many_worlds_agree_with_the_normal():
    differences = np.random.default_rng(0).normal(0.25, 1.0, 60)
    z = differences.sum() / np.sqrt((differences**2).sum())
    from scipy.stats import norm

    assert sign_flips(differences) == pytest.approx(2 * norm.sf(abs(z)), abs=0.01)


def test_convergence_needs_as_many_rounds_as_its_mean():
    assert converged(np.ones((3, 19))) is None
    assert converged(np.ones((3, 30))) == {"median": 20.0, "later": 0}


def test_rounds_that_there_are_not_are_not_measured():
    assert checks.measurable(6) == ["last 50"] and checks.measurable(500) == [*checks.AT]
    assert rounds_of("300 on", 500) == slice(299, 500)


def test_effects_of_projects_and_rounds_are_those_of_dummies():
    draws = np.random.default_rng(0)
    there = draws.random((7, 5)) < 0.7
    x, y = draws.normal(size=(2, 7, 5)) + np.arange(5.0)
    rounds, projects = np.nonzero(there)
    dummies = np.concatenate([np.eye(7)[rounds], np.eye(5)[projects], x[there][:, None]], 1)
    within = [regression.without(each, there, effects=True) for each in (x, y)]
    assert regression.slope(*within, there) == pytest.approx(np.linalg.lstsq(dummies, y[there])[0][-1], abs=1e-6)
    pooled = [regression.without(each, there, effects=False) for each in (x, y)]
    assert regression.slope(*pooled, there) == pytest.approx(np.polyfit(x[there], y[there], 1)[0], abs=1e-9)


def test_an_intervention_finds_the_slope_of_the_curve_where_a_regression_does_not():
    """Money that follows the effects themselves: its regression is confounded upwards."""
    env, key, worlds, rounds = consortium(World(**SMALL)), jax.random.key(5), 2, 20
    params = begin(env, key, replicates=worlds).params
    raw = (
        np.exp(params.log_effect)[:, None]
        * params.room_seen[:, None]
        * np.exp(0.3 * np.random.default_rng(0).normal(size=(worlds, rounds, 30)))
    )
    plan = regression.schedule(np.asarray(raw / raw.sum(2, keepdims=True)))
    outcomes = played(env, plan, key, replicates=worlds, horizon=rounds)
    found = regression.slopes(env, key, outcomes, outcomes.arrival < NEVER, 1.0)
    _, _, by_do, true = found.T
    np.testing.assert_allclose(by_do, true, rtol=0.1)  # spill-overs of the others, and the curve over a quarter more
    assert (found[:, 0] > 1.2 * true).all()


@pytest.fixture
def one_a_batch(monkeypatch):
    monkeypatch.setattr(cells, "BATCH", 1)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder with four cells, and what they say."""
    folder, setting = tmp_path_factory.mktemp("cells"), PUBLISHED.settings[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "BATCH", 1)
        return folder, run("altruism", [(setting, NAMES)], Effort(4, 2, folder, SMALL))["default"]


def test_allocators_meet_the_same_worlds(kept):
    """The oracle's impact, which each allocator's share is taken of, is the same for all."""
    data = kept[1]
    assert data.sizes == {"allocator": 4, "world": 2, "round": 4, "regression": 4}
    of_oracle = (data["impact"] / data["share_of_oracle"]).transpose("allocator", "world", "round").values
    np.testing.assert_allclose(of_oracle, np.broadcast_to(of_oracle[:1], of_oracle.shape), rtol=1e-3)
    assert not np.allclose(of_oracle[0, 0], of_oracle[0, 1], rtol=0.01)  # two worlds


def again(folder, monkeypatch, rounds=4, world=SMALL, **setting):
    """The same run; what it says, and which cells it measured."""
    made, measured = [], cells.measured
    monkeypatch.setattr(cells, "measured", lambda cell, *rest: made.append(cell) or measured(cell, *rest))
    chosen = msgspec.structs.replace(PUBLISHED.settings[0], **setting)
    found = run("altruism", [(chosen, NAMES)], Effort(rounds, 2, folder, world))
    return found["default"], [(cell.names[0], cell.batch) for cell in made]


def test_a_run_goes_on_where_it_stopped(kept, monkeypatch, one_a_batch):
    folder, data = kept
    lost = next(folder.glob("default-bandit-1-*.npz"))
    lost.unlink()
    found, made = again(folder, monkeypatch)
    assert made == [("bandit", 1)] and lost.exists() and found.identical(data)


@pytest.mark.parametrize("other", ["world", "rounds", "tuned", "code"])
def test_cells_of_another_version_are_not_mixed_in(kept, monkeypatch, one_a_batch, other):
    from bayesalloc.models.funding import allocators, bandit

    monkeypatch.setattr(cells, "measured", lambda cell, *_: pytest.fail(f"{cell.names} is measured"))
    setting = PUBLISHED.settings[0]
    if other == "world":
        setting = msgspec.structs.replace(setting, world={"rho": 0.7})
    elif other == "tuned":
        playing = allocators.ALLOCATORS["bandit"](World())
        given = bandit.TUNED["central"]._replace(step=0.5)
        changed = {**allocators.ALLOCATORS, "bandit": lambda world: playing._replace(given=given)}
        monkeypatch.setattr(allocators, "ALLOCATORS", changed)
        monkeypatch.setattr("bayesalloc.models.altruism.ALLOCATORS", changed)
        cells._environment.cache_clear()
    elif other == "code":
        monkeypatch.setattr(cells, "code_of", lambda modules, followed: "another")
    with pytest.raises(pytest.fail.Exception, match="is measured"):
        run("altruism", [(setting, NAMES)], Effort(3 if other == "rounds" else 4, 2, kept[0], SMALL))
    cells._environment.cache_clear()


def test_comments_are_no_other_version():
    import ast

    plain, told = "def f(x):\n    return x", 'def f(x):\n    """Why."""\n    return x  # so'
    assert ast.dump(versions._without_docstrings(ast.parse(told))) == ast.dump(ast.parse(plain))
    one, other = (
        versions.code_of({f"bayesalloc.models.funding.{name}"}, cells.FOLLOWED) for name in ("bandit", "bomara")
    )
    assert one != other


def test_a_damaged_cell_is_named(kept, tmp_path, one_a_batch):
    whole = next(kept[0].glob("default-rules-0-*.npz"))
    (tmp_path / whole.name).write_bytes(whole.read_bytes()[:500])
    with pytest.raises(InputError, match=r"default-rules-0-.*npz: is not a whole cell; remove it"):
        run("altruism", [(PUBLISHED.settings[0], NAMES)], Effort(4, 2, tmp_path, SMALL))


def test_from_the_claims_to_the_page(kept, monkeypatch, tmp_path, one_a_batch):
    """A run of tiny worlds, from what is asked for to the report; nothing is measured twice."""
    settings = [msgspec.structs.replace(PUBLISHED.settings[0], world=SMALL)]
    of = Claim("more than uniform", ["bandit", "ppo"], 0.0, ["round 20", "last 50"], ["uniform", "knapsack"])
    share = Claim("all there is", ["bandit"], 2.0, ["last 50"], quantity="share", ours=True)
    worst = Claim("the worst", ["bandit"], 0.01, ["last 50"], quantity="worst", ours=True)
    published = msgspec.structs.replace(PUBLISHED, settings=settings, claims=[of, share, worst])
    monkeypatch.setattr(altruism, "load_claims", lambda: published)
    monkeypatch.setattr(altruism, "there", lambda model: NAMES)
    options = {"worlds": 2, "rounds": 4, "keep": kept[0]}
    found = claims.measure("altruism", claims.Asked(options=options))
    record = json.loads(json.dumps(for_json(found.record)))
    assert record["missing"] == ["ppo"] and found.warnings == ["Not part of this run: ppo."]
    assert [(each["than"], [*each["at"]]) for each in record["claims"]] == [
        ("uniform", ["last 50"]), ("knapsack", ["last 50"]), (None, ["last 50"]), (None, ["last 50"])
    ]  # fmt: skip
    impact = kept[1]["impact"].mean("round")
    gains = impact.sel(allocator="bandit") / impact.sel(allocator="uniform")
    said = record["claims"][0]["at"]["last 50"]
    assert said["measured"]["mean"] == pytest.approx(100 * float((gains - 1).mean()), abs=1e-3)
    assert [each["at"]["last 50"]["verdict"] for each in record["claims"][2:]] == ["does not hold", "holds"]
    page = documents.write(found, tmp_path / "report.html", 0).read_text()
    for part in ("more than uniform", "Share of the oracle", "By how many % bandit is above each", "2 of 2", "<svg"):
        assert part in page
    documents.text(found)
