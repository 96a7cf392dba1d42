"""What an office knows beside its books, as a TOML file says it; and what of that binds a search for causes."""

import datetime
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import networkx as nx
import numpy as np
from jaxtyping import Bool, Int

from bayesalloc import limits
from bayesalloc.discovery.graph import Pair
from bayesalloc.errors import InputError, quoted

NO_TIER = -1


class Goal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An objective.

    Attributes:
        weight: at least 0; only ratios of weights matter.
        better: which direction is good.
        base: what 100 of its units are worth in money, where they are; all such objectives are one: the money.
    """

    weight: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    better: Literal["higher", "lower"] = "higher"
    base: Annotated[float, msgspec.Meta(gt=0)] | None = None


class Comment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a stakeholder says, and what is made of it.

    Attributes:
        who: whose comment it is.
        says: in their words.
        date: when.
        forbidden: edges that there cannot be, cause first.
        required: edges that there must be.
        protected: variables that are not to be harmed; as a table with what is known of each.
        tolerances: variable -> harm that would be borne, in its own unit.
        weights: objective -> weight, or its `Goal`.
        frozen: decisions that are not to change.
    """

    who: str = ""
    says: str = ""
    date: datetime.date | None = None
    forbidden: tuple[Pair, ...] = ()
    required: tuple[Pair, ...] = ()
    protected: tuple[str, ...] | dict[str, Any] = ()
    tolerances: dict[str, float] = {}
    weights: dict[str, float | Goal] = {}
    frozen: tuple[str, ...] = ()


