"""How much a proposal promises too much: whoever picks the best of many uncertain effects picks their errors too.

Proposals are made from a random half of the rows and judged by the other half, whose errors they could not pick. What
they promise more than that keeps is the optimism of half the books; that of all is taken to be smaller by the root of
two, as errors are (it falls faster, so that rather too much than too little is taken back).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bayesalloc.budgets.proposing import judged, of_all, stakes, sure_ones
from bayesalloc.budgets.question import Question
from bayesalloc.discovery.books import Books
from bayesalloc.discovery.effects import Evidence
from bayesalloc.discovery.joint import TooFew, joint_effects
from bayesalloc.discovery.moments import Moments, moments

SPLITS = 10  # each used both ways
DRAWS = 100
LEAST = (0.0, 0.7, 0.8, 0.9)  # probabilities that a change must at least help with


class Checked(NamedTuple):
    """What proposals from half of the books promise, and what the other half keeps; means over splits.

    Attributes:
        least: the probability that a change must help with, of LEAST, so that most is kept.
        promised: of each variable, in its own unit, by proposals with that.
        kept: the same.
        worth: what is kept of the weighted objectives less the price of causal risk, for each of LEAST.
    """

    least: float
    promised: Float[np.ndarray, " variable"]
    kept: Float[np.ndarray, " variable"]
    worth: Float[np.ndarray, " least"]

    @property
    def too_much(self) -> Float[np.ndarray, " variable"]:
        """What a proposal from all of the books is expected to promise too much of each variable."""
        return (self.promised - self.kept) / np.sqrt(2.0)


def checked(
    question: Question, books: Books, before: list[str], given: Evidence, price: float, rng: np.random.Generator
) -> Checked | None:
    """How far proposals can be trusted; None where half of the books is too little to make one from.

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
    found = []
    for _ in range(SPLITS):
        first = np.isin(whole, rng.permutation(kinds)[: len(kinds) // 2])
        halves = moments(books.values, "pairwise", np.stack([first, ~first]).astype(float))
        try:
            joints = [
                joint_effects(
                    given._replace(moments=Moments(*(part[i : i + 1] for part in halves)), resampled=None),
                    [name for name in question.decisions if name in books.names],
                    before,
                    rng,
                    DRAWS,
                )
                for i in (0, 1)
            ]
        except TooFew:
            return None
        joints = [of_all(joint, question) for joint in joints]
        sides = [stakes(question, joint, given.spread) for joint in joints]
        effects = [joint.draws.mean(0) * question.per_percent for joint in joints]
        for one, other in ((0, 1), (1, 0)):
            for least in LEAST:
                change = sure_ones(question, sides[one], least, price).change
                worth = judged(sides[other], change, sides[other].weight, price).worth
                found.append((least, effects[one] @ change, effects[other] @ change, worth))
    by = {least: [each[1:] for each in found if each[0] == least] for least in LEAST}
    promised, kept, worth = (
        np.array([np.mean([each[part] for each in by[least]], axis=0) for least in LEAST]) for part in range(3)
    )
    best = int(np.argmax(worth))
    return Checked(LEAST[best], promised[best], kept[best], worth)
