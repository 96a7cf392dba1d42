"""What every command shares: its options, its results folder, and how it answers or refuses."""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from bayesalloc.errors import InputError


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """What every command takes."""

    seed: int = 0
    "Seed of all random numbers; the same seed gives the same numbers."
    out: Path | None = None
    "Folder for the results; default: runs/<time>-<command>."
    json: Annotated[bool, Parameter(negative=())] = False
    "Print one JSON object on stdout and nothing else there."
    quiet: Annotated[bool, Parameter(negative=())] = False
    "Print nothing but errors (and the JSON object)."


class Folder:
    """A results folder under a temporary name: renamed when all is written, removed when anything fails."""

    def __init__(self, target: Path) -> None:
        self.target = target
        if target.exists() and not target.is_dir():
            raise InputError(f"{target}: is a file; --out names a folder")
        self.made = [parent for parent in target.parents if not parent.exists()]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self.path = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        except OSError as error:
            raise InputError(f"{target}: cannot be written to: {error.strerror}") from None

    def files(self, report: str = "", results: str = "", **others: str) -> dict[str, str]:
        """The files' final paths, by role."""
        named = {"report": report, "results": results, **others}
        return {role: str(self.target / name) for role, name in named.items() if name}

    def keep(self) -> None:
        """Move everything to its place; a file that was there before is replaced in one step."""
        self.target.mkdir(exist_ok=True)
        for file in self.path.iterdir():
            os.replace(file, self.target / file.name)
        self.made = []

    def clear(self) -> None:
        """Remove what is not kept: the temporary folder, and parents that were made for it."""
        shutil.rmtree(self.path, ignore_errors=True)
        for parent in self.made:
            if not any(parent.iterdir()):
                parent.rmdir()


@contextmanager
def refusing() -> Iterator[None]:
    """A refused input becomes one sentence on stderr and exit code 2."""
    try:
        yield
    except InputError as error:
        print(f"bayesalloc: {error}", file=sys.stderr)
        raise SystemExit(2) from None


@contextmanager
def session(common: Common, command: str) -> Iterator[tuple[Callable[[Any, dict], None], Folder]]:
    """One command's run: devices, results folder, and `say(text, json)` for its answer."""
    with refusing():
        import jax

        if not 0 <= common.seed < 2**32:
            raise InputError(f"seed is {common.seed}; it must be between 0 and {2**32 - 1}")
        if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        target = common.out or Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{command}"
        folder = Folder(target)
        answer: list[tuple[Any, dict]] = []
        try:
            yield lambda text, fields: answer.append((text, fields)), folder
            for _, fields in answer:
                (folder.path / f"{command}.json").write_text(json.dumps(fields, indent=1, allow_nan=False) + "\n")
            folder.keep()
        finally:
            folder.clear()
        for text, fields in answer:
            show(common, text, fields)
            if not common.quiet and not common.json:
                print(f"\nResults and report: {target}")


def show(common: Common, text: Any, fields: dict) -> None:
    """Answer: one JSON object, or a text, or with `quiet` nothing."""
    if common.json:
        print(json.dumps(fields, allow_nan=False))
    elif not common.quiet:
        from rich.console import Console

        Console(width=None if sys.stdout.isatty() else 100, soft_wrap=isinstance(text, str)).print(text, markup=False)
