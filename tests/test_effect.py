"""Effects over graphs: what is held fixed, what is identified, and intervals that hold the truth."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from bayesalloc.discovery.adjustment import identified, parent_sets, undecided
from bayesalloc.discovery.asking import ask
from bayesalloc.discovery.books import from_columns
from bayesalloc.discovery.bootstrap import clustered
from bayesalloc.discovery.effects import effects_of, evidence
from bayesalloc.discovery.graph import Graph, cpdag, from_edges
from bayesalloc.discovery.knowledge import Office


def dags_of(graph: Graph) -> list[np.ndarray]:
    """Every acyclic directed graph of a class, by trying all directions."""
    links = np.argwhere(np.triu(graph.links))
    found = []
    for turns in itertools.product((False, True), repeat=len(links)):
        adjacency = graph.adjacency.copy()
        for (i, j), turned in zip(links, turns, strict=True):
            adjacency[(i, j) if turned else (j, i)] = False
        made = Graph(graph.nodes, adjacency)
        if made.cycle() is None and (cpdag(made).adjacency == graph.adjacency).all():
            found.append(adjacency)
    return found


def random_dag(seed: int, nodes: int = 6, share: float = 0.45) -> Graph:
    rng = np.random.default_rng(seed)
    order = rng.permutation(nodes)
    upper = np.triu(rng.uniform(size=(nodes, nodes)) < share, 1)
    return Graph(tuple("abcdef"[:nodes]), upper[np.ix_(np.argsort(order), np.argsort(order))])


@pytest.mark.parametrize("seed", range(12))
def test_sets_that_may_be_all_direct_causes_are_those_of_the_graphs_of_the_class(seed):
    graph = cpdag(random_dag(seed))
    members = dags_of(graph)
    for node in range(len(graph.nodes)):
        expected = {tuple(np.flatnonzero(each[:, node])) for each in members}
        assert set(parent_sets(graph.adjacency, node)) == expected


@pytest.mark.parametrize("seed", range(12))
def test_an_effect_is_identified_where_all_graphs_of_the_class_give_one(seed):
    """With weights of no special value, effects differ between graphs unless they are the same function of them."""
    dag = random_dag(seed)
    graph, rng = cpdag(dag), np.random.default_rng(seed)
    n = len(dag.nodes)
    weights = np.where(dag.adjacency, rng.uniform(0.5, 1.5, (n, n)), 0.0)
    mixed = np.linalg.inv(np.eye(n) - weights.T)
    covariance = mixed @ mixed.T
    for node in range(n):
        told = identified(graph.adjacency[None], node)[0]
        effects = []
        for each in parent_sets(graph.adjacency, node):
            chosen = [node, *each]
            slope = np.linalg.solve(covariance[np.ix_(chosen, chosen)], covariance[chosen])[0]
            slope[list(each)] = 0.0
            effects.append(slope)
        same = np.ptp(effects, axis=0) < 1e-9
        assert same[told].all()
        amenable = [j for j in range(n) if j != node and not told[j]]
        assert not same[amenable].all() or not amenable or len(effects) == 1


def test_what_is_undecided_is_named():
    graph = from_edges(["a", "b", "c"], directed=[("b", "c")], undirected=[("a", "b")])
    assert undecided(graph.adjacency[None], 0, 2) == [1]
    assert undecided(graph.adjacency[None], 1, 2) == []


def chain(rows: int, seed: int) -> dict[str, np.ndarray]:
    """A common cause of treatment and outcome, and what comes in between."""
    rng = np.random.default_rng(seed)
    cause, *noise = rng.normal(size=(4, rows))
    treated = 0.8 * cause + noise[0]
    between = 0.7 * treated + noise[1]
    return {"cause": cause, "treated": treated, "between": between, "result": between - 0.9 * cause + noise[2]}


def test_intervals_hold_the_truth_where_the_graph_is_learned_and_naive_slopes_do_not():
    """89 % intervals of 60 tables of 300 rows: within three standard errors of a binomial share."""
    office, held, naive = Office(tiers=[["cause"], ["treated"], ["between"], ["result"]]), [], []
    for seed in range(60):
        columns = chain(300, seed)
        found = ask(from_columns(columns), "treated", "result", office, bootstrap=20, seed=seed)
        held.append(found.effect.low <= 0.7 <= found.effect.high)
        naive.append(np.polyfit(columns["treated"], columns["result"], 1)[0])
    assert abs(np.mean(held) - 0.89) <= 3 * (0.89 * 0.11 / 60) ** 0.5
    assert np.mean(naive) < 0.4


def test_other_units_give_the_same_effects():
    columns = chain(400, 0)
    office = Office(tiers=[["cause"], ["treated"], ["between"], ["result"]])
    one = ask(from_columns(columns), "treated", "result", office, bootstrap=10)
    scaled = {name: values * (1000.0 if name == "result" else 1e-3) + 5.0 for name, values in columns.items()}
    other = ask(from_columns(scaled), "treated", "result", office, bootstrap=10)
    np.testing.assert_allclose(other.effect.mean, 1e6 * one.effect.mean, rtol=1e-6)


def test_what_the_books_cannot_tell_is_said():
    columns = chain(2000, 1)
    found = ask(from_columns({name: columns[name] for name in ("treated", "between")}), "treated", "between")
    assert not found.identified and found.range[0] == 0.0 and found.range[1] > 0.6
    assert "tier" in found.warnings[-1] and "'between'" in found.warnings[-1]


def test_a_direct_cause_is_not_moved_and_a_closed_sum_tells_only_transfers():
    columns = chain(500, 2)
    edges = [("cause", "treated"), ("treated", "between"), ("between", "result"), ("cause", "result")]
    graph = from_edges([*columns], edges)
    assert ask(from_columns(columns), "treated", "cause", graph=graph).effect.mean == 0.0
    shut = {**columns, "rest": 10.0 - columns["treated"] - columns["cause"]}
    found = ask(from_columns(shut), "treated", "result", bootstrap=10)
    assert not found.identified and any("transfer" in warning for warning in found.warnings)


def test_nothing_moves_what_was_before():
    """A cause that few rows do not show to be one is still not moved by what comes later."""
    columns = chain(30, 3)
    found = ask(from_columns(columns), "treated", "cause", Office(tiers=[["cause"], ["treated", "between", "result"]]))
    assert found.effect == (0.0, 0.0, 0.0, 0.5) and found.identified


def test_rows_of_a_unit_that_are_alike_widen_intervals():
    rng, units = np.random.default_rng(0), np.repeat(np.arange(25), 20)
    own = rng.normal(size=(3, 25))[:, units]
    treated = own[0] + 0.1 * rng.normal(size=500)
    books = {"treated": treated, "result": 0.5 * treated + own[1] + 0.1 * rng.normal(size=500)}
    graph = from_edges([*books], [("treated", "result")])
    alike = from_columns(books, units=[f"u{unit}" for unit in units])
    samples = np.repeat(graph.adjacency[None], 100, 0)
    wide, narrow = (
        effects_of("treated", evidence(each, 100), samples, np.random.default_rng(0)).on("result")
        for each in (alike, from_columns(books))
    )
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
    mean = np.array([treated[units == unit].mean() for unit in range(25)])[units]
    inside = {"treated": treated - mean, "other": rng.normal(size=500)}  # rows of a unit stay dependent
    assert clustered(from_columns(inside, units=[f"u{unit}" for unit in units]))
    assert not clustered(from_columns({"a": rng.normal(size=500), "b": rng.normal(size=500)}))


BAD = {
    "itself": (["--treatment", "treated", "--outcome", "treated"], "itself"),
    "unknown": (["--treatment", "nothing", "--outcome", "result"], "there is no variable 'nothing'"),
    "interval": (["--treatment", "treated", "--outcome", "result", "--interval", "2"], "interval"),
    "graph": (["--treatment", "treated", "--outcome", "result", "--graph", "circle.json"], "the graph has a circle: "),
    "fewer": (["--treatment", "treated", "--outcome", "result", "--graph", "fewer.json"], "no node 'between'"),
}


@pytest.fixture
def books():
    columns = chain(120, 0)
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(f"{value:.4f}" for value in row) for row in rows)]
    Path("books.csv").write_text("\n".join(lines) + "\n")
    Path("k.toml").write_text('tiers = [["cause"], ["treated"], ["between"], ["result"]]\n')
    circle = [["treated", "result"], ["result", "cause"], ["cause", "treated"]]
    Path("circle.json").write_text(json.dumps({"nodes": [*columns], "directed": circle}))
    Path("fewer.json").write_text(json.dumps({"nodes": ["cause", "treated", "result"], "directed": []}))
    return "books.csv"


@pytest.mark.parametrize("case", BAD)
def test_bad_questions_are_refused_in_one_sentence(run, books, case):
    options, said = BAD[case]
    answer = run("effect", books, *options, "--out", "out")
    assert answer.code == 2 and said in answer.err and answer.err.count("\n") == 1
    assert not Path("out").exists()


def test_the_command_answers_as_agreed(run, books):
    asked = ("--knowledge", "k.toml", "--treatment", "treated", "--outcome", "result", "--bootstrap", "10")
    found = json.loads(run("effect", books, *asked, "--json", "--out", "out").out)
    agreed = ["treatment", "outcome", "ate", "low", "high", "identified", "range", "adjustment_sets", "method"]
    assert {*agreed, "warnings"} <= set(found) and found["low"] < 0.7 < found["high"] and found["identified"]
    assert "<svg" in Path("out/report.html").read_text()
