"""The rules among the methods, by name; those that act by a learned policy are in `allocators.learned`."""

from collections.abc import Callable, Mapping

from jaxtyping import Array

from bayesalloc.allocators.darap import negotiate
from bayesalloc.allocators.evaluate import Allocation
from bayesalloc.allocators.greedy import cen_grd, cen_grd_plus
from bayesalloc.allocators.learned import LEARNED
from bayesalloc.allocators.optimum import opt
from bayesalloc.allocators.prices import dec_price
from bayesalloc.allocators.problem import Problem
from bayesalloc.allocators.sizes import ANY, NEGOTIATION, TABLE, Sizes

Allocator = Callable[[Problem, Array], Allocation]

ALLOCATORS: Mapping[str, Allocator] = {
    "opt": opt,
    "cen-grd": cen_grd,
    "cen-grd+": cen_grd_plus,
    "dec-grd": negotiate,
    "dec-price": dec_price,
}
METHODS = ("cen-grd", "cen-grd+", "dec-grd", "dec-price")  # what a comparison takes by default: they run on any device
SIZES: Mapping[str, Sizes] = {
    **dict.fromkeys(ALLOCATORS, TABLE),
    "dec-grd": NEGOTIATION,
    "dec-price": ANY,
    **{name: entry.sizes for name, entry in LEARNED.items()},
}
