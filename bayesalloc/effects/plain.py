"""Arms of a plain NumPyro model, simulated on common random numbers."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array
from numpyro import handlers

from bayesalloc.effects.arms import Arm, Simulated
from bayesalloc.errors import InputError, listed
from bayesalloc.inference.draws import thinned
from bayesalloc.intervene import Model, do, seed_by_name, unobserved


def simulate(
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
