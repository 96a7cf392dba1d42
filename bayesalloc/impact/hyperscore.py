"""The HyperScore: a transform of a share of the best possible impact that sets the nearly best apart."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike

from bayesalloc.errors import InputError


def hyperscore(value: ArrayLike, beta: float = 5.0, gamma: float = -math.log(2.0), kappa: float = 2.0) -> Array:
    """100 (1 + sigmoid(beta ln V + gamma)^kappa), differentiable, and exactly 100 at V = 0.

    It is computed as V^beta / (V^beta + exp(-gamma)), which is the sigmoid and has no logarithm of zero. At V = 1 and
    the default gamma it is 100 (1 + 3^-kappa), whatever beta is. The posterior of the score is the score of draws of V.

    Args:
        value: V in [0, 1], any shape: the impact of an allocation over that of the best one. The source only says
            that the sigmoid would tame values above 1; they are refused.
        beta: how steeply the score rises, above 0.
        gamma: where it rises.
        kappa: how far the nearly best stand apart, above 0.

    Raises:
        InputError: for a value outside [0, 1], or a parameter that is not allowed.

    >>> hyperscore(jnp.array([0.0, 1.0])).round(2).tolist()
    [100.0, 111.11000061035156]
    """
    if not beta > 0 or not kappa > 0 or not math.isfinite(beta * kappa * gamma):
        raise InputError(f"beta {beta:g} and kappa {kappa:g} must be above 0, and gamma {gamma:g} a finite number")
    share = jnp.asarray(value, float)
    outside = ~((share >= 0.0) & (share <= 1.0))
    if isinstance(share, Tracer):
        share = eqx.error_if(share, outside, "a value of the HyperScore is outside [0, 1]")
    elif outside.any():
        worst = np.asarray(share)[np.asarray(outside)].flat[0]
        raise InputError(f"a value of the HyperScore is {worst:g}; it must be in [0, 1]")
    power = share**beta
    return 100.0 * (1.0 + (power / (power + math.exp(-gamma))) ** kappa)
