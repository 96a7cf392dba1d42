"""The posterior of the impact function in full: spreads by NUTS, and all that is normal given them in closed form.

What is normal given the spreads is integrated out, so that the sampler sees seven numbers and no funnel; each draw of
them then brings one draw of the rest.
"""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import xarray as xr
from jaxtyping import Array
from numpyro.infer import MCMC, NUTS, init_to_median

from bayesalloc.impact import learning
from bayesalloc.impact.proposing import Understanding, kinds_and_regions
from bayesalloc.impact.rounds import kinds_of
from bayesalloc.impact.structured import Belief, Spreads, believe, double_precision, draw
from bayesalloc.impact.totals import stacked, with_totals
from bayesalloc.inference.trees import group

CHAINS, WARMUP, DRAWS = 4, 500, 500


def sampled(
    u: Understanding,
    rng_key: Array,
    *,
    chains: int = CHAINS,
    warmup: int = WARMUP,
    draws: int = DRAWS,
    progress: bool = False,
) -> xr.DataTree:
    """An ArviZ tree with the posterior of spreads, effects per 1,000 USD, room in USD, spill-overs and the curve.

    Args:
        u: what is known.
        rng_key: a key.
        chains: how many.
        warmup: steps of each that are not kept.
        draws: steps that are.
        progress: whether to show it.
    """
    n_kinds, n_regions = kinds_and_regions(u)

    def given(spreads: Spreads) -> Belief:
        belief = believe(u.prior, u.reports, spreads, n_kinds, n_regions)
        return belief if totals is None else with_totals(belief, u.prior, spreads, totals, n_kinds)

    def model() -> None:
        spreads = [
            numpyro.sample(name, dist.HalfNormal(scale))
            for name, scale in zip(Spreads._fields, learning.SCALES, strict=True)
        ]
        numpyro.factor("evidence", given(Spreads(*map(jnp.asarray, spreads))).log_evidence)

    def rest(key: Array, spreads: Spreads) -> tuple[Array, ...]:
        return tuple(leaf[0] for leaf in draw(given(spreads), u.prior, key, 2, n_kinds))

    with double_precision():
        totals = stacked(u.totals)
        kernel = NUTS(model, init_strategy=init_to_median, dense_mass=True)
        mcmc = MCMC(
            kernel,
            num_warmup=warmup,
            num_samples=draws,
            num_chains=chains,
            chain_method="vectorized",
            progress_bar=progress,
        )
        keys = jax.random.split(rng_key)
        mcmc.run(keys[0], extra_fields=("diverging", "potential_energy", "num_steps"))
        found = mcmc.get_samples(group_by_chain=True)
        spreads = Spreads(*(found[name].reshape(-1) for name in Spreads._fields))
        others = jax.jit(jax.vmap(rest))(jax.random.split(keys[1], chains * draws), spreads)
        effect, room, strength, residual = (np.asarray(each).reshape(chains, draws, -1) for each in others)
        stats = {name: np.asarray(value) for name, value in mcmc.get_extra_fields(group_by_chain=True).items()}
    names = [name for name, there in zip(u.projects.names, u.which, strict=True) if there]
    values: dict[str, Any] = {f"spread_{name}": np.asarray(found[name]) for name in Spreads._fields}
    values |= {"effect": np.exp(effect) * 1000.0 / u.budget, "room": room * u.budget}
    values |= {"strength": strength} if n_kinds else {}
    values |= {"residual": residual}
    dims = {"effect": ("project",), "room": ("project",), "strength": ("kind",), "residual": ("knot",)}
    leading = {"chain": np.arange(chains), "draw": np.arange(draws)}
    coords = {"project": names, "kind": kinds_of(u.projects)}
    stats = {"diverging": stats["diverging"], "lp": -stats["potential_energy"], "n_steps": stats["num_steps"]}
    tree = xr.DataTree.from_dict(
        {
            "posterior": group(values, dims, coords, leading),
            "sample_stats": group(stats, {}, {}, leading),
        }
    )
    tree.attrs = {"method": "nuts", "sampled": json.dumps([f"spread_{name}" for name in Spreads._fields])}
    return tree
