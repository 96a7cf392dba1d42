"""A training run as documents: its learning curve in a terminal and as a page."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator
from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table

from bayesalloc.agents.policies import Judged
from bayesalloc.effects.summaries import latest_means
from bayesalloc.errors import listed
from bayesalloc.report import figures, html
from bayesalloc.report.tables import Sheet
from bayesalloc.report.words import MISSING, words

LISTED = 12  # rows of the table of a learning curve
NOTHING = Judged([], {}, {})
ABOUT = (
    "problem",
    "method",
    "preset",
    "seed",
    "averse",
    "episodes",
    "steps",
    "seconds",
    "judged",
    "files",
)  # the rest are series


def as_json(
    asked: Mapping[str, Any], curve: xr.Dataset, seconds: float, files: Mapping[str, str], judged: Judged = NOTHING
) -> dict[str, Any]:
    """The document of `bayesalloc train`; the series of the curve (as `return` and `loss`) are those at the end."""
    last = {name: _or_null(curve[name].values[-1].tolist()) for name in series_of(curve)}
    averse = asked["plan"].get("averse")
    averse = {"averse": {"lambda": asked["plan"]["config"]["aversion"], **averse}} if averse else {}
    return {
        "problem": asked["problem"],
        "method": asked["method"],
        "preset": asked["plan"]["preset"],
        "seed": asked["seed"],
        **averse,
        "episodes": int(curve["episodes"].values[-1]),
        "steps": int(curve["steps"].values[-1]),
        "seconds": seconds,
        **last,
        **({"judged": judged.record} if judged.record else {}),
        "files": dict(files),
    }


def series_of(curve: xr.Dataset) -> list[str]:
    """What the curve shows beside steps and episodes."""
    return [str(name) for name in curve.data_vars if name != "episodes"]


def text(result: Mapping[str, Any], judged: Judged = NOTHING) -> Group:
    """The same as a terminal table."""
    table = Table(title=f"training of {result['method']}, preset {result['preset']}", box=SIMPLE, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name in ("episodes", "steps"):
        table.add_row(name, f"{result[name]:,}")
    table.add_row("seconds", f"{result['seconds']:.3g}")
    if "averse" in result:
        table.add_row("lambda, of causal risk", f"{result['averse']['lambda']:g}")
    for name in result:
        if name not in ABOUT:
            table.add_row(f"{words(name)}, at last", _shown(result[name]))
    table.add_row("policy", result["files"]["policy"])
    return Group(table, *judged.sentences)


def write(
    result: Mapping[str, Any], asked: Mapping[str, Any], curve: xr.Dataset, folder: Path, judged: Judged = NOTHING
) -> None:
    """Writes the page `report.html` and the figure `curve.svg`."""
    title = f"{result['problem']}: how {result['method']} was learned"
    html.write(html.frame(title, _body(result, asked, curve, judged), result["seed"]), folder / "report.html")
    figure = learning(curve, "return")
    figure.savefig(folder / "curve.svg", metadata={"Date": None})


def _body(result: Mapping[str, Any], asked: Mapping[str, Any], curve: xr.Dataset, judged: Judged) -> Iterator[str]:
    names = series_of(curve)
    yield html.answer([*_sentences(result, curve), *judged.sentences], [])
    yield html.section("How to read it")
    yield html.terms({name: curve[name].attrs["says"] for name in names})
    yield html.section("Learning curve")
    pictures = [html.svg(learning(curve, name), _alternative(curve, name)) for name in names]
    yield html.figure(
        pictures,
        "Faint: the mean of each part of the run. Strong: the mean of the latest tenth of it"
        " (of the loss: its geometric mean).",
    )
    places = sorted({round(k * (curve.sizes["steps"] - 1) / (LISTED - 1)) for k in range(LISTED)})
    listed = curve.isel(steps=places)
    counts = ([f"{count:,}" for count in listed[name].values] for name in ("steps", "episodes"))
    means = ([_shown(value) for value in listed[name].values.tolist()] for name in names)
    rows = [list(row) for row in zip(*counts, *means, strict=True)]
    yield html.table(Sheet("Learning curve", ["steps", "episodes", *names], rows), "All parts are in results.nc.")
    for title, (header, *rows) in judged.tables.items():
        yield html.section(title)
        yield html.table(Sheet(title, header, rows))
    yield html.section("How it was made")
    plan = asked["plan"]
    nested = {name: [value] for name, value in plan.items() if isinstance(value, Mapping)}
    nested |= {name: value for name, value in plan.items() if value and _are_mappings(value)}
    own = {name: value for name, value in plan.items() if name not in nested}
    for title, columns in {"plan": [own], **nested}.items():
        rows = [[name.replace("_", " "), *(_plain(column[name]) for column in columns)] for name in columns[0]]
        names = ["value"] if len(columns) == 1 else [str(number) for number in range(1, len(columns) + 1)]
        yield html.table(Sheet(title, ["field", *names], rows, keys=len(names) + 1))


def _are_mappings(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, Mapping) for each in value)


def _sentences(result: Mapping[str, Any], curve: xr.Dataset) -> list[str]:
    known = curve["return"].dropna("steps").values.tolist()
    random = (
        f", while {_shown(100 * (result['epsilon'] or 0))} % of the actions were still random"
        if "epsilon" in result
        else ""
    )
    averse = result.get("averse")
    at_risk = (
        [
            f"From each objective {averse['lambda']:g} times the causal risk of what was done is taken: harm to"
            f" {listed(averse['protected'])} that books make likely (SHA-256 {averse['books'][:12]})."
        ]
        if averse
        else []
    )
    return [
        f"{result['method']} was trained as the preset {result['preset']} says, on {result['episodes']:,} episodes of"
        f" {result['problem']} ({result['steps']:,} steps) in {result['seconds']:.0f} s.",
        f"An episode's return ({curve.attrs['goal']}) was {_shown(known[0] if known else None)} at first and"
        f" {_shown(result['return'])} at last{random}.",
        *at_risk,
    ]


def _alternative(curve: xr.Dataset, name: str) -> str:
    values = curve[name].values.tolist()
    return f"{words(name)} over the steps, from {_shown(values[0])} to {_shown(values[-1])}."


def _or_null(value: Any) -> Any:
    return [*map(_or_null, value)] if isinstance(value, list) else value if math.isfinite(value) else None


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return MISSING if value is None or not math.isfinite(value) else f"{value:.3g}"


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def learning(curve: xr.Dataset, name: str) -> Figure:
    """One series over a training run: each part of the run (faint) and the mean of the latest tenth of it (strong).

    A loss that is above zero is drawn on a logarithmic scale, and so is its mean taken. What is not a mean over a part
    of the run, as the part of random actions, is drawn as it is. A vector has a line for each objective.

    Args:
        curve: of `bayesalloc.agents.curves.curve`.
        name: of the series.
    """
    figure, [axes] = figures.grid(1, height=2.7)
    lines = curve[name].transpose(..., "steps").values.reshape(-1, curve.sizes["steps"])
    logarithmic = name.endswith("loss") and not (lines < 0).any() and bool((lines > 0).any())
    for place, line in enumerate(lines):
        colour, known = (
            figures.COLOURS[place % len(figures.COLOURS)],
            np.isfinite(line) & ((line > 0) | (not logarithmic)),
        )
        steps, values = curve["steps"].values[known], line[known]
        if curve[name].attrs["over"] != "last":
            axes.plot(steps, values, color=colour, alpha=0.35, linewidth=0.8)
            values = latest_means(values, logarithmic=logarithmic)
        axes.plot(steps, values, color=colour, linewidth=1.8, label=f"objective {place + 1}")
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    if curve[name].attrs["over"] == "last" and (lines >= 0).all():
        axes.set_ylim(bottom=0)
    if len(lines) > 1:
        axes.legend(fontsize=figures.SMALL, frameon=False)
    axes.set_title(figures.plain(name), loc="left", fontsize=10, fontweight="bold", color=figures.INK)
    axes.set_xlabel("steps", fontsize=figures.SMALL)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    return figure
