"""How long an office that has learned takes to do well after a break that nobody tells it of.

From a quarter on marketing does half of what it did, and maintenance twice. The office goes on by what it has learned
before, and sees the break in nothing but levels.
"""

import jax
import numpy as np
from jaxtyping import Float

from bayesalloc.budgets import metrics
from bayesalloc.models.budget import World, organisation
from bayesalloc.models.budgets.ceiling import best_targets
from bayesalloc.models.budgets.experiments.agents import (
    ASCENT,
    FOUR,
    GRID,
    MAKING,
    PUBLISHED,
    STEPS,
    fixed_plans,
    trained,
)
from bayesalloc.models.budgets.judging import HELD, Judged, of_office, of_plans

TITLE = "Adaptability: a break after 20 quarters"
TERMS = {
    "quarters": "after the break, until what an office brings above the static rule stays at 95 % or more of what the"
    " best fixed plan for the broken organisation brings, which was moved to before; 20 where it does not within 20.",
    "share": "of that, in the mean of the 20 quarters after the break.",
    "old plan": "the best fixed plan for the organisation as it was, kept.",
}
BREAK = AFTER = 20  # quarters
COURSES = 250


def measured(seed: int) -> dict[str, dict[str, float]]:
    """Measure and office by weights."""
    places = [*FOUR.values()]
    weights = GRID[places]
    key = jax.random.fold_in(jax.random.key(seed), 3)
    broken = organisation(World(break_at=BREAK))
    size = {"courses": COURSES, "quarters": BREAK + AFTER}
    new = best_targets(organisation(World(break_at=0)), weights, MAKING, **ASCENT)
    plans = of_plans(broken, np.concatenate([HELD, new, fixed_plans()[places]]), key, **size)
    each = _after(plans)
    held, right, old = each[0], each[1 : 1 + len(weights)], each[1 + len(weights) :]
    offices = {"old plan": old} | {
        f"{steps:,} quarters of training": _after(of_office(broken, trained(seed, steps), weights, key, **size))
        for steps in (STEPS, PUBLISHED)
    }
    found: dict[str, dict[str, float]] = {}
    for office, rewards in offices.items():
        for place, (name, weight) in enumerate(zip(FOUR, weights, strict=True)):
            brought, static, ceiling = rewards[place] @ weight, held @ weight, right[place] @ weight
            adapted = metrics.adaptability(brought, static, ceiling)
            found.setdefault(f"quarters, {office}", {})[name] = float(adapted.quarters)
            share = (brought - static).mean() / (ceiling - static).mean()
            found.setdefault(f"share, {office}", {})[name] = float(share)
    return found


def _after(judged: Judged) -> Float[np.ndarray, "arm quarter objective"]:
    """Mean rewards in each quarter from the break on."""
    return judged.rewards[:, :, BREAK:].mean(1)
