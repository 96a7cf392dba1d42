"""What is done to a NumPyro program: interventions that reach every random site, or refuse.

NumPyro's own `do` does nothing, silently, on a site inside `scan`, on a `deterministic` site and on a misspelled name.
An intervention here follows the program into scans and branches, and finding no site is an error. A site is set to a
value, moved by a function of the value it would have had, or drawn from another distribution.
"""

import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike
from numpyro import distributions as dist
from numpyro.primitives import Messenger

from bayesalloc.errors import InterventionError, listed
from bayesalloc.following import Following, Message, Model, like_record

Setting = ArrayLike | Callable[[Array], ArrayLike] | dist.Distribution  # what a site is set to


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Shift:
    """Moves a site by an amount: the function `value + by`.

    Attributes:
        by: what is added; a number, or an array of the site's shape.
    """

    by: Any

    def __call__(self, value: Array) -> Array:
        """The moved value."""
        return value + jnp.asarray(self.by)


def in_words(value: Any) -> str:
    """What a site is set to, as text: a number or list, `+=1`, `Normal(1, 0.2)`, or a function's name.

    >>> in_words(1.0), in_words(Shift(2)), in_words(dist.Normal(1.0, 0.2))
    ('1.0', '+=2', 'Normal(1.0, 0.2)')
    """
    if isinstance(value, Shift):
        return f"+={np.asarray(value.by).tolist()}"
    if isinstance(value, dist.Distribution):
        with jax.ensure_compile_time_eval():  # one covariance may be made from the other on demand
            named = {name: getattr(value, name, None) for name in value.arg_constraints}
            given = [np.asarray(each).tolist() for each in named.values() if each is not None]
        return f"{type(value).__name__}({', '.join(map(str, given))})"
    if callable(value):
        return getattr(value, "__name__", repr(value))
    return str(np.asarray(value).tolist())


