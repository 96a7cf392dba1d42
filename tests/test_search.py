"""The whole search: from books and knowledge to a graph, how sure it is, and what is said of it."""

import numpy as np
import pytest

from bayesalloc.discovery import bootstrap, graph as graphs
from bayesalloc.discovery.books import Books, from_columns
from bayesalloc.discovery.knowledge import Office
from bayesalloc.discovery.moments import moments
from bayesalloc.discovery.search import Settings, discover
from bayesalloc.errors import InputError

# Twelve variables: chains, colliders and a fork, in three tiers.
EDGES = ["ad", "bd", "be", "ce", "df", "dg", "eg", "eh", "fi", "gi", "gj", "hk", "hl", "jl"]
DAG = graphs.from_edges("abcdefghijkl", map(tuple, EDGES))
TIERS = Office(tiers=[list("abc"), list("defgh"), list("ijkl")])


def table(seed, rows, missing=0.0, dag=DAG):
    rng = np.random.default_rng(seed)
    weights = dag.adjacency * rng.uniform(0.3, 0.7, dag.adjacency.shape) * rng.choice([-1, 1], dag.adjacency.shape)
    values = rng.normal(size=(rows, len(weights))) @ np.linalg.inv(np.eye(len(weights)) - weights)
    values[rng.random(values.shape) < missing] = np.nan
    return Books(dag.nodes, values)


def test_confidence_is_calibrated():
    """Of edges in nine of ten resampled tables at least 95 % are true, of such directions at least 88 %."""
    there, right = [], []
    for seed in range(8):
        sure = discover(table(seed, 400), bootstrap=60, seed=seed).confidence
        assert sure is not None
        there += DAG.adjacency[(sure.present >= 0.9) & np.triu(np.ones_like(DAG.adjacency))].tolist()
        right += DAG.adjacency[sure.present * sure.directed >= 0.9].tolist()
    assert len(there) > 80 and np.mean(there) >= 0.95
    assert len(right) > 40 and np.mean(right) >= 0.88


def test_the_same_seed_gives_the_same_graphs_and_more_tables_keep_shape():
    books = table(0, 120)
    first, again, other = (discover(books, bootstrap=10, seed=seed).samples for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.shape == (10, 12, 12)


def test_most_graphs_agree_on_no_circle():
    ring = np.zeros((9, 3, 3), bool)
    for k, (cause, effect) in enumerate([(0, 1), (1, 2), (2, 0)]):
        ring[:, cause, effect] = True
        ring[: k + 1, effect, cause] = True  # less sure, one after the other
    graph, undone = bootstrap.consensus(tuple("abc"), bootstrap.confidence(ring))
    assert graph.directed == [("a", "b"), ("b", "c")] and graph.undirected == [("a", "c")] and undone == 1


def test_what_half_of_the_graphs_lack_is_not_agreed_on():
    some = np.zeros((10, 3, 3), bool)
    some[:5, 0, 1] = True
    some[:, 1, 2] = True
    some[:4, 2, 1] = True
    sure = bootstrap.confidence(some)
    assert sure.present[0, 1] == sure.present[1, 0] == 0.5 and sure.directed[1, 2] == 0.6
    assert bootstrap.consensus(tuple("abc"), sure)[0].directed == [("b", "c")]


def test_units_are_drawn_whole_where_their_rows_are_alike():
    rng = np.random.default_rng(0)
    units = tuple(np.repeat([f"u{i}" for i in range(30)], 5).tolist())
    alone = rng.normal(size=(150, 3))
    alike = alone + np.repeat(rng.normal(size=(30, 3)), 5, axis=0)
    for values, whole in ((alike, True), (alone, False)):
        books = from_columns(dict(zip("abc", values.T, strict=True)), units=units)
        weights, said = bootstrap.resampled(books, 20, rng)
        assert (weights.sum(1) == 150).all()
        assert (weights.reshape(20, 30, 5).std(2) == 0).all() == whole
        assert any("resampled by unit" in sentence for sentence in said) == whole


@pytest.mark.parametrize("missing", ["pairwise", "em"])
def test_gaps_cost_little(missing):
    """A cell in seven is empty, so a row in six is whole: from those alone much less is found."""
    distance = {
        way: np.mean(
            [
                graphs.structural_hamming(
                    graphs.cpdag(DAG), discover(table(seed, 600, 0.14), settings=Settings(missing=way)).graph
                )
                for seed in range(6)
            ]
        )
        for way in (missing, "complete")
    }
    full = [graphs.structural_hamming(graphs.cpdag(DAG), discover(table(seed, 600)).graph) for seed in range(6)]
    assert distance[missing] < 0.7 * distance["complete"]
    assert distance[missing] <= np.mean(full) + 3


def test_correlations_with_gaps():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4))
    holes = np.where(rng.random(values.shape) < 0.2, np.nan, values)
    truth = np.corrcoef(values.T)
    for way in ("pairwise", "em"):
        found = moments(holes, way)
        assert np.abs(found.correlation[0] - truth).max() < 0.08
        assert np.linalg.eigvalsh(found.correlation[0])[0] > 0
    both = (~np.isnan(holes[:, 0]) & ~np.isnan(holes[:, 1])).sum()
    assert moments(holes).rows[0, 0, 1] == both
    assert np.allclose(moments(values).correlation[0], truth)
    weights = rng.multinomial(500, np.full(500, 1 / 500), 1).astype(float)
    repeated = np.repeat(holes, weights[0].astype(int), axis=0)
    for way in ("pairwise", "complete", "em"):
        assert np.allclose(moments(holes, way, weights).correlation, moments(repeated, way).correlation, atol=1e-3)


