"""How every command runs: its devices and folder, what it answers, and how it refuses."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from bayesalloc import provenance, runs
from bayesalloc.cli.options import Common
from bayesalloc.errors import InputError, sentence, visible


@contextmanager
def refusing() -> Iterator[None]:
    """A refused input becomes one sentence on stderr and exit code 2; where results can't be written it is 1."""
    try:
        yield
    except (InputError, runs.NotWritten) as error:
        print(f"bayesalloc: {sentence(error)}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, InputError) else 1) from None


@contextmanager
def _apart() -> Iterator[None]:
    """Whatever a user's model prints, in Python or beneath it, goes to stderr: it is no part of the answer."""
    with redirect_stdout(sys.stderr):
        try:
            kept = os.dup(1)
            os.dup2(2, 1)
        except OSError:  # one of them is closed: nothing could be mixed
            yield
            return
        try:
            yield
        finally:
            if sys.__stdout__ is not None:
                sys.__stdout__.flush()
            os.dup2(kept, 1)
            os.close(kept)


@contextmanager
def session(common: Common, command: str, *names: str) -> Iterator[tuple[Callable[[Any, dict], None], runs.Folder]]:
    """One command's run: devices, results folder, and `say(text, json)` for its answer.

    Args:
        common: the options.
        command: its name.
        names: of the files that it writes.
    """
    with refusing():
        import jax

        if not 0 <= common.seed < 2**32:
            raise InputError(f"seed is {common.seed}; it must be between 0 and {2**32 - 1}")
        if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        target = common.out or Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{command}"
        answer: list[tuple[Any, dict]] = []
        origin = provenance.begun(target, common.seed)
        with runs.folder(target, command, f"{command}.json", *names, origin=origin) as folder:
            with _apart():
                yield lambda text, fields: answer.append((text, fields)), folder
            for _, fields in answer:
                (folder.path / f"{command}.json").write_text(json.dumps(fields, indent=1, allow_nan=False) + "\n")
    for text, fields in answer:
        show(common, text, fields)
        if not common.quiet and not common.json:
            print(f"\nResults and report: {visible(str(target))}")


def warn(warnings: Sequence[str]) -> None:
    """Warnings, a line each on stderr."""
    for warning in warnings:
        print(f"warning: {sentence(warning)}", file=sys.stderr)


def show(common: Common, text: Any, fields: dict) -> None:
    """Answer: one JSON object, or a text, or with `quiet` nothing."""
    if common.json:
        print(json.dumps(fields, allow_nan=False))
    elif not common.quiet:
        from rich.console import Console
        from rich.segment import Segment, Segments

        console = Console(width=None if sys.stdout.isatty() else 100, soft_wrap=isinstance(text, str), markup=False)
        options = console.options.update(no_wrap=True, overflow="ignore") if isinstance(text, str) else None
        shown = [
            part if part.control else Segment(visible(part.text), part.style)
            for part in console.render(visible(text) if isinstance(text, str) else text, options)
        ]
        console.print(Segments(shown), end="")
