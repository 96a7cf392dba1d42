"""What an intervention changes: arms simulated on common random numbers, and their paired contrasts.

Values have axes (draw, future, arm, ...): a draw is one set of parameters, a future one course of chance under them.
The average effect given the parameters is the mean over futures; its spread over draws is what more data could reduce.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, ArrayLike, Float
from numpyro import handlers

from bayesalloc import decide, inference
from bayesalloc.environment import Environment, Outcome, stack
from bayesalloc.errors import InputError, listed
from bayesalloc.intervene import Model, do, seed_by_name, unobserved
from bayesalloc.simulate import hold, rollout

BUDGET = 16_000  # replicates per arm that parameter draws and their futures share
STATISTICS = ("mean", "sd", "low", "high", "mcse")


class Arm(NamedTuple):
    """What is done in one arm: an action of the environment (None for a plain model), and sites that are fixed."""

    action: Any = None
    sites: Mapping[str, ArrayLike] = {}


class Simulated(NamedTuple):
    """Outcomes of all arms.

    Attributes:
        values: outcome -> (draw, future, arm, ...), one number for the years of a replicate.
        years: outcome -> (draw, arm, year, ...) of each draw's first future; empty for a plain model.
        refusal: payoffs if nobody took part, (draw, future, arm, agent), or None.
        deviation: own payoff of each agent if it alone did not comply, (draw, future, arm, agent), or None.
    """

    values: dict[str, Any]
    years: dict[str, Any]
    refusal: Any = None
    deviation: Any = None


def compare(
    model: Environment | Model,
    arms: Sequence[str] | Mapping[str, Arm | Mapping[str, Any]] | None,
    rng_key: Array,
    *,
    draws: int = 500,
    horizon: int = 20,
    baseline: str | None = None,
    posterior: xr.DataTree | None = None,
    data: Mapping[str, Any] | None = None,
    interval: float = 0.89,
    minimum: float = 0.0,
    futures: int | None = None,
) -> xr.DataTree:
    """Interventional effects of arms on a model's outcomes, paired draw by draw.

    Args:
        model: an environment, or a plain NumPyro model function.
        arms: names or paths of actions; or name -> Arm, or for short name -> {site: value}, where for an environment
            `mechanism` may be a name or path; None: the environment's own arms.
        rng_key: a key; two calls with the same key are paired too.
        draws: parameter draws, from the prior or the posterior.
        horizon: years to simulate (environments).
        baseline: the control arm; default: the environment's, or the first.
        posterior: a tree from `fit`; None: effects under the prior.
        data: keywords of a plain model (covariates); default: those of the posterior's record.
        interval: probability of the equal-tailed intervals.
        minimum: the smallest effect that matters, for `prob_exceeds`.
        futures: courses of chance per draw; default: as many as 16,000 replicates allow, from 8 to 32.

    Returns:
        A DataTree with groups `outcomes` (per year), `values`, `arms`, `effects`, `agents` (where the environment has
        private payoffs) and `decision`; the attributes say how it was made.

    Raises:
        InputError: for arms, counts or probabilities that cannot be used.
        InterventionError: see `bayesalloc.do`.
    """
    if not 0 < interval < 1:
        raise InputError(f"interval is {interval:g}; it must be between 0 and 1")
    for name, count in {"draws": draws, "horizon": horizon}.items():
        if count < 2:
            raise InputError(f"{name} is {count}; it must be at least 2")
    futures = int(np.clip(BUDGET // draws, 8, 32)) if futures is None else futures
    problem = None if posterior is None else inference.restore(model, posterior)
    if isinstance(model, Environment):
        env = model if problem is None or problem.environment is None else problem.environment
        named = _arms(env, arms)
        simulated = _simulate(env, named, rng_key, draws, futures, horizon, posterior)
        outcomes, coords, name = env.outcomes, env.coords, env.name
        default = env.baseline if env.baseline in named else next(iter(named))
    else:
        if not isinstance(arms, Mapping):
            raise InputError("a plain model is compared under interventions on its sites: give --do SITE=VALUE")
        named = {name: arm if isinstance(arm, Arm) else Arm(sites=arm) for name, arm in arms.items()}
        given = problem.data if problem is not None else dict(data or {})
        simulated = _simulate_plain(model, named, rng_key, draws, futures, given, posterior)
        outcomes, coords = {name: Outcome("") for name in simulated.values}, {}
        name, default = getattr(model, "__name__", "model"), next(iter(named))
        env = None
    if len(named) < 2:
        raise InputError(f"there is one arm, '{listed(named)}'; a comparison needs at least two")
    control = baseline or default
    if control not in named:
        raise InputError(f"the baseline '{control}' is not among the arms {listed(named)}")
    tree = _tabulate(simulated, list(named), control, outcomes, coords, interval, minimum)
    if env is not None and simulated.refusal is not None:
        tree["agents"] = decide.agents(simulated, env, list(named))
    tree["decision"] = decide.decision(simulated.values, outcomes, coords, list(named))
    tree.attrs = {
        "model": name,
        "kind": "interventional",
        "basis": "prior" if posterior is None else "posterior",
        "draws": draws,
        "futures": futures,
        "horizon": horizon if isinstance(model, Environment) else 0,
        "interval": interval,
        "minimum": minimum,
        "control": control,
        "payoff": env.payoff if env is not None else "",
        "warnings": json.dumps([] if posterior is None else cautions(posterior)),
        "units": json.dumps({name: outcome._asdict() for name, outcome in outcomes.items()}),
    }
    return tree


def ate(model: Environment | Model, treatment: Any, control: Any, rng_key: Array, **options: Any) -> xr.Dataset:
    """The average effect of one arm against another on every outcome: the `effects` group of `compare`.

    Args:
        model: an environment, or a plain NumPyro model function.
        treatment: the name or path of an action, an `Arm`, or for short `{site: value}`.
        control: likewise.
        rng_key: a key.
        **options: as in `compare`.

    >>> import jax, numpyro, numpyro.distributions as dist
    >>> def model():
    ...     x = numpyro.sample("x", dist.Normal())
    ...     numpyro.sample("y", dist.Normal(2.0 * x, 1.0))
    >>> effects = ate(model, {"x": 1.0}, {"x": 0.0}, jax.random.key(0), draws=50)
    >>> round(float(effects["y"].sel(statistic="ate").item()), 4)
    2.0
    """
    arms = {
        role: {"mechanism": arm} if isinstance(arm, str) else arm
        for role, arm in (("control", control), ("treatment", treatment))
    }
    return compare(model, arms, rng_key, baseline="control", **options)["effects"].to_dataset()


def cautions(posterior: xr.DataTree) -> list[str]:
    """Sentences that a result based on this posterior must carry."""
    usable = posterior.attrs.get("usable", 1)
    return [] if usable else [f"the posterior is not usable as it stands: {posterior.attrs['why']}"]


def _arms(env: Environment, arms: Any) -> dict[str, Arm]:
    """Arms of an environment from any of the forms that `compare` takes."""
    if not isinstance(arms, Mapping):
        return {name: Arm(action) for name, action in env.arms(arms).items()}
    named = {}
    for name, arm in arms.items():
        if not isinstance(arm, Arm):
            sites = dict(arm)
            mechanism = sites.pop("mechanism", env.baseline or next(iter(env.arms(None))))
            arm = Arm(next(iter(env.arms([mechanism]).values())), sites)
        named[name] = arm
    return named


def posterior_params(
    env: Environment, posterior: xr.DataTree, draws: int, sites: Mapping[str, ArrayLike] | None = None
) -> Any:
    """The environment's parameters at `draws` evenly spaced posterior draws; a leading axis on every leaf.

    `sites` are interventions: those that the prior has are set to their values.
    """
    samples = thinned(posterior, draws)
    wanted = prior_sites(env)
    missing = [name for name in wanted if name not in samples]
    if missing:
        raise InputError(f"the posterior has no site '{listed(missing)}' of {env.name}: it belongs to another model")
    fixed = {name: value for name, value in (sites or {}).items() if name in wanted}
    prior = do(env.prior, fixed) if fixed else env.prior

    def one(sample: dict[str, Array]) -> Any:
        return seed_by_name(handlers.substitute(prior, data=sample), jax.random.key(0))()

    return jax.jit(jax.vmap(one))({name: samples[name] for name in wanted if name not in fixed})


def prior_sites(env: Environment) -> list[str]:
    """Names of the random sites of the environment's prior."""
    trace = handlers.trace(seed_by_name(env.prior, jax.random.key(0))).get_trace()
    return [name for name, site in trace.items() if site["type"] == "sample"]


