"""Whether what was measured of allocators bears the claims out: every allocator and every claim, for JSON."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from bayesalloc.claims.altruism.published import Claim, Published, Setting
from bayesalloc.claims.altruism.statistics import compared, converged, rounds_of, with_interval
from bayesalloc.claims.judging import Verdict, decide

AT = ("round 20", "round 60", "last 50", "300 on", "to 20", "to 28")  # all rounds that claims name


def measurable(rounds: int) -> list[str]:
    """Which of AT there are in so many rounds."""
    return [at for at in AT if rounds_of(at, rounds)]


def judged(published: Published, settings: Sequence[Setting], found: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """Every allocator and every claim in every setting, as plain objects for JSON."""
    rounds = {data.sizes["round"] for data in found.values()}.pop()
    names = {setting: data["allocator"].values.tolist() for setting, data in found.items()}
    record: dict[str, Any] = {
        "rounds": rounds,
        "interval": published.interval,
        "missing": sorted(set(published.allocators).difference(*names.values())),
        "settings": {},
        "claims": [],
    }
    treated = [name for name in dict.fromkeys(name for claim in published.claims for name in claim.of)]
    for setting in settings:
        data, measured = found[setting.name], names[setting.name]
        record["settings"][setting.name] = {
            "worlds": data.sizes["world"],
            "allocators": {name: summary(data.sel(allocator=name), published.interval) for name in measured},
            "gains": {
                of: {
                    than: {at: _compared(data, of, than, at, published.interval) for at in measurable(rounds)}
                    for than in measured
                    if than != of
                }
                for of in treated
                if of in measured
            },
        }
        for claim in published.claims:
            if claim.settings is None or setting.name in claim.settings:
                record["claims"] += [*_judged(claim, setting.name, data, published.interval)]
    return record


def summary(data: xr.Dataset, probability: float) -> dict[str, Any]:
    """What one allocator does: shares of the oracle in some rounds, and the published measures."""
    share = data["share_of_oracle"].values
    rounds, last = share.shape[1], rounds_of("last 50", share.shape[1])
    return {
        "share": {at: with_interval(share[:, rounds_of(at, rounds)].mean(1), probability) for at in measurable(rounds)},
        "worst": float(share[:, last].mean(1).min()),
        "turnover": float(data["turnover"].values[:, last].mean()),
        "variance": float(data["variance"].values.mean()),
        "converged": converged(share),
        "slopes": {
            str(name): with_interval(slope, probability)
            for name, slope in zip(data["regression"].values, data["slope"].values.T, strict=True)
            if np.isfinite(slope).all()
        },
    }


def _compared(data: xr.Dataset, of: str, than: str, at: str, probability: float) -> dict[str, Any]:
    impact, where = data["impact"], rounds_of(at, data.sizes["round"])
    assert where is not None
    return compared(impact.sel(allocator=of).values, impact.sel(allocator=than).values, where, probability)


def _judged(claim: Claim, setting: str, data: xr.Dataset, probability: float) -> Iterator[dict[str, Any]]:
    """A claim of each allocator against each other, in each of its rounds, where both were measured."""
    names, rounds = data["allocator"].values.tolist(), data.sizes["round"]
    for of in (name for name in claim.of if name in names):
        for than in (name for name in claim.than if name in names) if claim.than else (None,):
            at = {}
            for name in claim.at:
                where = rounds_of(name, rounds)
                if where is None:
                    continue
                share = data["share_of_oracle"].sel(allocator=of).values[:, where].mean(1)
                if than is not None:
                    value = _compared(data, of, than, name, probability)["gain"]
                elif claim.quantity == "share":
                    value = with_interval(share, probability)
                else:
                    value = {end: float(share.min()) for end in ("mean", "low", "high")}
                at[name] = {"measured": value, "verdict": _verdict(value, claim.least)}
            if at:
                said = {"text": claim.text, "ours": claim.ours, "quantity": claim.quantity, "least": claim.least}
                yield {"setting": setting, **said, "of": of, "than": than, "at": at}


def _verdict(value: Mapping[str, float] | None, least: float) -> Verdict:
    """The margin above what is claimed decides; at the very limit it holds."""
    if value is None:
        return "undecided"
    return decide({"": {end: value[end] - least + 1e-12 for end in ("mean", "low", "high")}})
