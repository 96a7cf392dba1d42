"""What moves what, and by how much: total effects of setting one variable, over all graphs that books allow.

In each graph of the resampled tables a treatment's direct causes are held fixed, or each set that they may be. Draws
from the posterior of its slope are pooled over graphs and sets, so that an interval holds what is not known of the
graph too. Where rows of a unit are alike, the slopes of the resampled tables themselves are the draws.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from bayesalloc.discovery import bootstrap as boot
from bayesalloc.discovery.adjustment import Set, identified, parent_sets, undecided
from bayesalloc.discovery.books import Books
from bayesalloc.discovery.moments import Moments, moments
from bayesalloc.discovery.regression import slopes
from bayesalloc.effects.contrasts import Difference, difference
from bayesalloc.errors import InputError

DRAWS = 2000
SURE = 0.9  # share of the graphs in which an effect must be identified to be called so


class Estimate(NamedTuple):
    """The effect of one treatment on every variable: of raising it by one, in each variable's own unit.

    Attributes:
        treatment: its name.
        names: the variables.
        draws: NaN of the treatment itself.
        identified: share of the graphs in which all that may be adjusted for gives the same effect.
        sets: what was adjusted for, with its share of the draws, the largest first.
        means: the effect by each of these.
        spread: standard deviation of each variable.
        clustered: whether draws are of resampled tables, since rows of a unit are alike.
        undecided: for each variable, neighbours that may be cause or effect of the treatment, where that matters.
    """

    treatment: str
    names: tuple[str, ...]
    draws: Float[np.ndarray, "draw node"]
    identified: Float[np.ndarray, " node"]
    sets: list[tuple[tuple[str, ...], float]]
    means: Float[np.ndarray, "set node"]
    spread: Float[np.ndarray, " node"]
    clustered: bool
    undecided: list[list[str]]

    def on(self, outcome: str, interval: float = 0.89) -> Difference:
        """Statistics of the effect on one variable."""
        return difference(self.draws[:, self.names.index(outcome)], interval)


class Evidence(NamedTuple):
    """What slopes are taken from.

    Attributes:
        books: the table.
        moments: of the table.
        resampled: of resampled tables, where rows are not independent; None where they are.
        spread: standard deviation of each variable.
    """

    books: Books
    moments: Moments
    resampled: Moments | None
    spread: Float[np.ndarray, " node"]

    @property
    def clustered(self) -> bool:
        """Whether rows of a unit are alike."""
        return self.resampled is not None


def evidence(books: Books, samples: int, seed: int = 0) -> Evidence:
    """Of books, with gaps filled in as is most likely.

    Args:
        books: the table, of numbers.
        samples: how many resampled tables there are.
        seed: as they were drawn with.
    """
    if books.labels:
        raise InputError("effects are of numbers; these books are of labels")
    whole = moments(books.values, "em")
    several = None
    if samples > 1 and boot.clustered(books):
        weights = boot.resampled(books, samples, np.random.default_rng(seed), halves=True)[0]
        several = moments(books.values, "pairwise", weights)
    return Evidence(books, whole, several, np.nanstd(books.values, axis=0))


def _draws(
    given: Evidence, node: int, adjusted: Set, sample: int, count: int, rng: np.random.Generator
) -> Float[np.ndarray, "draw node"]:
    """Effects on every variable with a set held fixed: `count` draws, or the most likely one.

    A direct cause is not moved; of the variable itself it is NaN.
    """
    resampled = given.resampled if count else None
    found = slopes(resampled or given.moments, [node, *adjusted], sample if resampled else 0)
    effect = np.broadcast_to(found.mean[0], (max(count, 1), len(found.freedom)))
    if count and not resampled:
        freedom = np.where(found.freedom > 0, found.freedom, np.nan)
        width = np.sqrt(found.residual) * np.linalg.norm(found.root[0])
        effect = effect + width * rng.standard_t(freedom, (count, len(freedom)))
    effect = effect * given.spread / given.spread[node]
    effect[:, list(adjusted)] = 0.0
    return effect


def effects_of(
    treatment: str, given: Evidence, samples: Bool[np.ndarray, "sample node node"], rng: np.random.Generator
) -> Estimate:
    """The effects of one treatment on every variable.

    Args:
        treatment: which variable is set.
        given: the evidence.
        samples: graphs, of resampled tables or a single one.
        rng: source of the draws.

    Raises:
        InputError: where there is no such variable.

    >>> from bayesalloc.discovery.books import from_columns
    >>> cause, a, b = np.random.default_rng(0).normal(size=(3, 4000))
    >>> treated = cause + a
    >>> books = from_columns({"cause": cause, "treated": treated, "outcome": treated - 2 * cause + b})
    >>> graph = np.array([[0, 1, 1], [0, 0, 1], [0, 0, 0]], bool)
    >>> found = effects_of("treated", evidence(books, 1), graph[None], np.random.default_rng(0))
    >>> found.sets, round(float(found.on("outcome").mean), 1)
    ([(('cause',), 1.0)], 1.0)
    """
    given.books.column(treatment)
    names = given.books.names
    node = names.index(treatment)

    def draw(adjusted: Set, sample: int, count: int) -> np.ndarray:
        return _draws(given, node, adjusted, sample, count, rng)

    pooled = over_graphs(samples, node, draw, rng)
    return Estimate(
        treatment,
        names,
        pooled.draws,
        identified(samples, node).mean(0),
        [(tuple(names[i] for i in chosen), share) for chosen, share in pooled.sets],
        np.concatenate([draw(chosen, 0, 0) for chosen, _ in pooled.sets]),
        given.spread,
        given.clustered,
        [[names[i] for i in undecided(samples, node, outcome)] for outcome in range(len(names))],
    )


class Pooled(NamedTuple):
    """Draws over graphs and over what may have to be held fixed.

    Attributes:
        draws: of whatever is drawn, in as many rows.
        sets: what is held fixed, with its share of the draws, the largest first.
    """

    draws: Float[np.ndarray, "draw ..."]
    sets: list[tuple[Set, float]]


def over_graphs(
    samples: Bool[np.ndarray, "sample node node"],
    node: int,
    draw: Callable[[Set, int, int], np.ndarray],
    rng: np.random.Generator,
) -> Pooled:
    """Draws by every set that may be a treatment's direct causes in some graph.

    Args:
        samples: graphs.
        node: the treatment.
        draw: with a set held fixed, in the table of a graph, so many draws.
        rng: of the order in which the sets of a graph take turns.
    """
    each = max(DRAWS // len(samples), 1)
    shares: dict[Set, float] = {}
    parts = []
    for sample, graph in enumerate(samples):
        sets = parent_sets(graph, node)
        turns = rng.permutation(each) % len(sets)
        for place, chosen in enumerate(sets):
            shares[chosen] = shares.get(chosen, 0.0) + 1.0 / len(sets) / len(samples)
            if count := int((turns == place).sum()):
                parts.append(draw(chosen, sample, count))
    return Pooled(np.concatenate(parts), sorted(shares.items(), key=lambda pair: -pair[1]))