def test_correlations_that_cannot_be_are_repaired():
    """Of three variables in few rows each, all correlated, one negatively: no table without gaps could be so."""
    x = np.arange(10.0)
    gap = np.full(10, np.nan)
    values = np.column_stack([np.r_[x, x, gap], np.r_[x, gap, x], np.r_[gap, x, -x]])
    found = moments(values)
    assert np.linalg.eigvalsh(found.correlation[0])[0] > 1e-4
    assert np.allclose(np.diagonal(found.correlation[0]), 1.0)


@pytest.mark.parametrize(("rows", "count", "share"), [(5, 10, 0.0), (8, 20, 0.3), (12, 40, 0.1), (6, 2, 0.0)])
def test_few_rows_say_little_and_fail_nowhere(rows, count, share):
    """Noise without any edge: few are found, though a table of five rows resampled repeats some of them."""
    rng = np.random.default_rng(4)
    values = rng.normal(size=(rows, count))
    values[rng.random(values.shape) < share] = np.nan
    books = from_columns({f"x{i}": column for i, column in enumerate(values.T)})
    for missing in ("pairwise", "em"):
        found = discover(books, settings=Settings(missing=missing), bootstrap=5)
        assert (found.graph.adjacency | found.graph.adjacency.T).sum() / 2 <= 0.1 * count**2
        assert any("few to resample" in warning for warning in found.warnings)
    if share:
        with pytest.raises(InputError, match="missing is 'complete', and . rows have no gap; it takes 5"):
            discover(books, settings=Settings(missing="complete"))


def test_a_sum_that_never_changes_joins_nothing_within_it():
    """Without that the columns of a closed budget are joined by arithmetic; also with one of them left out."""
    rng = np.random.default_rng(2)
    parts = rng.normal(size=(300, 5))
    closed = parts - parts.mean(1, keepdims=True)
    result = closed[:, 0] + rng.normal(size=300)
    books = from_columns({**dict(zip("abcde", closed.T, strict=True)), "result": result})
    assert books.closed == (tuple("abcde"),)
    found = discover(books).graph
    assert {frozenset(edge) for edge in [*found.directed, *found.undirected]} <= {frozenset(("a", "result"))}
    loose = discover(books._replace(closed=())).graph
    assert len([*loose.directed, *loose.undirected]) > 3


def test_tiers_make_it_better():
    plain = [graphs.structural_hamming(graphs.cpdag(DAG), discover(table(seed, 300)).graph) for seed in range(6)]
    tiered = [discover(table(seed, 300), TIERS).graph for seed in range(6)]
    assert all(not {*"ijkl"} & {cause for cause, effect in graph.directed if effect in "abcdefgh"} for graph in tiered)
    assert np.mean([graphs.structural_hamming(DAG, graph) for graph in tiered]) < np.mean(plain)


@pytest.mark.parametrize(
    ("settings", "bootstrap", "said"),
    [
        (Settings(alpha=0.0), 0, "alpha is 0; it must be between 0 and 1"),
        (Settings(alpha=float("nan")), 0, "alpha is nan"),
        (Settings(), -1, "bootstrap is -1; it must be at least 0"),
        (Settings(), 10**6, "bootstrap is 1000000; it must be at most 10,000"),
    ],
)
def test_what_cannot_be_asked(settings, bootstrap, said):
    with pytest.raises(InputError, match=said):
        discover(table(0, 50), settings=settings, bootstrap=bootstrap)


def test_what_was_given_up_is_said():
    rng = np.random.default_rng(3)
    found = [
        discover(Books(DAG.nodes, table(seed, 40).values + rng.normal(size=(40, 12))), settings=Settings(alpha=0.3))
        for seed in range(12)
    ]
    assert any("contradict stronger ones" in warning for each in found for warning in each.warnings)
    assert all(each.graph.cycle() is None for each in found)
