"""Simulates a 20-year record of the watershed with bayesalloc, for the sampling peers.

Ten years under one mechanism, then ten under another; parameters from the published scenario, a few cells missing. As
the measurement model has it, a measured share may lie a little above 1. The file holds forest_health and erosion of
shape (year,), contribution of shape (year, agent), NaN where missing, and mechanism, the index of the one in force, of
shape (year,).

Under the performance contract contributions jump where forest health crosses 0.5, and the posterior with them: HMC then
needs many small steps. A record without that jump: `--mechanisms cost_sharing credit_trading`.

    python make_record.py --out record.npz
"""

import argparse
from pathlib import Path

import jax
import numpy as np
import watershed_numbers as numbers
from numpyro import handlers

import bayesalloc as ba
from bayesalloc.models import watershed

MISSING = 0.05  # share of cells


def record(first: str, second: str, seed: int = 0) -> dict[str, np.ndarray]:
    """The record: see above."""
    numbers.verify()
    arms = list(numbers.MECHANISMS)
    mechanism = np.repeat([arms.index(first), arms.index(second)], numbers.YEARS // 2).astype(np.int32)
    model = ba.as_model(watershed.catchment(), horizon=numbers.YEARS)
    sites = handlers.trace(ba.seed_by_name(model, jax.random.key(seed))).get_trace(mechanism=mechanism)
    rng, data = np.random.default_rng(seed), {"mechanism": mechanism}
    for name in ("forest_health", "erosion", "contribution"):
        values = np.array(sites[f"{name}_observed"]["value"], np.float64)
        data[name] = np.where(rng.random(values.shape) < MISSING, np.nan, values)
    return data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--mechanisms", nargs=2, choices=tuple(numbers.MECHANISMS), default=("performance_contract", "credit_trading")
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("record.npz"))
    options = parser.parse_args()
    data = record(*options.mechanisms, seed=options.seed)
    np.savez(options.out, **data)
    missing = sum(int(np.isnan(values).sum()) for values in data.values())
    print(f"{options.out}: {numbers.YEARS} years, {missing} cells missing")


if __name__ == "__main__":
    main()
