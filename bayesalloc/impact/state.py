"""The state of an optimisation that goes on from round to round: one file, which holds all that it needs.

The project table stands in it as text, with a hash, so that a state is never mixed up with another table. It is
replaced in one step, while a lock keeps others out: whatever happens, the file is the old one or the new one.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bayesalloc.impact.files import ALLOCATION, hashed, parsed, replace
from bayesalloc.impact.projects import Projects, read_projects
from bayesalloc.impact.rounds import Row
from bayesalloc.records import Table


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be allocated, and what is asked of an allocation.

    Attributes:
        projects: the project table, as CSV text.
        edges: the table of spill-overs; "": none.
        budget: USD a round.
        risk: see `bayesalloc.impact.risk`.
        acquisition: see `bayesalloc.impact.acquisition`.
        beta: its beta.
        domain_caps: see `bayesalloc.impact.bounds.Limits`, as the next three.
        turnover: see there.
        change: see there.
        resources: see there.
        seed: of the draws.
        step: USD of which every grant is a multiple; None: any amount.
    """

    projects: str
    edges: str
    budget: float
    risk: str
    acquisition: str
    beta: float
    domain_caps: dict[str, float]
    turnover: float | None
    change: float | None
    resources: dict[str, float]
    seed: int
    step: float | None = None


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A proposal that was made.

    Attributes:
        id: by which `tell` refers to it.
        round: the round that it is for.
        allocation: project -> USD.
    """

    id: str
    round: int
    allocation: dict[str, float]


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that is known.

    Attributes:
        format: which kind of file it is.
        question: what is to be allocated.
        hash: of the question.
        rows: what was funded and reported.
        asks: the proposals that were made.
        spreads: see `bayesalloc.impact.learning.Learned`, the mode first; empty: not yet learned.
        learned_from: how many rounds they were learned from.
        before: the last of the rounds that it began with; 0: none.
    """

    format: str
    question: Question
    hash: str
    rows: list[Row] = []
    asks: list[Ask] = []
    spreads: list[list[float]] = []
    learned_from: int = 0
    before: int = 0

    def projects(self) -> tuple[Projects, list[str]]:
        """The project table, and sentences on what was assumed."""
        table = Table("the project table", self.question.projects)
        edges = Table("the edges", self.question.edges) if self.question.edges else None
        return read_projects(table, self.question.budget, edges)

    @property
    def rounds(self) -> int:
        """The last round of which anything is known; 0: none."""
        return max((row.round for row in self.rows), default=0)


def begun(question: Question, rows: list[Row]) -> State:
    """A new state."""
    return State(ALLOCATION, question, hashed(question), rows, before=max((row.round for row in rows), default=0))


def asked(state: State, allocation: dict[str, float], number: int, *, again: bool) -> tuple[State, Ask]:
    """The state with a proposal, to a cent.

    Args:
        state: as it is.
        allocation: project -> USD.
        number: the round that it is for.
        again: whether a proposal that was made before, and is the same, will do.
    """
    allocation = {name: round(amount, 2) for name, amount in allocation.items()}
    for ask in state.asks if again else ():
        same = ask.round == number and all(
            abs(ask.allocation[name] - amount) <= 1e-6 * state.question.budget for name, amount in allocation.items()
        )
        if same:
            return state, ask
    ask = Ask(str(len(state.asks) + 1), number, allocation)
    return msgspec.structs.replace(state, asks=[*state.asks, ask]), ask


def load(path: Path) -> State:
    """The state in a file.

    Raises:
        InputError: where it is not there, cut short, of another kind, or its table was changed.
    """
    return parsed(path, State, ALLOCATION)


@contextmanager
def locked(path: Path) -> Iterator[State]:
    """The state in a file, which nobody else changes meanwhile; `save` what it has become.

    Raises:
        InputError: as `load`, or where somebody else is changing it.
    """
    load(path)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        # The folder is locked, not the file, which another process may be about to replace.
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield load(path)
    finally:
        os.close(handle)


def save(path: Path, state: State) -> None:
    """Replace a state file, in one step."""
    replace(path, state)
