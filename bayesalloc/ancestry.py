"""Which sites of a NumPyro program descend from which, read from the program itself and not guessed from draws.

The model is traced once, with every random site opened (nothing is observed) and standing for an operation of its own,
to a jaxpr; what flows into and out of those operations is followed through calls, branches, and loops to a fixpoint.
A dependence that acts with probability 0.001 counts like any other, and a scan that holds two separate chains keeps
them apart. What the walk does not know depends on everything that enters it.
"""

import functools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Primitive, Var, jaxprs_in_params
from jax.interpreters import ad, batching
from numpyro import distributions as dist
from numpyro.primitives import Messenger

from bayesalloc.following import Following, Message, Model, seed_by_name

BACKWARDS = (
    "stands in a scan that runs in reverse, whose draws NumPyro keeps in one order or the other, as the model has it:"
    " scan forwards, over reversed data"
)
Labels = frozenset[Any]  # names of random sites, and `_Data` for what was recorded
NOTHING: Labels = frozenset()


class Site(NamedTuple):
    """One site of a program.

    Attributes:
        kind: "sample", "deterministic" or "param".
        observed: whether the program was given its value (`obs=`, or a handler in it).
        factor: whether it only adds to the density: a `factor`, or a distribution "observed" to be what the program
            computes from other sites.
        horizon: periods of the scan that it stands in, or None.
        backwards: whether that scan runs in reverse.
    """

    kind: str
    observed: bool = False
    factor: bool = False
    horizon: int | None = None
    backwards: bool = False


class Ancestry(NamedTuple):
    """The sites of a program given its data, and what each descends from.

    Attributes:
        sites: every site by name, in the order of the program; those inside `scan` and `cond` too.
        parents: site -> the random sites that its value or its distribution depends on, directly or through others.
        observed: random sites that were given their values.
        latent: random sites that were not.
        lagged: observed sites whose distribution reads the very record that they are observed to be, such as
            the value of the period before (teacher forcing).
        bypassed: observed sites -> other sites that read their record, a column of its own, and not their value: an
            intervention does not go through them there.
    """

    sites: dict[str, Site]
    parents: dict[str, frozenset[str]]
    observed: frozenset[str]
    latent: frozenset[str]
    lagged: frozenset[str]
    bypassed: dict[str, frozenset[str]]


class _Data(NamedTuple):
    """A label: an array of the record, among the model's keywords or kept as a constant of the program."""

    place: int | str
    column: bool


def ancestry(model: Model, data: Mapping[str, Any] | None = None) -> Ancestry:
    """What each site of a model descends from.

    Args:
        model: a NumPyro model function.
        data: its keywords. Arrays are followed where the model allows it, and are constants where it needs their
            values to be built (as shapes, or by NumPy).

    >>> import numpyro, numpyro.distributions as dist
    >>> def model():
    ...     x = numpyro.sample("x", dist.Normal())
    ...     numpyro.sample("y", dist.Bernoulli(logits=x - 9.0))
    >>> ancestry(model).parents["y"]
    frozenset({'x'})
    """
    leaves, shape = jax.tree.flatten(dict(data or {}))
    arrays = [i for i, leaf in enumerate(leaves) if isinstance(leaf, np.ndarray | jax.Array) and np.ndim(leaf) > 0]

    def traced(places: Sequence[int]) -> tuple[Jaxpr, dict[str, Site]]:
        sites: dict[str, Site] = {}

        def run(*given: Any) -> None:
            filled = [*leaves]
            for place, value in zip(places, given, strict=True):
                filled[place] = value
            with seed_by_name(rng_key=jax.random.key(0)), _Opened(sites):
                model(**jax.tree.unflatten(shape, filled))

        return _open(jax.make_jaxpr(run)(*(leaves[place] for place in places))), sites

    followed = _followable(traced, arrays)
    program, sites = traced(followed)
    found: dict[str, list[Labels]] = {}
    _flow(program, [frozenset({_Data(place, np.ndim(leaves[place]) == 1)}) for place in followed], found)
    parents, lagged = {}, set()
    for name, site in sites.items():
        into, record = found.get(name, [NOTHING, NOTHING])
        parents[name] = _names(into | record)
        if any(isinstance(label, _Data) for label in into & record):
            lagged.add(name)
        if site.observed and _computed(record):
            sites[name] = site._replace(factor=True)
    random = {name: site for name, site in sites.items() if site.kind == "sample"}
    observed = frozenset(name for name, site in random.items() if site.observed)
    columns = {name: {label for label in found[name][1] if isinstance(label, _Data) and label.column} for name in found}
    bypassed = {
        name: frozenset(other for other, (into, _) in found.items() if other != name and columns[name] & into)
        for name in observed & set(found)
    }
    return Ancestry(sites, parents, observed, frozenset(random) - observed, frozenset(lagged), bypassed)


