"""What draws of a posterior say of the record: replicated data, and densities; draw by draw, so that memory stays small.

An outcome is an observed site with a latent ancestor and no observed descendant. It is replicated given the recorded
values of all other observed sites: a treatment or a covariate is neither replicated nor part of the likelihood.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array
from numpyro import handlers
from numpyro.primitives import Messenger

from bayesalloc.inference.posing import Problem, keywords, latent_shapes
from bayesalloc.inference.starting import startable
from bayesalloc.intervene import Following, Message, Model, seed_by_name

AT_ONCE = 32  # draws that are computed side by side


class Predicted(NamedTuple):
    """What one draw of the latent sites implies.

    Attributes:
        sites: every random or deterministic site with an outcome's values replicated.
        likelihood: outcome -> log density of each recorded element, NaN where it is missing.
        prior: latent site -> log density of each element.
    """

    sites: dict[str, Array]
    likelihood: dict[str, Array]
    prior: dict[str, Array]


class _Replicated(Following):
    """Draws some observed sites anew."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = names
        super().__init__()

    def inside(self, period: Array | None, horizon: int | None) -> Messenger:
        """See the base class."""
        return _Replicated(self.names)

    def site(self, msg: Message) -> None:
        """See the base class."""
        if msg["type"] == "sample" and msg["is_observed"] and msg["name"] in self.names:
            # without a plate the data alone say how many there are
            batch = jnp.shape(msg["value"])[: jnp.ndim(msg["value"]) - msg["fn"].event_dim]
            if batch != tuple(msg["fn"].batch_shape):
                msg["fn"] = msg["fn"].expand(jnp.broadcast_shapes(batch, msg["fn"].batch_shape))
            msg["value"], msg["is_observed"] = None, False


def predict(
    problem: Problem,
    outcomes: Sequence[str],
    key: Array,
    draws: Mapping[str, Array] | int,
    keep: Collection[str],
    *,
    densities: bool = True,
) -> Predicted:
    """What each draw implies, with a leading draw axis.

    Args:
        problem: the model and its record.
        outcomes: the observed sites to replicate.
        key: a key; a draw's random numbers depend on it, the draw's place and the site's name.
        draws: latent site -> values; or how many draws of the prior.
        keep: the sites to return.
        densities: whether to return densities too.
    """
    given = keywords(problem)
    latent = list(latent_shapes(problem))

    def sites(model: Model, sample: Mapping[str, Array], key: Array) -> dict[str, Any]:
        seeded = seed_by_name(model, key)
        return handlers.trace(handlers.substitute(startable(seeded), data=dict(sample))).get_trace(**given)

    def one(index: Array, sample: Mapping[str, Array]) -> Predicted:
        drawn = sites(_Replicated(outcomes)(problem.model), sample, jax.random.fold_in(key, index))
        kept = {name: site["value"] for name, site in drawn.items() if name in keep}
        if not densities:
            return Predicted(kept, {}, {})
        recorded = sites(problem.model, sample, key)
        weighed = {name: elementwise(recorded[name]["fn"], recorded[name]["value"]) for name in [*outcomes, *latent]}
        return Predicted(kept, {name: weighed[name] for name in outcomes}, {name: weighed[name] for name in latent})

    count = draws if isinstance(draws, int) else len(next(iter(draws.values())))
    samples = {} if isinstance(draws, int) else {name: jnp.asarray(draws[name]) for name in latent}
    mapped = jax.jit(lambda i, s: jax.lax.map(lambda each: one(*each), (i, s), batch_size=min(AT_ONCE, count)))
    return jax.tree.map(np.asarray, mapped(jnp.arange(count), samples))


def elementwise(fn: Any, value: Any) -> Array:
    """Log density of each element that is independent of the others given the parameters, NaN where it is masked.

    `to_event` only declares independent elements to be one event, so they are taken apart.
    """
    while isinstance(fn, dist.Independent):
        fn = fn.base_dist
    there = _counted(fn)
    density = jnp.asarray(fn.log_prob(value))
    return density if there is None else jnp.where(there, density, jnp.nan)


def _counted(fn: Any) -> Any:
    """The mask of a distribution, or None."""
    if not isinstance(fn, dist.MaskedDistribution | dist.ExpandedDistribution):
        return None
    inner = _counted(fn.base_dist)
    if not isinstance(fn, dist.MaskedDistribution):
        return inner
    return fn._mask if inner is None else jnp.logical_and(fn._mask, inner)
