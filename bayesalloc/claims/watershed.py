"""The published comparison of mechanisms in a watershed: means, effects and orderings, measured by `compare`."""

import itertools
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import msgspec
import numpy as np
import xarray as xr

from bayesalloc import defaults
from bayesalloc.claims import Asked, Findings, Row
from bayesalloc.claims.judging import throughout
from bayesalloc.effects import compare
from bayesalloc.library import content, load_model

NAME, SEEDS = "watershed", 20  # with which everything is measured when more is asked for


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published number: the mean of an arm, or with `control` its effect against that arm."""

    arm: str
    outcome: str
    value: float
    tolerance: float
    control: str | None = None


class Ordering(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arms from the lowest to the highest `statistic` of an outcome: mean, width or effect_width (of the interval)."""

    outcome: str
    statistic: str
    arms: list[str]
    control: str | None = None


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published comparison of arms; `at` says whether its means are at the 'horizon' or over the 'years'."""

    model: str
    draws: int
    horizon: int
    at: str
    claims: list[Claim]
    orderings: list[Ordering] = []


def load_claims(name: str = NAME) -> Published:
    """The published claims on a shipped model."""
    path = content("models") / "published" / f"{name}.toml"
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Published)


def once(published: Published, seed: int) -> tuple[dict[str, Any], xr.Dataset]:
    """Every claim and ordering, measured with one seed from the published number of samples; and the samples."""
    tree = compare(
        load_model(published.model),
        None,
        jax.random.key(seed),
        draws=published.draws,
        horizon=published.horizon,
        futures=2,
    )
    outcomes, period = tree["outcomes"].to_dataset(), tree.attrs["period"]

    def samples(outcome: str, arm: str, control: str | None, at: str) -> np.ndarray:
        values = outcomes[outcome].sel(arm=arm)
        if control is not None:
            values = values - outcomes[outcome].sel(arm=control)
        return (values.isel({period: -1}) if at == "horizon" else values.mean(period)).values

    other = _other(published)
    claims = []
    for claim in published.claims:
        measured = float(samples(claim.outcome, claim.arm, claim.control, published.at).mean())
        claims.append(
            {
                **msgspec.structs.asdict(claim),
                "measured": measured,
                f"measured_over_{other}": float(samples(claim.outcome, claim.arm, claim.control, other).mean()),
                "holds": abs(measured - claim.value) <= claim.tolerance,
            }
        )
    orderings, tail = [], (1 - defaults.INTERVAL) / 2
    for ordering in published.orderings:
        control = ordering.control if ordering.statistic == "effect_width" else None
        statistics = []
        for arm in ordering.arms:
            values = samples(ordering.outcome, arm, control, published.at)
            low, high = np.quantile(values, [tail, 1 - tail])
            statistics.append(float(values.mean() if ordering.statistic == "mean" else high - low))
        holds = all(a < b for a, b in itertools.pairwise(statistics))
        orderings.append({**msgspec.structs.asdict(ordering), "measured": statistics, "holds": holds})
    return {"seed": seed, "claims": claims, "orderings": orderings}, outcomes


def measure(asked: Asked) -> Findings:
    """The first seed in full, and how often each claim holds over all seeds."""
    asked.only(NAME)
    published = load_claims()
    seeds = range(asked.seed, asked.seed + (SEEDS if asked.full else 1))
    runs, outcomes = zip(*(once(published, seed) for seed in seeds), strict=True)
    rows = []
    for kind, section, worded in (("claims", "means", _claim), ("orderings", "orderings", _ordering)):
        for place, shown in enumerate(runs[0][kind]):
            held = [run[kind][place]["holds"] for run in runs]
            shown["holds_in"] = sum(held)
            text, said, found = worded(shown)
            rows.append(Row(section, text, {"holds": throughout(held)}, "", said, found, f"{sum(held)} of {len(held)}"))
    verdicts = [row.verdicts["holds"] for row in rows]
    return Findings(
        title=f"{published.model}: published claims beside what is measured",
        rows=rows,
        measures={"holds": "a number holds if what is measured is within its tolerance"},
        sections={"means": f"Means at the {published.at}", "orderings": "Orderings, from low to high"},
        sentences=[
            f"Of {len(rows)} published claims, {_held(verdicts, seeds)}, with {published.draws} samples each.",
            f"Shown is what seed {seeds[0]} gives; in brackets as means over the {_other(published)}.",
        ],
        record={
            "model": published.model,
            "draws": published.draws,
            "horizon": published.horizon,
            "at": published.at,
            "seeds": [*seeds],
            "claims": runs[0]["claims"],
            "orderings": runs[0]["orderings"],
        },
        data=xr.DataTree.from_dict({f"/seed_{seed}": data for seed, data in zip(seeds, outcomes, strict=True)}),
        terms={"margin": "with how many of the seeds the claim holds."},
    )


def _held(verdicts: Sequence[str], seeds: range) -> str:
    """How many claims hold with the seeds."""
    always, never = verdicts.count("holds"), verdicts.count("does not hold")
    if len(seeds) == 1:
        return f"{always} hold and {never} do not"
    return f"{always} hold with all of {len(seeds)} seeds and {never} with none of them"


def _other(published: Published) -> str:
    """The reading of a mean that the publication does not mean."""
    return "years" if published.at == "horizon" else "horizon"


def _claim(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """A claim, the published number, and what was measured."""
    against = f" - {row['control']}" if row["control"] else ""
    other = next(value for name, value in row.items() if name.startswith("measured_over_"))
    published = f"{row['value']:.2f} \N{PLUS-MINUS SIGN} {row['tolerance']:.2f}"
    return (
        f"{row['outcome']}: {row['arm']}{against}".replace("_", " "),
        published,
        f"{row['measured']:.3f} ({other:.3f})",
    )


def _ordering(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """An ordering, the arms in it, and what was measured of each."""
    measured = " < ".join(f"{value:.3f}" for value in row["measured"])
    text, arms = f"{row['outcome']}: {row['statistic']}", " < ".join(row["arms"])
    return text.replace("_", " "), arms.replace("_", " "), measured
