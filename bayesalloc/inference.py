"""What is concluded from a record: posteriors by NUTS or SVI, as ArviZ trees with named dimensions, and a verdict."""

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

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
from bayesalloc.errors import InputError, listed
from bayesalloc.intervene import Model, seed_by_name, unobserved
from bayesalloc.records import Table

DENSE_MAX = 40  # parameters in the dense block of the mass matrix
RHAT_MAX, ESS_MIN, PARETO_K_MAX = 1.01, 400.0, 0.7  # Vehtari et al. 2021, Bayesian Analysis 16:667; 2024, JMLR 25:72


class Problem(NamedTuple):
    """A model together with a record: what is sampled, and what its parts are called.

    Attributes:
        name: the model's name or path.
        model: the NumPyro model function.
        data: its keywords.
        environment: the environment, or None for a plain model.
        arms: names of the arms that the site `mechanism` indexes.
        labels: index of the arm in force, per year (and person).
        years: the year of each period; empty for a plain model.
        warnings: sentences on what was assumed or ignored.
        noncentered: sites to be sampled in non-centred form.
    """

    name: str
    model: Model
    data: dict[str, Any]
    environment: Environment | None = None
    arms: dict[str, Any] = {}
    labels: Any = None
    years: list[int] = []
    warnings: list[str] = []
    noncentered: tuple[str, ...] = ()


def pose(model: Environment | Model, record: str | Path | Table, *, mechanism: str | None = None) -> Problem:
    """The inference problem of a model and a record.

    An environment reads its own columns. A plain model gets, for each keyword, the column of that name: numbers as
    they are, text as integer codes in order of appearance.

    Args:
        model: an environment, or a plain NumPyro model function.
        record: a CSV file.
        mechanism: the mechanism in force in every row, where the record has no such column.

    Raises:
        InputError: naming file, column, row and what is allowed.
    """
    table = record if isinstance(record, Table) else Table(record)
    table.used.clear()
    if not isinstance(model, Environment):
        data = _columns(model, table)
        return Problem(getattr(model, "__name__", "model"), model, data, warnings=_unused(table))
    if model.read is None:
        raise InputError(f"{model.name} cannot be fitted: it does not say how to read a record")
    recorded = model.read(table, mechanism)
    env = recorded.environment
    labels = np.asarray(recorded.labels, dtype=object)
    for label in dict.fromkeys(table.columns.get("mechanism", []) if mechanism is None else []):
        try:
            env.arms([label])
        except InputError as error:
            raise table.error(table.columns["mechanism"].index(label), "mechanism", str(error)) from None
    arms = env.arms(list(dict.fromkeys(labels.ravel().tolist())))
    loaded = dict(zip(dict.fromkeys(labels.ravel().tolist()), arms, strict=True))  # a path's arm has its file's name
    places = {name: list(arms).index(loaded[name]) for name in loaded}
    index = np.vectorize(places.__getitem__, otypes=[np.int32])(labels)
    warnings = [*recorded.warnings, *_unused(table)]
    horizon = len(recorded.years)
    return Problem(
        env.name, as_model(env, arms, horizon), recorded.data, env, arms, index, recorded.years, warnings,
        recorded.noncentered,
    )  # fmt: skip


def _unused(table: Table) -> list[str]:
    return [f"{table.path}: not used: {listed(table.unused())}"] if table.unused() else []


def _columns(model: Model, table: Table) -> dict[str, Any]:
    wanted = inspect.signature(model).parameters
    data = {}
    for name, parameter in wanted.items():
        if name not in table.columns:
            if parameter.default is inspect.Parameter.empty and parameter.kind != inspect.Parameter.VAR_KEYWORD:
                raise InputError(f"{table.path}: the model needs a column '{name}'; there are {listed(table.columns)}")
            continue
        cells = table.labels(name)
        if not any(_is_number(cell) for cell in cells):
            places = {label: place for place, label in enumerate(dict.fromkeys(cells))}
            data[name] = np.array([places[cell] for cell in cells], np.int32)
            continue
        numbers = table.numbers(name, required=True)
        whole = all(cell.lstrip("+-").isdigit() for cell in cells) and np.abs(numbers).max() < 2**31
        data[name] = numbers.astype(np.int32 if whole else np.float32)
    if not data:
        raise InputError(f"{table.path}: no column is a keyword of the model; its keywords are {listed(wanted)}")
    return data


