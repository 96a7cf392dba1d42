"""A result of `counterfactual` as documents: what was, and what would have been."""

import json
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from rich.console import Group

from bayesalloc.effects.summaries import mean_courses, past
from bayesalloc.report import figures, html
from bayesalloc.report.comparison import BASIS, _measures
from bayesalloc.report.reading import (
    MANY,
    every_outcome,
    flat,
    group,
    header_of,
    intervention,
    labelled,
    level_of,
    main_outcomes,
    measure,
    named,
    notes,
    period,
)
from bayesalloc.report.tables import Name, Sheet, document, for_json
from bayesalloc.report.words import (
    MISSING,
    bracket,
    listing,
    number,
    percent,
    shared_places,
    size_of,
    top_places,
    words,
)

PAST_TERMS = {
    "recorded": "what the record says, with its errors of measurement.",
    "factual": "what the model infers to have been, given the whole record.",
    "counterfactual": "what would have been at the same times, with the same chance events, had the intervention"
    " been made.",
    "difference [low, high]": "counterfactual minus factual; it lies in the brackets with {level} probability, given"
    " the model.",
    "P(>0)": "the probability that the difference is above zero.",
}


def as_json(tree: xr.DataTree, files: Mapping[str, str], seed: int) -> dict[str, Any]:
    """The JSON of `bayesalloc counterfactual`: per outcome and period, and over the periods; see `comparison_json`."""
    return for_json(
        {
            **header_of(tree, seed),
            "intervention": tree.attrs["intervention"],
            "period": period(tree),
            "from_year": tree.attrs["from_year"],
            "units": json.loads(tree.attrs["units"]),
            "warnings": json.loads(tree.attrs.get("warnings", "[]")),
            "outcomes": by_period(tree),
            "overall": overall(tree),
            "files": dict(files),
        }
    )


def text(tree: xr.DataTree) -> Group:
    """A counterfactual for the terminal: what would have been different, over the periods and one by one."""
    main = main_outcomes(tree)[:MANY]
    sheets = [overall_sheet(tree, main_outcomes(tree, directed=False)), *(periods_sheet(tree, name) for name in main)]
    made = f"{tree.attrs['model']}: counterfactual, with the record's own noise; {tree.attrs['draws']} posterior draws."
    return document([made, *sentences(tree), *notes(tree)], sheets)


def write(tree: xr.DataTree, path: Path, seed: int) -> Path:
    """Writes the page; there is never half a file."""
    return html.write(page(tree, seed), path)


def page(tree: xr.DataTree, seed: int) -> str:
    """The page, as HTML."""
    did, first = words(intervention(tree)), tree.attrs["from_year"]
    return html.frame(f"{words(tree.attrs['model'])}: with {did} from {first} on", _body(tree), seed)


def sentences(tree: xr.DataTree, name: Callable[[str], str] = str) -> list[str]:
    """What would have been different: at the end of the record for stocks, on average over its periods for flows."""
    verbs = {1: "{} higher by {}", -1: "{} lower by {}", 0: "{} lower or higher{}", None: "{} no different"}
    last, first = group(tree, "effects")[period(tree)].values[-1], tree.attrs["from_year"]
    when = {"horizon": f"in {last}", "periods": f"on average over {first} to {last}"}
    differences, clauses = overall(tree), []
    for outcome in main_outcomes(tree)[:MANY]:
        effect, known = differences[outcome], measure(tree, outcome)
        direction, size = size_of(effect, "mean", None, known.unit, 0.0 if clauses else tree.attrs["interval"])
        clauses.append(verbs[direction].format(f"{name(outcome)} {when[known.at]}", size))
    clauses[0] = clauses[0].replace(when["horizon"], f"{when['horizon']} would have been", 1)
    return [f"With {name(intervention(tree))} from {first} on, {listing(clauses)}."]


def overall(tree: xr.DataTree) -> dict[str, dict[str, float]]:
    """Outcome -> means and effect of a counterfactual over its periods: see `effects.summaries.past`."""
    return named(past(tree))


def by_period(tree: xr.DataTree) -> dict[str, list[dict[str, Any]]]:
    """Outcome -> one dict per period of a counterfactual: factual and counterfactual mean, effect, recorded value."""
    called = period(tree)
    effects, record = group(tree, "effects"), flat(group(tree, "record"), called)
    means = flat(mean_courses(tree), "arm", called)
    names, found = effects["statistic"].values.tolist(), {}
    for label, values in flat(effects, called, "statistic").items():
        outcome, dot, rest = label.partition(".")
        recorded = record.get(f"{outcome}_observed{dot}{rest}", np.full(len(values), np.nan))
        found[label] = [
            {
                called: when,
                "factual": means[label][0, i],
                "counterfactual": means[label][1, i],
                "effect": dict(zip(names, values[i], strict=True)),
                "recorded": recorded[i],
            }
            for i, when in enumerate(effects[called].values.tolist())
        ]
    return found


