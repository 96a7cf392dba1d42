"""Learned methods of the social resource allocation problem: the registry, and policies as allocators.

A further one is a file here that ends in its entry, and a line in LEARNED; everything else in the house reads it there.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from bayesalloc.agents import policies
from bayesalloc.agents.policies import Policy, Registry
from bayesalloc.allocators.evaluate import Allocation
from bayesalloc.allocators.instances import read_setting
from bayesalloc.allocators.learned import cen_rl, dec_rl
from bayesalloc.allocators.learned.entry import Learned
from bayesalloc.allocators.problem import Problem

LEARNED: Mapping[str, Learned] = {
    "cen-rl": cen_rl.ENTRY,
    "dec-rl": dec_rl.ENTRY,
}

REGISTRY = Registry(
    problem="srap",
    methods={name: entry.method for name, entry in LEARNED.items()},
    read_setting=read_setting,
    trained=Path(__file__).parent / "trained",
)


def policy(name: str | None, path: str | Path | None = None) -> Policy:
    """The policy in a file, of a method if one is named; without a file the one that is shipped of the method.

    Raises:
        InputError: where there is none.
    """
    if path is not None:
        return policies.load(REGISTRY, path, name)
    return policies.shipped(REGISTRY, str(name))


def allocator(policy: Policy, owned: int | None = None) -> Callable[..., Allocation]:
    """`(problem, rng_key) -> Allocation`, which can be jitted and vmapped.

    Args:
        policy: what acts.
        owned: the most tasks that an agent owns; None: any number, as where owners are not known.
    """
    return LEARNED[policy.method].allocator(policy.plan, policy.network, owned)


def check(policy: Policy, problem: Problem) -> None:
    """Refuses a problem on which the policy cannot act.

    Raises:
        InputError: saying why.
    """
    LEARNED[policy.method].check(policy.plan, problem)
