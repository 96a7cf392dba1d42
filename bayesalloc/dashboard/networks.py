"""The Networks page: an instance drawn, a negotiation round by round, and what each allocator makes of the instance."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st

from bayesalloc.allocators.instances import Setting
from bayesalloc.allocators.methods import SIZES
from bayesalloc.allocators.problem import Problem, read_problem, to_json
from bayesalloc.dashboard import drawing, negotiating, readying, widgets
from bayesalloc.dashboard.drawing import Move, by_type
from bayesalloc.dashboard.negotiating import AT_ONCE, FIRST, NEGOTIATED, NOTHING, ROUNDS, Negotiated, Wrong
from bayesalloc.dashboard.state import Mine, mine
from bayesalloc.errors import InputError, sentence
from bayesalloc.report.tables import Sheet
from bayesalloc.report.words import words

GENERATED = "a generated one"
NETWORKS = ("small_world", "scale_free", "random", "barabasi_albert")
AGENTS = (8, 12, 16)  # few, as programs are compiled for each
VIEWS = ("The problem", "Round by round", "Allocations", "Welfare")
SENT = ("from", "to", "items of each type")


@st.cache_resource(max_entries=24, show_spinner="Drawing a network")
def _generated(setting: Setting, number: int) -> Problem:
    return negotiating.generated(setting, number)


@st.cache_resource(max_entries=8, show_spinner="Reading the instance")
def _read(path: str, written: int) -> Problem:  # a file that is written anew is read anew
    return read_problem(path, alone=True)


@st.cache_resource(max_entries=96, show_spinner="Allocating")
def _allocated(text: str, method: str, out: tuple[int, ...], _problem: Problem) -> dict[str, Any]:
    return negotiating.allocated(_problem, method, out)


@st.cache_resource(max_entries=24, show_spinner="Negotiating")
def _negotiated(text: str, wrong: Wrong, _problem: Problem) -> Negotiated:
    return negotiating.negotiated(_problem, wrong)


def page() -> None:
    """The page."""
    own = mine()
    st.title("Share items in a network")
    try:
        with st.sidebar:
            problem = _chosen(own)
        _shown(own, problem)
        with st.expander("Have it allocated by a method that takes longer"):
            _long(own, problem)
    except InputError as error:
        widgets.refused(sentence(error))
    with st.expander("Upload an instance"):
        widgets.uploaded("Instance (JSON)", "problem", own, lambda path: read_problem(path, alone=True))
    widgets.jobs(own)


def _shown(own: Mine, problem: Problem) -> None:
    """The view that is chosen, or why there is none."""
    try:
        negotiating.check_size(problem)
    except InputError as error:
        widgets.refused(sentence(error))
        return
    with st.sidebar.expander("What may go wrong"):
        wrong = _wrong(len(problem.resources))
    view = st.segmented_control("Show", VIEWS, default=VIEWS[0], key="network view", label_visibility="collapsed")
    shows = {"Round by round": _rounds, "Allocations": _allocations, "Welfare": _welfare}
    if view not in shows:
        _drawn(problem, to_json(problem), wrong)
    elif _ready(own, problem):
        shows[view](problem, to_json(problem), wrong)


def _ready(own: Mine, problem: Problem) -> bool:
    """Whether programs for an instance of this size are there; a job compiles them where they are not."""
    job = readying.job(problem, own.home)
    own.jobs[:] = [each for each in own.jobs if each is not job]
    if job.state not in ("running", "done") and st.button("Get ready for an instance of this size"):
        job = readying.job(problem, own.home, anew=True)
    if job.state != "done":
        own.jobs.append(job)
    if job.state == "running":
        st.info("This is the first instance of its size: what computes it is made ready below, once.")
    return job.state == "done"


def _chosen(own: Mine) -> Problem:
    """The instance: one of the user's, or one that is generated from a setting."""
    files = own.files.get("problem", {})
    chosen = st.selectbox("Instance", [GENERATED, *files], len(files))
    if chosen != GENERATED:
        return _read(str(files[chosen]), files[chosen].stat().st_mtime_ns)
    sort = st.selectbox("Network", NETWORKS, format_func=words)
    agents = st.select_slider("Agents", AGENTS)
    degree = st.select_slider("Mean number of neighbours", (2, 4), disabled=sort == "scale_free")
    stock = st.slider("Items of each type that a provider holds", 1, 15, FIRST.provider_stock[0])
    cost = st.slider("Cost of moving one item over one link (units of utility)", 0.0, 5.0, FIRST.per_item, 0.5)
    number = st.number_input(
        "Number of the instance", 0, 9999, 0, help="Another number draws another network and tasks."
    )
    setting = replace(FIRST, network=sort, agents=agents, degree=degree, provider_stock=(stock,), per_item=cost)
    return _generated(setting, int(number))


