"""Training runs on the host: progress, the learning curve, and checkpoints from which a run goes on exactly.

A trainer is two pure functions: `begin(key) -> run` and `advance(run, iterations) -> (run, curve)`, where the run is
any pytree of arrays that holds everything the rest depends on, and the curve has fields `ended`, `returned`, `loss` and
`epsilon` of shape (iterations,): episodes that ended, the sum of their returns, the loss (NaN without updates), and the
part of the actions that were random. `bayesalloc.agents.dqn.trainer` makes one.
"""

import functools
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import msgspec
import numpy as np
import xarray as xr
from jaxtyping import Array
from tqdm import tqdm

from bayesalloc.agents import leaves
from bayesalloc.allocators.files import quoted
from bayesalloc.errors import InputError

CHECKPOINT = "checkpoint.run"  # the name of the file in a run's folder
CHUNKS = 200  # about as many rows has a learning curve
EVERY = 10.0  # seconds between checkpoints, at least
NAMED_FIRST = ("method", "plan.preset")  # of what differs between two runs: the rest follows from them
SHARE = 0.05  # of the time may go into writing them


class Course(NamedTuple):
    """A training run to be made.

    Attributes:
        trainer: `begin` and `advance`.
        iterations: after which it is over, rounded up to whole chunks.
        episodes: after which it is over, if that is sooner; 0: never.
        steps: of the environment in an iteration.
        network: run -> what has been learned.
        goal: what an episode's return is.
    """

    trainer: Any
    iterations: int
    episodes: int
    steps: int
    network: Callable[[Any], Any]
    goal: str

    @property
    def chunk(self) -> int:
        """Iterations between two looks at the run."""
        return -(-self.iterations // CHUNKS)


class Row(NamedTuple):
    """A chunk in the learning curve: counts from the run's beginning, means over the chunk; NaN where there is none."""

    steps: int
    episodes: int
    returned: float
    loss: float
    epsilon: float


class Training(NamedTuple):
    """A run that is over: its state, its learning curve, and the seconds that it took without compilation."""

    run: Any
    rows: tuple[Row, ...]
    seconds: float


class Interrupted(KeyboardInterrupt):
    """A run was asked to end before it was over; `rows` is its curve so far. It can go on from its checkpoint."""

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__(f"after {rows[-1].steps} steps")
        self.rows = tuple(rows)


@dataclass(frozen=True, eq=False)
class SideBySide:
    """Trainers that differ in an array, as one: runs have a leading axis, the curve is theirs together.

    Attributes:
        make: an element of the array -> trainer.
        array: with a leading axis.
    """

    make: Callable[[Any], Any]
    array: Any

    def begin(self, rng_key: Array) -> Any:
        """The runs before their first iterations."""
        keys = jax.random.split(rng_key, len(self.array))
        return jax.vmap(lambda each, key: self.make(each).begin(key))(self.array, keys)

    def advance(self, run: Any, iterations: int) -> tuple[Any, Any]:
        """The runs after more iterations."""
        run, curve = jax.vmap(lambda each, run: self.make(each).advance(run, iterations))(self.array, run)
        ended, returned = curve.ended.sum(0), curve.returned.sum(0)
        return run, type(curve)(ended, returned, curve.loss.mean(0), curve.epsilon.mean(0))


@functools.lru_cache(maxsize=8)
def _compiled(trainer: Any, chunk: int) -> tuple[Callable[[Array], Any], Callable[[Any], tuple[Any, Any]]]:
    """Compiled: how to begin, and a chunk, which uses the run up."""
    like = jax.eval_shape(trainer.begin, jax.random.key(0))
    advance = jax.jit(lambda run: trainer.advance(run, chunk), donate_argnums=0).lower(like).compile()
    return jax.jit(trainer.begin), advance


def train(
    course: Course,
    rng_key: Array,
    *,
    checkpoint: Path | None = None,
    asked: Mapping[str, Any] | None = None,
    resume: Path | None = None,
    every: float = EVERY,
    progress: bool = False,
    on_chunk: Callable[[Row], None] | None = None,
) -> Training:
    """Runs a course to its end.

    A run that goes on from a checkpoint ends with the same numbers as one that was never interrupted. SIGINT and
    SIGTERM let the chunk under way finish and write a checkpoint; a second one ends the run at once.

    Args:
        course: what to run.
        rng_key: the run's key; unused where it goes on from a checkpoint.
        checkpoint: file that is replaced again and again, and at last; None: none.
        asked: what the run was asked for, in types of JSON: a run with another wish cannot go on from its checkpoint.
        resume: a checkpoint to go on from.
        every: seconds between checkpoints, at least; longer where writing takes long.
        progress: whether to show a bar on stderr.
        on_chunk: called with each new row of the learning curve, before the checkpoint.

    Raises:
        InputError: where the checkpoint cannot be read or is one of another run.
        Interrupted: where a signal ended the run.
    """
    rows, run, seconds = [], None, 0.0
    if resume is not None:  # before anything is compiled
        stored = _stored(resume, asked or {})
        notes = _notes(resume, stored.header)
        run, seconds = stored.tree(jax.eval_shape(course.trainer.begin, jax.random.key(0))), notes.seconds
        rows = [Row(*row[:2], *(math.nan if value is None else value for value in row[2:])) for row in notes.rows]
        del stored  # the bytes of a large replay buffer
    begin, advance = _compiled(course.trainer, course.chunk)
    run = begin(rng_key) if run is None else run

    def save() -> None:
        if checkpoint is not None:
            header = {"asked": dict(asked or {}), "seconds": seconds, "over": _over(course, rows)}
            header["rows"] = [_or_null(row) for row in rows]
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            leaves.write(checkpoint, "checkpoint", header, run)

    saved, pause, is_saved = time.perf_counter(), every, resume == checkpoint
    with _signalled() as signals, _bar(course, rows, show=progress) as bar:
        while not _over(course, rows):
            start = time.perf_counter()
            run, curve = advance(run)
            rows.append(_row(course, rows, jax.device_get(curve)))
            now = time.perf_counter()
            seconds += now - start
            is_saved = False
            _show(bar, course, rows)
            if on_chunk is not None:
                on_chunk(rows[-1])
            if now - saved >= pause or signals:
                save()
                saved, is_saved = time.perf_counter(), True
                pause = max(every, (saved - now) / SHARE)
            if signals and not _over(course, rows):
                raise Interrupted(rows)
        if not is_saved:
            save()
    return Training(run, tuple(rows), seconds)


class _Notes(msgspec.Struct):
    """What the first line of a checkpoint says."""

    asked: dict[str, Any]
    seconds: float
    over: bool
    rows: list[tuple[int, int, float | None, float | None, float | None]]


def _notes(path: Path, header: Mapping[str, Any]) -> _Notes:
    try:
        return msgspec.convert(header, _Notes)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: is damaged: its first line describes no run ({quoted(error)})") from None


def begun(checkpoint: Path) -> dict[str, Any]:
    """What the run of a checkpoint was asked for.

    Raises:
        InputError: where there is no such file, or it is none.
    """
    return _notes(checkpoint, leaves.header(checkpoint, "checkpoint")).asked


def unfinished(checkpoint: Path) -> bool:
    """Whether there is a checkpoint, of a run that has not come to its end."""
    return checkpoint.exists() and not _notes(checkpoint, leaves.header(checkpoint, "checkpoint")).over


def curve(rows: Sequence[Row], goal: str) -> xr.Dataset:
    """The learning curve as a dataset over the steps.

    >>> curve([Row(100, 9, 0.5, 0.1, 1.0), Row(200, 20, 0.75, 0.05, 0.9)], "utility")["return"].values.tolist()
    [0.5, 0.75]
    """
    columns = [np.asarray(column) for column in zip(*rows, strict=True)]
    named = dict(zip(("steps", "episodes", "return", "loss", "epsilon"), columns, strict=True))
    data = xr.Dataset({name: ("steps", values) for name, values in named.items()})
    data["return"].attrs["long_name"] = goal
    return data


def _stored(path: Path, asked: Mapping[str, Any]) -> leaves.Stored:
    stored = leaves.read(path, "checkpoint")
    there, wanted = _flat(begun(path)), _flat(msgspec.json.decode(msgspec.json.encode(asked)))  # as files have it
    for name in sorted(there | wanted, key=lambda name: (name not in NAMED_FIRST, name.count("."), name)):
        old, new = there.get(name), wanted.get(name)
        if old != new:
            field = name.removeprefix("plan.").replace(".", " ")
            raise InputError(
                f"{path}: the run was begun with {quoted(field)} {quoted(old)}; it cannot go on with {quoted(new)}"
            )
    return stored


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested names joined by points.

    >>> _flat({"plan": {"layers": [3, 2]}})
    {'plan.layers': [3, 2]}
    """
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _over(course: Course, rows: Sequence[Row]) -> bool:
    if not rows:
        return False
    by_number = course.episodes > 0 and rows[-1].episodes >= course.episodes
    return by_number or rows[-1].steps >= course.iterations * course.steps


def _row(course: Course, rows: Sequence[Row], found: Any) -> Row:
    steps, episodes = (rows[-1].steps, rows[-1].episodes) if rows else (0, 0)
    ended, losses = int(found.ended.sum()), found.loss[np.isfinite(found.loss)]
    return Row(
        steps + course.chunk * course.steps, episodes + ended,
        float(found.returned.sum(dtype=float) / ended) if ended else math.nan,
        float(losses.mean(dtype=float)) if losses.size else math.nan, float(found.epsilon[-1]),
    )  # fmt: skip


def _or_null(row: Row) -> list[int | float | None]:
    return [value if math.isfinite(value) else None for value in row]


def _bar(course: Course, rows: Sequence[Row], *, show: bool) -> tqdm:
    by_number = course.episodes > 0
    total = course.episodes if by_number else -(-course.iterations // course.chunk) * course.chunk * course.steps
    done = (rows[-1].episodes if by_number else rows[-1].steps) if rows else 0
    unit = "episode" if by_number else "step"
    options = {"unit": f" {unit}s", "unit_scale": True, "mininterval": 0, "miniters": 1, "leave": False}
    return tqdm(total=total, initial=done, disable=not show, **options)


def _show(bar: tqdm, course: Course, rows: Sequence[Row]) -> None:
    row = rows[-1]
    bar.set_postfix_str(f"return {row.returned:.3g}, loss {row.loss:.3g}, epsilon {row.epsilon:.2f}", refresh=False)
    done = row.episodes if course.episodes else row.steps
    bar.update(min(done, bar.total or done) - bar.n)


@contextmanager
def _signalled() -> Iterator[list[int]]:
    """The signals that have come; after the first one they have their usual effect again."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # signals are not for us then
        yield came
        return
    usual = {number: signal.getsignal(number) or signal.SIG_DFL for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def handle(number: int, frame: Any) -> None:
        came.append(number)
        restore()

    for number in usual:
        signal.signal(number, handle)
    try:
        yield came
    finally:
        restore()
