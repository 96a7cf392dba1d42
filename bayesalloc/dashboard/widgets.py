"""What several pages are made of: tables that scroll, downloads, uploads, and the jobs of a session."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from bayesalloc.dashboard import uploads
from bayesalloc.dashboard.figures import CONFIG
from bayesalloc.dashboard.jobs import Job
from bayesalloc.dashboard.state import Mine
from bayesalloc.errors import InputError, sentence
from bayesalloc.report import html
from bayesalloc.report.tables import Sheet
from bayesalloc.runs import MANIFEST

STYLE = """<style>
.scroll { overflow-x: auto; padding-bottom: .4rem; background:
  linear-gradient(90deg, #fff 30%, #fff0) 0 0 / 3rem 100%, linear-gradient(270deg, #fff 30%, #fff0) 100% 0 / 3rem 100%,
  linear-gradient(90deg, #0003, #0000) 0 0 / .8rem 100%, linear-gradient(270deg, #0003, #0000) 100% 0 / .8rem 100%;
  background-repeat: no-repeat; background-attachment: local, local, scroll, scroll; }
.scroll table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
.scroll caption { text-align: left; padding-bottom: .4rem; max-width: min(52rem, 100vw - 2.5rem); }
.answer { overflow-wrap: anywhere; } .answer li { margin: .2rem 0; } .answer .warn { color: #a33b00; }
.scroll th, .scroll td { padding: .3rem .6rem; text-align: right; white-space: nowrap; font-weight: 400; }
.scroll thead th { white-space: normal; vertical-align: bottom; font-weight: 600; border-bottom: 1.5px solid; }
.scroll th.long { min-width: 8.5em; }
.scroll th.key { text-align: left; padding-left: 0; } .scroll tr.first > * { border-top: 1px solid #d5dae0; }
</style>"""
KINDS = {".html": "text/html", ".csv": "text/csv", ".json": "application/json", ".toml": "application/toml"}
SECONDS = 1.0  # between looks at a running job


def table(sheet: Sheet, note: str = "") -> None:
    """A table, which on a narrow screen scrolls within itself; a shadow shows that there is more."""
    st.html(STYLE + html.table(sheet, note))


def said(sentences: Sequence[str], warnings: Sequence[str] = ()) -> None:
    """Sentences with names from data, which are neither HTML nor markdown; warnings last."""
    st.html(STYLE + html.answer(sentences, warnings))


def refused(sentence: str) -> None:
    """Why something was refused; names in it are no markdown."""
    st.error(plain(sentence))


def plain(text: str) -> str:
    r"""Text from data, for a place where Streamlit reads markdown.

    >>> print(plain("a_b: [x](http://y) <b> $z$"))
    a\_b: \[x\](http\://y) \<b> \$z\$
    """
    return re.sub(r"([\\`*_\[\]<$~]|:(?! ))", r"\\\1", text)


def figure(drawn: go.Figure, key: str) -> None:
    """A figure as wide as its place; its menu saves it as SVG."""
    st.plotly_chart(drawn, key=key, config=CONFIG, width="stretch")


def rows_as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as the text of a CSV file."""
    buffer = io.StringIO()
    names = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(buffer, [*names], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def uploaded(label: str, kind: str, own: Mine, take: Callable[[Path], Any], turn: int = 0) -> None:
    """A file that its user gives; refused in one sentence where it cannot be used.

    Args:
        label: what is asked for.
        kind: a key of `uploads.KINDS`.
        own: whose.
        take: reads it, once, and raises InputError where it cannot be used.
        turn: another one begins with an empty place.
    """
    there = uploads.KINDS[kind]
    most = max(1, there.most // 1_000_000)
    ending, key = there.ending.removeprefix("."), f"upload {kind} {turn}"
    given = st.file_uploader(label, ending, key=key, help="It is read, and never run.", max_upload_size=most)
    if given is None:
        return
    if given.file_id not in own.taken:
        own.taken[given.file_id] = ""
        try:
            path = uploads.kept(given.name, given.getvalue(), kind, own.home)
            with uploads.said_of(given.name, path):
                take(path)
            own.files.setdefault(kind, {})[uploads.short(given.name)] = path
        except InputError as error:
            own.taken[given.file_id] = sentence(error)
        else:
            st.rerun()  # it may be chosen elsewhere on the page
    if own.taken[given.file_id]:
        refused(own.taken[given.file_id])


def start(own: Mine, title: str, commands: Sequence[Sequence[str]], out: Path) -> None:
    """Start a job, or say why not."""
    try:
        own.jobs.append(Job(title, commands, out))
    except InputError as error:
        refused(sentence(error))


def jobs(own: Mine) -> None:
    """The session's jobs, each with its progress, an end to ask for, and what came of it."""
    running = any(job.state == "running" for job in own.jobs)
    st.fragment(_jobs, run_every=SECONDS if running else None)(own, running=running)


def _jobs(own: Mine, *, running: bool) -> None:
    if running and all(job.state != "running" for job in own.jobs):
        st.rerun()  # what has ended may offer something new elsewhere on the page
    for place, job in enumerate(own.jobs):
        with st.container(border=True):
            st.markdown(f"**{job.title}**: {job.state}")
            if job.state == "running":
                st.progress(job.progress or 0.0, text=job.sentence[-100:] or "starting")
                st.button("Cancel", key=f"cancel {place}", on_click=job.cancel)
            elif job.state == "done":
                _results(job, place)
            elif job.state == "cancelled":
                st.write("Cancelled; no results were written.")
            else:
                refused(job.sentence or "It ended without a word.")


def _results(job: Job, place: int) -> None:
    if job.out.is_dir():
        st.caption(f"Results: {job.out}")
    for name, label, kind in (
        ("report.html", "Report", "text/html"),
        ("allocate.json", "Result (JSON)", "application/json"),
    ):
        if (path := job.out / name).is_file():
            called = f"{job.out.name}{path.suffix}"
            st.download_button(label, path.read_bytes(), called, kind, key=f"{name} {place}")


def run_downloads(folder: Path) -> None:
    """The files of a run folder that a person opens."""
    files = [path for path in sorted(folder.iterdir()) if path.suffix in KINDS and path.name != MANIFEST]
    for column, path in zip(st.columns(max(len(files), 1)), files, strict=False):
        column.download_button(
            path.name,
            path.read_bytes(),
            path.name,
            KINDS[path.suffix],
            key=f"{folder.name} {path.name}",
            width="stretch",
        )


def downloads(files: Iterable[tuple[str, str, str, str]]) -> None:
    """Buttons side by side: label, content, file name and type of each."""
    files = [*files]
    for column, (label, content, name, kind) in zip(st.columns(len(files)), files, strict=True):
        column.download_button(label, content, name, kind, width="stretch")
