"""One problem allocated by one method, as the document of `bayesalloc allocate`."""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from bayesalloc.allocators import learned
from bayesalloc.allocators.darap import cautions, negotiate, suited
from bayesalloc.allocators.evaluate import Shipments, exact, merged
from bayesalloc.allocators.learned import LEARNED
from bayesalloc.allocators.methods import ALLOCATORS, SIZES
from bayesalloc.allocators.optimum import solve
from bayesalloc.allocators.prices import certified, priced
from bayesalloc.allocators.problem import Problem
from bayesalloc.allocators.sizes import tasks_of_each
from bayesalloc.errors import InputError, listed


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
    if method not in SIZES:
        raise InputError(f"there is no method '{method}'; there are {listed(SIZES)}")
    if policy is not None and method not in LEARNED:
        raise InputError(f"{policy}: {method} does not act by a policy; {listed(LEARNED)} do")
    if time_limit is not None and (method != "opt" or not time_limit > 0):
        raise InputError(f"a time limit of {time_limit:g} s for {method}: it must be above 0, and only opt has one")
    SIZES[method].check(method, problem)
    if method == "opt":
        start = time.perf_counter()
        solution = solve(problem, time_limit)
        seconds = time.perf_counter() - start
        allocation, proven = merged(solution.allocation(problem)), solution.optimal
        bound, warnings = solution.bound, []
    else:
        rule, warnings = _rule(problem, method, policy)
        compiled = jax.jit(rule).lower(problem, rng_key).compile()
        start = time.perf_counter()
        found = jax.block_until_ready(compiled(problem, rng_key))
        seconds, proven = time.perf_counter() - start, False
        allocation, bound = merged(found[0] if method == "dec-price" else found), np.inf
        if method == "dec-price":
            bound = certified(problem, found[1])
    return judged(problem, method, allocation, bound=bound, proven=proven, seconds=seconds, warnings=warnings)


def judged(
    problem: Problem,
    method: str,
    allocation: Shipments,
    *,
    bound: float = np.inf,
    proven: bool = False,
    seconds: float | None = None,
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """What an allocation is worth, as the document of `allocate`.

    Args:
        problem: the instance.
        method: that made it.
        allocation: as `merged` gives it.
        bound: on the best social welfare.
        proven: whether it is the best.
        seconds: that it took, where it was measured.
        warnings: on what the method leaves out.
    """
    value = exact(problem, allocation)
    if not value.feasible:
        raise RuntimeError(f"{method} made an allocation that is not feasible")
    welfare = float(value.social_welfare)
    bound = max(bound, welfare) + 0.0  # they may be even but for rounding; and no zero is negative
    names = ("task", "agent", "type", "quantity")
    rows = np.stack([getattr(allocation, name) for name in names], axis=1).tolist()
    return {
        "method": method,
        "social_welfare": welfare,
        "social_welfare_hop": _or_null(value.social_welfare_hop),
        "utility": float(value.utility),
        "transfer_cost": float(value.transfer_cost),
        "upper_bound": _or_null(bound),
        "optimal": proven or welfare >= bound - 1e-6 * abs(bound),
        "tasks_done": np.flatnonzero(np.asarray(value.done)).tolist(),
        "allocation": [dict(zip(names, row, strict=True)) for row in rows],
        "messages": _or_null(allocation.messages),
        "seconds": seconds,
        "warnings": [*warnings],
    }


def _rule(
    problem: Problem, method: str, policy: str | Path | None
) -> tuple[Callable[[Problem, Array], Any], list[str]]:
    """What is compiled, and sentences on what it leaves out: the allocator; of dec-price also its bound's prices."""
    if method in LEARNED:
        acting = learned.policy(method, policy)
        learned.check(acting, problem)
        owned = int(tasks_of_each(problem).max())  # known here, and not when it is compiled
        return learned.allocator(acting, owned), [*LEARNED[method].cautions(acting.plan, problem)]
    if method == "dec-grd":
        return functools.partial(negotiate, config=suited(problem)), cautions(problem)
    return priced if method == "dec-price" else ALLOCATORS[method], []


def _or_null(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
