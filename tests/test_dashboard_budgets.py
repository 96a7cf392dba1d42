"""The Budgets page without a browser: what it shows first, proposals by jobs, other ways, comments, and bad files."""

import datetime
import json
import re
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from bayesalloc import InputError
from bayesalloc.dashboard import causes, comments, jobs, office, outturns, proposals
from bayesalloc.dashboard.state import Mine
from bayesalloc.discovery.graph import from_json
from bayesalloc.discovery.knowledge import Goal, read_office

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
    """A job, whose answer the page shows; names from data are neither HTML nor markdown.

    It is asked for together with what happened later, which stands beside the forecast in a view of its own.
    """
    page, own = opened(small(), KNOWLEDGE)
    assert "no proposal from these books yet" in page.info[0].value
    later = own.home / "later.csv"
    later.write_text(f"condition,a,b,result,{NASTY}\n0.5,1,-1,99,0.1\n")
    own.files["actuals"] = {"later.csv": later}
    view(page, "What happened")
    assert "no forecast beside what happened" in page.info[0].value
    press(page, "Set it beside the forecast")
    (job,) = own.jobs
    job.wait(120.0)
    assert job.state == "done", job.said
    found = json.loads((job.out / "budget.json").read_text())
    happened = view(page.run(), "What happened")
    assert "Of 2 numbers that were forecast, 1 lie in their 89 % intervals." in [each.value for each in page.markdown]
    assert ">99.0<" in happened and ">no<" in happened and NASTY not in happened
    missed = outturns._missed(found["actuals"])
    (wide,) = [trace for trace in missed.data if trace.name == "outside"]
    assert wide.y == ("result",) and wide.x[0] > 1
    text = view(page, "Proposal")
    assert "raise a by 5.0 %" in text and "raise a by 5.0 %" in found["answer"][0]
    assert "&lt;b&gt;x[y](z)" in text and "<b>x" not in text
    assert NASTY not in " ".join(each.value for each in [*page.markdown, *page.caption, *page.info])
    (job.out / "budget.json").write_text("{}")
    assert "was changed" in page.run().error[0].value


def test_a_policys_changes_and_other_intervals_are_asked_for_as_on_the_command_line(opened, monkeypatch):
    started = []
    monkeypatch.setattr(jobs.Job, "_run", lambda job: started.extend(job.commands))
    page, own = opened(small(), KNOWLEDGE)
    own.files["policy"] = {"office.policy": own.home / "office.policy"}
    page.run()
    next(each for each in page.select_slider if each.label.startswith("Intervals")).set_value(95)
    next(each for each in page.text_input if each.label.startswith("Weights")).set_value("0.6, 0.2,0.2").run()
    press(page, "Propose what to change next")
    asked = started[0][started[0].index("--lambda") :]
    assert asked[:6] == ["--lambda", "1", "--interval", "0.95", "--policy", f"{own.home / 'office.policy'}:0.6,0.2,0.2"]
    jobs._running.clear()
    (own.home / "office.policy").write_text("no policy")
    with pytest.raises(InputError, match=r"office.policy: is not a policy of bayesalloc"):
        proposals._check_policy(own.home / "office.policy")


def say(page, who, kind, column):
    """Fill in the form of comments and send it."""
    next(each for each in page.text_input if each.label == "Who says it").set_value(who)
    next(each for each in page.selectbox if each.label == "What is asked").set_value(kind).run()
    next(each for each in page.selectbox if each.label == "Which column").set_value(column)
    page.text_area[0].set_value("Leave <i>it</i> alone").run()
    press(page, "Keep it, for the next proposal")


def test_a_veto_is_kept_with_name_and_date_and_changes_the_next_proposal(opened):
    page, own = opened(small(), KNOWLEDGE)
    view(page, "Comments")
    say(page, 'Head "A"', comments.FROZEN, "a")
    text = shown(page)
    assert "not yet in a proposal" in text and "a must not change" in text and "<i>" not in text
    first, kept = own.files["knowledge"].values()
    assert first.read_text() == KNOWLEDGE, "the file that was uploaded is left as it was"
    (said,) = read_office(kept).comments
    assert (said.who, said.frozen, said.date) == ('Head "A"', ("a",), datetime.date.today())
    view(page, "Proposal")
    press(page, "Propose what to change next")
    own.jobs[0].wait(120.0)
    view(page.run(), "Comments")
    assert re.search("a from \\+5.0 % to 0.0 %", shown(page)), own.jobs[0].said
    assert "raise a by" not in view(page, "Proposal")
    assert not opened()[1].files, "another session has none of it"


SAID = {
    "protected": (comments.PROTECTED, "result", {"protected": {"result": {"harm": "up"}}}),
    "borne": (comments.BORNE, NASTY, {"tolerances": {NASTY: 0.0}}),
    "no cause": (comments.NOT, "a", {"forbidden": (("a", "condition"),)}),
    "a cause": (comments.CAUSE, "condition", {}),
    "a weight": (comments.WEIGHT, NASTY, {"weights": {NASTY: Goal(1.0)}}),
}


@pytest.mark.parametrize(("kind", "column", "fields"), SAID.values(), ids=SAID)
def test_what_can_be_said(kind, column, fields, opened):
    """Each kind becomes the field of that name, or is refused where it contradicts what is known."""
    page, own = opened(small(), KNOWLEDGE)
    view(page, "Comments")
    say(page, "Somebody", kind, column)
    if not fields:
        assert "'condition' is joined to itself" in page.error[0].value and len(own.files["knowledge"]) == 1
        return
    (said,) = read_office([*own.files["knowledge"].values()][-1]).comments
    assert {name: getattr(said, name) for name in fields} == fields and "Somebody" in shown(page)


def test_the_graph_and_its_edges(opened):
    """Every edge is drawn once, as wide as it is sure, dashed where it has no direction; one variable's alone, too."""
    page, _ = opened()
    answer = office.first()["discover"]
    assert f"{len(answer['undirected'])} where either may be the cause" in view(page, "Causes")
    graph, tiers = from_json(answer), office._example()[1].ordered
    figure = causes.network(graph, answer, tiers)
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    drawn = {
        kind: sum(sum(x is None for x in trace.x) for trace in lines if trace.name == kind) for kind in causes.KINDS
    }
    assert drawn["either way"] == len(answer["undirected"])
    assert drawn["causes"] + drawn["may cause"] == len(answer["directed"])
    assert all((trace.line.dash == "dash") == (trace.name == "either way") for trace in lines)
    assert all(set(trace.marker.size) == {0} for trace in lines if trace.name == "either way")
    page.selectbox[0].set_value("hr").run()
    assert not page.exception


def test_labels_of_figures_are_no_tags():
    answer = {"nodes": [NASTY, "b"], "directed": [[NASTY, "b"]], "undirected": [], "confidence": None}
    figure = causes.network(from_json(answer), answer, [])
    assert {each.text for each in figure.layout.annotations} == {"&lt;b&gt;x[y](z)", "b"}


def test_an_effect_is_told_with_what_is_not_identified(opened):
    page, _ = opened()
    text = view(page, "Effects")
    rows = office.first()["effect"]["effects"]
    assert "The effect is identified" in text and ">not identified<" in text
    assert any(not row["identified"] for row in rows) and len(rows) == 49


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
