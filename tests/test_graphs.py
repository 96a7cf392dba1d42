"""Graphs: in and out of networkx and JSON, classes of graphs that no data tells apart, and Meek's rules."""

import itertools
import json

import networkx as nx
import numpy as np
import pytest

from bayesalloc.discovery import graph as graphs, meek
from bayesalloc.errors import InputError

MIXED = graphs.from_edges(
    ["rain", "sprinkler", "wet", "slip"], [("rain", "wet"), ("sprinkler", "wet")], [("wet", "slip")]
)


def random_dag(rng, count, share):
    order = rng.permutation(count)
    below = np.triu(rng.random((count, count)) < share, 1)
    return graphs.Graph(tuple(f"x{i}" for i in range(count)), below[np.ix_(np.argsort(order), np.argsort(order))])


def members(adjacency):
    """All acyclic directed graphs with the same edges, and the colliders of unjoined causes that each has."""
    edges = [(i, j) for i, j in itertools.combinations(range(len(adjacency)), 2) if adjacency[i, j] or adjacency[j, i]]
    for flips in itertools.product([False, True], repeat=len(edges)):
        arrows = np.zeros_like(adjacency)
        for (i, j), flip in zip(edges, flips, strict=True):
            arrows[(j, i) if flip else (i, j)] = True
        if nx.is_directed_acyclic_graph(nx.from_numpy_array(arrows, create_using=nx.DiGraph)):
            yield arrows, colliders(arrows)


def colliders(arrows):
    joined = arrows | arrows.T
    parents = [itertools.combinations(np.flatnonzero(column), 2) for column in arrows.T]
    return {(int(i), j, int(k)) for j, pairs in enumerate(parents) for i, k in pairs if not joined[i, k]}


def test_marks_are_told_apart():
    assert MIXED.directed == [("rain", "wet"), ("sprinkler", "wet")]
    assert MIXED.undirected == [("wet", "slip")]
    assert (MIXED.parents("wet"), MIXED.neighbours("wet"), MIXED.children("rain")) == (
        ["rain", "sprinkler"],
        ["slip"],
        ["wet"],
    )


@pytest.mark.parametrize(
    "there_and_back",
    [
        lambda graph: graphs.from_networkx(graphs.to_networkx(graph)),
        lambda graph: graphs.from_json(graphs.as_json(graph)),
        lambda graph: graphs.from_json(json.dumps({**graphs.as_json(graph), "alpha": 0.01, "confidence": None})),
    ],
)
def test_nothing_is_lost_on_the_way(there_and_back):
    found = there_and_back(MIXED)
    assert found.nodes == MIXED.nodes
    assert np.array_equal(found.adjacency, MIXED.adjacency)


def test_an_undirected_graph_of_networkx_stays_undirected():
    assert graphs.from_networkx(nx.path_graph(3)).undirected == [("0", "1"), ("1", "2")]


@pytest.mark.parametrize(
    ("text", "said"),
    {
        "not JSON": ("{", "truncated"),
        "no nodes": ('{"directed": []}', "nodes"),
        "no edges": ('{"nodes": ["a"]}', "directed"),
        "an edge of three": ('{"nodes": ["a", "b"], "directed": [["a", "b", "a"]]}', r"directed\[0\]"),
        "a node that is a number": ('{"nodes": ["a", 1], "directed": []}', r"nodes\[1\]"),
        "a node twice": ('{"nodes": ["a", "a"], "directed": []}', "'a' stands twice"),
        "an unknown node": ('{"nodes": ["a", "b"], "directed": [["a", "c"]]}', "a -> c: 'c' is not among the nodes"),
        "an edge to itself": (
            '{"nodes": ["a", "b"], "directed": [], "undirected": [["a", "a"]]}',
            "a - a: joins a node to itself",
        ),
        "two edges": ('{"nodes": ["a", "b"], "directed": [["a", "b"], ["b", "a"]]}', "b -> a: there is another edge"),
        "an edge and a line": (
            '{"nodes": ["a", "b"], "directed": [["a", "b"]], "undirected": [["b", "a"]]}',
            "b - a: there is another edge",
        ),
    }.values(),
)
def test_a_bad_file_is_refused(tmp_path, text, said):
    path = tmp_path / "graph.json"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as refused:
        graphs.read_graph(path)
    assert str(path) in str(refused.value)


def test_a_cycle_is_named():
    ring = graphs.from_edges(["a", "b", "c", "d"], [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")])
    assert ring.cycle() == ["a", "b", "c", "a"]
    with pytest.raises(InputError, match="a cycle: a -> b -> c -> a"):
        graphs.cpdag(ring)


@pytest.mark.parametrize("seed", range(20))
def test_the_class_of_a_graph_is_what_its_members_share(seed):
    """By enumeration: all acyclic graphs with these edges and these colliders, and where they agree."""
    rng = np.random.default_rng(seed)
    dag = random_dag(rng, 5, rng.uniform(0.3, 0.9))
    alike = [arrows for arrows, found in members(dag.adjacency) if found == colliders(dag.adjacency)]
    assert np.array_equal(graphs.cpdag(dag).adjacency, np.any(alike, axis=0))


@pytest.mark.parametrize("seed", range(20))
def test_what_is_known_directs_all_that_follows(seed):
    """With two edges of the class directed by knowledge too, where the fourth rule is needed."""
    rng = np.random.default_rng(seed)
    dag = random_dag(rng, 5, 0.8)
    known = graphs.cpdag(dag).adjacency.copy()
    for i, j in rng.permutation(np.argwhere(known & known.T & dag.adjacency))[:2]:
        known[j, i] = False
    alike = [
        arrows
        for arrows, found in members(dag.adjacency)
        if found == colliders(dag.adjacency) and not (arrows & ~known).any()
    ]
    assert np.array_equal(meek.closed(known), np.any(alike, axis=0))


RULES = {
    "1": (["ca"], ["ab"], "ab"),
    "2": (["ac", "cb"], ["ab"], "ab"),
    "3": (["cb", "db"], ["ac", "ad", "ab"], "ab"),
    "4": (["cd", "db"], ["ac", "ad", "ab"], "ab"),
}


@pytest.mark.parametrize(("arrows", "links", "follows"), RULES.values(), ids=RULES)
def test_each_rule(arrows, links, follows):
    made = graphs.from_edges("abcd", map(tuple, arrows), map(tuple, links))
    found = graphs.Graph(made.nodes, meek.closed(np.stack([made.adjacency] * 2))[1])
    assert set(found.directed) >= {*map(tuple, arrows), tuple(follows)}


def test_what_the_rules_direct_both_ways_stays_undirected():
    """c -> a - b <- d: a -> b avoids a collider at a, and b -> a one at b."""
    made = graphs.from_edges("abcd", [("c", "a"), ("d", "b")], [("a", "b")])
    assert np.array_equal(meek.closed(made.adjacency), made.adjacency)


def test_the_distance_counts_pairs():
    other = graphs.from_edges(
        ["slip", "wet", "sprinkler", "rain"], [("wet", "rain"), ("sprinkler", "wet"), ("rain", "slip")]
    )
    assert graphs.structural_hamming(MIXED, other) == 3  # rain and wet, wet and slip, rain and slip
    assert graphs.structural_hamming(MIXED, MIXED) == 0
    with pytest.raises(InputError, match="different variables: rain, slip"):
        graphs.structural_hamming(MIXED, graphs.from_edges(["wet", "sprinkler"]))
