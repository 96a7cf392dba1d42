"""The dashboard without a browser: its numbers, what it shows first, uploads, jobs, and its pages."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings, strategies
from streamlit.testing.v1 import AppTest

from bayesalloc import InputError
from bayesalloc.dashboard import comparing, first, jobs, serving, uploads
from bayesalloc.dashboard.numbers import balanced, changed, numbers
from bayesalloc.effects.decisions import best_by_weights
from bayesalloc.environment import schema_of
from bayesalloc.library import load_mechanism
from bayesalloc.report import brief
from bayesalloc.report.terms import toml

ENV = comparing.environment("watershed")
SCHEMA, AGENTS = schema_of(ENV), ENV.coords["agent"]
EVERY = [load_mechanism(name, SCHEMA) for name in comparing.shipped("watershed")]


@pytest.mark.parametrize("base", EVERY, ids=lambda each: each.name)
def test_sliders_stand_where_the_file_says(base):
    """Each value lies on its slider, in the file's own unit, and nothing that was not moved is changed."""
    there = numbers(base, SCHEMA, AGENTS, EVERY)
    assert {each.name: each.value for each in there if each.value} == {
        each.name: base.number(each.name) for each in there if base.number(each.name)
    }
    assert all(
        each.low <= each.value <= each.high and 50 <= (each.high - each.low) / each.step <= 600 for each in there
    )
    assert changed(base, SCHEMA, {}, "same").parameters == base.parameters


@settings(max_examples=25, deadline=None)
@given(
    shares=strategies.lists(strategies.floats(0, 0.24), min_size=4, max_size=4),
    modifier=strategies.floats(0.0, 5.0),
    last=strategies.sampled_from(AGENTS),
)
def test_what_is_made_can_be_written_and_read(shares, modifier, last, tmp_path_factory):
    """Sliders -> mechanism -> TOML -> mechanism; a table sums to what it must, whoever has what is left."""
    others = [agent for agent in AGENTS if agent != last]
    table = balanced({**dict(zip(others, shares, strict=True)), last: 0.0}, 1.0, last)
    made = changed(EVERY[0], SCHEMA, {"incentive.modifier": modifier, "cost_sharing": table}, "mine")
    path = tmp_path_factory.mktemp("made") / "mine.toml"
    path.write_text(toml(made, SCHEMA))
    read = load_mechanism(str(path), SCHEMA)
    assert read.parameters == made.parameters
    assert read.number("incentive.modifier") == modifier
    assert not table or sum(read.parameters.cost_sharing.values()) == pytest.approx(1.0)


def test_the_first_page_shows_what_a_comparison_gives():
    """What comes with the package is what would be computed, to rounding."""
    shipped, moves = first.first()
    fresh = comparing.shown(comparing.answered(first.first_question()))
    for group in shipped.children:
        for name, values in shipped[group].to_dataset().data_vars.items():
            other = fresh[group][name].values
            if values.dtype.kind == "f":
                np.testing.assert_allclose(values.values, other, rtol=2e-3, atol=2e-4, err_msg=f"{group}/{name}")
            else:
                assert (values.values == other).all()
    assert moves == first.moves("watershed")


def test_several_open_the_same_file_at_once():
    """HDF5 refuses a file that is open with other flags: so did most of these, when the flags differed."""
    with ThreadPoolExecutor(5) as pool:
        found = [*pool.map(lambda _: first.first()[1], range(40))]
    assert all(moves == found[0] for moves in found)


def test_what_moves_the_forest():
    """Payments and shares move money only; what changes effort moves the forest."""
    _, moves = first.first()
    forest = {name for name, moved in moves.items() if "forest_health" in moved}
    assert {"incentive.modifier", "market.response", "market.cycle"} <= forest
    assert not forest & {"cost_sharing", "milestones.payment", "verification.payment", "credits.shares", "market.price"}


def test_people_who_respond_less_contribute_less():
    """By 20 % less where nothing else limits them: contributions fall in every arm."""
    usual = first.first_question()
    less = comparing.answered(usual._replace(response=0.8), draws=20, futures=2)
    same = comparing.answered(usual, draws=20, futures=2)
    means = [tree["arm_means"]["contribution"].sel(statistic="mean").values for tree in (less, same)]
    assert (means[0] < 0.95 * means[1]).all()


