"""HiGHS in a process of its own, which an interrupt can end and which ends with its parent.

A solver in this process would hear no interrupt before it is done, and prints lines on stdout that no option turns off.
The other process runs this file as a script: it imports nothing of bayesalloc, waits for programs on stdin, and ends
when stdin does, as it does when its parent is gone, however that happened.
"""

import atexit
import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
from typing import Any

import scipy.optimize

_lock = threading.Lock()
_running: list[tuple[int, subprocess.Popen]] = []  # by whom it was begun, and the process: at most one


def milp(**program: Any) -> dict[str, Any]:
    """`scipy.optimize.milp` of the same arguments: its x, status, message and mip_dual_bound."""
    with _lock:
        if not _running or _running[0][0] != os.getpid() or _running[0][1].poll() is not None:
            end()
            _running[:] = [(os.getpid(), _begin())]
        child = _running[0][1]
        assert child.stdin is not None and child.stdout is not None
        try:
            pickle.dump(program, child.stdin)
            child.stdin.flush()
            answer = pickle.load(child.stdout)
        except BaseException as error:
            end()
            if isinstance(error, EOFError | OSError):
                raise RuntimeError("the process of the solver has ended; it may have needed too much memory") from None
            raise
    if isinstance(answer, Exception):
        raise answer
    return answer


def end() -> None:
    """Ends the other process, if there is one."""
    for begun_by, child in _running:
        if begun_by == os.getpid():
            child.kill()
            child.wait()
            for pipe in filter(None, (child.stdin, child.stdout)):
                with contextlib.suppress(OSError):  # what was not sent yet needs no reader
                    pipe.close()
    _running.clear()


atexit.register(end)


def _begin() -> subprocess.Popen:
    command = [sys.executable, "-P", __file__]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)


def _serve() -> None:
    answers, nowhere = os.fdopen(os.dup(1), "wb"), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    programs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def listen() -> None:  # the solver leaves the interpreter to other threads while it works
        try:
            while True:
                programs.put(pickle.load(sys.stdin.buffer))
        finally:
            os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        try:
            found = scipy.optimize.milp(**programs.get())
            answer: Any = {name: found.get(name) for name in ("x", "status", "message", "mip_dual_bound")}
        except Exception as error:
            answer = error
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    _serve()
