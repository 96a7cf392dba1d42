"""Offices that several experiments need, each trained once in a process."""

from functools import cache

import jax

from bayesalloc.agents.pareto.networks import Heads
from bayesalloc.models.budgets.ceiling import QUARTERS
from bayesalloc.models.budgets.learned import course, pareto

STEPS = 400_000  # quarters


@cache
def trained(seed: int, steps: int = STEPS) -> Heads:
    """What the default plan has learned after so many quarters, all copies of the organisation together.

    Args:
        seed: of the run.
        steps: the length of the run, which its rates are planned for.
    """
    run_of = course(pareto(None, steps // QUARTERS))
    run = jax.jit(run_of.trainer.begin)(jax.random.key(seed))
    run, _ = jax.jit(lambda run: run_of.trainer.advance(run, run_of.iterations))(run)
    return run.network
