"""What an allocation achieves if everything were known: saturating returns of each project, and spill-overs."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int


class Edges(NamedTuple):
    """Who spills over to whom: for each project the edges that lead into it, padded to the most that one has.

    Attributes:
        source: index of the project an edge comes from; 0 where there is none.
        kind: index of the edge's type.
        there: False for padding.
    """

    source: Int[Array, "project edge"]
    kind: Int[Array, "project edge"]
    there: Bool[Array, "project edge"]


def saturating(amount: ArrayLike, room: ArrayLike, eta: float = 1.0) -> Array:
    """Returns of an amount in units of the first dollar's: K log(1 + x / K), or isoelastic where `eta` is not 1.

    The marginal return is (1 + x / K)^-eta: Open Philanthropy assumes 1 (logarithmic) by default, and 0.375 for
    GiveWell (Favaloro & Berger 2021, "Technical updates to our global health and wellbeing cause prioritization
    framework").

    Args:
        amount: x >= 0, any shape, in any unit.
        room: K > 0 in the same unit: the amount at which the marginal return is 2^-eta of the first dollar's.
        eta: curvature, > 0.

    >>> float(saturating(3.0, 1.0, 0.5)), round(float(saturating(1.0, 1.0)), 4)
    (2.0, 0.6931)
    """
    room = jnp.asarray(room)
    growth = jnp.log1p(amount / room)
    return room * (growth if eta == 1.0 else jnp.expm1((1.0 - eta) * growth) / (1.0 - eta))


def spilled(
    amount: Float[Array, " project"], room: Float[Array, " project"], weight: Float[Array, "project edge"], edges: Edges
) -> Float[Array, " project"]:
    """What the neighbours' activity adds to each project's impact, as a share of it: sum_k W_jk x_k / (x_k + K_k).

    Args:
        amount: x, 0 for projects that are off.
        room: K.
        weight: W, the strength of each edge.
        edges: the network.
    """
    active = amount / (amount + room)
    return jnp.where(edges.there, weight * active[edges.source], 0.0).sum(-1)


def impacts(
    amount: Float[Array, " project"],
    log_effect: Float[Array, " project"],
    room: Float[Array, " project"],
    weight: Float[Array, "project edge"],
    edges: Edges,
    eta: float = 1.0,
) -> Float[Array, " project"]:
    """Each project's impact, y_j = e_j K_j log(1 + x_j / K_j) (1 + sum_k W_jk z_k), z_k = x_k / (x_k + K_k).

    Args:
        amount: x, what each project gets, 0 for projects that are off.
        log_effect: log e, of the impact per unit of money of the first dollars.
        room: K, in the unit of `amount`.
        weight: W, the strength of each edge.
        edges: the network.
        eta: see `saturating`.
    """
    return jnp.exp(log_effect) * saturating(amount, room, eta) * (1.0 + spilled(amount, room, weight, edges))