def worth(*arms):
    """Arms by (criterion one, criterion two), the same in ten draws but for the noise given as a third."""
    values = np.array([[[arm[criterion] for arm in arms] for criterion in range(2)] for _ in range(10)], float)
    return xr.DataArray(values, dims=("draw", "criterion", "arm"), coords={"criterion": ["a", "b"]})


@pytest.mark.parametrize(
    ("weights", "best"), [((3.0, 1.0), 0), ((1.0, 3.0), 1), ((1.0, 0.0), 0), ((0.0, 1.0), 1), ((1.0, 1.0), None)]
)
def test_the_best_by_weights(weights, best):
    """Two arms, each the best by one criterion: the heavier one decides, whatever their units; equal weights tie."""
    for scale in (1.0, 1e6):
        found = best_by_weights(worth((1.0, 0.0), (0.0, scale)), dict(zip("ab", weights, strict=True)))
        np.testing.assert_allclose(found, [0.5, 0.5] if best is None else np.eye(2)[best])


def test_a_criterion_without_differences_decides_nothing():
    found = best_by_weights(worth((1.0, 7.0), (2.0, 7.0)), {"a": 1e-9, "b": 1.0})
    np.testing.assert_allclose(found, [0.0, 1.0])


def test_the_brief_says_who_pays_and_who_refuses():
    tree, _ = first.first()
    page = brief.page(tree, "performance_contract", "payment")
    paid = tree["courses"]["payment"].sel(statistic="mean", arm="performance_contract", agent="regulator").values
    assert f"\N{MINUS SIGN}{abs(float(paid[-1])):.1f}" in page
    assert page.count("&lt;1 %") == len(AGENTS) and "against cost sharing" in page


REFUSED = {
    "of another kind": ("posterior.nc", b"x", "record", "is not a record, whose file ends in .csv"),
    "too large": ("big.toml", b"#" * 1_000_001, "mechanism", "has 1,000,001 bytes; a mechanism may have 1,000,000"),
    "not UTF-8": ("latin.csv", "Zürich".encode("latin-1"), "record", "not a readable text file"),
    "a page": ("books.html", b"<script>", "books", "is not books"),
}


@pytest.mark.parametrize("given_", REFUSED.values(), ids=REFUSED)
def test_uploads_are_refused_by_name(given_, tmp_path):
    name, content, kind, said = given_
    with pytest.raises(InputError, match=f"^{re.escape(name)}: .*{re.escape(said)}"):
        uploads.kept(name, content, kind, tmp_path / "home")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../../evil.csv",
        "/etc/passwd.csv",
        "..\\..\\evil.csv",
        ".bashrc.csv",
        "a\x00b.csv",
        "é.csv",
        "-rf.csv",
        "x" * 300 + ".CSV",
    ],
)
def test_names_are_no_paths(name, tmp_path):
    """Whatever the browser calls it, a file lands in its folder, as letters, digits and underscores."""
    path = uploads.kept(name, b"a,b\n1,2\n", "record", tmp_path / "home")
    assert path.parent == tmp_path / "home" and re.fullmatch(r"\w{1,40}\.csv", path.name, re.ASCII)
    assert [*tmp_path.rglob("*.*")] == [path]


def test_nothing_that_is_uploaded_runs():
    """No kind of upload is code, or is read by something that runs code."""
    assert {kind.ending for kind in uploads.KINDS.values()} == {".toml", ".csv", ".nc", ".json", ".policy"}
    sources = [path.read_text() for path in serving.APP.parent.glob("*.py")]
    assert not any(re.search(r"\b(pickle|eval|exec|joblib|allow_pickle|load_module)\b", text) for text in sources)


def ended(job):
    job.wait(60.0)
    return job


def test_a_job_that_is_done(tmp_path):
    out = tmp_path / "run"
    job = ended(jobs.Job("Graph", [["models", "--json"], ["mechanisms", "--json"]], out))
    assert (job.state, job.sentence) == ("done", "")


