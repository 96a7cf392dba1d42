"""The evidence of a cert: a run's manifest, its numbers and its inputs, as files that can be carried anywhere.

    evidence/origin.json      the run's manifest, as it is
    evidence/results/         its answer and its other numbers; pages and pictures are made from these and stay behind
    evidence/inputs/          its inputs, beside each other as they were; those given by absolute paths in `absolute/`

Names of files in a cert are another's words: they stay within the folder, and links are not followed.
"""

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from importlib.machinery import all_suffixes
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from bayesalloc import limits
from bayesalloc.certifying.identifiers import of_digest
from bayesalloc.errors import InputError, quoted
from bayesalloc.provenance import Origin, hashed
from bayesalloc.repeating import Run, without_output

HOME = "evidence"
ORIGIN, RESULTS, INPUTS = f"{HOME}/origin.json", f"{HOME}/results", f"{HOME}/inputs"
NUMBERS = (".json", ".nc")  # results that are computed again
LONGEST_COMMAND, LONGEST_NAME = 50_000, 1_000  # characters


class Layout(NamedTuple):
    """Where a run's inputs stand below one folder.

    Attributes:
        here: the directory that it ran in.
        places: path as it was given -> where it is.
    """

    here: str
    places: Mapping[str, str]

    def given(self, path: str) -> str:
        """What a path of the run is called there."""
        return os.path.relpath(self.places[path], self.here or ".")


def laid_out(paths: Iterable[str]) -> Layout:
    """How a run's inputs stand to each other, from their paths as they were given.

    >>> laid_out(["a.csv", "../data/b.csv", "/home/me/c.csv"]).places
    {'a.csv': 'here/a.csv', '../data/b.csv': 'data/b.csv', '/home/me/c.csv': 'absolute/0/c.csv'}
    """
    paths = [*paths]
    relative = [os.path.normpath(path) for path in paths if not os.path.isabs(path)]
    above = max((path.split("/").count("..") for path in relative), default=0)
    if above > limits.NESTED:
        raise InputError(f"an input is given by {above} steps up; at most {limits.NESTED} are allowed")
    here = "/".join(["here"] * above)
    homes = _homes(paths)
    return Layout(
        here,
        {
            path: f"absolute/{homes.index(os.path.dirname(path))}/{os.path.basename(path)}"
            if os.path.isabs(path)
            else os.path.normpath(os.path.join(here, path))
            for path in paths
        },
    )


def _homes(paths: Iterable[str]) -> list[str]:
    return [*dict.fromkeys(os.path.dirname(path) for path in paths if os.path.isabs(path))]


def files_of(run: Run, home: Path) -> dict[str, Path]:
    """The evidence of a run that is ready to be made once more: name -> file.

    Raises:
        InputError: where two inputs would stand in the same place.
    """
    assert run.origin is not None
    found = {ORIGIN: run.path / "manifest.json"}
    found |= {f"{RESULTS}/{name}": run.path / name for name in run.files if name.endswith(NUMBERS)}
    layout = laid_out([*run.origin.inputs, *run.origin.modules])
    places = {name: layout.places[name] for name in layout.places}
    for number, folder in enumerate(_homes(run.origin.inputs)):  # what a model given by an absolute path imports
        for name in run.origin.modules:
            beside = os.path.relpath(os.path.realpath(home / name), os.path.realpath(folder))
            if not beside.startswith(".."):
                places[name] = f"absolute/{number}/{beside}"
    for name, place in places.items():
        file = found.setdefault(f"{INPUTS}/{place}", home / name)
        if hashed(file) != hashed(home / name):
            raise InputError(f"{run.path}: used {file} and {home / name}, which cannot stand beside each other")
    return dict(sorted(found.items()))


def identified(files: Mapping[str, Path]) -> dict[str, str]:
    """The CID of each."""
    return {name: of_digest(hashed(file)) for name, file in files.items()}


def safe(name: str) -> bool:
    """Whether a name stays within the folder, and is of no file that a library would read unasked.

    In the directory that they run in, matplotlib and ArviZ look for settings: `matplotlibrc`, `arvizrc`.

    >>> safe("evidence/inputs/a.csv"), safe("evidence/../cert.json"), safe("/evidence/a.csv"), safe("evidence//a.csv")
    (True, False, False, False)
    >>> safe("evidence/inputs/matplotlibrc"), safe("evidence/inputs/.a.csv")
    (False, False)
    """
    *folders, last = name.split("/")
    inside = folders[:1] == [HOME] and not {"", ".", ".."} & {*folders} and len(name) <= LONGEST_NAME
    shown = re.search(r"[\x00-\x1f\\]", name) is None and all(len(part.encode()) < 256 for part in [*folders, last])
    return inside and shown and re.fullmatch(r"[^.].*\.[^.]+", last) is not None


def file_in(folder: Path, name: str) -> Path:
    """A file that stands beside a cert.

    Raises:
        InputError: where it is missing, a link, or no file.
    """
    file = folder / name
    for place in [file, *list(file.parents)[: len(PurePosixPath(name).parts) - 1]]:
        if place.is_symlink():
            raise InputError(f"{folder}: '{quoted(name)}' is reached by a link; the evidence stands in the folder")
    if not file.is_file():
        raise InputError(f"{folder}: '{quoted(name)}' is missing, without which the cert cannot be verified")
    return file


def copied(folder: Path, names: Sequence[str], target: Path) -> dict[str, Path]:
    """Evidence beside a cert, copied to where nobody else changes it: name -> the copy.

    Raises:
        InputError: where a file is missing or too large.
    """
    sizes = {name: file_in(folder, name).stat().st_size for name in names}
    if sum(sizes.values()) > limits.EVIDENCE_BYTES:
        raise InputError(f"{folder}: the evidence is larger than the {limits.EVIDENCE_BYTES:,} bytes that it may have")
    found = {}
    for name in names:
        found[name] = target / name
        found[name].parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file_in(folder, name), found[name], follow_symlinks=False)
    return found


def importable(names: Iterable[str]) -> list[str]:
    """Files that Python could take for modules: those that a person has read can only be `.py`."""
    return [name for name in names if name.endswith(tuple(all_suffixes()))]


def arguments_there(origin: Origin, layout: Layout) -> list[str]:
    """The arguments of a run, but for its output, with its inputs where they are now.

    Raises:
        InputError: where they name a file that is no input, so that it would be one of this machine.
    """
    if any("\0" in text for text in origin.arguments) or sum(map(len, origin.arguments)) > LONGEST_COMMAND:
        raise InputError(
            f"{ORIGIN}: the command is longer than {LONGEST_COMMAND:,} characters, or none that can be run"
        )
    moved = {path: layout.given(path) for path in origin.inputs}
    arguments = [_moved(text, moved) for text in without_output(origin.arguments)]
    inputs = {*moved.values()}
    for text in arguments:
        for piece in (text, text.partition("=")[2], *re.split("[=,]", text)):
            path = re.sub(r"(\.(?:py|policy)):.*", r"\1", piece.strip(), flags=re.DOTALL)
            leaves = path.startswith(("/", "~")) or ".." in path.split("/")
            if leaves and path not in inputs:
                raise InputError(f"{ORIGIN}: the command names '{quoted(path)}', which is not in the evidence")
    return arguments


def _moved(text: str, moved: Mapping[str, str]) -> str:
    """A text in which paths, alone or after `=` or `,` and before `,` or `:`, are those of now."""
    ways = "|".join(re.escape(path) for path in sorted(moved, key=len, reverse=True))
    return re.sub(rf"(?<![^=,\s])({ways})(?![^,:\s])", lambda found: moved[found.group()], text) if ways else text
