"""Two plain forecasts of what changes of decisions do, to hold effects that were learned with causes against.

*Linear forecasting* carries on how columns went along with decisions, and with time: a regression on these alone, in
which whatever moved both passes for an effect. *Cash flow* is bookkeeping: money that a decision gets is spent, one for
one, and nothing else moves. What changes themselves cost is part of the money at stake (`proposing.stakes`), so that
to an accountant they have no further effects.
"""

from collections.abc import Sequence

import numpy as np

from bayesalloc.discovery.books import PERIOD, Books
from bayesalloc.discovery.effects import Evidence, evidence
from bayesalloc.discovery.joint import DRAWS, Joint, joint_effects


def linear(books: Books, decisions: Sequence[str], rng: np.random.Generator, count: int = DRAWS) -> Joint:
    """What every column did when all decisions changed: slopes on all of them and on time, nothing else held fixed.

    Args:
        books: the table.
        decisions: what is decided.
        rng: source of the draws.
        count: how many draws.

    >>> from bayesalloc.discovery.books import from_columns
    >>> demand, a, b = np.random.default_rng(0).normal(size=(3, 4000))
    >>> books = from_columns({"staff": demand + a, "backlog": 3 * demand - (demand + a) + b})  # in truth -1
    >>> round(float(linear(books, ["staff"], np.random.default_rng(0)).on("backlog").mean()), 1)
    0.5
    """
    given, before = _in_time(books)
    return _of_columns(joint_effects(given, decisions, before, rng, count), books)


def linear_apart(books: Books, decisions: Sequence[str], rng: np.random.Generator, count: int = DRAWS) -> Joint:
    """What every column did when one decision changed, whatever the others did then: slopes on each of them and time.

    Args:
        books: the table.
        decisions: what is decided.
        rng: source of the draws.
        count: how many draws.
    """
    given, before = _in_time(books)
    each = [_of_columns(joint_effects(given, [name], before, rng, count), books) for name in decisions]
    return Joint(books.names, tuple(decisions), (), np.concatenate([one.draws for one in each], axis=-1))


def cash_flow(books: Books, decisions: Sequence[str]) -> Joint:
    """What accounts say of every column: nothing, as money that is spent on a decision is all that moves.

    Args:
        books: the table.
        decisions: what is decided.
    """
    return Joint(books.names, tuple(decisions), (), np.zeros((1, len(books.names), len(decisions))))


def _in_time(books: Books) -> tuple[Evidence, list[str]]:
    """The evidence of books with the number of each row's period as a column, where there are several periods."""
    kinds = sorted({*(books.periods or ())})
    if len(kinds) < 2:
        return evidence(books, 1), []
    assert books.periods is not None
    number = np.array([kinds.index(period) for period in books.periods], float)
    timed = books._replace(names=(*books.names, PERIOD), values=np.column_stack([books.values, number]))
    return evidence(timed, 1), [PERIOD]


def _of_columns(joint: Joint, books: Books) -> Joint:
    """Without time, which is no column of the books."""
    return joint._replace(names=books.names, before=(), draws=joint.draws[:, : len(books.names)])
