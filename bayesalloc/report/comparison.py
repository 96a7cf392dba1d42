"""A result of `compare` as documents: arms and effects, in a terminal, as JSON and as a page."""

import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Group

from bayesalloc.report import decision, figures, html, incentives
from bayesalloc.report.reading import (
    MANY,
    Part,
    arms_of,
    effects_of,
    every_outcome,
    group,
    header_of,
    labelled,
    level_of,
    main_outcomes,
    measure,
    measures,
    notes,
    parts,
    period,
    periods,
    setting,
    titled,
)
from bayesalloc.report.tables import ARMS_PER_TABLE, Name, Sheet, document, for_json
from bayesalloc.report.words import MISSING, bracket, listing, number, percent, places, shared_places, size_of, words

AT_DATA = "based on the prior, at the data given"
BASIS = {"prior": "based on the prior: no record was used", "posterior": "based on the posterior: given the record"}
EFFECT_TERMS = {
    "average effect [low, high]": "the difference between two arms, averaged over chance; it lies in the brackets with"
    " {level} probability, given what is known of the parameters.",
    "one future": "where the difference would lie with {level} probability in one single course of events: chance comes"
    " on top.",
    "P(>0)": "the probability that the average effect is above zero.",
    "MC error": "the standard error of the average effect that comes from the number of draws; more draws lessen it.",
    "parameters : chance": "what the spread of one future's effect comes from, in percent of its variance; more data"
    " can reduce only the first.",
}


def as_json(tree: xr.DataTree, files: Mapping[str, str], seed: int) -> dict[str, Any]:
    """The JSON of `bayesalloc compare`: plain Python objects, None for what is missing.

    Args:
        tree: a result of `compare`.
        files: what was written: kind of file -> path.
        seed: the seed of the run.
    """
    arms, choice, control = arms_of(tree), group(tree, "decision"), tree.attrs["control"]
    effects, every = effects_of(tree), parts(tree)
    names = list(next(iter(arms.values()), {}))
    return for_json(
        {
            **header_of(tree, seed),
            **{
                key: tree.attrs[key]
                for key in ("futures", "horizon", "period", "minimum", "control")
                if key in tree.attrs
            },
            "units": json.loads(tree.attrs["units"]),
            **{key: json.loads(tree.attrs.get(key, "[]")) for key in ("held", "drawn", "warnings")},
            "arms": {arm: {outcome: by[arm] for outcome, by in arms.items()} for arm in names},
            "effects": [
                _effect(arm, control, every[label], by[arm])
                for arm in names
                if arm != control
                for label, by in effects.items()
            ],
            "agents": incentives.by_agent(tree, arms),
            "fairness": {arm: {"gini": gini, "worst_off": worst} for arm, gini, worst in incentives.fairness(tree)},
            "decision": {key: _nested(choice[key]) for key in ("prob_best", "expected_regret", "cvar", "evpi")},
            "files": dict(files),
        }
    )


def _effect(treatment: str, control: str, part: Part, found: Mapping[str, float]) -> dict[str, Any]:
    split = {name: found[f"var_{name}"] for name in ("parameter", "process", "monte_carlo")}
    rest = {name: value for name, value in found.items() if not name.startswith("var_")}
    return {"treatment": treatment, "control": control, **part._asdict(), **rest, "variance": split}


def _nested(array: xr.DataArray) -> dict[str, Any]:
    labels = [str(label) for label in array[array.dims[0]].values]
    return {label: _nested(array[i]) if array.ndim > 1 else array[i].item() for i, label in enumerate(labels)}


def text(tree: xr.DataTree) -> Group:
    """A comparison for the terminal, in 100 columns: the findings in words, then the tables."""
    main, every = main_outcomes(tree), main_outcomes(tree, directed=False)
    sheets = [*arms_sheets(tree, every, per_table=ARMS_PER_TABLE), *effects_sheets(tree, every)]
    if "agents" in tree.children:
        sheets.append(incentives.sheet(tree))
    sheets += decision.pivots(tree)
    ends = [outcome for outcome in main if measure(tree, outcome).at == "horizon"]
    note = f"; {listing(ends)} in the last {period(tree)}, all else as the mean of the {period(tree)}s" if ends else ""
    made = f"{tree.attrs['model']}: {setting(tree)}{note}."
    return document([made, *sentences(tree), *held_and_drawn(tree), *notes(tree)], sheets)


def write(tree: xr.DataTree, path: Path, seed: int, first: Iterable[str] = ()) -> Path:
    """Writes the page, after the parts of it that come `first`; there is never half a file."""
    return html.write(page(tree, seed, first), path)


