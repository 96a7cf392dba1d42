"""Posteriors by NUTS or SVI, as ArviZ trees with named dimensions."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jaxtyping import Array
from numpyro import handlers
from numpyro.infer import MCMC, NUTS, SVI, Trace_ELBO, autoguide, init_to_sample, init_to_uniform
from numpyro.infer.reparam import LocScaleReparam

from bayesalloc import defaults
from bayesalloc.ancestry import BACKWARDS, ancestry, outcomes
from bayesalloc.environment import Environment, as_model
from bayesalloc.errors import InputError, listed
from bayesalloc.following import Model
from bayesalloc.inference import trees
from bayesalloc.inference.diagnosing import diagnose
from bayesalloc.inference.given import Record
from bayesalloc.inference.posing import Problem, keywords, outcomes_of, pose, trace_of
from bayesalloc.inference.predicting import predict
from bayesalloc.inference.starting import for_samplers, improper, samplable
from bayesalloc.mechanism import Mechanism
from bayesalloc.programs import whole_products

DENSE_MAX = 40  # parameters in the dense block of the mass matrix
PRIOR_DRAWS = 500
LARGE = 10**9  # bytes; a group of draws that would be larger is thinned
EXTRA_FIELDS = {  # of NumPyro, and what ArviZ calls them; `lp` with the other sign
    "diverging": "diverging",
    "num_steps": "n_steps",
    "accept_prob": "acceptance_rate",
    "energy": "energy",
    "potential_energy": "lp",
    "adapt_state.step_size": "step_size",
}


class Sampler(NamedTuple):
    """How a posterior is sampled; `fit` says what each means."""

    method: str
    chains: int
    warmup: int
    draws: int
    target_accept: float
    progress: bool


@whole_products()
def fit(
    model: Environment | Model,
    record: Record,
    rng_key: Array,
    *,
    data: Mapping[str, Any] | None = None,
    method: Literal["nuts", "svi"] = "nuts",
    chains: int = defaults.CHAINS,
    warmup: int = defaults.WARMUP,
    draws: int = defaults.DRAWS,
    mechanism: str | None = None,
    mechanisms: Iterable[str | Path | Mechanism] = (),
    target_accept: float = defaults.TARGET_ACCEPT,
    progress: bool = False,
) -> xr.DataTree:
    """The posterior of a model given a record.

    Args:
        model: an environment, or a plain NumPyro model function.
        record: a CSV file, a data frame, or a mapping of arrays: a keyword each. Text becomes integer codes in order of
            appearance; what has no dimension stays a plain Python value.
        rng_key: a key.
        data: keywords of a plain model that are no columns.
        method: "nuts", or "svi" with a multivariate normal guide.
        chains: number of chains, run vectorized.
        warmup: warm-up draws per chain.
        draws: draws per chain; SVI takes draws x chains.
        mechanism: the mechanism in force throughout, where the record does not say; a name or a path.
        mechanisms: what the record's labels mean beside the shipped names: paths of mechanisms, or mechanisms.
        target_accept: NUTS's target acceptance probability; nearer to 1 means smaller steps and fewer divergences.
        progress: whether to show NumPyro's progress bar.

    Returns:
        An ArviZ DataTree with posterior, sample_stats, posterior_predictive, log_likelihood, log_prior, prior,
        prior_predictive, observed_data and constant_data, which together hold all that `compare` needs. An observed
        site counts as an outcome, with replicated data and a likelihood, if it has a latent ancestor and no observed
        descendant. A missing value is NaN in observed_data and left out of log_likelihood. Names with "/" are escaped
        (`bayesalloc.inference.names`).

    Raises:
        InputError: see `pose`, and for counts below 1, a method that is not there, or a site that it cannot sample.
    """
    problem = pose(model, record, mechanism=mechanism, mechanisms=mechanisms, data=data)
    sampler = _allowed(Sampler(method, chains, warmup, draws, target_accept, progress))
    trace = trace_of(problem)
    samplable(trace, method)
    found = ancestry(problem.model, keywords(problem))
    backwards = [name for name in found.latent if found.sites[name].backwards]
    if backwards:
        raise InputError(f"'{listed(backwards)}' {BACKWARDS}")
    run_key, prior_key, predictive_key = jax.random.split(rng_key, 3)
    given = keywords(problem)
    posterior, stats = (_nuts if method == "nuts" else _svi)(problem, given, run_key, sampler)
    posterior = {name: np.asarray(values) for name, values in posterior.items()}
    recorded = trees.observed(trace, trace_of(problem, 1))
    of_record = {name: recorded[name] for name in outcomes(found)}
    groups, information, warnings = _implied(problem, trace, posterior, of_record, (predictive_key, prior_key))
    constant = trees.constants(problem, recorded, list(of_record))
    dims, coords = trees.dimensions(problem, trace)
    every = _places(next(iter(posterior.values())))
    every_group = {
        "posterior": trees.group(posterior, dims, coords, every),
        "sample_stats": trees.group(stats, {}, {}, every),
        **{
            name: (trees.likelihoods if name == "log_likelihood" else trees.group)(values, dims, coords, places)
            for name, (values, places) in groups.items()
        },
        "observed_data": trees.group(of_record, dims, coords),
        "constant_data": trees.group(constant, trees.constant_dims(constant, dims, recorded), coords),
    }
    tree = xr.DataTree.from_dict({name: content for name, content in every_group.items() if content})
    if problem.environment is None:
        carried = {"keywords": trees.described(given, problem.categories)}
    else:
        carried = {"record": problem.text, "period": problem.environment.period}
    tree.attrs = {
        "model": problem.name,
        "method": method,
        "mechanism": problem.mechanism,
        "mechanisms": json.dumps({label: known.table() for label, known in problem.mechanisms.items()}),
        "arms": json.dumps(list(problem.arms)),
        "sampled": json.dumps(_latent(trace)),
        "information": information,
        "record_name": problem.record,
        "warnings": json.dumps([*problem.warnings, *warnings]),
        **carried,
    }
    verdict = diagnose(tree)
    tree.attrs |= {"usable": int(verdict.usable), "why": verdict.why, "doubts": verdict.doubts}
    return tree


def _allowed(sampler: Sampler) -> Sampler:
    """The sampler, if it can be used."""
    for name, least in {"chains": 1, "warmup": 1, "draws": 10}.items():
        if getattr(sampler, name) < least:
            raise InputError(f"{name} is {getattr(sampler, name)}; it must be at least {least}")
    if sampler.method not in ("nuts", "svi"):
        raise InputError(f"there is no method '{sampler.method}'; there are nuts, svi")
    if not 0.5 <= sampler.target_accept < 1:
        raise InputError(f"target_accept is {sampler.target_accept:g}; it must be in [0.5, 1)")
    return sampler


Groups = dict[str, tuple[dict[str, Any], dict[str, Any]]]  # name -> values, and labels of their leading dimensions


def _implied(
    problem: Problem,
    trace: Mapping[str, Any],
    posterior: Mapping[str, np.ndarray],
    of_record: Mapping[str, np.ndarray],
    keys: tuple[Array, Array],
) -> tuple[Groups, float, list[str]]:
    """What the posterior and the prior imply: predictions and densities.

    Then the standard deviation, over draws, of the log density of the record: 0 where the posterior is the prior. And
    sentences on what was left out.
    """
    latent = _latent(trace)
    n_chains, n_draws = next(iter(posterior.values())).shape[:2]
    bytes_each = 4 * sum(np.size(trace[name]["value"]) for name in {*of_record, *latent})
    step = min(-(-bytes_each * n_chains * n_draws // LARGE), n_draws)
    warnings = []
    if step > 1:
        warnings.append(
            f"predictions and densities of every {step}th draw only: those of all would take more than"
            f" {LARGE / 1e9:g} GB a group"
        )
    places = _places(next(iter(posterior.values())), step)
    thinned = {name: posterior[name][:, ::step] for name in latent}
    flat = {name: values.reshape(-1, *values.shape[2:]) for name, values in thinned.items()}
    known = {name: ~np.isnan(value) for name, value in of_record.items()}
    predicted = predict(problem, known, keys[0], flat, known)
    information = float(np.std(predicted.record.astype(float)))

    def by_chain(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: value.reshape(n_chains, -1, *value.shape[1:]) for name, value in values.items()}

    groups: Groups = {}
    if of_record:
        groups["posterior_predictive"] = by_chain(predicted.sites), places
        groups["log_likelihood"] = by_chain(predicted.likelihood), places
    # ArviZ weighs draws by small powers of the prior, which single precision cannot tell apart
    groups["log_prior"] = by_chain({name: value.astype(float) for name, value in predicted.prior.items()}), places
    vague = [name for name in latent if improper(trace[name]["fn"])]
    if vague:
        warnings.append(f"'{listed(vague)}' has an improper prior, so that nothing can be said of the prior")
        return groups, information, warnings
    shown = [name for name in posterior if name not in outcomes_of(problem)]
    bytes_each = 4 * sum(np.size(trace[name]["value"]) for name in {*of_record, *shown})
    n_prior = int(np.clip(LARGE // max(bytes_each, 1), 10, PRIOR_DRAWS))
    before = predict(problem, known, keys[1], n_prior, [*shown, *known], densities=False).sites
    at = {"chain": [0], "draw": np.arange(n_prior)}
    groups["prior"] = {name: before[name][None] for name in shown}, at
    if of_record:
        groups["prior_predictive"] = {name: before[name][None] for name in of_record}, at
    return groups, information, warnings


def _latent(trace: Mapping[str, Any]) -> list[str]:
    return [name for name, site in trace.items() if site["type"] == "sample" and not site["is_observed"]]


def _places(values: np.ndarray, step: int = 1) -> dict[str, Any]:
    """Labels of chains and of every `step`th draw."""
    return {"chain": np.arange(len(values)), "draw": np.arange(0, values.shape[1], step)}


def _nuts(problem: Problem, keywords: Any, key: Array, sampler: Sampler) -> tuple[dict[str, Any], dict[Any, Any]]:
    # chains start at draws of an environment's prior; a plain model's may be too vague for that
    start = init_to_uniform if problem.environment is None else init_to_sample
    kernel = NUTS(
        sampled_model(problem),
        init_strategy=start,
        target_accept_prob=sampler.target_accept,
        dense_mass=dense_block(problem),  # pyright: ignore[reportArgumentType]  # documented beside the default False
    )
    mcmc = MCMC(
        kernel,
        num_warmup=sampler.warmup,
        num_samples=sampler.draws,
        num_chains=sampler.chains,
        chain_method="vectorized",
        progress_bar=sampler.progress,
    )
    try:
        mcmc.run(key, extra_fields=tuple(EXTRA_FIELDS), **keywords)
    except RuntimeError as error:
        if "initial parameters" not in str(error):
            raise
        raise InputError(
            f"{problem.name}: no starting point was found at which the density of the record is a finite number"
        ) from None
    found = mcmc.get_extra_fields(group_by_chain=True)
    stats = {name: found[field] for field, name in EXTRA_FIELDS.items()}
    stats["lp"] = -stats["lp"]
    stats["tree_depth"] = np.floor(np.log2(np.asarray(stats["n_steps"]))).astype(int) + 1
    return _of_the_model(problem, mcmc.get_samples(group_by_chain=True)), stats


def _of_the_model(problem: Problem, samples: Mapping[str, Any]) -> dict[str, Any]:
    """The samples of the model's own sites, and not of those that `sampled_model` adds."""
    sites = {name for name, site in trace_of(problem).items() if site["type"] in ("sample", "deterministic")}
    return {name: values for name, values in samples.items() if name in sites}


