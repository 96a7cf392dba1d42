"""An office's proposal as documents: the answer of `bayesalloc budget`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Group

from bayesalloc.budgets.actuals import Outturn
from bayesalloc.budgets.proposal import Cause, Proposal
from bayesalloc.budgets.proposing import Point
from bayesalloc.report import figures, html
from bayesalloc.report.proposal import in_words, sentences
from bayesalloc.report.tables import Name, Sheet, document, for_json
from bayesalloc.report.words import bracket, listing, number, percent, words

TERMS = {
    "change": "of a decision's money, in %, for the next period.",
    "expected": "what all changes together do within one period, in a column's own unit; {level} intervals. Whoever"
    " picks the best of many uncertain effects picks their errors too, so that books promise too much: proposals from"
    " one half of the rows were judged by the other half, and what they promised too much is taken off. Of a policy's"
    " changes nothing is, as it did not pick them from these books.",
    "books promise": "the same, with nothing taken off.",
    "tolerance": "harm that is borne; beyond it, harm counts as causal risk.",
    "causal risk": "expected harm beyond what is tolerated, in standard deviations of what is protected, times weights;"
    " effects are those of setting all decisions at once.",
    "helps": "probability that a change is worth more than leaving that decision alone, all others being made.",
    "lambda": "what a unit of causal risk costs, in units of the weighted objectives.",
    "money": "objectives that have a worth in money, less what changes cost, in % of all that is decided on; other"
    " objectives are in their standard deviations.",
}


def as_json(found: Proposal, outturns: Sequence[Outturn] | None, files: Mapping[str, str]) -> dict[str, Any]:
    """The document of `bayesalloc budget`."""
    at = found.at

    def as_point(point: Point) -> dict[str, Any]:
        return {
            "objectives": dict(zip(at.objectives, point.objectives, strict=True)),
            "causal_risk": point.causal_risk,
            "weights": dict(zip(at.objectives, point.weight, strict=True)),
            "lambda": point.price,
            "changes": dict(zip(found.question.decisions, point.change, strict=True)),
        }

    return for_json(
        {
            "answer": [*sentences(found, words), *_of_outturns(outturns)],
            "changes": [
                {
                    "department": change.decision,
                    "percent": change.percent,
                    "money": change.money,
                    "reasons": in_words(change, change.reasons),
                    "risks": in_words(change, change.risks),
                    "helps": change.helps,
                }
                for change in found.changes
            ],
            "expected": {
                name: {**each.effect._asdict(), "promised": each.promised, "tolerance": each.tolerance}
                | {"prob_harm": each.harmful}
                for name, each in found.expected.items()
            },
            "objectives": dict(zip(at.objectives, found.objectives, strict=True)),
            "worth": found.worth,
            "causal_risk": sum(found.causal_risk.values()),
            "causal_risk_of": found.causal_risk,
            "front": [as_point(point) for point in found.front],
            "proposed": as_point(found.point),
            "money": dict(zip(found.question.decisions, found.question.base, strict=True)),
            "weights": dict(zip(at.objectives, at.weight, strict=True)),
            "lambda": found.point.price,
            "policy": found.by or None,
            "interval": {"kind": "eti", "prob": found.interval},
            "comments": [
                {
                    "who": heard.comment.who,
                    "date": heard.comment.date and heard.comment.date.isoformat(),
                    "says": heard.comment.says,
                    "changed": {k: list(v) for k, v in heard.changes.items()},
                }
                for heard in found.heard
            ],
            "not_identified": [
                dict(zip(("department", "outcome", "why"), each, strict=True)) for each in found.not_identified
            ],
            "actuals": None
            if outturns is None
            else [
                {"row": each.row, "outcome": each.variable, "happened": each.happened, "inside": each.inside}
                | {"forecast": each.forecast.mean, "low": each.forecast.low, "high": each.forecast.high}
                for each in outturns
            ],
            "warnings": found.warnings,
            "files": files,
        }
    )


def text(found: Proposal, outturns: Sequence[Outturn] | None) -> Group:
    """The same in a terminal."""
    made = [changes_sheet(found, brief=True), expected_sheet(found)] if found.changes else []
    sheets = [*made, front_sheet(found, all_weights=False)]
    return document(
        [*sentences(found), *_of_outturns(outturns)], sheets + ([outturns_sheet(outturns)] if outturns else [])
    )


def changes_sheet(found: Proposal, name: Name = str, *, brief: bool = False) -> Sheet:
    """Every change with its money, its first reason and its first risk; with `brief` without their intervals."""

    def first(causes: Sequence[Cause]) -> str:
        if not causes:
            return ""
        effect = causes[0].effect._asdict()
        shown = number(effect["mean"], signed=True) if brief else bracket(effect, "mean", signed=True)
        return f"{name(causes[0].variable)} {shown}"

    rows = [
        [
            name(change.decision),
            f"{number(change.percent, 1, signed=True)} %",
            number(change.money, signed=True),
            percent(change.helps, len(found.joint.draws)),
            first(change.reasons),
            first(change.risks),
        ]
        for change in found.changes
    ]
    header = ["decision", "change", "money", "helps", "since it moves", "at the risk of"]
    return Sheet("Proposed changes", header, rows)


def expected_sheet(found: Proposal, name: Name = str) -> Sheet:
    """What all changes together do."""
    level = f"{100 * found.interval:.0f} %"
    rows = [
        [
            name(key),
            bracket(each.effect._asdict(), "mean", signed=True),
            number(each.promised, signed=True),
            "" if each.tolerance is None else number(each.tolerance),
            "" if each.harmful is None else percent(each.harmful, len(found.joint.draws)),
            "" if key not in found.causal_risk else number(found.causal_risk[key], 2),
        ]
        for key, each in found.expected.items()
    ]
    header = ["column", f"expected [{level}]", "books promise", "tolerance", "chance of more harm", "causal risk"]
    return Sheet("What all changes together do", header, rows)


def front_sheet(found: Proposal, name: Name = str, *, all_weights: bool = True) -> Sheet:
    """Other proposals that no other beats in all respects, as the books promise; or those of the office's weights."""
    objectives = found.at.objectives
    shown = sorted([*found.front, found.point], key=lambda point: (-point.weight[0], point.price, point is found.point))
    rows = []
    for point in shown:
        if point is not found.point and (_same(point, found.point) or (_other(point, found) and not all_weights)):
            continue
        weights = " / ".join(f"{100 * each:.0f}" for each in point.weight)
        mark = "proposed" if point is found.point else ""
        rows.append(
            [
                weights,
                mark,
                number(point.price, 1),
                *(number(each, 2) for each in point.objectives),
                number(point.causal_risk, 2),
            ]
        )
    title = f"Other proposals, as the books promise; weights are of {listing(map(name, objectives))}"
    return Sheet(title, ["weights, %", "", "lambda", *map(name, objectives), "causal risk"], rows, keys=2)


