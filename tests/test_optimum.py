"""The optimum in float64, on a time limit, and under an interrupt; the solver's process ends with its parent."""

import json
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from bayesalloc.allocators import allocate, cen_grd_plus, highs, make_problem, optimum, read_problem, solve
from bayesalloc.allocators.evaluate import exact, merged

KEY = jax.random.key(0)


def hard(seed=1, agents=50, tasks=150):
    """A market that the solver does not prove in seconds: packages, and more tasks than stock."""
    rng = np.random.default_rng(seed)
    edges = [(k, k + 1) for k in range(agents - 1)]
    edges += [tuple(pair) for pair in np.sort(rng.integers(0, agents, (60, 2)), axis=1).tolist() if pair[0] != pair[1]]
    edges = sorted(set(edges))
    return make_problem(
        edges, rng.integers(50, 900, len(edges)) / 100, rng.integers(0, 9, (agents, 3)), rng.integers(0, agents, tasks),
        rng.integers(10, 90, tasks), rng.integers(0, 7, (tasks, 3)), package_size=3,
    )  # fmt: skip


def test_millions_are_exact():
    """Sums beyond 2^24, of which float32 holds every fourth: by hand, 40,000,001 - 2 x 1,500,001 and the other."""
    problem = make_problem(
        [[0, 1], [1, 2]], [1.0, 2.0], [[0], [0], [9_000_001]], [1, 0, 1], [16_000_003.0, 16_000_001.0, 5.0],
        [[1_500_001], [3_000_003], [9_000_000]],
    )  # fmt: skip
    result = allocate(problem, "opt", KEY)
    right = 16_000_003 - 2 * 1_500_001 + 16_000_001 - 3 * 3_000_003
    assert result["social_welfare"] == result["upper_bound"] == right and result["optimal"]
    assert allocate(problem, "dec-price", KEY)["upper_bound"] >= right


def test_welfare_is_in_float64_as_the_file_has_its_numbers(tmp_path):
    """5.63 is none of float32's numbers: 7 items over it, and 0.1 more."""
    document = {
        "agents": 3, "edges": [[0, 1, 5.63], [1, 2, 0.1]], "resource_types": 1, "resources": [[0], [3], [4]],
        "tasks": [{"agent": 0, "utility": 100.1, "requires": [7]}], "transfer_cost": {"per_item": 1.3},
    }  # fmt: skip
    (tmp_path / "problem.json").write_text(json.dumps(document))
    problem, right = read_problem(tmp_path / "problem.json"), 100.1 - 1.3 * (7 * 5.63 + 4 * 0.1)
    for method in ("opt", "cen-grd", "cen-grd+", "dec-price"):
        result = allocate(problem, method, KEY)
        assert result["social_welfare"] == pytest.approx(right, rel=1e-15), method
        assert (result["upper_bound"] or np.inf) >= result["social_welfare"]


def test_small_units_are_solved_as_well():
    """Whatever the unit of utility and cost, the same tasks are done."""
    base = hard(seed=3, agents=8, tasks=8)
    for unit in (1e-6, 1.0, 1e4):
        found = solve(base._replace(utility=unit * base.utility, per_item=unit * base.per_item))
        assert found.optimal and found.bound == pytest.approx(unit * solve(base).bound, rel=1e-12)


def test_on_a_time_limit_it_is_no_worse_than_the_others(monkeypatch):
    """Also where the solver has found nothing at all."""
    problem = hard()
    value = exact(problem, merged(jax.jit(cen_grd_plus)(problem)))

    def nothing(**program):
        return {"x": None, "status": 1, "message": "", "mip_dual_bound": None}

    for solver in (highs.milp, nothing):
        monkeypatch.setattr(optimum.highs, "milp", solver)
        result = allocate(problem, "opt", KEY, time_limit=0.05)
        assert not result["optimal"]
        assert float(value.social_welfare) <= result["social_welfare"] <= result["upper_bound"]


def test_numbers_of_items_that_the_solver_rounds_are_made_whole(monkeypatch):
    """A task that is done but for a part of 1e-6, which a million items make one item."""
    problem = make_problem([[0, 1]], [1.0], [[0], [2_000_000]], [0], [3e6], [[1_000_001]])
    asked = []

    def almost(**program):
        asked.append(program)
        found = highs.milp(**program)
        return found if len(asked) > 1 else found | {"x": found["x"] * (1 - 1e-6)}

    monkeypatch.setattr(optimum, "highs", type("almost", (), {"milp": staticmethod(almost)}))
    result = allocate(problem, "opt", KEY)
    assert len(asked) == 2 and result["social_welfare"] == 3e6 - 1_000_001 and result["optimal"]


SCRIPT = """
import sys
from tests.test_optimum import hard
from bayesalloc.allocators import highs, solve
problem = hard()
highs._running[:] = [(highs.os.getpid(), highs._begin())]
print(highs._running[0][1].pid, flush=True)
try:
    solve(problem)
except KeyboardInterrupt:
    sys.exit(13)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_it_hears_an_interrupt_and_leaves_nobody_behind(number):
    run = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    with run.stdout as out:
        solver = int(out.readline())
    time.sleep(3.0)
    assert run.poll() is None and os.path.exists(f"/proc/{solver}")
    run.send_signal(number)
    assert run.wait(10) == (13 if number == signal.SIGINT else -signal.SIGKILL)
    for _ in range(50):
        if not os.path.exists(f"/proc/{solver}"):
            break
        time.sleep(0.1)
    assert not os.path.exists(f"/proc/{solver}")


def test_a_solver_that_dies_is_said_and_begun_anew():
    solve(hard(agents=5, tasks=3))
    highs._running[0][1].stdin.close()
    highs._running[0][1].wait(10)
    assert solve(hard(agents=5, tasks=3)).optimal  # begun anew
    with pytest.raises(ValueError, match="shape|constraint|length|bounds"):
        highs.milp(c=np.ones(2), integrality=np.ones(5))
    assert solve(hard(agents=5, tasks=3)).optimal