def page(tree: xr.DataTree, seed: int, first: Iterable[str] = ()) -> str:
    """The page, as HTML."""
    treatments = listing(map(words, group(tree, "effects")["treatment"].values.tolist()))
    title = f"{words(tree.attrs['model'])}: {treatments} against {words(tree.attrs['control'])}"
    return html.frame(title, itertools.chain(first, _body(tree)), seed)


def sentences(tree: xr.DataTree, name: Callable[[str], str] = str) -> list[str]:
    """What a comparison found: effects, the likely best, who would refuse and who would gain by not complying.

    Args:
        tree: a result of `compare`.
        name: how names are written, e.g. `words`.
    """
    control = name(tree.attrs["control"])
    treatments = group(tree, "effects")["treatment"].values.tolist()
    found = [f"Against {control}, {name(arm)} {changes(tree, arm, name)}." for arm in treatments]
    return [*found, *decision.best(tree, name), *incentives.sentences(tree, name)]


def changes(tree: xr.DataTree, arm: str, name: Callable[[str], str] = str) -> str:
    """What an arm does to the main outcomes, against the control, as the end of a sentence."""
    verbs = {1: "raises {} by {}", -1: "lowers {} by {}", 0: "may lower or raise {}{}", None: "does not change {}"}
    effects, clauses = effects_of(tree), []
    for outcome in main_outcomes(tree)[:MANY]:
        effect, unit = effects[outcome][arm], measure(tree, outcome).unit
        decimals = shared_places(effects[outcome].values())
        direction, size = size_of(effect, "ate", decimals, unit, 0.0 if clauses else tree.attrs["interval"])
        clauses.append(verbs[direction].format(titled(tree, outcome, name), size))
    return listing(clauses)


def held_and_drawn(tree: xr.DataTree, name: Callable[[str], str] = str) -> list[str]:
    """Which sites of a plain model kept their values, and which were drawn anew; nothing for other results."""
    held, drawn = (json.loads(tree.attrs.get(key, "[]")) for key in ("held", "drawn"))
    if not drawn:
        return []
    kept = f"Kept as they were in every arm: {_some(held, name)}. " if held else ""
    return [f"{kept}Drawn anew in every arm, with the same random numbers: {_some(drawn, name)}."]


def _some(names: Sequence[str], name: Callable[[str], str]) -> str:
    shown = [name(each) for each in names[:MANY]]
    return listing([*shown, *([f"{len(names) - MANY} more"] if len(names) > MANY else [])])


def arms_sheets(tree: xr.DataTree, outcomes: Sequence[str], name: Name = str, per_table: int = 4) -> list[Sheet]:
    """Mean of each outcome in each arm, and the interval of one future."""
    arms = arms_of(tree)
    names = group(tree, "arms")["arm"].values.tolist()
    sheets = []
    for chosen in itertools.batched(names, per_table):
        rows = [
            [
                labelled(tree, o, name),
                *(bracket(arms[o][arm], "mean", shared_places(arms[o].values())) for arm in chosen),
            ]
            for o in outcomes
        ]
        sheets.append(Sheet(f"Outcomes: mean [{level_of(tree)} of futures]", ["outcome", *map(name, chosen)], rows))
    return sheets


def effects_sheets(tree: xr.DataTree, outcomes: Sequence[str], name: Name = str) -> list[Sheet]:
    """One table per treatment: the effect on each outcome and how sure it is."""
    effects, arms = effects_of(tree), arms_of(tree)
    control, minimum, draws = tree.attrs["control"], tree.attrs["minimum"], tree.attrs["draws"]
    level, sheets = level_of(tree), []
    header = ["outcome", f"average effect [{level}]", f"one future [{level}]", "relative", "P(>0)"]
    header += [f"P(size>{minimum:g})"] if minimum else []
    for arm in group(tree, "effects")["treatment"].values.tolist():
        rows = []
        for outcome in outcomes:
            s, decimals = effects[outcome][arm], shared_places(effects[outcome].values())
            none = s["low"] == s["high"] == 0
            one = {"ate": s["ate"], "low": s["one_low"], "high": s["one_high"]}
            # A share of a control mean that may be zero or negative would mislead.
            relative = 100 * s["relative"] if arms[outcome][control]["low"] > 0 else math.nan
            row = [
                labelled(tree, outcome, name),
                bracket(s, "ate", decimals, signed=True),
                "[" + bracket(one, "ate", decimals, signed=True).partition("[")[2],
                f"{number(relative, 0, signed=True)} %" if math.isfinite(relative) else MISSING,
                MISSING if none else percent(s["prob_positive"], draws),
            ]
            row += [percent(s["prob_exceeds"], draws)] if minimum else []
            rows.append([*row, number(s["mcse"], places(0.0, s["mcse"])), _split(s)])
        title = f"Effects: {name(arm)} against {name(control)}"
        sheets.append(Sheet(title, [*header, "MC error", "parameters : chance"], rows))
    return sheets


