"""The effect of one column of books on another, as documents: the answer of `bayesalloc effect`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Group

from bayesalloc.discovery.asking import Answer
from bayesalloc.discovery.effects import SURE
from bayesalloc.effects.contrasts import difference
from bayesalloc.errors import quoted
from bayesalloc.report import figures, html
from bayesalloc.report.tables import Name, Sheet, document, for_json
from bayesalloc.report.words import bracket, listing, number, percent, words

SHOWN = 12  # adjustment sets, and rows of the figure
TERMS = {
    "effect": "of raising the treatment by one, or of setting it to a label, from outside; {level} intervals hold what"
    " is not known of its size and of the graph.",
    "held fixed": "direct causes of the treatment. What else goes with both would pass for its effect.",
    "identified": f"in at least {100 * SURE:.0f} % of the graphs the effect is the same, whatever is held fixed.",
    "range": "the least and the largest of the effects by single sets that may have to be held fixed.",
}


def as_json(answer: Answer, interval: float, files: Mapping[str, str]) -> dict[str, Any]:
    """The document of `bayesalloc effect`."""
    estimate = answer.estimate
    return for_json(
        {
            "treatment": estimate.treatment,
            "outcome": answer.outcome,
            **_labels(answer, interval),
            "ate": answer.effect.mean,
            "low": answer.effect.low,
            "high": answer.effect.high,
            "prob_positive": answer.effect.prob_positive,
            "interval": {"kind": "eti", "prob": interval},
            "identified": answer.identified,
            "range": answer.range,
            "answer": sentences(answer, interval, words),
            "effects": _effects(answer, interval),
            "adjustment_sets": [[*names] for names, _ in estimate.sets],
            "method": answer.method,
            "graphs": answer.graphs,
            "warnings": answer.warnings,
            "files": files,
        }
    )


def _effects(answer: Answer, interval: float) -> list[dict[str, Any]]:
    """What raising the treatment by one does to each other column; `sd` is what both columns vary by."""
    estimate = answer.estimate
    return [
        {"outcome": name, **estimate.on(name, interval)._asdict()}
        | {"identified": estimate.identified[i] >= SURE, "sd": [estimate.spread[at], estimate.spread[i]]}
        for at in ([] if answer.labelled else [estimate.names.index(estimate.treatment)])
        for i, name in enumerate(estimate.names)
        if i != at
    ]


def _labels(answer: Answer, interval: float) -> dict[str, Any]:
    """Of books of labels: what is set, and the probability of each of the outcome's labels in both arms."""
    if answer.labelled is None:
        return {}
    found = answer.labelled
    probabilities = {
        label: {"to": to, "instead_of": other} | difference(found.estimate.draws[:, place], interval)._asdict()
        for place, (label, to, other) in enumerate(zip(found.estimate.names, *found.arms.mean(0), strict=True))
    }
    return {**found.setting._asdict(), "probabilities": probabilities}


def text(answer: Answer, interval: float) -> Group:
    """The same in a terminal."""
    return document(
        [*sentences(answer, interval), *answer.warnings], [*labels_sheet(answer, interval), sets_sheet(answer)]
    )


def sentences(answer: Answer, interval: float, name: Name = str) -> list[str]:
    """What is found, and what it takes for granted."""
    estimate, effect = answer.estimate, answer.effect
    shown = bracket(effect._asdict(), "mean")
    draws = len(estimate.draws)
    sure = "identified" if answer.identified else "not identified"
    moves = f"Raising {name(estimate.treatment)} by one moves {name(answer.outcome)} by {shown}"
    if answer.labelled:
        to, instead_of, label = (f"'{quoted(each)}'" for each in answer.labelled.setting)
        before = number(float(answer.labelled.arms[:, 1, answer.place].mean()), 2)
        moves = (
            f"Setting {name(estimate.treatment)} to {to} instead of {instead_of} moves the probability that"
            f" {name(answer.outcome)} is {label} from {before} by {shown}"
        )
    said = [
        f"{moves} ({100 * interval:.0f} % interval); it raises it with probability"
        f" {percent(float(effect.prob_positive), draws)}. The effect is {sure}."
    ]
    if not answer.identified:
        low, high = (number(end) for end in answer.range)
        said.append(f"By what may have to be held fixed, it is between {low} and {high}.")
    said.append(
        "This takes for granted that nothing outside these columns moves both,"
        f"{'' if answer.labelled else ' that relations are linear,'} and that rows are independent."
    )
    return said


