"""Bayesian optimisation by the black box beside BoTorch, paired: same problems, starts, noise and evaluations.

    python blackbox_peers.py --torch-python PATH

PATH is of a Python of its own that has `pip install botorch` (torch's CPU build); without it, only ours runs. Problems
are those of `blackbox_problems.py`, the peer's settings those of `blackbox_botorch.py`. Ours is `impact.blackbox` with
all settings as shipped, noise learned, and log expected improvement.

Regret is the best value there is less the true value of what is recommended after the last evaluation: the best one,
with noise the one with the best posterior mean. Seconds are CPU seconds of a proposal, fit included, the median over a
search: on one core; ours without compilation (the same search is run once before it). Each finished search is kept in
`results/blackbox.json`, so that the next call goes on; `--repeats 3` gives a first look.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import clock
import numpy as np
from blackbox_problems import BOXES, FIRST_SEED, NAMES, Problem, problem

HERE = Path(__file__).parent
SIDES = ("bayesalloc", "botorch box", "botorch root", "botorch raw", "botorch equality")
KEPT = HERE / "results" / "blackbox.json"


def ours(name: str, seed: int) -> dict[str, Any]:
    """One search of ours."""
    import jax

    sys.path.insert(0, str(HERE.parent))
    from bayesalloc.impact.blackbox import box, fitted, predicted, simplex
    from bayesalloc.impact.seeking import proposed

    def search(found: Problem) -> dict[str, Any]:
        points, truth, seconds = list(found.starts), [found.value(x) for x in found.starts], []
        size = len(points[0])
        space = simplex(np.zeros(size), np.ones(size)) if found.low is None else box(found.low, found.high)
        while True:
            before = clock.cpu()
            belief = fitted(np.array(points), np.array(truth) + found.noise[: len(truth)], space)
            if len(points) == found.evaluations:
                break
            points.append(proposed(belief, jax.random.key(seed + len(points))).point)
            seconds.append(clock.cpu() - before)
            truth.append(found.value(points[-1]))
        best = np.argmax(predicted(belief, np.array(points))[0]) if found.noise.any() else np.argmax(truth)
        return {"regret": found.best - truth[best], "seconds": float(np.median(seconds))}

    given = problem(name, seed)
    for evaluations in (len(given.starts) + 1, min(33, given.evaluations)):  # the sizes that compile
        search(given._replace(evaluations=evaluations))
    return search(given)


def summary(cells: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Median regrets and seconds of each side, over the seeds that all sides have finished."""
    rows = []
    for name in NAMES:
        sides = sorted({key.split(" | ")[1] for key in cells if key.startswith(f"{name} |")})
        seeds = [{key.split(" | ")[2] for key in cells if key.startswith(f"{name} | {side} |")} for side in sides]
        common = sorted(set.intersection(*seeds)) if seeds else []
        for side in sides if common else []:
            of = [cells[f"{name} | {side} | {seed}"] for seed in common]
            mine = [cells.get(f"{name} | bayesalloc | {seed}", of[i])["regret"] for i, seed in enumerate(common)]
            rows.append(
                {
                    "problem": name,
                    "side": side,
                    "repeats": len(of),
                    "median_regret": float(f"{np.median([each['regret'] for each in of]):.3g}"),
                    "ours_better_in": int(sum(m < each["regret"] for m, each in zip(mine, of, strict=True))),
                    "seconds": float(f"{np.median([each['seconds'] for each in of]):.3g}"),
                    "failed_proposals": sum(each.get("failed", 0) for each in of),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", help="a Python that has botorch")
    parser.add_argument("--problems", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--measure", nargs=2, metavar=("PROBLEM", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    clock.one_core()
    if options.measure:
        print(json.dumps(ours(options.measure[0], int(options.measure[1]))))
        return
    cells = json.loads(KEPT.read_text())["searches"] if KEPT.exists() else {}
    for seed in range(FIRST_SEED, FIRST_SEED + options.repeats):
        for name in options.problems:
            for side in options.sides:
                of_box = name in BOXES
                if f"{name} | {side} | {seed}" in cells or (side != "bayesalloc" and of_box != side.endswith("box")):
                    continue
                if side == "bayesalloc":
                    command = [sys.executable, str(HERE / "blackbox_peers.py"), "--measure", name, str(seed)]
                elif options.torch_python:
                    command = [options.torch_python, str(HERE / "blackbox_botorch.py"), "--problem", name]
                    command += ["--seed", str(seed), "--coordinates", side.split()[1]]
                else:
                    continue
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    raise SystemExit(f"{side} failed on {name}:\n{done.stderr}")
                cells[f"{name} | {side} | {seed}"] = found = json.loads(done.stdout.splitlines()[-1])
                print(f"{name:<12}{side:<14}{seed}{found['regret']:>12.3g}{found['seconds']:>9.3f} s", flush=True)
                written = KEPT.with_suffix(".part")
                written.write_text(json.dumps({"summary": summary(cells), "searches": cells}, indent=1) + "\n")
                written.replace(KEPT)


if __name__ == "__main__":
    main()
