"""Published experiments as documents: the claims beside what is measured, in a terminal and as a page."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table

from bayesalloc.allocators.experiments import MEASURES, Experiment, Published
from bayesalloc.allocators.learned import LEARNED
from bayesalloc.report import MISSING, figures, page, words
from bayesalloc.report.tables import Sheet

SHORT = {"published": "as published", "owner": "by true owner", "per_item": "linear cost"}
COLOURS = {
    "opt": figures.GREY, "cen-grd": figures.COLOURS[1], "dec-grd": figures.COLOURS[0], "cen-grd+": figures.COLOURS[4],
    "dec-price": figures.COLOURS[2], "dec-grd+": "#6b705c",
    **{name: entry.colours[0] for name, entry in LEARNED.items()},
    **{f"{name}+": entry.colours[1] for name, entry in LEARNED.items()},
}  # fmt: skip
SAID = {  # in a narrow column
    "holds": "yes", "does not hold": "no", "undecided": "undecided", "needs learning": "needs learning",
    "not measured": "not measured",
}  # fmt: skip
TERMS = {
    "margin": "by how much the claim holds, on average over graphs, at its weakest place, which is named beside it;"
    " below zero it does not. The brackets hold it with {level} probability.",
    "yes, no, undecided": "yes if the whole interval of the margin is above zero, no if none of it is, else undecided.",
    "as published": MEASURES["published"] + ".",
    "by true owner": MEASURES["owner"] + ".",
    "linear cost": MEASURES["per_item"] + ".",
    "needs learning": "the claim is about a learned method, which is not part of this run.",
}


def _margin(found: Mapping[str, Any]) -> str:
    if found["margin"] is None:
        return MISSING
    margin = found["margin"]
    decimals = 3 if max(abs(margin["low"]), abs(margin["high"])) < 1 else 1
    return f"{margin['mean']:.{decimals}f} [{margin['low']:.{decimals}f}, {margin['high']:.{decimals}f}]"


def _averages(found: Mapping[str, Any]) -> str:
    if found["averages"] is None:
        return MISSING
    decimals = 2 if max(map(abs, found["averages"])) < 2 else 0
    return " ".join(f"{value:.{decimals}f}" for value in found["averages"])


def _rows(result: Mapping[str, Any]) -> Iterator[list[str]]:
    """Experiment, claim, network, averages, margin, and what each measure says; one row where nothing was measured."""

    def unmeasured(row: Mapping[str, Any]) -> bool:
        return all(each["margin"] is None for each in row["measured"].values())

    def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return row["experiment"], row["text"], None if unmeasured(row) else row["network"]

    for _, rows in itertools.groupby(result["claims"], key):
        row, *others = rows
        first = row["measured"]["published"]
        network = "all" if len(others) == 2 else ", ".join(words(each["network"]) for each in (row, *others))
        verdicts = [SAID[row["measured"][m]["verdict"]] if m in row["measured"] else MISSING for m in MEASURES]
        if unmeasured(row):
            verdicts[1:] = [MISSING] * (len(verdicts) - 1)
        margin = f"{_margin(first)} {first['check'].replace('_', ' ')}" if first["check"] else MISSING
        yield [row["experiment"], row["text"], network, _averages(first), margin, *verdicts]


def _sentences(result: Mapping[str, Any]) -> list[str]:
    counts = Counter(row["measured"]["published"]["verdict"] for row in result["claims"])
    named = ", ".join(
        f"{counts[v]} {v.replace('does not hold', 'do not hold').replace('holds', 'hold')}" for v in counts
    )
    lines = [f"Of {len(result['claims'])} published claims (each in one kind of network), as published: {named}."]
    for ours in result["ours"]:
        cell = ours["smallest"]
        if cell:
            share = cell["share"]
            lines.append(
                f"{ours['text']}: {ours['verdict']}. The smallest of {ours['cells']} cells is {share['mean']:.3f}"
                f" [{share['low']:.3f}, {share['high']:.3f}], at {cell['value']} in {words(cell['network'])}"
                f" networks of {cell['experiment']}."
            )
    asked, proven = (sum(m[key] for e in result["optima"].values() for m in e.values()) for key in ("asked", "proven"))
    if asked:
        lines.append(
            f"The optimum was proven in {proven} of {asked} measurements; in the others its proven upper bound took its"
            " place, so that shares of it are too low rather than too high."
        )
    return lines


def experiments_text(result: Mapping[str, Any]) -> Group:
    """All claims as a terminal table."""
    table = Table(box=SIMPLE)
    for column in ("", "claim", "network", f"margin [{100 * result['interval']:.0f} %]", *SHORT.values()):
        table.add_column(column)
    before = ""
    for experiment, text, network, _, margin, _, *verdicts in _rows(result):
        claim = f"{experiment} {text}"
        table.add_row(*(("", "") if claim == before else (experiment, text)), network, margin, *verdicts)
        before = claim
    return Group(table, *_sentences(result))


def tree(found: Mapping[str, xr.Dataset]) -> xr.DataTree:
    """Everything that was measured, one group for each experiment."""
    return xr.DataTree.from_dict({f"/{name}": data for name, data in found.items()})


def write_experiments(
    published: Published, found: Mapping[str, xr.Dataset], result: Mapping[str, Any], path: Path, seed: int
) -> Path:
    """Writes the page: plots like the published ones, and all claims."""
    title = "Social resource allocation: published claims beside what is measured"
    return page.write(page.frame(title, _body(published, found, result), seed), path)


def _body(published: Published, found: Mapping[str, xr.Dataset], result: Mapping[str, Any]) -> Iterator[str]:
    level = f"{100 * result['interval']:.0f} %"
    warnings = [f"Not part of this run: {', '.join(result['missing'])}."] if result["missing"] else []
    yield page.answer(_sentences(result), warnings)
    yield page.section("How to read it") + page.terms(TERMS, level)
    rows = list(_rows(result))
    for experiment in published.experiments:
        data = found[experiment.id]
        yield page.section(f"{experiment.id}: {experiment.title}")
        for measure in data["measure"].values.tolist():
            yield _figure(experiment, data.sel(measure=measure), measure, level, result["interval"])
        header = ["claim", "network", *SHORT.values(), "margin", "over the sweep"]
        mine = [[*row[1:3], *row[5:], row[4], row[3]] for row in rows if row[0] == experiment.id]
        yield page.table(
            Sheet("Claims", header, mine, keys=2), "Margin and the averages over the sweep are those as published."
        )


def _figure(experiment: Experiment, data: xr.Dataset, measure: str, level: str, interval: float) -> str:
    pictures = []
    for network in experiment.networks:
        here = data["welfare"].sel(network=network)
        lines = {
            name: here.sel({"method": name}).mean("episode").transpose("value", "graph").values
            for name in data["method"].values.tolist()
        }
        if "opt" in lines:  # on some graphs only, so taken relative to a method that was measured on all
            pair, other = here.isel(episode=0, method=-1), lines[data["method"].values[-1]]
            above = (data["bound"].sel(network=network).isel(episode=0) - pair).transpose("value", "graph").values
            lines["opt"] = above + other.mean(1, keepdims=True)
        title = f"{words(network)}: {SHORT[measure]}"
        figure = figures.sweep(lines, experiment.values, title, experiment.sweep, interval, COLOURS)
        shown = "; ".join(f"{name} {_numbers(values)}" for name, values in lines.items())
        pictures.append(page.svg(figure, f"{experiment.id}, {title}. Social welfare over the sweep: {shown}."))
    asked = int(data["proven"].notnull().sum())
    proven = (
        f" Dashed: the optimum, or its upper bound (proven in {int(data['proven'].sum())} of {asked})." if asked else ""
    )
    caption = f"Social welfare, average over graphs and its {level} interval; {MEASURES[measure]}.{proven}"
    return page.figure(pictures, caption)


def _numbers(values: np.ndarray) -> str:
    known = values[:, np.isfinite(values).all(0)]
    return " ".join(f"{value:.0f}" for value in known.mean(1)) if known.size else "not measured"
