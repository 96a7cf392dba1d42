"""The Runs page: what has been computed, opened again, compared, and downloaded."""

from pathlib import Path

import streamlit as st

from bayesalloc import repeating
from bayesalloc.dashboard import widgets
from bayesalloc.dashboard.state import mine, runs_folder
from bayesalloc.errors import InputError, sentence
from bayesalloc.repeating import Run
from bayesalloc.report.tables import Sheet
from bayesalloc.report.words import number


@st.cache_data(ttl=5.0, max_entries=1, show_spinner=False)
def _found(home: str) -> list[Run]:
    """The newest first; looked for again after a few seconds, as every file is hashed."""
    return [*repeating.found(runs_folder())][::-1]


def page() -> None:
    """The page."""
    st.title("What has been computed")
    home = runs_folder()
    there = _found(str(home.resolve())) if home.is_dir() else []
    if not there:
        st.info("Nothing yet: what jobs compute is listed here.")
        return
    names = {run.path.name: run for run in there}
    rows = [[name, _when(run), run.state, _in_short(run)] for name, run in names.items()]
    widgets.table(Sheet("Runs", ["folder", "time (UTC)", "state", "command"], rows, keys=4))
    chosen = names[st.selectbox("Open", [*names], key="run")]
    st.markdown(f"`{_asked(chosen)}`")
    if chosen.state != "whole":
        widgets.refused(f"{chosen.path.name}: {chosen.state}")
        return
    widgets.run_downloads(chosen.path)
    report = chosen.path / "report.html"
    if report.is_file() and st.toggle("Show the report"):
        st.iframe(report.read_text(encoding="utf-8"), height=900)
    _compared(chosen, names)
    _again(chosen)
    widgets.jobs(mine())


def _asked(run: Run) -> str:
    return repeating.short(run.origin.arguments) if run.origin else run.command


def _when(run: Run) -> str:
    return run.origin.time.replace("T", " ").removesuffix("Z") if run.origin else ""


def _in_short(run: Run) -> str:
    """The command with files by their names alone, as folders of uploads are long."""
    parts = repeating.without_output(run.origin.arguments) if run.origin else [run.command]
    return " ".join(Path(part).name if Path(part).is_file() else part for part in parts)


def _compared(chosen: Run, names: dict[str, Run]) -> None:
    """What differs between two runs of a command."""
    others = [name for name, run in names.items() if run.command == chosen.command and run is not chosen]
    other = st.selectbox("Compare with", ["none", *others], key="other run") if others else "none"
    if other == "none":
        return
    apart = repeating.differing(names[other], chosen)
    if not apart:
        st.success("The numbers are the same.")
        return
    rows = [[each.file, each.says, number(100 * each.relative)] for each in apart]
    widgets.table(Sheet("What differs most in each file", ["file", "entry", "by, % of its size"], rows, keys=2))


def _again(run: Run) -> None:
    """The same once more, as a job; a run of somebody's own code is not repeated here, as nobody here has read it."""
    if not st.button("Repeat it"):
        return
    own = mine()
    out = own.new_run(f"{run.command}-again")
    try:
        repeating.command(run, [], out)
    except InputError as error:
        widgets.refused(sentence(error))
        return
    widgets.start(own, f"Again: {run.path.name}", [["rerun", str(run.path), "--out", str(out)]], out)
