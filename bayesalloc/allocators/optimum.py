"""The exact optimum: a mixed-integer linear program solved by HiGHS, whose incumbent and bound hold on a time limit.

maximise sum_j y_j u_j - per_item sum_ijk d(i, loc j) p_ijk
subject to sum_i x_ijk = y_j rqr_jk, sum_j x_ijk <= rsc_ik, x_ijk <= min(package_size, rqr_jk, rsc_ik) p_ijk,
y_j in {0, 1}

(Malek Akhlagh 2024, equations 5.1 to 5.3). With package size 1 the cost is linear (p = x) and, whichever tasks are
done, the rest is a transport problem, whose vertices are integer; so only y is. With larger packages p is integer too.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import scipy.sparse
from jaxtyping import Array

from bayesalloc.allocators.evaluate import Allocation, dense
from bayesalloc.allocators.problem import Problem, adjacency, shortest_paths

WHOLE = 1e-5  # how far from an integer a number of items may be (HiGHS's own tolerance is 1e-6)


class Solution(NamedTuple):
    """What the solver found: `quantity` has shape (task, agent, type); `bound` is proven, and `optimal` whether met."""

    quantity: np.ndarray
    bound: float
    optimal: bool

    def allocation(self, problem: Problem) -> Allocation:
        """The same in the form that all allocators give."""
        return dense(problem, jnp.asarray(self.quantity), _distances(problem), bound=self.bound)


def solve(problem: Problem, time_limit: float | None = None) -> Solution:
    """The best allocation, and whether it is proven so.

    Args:
        problem: one instance.
        time_limit: seconds for the solver, None for as long as it takes; if it is reached, what is returned is the
            best allocation found by then (or nothing allocated) with the proven bound.
    """
    distance = np.asarray(_distances(problem))
    requires, stock = np.asarray(problem.requires), np.asarray(problem.resources)
    utility = np.where(problem.real, problem.utility, 0.0).astype(float)
    package, price = int(problem.package_size), float(problem.per_item) * distance[np.asarray(problem.owner)]
    n_tasks, types = requires.shape
    # a shipment that alone costs more than its task pays is in no optimum
    useful = (price <= utility[:, None])[:, :, None] & (stock > 0)[None] & (requires > 0)[:, None, :]
    task, agent, kind = np.nonzero(useful & np.asarray(problem.real)[:, None, None])
    x, p = len(task), len(task) if package > 1 else 0
    quantity = np.zeros((n_tasks, *stock.shape), np.int32)
    if not n_tasks:
        return Solution(quantity, 0.0, optimal=True)

    def rows(row: np.ndarray, column: np.ndarray, value: Any, height: int) -> scipy.sparse.csr_array:
        values = np.broadcast_to(np.asarray(value, float), row.shape)
        return scipy.sparse.csr_array((values, (row, column)), shape=(height, n_tasks + x + p))

    column = n_tasks + np.arange(x)
    arrives = rows(task * types + kind, column, 1.0, n_tasks * types)
    needed = rows(np.arange(n_tasks * types), np.repeat(np.arange(n_tasks), types), requires.ravel(), n_tasks * types)
    leaves = rows(agent * types + kind, column, 1.0, stock.size)
    constraints = [
        scipy.optimize.LinearConstraint(arrives - needed, 0.0, 0.0),
        scipy.optimize.LinearConstraint(leaves, -np.inf, stock.ravel().astype(float)),
    ]
    cost, most = price[task, agent], np.minimum(requires[task, kind], stock[agent, kind]).astype(float)
    if p:  # a package is never fuller than what could be sent: a tighter relaxation
        packed = rows(np.arange(x), column, 1.0, x) - rows(np.arange(x), column + x, np.minimum(package, most), x)
        constraints.append(scipy.optimize.LinearConstraint(packed, -np.inf, 0.0))
    objective = np.concatenate([-utility, np.zeros(x) if p else cost, cost if p else []])
    upper = np.concatenate([np.asarray(problem.real, float), most, np.ceil(most / package) if p else []])
    integrality = np.concatenate([np.ones(n_tasks), np.zeros(x), np.ones(p)])
    result = _highs(objective, constraints, upper, integrality, time_limit)
    if result.x is not None and np.abs(result.x - np.rint(result.x)).max() > WHOLE:
        result = _highs(objective, constraints, upper, np.ones_like(integrality), time_limit)  # not at a vertex
    if result.status not in (0, 1):  # to do nothing is feasible, and welfare cannot exceed all utilities
        raise RuntimeError(f"HiGHS could not solve the allocation: {result.message}")
    bound = utility.sum() if result.mip_dual_bound is None else min(-result.mip_dual_bound, utility.sum())
    if result.x is not None:
        quantity[task, agent, kind] = np.rint(result.x[n_tasks : n_tasks + x])
    return Solution(quantity, float(bound), optimal=result.status == 0)


def _highs(
    objective: np.ndarray, constraints: list[Any], upper: np.ndarray, integrality: np.ndarray, time_limit: float | None
) -> Any:
    with _silent():
        return scipy.optimize.milp(
            objective, constraints=constraints, integrality=integrality,
            bounds=scipy.optimize.Bounds(0.0, upper),
            options={"mip_rel_gap": 0.0} | ({} if time_limit is None else {"time_limit": time_limit}),
        )  # fmt: skip


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Nothing on stdout meanwhile: HiGHS prints a debugging line of its own there, which no option turns off."""
    libc = ctypes.CDLL(None)
    sys.stdout.flush()
    libc.fflush(None)
    kept = os.dup(1)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        libc.fflush(None)
        os.dup2(kept, 1)
        os.close(kept)


@jax.jit
def _distances(problem: Problem) -> Array:
    return shortest_paths(adjacency(problem))


def opt(problem: Problem, rng_key: Array | None = None) -> Allocation:
    """The optimum as an allocator among the others: jitted or vmapped, it is solved one by one on the host."""
    shapes = jax.ShapeDtypeStruct((*problem.requires.shape[:1], *problem.resources.shape), jnp.int32)

    def on_host(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
        found = solve(problem)
        return found.quantity, np.asarray(found.bound, np.float32)

    bound = jax.ShapeDtypeStruct((), jnp.float32)
    quantity, best = jax.pure_callback(on_host, (shapes, bound), problem, vmap_method="sequential")
    return dense(problem, quantity, _distances(problem), bound=best)
