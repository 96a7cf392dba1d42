"""Long work as jobs: the command line in a process of its own, with progress, cancelling, and what it said."""

import atexit
import errno
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from bayesalloc.errors import InputError, visible

MOST = 4  # jobs that run at once, of all sessions together
PATIENCE = 10.0  # seconds that a job has to end by itself once it is asked to
REMEMBERED = 20_000  # characters of what a job said
_running: "set[Job]" = set()
_counting = threading.Lock()


class Job:
    """Commands, one after the other; each writes into a folder of its own.

    Args:
        title: what it does, in words.
        commands: arguments of `bayesalloc`, or of another module.
        out: the folder of the results of the last.
        module: what Python runs.

    Attributes:
        state: "running", "done", "cancelled", "refused" or "failed".
        said: what the commands wrote to stderr, the end of it.
        seen: whether the page has taken note of its end.

    Raises:
        InputError: where as many run already as may.
    """

    def __init__(
        self, title: str, commands: Sequence[Sequence[str]], out: Path, module: str = "bayesalloc.cli"
    ) -> None:
        self.title, self.commands, self.out, self.module = title, commands, out, module
        self.state, self.said, self.seen = "running", "", False
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = threading.Event()
        with _counting:
            if len(_running) >= MOST:
                raise InputError(f"{MOST} jobs are running already; wait until one of them has ended")
            _running.add(self)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def progress(self) -> float | None:
        """How much of the running command is done, from 0 to 1, as far as it says so."""
        found = re.findall(r"\b(\d{1,3})%", self.said[-400:])
        return min(int(found[-1]), 100) / 100 if found else None

    @property
    def sentence(self) -> str:
        """The last thing that it said in a line of its own, such as why it was refused."""
        lines = [line.strip() for line in re.split(r"[\r\n]", self.said) if line.strip()]
        return visible(lines[-1]).removeprefix("bayesalloc: ") if lines else ""

    def cancel(self) -> None:
        """Ask it to end, as by Ctrl-C; what does not end by itself is ended."""
        self._asked.set()
        self._signal(signal.SIGINT)
        timer = threading.Timer(PATIENCE, self._signal, [signal.SIGKILL])
        timer.daemon = True
        timer.start()

    def wait(self, seconds: float) -> None:
        """Until it has ended, or so long."""
        self._thread.join(seconds)

    def _signal(self, which: signal.Signals) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            os.killpg(process.pid, which)

    def _run(self) -> None:
        code = 0
        try:
            for arguments in self.commands:
                code = 130 if self._asked.is_set() else self._one(arguments)
                if code:
                    break
        finally:
            ended = {0: "done", 2: "refused"}.get(code, "failed")
            self.state = "cancelled" if self._asked.is_set() and code else ended
            with _counting:
                _running.discard(self)

    def _one(self, arguments: Sequence[str]) -> int:
        """One command; its stderr is a terminal, as progress is shown there only."""
        ours, theirs = pty.openpty()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=theirs,
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        if self._asked.is_set():  # while it was starting
            self._signal(signal.SIGINT)
        with os.fdopen(ours, "rb", buffering=0) as heard:
            while said := _read(heard.fileno()):
                self.said = (self.said + said.decode(errors="replace"))[-REMEMBERED:]
        return self._process.wait()


def _read(terminal: int) -> bytes:
    """What was written to a terminal; empty when nobody has it open any more, which Linux calls an error."""
    try:
        return os.read(terminal, 4096)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""


@atexit.register
def _end_all() -> None:
    """No job outlives the server."""
    for job in [*_running]:
        job._asked.set()
        job._signal(signal.SIGKILL)
