"""Linear algebra on one thread: while a function runs, and as before after it."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from bayesalloc.threads import one_thread


def test_one_thread_while_it_runs():
    np.linalg.eigvalsh(np.eye(3))
    before = [library["num_threads"] for library in threadpool_info()]

    @one_thread
    def inside(value, *, fails=False):
        if fails:
            raise ValueError
        return value, {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    assert inside(3) == (3, {1})
    with pytest.raises(ValueError):
        inside(3, fails=True)
    assert [library["num_threads"] for library in threadpool_info()] == before
