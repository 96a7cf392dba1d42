"""Whether a posterior can be used: convergence, predictive checks, and a verdict in words."""

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

import arviz as az
import numpy as np
import xarray as xr

from bayesalloc.errors import listed
from bayesalloc.inference.names import escaped, unescaped

RHAT_MAX, ESS_MIN, PARETO_K_MAX = 1.01, 400.0, 0.7  # Vehtari et al. 2021, Bayesian Analysis 16:667; 2024, JMLR 25:72
PARETO_DRAWS = 30  # with fewer the tail has too few draws to fit a Pareto distribution to
EQUAL_WEIGHTS = 1e-4  # range of log weights below which they are one, but for rounding
INFORMATION_MIN = 0.05  # standard deviation of the log likelihood, below which prior and posterior are the same


class Verdict(NamedTuple):
    """Whether a posterior can be used, and why; numbers are None where the method has none.

    `doubts` is what the predictive checks say against the model, "" where nothing; `why` says it too.
    """

    rhat_max: float | None
    ess_bulk_min: float | None
    ess_tail_min: float | None
    divergences: int | None
    pareto_k: float | None
    usable: bool
    why: str
    checks: dict[str, dict[str, float]]
    doubts: str = ""


def diagnose(tree: xr.DataTree) -> Verdict:
    """Convergence and fit: R-hat, effective sample sizes, divergences (NUTS) or Pareto k (SVI), predictive checks.

    Usable means R-hat at most 1.01, at least 400 effective samples in bulk and tails and no divergence (Vehtari et al.
    2021), or Pareto k at most 0.7; and that every draw is a finite number and the record taught something. The
    predictive checks do not decide: for each outcome they give the share of observations inside the 89 % posterior
    predictive interval, and the probability that replicated data have a larger mean and a larger standard deviation
    than the record.

    Args:
        tree: any ArviZ tree with a group `posterior`; what other groups it has is looked at too.
    """
    posterior = tree["posterior"].to_dataset()
    sampled = [escaped(name) for name in json.loads(tree.attrs["sampled"])] if "sampled" in tree.attrs else posterior
    chosen = posterior[list(sampled)].map(lambda values: values.astype(int) if values.dtype == bool else values)
    checks = _checks(tree)
    doubts = _doubts(checks)
    note = f"; {doubts}" if doubts else ""
    broken = [unescaped(str(name)) for name, values in chosen.items() if not np.isfinite(values.values).all()]
    faults = [f"draws of '{listed(broken)}' are not finite numbers"] if broken else []
    if tree.attrs.get("method") == "svi":
        k = _pareto_k(tree["sample_stats"].to_dataset()["log_ratio"].values.ravel())
        if k is None:
            faults.append(f"Pareto k of the guide is unknown: it takes {PARETO_DRAWS} draws with finite weights")
        elif k > PARETO_K_MAX:
            faults.append(f"Pareto k of the guide is {k:.2f} (above {PARETO_K_MAX})")
        faults += _taught_nothing(tree)
        why = "; ".join(faults) or f"Pareto k of the guide is {k:.2f} (at most {PARETO_K_MAX})"
        return Verdict(None, None, None, None, k, not faults, why + note, checks, doubts)

    def extreme(values: xr.Dataset, which: Callable[[np.ndarray], float]) -> float | None:
        everything = np.concatenate([np.ravel(values[name].values) for name in values])
        there = everything[np.isfinite(everything)]
        return float(which(there)) if there.size else None

    with np.errstate(divide="ignore", invalid="ignore"):  # what never varies has neither
        rhat = extreme(az.rhat(chosen), np.max) if posterior.sizes["chain"] > 1 else None
        bulk = extreme(az.ess(chosen, method="bulk"), np.min)
        tail = extreme(az.ess(chosen, method="tail"), np.min)
    effective = min(bulk or 0.0, tail or 0.0)
    stats = tree["sample_stats"].to_dataset() if "sample_stats" in tree.children else {}
    divergences = int(stats["diverging"].sum()) if "diverging" in stats else None
    if rhat is None:
        faults.append(
            "one chain alone cannot show convergence" if posterior.sizes["chain"] == 1 else "R-hat is unknown"
        )
    elif rhat > RHAT_MAX:
        faults.append(f"R-hat reaches {rhat:.3f} (above {RHAT_MAX}: chains disagree, draw more)")
    if effective < ESS_MIN:
        faults.append(f"only {effective:.0f} effective samples (below {ESS_MIN:.0f}: draw more)")
    if divergences:
        faults.append(f"{divergences} divergent transitions (a corner was missed; a higher target acceptance may help)")
    faults += _taught_nothing(tree)
    shown = "one chain" if rhat is None else f"R-hat at most {rhat:.3f}"
    smooth = "no divergences" if divergences is not None else "divergences not recorded"
    why = "; ".join(faults) or f"{shown}, at least {effective:.0f} effective samples, {smooth}"
    return Verdict(rhat, bulk, tail, divergences, None, not faults, why + note, checks, doubts)


