"""What all figures share: colours, panels and axes, keys and labels; and courses over the periods."""

import math
import textwrap
from collections.abc import Mapping, Sequence

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bayesalloc.effects.summaries import courses
from bayesalloc.errors import visible
from bayesalloc.report.reading import flat, group, main_outcomes, measure, period
from bayesalloc.report.words import words

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY, FAINT, INK = "#595959", "#d9d9d9", "#222222"
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
    called, colours = period(tree), arm_colours(tree)
    data = courses(tree)
    lines, when = flat(data, "arm", "statistic", called), data[called].values
    figure, panels = grid(len(chosen), right=1.0)
    for axes, outcome in zip(panels, chosen, strict=True):
        ends = {}
        for (arm, colour), (mean, low, high) in zip(colours.items(), lines[outcome], strict=True):
            axes.fill_between(when, low, high, color=colour, alpha=0.13, linewidth=0)
            # The control is dashed and on top, so that a treatment that changes nothing stays visible under it.
            style, top = ((0, (4, 1.5)), 3) if colour == GREY else ("-", 2)
            axes.plot(when, mean, color=colour, linewidth=1.8, linestyle=style, zorder=top)
            ends[arm] = mean[-1]
        axes.set_xlim(when[0] - 0.02 * (when[-1] - when[0]), when[-1])
        unit = measure(tree, outcome).unit
        title = f"{plain(outcome)}{f', {unit}' if unit else ''}"
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK)
        axes.set_xlabel(called, fontsize=SMALL)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        label_ends(axes, ends, colours)
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


def grid(count: int, *, height: float = PANEL[1], left: float = 0.55, right: float = 0.2) -> tuple[Figure, list[Axes]]:
    """A figure of equal panels, at most three beside each other; margins in inches."""
    columns = 2 if count == 4 else max(1, min(count, 3))
    figure = Figure(figsize=(PANEL[0] * columns, height * math.ceil(max(count, 1) / columns)))
    top = figure.get_figheight()
    places = [(i % columns * PANEL[0] + left, top - (i // columns + 1) * height + 0.5) for i in range(count)]
    return figure, [axes_at(figure, (x, y, PANEL[0] - left - right, height - 0.8)) for x, y in places]


def axes_at(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
    """Bare axes at a place given in inches: left, bottom, width, height."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.tick_params(labelsize=SMALL, color="#999999", labelcolor=INK, length=3)
    return axes


def row_labels(axes: Axes, names: Sequence[str], wrap: int = 15) -> None:
    """One labelled row per name, from the top down."""
    axes.set_yticks(range(len(names)), [textwrap.fill(plain(name), wrap, break_long_words=False) for name in names])
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def with_zero(axes: Axes) -> None:
    """Limits of x that hold zero, with room for labels, also where nothing has a width."""
    low, high = (min(axes.get_xlim()[0], 0.0), max(axes.get_xlim()[1], 0.0))
    room = 0.08 * (high - low) or 1.0
    axes.set_xlim(low - room, high + room)


def label_ends(axes: Axes, ends: Mapping[str, float], colours: Mapping[str, str]) -> None:
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
        axes.annotate(
            labels[arm],
            end,
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=SMALL,
            color=colours[arm],
            annotation_clip=False,
        )


def key(figure: Figure, colours: Mapping[str, str], columns: int, dashed: str = "") -> None:
    """Names of colours in rows above the axes."""
    handles = [Line2D([], [], color=colour, linewidth=5) for colour in colours.values()]
    handles += [Line2D([], [], color=INK, linewidth=1.3, linestyle=(0, (3, 2)))] if dashed else []
    names = [*colours, *([dashed] if dashed else [])]
    figure.legend(
        handles,
        names,
        loc="upper left",
        ncols=columns,
        frameon=False,
        fontsize=SMALL,
        handlelength=1.2,
        columnspacing=1.4,
        borderaxespad=0.1,
    )
