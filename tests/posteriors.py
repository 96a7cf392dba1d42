"""Small trees like those of `fit`, from prior draws instead of a sampler: for what only needs a posterior's form."""

import json
from pathlib import Path

import jax
import numpy as np
import xarray as xr
from numpyro import handlers

import bayesalloc as ba
from bayesalloc.inference import trees
from bayesalloc.inference.posing import keywords, pose


def drawn(model, record: str | Path, *, draws: int = 4, **options) -> xr.DataTree:
    """Prior draws of a model's sites given a record, as `fit` would return a posterior.

    Args:
        model: as `fit` takes it.
        record: a CSV file.
        draws: how many, in one chain.
        **options: of `pose`.
    """
    problem = pose(model, record, **options)
    keys = jax.random.split(jax.random.key(0), draws)
    traces = [handlers.trace(ba.seed_by_name(problem.model, key)).get_trace(**keywords(problem)) for key in keys]
    kinds = ("sample", "deterministic")
    names = [name for name, site in traces[0].items() if site["type"] in kinds and not site.get("is_observed")]
    values = {name: np.stack([np.asarray(trace[name]["value"]) for trace in traces])[None] for name in names}
    observed = trees.observed(traces[0], traces[-1])
    observed.pop("mechanism", None)
    dims, coords = trees.dimensions(problem, traces[0])
    constant = trees.constants(problem, observed, list(observed))
    groups = {
        "posterior": trees.group(values, dims, coords, {"chain": [0], "draw": range(draws)}),
        "observed_data": trees.group(observed, dims, coords),
        "constant_data": trees.group(constant, trees.constant_dims(constant, dims, observed), coords),
    }
    tree = xr.DataTree.from_dict({name: group for name, group in groups.items() if group})
    if problem.environment is None:
        carried = {"keywords": trees.described(keywords(problem), problem.categories)}
    else:
        carried = {"record": problem.text, "period": problem.environment.period}
    tree.attrs = {
        "model": problem.name,
        "mechanism": problem.mechanism,
        "mechanisms": json.dumps({label: known.table() for label, known in problem.mechanisms.items()}),
        "arms": json.dumps(list(problem.arms)),
        "record_name": problem.record,
        **carried,
    }
    return tree
