"""The published experiments on social resource allocation: their claims, and ours, beside what is measured."""

import dataclasses
import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import xarray as xr

from bayesalloc.allocators.learned import LEARNED
from bayesalloc.claims import Asked, Findings, Line, Picture, Row, Sweep
from bayesalloc.claims.judging import average
from bayesalloc.claims.srap.checks import judge, judge_ours
from bayesalloc.claims.srap.experiments import FULL, MEASURES, Effort, Experiment, Published, load_experiments, run
from bayesalloc.errors import InputError

NAME = "srap"
SHORT = {"published": "as published", "owner": "by true owner", "per_item": "linear cost"}
COLOURS = {
    name + mark: colour for name, of in LEARNED.items() for mark, colour in zip(("", "+"), of.colours, strict=True)
}
MARGIN = (
    "by how much the claim holds, on average over graphs, at its weakest place, which is named beside it; below zero it"
    " does not. The brackets hold it with {level} probability."
)


def measure(asked: Asked) -> Findings:
    """All experiments, or those asked for.

    Options: `experiments`, their numbers in the thesis; `graphs` of each kind of network; `training`, episodes for
    which the published learned methods are trained on each graph; `keep`, a folder for the trained networks.
    """
    given = asked.only(NAME, "experiments", "graphs", "training", "keep")
    published = load_experiments().only(given.get("experiments"))
    chosen = {name: given[name] for name in ("graphs", "training", "keep") if name in given}
    if "keep" in chosen:
        if not chosen.get("training"):
            raise InputError("a folder for trained networks (keep) is of use where training is asked for")
        _make(chosen["keep"])
    effort = dataclasses.replace(FULL if asked.full else Effort(), workers=os.cpu_count() or 1, **chosen)
    return report(published, run(published.experiments, effort, asked.seed, progress=asked.progress))


def report(published: Published, found: Mapping[str, xr.Dataset]) -> Findings:
    """What the measurements of `experiments.run` say of the claims."""
    record = judged(published, found)
    level = f"{100 * published.interval:.0f} %"
    return Findings(
        title="Social resource allocation: published claims beside what is measured",
        rows=[*_rows(record)],
        measures={SHORT[measure]: text for measure, text in MEASURES.items()},
        sections={experiment.id: f"{experiment.id}: {experiment.title}" for experiment in published.experiments},
        sentences=_sentences(record),
        record=record,
        data=xr.DataTree.from_dict({f"/{name}": data for name, data in found.items()}),
        warnings=[f"Not part of this run: {', '.join(record['missing'])}."] if record["missing"] else [],
        terms={"margin": MARGIN.replace("{level}", level)},
        pictures=[
            _picture(experiment, found[experiment.id].sel(measure=measure), measure, published.interval)
            for experiment in published.experiments
            for measure in found[experiment.id]["measure"].values.tolist()
        ],
    )


