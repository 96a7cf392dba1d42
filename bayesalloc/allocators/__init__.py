"""Allocators: rules that say who sends what to which task in a social resource allocation problem.

Each is a function `(problem, rng_key) -> Allocation` that can be jitted and vmapped; all are judged by `evaluate`.
"""

from bayesalloc.allocators.allocating import allocate
from bayesalloc.allocators.darap import dec_grd
from bayesalloc.allocators.evaluate import Allocation, Evaluation, dense, evaluate
from bayesalloc.allocators.greedy import cen_grd, cen_grd_plus
from bayesalloc.allocators.learned import LEARNED
from bayesalloc.allocators.methods import ALLOCATORS, METHODS, Allocator
from bayesalloc.allocators.optimum import opt, solve
from bayesalloc.allocators.prices import dec_price
from bayesalloc.allocators.problem import Problem, make_problem, read_instance, read_problem

__all__ = [
    "ALLOCATORS",
    "LEARNED",
    "METHODS",
    "Allocation",
    "Allocator",
    "Evaluation",
    "Problem",
    "allocate",
    "cen_grd",
    "cen_grd_plus",
    "dec_grd",
    "dec_price",
    "dense",
    "evaluate",
    "make_problem",
    "opt",
    "read_instance",
    "read_problem",
    "solve",
]
