"""What the Budgets page shows of a later period: what was forecast, given what was decided in it, and what happened."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from bayesalloc.dashboard import widgets
from bayesalloc.dashboard.figures import as_axis, as_label, blank, name_rows
from bayesalloc.report.figures import COLOURS, FAINT, INK
from bayesalloc.report.tables import Sheet
from bayesalloc.report.words import bracket, number, words

Answer = Mapping[str, Any]  # the document of `bayesalloc budget --actuals`, or a row of its actuals


def outturns(answer: Answer) -> None:
    """How many forecasts held, and each of one row of the file."""
    there, level = answer["actuals"], f"{100 * answer['interval']['prob']:.0f} %"
    inside = sum(each["inside"] for each in there)
    st.markdown(f"Of {len(there)} numbers that were forecast, {inside} lie in their {level} intervals.")
    labels = [*dict.fromkeys(each["row"] for each in there)]
    chosen = st.selectbox("Row of the file", labels) if len(labels) > 1 else labels[0]
    rows = [each for each in there if each["row"] == chosen]
    widgets.figure(_missed(rows), "outturns")
    st.caption(
        f"Each number where it fell in its forecast's {level} interval, whose ends are at \N{MINUS SIGN}1 and 1;"
        " squares fell outside. The forecast knows what was decided, and the conditions that the file says."
    )
    shown = [
        [
            words(each["outcome"]),
            bracket({part: each[part] for part in ("forecast", "low", "high")}, "forecast"),
            number(each["happened"]),
            "yes" if each["inside"] else "no",
        ]
        for each in rows
    ]
    header = ["column", "forecast", "happened", "inside"]
    widgets.table(Sheet("Forecast and what happened", header, shown), "In each column's own unit.")
    listed = widgets.rows_as_csv(there)
    widgets.downloads([("What happened (CSV)", listed, "outturns.csv", "text/csv")])


def _missed(rows: Sequence[Answer]) -> go.Figure:
    """Where each number fell, in half widths of its interval."""
    figure = blank("What happened, beside the forecast", 120 + 28 * len(rows))
    figure.add_vrect(-1, 1, fillcolor=FAINT, opacity=0.35, line_width=0, layer="below")
    for kind, colour, symbol in (("inside", COLOURS[0], "circle"), ("outside", COLOURS[1], "square")):
        there = [each for each in rows if each["inside"] == (kind == "inside")]
        figure.add_scatter(
            x=[away(each) for each in there],
            y=[as_label(words(each["outcome"])) for each in there],
            mode="markers",
            name=kind,
            marker={"color": colour, "symbol": symbol, "size": 10},
        )
    figure.add_vline(0, line={"color": INK, "width": 1, "dash": "dash"})
    figure.update_xaxes(title=as_axis("happened less forecast, in half widths of the interval"))
    name_rows(figure, [words(each["outcome"]) for each in rows])
    return figure


def away(row: Answer) -> float:
    """How far from its forecast a number fell, as a share of the way to the end of the interval on its side.

    >>> away({"happened": 1.5, "forecast": 1.0, "low": 0.5, "high": 3.0})
    0.25
    >>> round(away({"happened": 3e-15, "forecast": 1e-15, "low": 0.0, "high": 2e-15}), 6)
    2.0
    """
    apart = row["happened"] - row["forecast"]
    side = row["high"] - row["forecast"] if apart >= 0 else row["forecast"] - row["low"]
    if side > 0:
        return apart / side
    return math.copysign(math.inf, apart) if apart else 0.0
