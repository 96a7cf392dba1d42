"""Handlers that go along into the bodies of `scan` and `cond`: random numbers by site name, values held, sites opened.

NumPyro's own handlers stop at a scan: what they do not do inside is done here, one handler at a time.
"""

import zlib
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
from jaxtyping import Array, ArrayLike
from numpyro import distributions as dist, handlers
from numpyro.contrib.control_flow.scan import _subs_wrapper, scan_wrapper
from numpyro.primitives import _PYRO_STACK, Messenger, default_process_message

from bayesalloc.errors import InputError, InterventionError

Message = dict[str, Any]
Model = Callable[..., Any]


class Following(Messenger):
    """A handler that follows the program into the bodies of `scan` and `cond`.

    Inside a body, handlers around the scan no longer see its sites: what a `scope` would call them, which of them a
    `mask` would count, and what a `condition`, `substitute` or `replay` would give them, is brought along.
    """

    scopes: tuple[handlers.scope, ...] = ()
    masks: tuple[Any, ...] = ()
    horizons: tuple[int | None, ...] = ()  # periods of the scans around
    backwards: bool = False  # whether one of them runs in reverse

    def name(self, msg: Message) -> str:
        """The site's name in the whole program."""
        name = msg["name"]
        for scope in self.scopes:
            name = f"{scope.prefix}{scope.divider}{name}"
        return name

    def inside(self, period: Array | None, horizon: int | None) -> Messenger:
        """The handler that acts inside a body: in one period of a scan, or (None) in a branch of a cond."""
        raise NotImplementedError  # abstract: each handler below says how

    def site(self, msg: Message) -> None:
        """Act on one message that is not control flow."""
        raise NotImplementedError  # abstract: each handler below says how

    def process_message(self, msg: Message) -> None:
        """NumPyro's hook: follow control flow, hand everything else to `site`."""
        if msg.get("_control_flow_done"):  # a finished scan reports its sites once more, stacked over time
            return
        if msg["type"] != "control_flow":
            self.site(msg)
        elif msg["fn"] is scan_wrapper:
            body, init, xs, length, reverse = msg["args"]
            length = jnp.shape(jax.tree.leaves(xs)[0])[0] if length is None else length
            given, inside = self._given(msg), self._within(backwards=reverse)

            def followed(carry: Any, period_and_x: tuple[Array, Any]) -> Any:
                period, x = period_and_x
                step = length - 1 - period if reverse else period  # NumPyro gives values in the order of the steps
                with inside(period, length):
                    return _giving(body, given, step, length)(carry, x)

            msg["args"] = (followed, init, (jnp.arange(length), xs), length, reverse)
        else:
            predicate, *branches, operand = msg["args"]
            given, inside = self._given(msg), self._within()

            def branched(branch: Model) -> Model:
                def followed(operand: Any) -> Any:
                    with inside(None, None):
                        return _giving(branch, given, None, None)(operand)

                return followed

            msg["args"] = (predicate, *map(branched, branches), operand)

    def _given(self, msg: Message) -> list[tuple[str, Any]]:
        """What handlers between this one and the control flow give its sites; they no longer do so themselves."""
        given = msg["kwargs"].get("substitute_stack") or []
        msg["kwargs"]["substitute_stack"] = []
        return given

    def beyond(self, msg: Message) -> Any:
        """The value that the handlers outside this one, and then the site's distribution, give a message."""
        msg = {**msg, "kwargs": dict(msg["kwargs"]), "cond_indep_stack": list(msg["cond_indep_stack"])}
        for handler in reversed(_PYRO_STACK[: _PYRO_STACK.index(self)]):
            handler.process_message(msg)
            if msg.get("stop"):
                break
        if msg["value"] is None and msg["kwargs"].get("rng_key") is None:
            raise InterventionError(
                f"site '{self.name(msg)}' needs a random number, which forward simulation has and inference has not:"
                " intervene on all periods with fixed values, or sample the model under a seed"
            )
        default_process_message(msg)
        return msg["value"]

    def _within(self, *, backwards: bool = False) -> Callable[[Array | None, int | None], Messenger]:
        between = _PYRO_STACK[_PYRO_STACK.index(self) + 1 :]
        scopes = (*(h for h in reversed(between) if isinstance(h, handlers.scope)), *self.scopes)
        masks = (*(h.mask for h in between if isinstance(h, handlers.mask)), *self.masks)

        def inside(period: Array | None, horizon: int | None) -> Messenger:
            handler = self.inside(period, horizon)
            if isinstance(handler, Following):
                handler.scopes, handler.masks, handler.backwards = scopes, masks, self.backwards or backwards
                handler.horizons = self.horizons if period is None else (*self.horizons, horizon)
            return handler

        return inside


