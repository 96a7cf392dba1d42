"""The social resource allocation problem as arrays, read from JSON or from a graph, and checked at the edge.

Agents on a network hold resources and own tasks. A task pays its utility when every resource it requires has arrived;
moving q items of one type to one task from one agent costs per_item x distance x ceil(q / package_size).
"""

import codecs
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import scipy.sparse.csgraph
from jaxtyping import Array, Bool, Float, Int, Num

from bayesalloc.allocators.files import read_bytes
from bayesalloc.allocators.networks import LONGEST, SHORTEST, described, lengths, read_network
from bayesalloc.errors import InputError, quoted
from bayesalloc.fields import Field, fields, unlike

LARGEST = 2**24  # integers up to here are exact in float32, and so are sums of them below it
LEAST = 1e-9  # utility or cost, if not 0: what float32 holds beside the others
MOST_ITEMS = 2**31  # of a type in all: sums are of 32 bits
MOST_AGENTS, MOST_TYPES = 1_000_000, 1_000

AnyArray = Array | np.ndarray  # of JAX, or of the host


class Problem(NamedTuple):
    """One instance; instances of one shape stack. Padded edges weigh infinity, padded tasks are not real.

    What is not whole stays in float64 until JAX takes it in float32, so that the host can value allocations exactly.

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
        _floats(weights).reshape(-1),
        resources,
        owner,
        _floats(utility).reshape(-1),
        jnp.asarray(requires, jnp.int32).reshape(len(owner), resources.shape[-1]),
        real,
        _floats(per_item),
        jnp.asarray(package_size, jnp.int32),
    )


def without(problem: Problem, out: Bool[AnyArray, " agent"]) -> Problem:
    """The instance that is left when agents are out: their tasks are not real, and they hold nothing."""
    return problem._replace(
        real=problem.real & ~out[problem.owner], resources=jnp.where(out[:, None], 0, problem.resources)
    )


def _floats(values: Any) -> Any:
    return values if isinstance(values, jax.Array) else np.asarray(values, float)


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


def exact_links(problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two ends of each edge and its length in float64, on the host; of parallel ones the shortest."""
    kept = np.isfinite(np.asarray(problem.weights))
    ends, weights = np.sort(np.asarray(problem.edges)[kept]), np.asarray(problem.weights, float)[kept]
    order = np.lexsort((weights, ends[:, 1], ends[:, 0]))
    ends, weights = ends[order], weights[order]
    first = np.append(True, (ends[1:] != ends[:-1]).any(1))[: len(ends)]
    return ends[first, 0], ends[first, 1], weights[first]


def exact_paths(problem: Problem, sources: np.ndarray) -> np.ndarray:
    """Distances from some agents to all in float64, on the host; shape (source, agent)."""
    n, (one, other, weights) = problem.resources.shape[-2], exact_links(problem)
    graph = scipy.sparse.csr_array((weights, (one, other)), shape=(n, n))
    return scipy.sparse.csgraph.dijkstra(graph, directed=False, indices=sources)


def package_cost(
    problem: Problem, quantity: Int[AnyArray, "..."], distance: Float[AnyArray, "..."]
) -> Float[Array, "..."]:
    """Transfer cost of each quantity over each distance; nothing costs nothing, however far.

    Packages are counted exactly up to 4 million items, in floating point and then corrected, because a whole-number
    division takes longer (a fifth of a whole step of the master's environment).
    """
    full = (quantity.astype(float) * (1.0 / problem.package_size.astype(float))).astype(quantity.dtype)  # or one less
    packages = full + (full * problem.package_size < quantity).astype(full.dtype)
    return jnp.where(quantity > 0, problem.per_item * distance * packages.astype(float), 0.0)


class _Task(msgspec.Struct, forbid_unknown_fields=True):
    """A task.

    Attributes:
        agent: the agent that has it, by number from 0 or by name.
        utility: what doing it pays.
        requires: how many items of each type it needs.
    """

    agent: int | str
    utility: float
    requires: list[int]


