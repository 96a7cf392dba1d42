"""Claims about allocators as data, and whether what was measured bears them out.

A claim is a paired contrast of methods over graphs, computed by `effects`, with the interval of its average.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy as np
import xarray as xr

from bayesalloc.allocators.learned import LEARNED
from bayesalloc.claims.judging import average, decide


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published sentence in a form that can be checked; models/published/srap.toml explains the fields."""

    id: str
    text: str
    networks: list[str]
    kind: Literal["above", "rises", "falls", "steady", "peaks", "wider"]
    method: str
    than: str | None = None
    share: bool = False
    at: list[int] | Literal["mean"] | None = None
    level: float = 0.0
    by: float = 0.0
    against: str | None = None

    @property
    def methods(self) -> list[str]:
        """The methods it is about."""
        return [self.method] if self.than is None else [self.method, self.than]


class Ours(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What we claim: with linear cost, `method` reaches `level` of the optimum, or of `than`, in every cell."""

    text: str
    method: str
    level: float
    experiments: list[str]
    than: str | None = None
    networks: list[str] | None = None


def quantity(data: xr.Dataset, claim: Claim, network: str) -> tuple[np.ndarray, np.ndarray]:
    """What the claim is about, as (treated, control), each of shape (value, graph, episode)."""
    here = data.sel(network=network).transpose("method", "value", "graph", "episode")
    sides = [here["welfare"].sel({"method": name}).values for name in claim.methods]
    scale = here["bound"].values if claim.share else 1.0
    treated, *control = [side / scale for side in sides]
    return treated, control[0] if control else np.zeros_like(treated)


def checks(data: xr.Dataset, claim: Claim, network: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What must be above what, by name, for the claim to hold: pairs (treated, control) of shape (graph, episode)."""
    treated, control = quantity(data, claim, network)
    enough = (1 - claim.by) * control + claim.level
    effect, values = treated - control, data["value"].values.tolist()
    at = list(claim.at) if isinstance(claim.at, list) else values
    first, last = effect[values.index(at[0])], effect[values.index(at[-1])]
    match claim.kind:
        case "above" if claim.at == "mean":
            return {"mean": (treated.mean(0), enough.mean(0))}
        case "above":
            return {f"at {v}": (treated[values.index(v)], enough[values.index(v)]) for v in at}
        case "rises":
            return {f"{at[0]} to {at[-1]}": (last, (1 + claim.by) * first)}
        case "falls":
            return {f"{at[0]} to {at[-1]}": ((1 - claim.by) * first, last)}
        case "steady":
            return {"rise": ((1 + claim.by) * first, last), "fall": (last, (1 - claim.by) * first)}
        case "peaks":
            return {f"than {v}": (first, effect[values.index(v)]) for v in values if v != at[0]}
        case "wider":
            other_treated, other_control = quantity(data, claim, str(claim.against))
            return {f"than {claim.against}": (effect.mean(0), (other_treated - other_control).mean(0))}


def judge(data: xr.Dataset, claim: Claim, network: str, interval: float) -> dict[str, Any]:
    """One claim in one kind of network by one measure.

    Returns:
        verdict; margin, the average and interval by which the weakest of its checks holds (below zero: does not), and
        which that is; and the quantity's average at each sweep value. None where not measured.
    """
    empty = {"margin": None, "check": None, "averages": None}
    missing = set(claim.methods) - set(data["method"].values.tolist())
    if missing:
        return {"verdict": "needs learning" if missing & set(LEARNED) else "not measured", **empty}
    margins = {name: average(*pair, interval) for name, pair in checks(data, claim, network).items()}
    verdict = decide(margins)
    if verdict == "not measured":
        return {"verdict": verdict, **empty}
    weakest = min(margins, key=lambda name: (margins[name] or {})["low"])
    treated, control = quantity(data, claim, network)
    averages = np.nanmean(treated - control, axis=(1, 2)).tolist()
    return {"verdict": verdict, "margin": margins[weakest], "check": weakest, "averages": averages}


def judge_ours(found: Mapping[str, xr.Dataset], ours: Ours, interval: float) -> dict[str, Any]:
    """Whether the method reaches the level in every cell, and the cell in which it reaches least.

    Beside another method, "at least as good on average" holds where the averages say so, and fails where one interval
    lies below.
    """
    cells, shares = [], []
    for name in ours.experiments:
        data = found[name].sel(measure="per_item")
        for network in ours.networks or data["network"].values.tolist():
            for value in data["value"].values.tolist():
                here = data.sel(network=network, value=value)
                to = here["bound"] if ours.than is None else here["welfare"].sel({"method": ours.than}, drop=True)
                share = here["welfare"].sel({"method": ours.method}, drop=True) / to
                cells.append({"experiment": name, "network": network, "value": value})
                shares.append(share.transpose("graph", "episode").values)
    margins = [average(share, np.full_like(share, ours.level), interval) for share in shares]
    reached = [average(share, np.zeros_like(share), interval) for share in shares]
    known = [{**cell, "share": each} for cell, each in zip(cells, reached, strict=True) if each is not None]
    smallest = min(known, key=lambda cell: cell["share"]["mean"], default=None)
    verdict = decide(dict(enumerate(margins)))
    if ours.than is not None and verdict != "not measured":
        lost = any(margin and margin["high"] < -1e-6 for margin in margins)
        even = all(margin and margin["mean"] > -1e-6 for margin in margins)
        verdict = "does not hold" if lost else "holds" if even else "undecided"
    return {**msgspec.structs.asdict(ours), "verdict": verdict, "cells": len(cells), "smallest": smallest}
