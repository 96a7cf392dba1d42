"""Workers end with the process that started them, also where that was killed."""

import os
import subprocess
import sys
import textwrap
import time

POOL = """
    import multiprocessing, os, time
    from concurrent.futures import ProcessPoolExecutor
    from bayesalloc.workers import follow_parent

    if __name__ == "__main__":
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), follow_parent) as pool:
            print(pool.submit(os.getpid).result(), flush=True)
            jobs = [pool.submit(time.sleep, 600) for _ in range(2)]
            jobs[0].result()
"""


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{process}/stat") as file:  # one that nobody has waited for is over too
        return file.read().rpartition(")")[2].split()[0] != "Z"


def test_a_worker_does_not_outlive_a_parent_that_was_killed(tmp_path):
    (tmp_path / "pool.py").write_text(textwrap.dedent(POOL))
    with subprocess.Popen([sys.executable, "pool.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert alive(worker)
        parent.kill()
    end = time.monotonic() + 20
    while alive(worker) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(worker)