def _checks(tree: xr.DataTree) -> dict[str, dict[str, float]]:
    """Predictive checks of the outcomes with a recorded value."""
    if not {"observed_data", "posterior_predictive"} <= set(tree.children):
        return {}
    recorded, replicated = tree["observed_data"].to_dataset(), tree["posterior_predictive"].to_dataset()
    there = [str(name) for name, v in recorded.items() if name in replicated and np.isfinite(v.values).any()]
    return {unescaped(name): predictive_check(tree, name) for name in there}


def _doubts(checks: Mapping[str, Mapping[str, float]]) -> str:
    """Which sides of the record replicated data do not reproduce."""
    said = []
    for key, what in (("p_mean", "mean"), ("p_sd", "spread")):
        poor = [name for name, check in checks.items() if not 0.025 <= check[key] <= 0.975]
        said += [f"the {what} of {listed(poor)}"] if poor else []
    return f"replicated data do not reproduce {' and '.join(said)}" if said else ""


def _taught_nothing(tree: xr.DataTree) -> list[str]:
    """A sentence where the posterior is the prior: the record is empty, or says nothing of what was sampled.

    The posterior is the prior times the likelihood, so the two are one where the likelihood is the same at all draws.
    For a likelihood that varies little, their Kullback-Leibler divergence is half the variance of its logarithm.
    """
    if "information" in tree.attrs:
        varies = tree.attrs["information"] > INFORMATION_MIN
    elif "log_likelihood" in tree.children:
        densities = [v.stack(each=("chain", "draw")) for v in tree["log_likelihood"].data_vars.values()]
        total = np.sum([v.values.reshape(-1, v.sizes["each"]).sum(0) for v in densities], axis=0)
        varies = float(np.std(total)) > INFORMATION_MIN
    else:
        recorded = tree["observed_data"].to_dataset().values() if "observed_data" in tree.children else ()
        varies = not recorded or any(np.isfinite(values.values).any() for values in recorded)
    return [] if varies else ["the record taught nothing: the posterior is the prior"]


def predictive_check(tree: xr.DataTree, name: str) -> dict[str, float]:
    """How replicated data compare with the record at one site; see `diagnose`."""
    observed = tree["observed_data"].to_dataset()[name].values.ravel()
    replicated = tree["posterior_predictive"].to_dataset()[name].values
    replicated = replicated.reshape(replicated.shape[0] * replicated.shape[1], -1)
    there = np.isfinite(observed)
    observed, replicated = observed[there].astype(float), replicated[:, there].astype(float)
    low, high = np.quantile(replicated, [0.055, 0.945], axis=0)

    def larger(values: np.ndarray, than: float) -> float:
        equal = np.isclose(values, than, rtol=1e-6)
        return float(np.mean((values > than) & ~equal) + 0.5 * np.mean(equal))

    return {
        "inside": float(np.mean((observed >= low) & (observed <= high))),
        "p_mean": larger(replicated.mean(1), observed.mean()),
        "p_sd": larger(replicated.std(1), observed.std()),
    }


def _pareto_k(log_weights: np.ndarray) -> float | None:
    """Pareto k of importance weights, large where the guide misses tails; None where it cannot be told."""
    from arviz_stats.base import array_stats

    there = log_weights[~np.isneginf(log_weights)].astype(float)  # what the posterior rules out has no weight
    if len(there) < PARETO_DRAWS or not np.isfinite(there).all():
        return None
    if np.ptp(there) < EQUAL_WEIGHTS:
        return 0.0
    return float(array_stats.psislw(-there)[1])  # which takes densities that are left out, so divided by


def summary(tree: xr.DataTree, names: list[str] | None = None) -> xr.Dataset:
    """Mean, sd and 89 % interval of the parameters: the sites that do not have a period."""
    posterior = tree["posterior"].to_dataset()
    chosen, period = [escaped(name) for name in names or ()], tree.attrs.get("period", "year")
    values = posterior[chosen or [name for name in posterior if period not in posterior[name].dims]]
    dim = ["chain", "draw"]
    stats = [
        values.mean(dim),
        values.std(dim),
        *(values.quantile(q, dim).drop_vars("quantile") for q in (0.055, 0.945)),
    ]
    return xr.concat(stats, xr.DataArray(["mean", "sd", "low", "high"], dims="statistic", name="statistic"))
