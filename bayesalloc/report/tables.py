"""Results as JSON (the contract of the command line) and as tables, for a terminal here and for a page elsewhere."""

import itertools
import json
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from bayesalloc.report import (
    INTERVAL,
    MANY,
    MISSING,
    Part,
    alike,
    arms_of,
    bracket,
    by_period,
    comparison_sentences,
    counterfactual_sentences,
    effects_of,
    fit_sentences,
    flat,
    group,
    held_and_drawn,
    intervention,
    listing,
    main_outcomes,
    measure,
    notes,
    number,
    overall,
    parts,
    payoff_name,
    payoff_unit,
    percent,
    period,
    places,
    setting,
    summaries,
    titled,
    top_places,
)

if TYPE_CHECKING:
    from bayesalloc.inference.diagnosing import Verdict

Name = Callable[[str], str]
ARMS_PER_TABLE = 3  # in 100 columns


class Sheet(NamedTuple):
    """A table: `keys` is how many of its columns are text; equal neighbours in the first one are shown once."""

    title: str
    header: list[str]
    rows: list[list[str]]
    keys: int = 1


def comparison_json(tree: xr.DataTree, files: Mapping[str, str], seed: int) -> dict[str, Any]:
    """The JSON of `bayesalloc compare`: plain Python objects, None for what is missing.

    Args:
        tree: a result of `compare`.
        files: what was written: kind of file -> path.
        seed: the seed of the run.
    """
    arms, decision, control = arms_of(tree), group(tree, "decision"), tree.attrs["control"]
    effects, every = effects_of(tree), parts(tree)
    names = list(next(iter(arms.values()), {}))
    return _plain({
        **_header(tree, seed),
        **{key: tree.attrs[key] for key in ("futures", "horizon", "period", "minimum", "control") if key in tree.attrs},
        "units": json.loads(tree.attrs["units"]),
        **{key: json.loads(tree.attrs.get(key, "[]")) for key in ("held", "drawn", "warnings")},
        "arms": {arm: {outcome: by[arm] for outcome, by in arms.items()} for arm in names},
        "effects": [
            _effect(arm, control, every[label], by[arm])
            for arm in names if arm != control
            for label, by in effects.items()
        ],
        "agents": _agents(tree, arms),
        "fairness": {arm: {"gini": gini, "worst_off": worst} for arm, gini, worst in fairness(tree)},
        "decision": {key: _nested(decision[key]) for key in ("prob_best", "expected_regret", "cvar", "evpi")},
        "files": dict(files),
    })  # fmt: skip


def fit_json(tree: xr.DataTree, verdict: "Verdict", files: Mapping[str, str]) -> dict[str, Any]:
    """The JSON of `bayesalloc fit`, whose `verdict` is from `diagnose`; see `comparison_json`.

    Sites with several values are named `tendency.dam_owner`.
    """
    numbers = ("rhat_max", "ess_bulk_min", "ess_tail_min", "divergences", "pareto_k", "usable", "why", "checks")
    return _plain({
        "model": tree.attrs["model"],
        "method": tree.attrs["method"],
        **{name: getattr(verdict, name) for name in numbers},
        "interval": {"kind": "eti", "prob": INTERVAL},
        "summary": summaries(tree),
        "files": dict(files),
    })  # fmt: skip


def counterfactual_json(tree: xr.DataTree, files: Mapping[str, str], seed: int) -> dict[str, Any]:
    """The JSON of `bayesalloc counterfactual`: per outcome and period, and over the periods; see `comparison_json`."""
    return _plain({
        **_header(tree, seed),
        "intervention": tree.attrs["intervention"],
        "period": period(tree),
        "from_year": tree.attrs["from_year"],
        "outcomes": by_period(tree),
        "overall": overall(tree),
        "files": dict(files),
    })  # fmt: skip


def _header(tree: xr.DataTree, seed: int) -> dict[str, Any]:
    shared = {key: tree.attrs[key] for key in ("model", "kind", "basis", "draws")}
    return {**shared, "seed": seed, "interval": {"kind": "eti", "prob": tree.attrs["interval"]}}


