"""Results in, documents out: tables, figures and pages of what `compare`, `fit` and `counterfactual` return.

Here is how names, numbers and findings are put into words; `reading` is how every document reads a result.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesalloc.report.reading import (
    ELEMENTS as ELEMENTS,
    FEW as FEW,
    MANY as MANY,
    Measure as Measure,
    Part as Part,
    Statistics as Statistics,
    arms_of as arms_of,
    effects_of as effects_of,
    every_outcome as every_outcome,
    flat as flat,
    group as group,
    main_outcomes as main_outcomes,
    measure as measure,
    measures as measures,
    parts as parts,
    period as period,
    periods as periods,
    statistics as statistics,
)

if TYPE_CHECKING:
    from bayesalloc.inference.diagnosing import Verdict

MISSING = "\N{EN DASH}"
INTERVAL = 0.89  # of fits, whose trees do not carry one; the same as in `bayesalloc.inference`

REFUSES, MAY_REFUSE = 0.5, 0.05  # probabilities from which an agent is said to refuse, and that it might


def titled(tree: xr.DataTree, label: str, name: Callable[[str], str] = str) -> str:
    """A label as it is read: a mean over elements says what it is over, a numbered element which it is."""
    part = parts(tree).get(label) if "arms" in tree.children else None
    if part is None or (part.over is None and not _numbered(part)):
        return name(label)
    own = f"{part.outcome}_dim_"
    places = [
        f"{value}" if dim.startswith(own) else f"{name(dim)} {value}" for dim, value in (part.element or {}).items()
    ]
    return f"{name(part.outcome)} ({part.over or ', '.join(places)})"


def _numbered(part: Part) -> bool:
    return bool(part.element) and all(isinstance(value, int) for value in (part.element or {}).values())


def words(name: str) -> str:
    """A name as it is read.

    >>> words("payoff.dam_owner")
    'payoff, dam owner'
    """
    return name.replace("_", " ").replace(".", ", ") if name.replace(".", "_").isidentifier() else name


def listing(names: Iterable[str]) -> str:
    """Names in a sentence.

    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    *most, last = [*names] or ["none"]
    return f"{', '.join(most)} and {last}" if most else last


def places(low: float, high: float, value: float = 0.0) -> int:
    """Decimal places that show an interval's width to two digits, or its value to three where it has no width.

    >>> places(0.283, 0.394, 0.34), places(115.5, 158.9), places(2.0, 2.0, 2.0)
    (2, 0, 2)
    """
    size = max(abs(low), abs(high), abs(value))
    if not math.isfinite(size) or size == 0:
        return 0
    width = high - low
    digits = 1 - math.floor(math.log10(width)) if width > 1e-5 * size else 2 - math.floor(math.log10(size))
    return min(max(digits, 0), 12)


def number(value: float, decimals: int | None = None, *, signed: bool = False) -> str:
    """A number as it is read: `decimals` places, or three significant digits; a dash where it is missing.

    >>> number(-0.1366), number(1234.5, 0, signed=True)
    ('-0.137', '+1,234')
    """
    if not math.isfinite(value):
        return MISSING
    decimals = places(value, value, value) if decimals is None else decimals
    text = f"{value:{'+' if signed else ''},.{decimals}f}" if decimals < 7 else f"{value:{'+' if signed else ''}.2g}"
    return text.lstrip("+-") if float(text.replace(",", "")) == 0 else text


def alike(several: Iterable[Mapping[str, float]]) -> int:
    """Decimal places for several intervals side by side: those of the widest, of the intervals that have a width."""
    found = [places(s["low"], s["high"]) for s in several if s.get("high", 0.0) > s.get("low", 0.0)]
    return min(found, default=0)


def top_places(values: Iterable[float]) -> int:
    """Decimal places for several numbers side by side: three digits of the largest."""
    top = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return places(top, top, top)


def bracket(stats: Mapping[str, float], mean: str, decimals: int | None = None, *, signed: bool = False) -> str:
    """A mean with its interval, to its own two digits, or to `decimals` but at most one digit less.

    >>> bracket({"mean": 0.3405, "low": 0.2833, "high": 0.394}, "mean")
    '0.34 [0.28, 0.39]'
    """
    low, high = stats.get("low", math.nan), stats.get("high", math.nan)
    own = places(low, high, stats[mean])
    chosen = own if decimals is None else max(decimals, own - 1)
    if not math.isfinite(low + high):
        return number(stats[mean], signed=signed)
    return f"{number(stats[mean], chosen, signed=signed)} [{number(low, chosen)}, {number(high, chosen)}]"


