"""The Budgets page without a browser: what it shows first, proposals by jobs, other ways, comments, and bad files."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from bayesalloc.dashboard import office, proposals
from bayesalloc.dashboard.state import Mine

NASTY = "<b>x[y](z)"  # a column's name that is HTML, and markdown
KNOWLEDGE = f"""
tiers = [["condition"], ["a", "b"], ["result", "{NASTY}"]]
[decisions]
a = {{ base = 10 }}
b = {{ base = 20 }}
[weights]
result = 1
[protected]
"{NASTY}" = {{ harm = "up", tolerance = 0.5 }}
"""


def small(rows=120):
    """Two decisions in %, a condition that past policy followed, two results."""
    condition, a, b, result, strain = np.random.default_rng(0).normal(size=(5, rows))
    a, b = a + 0.5 * condition, b + 0.5 * condition
    result, strain = result + 0.8 * a - 0.2 * b + condition, strain - 0.6 * b - condition
    table = np.column_stack([condition, a, b, result, strain])
    lines = [f"{i:03d},{','.join(f'{cell:.4f}' for cell in row)}" for i, row in enumerate(table)]
    return "\n".join([f"period,condition,a,b,result,{NASTY}", *lines]) + "\n"


def budgets_page():
    from bayesalloc.dashboard import budgets

    budgets.page()


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """A session on the Budgets page, with books and knowledge of its own, or with none; and what it has made."""
    monkeypatch.setenv("BAYESALLOC_RUNS", str(tmp_path / "runs"))

    def opened(books="", knowledge=""):
        page, own = AppTest.from_function(budgets_page, default_timeout=60), Mine()
        for kind, name, text in (("books", "books.csv", books), ("knowledge", "known.toml", knowledge)):
            if text:
                own.home.mkdir(parents=True, exist_ok=True)
                own.files[kind] = {name: own.home / name}
                (own.home / name).write_text(text)
        page.session_state["mine"] = own
        return page.run(), own

    return opened


def shown(page):
    """All that is on a page as HTML."""
    assert not page.exception
    return re.sub(r"<style>.*?</style>", "", " ".join(each.proto.body for each in page.get("html")), flags=re.DOTALL)


def view(page, name):
    page.segmented_control[0].set_value(name).run()
    return shown(page)


def press(page, label):
    next(each for each in page.button if each.label == label).click().run()


def alike(one, other):
    """The same to rounding; sentences may round otherwise."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return one == pytest.approx(other, rel=0.01, abs=0.01) if isinstance(one, float) else type(one) is type(other)


@pytest.mark.parametrize("command", office.ASKED)
def test_what_comes_with_the_page_is_what_the_command_line_answers(command, run):
    books, knowledge = office.write_example(Path())
    ran = run(command, books, "--knowledge", knowledge, *office.ASKED[command], "--json", "--out", "run")
    assert alike({**json.loads(ran.out), "files": {}}, office.first()[command])
    assert office.FILE.stat().st_size < 150_000


def test_the_first_view_computes_nothing(opened, tmp_path):
    page, _ = opened()
    changes = office.first()["budget"]["changes"]
    assert changes and all(change["reasons"][0][1:] in shown(page) for change in changes)
    assert not page.error and not (tmp_path / "runs").exists()


def test_weights_choose_among_the_points_of_the_front(opened):
    """All weight on one objective, and free risk: the point that has most of it, whatever was chosen before."""
    page, _ = opened()
    view(page, "Other ways")
    front = office.first()["budget"]["front"]
    page.select_slider[0].set_value(0.0).run()
    for objective in office.first()["budget"]["weights"]:
        for slider in page.slider:
            slider.set_value(100 if slider.label == objective else 0)
        page.run()
        most = max(point["objectives"][objective] for point in front)
        assert proposals.number(most, 2, signed=True).replace("-", "\N{MINUS SIGN}") in shown(page)
    for slider in page.slider:
        slider.set_value(0)
    assert "at least one" in page.run().info[0].value


def test_a_proposal_from_uploads_is_the_command_lines(opened):
    """A job, whose answer the page shows; names from data are neither HTML nor markdown."""
    page, own = opened(small(), KNOWLEDGE)
    assert "no proposal from these books yet" in page.info[0].value
    press(page, "Propose what to change next")
    (job,) = own.jobs
    job.wait(120.0)
    assert job.state == "done", job.said
    found = json.loads((job.out / "budget.json").read_text())
    text = shown(page.run())
    assert "raise a by 5.0 %" in text and "raise a by 5.0 %" in found["answer"][0]
    assert "&lt;b&gt;x[y](z)" in text and "<b>x" not in text
    assert NASTY not in " ".join(each.value for each in [*page.markdown, *page.caption, *page.info])
    (job.out / "budget.json").write_text("{}")
    assert "was changed" in page.run().error[0].value


BAD = {
    "books": ("a,b\n1,2\n1,x\n", KNOWLEDGE, "books.csv, line 3, column 'b'"),
    "knowledge": (small(), "tier = []", "known.toml: Object contains unknown field `tier`"),
    "no objective": (small(), KNOWLEDGE.replace("result = 1", "result = 0"), "known.toml: names no objective"),
    "an unknown column": (small(), KNOWLEDGE.replace('"condition"', '"weather"'), "there is no variable 'weather'"),
}


@pytest.mark.parametrize(("books", "knowledge", "said"), BAD.values(), ids=BAD)
def test_a_bad_file_is_named(books, knowledge, said, opened):
    page, _ = opened(books, knowledge)
    assert not page.exception and said in page.error[0].value.replace("\\", "")
    assert not any(each.label.startswith("Propose") for each in page.button)
