"""Sharing out a budget among saturating curves: our search beside SLSQP and pymc-marketing's budget optimiser.

All maximise the same expected impact, over the same posterior draws. SLSQP starts from the equal split, once in USD and
once in shares of the budget with the impact of the equal split as its unit; pymc-marketing, where its environment is
given, has the problems' draws as its posterior.

    python benchmarks/budget_peers.py [--pymc-marketing-python PATH]
"""

import argparse
import json
import subprocess
import time
from pathlib import Path

import numpy as np
from budget_problems import NAMES, Problem, problem
from scipy.optimize import minimize

from bayesalloc.impact import search
from bayesalloc.impact.bounds import Bounds
from bayesalloc.impact.structured import double_precision


def ours(given: Problem) -> np.ndarray:
    """Amounts in USD from our search, which works in shares of the budget."""
    n = given.effect.shape[1]
    bounds = Bounds(np.zeros(n), np.ones(n), np.zeros((0, n)), np.zeros(0), (), np.zeros(n), np.inf, np.zeros(n))

    def acquisition(share: np.ndarray) -> tuple[float, np.ndarray]:
        amount = share * given.budget
        return given.impact(amount), given.slope(amount) * given.budget

    with double_precision():
        found = search.best(acquisition, given.room.mean(0) / given.budget, bounds, [np.full(n, 1.0 / n)])
    return found.amount * given.budget


def slsqp(given: Problem, *, scaled: bool) -> np.ndarray:
    """Amounts in USD from SciPy's SLSQP, from the equal split."""
    n = given.effect.shape[1]
    equal = np.full(n, given.budget / n)
    unit, worth = (given.budget, given.impact(equal)) if scaled else (1.0, 1.0)
    found = minimize(
        lambda x: (-given.impact(x * unit) / worth, -given.slope(x * unit) * unit / worth),
        equal / unit,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, given.budget / unit)] * n,
        constraints={"type": "eq", "fun": lambda x: x.sum() - given.budget / unit, "jac": np.ones_like},
        options={"ftol": 1e-9, "maxiter": 1000},
    )
    return found.x * unit


def row(given: Problem, amount: np.ndarray, best: float) -> dict[str, object]:
    """How good an allocation is: its impact, its distance to the best of all, and whether it has moved at all."""
    amount = np.maximum(amount, 0.0)
    amount = amount * given.budget / amount.sum()
    slope, equal = given.slope(amount), given.budget / len(amount)
    return {
        "impact": given.impact(amount),
        "below the best": 1.0 - given.impact(amount) / best,
        "residual": float(slope.max() * given.budget - slope @ amount) / given.impact(amount),
        "moved": bool(np.abs(amount - equal).max() > 1e-6 * equal),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pymc-marketing-python", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    theirs = {}
    if options.pymc_marketing_python is not None:
        script = Path(__file__).with_name("budget_pymc_marketing.py")
        run = subprocess.run([options.pymc_marketing_python, script], check=True, capture_output=True, text=True)
        theirs = json.loads(run.stdout.splitlines()[-1])
    table = {}
    for name in NAMES:
        given, amounts, seconds = problem(name), {}, {}
        ways = {
            "ours": ours,
            "SLSQP in USD": lambda given: slsqp(given, scaled=False),
            "SLSQP in shares": lambda given: slsqp(given, scaled=True),
        }
        for way, allocate in ways.items():
            allocate(given)
            began = time.perf_counter()
            amounts[way] = allocate(given)
            seconds[way] = time.perf_counter() - began
        said = theirs.get(name, {})
        if "amount" in said:
            amounts["pymc-marketing"], seconds["pymc-marketing"] = np.array(said["amount"]), said["seconds"]
        best = max(given.impact(amount * given.budget / amount.sum()) for amount in amounts.values())
        table[name] = {way: row(given, amount, best) | {"seconds": seconds[way]} for way, amount in amounts.items()}
        if "failed" in said:
            table[name]["pymc-marketing"] = said
    text = json.dumps(table, indent=1)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
