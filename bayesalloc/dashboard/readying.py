"""Programs for instances of a new size, compiled by a job, so that no page waits for the compiler.

What the job has compiled the server finds in JAX's cache of programs, which `keep_programs` says where to find. The job
is this file, run with the arrays of an instance.
"""

import atexit
import itertools
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path

import jax
import numpy as np

from bayesalloc.allocators.problem import Problem
from bayesalloc.dashboard import negotiating
from bayesalloc.dashboard.jobs import Job
from bayesalloc.dashboard.negotiating import Size

CACHE = "JAX_COMPILATION_CACHE_DIR"
_jobs: dict[Size, Job] = {}
_choosing = threading.Lock()
_count = itertools.count()


def keep_programs() -> None:
    """Have this process and its jobs share compiled programs: in a folder of its own, unless its user named one."""
    if CACHE not in os.environ:
        os.environ[CACHE] = tempfile.mkdtemp(prefix="bayesalloc-programs-")
        atexit.register(shutil.rmtree, os.environ[CACHE], ignore_errors=True)
    _cache_everything(os.environ[CACHE])


def job(problem: Problem, home: Path, *, anew: bool = False) -> Job:
    """The job that compiles what an instance of this size needs; it is one for all who have such an instance.

    Args:
        problem: the instance.
        home: where its arrays may be written.
        anew: start another one where the last has ended without success.

    Raises:
        InputError: where as many jobs run already as may.
    """
    size = negotiating.size(problem)
    with _choosing:
        known = _jobs.get(size)
        if known is None or (anew and known.state not in ("running", "done")):
            home.mkdir(parents=True, exist_ok=True)
            file = home / f"size_{next(_count)}.npz"
            np.savez(file, *map(np.asarray, problem))
            title = f"Getting ready for {size.agents} agents and {size.tasks} tasks"
            _jobs[size] = Job(title, [[str(file)]], file, module=__name__)
        return _jobs[size]


def _cache_everything(folder: str) -> None:
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def _compile(file: Path) -> None:
    """Make everything that pages show of an instance, once."""
    with np.load(file) as arrays:
        problem = Problem(*arrays.values())
    for place, method in enumerate(negotiating.AT_ONCE):
        print(f"{100 * place // len(negotiating.AT_ONCE)}% {method}", file=sys.stderr, flush=True)
        negotiating.made(problem, method)


if __name__ == "__main__":
    _cache_everything(os.environ[CACHE])
    _compile(Path(sys.argv[1]))
