"""Draws from a posterior, and what a result based on them must say."""

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from bayesalloc.inference.diagnosing import diagnose
from bayesalloc.inference.names import unescaped


def thinned(posterior: xr.DataTree, draws: int) -> dict[str, Array]:
    """Every site's values at `draws` evenly spaced posterior draws."""
    group = posterior["posterior"]
    flat = {unescaped(str(name)): v.values.reshape(-1, *v.shape[2:]) for name, v in group.data_vars.items()}
    total = len(next(iter(flat.values())))
    index = np.linspace(0, total - 1, draws).round().astype(int)
    return {name: jnp.asarray(values[index]) for name, values in flat.items()}


def cautions(posterior: xr.DataTree) -> list[str]:
    """Sentences that a result based on this posterior must carry."""
    attrs = posterior.attrs
    if "usable" not in attrs:  # from elsewhere
        verdict = diagnose(posterior)
        attrs = {"usable": verdict.usable, "why": verdict.why, "doubts": verdict.doubts}
    if not attrs["usable"]:
        return [f"the posterior is not usable as it stands: {attrs['why']}"]
    return [f"the posterior is of a model that does not fit: {attrs['doubts']}"] if attrs.get("doubts") else []