def judged(published: Published, found: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """Every claim by every measure, ours, and how many optima were proven, as plain objects for JSON."""
    claims, optima = [], {}
    for experiment in published.experiments:
        data = found[experiment.id]
        for claim in experiment.claims:
            for network in claim.networks:
                by = {m: judge(data.sel(measure=m), claim, network, published.interval) for m in data["measure"].values}
                row = {"experiment": experiment.id, "network": network, **msgspec.structs.asdict(claim)}
                claims.append({key: row[key] for key in row if key != "networks"} | {"measured": by})
        asked = data["proven"].notnull().sum(("network", "value", "graph", "episode"))
        proven = data["proven"].sum(("network", "value", "graph", "episode"))
        optima[experiment.id] = {
            str(m): {"asked": int(asked.sel(measure=m)), "proven": int(proven.sel(measure=m))}
            for m in data["measure"].values
        }
    named = {name for e in published.experiments for name in e.methods}
    missing = sorted(named - {name for data in found.values() for name in data["method"].values.tolist()})
    ours = [judge_ours(found, each, published.interval) for each in published.ours]
    return {"interval": published.interval, "missing": missing, "claims": claims, "ours": ours, "optima": optima}


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to: {error.strerror}") from None


def _rows(record: Mapping[str, Any]) -> Iterator[Row]:
    """The claims; one row for all networks where nothing was measured."""

    def unmeasured(row: Mapping[str, Any]) -> bool:
        return all(each["margin"] is None for each in row["measured"].values())

    def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return row["experiment"], row["text"], None if unmeasured(row) else row["network"]

    for _, rows in itertools.groupby(record["claims"], key):
        row, *others = rows
        first = row["measured"]["published"]
        where = "all" if len(others) == 2 else ", ".join(each["network"].replace("_", " ") for each in (row, *others))
        said = {SHORT[measure]: each["verdict"] for measure, each in row["measured"].items()}
        said = dict([*said.items()][:1]) if unmeasured(row) else said
        yield Row(row["experiment"], row["text"], said, where, "", _averages(first), _margin(first))


def _margin(found: Mapping[str, Any]) -> str:
    if found["margin"] is None:
        return ""
    margin = found["margin"]
    decimals = 3 if max(abs(margin["low"]), abs(margin["high"])) < 1 else 1
    low, high = (f"{margin[end]:.{decimals}f}" for end in ("low", "high"))
    return f"{margin['mean']:.{decimals}f} [{low}, {high}] {found['check'].replace('_', ' ')}"


def _averages(found: Mapping[str, Any]) -> str:
    """What the claim is about at each value of the sweep."""
    if found["averages"] is None:
        return ""
    decimals = 2 if max(map(abs, found["averages"])) < 2 else 0
    return " ".join(f"{value:.{decimals}f}" for value in found["averages"])


def _sentences(record: Mapping[str, Any]) -> list[str]:
    counts = Counter(row["measured"]["published"]["verdict"] for row in record["claims"])
    named = ", ".join(
        f"{counts[v]} {v.replace('does not hold', 'do not hold').replace('holds', 'hold')}" for v in counts
    )
    lines = [f"Of {len(record['claims'])} published claims (each in one kind of network), as published: {named}."]
    for ours in record["ours"]:
        cell = ours["smallest"]
        if cell:
            share = cell["share"]
            lines.append(
                f"{ours['text']}: {ours['verdict']}. The smallest of {ours['cells']} cells is {share['mean']:.3f}"
                f" [{share['low']:.3f}, {share['high']:.3f}], at {cell['value']} in"
                f" {cell['network'].replace('_', ' ')} networks of {cell['experiment']}."
            )
    asked, proven = (sum(m[key] for e in record["optima"].values() for m in e.values()) for key in ("asked", "proven"))
    if asked:
        lines.append(
            f"The optimum was proven in {proven} of {asked} measurements; in the others its proven upper bound took its"
            " place, so that shares of it are too low rather than too high."
        )
    return lines


def over_sweep(data: xr.Dataset) -> dict[str, np.ndarray]:
    """Method -> its welfare at each value of a sweep, the mean over episodes: shape (value, graph), NaN where unknown.

    The optimum, known on some graphs only, is taken relative to the last method, which was measured on all.
    """
    methods = data["method"].values.tolist()
    means = data["welfare"].mean("episode").transpose("method", "value", "graph").values
    lines = dict(zip(methods, means, strict=True))
    if "opt" in lines:
        first = data.isel(episode=0)
        above = (first["bound"] - first["welfare"].isel(method=-1)).transpose("value", "graph").values
        lines["opt"] = above + lines[methods[-1]].mean(1, keepdims=True)
    return lines


def _picture(experiment: Experiment, data: xr.Dataset, measure: str, interval: float) -> Picture:
    """Social welfare over the sweep by one measure, a panel for each kind of network."""
    panels = []
    for network in experiment.networks:
        lines = {
            name: line._replace(colour=COLOURS.get(name, ""))
            for name, each in over_sweep(data.sel(network=network)).items()
            if (line := _line(each, interval)) is not None
        }
        title = f"{network.replace('_', ' ')}: {SHORT[measure]}"
        panels.append(Sweep(title, experiment.sweep, experiment.values, lines))
    asked, done = int(data["proven"].notnull().sum()), int(data["proven"].sum())
    proven = f" Dashed: the optimum, or its upper bound (proven in {done} of {asked})." if asked else ""
    level = f"{100 * interval:.0f} %"
    caption = f"Social welfare, average over graphs and its {level} interval; {MEASURES[measure]}.{proven}"
    return Picture(experiment.id, caption, panels)


def _line(values: np.ndarray, interval: float) -> Line | None:
    """Averages over the graphs that are known at every value, of shape (value, graph); None for fewer than two."""
    known = values[:, np.isfinite(values).all(0)]
    found = [average(each[:, None], np.zeros_like(each)[:, None], interval) for each in known]
    stats = [each for each in found if each is not None]
    mean, low, high = (np.array([each[name] for each in stats]) for name in ("mean", "low", "high"))
    return Line(mean, low, high) if stats else None
