"""What a regression of impact on allocation says, beside what an intervention on the allocation does.

Whoever allocates by estimates gives more to projects that are better, or have seemed so; so the slope of reported
impact on money, both in logarithms, is not what more money would do. The slope is taken on v = log(1 + x / K), K as it
is seen, over all reports of a run: pooled, and with an effect of each project and each round. Beside it stands what
`do` does: the same rounds are played again with a quarter more for a random half of the projects, on the same random
numbers, and the changes of log impact are regressed on those of v. The true slope is that of the curve, with the same
weights.
"""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from bayesalloc.environment import Environment
from bayesalloc.impact.returns import saturating
from bayesalloc.stepping import Hosted, Standing, begin, played

SLOPES = ("pooled", "project and round effects", "by do", "true")
MORE = 0.25  # of a grant
SWEEPS = 200  # of removing effects of projects and rounds in turn

Rounds = Float[np.ndarray, "round project"]


def slopes(
    env: Environment, key: Array, outcomes: Any, there: Bool[np.ndarray, "world round project"], eta: float
) -> Float[np.ndarray, "world slope"]:
    """SLOPES in each world; NaN where nothing varies among its reports.

    Args:
        env: the environment.
        key: of the run.
        outcomes: of all its rounds, with axes world and round.
        there: what was reported.
        eta: curvature of the returns.
    """
    worlds, rounds = there.shape[:2]
    params = jax.tree.map(lambda leaf: np.asarray(leaf)[:, None], begin(env, key, replicates=worlds).params)
    more = 1.0 + MORE * (np.random.default_rng(0).random(there.shape) < 0.5)
    again = played(env, schedule(outcomes.share * more), key, replicates=worlds, horizon=rounds)
    amount = np.where(there, outcomes.share, 1.0).astype(float)
    v, treated = (np.log1p(each / params.room_seen) for each in (amount, amount * more))
    moved, log_report = treated - v, outcomes.log_report
    impact = [np.log(np.where(there, each.project_impact, 1.0)) for each in (outcomes, again)]
    marginal = (1.0 + amount / params.room) ** -eta / np.asarray(saturating(amount, params.room, eta))
    curve = marginal * (amount + params.room_seen)  # d log y / dx over dv / dx
    found = []
    for w in range(worlds):
        regressed = []
        for effects in (False, True):
            x, y = (without(each[w], there[w], effects=effects) for each in (v, log_report))
            regressed.append(slope(x, y, there[w]))
        by_do = there[w] & (moved[w] > 0.0)
        effect = impact[1][w] - impact[0][w]
        found.append([*regressed, *(slope(moved[w], each, by_do) for each in (effect, curve[w] * moved[w]))])
    return np.array(found)


def schedule(shares: Float[np.ndarray, "world round project"]) -> Hosted:
    """The policy that gives what was planned for each round."""

    def act(memory: None, standing: Standing) -> tuple[np.ndarray, None]:
        return shares[:, int(standing.period)], memory

    return Hosted(lambda standing: None, act, lambda memory, outcomes: memory)


def without(values: Rounds, there: Bool[np.ndarray, "round project"], *, effects: bool) -> Rounds:
    """Values less their mean; or with `effects`, less an effect of each project and of each round."""
    values = np.where(there, values, 0.0).astype(float)
    for axis in (0, 1) * SWEEPS if effects else ((0, 1),):
        mean = values.sum(axis, keepdims=True) / np.maximum(there.sum(axis, keepdims=True), 1)
        values = np.where(there, values - mean, 0.0)
    return values


def slope(x: Rounds, y: Rounds, there: Bool[np.ndarray, "round project"]) -> float:
    """Least squares through zero over what is there; NaN where nothing varies."""
    x, y = (np.where(there, each, 0.0).astype(float) for each in (x, y))
    squares = (x**2).sum()
    return float((x * y).sum() / squares) if squares > 1e-12 else float("nan")