def _wrong(agents: int) -> Wrong:
    """What goes wrong."""
    loss = st.slider("Messages lost (%)", 0, 80, 0, 5, help="Each sending; a lost one is sent again up to three times.")
    delay = st.slider("Messages a round late (%)", 0, 100, 0, 5)
    everybody = range(agents)
    before = st.multiselect("Agents that stop before they offer", everybody, key=f"before {agents}")
    after = st.multiselect("Agents that stop after they have confirmed", everybody, key=f"after {agents}")
    seed = st.number_input("Number of the draw", 0, 9999, 0, help="Another number loses other messages.")
    return Wrong(loss / 100, delay / 100, tuple(sorted(before)), tuple(sorted(after)), int(seed))


def _drawn(problem: Problem, text: str, wrong: Wrong) -> None:
    """The instance."""
    tasks = _tasks(problem)
    kinds = ["stopped" if agent in wrong.before else "has tasks" if n else "no task" for agent, n in enumerate(tasks)]
    labels = [f"{agent}" for agent in range(len(tasks))]
    items = np.asarray(problem.resources)
    widgets.figure(drawing.network(problem, "Agents and links", kinds, labels, items), "network")
    st.caption(
        "Large agents hold many items; rest on one to read how many. A task pays its utility when all that it requires"
        f" has come to its agent. Moving an item costs {float(problem.per_item):g} for each unit of length."
    )
    rows = [[f"{a}", by_type(items[a]), f"{n}", f"{_worth(problem, a):g}"] for a, n in enumerate(tasks)]
    widgets.table(Sheet("agents", ["agent", "items of each type", "tasks", "utility of all its tasks"], rows))
    listed = [
        {"task": int(task), "agent": int(problem.owner[task]), "utility": float(problem.utility[task])}
        | {f"requires_{kind}": int(n) for kind, n in enumerate(problem.requires[task])}
        for task in np.flatnonzero(np.asarray(problem.real))
    ]
    with st.expander("The tasks"):
        rows = [[f"{v:g}" for v in (*each.values(),)] for each in listed]
        widgets.table(Sheet("tasks", [words(name) for name in (listed or [{"task": 0}])[0]], rows))
    widgets.downloads(
        [
            ("Instance (JSON)", text, "problem.json", "application/json"),
            ("Tasks (CSV)", widgets.rows_as_csv(listed), "tasks.csv", "text/csv"),
        ]
    )


def _rounds(problem: Problem, text: str, wrong: Wrong) -> None:
    """The negotiation, at a moment that its user chooses."""
    told = _negotiated(text, wrong, problem)
    record, tasks = told.record, _tasks(problem)
    moments = negotiating.moments(record)
    now = st.select_slider("Moment", moments, format_func=_moment, key="moment") if len(moments) > 1 else moments[0]
    kept = np.asarray(record.held[now] + record.reserved[now] + record.offered[now])
    over, done = now == moments[-1], record.done[now].tolist()
    kinds = [_kind(*each, over=over) for each in zip(tasks, done, strict=True)]
    kinds = ["stopped" if now >= stop else kind for stop, kind in zip(told.stop, kinds, strict=True)]
    moves = negotiating.moves(record, now)
    title, labels = _moment(now).capitalize(), _labels(tasks, done)
    widgets.figure(drawing.network(problem, title, kinds, labels, kept, moves), "rounds")
    if negotiating.last(now):
        st.caption("The end of a cycle: arrows are items that tasks use; what was sent for others has gone back.")
    else:
        st.caption("Arrows, with how many: items that set out in this round; light ones set out before, in this cycle.")
    st.caption("Beside each agent: how many of its tasks are done.")
    rows = [[f"{each.origin}", f"{each.to}", by_type(each.quantity)] for each in moves if each.now]
    widgets.table(Sheet("items that set out in this round", [*SENT], rows or [["none", "", ""]]))
    states = {
        "free": record.held,
        "set aside": record.reserved,
        "offered": record.offered,
        "sent or used": record.consumed,
    }
    rows = [
        [f"{agent}", *(by_type(each[now, agent]) for each in states.values()), f"{done[agent]} of {n}"]
        for agent, n in enumerate(tasks)
    ]
    widgets.table(Sheet("items of each agent, of each type", ["agent", *states, "tasks done"], rows))
    every = [
        {"round": when, "agent": agent, "type": kind}
        | {name.replace(" ", "_"): int(each[when, agent, kind]) for name, each in states.items()}
        for when, agent, kind in np.ndindex(record.held.shape)
    ]
    moved = [
        {"round": when, "from": each.origin, "to": each.to, **{f"type_{k}": n for k, n in enumerate(each.quantity)}}
        for when in moments
        for each in negotiating.moves(record, when)
        if each.now
    ]
    widgets.downloads(
        [
            ("Items by round (CSV)", widgets.rows_as_csv(every), "rounds.csv", "text/csv"),
            ("Moves (CSV)", widgets.rows_as_csv(moved), "moves.csv", "text/csv"),
        ]
    )


