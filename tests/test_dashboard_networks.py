"""The Networks page without a browser: an instance, its negotiation, its allocators, faults, and uploads."""

import json
from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from bayesalloc import InputError
from bayesalloc.allocators import read_problem
from bayesalloc.allocators.problem import to_json
from bayesalloc.dashboard import jobs, negotiating, networks, readying
from bayesalloc.dashboard.drawing import Move
from bayesalloc.dashboard.negotiating import FIRST, NOTHING, ROUNDS, Wrong

CHAIN = {  # what agent 0 lacks agent 2 has, and agent 1 stands between them
    "agents": 3,
    "edges": [[0, 1], [1, 2]],
    "resource_types": 1,
    "resources": [[1], [0], [5]],
    "tasks": [{"agent": 0, "utility": 10, "requires": [3]}],
}


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    path = tmp_path_factory.mktemp("chain") / "chain.json"
    path.write_text(json.dumps(CHAIN))
    return read_problem(path)


def test_a_negotiation_is_what_the_library_makes_of_it(chain):
    """Where nothing goes wrong it is that of `allocate`, and items move as can be followed by hand."""
    told = negotiating.negotiated(chain, NOTHING)
    assert {**told.document, "seconds": 0} == {**negotiating.allocated(chain, "dec-grd"), "seconds": 0}
    when = [now for now in negotiating.moments(told.record) if negotiating.moves(told.record, now)]
    assert Move(2, 0, (2,)) in negotiating.moves(told.record, when[0])
    assert told.record.done[[ROUNDS - 2, ROUNDS - 1], 0].tolist() == [0, 1]


def test_who_is_gone_sends_nothing(chain):
    """The task is left undone where agent 2 stops before it offers, and done where it stops after it has confirmed."""
    wrong = Wrong(before=(2,))
    told = negotiating.negotiated(chain, wrong)
    assert told.document["tasks_done"] == negotiating.allocated(chain, "cen-grd+", wrong.before)["tasks_done"] == []
    assert negotiating.negotiated(chain, Wrong(after=(2,))).document["tasks_done"] == [0]


def test_lost_messages_lose_no_item(chain):
    record = negotiating.negotiated(chain, Wrong(loss=0.8, delay=0.5, seed=3)).record
    kinds = record.held + record.reserved + record.offered + record.consumed
    np.testing.assert_array_equal(kinds, np.broadcast_to(CHAIN["resources"], kinds.shape))


TOO_LARGE = {
    "agents": (replace(FIRST, agents=26, degree=2), "the instance has 26 agents, and on screen there may be 24"),
    "types": (replace(FIRST, types=5), "the instance has 5 types of items"),
    "tasks": (replace(FIRST, agents=24, tasks=(6,), shuffled_utilities=True), "the instance has 144 tasks"),
    "owned": (replace(FIRST, tasks=(9,), shuffled_utilities=True), "the instance has 9 tasks of one agent"),
}


