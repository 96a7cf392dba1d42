"""How much a proposal promises too much: whoever picks the best of many uncertain effects picks their errors too.

Proposals are made from a random half of the rows and judged by the other half, whose errors they could not pick. What
they promise more than that keeps is the optimism of half the books; that of all is taken to be smaller by the root of
two, as errors are (it falls faster, so that rather too much than too little is taken back).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bayesalloc.budgets.proposing import best, stakes
from bayesalloc.budgets.question import Question
from bayesalloc.discovery.books import Books
from bayesalloc.discovery.effects import Evidence
from bayesalloc.discovery.joint import TooFew, joint_effects
from bayesalloc.discovery.moments import moments

SPLITS = 10  # each used both ways
DRAWS = 100


class Optimism(NamedTuple):
    """What proposals from half of the books promise, and what the other half keeps; means over splits.

    Attributes:
        promised: of each variable, in its own unit.
        kept: the same.
    """

    promised: Float[np.ndarray, " variable"]
    kept: Float[np.ndarray, " variable"]

    @property
    def of_all(self) -> Float[np.ndarray, " variable"]:
        """What a proposal from all of the books is expected to promise too much."""
        return (self.promised - self.kept) / np.sqrt(2.0)


def optimism(
    question: Question, books: Books, before: list[str], given: Evidence, price: float, rng: np.random.Generator
) -> Optimism | None:
    """How much too much is promised; None where half of the books is too little to make a proposal from.

    Args:
        question: of the office.
        books: the table.
        before: what comes before decisions.
        given: the evidence of all rows.
        price: lambda.
        rng: source of the splits.
    """
    whole = np.array(books.units) if given.clustered and books.units else np.arange(len(books.values))
    kinds = np.unique(whole)
    promised, kept = [], []
    for _ in range(SPLITS):
        first = np.isin(whole, rng.permutation(kinds)[: len(kinds) // 2])
        weights = np.stack([first, ~first]).astype(float)
        halves = given._replace(moments=moments(books.values, "pairwise", weights), clustered=False)
        sides = [
            halves._replace(moments=type(halves.moments)(*(part[side : side + 1] for part in halves.moments)))
            for side in (0, 1)
        ]
        try:
            found = [joint_effects(side, question.decisions, before, rng, DRAWS) for side in sides]
        except TooFew:
            return None
        effects = [joint.draws.mean(0) * question.per_percent for joint in found]
        for one, other in ((0, 1), (1, 0)):
            change = best(question, stakes(question, found[one], given.spread), price=price).change
            promised.append(effects[one] @ change)
            kept.append(effects[other] @ change)
    return Optimism(np.mean(promised, 0), np.mean(kept, 0))
