"""Networks in plotly: agents with their items and tasks, items that move between them, and welfare by allocator."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
import plotly.graph_objects as go

from bayesalloc.allocators.problem import Problem, exact_links
from bayesalloc.dashboard.figures import blank
from bayesalloc.report.figures import COLOURS, FAINT, GREY, INK

BLUE, VERMILION, GREEN = COLOURS[:3]
LOOKS = {  # what an agent is -> colour and symbol
    "no task": (GREY, "circle-open"),
    "has tasks": (BLUE, "circle"),
    "all its tasks done": (GREEN, "diamond"),
    "tasks left undone": (VERMILION, "square"),
    "stopped": (INK, "x"),
}
SMALLEST, LARGEST = 13, 34  # pixels, of an agent without items and of one with the most


class Move(NamedTuple):
    """Items that move from one agent to another's tasks: of each type; `now`, or at some time before."""

    origin: int
    to: int
    quantity: tuple[int, ...]
    now: bool = True


def places(problem: Problem) -> dict[int, tuple[float, float]]:
    """Where each agent is drawn: near those it is near to."""
    graph = nx.Graph()
    graph.add_nodes_from(range(len(problem.resources)))
    graph.add_weighted_edges_from(zip(*(each.tolist() for each in exact_links(problem)), strict=True))
    return {agent: (float(x), float(y)) for agent, (x, y) in nx.kamada_kawai_layout(graph).items()}


def network(
    problem: Problem,
    title: str,
    kinds: Sequence[str],
    labels: Sequence[str],
    items: np.ndarray,
    moves: Sequence[Move] = (),
) -> go.Figure:
    """The agents and their links, and arrows where items move.

    Args:
        problem: the instance.
        title: of the figure.
        kinds: a key of LOOKS for each agent.
        labels: what stands above each agent.
        items: how many items each agent has, shape (agent, type); they make it large.
        moves: arrows.
    """
    at, figure = places(problem), blank(title, 480)
    lines: dict[str, list[float | None]] = {"x": [], "y": []}
    for one, other in zip(*(each.tolist() for each in exact_links(problem)[:2]), strict=True):
        for axis, name in enumerate("xy"):
            lines[name] += [at[one][axis], at[other][axis], None]
    figure.add_scatter(**lines, mode="lines", line={"color": FAINT, "width": 2}, hoverinfo="skip", name="link")
    held = items.sum(1)
    sizes = SMALLEST + (LARGEST - SMALLEST) * np.sqrt(held / max(held.max(), 1))
    for kind in [each for each in LOOKS if each in kinds]:
        colour, symbol = LOOKS[kind]
        who = [agent for agent, its in enumerate(kinds) if its == kind]
        figure.add_scatter(
            x=[at[agent][0] for agent in who],
            y=[at[agent][1] for agent in who],
            mode="markers",
            name=kind,
            hovertext=[f"agent {agent}: {by_type(items[agent])} items by type" for agent in who],
            hoverinfo="text",
            marker={"color": colour, "symbol": symbol, "size": sizes[who], "opacity": 1, "line": {"width": 1.5}},
        )
    for move in sorted(moves, key=lambda each: each.now):
        _arrow(figure, at, move)
    for agent, label in enumerate(labels):  # after the arrows, which would cross them out
        over = {"yshift": float(sizes[agent]) / 2 + 9, "showarrow": False, "bgcolor": "#ffffffcc", "borderpad": 0}
        figure.add_annotation(x=at[agent][0], y=at[agent][1], text=label, **over)
    for axis, update in enumerate((figure.update_xaxes, figure.update_yaxes)):
        low, high = (f(place[axis] for place in at.values()) for f in (min, max))
        room = 0.15 * max(high - low, 0.5)
        update(visible=False, range=[low - room, high + room + 0.05 * axis])
    return figure


def _arrow(figure: go.Figure, at: Mapping[int, tuple[float, float]], move: Move) -> None:
    """An arrow, with the number of items beside it where they move now."""
    (x, y), (ax, ay) = at[move.to], at[move.origin]
    colour, width = (INK, 2.5) if move.now else (COLOURS[5], 1.5)
    ends = {"x": x, "y": y, "ax": ax, "ay": ay, "xref": "x", "yref": "y", "axref": "x", "ayref": "y"}
    figure.add_annotation(
        **ends, text="", arrowhead=2, arrowcolor=colour, arrowwidth=width, standoff=14, startstandoff=12
    )
    if move.now:
        share = 0.42  # of the way from the receiver: arrows that cross are told apart
        middle = {"x": share * ax + (1 - share) * x, "y": share * ay + (1 - share) * y}
        figure.add_annotation(**middle, text=f"{sum(move.quantity)}", showarrow=False, bgcolor="#ffffffcc", borderpad=1)


def by_type(quantities: Any) -> str:
    """Items of each type.

    >>> by_type([3, 0])
    '3, 0'
    """
    return ", ".join(str(int(each)) for each in quantities)


def welfare(found: Mapping[str, Mapping[str, Any]], bound: float | None) -> go.Figure:
    """Social welfare by allocator, and the lowest of the bounds on what is possible."""
    figure = blank("Social welfare, in units of utility", 130 + 42 * len(found))
    best = max((each["social_welfare"] for each in found.values()), default=0.0)
    for name, each in found.items():
        colour, symbol = (GREEN, "diamond") if each["social_welfare"] >= best - 1e-6 * abs(best) else (BLUE, "circle")
        value = each["social_welfare"]
        figure.add_scatter(
            x=[0, value], y=[name] * 2, mode="lines", line={"color": colour, "width": 3}, hoverinfo="skip"
        )
        figure.add_scatter(
            x=[value],
            y=[name],
            mode="markers+text",
            text=[f"{value:.6g}"],
            textposition="top left",
            marker={"color": colour, "symbol": symbol, "size": 12},
            name=name,
        )
    if bound is not None:
        line = {"color": INK, "width": 1.5, "dash": "dash"}
        figure.add_vline(bound, line=line)
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title="social welfare, units of utility", rangemode="tozero")
    figure.update_yaxes(range=[len(found) - 0.5, -0.8], automargin=True)  # with room for the number of the first
    return figure
