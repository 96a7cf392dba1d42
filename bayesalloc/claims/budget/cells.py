"""What is measured, cell by cell: an experiment with one seed, kept as soon as it is finished.

A cell is kept under a hash of the code of its experiment and of what that uses, comments and docstrings aside. So what
another version measured stays where it is, and is never mixed in.
"""

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bayesalloc.claims.budget.published import Found
from bayesalloc.claims.versions import code_of
from bayesalloc.errors import InputError, quoted
from bayesalloc.replacing import replace

ROOM = "bayesalloc.models.budgets.experiments"
EXPERIMENTS = (  # modules there, in the order of a report
    "discovery",
    "effects",
    "accuracy",
    "proposals",
    "metrics",
    "rivals",
    "risk",
    "adaptability",
    "growth",
)
FOLLOWED = tuple(f"bayesalloc.{room}." for room in ("models", "discovery", "budgets", "agents"))


def module(experiment: str) -> Any:
    """An experiment: `TITLE`, `TERMS` (word -> what it means), and `measured(seed)`."""
    return importlib.import_module(f"{ROOM}.{experiment}")


def run(
    experiments: Sequence[str], seeds: Sequence[int], keep: Path, *, progress: bool = False
) -> dict[str, list[Found]]:
    """Experiment -> what each seed gives.

    Args:
        experiments: names in EXPERIMENTS.
        seeds: each is a cell of its own.
        keep: folder of finished cells.
        progress: whether to show progress on stderr.

    Raises:
        InputError: where a cell that was kept is damaged.
    """
    versions = {name: code_of([module(name).__name__], FOLLOWED) for name in experiments}  # files may change meanwhile
    cells = [(seed, name) for seed in seeds for name in experiments]
    found: dict[str, list[Found]] = {name: [] for name in experiments}
    with tqdm(cells, "cells", disable=not progress, leave=False) as bar:
        for seed, name in bar:
            bar.set_postfix_str(f"{name}, seed {seed}")
            found[name].append(_kept(name, seed, versions[name], keep))
    return found


def _kept(name: str, seed: int, version: str, keep: Path) -> Found:
    """What the folder has of a cell; else what is measured, which is put there."""
    path, about = keep / f"{name}-{seed}-{version}.json", {"experiment": name, "seed": seed, "code": version}
    if path.exists():
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            if {word: kept[word] for word in about} == about:
                return kept["found"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: is not a whole cell; remove it, and it is measured again: {quoted(error)}"
            ) from None
        raise InputError(f"{path}: holds another cell than its name says; remove it, and it is measured again")
    found = module(name).measured(seed)
    replace(path, [json.dumps({**about, "found": found}, indent=1).encode()])
    return found
