"""What the Budgets page shows of an effect: what was asked, and what else the treatment moves, over all graphs."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from bayesalloc.dashboard import widgets
from bayesalloc.dashboard.figures import add_intervals, as_label, blank, name_rows
from bayesalloc.report.figures import COLOURS, INK
from bayesalloc.report.tables import Sheet
from bayesalloc.report.words import bracket, words

Answer = Mapping[str, Any]  # the document of `bayesalloc effect`, or a row of its effects
SHOWN = 12  # columns


def effects(answer: Answer) -> None:
    """What was asked, in words, and what else the treatment moves."""
    widgets.said(answer["answer"])
    rows = _clearest(answer)
    if rows:
        widgets.figure(_forest(answer, rows), "forest")
        level = f"{100 * answer['interval']['prob']:.0f} %"
        st.caption(
            f"{level} intervals hold what is not known of the effect's size and of the graph. Hollow: not identified."
        )
        widgets.table(_effects(answer, rows), "In each column's own unit, for one of the treatment's.")
    with st.expander("What to beware of"):
        widgets.said([], answer["warnings"])
    every = [{**row, "sd": row["sd"][1], "treatment": answer["treatment"]} for row in answer["effects"]]
    widgets.downloads([("Effects (CSV)", widgets.rows_as_csv(every), "effects.csv", "text/csv")])


def _clearest(answer: Answer) -> list[Answer]:
    """The column that was asked for, then those that are moved most clearly."""

    def clear(row: Answer) -> tuple[bool, float]:
        width = (row["high"] or 0.0) - (row["low"] or 0.0)
        return row["outcome"] != answer["outcome"], -abs(row["mean"]) / max(width, 1e-12)

    return sorted((row for row in answer["effects"] if row["mean"] is not None), key=clear)[:SHOWN]


def _stats(row: Answer, times: float = 1.0) -> dict[str, float]:
    """The effect with its interval, in the column's own unit or in another."""
    return {key: row[key] * times for key in ("mean", "low", "high")}


def _forest(answer: Answer, rows: Sequence[Answer]) -> go.Figure:
    """Effects in standard deviations of each column, for one of the treatment's own."""
    treatment = words(answer["treatment"])
    figure = blank(f"What {as_label(treatment)} moves", 120 + 32 * len(rows))
    for kind, fill in (("identified", COLOURS[0]), ("not identified", "white")):
        there = {
            row["outcome"]: _stats(row, row["sd"][0] / row["sd"][1])
            for row in rows
            if row["identified"] == (kind == "identified")
        }
        add_intervals(figure, kind, there, (COLOURS[0], "circle", fill))
    figure.add_vline(0, line={"color": INK, "width": 1, "dash": "dash"})
    figure.update_xaxes(title="standard deviations of the column")
    name_rows(figure, [words(row["outcome"]) for row in rows])
    return figure


def _effects(answer: Answer, rows: Sequence[Answer]) -> Sheet:
    shown = [
        [
            words(row["outcome"]),
            bracket(_stats(row), "mean", signed=True),
            "identified" if row["identified"] else "not identified",
        ]
        for row in rows
    ]
    return Sheet(f"What {words(answer['treatment'])} moves", ["column", "effect", "by the graphs"], shown)
