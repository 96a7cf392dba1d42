"""Whether plans stand when the organisation grows: training's budget by plan from 2 to 2.5 M/yr, all else rebased."""

import jax
import numpy as np

from bayesalloc.models.budget import World, organisation
from bayesalloc.models.budgets.ceiling import best_targets, mean_rewards
from bayesalloc.models.budgets.experiments.agents import ASCENT, FOUR, GRID, MAKING, fixed_plans
from bayesalloc.models.budgets.world import DEPARTMENTS

TITLE = "Training's plan from 2 to 2.5 M/yr"
TERMS = {
    "same directions": "departments, of 20, whose budget the best fixed plan raises, or lowers, before as after.",
    "regret": "what the old plan brings less than the new one where the new one is right, % of weighted rewards.",
    "training": "% from plan at which the best plan has training; its plan itself is a quarter higher after.",
}
GROWN = 2.5  # M/yr
COURSES = 4_000


def measured(seed: int) -> dict[str, dict[str, float]]:
    """Measure by weights."""
    grown = organisation(World(plan={"training": GROWN}))
    places = [*FOUR.values()]
    weights = GRID[places]
    old, new = fixed_plans()[places], best_targets(grown, weights, MAKING, **ASCENT)
    key = jax.random.fold_in(jax.random.key(seed), 2)
    brought = mean_rewards(grown, np.concatenate([old, new]), key, replicates=COURSES)
    kept, right = (brought.reshape(2, len(weights), -1) * weights).sum(-1)
    training = DEPARTMENTS.index("training")
    columns = {
        "same directions": (np.sign(old) == np.sign(new)).sum(-1),
        "regret, %": 100.0 * (right - kept) / np.abs(right),
        "training, before": old[:, training],
        "training, after": new[:, training],
    }
    found = {name: dict(zip(FOUR, values.astype(float).tolist(), strict=True)) for name, values in columns.items()}
    found["same directions"]["least"] = min(found["same directions"].values())
    found["regret, %"]["largest"] = max(found["regret, %"].values())
    return found