@pytest.mark.parametrize(("setting", "said"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_what_is_too_large_for_the_screen_is_said(setting, said):
    with pytest.raises(InputError, match=said):
        negotiating.check_size(negotiating.generated(setting, 0))


@pytest.mark.parametrize("graph", ["net.graphml", "../../etc/passwd", "/etc/passwd"])
def test_an_instance_that_is_uploaded_names_no_other_file(graph, tmp_path):
    path = tmp_path / "one.json"
    path.write_text(json.dumps({**{k: v for k, v in CHAIN.items() if k != "edges"}, "graph": graph}))
    with pytest.raises(InputError, match="one.json: graph names another file, which is not read here"):
        read_problem(path, alone=True)


@pytest.fixture
def opened(monkeypatch, tmp_path, chain):
    """The page, showing the chain, whose programs nobody has compiled."""
    monkeypatch.setenv("BAYESALLOC_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(negotiating, "generated", lambda *_: chain)
    monkeypatch.setattr(readying, "_jobs", {})
    networks._generated.clear()
    yield AppTest.from_function(script, default_timeout=60)
    networks._generated.clear()


@pytest.fixture
def page(monkeypatch, opened):
    """The page, ready to show everything of the chain."""
    monkeypatch.setattr(readying, "job", lambda *_: SimpleNamespace(state="done"))
    return opened.run()


def script():
    from bayesalloc.dashboard import networks

    networks.page()


def said(page, view=None):
    """What is said under a view, and the files that it offers."""
    if view is not None:
        page.segmented_control[0].set_value(view).run()
    assert not page.exception and not page.error
    return " ".join([*(each.value for each in page.caption), *(each.label for each in page.download_button)])


VIEWS = {
    "The problem": ("rest on one to read how many", "Instance (JSON)", "Tasks (CSV)"),
    "Round by round": ("items that set out in this round", "Items by round (CSV)", "Moves (CSV)"),
    "Allocations": ("how many items go to an agent's tasks", "Shipments (CSV)"),
    "Welfare": ("no allocation can be better", "Welfare (CSV)"),
}


@pytest.mark.parametrize(("view", "says"), VIEWS.items(), ids=VIEWS)
def test_every_view_shows_itself(view, says, page):
    shown = said(page, view)
    assert all(each in shown for each in says)


def test_what_is_new_is_compiled_by_a_job_that_can_be_cancelled(opened, monkeypatch):
    """Once for all sessions, of which each sees it; then what was asked for is shown."""
    monkeypatch.setattr(jobs.Job, "_run", lambda _: None)
    monkeypatch.setattr(networks, "_negotiated", None)  # so that nothing is computed meanwhile
    opened.run().segmented_control[0].set_value("Round by round").run()
    (job,) = readying._jobs.values()
    assert not opened.exception and "is made ready below, once" in opened.info[0].value
    assert opened.session_state["mine"].jobs == [job] and job.commands[0][0].endswith(".npz")
    other = AppTest.from_function(script, default_timeout=60).run()
    other.segmented_control[0].set_value("Welfare").run()
    assert other.session_state["mine"].jobs == [job]
    job.state = "cancelled"
    next(each for each in opened.run().button if each.label.startswith("Get ready")).click().run()
    (again,) = readying._jobs.values()
    assert again is not job and opened.session_state["mine"].jobs == [again]
    jobs._running.clear()


def test_the_job_compiles_for_the_very_arrays(chain, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jobs.Job, "_run", lambda _: None)
    monkeypatch.setattr(readying, "_jobs", {})
    job = readying.job(chain, tmp_path)
    made = []
    monkeypatch.setattr(negotiating, "made", lambda problem, method: made.append((problem, method)))
    readying._compile(job.out)
    assert [method for _, method in made] == [*negotiating.AT_ONCE]
    assert all(jax.tree.all(jax.tree.map(np.array_equal, problem, chain)) for problem, _ in made)
    job.said = capsys.readouterr().err
    assert job.progress == 0.8
    jobs._running.clear()


def test_rounds_are_those_in_which_something_happens(page, chain):
    """To the end of a cycle, where the task is done."""
    said(page, "Round by round")
    assert len(negotiating.moments(negotiating.negotiated(chain, NOTHING).record)) < 20
    page.select_slider(key="moment").set_value(ROUNDS - 1).run()
    assert "The end of a cycle" in said(page)


def test_faults_are_switched_on(page):
    """An agent that stops is out for all allocators, and the negotiation also stands as it is without."""
    page.sidebar.multiselect[0].set_value([2]).run()
    page.segmented_control[0].set_value("Welfare").run()
    (table,) = [each.proto.body for each in page.get("html") if "dec-grd, nothing wrong" in each.proto.body]
    assert table.count("0 of 1") == len(negotiating.AT_ONCE) and table.count("1 of 1") == 1


def test_a_job_allocates_the_instance_that_is_shown(page, monkeypatch):
    started = []
    monkeypatch.setattr(jobs.Job, "_run", lambda job: started.append([*job.commands]))
    page.selectbox(key="long method").set_value("cen-rl").run()
    next(each for each in page.button if each.label == "Allocate as a job").click().run()
    (((command, path, *more),),) = started
    assert (command, more[:2]) == ("allocate", ["--method", "cen-rl"])
    assert to_json(read_problem(path)) == to_json(negotiating.generated())
    jobs._running.clear()
