"""The dashboard's figures, in plotly: the colours and terms of the reports, and room for a finger."""

import html
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import xarray as xr

from bayesalloc.errors import visible
from bayesalloc.report import incentives
from bayesalloc.report.figures import COLOURS, GREY, INK, arm_colours
from bayesalloc.report.reading import arms_of, effects_of, flat, group, measure, period
from bayesalloc.report.words import words

CONFIG = {
    "displaylogo": False,
    "toImageButtonOptions": {"format": "svg"},
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "autoScale2d"],
}
DASHES = ("solid", "dot", "dashdot", "longdash", "longdashdot")  # beside colours, which not everybody tells apart
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star", "pentagon")
ROW_NAME, AXIS_NAME, LINES = 20, 34, 3  # characters in a line, and most lines
LINE, ROW = 15, 26  # pixels of a line, and of a row


def blank(title: str, height: int) -> go.Figure:
    """A figure with a title and nothing on it."""
    figure = go.Figure()
    figure.update_layout(
        template="none",  # Streamlit brings its own
        title={"text": title, "font": {"size": 15}, "x": 0, "xref": "container"},
        height=height,
        margin={"l": 10, "r": 10, "t": 40, "b": 10},
        font={"size": 13, "color": INK},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "title": None},
        hovermode="closest",
    )
    return figure


def _marks(tree: xr.DataTree) -> dict[str, tuple[str, str, str]]:
    """Arm -> colour, dash and symbol."""
    colours = arm_colours(tree)
    others = [arm for arm, colour in colours.items() if colour != GREY]
    marks = {arm: (colours[arm], DASHES[i % len(DASHES)], SYMBOLS[i % len(SYMBOLS)]) for i, arm in enumerate(others)}
    return {arm: marks.get(arm, (colour, "dash", "circle-open")) for arm, colour in colours.items()}


def course(tree: xr.DataTree, outcome: str) -> go.Figure:
    """An outcome over the periods: each arm's mean, and the band that holds the simulated futures."""
    data, called, unit = tree["courses"].to_dataset(), period(tree), measure(tree, outcome).unit
    when = data[called].values.tolist()
    figure = blank(_titled(outcome, unit), 330)
    lines = flat(data, "arm", "statistic", called)[outcome]
    for (arm, (colour, dash, _)), (mean, low, high) in zip(_marks(tree).items(), lines, strict=True):
        band = {"x": [*when, *when[::-1]], "y": [*high, *low[::-1]], "fill": "toself", "hoverinfo": "skip"}
        figure.add_scatter(**band, line={"width": 0}, fillcolor=colour, opacity=0.13, showlegend=False)
        figure.add_scatter(
            x=when, y=mean, name=words(arm), mode="lines", line={"color": colour, "dash": dash, "width": 2.5}
        )
    figure.update_xaxes(title=called)
    figure.update_yaxes(title=_axis(outcome, unit))
    return figure


def effects(tree: xr.DataTree, outcome: str) -> go.Figure:
    """The average effect of each arm on an outcome, its interval (thick), and that of one future (thin)."""
    unit, found = measure(tree, outcome).unit, effects_of(tree)[outcome]
    figure = blank(_titled(outcome, unit), 130 + 45 * len(found))
    marks = _marks(tree)
    for arm, stats in found.items():
        colour, _, symbol = marks[arm]
        for low, high, width in ((stats["one_low"], stats["one_high"], 2), (stats["low"], stats["high"], 7)):
            line = {"color": colour, "width": width}
            figure.add_scatter(x=[low, high], y=[words(arm)] * 2, mode="lines", line=line, hoverinfo="skip")
        marker = {"color": "white", "size": 10, "symbol": symbol, "line": {"color": colour, "width": 2.5}}
        figure.add_scatter(x=[stats["ate"]], y=[words(arm)], mode="markers", marker=marker)
    figure.add_vline(0, line={"color": INK, "width": 1, "dash": "dash"})
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title=f"difference{f', {unit}' if unit else ''}")
    figure.update_yaxes(autorange="reversed")
    return figure


