"""DEC-PRICE on large networks: seconds, share of its own certified bound, messages and memory, 100 to 100,000 agents.

    python srap_scale.py

Small worlds of mean degree 4 with unit lengths, two tasks per agent of utility 4, 9, 16 or 25 that require 1 to 3 items
of each of two types; half of the agents, at random, hold 1 item of each type and the others 3 to 7. Each size runs in a
process of its own, so that its peak memory is its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path


def measure(agents: int, seed: int) -> dict[str, float]:
    import jax
    import networkx as nx
    import numpy as np

    from bayesalloc.allocators import dec_price, evaluate, make_problem

    rng = np.random.default_rng(seed)
    graph = nx.connected_watts_strogatz_graph(agents, 4, 0.05, seed=seed)
    edges = np.array(graph.edges)
    stock = np.where(rng.random((agents, 1)) < 0.5, 1, rng.integers(3, 8, (agents, 2)))
    owner = np.repeat(np.arange(agents), 2)
    problem = make_problem(
        edges, np.ones(len(edges)), stock, owner, rng.choice([4, 9, 16, 25], len(owner)),
        rng.integers(1, 4, (len(owner), 2)),
    )  # fmt: skip
    start = time.perf_counter()
    compiled = jax.jit(dec_price).lower(problem).compile()
    compiling, seconds = time.perf_counter() - start, []
    for _ in range(3):
        start = time.perf_counter()
        allocation = jax.block_until_ready(compiled(problem))
        seconds.append(time.perf_counter() - start)
    value = evaluate(problem, allocation)
    return {
        "agents": agents, "tasks": len(owner), "seconds": round(min(seconds), 3), "compile_s": round(compiling, 2),
        "welfare_over_bound": round(float(value.social_welfare / allocation.bound), 4),
        "feasible": bool(value.feasible), "messages_per_agent": round(float(allocation.messages) / agents),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agents", type=int, nargs="+", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one", action="store_true", help="measure in this process and print")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "srap_scale.json")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.agents[0], options.seed)))
        return
    rows = []
    for agents in options.agents:
        command = [sys.executable, __file__, "--one", "--agents", str(agents), "--seed", str(options.seed)]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(rows[-1], flush=True)
    options.out.write_text(json.dumps({"command": "python benchmarks/srap_scale.py", "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
