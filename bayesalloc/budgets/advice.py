"""Changes that another than the linear programme proposes, such as a learned policy, cut to an office's limits."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bayesalloc.budgets.proposing import LEAST, Stakes
from bayesalloc.budgets.question import Question


class Adviser(NamedTuple):
    """Who proposes changes.

    Attributes:
        name: as a sentence calls it.
        advise: question -> change of each decision, % of its money, whatever the limits.
    """

    name: str
    advise: Callable[[Question], Float[np.ndarray, " decision"]]


def within(question: Question, at: Stakes, advised: Float[np.ndarray, " decision"]) -> Float[np.ndarray, " decision"]:
    """The part of some changes that the limits leave.

    Frozen decisions stay, and of too many changes those that the books think worth most are kept. Where money is short
    raises are scaled down, and where that is not enough all that may change is cut, evenly. Where only transfers can be
    told, cuts are scaled down likewise.

    Args:
        question: of the office.
        at: what is at stake.
        advised: changes, %.
    """
    limits = question.limits
    change = np.where(question.free, np.clip(advised, -limits.change, limits.change), 0.0)
    if limits.departments is not None:
        worth = at.weight @ at.gain.mean(0) * change
        change[np.argsort(np.where(change == 0, -np.inf, worth))[: -limits.departments]] = 0.0
    base = question.base / 100.0
    raised, cut = base @ change.clip(0.0), -base @ change.clip(None, 0.0)
    if raised - cut > question.room:
        change = np.where(change > 0, change * max(question.room + cut, 0.0) / max(raised, 1e-300), change)
        short = base @ change - question.room
        lowest = np.where(question.free, -limits.change, change)
        left = base @ (change - lowest)
        if short > 1e-9 and left > 0:
            change = change + min(short / left, 1.0) * (lowest - change)
    elif question.balanced and cut > raised:
        change = np.where(change < 0, change * raised / cut, change)
    return np.where(np.abs(change) < LEAST, 0.0, change)
