"""What is done to a model in each arm, and what comes of it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from bayesalloc.intervene import Setting

REPLICATES = 16_000  # per arm, that parameter draws and their futures share


class Arm(NamedTuple):
    """What is done in one arm: an action of the environment (None for a plain model), and sites that are set."""

    action: Any = None
    sites: Mapping[str, Setting] = {}


class Simulated(NamedTuple):
    """Outcomes of all arms.

    Attributes:
        values: outcome -> (draw, future, arm, ...), one number for the periods of a replicate. Where the elements are
            so many that memory sets a limit, some of the draws, evenly spaced.
        by_period: outcome -> (draw, arm, period, ...) of each draw's first future; empty for a plain model.
        refusal: payoffs if nobody took part, (draw, future, arm, agent), or None.
        deviation: own payoff of each agent if it alone did not comply, (draw, future, arm, agent), or None.
        means: outcome -> (draw, future, arm), the mean over an outcome's elements in every draw.
        dims: outcome -> names of the axes of its elements, for a plain model.
        shapes: outcome -> their sizes, likewise.
        held: sites that keep a value through all arms and futures: the posterior's, the record's, or the prior draw's.
        drawn: sites that descend from an intervention, and are drawn or computed anew.
        warnings: sentences on what was ignored, or needs care.
    """

    values: dict[str, Any]
    by_period: dict[str, Any]
    refusal: Any = None
    deviation: Any = None
    means: Mapping[str, Any] = {}
    dims: Mapping[str, tuple[str, ...]] = {}
    shapes: Mapping[str, tuple[int, ...]] = {}
    held: list[str] = []
    drawn: list[str] = []
    warnings: list[str] = []

    def sizes(self, outcome: str) -> tuple[int, ...]:
        """The shape of an outcome's elements."""
        return self.shapes[outcome] if outcome in self.shapes else self.values[outcome].shape[3:]
