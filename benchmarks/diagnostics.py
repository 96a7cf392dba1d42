"""What a sampling peer reports, computed alike for all of them with ArviZ."""

from collections.abc import Mapping

import arviz as az
import numpy as np
import watershed_numbers as numbers
import xarray as xr

PARAMETERS = ("initial_health", *numbers.RECORD, "tendency")


def report(
    peer: str,
    draws: Mapping[str, np.ndarray],
    divergences: int,
    seconds_sampling: float,
    seconds_compile: float,
    steps_mean: float,
) -> dict[str, object]:
    """One line of results.

    Args:
        peer: what sampled.
        draws: parameter -> draws of shape (chain, draw) or (chain, draw, agent), without the yearly noise.
        divergences: after warmup.
        seconds_sampling: warmup and sampling, without compilation.
        seconds_compile: compilation.
        steps_mean: leapfrog steps per draw, after warmup.
    """
    tree = _tree(draws)
    rhat, ess = _values(az.rhat(tree)), _values(az.ess(tree, method="bulk"))
    smallest = {name: float(ess[name].min()) for name in PARAMETERS}
    worst_site = min(smallest, key=smallest.__getitem__)
    return {
        "peer": peer,
        "seconds_sampling": round(seconds_sampling, 2),
        "seconds_compile": round(seconds_compile, 2),
        "divergences": int(divergences),
        "rhat_max": round(max(float(rhat[name].max()) for name in PARAMETERS), 4),
        "ess_bulk_min": round(smallest[worst_site], 1),
        "worst_site": worst_site,
        "steps_mean": round(steps_mean, 1),
        "ess_per_second": round(smallest[worst_site] / seconds_sampling, 2),
    }


def save(path: str, draws: Mapping[str, np.ndarray]) -> None:
    """Keep the draws, to compare peers' posteriors with `python diagnostics.py A.npz B.npz`."""
    np.savez(path, **{name: np.asarray(draws[name]) for name in PARAMETERS})


def largest_difference(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> tuple[float, str]:
    """The largest difference of two posterior means, in Monte Carlo standard errors, and its parameter."""
    errors = [_values(az.mcse(_tree(draws), method="mean")) for draws in (first, second)]
    worst = (0.0, "")
    for name in PARAMETERS:
        difference = np.abs(np.mean(first[name], (0, 1)) - np.mean(second[name], (0, 1)))
        deviation = difference / np.hypot(*(np.asarray(error[name]) for error in errors))
        worst = max(worst, (float(deviation.max()), name))
    return worst


def _tree(draws: Mapping[str, np.ndarray]) -> xr.DataTree:
    return az.from_dict({"posterior": {name: np.asarray(draws[name], np.float64) for name in PARAMETERS}})


def _values(result: xr.DataTree) -> xr.Dataset | xr.DataTree:
    """ArviZ hands back a dataset, or a tree with the group that it looked at."""
    return result["posterior"] if "posterior" in getattr(result, "children", {}) else result


if __name__ == "__main__":
    import sys

    with np.load(sys.argv[1]) as one, np.load(sys.argv[2]) as other:
        deviation, parameter = largest_difference(one, other)
        print(f"largest difference of two means: {deviation:.2f} standard errors ({parameter})")
