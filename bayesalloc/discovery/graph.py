"""Causal graphs: what is known of who causes whom, as one array; in and out of networkx and of JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import networkx as nx
import numpy as np
from jaxtyping import Bool

from bayesalloc import limits
from bayesalloc.discovery import meek
from bayesalloc.errors import InputError, quoted

FILE_BYTES = 50_000_000

Pair = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Graph:
    """A graph whose edges have one direction (a cause and its effect) or none (either may be the cause).

    Attributes:
        nodes: the variables; each stands once.
        adjacency: `adjacency[i, j]` alone is i -> j; both `adjacency[i, j]` and `adjacency[j, i]` is i - j.

    >>> graph = from_edges(["a", "b", "c"], directed=[("a", "b")], undirected=[("b", "c")])
    >>> graph.directed, graph.undirected, graph.neighbours("b")
    ([('a', 'b')], [('b', 'c')], ['c'])
    """

    nodes: tuple[str, ...]
    adjacency: Bool[np.ndarray, "node node"]

    def __post_init__(self) -> None:
        if len(set(self.nodes)) < len(self.nodes):
            twice = next(name for name in self.nodes if self.nodes.count(name) > 1)
            raise InputError(f"node '{quoted(twice)}' stands twice; each may stand once")
        if self.adjacency.shape != (len(self.nodes),) * 2:
            raise InputError(f"an adjacency of shape {self.adjacency.shape} does not fit {len(self.nodes)} nodes")
        if self.adjacency.diagonal().any():
            name = self.nodes[int(self.adjacency.diagonal().argmax())]
            raise InputError(f"node '{quoted(name)}' has an edge to itself; an edge joins two different nodes")

    @property
    def arrows(self) -> Bool[np.ndarray, "node node"]:
        """The directed edges alone."""
        return self.adjacency & ~self.adjacency.T

    @property
    def links(self) -> Bool[np.ndarray, "node node"]:
        """The undirected edges alone, symmetric."""
        return self.adjacency & self.adjacency.T

    @property
    def directed(self) -> list[Pair]:
        """The directed edges by name, causes first, in the order of the nodes."""
        return self._named(self.arrows)

    @property
    def undirected(self) -> list[Pair]:
        """The undirected edges by name, each once, in the order of the nodes."""
        return self._named(np.triu(self.links))

    def index(self, name: str) -> int:
        """A node's place.

        Raises:
            InputError: where there is no such node.
        """
        if name not in self.nodes:
            raise InputError(f"there is no variable '{quoted(name)}'; there are {quoted(', '.join(self.nodes))}")
        return self.nodes.index(name)

    def parents(self, name: str) -> list[str]:
        """The direct causes of a node."""
        return self._those(self.arrows[:, self.index(name)])

    def children(self, name: str) -> list[str]:
        """What a node causes directly."""
        return self._those(self.arrows[self.index(name)])

    def neighbours(self, name: str) -> list[str]:
        """Nodes that are joined to a node by an undirected edge."""
        return self._those(self.links[self.index(name)])

    def cycle(self) -> list[str] | None:
        """A cycle of directed edges, its first node again at its end; None where there is none.

        >>> from_edges(["a", "b"], directed=[("a", "b")]).cycle() is None
        True
        """
        try:
            found = nx.find_cycle(nx.from_numpy_array(self.arrows, create_using=nx.DiGraph))
        except nx.NetworkXNoCycle:
            return None
        return [self.nodes[i] for i, _ in found] + [self.nodes[found[0][0]]]

    def _those(self, chosen: np.ndarray) -> list[str]:
        return [self.nodes[i] for i in np.flatnonzero(chosen)]

    def _named(self, edges: np.ndarray) -> list[Pair]:
        return [(self.nodes[i], self.nodes[j]) for i, j in np.argwhere(edges)]


def from_edges(nodes: Sequence[str], directed: Iterable[Pair] = (), undirected: Iterable[Pair] = ()) -> Graph:
    """The graph of these edges.

    Raises:
        InputError: where an edge's end is no node, both its ends are one, or a pair has two edges.
    """
    place = {name: i for i, name in enumerate(nodes)}
    adjacency = np.zeros((len(nodes),) * 2, bool)
    for arrow, edges in ((True, directed), (False, undirected)):
        for edge in edges:
            for name in edge:
                if name not in place:
                    raise InputError(f"edge {_shown(edge, arrow=arrow)}: '{quoted(name)}' is not among the nodes")
            i, j = (place[name] for name in edge)
            if i == j:
                raise InputError(f"edge {_shown(edge, arrow=arrow)}: joins a node to itself")
            if adjacency[i, j] or adjacency[j, i]:
                raise InputError(f"edge {_shown(edge, arrow=arrow)}: there is another edge between the two already")
            adjacency[i, j] = True
            adjacency[j, i] = not arrow
    return Graph(tuple(nodes), adjacency)


def from_networkx(graph: nx.Graph) -> Graph:
    """A graph of networkx; edges of an undirected one, and pairs with both directions, are undirected."""
    place = {node: i for i, node in enumerate(graph.nodes)}
    adjacency = np.zeros((len(place),) * 2, bool)
    for cause, effect in graph.edges():
        adjacency[place[cause], place[effect]] = True
        adjacency[place[effect], place[cause]] |= not graph.is_directed()
    return Graph(tuple(map(str, place)), adjacency)


def to_networkx(graph: Graph) -> nx.DiGraph:
    """The same in networkx, where both directions stand for an undirected edge."""
    made = nx.DiGraph()
    made.add_nodes_from(graph.nodes)
    made.add_edges_from(graph._named(graph.adjacency))
    return made


def as_json(graph: Graph) -> dict[str, Any]:
    """What a graph file holds, and the answer of `bayesalloc discover` begins with."""
    return {
        "nodes": list(graph.nodes),
        "directed": [list(edge) for edge in graph.directed],
        "undirected": [list(edge) for edge in graph.undirected],
    }


class _File(msgspec.Struct):
    """The part of a graph file that is read."""

    nodes: list[str]
    directed: list[Pair]
    undirected: list[Pair] = msgspec.field(default_factory=list)


def from_json(found: Mapping[str, Any] | bytes | str, where: str | Path = "graph") -> Graph:
    """The graph in a JSON object, or in its text; other fields than nodes, directed and undirected are ignored.

    Raises:
        InputError: naming `where`, the field and what is allowed.
    """
    try:
        read = msgspec.convert(found, _File) if isinstance(found, Mapping) else msgspec.json.decode(found, type=_File)
        return from_edges(read.nodes, read.directed, read.undirected)
    except (msgspec.DecodeError, msgspec.ValidationError, InputError, RecursionError, UnicodeError) as error:
        raise InputError(f"{where}: {quoted(error)}") from None


def read_graph(path: str | Path) -> Graph:
    """The graph in a file that `bayesalloc discover` wrote, or another of that form.

    Raises:
        InputError: naming the file, the field and what is allowed.
    """
    return from_json(limits.read_text(Path(path), FILE_BYTES, "a graph file", "utf-8-sig"), path)


def cpdag(graph: Graph) -> Graph:
    """The class of an acyclic directed graph: edges keep the direction that all graphs have which no data tells apart.

    Raises:
        InputError: where the graph has a cycle or an undirected edge.

    >>> cpdag(from_edges(["a", "b", "c"], [("a", "b"), ("b", "c")])).undirected
    [('a', 'b'), ('b', 'c')]
    """
    if circle := graph.cycle():
        raise InputError(f"the graph has a cycle: {' -> '.join(circle)}")
    if graph.undirected:
        raise InputError(f"the graph has an undirected edge: {_shown(graph.undirected[0], arrow=False)}")
    arrows = graph.adjacency
    apart = ~(arrows | arrows.T)
    np.fill_diagonal(apart, val=False)
    collide = arrows & (apart.astype(int) @ arrows > 0)  # another parent of the effect is no neighbour of the cause
    return Graph(graph.nodes, meek.closed((arrows | arrows.T) & ~collide.T))


def structural_hamming(graph: Graph, other: Graph) -> int:
    """The number of pairs that differ: an edge in one only, or another mark.

    Raises:
        InputError: where the graphs are not about the same nodes.
    """
    if set(graph.nodes) != set(other.nodes):
        odd = set(graph.nodes) ^ set(other.nodes)
        raise InputError(f"the graphs are about different variables: {quoted(', '.join(sorted(odd)))}")
    order = [other.index(name) for name in graph.nodes]
    differ = graph.adjacency != other.adjacency[np.ix_(order, order)]
    return int(np.triu(differ | differ.T).sum())


def _shown(edge: Pair, *, arrow: bool) -> str:
    return quoted(f"{edge[0]} {'->' if arrow else '-'} {edge[1]}")
