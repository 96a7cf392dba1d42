"""What an office asks of its books: what is decided, what for, what must not be harmed, and within which limits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from jaxtyping import Float

from bayesalloc.discovery.books import Books
from bayesalloc.discovery.knowledge import Comment, Goal, Office
from bayesalloc.discovery.risk import Protection
from bayesalloc.errors import InputError, quoted

MONEY = "money"  # what objectives with a base are together
CHANGE = 5.0  # %; where nobody says otherwise


class Decided(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a decision: `base` is its money by plan, of which its column has the deviation in %."""

    base: Annotated[float, msgspec.Meta(gt=0)] | None = None


class Guarded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a protected column: see `bayesalloc.discovery.risk.Protection`."""

    harm: Literal["up", "down"] = "up"
    tolerance: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    weight: Annotated[float, msgspec.Meta(ge=0)] = 1.0


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a proposal keeps to.

    Attributes:
        change: % of its money that a decision may change by.
        total: money that all decisions may come to; default: no more than now.
        departments: how many may change at most.
        frozen: decisions that may not.
    """

    change: Annotated[float, msgspec.Meta(gt=0, le=100)] = CHANGE
    total: Annotated[float, msgspec.Meta(gt=0)] | None = None
    departments: Annotated[int, msgspec.Meta(ge=1)] | None = None
    frozen: tuple[str, ...] = ()


class Question(NamedTuple):
    """What is asked, in numbers.

    Attributes:
        decisions: what is decided.
        base: money of each now.
        per_percent: what a percent of its money is in its column's unit.
        goals: objective -> what it is.
        protected: what must not be harmed.
        limits: what a proposal keeps to.
        free: whether each decision may change.
        balanced: whether only transfers can be told, so that changes must add up to nothing.
    """

    decisions: tuple[str, ...]
    base: Float[np.ndarray, " decision"]
    per_percent: Float[np.ndarray, " decision"]
    goals: Mapping[str, Goal]
    protected: tuple[Protection, ...]
    limits: Limits
    free: np.ndarray
    balanced: bool

    @property
    def room(self) -> float:
        """Money that may be added in all."""
        return 0.0 if self.limits.total is None or self.balanced else self.limits.total - float(self.base.sum())


def question(books: Books, office: Office, where: str | Path = "knowledge") -> Question:
    """What an office's file asks of its books, stakeholders' comments among it.

    Args:
        books: the table.
        office: as its file says.
        where: the file, in messages.

    Raises:
        InputError: naming the field and what is allowed.
    """
    decided = _table(office.decisions, Decided, f"{where}: decisions")
    if not decided:
        raise InputError(f"{where}: names no decisions; say which columns are decided on: decisions = [...]")
    guarded = _table(office.protected, Guarded, f"{where}: protected")
    limits = _converted(office.limits, Limits, f"{where}: limits")
    frozen, goals = {*limits.frozen}, _goals(office.weights, where)
    for comment in office.comments:
        frozen |= {*comment.frozen}
        goals |= _goals(comment.weights, where)
        told = _table(comment.protected, Guarded, f"{where}: comments: protected")
        guarded |= told if isinstance(comment.protected, dict) else {name: Guarded() for name in told} | guarded
        for name, tolerance in comment.tolerances.items():
            guarded[name] = msgspec.structs.replace(guarded.get(name, Guarded()), tolerance=tolerance)
    for field, names in {"weights": goals, "protected": guarded, "limits: frozen": frozen}.items():
        for name in names:
            allowed = decided if field == "limits: frozen" else books.names
            if name not in allowed:
                why = books.left_out.get(name, f"there are {quoted(', '.join(allowed))}")
                raise InputError(f"{where}: {field}: '{quoted(name)}' cannot be used: {why}")
            if field != "limits: frozen" and name in decided:
                raise InputError(f"{where}: {field}: '{quoted(name)}' is a decision; name what it is to bring about")
    for name, each in guarded.items():
        if not each.tolerance >= 0:
            raise InputError(f"{where}: the tolerance of '{quoted(name)}' is {each.tolerance:g}; it must be at least 0")
    if not any(goal.weight > 0 for goal in goals.values()):
        raise InputError(f"{where}: names no objective; say what changes are for, such as weights = {{ revenue = 1 }}")
    names = tuple(decided)
    closed = [members for members in books.closed if len({*members} & {*names}) > 1]
    base, per_percent = np.transpose([_money(books, name, each, where) for name, each in decided.items()])
    found = Question(
        names,
        base,
        per_percent,
        goals,
        tuple(
            Protection(name, 1.0 if each.harm == "up" else -1.0, each.tolerance, each.weight)
            for name, each in guarded.items()
        ),
        limits,
        np.array([name not in frozen for name in names]),
        bool(closed),
    )
    least = float((base * np.where(found.free, 1 - limits.change / 100, 1.0)).sum())
    if limits.total is not None and least > limits.total:
        raise InputError(
            f"{where}: limits: total is {limits.total:g}, but decisions come to {base.sum():g} and cannot be cut below"
            f" {least:g} by {limits.change:g} % each"
        )
    return found