def _split(stats: Mapping[str, float]) -> str:
    """Shares of the variance of a single future's effect: what more data could reduce, and chance."""
    parameter, process = stats["var_parameter"], stats["var_process"]
    total = parameter + process
    if not math.isfinite(total) or total <= 1e-12 * stats["ate"] ** 2:
        return MISSING
    share = round(100 * parameter / total)
    return f"{share} : {100 - share}"


def _body(tree: xr.DataTree) -> Iterator[str]:
    control, level = words(tree.attrs["control"]), f"{100 * tree.attrs['interval']:.0f} %"
    main, scalar = main_outcomes(tree), main_outcomes(tree, directed=False)
    with_agents, with_choice = "agents" in tree.children, bool(group(tree, "decision").sizes.get("criterion"))
    yield html.tags("interventional: what would happen", basis(tree))
    yield html.answer(sentences(tree, words), notes(tree))
    meanings = EFFECT_TERMS | (incentives.TERMS if with_agents else {}) | (decision.TERMS if with_choice else {})
    yield html.section("How to read it") + html.terms(meanings, level)

    yield html.section("Outcomes of each arm")
    [arms] = arms_sheets(tree, scalar, words, per_table=1000)
    if "outcomes" in tree.children:
        lines = f"Lines over the {period(tree)}s, one per arm: {{}}; the means and intervals are in the table.".format
        panels = [html.svg(figures.trajectories(tree, [each]), lines(words(each))) for each in main[: figures.PANELS]]
        yield html.figure(
            panels,
            f"Mean of each arm (line) and the band that holds {level} of the simulated futures,"
            f" one future per draw of the parameters. Dashed: {control}.",
        )
    yield html.table(
        arms, f"In brackets: where {level} of single futures lie, over parameters and chance. {_when(tree)}"
    )

    yield html.section(f"Effects against {control}")
    sheets = effects_sheets(tree, scalar, words)
    panels = []
    for outcome in scalar[: figures.PANELS]:
        label = labelled(tree, outcome, words)
        rows = [f"{sheet.title}, {row[1]}" for sheet in sheets for row in sheet.rows if row[0] == label]
        panels.append(html.svg(effects_plot(tree, [outcome]), f"{label}. {'; '.join(rows)}"))
    yield html.figure(
        panels,
        f"Average effect (circle), its {level} interval (thick) and the {level} interval of one"
        " single future (thin). The vertical line is no difference.",
    )
    note = "The relative change is left out where the control may be zero or negative."
    for i, sheet in enumerate(sheets):
        yield html.table(sheet, "" if i else note)
    if split := uncertainty_split(tree):
        alt = "Bars: shares of parameters, chance and simulation error in the variance; see the tables of effects."
        yield html.section("Where the uncertainty comes from")
        yield html.figure(
            [html.svg(split, alt)],
            "More data can reduce the share of the unknown parameters, more draws"
            " that of the simulation's own error, often too small to see; nothing reduces chance.",
            wide=True,
        )
    if with_agents:
        yield from incentives.section(tree, level)
    if with_choice:
        yield html.section("What it means for a choice")
        yield html.table(decision.sheet(tree, words), "Each criterion in its own unit; CVaR also in its own sign.")
    if rest := [label for label in every_outcome(tree) if label not in scalar]:
        yield html.section("Effects by agent" if with_agents else "Effects on single elements")
        for sheet in effects_sheets(tree, rest, words):
            yield html.table(sheet)
    horizon = tree.attrs["horizon"]
    yield html.section("How it was made") + html.terms(
        {
            "model": tree.attrs["model"],
            "kind": "interventional: fresh chance, the same in all arms, so that they differ only by what was done",
            "parameters": f"{tree.attrs['draws']} draws; {basis(tree)}",
            "chance": f"{tree.attrs['futures']} futures per draw"
            + (f", {periods(tree, horizon)} each" if horizon else ""),
            "intervals": f"equal-tailed, {level}",
            "arms": ", ".join(group(tree, "arms")["arm"].values.tolist()),
            **({"sites": " ".join(held_and_drawn(tree))} if held_and_drawn(tree) else {}),
        }
    )
    yield _measures(tree)


def basis(tree: xr.DataTree) -> str:
    """What the effects rest on."""
    at_data = tree.attrs["basis"] == "prior" and tree.attrs.get("recorded")
    return AT_DATA if at_data else BASIS[tree.attrs["basis"]]


def _when(tree: xr.DataTree) -> str:
    ends = [words(name) for name, known in measures(tree).items() if known.at == "horizon"]
    horizon = tree.attrs.get("horizon", 0)
    if not ends or not horizon:
        return ""
    return f"{html.upper(listing(ends))}: in {period(tree)} {horizon}; all else: mean of the {periods(tree, horizon)}."


