"""State files of `optimize`: which kinds there are, how they are read whole or not at all, and written in one step."""

import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec

from bayesalloc import limits, replacing
from bayesalloc.errors import InputError, NotWritten

ALLOCATION, DESIGN = "bayesalloc allocation 1", "bayesalloc design 1"
KINDS = {ALLOCATION: "an allocation", DESIGN: "a mechanism's design"}
LARGEST = 200_000_000  # bytes of a state file


def hashed(question: msgspec.Struct) -> str:
    """By which a state is known to belong to a question."""
    return hashlib.sha256(msgspec.json.encode(question, order="sorted")).hexdigest()


def read(path: Path) -> dict[str, Any]:
    """What a state file of any kind holds; its `format` says which it is.

    Raises:
        InputError: where it is not there, cut short, or of no kind.
    """
    text = limits.read_text(path, LARGEST, "a state file")
    try:
        found: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InputError(f"{path}: is no state file, or only a part of one: {error}") from None
    if not isinstance(found, dict) or found.get("format") not in KINDS:
        allowed = " or ".join(f"'{each}'" for each in KINDS)
        raise InputError(f"{path}: is no state file of {' or '.join(KINDS.values())} ('format' is not {allowed})")
    return found


def parsed[T](path: Path, kind: type[T], form: str) -> T:
    """The state of one kind in a file; its `hash` is that of its `question`.

    Raises:
        InputError: as `read`, or where it is of the other kind, not of its form, or changed by hand.
    """
    found = read(path)
    if found["format"] != form:
        raise InputError(f"{path}: is the state of {KINDS[found['format']]}, and not of {KINDS[form]}")
    try:
        state: Any = msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {error}") from None
    if state.hash != hashed(state.question):
        what = "project table" if form == ALLOCATION else "mechanism"
        raise InputError(f"{path}: its {what} or options are not those that it began with; start a new state")
    return state


def create(path: Path, state: msgspec.Struct) -> None:
    """A new state file.

    Raises:
        InputError: where there is a file already: what it knows is not to be lost.
    """
    if os.path.lexists(path):
        raise InputError(f"{path}: is there already; a new state needs a new name")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}")
    replace(path, state)


def replace(path: Path, state: msgspec.Struct) -> None:
    """Write a state file, in one step.

    Raises:
        NotWritten: where it cannot be, as on a full disk; the old one is there still.
    """
    try:
        replacing.replace(path, [msgspec.json.format(msgspec.json.encode(state), indent=1), b"\n"])
    except OSError as error:
        raise NotWritten(f"{path}: cannot be written: {error.strerror}") from None
