"""What an intervention changes: arms simulated on common random numbers, and their paired contrasts.

Values have axes (draw, future, arm, ...): a draw is one set of parameters, a future one course of chance under them.
The average effect given the parameters is the mean over futures; its spread over draws is what more data could reduce.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Array

from bayesalloc import limits
from bayesalloc.effects import decisions, environments, plain
from bayesalloc.effects.arms import Arm, Simulated
from bayesalloc.effects.contrasts import EFFECT_STATISTICS, STATISTICS, contrast, describe
from bayesalloc.environment import Environment, Outcome
from bayesalloc.errors import InputError, listed
from bayesalloc.inference.draws import cautions
from bayesalloc.inference.posing import restore
from bayesalloc.intervene import Model
from bayesalloc.library import is_path

BUDGET = 16_000  # replicates per arm that parameter draws and their futures share


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
    limits.probability("interval", interval)
    limits.counted(draws=draws, horizon=horizon, futures=futures)
    futures = int(np.clip(BUDGET // draws, 8, 32)) if futures is None else futures
    named_again = () if isinstance(arms, Mapping) else filter(is_path, arms or ())
    problem = None if posterior is None else restore(model, posterior, named_again)
    if isinstance(model, Environment):
        env = model if problem is None or problem.environment is None else problem.environment
        named = _arms(env, arms)
        simulated = environments.simulate(env, named, rng_key, draws, futures, horizon, posterior)
        outcomes, coords, name = env.outcomes, env.coords, env.name
        default = env.baseline if env.baseline in named else next(iter(named))
    else:
        if not isinstance(arms, Mapping):
            raise InputError("a plain model is compared under interventions on its sites: give --do SITE=VALUE")
        named = {name: arm if isinstance(arm, Arm) else Arm(sites=arm) for name, arm in arms.items()}
        given = problem.data if problem is not None else dict(data or {})
        simulated = plain.simulate(model, named, rng_key, draws, futures, given, posterior)
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
        tree["agents"] = decisions.agents(simulated, env, list(named))
    tree["decision"] = decisions.decision(simulated.values, outcomes, coords, list(named))
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