def outcomes(found: Ancestry) -> list[str]:
    """Observed sites that a fit is about: they have a latent ancestor, and no observed site descends from them.

    A covariate whose record another reads, and not its site, has a descendant too; not so where each reads the other's
    past.
    """
    has_descendant = {
        name for other in found.observed for name in found.parents[other] if other != name and name in found.observed
    }
    is_read = {
        name
        for name, others in found.bypassed.items()
        if any(other in found.observed and name not in found.bypassed[other] for other in others)
    }
    return [
        name
        for name in found.sites
        if name in found.observed - has_descendant - is_read
        and not found.sites[name].factor
        and found.parents[name] & found.latent
    ]


def _followable(traced: Callable[[Sequence[int]], Any], arrays: Sequence[int]) -> list[int]:
    """Those arrays of the record that the model can be traced with; the others it needs to know."""

    def works(places: Sequence[int]) -> bool:
        try:
            traced(places)
        except Exception:  # whatever the model does with an array that has no values yet: it is kept as a constant
            return False
        return True

    if works(arrays):
        return [*arrays]
    alone = [place for place in arrays if works([place])]
    return alone if works(alone) else []


class _Opened(Following):
    """Every random site becomes an operation that its distribution flows into, and its value out of."""

    def __init__(self, sites: dict[str, Site], horizon: int | None = None) -> None:
        self.sites, self.horizon = sites, horizon
        super().__init__()

    def inside(self, period: Any, horizon: int | None) -> Messenger:
        """See the base class."""
        return _Opened(self.sites, self.horizon if period is None else horizon)

    def site(self, msg: Message) -> None:
        """See the base class."""
        kind = msg["type"]
        if kind not in ("sample", "deterministic", "param"):
            return
        name = self.name(msg)
        if kind == "param":
            if has_values(msg):
                self.sites[name] = Site("param")
            return
        if kind == "deterministic":
            self.sites[name] = Site("deterministic", horizon=self.horizon)
            if msg["value"] is not None and jax.tree.all(jax.tree.map(_is_array, msg["value"])):
                msg["value"] = jax.tree.map(lambda leaf: _through(name, [leaf], [], leaf, fresh=False), msg["value"])
            return
        given, fn = msg["value"], msg["fn"]
        bare = unwrapped(fn)
        factor = isinstance(bare, dist.Unit)
        observed = given is not None
        self.sites[name] = Site("sample", observed, factor, self.horizon, self.backwards)
        like: Any = given
        if not observed:
            shape = tuple(msg["kwargs"].get("sample_shape", ())) + tuple(fn.shape())
            discrete = fn.support is not None and fn.support.is_discrete
            like = jax.ShapeDtypeStruct(shape, jnp.result_type(int if discrete else float))
        # what is drawn does not depend on a mask
        msg["value"] = _through(name, _arrays(bare), [given] if observed else [], like, fresh=not factor)


def has_values(param: Message) -> bool:
    """Whether a `param` is one: a network whose weights have priors leaves an empty one."""
    return not param["args"] or any(_is_array(leaf) for leaf in jax.tree.leaves(param["args"]))


