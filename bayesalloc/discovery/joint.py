"""What several decisions do at once: the effects of setting all of them, which single effects do not add up to.

An effect of one decision includes what past policy let others do in its wake; where all are set, nothing follows in the
wake of anything. So everything is regressed on all decisions together and on what came before them, and on nothing
that comes later, as that would take out a part of what decisions do (Pearl 2009, section 3.3, of a joint intervention).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bayesalloc.discovery.books import Books
from bayesalloc.discovery.effects import Evidence
from bayesalloc.discovery.regression import drawn, slopes
from bayesalloc.errors import InputError, quoted

DRAWS = 400


class TooFew(InputError):
    """There are too few rows for so many decisions and conditions."""


class Joint(NamedTuple):
    """Draws of what raising each decision by one does to every variable, all decisions being set.

    Attributes:
        names: all variables.
        decisions: those that are set.
        before: what came before them, and is held fixed.
        draws: in the variable's own unit per unit of the decision; NaN of decisions and of what came before.
    """

    names: tuple[str, ...]
    decisions: tuple[str, ...]
    before: tuple[str, ...]
    draws: Float[np.ndarray, "draw variable decision"]

    def on(self, variable: str) -> Float[np.ndarray, "draw decision"]:
        """The effects on one variable."""
        return self.draws[:, self.names.index(variable)]


def joint_effects(
    given: Evidence,
    decisions: Sequence[str],
    before: Sequence[str],
    rng: np.random.Generator,
    count: int = DRAWS,
) -> Joint:
    """The effects of all decisions at once.

    Where their sum never changes, only transfers between them have effects that can be told: those of single decisions
    then are up to a number that is common to all, in the unit of the sum, and that no transfer depends on.

    Args:
        given: the evidence.
        decisions: what is set.
        before: variables of earlier tiers.
        rng: source of the draws.
        count: how many draws; from resampled tables there are as many as there are tables.

    Raises:
        TooFew: where there are too few rows for so many variables.

    >>> from bayesalloc.discovery.books import from_columns
    >>> from bayesalloc.discovery.effects import evidence
    >>> a, noise, left = np.random.default_rng(0).normal(size=(3, 4000))
    >>> b = a + noise  # past policy let b follow a
    >>> books = from_columns({"a": a, "b": b, "result": 2 * a - b + left})
    >>> found = joint_effects(evidence(books, 1), ["a", "b"], [], np.random.default_rng(0))
    >>> found.on("result").mean(0).round(1).tolist()
    [2.0, -1.0]
    """
    names = given.books.names
    places = [names.index(name) for name in (*decisions, *before)]
    n = len(decisions)
    later = [i for i in range(len(names)) if i not in places]
    from_ = given.moments if given.resampled is None else given.resampled
    samples = [slopes(from_, places, sample) for sample in range(len(from_.rows))]
    freedom = np.min([each.freedom[later] for each in samples], axis=0)
    if not (freedom > 0).all():
        short = names[later[int(np.argmin(freedom))]]
        raise TooFew(
            f"the books have too few rows with '{quoted(short)}' to tell {len(places)} decisions and conditions apart:"
            f" {freedom.min() + len(places) + 1:.0f}; there must be more than {len(places) + 1}"
        )
    found = np.concatenate([drawn(each, 0 if given.clustered else count, rng) for each in samples])
    draws = found[..., :n] * given.spread[:, None] / given.spread[places[:n]]
    return Joint(names, tuple(decisions), tuple(before), draws)


def earlier(books: Books, tiers: Sequence[Sequence[str]], decisions: Sequence[str]) -> list[str]:
    """The variables of the tiers before that of the first decision."""
    found: list[str] = []
    for tier in tiers:
        if set(tier) & set(decisions):
            return found
        found += [name for name in tier if name in books.names]
    return found
