"""Effects in books of labels: what setting a treatment to one label instead of another does to an outcome's chances.

    P(y | do(x)) = sum over s of P(s) P(y | x, s)

with s the labels of what is held fixed. Shares have Dirichlet posteriors: of s that of the rows, of y given x and s
that of a table's counts and of one more row, which is like the outcome in all rows. Where no row with s has x, books
say nothing of y: all shares are as likely, and are drawn once for all such s, so that intervals hold what is not known.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from bayesalloc.discovery import bootstrap as boot
from bayesalloc.discovery.adjustment import Set, identified, undecided
from bayesalloc.discovery.books import MOST_LEVELS, Books
from bayesalloc.discovery.effects import Estimate, over_graphs
from bayesalloc.errors import InputError, listed, quoted

THIN = 5  # rows with a label of the treatment, below which a table says little
CELLS = 2_000_000  # numbers that are drawn at once


class Setting(NamedTuple):
    """What is asked of labels.

    Attributes:
        to: the treatment's label in one arm; "": its last that is not that of the other.
        instead_of: in the other; "": its first that is not `to`.
        label: the outcome's label whose probability it is about; "": its last.
    """

    to: str = ""
    instead_of: str = ""
    label: str = ""

    def matched(self, books: Books, treatment: str, outcome: str) -> "Setting":
        """The same with every label written out.

        Raises:
            InputError: for a label that there is not, or one that is set instead of itself.

        >>> books = Books(("a", "b"), np.zeros((2, 2)), labels={"a": ("no", "yes"), "b": ("high", "low")})
        >>> Setting(label="high").matched(books, "a", "b")
        Setting(to='yes', instead_of='no', label='high')
        """
        of, among = books.labels[treatment], books.labels[outcome]
        for name, value, allowed in (
            (treatment, self.to, of),
            (treatment, self.instead_of, of),
            (outcome, self.label, among),
        ):
            if value and value not in allowed:
                known = listed(map(quoted, allowed))
                raise InputError(f"'{quoted(name)}' is never '{quoted(value)}'; its labels are {known}")
        if self.to and self.to == self.instead_of:
            raise InputError(
                f"'{quoted(treatment)}' is set to '{quoted(self.to)}' instead of itself; give another label"
            )
        instead_of = self.instead_of or next(label for label in of if label != self.to)
        return Setting(
            self.to or [label for label in of if label != instead_of][-1], instead_of, self.label or among[-1]
        )


class Tables(NamedTuple):
    """Counts of rows, for one set that is held fixed.

    Attributes:
        strata: of each value of what is held fixed.
        counts: of these, by the treatment's two labels and by the outcome's.
        usual: share of each of the outcome's labels in all rows.
    """

    strata: Float[np.ndarray, " stratum"]
    counts: Float[np.ndarray, "arm stratum label"]
    usual: Float[np.ndarray, " label"]

    def short(self, least: int) -> float:
        """Share of the rows whose stratum has fewer rows than that with one of the treatment's two labels."""
        return float(self.strata[(self.counts.sum(2) < least).any(0)].sum() / self.strata.sum())

    def drawn(self, count: int, rng: np.random.Generator) -> Float[np.ndarray, "draw arm label"]:
        """Draws of the probability of each label when the treatment is set."""
        step = max(CELLS // self.counts.size, 1)
        return np.concatenate([self._drawn(min(step, count - at), rng) for at in range(0, count, step)])

    def mean(self) -> Float[np.ndarray, "arm label"]:
        """The mean of such draws."""
        size = self.counts.sum(2, keepdims=True)
        given = np.where(size > 0, (self.counts + self.usual) / (size + 1.0), 1.0 / len(self.usual))
        return np.einsum("s,asy->ay", self.strata / self.strata.sum(), given)

    def _drawn(self, count: int, rng: np.random.Generator) -> np.ndarray:
        share = _shares(np.broadcast_to(self.strata, (count, len(self.strata))), rng)
        given = _shares(np.broadcast_to(self.counts + self.usual, (count, *self.counts.shape)), rng)
        unknown = _shares(np.ones((count, 2, 1, len(self.usual))), rng)
        given = np.where(self.counts.sum(2, keepdims=True) > 0, given, unknown)
        return np.einsum("ms,masy->may", share, given)


def tables(
    books: Books,
    places: tuple[int, int],
    labels: tuple[float, float],
    adjusted: Set,
    weights: Float[np.ndarray, " row"] | None = None,
) -> Tables:
    """Counts of the rows that have treatment, outcome and all that is held fixed.

    Args:
        books: of labels.
        places: of treatment and outcome.
        labels: the treatment's two.
        adjusted: what is held fixed.
        weights: how often each row counts; by default once.

    Raises:
        InputError: where there is no such row.
    """
    treatment, outcome = places
    rows = ~np.isnan(books.values[:, [*places, *adjusted]]).any(1)
    weight = np.ones(len(rows)) if weights is None else weights
    values, weight = books.values[rows], weight[rows]
    if not weight.any():
        names = listed(quoted(books.names[i]) for i in (*places, *adjusted))
        raise InputError(f"no row of the books has all of {names}")
    stratum = np.zeros(len(values), int)
    for place in adjusted:
        stratum = np.unique(stratum * MOST_LEVELS + values[:, place].astype(int), return_inverse=True)[1]
    levels, strata = len(books.labels[books.names[outcome]]), np.bincount(stratum, weight)
    code = stratum * levels + values[:, outcome].astype(int)
    counts = [
        np.bincount(code, weight * (values[:, treatment] == label), len(strata) * levels).reshape(-1, levels)
        for label in labels
    ]
    usual = np.bincount(values[:, outcome].astype(int), weight, levels)
    return Tables(strata, np.stack(counts), usual / usual.sum())


def _shares(weight: Float[np.ndarray, "*batch label"], rng: np.random.Generator) -> Float[np.ndarray, "*batch label"]:
    """Draws of Dirichlet shares; nothing of what has no weight."""
    lots = rng.standard_gamma(weight)
    return lots / lots.sum(-1, keepdims=True)


class Labelled(NamedTuple):
    """An effect between labels.

    Attributes:
        setting: what was asked.
        estimate: of the probability of each of the outcome's labels, which are its `names`.
        arms: draws of the probabilities themselves, `setting.to` first.
        unseen: share of the rows of whose strata the books do not know one of the treatment's labels.
        thin: share of the rows in whose strata one of them stands in fewer than THIN rows.
    """

    setting: Setting
    estimate: Estimate
    arms: Float[np.ndarray, "draw arm label"]
    unseen: float
    thin: float


def label_effects(
    books: Books,
    treatment: str,
    outcome: str,
    setting: Setting,
    samples: Bool[np.ndarray, "sample node node"],
    seed: int = 0,
    *,
    moved: bool = True,
) -> Labelled:
    """What setting a treatment to one label instead of another does to the probability of each label of an outcome.

    Args:
        books: of labels.
        treatment: what is set.
        outcome: what it is to move.
        setting: which labels, see `Setting`.
        samples: graphs, of resampled tables or a single one.
        seed: as tables were resampled with.
        moved: whether the outcome can be moved at all; it can not where it comes before the treatment.

    Raises:
        InputError: for a variable or a label that there is not.
    """
    for name in (treatment, outcome):
        books.column(name)
    names, setting, rng = books.names, setting.matched(books, treatment, outcome), np.random.default_rng(seed)
    places = node, end = names.index(treatment), names.index(outcome)
    of = books.labels[treatment]
    labels = float(of.index(setting.to)), float(of.index(setting.instead_of))
    clustered = len(samples) > 1 and boot.clustered(books)
    weights = boot.resampled(books, len(samples), np.random.default_rng(seed), halves=True)[0] if clustered else None

    count = len(books.labels[outcome])

    @cache
    def whole(adjusted: Set) -> Tables:
        return tables(books, places, labels, adjusted)

    def fixed(adjusted: Set) -> bool:
        return end in adjusted or not moved  # a direct cause is not moved either

    def draw(adjusted: Set, sample: int, times: int) -> np.ndarray:
        if fixed(adjusted):
            return np.broadcast_to(whole(()).usual, (times, 2, count))
        if weights is None:
            return whole(adjusted).drawn(times, rng)
        return np.broadcast_to(tables(books, places, labels, adjusted, weights[sample]).mean(), (times, 2, count))

    pooled = over_graphs(samples, node, draw, rng)
    told = [(whole(chosen), share) for chosen, share in pooled.sets if not fixed(chosen)]
    unseen, thin = (sum(share * table.short(least) for table, share in told) for least in (1, THIN))
    means = [np.zeros((2, count)) if fixed(chosen) else whole(chosen).mean() for chosen, _ in pooled.sets]
    estimate = Estimate(
        treatment,
        books.labels[outcome],
        pooled.draws[:, 0] - pooled.draws[:, 1],
        np.repeat(identified(samples, node).mean(0)[end] if moved else 1.0, count),
        [(tuple(names[i] for i in chosen), share) for chosen, share in pooled.sets],
        np.stack([mean[0] - mean[1] for mean in means]),
        np.ones(count),
        clustered,
        [[names[i] for i in undecided(samples, node, end)]] * count,
    )
    return Labelled(setting, estimate, pooled.draws, unseen, thin)