def outturns_sheet(outturns: Sequence[Outturn], name: Name = str) -> Sheet:
    """Forecasts beside what happened."""
    rows = [
        [
            each.row,
            name(each.variable),
            bracket(each.forecast._asdict(), "mean"),
            number(each.happened),
            "yes" if each.inside else "no",
        ]
        for each in outturns
    ]
    return Sheet("Forecast and what happened", ["row", "column", "forecast", "happened", "inside"], rows, keys=2)


def _of_outturns(outturns: Sequence[Outturn] | None) -> list[str]:
    if not outturns:
        return []
    inside = sum(each.inside for each in outturns)
    return [f"Of {len(outturns)} numbers that were forecast, {inside} lie in their intervals."]


def _same(point: Point, other: Point) -> bool:
    return bool(np.allclose(point.change, other.change))


def _other(point: Point, found: Proposal) -> bool:
    return not np.allclose(point.weight, found.point.weight)


def write(found: Proposal, outturns: Sequence[Outturn] | None, path: Path, *, books: str, seed: int) -> Path:
    """The page; there is never half a file."""
    return html.write(html.frame(f"{books}: what to change next", _body(found, outturns), seed), path)


def _body(found: Proposal, outturns: Sequence[Outturn] | None) -> Iterator[str]:
    level = f"{100 * found.interval:.0f} %"
    yield html.tags("observational: from books", "one period", f"{len(found.joint.draws)} draws of joint effects")
    yield html.answer([*sentences(found, words), *_of_outturns(outturns)], found.warnings)
    if found.changes:
        yield from _made(found, level)
    yield html.section("Other ways")
    yield html.table(front_sheet(found, words))
    yield html.figure(
        [html.svg(front_plot(found), "Objectives against causal risk.")],
        "Each point is a proposal that no other beats in all respects, as the books promise. The filled one is made: of"
        " changes that help so probably that what one half of the books promises, the other bears out best.",
        wide=True,
    )
    if outturns:
        yield html.section("Forecast and what happened") + html.table(outturns_sheet(outturns, words))
    yield html.section("What the words mean") + html.terms(TERMS, level)


