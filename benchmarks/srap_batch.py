"""CEN-GRD end to end (network, arrivals, distances, ordering, allocation, evaluation) against plain networkx.

    python srap_batch.py

1,000 instances of experiment 7.5.1 (8 agents, 32 tasks, a small world): ours as a rollout of the srap environment, the
peer instance by instance (`networkx_episode` of tests/srap_reference.py). Both are timed in turn, and the best of each
is taken (ours of five in a row); compilation is stated apart.
"""

import os

os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(os.cpu_count()))
import argparse
import json
import sys
import time
from pathlib import Path

import jax
import numpy as np

import bayesalloc as ba
from bayesalloc.allocators.instances import Setting
from bayesalloc.environment import stack
from bayesalloc.models import srap

sys.path.append(str(Path(__file__).parent.parent / "tests"))
import srap_reference


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--instances", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    env, arms = srap.market(Setting(), ("cen-grd",)), stack([np.int32(0)])

    def ours(seed: int) -> tuple[float, float]:
        start = time.perf_counter()
        welfare = ba.rollout(
            env, ba.hold, jax.random.key(seed), arms=arms, replicates=options.instances, horizon=1,
            collect=collected, chunk_size=125,
        )  # fmt: skip
        jax.block_until_ready(welfare)
        seconds = time.perf_counter() - start
        return 1e3 * seconds / options.instances, float(np.mean(welfare))

    first, _ = ours(0)
    rounds = []
    for seed in range(options.repeats):
        best = min(ours(seed) for _ in range(5))  # the first after the peer's turn finds cold caches
        rounds.append((*best, *srap_reference.time_episodes(options.instances, seed)))
    mine, _, theirs, _ = np.min(rounds, axis=0)
    print(json.dumps({
        "instances": options.instances, "devices": len(jax.devices()),
        "first_call_s": round(first * options.instances / 1e3, 2),
        "bayesalloc_us": round(1e3 * mine, 2), "networkx_us": round(1e3 * theirs, 1), "ratio": round(theirs / mine, 1),
        "ratio_of_medians": round(float(np.median([r[2] for r in rounds]) / np.median([r[0] for r in rounds])), 1),
        "mean_welfare": [round(float(np.mean([r[place] for r in rounds])), 2) for place in (1, 3)],
    }))  # fmt: skip


def collected(episodes: srap.Episode) -> jax.Array:
    """What of an instance is kept."""
    return episodes.social_welfare


if __name__ == "__main__":
    main()