def unwrapped(fn: Any) -> Any:
    """A distribution without the masks, expansions and independent dimensions around it."""
    while isinstance(fn, dist.MaskedDistribution | dist.ExpandedDistribution | dist.Independent):
        fn = fn.base_dist
    return fn


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray | jax.Array | int | float | bool | complex | np.generic)


def _arrays(thing: Any) -> list[Any]:
    """All arrays in a distribution: its leaves, and whatever a class of the user's own keeps as attributes."""
    found: dict[int, Any] = {}
    seen: dict[int, Any] = {}  # kept alive, so that no other part gets the identity of one that is gone

    def visit(part: Any) -> None:
        if id(part) in seen:
            return
        seen[id(part)] = part
        if isinstance(part, jax.Array):
            found[id(part)] = part
        elif isinstance(part, Mapping):
            for each in part.values():
                visit(each)
        elif isinstance(part, list | tuple | set):
            for each in part:
                visit(each)
        elif isinstance(part, FunctionType):
            visit([cell.cell_contents for cell in part.__closure__ or ()])
        elif isinstance(part, MethodType):
            visit([part.__self__, part.__func__])
        elif isinstance(part, functools.partial):
            visit([part.func, part.args, part.keywords])
        elif hasattr(part, "__dict__") and not isinstance(part, type | ModuleType):
            visit(vars(part))

    visit(thing)
    return [*found.values(), *(leaf for leaf in jax.tree.leaves(thing) if isinstance(leaf, jax.Array))]


_site_p = Primitive("site")
_site_p.def_abstract_eval(lambda *given, name, n_law, fresh, shape, dtype: ShapedArray(shape, np.dtype(dtype)))


def _batched(args: Any, dims: Any, *, shape: tuple[int, ...], **parameters: Any) -> tuple[Any, int]:
    size = next(arg.shape[dim] for arg, dim in zip(args, dims, strict=True) if dim is not None)
    return _site_p.bind(*args, shape=(size, *shape), **parameters), 0


def _differentiated(primals: Any, tangents: Any, **parameters: Any) -> tuple[Any, Any]:
    # whatever a derivative is made of depends on what the value does
    return _site_p.bind(*primals, **parameters), _site_p.bind(*primals, **parameters)


batching.primitive_batchers[_site_p] = _batched
ad.primitive_jvps[_site_p] = _differentiated


def _through(name: str, law: Sequence[Any], record: Sequence[Any], like: Any, *, fresh: bool) -> Any:
    """The operation of a site: `law` is what its distribution is made of, `record` the value that it was given."""
    shape, kind = jnp.shape(like), jnp.result_type(like)
    return _site_p.bind(*law, *record, name=name, n_law=len(law), fresh=fresh, shape=shape, dtype=str(kind))


def _union(labels: Iterable[Labels]) -> Labels:
    return functools.reduce(operator.or_, labels, NOTHING)


def _flow(
    jaxpr: Jaxpr, into: Sequence[Labels], found: dict[str, list[Labels]], context: Labels = NOTHING
) -> list[Labels]:
    """Labels of a jaxpr's results, given those of its arguments; what reaches each site is added to `found`.

    `context` is what decides whether the program comes here at all.
    """
    known: dict[Var, Labels] = dict(zip(jaxpr.invars, into, strict=True))
    known |= {var: _constant(var) for var in jaxpr.constvars if getattr(var.aval, "shape", ())}

    def read(atom: Any) -> Labels:
        return NOTHING if isinstance(atom, Literal) else known.get(atom, NOTHING)

    for eqn in jaxpr.eqns:
        labels = [read(atom) for atom in eqn.invars]
        out = _step(eqn, labels, found, context)
        known |= dict(zip(eqn.outvars, out, strict=True))
    return [read(atom) | context for atom in jaxpr.outvars]