def percent(probability: float, draws: int) -> str:
    """A probability estimated from draws; never 0 or 100 %, which no simulation shows.

    Where no draw (or every draw) has the property, the bound is the exact 95 % one, 1 - 0.05^(1/draws), or 1 %.

    >>> percent(0.978, 500), percent(1.0, 500), percent(0.0, 20)
    ('98 %', '>99 %', '<14 %')
    """
    if not math.isfinite(probability):
        return MISSING
    bound = max(0.01, 1 - 0.05 ** (1 / draws))
    if probability * draws < 0.5 or probability < 0.01:
        return f"<{100 * bound if probability * draws < 0.5 else 1:.0f} %"
    if (1 - probability) * draws < 0.5 or probability > 0.99:
        return f">{100 * (1 - bound) if (1 - probability) * draws < 0.5 else 99:.0f} %"
    return f"{100 * probability:.0f} %"


def with_unit(text: str, unit: str) -> str:
    """A number and its unit.

    >>> with_unit("138", "kEUR/yr"), with_unit("0.34", "")
    ('138 kEUR/yr', '0.34')
    """
    return f"{text} {unit}".rstrip()


def intervention(tree: xr.DataTree) -> str:
    """What was done in a counterfactual: the name of an arm, or the sites and their values."""
    text = str(tree.attrs["intervention"])
    if not text.startswith("{"):
        return text
    return listing(f"{site} = {value}" for site, value in json.loads(text).items())


def setting(tree: xr.DataTree) -> str:
    """How a comparison was made, in one line."""
    prior = "under the prior, at the data given" if tree.attrs.get("recorded") else "under the prior (no record used)"
    basis = "given the record (posterior)" if tree.attrs["basis"] == "posterior" else prior
    run = f", {periods(tree, tree.attrs['horizon'])}" if tree.attrs["horizon"] else ""
    return (
        f"interventional effects {basis}; {tree.attrs['draws']} draws of the parameters x {tree.attrs['futures']}"
        f" futures{run}; {100 * tree.attrs['interval']:.0f} % equal-tailed intervals"
    )


def overall(tree: xr.DataTree) -> dict[str, dict[str, float]]:
    """Outcome -> means and effect of a counterfactual over its periods.

    A stock is taken in the last period, a flow as the mean over the periods from the intervention on.
    """
    outcomes = group(tree, "outcomes")
    since = outcomes[period(tree)].values >= tree.attrs["from_year"]
    tail, found = (1 - tree.attrs["interval"]) / 2, {}
    for label, values in flat(outcomes, "arm", "draw", period(tree)).items():
        both = values[:, :, -1] if measure(tree, label).at == "horizon" else values[:, :, since].mean(2)
        effect = both[1] - both[0]
        low, high = np.quantile(effect, [tail, 1 - tail])
        positive = (effect > 0).mean() + 0.5 * (effect == 0).mean()
        stats = {"mean": effect.mean(), "low": low, "high": high, "prob_positive": positive}
        means = {"factual": both[0].mean(), "counterfactual": both[1].mean()}
        found[label] = {name: float(value) for name, value in {**means, **stats}.items()}
    return found


def by_period(tree: xr.DataTree) -> dict[str, list[dict[str, Any]]]:
    """Outcome -> one dict per period of a counterfactual: factual and counterfactual mean, effect, recorded value."""
    called = period(tree)
    effects, record = group(tree, "effects"), flat(group(tree, "record"), called)
    means = flat(group(tree, "outcomes").mean("draw"), "arm", called)
    names, found = effects["statistic"].values.tolist(), {}
    for label, values in flat(effects, called, "statistic").items():
        outcome, dot, rest = label.partition(".")
        recorded = record.get(f"{outcome}_observed{dot}{rest}", np.full(len(values), np.nan))
        found[label] = [
            {
                called: when,
                "factual": means[label][0, i],
                "counterfactual": means[label][1, i],
                "effect": dict(zip(names, values[i], strict=True)),
                "recorded": recorded[i],
            }
            for i, when in enumerate(effects[called].values.tolist())
        ]
    return found


def summaries(tree: xr.DataTree, source: str = "posterior") -> dict[str, dict[str, float]]:
    """Site -> mean, sd, low, high of the parameters: the sites that have no period."""
    sites = group(tree, source)
    kept = [n for n, v in sites.data_vars.items() if period(tree) not in v.dims]
    tail, found = (1 - INTERVAL) / 2, {}
    for label, values in flat(sites[kept], "chain", "draw").items():
        low, high = np.quantile(values, [tail, 1 - tail])
        found[label] = {"mean": float(values.mean()), "sd": float(values.std()), "low": float(low), "high": float(high)}
    return found