class Intervention(Following):
    """The handler behind `do`; what it has met is in `sites` and `reached`, and `check` refuses what was not reached.

    An intervened site becomes a deterministic one: its value is recorded under its own name and its density is gone.
    A program made for any values has numbers that are known only when it runs; where these were `tried` before, which
    found them allowed, only supports are checked then that are not known before either.
    """

    def __init__(
        self,
        data: Mapping[str, Setting],
        *,
        start: int | None = None,
        stop: int | None = None,
        period: Array | None = None,
        horizon: int | None = None,
        tried: bool = False,
        parent: "Intervention | None" = None,
    ) -> None:
        if parent is None:
            _check_periods(start, stop)
            _check_values(data)
        self.data, self.start, self.stop, self.period, self.horizon = data, start, stop, period, horizon
        self.sites: dict[str, str] = {} if parent is None else parent.sites
        self.reached: set[str] = set() if parent is None else parent.reached
        self.tried = tried if parent is None else parent.tried
        super().__init__()

    def inside(self, period: Array | None, horizon: int | None) -> Messenger:
        """See the base class."""
        period, horizon = (self.period, self.horizon) if period is None else (period, horizon)
        return Intervention(self.data, start=self.start, stop=self.stop, period=period, horizon=horizon, parent=self)

    def site(self, msg: Message) -> None:
        """See the base class."""
        if msg["type"] not in ("sample", "deterministic") or msg.get("name") is None:
            return
        name = self.name(msg)
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
            value = jnp.where(self._active(name), value, self.beyond(msg))
        cond_indep_stack = msg["cond_indep_stack"]
        value = value if msg["value"] is None else like_record(value, msg["value"])
        own_name = msg["name"]
        msg.clear()
        msg.update(type="deterministic", name=own_name, value=value, cond_indep_stack=cond_indep_stack)

    def check(self) -> None:
        """Raise InterventionError where a site named in the intervention was never met."""
        missing = set(self.data) - self.reached
        if missing:
            there = listed(k for k, kind in self.sites.items() if kind == "sample")
            raise InterventionError(f"the model has no site '{listed(missing)}'; its random sites are: {there}")

    def _active(self, name: str) -> Array:
        if self.period is None or self.horizon is None:
            raise InterventionError(f"site '{name}' stands outside every scan, so it has no periods to choose from")
        start = 0 if self.start is None else self.start
        stop = self.horizon if self.stop is None else self.stop
        if start >= self.horizon or stop > self.horizon:
            raise InterventionError(
                f"the periods of site '{name}' are 0 to {self.horizon - 1}; the intervention is from {start}"
                f" until before {stop}"
            )
        return (self.period >= start) & (self.period < stop)

    def _value(self, name: str, msg: Message) -> Array:
        fn, given = msg["fn"], self.data[name]
        shape = tuple(msg["kwargs"].get("sample_shape", ())) + tuple(fn.shape())
        if isinstance(given, dist.Delta):
            given = given.v
        if isinstance(given, dist.Distribution):
            return self._drawn(name, msg, given, shape)
        moved = callable(given)
        if moved:
            given = self._moved(name, given, self.beyond(msg))
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
        whole = (self.horizon, *shape) if series else shape
        if self.tried and not moved and _is_known(fn):
            given = jnp.broadcast_to(jnp.asarray(given), whole).astype(_kind(fn))
        else:
            given = self._supported(name, fn, given, whole)
        return given[self.period] if series else given

    def _moved(self, name: str, move: Callable[[Array], ArrayLike], value: Array) -> Array:
        try:
            return jnp.asarray(move(value))
        except (TypeError, ValueError, OverflowError) as error:
            why = str(error).strip().splitlines()[0]
            raise InterventionError(
                f"'{in_words(move)}' makes no numbers of site '{name}' (of shape {value.shape}): {why}"
            ) from None

    def _drawn(self, name: str, msg: Message, given: dist.Distribution, shape: tuple[int, ...]) -> Array:
        while isinstance(given, dist.Independent):  # elements are drawn by themselves in any case
            given = given.base_dist
        if given.event_dim:
            raise InterventionError(
                f"site '{name}' is to be drawn from {type(given).__name__}, whose elements depend on each other; an"
                " intervention draws every element by itself"
            )
        within = _within(_bounds(given.support), _bounds(msg["fn"].support))
        if within is False:
            raise InterventionError(
                f"site '{name}' takes values in {msg['fn'].support} ({type(msg['fn']).__name__}); the intervention"
                f" {in_words(given)} does not keep to them"
            )
        try:
            fn = given.expand(shape)
        except (ValueError, TypeError):
            raise InterventionError(
                f"site '{name}' has shape {shape}; the intervention {in_words(given)} has {given.batch_shape}"
            ) from None
        own = {"name": f"do {msg['name']}", "fn": fn, "value": None, "is_observed": False}
        drawn = jnp.asarray(self.beyond({**msg, **own}))
        if within or (self.tried and within is None and _is_known(msg["fn"])):
            return drawn.astype(_kind(msg["fn"]))
        return self._supported(name, msg["fn"], drawn, shape)

    def _supported(self, name: str, fn: Any, given: ArrayLike, shape: tuple[int | None, ...]) -> Array:
        message = f"site '{name}' takes values in {fn.support} ({type(fn).__name__})"
        with jax.ensure_compile_time_eval():  # inside a scan or jit, check at once whatever is already known
            try:
                value = jnp.broadcast_to(jnp.asarray(given), shape)
            except OverflowError:
                raise InterventionError(f"{message}; the intervention is {given}, which 32 bits cannot hold") from None
            ok = jnp.all(fn.support(value)) & jnp.all(jnp.isfinite(value))
        if not isinstance(ok, Tracer) and not bool(ok):
            raise InterventionError(f"{message}; the intervention is {np.asarray(given).tolist()}")
        value = value.astype(_kind(fn))
        # bounds or values known only when the program runs are checked then
        return eqx.error_if(value, ~ok, f"{message}; the intervention leaves them") if isinstance(ok, Tracer) else value


def numbers(data: Mapping[str, Setting]) -> dict[str, Any]:
    """The settings that are numbers or shifts, as arrays: what a program made for any numbers takes as an argument."""
    return {
        name: Shift(jnp.asarray(value.by)) if isinstance(value, Shift) else jnp.asarray(value)
        for name, value in data.items()
        if isinstance(value, Shift) or not callable(value)
    }