def _samplable(problem: Problem) -> None:
    """Refuse, before any time is spent, what neither NUTS nor SVI can sample."""
    sites = trace_of(problem).items()
    latent = {name: site for name, site in sites if site["type"] == "sample" and not site["is_observed"]}
    discrete = [name for name, site in latent.items() if site["fn"].support.is_discrete]
    if discrete:
        raise InputError(f"site '{listed(discrete)}' is discrete and not observed: it cannot be fitted, sum it out")
    if not latent:
        raise InputError("the model has no unobserved random site: there is nothing to fit")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


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
        mechanism: the mechanism in force throughout, where the record does not say.
        target_accept: NUTS's target acceptance probability; nearer to 1 means smaller steps and fewer divergences.
        progress: whether to show NumPyro's progress bar.

    Returns:
        An ArviZ DataTree with posterior, sample_stats, observed_data, prior, prior_predictive and
        posterior_predictive; its attributes hold the record, so that it can be used without the file.

    Raises:
        InputError: see `pose`, and for counts below 1 or a method that is not there.
    """
    table = record if isinstance(record, Table) else Table(record)
    problem = pose(model, table, mechanism=mechanism)
    for name, (count, least) in {"chains": (chains, 1), "warmup": (warmup, 1), "draws": (draws, 10)}.items():
        if count < least:
            raise InputError(f"{name} is {count}; it must be at least {least}")
    _samplable(problem)
    if method not in ("nuts", "svi"):
        raise InputError(f"there is no method '{method}'; there are nuts, svi")
    if not 0.5 <= target_accept < 1:
        raise InputError(f"target-accept is {target_accept:g}; it must be in [0.5, 1)")
    run_key, prior_key, predictive_key = jax.random.split(rng_key, 3)
    keywords = _keywords(problem)
    if method == "nuts":
        posterior, stats = _nuts(problem, keywords, run_key, (chains, warmup, draws), target_accept, progress=progress)
    else:
        posterior, stats = _svi(problem, keywords, run_key, (chains, warmup, draws), progress=progress)
    extra = set(_outcomes(problem))
    flat = {name: values.reshape(-1, *values.shape[2:]) for name, values in posterior.items()}
    forward, fixed = _forward(problem)
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
        "observed_data": {name: _with_gaps(name, value, problem) for name, value in observed.items()},
    }
    groups = {group: {name: np.asarray(v) for name, v in content.items()} for group, content in groups.items()}
    dims, coords = _dimensions(problem, trace, {**groups["posterior"], **groups["posterior_predictive"]})
    tree: xr.DataTree = az.from_dict(groups, dims=dims, coords=coords)
    tree.attrs = {
        "model": problem.name,
        "method": method,
        "mechanism": mechanism or "",
        "arms": json.dumps(list(problem.arms)),
        "record": table.text(),
        "sampled": json.dumps([name for name in posterior if name not in extra]),
        "record_name": str(table.path.name),
        "warnings": json.dumps(problem.warnings),
    }
    verdict = diagnose(tree)
    tree.attrs |= {"usable": int(verdict.usable), "why": verdict.why}
    return tree


def restore(model: Environment | Model, tree: xr.DataTree) -> Problem:
    """The inference problem that a saved posterior came from, from the record that it carries."""
    if "record" not in tree.attrs:
        raise InputError("the posterior was not made by `bayesalloc fit`: it carries no record")
    table = Table(tree.attrs["record_name"], text=tree.attrs["record"])
    try:
        return pose(model, table, mechanism=tree.attrs["mechanism"] or None)
    except InputError as error:
        raise InputError(f"{tree.attrs.get('file', 'the posterior')} belongs to another model: {error}") from None


def _keywords(problem: Problem) -> dict[str, Any]:
    """The model's keywords for inference: its data, and for an environment the mechanisms in force."""
    return problem.data if problem.environment is None else {"mechanism": problem.labels, **problem.data}


def _forward(problem: Problem) -> tuple[Model, dict[str, Any]]:
    """The model that draws the data anew, and the keywords that stay (covariates, mechanisms in force)."""
    if problem.environment is None:
        return unobserved(problem.model), problem.data
    model = problem.model

    def forward(mechanism: Any) -> None:
        model(mechanism=mechanism)

    return forward, {"mechanism": problem.labels}


def trace_of(problem: Problem) -> dict[str, Any]:
    """One trace of the model given the record: its sites, their values and which of them are observed."""
    return handlers.trace(seed_by_name(problem.model, jax.random.key(0))).get_trace(**_keywords(problem))


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


def _outcomes(problem: Problem) -> list[str]:
    return [] if problem.environment is None else list(problem.environment.outcomes)


def _with_gaps(name: str, value: Any, problem: Problem) -> Any:
    """Observed values with NaN where the record had none (the model saw a masked filling there)."""
    given = problem.data.get(name.removesuffix("_observed"))
    return (
        value
        if given is None or problem.environment is None
        else np.where(np.isnan(np.asarray(given, float)), np.nan, value)
    )


def _dimensions(problem: Problem, trace: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[dict, dict]:
    """Named dimensions of every variable: the year for sites inside the scan, the environment's own where they fit."""
    env = problem.environment
    coords: dict[str, Any] = {} if env is None else {name: list(labels) for name, labels in env.coords.items()}
    if problem.years:
        coords["year"] = problem.years
    dims = {}
    for name, value in values.items():
        shape = value.shape[2:]
        site = trace.get(name, {})
        yearly = bool(site.get("_control_flow_done")) or name in _outcomes(problem) or name.endswith("_observed")
        named = []
        for place, size in enumerate(shape):
            fitting = [dim for dim, labels in coords.items() if dim != "year" and len(labels) == size]
            if place == 0 and yearly and size == len(problem.years):
                named.append("year")
            else:
                named.append(fitting[0] if len(fitting) == 1 else f"{name}_dim_{place}")
        dims[name] = named
    return dims, coords


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
    checks = {name: _predictive_check(tree, name) for name, v in recorded.items() if np.isfinite(v.values).any()}
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


def _predictive_check(tree: xr.DataTree, name: str) -> dict[str, float]:
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
