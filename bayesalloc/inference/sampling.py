"""Posteriors by NUTS or SVI, as ArviZ trees with named dimensions."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jaxtyping import Array
from numpyro import handlers
from numpyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO, autoguide, init_to_sample, init_to_uniform
from numpyro.infer.reparam import LocScaleReparam

from bayesalloc.environment import Environment, as_model
from bayesalloc.errors import InputError
from bayesalloc.inference.diagnosing import diagnose
from bayesalloc.inference.posing import Problem, forward_model, keywords, outcomes_of, pose, samplable, trace_of
from bayesalloc.inference.trees import dimensions, with_gaps
from bayesalloc.intervene import Model
from bayesalloc.mechanism import Mechanism
from bayesalloc.records import Table

DENSE_MAX = 40  # parameters in the dense block of the mass matrix


def fit(
    model: Environment | Model,
    record: str | Path | Table,
    rng_key: Array,
    *,
    method: Literal["nuts", "svi"] = "nuts",
    chains: int = 4,
    warmup: int = 1000,
    draws: int = 1000,
    mechanism: str | None = None,
    mechanisms: Iterable[str | Path | Mechanism] = (),
    target_accept: float = 0.95,
    progress: bool = False,
) -> xr.DataTree:
    """The posterior of a model given a record.

    Args:
        model: an environment, or a plain NumPyro model function.
        record: a CSV file.
        rng_key: a key.
        method: "nuts", or "svi" with a multivariate normal guide.
        chains: number of chains, run vectorized.
        warmup: warm-up draws per chain.
        draws: draws per chain; SVI takes draws x chains.
        mechanism: the mechanism in force throughout, where the record does not say; a name or a path.
        mechanisms: what the record's labels mean beside the shipped names: paths of mechanisms, or mechanisms.
        target_accept: NUTS's target acceptance probability; nearer to 1 means smaller steps and fewer divergences.
        progress: whether to show NumPyro's progress bar.

    Returns:
        An ArviZ DataTree with posterior, sample_stats, observed_data, prior, prior_predictive and
        posterior_predictive; its attributes hold the record, so that it can be used without the file.

    Raises:
        InputError: see `pose`, and for counts below 1 or a method that is not there.
    """
    table = record if isinstance(record, Table) else Table(record)
    problem = pose(model, table, mechanism=mechanism, mechanisms=mechanisms)
    for name, (count, least) in {"chains": (chains, 1), "warmup": (warmup, 1), "draws": (draws, 10)}.items():
        if count < least:
            raise InputError(f"{name} is {count}; it must be at least {least}")
    samplable(problem)
    if method not in ("nuts", "svi"):
        raise InputError(f"there is no method '{method}'; there are nuts, svi")
    if not 0.5 <= target_accept < 1:
        raise InputError(f"target-accept is {target_accept:g}; it must be in [0.5, 1)")
    run_key, prior_key, predictive_key = jax.random.split(rng_key, 3)
    given = keywords(problem)
    if method == "nuts":
        posterior, stats = _nuts(problem, given, run_key, (chains, warmup, draws), target_accept, progress=progress)
    else:
        posterior, stats = _svi(problem, given, run_key, (chains, warmup, draws), progress=progress)
    extra = set(outcomes_of(problem))
    flat = {name: values.reshape(-1, *values.shape[2:]) for name, values in posterior.items()}
    forward, fixed = forward_model(problem)
    # 500 draws are plenty for a predictive check
    thinned = {name: values[:: max(1, len(values) // 500)] for name, values in flat.items()}
    latent = {name: values for name, values in thinned.items() if name not in extra}
    predicted = Predictive(forward, latent)(predictive_key, **fixed)
    prior = Predictive(forward, num_samples=500)(prior_key, **fixed)
    trace = trace_of(problem)
    observed = {name: site["value"] for name, site in trace.items() if site["type"] == "sample" and site["is_observed"]}
    observed.pop("mechanism", None)
    groups = {
        "posterior": posterior,
        "sample_stats": stats,
        "posterior_predictive": {name: predicted[name][None] for name in observed},
        "prior": {name: values[None] for name, values in prior.items() if name in latent},
        "prior_predictive": {name: prior[name][None] for name in observed},
        "observed_data": {name: with_gaps(name, value, problem) for name, value in observed.items()},
    }
    groups = {group: {name: np.asarray(v) for name, v in content.items()} for group, content in groups.items()}
    dims, coords = dimensions(problem, trace, {**groups["posterior"], **groups["posterior_predictive"]})
    tree: xr.DataTree = az.from_dict(groups, dims=dims, coords=coords)
    tree.attrs = {
        "model": problem.name,
        "method": method,
        "mechanism": problem.mechanism,
        "mechanisms": json.dumps({label: known.table() for label, known in problem.mechanisms.items()}),
        "arms": json.dumps(list(problem.arms)),
        "record": table.text(),
        "sampled": json.dumps([name for name in posterior if name not in extra]),
        "record_name": str(table.path.name),
        "warnings": json.dumps(problem.warnings),
    }
    verdict = diagnose(tree)
    tree.attrs |= {"usable": int(verdict.usable), "why": verdict.why}
    return tree


def _nuts(
    problem: Problem, keywords: Any, key: Array, size: tuple[int, int, int], target_accept: float, *, progress: bool
) -> tuple[dict[str, Any], dict[Any, Any]]:
    chains, warmup, draws = size
    # chains start at draws of an environment's prior; a plain model's may be too vague for that
    start = init_to_uniform if problem.environment is None else init_to_sample
    kernel = NUTS(
        sampled_model(problem), init_strategy=start, target_accept_prob=target_accept, dense_mass=dense_block(problem)
    )
    mcmc = MCMC(
        kernel, num_warmup=warmup, num_samples=draws, num_chains=chains, chain_method="vectorized",
        progress_bar=progress,
    )  # fmt: skip
    mcmc.run(key, extra_fields=("diverging", "num_steps", "accept_prob", "potential_energy"), **keywords)
    stats = mcmc.get_extra_fields(group_by_chain=True)
    names = {"num_steps": "n_steps", "accept_prob": "acceptance_rate", "potential_energy": "energy"}
    sites = trace_of(problem)  # and not those that `sampled_model` adds
    samples = {name: values for name, values in mcmc.get_samples(group_by_chain=True).items() if name in sites}
    return samples, {names.get(name, name): values for name, values in stats.items()}


def sampled_model(problem: Problem) -> Model:
    """The model with the same posterior whose sites are easiest to sample: yearly noise guided, tendencies pooled."""
    env, model = problem.environment, problem.model
    if env is not None:
        model = as_model(env, problem.arms, len(problem.years), guided=True)
    return handlers.reparam(model, config={name: LocScaleReparam(0) for name in problem.noncentered})


def dense_block(problem: Problem) -> list[tuple[str, ...]]:
    """The parameters outside the scan: few and correlated, so that they share a dense block of the mass matrix."""
    names, size = [], 0
    for name, site in trace_of(problem).items():
        latent = site["type"] == "sample" and not site["is_observed"] and not site.get("_control_flow_done")
        n_values = np.size(site["value"])
        if latent and size + n_values <= DENSE_MAX and not site["fn"].support.is_discrete:
            names.append(f"{name}_decentered" if name in problem.noncentered else name)
            size += n_values
    return [tuple(names)] if names else []


def _svi(
    problem: Problem, keywords: Any, key: Array, size: tuple[int, int, int], *, progress: bool
) -> tuple[dict[str, Any], dict[Any, Any]]:
    chains, warmup, draws = size
    model = sampled_model(problem)
    guide = autoguide.AutoMultivariateNormal(model)
    steps = 10 * (warmup + draws)
    schedule = optax.cosine_decay_schedule(0.01, steps)
    svi = SVI(model, guide, optax.adam(schedule), Trace_ELBO(num_particles=4))
    run_key, draw_key = jax.random.split(key)
    result = svi.run(run_key, steps, progress_bar=progress, **keywords)
    n = chains * draws
    # importance ratios of the guide's draws, for the Pareto-k diagnostic
    posterior = guide.get_posterior(result.params)
    flat = posterior.sample(draw_key, (n,))
    guide_density = posterior.log_prob(flat)
    potential = jax.jit(jax.vmap(guide._potential_fn)) if hasattr(guide, "_potential_fn") else None
    if potential is None:
        raise RuntimeError("NumPyro's AutoContinuous guide no longer exposes its potential")
    ratios = -potential(jax.vmap(guide._unpack_latent)(flat)) - guide_density
    samples = guide.sample_posterior(draw_key, result.params, sample_shape=(n,), **keywords)
    sites = trace_of(problem)
    keep = {name: jnp.asarray(values)[None] for name, values in samples.items() if name in sites}
    return keep, {"log_ratio": np.asarray(ratios)[None]}
