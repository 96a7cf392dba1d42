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

from bayesalloc.following import Held, Message, seed_by_name
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


class _Recorded(Held):
    """Leaves observed sites as the model has them."""

    def inside(self, period: Array | None, horizon: int | None) -> Messenger:
        """See the base class."""
        return _Recorded(self.values, (), self.periods if period is None else (*self.periods, period))

    def _fill(self, msg: Message) -> None:
        pass  # a masked filling has no density; what follows from it is what the sampler saw


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
        drawn = sites(Held(sample, outcomes), jax.random.fold_in(key, index))
        kept = {name: site["value"] for name, site in drawn.items() if name in keep}
        if not densities:
            return Predicted(kept, {}, {}, None)
        record = {name: site for name, site in sites(_Recorded(sample, ()), key).items() if name in random}
        weighed = {name: (site, elementwise(site["fn"], site["value"])) for name, site in record.items()}
        likelihood = {name: _where(known, weighed[name][1]) for name, known in outcomes.items()}
        observed = [likelihood.get(name, density) for name, (site, density) in weighed.items() if site["is_observed"]]
        total = sum((jnp.nansum(density) for density in observed), jnp.zeros(()))
        return Predicted(kept, likelihood, {name: weighed[name][1] for name in latent}, total)

    count = draws if isinstance(draws, int) else jnp.shape(next(iter(draws.values())))[0]
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
