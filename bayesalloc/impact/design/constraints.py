"""What is asked of a mechanism: constraints such as `would_refuse<=0.05`, on each agent or on an outcome."""

import math
import re
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from bayesalloc.errors import InputError, listed
from bayesalloc.impact.design.affine import Affine

ROUNDING = 1e-6
REFUSE, DEVIATE = "would_refuse", "deviation_gain"
_FORM = re.compile(r"\s*([^<>=\s]+)\s*(<=|>=)\s*([^<>=\s]+)\s*")


class Constraint(NamedTuple):
    """One constraint: `name` of an agent or element, at most `bound`, or for `sign` -1 at least -`bound`.

    Attributes:
        name: would_refuse, deviation_gain or an outcome (with its element).
        agent: the agent's place; -1 for an outcome.
        bound: what sign x the quantity may be at most.
        sign: 1 or -1.
        text: as it is said.
    """

    name: str
    agent: int
    bound: float
    sign: float
    text: str

    @property
    def chance(self) -> bool:
        """Whether it bounds a probability."""
        return self.name == REFUSE

    @property
    def private(self) -> bool:
        """Whether it is on an agent's incentives, and a margin is in the payoffs' unit."""
        return self.agent >= 0

    def function(self, effects: Affine) -> tuple[Any, Any]:
        """Constant and slope of what is bounded: of the gain in each draw, or of sign x the mean."""
        if self.chance:
            return effects.gain[0][:, self.agent], effects.gain[1][:, self.agent]
        if self.name == DEVIATE:
            return effects.deviation[0][:, self.agent].mean(0), effects.deviation[1][:, self.agent].mean(0)
        constant, slope = effects.outcomes[self.name]
        return self.sign * constant, self.sign * slope

    def allowed(self, draws: int) -> int:
        """In how many draws an agent may refuse."""
        return max(0, math.floor(self.bound * draws + 1e-9))

    def tightened(self, values: np.ndarray, effects: Affine, errors: float) -> "Constraint":
        """It less so many standard errors of the quantity, at these values; outcomes keep theirs."""
        if self.chance:
            draws = len(effects.gain[0])
            return self._replace(bound=max(0.0, self.bound - errors * math.sqrt(self.bound * (1 - self.bound) / draws)))
        if self.name == DEVIATE:
            each = effects.deviation[0][:, self.agent] + effects.deviation[1][:, self.agent] @ values
            return self._replace(bound=self.bound - errors * float(each.std()) / math.sqrt(len(each)))
        return self

    def value(self, values: np.ndarray, effects: Affine) -> float:
        """The quantity that it bounds, as it is called."""
        constant, slope = self.function(effects)
        found = constant + slope @ values
        return float((found < -ROUNDING).mean()) if self.chance else float(self.sign * found)

    def excess(self, values: np.ndarray, effects: Affine) -> float:
        """By how much it is missed: of a probability, what the agent would have to gain more in enough draws."""
        if self.kept(self.value(values, effects)):
            return 0.0
        constant, slope = self.function(effects)
        found = constant + slope @ values
        return float(-np.sort(found)[self.allowed(len(found))] if self.chance else found - self.bound)

    def kept(self, value: float) -> bool:
        """Whether a value of it keeps it, but for rounding."""
        return self.sign * value - self.bound <= ROUNDING * max(1.0, abs(self.bound))


def read_constraints(given: Sequence[str], outcomes: Collection[str], agents: Sequence[str]) -> tuple[Constraint, ...]:
    """Constraints from texts such as `deviation_gain<=0` (of every agent) or `payoff.expert>=20`.

    Args:
        given: the texts.
        outcomes: names of outcomes, with their elements.
        agents: names of agents that have payoffs; empty where there are none.

    Raises:
        InputError: naming the text and what is allowed.
    """
    found: list[Constraint] = []
    for text in given:
        option, match = f"--subject-to '{text[:100]}'", _FORM.fullmatch(text)
        name, direction, number = match.groups() if match else ("", "", "")
        try:
            bound = float(number)
        except ValueError:
            bound = math.nan
        if not math.isfinite(bound):
            raise InputError(f"{option}: is not of the form NAME<=NUMBER or NAME>=NUMBER")
        sign = 1.0 if direction == "<=" else -1.0
        private, _, who = name.partition(".")
        if private in (REFUSE, DEVIATE) and name not in outcomes:
            if not agents:
                raise InputError(f"{option}: the model has no agents with payoffs of their own that could refuse")
            if sign < 0 or (private == REFUSE and not 0 <= bound < 1):
                raise InputError(
                    f"{option}: {private} is limited by <={' a number from 0 to below 1' * (private == REFUSE)}"
                )
            if who and who not in agents:
                raise InputError(f"{option}: there is no agent '{who}'; there are {listed(agents)}")
            found += [
                Constraint(private, i, bound, 1.0, f"{private}.{agent}<={bound:g}")
                for i, agent in enumerate(agents)
                if who in ("", agent)
            ]
        elif name in outcomes:
            found.append(Constraint(name, -1, sign * bound, sign, f"{name}{direction}{bound:g}"))
        else:
            known = [*((REFUSE, DEVIATE) if agents else ()), *outcomes]
            raise InputError(f"{option}: there is no '{name}'; there are {', '.join(known)}")
    return tuple(found)