def _effect(treatment: str, control: str, part: Part, found: Mapping[str, float]) -> dict[str, Any]:
    split = {name: found[f"var_{name}"] for name in ("parameter", "process", "monte_carlo")}
    rest = {name: value for name, value in found.items() if not name.startswith("var_")}
    return {"treatment": treatment, "control": control, **part._asdict(), **rest, "variance": split}


def _agents(tree: xr.DataTree, arms: Mapping[str, Any]) -> dict[str, Any]:
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


def _nested(array: xr.DataArray) -> dict[str, Any]:
    labels = [str(label) for label in array[array.dims[0]].values]
    return {label: _nested(array[i]) if array.ndim > 1 else array[i].item() for i, label in enumerate(labels)}


def _plain(value: Any) -> Any:
    """The same with plain Python numbers, and None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def arms_sheets(tree: xr.DataTree, outcomes: Sequence[str], name: Name = str, per_table: int = 4) -> list[Sheet]:
    """Mean of each outcome in each arm, and the interval of one future."""
    arms = arms_of(tree)
    names = group(tree, "arms")["arm"].values.tolist()
    sheets = []
    for chosen in itertools.batched(names, per_table):
        rows = [
            [labelled(tree, o, name), *(bracket(arms[o][arm], "mean", alike(arms[o].values())) for arm in chosen)]
            for o in outcomes
        ]
        sheets.append(Sheet(f"Outcomes: mean [{_level(tree)} of futures]", ["outcome", *map(name, chosen)], rows))
    return sheets


def effects_sheets(tree: xr.DataTree, outcomes: Sequence[str], name: Name = str) -> list[Sheet]:
    """One table per treatment: the effect on each outcome and how sure it is."""
    effects, arms = effects_of(tree), arms_of(tree)
    control, minimum, draws = tree.attrs["control"], tree.attrs["minimum"], tree.attrs["draws"]
    level, sheets = _level(tree), []
    header = ["outcome", f"average effect [{level}]", f"one future [{level}]", "relative", "P(>0)"]
    header += [f"P(size>{minimum:g})"] if minimum else []
    for arm in group(tree, "effects")["treatment"].values.tolist():
        rows = []
        for outcome in outcomes:
            s, decimals = effects[outcome][arm], alike(effects[outcome].values())
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


def agents_sheet(tree: xr.DataTree, name: Name = str) -> Sheet:
    """Each agent's payoff and incentives under each arm."""
    by_agent, rows = _agents(tree, arms_of(tree)), []
    every = [cell for by_arm in by_agent.values() for cell in by_arm.values()]
    decimals = alike([cell["payoff"] for cell in every])
    for agent, by_arm in by_agent.items():
        for arm, cell in by_arm.items():
            over, deviating = (
                number(cell[key], top_places(c[key] for c in every), signed=True)
                for key in ("gain_over_refusal", "deviation_gain")
            )
            refuse = percent(cell["would_refuse"], tree.attrs["draws"])
            rows.append([name(agent), name(arm), bracket(cell["payoff"], "mean", decimals), over, refuse, deviating])
    unit = f", {payoff_unit(tree)}" if payoff_unit(tree) else ""
    gains = ("over no agreement", "would refuse", "gain from not complying")
    header = ["agent", "arm", f"payoff [{_level(tree)}]", *gains]
    return Sheet(f"Agents: private payoff{unit}", header, rows, keys=2)


def decision_sheet(tree: xr.DataTree, name: Name = str) -> Sheet:
    """Decision measures per criterion and arm."""
    rows = []
    for criterion, by_arm in _decisions(tree).items():
        for i, (arm, (*cells, knowing)) in enumerate(by_arm.items()):
            rows.append([labelled(tree, criterion, name), name(arm), *cells, "" if i else knowing])
    header = ["criterion", "arm", "P(best)", "expected regret", "worst tenth (CVaR)", "value of knowing (EVPI)"]
    return Sheet("Decision", header, rows, keys=2)


