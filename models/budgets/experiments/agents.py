"""Offices and plans that several experiments need, each made once in a process."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from bayesalloc.agents.pareto.networks import Heads
from bayesalloc.agents.training import Course
from bayesalloc.models.budget import environment
from bayesalloc.models.budgets.ceiling import QUARTERS, best_targets, lattice
from bayesalloc.models.budgets.learned import course, pareto

STEPS = 400_000  # quarters
PUBLISHED = 1_000  # for which the source trains
LOOKS = 20  # at what has been learned, in a run
SIXTHS = 6
GRID = lattice(SIXTHS)  # 28 weights
FOUR = {  # of them, by name -> place
    name: int(np.flatnonzero((np.rint(SIXTHS * GRID) == sixths).all(1))[0])
    for name, sixths in {
        "two thirds efficiency": (4, 1, 1),
        "two thirds risk": (1, 4, 1),
        "two thirds performance": (1, 1, 4),
        "equal weights": (2, 2, 2),
    }.items()
}
MAKING = jax.random.key(1)  # quarters in which plans are made; none is judged in these
ASCENT: dict[str, Any] = {"steps": 250, "replicates": 24}


def trained(seed: int, steps: int = STEPS) -> Heads:
    """What the default plan has learned after so many quarters, all copies of the organisation together.

    Args:
        seed: of the run.
        steps: the length of the run, which its rates are planned for.
    """
    return [*learning(seed, steps).values()][-1]


@cache
def learning(seed: int, steps: int = STEPS) -> dict[int, Heads]:
    """Quarters -> what has been learned after so many, in one run; the last is the whole run's."""
    run_of = course(pareto(None, steps // QUARTERS))
    each = -(-run_of.iterations // LOOKS)
    begin, advance = _compiled(run_of, each)
    run, found = begin(jax.random.key(seed)), {}
    for done in range(each, run_of.iterations + each, each):
        run = advance(run)
        found[done * run_of.steps] = run.network
    return found


@cache
def _compiled(run_of: Course, each: int) -> tuple[Callable[[Array], Any], Callable[[Any], Any]]:
    return jax.jit(run_of.trainer.begin), jax.jit(lambda run: run_of.trainer.advance(run, each)[0])


@cache
def fixed_plans() -> Float[np.ndarray, "weight department"]:
    """The best fixed plan for each weight of GRID; % from plan."""
    return best_targets(environment, GRID, MAKING, **ASCENT)