def thinned(posterior: xr.DataTree, draws: int) -> dict[str, Array]:
    """Every site's values at `draws` evenly spaced posterior draws."""
    group = posterior["posterior"]
    flat = {str(name): v.values.reshape(-1, *v.shape[2:]) for name, v in group.data_vars.items()}
    total = len(next(iter(flat.values())))
    index = np.linspace(0, total - 1, draws).round().astype(int)
    return {name: jnp.asarray(values[index]) for name, values in flat.items()}


def _simulate(
    env: Environment,
    arms: Mapping[str, Arm],
    key: Array,
    draws: int,
    futures: int,
    horizon: int,
    posterior: xr.DataTree | None,
) -> Simulated:
    """All arms of an environment; arms that fix the same sites run together."""
    groups: dict[str, list[str]] = {}
    for name, arm in arms.items():
        label = repr({site: np.asarray(value).tolist() for site, value in sorted(arm.sites.items())})
        groups.setdefault(label, []).append(name)
    fallback = env.arms([env.baseline])[env.baseline] if env.baseline else next(iter(env.arms(None).values()))
    n_agents = len(env.coords.get("agent", ())) if env.payoff else 0
    parts = []
    for names in groups.values():
        actions = [fallback if arms[name].action is None else arms[name].action for name in names]
        n, extra = len(actions), []
        if env.refusal and env.deviate is not None and n_agents:
            deviations = [env.deviate(action, agent) for action in actions for agent in range(n_agents)]
            extra = [*env.arms([env.refusal]).values(), *deviations]
        together = alike([*actions, *extra])
        sites = dict(arms[names[0]].sites)
        params = None if posterior is None else posterior_params(env, posterior, draws, sites)
        if posterior is not None:
            sites = {site: value for site, value in sites.items() if site not in prior_sites(env)}

        def collect(years: Any, n: int = n, extra: list[Any] = extra) -> dict[str, Any]:
            main = {name: getattr(years, name)[:n] for name in env.outcomes}
            values = {
                name: field[:, -1] if env.outcomes[name].at == "horizon" else field.mean(1)
                for name, field in main.items()
            }
            result = {"years": main, "values": values}
            if extra:
                payoff = getattr(years, env.payoff)[n:].mean(1)
                own = payoff[1:].reshape(n, n_agents, n_agents)
                result |= {
                    "refusal": jnp.broadcast_to(payoff[0], (n, n_agents)),
                    "deviation": jnp.diagonal(own, axis1=1, axis2=2),
                }
            return result

        part = rollout(
            env, hold, key, arms=stack(together), replicates=draws * futures, futures=futures, horizon=horizon,
            params=params, interventions=sites, collect=collect,
        )  # fmt: skip
        parts.append(jax.tree.map(np.asarray, part))
    order = [name for names in groups.values() for name in names]
    place = [order.index(name) for name in arms]

    def joined(*keys: str) -> Any:
        arrays = parts
        for part_key in keys:
            arrays = [array[part_key] for array in arrays]
        whole = np.concatenate(arrays, axis=1)[:, place]
        return whole.reshape(draws, futures, *whole.shape[1:])

    values = {name: joined("values", name) for name in env.outcomes}
    years = {name: joined("years", name)[:, 0] for name in env.outcomes}
    if "refusal" not in parts[0]:
        return Simulated(values, years)
    return Simulated(values, years, joined("refusal"), joined("deviation"))


