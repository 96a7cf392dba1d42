"""What would have happened in the recorded periods: the record's own noise, replayed under another intervention."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr
from numpyro import handlers

from bayesalloc import defaults, limits
from bayesalloc.effects.contrasts import Difference, difference
from bayesalloc.effects.environments import posterior_params, prior_sites
from bayesalloc.environment import Environment, alike, stack
from bayesalloc.errors import InputError, listed
from bayesalloc.following import Model, seed_by_name
from bayesalloc.inference.draws import cautions, thinned
from bayesalloc.inference.posing import restore, trace_of
from bayesalloc.intervene import Setting, in_words
from bayesalloc.mechanism import Mechanism
from bayesalloc.simulate import rollout, schedule


def counterfactual(
    model: Environment | Model,
    posterior: xr.DataTree,
    arm: str | Mapping[str, Setting],
    *,
    mechanisms: Iterable[str | Path | Mechanism] = (),
    from_year: int | None = None,
    draws: int = defaults.COMPARED_DRAWS,
    interval: float = defaults.INTERVAL,
) -> xr.DataTree:
    """What would have happened in the recorded periods, had an intervention been made from one of them on.

    The noise of the record is abducted: each posterior draw's own noise sites are replayed under the intervention
    (Pearl 2009, section 7.1: abduction, action, prediction).

    Args:
        model: the environment that was fitted.
        posterior: a tree from `fit`.
        arm: the name or path of an action, or {site: value}.
        mechanisms: the Python mechanisms that were in force, whose code a posterior does not carry.
        from_year: the first period (a year, a round) of the intervention; None: the first recorded.
        draws: posterior draws to use.
        interval: probability of the equal-tailed intervals.

    Returns:
        A DataTree: `outcomes` with arms 'factual' and 'counterfactual' per draw and period, `effects` per period with
        statistics mean, low, high, prob_positive, and `record`, the observed data.

    Raises:
        InputError: where the model cannot be replayed, or for a period outside the record.
    """
    if not isinstance(model, Environment):
        raise InputError(
            "a counterfactual needs an environment, whose noise is written apart from what the intervention changes;"
            " a plain model can be compared under interventions (`compare`)"
        )
    limits.counted(draws=draws)
    limits.probability("interval", interval)
    problem = restore(model, posterior, mechanisms=mechanisms)
    env, periods = problem.environment, problem.periods
    assert env is not None
    first = periods[0] if from_year is None else from_year
    if first not in periods:
        raise InputError(f"the first {env.period} is {first}; the record runs from {periods[0]} to {periods[-1]}")
    start = periods.index(first)
    scanned: dict[str, bool] = {}  # the yearly noise, and whether it is observed

    def look() -> None:
        for name, site in trace_of(problem).items():
            if site["type"] == "sample" and site.get("_control_flow_done"):
                scanned[name] = site["is_observed"]

    jax.eval_shape(look)  # nothing is computed
    seen = [name for name, observed in scanned.items() if observed]
    if seen:
        raise InputError(f"{env.name} cannot be replayed: its noise '{listed(seen)}' is observed only through the data")
    samples = thinned(posterior, draws)
    params = posterior_params(env, posterior, draws)
    noise = {name: samples[name] for name in scanned}
    initial = handlers.trace(lambda: seed_by_name(env.initial, jax.random.key(0))(jax.tree.map(lambda x: x[0], params)))
    drawn = [name for name, site in initial.get_trace().items() if site["type"] == "sample"]
    constants = set(prior_sites(env)) & set(() if isinstance(arm, str) else arm)
    if drawn or constants:
        raise InputError(
            f"{env.name} cannot be replayed with '{listed([*drawn, *constants])}': it is not noise of a {env.period}"
        )
    recorded = [problem.arms[name] for name in problem.arms]
    new = [] if isinstance(arm, Mapping) else list(env.arms([arm]).values())
    stacked = stack(alike(env, [*recorded, *new]))
    factual = np.broadcast_to(problem.labels, (len(periods), *problem.labels.shape[1:]))
    changed = factual.copy()
    if new:
        changed[start:] = len(recorded)
    options = {"replicates": draws, "horizon": len(periods), "params": params, "sites": noise}
    key = jax.random.key(0)  # nothing is left to chance

    def under(index: np.ndarray, **intervention: Any) -> Any:
        plan = jax.tree.map(lambda leaf: leaf[index][None], stacked)
        return rollout(env, schedule, key, arms=plan, **options, **intervention)

    before = under(factual)
    after = under(changed) if isinstance(arm, str) else under(factual, interventions=dict(arm), start=start)
    outcomes, effects = {}, {}
    for name, outcome in env.outcomes.items():
        both = np.concatenate([np.asarray(getattr(before, name)), np.asarray(getattr(after, name))], axis=1)
        outcomes[name] = (("draw", "arm", env.period, *outcome.dims), both)
        effect = np.stack(difference(both[:, 1] - both[:, 0], interval))
        effects[name] = (("statistic", env.period, *outcome.dims), effect)
    labels = {dim: list(names) for dim, names in env.coords.items()}
    tree = xr.DataTree()
    tree["outcomes"] = xr.Dataset(outcomes, {"arm": ["factual", "counterfactual"], env.period: periods, **labels})
    tree["effects"] = xr.Dataset(effects, {"statistic": [*Difference._fields], env.period: periods, **labels})
    tree["record"] = posterior["observed_data"].to_dataset()
    shown = arm if isinstance(arm, str) else json.dumps({k: in_words(v) for k, v in arm.items()})
    tree.attrs = {
        "model": env.name,
        "kind": "counterfactual",
        "basis": "posterior",
        "draws": draws,
        "interval": interval,
        "intervention": shown,
        "period": env.period,
        "from_year": first,
        "warnings": json.dumps(cautions(posterior)),
        "units": json.dumps({name: outcome._asdict() for name, outcome in env.outcomes.items()}),
    }
    return tree
