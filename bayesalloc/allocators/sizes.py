"""How large a problem a method takes: what it would keep in memory, and what would take too long to compile."""

from typing import NamedTuple

import numpy as np

from bayesalloc.allocators.problem import Problem
from bayesalloc.errors import InputError

LARGEST_TABLE = 2**26  # numbers that a method keeps at once: 256 MB


class Sizes(NamedTuple):
    """What a method takes.

    Attributes:
        by_agents: how often the number of agents is a factor of what it keeps, beside those of tasks and types; None:
            it keeps no such table.
        agents: the most of them; None: any number.
        owned: the most tasks of one agent; None: any number.
    """

    by_agents: int | None = 1
    agents: int | None = None
    owned: int | None = None

    def check(self, method: str, problem: Problem) -> None:
        """Refuses a problem that is too large for the method.

        Raises:
            InputError: saying what it takes.
        """
        agents, (tasks, types) = len(problem.resources), problem.requires.shape
        cells = 0 if self.by_agents is None else tasks * types * agents**self.by_agents
        if cells > LARGEST_TABLE or agents > (self.agents or agents):
            most = "" if self.agents is None else f"{self.agents} agents, and "
            power = "" if self.by_agents == 1 else f"^{self.by_agents}"
            raise InputError(
                f"{method} cannot take {agents} agents and {tasks} tasks of {types} types: it takes up to {most}"
                f"{LARGEST_TABLE} as agents{power} x tasks x types; dec-price takes any number"
            )
        if self.owned is not None and (owned := tasks_of_each(problem)).max() > self.owned:
            raise InputError(
                f"{method} takes up to {self.owned} tasks of one agent, and agent {owned.argmax()} owns {owned.max()};"
                " the methods that do not negotiate take any number"
            )


ANY = Sizes(by_agents=None)
TABLE = Sizes()
# Every message is simulated, between all pairs of agents; and each task of an agent is compiled, 16 in 8 s, 32 in
# minutes.
NEGOTIATION = Sizes(agents=64, owned=16)


def tasks_of_each(problem: Problem) -> np.ndarray:
    """How many real tasks each agent owns, up to the last that owns one; not for use inside jit."""
    return np.bincount(np.asarray(problem.owner)[np.asarray(problem.real)], minlength=1)
