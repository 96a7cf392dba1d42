"""Allocators: rules that say who sends what to which task in a social resource allocation problem.

Each is a function `(problem, rng_key) -> Allocation` that can be jitted and vmapped; all are judged by `evaluate`.
"""

from collections.abc import Callable, Mapping

from jaxtyping import Array

from bayesalloc.allocators.evaluate import Allocation, Evaluation, dense, evaluate
from bayesalloc.allocators.greedy import cen_grd, cen_grd_plus
from bayesalloc.allocators.optimum import opt
from bayesalloc.allocators.problem import Problem, make_problem, read_problem

Allocator = Callable[[Problem, Array], Allocation]

ALLOCATORS: Mapping[str, Allocator] = {
    "opt": opt,
    "cen-grd": cen_grd,
    "cen-grd+": cen_grd_plus,
}
METHODS = ("cen-grd", "cen-grd+")  # those that a comparison takes unless told otherwise: they run on any device

__all__ = [
    "ALLOCATORS", "METHODS", "Allocation", "Allocator", "Evaluation", "Problem", "cen_grd", "cen_grd_plus", "dense",
    "evaluate", "make_problem", "opt", "read_problem",
]  # fmt: skip