def alike(actions: Sequence[Any]) -> list[Any]:
    """Actions of one structure: mechanisms with different rules share one tuple of them."""
    from bayesalloc.mechanism import Terms, unify

    return unify(actions) if all(isinstance(action, Terms) for action in actions) else list(actions)


def _simulate_plain(
    model: Model, arms: Mapping[str, Arm], key: Array, draws: int, futures: int, data: Mapping[str, Any],
    posterior: xr.DataTree | None,
) -> Simulated:  # fmt: skip
    """All arms of a plain model.

    Sites that differ between arms are what responds. A parameter is a random site that does not respond, stands outside
    every scan and, under a posterior, is in it; parameters are shared by the futures of a draw.
    """
    forward = unobserved(model)
    models = {name: do(forward, arm.sites) for name, arm in arms.items()}

    def run(name: str, rng_key: Array, params: Mapping[str, Array]) -> dict[str, Any]:
        return handlers.trace(handlers.substitute(seed_by_name(models[name], rng_key), data=params)).get_trace(**data)

    def recorded(trace: Mapping[str, Any]) -> dict[str, Array]:
        kept = {k: s["value"] for k, s in trace.items() if s["type"] in ("sample", "deterministic")}
        return {name: value for name, value in kept.items() if jnp.issubdtype(jnp.asarray(value).dtype, jnp.number)}

    first, *others = arms

    def probe(name: str, rng_key: Array) -> dict[str, Any]:
        """Every site's value and, so that a discrete site cannot hide it, its distribution's parameters."""
        trace = run(name, rng_key, {})
        laws = {k: jax.tree.leaves(s["fn"]) for k, s in trace.items() if s["type"] == "sample"}
        return {site: [value, *laws.get(site, [])] for site, value in recorded(trace).items()}

    def differ(a: list[Array], b: list[Array]) -> bool:
        return len(a) != len(b) or not all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))

    probes = jax.random.split(key, 32)
    probed = {name: jax.vmap(lambda k, name=name: probe(name, k))(probes) for name in arms}
    fixed = {site for arm in arms.values() for site in arm.sites}
    responding = [
        site for site in probed[first]
        if site not in fixed
        and any(site in probed[o] and differ(probed[o][site], probed[first][site]) for o in others)
    ]  # fmt: skip
    if len(arms) > 1 and not responding:
        raise InputError(f"nothing responds to the intervention on '{listed(fixed)}': it has no effect on any site")
    trace = run(first, key, {})
    outside = [k for k, s in trace.items() if s["type"] == "sample" and not s.get("_control_flow_done")]
    sampled = {} if posterior is None else thinned(posterior, draws)
    if posterior is not None:
        conditioned = handlers.trace(seed_by_name(model, key)).get_trace(**data)
        observed = {name for name, site in conditioned.items() if site.get("is_observed")}
        missing = set(outside) - set(sampled) - observed - set(responding) - fixed
        if missing:
            raise InputError(f"the posterior has no site '{listed(missing)}': it belongs to another model")
    parameters = [
        site for site in outside
        if site not in responding and site not in fixed and (posterior is None or site in sampled)
    ]  # fmt: skip

    def one(draw: Array, sample: Mapping[str, Array]) -> dict[str, Array]:
        draw_key = jax.random.fold_in(key, draw)
        if posterior is None:
            natural = recorded(run(first, jax.random.fold_in(draw_key, 0), {}))
            sample = {site: natural[site] for site in parameters}

        def future(index: Array) -> dict[str, Array]:
            rng_key = jax.random.fold_in(draw_key, 1 + index)
            found = {name: recorded(run(name, rng_key, sample)) for name in arms}
            return {
                site: jnp.stack([jnp.mean(jnp.asarray(found[name][site], float)) for name in arms])
                for site in responding
            }

        return jax.vmap(future)(jnp.arange(futures))

    samples = {site: sampled[site] for site in parameters} if posterior is not None else {}
    values = jax.jit(lambda d, s: jax.lax.map(lambda x: one(*x), (d, s), batch_size=64))(jnp.arange(draws), samples)
    return Simulated({name: np.asarray(value) for name, value in values.items()}, {})


