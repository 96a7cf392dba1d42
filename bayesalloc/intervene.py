"""What is done to a NumPyro program: interventions that reach every site or refuse, and random numbers by site name.

NumPyro's own `do` does nothing, silently, on a site inside `scan`, on a `deterministic` site and on a misspelled name.
The handlers here go along into the bodies of `scan` and `cond`, and an intervention that finds no site is an error.
"""

import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike
from numpyro import handlers
from numpyro.contrib.control_flow.scan import _subs_wrapper, scan_wrapper
from numpyro.primitives import _PYRO_STACK, Messenger, default_process_message

from bayesalloc.errors import InterventionError, listed

Message = dict[str, Any]
Model = Callable[..., Any]


class Following(Messenger):
    """A handler that follows the program into the bodies of `scan` and `cond`.

    Inside a body, handlers around the scan no longer see its sites: what a `scope` would call them, and what a
    `condition`, `substitute` or `replay` would give them, is brought along.
    """

    scopes: tuple[handlers.scope, ...] = ()

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
            given, inside = self._given(msg), self._within()

            def followed(carry: Any, period_and_x: tuple[Array, Any]) -> Any:
                period, x = period_and_x
                with inside(period, length):
                    return _giving(body, given, period, length)(carry, x)

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

    def _within(self) -> Callable[[Array | None, int | None], Messenger]:
        between = _PYRO_STACK[_PYRO_STACK.index(self) + 1 :]
        scopes = (*(h for h in reversed(between) if isinstance(h, handlers.scope)), *self.scopes)

        def inside(period: Array | None, horizon: int | None) -> Messenger:
            handler = self.inside(period, horizon)
            if isinstance(handler, Following):
                handler.scopes = scopes
            return handler

        return inside


def _giving(body: Model, given: list[tuple[str, Any]], period: Array | None, horizon: int | None) -> Model:
    """A body under the handlers that stood around its control flow, each with the values of the period."""
    for kind, values in given:
        if kind == "replay":
            values = {name: site["value"] for name, site in values.items() if site["type"] == "sample"}
        if period is None:
            choose = partial(_value_in_branch, values)
        else:
            choose = partial(_subs_wrapper, values, period, horizon)
        if kind == "condition":
            body = handlers.condition(body, condition_fn=choose)
        else:
            body = handlers.substitute(body, substitute_fn=choose)
    return body


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


class Intervention(Following):
    """The handler behind `do`; what it has met is in `sites` and `reached`, and `check` refuses what was not reached.

    An intervened site becomes a deterministic one: its value is recorded under its own name and its density is gone.
    """

    def __init__(
        self,
        data: Mapping[str, ArrayLike],
        *,
        start: int | None = None,
        stop: int | None = None,
        period: Array | None = None,
        horizon: int | None = None,
        parent: "Intervention | None" = None,
    ) -> None:
        self.data, self.start, self.stop, self.period, self.horizon = data, start, stop, period, horizon
        self.sites: dict[str, str] = {} if parent is None else parent.sites
        self.reached: set[str] = set() if parent is None else parent.reached
        super().__init__()

    def inside(self, period: Array | None, horizon: int | None) -> Messenger:
        """See the base class."""
        period, horizon = (self.period, self.horizon) if period is None else (period, horizon)
        return Intervention(self.data, start=self.start, stop=self.stop, period=period, horizon=horizon, parent=self)

    def site(self, msg: Message) -> None:
        """See the base class."""
        name = msg.get("name")
        if msg["type"] not in ("sample", "deterministic") or name is None:
            return
        self.sites[name] = msg["type"]
        if name not in self.data:
            return
        if msg["type"] == "deterministic":
            raise InterventionError(
                f"site '{name}' is deterministic: it is computed from other sites, so intervene on one of those"
                f" (random sites met before it: {listed(k for k, kind in self.sites.items() if kind == 'sample')})"
            )
        self.reached.add(name)
        value = self._value(name, msg)
        if self.start is not None or self.stop is not None:
            value = jnp.where(self._active(name), value, self._natural(name, msg))
        cond_indep_stack = msg["cond_indep_stack"]
        msg.clear()
        msg.update(type="deterministic", name=name, value=value, cond_indep_stack=cond_indep_stack)

    def check(self) -> None:
        """Raise InterventionError where a site named in the intervention was never met."""
        missing = set(self.data) - self.reached
        if missing:
            there = listed(k for k, kind in self.sites.items() if kind == "sample")
            raise InterventionError(f"the model has no site '{listed(missing)}'; its random sites are: {there}")

    def _active(self, name: str) -> Array:
        if self.period is None:
            raise InterventionError(f"site '{name}' stands outside every scan, so it has no periods to choose from")
        start = 0 if self.start is None else self.start
        stop = self.horizon if self.stop is None else self.stop
        return (self.period >= start) & (self.period < stop)

    def _value(self, name: str, msg: Message) -> Array:
        fn, given = msg["fn"], self.data[name]
        shape = tuple(msg["kwargs"].get("sample_shape", ())) + tuple(fn.shape())
        series = self.period is not None and np.shape(given) == (self.horizon, *shape)
        try:
            fits = series or np.broadcast_shapes(np.shape(given), shape) == shape
        except ValueError:
            fits = False
        if not fits:
            per_period = f" or {(self.horizon, *shape)} (one per period)" if self.period is not None else ""
            raise InterventionError(
                f"site '{name}' has shape {shape}{per_period}; the intervention has {np.shape(given)}"
            )
        given = self._supported(name, fn, given, (self.horizon, *shape) if series else shape)
        return given[self.period] if series else given

    def _supported(self, name: str, fn: Any, given: ArrayLike, shape: tuple[int | None, ...]) -> Array:
        message = f"site '{name}' takes values in {fn.support} ({type(fn).__name__})"
        with jax.ensure_compile_time_eval():  # inside a scan or jit, check at once whatever is already known
            value = jnp.broadcast_to(jnp.asarray(given), shape)
            ok = jnp.all(fn.support(value)) & jnp.all(jnp.isfinite(value))
        if not isinstance(ok, Tracer) and not bool(ok):
            raise InterventionError(f"{message}; the intervention is {np.asarray(given).tolist()}")
        value = value.astype(jnp.result_type(int) if fn.support.is_discrete else jnp.result_type(float))
        # bounds or values known only when the program runs are checked then
        return eqx.error_if(value, ~ok, message) if isinstance(ok, Tracer) else value

    def _natural(self, name: str, msg: Message) -> Array:
        """The value the site would have had: what the handlers outside this one make of the untouched message."""
        natural = {**msg, "kwargs": dict(msg["kwargs"]), "cond_indep_stack": list(msg["cond_indep_stack"])}
        for handler in reversed(_PYRO_STACK[: _PYRO_STACK.index(self)]):
            handler.process_message(natural)
            if natural.get("stop"):
                break
        if natural["value"] is None and natural["kwargs"].get("rng_key") is None:
            raise InterventionError(
                f"site '{name}' is intervened on in some periods only, which forward simulation can do and inference"
                " cannot: intervene on all periods, or sample the model under a seed"
            )
        default_process_message(natural)
        value: Any = natural["value"]
        return value


