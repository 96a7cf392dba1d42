"""Forward simulation of three mechanisms, twenty years and five agents: `bayesalloc.rollout` beside NumPy and Mesa.

python benchmarks/forward.py --mesa-python PATH    # of an environment with Mesa; without it Mesa is left out
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
SIZES = (1_000, 10_000, 100_000, 1_000_000)


def measure(replicates: int, repeats: int) -> dict[str, object]:
    """One size in this process, with one host device per core; the fastest repeat counts."""
    import jax

    jax.config.update("jax_num_cpu_devices", os.cpu_count())
    import bayesalloc as ba
    from bayesalloc.environment import stack
    from bayesalloc.models.watershed import environment

    arms = stack(list(environment.arms(None).values()))

    def run(seed: int) -> float:
        started = time.perf_counter()
        means = ba.rollout(
            environment, ba.hold, jax.random.key(seed), arms=arms, replicates=replicates, horizon=20, average=True
        )
        jax.block_until_ready(means)
        return time.perf_counter() - started

    first, seconds = run(0), min(run(1 + repeat) for repeat in range(repeats))
    return {
        "peer": "bayesalloc",
        "replicates": replicates,
        "agent_years_per_second": round(replicates * 3 * 20 * 5 / seconds),
        "seconds_setup": round(first, 2),
        "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mesa-python", help="a Python that has Mesa")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.repeats)))
        return

    def fresh(python: str, script: str, *arguments: str) -> dict[str, object]:
        done = subprocess.run([python, str(HERE / script), *arguments], check=True, capture_output=True, text=True)
        return json.loads(done.stdout.splitlines()[-1])

    repeats = ("--repeats", str(options.repeats))
    rows = [fresh(sys.executable, "forward.py", "--measure", str(n), *repeats) for n in SIZES]
    for normals in ("ziggurat", "box_muller"):
        for workers in ("1", str(os.cpu_count())):
            rows.append(
                fresh(
                    sys.executable, "forward_numpy.py", "--replicates", "100000", "--normals", normals,
                    "--workers", workers, *repeats,
                )
            )  # fmt: skip
    if options.mesa_python:
        rows.append(fresh(options.mesa_python, "forward_mesa.py", "--replicates", "50"))
    ours = next(row["agent_years_per_second"] for row in rows if row["replicates"] == 100_000)
    for row in rows:
        row["bayesalloc_at_100000_over_this"] = round(ours / row["agent_years_per_second"], 2)
        print(f"{row['peer']:<35}{row['replicates']:>10,}{row['agent_years_per_second'] / 1e6:>10.2f} M agent-years/s"
              f"{row['bayesalloc_at_100000_over_this']:>10.2f}{row.get('peak_rss_gb', ''):>8}")  # fmt: skip
    (HERE / "results" / "forward.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
