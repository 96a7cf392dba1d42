"""Published claims beside what is measured: the claims are a file beside the models, the measuring is `compare`."""

import itertools
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import msgspec
import numpy as np
from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table

from bayesalloc import defaults
from bayesalloc.effects import compare
from bayesalloc.library import content, load_model


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


def load_claims(name: str) -> Published:
    """The published claims on a shipped model."""
    path = content("models") / "published" / f"{name}.toml"
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Published)


def measure(published: Published, seed: int) -> dict[str, Any]:
    """Every claim and ordering, measured with one seed from the published number of samples."""
    model = load_model(published.model)
    tree = compare(
        model,
        None,
        jax.random.key(seed),
        draws=published.draws,
        horizon=published.horizon,
        futures=2,
    )
    outcomes = tree["outcomes"].to_dataset()

    def samples(outcome: str, arm: str, control: str | None, at: str) -> np.ndarray:
        years = outcomes[outcome].sel(arm=arm)
        if control is not None:
            years = years - outcomes[outcome].sel(arm=control)
        return (years.isel(year=-1) if at == "horizon" else years.mean("year")).values

    other = "years" if published.at == "horizon" else "horizon"
    claims = []
    for claim in published.claims:
        measured = float(samples(claim.outcome, claim.arm, claim.control, published.at).mean())
        claims.append({
            **msgspec.structs.asdict(claim),
            "measured": measured,
            f"measured_over_{other}": float(samples(claim.outcome, claim.arm, claim.control, other).mean()),
            "holds": abs(measured - claim.value) <= claim.tolerance,
        })  # fmt: skip
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
    return {"seed": seed, "claims": claims, "orderings": orderings}


def reproduce(name: str, seeds: Iterable[int]) -> dict[str, Any]:
    """Published claims beside what is measured: the first seed in full, and how often each holds over all seeds.

    Args:
        name: a file in models/published.
        seeds: seeds of the random numbers.
    """
    published = load_claims(name)
    runs = [measure(published, seed) for seed in seeds]
    shown = runs[0]
    for kind in ("claims", "orderings"):
        for place, row in enumerate(shown[kind]):
            row["holds_in"] = sum(run[kind][place]["holds"] for run in runs)
    return {
        "model": published.model, "draws": published.draws, "horizon": published.horizon, "at": published.at,
        "seeds": [run["seed"] for run in runs], "claims": shown["claims"], "orderings": shown["orderings"],
    }  # fmt: skip


def text(result: Mapping[str, Any]) -> Any:
    """The same as terminal tables."""
    n = len(result["seeds"])
    over = "years" if result["at"] == "horizon" else "horizon"
    table = Table(title=f"{result['model']}: {result['draws']} samples, means at the {result['at']}", box=SIMPLE)
    columns = ("claim", "published", "measured", f"(mean over the {over})", "tolerance", f"holds in {n} seed(s)")
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place == 0 else "right")
    for row in result["claims"]:
        against = f" - {row['control']}" if row["control"] else ""
        table.add_row(
            f"{row['outcome']}: {row['arm']}{against}", f"{row['value']:.2f}", f"{row['measured']:.3f}",
            f"{row[f'measured_over_{over}']:.3f}", f"{row['tolerance']:.2f}", f"{row['holds_in']}/{n}",
        )  # fmt: skip
    order = Table(title="orderings, from low to high", box=SIMPLE)
    for column in ("statistic", "order", "measured", f"holds in {n} seed(s)"):
        order.add_column(column)
    for row in result["orderings"]:
        order.add_row(
            f"{row['outcome']}: {row['statistic'].replace('_', ' ')}", " < ".join(row["arms"]),
            " < ".join(f"{value:.3f}" for value in row["measured"]), f"{row['holds_in']}/{n}",
        )  # fmt: skip
    return Group(table, order)