def _giving(body: Model, given: list[tuple[str, Any]], period: Array | None, horizon: int | None) -> Model:
    """A body under the handlers that stood around its control flow, each with the values of the period."""
    for kind, values in given:
        if kind == "replay":
            values = {name: site["value"] for name, site in values.items() if site["type"] == "sample"}
        if not callable(values):
            values = {name: jnp.asarray(value) for name, value in values.items()}
        if period is None:
            choose = partial(_value_in_branch, values)
        else:
            choose = partial(_value_in_period, values, period, horizon)
            body = body if callable(values) else _GivenInPart(body, values, period, horizon)
        if kind == "condition":
            body = handlers.condition(body, condition_fn=choose)
        else:
            body = handlers.substitute(body, substitute_fn=choose)
    return body


class _GivenInPart(Messenger):
    """Gives a site in a scan the values that there are, which end before the scan does: what follows is drawn."""

    beyond = Following.beyond

    def __init__(self, fn: Model, values: Mapping[str, Array], period: Array, horizon: int | None) -> None:
        self.values, self.period, self.horizon = values, period, horizon
        super().__init__(fn)

    def process_message(self, msg: Message) -> None:
        """NumPyro's hook."""
        value = self.values.get(msg.get("name", ""))
        if msg["type"] != "sample" or value is None:
            return
        n_dims = len(msg["kwargs"].get("sample_shape", ())) + len(msg["fn"].shape())
        if value.ndim == n_dims + 1 and len(value) < (self.horizon or 0):
            there = self.period < len(value)
            msg["given_in_part"] = True
            msg["value"] = jnp.where(there, value[jnp.minimum(self.period, len(value) - 1)], self.beyond(msg))
            msg["is_observed"] = True


def _value_in_period(values: Any, period: Array, horizon: int | None, site: Message) -> Any:
    return None if site.get("given_in_part") else _subs_wrapper(values, period, horizon, site)


def _value_in_branch(values: Any, site: Message) -> Any:
    return values(site) if callable(values) else values.get(site["name"])


class seed_by_name(Following):
    """Seed every site with `fold_in(key, crc32(name))`, and in a scan with the period folded in before.

    A site's draw depends on the key, its name and its period alone, never on its place in the program. So two arms
    share their random numbers even where one has sites that the other lacks (common random numbers; e.g. Glasserman &
    Yao 1992, Management Science 38:884).

    Args:
        fn: the model, or None to use the handler as a context.
        rng_key: a key from `jax.random.key` or `jax.random.PRNGKey`.

    >>> import jax, numpyro, numpyro.distributions as dist
    >>> def short(): return numpyro.sample("x", dist.Normal())
    >>> def longer(): numpyro.sample("extra", dist.Normal()); return numpyro.sample("x", dist.Normal())
    >>> key = jax.random.key(0)
    >>> bool(seed_by_name(short, key)() == seed_by_name(longer, key)())
    True
    """

    def __init__(self, fn: Model | None = None, rng_key: Array | None = None) -> None:
        if rng_key is None:
            raise InputError("seed_by_name has no rng_key; it must be one such as jax.random.key(0)")
        self.rng_key = rng_key
        self._anonymous = 0
        super().__init__(fn)

    def __enter__(self) -> None:
        self._anonymous = 0
        super().__enter__()

    def inside(self, period: Array | None, horizon: int | None) -> Messenger:
        """See the base class."""
        return seed_by_name(rng_key=self.rng_key if period is None else jax.random.fold_in(self.rng_key, period))

    def site(self, msg: Message) -> None:
        """See the base class."""
        if msg["type"] not in ("sample", "plate", "prng_key"):
            return
        if msg["kwargs"].get("rng_key") is not None or msg["value"] is not None:
            return
        if msg.get("name") is None:  # numpyro.prng_key() has none: its place among the nameless is all there is
            self._anonymous += 1
            name = f"prng_key {self._anonymous}"
        else:
            name = self.name(msg)
        msg["kwargs"]["rng_key"] = jax.random.fold_in(self.rng_key, zlib.crc32(name.encode()))


def next_key() -> Array:
    """NumPyro's next key, as a seed gives it, for what is random and no site.

    Raises:
        InputError: without a seed.
    """
    key = numpyro.prng_key()
    if key is None:
        raise InputError("the model draws random numbers: run it under a seed, such as bayesalloc.seed_by_name")
    return key


