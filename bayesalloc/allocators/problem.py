"""The social resource allocation problem as arrays, read from JSON or from a graph, and checked at the edge.

Agents on a network hold resources and own tasks. A task pays its utility when every resource it requires has arrived;
moving q items of one type to one task from one agent costs per_item x distance x ceil(q / package_size).
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import msgspec
import networkx as nx
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from bayesalloc.errors import InputError

LARGEST = 2**24  # integers up to here are exact in float32, and so are sums of them below it


class Problem(NamedTuple):
    """One instance; instances of one shape stack. Padded edges weigh infinity, padded tasks are not real.

    Attributes:
        edges: the two ends of each undirected edge, shape (edge, 2).
        weights: their lengths, > 0.
        resources: items that each agent holds, shape (agent, type).
        owner: the agent each task belongs to, shape (task,).
        utility: what a task pays, >= 0.
        requires: items a task needs, shape (task, type).
        real: False for a task that only fills up the shape.
        per_item: cost of moving one package over distance 1.
        package_size: items that move for the price of one, >= 1.
    """

    edges: Int[Array, "*batch edge 2"]
    weights: Float[Array, "*batch edge"]
    resources: Int[Array, "*batch agent type"]
    owner: Int[Array, "*batch task"]
    utility: Float[Array, "*batch task"]
    requires: Int[Array, "*batch task type"]
    real: Bool[Array, "*batch task"]
    per_item: Num[Array, "*batch"]
    package_size: Int[Array, "*batch"]


def make_problem(
    edges: Any,
    weights: Any,
    resources: Any,
    owner: Any,
    utility: Any,
    requires: Any,
    *,
    per_item: float = 1.0,
    package_size: int = 1,
) -> Problem:
    """A problem from anything array-like, without checks (`read_problem` checks).

    All tasks are real; where there is none at all, one that is not fills up the shape.
    """
    resources = jnp.asarray(resources, jnp.int32)
    real = jnp.ones(np.shape(owner), bool)
    if real.size == 0:
        owner, utility, requires, real = [0], [0.0], jnp.zeros((1, resources.shape[-1])), jnp.zeros(1, bool)
    owner = jnp.asarray(owner, jnp.int32)
    return Problem(
        jnp.asarray(edges, jnp.int32).reshape(-1, 2),
        jnp.asarray(weights, jnp.float32).reshape(-1),
        resources,
        owner,
        jnp.asarray(utility, jnp.float32).reshape(-1),
        jnp.asarray(requires, jnp.int32).reshape(len(owner), resources.shape[-1]),
        real,
        jnp.asarray(per_item, jnp.float32),
        jnp.asarray(package_size, jnp.int32),
    )


def adjacency(problem: Problem) -> Float[Array, "agent agent"]:
    """Length of the edge between two agents, infinity where there is none; symmetric, and 0 on the diagonal."""
    n = problem.resources.shape[-2]
    one, other = problem.edges[:, 0], problem.edges[:, 1]
    matrix = jnp.full((n, n), jnp.inf).at[one, other].min(problem.weights).at[other, one].min(problem.weights)
    return jnp.where(jnp.eye(n, dtype=bool), 0.0, matrix)


def shortest_paths(lengths: Float[Array, "agent agent"]) -> Float[Array, "agent agent"]:
    """Distances between all pairs (Floyd 1962, Communications of the ACM 5:345), infinity where there is no path."""

    def through(agent: Array, distance: Array) -> Array:
        return jnp.minimum(distance, distance[:, agent, None] + distance[None, agent, :])

    return jax.lax.fori_loop(0, len(lengths), through, lengths)


def package_cost(problem: Problem, quantity: Int[Array, "..."], distance: Float[Array, "..."]) -> Float[Array, "..."]:
    """Transfer cost of each quantity over each distance; nothing costs nothing, however far.

    Packages are counted exactly up to 4 million items, in floating point and then corrected, because a whole-number
    division takes longer (a fifth of a whole step of the master's environment).
    """
    full = (quantity * (1.0 / problem.package_size)).astype(quantity.dtype)  # or one less
    packages = full + (full * problem.package_size < quantity)
    return jnp.where(quantity > 0, problem.per_item * distance * packages, 0.0)


class _Task(msgspec.Struct, forbid_unknown_fields=True):
    agent: int
    utility: float
    requires: list[int]


class _Cost(msgspec.Struct, forbid_unknown_fields=True):
    per_item: float = 1.0
    package_size: int = 1


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    agents: int
    resource_types: int
    resources: list[list[int]]
    edges: list[list[float]] | None = None
    graph: str | None = None
    tasks: list[_Task] = []
    transfer_cost: _Cost = msgspec.field(default_factory=_Cost)


def read_problem(path: str | Path) -> Problem:
    """The instance in a JSON file (see the README for its fields).

    Instead of `edges`, `graph` may name a GraphML file or an edge list (`one other [weight]` a line) beside it.

    Raises:
        InputError: naming the file, the field, and what is allowed.
    """
    path = Path(path)
    try:
        document = msgspec.json.decode(path.read_bytes(), type=_Document)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from None
    try:
        if (document.edges is None) == (document.graph is None):
            raise InputError("give either 'edges' or 'graph'")
        edges = document.edges if document.graph is None else graph_edges(read_graph(path.parent / document.graph))
        return _checked(document, edges or [])
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _checked(document: _Document, edges: list[Any]) -> Problem:
    n, types = document.agents, document.resource_types
    if n < 1 or types < 1:
        raise InputError(f"there are {n} agents and {types} resource types; there must be at least one of each")
    lengths = check_edges(edges, n)
    if len(document.resources) != n:
        raise InputError(f"resources has {len(document.resources)} rows; it needs one for each of the {n} agents")
    for agent, stock in enumerate(document.resources):
        _check_quantities(f"resources[{agent}]", stock, types)
    for place, task in enumerate(document.tasks):
        if not 0 <= task.agent < n:
            raise InputError(f"tasks[{place}].agent is {task.agent}; agents are numbered 0 to {n - 1}")
        if not 0 <= task.utility < LARGEST:
            raise InputError(f"tasks[{place}].utility is {task.utility:g}; it must be in [0, {LARGEST})")
        _check_quantities(f"tasks[{place}].requires", task.requires, types)
    cost = document.transfer_cost
    if not 0 <= cost.per_item < LARGEST:
        raise InputError(f"transfer_cost.per_item is {cost.per_item:g}; it must be in [0, {LARGEST})")
    if not 1 <= cost.package_size < LARGEST:
        raise InputError(f"transfer_cost.package_size is {cost.package_size}; it must be at least 1")
    tasks = document.tasks
    return make_problem(
        list(lengths), list(lengths.values()), document.resources, [t.agent for t in tasks],
        [t.utility for t in tasks], [t.requires for t in tasks], per_item=cost.per_item,
        package_size=cost.package_size,
    )  # fmt: skip


def _check_quantities(field: str, values: list[int], types: int) -> None:
    if len(values) != types:
        raise InputError(f"{field} has {len(values)} numbers; it needs one for each of the {types} resource types")
    for value in values:
        if not 0 <= value < LARGEST:
            raise InputError(f"{field} is {values}; quantities must be in [0, {LARGEST})")


def check_edges(edges: Iterable[Any], agents: int) -> dict[tuple[int, int], float]:
    """(smaller end, larger end) -> length of a connected network's edges; a length left out is 1.

    Raises:
        InputError: for an end that is no agent, a loop, a length of 0 or below, one edge with two lengths, or a network
            in several parts.
    """
    lengths: dict[tuple[int, int], float] = {}
    graph = nx.empty_graph(agents)
    for place, edge in enumerate(edges):
        if len(edge) not in (2, 3):
            raise InputError(f"edges[{place}] is {list(edge)}; an edge is [agent, agent] or [agent, agent, weight]")
        one, other, weight = (*edge, 1.0) if len(edge) == 2 else edge
        if not all(end == int(end) and 0 <= end < agents for end in (one, other)):
            raise InputError(f"edges[{place}] is {list(edge)}; agents are numbered 0 to {agents - 1}")
        if one == other:
            raise InputError(f"edges[{place}] is {list(edge)}; an edge joins two different agents")
        if not 0 < weight < np.inf:
            raise InputError(f"edges[{place}] has weight {weight:g}; it must be above 0")
        ends = (int(min(one, other)), int(max(one, other)))
        if lengths.setdefault(ends, float(weight)) != weight:
            raise InputError(f"edges[{place}] is {list(edge)}, and the same edge has weight {lengths[ends]:g} before")
        graph.add_edge(*ends)
    parts = nx.number_connected_components(graph)
    if parts > 1:
        raise InputError(f"the network falls into {parts} parts; every agent must be reachable from every other")
    return lengths


def read_graph(path: Path) -> nx.Graph:
    """A GraphML file (`.graphml`, `.xml`) or an edge list, as networkx reads them.

    Raises:
        InputError: for a file that is not there or not in that format.
    """
    try:
        if path.suffix.lower() in (".graphml", ".xml"):
            return nx.read_graphml(path)
        return nx.read_weighted_edgelist(path)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except Exception as error:  # networkx and the XML parser raise many kinds
        raise InputError(f"{path}: cannot be read as a graph ({type(error).__name__}: {error})") from None


def graph_edges(graph: nx.Graph) -> list[tuple[int, int, float]]:
    """Edges of a networkx graph, with its nodes numbered: by their own numbers 0 to n - 1 where they have them.

    Otherwise nodes are numbered in the order in which the graph has them. A missing `weight` is 1.
    """
    names = {str(node) for node in graph}
    own = names == {str(place) for place in range(len(names))}
    number = {node: int(node) if own else place for place, node in enumerate(graph)}
    return [(number[a], number[b], float(w)) for a, b, w in graph.edges(data="weight", default=1.0)]


def to_json(problem: Problem) -> str:
    """The JSON document of an instance without its padding, as `read_problem` reads it."""
    kept = np.isfinite(np.asarray(problem.weights))
    edges = [
        [int(a), int(b), float(w)]
        for (a, b), w in zip(np.asarray(problem.edges)[kept], np.asarray(problem.weights)[kept], strict=True)
    ]
    tasks = [
        {"agent": int(problem.owner[t]), "utility": float(problem.utility[t]), "requires": problem.requires[t].tolist()}
        for t in np.flatnonzero(np.asarray(problem.real))
    ]
    cost = {"per_item": float(problem.per_item), "package_size": int(problem.package_size)}
    n, types = problem.resources.shape
    document = {
        "agents": n, "edges": edges, "resource_types": types, "resources": problem.resources.tolist(), "tasks": tasks,
        "transfer_cost": cost,
    }  # fmt: skip
    return json.dumps(document)
