"""Whether a posterior can be used: convergence, predictive checks, and a verdict in words."""

import json
from collections.abc import Callable
from typing import NamedTuple

import arviz as az
import numpy as np
import xarray as xr

from bayesalloc.errors import listed

RHAT_MAX, ESS_MIN, PARETO_K_MAX = 1.01, 400.0, 0.7  # Vehtari et al. 2021, Bayesian Analysis 16:667; 2024, JMLR 25:72


class Verdict(NamedTuple):
    """Whether a posterior can be used, and why; numbers are None where the method has none."""

    rhat_max: float | None
    ess_bulk_min: float | None
    ess_tail_min: float | None
    divergences: int | None
    pareto_k: float | None
    usable: bool
    why: str
    checks: dict[str, dict[str, float]]


def diagnose(tree: xr.DataTree) -> Verdict:
    """Convergence and fit: R-hat, effective sample sizes, divergences (NUTS) or Pareto k (SVI), predictive checks.

    Usable means R-hat at most 1.01, at least 400 effective samples in bulk and tails and no divergence (Vehtari et al.
    2021), or Pareto k at most 0.7. The predictive checks do not decide: for each data site they give the share of
    observations inside the 89 % posterior predictive interval, and the probability that replicated data have a larger
    mean and a larger standard deviation than the record.
    """
    recorded = {str(name): values for name, values in tree["observed_data"].data_vars.items()}
    checks = {name: predictive_check(tree, name) for name, v in recorded.items() if np.isfinite(v.values).any()}
    poor = [name for name, check in checks.items() if not 0.025 <= check["p_mean"] <= 0.975]
    note = f"; replicated data do not reproduce the mean of {listed(poor)}" if poor else ""
    if tree.attrs["method"] == "svi":
        k = _pareto_k(tree["sample_stats"].to_dataset()["log_ratio"].values.ravel())
        usable = k <= PARETO_K_MAX
        why = f"Pareto k of the guide is {k:.2f} ({'at most' if usable else 'above'} {PARETO_K_MAX})"
        return Verdict(None, None, None, None, k, usable, why + note, checks)
    posterior = tree["posterior"].to_dataset()
    chosen = posterior[json.loads(tree.attrs["sampled"])] if "sampled" in tree.attrs else posterior

    def extreme(values: xr.Dataset, which: Callable[[np.ndarray], float]) -> float:
        everything = np.concatenate([np.ravel(values[name].values) for name in values])
        return float(which(everything[np.isfinite(everything)]))

    rhat = extreme(az.rhat(chosen), np.max) if posterior.sizes["chain"] > 1 else None
    bulk = extreme(az.ess(chosen, method="bulk"), np.min)
    tail = extreme(az.ess(chosen, method="tail"), np.min)
    divergences = int(tree["sample_stats"].to_dataset()["diverging"].sum())
    faults = []
    if rhat is None:
        faults.append("one chain alone cannot show convergence")
    elif rhat > RHAT_MAX:
        faults.append(f"R-hat reaches {rhat:.3f} (above {RHAT_MAX}: chains disagree, draw more)")
    if min(bulk, tail) < ESS_MIN:
        faults.append(f"only {min(bulk, tail):.0f} effective samples (below {ESS_MIN:.0f}: draw more)")
    if divergences:
        faults.append(f"{divergences} divergent transitions (a corner was missed; a higher target-accept may help)")
    shown = "one chain" if rhat is None else f"R-hat at most {rhat:.3f}"
    why = "; ".join(faults) or f"{shown}, at least {min(bulk, tail):.0f} effective samples, no divergences"
    return Verdict(rhat, bulk, tail, divergences, None, not faults, why + note, checks)


def predictive_check(tree: xr.DataTree, name: str) -> dict[str, float]:
    """How replicated data compare with the record at one site; see `diagnose`."""
    observed = tree["observed_data"].to_dataset()[name].values.ravel()
    replicated = tree["posterior_predictive"].to_dataset()[name].values
    replicated = replicated.reshape(replicated.shape[0] * replicated.shape[1], -1)
    there = np.isfinite(observed)
    observed, replicated = observed[there], replicated[:, there]
    low, high = np.quantile(replicated, [0.055, 0.945], axis=0)
    return {
        "inside": float(np.mean((observed >= low) & (observed <= high))),
        "p_mean": float(np.mean(replicated.mean(1) > observed.mean())),
        "p_sd": float(np.mean(replicated.std(1) > observed.std())),
    }


def _pareto_k(log_ratios: np.ndarray) -> float:
    from arviz_stats.base import array_stats

    return float(array_stats.psislw(log_ratios)[1])


def summary(tree: xr.DataTree, names: list[str] | None = None) -> xr.Dataset:
    """Mean, sd and 89 % interval of the parameters: the sites that do not have a year."""
    posterior = tree["posterior"].to_dataset()
    chosen = names or [str(name) for name in posterior if "year" not in posterior[name].dims]
    values = posterior[chosen]
    dim = ["chain", "draw"]
    stats = [
        values.mean(dim),
        values.std(dim),
        *(values.quantile(q, dim).drop_vars("quantile") for q in (0.055, 0.945)),
    ]
    return xr.concat(stats, xr.DataArray(["mean", "sd", "low", "high"], dims="statistic", name="statistic"))
