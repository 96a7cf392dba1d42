"""What users upload: bounded, checked by its kind, and kept under a name of ours; nothing of it is ever run."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bayesalloc import limits
from bayesalloc.errors import InputError, visible

POSTERIOR_BYTES = 200_000_000
POLICY_BYTES = 50_000_000


class Kind(NamedTuple):
    """A kind of file: what it is called, how its name ends, its size at most in bytes, and whether it is text."""

    called: str
    ending: str
    most: int
    text: bool = True


KINDS = {
    "mechanism": Kind("a mechanism", ".toml", limits.TEXT_BYTES),
    "record": Kind("a record", ".csv", limits.CSV_BYTES),
    "posterior": Kind("a posterior", ".nc", POSTERIOR_BYTES, text=False),
    "books": Kind("books", ".csv", limits.CSV_BYTES),
    "knowledge": Kind("knowledge", ".toml", limits.TEXT_BYTES),
    "actuals": Kind("a table of what happened", ".csv", limits.CSV_BYTES),
    "policy": Kind("a policy", ".policy", POLICY_BYTES, text=False),
    "projects": Kind("a project table", ".csv", limits.CSV_BYTES),
    "edges": Kind("a table of spill-overs", ".csv", limits.CSV_BYTES),
    "rounds": Kind("a table of past rounds", ".csv", limits.CSV_BYTES),
    "allocation": Kind("a split", ".csv", limits.CSV_BYTES),
    "reports": Kind("a table of reports", ".csv", limits.CSV_BYTES),
    "problem": Kind("a problem", ".json", limits.CSV_BYTES),
}


def kept(name: str, content: bytes, kind: str, home: Path) -> Path:
    """Write an upload into a folder, under a name made of letters, digits and underscores.

    Args:
        name: what the browser calls it, which is no path.
        content: its bytes.
        kind: a key of KINDS.
        home: the folder, which is made.

    Raises:
        InputError: where it is of another kind, too large, or not UTF-8.
    """
    called, ending, most, text = KINDS[kind]
    if not name.lower().endswith(ending):
        raise InputError(f"{short(name)}: is not {called}, whose file ends in {ending}")
    if len(content) > most:
        raise InputError(f"{short(name)}: has {len(content):,} bytes; {called} may have {most:,}")
    if text:
        try:
            content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{short(name)}: not a readable text file: {error}") from None
    home.mkdir(parents=True, exist_ok=True)
    path = home / f"{safe(name[: -len(ending)]) or kind}{ending}"
    path.write_bytes(content)
    return path


def safe(name: str) -> str:
    """A name's letters, digits and underscores, of ASCII, at most 40.

    >>> safe("../../etc/my contract")
    'etc_my_contract'
    """
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")[:40]


def short(name: str) -> str:
    """A file's name for a message: its last part, visible, and not too long."""
    return visible(re.split(r"[/\\]", name)[-1])[-60:] or "the file"


@contextmanager
def said_of(name: str, path: Path) -> Iterator[None]:
    """Refusals speak of the file as its user calls it."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace(str(path), short(name))) from None
