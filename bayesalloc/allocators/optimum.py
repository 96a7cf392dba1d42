"""The exact optimum: a mixed-integer linear program solved by HiGHS, whose incumbent and bound hold on a time limit.

maximise sum_j y_j u_j - per_item sum_ijk d(i, loc j) p_ijk
subject to sum_i x_ijk = y_j rqr_jk, sum_j x_ijk <= rsc_ik, x_ijk <= min(package_size, rqr_jk, rsc_ik) p_ijk,
y_j in {0, 1}

(Malek Akhlagh 2024, equations 5.1 to 5.3). With package size 1 the cost is linear (p = x) and, whichever tasks are
done, the rest is a transport problem, whose vertices are integer; so only y is. With larger packages p is integer too.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import scipy.sparse
from jaxtyping import Array

from bayesalloc.allocators import highs
from bayesalloc.allocators.evaluate import Allocation, Shipments, dense, exact, merged
from bayesalloc.allocators.greedy import cen_grd, cen_grd_plus
from bayesalloc.allocators.prices import dec_price
from bayesalloc.allocators.problem import Problem, adjacency, exact_paths, shortest_paths


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
            best allocation found by then, or by a greedy allocator or `dec_price`, with the proven bound.
    """
    distance = exact_paths(problem, np.asarray(problem.owner))
    requires, stock = np.asarray(problem.requires), np.asarray(problem.resources)
    utility = np.where(problem.real, problem.utility, 0.0).astype(float)
    package, price = int(problem.package_size), float(problem.per_item) * distance
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
        # SciPy's bounds may be arrays, too: a checker knows them by their default values only
        scipy.optimize.LinearConstraint(leaves, -np.inf, stock.ravel().astype(float)),  # pyright: ignore[reportArgumentType]
    ]
    cost, most = price[task, agent], np.minimum(requires[task, kind], stock[agent, kind]).astype(float)
    if p:  # a package is never fuller than what could be sent: a tighter relaxation
        packed = rows(np.arange(x), column, 1.0, x) - rows(np.arange(x), column + x, np.minimum(package, most), x)
        constraints.append(scipy.optimize.LinearConstraint(packed, -np.inf, 0.0))
    objective = np.concatenate([-utility, np.zeros(x) if p else cost, cost if p else []])
    upper = np.concatenate([np.asarray(problem.real, float), most, np.ceil(most / package) if p else []])
    integrality = np.concatenate([np.ones(n_tasks), np.zeros(x), np.ones(p)])

    # the solver's tolerances are absolute: in units in which the highest utility is about a million
    unit = 2.0 ** (np.ceil(np.log2(utility.max(initial=0.0) or 1.0)) - 20)

    def highs_with(lower: np.ndarray, upper: np.ndarray, integrality: np.ndarray) -> dict[str, Any]:
        return highs.milp(
            c=objective / unit,
            constraints=constraints,
            integrality=integrality,
            bounds=scipy.optimize.Bounds(lower, upper),  # pyright: ignore[reportArgumentType]
            options={"mip_rel_gap": 0.0} | ({} if time_limit is None else {"time_limit": time_limit}),
        )

    result = highs_with(np.zeros_like(upper), upper, integrality)
    if result["status"] not in (0, 1):  # to do nothing is feasible, and welfare cannot exceed all utilities
        raise RuntimeError(f"HiGHS could not solve the allocation: {result['message']}")
    bound, solved = utility.sum(), result["status"] == 0
    if result["mip_dual_bound"] is not None and np.isfinite(result["mip_dual_bound"]):
        bound = min(-result["mip_dual_bound"] * unit, bound)

    def whole(x_: np.ndarray) -> np.ndarray:
        found = quantity.copy()
        found[task, agent, kind] = np.rint(x_[n_tasks : n_tasks + x])
        return found

    values = result["x"]
    found = quantity if values is None else whole(values)
    if values is not None and not _feasible(problem, found):
        # y may be 1e-6 short of 1, which many items make several, or x not at a vertex
        done = np.rint(values[:n_tasks])
        fixed = np.zeros_like(upper), upper.copy()
        fixed[0][:n_tasks] = fixed[1][:n_tasks] = done
        again = highs_with(*fixed, np.ones_like(integrality))
        found = quantity if again["x"] is None else whole(again["x"])
        solved &= again["status"] == 0
    everything = [found, *([] if solved else _others(problem))]
    worth = [_welfare(problem, each, distance) for each in everything]
    best = int(np.argmax(worth))
    return Solution(everything[best], max(float(bound), worth[best]), optimal=solved)


def _feasible(problem: Problem, quantity: np.ndarray) -> bool:
    arrived, sent = quantity.sum(1, dtype=np.int64), quantity.sum(0, dtype=np.int64)
    requires = np.asarray(problem.requires)
    return bool(np.all((arrived == 0).all(1) | (arrived == requires).all(1)) and np.all(sent <= problem.resources))


def _welfare(problem: Problem, quantity: np.ndarray, distance: np.ndarray) -> float:
    """Exactly; minus infinity where it is not feasible."""
    task, agent, kind = np.nonzero(quantity)
    sent, far = quantity[task, agent, kind], distance[task, agent]
    notes = (np.asarray(note) for note in (np.nan, np.nan, np.inf))
    value = exact(problem, Shipments(task, agent, kind, sent, far, *notes))
    return float(value.social_welfare) if value.feasible else -np.inf


def _others(problem: Problem) -> list[np.ndarray]:
    """What allocators that take no time would do."""
    found = []
    for allocator in (cen_grd, cen_grd_plus, dec_price):
        shipments = merged(jax.jit(allocator)(problem))
        quantity = np.zeros((len(problem.owner), *problem.resources.shape), np.int32)
        quantity[tuple(np.asarray(field) for field in shipments[:3])] = shipments.quantity
        found.append(quantity)
    return found


@jax.jit
def _distances(problem: Problem) -> Array:
    return shortest_paths(adjacency(problem))


def opt(problem: Problem, rng_key: Array | None = None) -> Allocation:
    """The optimum as an allocator among the others: jitted or vmapped, it is solved one by one on the host."""
    shapes = jax.ShapeDtypeStruct((*problem.requires.shape[:1], *problem.resources.shape), jnp.int32)

    def on_host(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
        found = solve(problem)
        bound = np.float32(found.bound)
        return found.quantity, np.asarray(bound if bound >= found.bound else np.nextafter(bound, np.float32(np.inf)))

    bound = jax.ShapeDtypeStruct((), jnp.float32)
    quantity, best = jax.pure_callback(on_host, (shapes, bound), problem, vmap_method="sequential")
    return dense(problem, quantity, _distances(problem), bound=best)