class Office(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of `--knowledge`; whatever it leaves out is not known.

    Attributes:
        decisions: the columns that are decided on; as a table with what is known of each.
        tiers: lists of columns, the earliest first: nothing in a later tier is a cause of anything in an earlier one.
        forbidden: edges that there cannot be, cause first.
        required: edges that there must be.
        protected: columns that are not to be harmed; as a table with what is known of each.
        weights: objective -> its weight, where more is better, or its `Goal`.
        limits: what a proposal must keep to.
        comments: of stakeholders.
    """

    decisions: list[str] | dict[str, Any] = []
    tiers: list[list[str]] | dict[str, list[str]] = []
    forbidden: tuple[Pair, ...] = ()
    required: tuple[Pair, ...] = ()
    protected: list[str] | dict[str, Any] = []
    weights: dict[str, float | Goal] = {}
    limits: dict[str, Any] = {}
    comments: tuple[Comment, ...] = ()

    @property
    def ordered(self) -> list[list[str]]:
        """The tiers without their names."""
        return list(self.tiers.values()) if isinstance(self.tiers, dict) else self.tiers

    def edges(self, kind: Literal["forbidden", "required"]) -> list[Pair]:
        """The edges of a kind, those of comments among them, cause first."""
        return [edge for said in (self, *self.comments) for edge in getattr(said, kind)]


class Knowledge(NamedTuple):
    """What binds the search for causes among some variables.

    Attributes:
        tier: the place of each variable's tier, or `NO_TIER`.
        forbidden: `[i, j]`: i is no direct cause of j; so it is between tiers, against time.
        required: `[i, j]`: i is a direct cause of j.
    """

    tier: Int[np.ndarray, " node"]
    forbidden: Bool[np.ndarray, "node node"]
    required: Bool[np.ndarray, "node node"]

    @property
    def possible(self) -> Bool[np.ndarray, "node node"]:
        """Pairs between which there may be an edge."""
        return ~(self.forbidden & self.forbidden.T) & ~np.eye(len(self.tier), dtype=bool)

    @property
    def later(self) -> Bool[np.ndarray, "node node"]:
        """`[i, j]`: i is in a later tier than j; a variable without a tier is neither earlier nor later."""
        placed = self.tier != NO_TIER
        return (self.tier[:, None] > self.tier) & placed[:, None] & placed


def read_office(path: str | Path) -> Office:
    """The file of `--knowledge`.

    Raises:
        InputError: naming the file, the field and what is allowed.
    """
    text = limits.read_text(Path(path), limits.TEXT_BYTES, "a file of knowledge", "utf-8-sig")
    try:
        return msgspec.convert(tomllib.loads(text), Office)
    except msgspec.ValidationError as error:
        fields = ", ".join(Office.__struct_fields__)
        hint = f"; the fields are {fields}" if "unknown field" in str(error) and "`$" not in str(error) else ""
        raise InputError(f"{path}: {quoted(error)}{hint}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not TOML: {quoted(error)}") from None


def nothing_known(count: int) -> Knowledge:
    """No knowledge of so many variables."""
    return Knowledge(np.full(count, NO_TIER), np.zeros((count, count), bool), np.zeros((count, count), bool))


def binding(
    office: Office,
    names: Sequence[str],
    closed: Iterable[Sequence[str]] = (),
    left_out: Iterable[str] = (),
    where: str | Path = "knowledge",
) -> Knowledge:
    """What an office knows that binds a search among these variables; its stakeholders' comments among it.

    Args:
        office: as `read_office` gives it.
        names: the variables.
        closed: sets of variables whose sum never changes: there is no edge among them unless one is required.
        left_out: columns that are no variables; what is said of them binds nothing.
        where: what a message begins with, such as the file's name.

    Raises:
        InputError: for an unknown variable, one in two tiers, a required edge that is forbidden too or runs against
            time, or required edges in a circle; the message names the path.

    >>> known = binding(Office(tiers=[["a"], ["b", "c"]], required=(("b", "c"),)), ["a", "b", "c"])
    >>> known.forbidden.astype(int).tolist(), known.required.astype(int).tolist()
    ([[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[0, 0, 0], [0, 0, 1], [0, 0, 0]])
    """
    place, ignored = {name: i for i, name in enumerate(names)}, set(left_out)
    known = nothing_known(len(names))
    told: dict[str, int] = {}
    for number, tier in enumerate(office.ordered):
        for name in tier:
            _check(name, place, ignored, f"{where}: tiers")
            if name in told:
                raise InputError(f"{where}: tiers: '{quoted(name)}' stands in tier {told[name] + 1} and {number + 1}")
            told[name] = number
            if name in place:
                known.tier[place[name]] = number
    known.forbidden[:] = known.later
    for members in closed:
        rows = [place[name] for name in members]
        known.forbidden[np.ix_(rows, rows)] = True
    said = np.zeros_like(known.forbidden)
    fields: tuple[tuple[Literal["forbidden", "required"], np.ndarray], ...]
    fields = (("forbidden", said), ("required", known.required))
    for field, array in fields:
        for cause, effect in office.edges(field):
            for name in (cause, effect):
                _check(name, place, ignored, f"{where}: {field}")
            if cause == effect:
                raise InputError(f"{where}: {field}: '{quoted(cause)}' is joined to itself")
            if cause in place and effect in place:
                array[place[cause], place[effect]] = True
    for i, j in np.argwhere(known.required):
        edge = quoted(f"{names[i]} -> {names[j]}")
        if said[i, j]:
            raise InputError(f"{where}: {edge} is required and forbidden")
        if known.later[i, j]:
            raise InputError(
                f"{where}: {edge} is required, but '{quoted(names[i])}' is in tier {known.tier[i] + 1}, later than"
                f" '{quoted(names[j])}' in tier {known.tier[j] + 1}"
            )
    try:
        circle = nx.find_cycle(nx.from_numpy_array(known.required, create_using=nx.DiGraph))
    except nx.NetworkXNoCycle:
        known.forbidden[:] = (known.forbidden | said | known.required.T) & ~known.required
        np.fill_diagonal(known.forbidden, val=False)
        return known
    around = [str(names[edge[0]]) for edge in [*circle, circle[0]]]
    raise InputError(f"{where}: the required edges are a circle: {quoted(' -> '.join(around))}")


def _check(name: str, place: dict[str, int], ignored: set[str], where: str) -> None:
    if name not in place and name not in ignored:
        raise InputError(f"{where}: there is no variable '{quoted(name)}'; there are {quoted(', '.join(place))}")