def _kind(fn: Any) -> Any:
    """The type of a distribution's values."""
    return jnp.result_type(int if fn.support.is_discrete else float)


def _is_known(fn: Any) -> bool:
    """Whether a distribution's support does not wait for the program to run."""
    with jax.ensure_compile_time_eval():
        return not isinstance(fn.support(jnp.zeros(fn.shape())), Tracer)


def _check_periods(start: int | None, stop: int | None) -> None:
    for name, period in {"start": start, "stop": stop}.items():
        try:
            counted = period is None or operator.index(period) >= 0
        except TypeError:
            counted = False
        if not counted:
            raise InterventionError(f"{name} is {period!r}; periods are whole numbers, counted from 0")
    if stop is not None and stop <= (start or 0):
        raise InterventionError(f"the intervention ends before period {stop}, and starts in period {start or 0}")


def _check_values(data: Mapping[str, Any]) -> None:
    for name, value in data.items():
        if (callable(value) and not isinstance(value, type)) or isinstance(value, Tracer):
            continue
        try:
            kind = np.asarray(value).dtype.kind
        except ValueError:  # rows of different lengths
            kind = "O"
        if kind not in "biuf" or isinstance(value, type):
            raise InterventionError(
                f"site '{name}' is set to {value!r}, which is neither numbers, a function of numbers nor a distribution"
            )


def _bounds(support: Any) -> tuple[Any, Any, bool] | None:
    """Lowest and highest value of a one-dimensional support, and whether it holds whole numbers only."""
    c = dist.constraints
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    if isinstance(support, type(c.real)):
        return -np.inf, np.inf, False
    if isinstance(support, type(c.boolean)):
        return 0, 1, True
    low, high = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    if low is None and high is None:
        return None
    return -np.inf if low is None else low, np.inf if high is None else high, bool(support.is_discrete)


def _within(inner: tuple[Any, Any, bool] | None, outer: tuple[Any, Any, bool] | None) -> bool | None:
    """Whether one support lies in another; None where that is known only when the program runs."""
    if inner is None or outer is None or (outer[2] and not inner[2]):
        return False
    if any(isinstance(bound, Tracer) for bound in (*inner, *outer)):
        return None
    return bool(np.all(inner[0] >= outer[0]) and np.all(inner[1] <= outer[1]))


def do(model: Model, data: Mapping[str, Setting], *, start: int | None = None, stop: int | None = None) -> Model:
    """The model under an intervention (Pearl's do-operator) that reaches every random site, or refuses.

    Sites inside `scan` and `cond` are reached too. An intervened site's value is recorded under its own name, as a
    deterministic site, and its density no longer counts.

    Args:
        model: a NumPyro model function.
        data: site -> value, a function of the value that the site would have had, or a NumPyro distribution to draw
            every element from. A value has the site's shape, or broadcasts to it; for a site inside a scan it may also
            have a leading axis of one value per period.
        start: first period of the intervention, counted from 0, for sites inside a scan; None: from the beginning.
            Before it everything is as without the intervention, draw by draw.
        stop: the period before which it ends; None: to the end.

    Returns:
        A model function with the same arguments.

    Raises:
        InterventionError: at once for values that are not numbers and periods that are reversed or negative; when the
            model runs, for an unknown or deterministic site, a wrong shape, values outside the support, or periods
            that the site does not have.

    Source: Pearl (2009), Causality, 2nd ed., section 3.2.

    >>> import jax, numpyro, numpyro.distributions as dist
    >>> from bayesalloc.following import seed_by_name
    >>> def model(): return 2.0 * numpyro.sample("x", dist.Normal())
    >>> float(seed_by_name(do(model, {"x": 3.0}), jax.random.key(0))())
    6.0
    """
    Intervention(data, start=start, stop=stop)  # refuses at once what it can

    @functools.wraps(model, updated=())
    def intervened(*args: Any, **kwargs: Any) -> Any:
        intervention = Intervention(data, start=start, stop=stop)
        with intervention:
            result = model(*args, **kwargs)
        intervention.check()
        return result

    return intervened