def do(model: Model, data: Mapping[str, ArrayLike], *, start: int | None = None, stop: int | None = None) -> Model:
    """The model under an intervention (Pearl's do-operator) that reaches every random site, or refuses.

    Sites inside `scan` and `cond` are reached too. An intervened site's value is recorded under its own name, as a
    deterministic site, and its density no longer counts.

    Args:
        model: a NumPyro model function.
        data: site name -> value. The value has the site's shape, or broadcasts to it; for a site inside a scan it may
            also have a leading axis of one value per period.
        start: first period of the intervention, counted from 0, for sites inside a scan; None: from the beginning.
        stop: the period before which it ends; None: to the end.

    Returns:
        A model function with the same arguments.

    Raises:
        InterventionError: (when the model runs) for an unknown or deterministic site, a wrong shape, a value outside
            the support, or periods asked of a site that has none.

    Source: Pearl (2009), Causality, 2nd ed., section 3.2.

    >>> import jax, numpyro, numpyro.distributions as dist
    >>> def model(): return 2.0 * numpyro.sample("x", dist.Normal())
    >>> float(seed_by_name(do(model, {"x": 3.0}), jax.random.key(0))())
    6.0
    """

    def intervened(*args: Any, **kwargs: Any) -> Any:
        intervention = Intervention(data, start=start, stop=stop)
        with intervention:
            result = model(*args, **kwargs)
        intervention.check()
        return result

    intervened.__name__ = getattr(model, "__name__", "model")
    return intervened


class _Unobserved(Following):
    """Makes observed sites random again, inside scans too."""

    def inside(self, period: Array | None, horizon: int | None) -> Messenger:
        """See the base class."""
        return _Unobserved()

    def site(self, msg: Message) -> None:
        """See the base class."""
        if msg["type"] != "sample" or not msg["is_observed"]:
            return
        # without a plate the data alone say how many there are
        batch = jnp.shape(msg["value"])[: jnp.ndim(msg["value"]) - msg["fn"].event_dim]
        if batch != tuple(msg["fn"].batch_shape):
            msg["fn"] = msg["fn"].expand(jnp.broadcast_shapes(batch, msg["fn"].batch_shape))
        msg["value"], msg["is_observed"] = None, False


def unobserved(model: Model) -> Model:
    """The model with every observed site drawn instead, so that it simulates data where it was given data."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        with _Unobserved():
            return model(*args, **kwargs)

    return forward