def overall_sheet(tree: xr.DataTree, outcomes: Sequence[str], name: Name = str) -> Sheet:
    """The counterfactual over its periods."""
    last, first, rows = group(tree, "effects")[period(tree)].values[-1], tree.attrs["from_year"], []
    when = {"horizon": str(last), "periods": f"mean {first}-{last}"}
    for outcome, found in overall(tree).items():
        if outcome in outcomes:
            both = (found["factual"], found["counterfactual"])
            means = [number(value, top_places(both)) for value in both]
            none = found["low"] == found["high"] == 0
            chance = MISSING if none else percent(found["prob_positive"], tree.attrs["draws"])
            effect = bracket(found, "mean", signed=True)
            rows.append([labelled(tree, outcome, name), when[measure(tree, outcome).at], *means, effect, chance])
    header = ["outcome", "when", "factual", "counterfactual", f"difference [{level_of(tree)}]", "P(>0)"]
    return Sheet(f"Counterfactual: {name(intervention(tree))} from {first} on", header, rows, keys=2)


def periods_sheet(tree: xr.DataTree, outcome: str, name: Name = str) -> Sheet:
    """One outcome of a counterfactual, period by period."""
    found, shown, rows = by_period(tree)[outcome], ("recorded", "factual", "counterfactual"), []
    size, decimals = (
        top_places(row[key] for row in found for key in shown),
        shared_places([row["effect"] for row in found]),
    )
    for row in found:
        effect = bracket(row["effect"], "mean", decimals, signed=True)
        rows.append([str(row[period(tree)]), *(number(row[key], size) for key in shown), effect])
    header = [period(tree), "recorded", "factual", "counterfactual", f"difference [{level_of(tree)}]"]
    return Sheet(labelled(tree, outcome, name), header, rows)


def _body(tree: xr.DataTree) -> Iterator[str]:
    level = f"{100 * tree.attrs['interval']:.0f} %"
    did = f"{words(intervention(tree))} from {tree.attrs['from_year']} on"
    main, scalar = main_outcomes(tree)[: figures.PANELS], main_outcomes(tree, directed=False)
    yield html.tags("counterfactual: what would have happened", BASIS["posterior"])
    yield html.answer(sentences(tree, words), notes(tree))
    yield (
        html.section("How to read it")
        + html.terms(PAST_TERMS, level)
        + html.section(f"{period(tree)} by {period(tree)}")
    )
    lines = f"Lines over the {period(tree)}s: {{}} as recorded, as it was by the model, and with {did}.".format
    panels = [html.svg(counterfactual_plot(tree, [outcome]), lines(words(outcome))) for outcome in main]
    yield html.figure(
        panels,
        "Dots: the record. Grey, dashed: what the model says was. Blue: what would have been with"
        f" {did}. Bands: {level} of the posterior draws.",
    )
    yield html.table(overall_sheet(tree, scalar, words))
    for outcome in main:
        yield html.table(periods_sheet(tree, outcome, words))
    if rest := [label for label in every_outcome(tree) if label not in scalar]:
        yield html.section("By agent") + html.table(overall_sheet(tree, rest, words))
    yield html.section("How it was made") + html.terms(
        {
            "model": tree.attrs["model"],
            "kind": f"counterfactual: the chance events of the recorded {period(tree)}s, as inferred from the record,"
            " happen again (abduction, action, prediction)",
            "intervention": f"{intervention(tree)}, from {tree.attrs['from_year']} on",
            "parameters": f"{tree.attrs['draws']} draws from the posterior given the record",
            "intervals": f"equal-tailed, {level}",
        }
    )
    yield _measures(tree)


def counterfactual_plot(tree: xr.DataTree, outcomes: Sequence[str] | None = None) -> Figure:
    """What was recorded, what the model says was, and what would have been, one panel per outcome.

    Args:
        tree: a result of `counterfactual`.
        outcomes: which; default: those of one number that have a good direction.
    """
    chosen = list(outcomes or main_outcomes(tree))[: figures.PANELS]
    figure, record, since = figures.trajectories(tree, chosen), group(tree, "record"), tree.attrs["from_year"]
    for axes, outcome in zip(figure.axes, chosen, strict=True):
        recorded = flat(record, period(tree)).get(f"{outcome}_observed")
        if recorded is not None:
            axes.plot(
                record[period(tree)].values, recorded, "o", color=figures.INK, markersize=3.2, zorder=3, clip_on=False
            )
        axes.axvline(since - 0.5, color=figures.INK, linewidth=0.9, linestyle=(0, (3, 2)))
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.2 * (high - low))
        label = textwrap.fill(f"{figures.plain(intervention(tree))} from {since}", 22, break_long_words=False)
        place = (since - 0.5, high + 0.2 * (high - low))
        axes.annotate(label, place, (4, 0), textcoords="offset points", fontsize=figures.SMALL - 1, va="top")
    return figure
