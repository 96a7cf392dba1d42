"""What the Budgets page shows of causes: the graph, and how sure each edge of it is."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go
import streamlit as st

from bayesalloc.dashboard import widgets
from bayesalloc.dashboard.figures import as_label, blank
from bayesalloc.discovery.graph import Graph, from_edges, from_json
from bayesalloc.report import discovery
from bayesalloc.report.figures import COLOURS, INK
from bayesalloc.report.networks import SURE, columns, placed
from bayesalloc.report.words import words

Answer = Mapping[str, Any]  # the document of `bayesalloc discover`
EVERYTHING = "everything"
KINDS = {"causes": (COLOURS[0], "solid"), "may cause": (COLOURS[5], "dot"), "either way": (COLOURS[1], "dash")}
WIDTHS = ((SURE, 3.2), (0.5, 1.8), (0.0, 0.9))  # at least in so many of the tables, and pixels
ROW, BOW, STEPS, FEW = 34, 0.35, 8, 16  # pixels; of a column; parts of a bow; edges that are labelled

WIDE = """<style>.st-key-wide_graph { overflow-x: auto; }
.st-key-wide_graph > * { min-width: 50rem; }
.narrow { display: none; color: #59636e; font-size: .85rem; }
@media (max-width: 54rem) { .narrow { display: block; } }</style>"""  # a screen may be narrower
ASIDE = '<div class="narrow">Wider than the screen: move it sideways, or choose one column above.</div>'


class Edge(NamedTuple):
    """An edge as it is drawn: its kind and width, where it goes, and how sure it is, in short and in words."""

    kind: str
    width: float
    path: list[tuple[float, float]]
    share: str
    said: str


def causes(answer: Answer, tiers: Sequence[Sequence[str]]) -> None:
    """The graph, what was found in words, and each edge.

    Args:
        answer: of `discover`.
        tiers: what is known of them.
    """
    widgets.said(discovery.sentences(answer))
    graph = from_json(answer)
    if graph.adjacency.any():
        nodes = [name for column in columns(graph, tiers) for name in column]
        around = st.selectbox("Edges of", [EVERYTHING, *nodes], format_func=words)
        drawn = graph if around == EVERYTHING else _around(graph, around)
        if around == EVERYTHING:
            st.html(WIDE + ASIDE)
        with st.container(key="wide_graph" if around == EVERYTHING else "narrow_graph"):
            widgets.figure(network(drawn, answer, tiers), "graph")
        st.caption(
            ("Columns are the tiers, the earliest on the left. " if tiers else "Causes are left of their effects. ")
            + f"Thick: joined in {100 * SURE:.0f} % of the resampled tables or more; thin: in fewer than half. Dotted:"
            f" {discovery.UNSURE}. Dashed: either may be the cause. Touch the middle of an edge to see how sure it is."
        )
    with st.expander("How sure is each edge?"):
        widgets.table(discovery.edges_sheet(answer, name=words), "Perhaps: not in the graph.")
    with st.expander("What to beware of"):
        widgets.said([], answer["warnings"])
    sheet = discovery.edges_sheet(answer)
    rows = [dict(zip(sheet.header, row, strict=True)) for row in sheet.rows]
    widgets.downloads([("Edges (CSV)", widgets.rows_as_csv(rows), "edges.csv", "text/csv")])


def _around(graph: Graph, name: str) -> Graph:
    """One variable and what it is joined to."""
    return from_edges(
        graph.nodes,
        [pair for pair in graph.directed if name in pair],
        [pair for pair in graph.undirected if name in pair],
    )


def network(graph: Graph, answer: Answer, tiers: Sequence[Sequence[str]]) -> go.Figure:
    """Edges as wide as they are sure; dashed where either end may be the cause.

    Args:
        graph: what is drawn of the answer's.
        answer: of `discover`.
        tiers: the nodes of each column, where they are known.
    """
    drawn = placed(graph, columns(graph, tiers))
    at = {
        name: (float(place), (len(column) - 1) / 2 - row)
        for place, column in enumerate(drawn)
        for row, name in enumerate(column)
    }
    figure = blank("What causes what", 130 + ROW * max(map(len, drawn)))
    edges = _edges(graph, answer, at)
    told = set()
    for kind, width in sorted({(edge.kind, edge.width) for edge in edges}):
        alike = [edge for edge in edges if (edge.kind, edge.width) == (kind, width)]
        figure.add_trace(_lines(alike, named=kind not in told))
        told.add(kind)
    middles = [edge.path[len(edge.path) // 2] for edge in edges]
    x, y = zip(*middles, strict=True)
    mode = "markers+text" if len(edges) <= FEW else "markers"
    marks = {"text": [edge.share for edge in edges], "hovertext": [edge.said for edge in edges], "hoverinfo": "text"}
    figure.add_scatter(x=x, y=y, mode=mode, marker={"size": 14, "opacity": 0}, showlegend=False, **marks)
    x, y = zip(*at.values(), strict=True)
    figure.add_scatter(x=x, y=y, mode="markers", marker={"color": INK, "size": 7}, hoverinfo="skip", showlegend=False)
    for name, (x, y) in at.items():
        label = {"text": as_label(words(name)), "font": {"size": 12}, "bgcolor": "rgba(255,255,255,.7)", "yshift": 13}
        figure.add_annotation(x=x, y=y, showarrow=False, **label)
    figure.update_xaxes(visible=False, range=[-0.6, len(drawn) - 0.4])
    figure.update_yaxes(visible=False)
    return figure


def _edges(graph: Graph, answer: Answer, at: Mapping[str, tuple[float, float]]) -> list[Edge]:
    sure = {(row["from"], row["to"]): row for row in answer["confidence"] or ()}
    found = []
    for cause, effect in [*graph.directed, *graph.undirected]:
        row, either = sure.get((cause, effect)) or sure.get((effect, cause)), (cause, effect) in graph.undirected
        present, directed = (row["present"], row["directed"]) if row else (1.0, 1.0)
        kind = "either way" if either else "causes" if directed >= SURE else "may cause"
        width = next(width for least, width in WIDTHS if present >= least)
        share = f"{100 * present:.0f} %" if row else ""
        said = f"{words(cause)} {kind} {words(effect)}" if not either else f"{words(cause)} and {words(effect)}, {kind}"
        said += f": joined in {share} of the tables" if row else ""
        said += "" if either or not row else f", this way in {100 * directed:.0f} % of these"
        found.append(Edge(kind, width, _path(at[cause], at[effect]), share, as_label(said)))
    return found


def _path(start: tuple[float, float], end: tuple[float, float]) -> list[tuple[float, float]]:
    """Points of an edge, the middle one in its middle; within a column a bow."""
    bow = 4 * BOW if start[0] == end[0] else 0.0
    shares = [step / STEPS for step in range(STEPS + 1)]
    return [
        (start[0] + s * (end[0] - start[0]) - bow * s * (1 - s), start[1] + s * (end[1] - start[1])) for s in shares
    ]


def _lines(edges: Sequence[Edge], *, named: bool) -> go.Scatter:
    """Edges of one kind and width; an arrow at the end of those that have a direction."""
    kind, width = edges[0].kind, edges[0].width
    colour, dash = KINDS[kind]
    arrow = 0 if kind == "either way" else 11
    points = [point for edge in edges for point in (*edge.path, (None, None))]
    return go.Scatter(
        x=[x for x, _ in points],
        y=[y for _, y in points],
        name=kind,
        legendgroup=kind,
        showlegend=named,
        mode="lines+markers",
        line={"color": colour, "dash": dash, "width": width},
        marker={
            "symbol": "arrow",
            "angleref": "previous",
            "size": [size for edge in edges for size in [*[0] * (len(edge.path) - 1), arrow, 0]],
            "standoff": [size for edge in edges for size in [*[0] * (len(edge.path) - 1), 5, 0]],
            "color": colour,
            "opacity": 1,
        },
        hoverinfo="skip",
    )
