"""What effects mean for a choice: payoffs, who would refuse, gains from deviating, fairness, regret and tail risk."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from bayesalloc.effects.arms import Simulated
from bayesalloc.effects.contrasts import expected
from bayesalloc.environment import Environment, Outcome
from bayesalloc.inference.names import escaped

TAIL = 0.1  # CVaR is the mean of the worst tenth


def agents(simulated: Simulated, env: Environment, arms: list[str]) -> xr.Dataset:
    """Private payoffs and incentives, per arm and agent, in the payoff's unit.

    `would_refuse`: probability (over parameters) that the agent's expected payoff is below what it would have if there
    were no agreement. `deviation_gain`: expected gain of the agent if it alone did not comply; above zero the
    mechanism is not incentive compatible for it. `gini` and `worst_off` are per arm.
    """
    payoff = simulated.values[env.payoff]
    gain = payoff - simulated.refusal
    mean = payoff.mean((0, 1))
    dims = ("arm", "agent")
    return xr.Dataset(
        {
            "payoff": (dims, mean),
            "would_refuse": (dims, np.where(np.isfinite(gain).all((0, 1)), (expected(gain) < 0).mean(0), np.nan)),
            "gain_over_refusal": (dims, gain.mean((0, 1))),
            "deviation_gain": (dims, (simulated.deviation - payoff).mean((0, 1))),
            "gini": (("arm",), gini(mean)),
            "worst_off": (("arm",), [env.coords["agent"][i] for i in mean.argmin(1)]),
        },
        {"arm": arms, "agent": list(env.coords["agent"])},
    )


def without_agreement(agents: xr.Dataset) -> xr.DataArray:
    """Each agent's expected payoff if there were no agreement, from the group that `agents` makes."""
    return (agents["payoff"] - agents["gain_over_refusal"]).mean("arm")


def gini(payoffs: Float[np.ndarray, "... agent"]) -> Float[np.ndarray, "..."]:
    """Gini coefficient in [0, 1], normalised so that negative payoffs are allowed.

    sum_ij |x_i - x_j| / (2 (n - 1) sum_i |x_i|); for payoffs >= 0 this is the usual Gini times n / (n - 1), and 1 when
    one agent has all. Source: Raffinetti, Siletti & Vernizzi 2015, Statistical Methods & Applications 24:507.

    >>> gini(np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 1.0]])).tolist()
    [0.0, 1.0]
    """
    n = payoffs.shape[-1]
    differences = np.abs(payoffs[..., :, None] - payoffs[..., None, :]).sum((-1, -2))
    total = 2 * (n - 1) * np.abs(payoffs).sum(-1)
    return np.divide(differences, total, out=np.zeros_like(differences), where=total > 0)


def decision(
    values: Mapping[str, Any], outcomes: Mapping[str, Outcome], coords: Mapping[str, Sequence[str]], arms: list[str]
) -> xr.Dataset:
    """Decision measures per criterion (an outcome with a good direction, or one agent's share of it) and arm.

    Given the parameters, an arm's worth is its expected outcome over futures, signed so that more is better.
    `prob_best`: probability that the arm is the best. `expected_regret`: how much worse than the best arm it is on
    average. `cvar`: mean outcome of the worst tenth of draws and futures, in the outcome's own sign. `evpi`: what
    knowing the parameters would be worth (per criterion; Raiffa & Schlaifer 1961).
    """
    rows = _criteria(values, outcomes, coords)
    best, regret, cvar, evpi = [], [], [], []
    for value, sign in rows.values():
        worth = sign * expected(value)
        top = worth.max(1, keepdims=True)
        ties = worth == top
        best.append((ties / ties.sum(1, keepdims=True)).mean(0))
        regret.append((top - worth).mean(0))
        every = np.sort(sign * value.reshape(-1, value.shape[2]), axis=0)
        cvar.append(sign * every[: max(1, int(TAIL * len(every)))].mean(0))
        evpi.append(top.mean() - worth.mean(0).max())
    dims, shape = ("criterion", "arm"), (len(rows), len(arms))
    return xr.Dataset(
        {
            "prob_best": (dims, np.reshape(best, shape)),
            "expected_regret": (dims, np.reshape(regret, shape)),
            "cvar": (dims, np.reshape(cvar, shape)),
            "evpi": (("criterion",), np.reshape(evpi, shape[:1])),
        },
        {"criterion": list(rows), "arm": arms},
    )


def _criteria(
    values: Mapping[str, Any], outcomes: Mapping[str, Outcome], coords: Mapping[str, Sequence[str]]
) -> dict[str, tuple[np.ndarray, float]]:
    """Criterion -> its values, axes draw, future, arm, and the sign by which more is better."""
    rows: dict[str, tuple[np.ndarray, float]] = {}
    for name, outcome in outcomes.items():
        if not outcome.better:
            continue
        sign = 1.0 if outcome.better == "higher" else -1.0
        if outcome.dims:
            for i, label in enumerate(coords[outcome.dims[0]]):
                rows[f"{name}.{label}"] = (values[name][..., i], sign)
        else:
            rows[name] = (values[name], sign)
    return rows


def worths(tree: xr.DataTree, criteria: Sequence[str]) -> xr.DataArray:
    """What each arm is expected to bring in each draw by each criterion, signed so that more is better.

    Args:
        tree: a result of `compare`.
        criteria: outcomes of one number that have a good direction.

    Returns:
        Axes draw, criterion, arm.
    """
    units = json.loads(tree.attrs["units"])
    signs = [1.0 if units[name]["better"] == "higher" else -1.0 for name in criteria]
    values = tree["values"].to_dataset()
    every = [sign * expected(values[escaped(name)].values) for name, sign in zip(criteria, signs, strict=True)]
    labels = {"criterion": [*criteria], "arm": values["arm"].values}
    return xr.DataArray(np.stack(every, 1), dims=("draw", "criterion", "arm"), coords=labels)


def best_by_weights(worth: xr.DataArray, weights: Mapping[str, float]) -> Float[np.ndarray, " arm"]:
    """Probability that each arm is the best where criteria are weighed against each other.

    A weight says what the whole way from the worst to the best arm's mean by that criterion counts for (swing weights:
    von Winterfeldt & Edwards 1986, Decision Analysis and Behavioral Research, ch. 8); a criterion by which all arms
    are alike decides nothing. Draws in which several are the best are shared among them.

    Args:
        worth: from `worths`.
        weights: criterion -> weight, at least 0 and not all 0.
    """
    mean = worth.mean("draw")
    swing = (mean.max("arm") - mean.min("arm")).values
    given = np.array([weights[str(name)] for name in worth["criterion"].values], float)
    scale = np.divide(given, swing, out=np.zeros_like(given), where=swing > 0)
    total = np.einsum("dca,c->da", worth.values.astype(float), scale)
    ties = total >= total.max(1, keepdims=True) - 1e-9 * np.abs(total).max()
    return (ties / ties.sum(1, keepdims=True)).mean(0)
