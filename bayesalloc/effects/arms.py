"""What is done to a model in each arm, and what comes of it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxtyping import ArrayLike


class Arm(NamedTuple):
    """What is done in one arm: an action of the environment (None for a plain model), and sites that are fixed."""

    action: Any = None
    sites: Mapping[str, ArrayLike] = {}


class Simulated(NamedTuple):
    """Outcomes of all arms.

    Attributes:
        values: outcome -> (draw, future, arm, ...), one number for the years of a replicate.
        years: outcome -> (draw, arm, year, ...) of each draw's first future; empty for a plain model.
        refusal: payoffs if nobody took part, (draw, future, arm, agent), or None.
        deviation: own payoff of each agent if it alone did not comply, (draw, future, arm, agent), or None.
    """

    values: dict[str, Any]
    years: dict[str, Any]
    refusal: Any = None
    deviation: Any = None
