"""A causal graph drawn in columns: causes to the left of their effects."""

from collections.abc import Mapping, Sequence

import networkx as nx
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from bayesalloc.discovery.graph import Graph
from bayesalloc.report import figures

LETTER, GAP, ROW, BOW = 0.068, 0.75, 0.27, 0.45  # inches: a letter, between columns, between rows, beside a column
WIDTH, LOWEST = 11.0, 2.5  # inches, of a page and of a picture on it
SURE = 0.9
SWEEPS = 12  # by which nodes are put near their neighbours


def network(
    graph: Graph,
    width: Mapping[frozenset[str], float] = {},
    direction: Mapping[tuple[str, str], float] = {},
    tiers: Sequence[Sequence[str]] = (),
) -> Figure:
    """The graph without the nodes that are joined to nothing.

    Args:
        graph: with an edge at least.
        width: pair -> share of the widest line; by default all are alike.
        direction: cause and effect -> how sure the direction is; below `SURE` it is drawn in another colour.
        tiers: the nodes of each column, where they are known; by default by what leads to them.
    """
    drawn = placed(graph, columns(graph, tiers))
    longest = [max(len(figures.plain(name)) for name in column) * LETTER for column in drawn]
    gap = max(GAP, (WIDTH - BOW - sum(longest)) / max(len(drawn) - 1, 1))
    left = np.cumsum([BOW, *(wide + gap for wide in longest[:-1])])
    tallest = max(map(len, drawn)) + 0.6
    row = max(ROW, min(2 * ROW, LOWEST / tallest))
    size = (max(left[-1] + longest[-1] + 0.1, WIDTH), row * tallest)
    figure = Figure(figsize=size)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, size[0])
    axes.set_ylim(0, size[1])
    box: dict[str, tuple[float, float, float]] = {}  # left, right, height
    for x, wide, column in zip(left, longest, drawn, strict=True):
        for place, name in enumerate(column):
            y = size[1] / 2 + row * ((len(column) - 1) / 2 - place)
            label = figures.plain(name)
            half = (wide - len(label) * LETTER) / 2
            box[name] = (x + half, x + wide - half, y)
            axes.text(
                x + wide / 2,
                y,
                label,
                ha="center",
                va="center",
                fontsize=figures.SMALL,
                color=figures.INK,
                zorder=3,
                bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": figures.FAINT, "linewidth": 0.8},
            )
    at = {name: i for i, column in enumerate(drawn) for name in column}
    sure, unsure, either = figures.COLOURS[0], figures.COLOURS[5], figures.COLOURS[1]
    for pair in graph.undirected:
        axes.add_patch(_line(box, at, pair, width.get(frozenset(pair), 1.0), either, "-"))
    for pair in graph.directed:
        colour = sure if direction.get(pair, 1.0) >= SURE else unsure
        axes.add_patch(_line(box, at, pair, width.get(frozenset(pair), 1.0), colour, "-|>"))
    return figure


def _line(
    box: Mapping[str, tuple[float, float, float]],
    place: Mapping[str, int],
    pair: tuple[str, str],
    share: float,
    colour: str,
    style: str,
) -> FancyArrowPatch:
    """An edge from the side of one label to the side of the other; a bow within a column."""
    (a_left, a_right, a_y), (b_left, b_right, b_y) = (box[name] for name in pair)
    step = place[pair[1]] - place[pair[0]]
    if step == 0:
        bend = min(0.5, 1.6 * BOW / abs(a_y - b_y))
        start, end, bend = (a_left, a_y), (b_left, b_y), bend if a_y > b_y else -bend
    else:
        start, end, bend = ((a_right, a_y), (b_left, b_y), 0.0) if step > 0 else ((a_left, a_y), (b_right, b_y), 0.0)
    return FancyArrowPatch(
        start,
        end,
        arrowstyle=style,
        connectionstyle=f"arc3,rad={bend}",
        mutation_scale=6 + 3 * share,
        linewidth=0.4 + 1.8 * share**2,
        color=colour,
        alpha=0.35 + 0.4 * share,
        shrinkA=2,
        shrinkB=3,
        zorder=2,
    )


def columns(graph: Graph, tiers: Sequence[Sequence[str]] = ()) -> list[list[str]]:
    """The nodes that have an edge, by column: by tiers where there are some, else to the right of all its causes.

    >>> from bayesalloc.discovery.graph import from_edges
    >>> columns(from_edges("abcd", [("a", "b"), ("b", "c"), ("a", "c")]))
    [['a'], ['b'], ['c']]
    """
    joined = (graph.adjacency | graph.adjacency.T).any(1)
    names = [name for name, there in zip(graph.nodes, joined, strict=True) if there]
    if tiers:
        told = {name for tier in tiers for name in tier}
        found = [[name for name in tier if name in names] for tier in tiers]
        return [column for column in [*found, [name for name in names if name not in told]] if column]
    depth = dict.fromkeys(names, 0)
    links = nx.Graph(graph.undirected)
    for members in nx.connected_components(links):  # spread out from the node that most are joined to
        root = max(members, key=lambda name: (links.degree[name], name))
        depth |= nx.single_source_shortest_path_length(links, root)
    arrows = nx.DiGraph(graph.directed)
    for cause in nx.topological_sort(arrows):
        for effect in arrows.successors(cause):
            depth[effect] = max(depth[effect], depth[cause] + 1)
    return [[name for name in names if depth[name] == level] for level in sorted(set(depth.values()))]


def placed(graph: Graph, drawn: list[list[str]]) -> list[list[str]]:
    """Each column in the order of its nodes' neighbours, so that fewer lines cross."""
    beside = (graph.adjacency | graph.adjacency.T).astype(float)
    height = np.zeros(len(graph.nodes))
    for column in drawn:
        height[[graph.index(name) for name in column]] = np.arange(len(column)) - (len(column) - 1) / 2
    for _ in range(SWEEPS):
        for k, column in enumerate(drawn):
            rows = [graph.index(name) for name in column]
            wanted = (beside[rows] @ height + 0.5 * height[rows]) / (beside[rows].sum(1) + 0.5)
            drawn[k] = [column[i] for i in np.argsort(wanted, kind="stable")]
            height[[graph.index(name) for name in drawn[k]]] = np.arange(len(column)) - (len(column) - 1) / 2
    return drawn