def payoffs(tree: xr.DataTree) -> go.Figure:
    """Each agent's payoff under each arm; a cross where it would probably refuse."""
    agents, arms, name = group(tree, "agents"), arms_of(tree), incentives.payoff_name(tree)
    marks, unit = _marks(tree), incentives.payoff_unit(tree)
    everybody = agents["agent"].values.tolist()
    figure = blank("Payoff of each agent", 160 + len(everybody) * (30 + 14 * len(marks)))
    for place, (arm, (colour, _, symbol)) in enumerate(marks.items()):
        shift = 0.7 * ((place + 0.5) / len(marks) - 0.5)
        rows = [row + shift for row in range(len(everybody))]
        mean = [arms[f"{name}.{agent}"][arm] for agent in everybody]
        refuses = agents["would_refuse"].sel(arm=arm).values >= incentives.REFUSES
        figure.add_scatter(
            x=[each["mean"] for each in mean],
            y=rows,
            name=words(arm),
            mode="markers",
            marker={"color": colour, "size": 10, "symbol": ["x" if each else symbol for each in refuses]},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [each["high"] - each["mean"] for each in mean],
                "arrayminus": [each["mean"] - each["low"] for each in mean],
                "color": colour,
                "width": 0,
            },
        )
    figure.update_yaxes(tickvals=[*range(len(everybody))], ticktext=[*map(words, everybody)], autorange="reversed")
    figure.update_xaxes(title=f"payoff{f', {unit}' if unit else ''}")
    return figure


def best(
    probabilities: Mapping[str, Sequence[float]], weights: Sequence[float], criterion: str, tree: xr.DataTree
) -> go.Figure:
    """How probable it is that each arm is the best, as one criterion's weight moves.

    Args:
        probabilities: arm -> probability at each weight.
        weights: of the criterion, in percent of all weights.
        criterion: which.
        tree: the comparison.
    """
    figure = blank(f"Which is best, as {words(criterion)} counts for more", 330)
    for arm, (colour, dash, _) in _marks(tree).items():
        line = {"color": colour, "dash": dash, "width": 2.5}
        figure.add_scatter(x=[*weights], y=[100 * each for each in probabilities[arm]], name=words(arm), line=line)
    figure.update_xaxes(title=f"weight of {words(criterion)}, % of all weights", range=[0, 100])
    figure.update_yaxes(title="probability of being best, %", range=[-2, 102])
    return figure


def add_intervals(
    figure: go.Figure, kind: str, rows: Mapping[str, Mapping[str, float]], look: tuple[str, str, str]
) -> None:
    """Means with their intervals, a row each.

    Args:
        figure: gets them.
        kind: what they are, for the legend.
        rows: name -> `mean`, `low` and `high`.
        look: colour, symbol and what the symbol is filled with.
    """
    colour, symbol, fill = look
    beside = {"type": "data", "symmetric": False, "color": colour, "thickness": 4, "width": 0}
    beside["array"] = [each["high"] - each["mean"] for each in rows.values()]
    beside["arrayminus"] = [each["mean"] - each["low"] for each in rows.values()]
    figure.add_scatter(
        x=[each["mean"] for each in rows.values()],
        y=[as_label(words(name)) for name in rows],
        name=kind,
        mode="markers",
        marker={"color": fill, "size": 10, "symbol": symbol, "line": {"color": colour, "width": 2.5}},
        error_x=beside,
    )


def as_label(text: str) -> str:
    """A name from data for plotly, which takes some tags in text for its own."""
    return html.escape(visible(text), quote=False)


