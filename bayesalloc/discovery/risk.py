"""The causal risk of a joint action: harm to what is protected that its causes make likely, beyond what is tolerated.

    CausalRisk(a) = sum over protected v of  w_v  mean over draws m of  max(0, h_v sum_d tau^m_vd a_d - c_v) / sd_v

with tau^m the effects of a joint intervention (see `joint`), h_v the direction that harms, c_v the tolerance in v's own
unit, and sd_v its standard deviation. Every protected variable counts, also one that a decision is meant to serve.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from bayesalloc.discovery.joint import Joint

Attitude = Literal["mean", "worst", "probability"]
WORST = 0.1  # share of the draws that the attitude `worst` is about


class Protection(NamedTuple):
    """What is protected, and from what.

    Attributes:
        variable: its name.
        harm: 1 where more is harm, -1 where less is.
        tolerance: harm that is borne, in its own unit.
        weight: what harm beyond that counts.
    """

    variable: str
    harm: float
    tolerance: float = 0.0
    weight: float = 1.0


class Risk(NamedTuple):
    """What the causal risk of actions is computed from; arrays, so that learners may use it inside compiled programs.

    Attributes:
        effect: h_v tau / sd_v.
        tolerance: c_v / sd_v.
        weight: w_v.
    """

    effect: Float[np.ndarray, "draw protected decision"]
    tolerance: Float[np.ndarray, " protected"]
    weight: Float[np.ndarray, " protected"]

    def parts(self, action: Any, attitude: Attitude = "mean") -> Any:
        """The harm to each protected variable, in its standard deviations, times its weight; an array like the action.

        Args:
            action: change of each decision, shape (decision,), of NumPy or of JAX.
            attitude: over the draws the mean, the mean of the worst tenth, or the probability of any harm beyond what
                is tolerated.
        """
        beyond = self.effect @ action - self.tolerance
        if attitude == "probability":
            return self.weight * (beyond > 0).mean(0)
        harm = beyond.clip(0.0)
        if attitude == "worst":
            worst = max(int(WORST * len(harm)), 1)
            space = np if isinstance(harm, np.ndarray) else jnp
            harm = space.sort(harm, axis=0)[-worst:]
        return self.weight * harm.mean(0)


def risk_of(joint: Joint, protected: Sequence[Protection], spread: Float[np.ndarray, " variable"]) -> Risk:
    """The risk to some variables.

    Args:
        joint: effects of all decisions at once.
        protected: what is protected.
        spread: standard deviation of each variable.
    """
    places = [joint.names.index(each.variable) for each in protected]
    harm = np.array([each.harm for each in protected])
    scale = spread[places]
    effect = joint.draws[:, places] * (harm / scale)[:, None]
    tolerance = np.array([each.tolerance for each in protected]) / scale
    return Risk(effect, tolerance, np.array([each.weight for each in protected]))
