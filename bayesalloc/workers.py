"""Processes that work for another one, and end when it does."""

import multiprocessing
import os
import threading


def follow_parent() -> None:
    """Ends this worker as soon as the process that started it is no more, however that ended: a pool's initializer."""
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("follow_parent is for a process that multiprocessing has started")

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
