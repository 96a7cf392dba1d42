"""What a comparison means for a choice: which arm is best, the regret, the worst cases and the value of knowing."""

import itertools
from collections.abc import Callable

import numpy as np
import xarray as xr

from bayesalloc.report.reading import MANY, flat, group, labelled
from bayesalloc.report.tables import ARMS_PER_TABLE, Name, Sheet
from bayesalloc.report.words import listing, number, percent, top_places

TERMS = {
    "P(best)": "the probability that an arm is the best by a criterion.",
    "expected regret": "how much worse than the best arm it is, on average over what the parameters may be.",
    "worst tenth (CVaR)": "the mean of the worst tenth of all simulated futures.",
    "value of knowing (EVPI)": "how much better the choice would be on average if the parameters were known before it;"
    " near zero, more data would not change the choice.",
}


def best(tree: xr.DataTree, name: Callable[[str], str]) -> list[str]:
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


def sheet(tree: xr.DataTree, name: Name = str) -> Sheet:
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
                percent(best[i], tree.attrs["draws"]),
                number(regret[i], size),
                number(worst[i], size),
                number(knowing, size),
            ]
            for i, arm in enumerate(decision["arm"].values)
        }
    return found


def pivots(tree: xr.DataTree) -> list[Sheet]:
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
