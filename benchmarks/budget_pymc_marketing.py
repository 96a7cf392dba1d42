"""The other side of `budget_peers.py`: allocations of pymc-marketing's budget optimiser, as JSON on stdout.

Its defaults but for the bounds, from 0 to the whole budget, and the model: each project's curve as a PyMC model over
two equal periods, with the problem's draws as its posterior. Runs in an environment of its own, with pymc-marketing.
"""

import json
import sys
import time
import warnings

import numpy as np
import pymc as pm
import pymc.dims as pmd
import xarray as xr
from budget_problems import DRAWS, NAMES, problem
from pymc_marketing.mmm.budget_optimizer import BudgetOptimizer
from pytensor.xtensor.math import log1p


def allocated(name: str) -> dict[str, object]:
    """The optimiser's allocation in USD; or how it failed."""
    given = problem(name)
    projects = [f"p{k}" for k in range(given.effect.shape[1])]
    with pm.Model(coords={"date": [0, 1], "channel": projects}) as model:
        amount = pmd.Data("channel_data", np.ones((2, len(projects))), dims=("date", "channel"))
        effect = pmd.LogNormal("effect", 0.0, 1.0, dims="channel")
        room = pmd.LogNormal("room", 0.0, 1.0, dims="channel")
        each = pmd.Deterministic("channel_contribution", effect * room * log1p(amount / room), dims=("date", "channel"))
        pmd.Deterministic("total_media_contribution_original_scale", each.sum())
    draws = {"effect": given.effect, "room": given.room, "channel_contribution": np.ones((DRAWS, 2, len(projects)))}
    dims = {"effect": ("channel",), "room": ("channel",), "channel_contribution": ("date", "channel")}
    posterior = xr.Dataset(
        {name: (("chain", "draw", *dims[name]), values[None]) for name, values in draws.items()},
        {"chain": [0], "draw": np.arange(DRAWS), "channel": projects, "date": [0, 1]},
    )
    optimiser = BudgetOptimizer(model=model, idata=xr.DataTree.from_dict({"posterior": posterior}), num_periods=2)
    began = time.perf_counter()
    try:
        found = optimiser.allocate_budget(
            given.budget, budget_bounds={each: (0.0, given.budget) for each in projects}, return_if_fail=True
        )
    except Exception as error:  # what a user would see
        return {"failed": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
    said = str(found.scipy_result.message)
    return {"amount": found.budgets.values.tolist(), "said": said, "seconds": time.perf_counter() - began}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    json.dump({name: allocated(name) for name in NAMES}, sys.stdout)
