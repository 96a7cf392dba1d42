"""CPU and wall time of a piece of work, the same way for ours and for peers; needs nothing but Python."""

import os
import resource
import statistics
import time
from collections.abc import Callable


def one_core() -> None:
    """Keeps this process, and those it starts, to one core where the system can: threads that wait are not work."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def cpu() -> float:
    """CPU seconds that this process has used so far, all its threads and ended children included."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds of one call, which must return when the work is done."""
    spent, started = cpu(), time.perf_counter()
    work()
    return cpu() - spent, time.perf_counter() - started


def rates(count: int, work: Callable[[], object], repeats: int) -> dict[str, float]:
    """How much of `count` was done a second: the median over repeats, and the fastest."""
    times = [timed(work) for _ in range(repeats)]
    per_cpu = [count / spent for spent, _ in times]
    return {
        "per_cpu_second": round(statistics.median(per_cpu), 1),
        "per_cpu_second_best": round(max(per_cpu), 1),
        "per_wall_second": round(statistics.median(count / wall for _, wall in times), 1),
        "count": count,
        "repeats": repeats,
    }
