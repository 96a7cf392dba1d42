"""Causes from data: tests of independence against independent references, and the graphs that come of them."""

import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings, strategies
from scipy import stats

from bayesalloc.discovery import graph as graphs, meek
from bayesalloc.discovery.independence import Discrete, Gaussian, Oracle, probability_of
from bayesalloc.discovery.knowledge import Office, binding, nothing_known
from bayesalloc.discovery.moments import moments
from bayesalloc.discovery.pc import pc
from bayesalloc.discovery.skeleton import skeleton

RULES = ("maxp", "sepset", "majority")


def random_dag(rng, count, share):
    order = rng.permutation(count)
    arrows = np.triu(rng.random((count, count)) < share, 1)[np.ix_(order, order)]
    return graphs.Graph(tuple(f"x{i}" for i in range(count)), arrows)


def drawn(rng, dag, rows, *, noise=1.0):
    """Rows of a linear system with normal noise, and weights of either sign that are not small."""
    weights = dag.adjacency * rng.uniform(0.4, 0.9, dag.adjacency.shape) * rng.choice([-1, 1], dag.adjacency.shape)
    return rng.normal(size=(rows, len(weights))) * noise @ np.linalg.inv(np.eye(len(weights)) - weights)


def cases(*tests):
    """What `scores` takes, from (one, other, given) of one sample."""
    one, other, held = zip(*tests, strict=True)
    zeros = np.zeros(len(tests), int)
    return zeros, np.array(one), np.array(other)[None], np.array(held, int).reshape(len(tests), -1).T


def test_partial_correlations_are_those_of_residuals():
    rng = np.random.default_rng(0)
    values = drawn(rng, random_dag(rng, 7, 0.5), 60)
    for held in range(5):
        asked = [(x, y, s) for x, y, *s in itertools.islice(itertools.permutations(range(7), held + 2), 40)]
        found = probability_of(Gaussian(moments(values)).scores(*cases(*asked))[0])
        for p, (x, y, s) in zip(found, asked, strict=True):
            base = np.column_stack([np.ones(60), values[:, s]])
            left = values - base @ np.linalg.lstsq(base, values, rcond=None)[0]
            r = np.corrcoef(left[:, x], left[:, y])[0, 1]
            assert p == pytest.approx(2 * stats.norm.sf(np.sqrt(60 - held - 3) * abs(np.arctanh(r))), rel=1e-6)


def test_what_is_held_fixed_may_say_all():
    """c = a + b: given a and b nothing can be told of c, and the edge is kept; so with too few rows."""
    rng = np.random.default_rng(1)
    a, b, d = rng.normal(size=(3, 50))
    test = Gaussian(moments(np.column_stack([a, b, a + b, d])))
    assert test.scores(*cases((2, 3, [0, 1]), (3, 2, [0, 1])))[0].tolist() == [-np.inf, -np.inf]
    few = Gaussian(moments(rng.normal(size=(5, 4))))
    assert few.most == 1
    assert few.scores(*cases((0, 1, [2, 3])))[0].tolist() == [-np.inf]


def test_labels_are_tested_by_their_likelihood_ratio():
    rng = np.random.default_rng(2)
    values = np.column_stack([rng.integers(0, k, 300) for k in (2, 3, 4)]).astype(float)
    values[:, 1] = (values[:, 0] + values[:, 1] * (rng.random(300) < 0.7)) % 3
    found = probability_of(Discrete(values, None).scores(*cases((0, 1, []), (0, 2, [])))[0])
    for p, other in zip(found, (1, 2), strict=True):
        table = np.zeros((2, int(values[:, other].max()) + 1))
        np.add.at(table, (values[:, 0].astype(int), values[:, other].astype(int)), 1)
        expected = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood").pvalue
        assert p == pytest.approx(expected, rel=1e-9)
    (given_third,) = Discrete(values, None).scores(*cases((0, 1, [2])))[0]
    statistic, freedom = 0.0, 0
    for label in range(4):
        table = np.zeros((2, 3))
        rows = values[values[:, 2] == label].astype(int)
        np.add.at(table, (rows[:, 0], rows[:, 1]), 1)
        result = stats.chi2_contingency(
            table[:, table.any(0)][table.any(1)], correction=False, lambda_="log-likelihood"
        )
        statistic, freedom = statistic + result.statistic, freedom + result.dof
    assert probability_of(given_third) == pytest.approx(stats.chi2.sf(statistic, freedom), rel=1e-9)