def _made(found: Proposal, level: str) -> Iterator[str]:
    """The parts about the changes themselves."""
    yield html.section("What to change")
    yield html.table(changes_sheet(found, words))
    reasons = [sentence for change in found.changes for sentence in in_words(change, change.reasons[:1])]
    risks = [sentence for change in found.changes for sentence in in_words(change, change.risks[:1])]
    yield html.section("Why, and what may break")
    yield html.answer(reasons, [])
    yield html.answer(risks, [], bad=True) if risks else ""
    yield html.section("What all of it does")
    yield html.table(expected_sheet(found, words))
    picture = html.svg(expected_plot(found), "What all changes together are expected to do.")
    caption = (
        f"In standard deviations of each column; bars hold {level}, crosses are what the books promise by themselves."
    )
    yield html.figure([picture], caption, wide=True)


def expected_plot(found: Proposal) -> Figure:
    """What all changes together do, in standard deviations."""
    rows = [*found.expected.items()]
    height = 0.8 + 0.28 * len(rows)
    figure = Figure(figsize=(figures.WIDE, height))
    axes = figures.axes_at(figure, (1.7, 0.5, figures.WIDE - 1.95, height - 0.6))
    for row, (name, each) in enumerate(rows):
        scale = found.spread[found.joint.names.index(name)]
        colour = figures.COLOURS[1] if each.tolerance is not None else figures.COLOURS[0]
        axes.plot(
            [each.effect.low / scale, each.effect.high / scale],
            [row, row],
            color=colour,
            linewidth=3,
            solid_capstyle="butt",
        )
        axes.plot(each.effect.mean / scale, row, "o", color="white", markeredgecolor=colour, markersize=6, zorder=3)
        axes.plot(each.promised / scale, row, "x", color=figures.GREY, markersize=5, zorder=3)
    axes.axvline(0, color=figures.GREY, linewidth=0.9, zorder=0)
    figures.row_labels(axes, [name for name, _ in rows], wrap=24)
    figures.with_zero(axes)
    axes.set_xlabel("standard deviations; orange: protected", fontsize=figures.SMALL)
    return figure


def front_plot(found: Proposal) -> Figure:
    """The weighted objectives at the office's weights, against causal risk."""
    figure = Figure(figsize=(figures.WIDE, 2.8))
    axes = figures.axes_at(figure, (0.7, 0.5, figures.WIDE - 0.95, 2.1))
    worth = [float(found.at.weight @ point.objectives) for point in found.front]
    axes.plot(
        [point.causal_risk for point in found.front], worth, "o", color="white", markeredgecolor=figures.COLOURS[0]
    )
    axes.plot(
        found.point.causal_risk,
        float(found.at.weight @ found.point.objectives),
        "o",
        color=figures.COLOURS[0],
        markersize=8,
    )
    axes.set_xlabel("causal risk, as the books promise", fontsize=figures.SMALL)
    axes.set_ylabel("weighted objectives", fontsize=figures.SMALL)
    return figure