def sampled_model(problem: Problem) -> Model:
    """The model with the same posterior whose sites are easiest to sample: noise guided, tendencies pooled."""
    env, model = problem.environment, problem.model
    if env is not None:
        model = as_model(env, problem.arms, len(problem.periods), guided=True)
    return handlers.reparam(for_samplers(model), config={name: LocScaleReparam(0) for name in problem.noncentered})


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


def _svi(problem: Problem, keywords: Any, key: Array, sampler: Sampler) -> tuple[dict[str, Any], dict[Any, Any]]:
    model = sampled_model(problem)
    guide = autoguide.AutoMultivariateNormal(model)
    steps = 10 * (sampler.warmup + sampler.draws)
    schedule = optax.cosine_decay_schedule(0.01, steps)
    svi = SVI(model, guide, optax.adam(schedule), Trace_ELBO(num_particles=4))
    run_key, draw_key = jax.random.split(key)
    result = svi.run(run_key, steps, progress_bar=sampler.progress, **keywords)
    n = sampler.chains * sampler.draws
    # importance ratios of the guide's draws, for the Pareto-k diagnostic
    posterior = guide.get_posterior(result.params)
    flat = posterior.sample(draw_key, (n,))
    guide_density = posterior.log_prob(flat)
    potential = jax.jit(jax.vmap(guide._potential_fn)) if hasattr(guide, "_potential_fn") else None
    if potential is None:
        raise RuntimeError("NumPyro's AutoContinuous guide no longer exposes its potential")
    ratios = -potential(jax.vmap(guide._unpack_latent)(flat)) - guide_density
    samples = guide.sample_posterior(draw_key, result.params, sample_shape=(n,), **keywords)
    keep = {name: jnp.asarray(values)[None] for name, values in _of_the_model(problem, samples).items()}
    return keep, {"log_ratio": np.asarray(ratios)[None]}
