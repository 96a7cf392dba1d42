"""Runs that were made: which there are, whether one is whole, and how far another of the same differs from it."""

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from bayesalloc import runs
from bayesalloc.errors import InputError, listed, quoted
from bayesalloc.inference.files import open_tree
from bayesalloc.provenance import Origin, hashed, named_in

REPEATED = ("compare", "fit", "counterfactual", "allocate", "train", "discover", "effect", "budget")
OWN = ("files", "seconds")  # fields of an answer that are of the one run
CANCELLED = 0.01  # of a file's largest number: what is smaller may be what single precision left of larger ones
UNCHECKED = ("checkpoint.run",)  # which a training run writes again and again


class Run(NamedTuple):
    """A run folder.

    Attributes:
        path: the folder.
        command: its name.
        origin: what it comes from; None of a run by an earlier version.
        files: name -> SHA-256.
        state: "whole", or what is wrong with it.
    """

    path: Path
    command: str
    origin: Origin | None
    files: Mapping[str, str]
    state: str


def found(home: Path) -> Iterator[Run]:
    """The runs in a folder and those below it, the oldest first.

    Raises:
        InputError: where there is no such folder.
    """
    if not home.is_dir():
        raise InputError(f"{home}: no such folder")
    there = [read(path.parent) for path in sorted(home.rglob(runs.MANIFEST)) if _visible(path, home)]
    yield from sorted(there, key=lambda run: (run.origin.time if run.origin else "", str(run.path)))


def _visible(path: Path, home: Path) -> bool:
    return not any(part.startswith(".") for part in path.relative_to(home).parts) and runs.manifest_of(path) is not None


def read(path: Path) -> Run:
    """A run by its folder.

    Raises:
        InputError: where it is none.
    """
    manifest = runs.manifest_of(path / runs.MANIFEST)
    if manifest is None:
        raise InputError(f"{path}: is no folder of a run: it has no {runs.MANIFEST} of one")
    origin = None
    if "arguments" in manifest:
        try:
            origin = msgspec.convert(manifest, Origin)
        except msgspec.ValidationError as error:
            raise InputError(f"{path / runs.MANIFEST}: does not say what a run comes from: {quoted(error)}") from None
    files = {str(name): str(value) for name, value in manifest["files"].items()}
    return Run(path, str(manifest.get("command", "")), origin, files, _state(path, manifest, files))


def _state(path: Path, manifest: Mapping[str, Any], files: Mapping[str, str]) -> str:
    if not manifest.get("complete"):
        return "was ended while its results were moved"
    for name, value in files.items():
        if name in UNCHECKED:
            continue
        file = path / name
        if not file.resolve().is_relative_to(path.resolve()):
            return f"names '{name}', which is outside of it"
        if not file.is_file():
            return f"'{name}' is missing"
        if hashed(file) != value:
            return f"'{name}' was changed"
    return "whole"


def ready(run: Run) -> Path:
    """The directory in which a run can be made once more, with everything there as it was.

    Raises:
        InputError: where it is not.
    """
    if run.origin is None:
        raise InputError(f"{run.path}: was made by an earlier version, which did not keep what it was asked")
    if run.state != "whole":
        raise InputError(f"{run.path}: is not whole: {run.state}")
    arguments = run.origin.arguments
    if not arguments or arguments[0] not in REPEATED:
        raise InputError(
            f"{run.path}: '{quoted(' '.join(arguments[:2]))}' cannot be repeated; there are {listed(REPEATED)}"
        )
    if any(text.split("=")[0] == "--resume" for text in arguments):
        raise InputError(f"{run.path}: goes on from another run, which has changed since; repeat that one")
    home = (run.path / run.origin.directory).resolve()
    if not home.is_dir():
        raise InputError(f"{run.path}: ran in {home}, where there is no folder any more")
    for name, value in {**run.origin.inputs, **run.origin.modules}.items():
        file = home / name
        if not file.is_file():
            raise InputError(f"{run.path}: used {file}, which is not there any more")
        if hashed(file) != value:
            raise InputError(f"{run.path}: used {file}, which has changed since")
    return home


def program(code: Sequence[Path]) -> list[str]:
    """What starts bayesalloc anew; where no code may run, no file of the working directory passes for a module."""
    return [sys.executable, *([] if code else ["-P"]), "-m", "bayesalloc.cli"]


