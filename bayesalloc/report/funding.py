"""What to fund next, as documents: the answer of `optimize start`, `ask` and `show` in a terminal and as a page."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from rich.console import Group

from bayesalloc.impact.explaining import Case, Curve, Moved, Rival, interval
from bayesalloc.impact.fairness import Fairness
from bayesalloc.impact.foreseeing import Swept
from bayesalloc.impact.proposing import Proposal, Understanding
from bayesalloc.impact.state import Ask, State
from bayesalloc.report import figures, html
from bayesalloc.report.tables import Sheet, document, for_json
from bayesalloc.report.words import bracket, listing, number, words

SHOWN = 30  # projects in a table
NAMED = 5  # projects in a sentence
TERMS = {
    "impact": "what an allocation brings in a round, in the unit of the project table; the interval says with 89 %.",
    "next 1,000 USD": "what the expected impact grows by if the project gets 1,000 USD more; at the best allocation it"
    " is the same for all projects that are not at a limit.",
    "via others": "the part of it that reaches other projects by spill-overs.",
    "HyperScore": "100 for nothing, 111 for the best possible impact: a transform of the share of it that is reached.",
    "implied belief": "the effect under which the allocation that stands would be the best one.",
}


class Money(NamedTuple):
    """In what amounts are shown: `usd` USD are one `unit`."""

    usd: float
    unit: str

    def shown(self, amount: float) -> str:
        """An amount, to a thousandth of the unit at most."""
        return number(amount / self.usd, 0 if self.usd == 1 or amount == 0 else 3 if amount < self.usd else 1)


def money(budget: float) -> Money:
    """Amounts of a budget in USD, thousands or millions of USD."""
    return Money(*((1e6, "million USD") if budget >= 5e7 else (1e3, "thousand USD") if budget >= 5e4 else (1.0, "USD")))


class Reasons(NamedTuple):
    """Why a proposal is what it is: see `bayesalloc.impact.explaining`, and of the last two `fairness`."""

    cases: Sequence[Case]
    rivals: Sequence[Rival]
    backtest: Sequence[Mapping[str, Any]]
    implied: Mapping[str, float]
    moves: Sequence[Moved]
    next_round: tuple[float, float]
    sweep: Sequence[Swept]
    curves: Sequence[Curve]
    people: Mapping[str, float]
    fairness: Mapping[str, Fairness]


def as_json(
    state: str, asks: Sequence[tuple[Ask, Proposal]], u: Understanding, reasons: Reasons, files: Mapping[str, str]
) -> dict[str, Any]:
    """The document of `optimize ask`."""
    found = []
    for ask, proposal in asks:
        row = {"id": ask.id, "round": ask.round, "allocation": ask.allocation, "impact": interval(proposal.impact)}
        row |= {"hyperscore": interval(proposal.score), "share_of_best": interval(proposal.share)}
        found.append(row | {"acquisition": proposal.value, "residual": proposal.residual})
    return for_json(
        {
            "state": state,
            "asks": found,
            "unit": u.projects.unit,
            "budget": u.budget,
            "value_of_next_round": reasons.next_round[0],
            "value_of_next_round_mcse": reasons.next_round[1],
            "value_of_knowing_everything": float(asks[0][1].lost.mean()),
            "projects": [case._asdict() for case in reasons.cases],
            "rules": [
                {"name": rival.name, "impact": rival.impact, "gain_percent": rival.gain, "allowed": rival.allowed}
                for rival in reasons.rivals
            ],
            "backtest": [dict(row) for row in reasons.backtest],
            "implied_beliefs": dict(reasons.implied),
            "sensitivity": [moved._asdict() for moved in reasons.moves],
            "fairness": {
                "people": dict(reasons.people),
                "impact_per_1000_people": {name: each._asdict() for name, each in reasons.fairness.items()},
            }
            if reasons.fairness
            else None,
            "sweep": [swept._asdict() for swept in reasons.sweep],
            "warnings": list(u.warnings),
            "files": dict(files),
        }
    )


def text(result: Mapping[str, Any], reasons: Reasons) -> Group:
    """The same in a terminal."""
    return document(sentences(result, reasons), sheets(result, reasons))


def write(result: Mapping[str, Any], u: Understanding, reasons: Reasons, folder: Path) -> None:
    """The page `report.html`, and `allocation.csv`, which `tell` takes as it is."""
    ask = result["asks"][0]
    with (folder / "allocation.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("project", "amount_usd"), *ask["allocation"].items()])
    title = f"What to fund in round {ask['round']}: proposal {ask['id']}"
    html.write(html.frame(title, _body(result, u, reasons), 0), folder / "report.html")


def sentences(result: Mapping[str, Any], reasons: Reasons) -> list[str]:
    """The answer: what to fund, what to expect of it, how sure, and beside what."""
    ask, unit, cash = result["asks"][0], result["unit"] or "units", money(result["budget"])
    funded = [case for case in reasons.cases if case.amount > 0]
    named = [f"{case.project} ({cash.shown(case.amount)})" for case in funded[:NAMED]]
    more = [f"{len(funded) - NAMED} more"] if len(funded) > NAMED else []
    found = [
        f"Proposal {ask['id']} for round {ask['round']}: fund, in {cash.unit}, {listing([*named, *more])}.",
        f"It is expected to bring {bracket(ask['impact'], 'mean')} {unit} (89 % interval), which is"
        f" {100 * ask['share_of_best']['mean']:.0f} % of what could be had if everything were known (HyperScore"
        f" {bracket(ask['hyperscore'], 'mean')}).",
    ]
    sides = []
    for rival in reasons.rivals:
        more = "" if rival.allowed else ", which the limits do not allow"
        if rival.name in ("as now", "uniform", "knapsack"):
            sides.append(f"{bracket(rival.gain, 'mean', 0, signed=True)} % beside {words(rival.name)}{more}")
    if sides:
        found.append(f"Expected impact more than by other rules on this table: {'; '.join(sides)}.")
    if reasons.fairness:
        found.append(_fairness(reasons))
    changed = [moved for moved in reasons.moves if moved.turnover >= 0.05]
    if changed:
        names = listing(moved.project for moved in sorted(changed, key=lambda moved: -moved.turnover)[:NAMED])
        found.append(f"It would move most if beliefs about these were wrong by a standard deviation: {names}.")
    else:
        found.append("It moves by less than 5 % of the budget if any one belief is wrong by a standard deviation.")
    mean, error = reasons.next_round
    found.append(
        f"What this round would teach is worth {number(mean)} {unit} (standard error {number(error)}) in each round"
        f" after it; knowing everything would be worth {number(result['value_of_knowing_everything'])}."
    )
    found.append(f"What is left to gain within these beliefs is {100 * ask['residual']:.2g} % at most.")
    if len(result["asks"]) > 1:
        others = listing(each["id"] for each in result["asks"][1:])
        found.append(f"Beside it, as if the ones before were carried out and had reported: proposals {others}.")
    return found


def _fairness(reasons: Reasons) -> str:
    """Who is worst off, and how unequal regions are."""
    each = reasons.fairness["proposal"]
    now = reasons.fairness.get("as now")
    beside = f", now {bracket(now.regions[each.worst_off], 'mean')}" if now else ""
    text = f"Least impact per 1,000 people: {each.worst_off}, {bracket(each.regions[each.worst_off], 'mean')}{beside}"
    if each.gini is None:
        return f"{text}."
    beside = f" (now {bracket(now.gini, 'mean')})" if now and now.gini else ""
    return f"{text}; the Gini coefficient of the regions is {bracket(each.gini, 'mean')}{beside}."


def _by_region(reasons: Reasons) -> Sheet:
    rows = [
        [region, f"{count:,.0f}", *(bracket(each.regions[region], "mean") for each in reasons.fairness.values())]
        for region, count in sorted(reasons.people.items(), key=lambda item: -item[1])[:SHOWN]
    ]
    return Sheet("Impact per 1,000 people", ["region", "people", *reasons.fairness], rows)


def sheets(result: Mapping[str, Any], reasons: Reasons) -> list[Sheet]:
    """Projects, and the usual rules."""
    cash = money(result["budget"])
    rows = [
        [
            case.project,
            cash.shown(case.before),
            cash.shown(case.amount),
            bracket(case.effect, "mean"),
            number(case.impact["mean"]),
            number(case.marginal),
            *([number(case.spilled)] if any(each.spilled for each in reasons.cases) else []),
        ]
        for case in reasons.cases[:SHOWN]
    ]
    header = ["project", "now", "proposed", "effect per 1,000 USD", "impact", "next 1,000 USD"]
    header += ["via others"] if any(case.spilled for case in reasons.cases) else []
    title = f"Projects, in {cash.unit}"
    title += f", the {SHOWN} largest of {len(reasons.cases)}" if len(reasons.cases) > SHOWN else ""
    rules = [
        [words(rival.name), bracket(rival.impact, "mean"), bracket(rival.gain, "mean", signed=True)]
        for rival in reasons.rivals
    ]
    found = [
        Sheet(title, header, rows),
        Sheet("The usual rules on this table", ["rule", "impact", "the proposal brings more, %"], rules),
    ]
    if reasons.sweep:
        budgets = money(max(swept.budget for swept in reasons.sweep))
        rows = [
            [budgets.shown(swept.budget), number(swept.impact), number(swept.next_thousand)] for swept in reasons.sweep
        ]
        found.append(Sheet(f"Other budgets, in {budgets.unit}", ["budget", "impact", "next 1,000 USD"], rows))
    return found


def beginning(
    state: str,
    known: State,
    u: Understanding,
    warnings: Sequence[str],
    files: Mapping[str, str],
    tree: xr.DataTree | None = None,
) -> dict[str, Any]:
    """The document of `optimize start` and `optimize show`: what is believed, by the tree if there is one."""
    if tree is None:
        effect = np.exp(np.asarray(u.world.draws.log_effect)) * 1000.0 / u.budget
        spreads = {name: float(value) for name, value in u.spreads._asdict().items()}
    else:
        posterior = tree["posterior"].to_dataset()
        effect = posterior["effect"].values.reshape(-1, posterior.sizes["project"])
        spreads = {name: float(np.median(posterior[f"spread_{name}"])) for name in u.spreads._fields}
    names = np.array(u.projects.names)[u.which]
    return for_json(
        {
            "state": state,
            "rounds": known.rounds,
            "budget": u.budget,
            "unit": u.projects.unit,
            "projects": {
                str(name): {
                    "estimate": float(estimate),
                    "effect_per_1000usd": interval(effect[:, at]),
                }
                for at, (name, estimate) in enumerate(zip(names, u.projects.effect[u.which], strict=True))
            },
            "spreads": spreads,
            "asks": [{"id": ask.id, "round": ask.round} for ask in known.asks],
            "warnings": list(warnings),
            "files": dict(files),
        }
    )


def beginning_text(result: Mapping[str, Any]) -> Group:
    """The same in a terminal."""
    projects = result["projects"]
    rows = [
        [name, number(case["estimate"]), bracket(case["effect_per_1000usd"], "mean")]
        for name, case in sorted(projects.items(), key=lambda item: -item[1]["effect_per_1000usd"]["mean"])[:SHOWN]
    ]
    unit = result["unit"] or "units"
    lines = [
        f"{result['state']}: {len(projects)} projects with an estimate, {result['rounds']} rounds, a budget of"
        f" {number(result['budget'], 0)} USD a round.",
        f"An estimate errs by a factor of about {np.exp(result['spreads']['estimate']):.2g} beyond what is stated with"
        f" it, a report by {np.exp(result['spreads']['noise']):.2g}.",
    ]
    title = (
        "What is believed" if len(projects) <= SHOWN else f"What is believed, the {SHOWN} highest of {len(projects)}"
    )
    return document(lines, [Sheet(title, ["project", "estimate", f"{unit} per 1,000 USD"], rows)])


def _body(result: Mapping[str, Any], u: Understanding, reasons: Reasons) -> Iterator[str]:
    projects, rules, *budgets = sheets(result, reasons)
    cash = money(u.budget)
    yield html.tags("proposal", f"{len(reasons.cases)} projects", f"budget {cash.shown(u.budget)} {cash.unit}")
    yield html.answer(sentences(result, reasons), result["warnings"])
    yield html.section("What to fund, and why")
    yield html.figure(
        [html.svg(split(reasons, cash), "What each project gets now and in the proposal.")], "Amounts.", wide=True
    )
    yield html.figure(
        [
            html.svg(returns(curve, reasons, cash), f"Impact of {curve.project} by what it gets.")
            for curve in reasons.curves
        ],
        "Impact of the projects with the largest grants by what they get, mean and 89 % interval. Grey line: now. Blue"
        " line: proposed.",
    )
    yield html.table(projects, "Means with 89 % intervals.")
    yield html.section("How to read it")
    yield html.terms(TERMS)
    yield html.section("Beside the usual rules")
    yield html.table(rules, "Each rule is given what is believed of each project; differences are paired.")
    for sheet in budgets:
        yield html.table(sheet, "The best allocation of each, within the same limits.")
    if reasons.fairness:
        yield html.table(_by_region(reasons), "Of projects that say how many people they are for, with 89 % intervals.")
    if reasons.backtest:
        yield html.table(_backtest(reasons), "Mean impact as the projects are believed to be now.")
    yield html.section("What it hangs on")
    rows = [
        [moved.project, cash.shown(moved.lower), cash.shown(moved.higher), f"{100 * moved.turnover:.0f} %"]
        for moved in reasons.moves
    ]
    header = ["project", f"if worse, {cash.unit}", "if better", "of the budget moves"]
    yield html.table(Sheet("If a belief is wrong", header, rows), "By one standard deviation of the project's effect.")
    if reasons.implied:
        believed = {case.project: case.effect for case in reasons.cases}
        rows = [
            [name, number(value), bracket(believed[name], "mean"), number(value / believed[name]["mean"])]
            for name, value in sorted(reasons.implied.items(), key=lambda item: -item[1])[:SHOWN]
        ]
        header = ["project", "implied belief", "what is believed", "ratio"]
        yield html.table(Sheet("What the allocation that stands would say", header, rows))


def _backtest(reasons: Reasons) -> Sheet:
    names = [name for name in reasons.backtest[0] if name != "round"]
    rows = [[str(row["round"]), *(number(row[name]["mean"]) for name in names)] for row in reasons.backtest]
    return Sheet("Past rounds by the usual rules", ["round", *map(words, names)], rows)


def split(reasons: Reasons, cash: Money) -> Figure:
    """What each project gets now and in the proposal, the largest first."""
    shown = [case for case in reasons.cases if case.amount > 0 or case.before > 0][:SHOWN]
    figure = Figure(figsize=(6.6, 0.9 + 0.27 * max(len(shown), 1)))
    axes = figures.axes_at(figure, (2.6, 0.5, 3.7, 0.27 * max(len(shown), 1)))
    figures.row_labels(axes, [case.project for case in shown], wrap=38)
    places = np.arange(len(shown))
    axes.barh(places, [case.amount / cash.usd for case in shown], height=0.55, color=figures.COLOURS[0])
    before = np.array([case.before for case in shown]) / cash.usd
    axes.scatter(before, places, marker="|", s=90, color=figures.INK, zorder=3, linewidths=1.8)
    axes.set_xlabel(f"{cash.unit}: proposed (bar), now (line)", fontsize=figures.SMALL)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.locator_params(axis="x", nbins=4)
    return figure


def returns(curve: Curve, reasons: Reasons, cash: Money) -> Figure:
    """A project's impact by what it gets, with what it gets now and in the proposal."""
    figure, [axes] = figures.grid(1)
    amount = curve.amount / cash.usd
    axes.fill_between(amount, *curve.impact[1:], color=figures.COLOURS[0], alpha=0.15, linewidth=0)
    axes.plot(amount, curve.impact[0], color=figures.COLOURS[0], linewidth=1.8)
    case = next(case for case in reasons.cases if case.project == curve.project)
    for value, colour in ((case.before, figures.GREY), (case.amount, figures.COLOURS[0])):
        if np.isfinite(value):
            axes.axvline(value / cash.usd, color=colour, linewidth=1.2)
    axes.set_xlim(0, amount[-1])
    axes.set_ylim(bottom=0)
    axes.set_title(figures.plain(curve.project), loc="left", fontsize=10, fontweight="bold", color=figures.INK)
    axes.set_xlabel(cash.unit, fontsize=figures.SMALL)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    return figure