def _measures(tree: xr.DataTree) -> str:
    """What each outcome is called in files, and how it is measured; nothing for a plain model, which does not say."""
    at = {"horizon": f"that of the last {period(tree)}", "periods": f"the mean of the {period(tree)}s"}
    rows = [
        [words(name), name, known.unit or "pure number", known.better or "neither", at[known.at]]
        for name, known in measures(tree).items()
    ]
    header = ["outcome", "name in files", "unit", "better", "one number is"]
    return html.table(Sheet("Outcomes", header, rows, keys=5)) if tree.attrs.get("horizon", 1) else ""


def effects_plot(tree: xr.DataTree, outcomes: Sequence[str] | None = None) -> Figure:
    """Average effect of each treatment with its interval (thick) and the interval of one future (thin).

    Args:
        tree: a result of `compare`.
        outcomes: which, one panel each; default: all of one number.
    """
    chosen = list(outcomes or main_outcomes(tree, directed=False))[: figures.PANELS]
    effects, colours = effects_of(tree), figures.arm_colours(tree)
    rows = len(colours) - 1
    figure, panels = figures.grid(len(chosen), height=0.95 + 0.5 * rows, left=1.15, right=0.15)
    for axes, outcome in zip(panels, chosen, strict=True):
        decimals = shared_places(effects[outcome].values())
        for row, (arm, s) in enumerate(effects[outcome].items()):
            axes.plot([s["one_low"], s["one_high"]], [row, row], color=colours[arm], linewidth=1.2)
            axes.plot([s["low"], s["high"]], [row, row], color=colours[arm], linewidth=5, solid_capstyle="butt")
            axes.plot(s["ate"], row, "o", color="white", markeredgecolor=colours[arm], markersize=5.5, zorder=3)
            shown = figures.minus(bracket(s, "ate", decimals, signed=True).partition(" ")[0])
            axes.annotate(
                shown,
                (s["ate"], row),
                (0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=figures.SMALL,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
            )
        axes.axvline(0, color=figures.GREY, linewidth=0.9, zorder=0)
        figures.row_labels(axes, list(effects[outcome]))
        figures.with_zero(axes)
        unit, better = measure(tree, outcome).unit, measure(tree, outcome).better
        hint = {"higher": "better \N{RIGHTWARDS ARROW}", "lower": "\N{LEFTWARDS ARROW} better"}.get(better, "")
        axes.set_title(hint, loc="right", fontsize=figures.SMALL, color=figures.GREY)
        axes.set_title(
            titled(tree, outcome, figures.plain), loc="left", fontsize=10, fontweight="bold", color=figures.INK
        )
        axes.set_xlabel(
            f"difference from {figures.plain(tree.attrs['control'])}{f', {unit}' if unit else ''}",
            fontsize=figures.SMALL,
        )
        axes.xaxis.set_major_locator(MaxNLocator(5))
    return figure


def uncertainty_split(tree: xr.DataTree, outcomes: Sequence[str] | None = None) -> Figure | None:
    """Shares of the variance of one future's effect: unknown parameters, chance, and the simulation's own error.

    None where no effect has a spread to split.

    Args:
        tree: a result of `compare`.
        outcomes: which; default: all of one number.
    """
    chosen = list(outcomes or main_outcomes(tree, directed=False))[: figures.PANELS]
    effects = effects_of(tree)
    parts = {"var_parameter": "unknown parameters", "var_process": "chance", "var_monte_carlo": "simulation error"}
    shades = dict(zip(parts, (figures.COLOURS[5], "#c8c8c8", figures.INK), strict=True))
    bars = []
    for outcome in chosen:
        for arm, s in effects[outcome].items():
            total = sum(s[part] for part in parts)
            if math.isfinite(total) and total > 1e-12 * s["ate"] ** 2:
                bars.append((f"{words(outcome)}: {words(arm)}", [s[part] / total for part in parts]))
    if not bars:
        return None
    height = 0.8 + 0.3 * len(bars)
    figure = Figure(figsize=(figures.WIDE, height))
    axes = figures.axes_at(figure, (2.1, 0.5, figures.WIDE - 2.35, height - 0.8))
    for row, (_, shares) in enumerate(bars):
        start = 0.0
        for part, share in zip(parts, shares, strict=True):
            axes.barh(row, share, 0.62, start, color=shades[part])
            if share >= 0.1:
                place = (start + share / 2, row)
                axes.annotate(
                    f"{100 * share:.0f} %", place, ha="center", va="center", color=figures.INK, fontsize=figures.SMALL
                )
            start += share
    figures.row_labels(axes, [label for label, _ in bars], wrap=30)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
    axes.set_xlabel("share of the variance of the effect in one future", fontsize=figures.SMALL)
    figures.key(figure, {name: shades[part] for part, name in parts.items()}, 3)
    return figure