def command(run: Run, code: Sequence[Path], out: Path) -> tuple[list[str], Path]:
    """The arguments that repeat a run, and the directory to run them in.

    Python files are run only where whoever asks has named them: a manifest is data.

    Args:
        run: which.
        code: Python files that may run.
        out: the folder of the new results.

    Raises:
        InputError: where it cannot be repeated as it was.
    """
    home = ready(run)
    assert run.origin is not None
    arguments = run.origin.arguments
    allowed = {path.resolve() for path in code}
    there = [name for name in dict.fromkeys([*run.origin.inputs, *named_in(arguments)]) if (home / name).is_file()]
    named = [name for name in there if name.endswith(".py") and (home / name).resolve() not in allowed]
    if named:
        ways = " ".join(f"--code {name}" for name in named)
        raise InputError(f"{run.path}: runs the Python code of {listed(named)}; look at it, and allow it by {ways}")
    return [*without_output(arguments), "--out", str(out), "--quiet"], home


def without_output(arguments: Sequence[str]) -> list[str]:
    """Arguments without where the results go and how they are shown.

    >>> without_output(["compare", "--out", "x", "--json", "--seed", "3", "--out=y"])
    ['compare', '--seed', '3']
    """
    kept, skip = [], False
    for text in arguments:
        if skip:
            skip = False
        elif text == "--out":
            skip = True
        elif text not in ("--json", "--quiet") and not text.startswith("--out="):
            kept.append(text)
    return kept


class Difference(NamedTuple):
    """How one file of a run differs: the largest difference of a number, relative to its size, and where; or a word."""

    file: str
    says: str
    relative: float


def differing(old: Run, new: Run) -> list[Difference]:
    """Files of numbers that differ; pages and pictures are made from these."""
    said = []
    for name in sorted({*old.files, *new.files} - {*UNCHECKED}):
        if name not in new.files or name not in old.files:
            said.append(Difference(name, "is in one of them only", math.inf))
        elif name.endswith(".json"):
            said += _differing(name, *(_numbers_of_json(run.path / name) for run in (old, new)))
        elif name.endswith(".nc"):
            said += _differing(name, *(_numbers_of_tree(run.path / name) for run in (old, new)))
        elif name.endswith((".csv", ".policy")) and old.files[name] != new.files[name]:
            said.append(Difference(name, "is another", math.inf))
    return said


def _differing(file: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """The entry that differs most."""
    least = CANCELLED * max(map(_size, old.values()), default=0.0)
    names = dict.fromkeys([*old, *new])
    apart = [Difference(file, name, _apart(old.get(name), new.get(name), least)) for name in names]
    worst = max(apart, key=lambda each: each.relative, default=Difference(file, "", 0.0))
    return [worst] if worst.relative else []


def _size(value: Any) -> float:
    """The largest of numbers that are fractions; 0 of all else."""
    array = np.asarray(value)
    return float(np.abs(array[np.isfinite(array)]).max(initial=0.0)) if array.dtype.kind == "f" else 0.0


def _apart(old: Any, new: Any, least: float) -> float:
    """The largest difference of fractions, as a share of the largest; of all else 0 where it is the same, or infinite.

    Args:
        old: numbers, or whatever else.
        new: the same, of another run.
        least: what the largest counts at least.
    """
    one, other = np.asarray(old), np.asarray(new)
    if one.shape != other.shape or one.dtype.kind != other.dtype.kind:
        return math.inf
    if one.dtype.kind != "f":
        return 0.0 if (one == other).all() else math.inf
    with np.errstate(invalid="ignore"):
        differences = np.where((one == other) | (np.isnan(one) & np.isnan(other)), 0.0, np.abs(one - other))
        size = np.nanmax(np.abs(np.concatenate([one.ravel(), other.ravel()])), initial=least)
    return float(np.nan_to_num(differences, nan=np.inf).max(initial=0.0) / (size or 1.0))


def _numbers_of_json(path: Path) -> dict[str, Any]:
    def entries(value: Any, way: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict):
            for name, inner in value.items():
                if way or name not in OWN:
                    yield from entries(inner, f"{way}.{name}" if way else str(name))
        elif isinstance(value, list):
            for place, inner in enumerate(value):
                yield from entries(inner, f"{way}[{place}]")
        else:
            yield way, np.array(value) if isinstance(value, float) else value

    return dict(entries(json.loads(path.read_text(encoding="utf-8")), ""))


def _numbers_of_tree(path: Path) -> dict[str, Any]:
    tree = open_tree(path)
    return {
        f"{group}/{name}".lstrip("/"): values if values.dtype.kind in "fiub" else values.astype(str)
        for group, node in tree.subtree_with_keys
        for name, variable in node.variables.items()
        for values in [np.asarray(variable.values)]
    }


def short(arguments: Sequence[str]) -> str:
    """A command as a person would write it, without where it puts its results."""
    return " ".join(without_output(arguments))


def relative(path: Path) -> str:
    """A path from here where it is below, else in full."""
    near = os.path.relpath(path)
    return str(path) if near.startswith("..") else near