def sets_sheet(answer: Answer, name: Name = str) -> Sheet:
    """What was held fixed, how often, and the effect then."""
    estimate = answer.estimate
    rows = [
        [listing(map(name, chosen)) if chosen else "nothing", f"{100 * share:.0f} %", number(float(mean[answer.place]))]
        for (chosen, share), mean in zip(estimate.sets[:SHOWN], estimate.means[:SHOWN], strict=True)
    ]
    if (left := len(estimate.sets) - SHOWN) > 0:
        rows.append([f"and {left} more sets", "", ""])
    return Sheet("What is held fixed", ["held fixed", "share of the draws", "effect"], rows)


def labels_sheet(answer: Answer, interval: float) -> list[Sheet]:
    """The probability of each of the outcome's labels in both arms; of numbers none."""
    if answer.labelled is None:
        return []
    given = _labels(answer, interval)
    rows = [
        [label, number(float(each["to"])), number(float(each["instead_of"])), bracket(each, "mean")]
        for label, each in given["probabilities"].items()
    ]
    arms = [f"{answer.estimate.treatment} = {given[arm]}" for arm in ("to", "instead_of")]
    return [Sheet(f"Probability of each label of {answer.outcome}", ["label", *arms, "effect"], rows)]


def write(answer: Answer, interval: float, path: Path, *, books: str, seed: int) -> Path:
    """The page; there is never half a file."""
    title = f"{books}: what {words(answer.estimate.treatment)} does to {words(answer.outcome)}"
    return html.write(html.frame(title, _body(answer, interval), seed), path)


def _body(answer: Answer, interval: float) -> Iterator[str]:
    level = f"{100 * interval:.0f} %"
    yield html.tags("observational: from books", answer.method)
    yield html.answer(sentences(answer, interval, words), answer.warnings, bad=not answer.identified)
    yield html.section(f"What {words(answer.estimate.treatment)} moves")
    for sheet in labels_sheet(answer, interval):
        yield html.table(sheet)
    what = "columns that it moves most clearly, in their standard deviations for one of its own"
    if answer.labelled:
        what = f"probabilities of the labels of {words(answer.outcome)}"
    caption = f"Effects on the {what}; bars hold {level}. Hollow: not identified."
    yield html.figure([html.svg(forest(answer, interval), "Effects on other columns.")], caption, wide=True)
    yield html.section("What is held fixed")
    yield html.table(sets_sheet(answer, words))
    yield html.section("What the words mean") + html.terms(TERMS, level)


def forest(answer: Answer, interval: float) -> Figure:
    """The treatment's effects, on the outcome and on what it moves most clearly."""
    estimate = answer.estimate
    unit = 1.0 if answer.labelled else estimate.spread[estimate.names.index(estimate.treatment)]
    draws = estimate.draws * unit / estimate.spread
    tail = (1 - interval) / 2
    low, mean, high = np.quantile(draws, tail, 0), draws.mean(0), np.quantile(draws, 1 - tail, 0)
    clear = np.abs(mean) / np.maximum(draws.std(0), 1e-12)
    asked = answer.place
    order = [i for i in np.argsort(-np.nan_to_num(clear, nan=-1.0)) if i != asked and np.isfinite(mean[i])]
    rows = [asked, *order[: SHOWN - 1]]
    height = 0.8 + 0.28 * len(rows)
    figure = Figure(figsize=(figures.WIDE, height))
    axes = figures.axes_at(figure, (1.7, 0.5, figures.WIDE - 1.95, height - 0.6))
    for row, i in enumerate(rows):
        colour = figures.COLOURS[1] if i == asked else figures.COLOURS[0]
        axes.plot([low[i], high[i]], [row, row], color=colour, linewidth=3, solid_capstyle="butt")
        fill = colour if estimate.identified[i] >= SURE else "white"
        axes.plot(mean[i], row, "o", color=fill, markeredgecolor=colour, markersize=6, zorder=3)
    axes.axvline(0, color=figures.GREY, linewidth=0.9, zorder=0)
    figures.row_labels(axes, [estimate.names[i] for i in rows], wrap=24)
    figures.with_zero(axes)
    axes.set_xlabel("change of the probability" if answer.labelled else "standard deviations", fontsize=figures.SMALL)
    return figure