def test_a_job_that_is_refused(tmp_path):
    """What the command line says is what the page says."""
    job = ended(jobs.Job("Fit", [["fit", "watershed", str(tmp_path / "none.csv")], ["models"]], tmp_path / "run"))
    assert job.state == "refused" and job.sentence.endswith("none.csv: no such file")


def test_a_job_that_is_cancelled(tmp_path):
    """It ends, and leaves no results."""
    (tmp_path / "r.csv").write_text("year,forest_health,erosion\n" + "".join(f"{i},0.5,0.5\n" for i in range(40)))
    out = tmp_path / "run"
    job = jobs.Job("Fit", [["fit", "watershed", str(tmp_path / "r.csv"), "--draws", "200000", "--out", str(out)]], out)
    time.sleep(1.0)
    job.cancel()
    assert ended(job).state == "cancelled"
    assert not out.exists() and job not in jobs._running


def test_only_so_many_jobs_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "MOST", 0)
    with pytest.raises(InputError, match="0 jobs are running already"):
        jobs.Job("Fit", [["models"]], tmp_path)


@pytest.fixture
def pages(monkeypatch, tmp_path):
    """Sessions of the dashboard, as many as are asked for."""
    monkeypatch.setenv("BAYESALLOC_RUNS", str(tmp_path / "runs"))
    return lambda: AppTest.from_file(str(serving.APP), default_timeout=60)


def modifier(page):
    return next(each for each in page.sidebar.slider if each.label.startswith("modifier"))


def test_the_first_page_simulates_nothing(pages, monkeypatch):
    monkeypatch.setattr(comparing, "answered", lambda *_: pytest.fail("it simulated"))
    page = pages().run()
    assert not page.exception and not page.error
    assert sum("raises forest health" in each.value for each in page.markdown) == 2


def test_moved_kept_and_refused(pages, tmp_path):
    """A moved number makes a third arm; kept, it can be compared and begun from; another session has none of it."""
    page, other = pages().run(), pages().run()
    modifier(page).set_value(1.3).run()
    assert any("mine raises forest health" in each.value for each in page.markdown)
    next(each for each in page.button if each.label.startswith("Keep")).click().run()
    assert "mine" in page.sidebar.selectbox[0].options and page.multiselect[0].value[-1] == "mine"
    assert "mine" not in other.run().sidebar.selectbox[0].options
    page.sidebar.text_input[0].set_value("cost_sharing").run()
    assert [each.value for each in page.error] == [
        "'cost\\_sharing' is a mechanism that is shipped; give yours another name"
    ]
    assert not (tmp_path / "runs").exists(), "nothing was uploaded or run"


VIEWS = {
    "Over time": "mean of each mechanism, and the band",
    "Effects": "the dashed line is no difference",
    "Agents": "nobody is likely to be worse off",
    "Choice": "credit trading** is the best",
    "Brief": "download the brief",
}


@pytest.mark.parametrize(("view", "says"), VIEWS.items(), ids=VIEWS)
def test_every_view_shows_itself(view, says, pages):
    page = pages().run()
    page.segmented_control[0].set_value(view).run()
    shown = [each.value for each in [*page.markdown, *page.caption]] + [each.label for each in page.download_button]
    assert not page.exception and any(says in each.lower() for each in shown)


def test_a_job_follows_the_page(pages, tmp_path, monkeypatch):
    """A comparison in full is the command line's own, with the mechanisms on the page."""
    started = []
    monkeypatch.setattr(jobs.Job, "_run", lambda job: started.append([*job.commands]))
    page = pages().run()
    modifier(page).set_value(1.3).run()
    next(each for each in page.button if each.label.startswith("Compare with")).click().run()
    next(each for each in page.button if each.label == "Design the terms").click().run()
    ((comparison,), (begin, ask)) = started
    assert comparison[:4] == ["compare", "watershed", "--mechanisms", "cost_sharing"]
    assert load_mechanism(comparison[6], SCHEMA).number("incentive.modifier") == 1.3
    assert begin[:4] == ["optimize", "start", "watershed", "--free"] and ask[:2] == ["optimize", "ask"]
    jobs._running.clear()