class _Cost(msgspec.Struct, forbid_unknown_fields=True):
    """What it costs to move items of one type to one task from one agent.

    Attributes:
        per_item: for one package over a distance of 1.
        package_size: how many items are one package.
    """

    per_item: float = 1.0
    package_size: int = 1


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    """An instance.

    Attributes:
        agents: how many, or a list of their names.
        resource_types: how many types of items there are.
        resources: for each agent, how many items of each type it holds.
        edges: who is joined to whom: [agent, agent, length], where a length left out is 1.
        graph: instead of edges, the file of a network, beside this one.
        tasks: what is to be done.
        transfer_cost: what moving items costs.
    """

    agents: int | list[str]
    resource_types: int
    resources: list[list[int]]
    edges: list[list[float]] | None = None
    graph: str | None = None
    tasks: list[_Task] = []
    transfer_cost: _Cost = msgspec.field(default_factory=_Cost)


def instance_fields() -> list[Field]:
    """The fields of an instance's file, with defaults and meanings."""
    return fields(_Document)


def read_problem(path: str | Path, length: str | None = None, *, alone: bool = False) -> Problem:
    """The instance in a JSON file; see `read_instance`."""
    return read_instance(path, length, alone=alone)[0]


def read_instance(path: str | Path, length: str | None = None, *, alone: bool = False) -> tuple[Problem, str]:
    """The instance in a JSON file (see `instance_fields`), and what its network was understood to be.

    Instead of `edges`, `graph` may name a file beside it (see `networks.FORMATS`), whose nodes are the agents in the
    order of their ids; where `agents` is not their number but a list of names, in that order.

    Args:
        path: the file.
        length: the attribute of the graph's links that is their length, or a number that all have; None: `weight`.
        alone: whether it may name no other file.

    Raises:
        InputError: naming the file, the field, and what is allowed.
    """
    path = Path(path)
    data = read_bytes(path).removeprefix(codecs.BOM_UTF8)
    try:
        document = msgspec.json.decode(data, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        said = unlike(error, data) or quoted(error)
        hint = "; an edge joins two agents by their numbers, counted from 0" if said.startswith("edges[") else ""
        raise InputError(f"{path}: {said}{hint}") from None
    except RecursionError:
        raise InputError(f"{path}: is nested too deeply") from None
    del data
    try:
        names = document.agents if isinstance(document.agents, list) else None
        n = _size(document, names)
        if document.graph is None:
            if length is not None:
                raise InputError("length is for a network in a file of its own; 'edges' have their lengths")
            joined, by, shown = check_edges(document.edges or [], n), "the third number of 'edges'", names
        elif alone:
            raise InputError("graph names another file, which is not read here; give the links as 'edges'")
        else:
            joined, by, shown = _from_file(path.parent, document.graph, names, n, length)
        shown = [str(agent) for agent in range(n)] if shown is None else shown
        _check_whole(joined, shown)
        return _checked(document, joined, names, n), described(shown, joined, by)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _size(document: _Document, names: list[str] | None) -> int:
    """The number of agents, once what would be made of it is known to be no larger than what the file holds."""
    n = document.agents if isinstance(document.agents, int) else len(document.agents)
    types = document.resource_types
    if (document.edges is None) == (document.graph is None):
        raise InputError("give either 'edges' or 'graph'")
    if names is not None and len(set(names)) < len(names):
        raise InputError("'agents' has a name twice")
    if not 1 <= n <= MOST_AGENTS or not 1 <= types <= MOST_TYPES:
        raise InputError(
            f"there are {_short(n)} agents and {_short(types)} resource types; there must be at least one of each, and"
            f" at most {MOST_AGENTS} agents and {MOST_TYPES} types"
        )
    if len(document.resources) != n:
        raise InputError(f"resources has {len(document.resources)} rows; it needs one for each of the {n} agents")
    return n


def _from_file(
    folder: Path, name: str, agents: list[str] | None, n: int, length: str | None
) -> tuple[dict[tuple[int, int], float], str, Sequence[str]]:
    if not name.isprintable() or not name:
        raise InputError(f"'graph' is '{quoted(name)}'; it must be the name of a file")
    network = read_network(folder / name, agents)
    try:
        if len(network.names) != n:
            raise InputError(f"the graph has {len(network.names)} nodes and 'agents' says {n}")
        return *lengths(network, length), network.names
    except InputError as error:
        raise InputError(f"{folder / name}: {error}") from None


def _checked(document: _Document, joined: dict[tuple[int, int], float], names: list[str] | None, n: int) -> Problem:
    types, tasks, place = document.resource_types, document.tasks, {name: k for k, name in enumerate(names or ())}
    for agent, stock in enumerate(document.resources):
        _check_quantities(f"resources[{agent}]", stock, types)
    owners = []
    for k, task in enumerate(tasks):
        owner = place.get(task.agent) if isinstance(task.agent, str) else task.agent
        if owner is None or not 0 <= owner < n:
            known = "is not among the names in 'agents'" if owner is None else f"agents are numbered 0 to {n - 1}"
            raise InputError(f"tasks[{k}].agent is {_short(task.agent)}; {known}")
        owners.append(owner)
        _check_amount(f"tasks[{k}].utility", task.utility)
        _check_quantities(f"tasks[{k}].requires", task.requires, types)
    for field, rows in {"resources": document.resources, "requires": [task.requires for task in tasks]}.items():
        for kind in range(types):
            if (total := sum(row[kind] for row in rows)) >= MOST_ITEMS:
                raise InputError(f"{field} of type {kind} are {total} in all; there may be fewer than {MOST_ITEMS}")
    cost = document.transfer_cost
    _check_amount("transfer_cost.per_item", cost.per_item)
    if not 1 <= cost.package_size < LARGEST:
        raise InputError(f"transfer_cost.package_size is {_short(cost.package_size)}; it must be in [1, {LARGEST})")
    return make_problem(
        list(joined),
        list(joined.values()),
        document.resources,
        owners,
        [t.utility for t in tasks],
        [t.requires for t in tasks],
        per_item=cost.per_item,
        package_size=cost.package_size,
    )


def _short(value: object) -> str:
    return quoted(value if not isinstance(value, float) else f"{value:g}")


def _check_amount(field: str, value: float) -> None:
    if value != 0 and not LEAST <= value < LARGEST:
        raise InputError(f"{field} is {value:g}; it must be 0, or in [{LEAST:g}, {LARGEST})")


def _check_quantities(field: str, values: list[int], types: int) -> None:
    if len(values) != types:
        raise InputError(f"{field} has {len(values)} numbers; it needs one for each of the {types} resource types")
    for value in values:
        if not 0 <= value < LARGEST:
            raise InputError(f"{field} is {_short(values)}; quantities must be in [0, {LARGEST})")


def check_edges(edges: Iterable[Any], agents: int) -> dict[tuple[int, int], float]:
    """(smaller end, larger end) -> length of edges; a length left out is 1.

    Raises:
        InputError: for an end that is no agent, a loop, a length that cannot be, or one edge with two lengths.
    """
    found: dict[tuple[int, int], float] = {}
    for place, edge in enumerate(edges):
        said = f"edges[{place}] is {_short(list(edge))}"
        if len(edge) not in (2, 3):
            raise InputError(f"{said}; an edge is [agent, agent] or [agent, agent, weight]")
        one, other, weight = (*edge, 1.0) if len(edge) == 2 else edge
        if not all(0 <= end < agents and end == int(end) for end in (one, other)):
            raise InputError(f"{said}; agents are numbered 0 to {agents - 1}")
        if one == other:
            raise InputError(f"{said}; an edge joins two different agents")
        if not SHORTEST <= weight < LONGEST:
            raise InputError(f"edges[{place}] has weight {weight:g}; it must be from {SHORTEST:g} to {LONGEST:.0f}")
        ends = (int(min(one, other)), int(max(one, other)))
        if found.setdefault(ends, float(weight)) != weight:
            raise InputError(f"{said}, and the same edge has weight {found[ends]:g} before")
    return found


def _check_whole(joined: Iterable[tuple[int, int]], names: Sequence[str]) -> None:
    """Refuses a network in several parts."""
    ends, n = np.array(list(joined), int).reshape(-1, 2), len(names)
    graph = scipy.sparse.coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(n, n))
    parts, part = scipy.sparse.csgraph.connected_components(graph, directed=False)
    if parts > 1:
        apart = quoted(names[int(np.argmax(part != part[0]))])
        raise InputError(
            f"the network falls into {parts} parts ('{apart}' cannot be reached from '{quoted(names[0])}'); every agent"
            " must be reachable from every other"
        )


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
        "agents": n,
        "edges": edges,
        "resource_types": types,
        "resources": problem.resources.tolist(),
        "tasks": tasks,
        "transfer_cost": cost,
    }
    return json.dumps(document)