def _decisions(tree: xr.DataTree) -> dict[str, dict[str, list[str]]]:
    """Criterion -> arm -> probability of being best, expected regret, CVaR, EVPI; rounding errors count as zero."""
    decision = group(tree, "decision")
    values = {key: flat(decision[[key]], "arm") for key in ("prob_best", "expected_regret", "cvar")}
    found: dict[str, dict[str, list[str]]] = {}
    for criterion, knowing in zip(decision["criterion"].values.tolist(), decision["evpi"].values.tolist(), strict=True):
        best, regret, worst = (by[f"{key}.{criterion}"] for key, by in values.items())
        size, noise = top_places(worst), 1e-6 * np.abs(worst).max()
        regret, knowing = np.where(regret < noise, 0.0, regret), knowing if knowing > noise else 0.0
        found[criterion] = {
            str(arm): [
                percent(best[i], tree.attrs["draws"]), number(regret[i], size), number(worst[i], size),
                number(knowing, size),
            ]
            for i, arm in enumerate(decision["arm"].values)
        }  # fmt: skip
    return found


def parameters_sheet(tree: xr.DataTree, name: Name = str) -> Sheet:
    """Prior and posterior of each parameter; sites with many values in one row."""
    prior, posterior = summaries(tree, "prior"), summaries(tree)
    by_site: dict[str, list[str]] = {}
    for label in posterior:
        by_site.setdefault(label.partition(".")[0], []).append(label)
    rows = []
    for site, labels in by_site.items():
        if len(labels) > MANY:
            means = [posterior[label]["mean"] for label in labels]
            spread = f"means {number(min(means))} to {number(max(means))}"
            rows.append([f"{name(site)} ({len(labels)} values)", MISSING, spread, MISSING])
            continue
        for label in labels:
            before, after = prior.get(label), posterior[label]
            left = 100 * after["sd"] / before["sd"] if before and before["sd"] > 0 else math.nan
            shown = f"{number(left, 0)} %" if math.isfinite(left) else MISSING
            rows.append([name(label), bracket(before, "mean") if before else MISSING, bracket(after, "mean"), shown])
    level = f"{100 * INTERVAL:.0f} %"
    return Sheet("Parameters", ["site", f"prior [{level}]", f"posterior [{level}]", "spread left"], rows)


def checks_sheet(verdict: "Verdict", name: Name = str) -> Sheet:
    """Posterior predictive checks, per data site."""
    rows = [
        [name(site.removesuffix("_observed")), *(f"{100 * check[key]:.0f} %" for key in ("inside", "p_mean", "p_sd"))]
        for site, check in verdict.checks.items()
    ]
    header = ["data", f"inside the {100 * INTERVAL:.0f} % interval", "replicated mean larger", "replicated sd larger"]
    return Sheet("Predictive checks", header, rows)


def overall_sheet(tree: xr.DataTree, outcomes: Sequence[str], name: Name = str) -> Sheet:
    """The counterfactual over its periods."""
    last, first, rows = group(tree, "effects")[period(tree)].values[-1], tree.attrs["from_year"], []
    when = {"horizon": str(last), "years": f"mean {first}-{last}"}
    for outcome, found in overall(tree).items():
        if outcome in outcomes:
            both = (found["factual"], found["counterfactual"])
            means = [number(value, top_places(both)) for value in both]
            none = found["low"] == found["high"] == 0
            chance = MISSING if none else percent(found["prob_positive"], tree.attrs["draws"])
            effect = bracket(found, "mean", signed=True)
            rows.append([labelled(tree, outcome, name), when[measure(tree, outcome).at], *means, effect, chance])
    header = ["outcome", "when", "factual", "counterfactual", f"difference [{_level(tree)}]", "P(>0)"]
    return Sheet(f"Counterfactual: {name(intervention(tree))} from {first} on", header, rows, keys=2)


def periods_sheet(tree: xr.DataTree, outcome: str, name: Name = str) -> Sheet:
    """One outcome of a counterfactual, period by period."""
    found, shown, rows = by_period(tree)[outcome], ("recorded", "factual", "counterfactual"), []
    size, decimals = top_places(row[key] for row in found for key in shown), alike([row["effect"] for row in found])
    for row in found:
        effect = bracket(row["effect"], "mean", decimals, signed=True)
        rows.append([str(row[period(tree)]), *(number(row[key], size) for key in shown), effect])
    header = [period(tree), "recorded", "factual", "counterfactual", f"difference [{_level(tree)}]"]
    return Sheet(labelled(tree, outcome, name), header, rows)


