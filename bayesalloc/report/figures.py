"""Figures of results: each a function from a tree to a matplotlib Figure, without pyplot and its global state.

Colours are those of Okabe & Ito (2008), which remain distinct under colour blindness; the control is grey.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator

from bayesalloc.claims import Sweep
from bayesalloc.errors import visible
from bayesalloc.inference.names import unescaped
from bayesalloc.report import (
    INTERVAL,
    MANY,
    MAY_REFUSE,
    REFUSES,
    alike,
    arms_of,
    bracket,
    effects_of,
    flat,
    group,
    intervention,
    main_outcomes,
    measure,
    payoff_name,
    payoff_unit,
    percent,
    period,
    summaries,
    titled,
    words,
)

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY, FAINT, INK = "#595959", "#d9d9d9", "#222222"
SWEEP_COLOURS = {
    "opt": GREY, "cen-grd": COLOURS[1], "dec-grd": COLOURS[0], "cen-grd+": COLOURS[4], "dec-price": COLOURS[2],
    "cen-rl": COLOURS[3], "dec-rl": COLOURS[5], "cen-rl+": "#7b3a63", "dec-rl+": "#1b4f72", "dec-grd+": "#6b705c",
}  # fmt: skip
SMALL = 8.5
PANEL = (3.7, 2.5)  # inches
WIDE = 4.8
PANELS = 12  # a figure has at most as many


def trajectories(tree: xr.DataTree, outcomes: Sequence[str] | None = None) -> Figure:
    """Mean and interval of each outcome over the periods, one panel per outcome, one labelled line per arm.

    Args:
        tree: a result of `compare` or `counterfactual` with the group `outcomes`.
        outcomes: which; default: those of one number that have a good direction.
    """
    chosen = list(outcomes or main_outcomes(tree))[:PANELS]
    data, colours, tail = group(tree, "outcomes"), arm_colours(tree), (1 - tree.attrs["interval"]) / 2
    called = period(tree)
    values, when = flat(data, "arm", "draw", called), data[called].values
    figure, panels = _panels(len(chosen), right=1.0)
    for axes, outcome in zip(panels, chosen, strict=True):
        ends = {}
        for (arm, colour), of_arm in zip(colours.items(), values[outcome], strict=True):
            low, high = np.quantile(of_arm, [tail, 1 - tail], axis=0)
            axes.fill_between(when, low, high, color=colour, alpha=0.13, linewidth=0)
            # The control is dashed and on top, so that a treatment that changes nothing stays visible under it.
            style, top = ((0, (4, 1.5)), 3) if colour == GREY else ("-", 2)
            axes.plot(when, of_arm.mean(0), color=colour, linewidth=1.8, linestyle=style, zorder=top)
            ends[arm] = of_arm.mean(0)[-1]
        axes.set_xlim(when[0] - 0.02 * (when[-1] - when[0]), when[-1])
        unit = measure(tree, outcome).unit
        title = f"{plain(outcome)}{f', {unit}' if unit else ''}"
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK)
        axes.set_xlabel(called, fontsize=SMALL)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        _label_ends(axes, ends, colours)
    return figure


def effects_plot(tree: xr.DataTree, outcomes: Sequence[str] | None = None) -> Figure:
    """Average effect of each treatment with its interval (thick) and the interval of one future (thin).

    Args:
        tree: a result of `compare`.
        outcomes: which, one panel each; default: all of one number.
    """
    chosen = list(outcomes or main_outcomes(tree, directed=False))[:PANELS]
    effects, colours = effects_of(tree), arm_colours(tree)
    rows = len(colours) - 1
    figure, panels = _panels(len(chosen), height=0.95 + 0.5 * rows, left=1.15, right=0.15)
    for axes, outcome in zip(panels, chosen, strict=True):
        decimals = alike(effects[outcome].values())
        for row, (arm, s) in enumerate(effects[outcome].items()):
            axes.plot([s["one_low"], s["one_high"]], [row, row], color=colours[arm], linewidth=1.2)
            axes.plot([s["low"], s["high"]], [row, row], color=colours[arm], linewidth=5, solid_capstyle="butt")
            axes.plot(s["ate"], row, "o", color="white", markeredgecolor=colours[arm], markersize=5.5, zorder=3)
            shown = minus(bracket(s, "ate", decimals, signed=True).partition(" ")[0])
            axes.annotate(shown, (s["ate"], row), (0, 6), textcoords="offset points", ha="center", fontsize=SMALL,
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6})  # fmt: skip
        axes.axvline(0, color=GREY, linewidth=0.9, zorder=0)
        _rows(axes, list(effects[outcome]))
        _with_zero(axes)
        unit, better = measure(tree, outcome).unit, measure(tree, outcome).better
        hint = {"higher": "better \N{RIGHTWARDS ARROW}", "lower": "\N{LEFTWARDS ARROW} better"}.get(better, "")
        axes.set_title(hint, loc="right", fontsize=SMALL, color=GREY)
        axes.set_title(titled(tree, outcome, plain), loc="left", fontsize=10, fontweight="bold", color=INK)
        axes.set_xlabel(f"difference from {plain(tree.attrs['control'])}{f', {unit}' if unit else ''}", fontsize=SMALL)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    return figure


def uncertainty_split(tree: xr.DataTree, outcomes: Sequence[str] | None = None) -> Figure | None:
    """Shares of the variance of one future's effect: unknown parameters, chance, and the simulation's own error.

    None where no effect has a spread to split.

    Args:
        tree: a result of `compare`.
        outcomes: which; default: all of one number.
    """
    chosen = list(outcomes or main_outcomes(tree, directed=False))[:PANELS]
    effects = effects_of(tree)
    parts = {"var_parameter": "unknown parameters", "var_process": "chance", "var_monte_carlo": "simulation error"}
    shades = dict(zip(parts, (COLOURS[5], "#c8c8c8", INK), strict=True))
    bars = []
    for outcome in chosen:
        for arm, s in effects[outcome].items():
            total = sum(s[part] for part in parts)
            if math.isfinite(total) and total > 1e-12 * s["ate"] ** 2:
                bars.append((f"{words(outcome)}: {words(arm)}", [s[part] / total for part in parts]))
    if not bars:
        return None
    height = 0.8 + 0.3 * len(bars)
    figure = Figure(figsize=(WIDE, height))
    axes = _axes(figure, (2.1, 0.5, WIDE - 2.35, height - 0.8))
    for row, (_, shares) in enumerate(bars):
        start = 0.0
        for part, share in zip(parts, shares, strict=True):
            axes.barh(row, share, 0.62, start, color=shades[part])
            if share >= 0.1:
                place = (start + share / 2, row)
                axes.annotate(f"{100 * share:.0f} %", place, ha="center", va="center", color=INK, fontsize=SMALL)
            start += share
    _rows(axes, [label for label, _ in bars], wrap=30)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
    axes.set_xlabel("share of the variance of the effect in one future", fontsize=SMALL)
    _key(figure, {name: shades[part] for part, name in parts.items()}, 3)
    return figure


def payoffs(tree: xr.DataTree) -> Figure:
    """Each agent's payoff under each arm, and what it would have without an agreement; crossed where it would refuse.

    Args:
        tree: a result of `compare` with the group `agents`.
    """
    agents, colours = group(tree, "agents"), arm_colours(tree)
    arms, step = arms_of(tree), 1 / (len(colours) + 1)
    names, payoff = agents["agent"].values.tolist(), payoff_name(tree)
    head, inside = 0.1 + 0.2 * math.ceil((len(colours) + 1) / 2), len(names) * max(0.45, 0.17 * (len(colours) + 1))
    figure = Figure(figsize=(WIDE, head + inside + 0.5))
    axes = _axes(figure, (1.2, 0.5, WIDE - 1.4, inside))
    for row, agent in enumerate(names):
        without = float((agents["payoff"] - agents["gain_over_refusal"]).sel(agent=agent).mean())
        axes.plot([without, without], [row - 0.42, row + 0.42], color=INK, linewidth=1.3, linestyle=(0, (3, 2)))
        for i, (arm, colour) in enumerate(colours.items()):
            cell, y = agents.sel(agent=agent, arm=arm), row + (i - (len(colours) - 1) / 2) * step
            mean, stats = float(cell["payoff"]), arms.get(f"{payoff}.{agent}", {}).get(arm, {})
            if stats:
                axes.plot([stats["low"], stats["high"]], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
            refuse = float(cell["would_refuse"])
            likely = refuse >= REFUSES
            axes.plot(mean, y, "X" if likely else "o", color=colour, markersize=8 if likely else 5.5, zorder=3)
            if refuse >= MAY_REFUSE:
                text = f"would refuse: {percent(refuse, tree.attrs['draws'])}"
                place = (stats.get("high", mean), y)
                axes.annotate(text, place, (6, 0), textcoords="offset points", va="center", fontsize=SMALL - 1)
    _rows(axes, names)
    for row in range(1, len(names)):
        axes.axhline(row - 0.5, color=FAINT, linewidth=0.7, zorder=0)
    unit = payoff_unit(tree)
    axes.set_xlabel(f"payoff{f', {unit}' if unit else ''}", fontsize=SMALL)
    _key(figure, {plain(arm): colour for arm, colour in colours.items()}, 2, dashed="without an agreement")
    return figure


def counterfactual_plot(tree: xr.DataTree, outcomes: Sequence[str] | None = None) -> Figure:
    """What was recorded, what the model says was, and what would have been, one panel per outcome.

    Args:
        tree: a result of `counterfactual`.
        outcomes: which; default: those of one number that have a good direction.
    """
    chosen = list(outcomes or main_outcomes(tree))[:PANELS]
    figure, record, since = trajectories(tree, chosen), group(tree, "record"), tree.attrs["from_year"]
    for axes, outcome in zip(figure.axes, chosen, strict=True):
        recorded = flat(record, period(tree)).get(f"{outcome}_observed")
        if recorded is not None:
            axes.plot(record[period(tree)].values, recorded, "o", color=INK, markersize=3.2, zorder=3, clip_on=False)
        axes.axvline(since - 0.5, color=INK, linewidth=0.9, linestyle=(0, (3, 2)))
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.2 * (high - low))
        label = textwrap.fill(f"{plain(intervention(tree))} from {since}", 22, break_long_words=False)
        place = (since - 0.5, high + 0.2 * (high - low))
        axes.annotate(label, place, (4, 0), textcoords="offset points", fontsize=SMALL - 1, va="top")
    return figure


def predictive_check(tree: xr.DataTree, sites: Sequence[str] | None = None) -> Figure:
    """Whether the fitted model reproduces the record: posterior predictive interval and the observations.

    One panel per data site: over the periods, or with the observations sorted by what the model predicts.

    Args:
        tree: a result of `fit`.
        sites: which data sites; default: all.
    """
    observed, predicted = group(tree, "observed_data"), group(tree, "posterior_predictive")
    chosen = list(sites or map(str, observed.data_vars))[:PANELS]
    figure, panels = _panels(len(chosen), right=0.2)
    for axes, site in zip(panels, chosen, strict=True):
        in_time = observed[site].dims == (period(tree),)
        seen = observed[site].values.astype(float).ravel()
        drawn = predicted[site].values.reshape(-1, seen.size)
        low, middle, high = np.quantile(drawn, [(1 - INTERVAL) / 2, 0.5, (1 + INTERVAL) / 2], axis=0)
        if in_time:
            x = observed[period(tree)].values
            axes.fill_between(x, low, high, color=COLOURS[0], alpha=0.18, linewidth=0)
            axes.plot(x, middle, color=COLOURS[0], linewidth=1.6)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        else:
            there = np.flatnonzero(np.isfinite(seen))
            order = there[np.argsort(middle[there], kind="stable")]
            order = order[np.linspace(0, len(order) - 1, min(len(order), 150)).astype(int)]
            low, middle, high, seen, x = low[order], middle[order], high[order], seen[order], np.arange(len(order))
            axes.vlines(x, low, high, color=COLOURS[0], alpha=0.35, linewidth=1.5)
        outside = (seen < low) | (seen > high)
        axes.plot(x[~outside], seen[~outside], "o", color=INK, markersize=3.2, zorder=3)
        axes.plot(x[outside], seen[outside], "x", color=COLOURS[1], markersize=5, markeredgewidth=2, zorder=4)
        axes.set_xlabel(period(tree) if in_time else "observations, sorted by what is predicted", fontsize=SMALL)
        axes.set_title(
            plain(unescaped(site).removesuffix("_observed")), loc="left", fontsize=10, fontweight="bold", color=INK
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
    figure = Figure(figsize=(WIDE, height))
    axes = _axes(figure, (1.5, 0.5, WIDE - 3.0, height - 0.8))
    for row, label in enumerate(labels):
        low, width = prior[label]["low"], prior[label]["high"] - prior[label]["low"]
        scaled = {name: (posterior[label][name] - low) / width for name in ("low", "mean", "high")}
        axes.plot([0, 1], [row, row], color=FAINT, linewidth=8, solid_capstyle="butt")
        axes.plot([scaled["low"], scaled["high"]], [row, row], color=COLOURS[0], linewidth=3, solid_capstyle="butt")
        axes.plot(scaled["mean"], row, "o", color="white", markeredgecolor=COLOURS[0], markersize=5)
        place = (1.03, row)
        axes.annotate(minus(bracket(posterior[label], "mean")), place, xycoords=("axes fraction", "data"), va="center",
                      fontsize=SMALL, color=INK)  # fmt: skip
    _rows(axes, labels, wrap=40)
    left, right = axes.get_xlim()
    axes.set_xlim(max(left, -1.0), min(right, 2.0))
    axes.set_xticks([0, 1], ["prior low", "prior high"])
    _key(figure, {f"prior, {100 * INTERVAL:.0f} % interval": FAINT, "posterior, with its mean": COLOURS[0]}, 2)
    return figure


def sweep(panel: Sweep) -> Figure:
    """Averages of each method over a sweep, with their intervals; the optimum is grey and dashed."""
    figure, [axes] = _panels(1, height=2.7, right=0.95)
    colours, values = {name: SWEEP_COLOURS.get(name, INK) for name in panel.lines}, panel.values
    for name, line in panel.lines.items():
        axes.fill_between(values, line.low, line.high, color=colours[name], alpha=0.15, linewidth=0)
        style, top = ((0, (4, 1.5)), 3) if name == "opt" else ("-", 2)
        axes.plot(
            values, line.mean, color=colours[name], linewidth=1.7, linestyle=style, marker="o", markersize=3, zorder=top
        )
    axes.set_xticks(list(values))
    axes.set_title(plain(panel.title), loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.set_xlabel(panel.label, fontsize=SMALL)
    _label_ends(axes, {name: float(line.mean[-1]) for name, line in panel.lines.items()}, colours)
    return figure


def learning(curve: xr.Dataset, name: str, label: str) -> Figure:
    """One quantity over a training run: each part of the run (faint) and the mean of the latest tenth of it (strong).

    A loss is drawn on a logarithmic scale, and so is its mean taken.

    Args:
        curve: of `bayesalloc.agents.training.curve`.
        name: return, loss or epsilon.
        label: above the panel.
    """
    figure, [axes] = _panels(1, height=2.7)
    steps, values = curve["steps"].values, curve[name].values
    known = np.isfinite(values) & ((values > 0) | (name != "loss"))
    steps, values = steps[known], values[known]
    if name != "epsilon":
        axes.plot(steps, values, color=COLOURS[0], alpha=0.35, linewidth=0.8)
        width, drawn = max(1, math.ceil(len(values) / 10)), np.log(values) if name == "loss" else values
        latest = [drawn[max(0, place - width + 1) : place + 1].mean() for place in range(len(drawn))]
        values = np.exp(latest) if name == "loss" else latest
    axes.plot(steps, values, color=COLOURS[0], linewidth=1.8)
    if name == "loss" and len(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    if name == "epsilon":
        axes.set_ylim(0, 1.05)
    axes.set_title(plain(label), loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.set_xlabel("steps", fontsize=SMALL)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    return figure


def arm_colours(tree: xr.DataTree) -> dict[str, str]:
    """Arm -> colour: grey for what is compared with, the palette in turn for the others."""
    arms = (group(tree, "arms") if "arms" in tree.children else group(tree, "outcomes"))["arm"].values.tolist()
    control = tree.attrs.get("control", "factual")
    others = [arm for arm in arms if arm != control]
    return {arm: GREY if arm == control else COLOURS[others.index(arm) % len(COLOURS)] for arm in arms}


def plain(name: str) -> str:
    """A name as matplotlib shows it: `words`, with dollar signs that start no formula."""
    return visible(words(name)).replace("$", r"\$")


def minus(text: str) -> str:
    """Hyphens of negative numbers as minus signs, like those of the axes."""
    return text.replace("-", "\N{MINUS SIGN}")


def _panels(
    count: int, *, height: float = PANEL[1], left: float = 0.55, right: float = 0.2
) -> tuple[Figure, list[Axes]]:
    """A figure of equal panels, at most three beside each other; margins in inches."""
    columns = 2 if count == 4 else max(1, min(count, 3))
    figure = Figure(figsize=(PANEL[0] * columns, height * math.ceil(max(count, 1) / columns)))
    top = figure.get_figheight()
    places = [(i % columns * PANEL[0] + left, top - (i // columns + 1) * height + 0.5) for i in range(count)]
    return figure, [_axes(figure, (x, y, PANEL[0] - left - right, height - 0.8)) for x, y in places]


def _axes(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
    """Bare axes at a place given in inches: left, bottom, width, height."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.tick_params(labelsize=SMALL, color="#999999", labelcolor=INK, length=3)
    return axes


