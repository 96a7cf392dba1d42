"""What jobs have left: the answers of run folders, checked before they are shown."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bayesalloc import runs
from bayesalloc.dashboard.state import runs_folder


def answers(command: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Run folders of a command and what they answered, the newest first.

    Args:
        command: as the answer's file is named.
    """
    there = [path for path in runs_folder().glob(f"*/{command}.json") if (path.parent / runs.MANIFEST).is_file()]
    for path in sorted(there, key=lambda path: path.parent.name, reverse=True):
        yield path.parent, answer(path)


def answer(path: Path) -> dict[str, Any]:
    """What a run answered.

    Raises:
        InputError: where it is not what its manifest says.
    """
    runs.check(path)
    return json.loads(path.read_text(encoding="utf-8"))


def latest(command: str, state: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest run of a command about a state file; None where there is none."""
    return next(((path, found) for path, found in answers(command) if found.get("state") == str(state)), None)
