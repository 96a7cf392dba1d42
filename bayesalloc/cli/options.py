"""Options that several commands take, and how they are read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter


def _whole(type_: Any, tokens: Sequence[Any]) -> int:
    """Cyclopts rounds 1.5 to a whole number, silently."""
    text = tokens[0].value
    if not re.fullmatch(r"[+-]?[0-9]{1,30}", text):
        raise ValueError(f"'{text[:60]}' is not a whole number")
    return int(text)


Whole = Annotated[int, Parameter(converter=_whole)]
Flag = Annotated[bool, Parameter(negative=())]


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """What every command takes."""

    seed: Whole = 0
    "Seed of all random numbers; the same seed gives the same numbers."
    out: Path | None = None
    "Folder for the results; default: runs/TIME-COMMAND."
    json: Flag = False
    "Print one JSON object on stdout and nothing else there."
    quiet: Flag = False
    "Print nothing but errors (and the JSON object)."


DEFAULT = Common()
Repeated = Parameter(negative=())  # given once for each: --do a=1 --do b=2
Texts = Annotated[list[str] | None, Repeated]
Names = Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())]  # one after another: a b