def comparison_text(tree: xr.DataTree) -> Group:
    """A comparison for the terminal, in 100 columns: the findings in words, then the tables."""
    main, every = main_outcomes(tree), main_outcomes(tree, directed=False)
    sheets = [*arms_sheets(tree, every, per_table=ARMS_PER_TABLE), *effects_sheets(tree, every)]
    if "agents" in tree.children:
        sheets.append(agents_sheet(tree))
    sheets += _decision_pivots(tree)
    ends = [outcome for outcome in main if measure(tree, outcome).at == "horizon"]
    note = f"; {listing(ends)} in the last {period(tree)}, all else as the mean of the {period(tree)}s" if ends else ""
    made = f"{tree.attrs['model']}: {setting(tree)}{note}."
    return _document([made, *comparison_sentences(tree), *held_and_drawn(tree), *notes(tree)], sheets)


def fit_text(tree: xr.DataTree, verdict: "Verdict") -> Group:
    """A fit for the terminal: whether it can be used, the parameters, and the predictive checks."""
    return _document([*fit_sentences(tree, verdict), *notes(tree)], [parameters_sheet(tree), checks_sheet(verdict)])


def counterfactual_text(tree: xr.DataTree) -> Group:
    """A counterfactual for the terminal: what would have been different, over the periods and one by one."""
    main = main_outcomes(tree)[:MANY]
    sheets = [overall_sheet(tree, main_outcomes(tree, directed=False)), *(periods_sheet(tree, name) for name in main)]
    made = f"{tree.attrs['model']}: counterfactual, with the record's own noise; {tree.attrs['draws']} posterior draws."
    return _document([made, *counterfactual_sentences(tree), *notes(tree)], sheets)


def _decision_pivots(tree: xr.DataTree) -> list[Sheet]:
    """Probability of being best and expected regret, one column per arm."""
    decisions, sheets = _decisions(tree), []
    arms = list(next(iter(decisions.values()), {}))
    for chosen in itertools.batched(arms, ARMS_PER_TABLE):
        rows = [
            [labelled(tree, criterion, str), *(f"{by_arm[arm][0]}  {by_arm[arm][1]:>6}" for arm in chosen)]
            for criterion, by_arm in decisions.items()
        ]
        sheets.append(Sheet("Decision: probability of being best, expected regret", ["criterion", *chosen], rows))
    return sheets


def _document(sentences: Sequence[str], sheets: Sequence[Sheet]) -> Group:
    bullets = Table.grid(padding=(0, 1))
    for sentence in sentences:
        bullets.add_row("•", Text(sentence))
    return Group(bullets, Text(), *(part for sheet in sheets for part in (_rendered(sheet), Text())))


def _rendered(sheet: Sheet) -> Table:
    # Text, not str: a name in square brackets is not markup.
    title = Text(sheet.title, style="bold")
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", show_edge=False, padding=(0, 1, 0, 0))
    for i, heading in enumerate(sheet.header):
        heading = heading.replace("parameters :", "param :").replace("relative", "rel.")
        width = max(len(part) for part in [*(row[i] for row in sheet.rows), *heading.split()])
        justify = "left" if i < sheet.keys else "right"
        heading = Text(textwrap.fill(heading, width))
        table.add_column(heading, justify=justify, no_wrap=i >= sheet.keys, vertical="bottom")
    before = None
    for row in sheet.rows:
        table.add_row(*map(Text, ["" if sheet.keys > 1 and row[0] == before else row[0], *row[1:]]))
        before = row[0]
    return table


def labelled(tree: xr.DataTree, outcome: str, name: Name = str) -> str:
    """An outcome with its unit."""
    unit = measure(tree, outcome).unit
    return f"{titled(tree, outcome, name)} ({unit})" if unit else titled(tree, outcome, name)


def _level(tree: xr.DataTree) -> str:
    return f"{100 * tree.attrs['interval']:.0f}\N{NO-BREAK SPACE}%"


def _split(stats: Mapping[str, float]) -> str:
    """Shares of the variance of a single future's effect: what more data could reduce, and chance."""
    parameter, process = stats["var_parameter"], stats["var_process"]
    total = parameter + process
    if not math.isfinite(total) or total <= 1e-12 * stats["ate"] ** 2:
        return MISSING
    share = round(100 * parameter / total)
    return f"{share} : {100 - share}"
