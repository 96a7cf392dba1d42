"""What an allocation is chosen for: impact as a funder values it, and what it would teach.

| acquisition | formula |
| --- | --- |
| `ucb` | R(I(x)) + sigma(x) / beta, R the risk attitude, sigma the standard deviation of I(x) |
| `ei` | the logarithm of the expected improvement on the allocation that stands, E max(I(x) - I(x0), 0) |
| `published` | beta mu(x) + sigma(x), beta in [0, 1], which ranks allocations as `ucb` with the risk attitude `ev` |
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from bayesalloc.errors import InputError, listed, quoted
from bayesalloc.impact.returns import Edges
from bayesalloc.impact.risk import functional
from bayesalloc.impact.structured import Draws, impacts

BETA = {"ucb": 10.0, "ei": 1.0, "published": 1.0}  # where nobody says otherwise


class World(NamedTuple):
    """What impact depends on, under every draw: effects, room, spill-overs; and whether a project can work."""

    draws: Draws
    works: Float[Array, "draw project"]
    edges: Edges


def check(kind: str, beta: float, risk: str) -> None:
    """Refuse an acquisition that there is not.

    Raises:
        InputError: naming it, and what there is.
    """
    if kind not in BETA:
        raise InputError(f"acquisition is '{quoted(kind)}'; there are {listed(BETA)}")
    if kind == "published" and not 0 <= beta <= 1:
        raise InputError(f"beta is {beta:g}; of the published acquisition it must be in [0, 1]")
    if not 0 < beta <= 1e6 and kind == "ucb":
        raise InputError(f"beta is {beta:g}; it must be above 0, and at most 1e6 (nothing for what would be learned)")
    functional(risk)
    if risk != "ev" and kind != "ucb":
        raise InputError(f"the acquisition {kind} is about expected impact; a risk attitude needs ucb")


@jax.jit
def impact(amount: Float[Array, " project"], world: World) -> Float[Array, " draw"]:
    """The impact of an allocation under every draw."""
    return (impacts(world.draws, amount, world.edges) * world.works).sum(1)


@jax.jit
def by_project(amount: Float[Array, " project"], world: World) -> Float[Array, "draw project"]:
    """The impact of each project under every draw."""
    return impacts(world.draws, amount, world.edges) * world.works


@partial(jax.jit, static_argnames=("own",))
def marginal(amount: Float[Array, " project"], world: World, *, own: bool = False) -> Float[Array, " project"]:
    """What the expected impact grows by, per unit of money; with `own`, without what reaches other projects."""

    def expected(at: Array) -> Array:
        return (impacts(world.draws, at, world.edges, own=own) * world.works).sum(1).mean()

    return jax.grad(expected)(amount)


@partial(jax.jit, static_argnames=("kind", "risk"))
def value_and_slope(
    amount: Float[Array, " project"],
    world: World,
    standing: Float[Array, " draw"],
    beta: Float[Array, ""],
    *,
    kind: str,
    risk: str,
) -> tuple[Float[Array, ""], Float[Array, " project"]]:
    """The acquisition and its slope.

    Args:
        amount: the allocation, in budgets.
        world: what impact depends on.
        standing: impact of the allocation that stands, under every draw.
        beta: see the table above.
        kind: of the acquisition.
        risk: the attitude.
    """

    def value(at: Array) -> Array:
        draws = impact(at, world)
        if kind == "ei":
            gain = draws - standing
            return log_expected_improvement(gain.mean(), jnp.sqrt(jnp.var(gain) + 1e-24))
        spread = jnp.sqrt(jnp.var(draws) + 1e-24 * standing.mean() ** 2)
        if kind == "published":
            return beta * draws.mean() + spread
        return functional(risk, standing.mean())(draws) + spread / beta

    return jax.value_and_grad(value)(amount)


def as_function(world: World, standing: np.ndarray, beta: float, kind: str, risk: str, which: np.ndarray):
    """The acquisition as the search takes it: of all projects, of which those in `which` have an estimate."""

    def of_all(amount: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = value_and_slope(
            jnp.asarray(amount[which]), world, jnp.asarray(standing), jnp.asarray(beta), kind=kind, risk=risk
        )
        full = np.zeros(len(amount))
        full[which] = np.asarray(slope)
        return float(value), full

    return of_all


def log_expected_improvement(mean: Array, spread: Array) -> Array:
    """Log E max(g, 0) of a normal g, from its mean and spread; stable far below zero (Ament et al. 2023)."""
    z = mean / spread
    near = jnp.log(norm.pdf(jnp.maximum(z, -5.0)) + jnp.maximum(z, -5.0) * norm.cdf(jnp.maximum(z, -5.0)))
    low = jnp.minimum(z, -5.0)
    far = norm.logpdf(low) - 2.0 * jnp.log(-low) + jnp.log1p(-3.0 / low**2 + 15.0 / low**4)
    return jnp.where(z > -5.0, near, far) + jnp.log(spread)
