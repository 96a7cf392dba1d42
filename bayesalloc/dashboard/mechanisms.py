"""The Mechanisms page: a mechanism's numbers moved by hand, compared with others, kept, designed, and briefed."""

from pathlib import Path

import streamlit as st
import xarray as xr

from bayesalloc.dashboard import comparing, sliders, views, widgets
from bayesalloc.dashboard.comparing import Question
from bayesalloc.dashboard.first import MODEL, first, first_question
from bayesalloc.dashboard.state import Mine, mine
from bayesalloc.environment import Environment, schema_of
from bayesalloc.errors import InputError, sentence
from bayesalloc.mechanism import Mechanism
from bayesalloc.report import comparison
from bayesalloc.report.terms import toml
from bayesalloc.report.words import listing, words

LESS = 0.8  # of the response that is assumed
PAID = "payment"
VIEWS = ("Over time", "Effects", "Agents", "Choice", "Brief")
REFUSE, COMPLY = "would_refuse<=0.05", "deviation_gain<=0"


@st.cache_resource(max_entries=24, show_spinner="Simulating")
def _shown(question: Question) -> xr.DataTree:
    return comparing.shown(comparing.answered(question))


@st.cache_resource
def _first() -> tuple[xr.DataTree, dict[str, list[str]]]:
    return first()


def page() -> None:
    """The page."""
    own, env = mine(), comparing.environment(MODEL)
    _take_designs(own)
    there = {**comparing.shipped(MODEL), **own.mechanisms}
    chosen = st.session_state.setdefault("compare", [*env.arms(None)])
    st.session_state["compare"] = [*chosen, *(name for name in own.mechanisms if name not in own.offered)]
    own.offered |= {*own.mechanisms}
    st.title("Share the watershed by another rule")
    with st.sidebar:
        made = sliders.made(env, there, comparing.shipped(MODEL), _first()[1])
        horizon = st.slider(f"Horizon, {env.period}s", 5, 50, 20)
        posterior = _belief(own)
        responses = listing(map(words, schema_of(env).responses))
        less = st.toggle("If people respond 20 % less", help=f"Times {LESS}: {responses}.")
    beside = st.multiselect("Compare", [*there], format_func=words, key="compare")
    arms = {each: there[each] for each in dict.fromkeys([env.baseline, *beside])}
    if made is not None:
        arms[made.name] = toml(made, schema_of(env))
    question = Question(MODEL, tuple(arms.items()), horizon, posterior, LESS if less else 1.0)
    if len(arms) < 2:
        st.info("Choose another mechanism to compare with, or move a number.")
    else:
        try:
            _answer(_first()[0] if _same(question, first_question()) else _shown(question), question)
        except InputError as error:
            widgets.refused(sentence(error))
    st.subheader("Keep, and go on")
    _keep(own, made, env)
    with st.expander("Upload a mechanism, a record of your catchment, or a posterior"):
        _upload(own, env)
    with st.expander("Compare at full precision, or have terms designed"):
        _long(own, env, question)
    widgets.jobs(own)


def _answer(tree: xr.DataTree, question: Question) -> None:
    """A comparison, in words and in the view that is chosen."""
    for found in comparison.sentences(tree, words)[: len(question.arms) - 1]:
        st.markdown(f"- {found}")
    view = st.segmented_control("Show", VIEWS, default=VIEWS[0], key="view", label_visibility="collapsed")
    if view == "Brief":
        views.in_brief(tree, PAID, lambda: None if question.response < 1 else _shown(question._replace(response=LESS)))
    else:
        shows = {"Effects": views.effects, "Agents": views.agents, "Choice": views.choice}
        shows.get(str(view), views.over_time)(tree)
    size = f"{tree.attrs['draws']} draws of the parameters, {tree.attrs['futures']} futures each"
    st.caption(f"{size}; {comparison.basis(tree)}.")
    views.take_away(tree)


def _same(one: Question, other: Question) -> bool:
    """Whether two questions are the same but for the order of the arms."""
    return one._replace(arms=()) == other._replace(arms=()) and dict(one.arms) == dict(other.arms)


def _belief(own: Mine) -> str:
    """The file of a posterior; "" for the prior."""
    fitted = {f"{job.title} ({job.out.name})": job.out / "posterior.nc" for job in own.jobs}
    there = {"the prior": "", **{name: str(path) for name, path in fitted.items() if path.is_file()}}
    there |= {name: str(path) for name, path in own.files.get("posterior", {}).items()}
    return there[st.selectbox("What is believed of the parameters", [*there], key="belief")]


