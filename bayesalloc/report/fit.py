"""A result of `fit` as documents: whether it can be used, and what was learnt."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Group

from bayesalloc import defaults
from bayesalloc.inference.diagnosing import predicted, summary
from bayesalloc.inference.names import unescaped
from bayesalloc.report import figures, html
from bayesalloc.report.reading import MANY, group, named, notes, period
from bayesalloc.report.tables import Name, Sheet, document, for_json
from bayesalloc.report.words import MISSING, bracket, number, words

if TYPE_CHECKING:
    from bayesalloc.inference.diagnosing import Verdict


def as_json(tree: xr.DataTree, verdict: "Verdict", files: Mapping[str, str]) -> dict[str, Any]:
    """The JSON of `bayesalloc fit`, whose `verdict` is from `diagnose`; see `comparison_json`.

    Sites with several values are named `tendency.dam_owner`.
    """
    numbers = ("rhat_max", "ess_bulk_min", "ess_tail_min", "divergences", "pareto_k", "usable", "why", "checks")
    return for_json(
        {
            "model": tree.attrs["model"],
            "method": tree.attrs["method"],
            **{name: getattr(verdict, name) for name in numbers},
            "interval": {"kind": "eti", "prob": defaults.INTERVAL},
            "summary": summaries(tree),
            "files": dict(files),
        }
    )


def text(tree: xr.DataTree, verdict: "Verdict") -> Group:
    """A fit for the terminal: whether it can be used, the parameters, and the predictive checks."""
    return document([*sentences(tree, verdict), *notes(tree)], [parameters_sheet(tree), checks_sheet(verdict)])


def write(tree: xr.DataTree, path: Path, seed: int, *, verdict: "Verdict | None" = None) -> Path:
    """Writes the page; there is never half a file."""
    return html.write(page(tree, seed, verdict=verdict), path)


def page(tree: xr.DataTree, seed: int, *, verdict: "Verdict | None" = None) -> str:
    """The page, as HTML, with what `diagnose` says of the fit."""
    return html.frame(f"{words(tree.attrs['model'])}: what the record says", _body(tree, verdict), seed)


def sentences(tree: xr.DataTree, verdict: "Verdict", name: Callable[[str], str] = str) -> list[str]:
    """Whether a posterior can be used and why, and what was assumed about the record."""
    use = "can be used" if verdict.usable else "should not be used yet"
    model, record = name(tree.attrs["model"]), tree.attrs["record_name"]
    return [f"The posterior of {model} given {record} {use}: {verdict.why}."]


def summaries(tree: xr.DataTree, source: str = "posterior") -> dict[str, dict[str, float]]:
    """Site -> mean, sd, low, high of the parameters: the sites that have no period."""
    return named(summary(tree, group=source))


def parameters_sheet(tree: xr.DataTree, name: Name = str) -> Sheet:
    """Prior and posterior of each parameter; sites with many values in one row."""
    prior, posterior = summaries(tree, "prior"), summaries(tree)
    by_site: dict[str, list[str]] = {}
    for label in posterior:
        by_site.setdefault(label.partition(".")[0], []).append(label)
    rows = []
    for site, labels in by_site.items():
        if len(labels) > MANY:
            means = [posterior[label]["mean"] for label in labels]
            spread = f"means {number(min(means))} to {number(max(means))}"
            rows.append([f"{name(site)} ({len(labels)} values)", MISSING, spread, MISSING])
            continue
        for label in labels:
            before, after = prior.get(label), posterior[label]
            left = 100 * after["sd"] / before["sd"] if before and before["sd"] > 0 else math.nan
            shown = f"{number(left, 0)} %" if math.isfinite(left) else MISSING
            rows.append([name(label), bracket(before, "mean") if before else MISSING, bracket(after, "mean"), shown])
    level = f"{100 * defaults.INTERVAL:.0f} %"
    return Sheet("Parameters", ["site", f"prior [{level}]", f"posterior [{level}]", "spread left"], rows)


def checks_sheet(verdict: "Verdict", name: Name = str) -> Sheet:
    """Posterior predictive checks, per data site."""
    rows = [
        [name(site.removesuffix("_observed")), *(f"{100 * check[key]:.0f} %" for key in ("inside", "p_mean", "p_sd"))]
        for site, check in verdict.checks.items()
    ]
    header = [
        "data",
        f"inside the {100 * defaults.INTERVAL:.0f} % interval",
        "replicated mean larger",
        "replicated sd larger",
    ]
    return Sheet("Predictive checks", header, rows)


def _body(tree: xr.DataTree, verdict: "Verdict | None") -> Iterator[str]:
    level, sampled = f"{100 * defaults.INTERVAL:.0f} %", group(tree, "posterior").sizes
    yield html.tags("posterior: given the record", f"method: {tree.attrs['method'].upper()}")
    unknown = [f"The posterior of {words(tree.attrs['model'])} given {tree.attrs['record_name']}: see the checks."]
    bad = verdict is not None and not verdict.usable
    yield html.answer(sentences(tree, verdict, words) if verdict else unknown, notes(tree), bad=bad)
    if verdict:
        numbers = [
            ("largest R-hat", "chains agree where it is at most 1.01", verdict.rhat_max, ".3f"),
            ("effective samples, bulk", "of the worst parameter; at least 400", verdict.ess_bulk_min, ".0f"),
            ("effective samples, tails", "of the worst parameter; at least 400", verdict.ess_tail_min, ".0f"),
            ("divergences", "none, where the sampler reached everything", verdict.divergences, "d"),
            ("Pareto k", "the approximation can be trusted up to 0.7", verdict.pareto_k, ".2f"),
        ]
        rows = [[name, good, format(value, form)] for name, good, value, form in numbers if value is not None]
        yield html.section("Can it be used?")
        yield html.table(Sheet("Diagnostics", ["measure", "what is good", "value"], rows, keys=2))
    yield html.section("Does the model reproduce the record?")
    sites = [str(site) for site in group(tree, "observed_data").data_vars][: figures.PANELS]
    alt = "Observations and posterior predictive interval of {}.".format
    panels = [html.svg(predictive_check(tree, [site]), alt(words(unescaped(site)))) for site in sites]
    yield html.figure(
        panels,
        f"Dots: the record. Band or bars: the {level} posterior predictive interval. Orange"
        " crosses: observations outside it, about one in nine where the model fits.",
    )
    if verdict:
        note = "The last two are best near 50 %; below 2.5 % or above 97.5 % the model misses that side of the record."
        yield html.table(checks_sheet(verdict, words), note)
    yield html.section("What was learnt")
    alt = "Prior and posterior interval of each parameter; the numbers are in the table."
    yield html.figure(
        [html.svg(parameters(tree), alt)],
        f"Grey: the {level} interval of the prior, drawn to one"
        " length for all. Blue: the posterior. Where they are alike the record says nothing.",
        wide=True,
    )
    note = "Mean and interval. Spread left: the posterior's standard deviation as a share of the prior's."
    yield html.table(parameters_sheet(tree, words), note)
    observed = group(tree, "observed_data").data_vars.items()
    seen = [
        f"{words(unescaped(str(site)))}: {int(values.notnull().sum())} of {values.size} cells"
        for site, values in observed
    ]
    yield html.section("How it was made") + html.terms(
        {
            "record": f"{tree.attrs['record_name']} ({'; '.join(seen)})",
            "draws": f"{sampled['chain']} chains of {sampled['draw']}",
            "arms in force": ", ".join(json.loads(tree.attrs["arms"])) or "none",
        }
    )


def predictive_check(tree: xr.DataTree, sites: Sequence[str] | None = None) -> Figure:
    """Whether the fitted model reproduces the record: posterior predictive interval and the observations.

    One panel per data site: over the periods, or with the observations sorted by what the model predicts.

    Args:
        tree: a result of `fit`.
        sites: which data sites; default: all.
    """
    observed = group(tree, "observed_data")
    chosen = list(sites or map(str, observed.data_vars))[: figures.PANELS]
    figure, panels = figures.grid(len(chosen), right=0.2)
    for axes, site in zip(panels, chosen, strict=True):
        in_time = observed[site].dims == (period(tree),)
        seen = observed[site].values.astype(float).ravel()
        low, middle, high = predicted(tree, site)
        if in_time:
            x = observed[period(tree)].values
            axes.fill_between(x, low, high, color=figures.COLOURS[0], alpha=0.18, linewidth=0)
            axes.plot(x, middle, color=figures.COLOURS[0], linewidth=1.6)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        else:
            there = np.flatnonzero(np.isfinite(seen))
            order = there[np.argsort(middle[there], kind="stable")]
            order = order[np.linspace(0, len(order) - 1, min(len(order), 150)).astype(int)]
            low, middle, high, seen, x = low[order], middle[order], high[order], seen[order], np.arange(len(order))
            axes.vlines(x, low, high, color=figures.COLOURS[0], alpha=0.35, linewidth=1.5)
        outside = (seen < low) | (seen > high)
        axes.plot(x[~outside], seen[~outside], "o", color=figures.INK, markersize=3.2, zorder=3)
        axes.plot(x[outside], seen[outside], "x", color=figures.COLOURS[1], markersize=5, markeredgewidth=2, zorder=4)
        axes.set_xlabel(
            period(tree) if in_time else "observations, sorted by what is predicted", fontsize=figures.SMALL
        )
        axes.set_title(
            figures.plain(unescaped(site).removesuffix("_observed")),
            loc="left",
            fontsize=10,
            fontweight="bold",
            color=figures.INK,
        )
    return figure


def parameters(tree: xr.DataTree) -> Figure:
    """Prior and posterior intervals of each parameter, on a scale on which every prior interval runs from 0 to 1.

    Args:
        tree: a result of `fit`.
    """
    prior, posterior = summaries(tree, "prior"), summaries(tree)
    sites = [label.partition(".")[0] for label in posterior]
    labels = [label for label, site in zip(posterior, sites, strict=True) if sites.count(site) <= MANY]
    labels = [label for label in labels if label in prior and prior[label]["high"] > prior[label]["low"]]
    height = 0.8 + 0.27 * max(len(labels), 1)
    figure = Figure(figsize=(figures.WIDE, height))
    axes = figures.axes_at(figure, (1.5, 0.5, figures.WIDE - 3.0, height - 0.8))
    for row, label in enumerate(labels):
        low, width = prior[label]["low"], prior[label]["high"] - prior[label]["low"]
        scaled = {name: (posterior[label][name] - low) / width for name in ("low", "mean", "high")}
        axes.plot([0, 1], [row, row], color=figures.FAINT, linewidth=8, solid_capstyle="butt")
        axes.plot(
            [scaled["low"], scaled["high"]], [row, row], color=figures.COLOURS[0], linewidth=3, solid_capstyle="butt"
        )
        axes.plot(scaled["mean"], row, "o", color="white", markeredgecolor=figures.COLOURS[0], markersize=5)
        place = (1.03, row)
        axes.annotate(
            figures.minus(bracket(posterior[label], "mean")),
            place,
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=figures.SMALL,
            color=figures.INK,
        )
    figures.row_labels(axes, labels, wrap=40)
    left, right = axes.get_xlim()
    axes.set_xlim(max(left, -1.0), min(right, 2.0))
    axes.set_xticks([0, 1], ["prior low", "prior high"])
    figures.key(
        figure,
        {
            f"prior, {100 * defaults.INTERVAL:.0f} % interval": figures.FAINT,
            "posterior, with its mean": figures.COLOURS[0],
        },
        2,
    )
    return figure
