"""What a posterior's arrays are called: the dimensions of every site."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bayesalloc.inference.posing import Problem, outcomes_of


def dimensions(problem: Problem, trace: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[dict, dict]:
    """Named dimensions of every variable: the year for sites inside the scan, the environment's own where they fit."""
    env = problem.environment
    coords: dict[str, Any] = {} if env is None else {name: list(labels) for name, labels in env.coords.items()}
    if problem.years:
        coords["year"] = problem.years
    dims = {}
    for name, value in values.items():
        shape = value.shape[2:]
        site = trace.get(name, {})
        yearly = bool(site.get("_control_flow_done")) or name in outcomes_of(problem) or name.endswith("_observed")
        named = []
        for place, size in enumerate(shape):
            fitting = [dim for dim, labels in coords.items() if dim != "year" and len(labels) == size]
            if place == 0 and yearly and size == len(problem.years):
                named.append("year")
            else:
                named.append(fitting[0] if len(fitting) == 1 else f"{name}_dim_{place}")
        dims[name] = named
    return dims, coords


def with_gaps(name: str, value: Any, problem: Problem) -> Any:
    """Observed values with NaN where the record had none (the model saw a masked filling there)."""
    given = problem.data.get(name.removesuffix("_observed"))
    return (
        value
        if given is None or problem.environment is None
        else np.where(np.isnan(np.asarray(given, float)), np.nan, value)
    )