def test_labels_that_never_meet_lower_the_degrees_of_freedom():
    """Given z one of x and y has one label in each layer: nothing is left to test. Rows with a gap do not count."""
    x, y, z = np.array([[0, 0, 0], [0, 1, 0], [1, 1, 1], [1, 0, 1]] * 20, float).T
    values = np.column_stack([x, y, z])
    assert Discrete(values, None).scores(*cases((0, 1, [2]))).tolist() == [[0.0]]
    gaps = np.vstack([values, [[0, np.nan, 1]] * 30])
    asked = cases((0, 2, []), (1, 2, []))
    assert Discrete(gaps, None).scores(*asked)[0, 1] == Discrete(values, None).scores(*asked)[0, 1]
    twice = Discrete(values, np.full((1, 80), 2.0)).scores(*asked)
    assert np.allclose(twice, Discrete(np.vstack([values] * 2), None).scores(*asked))


def test_scores_far_out_still_differ():
    same = np.repeat(np.arange(2.0), 2000)
    values = np.column_stack([same, same, np.where(np.arange(4000) % 50, same, 1 - same)])
    near, far = Discrete(values, None).scores(*cases((0, 2, []), (0, 1, [])))[0]
    assert -np.inf < far < near < -38


@given(strategies.integers(0, 2**32 - 1), strategies.integers(3, 8), strategies.floats(0.15, 0.7))
@settings(max_examples=60, deadline=None)
def test_separation_is_that_of_networkx(seed, count, share):
    rng = np.random.default_rng(seed)
    dag = random_dag(rng, count, share)
    x, y, *held = rng.permutation(count)[: rng.integers(2, count + 1)].tolist()
    score = Oracle(dag.adjacency).scores(*cases((x, y, held)))[0, 0]
    made = nx.from_numpy_array(dag.adjacency, create_using=nx.DiGraph)
    assert (score == 0) == nx.is_d_separator(made, {x}, {y}, set(held))


@pytest.mark.parametrize("rule", RULES)
@given(strategies.integers(0, 2**32 - 1), strategies.integers(3, 12), strategies.floats(0.1, 0.6))
@settings(max_examples=40, deadline=None)
def test_with_an_oracle_the_class_is_found(rule, seed, count, share):
    dag = random_dag(np.random.default_rng(seed), count, share)
    for controlled in (False, True):
        found = pc(Oracle(dag.adjacency), rule=rule, false_discoveries=controlled)
        assert np.array_equal(found.oriented.adjacency[0], graphs.cpdag(dag).adjacency)
        assert found.oriented.conflicts[0] == found.oriented.circles[0] == 0


@given(strategies.integers(0, 2**32 - 1), strategies.integers(3, 10), strategies.integers(2, 4))
@settings(max_examples=40, deadline=None)
def test_with_tiers_the_oracle_finds_all_that_follows(seed, count, tiers):
    """The class of the true graph, without what tiers forbid, and with what Meek's rules conclude from that."""
    rng = np.random.default_rng(seed)
    dag = random_dag(rng, count, 0.4)
    order = list(nx.topological_sort(nx.from_numpy_array(dag.adjacency, create_using=nx.DiGraph)))
    groups = [[dag.nodes[i] for i in part] for part in np.array_split(order, tiers)]
    known = binding(Office(tiers=groups), dag.nodes)
    truth = meek.closed(graphs.cpdag(dag).adjacency & ~known.forbidden)
    for rule in RULES:
        found = pc(Oracle(dag.adjacency), knowledge=known, rule=rule).oriented.adjacency[0]
        assert np.array_equal(found, truth)


def plain_skeleton(values, alpha):
    """The stable search as loops over pairs and sets, with p-values from inverted correlation matrices."""
    rows, count = values.shape
    correlation = np.corrcoef(values.T)
    joined = ~np.eye(count, dtype=bool)
    separated = np.zeros((count,) * 3, bool)
    level = 0
    while (joined.sum(1) > level).any():
        before = joined.copy()
        for x, y in itertools.permutations(range(count), 2):
            for held in itertools.combinations(np.flatnonzero(before[x] & (np.arange(count) != y)), level):
                inverse = np.linalg.inv(correlation[np.ix_([x, y, *held], [x, y, *held])])
                r = -inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1])
                p = 2 * stats.norm.sf(np.sqrt(rows - level - 3) * abs(np.arctanh(r)))
                if before[x, y] and p > alpha:
                    joined[x, y] = joined[y, x] = False
                    separated[x, y, list(held)] = separated[y, x, list(held)] = True
        level += 1
    return joined, separated


@pytest.mark.parametrize("seed", range(5))
def test_the_skeleton_is_that_of_plain_loops(seed):
    rng = np.random.default_rng(seed)
    values = drawn(rng, random_dag(rng, 9, 0.5), 200)
    joined, separated = plain_skeleton(values, 0.01)
    found = skeleton(Gaussian(moments(values)), 0.01, nothing_known(9))
    assert np.array_equal(found.joined[0], joined)
    assert np.array_equal(found.separated[0], separated)


