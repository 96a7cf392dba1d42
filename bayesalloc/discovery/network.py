"""A learned graph as a Bayesian network of normal variables: its numbers by conjugate Bayes, and as a NumPyro program.

With the prior 1 / sigma^2, each variable's coefficients on its direct causes and its variance are normal-inverse-gamma,
independent of other variables'. The program has one site that says which draw of all of them holds, and one for each
variable, so that `compare` takes it as any model. It rests on one graph: what is not known of that is not in it, so its
intervals are too narrow (`effects` has those that hold); it is for questions about several variables at once.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Float

from bayesalloc.discovery.books import Books
from bayesalloc.discovery.graph import Graph
from bayesalloc.discovery.moments import moments
from bayesalloc.discovery.regression import slopes
from bayesalloc.errors import InputError, listed, quoted

DRAWS = 200
NUMBERS = "network.npz"
PROGRAM = '''"""What was learned from books, as a NumPyro program; its numbers are in network.npz beside it."""

from pathlib import Path

from bayesalloc.discovery.network import load

model = load(Path(__file__).with_name("network.npz"))
'''
WHICH = "network_draw"  # the site that says which draw of all numbers holds


class Network(NamedTuple):
    """Draws of the numbers of a network; x_j = constant_j + sum_i weight_ji x_i + spread_j z_j.

    Attributes:
        names: the variables, causes before their effects.
        constant: of each.
        weight: `[., j, i]`: of cause i on j; 0 where there is no edge.
        spread: standard deviation of what is left of each.
    """

    names: tuple[str, ...]
    constant: Float[np.ndarray, "draw node"]
    weight: Float[np.ndarray, "draw node node"]
    spread: Float[np.ndarray, "draw node"]


def directed(graph: Graph) -> Graph:
    """A graph of the class: every edge gets a direction, without a circle or new causes that meet (Dor & Tarsi 1992).

    Where there is none such, as in a sample whose edges contradict each other, what is left is directed in the order of
    the nodes.

    >>> from bayesalloc.discovery.graph import from_edges
    >>> directed(from_edges(["a", "b", "c"], undirected=[("a", "b"), ("b", "c")])).directed
    [('b', 'a'), ('c', 'b')]
    """
    adjacency, left = graph.adjacency.copy(), graph.adjacency.copy()
    remaining = list(range(len(graph.nodes)))
    while remaining:
        sink = next((node for node in remaining if _sink(left, node)), None)
        if sink is None:
            # None is possible: the last node that nothing leads away from for sure.
            arrows = left & ~left.T
            sink = next((node for node in reversed(remaining) if not arrows[node].any()), remaining[-1])
        adjacency[sink, left[:, sink]] = False
        left[sink] = left[:, sink] = False
        remaining.remove(sink)
    return Graph(graph.nodes, adjacency)


def _sink(adjacency: np.ndarray, node: int) -> bool:
    """Whether all edges of a node may lead to it."""
    links = adjacency[node] & adjacency[:, node]
    if (adjacency[node] & ~links).any():
        return False
    near = np.flatnonzero(adjacency[:, node])
    joined = adjacency | adjacency.T
    return all(joined[other, near[near != other]].all() for other in np.flatnonzero(links))


def fitted(books: Books, graph: Graph, seed: int = 0, draws: int = DRAWS) -> Network:
    """The posterior of the numbers of a graph, by draws.

    Args:
        books: the table, of numbers.
        graph: over its variables; edges without a direction get one, see `directed`.
        seed: of the draws.
        draws: how many.

    Raises:
        InputError: where a variable has too few rows for its causes, or the graph is of other variables or in a circle.
    """
    if books.labels:
        raise InputError("a network of normal variables is of numbers; these books are of labels")
    if {*graph.nodes} != {*books.names}:
        odd = sorted({*graph.nodes} ^ {*books.names})
        raise InputError(f"graph and books are of different variables: {quoted(listed(odd))}")
    if circle := graph.cycle():
        raise InputError(f"the graph has a circle: {quoted(' -> '.join(circle))}")
    whole, found, rng = moments(books.values, "em"), directed(graph), np.random.default_rng(seed)
    mean, scale = np.nanmean(books.values, axis=0), np.nanstd(books.values, axis=0)
    n = len(books.names)
    weight, spread = np.zeros((draws, n, n)), np.zeros((draws, n))
    for node, name in enumerate(books.names):
        causes = [books.names.index(cause) for cause in found.parents(name)]
        slope = slopes(whole, causes)
        freedom = slope.freedom[node]
        if not freedom > 0:
            raise InputError(f"the books have too few rows with '{quoted(name)}' for its {len(causes)} causes")
        variance = slope.residual[node] * freedom / rng.chisquare(freedom, draws)
        normal = rng.normal(size=(draws, slope.root.shape[1])) @ slope.root.T
        own = slope.mean[:, node] + np.sqrt(variance)[:, None] * normal
        weight[:, node, causes] = own * scale[node] / scale[causes]
        spread[:, node] = np.sqrt(variance * whole.rows[0, node, node]) * scale[node]
    order = _ordered(found)
    constant = mean - weight @ mean
    names = tuple(books.names[i] for i in order)
    return Network(names, constant[:, order], weight[:, order][:, :, order], spread[:, order])


def _ordered(graph: Graph) -> list[int]:
    """The nodes, causes before their effects."""
    left, order = graph.adjacency.copy(), []
    while len(order) < len(graph.nodes):
        free = next(i for i in range(len(graph.nodes)) if i not in order and not left[:, i].any())
        left[free] = False
        order.append(free)
    return order


def as_program(network: Network) -> Callable[[], None]:
    """The network as a NumPyro program: `compare` sets its variables by name."""

    def learned_network() -> None:
        draws = len(network.constant)
        which = numpyro.sample(WHICH, dist.DiscreteUniform(0, draws - 1))
        constant, weight, spread = (jnp.asarray(part, jnp.float32)[which] for part in network[1:])
        values = {}
        for place, name in enumerate(network.names):
            causes = np.flatnonzero(network.weight[:, place].any(0))
            moved = sum((weight[place, i] * values[network.names[i]] for i in causes), constant[place])
            values[name] = numpyro.sample(name, dist.Normal(moved, spread[place]))

    return learned_network


def write(network: Network, folder: Path) -> None:
    """Write the numbers, `network.npz`, and a program that reads them, `network.py`."""
    parts = {name: np.array(part) for name, part in network._asdict().items()}
    np.savez_compressed(folder / NUMBERS, **parts)  # pyright: ignore[reportArgumentType] its keywords are arrays
    (folder / "network.py").write_text(PROGRAM)


def load(path: Path) -> Callable[[], None]:
    """The program of a network that was saved.

    Raises:
        InputError: where the file is no network.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            parts = [file[name] for name in Network._fields[1:]]
            return as_program(Network(tuple(map(str, file["names"])), *parts))
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"{path}: is no network that was saved: {quoted(error)}") from None