def _tabulate(
    simulated: Simulated, arms: list[str], control: str, outcomes: Mapping[str, Outcome],
    coords: Mapping[str, Sequence[str]], interval: float, minimum: float,
) -> xr.DataTree:  # fmt: skip
    """The groups `outcomes`, `values`, `arms` and `effects`."""
    k = arms.index(control)
    treatments = [arm for arm in arms if arm != control]
    labels = {dim: list(names) for dim, names in coords.items()}
    per_year, values, of_arms, effects = {}, {}, {}, {}
    for name, value in simulated.values.items():
        dims = outcomes[name].dims
        if name in simulated.years:
            per_year[name] = (("draw", "arm", "year", *dims), simulated.years[name])
        values[name] = (("draw", "future", "arm", *dims), value)
        of_arms[name] = (("statistic", "arm", *dims), describe(value, interval))
        others = [i for i in range(len(arms)) if i != k]
        effects[name] = (
            ("statistic", "treatment", *dims),
            contrast(value[:, :, others], value[:, :, [k]], interval, minimum),
        )
    statistics = {"arm": arms, "statistic": list(STATISTICS), **labels}
    tree = xr.DataTree()
    if per_year:
        n_years = next(iter(simulated.years.values())).shape[2]
        tree["outcomes"] = xr.Dataset(per_year, {"arm": arms, "year": np.arange(1, n_years + 1), **labels})
    tree["values"] = xr.Dataset(values, {"arm": arms, **labels})
    tree["arms"] = xr.Dataset(of_arms, statistics)
    tree["effects"] = xr.Dataset(effects, {"treatment": treatments, "statistic": list(EFFECT_STATISTICS), **labels})
    return tree


