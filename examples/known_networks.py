"""What is found of networks that are known: edges, directions, and an effect beside its truth.

    python examples/known_networks.py ecoli70.json alarm.bif.gz sachs.bif.gz

takes network files, see `network_files.py`: ECOLI70 (46 genes of a bacterium), ALARM (37 variables of a patient on a
ventilator) and Sachs (11 proteins of a cell) are in the bnlearn repository and come with pgmpy. Rows are drawn from
each, the graph is learned from them alone, and set beside the true one: of its class, as rows cannot tell more. Then
the effect of one variable on another that it moves through others, over the graphs of random halves of the rows.

Nearly all that is joined is so in truth, and what is missed is weak; directions are fewer and less sure. Rows of Sachs
can tell no direction at all, as any two of its proteins that are not joined have no effect in common: so its effect is
"not identified", until somebody says what comes first.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bayesalloc.discovery.asking import Answer, ask
from bayesalloc.discovery.books import Books
from bayesalloc.discovery.graph import Graph, cpdag, from_edges
from bayesalloc.discovery.knowledge import Office
from bayesalloc.discovery.search import Settings, discover
from bayesalloc.discovery.tables import Setting

if __package__:
    from examples.network_files import Network, draw, read
else:
    from network_files import Network, draw, read

MANY = 200_000  # rows that a true effect between labels is taken from


class Edges(NamedTuple):
    """Pairs by what is found of them: joined, and of those that are so in truth, directed.

    A direction that the true class leaves open is open rightly: it counts as found where it is left open.
    """

    right: int
    wrong: int
    missed: int
    way_right: int
    way_wrong: int
    way_open: int


def books_of(network: Network, rows: int, seed: int) -> Books:
    """Rows as books; of labels, which are their places in the file."""
    names, values, _ = draw(network, rows, seed)
    labels = {}
    if network.discrete:
        for place, name in enumerate(names):
            there = np.unique(values[:, place])  # labels that are never drawn are not in the books
            values[:, place] = np.searchsorted(there, values[:, place])
            labels[name] = tuple(map(str, there))
    changing = [place for place, column in enumerate(values.T) if np.ptp(column) > 0]
    kept = tuple(names[place] for place in changing)
    return Books(kept, values[:, changing].astype(float), labels={n: v for n, v in labels.items() if n in kept})


def judged(found: Graph, truth: Graph) -> Edges:
    """A graph that was found beside the true one's class."""
    of = cpdag(truth)
    place = [of.nodes.index(name) for name in found.nodes]
    true = of.adjacency[np.ix_(place, place)]
    joined, ours = true | true.T, found.adjacency | found.adjacency.T
    arrows = true & ~true.T & ours
    ways = found.arrows
    return Edges(
        int(np.triu(joined & ours).sum()),
        int(np.triu(ours & ~joined).sum()),
        int(np.triu(joined & ~ours).sum()),
        int((arrows & ways).sum()),
        int((arrows & ways.T).sum()),
        int((arrows & found.links).sum()),
    )


def question(network: Network) -> tuple[str, str, float, dict[str, float], dict[str, float]]:
    """A treatment that has causes and moves most others, what it moves most, through others if any, and the arms."""
    below, reached = network.arrows.copy(), network.arrows
    while reached.any():
        reached = (reached.astype(int) @ network.arrows) > 0
        below |= reached
    node = int(np.argmax(below.sum(1) * network.arrows.any(0)))
    name = network.nodes[node]
    last = network.parts[node][1].shape[-1] - 1 if network.discrete else 1
    arms = {name: float(last)}, {name: 0.0}
    names, high, _ = draw(network, MANY if network.discrete else 2, 0, arms[0])
    low = draw(network, MANY if network.discrete else 2, 0, arms[1])[1]
    if network.discrete:  # probabilities of the last labels
        lasts = np.array([network.parts[network.nodes.index(each)][1].shape[-1] - 1 for each in names])
        high, low = high == lasts, low == lasts
    moved = np.asarray(high, float).mean(0) - np.asarray(low, float).mean(0)
    far = below[node] & ~network.arrows[node]
    ends = [names.index(network.nodes[i]) for i in np.flatnonzero(far if far.any() else below[node])]
    end = max(ends, key=lambda place: abs(moved[place]))
    return name, names[end], float(moved[end]), *arms


def answers(network: Network, books: Books, bootstrap: int) -> tuple[str, float, dict[str, Answer]]:
    """The question in words, its true answer, and ours: with the graph known, learned with an order, and learned."""
    treatment, outcome, true, high, low = question(network)
    nodes = network.nodes
    edges = [(nodes[i], nodes[j]) for i, j in np.argwhere(network.arrows) if {nodes[i], nodes[j]} <= {*books.names}]
    graph = from_edges(books.names, edges)
    order = Office(tiers=[[name] for name in nodes if name in books.names])
    setting = None
    if network.discrete:
        last = str(network.parts[nodes.index(outcome)][1].shape[-1] - 1)
        setting = Setting(str(int(high[treatment])), str(int(low[treatment])), last)
    found = {
        "graph known": ask(books, treatment, outcome, graph=graph, setting=setting),
        "learned, order known": ask(books, treatment, outcome, order, bootstrap=bootstrap, setting=setting),
        "learned": ask(books, treatment, outcome, bootstrap=bootstrap, setting=setting),
    }
    return f"{treatment} on {outcome}", true, found


def main() -> None:
    """Draw, search, ask and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", type=Path, nargs="+", help="files")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--bootstrap", type=int, default=30, help="random halves of the rows, for effects")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for path in given.networks:
        network = read(path)
        books = books_of(network, given.rows, given.seed)
        nodes = network.nodes
        dag = from_edges(nodes, [(nodes[i], nodes[j]) for i, j in np.argwhere(network.arrows)])
        edges = judged(discover(books, settings=Settings(test="chisq" if network.discrete else "fisherz")).graph, dag)
        print(f"{path.name}: {len(nodes)} variables, {network.arrows.sum()} edges, {given.rows:,} rows")
        print(f"  joined: {edges.right} rightly, {edges.wrong} wrongly, {edges.missed} missed")
        print(f"  directed: {edges.way_right} rightly, {edges.way_wrong} wrongly, {edges.way_open} left open")
        words, true, found = answers(network, books, given.bootstrap)
        print(f"  effect of {words}: {true:.3f} in truth")
        for label, each in found.items():
            low, high = each.effect.low, each.effect.high
            told = "identified" if each.identified else "not identified"
            print(f"    {label + ':':22}{each.effect.mean:6.3f} [{low:.3f}, {high:.3f}], {told}")


if __name__ == "__main__":
    main()