def name_rows(figure: go.Figure, names: Sequence[str]) -> None:
    """Rows from the top down, with names in lines so short that a telephone has room beside them.

    Args:
        figure: whose rows are at `as_label(name)` each.
        names: of the rows.
    """
    labels = [_broken(name, ROW_NAME, LINES) for name in names]
    more = max((label.count("<br>") for label in labels), default=0)
    taller = max(0, (1 + more) * LINE - ROW) * len(names)
    figure.update_layout(height=figure.to_dict()["layout"]["height"] + taller)
    at = [*map(as_label, names)]
    order = {"categoryorder": "array", "categoryarray": at, "tickvals": at, "ticktext": labels}
    figure.update_yaxes(autorange="reversed", type="category", **order)


def as_axis(text: str) -> str:
    """What an axis is called, in lines that a telephone has room for."""
    return _broken(text, AXIS_NAME, LINES)


def _broken(text: str, width: int, most: int) -> str:
    lines = textwrap.wrap(visible(text), width, max_lines=most, placeholder=" \N{HORIZONTAL ELLIPSIS}")
    return "<br>".join(map(as_label, lines))


def _titled(outcome: str, unit: str) -> str:
    return f"{words(outcome).capitalize()}{f', {unit}' if unit else ''}"


def _axis(outcome: str, unit: str) -> str:
    return f"{words(outcome)}{f', {unit}' if unit else ', pure number'}"


def intervals(
    rows: Mapping[str, Mapping[str, float]], title: str, unit: str, others: Mapping[str, float | None] | None = None
) -> go.Figure:
    """A mean with its interval in each row; a cross where something else was said before.

    Args:
        rows: name -> mean, low and high.
        title: of the figure.
        unit: of the axis.
        others: name -> the earlier number.
    """
    figure = blank(title, 120 + 28 * len(rows))
    names = [*map(as_label, rows)]
    stats = [*rows.values()]
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [each["high"] - each["mean"] for each in stats],
        "arrayminus": [each["mean"] - each["low"] for each in stats],
        "width": 0,
    }
    marker = {"color": COLOURS[0], "size": 9}
    figure.add_scatter(
        x=[s["mean"] for s in stats], y=names, mode="markers", marker=marker, error_x=bars, name="believed"
    )
    if others:
        cross = {"color": COLOURS[1], "size": 9, "symbol": "x"}
        figure.add_scatter(
            x=[others.get(name) for name in rows], y=names, mode="markers", marker=cross, name="as stated"
        )
    figure.update_layout(showlegend=bool(others))
    figure.update_xaxes(title=as_axis(unit))
    name_rows(figure, [*rows])
    return figure


def moved(projects: Sequence[Mapping[str, Any]]) -> go.Figure:
    """What each project gets now (open circle) and would get (filled)."""
    figure = blank("What each project would get", 130 + 28 * len(projects))
    names = [as_label(each["project"]) for each in projects]
    for each, name in zip(projects, names, strict=True):
        line = {"color": GREY, "width": 1.5}
        figure.add_scatter(x=[each["before"], each["amount"]], y=[name] * 2, mode="lines", line=line, showlegend=False)
    before = {"color": GREY, "size": 9, "symbol": "circle-open"}
    figure.add_scatter(x=[each["before"] for each in projects], y=names, mode="markers", marker=before, name="now")
    after = {"color": COLOURS[0], "size": 10}
    figure.add_scatter(x=[each["amount"] for each in projects], y=names, mode="markers", marker=after, name="proposed")
    figure.update_xaxes(title="USD in a round")
    name_rows(figure, [each["project"] for each in projects])
    return figure


def sweep(points: Sequence[Mapping[str, float]], budget: float, unit: str) -> go.Figure:
    """What the best split of other budgets is expected to bring."""
    figure = blank("Expected impact by total budget", 340)
    line = {"color": COLOURS[0], "width": 2.5}
    figure.add_scatter(
        x=[p["budget"] for p in points], y=[p["impact"] for p in points], mode="lines+markers", line=line
    )
    figure.add_vline(budget, line={"color": INK, "width": 1, "dash": "dash"}, annotation_text="now")
    figure.update_xaxes(title="budget of a round, USD")
    figure.update_yaxes(title=as_axis(f"expected {unit}"))
    return figure
