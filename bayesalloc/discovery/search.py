"""Causes from books: the whole search, from a table and what is known to a graph and how sure it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from bayesalloc import limits
from bayesalloc.discovery import bootstrap as boot
from bayesalloc.discovery.books import LEAST_ROWS, Books
from bayesalloc.discovery.bootstrap import Confidence
from bayesalloc.discovery.colliders import Rule
from bayesalloc.discovery.graph import Graph
from bayesalloc.discovery.independence import Discrete, Gaussian
from bayesalloc.discovery.knowledge import Knowledge, Office, binding
from bayesalloc.discovery.moments import Missing, moments
from bayesalloc.discovery.orienting import Oriented
from bayesalloc.discovery.pc import Search, pc
from bayesalloc.errors import InputError, quoted

Test = Literal["fisherz", "chisq"]

VARIABLES = 400  # so that separating sets take 64 MB
SHOWN = 10  # pairs that a sentence lists
SEPARATING = 16_000_000  # places for separating sets that are kept at once


class Settings(NamedTuple):
    """How it is searched.

    Attributes:
        alpha: the probability of finding a dependence that is not there, in one test.
        test: `fisherz` of numbers whose relations are linear, `chisq` (the likelihood ratio G2) of labels.
        rule: how colliders are judged.
        missing: how gaps are dealt with by `fisherz`; `chisq` leaves out rows test by test.
        false_discoveries: whether alpha is the share of wrong edges among those found instead.
        halves: whether resampled tables are random halves, see `bootstrap.resampled`.
    """

    alpha: float = 0.01
    test: Test = "fisherz"
    rule: Rule = "maxp"
    missing: Missing = "pairwise"
    false_discoveries: bool = False
    halves: bool = False


USUAL = Settings()


class Found(NamedTuple):
    """What a search finds.

    Attributes:
        graph: of the books; where tables were resampled, what most of their graphs say.
        samples: a graph for each resampled table, over the same nodes; one, of the books, where none was.
        confidence: how often these agree; None where none was resampled.
        tests: how many tests of independence were made in all.
        warnings: sentences, those on the books first.
    """

    graph: Graph
    samples: Bool[np.ndarray, "sample node node"]
    confidence: Confidence | None
    tests: int
    warnings: tuple[str, ...]


def discover(
    books: Books,
    office: Office | None = None,
    settings: Settings = USUAL,
    *,
    bootstrap: int = 0,
    seed: int = 0,
    where: str | Path = "knowledge",
) -> Found:
    """Who causes whom, as far as books and knowledge can tell.

    Args:
        books: the table; of labels where the test is `chisq`.
        office: what is known beside it.
        settings: how it is searched.
        bootstrap: number of resampled tables; without any, nothing is said of how sure the graph is.
        seed: of their draws.
        where: whose knowledge it is, in messages.

    Raises:
        InputError: for knowledge that contradicts itself, too many variables, or an alpha or a count that cannot be.

    >>> from bayesalloc.discovery.books import from_columns
    >>> a, b, noise = np.random.default_rng(0).normal(size=(3, 500))
    >>> discover(from_columns({"a": a, "b": b, "effect": a + b + noise})).graph.directed
    [('a', 'effect'), ('b', 'effect')]
    """
    limits.probability("alpha", settings.alpha)
    limits.counted(bootstrap=bootstrap)
    known = binding(office or Office(), books.names, books.closed, books.left_out, where)
    apart = _never_together(books)
    known.forbidden[apart] = True
    known.required[apart] = False
    if len(books.names) > VARIABLES:
        raise InputError(f"there are {len(books.names):,} variables; a search takes at most {VARIABLES}")
    if not bootstrap:
        search = _searched(books, None, known, settings)
        graph = Graph(books.names, search.oriented.adjacency[0])
        said = [*_ended([search]), *_given_up(search.oriented)]
        return Found(
            graph, search.oriented.adjacency, None, search.tests, (*books.warnings, *_unseen(books, apart), *said)
        )
    weights, said = boot.resampled(books, bootstrap, np.random.default_rng(seed), halves=settings.halves)
    step = max(SEPARATING // len(books.names) ** 3, 1)
    parts = [_searched(books, weights[i : i + step], known, settings) for i in range(0, bootstrap, step)]
    samples = np.concatenate([part.oriented.adjacency for part in parts])
    sure = boot.confidence(samples)
    graph, undone = boot.consensus(books.names, sure)
    said += _ended(parts)
    if undone:
        said.append(f"what most tables say was in a circle: {undone} directions, the least sure, were taken back")
    return Found(
        graph, samples, sure, sum(part.tests for part in parts), (*books.warnings, *_unseen(books, apart), *said)
    )


def _searched(
    books: Books, weights: Float[np.ndarray, "sample row"] | None, known: Knowledge, settings: Settings
) -> Search:
    if settings.test == "chisq":
        test = Discrete(books.values, weights)
    else:
        test = Gaussian(moments(books.values, settings.missing, weights))
    return pc(test, settings.alpha, known, settings.rule, false_discoveries=settings.false_discoveries)


def _never_together(books: Books) -> Bool[np.ndarray, "node node"]:
    """Pairs that have too few rows in common to be told anything of."""
    there = (~np.isnan(books.values)).astype(float)
    return (there.T @ there < LEAST_ROWS) & ~np.eye(len(books.names), dtype=bool)


def _unseen(books: Books, apart: Bool[np.ndarray, "node node"]) -> list[str]:
    if not apart.any():
        return []
    pairs = [f"{books.names[i]} and {books.names[j]}" for i, j in np.argwhere(np.triu(apart))]
    more = f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
    return [
        f"fewer than {LEAST_ROWS} rows have both, so that nothing can be told: {quoted(', '.join(pairs[:SHOWN]))}{more}"
    ]


def _ended(searches: Sequence[Search]) -> list[str]:
    """That variables are joined so densely that not all was tried."""
    levels = [each.skeleton.level for each in searches if each.skeleton.ended]
    if not levels:
        return []
    return [
        f"no more than {min(levels)} variables were held fixed, as more take too many tests: some edges may be too many"
    ]


def _given_up(oriented: Oriented) -> list[str]:
    """What contradicted itself in the one graph of the books."""
    said = []
    if conflicts := int(oriented.conflicts[0]):
        said.append(f"{conflicts} pairs of causes that meet contradict stronger ones and were given up")
    if circles := int(oriented.circles[0]):
        said.append(f"{circles} pairs of causes that meet would close a circle with stronger ones and were given up")
    if both_ways := int(oriented.refused.both_ways[0]):
        said.append(f"{both_ways} edges have no direction since either follows from what is found of others")
    if circling := int(oriented.refused.circling[0]):
        said.append(f"{circling} edges have no direction since that which follows would close a circle")
    return said