def _allocations(problem: Problem, text: str, wrong: Wrong) -> None:
    """What one allocator does."""
    method = st.selectbox("Allocator", AT_ONCE)
    found = _found(problem, text, wrong, method)
    _warn([found])
    tasks, owners = _tasks(problem), np.asarray(problem.owner)[found["tasks_done"]]
    done = np.bincount(owners, minlength=len(tasks)).tolist()
    sent: dict[tuple[int, int], np.ndarray] = {}
    for row in found["allocation"]:
        ends = row["agent"], int(problem.owner[row["task"]])
        sent.setdefault(ends, np.zeros(problem.resources.shape[1], int))[row["type"]] += row["quantity"]
    moves = [Move(one, to, tuple(many.tolist())) for (one, to), many in sorted(sent.items()) if one != to]
    kinds = ["stopped" if a in wrong.before else _kind(n, done[a], over=True) for a, n in enumerate(tasks)]
    items = np.asarray(problem.resources)
    title, labels = f"Who sends what, by {method}", _labels(tasks, done)
    widgets.figure(drawing.network(problem, title, kinds, labels, items, moves), "sent")
    st.caption("Arrows: how many items go to an agent's tasks. Beside each agent: how many of its tasks are done.")
    rows = [[f"{each.origin}", f"{each.to}", by_type(each.quantity)] for each in moves]
    widgets.table(Sheet("items sent", [*SENT], rows or [["none", "", ""]]))
    widgets.downloads([("Shipments (CSV)", widgets.rows_as_csv(found["allocation"]), "shipments.csv", "text/csv")])


def _welfare(problem: Problem, text: str, wrong: Wrong) -> None:
    """All allocators side by side."""
    found = {method: _found(problem, text, wrong, method) for method in AT_ONCE}
    if wrong != NOTHING:
        found[f"{NEGOTIATED}, nothing wrong"] = _negotiated(text, NOTHING, problem).document
    _warn(found.values())
    bounds = [each["upper_bound"] for name, each in found.items() if each["upper_bound"] is not None]
    widgets.figure(drawing.welfare(found, min(bounds, default=None)), "welfare")
    st.caption(
        "Diamonds: the best of these. Dashed: no allocation can be better. opt, cen-grd and cen-grd+ know everything,"
        " dec-grd and dec-price their neighbours. Agents that stop before they offer are out for everybody; all else"
        f" that may go wrong is about messages and promises, which only {NEGOTIATED} has."
    )
    shown = ("social_welfare", "utility", "transfer_cost", "upper_bound", "messages")
    rows = [
        [name, *(_number(each[field]) for field in shown), f"{len(each['tasks_done'])} of {sum(_tasks(problem))}"]
        for name, each in found.items()
    ]
    header = ["allocator", *(words(field) for field in shown), "tasks done"]
    widgets.table(Sheet("allocators", header, rows), "Welfare, utility, cost and bound in units of utility.")
    listed = [{"allocator": name, **{field: each[field] for field in shown}} for name, each in found.items()]
    widgets.downloads([("Welfare (CSV)", widgets.rows_as_csv(listed), "welfare.csv", "text/csv")])


def _found(problem: Problem, text: str, wrong: Wrong, method: str) -> dict[str, Any]:
    if method == NEGOTIATED:
        return _negotiated(text, wrong, problem).document
    return _allocated(text, method, wrong.before, problem)


def _long(own: Mine, problem: Problem) -> None:
    """Any method, as a job."""
    method = st.selectbox("Method", [*SIZES], key="long method")
    if st.button("Allocate as a job"):
        SIZES[method].check(method, problem)
        out = own.new_run("allocate")
        own.home.mkdir(parents=True, exist_ok=True)
        path = own.home / f"{out.name}.json"
        path.write_text(to_json(problem), encoding="utf-8")
        widgets.start(
            own, f"Allocation by {method}", [["allocate", str(path), "--method", method, "--out", str(out)]], out
        )


def _tasks(problem: Problem) -> list[int]:
    """How many tasks each agent has."""
    owners = np.asarray(problem.owner)[np.asarray(problem.real)]
    return np.bincount(owners, minlength=len(problem.resources)).tolist()


def _worth(problem: Problem, agent: int) -> float:
    mine_ = np.asarray(problem.real) & (np.asarray(problem.owner) == agent)
    return float(np.asarray(problem.utility, float)[mine_].sum())


def _kind(tasks: int, done: int, *, over: bool) -> str:
    if not tasks:
        return "no task"
    return "all its tasks done" if done == tasks else "tasks left undone" if over else "has tasks"


def _labels(tasks: Sequence[int], done: Sequence[int]) -> list[str]:
    return [f"{agent}: {d}/{n}" if n else f"{agent}" for agent, (n, d) in enumerate(zip(tasks, done, strict=True))]


def _moment(now: int) -> str:
    return f"cycle {1 + now // ROUNDS}, round {now % ROUNDS}"


def _number(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else f"{value:,.6g}"


def _warn(found: Any) -> None:
    for said in dict.fromkeys(said for each in found for said in each["warnings"]):
        st.warning(said)
