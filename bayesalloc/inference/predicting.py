"""What draws of a posterior say of the record: replicated data and densities, by the draw, so that memory stays small.

An outcome is an observed site with a latent ancestor and no observed descendant. It is replicated given the recorded
values of all other observed sites: a treatment or a covariate is neither replicated nor part of the likelihood.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike
from numpyro import handlers
from numpyro.primitives import Messenger

from bayesalloc.following import Following, Message, seed_by_name
from bayesalloc.inference.posing import Problem, keywords, site_shapes
from bayesalloc.inference.starting import startable

AT_ONCE = 32  # draws that are computed side by side


class Predicted(NamedTuple):
    """What one draw of the latent sites implies.

    Attributes:
        sites: every random or deterministic site with an outcome's values replicated.
        likelihood: outcome -> log density of each recorded element, NaN where it is missing.
        prior: latent site -> log density of each element.
        record: log density of everything that is observed.
    """

    sites: dict[str, Any]
    likelihood: dict[str, Any]
    prior: dict[str, Any]
    record: Any


class _Under(Following):
    """The values of latent sites, by their names in the whole program, and outcomes drawn anew."""

    def __init__(
        self, values: Mapping[str, Array], outcomes: Collection[str] = (), periods: tuple[Array, ...] = ()
    ) -> None:
        self.values, self.outcomes, self.periods = values, outcomes, periods
        super().__init__()

    def inside(self, period: Array | None, horizon: int | None) -> Messenger:
        """See the base class."""
        return _Under(self.values, self.outcomes, self.periods if period is None else (*self.periods, period))

    def site(self, msg: Message) -> None:
        """See the base class."""
        if msg["type"] != "sample":
            return
        name = self.name(msg)
        if name in self.values and not msg["is_observed"]:
            msg["value"] = self.values[name][self.periods]
        elif msg["is_observed"] and name in self.outcomes:
            # without a plate the data alone say how many there are
            batch = jnp.shape(msg["value"])[: jnp.ndim(msg["value"]) - msg["fn"].event_dim]
            if batch != tuple(msg["fn"].batch_shape):
                msg["fn"] = msg["fn"].expand(jnp.broadcast_shapes(batch, msg["fn"].batch_shape))
            msg["value"], msg["is_observed"] = None, False


def predict(
    problem: Problem,
    outcomes: Mapping[str, np.ndarray],
    key: Array,
    draws: Mapping[str, ArrayLike] | int,
    keep: Collection[str],
    *,
    densities: bool = True,
) -> Predicted:
    """What each draw implies, with a leading draw axis.

    Args:
        problem: the model and its record.
        outcomes: the observed sites to replicate, and which of their elements were recorded.
        key: a key; a draw's random numbers depend on it, the draw's place and the site's name.
        draws: latent site -> values; or how many draws of the prior.
        keep: the sites to return.
        densities: whether to return densities too.
    """
    given = keywords(problem)
    shapes = site_shapes(problem)
    random, latent = set(shapes), [name for name, (_, observed) in shapes.items() if not observed]

    def sites(handler: Messenger, key: Array) -> dict[str, Any]:
        return handlers.trace(startable(seed_by_name(handler(problem.model), key))).get_trace(**given)

    def one(index: Array, sample: Mapping[str, Array]) -> Predicted:
        drawn = sites(_Under(sample, outcomes), jax.random.fold_in(key, index))
        kept = {name: site["value"] for name, site in drawn.items() if name in keep}
        if not densities:
            return Predicted(kept, {}, {}, None)
        weighed = {
            k: (s, elementwise(s["fn"], s["value"])) for k, s in sites(_Under(sample), key).items() if k in random
        }
        likelihood = {name: _where(known, weighed[name][1]) for name, known in outcomes.items()}
        observed = [likelihood.get(name, density) for name, (site, density) in weighed.items() if site["is_observed"]]
        record = sum((jnp.nansum(density) for density in observed), jnp.zeros(()))
        return Predicted(kept, likelihood, {name: weighed[name][1] for name in latent}, record)

    count = draws if isinstance(draws, int) else len(next(iter(draws.values())))
    samples = {} if isinstance(draws, int) else {name: jnp.asarray(draws[name]) for name in latent}
    mapped = jax.jit(lambda i, s: jax.lax.map(lambda each: one(*each), (i, s), batch_size=min(AT_ONCE, count)))
    return jax.tree.map(np.asarray, mapped(jnp.arange(count), samples))


def elementwise(fn: Any, value: Any) -> Array:
    """Log density of each element that is independent of the others given the parameters; 0 where it is masked.

    `to_event` only declares independent elements to be one event, so they are taken apart.
    """
    while isinstance(fn, dist.Independent):
        fn = fn.base_dist
    return jnp.asarray(fn.log_prob(value))


def _where(known: np.ndarray, density: Array) -> Array:
    """NaN where an element, or part of one, was not recorded."""
    return jnp.where(known.all(tuple(range(density.ndim, known.ndim))), density, jnp.nan)


def present(fn: Any, value: Any) -> np.ndarray:
    """Which elements of a recorded value count; the others are masked, fillings for what is missing."""
    while isinstance(fn, dist.Independent):
        fn = fn.base_dist
    mask = np.asarray(_counted(fn))
    return np.broadcast_to(mask.reshape(mask.shape + (1,) * (fn.event_dim if mask.ndim else 0)), np.shape(value))


def _counted(fn: Any) -> Any:
    """The mask of a distribution, True where it has none."""
    if not isinstance(fn, dist.MaskedDistribution | dist.ExpandedDistribution):
        return True
    inner = _counted(fn.base_dist)
    return jnp.logical_and(fn._mask, inner) if isinstance(fn, dist.MaskedDistribution) else inner
