"""Allocators: rules that say who sends what to which task in a social resource allocation problem.

Each is a function `(problem, rng_key) -> Allocation` that can be jitted and vmapped; all are judged by `evaluate`.
"""

import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from bayesalloc.allocators.darap import cautions, dec_grd, negotiate, suited
from bayesalloc.allocators.evaluate import Allocation, Evaluation, dense, evaluate, exact, merged
from bayesalloc.allocators.greedy import cen_grd, cen_grd_plus
from bayesalloc.allocators.optimum import opt, solve
from bayesalloc.allocators.prices import certified, dec_price, priced
from bayesalloc.allocators.problem import Problem, make_problem, read_instance, read_problem
from bayesalloc.errors import InputError, listed

Allocator = Callable[[Problem, Array], Allocation]

ALLOCATORS: Mapping[str, Allocator] = {
    "opt": opt,
    "cen-grd": cen_grd,
    "cen-grd+": cen_grd_plus,
    "dec-grd": negotiate,
    "dec-price": dec_price,
}
METHODS = (
    "cen-grd",
    "cen-grd+",
    "dec-grd",
    "dec-price",
)  # what a comparison takes unless told otherwise: all run on any device

__all__ = [
    "ALLOCATORS", "LEARNED", "METHODS", "Allocation", "Allocator", "Evaluation", "Problem", "allocate", "cen_grd",
    "cen_grd_plus", "dec_grd", "dec_price", "dense", "evaluate", "make_problem", "opt", "read_instance", "read_problem",
    "solve",
]  # fmt: skip


LEARNED = ("cen-rl", "dec-rl")  # methods that act by a policy (see `bayesalloc.agents.policies`)
LARGEST_TABLE = 2**26  # quantities for each task, agent and type: 256 MB
MOST_NEGOTIATING = 64  # every message of dec-grd is simulated, between all pairs of agents
MOST_OWNED = 16  # tasks of one agent in dec-grd and dec-rl: each is compiled, 16 in 8 s, 32 in minutes


def allocate(
    problem: Problem,
    method: str,
    rng_key: Array,
    *,
    time_limit: float | None = None,
    policy: str | Path | None = None,
) -> dict[str, Any]:
    """One instance allocated by one method, as the document that `bayesalloc allocate` prints.

    Args:
        problem: the instance.
        method: a name in ALLOCATORS or LEARNED.
        rng_key: a key, for methods that use chance.
        time_limit: seconds for the solver of "opt", > 0; None: until the optimum is proven.
        policy: the file of a learned method's policy; None: the one that is shipped.

    Returns:
        social_welfare, social_welfare_hop, utility, transfer_cost, upper_bound, optimal (whether proven so),
        tasks_done, allocation (shipments), messages and seconds (without compilation).

    Raises:
        InputError: for a method that is not there or cannot take so large an instance, a time limit or a policy where
            it means nothing, or a policy that cannot be read or used.
    """
    if method not in ALLOCATORS and method not in LEARNED:
        raise InputError(f"there is no method '{method}'; there are {listed([*ALLOCATORS, *LEARNED])}")
    if policy is not None and method not in LEARNED:
        raise InputError(f"{policy}: {method} does not act by a policy; {listed(LEARNED)} do")
    if time_limit is not None and (method != "opt" or not time_limit > 0):
        raise InputError(f"a time limit of {time_limit:g} s for {method}: it must be above 0, and only opt has one")
    cells, agents = problem.requires.size * len(problem.resources), len(problem.resources)
    cells *= agents if method == "cen-rl" else 1  # it looks at what naming each of them would leave
    if method != "dec-price" and (
        cells > LARGEST_TABLE or (method in ("dec-grd", "dec-rl") and agents > MOST_NEGOTIATING)
    ):
        raise InputError(
            f"{method} cannot take {agents} agents and {len(problem.owner)} tasks of {problem.requires.shape[1]} types:"
            f" dec-price can; dec-grd and dec-rl take {MOST_NEGOTIATING} agents, the others agents x tasks x types"
            f" (in cen-rl, once more by agents) up to {LARGEST_TABLE}"
        )
    warnings = cautions(problem) if method in ("dec-grd", "dec-rl") else []
    owned = np.bincount(np.asarray(problem.owner)[np.asarray(problem.real)], minlength=1)
    if method in ("dec-grd", "dec-rl") and owned.max() > MOST_OWNED:
        raise InputError(
            f"{method} takes up to {MOST_OWNED} tasks of one agent, and agent {owned.argmax()} owns {owned.max()}; the"
            " other methods take any number"
        )
    if method == "opt":
        start = time.perf_counter()
        solution = solve(problem, time_limit)
        seconds = time.perf_counter() - start
        allocation, proven = merged(solution.allocation(problem)), solution.optimal
        bound = solution.bound
    else:
        rule = _rule(problem, method, policy)
        compiled = jax.jit(rule).lower(problem, rng_key).compile()
        start = time.perf_counter()
        found = jax.block_until_ready(compiled(problem, rng_key))
        seconds, proven = time.perf_counter() - start, False
        allocation, bound = merged(found[0] if method == "dec-price" else found), np.inf
        if method == "dec-price":
            bound = certified(problem, found[1])
    value = exact(problem, allocation)
    if not value.feasible:
        raise RuntimeError(f"{method} made an allocation that is not feasible")
    welfare = float(value.social_welfare)
    bound = max(bound, welfare) + 0.0  # they may be even but for rounding; and no zero is negative
    names = ("task", "agent", "type", "quantity")
    rows = np.stack([getattr(allocation, name) for name in names], axis=1).tolist()
    return {
        "method": method, "social_welfare": welfare, "social_welfare_hop": _or_null(value.social_welfare_hop),
        "utility": float(value.utility), "transfer_cost": float(value.transfer_cost), "upper_bound": _or_null(bound),
        "optimal": proven or welfare >= bound - 1e-6 * abs(bound),
        "tasks_done": np.flatnonzero(np.asarray(value.done)).tolist(),
        "allocation": [dict(zip(names, row, strict=True)) for row in rows],
        "messages": _or_null(allocation.messages), "seconds": seconds, "warnings": warnings,
    }  # fmt: skip


def _rule(problem: Problem, method: str, policy: str | Path | None) -> Callable[[Problem, Array], Any]:
    """What is compiled: the allocator; of dec-price also the prices that give its bound."""
    if method in LEARNED:
        return _learned(problem, method, policy)
    if method == "dec-grd":
        return functools.partial(negotiate, config=suited(problem))
    return priced if method == "dec-price" else ALLOCATORS[method]


def _learned(problem: Problem, method: str, path: str | Path | None) -> Allocator:
    """The allocator of a policy that can act on the problem."""
    from bayesalloc.agents import negotiators, policies  # which import this package

    policy = policies.shipped(method) if path is None else policies.load_policy(path, method)
    policy.check(problem)
    if method == "dec-rl":  # how many tasks an agent owns is known here, and not when it is compiled
        return negotiators.allocator(policy.plan, policy.network, suited(problem, policy.plan.protocol))
    return policy.allocator()


def _or_null(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
