"""One arm of a comparison on a page to print: what was asked, the answer, how sure, who pays when, who refuses."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from bayesalloc.report import comparison, html, incentives
from bayesalloc.report.reading import arms_of, effects_of, level_of, main_outcomes, measure, period
from bayesalloc.report.tables import Sheet
from bayesalloc.report.words import bracket, listing, number, percent, shared_places, top_places, words

ROWS = 8  # periods that are shown at most


def page(tree: xr.DataTree, arm: str, paid: str, *, less: xr.DataTree | None = None, seed: int = 0) -> str:
    """The page, as HTML.

    Args:
        tree: a comparison with the group `courses`, as the summaries make it.
        arm: whose it is.
        paid: the outcome that says what each agent receives; negative: pays.
        less: the same comparison where people respond less.
        seed: of the comparison.
    """
    return html.frame(f"{words(arm)}, in brief", _body(tree, arm, paid, less), seed)


def _body(tree: xr.DataTree, arm: str, paid: str, less: xr.DataTree | None) -> Iterator[str]:
    control, horizon, level = tree.attrs["control"], tree.attrs["horizon"], level_of(tree)
    others = [words(other) for other in arms_of(tree)[main_outcomes(tree)[0]] if other not in (arm, control)]
    beside = f", beside {listing(others)}" if others else ""
    asked = f"What would {words(arm)} change in {horizon} {period(tree)}s, against {words(control)}{beside}?"
    yield html.answer([asked, _found(tree, arm), f"{html.upper(comparison.basis(tree))}."], [])
    yield html.section("How sure")
    yield html.table(_sure(tree, arm, less), f"Intervals hold {level} of single futures, over parameters and chance.")
    yield html.section("Who pays what, and when")
    yield html.table(_payments(tree, arm, paid), "Mean over all futures. Negative: pays; positive: receives.")
    yield html.section("Who would refuse")
    yield html.table(_refusals(tree, arm), "Refusing: having less than without an agreement.")


def _found(tree: xr.DataTree, arm: str) -> str:
    """What the arm does, in a sentence; or that it is what the others are measured against."""
    if arm == tree.attrs["control"]:
        return f"{html.upper(words(arm))} is what the others are measured against."
    return f"{html.upper(words(arm))} {comparison.changes(tree, arm, words)}."


def _sure(tree: xr.DataTree, arm: str, less: xr.DataTree | None) -> Sheet:
    """Each outcome under the arm, how probably it is better than under the control, and what if people respond less."""
    arms, effects, draws = arms_of(tree), effects_of(tree), tree.attrs["draws"]
    rows = []
    for outcome in main_outcomes(tree):
        known, cell = measure(tree, outcome), effects[outcome].get(arm)
        better = float("nan") if cell is None else cell["prob_positive"]
        better = 1 - better if known.better == "lower" else better
        name = f"{words(outcome)}{f', {known.unit}' if known.unit else ''}"
        shown = bracket(arms[outcome][arm], "mean", shared_places(arms[outcome].values()))
        row = [name, shown, percent(better, draws)]
        if less is not None:
            row.append(bracket(arms_of(less)[outcome][arm], "mean", shared_places(arms[outcome].values())))
        rows.append(row)
    header = ["outcome", "mean [one future]", f"better than {words(tree.attrs['control'])}"]
    return Sheet("Outcomes", [*header, *(["if people respond 20 % less"] if less is not None else [])], rows)


def _payments(tree: xr.DataTree, arm: str, paid: str) -> Sheet:
    """What each agent receives in each period, or in some of many."""
    course = tree["courses"][paid].sel(statistic="mean", arm=arm).transpose(period(tree), "agent")
    when, agents = course[period(tree)].values, course["agent"].values.tolist()
    places = np.unique(np.linspace(0, len(when) - 1, min(ROWS, len(when))).round().astype(int))
    decimals = min(top_places(course.values.ravel()), 1)
    rows = [[str(when[i]), *(number(float(each), decimals) for each in course.values[i])] for i in places]
    return Sheet(f"Payments, {measure(tree, paid).unit}", [period(tree), *map(words, agents)], rows)


def _refusals(tree: xr.DataTree, arm: str) -> Sheet:
    """Each agent's payoff, and how probably it would refuse."""
    cells: dict[str, Any] = {agent: by[arm] for agent, by in incentives.by_agent(tree, arms_of(tree)).items()}
    decimals = shared_places([cell["payoff"] for cell in cells.values()])
    rows = [
        [
            words(agent),
            bracket(cell["payoff"], "mean", decimals),
            number(cell["gain_over_refusal"], decimals, signed=True),
            percent(cell["would_refuse"], tree.attrs["draws"]),
        ]
        for agent, cell in cells.items()
    ]
    unit = incentives.payoff_unit(tree)
    return Sheet(
        f"Payoffs{f', {unit}' if unit else ''}", ["agent", "payoff", "over no agreement", "would refuse"], rows
    )
