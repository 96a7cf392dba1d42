"""What an intervention changes: arms simulated on common random numbers, and their paired contrasts.

Values have axes (draw, future, arm, ...): a draw is one set of parameters, a future one course of chance under them.
The average effect given the parameters is the mean over futures; its spread over draws is what more data could reduce.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from bayesalloc import defaults, limits
from bayesalloc.checking import checked
from bayesalloc.effects import decisions, environments, plain
from bayesalloc.effects.arms import REPLICATES, Arm, Simulated
from bayesalloc.effects.contrasts import Contrast, Description, contrast, describe, expected
from bayesalloc.environment import Environment, Outcome
from bayesalloc.errors import InputError, listed
from bayesalloc.following import Model
from bayesalloc.inference.draws import cautions
from bayesalloc.inference.given import Record
from bayesalloc.inference.names import escaped, unescaped
from bayesalloc.inference.posing import pose, restore
from bayesalloc.library import is_path
from bayesalloc.mechanism import Mechanism
from bayesalloc.stepping import Deciding, Hosted

PER_DRAW = 10_000  # elements of an outcome up to which its effects are kept for every draw
CONSTANT = 1e-5  # of the size of its elements: a sum that varies less is the same in all draws and arms


def compare(
    model: Environment | Model,
    arms: Sequence[str | Mechanism] | Mapping[str, Arm | Mapping[str, Any]] | None,
    rng_key: Array,
    *,
    draws: int | None = None,
    horizon: int = defaults.HORIZON,
    baseline: str | None = None,
    posterior: xr.DataTree | None = None,
    data: Record = None,
    keywords: Mapping[str, Any] | None = None,
    interval: float = defaults.INTERVAL,
    minimum: float = 0.0,
    futures: int | None = None,
) -> xr.DataTree:
    """Interventional effects of arms on a model's outcomes, paired draw by draw.

    Args:
        model: an environment, or a plain NumPyro model function.
        arms: names or paths of actions, or loaded mechanisms; or name -> Arm, or for short name -> {site: value}, where
            for an environment `mechanism` may be a name or path; None: the environment's own arms.
        rng_key: a key; two calls with the same key are paired too.
        draws: parameter draws, from the prior or the posterior; default: 500, or 24 where a policy decides in Python.
        horizon: periods to simulate (environments).
        baseline: the control arm; default: the environment's, or the first.
        posterior: a tree from `fit`; None: effects under the prior.
        data: the data of a plain model: its keywords in a mapping, or a record (see `fit`); beside a posterior, instead
            of those that it carries.
        keywords: further keywords of a plain model, where `data` is a record.
        interval: probability of the equal-tailed intervals.
        minimum: the smallest effect that matters, for `prob_exceeds`.
        futures: courses of chance per draw; default: as many as 16,000 replicates allow, from 8 to 32, and fewer where
            an outcome has many elements; one where a policy decides in Python.

    Returns:
        A DataTree with groups `outcomes` (by period), `values`, `arms` and `effects` (which keep the outcomes' shapes),
        `arm_means` and `effect_means` (means over the elements of outcomes that have some; the attribute `over` says
        over what; none where elements sum to a constant), `posterior` (the average effect in each draw, as ArviZ reads
        it), `agents` (where the environment has private payoffs) and `decision`. The attributes say how it was made,
        and for a plain model which sites were `held` and which `drawn`. Names are written as `inference.names` says.

    Raises:
        InputError: for arms, counts or probabilities that cannot be used.
        InterventionError: see `bayesalloc.do`.
    """
    limits.probability("interval", interval)
    limits.counted(draws=draws, horizon=horizon, futures=futures)
    model = checked(model) if isinstance(model, Environment) else model
    named_again = [] if isinstance(arms, Mapping) else [*filter(is_path, arms or ())]
    problem = None if posterior is None else restore(model, posterior, data, keywords=keywords, mechanisms=named_again)
    given: Mapping[str, Any] = {}
    if isinstance(model, Environment):
        env = model if problem is None or problem.environment is None else problem.environment
        if not env.outcomes:
            raise InputError(f"{env.name} has no outcomes: there is nothing that a comparison could be about")
        named = _arms(env, arms)
        _comparable(named, baseline)
        slow = any(_hosted(arm) for arm in named.values())
        draws = draws or (defaults.HOSTED_DRAWS if slow else defaults.COMPARED_DRAWS)
        futures = futures or (1 if slow else int(np.clip(REPLICATES // draws, 8, 32)))
        simulated = environments.simulate(env, named, rng_key, draws, futures, horizon, posterior)
        outcomes, coords, name = env.outcomes, env.coords, env.name
        default = env.baseline if env.baseline in named else next(iter(named))
    else:
        if not isinstance(arms, Mapping):
            raise InputError(
                "a plain model is compared under interventions on its sites: give the sites and values of each arm"
            )
        named = {name: arm if isinstance(arm, Arm) else Arm(sites=arm) for name, arm in arms.items()}
        _comparable(named, baseline)
        given = _given(model, data, keywords) if problem is None else problem.data
        draws = draws or defaults.COMPARED_DRAWS
        simulated = plain.simulate(model, named, rng_key, draws, futures, given, posterior)
        outcomes, coords = {name: Outcome("", "", dims) for name, dims in simulated.dims.items()}, {}
        futures = next(iter([*simulated.means.values(), *simulated.values.values()])).shape[1]
        name, default = getattr(model, "__name__", "model"), next(iter(named))
        env = None
    control = baseline or default
    with np.errstate(all="ignore"):  # what is not finite is said below
        period = "" if env is None else env.period
        tree = _tabulate(simulated, [*named], control, outcomes, coords, interval, minimum, period)
    if env is not None and simulated.refusal is not None:
        tree["agents"] = decisions.agents(simulated, env, list(named))
    tree["decision"] = decisions.decision(simulated.values, outcomes, coords, list(named))
    warnings = [*([] if posterior is None else cautions(posterior)), *simulated.warnings, *_infinite(tree)]
    tree.attrs = {
        "model": name,
        "kind": "interventional",
        "basis": "prior" if posterior is None else "posterior",
        "recorded": int(posterior is not None or (env is None and bool(given))),
        "draws": draws,
        "futures": futures,
        "horizon": 0 if env is None else horizon,
        **({} if env is None else {"period": env.period}),
        "interval": interval,
        "minimum": minimum,
        "control": control,
        "payoff": env.payoff if env is not None else "",
        "warnings": json.dumps(warnings),
        "held": json.dumps(simulated.held),
        "drawn": json.dumps(simulated.drawn),
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


def _given(model: Model, data: Record, keywords: Mapping[str, Any] | None) -> dict[str, Any]:
    """The keywords of a plain model where there is no posterior: those of a mapping as they are."""
    if data is None or isinstance(data, Mapping):
        return {**(data or {}), **(keywords or {})}
    return pose(model, data, data=keywords).data


def _comparable(named: Mapping[str, Arm], baseline: str | None) -> None:
    """Refuse arms that cannot be compared, before any of them is simulated."""
    if len(named) < 2:
        raise InputError(f"there is one arm, '{listed(named)}'; a comparison needs at least two")
    if baseline and baseline not in named:
        raise InputError(f"the baseline '{baseline}' is not among the arms {listed(named)}")


def _hosted(arm: Arm) -> bool:
    """Whether an arm is decided in Python, which takes long."""
    return isinstance(arm.action, Deciding) and isinstance(arm.action.policy, Hosted)


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
    simulated: Simulated,
    arms: list[str],
    control: str,
    outcomes: Mapping[str, Outcome],
    coords: Mapping[str, Sequence[str]],
    interval: float,
    minimum: float,
    period: str,
) -> xr.DataTree:
    """The groups of `compare` that hold outcomes and effects."""
    k = arms.index(control)
    others = [i for i in range(len(arms)) if i != k]
    labels: dict[str, Any] = {dim: list(names) for dim, names in coords.items()}
    groups: dict[str, dict[str, Any]] = {name: {} for name in ("outcomes", "values", *_STATISTICS, "posterior")}

    def statistics(
        arm_group: str, effect_group: str, name: str, value: np.ndarray, dims: Sequence[str], size: Any = None
    ) -> None:
        treated, against = value[:, :, others], value[:, :, [k]]
        groups[arm_group][name] = (("statistic", "arm", *dims), np.stack(describe(value, interval)))
        effect = contrast(treated, against, interval, minimum, size)
        groups[effect_group][name] = (("statistic", "treatment", *dims), np.stack(effect))
        if np.prod(value.shape[3:]) <= PER_DRAW:
            per_draw = expected(treated - against)[None]
            groups["posterior"].setdefault(name, (("chain", "draw", "treatment", *dims), per_draw))

    for outcome, known in outcomes.items():
        name, dims, value = escaped(outcome), [escaped(dim) for dim in known.dims], simulated.values.get(outcome)
        mean = simulated.means.get(outcome)
        if value is not None:
            mean = value.mean(tuple(range(3, value.ndim))) if mean is None and dims else mean
            groups["values"][name] = (("draw", "future", "arm", *dims), value)
            statistics("arms", "effects", name, value, dims)
            if mean is not None and _sums_to_a_constant(value):
                mean = None
        if mean is not None:
            size = None if value is None else np.abs(value[:, :, k]).mean()
            statistics("arm_means", "effect_means", name, mean, (), size)
        if outcome in simulated.by_period:
            groups["outcomes"][name] = (("draw", "arm", period, *dims), simulated.by_period[outcome])
    axes = {
        "outcomes": {"arm": arms},
        "values": {"arm": arms},
        **{
            group: {axis: [arms[i] for i in (range(len(arms)) if axis == "arm" else others)], "statistic": list(names)}
            for group, (axis, names) in _STATISTICS.items()
        },
        "posterior": {"treatment": [arms[i] for i in others]},
    }
    tree = xr.DataTree()
    for group, content in groups.items():
        if content or group in ("values", "arms", "effects"):
            used = {dim for dims, _ in content.values() for dim in dims}
            sizes = {dim: n for dims, value in content.values() for dim, n in zip(dims, value.shape, strict=True)}
            counted = {dim: np.arange(sizes[dim]) for dim in sorted(used - {"draw", "future", *axes[group], *labels})}
            if group == "outcomes":
                counted[period] = counted[period] + 1
            there = {dim: names for dim, names in labels.items() if dim in used}
            tree[group] = xr.Dataset(content, {**axes[group], **there, **counted})
    for group in ("arm_means", "effect_means"):
        for name in tree[group].data_vars if group in tree.children else ():
            outcome = unescaped(str(name))
            over = zip(simulated.sizes(outcome), outcomes[outcome].dims, strict=True)
            shown = (f"{size} {'elements' if dim.startswith(f'{outcome}_dim_') else dim}" for size, dim in over)
            tree[group][str(name)].attrs["over"] = f"mean over {' x '.join(shown)}"
    return tree


def _infinite(tree: xr.DataTree) -> list[str]:
    """Sentences on outcomes that are not finite somewhere."""
    found = []
    for name, values in tree["values"].data_vars.items():
        bad = np.isfinite(values) == 0
        arms = [str(arm) for arm in values["arm"].values if bad.sel(arm=arm).any()]
        if arms:
            share = 100 * float(bad.mean())
            found.append(
                f"'{unescaped(str(name))}' is not a finite number (or beyond 32-bit whole numbers) in {share:.3g} %"
                f" of what was simulated (under {listed(arms)}): it has no effect to speak of"
            )
    return found


_STATISTICS = {
    "arms": ("arm", Description._fields),
    "arm_means": ("arm", Description._fields),
    "effects": ("treatment", Contrast._fields),
    "effect_means": ("treatment", Contrast._fields),
}


def _sums_to_a_constant(value: Float[np.ndarray, "draw future arm ..."]) -> bool:
    """Whether the elements always have the same sum, as shares have, and yet vary."""
    flat = value.reshape(-1, *value.shape[3:]).reshape(-1, int(np.prod(value.shape[3:])))
    if flat.shape[1] < 2 or not np.ptp(flat, axis=0).any():
        return False
    return bool(np.ptp(flat.sum(1, dtype=float)) <= CONSTANT * np.abs(flat).sum(1, dtype=float).mean())