def describe(values: Float[np.ndarray, "draw future ..."], interval: float) -> np.ndarray:
    """STATISTICS of one outcome over draws and futures together, on a new leading axis; mcse clusters by draw."""
    tail = (1 - interval) / 2
    low, high = np.quantile(values, [tail, 1 - tail], axis=(0, 1))
    mcse = values.mean(1).std(0, ddof=1) / np.sqrt(len(values))
    return np.stack([values.mean((0, 1)), values.std((0, 1)), low, high, mcse])


EFFECT_STATISTICS = (
    "ate", "low", "high", "mcse", "relative", "prob_positive", "prob_exceeds", "one_low", "one_high",
    "var_parameter", "var_process", "var_monte_carlo",
)  # fmt: skip


def contrast(
    treated: Float[np.ndarray, "draw future ..."], control: Float[np.ndarray, "draw future ..."],
    interval: float, minimum: float = 0.0,
) -> np.ndarray:  # fmt: skip
    """EFFECT_STATISTICS of a paired contrast, on a new leading axis.

    `ate` averages draws and futures; `low` and `high` bound the average effect given the parameters, `one_low` and
    `one_high` the effect in one single future. The variance of a single future's effect is split by analysis of
    variance into `var_parameter` (between draws) and `var_process` (between futures of a draw); `var_monte_carlo` is
    the variance of `ate` itself. `prob_exceeds` is the probability that the average effect is larger in size than
    `minimum`.
    """
    effect = treated - control
    n_draws, n_futures = effect.shape[:2]
    given = decide.expected(effect)
    tail = (1 - interval) / 2
    low, high = np.quantile(given, [tail, 1 - tail], axis=0)
    one_low, one_high = np.quantile(effect, [tail, 1 - tail], axis=(0, 1))
    between = effect.mean(1).var(0, ddof=1)
    process = effect.var(1, ddof=1).mean(0) if n_futures > 1 else np.full_like(between, np.nan)
    parameter = np.maximum(between - process / n_futures, 0.0)
    mean, base = effect.mean((0, 1)), control.mean((0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(np.abs(base) > 1e-12, mean / np.abs(base), np.nan)
    positive = (given > 0).mean(0) + 0.5 * (given == 0).mean(0)
    exceeds = (np.abs(given) > minimum).mean(0)
    return np.stack([
        mean, low, high, np.sqrt(between / n_draws), relative, positive, exceeds, one_low, one_high,
        parameter, process, between / n_draws,
    ])  # fmt: skip
