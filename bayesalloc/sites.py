"""What the axes of a site's value are called: the names of the plates and scans that it stands in."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

RESERVED = {"chain", "draw", "future", "arm", "treatment", "statistic", "sample"}  # dimensions of our own results


def site_dims(trace: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Site -> a name for each axis of its value, plates by their own names.

    The leading axis of a site inside a scan is `period` (`period_2` for a scan of another length); axes without a plate
    are `<site>_dim_0` and so on, counted from the left, as ArviZ has them. A plate whose name is one of our own
    dimensions, or a site's too, gets an underscore.

    Args:
        trace: site -> message, as `numpyro.handlers.trace` gives it, of values that are not batched.

    >>> import jax, numpyro, numpyro.distributions as dist
    >>> from numpyro import handlers
    >>> def model():
    ...     with numpyro.plate("year", 3):
    ...         numpyro.sample("share", dist.Dirichlet(jnp.ones(2)))
    >>> site_dims(handlers.trace(handlers.seed(model, 0)).get_trace())
    {'share': ('year', 'share_dim_1')}
    """
    found: dict[str, tuple[str, ...]] = {}
    sizes: dict[str, int] = {}
    random = {name for name, site in trace.items() if site["type"] != "plate"}
    for name, site in trace.items():
        if site["type"] not in ("sample", "deterministic") or not hasattr(site["value"], "ndim"):
            continue
        shape = jnp.shape(site["value"])
        names: list[str | None] = [None] * len(shape)
        if site.get("_control_flow_done") and shape:
            names[0] = _of_size("period_" if "period" in random else "period", shape[0], sizes)
        for axis, plate, size in _plates(site, shape):
            wanted = f"{plate}_" if plate in RESERVED or plate in random else plate
            if names[axis] is None and sizes.setdefault(wanted, size) == size:
                names[axis] = wanted
        found[name] = tuple(given or f"{name}_dim_{axis}" for axis, given in enumerate(names))
    return found


def _plates(site: Mapping[str, Any], shape: tuple[int, ...]) -> list[tuple[int, str, int]]:
    """Axis, plate and size, for the plates whose axes the value has."""
    frames = [frame for frame in site.get("cond_indep_stack", ()) if frame is not None]
    n = len(shape)
    # how many event dimensions a deterministic site has, nobody says: the fewest with which all its plates fit
    shifts = [site["fn"].event_dim] if site["type"] == "sample" else range(n)
    for event_dim in shifts:
        placed = [(n - event_dim + frame.dim, frame.name, frame.size) for frame in frames]
        fitting = [each for each in placed if each[0] >= 0 and shape[each[0]] == each[2]]
        if len(fitting) == len(frames) or site["type"] == "sample":
            return fitting
    return []


def _of_size(name: str, size: int, sizes: dict[str, int]) -> str:
    """The name, or the first of `name_2`, ... that has this size or none yet."""
    number = 1
    while sizes.setdefault(label := name if number == 1 else f"{name}_{number}", size) != size:
        number += 1
    return label