def reweighted(office: Office, weights: Office, where: str | Path) -> Office:
    """The same with the weights of another file, which holds nothing else.

    Raises:
        InputError: where it does, or has none.
    """
    if weights != Office(weights=weights.weights) or not weights.weights:
        raise InputError(f"{where}: a file of weights holds the table `weights` alone, such as [weights] revenue = 1")
    return msgspec.structs.replace(office, weights=weights.weights)


def without(office: Office, comment: Comment) -> Office:
    """What the office would ask if a comment had not been made."""
    kept = tuple(each for each in office.comments if each is not comment)
    return msgspec.structs.replace(office, comments=kept)


def _goals(weights: Mapping[str, float | Goal], where: str | Path) -> dict[str, Goal]:
    for name, weight in weights.items():
        if not isinstance(weight, Goal) and not 0 <= weight < float("inf"):
            raise InputError(f"{where}: weights: '{quoted(name)}' is {weight:g}; a weight must be at least 0")
    return {name: each if isinstance(each, Goal) else Goal(each) for name, each in weights.items()}


def _table[T](entries: Sequence[str] | dict[str, Any], kind: type[T], where: str) -> dict[str, T]:
    if isinstance(entries, dict):
        return {name: _converted(entry, kind, f"{where}: {name}") for name, entry in entries.items()}
    return {name: kind() for name in entries}


def _converted[T](entry: Any, kind: type[T], where: str) -> T:
    try:
        return msgspec.convert(entry, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {quoted(error)}") from None


def _money(books: Books, name: str, decided: Decided, where: str | Path) -> tuple[float, float]:
    """A decision's money now, and what a percent of it is in its column's unit."""
    if decided.base is not None:
        return decided.base, 1.0
    if name not in books.names:
        raise InputError(
            f"{where}: decisions: '{quoted(name)}' cannot be used: {books.left_out.get(name, 'no column')}"
        )
    column = books.given[:, books.names.index(name)]
    last = column if books.periods is None else column[np.array(books.periods) == max(books.periods)]
    money = float(np.nanmean(last)) if np.isfinite(last).any() else float(np.nanmean(column))
    if not money > 0:
        raise InputError(
            f"{where}: decisions: '{quoted(name)}' is {money:g} in the last period, which is no money; if its column is"
            f" a deviation from plan in %, say what the plan is: {name} = {{ base = 9.0 }}"
        )
    return money, money / 100.0


def named(goals: Mapping[str, Goal]) -> list[str]:
    """The objectives as they are traded off: the money, where any is, and each other column."""
    others = [name for name, goal in goals.items() if goal.base is None]
    return [*([MONEY] if len(others) < len(goals) else []), *others]
