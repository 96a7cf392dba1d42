"""Terms of credit trading that nobody would rather leave: designed, proved and tried on 20 other random numbers.

    python design.py [--out results/design.json]

For each set of free numbers: whether there are terms under which nobody is likely to refuse (5 %) and nobody gains by
not complying, at no loss of social welfare; the proof in words where there are none, and what was searched; seconds,
with compilation.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import numpy as np

import bayesalloc as ba
from bayesalloc.impact.design import affine, designing
from bayesalloc.impact.design.designing import Design, Problem
from bayesalloc.report.design import proof

RANGES = {
    "cost_sharing": (0.05, 0.4),
    "verification.payment": (-20.0, 20.0),
    "credits.shares": (0.0, 0.5),
    "market.price": (0.0, 0.02),
}
FREE = {
    "fees": ["verification.payment"],
    "fees and shares of the credits": ["verification.payment", "credits.shares"],
    "fees and cost shares": ["verification.payment", "cost_sharing"],
    "fees, cost shares and shares of the credits": ["verification.payment", "cost_sharing", "credits.shares"],
    "all these and the price": [*RANGES],  # the price is searched, as the shares of what it brings are free too
}
ASKED = ["would_refuse<=0.05", "deviation_gain<=0"]
SEEDS = 20


def fresh(problem: Problem, design: Design) -> dict[str, float]:
    """The worst, over agents and other random numbers, of what was asked."""
    refuse, gain, change = [], [], []
    mechanisms = [problem.free.mechanism, design.mechanism]
    for seed in range(1, SEEDS + 1):
        found = affine.simulated(
            problem.env, mechanisms, jax.random.key(1000 + seed), draws=500, horizon=problem.horizon, futures=32
        )
        refuse.append((found.gain[1] < 0).mean(0).max())
        gain.append(found.deviation[1].mean(0).max())
        welfare = found.outcomes["social_welfare"].mean(1)
        change.append(abs(welfare[1] - welfare[0]))
    worst = {"would_refuse": refuse, "deviation_gain": gain, "change_of_social_welfare": change}
    return {name: float(np.max(values)) for name, values in worst.items()}


def main() -> None:
    """Design with each set of free numbers, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "design.json")
    out = parser.parse_args().out
    env = ba.load_model("watershed")
    assert isinstance(env, ba.Environment)
    start = ba.load_mechanism("credit_trading", env)
    rows = []
    for label, tables in FREE.items():
        begun, processor = time.perf_counter(), time.process_time()
        free = {table: RANGES[table] for table in tables}
        problem = designing.posed(env, start, free, "social_welfare", ASKED, draws=500, horizon=20, seed=0)
        problem = problem._replace(searched=designing.split(problem))
        design = designing.designed(problem)
        row = {
            "free": label,
            "ranges": free,
            "status": "searched" if design.search else design.solution.status,
            "margin": design.solution.margin,
            "in_words": proof(problem, design),
            "conflict": [each.text for each in design.solution.conflict],
            "seconds": time.perf_counter() - begun,
            "processor_seconds": time.process_time() - processor,
            "doubts": {f"{doubt.number} {doubt.value:.3g}": doubt.broken for doubt in design.doubts},
        }
        if design.solution.found:
            values = dict(zip((each.name for each in problem.free.numbers), design.solution.values, strict=True))
            row |= {"terms": values, f"worst of {SEEDS} other seeds": fresh(problem, design)}
        rows.append(row)
        print(json.dumps(row, indent=1))
    out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
