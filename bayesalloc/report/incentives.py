"""Who gains, who would refuse and who would not comply: the agents in a comparison."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from bayesalloc.effects import decisions
from bayesalloc.report import figures, html
from bayesalloc.report.reading import arms_of, group, level_of, measure
from bayesalloc.report.tables import Name, Sheet
from bayesalloc.report.words import bracket, listing, number, percent, shared_places, top_places, with_unit, words

REFUSES, MAY_REFUSE = 0.5, 0.05  # probabilities from which an agent is said to refuse, and that it might
TERMS = {
    "would refuse": "the probability that an agent's expected payoff is lower than without an agreement.",
    "gain from not complying": "what an agent would gain if it alone did not do its part while all else went on by the"
    " rules; where it is above zero, the arm has to be enforced.",
}


def by_agent(tree: xr.DataTree, arms: Mapping[str, Any]) -> dict[str, Any]:
    """Agent -> arm -> payoff and incentives; empty where there are no agents."""
    agents, payoff = group(tree, "agents"), payoff_name(tree)
    found: dict[str, Any] = {}
    for agent in agents["agent"].values.tolist() if agents else ():
        for arm in agents["arm"].values.tolist():
            cell = agents.sel(agent=agent, arm=arm)
            more = {name: cell[name].item() for name in ("would_refuse", "deviation_gain", "gain_over_refusal")}
            stats = arms.get(f"{payoff}.{agent}", {}).get(arm, {"mean": cell["payoff"].item()})
            found.setdefault(agent, {})[arm] = {"payoff": stats, **more}
    return found


def fairness(tree: xr.DataTree) -> list[tuple[str, float, str]]:
    """Arm, Gini coefficient of the payoffs, and who is worst off; empty where there are no agents."""
    agents = group(tree, "agents")
    columns = (agents[key].values.tolist() for key in ("arm", "gini", "worst_off"))
    return list(zip(*columns, strict=True)) if agents else []


def sheet(tree: xr.DataTree, name: Name = str) -> Sheet:
    """Each agent's payoff and incentives under each arm."""
    cells, rows = by_agent(tree, arms_of(tree)), []
    every = [cell for by_arm in cells.values() for cell in by_arm.values()]
    decimals = shared_places([cell["payoff"] for cell in every])
    for agent, by_arm in cells.items():
        for arm, cell in by_arm.items():
            over, deviating = (
                number(cell[key], top_places(c[key] for c in every), signed=True)
                for key in ("gain_over_refusal", "deviation_gain")
            )
            refuse = percent(cell["would_refuse"], tree.attrs["draws"])
            rows.append([name(agent), name(arm), bracket(cell["payoff"], "mean", decimals), over, refuse, deviating])
    unit = f", {payoff_unit(tree)}" if payoff_unit(tree) else ""
    gains = ("over no agreement", "would refuse", "gain from not complying")
    header = ["agent", "arm", f"payoff [{level_of(tree)}]", *gains]
    return Sheet(f"Agents: private payoff{unit}", header, rows, keys=2)


def sentences(tree: xr.DataTree, name: Callable[[str], str]) -> list[str]:
    """Who would refuse, and who would gain by not complying."""
    agents, unit, draws = group(tree, "agents"), payoff_unit(tree), tree.attrs["draws"]
    if not agents:
        return []
    labels = [name(label) for label in agents["agent"].values.tolist()]
    refusing, deviating, faithful = [], [], []
    for arm in agents["arm"].values.tolist():
        refuse, gain = agents["would_refuse"].sel(arm=arm).values, agents["deviation_gain"].sel(arm=arm).values
        likely, said = refuse >= REFUSES, []
        for doubt, chosen in (("probably", likely), ("perhaps", (refuse >= MAY_REFUSE) & ~likely)):
            who = [f"{labels[i]} ({percent(refuse[i], draws)})" for i in np.flatnonzero(chosen)]
            said += [f"{_counted(who, labels)} {doubt}"] if who else []
        refusing += [f"under {name(arm)} {', '.join(said)}"] if said else []
        who = [labels[i] for i in np.flatnonzero(gain > 0)]
        most = f"{labels[int(gain.argmax())]} most, {with_unit(number(float(gain.max())), unit)}"
        deviating += [f"under {name(arm)} for {_counted(who, labels)} ({most})"] if who else []
        faithful += [] if who else [name(arm)]
    nobody = "Nobody is likely to be worse off under any of them than without an agreement."
    found = [f"Who would refuse: {'; '.join(refusing)}." if refusing else nobody]
    found += [f"Under {listing(faithful)} nobody would gain by not complying alone."] if faithful else []
    return found + ([f"Not complying alone would pay: {'; '.join(deviating)}."] if deviating else [])


