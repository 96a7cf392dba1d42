"""What can be sampled, and from where: improper priors get a first value, and what no method samples is refused."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array
from numpyro.distributions import biject_to
from numpyro.primitives import Messenger

from bayesalloc.errors import InputError, listed
from bayesalloc.following import Following, Message, Model

SUBSAMPLED = {
    "nuts": "nuts weighs every row in every step",
    "svi": "the Pareto k that judges an svi fit weighs every row",
}


class _Started(Following):
    """Gives a site that cannot be drawn the value at which its unconstrained form is zero."""

    def inside(self, period: Array | None, horizon: int | None) -> Messenger:
        """See the base class."""
        return _Started()

    def site(self, msg: Message) -> None:
        """See the base class."""
        _to_jax(msg)
        if msg["type"] == "sample" and msg["value"] is None and improper(msg["fn"]):
            transform = biject_to(msg["fn"].support)
            msg["value"] = transform(jnp.zeros(transform.inverse_shape(msg["fn"].shape())))


def _to_jax(msg: Message) -> None:
    """NumPyro checks supports in the value's own library, and NumPy cannot compare with bounds that are traced."""
    if isinstance(msg.get("value"), np.ndarray):
        msg["value"] = jnp.asarray(msg["value"])


def startable(model: Model) -> Model:
    """The model with a value for each site that has an improper prior, so that the others can be drawn."""
    return _Started(model)


class _Named(Following):
    """Gives sites in the body of a scan the names that they have outside, where a scope stands around the scan.

    NumPyro's samplers hand the values of latent sites to a body by their names outside, where the body, whose names
    lack the scope, does not find them and draws its own.
    """

    def __init__(self, model: Model | None = None, twice: dict[str, str] | None = None) -> None:
        self.twice = {} if twice is None else twice  # a name with the scope put on it once more -> the name
        super().__init__(model)

    def inside(self, period: Array | None, horizon: int | None) -> Messenger:
        """See the base class."""
        return _Named(twice=self.twice)

    def process_message(self, msg: Message) -> None:
        """NumPyro's hook."""
        if msg.get("_control_flow_done"):
            msg["name"] = self.twice.get(msg["name"], msg["name"])
        super().process_message(msg)

    def site(self, msg: Message) -> None:
        """See the base class."""
        if self.scopes and msg.get("name"):
            msg["name"] = self.name(msg)
            self.twice[self.name(msg)] = msg["name"]


class _Imputed(Following):
    """Gives the missing elements of `sample(..., obs_mask=)` their distribution where they are not missing too.

    NumPyro masks them there, and a sampler would wander about in what has no density and no effect.
    """

    def inside(self, period: Array | None, horizon: int | None) -> Messenger:
        """See the base class."""
        return _Imputed()

    def site(self, msg: Message) -> None:
        """See the base class."""
        _to_jax(msg)
        part = msg["type"] == "sample" and msg["name"].endswith("_unobserved") and not msg["is_observed"]
        if part and isinstance(msg["fn"], dist.MaskedDistribution):
            msg["fn"] = msg["fn"].base_dist


def for_samplers(model: Model) -> Model:
    """The model as samplers can use it, with the same posterior: full names, imputed elements with a density."""
    return _Named(_Imputed(model))


def improper(fn: Any) -> bool:
    """Whether a distribution cannot be drawn from, as an improper prior."""
    if hasattr(fn, "base_dist"):
        return improper(fn.base_dist)
    return type(fn).sample is dist.Distribution.sample or isinstance(fn, dist.ImproperUniform)


def samplable(trace: Mapping[str, Any], method: str) -> None:
    """Refuse, before any time is spent, what a method cannot sample.

    Args:
        trace: of the model given the record.
        method: "nuts" or "svi".

    Raises:
        InputError: naming the site and what to do about it.
    """
    plates = {name: site["args"] for name, site in trace.items() if site["type"] == "plate"}
    for name, (size, part) in plates.items():
        if part is not None and part < size:
            raise InputError(
                f"the plate '{name}' takes {part} of {size} rows at a time, and {SUBSAMPLED[method]}:"
                " leave subsample_size out"
            )
    free = [name for name, site in trace.items() if site["type"] == "param" and jax.tree.leaves(site["value"])]
    if free:
        raise InputError(
            f"'{listed(free)}' is a numpyro.param, a number without a prior, of which there is no posterior:"
            " give it a prior with numpyro.sample (a network by random_flax_module)"
        )
    latent = {name: s["fn"] for name, s in trace.items() if s["type"] == "sample" and not s["is_observed"]}
    discrete = [name for name, fn in latent.items() if fn.support.is_discrete]
    if discrete:
        raise InputError(
            f"site '{listed(discrete)}' is discrete and not observed, which {method} cannot sample: sum it out"
            " (a mixture by dist.MixtureSameFamily, a hidden Markov chain by its forward recursion)"
        )
    if not latent:
        raise InputError("the model has no unobserved random site: there is nothing to fit")
