"""What the rest of the house needs to know of a learned method of the social resource allocation problem."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bayesalloc.agents.networks import check_layers
from bayesalloc.agents.policies import Method
from bayesalloc.allocators.darap.faults import Record
from bayesalloc.allocators.evaluate import Allocation
from bayesalloc.allocators.instances import check_setting
from bayesalloc.allocators.problem import Problem
from bayesalloc.allocators.sizes import TABLE, Sizes
from bayesalloc.errors import InputError

MOST_KINDS = 64


def _never(plan: Any, problem: Problem) -> None:
    return None


def _nothing(plan: Any, problem: Problem) -> list[str]:
    return []


def _as_it_is(plan: Any, max_quantity: int) -> Any:
    return plan


class Negotiation(NamedTuple):
    """An allocator whose agents negotiate, so that messages may be lost, promises broken, and reports be lies.

    Attributes:
        run: `(problem, rng_key, faults) -> (Allocation, Record)`.
        max_hops: how far requests go; a part of the negotiation takes as many rounds.
    """

    run: Callable[..., tuple[Allocation, Record]]
    max_hops: int


class Learned(NamedTuple):
    """A learned method.

    Attributes:
        method: how it is planned, trained and stored.
        allocator: `(plan, network, owned) -> allocator`, to be jitted; `owned` is the most tasks that an agent owns,
            None where that is not known.
        trainer: `(plan, settings, joined) -> trainer`, on one network of agents, where any of the settings arrives.
        colours: in figures: of networks trained on each graph, and of the policy that is shipped.
        check: `(plan, problem)`; it refuses a problem on which such a policy cannot act.
        sizes: how large a problem it takes.
        negotiation: `(plan, network, owned) -> Negotiation`, as `allocator`, where agents negotiate; None: they do not.
        cautions: `(plan, problem)` -> sentences on what it leaves out.
        asking: `(plan, max_quantity) -> plan` with requests of up to so many items, where agents ask for some.
    """

    method: Method
    allocator: Callable[[Any, Any, int | None], Callable[..., Allocation]]
    trainer: Callable[..., Any]
    colours: tuple[str, str]
    check: Callable[[Any, Problem], None] = _never
    sizes: Sizes = TABLE
    negotiation: Callable[[Any, Any, int | None], Negotiation] | None = None
    cautions: Callable[[Any, Problem], Sequence[str]] = _nothing
    asking: Callable[[Any, int], Any] = _as_it_is


def check_plan(plan: Any) -> None:
    """Refuses a plan whose `layers`, `setting` or `kinds` cannot be.

    Raises:
        InputError: naming what, and what is allowed.
    """
    check_layers(plan.layers)
    kinds = (plan.setting, *plan.kinds)
    if len(kinds) > MOST_KINDS or any(each.agents != plan.setting.agents for each in kinds):
        raise InputError(f"kinds are {len(kinds) - 1} settings; there are up to {MOST_KINDS - 1} of as many agents")
    for each in kinds:
        check_setting(each)