def comparison_sentences(tree: xr.DataTree, name: Callable[[str], str] = str) -> list[str]:
    """What a comparison found: effects, the likely best, who would refuse and who would gain by not complying.

    Args:
        tree: a result of `compare`.
        name: how names are written, e.g. `words`.
    """
    verbs = {1: "raises {} by {}", -1: "lowers {} by {}", 0: "may lower or raise {}{}", None: "does not change {}"}
    effects, control = effects_of(tree), str(tree.attrs["control"])
    found = []
    for arm in group(tree, "effects")["treatment"].values.tolist():
        clauses = []
        for outcome in main_outcomes(tree)[:MANY]:
            effect, unit = effects[outcome][arm], measure(tree, outcome).unit
            decimals = alike(effects[outcome].values())
            direction, size = _size(effect, "ate", decimals, unit, 0.0 if clauses else tree.attrs["interval"])
            clauses.append(verbs[direction].format(titled(tree, outcome, name), size))
        found.append(f"Against {name(control)}, {name(arm)} {listing(clauses)}.")
    return [*found, *_best(tree, name), *_incentives(tree, name)]


def counterfactual_sentences(tree: xr.DataTree, name: Callable[[str], str] = str) -> list[str]:
    """What would have been different: at the end of the record for stocks, on average over its periods for flows."""
    verbs = {1: "{} higher by {}", -1: "{} lower by {}", 0: "{} lower or higher{}", None: "{} no different"}
    last, first = group(tree, "effects")[period(tree)].values[-1], tree.attrs["from_year"]
    when = {"horizon": f"in {last}", "years": f"on average over {first} to {last}"}
    differences, clauses = overall(tree), []
    for outcome in main_outcomes(tree)[:MANY]:
        effect, known = differences[outcome], measure(tree, outcome)
        direction, size = _size(effect, "mean", None, known.unit, 0.0 if clauses else tree.attrs["interval"])
        clauses.append(verbs[direction].format(f"{name(outcome)} {when[known.at]}", size))
    clauses[0] = clauses[0].replace(when["horizon"], f"{when['horizon']} would have been", 1)
    return [f"With {name(intervention(tree))} from {first} on, {listing(clauses)}."]


def fit_sentences(tree: xr.DataTree, verdict: "Verdict", name: Callable[[str], str] = str) -> list[str]:
    """Whether a posterior can be used and why, and what was assumed about the record."""
    use = "can be used" if verdict.usable else "should not be used yet"
    model, record = name(tree.attrs["model"]), tree.attrs["record_name"]
    return [f"The posterior of {model} given {record} {use}: {verdict.why}."]


def notes(tree: xr.DataTree) -> list[str]:
    """What was assumed or is to be kept in mind: the attribute `warnings` of a result, as sentences."""
    return [f"Note: {warning}." for warning in json.loads(tree.attrs.get("warnings", "[]"))]


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


def _size(
    effect: Mapping[str, float], mean: str, decimals: int | None, unit: str, interval: float
) -> tuple[int | None, str]:
    """Direction of an effect (0 where it is open, None where there is none), and its size with its interval."""
    low, high = effect["low"], effect["high"]
    own = places(low, high, effect[mean])
    decimals = own if decimals is None else max(decimals, own - 1)
    label = f"{100 * interval:.0f} % interval " if interval else ""
    if low == high == 0:
        return None, ""
    if not math.isfinite(low + high):
        return 0, " (its size is not a finite number)"
    if low <= 0 <= high:
        return 0, f" ({label}{with_unit(f'{number(low, decimals)} to {number(high, decimals)}', unit)})"
    near, far = sorted((abs(low), abs(high)))
    shown = with_unit(number(abs(effect[mean]), decimals), unit)
    return (1 if low > 0 else -1), f"{shown} ({label}{number(near, decimals)} to {number(far, decimals)})"


def _best(tree: xr.DataTree, name: Callable[[str], str]) -> list[str]:
    """Which arm is most likely the best, for the outcomes of one number and for each agent's share."""
    decision = group(tree, "decision")
    arms, draws, by_prefix = decision["arm"].values.tolist(), tree.attrs["draws"], {}
    for label, row in flat(decision[["prob_best"]], "arm").items():
        prefix, _, rest = label.removeprefix("prob_best.").rpartition(".")
        criteria = by_prefix.setdefault(prefix, {}).setdefault(arms[row.argmax()], [])
        criteria.append(f"{name(rest)} ({percent(row.max(), draws)})")
    found = []
    for prefix, by_arm in by_prefix.items():
        total = sum(map(len, by_arm.values()))
        shown = {arm: listing(who) if total <= MANY else f"{len(who)} of {total}" for arm, who in by_arm.items()}
        parts = "; ".join(f"{name(arm)} for {who}" for arm, who in shown.items())
        found.append(f"Most likely the best{f' for the {name(prefix)} of each' if prefix else ''}: {parts}.")
    return found


def _incentives(tree: xr.DataTree, name: Callable[[str], str]) -> list[str]:
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
