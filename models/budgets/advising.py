"""A learned office as the adviser of one that has books: what it would change next, as it sees their last period."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from bayesalloc.agents.pareto import conditioned
from bayesalloc.budgets.advice import Adviser
from bayesalloc.budgets.question import Question
from bayesalloc.discovery.books import Books
from bayesalloc.errors import InputError, listed, quoted
from bayesalloc.models.budget import State, World, organisation
from bayesalloc.models.budgets.decisions import MOVES
from bayesalloc.models.budgets.registry import named
from bayesalloc.models.budgets.world import DEPARTMENTS, VARIABLES


def adviser(name: str, books: Books) -> Adviser:
    """A learned office that sees books: their last period's columns as levels, means over units; else as by plan.

    Args:
        name: a policy's file, with or without weights: see `registry.named`.
        books: of an organisation with the same departments.

    Raises:
        InputError: where there is no such policy; its advice is refused where other decisions are asked about.
    """
    label, office = named(name)
    last = books.given[-1:]
    if books.periods is not None:
        last = books.given[np.array(books.periods) == max(books.periods)]
    counts = (~np.isnan(last)).sum(0)
    seen = dict(zip(books.names, np.nansum(last, 0) / np.maximum(counts, 1), strict=True))
    level = jnp.array([seen.get(variable, 0.0) for variable in VARIABLES])
    nothing = jnp.zeros((), int)

    def advise(question: Question) -> Float[np.ndarray, " decision"]:
        if strange := set(question.decisions) ^ {*DEPARTMENTS}:
            raise InputError(
                f"{quoted(name)} decides on the {len(DEPARTMENTS)} departments that it learned on; the decisions of"
                f" these books differ in {quoted(listed(strange))}"
            )
        plan = dict(zip(question.decisions, question.base.tolist(), strict=True))
        env = organisation(World(plan=plan))
        assert env.observe is not None
        state = State(level, jnp.asarray(seen.get("revenue", 0.0)), jnp.zeros(()), nothing, nothing)
        moves = conditioned.acting(office.given, env.observe(state, ()), nothing, jax.random.key(0))
        change = dict(zip(DEPARTMENTS, MOVES[np.asarray(moves)].tolist(), strict=True))
        return np.array([change[decision] for decision in question.decisions])

    return Adviser(label, advise)