def _step(eqn: Any, labels: list[Labels], found: dict[str, list[Labels]], context: Labels) -> list[Labels]:
    """Labels of what one operation gives."""
    parameters, name = eqn.params, eqn.primitive.name
    if eqn.primitive is _site_p:
        return [_at_site(parameters, labels, found, context)]
    if name == "scan":
        return _scan(parameters, labels, found, context)
    if name == "while":
        return _while(parameters, labels, found, context)
    if name == "cond":
        chosen, branches = context | labels[0], parameters["branches"]
        every = [_flow(_open(branch), labels[1:], found, chosen) for branch in branches]
        return [_union(same) for same in zip(*every, strict=True)]
    inner = [_open(part) for part in jaxprs_in_params(parameters)]
    if len(inner) == 1 and len(inner[0].invars) == len(labels) and len(inner[0].outvars) == len(eqn.outvars):
        return _flow(inner[0], labels, found, context)  # a call: jit, custom derivatives, rematerialisation
    everything = _union(labels) | context
    for part in inner:
        _flow(part, [everything] * len(part.invars), found, everything)
    return [everything] * len(eqn.outvars)


def _open(part: Any) -> Jaxpr:
    return part.jaxpr if isinstance(part, ClosedJaxpr) else part


def _at_site(
    parameters: Mapping[str, Any], labels: list[Labels], found: dict[str, list[Labels]], context: Labels
) -> Labels:
    name, n_law = parameters["name"], parameters["n_law"]
    into, record = _union(labels[:n_law]) | context, _union(labels[n_law:])
    before = found.setdefault(name, [NOTHING, NOTHING])
    found[name] = [before[0] | into, before[1] | record]
    if not parameters["fresh"]:
        return into
    # the density of what is only computed says nothing about its value
    return _names(record) if _computed(record) else _names(into | record) | {name}


def _constant(var: Var) -> Labels:
    return frozenset({_Data(str(var), len(getattr(var.aval, "shape", ())) == 1)})


def _names(labels: Labels) -> frozenset[str]:
    return frozenset(label for label in labels if isinstance(label, str))


def _computed(record: Labels) -> bool:
    """Whether what a site was given comes from other sites alone, and not from a record."""
    return bool(record) and record == _names(record)


def _fixpoint(step: Callable[[list[Labels]], list[Labels]], carry: list[Labels]) -> list[Labels]:
    while True:
        after = [a | b for a, b in zip(carry, step(carry), strict=True)]
        if after == carry:
            return carry
        carry = after


def _scan(parameters: Mapping[str, Any], labels: list[Labels], found: Any, context: Labels) -> list[Labels]:
    body = _open(parameters["jaxpr"])
    if "ft_in" in parameters:  # jax 0.12
        n_consts, n_carry = (len(part) for part in parameters["ft_in"].unpack()[:2])
    else:
        n_consts, n_carry = parameters["num_consts"], parameters["num_carry"]
    consts, xs = labels[:n_consts], labels[n_consts + n_carry :]

    def once(carry: list[Labels]) -> list[Labels]:
        return _flow(body, [*consts, *carry, *xs], found, context)

    # where a series starts may come from a record without a recorded lag
    start = [frozenset(label for label in each if isinstance(label, str)) for each in labels[n_consts:][:n_carry]]
    carry = _fixpoint(lambda carry: once(carry)[:n_carry], start)
    return [*carry, *once(carry)[n_carry:]]


def _while(parameters: Mapping[str, Any], labels: list[Labels], found: Any, context: Labels) -> list[Labels]:
    condition, body = _open(parameters["cond_jaxpr"]), _open(parameters["body_jaxpr"])
    a, b = parameters["cond_nconsts"], parameters["body_nconsts"]
    tested, consts = labels[:a], labels[a : a + b]

    def once(carry: list[Labels]) -> list[Labels]:
        goes_on = _union(_flow(condition, [*tested, *carry], found, context)) | context
        return _flow(body, [*consts, *carry], found, goes_on)

    return _fixpoint(once, labels[a + b :])