class Held(Following):
    """Gives random sites the values they are held at, and draws anew those that are to be drawn.

    Args:
        values: site -> value; a site inside a scan has one value per period, on a leading axis.
        drawn: observed sites that are drawn nonetheless; None: all of them. Of the others, what is masked is missing,
            and is drawn.
    """

    def __init__(
        self,
        values: Mapping[str, ArrayLike],
        drawn: Collection[str] | None = None,
        periods: tuple[Array, ...] = (),
    ) -> None:
        self.values, self.drawn, self.periods = values, drawn, periods
        super().__init__()

    def inside(self, period: Array | None, horizon: int | None) -> Messenger:
        """See the base class."""
        return Held(self.values, self.drawn, self.periods if period is None else (*self.periods, period))

    def site(self, msg: Message) -> None:
        """See the base class."""
        if msg["type"] not in ("sample", "param"):
            return
        name = self.name(msg)
        if name in self.values:
            value = jnp.asarray(self.values[name])
            if msg["type"] == "sample":
                shape = tuple(msg["kwargs"].get("sample_shape", ())) + tuple(msg["fn"].shape())
                if [n for n in value.shape if n > 1] != [n for n in (*self.horizons, *shape) if n and n > 1]:
                    raise InputError(
                        f"site '{name}' has shape {(*self.horizons, *shape)} here, and {value.shape} in the posterior:"
                        " it was fitted to a record of another size"
                    )
                value = value.reshape(*self.horizons, *shape)
            msg["value"] = value[self.periods]
        elif msg["type"] == "sample" and msg["value"] is None and msg["kwargs"].get("rng_key") is not None:
            raise InputError(
                f"the model brings a seed of its own to site '{name}' (handlers.seed, or rng_key=): leave it out, since"
                " every draw needs random numbers of its own"
            )
        elif msg["type"] == "sample" and msg["value"] is not None:
            if self.drawn is None or name in self.drawn:
                msg["record"] = msg["value"]
                _open(msg)
            else:
                self._fill(msg)

    def postprocess_message(self, msg: Message) -> None:
        """NumPyro's hook: what is drawn instead of a record has its type, which a scan that carries it relies on."""
        if "record" in msg:
            msg["value"] = like_record(msg["value"], msg.pop("record"))

    def _fill(self, msg: Message) -> None:
        fn = msg["fn"]
        for mask in self.masks:
            periods = self.periods[len(self.periods) - max(jnp.ndim(mask) - len(fn.batch_shape), 0) :]
            fn = fn.mask(jnp.asarray(mask)[periods])
        there = mask_of(fn, jnp.shape(msg["value"]))
        if there is not None:
            missing = {**msg, "kwargs": dict(msg["kwargs"])}
            _open(missing)
            msg["value"] = like_record(jnp.where(there, msg["value"], self.beyond(missing)), msg["value"])


def _open(msg: Message) -> None:
    """Make an observed site random again."""
    # without a plate the data alone say how many there are
    batch = jnp.shape(msg["value"])[: jnp.ndim(msg["value"]) - msg["fn"].event_dim]
    if batch != tuple(msg["fn"].batch_shape):
        msg["fn"] = msg["fn"].expand(jnp.broadcast_shapes(batch, msg["fn"].batch_shape))
    msg["value"], msg["is_observed"] = None, False


def like_record(value: Array, record: Any) -> Array:
    """The value in the record's type: counts may be recorded as floats, what is true or false as such."""
    kind = jnp.result_type(record)
    return value.astype(kind) if kind == jnp.bool_ or jnp.issubdtype(kind, jnp.floating) else value


def mask_of(fn: Any, shape: tuple[int, ...]) -> Array | None:
    """Which elements of a value of this shape a distribution counts; None where it counts all."""
    there = None
    while isinstance(fn, dist.MaskedDistribution | dist.ExpandedDistribution | dist.Independent):
        if isinstance(fn, dist.MaskedDistribution):
            own = jnp.asarray(fn._mask)
            own = jnp.broadcast_to(own.reshape(own.shape + (1,) * fn.event_dim), shape)
            there = own if there is None else there & own
        fn = fn.base_dist
    return there


def unobserved(model: Model) -> Model:
    """The model with every observed site drawn instead, so that it simulates data where it was given data."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        with Held({}):
            return model(*args, **kwargs)

    return forward