def _counted(who: Sequence[str], everybody: Sequence[str]) -> str:
    return f"all {len(who)}" if len(who) == len(everybody) > 2 else listing(who)


def payoff_name(tree: xr.DataTree) -> str:
    """The outcome that is the agents' payoff; "" where the result has none."""
    agents, arms = group(tree, "agents"), group(tree, "arms")
    for outcome, values in arms.data_vars.items() if agents else ():
        mean = values.sel(statistic="mean")
        if mean.dims == agents["payoff"].dims and np.allclose(mean, agents["payoff"], rtol=1e-4):
            return str(outcome)
    return ""


def payoff_unit(tree: xr.DataTree) -> str:
    """Unit of the agents' payoff."""
    return measure(tree, payoff_name(tree)).unit


def section(tree: xr.DataTree, level: str) -> Iterator[str]:
    """The part of a page that is about the agents."""
    yield html.section("Who gains, who would refuse, who would not comply")
    alt = "Payoff of each agent under each arm, beside its payoff without an agreement; the numbers are in the table."
    yield html.figure(
        [html.svg(payoffs(tree), alt)],
        f"Payoff of each agent: mean and the {level} interval of one"
        " future. Dashed: its expected payoff without an agreement. A cross marks who would probably refuse.",
        wide=True,
    )
    yield html.table(sheet(tree, words))
    rows = [[words(arm), words(worst), f"{gini:.2f}"] for arm, gini, worst in fairness(tree)]
    fair = Sheet("Fairness", ["arm", "worst off", "Gini of payoffs"], rows, keys=2)
    yield html.table(fair, "Gini: 0 when all have the same, 1 when one has all.")


def payoffs(tree: xr.DataTree) -> Figure:
    """Each agent's payoff under each arm, and what it would have without an agreement; crossed where it would refuse.

    Args:
        tree: a result of `compare` with the group `agents`.
    """
    agents, colours = group(tree, "agents"), figures.arm_colours(tree)
    arms, step = arms_of(tree), 1 / (len(colours) + 1)
    names, payoff, alone = agents["agent"].values.tolist(), payoff_name(tree), decisions.without_agreement(agents)
    head, inside = 0.1 + 0.2 * math.ceil((len(colours) + 1) / 2), len(names) * max(0.45, 0.17 * (len(colours) + 1))
    figure = Figure(figsize=(figures.WIDE, head + inside + 0.5))
    axes = figures.axes_at(figure, (1.2, 0.5, figures.WIDE - 1.4, inside))
    for row, agent in enumerate(names):
        without = float(alone.sel(agent=agent))
        axes.plot([without, without], [row - 0.42, row + 0.42], color=figures.INK, linewidth=1.3, linestyle=(0, (3, 2)))
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
                axes.annotate(text, place, (6, 0), textcoords="offset points", va="center", fontsize=figures.SMALL - 1)
    figures.row_labels(axes, names)
    for row in range(1, len(names)):
        axes.axhline(row - 0.5, color=figures.FAINT, linewidth=0.7, zorder=0)
    unit = payoff_unit(tree)
    axes.set_xlabel(f"payoff{f', {unit}' if unit else ''}", fontsize=figures.SMALL)
    figures.key(
        figure, {figures.plain(arm): colour for arm, colour in colours.items()}, 2, dashed="without an agreement"
    )
    return figure
