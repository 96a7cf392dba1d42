"""The parameters of the negotiation protocol."""

from dataclasses import dataclass

import jax

from bayesalloc.errors import InputError

MOST = {  # what can be compiled and held in memory
    "max_hops": 64,
    "max_quantity": 1_000,
    "tasks_per_agent": 100_000,
    "cycles": 100,
    "parts": 100,
    "lifetime": 10_000,
    "timeout_reduction": 10_000,
    "timeout_extension": 10_000,
    "retries": 100,
}


@jax.tree_util.register_static
@dataclass(frozen=True)
class Darap:
    """The protocol's parameters. `THESIS` has the published ones; the defaults do better (benchmarks/srap_faults.py).

    Attributes:
        max_hops: how far a request goes; 2 as published, agents - 1 for all the way (if the lifetime lasts).
        reserve: what an agent that cannot fill a request sets aside before it passes the rest on: all it has, whatever
            that costs it (`thesis`), what gains most (`gain`), or nothing (`none`).
        utility_mode: whether a request for one type claims the full utility of a task or shares it among the types
            that the task lacks (`marginal`).
        confirm: see `accept`.
        offer: all that is asked for and there, if the request pays for it (`all`), or what gains most (`best`).
        copies: whether an agent answers `each` copy of a request or only the first (`one`).
        order: in which an agent handles the requests that reach it in one round: the highest utility per item first
            (`efficiency`), or at random (`random`, the stochastic cascading of the source).
        leftovers: whether items that the agent's own requests count on may be `offered` to others or are `kept`.
        max_quantity: most items in a request.
        tasks_per_agent: most tasks of one agent that take part.
        cycles: negotiations one after the other; each starts with what the one before left over.
        parts: in how many cycles, the last ones, requests claim utility for a part of what serves a task, so that
            agents that have few items each bring them together. Items are then promised that may not be enough.
        lifetime: rounds until a request times out.
        timeout_reduction: rounds that each hop takes off that.
        timeout_extension: rounds that an offer outlives the request. Without any, an asker that waits in vain for one
            answer confirms the others too late.
        retries: how often a lost message is sent again.
    """

    max_hops: int = 2
    reserve: str = "gain"
    utility_mode: str = "marginal"
    confirm: str = "tasks"
    offer: str = "best"
    copies: str = "one"
    order: str = "efficiency"
    leftovers: str = "kept"
    max_quantity: int = 8
    tasks_per_agent: int = 4
    cycles: int = 2
    parts: int = 1
    lifetime: int = 40
    timeout_reduction: int = 1
    timeout_extension: int = 10
    retries: int = 3

    def __post_init__(self) -> None:
        choices = {
            "reserve": ("thesis", "gain", "none"),
            "utility_mode": ("full", "marginal"),
            "confirm": ("separate", "joint", "tasks"),
            "offer": ("all", "best"),
            "copies": ("each", "one"),
            "order": ("efficiency", "random"),
            "leftovers": ("offered", "kept"),
        }
        for field, allowed in choices.items():
            if getattr(self, field) not in allowed:
                raise InputError(f"{field} is {getattr(self, field)!r}; it must be one of {', '.join(allowed)}")
        for field in ("max_hops", "max_quantity", "tasks_per_agent", "cycles", "lifetime"):
            if getattr(self, field) < 1:
                raise InputError(f"{field} is {getattr(self, field)}; it must be at least 1")
        for field, most in MOST.items():
            if getattr(self, field) > most:
                raise InputError(f"{field} is {getattr(self, field)}; it must be at most {most}")
        for field in ("parts", "timeout_reduction", "timeout_extension", "retries"):
            if getattr(self, field) < 0:
                raise InputError(f"{field} is {getattr(self, field)}; it must not be negative")

    @property
    def offers_end(self) -> int:
        """The round in which items that nobody confirmed are free again."""
        return self.lifetime + self.timeout_extension

    @property
    def rounds(self) -> int:
        """Rounds of one cycle: 0 (requests) to `offers_end`, and one in which tasks are done."""
        return self.offers_end + 2


DEFAULT = Darap()
THESIS = Darap(
    reserve="thesis",
    confirm="separate",
    utility_mode="full",
    offer="all",
    copies="each",
    leftovers="offered",
    cycles=1,
    parts=0,
    timeout_extension=0,
)