@pytest.mark.parametrize("rule", RULES)
def test_the_order_of_columns_does_not_matter(rule):
    rng = np.random.default_rng(3)
    values = drawn(rng, random_dag(rng, 14, 0.3), 120)
    order = rng.permutation(14)
    there, here = (pc(Gaussian(moments(v)), 0.05, rule=rule) for v in (values[:, order], values))
    assert np.array_equal(there.oriented.adjacency[0], here.oriented.adjacency[0][np.ix_(order, order)])
    assert (
        np.array_equal(there.skeleton.separated[0], here.skeleton.separated[0][np.ix_(order, order, order)])
        and there.tests == here.tests
    )


@pytest.mark.parametrize("rule", RULES)
def test_directed_edges_are_in_no_circle(rule):
    """Small samples, where rules contradict each other; what is given up is counted."""
    rng = np.random.default_rng(4)
    given_up = np.zeros(3, int)
    for _ in range(40):
        values = drawn(rng, random_dag(rng, 12, 0.45), 60)
        found = pc(Gaussian(moments(values)), 0.2, rule=rule).oriented
        assert graphs.Graph(tuple(map(str, range(12))), found.adjacency[0]).cycle() is None
        given_up += [found.conflicts[0], found.circles[0], found.refused.both_ways[0]]
    assert given_up[0] > 0 and given_up[2] > 0  # circles are rarer


def test_many_samples_at_once_are_as_each_alone():
    rng = np.random.default_rng(5)
    values = drawn(rng, random_dag(rng, 10, 0.3), 150)
    weights = rng.multinomial(150, np.full(150, 1 / 150), 6).astype(float)
    together = pc(Gaussian(moments(values, weights=weights)), 0.05)
    for each, adjacency in zip(weights, together.oriented.adjacency, strict=True):
        rows = np.repeat(values, each.astype(int), axis=0)
        alone = pc(Gaussian(moments(rows)), 0.05).oriented.adjacency[0]
        assert np.array_equal(alone, adjacency)


def test_knowledge_binds():
    rng = np.random.default_rng(6)
    values = drawn(rng, graphs.from_edges("abcd", [("a", "b"), ("b", "c"), ("a", "d")]), 400)
    office = Office(required=(("c", "d"),), forbidden=(("a", "b"), ("b", "a"), ("d", "a")))
    known = binding(office, list("abcd"))
    found = graphs.Graph(tuple("abcd"), pc(Gaussian(moments(values)), knowledge=known).oriented.adjacency[0])
    assert ("c", "d") in found.directed and ("a", "d") in found.directed
    assert {"a", "b"} not in map(set, [*found.directed, *found.undirected])


def test_a_forbidden_pair_makes_no_collider():
    """a and c are joined by what is not in the table, which forbidding their edge does not change."""
    rng = np.random.default_rng(7)
    hidden, *noise = rng.normal(size=(4, 3000))
    a, c = hidden + 0.5 * noise[0], hidden + 0.5 * noise[1]
    b = 0.6 * a + noise[2]
    values = np.column_stack([a, b, c + 0.5 * b])
    known = binding(Office(forbidden=(("a", "c"), ("c", "a"))), list("abc"))
    for rule in RULES:
        found = pc(Gaussian(moments(values)), knowledge=known, rule=rule).oriented.adjacency[0]
        assert np.array_equal(found, np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool))


def test_nothing_later_is_held_fixed():
    """c alone separates a and b, and is later than both, so that they stay joined."""
    chain = graphs.from_edges("abc", [("a", "c"), ("c", "b")])
    assert not skeleton(Oracle(chain.adjacency), 0.01, nothing_known(3)).joined[0, 0, 1]
    for tiers, joined in (([["a", "b"], ["c"]], True), ([["a"], ["b", "c"]], False)):
        known = binding(Office(tiers=tiers), list("abc"))
        assert skeleton(Oracle(chain.adjacency), 0.01, known).joined[0, 0, 1] == joined


def test_false_discoveries_are_a_share_of_what_is_found():
    """Forty variables without any edge, and ten pairs with one: at 780 tests alpha finds some that are not there."""
    rng = np.random.default_rng(8)
    values = rng.normal(size=(8, 200, 60))
    values[:, :, 1:20:2] = values[:, :, 1:20:2] * 0.6 + values[:, :, 0:20:2] * 0.8
    true = np.zeros((60, 60), bool)
    true[np.arange(0, 20, 2), np.arange(1, 20, 2)] = True
    found = {}
    for controlled in (False, True):
        edges = [
            np.triu(
                skeleton(
                    Gaussian(moments(each)),
                    0.05,
                    nothing_known(60),
                    false_discoveries=controlled,
                ).joined[0]
            )
            for each in values
        ]
        found[controlled] = np.mean([(each & ~true).sum() / each.sum() for each in edges])
        assert all((each & true).sum() == 10 for each in edges)
    assert found[True] < 0.12 < 0.5 < found[False]
