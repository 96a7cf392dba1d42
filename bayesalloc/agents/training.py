"""Training runs on the host: progress, the learning curve, and checkpoints from which a run goes on exactly.

A trainer is two pure functions: `begin(key) -> run` and `advance(run, iterations) -> (run, curve)`, where the run is
any pytree of arrays that holds everything the rest depends on. The curve is name -> array with a leading axis of
iterations: `ended`, how many episodes ended, and the series that the trainer names, each with the way in which a part
of the run becomes one number (or one for each objective). `bayesalloc.agents.dqn.trainer` makes one.
"""

import functools
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
from jaxtyping import Array
from tqdm import tqdm

from bayesalloc.agents import curves, files
from bayesalloc.agents.curves import Row, Series, Written
from bayesalloc.errors import InputError, quoted

CHECKPOINT = "checkpoint.run"  # the name of the file in a run's folder
CHUNKS = 200  # about as many rows has a learning curve
EVERY = 10.0  # seconds between checkpoints, at least
NAMED_FIRST = ("method", "plan.preset")  # of what differs between two runs: the rest follows from them
SHARE = 0.05  # of the time may go into writing them


class Trainer(NamedTuple):
    """A training run as two pure functions.

    Attributes:
        begin: `key -> run`.
        advance: `(run, iterations) -> (run, curve)`, the iterations being a Python number.
        series: what the curve has beside `ended`.
    """

    begin: Callable[[Array], Any]
    advance: Callable[[Any, int], tuple[Any, dict[str, Array]]]
    series: tuple[Series, ...]


class Course(NamedTuple):
    """A training run to be made.

    Attributes:
        trainer: `begin`, `advance` and `series`.
        iterations: after which it is over, rounded up to whole chunks.
        episodes: after which it is over, if that is sooner; 0: never.
        steps: of the environment in an iteration.
        network: run -> what has been learned.
        goal: what an episode's return is.
        furnish: `run -> run`, once before the first iteration and in Python: it may replace arrays of a run that has
            begun with others of their form, as what another program has recorded; None: nothing.
    """

    trainer: Any
    iterations: int
    episodes: int
    steps: int
    network: Callable[[Any], Any]
    goal: str
    furnish: Callable[[Any], Any] | None = None

    @property
    def chunk(self) -> int:
        """Iterations between two looks at the run."""
        return -(-self.iterations // CHUNKS)


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

    def advance(self, run: Any, iterations: int) -> tuple[Any, dict[str, Array]]:
        """The runs after more iterations."""
        run, curve = jax.vmap(lambda each, run: self.make(each).advance(run, iterations))(self.array, run)
        added = {"ended", *(series.name for series in self.series if series.over in ("sum", "episode"))}
        return run, {name: values.sum(0) if name in added else values.mean(0) for name, values in curve.items()}

    @property
    def series(self) -> tuple[Series, ...]:
        """Those of each."""
        return self.make(self.array[0]).series


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
        rows = [curves.read(row) for row in notes.rows]
        if not curves.fits(rows, course.trainer.series):
            raise InputError(f"{resume}: is damaged: its learning curve is of another run")
        del stored  # the bytes of a large replay buffer
    begin, advance = _compiled(course.trainer, course.chunk)
    if run is None:
        run = begin(rng_key)
        run = run if course.furnish is None else course.furnish(run)

    def save() -> None:
        if checkpoint is not None:
            header = {"asked": dict(asked or {}), "seconds": seconds, "over": _over(course, rows)}
            header["rows"] = [curves.written(row) for row in rows]
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            files.write(checkpoint, "checkpoint", header, run)

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
    rows: list[Written]


def _notes(path: Path, header: Mapping[str, Any]) -> _Notes:
    try:
        return msgspec.convert(header, _Notes)
    except msgspec.ValidationError as error:
        rows = header.get("rows")
        if isinstance(rows, list) and rows and isinstance(rows[0], list):
            raise InputError(f"{path}: was written by an earlier version; its run cannot go on in this one") from None
        raise InputError(f"{path}: is damaged: its first line describes no run ({quoted(error)})") from None


def begun(checkpoint: Path) -> dict[str, Any]:
    """What the run of a checkpoint was asked for.

    Raises:
        InputError: where there is no such file, or it is none.
    """
    return _notes(checkpoint, files.header(checkpoint, "checkpoint")).asked


def unfinished(checkpoint: Path) -> bool:
    """Whether there is a checkpoint, of a run that has not come to its end."""
    return checkpoint.exists() and not _notes(checkpoint, files.header(checkpoint, "checkpoint")).over


def _stored(path: Path, asked: Mapping[str, Any]) -> files.Stored:
    stored = files.read(path, "checkpoint")
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
    ended = int(found["ended"].sum())
    series = {each.name: each.reduced(found[each.name], ended).tolist() for each in course.trainer.series}
    return Row(steps + course.chunk * course.steps, episodes + ended, series)


def _bar(course: Course, rows: Sequence[Row], *, show: bool) -> tqdm:
    by_number = course.episodes > 0
    total = course.episodes if by_number else -(-course.iterations // course.chunk) * course.chunk * course.steps
    done = (rows[-1].episodes if by_number else rows[-1].steps) if rows else 0
    unit = "episode" if by_number else "step"
    options = {"unit": f" {unit}s", "unit_scale": True, "mininterval": 0, "miniters": 1, "leave": False}
    return tqdm(total=total, initial=done, disable=not show, **options)


def _show(bar: tqdm, course: Course, rows: Sequence[Row]) -> None:
    row = rows[-1]
    shown = (f"{name} {np.array2string(np.asarray(value), precision=3)}" for name, value in row.series.items())
    bar.set_postfix_str(", ".join(shown), refresh=False)
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