def _rows(axes: Axes, names: Sequence[str], wrap: int = 15) -> None:
    """One labelled row per name, from the top down."""
    axes.set_yticks(range(len(names)), [textwrap.fill(plain(name), wrap, break_long_words=False) for name in names])
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _with_zero(axes: Axes) -> None:
    """Limits of x that hold zero, with room for labels, also where nothing has a width."""
    low, high = (min(axes.get_xlim()[0], 0.0), max(axes.get_xlim()[1], 0.0))
    room = 0.08 * (high - low) or 1.0
    axes.set_xlim(low - room, high + room)


def _label_ends(axes: Axes, ends: Mapping[str, float], colours: Mapping[str, str]) -> None:
    """Names beside the right ends of lines, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    figure = axes.get_figure()
    inches = axes.get_position().height * figure.get_figheight() if isinstance(figure, Figure) else 1.0
    labels = {arm: textwrap.fill(plain(arm), 14, break_long_words=False) for arm in ends}
    size = {arm: 1.2 * SMALL / 72 / inches * (label.count("\n") + 1) for arm, label in labels.items()}
    order = sorted(ends, key=lambda arm: ends[arm])
    place = [(ends[arm] - low) / (high - low) for arm in order]
    for _ in range(50):
        for i in range(1, len(order)):
            overlap = (size[order[i]] + size[order[i - 1]]) / 2 - (place[i] - place[i - 1])
            if overlap > 0:
                place[i - 1], place[i] = place[i - 1] - overlap / 2, place[i] + overlap / 2
    highest = 1.0  # none is above the panel
    for i in reversed(range(len(order))):
        place[i] = min(place[i], highest)
        highest = place[i] - (size[order[i]] + size[order[i - 1]]) / 2
    for arm, y in zip(order, place, strict=True):
        end = (1.02, low + y * (high - low))
        axes.annotate(labels[arm], end, xycoords=("axes fraction", "data"), va="center", fontsize=SMALL,
                      color=colours[arm], annotation_clip=False)  # fmt: skip


def _key(figure: Figure, colours: Mapping[str, str], columns: int, dashed: str = "") -> None:
    """Names of colours in rows above the axes."""
    handles = [Line2D([], [], color=colour, linewidth=5) for colour in colours.values()]
    handles += [Line2D([], [], color=INK, linewidth=1.3, linestyle=(0, (3, 2)))] if dashed else []
    names = [*colours, *([dashed] if dashed else [])]
    figure.legend(handles, names, loc="upper left", ncols=columns, frameon=False, fontsize=SMALL, handlelength=1.2,
                  columnspacing=1.4, borderaxespad=0.1)  # fmt: skip
