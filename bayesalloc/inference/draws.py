"""Draws from a posterior, and what a result based on them must say."""

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array


def thinned(posterior: xr.DataTree, draws: int) -> dict[str, Array]:
    """Every site's values at `draws` evenly spaced posterior draws."""
    group = posterior["posterior"]
    flat = {str(name): v.values.reshape(-1, *v.shape[2:]) for name, v in group.data_vars.items()}
    total = len(next(iter(flat.values())))
    index = np.linspace(0, total - 1, draws).round().astype(int)
    return {name: jnp.asarray(values[index]) for name, values in flat.items()}


def cautions(posterior: xr.DataTree) -> list[str]:
    """Sentences that a result based on this posterior must carry."""
    usable = posterior.attrs.get("usable", 1)
    return [] if usable else [f"the posterior is not usable as it stands: {posterior.attrs['why']}"]