def _keep(own: Mine, made: Mechanism | None, env: Environment) -> None:
    """The mechanism that the sliders make, kept or downloaded."""
    if made is None:
        st.caption("Move a number to make a mechanism of your own.")
        return
    text = toml(made, schema_of(env))
    left, right = st.columns(2)
    if left.button(f"Keep '{made.name}' to compare", width="stretch"):
        own.mechanisms[made.name] = text
        st.rerun()
    right.download_button(f"Download {made.name}.toml", text, f"{made.name}.toml", "application/toml", width="stretch")


def _upload(own: Mine, env: Environment) -> None:
    """A mechanism, a record and a posterior of the user's own."""

    def take_mechanism(path: Path) -> None:
        read = comparing.mechanism(path.read_text(encoding="utf-8"), path.stem, schema_of(env))
        name = f"{path.stem}_uploaded" if path.stem in comparing.shipped(MODEL) else path.stem
        own.mechanisms[name] = toml(read, schema_of(env))

    def take_record(path: Path) -> None:
        comparing.check_record(MODEL, path, [*own.saved(own.mechanisms).values()])

    widgets.uploaded("Mechanism (TOML)", "mechanism", own, take_mechanism)
    widgets.uploaded("Record (CSV)", "record", own, take_record)
    for name, record in own.files.get("record", {}).items():
        if st.button(f"Fit the model to {name}", key=f"fit {name}"):
            out, known = own.new_run("fit"), own.saved(own.mechanisms).values()
            named = ["--mechanisms", *known] if known else []
            widgets.start(own, f"Fit to {name}", [["fit", MODEL, str(record), *named, "--out", str(out)]], out)
    widgets.uploaded("Posterior (netCDF)", "posterior", own, lambda path: comparing.check_posterior(MODEL, path))


def _long(own: Mine, env: Environment, question: Question) -> None:
    """What takes long enough to be a job."""
    if st.button("Compare with 500 draws, and write the report"):
        out, files = own.new_run("compare"), own.saved(_not_shipped(question))
        arms = [files.get(name, name) for name, _ in question.arms]
        belief = ["--posterior", question.posterior] if question.posterior else []
        more = ["--horizon", str(question.horizon), *belief, "--out", str(out)]
        widgets.start(own, "Comparison", [["compare", MODEL, "--mechanisms", *arms, *more]], out)
    st.divider()
    names = [name for name, _ in question.arms]
    start = st.selectbox("Design from", names, len(names) - 1, format_func=words)
    free = st.multiselect("Terms that may be set", [*schema_of(env).contract], ["milestones.payment"], words)
    goal = st.selectbox("What shall be as large as can be", _goals(env), format_func=words)
    kept = [REFUSE] if st.checkbox("Nobody refuses (at most 5 % likely)", value=True) else []
    kept += [COMPLY] if st.checkbox("Nobody gains by not complying") else []
    if st.button("Design the terms", disabled=not free):
        out, files = own.new_run("design"), own.saved(_not_shipped(question))
        state = own.home / f"{out.name}.json"
        ranges = comparing.ranges(MODEL, free)
        asked = [part for name, (low, high) in ranges.items() for part in ("--free", f"{name}={low:g}:{high:g}")]
        asked += [part for each in kept for part in ("--subject-to", each)]
        begin = ["optimize", "start", MODEL, *asked, "--maximise", goal, "--mechanisms", files.get(start, start)]
        begin += ["--state", str(state), "--horizon", str(question.horizon), "--out", f"{out}-start"]
        widgets.start(own, "Design", [begin, ["optimize", "ask", str(state), "--out", str(out)]], out)


def _not_shipped(question: Question) -> dict[str, str]:
    """The question's mechanisms that are not shipped: name -> TOML text."""
    return {name: text for name, text in question.arms if comparing.shipped(MODEL).get(name) != text}


def _goals(env: Environment) -> list[str]:
    """Outcomes that a design may aim at."""
    better = {name: outcome for name, outcome in env.outcomes.items() if outcome.better == "higher"}
    return [
        label
        for name, outcome in reversed(better.items())
        for label in ([f"{name}.{each}" for each in env.coords[outcome.dims[0]]] if outcome.dims else [name])
    ]


def _take_designs(own: Mine) -> None:
    """Mechanisms that were designed stand among the user's own."""
    for job in own.jobs:
        for path in job.out.glob("*_designed.toml") if job.state == "done" else ():
            own.mechanisms.setdefault(path.stem, path.read_text(encoding="utf-8"))
