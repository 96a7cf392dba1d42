"""Arms of an environment, simulated on common random numbers."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array
from numpyro import handlers

from bayesalloc.effects.arms import Arm, Simulated
from bayesalloc.environment import Environment, alike, stack
from bayesalloc.errors import InputError, listed
from bayesalloc.following import seed_by_name
from bayesalloc.inference.draws import thinned
from bayesalloc.intervene import Intervention, Setting, in_words, numbers
from bayesalloc.programs import once
from bayesalloc.simulate import hold, rollout
from bayesalloc.stepping import Deciding, Hosted, played


def simulate(
    env: Environment,
    arms: Mapping[str, Arm],
    key: Array,
    draws: int,
    futures: int,
    horizon: int,
    posterior: xr.DataTree | None,
) -> Simulated:
    """All arms of an environment; arms that fix the same sites, under one policy, run together."""
    fallback = env.arms([env.baseline])[env.baseline] if env.baseline else next(iter(env.arms(None).values()))
    collect = functools.cache(lambda n: functools.partial(_collected, env, n))
    parts = []
    chosen = {name: fallback if arm.action is None else arm.action for name, arm in arms.items()}
    groups: dict[tuple[str, int], list[str]] = {}
    for name, arm in arms.items():  # all of them are checked before any is simulated
        deciding = chosen[name] if isinstance(chosen[name], Deciding) else None
        if deciding is not None and isinstance(deciding.policy, Hosted) and arm.sites:
            raise InputError(f"'{name}' decides between periods, which run one by one: no site can be set under it")
        if deciding is None and env.check is not None:
            env.check(chosen[name], arm.sites)
        label = repr({site: in_words(value) for site, value in sorted(arm.sites.items())})
        groups.setdefault((label, id(deciding and deciding.policy)), []).append(name)
    plain = not any(isinstance(action, Deciding) for action in chosen.values())
    for names in groups.values():
        actions, policy = [chosen[name] for name in names], hold
        if isinstance(actions[0], Deciding):
            policy, actions = actions[0].policy, [action.given for action in actions]
        n, extra = len(actions), incentive_arms(env, actions) if plain else []
        together = [*actions, *extra] if policy is not hold else alike(env, [*actions, *extra])
        sites = dict(arms[names[0]].sites)
        params = None if posterior is None else posterior_params(env, posterior, draws, sites)
        if posterior is not None:
            sites = {site: value for site, value in sites.items() if site not in prior_sites(env)}
        if isinstance(policy, Hosted):
            size = {"replicates": draws * futures, "futures": futures, "horizon": horizon}
            parts.append(_hosted(env, policy, key, params, n, **size))
            continue
        part = rollout(
            env,
            policy,
            key,
            arms=stack(together),
            replicates=draws * futures,
            futures=futures,
            horizon=horizon,
            params=params,
            interventions=sites,
            collect=collect(n),
        )
        parts.append(jax.tree.map(np.asarray, part))
    order = [name for names in groups.values() for name in names]
    place = [order.index(name) for name in arms]

    def joined(*keys: str, every: int = 1) -> Any:
        """One result of all arms in their order, in every, or every so many-th, replicate."""
        arrays: list[Any] = parts
        for part_key in keys:
            arrays = [array[part_key] for array in arrays]
        whole = np.concatenate([array[::every] for array in arrays], axis=1)[:, place]
        return whole.reshape(draws, -1, *whole.shape[1:])

    values = {name: joined("values", name) for name in env.outcomes}
    by_period = {name: joined("periods", name, every=futures)[:, 0] for name in env.outcomes}  # of the first futures
    if "refusal" not in parts[0]:
        return Simulated(values, by_period)
    return Simulated(values, by_period, joined("refusal"), joined("deviation"))


def _hosted(env: Environment, policy: Hosted, key: Array, params: Any, n: int, **size: int) -> dict[str, Any]:
    """What `_collected` keeps, of a hosted policy; arms that share it are one and the same."""

    def kept(outcomes: Any) -> dict[str, Array]:
        return {name: getattr(outcomes, name) for name in env.outcomes}

    periods = played(env, policy, key, params=params, collect=kept, **size)
    periods = {name: np.stack([values] * n, 1) for name, values in periods.items()}  # (replicate, arm, period, ...)
    values = {
        name: of_all[:, :, -1] if env.outcomes[name].at == "horizon" else of_all.mean(2)
        for name, of_all in periods.items()
    }
    return {"periods": periods, "values": values}


def incentive_arms(env: Environment, actions: Sequence[Any]) -> list[Any]:
    """No agreement, and every action with each agent deviating in turn; none where agents have no payoffs."""
    if not (env.refusal and env.deviate is not None and env.payoff):
        return []
    deviations = [env.deviate(action, agent) for action in actions for agent in range(len(env.coords["agent"]))]
    return [*env.arms([env.refusal]).values(), *deviations]


def summed_up(env: Environment, n: int, periods: Any) -> dict[str, Any]:
    """One replicate's outcomes in `n` arms as numbers, and what refusing and deviating from each would bring.

    Args:
        env: the environment.
        n: how many arms there are before those of `incentive_arms`.
        periods: the outcomes, leading axes arm and period.
    """
    values = {
        name: field[:, -1] if env.outcomes[name].at == "horizon" else field.mean(1)
        for name, field in ((name, getattr(periods, name)[:n]) for name in env.outcomes)
    }
    result: dict[str, Any] = {"values": values}
    if env.payoff and len(getattr(periods, env.payoff)) > n:
        payoff = getattr(periods, env.payoff)[n:].mean(1)
        n_agents = payoff.shape[-1]
        own = payoff[1:].reshape(n, n_agents, n_agents)
        result |= {
            "refusal": jnp.broadcast_to(payoff[0], (n, n_agents)),
            "deviation": jnp.diagonal(own, axis1=1, axis2=2),
        }
    return result


def _collected(env: Environment, n: int, periods: Any) -> dict[str, Any]:
    """What is kept of a replicate: also the course of its first arms."""
    return {"periods": {name: getattr(periods, name)[:n] for name in env.outcomes}, **summed_up(env, n, periods)}


def posterior_params(
    env: Environment, posterior: xr.DataTree, draws: int, sites: Mapping[str, Setting] | None = None
) -> Any:
    """The environment's parameters at `draws` evenly spaced posterior draws; a leading axis on every leaf.

    `sites` are interventions: those that the prior has are set to their values, or moved from the posterior's.
    """
    samples = thinned(posterior, draws)
    wanted = prior_sites(env)
    missing = [name for name in wanted if name not in samples]
    if missing:
        raise InputError(f"the posterior has no site '{listed(missing)}' of {env.name}: it belongs to another model")
    fixed = {name: value for name, value in (sites or {}).items() if name in wanted}

    def one(sample: dict[str, Array], given: Mapping[str, Any], *, tried: bool = True) -> Any:
        intervention = Intervention({**fixed, **given}, tried=tried)
        with seed_by_name(rng_key=jax.random.key(0)), handlers.substitute(data=sample), intervention:
            params = env.prior()
        intervention.check()
        return params

    used = {name: samples[name] for name in wanted}
    jax.eval_shape(lambda sample: one(sample, {}, tried=False), {name: values[0] for name, values in used.items()})
    return once(jax.vmap(one, in_axes=(0, None)))(used, numbers(fixed))


def prior_sites(env: Environment) -> list[str]:
    """Names of the random sites of the environment's prior."""
    found: list[str] = []

    def run() -> None:
        trace = handlers.trace(seed_by_name(env.prior, jax.random.key(0))).get_trace()
        found.extend(name for name, site in trace.items() if site["type"] == "sample")

    jax.eval_shape(run)
    return found
