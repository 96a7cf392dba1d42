"""Arms of a plain NumPyro model, simulated on common random numbers.

One rule says what is held and what is drawn, however the model spells its time and its groups. Sites that an arm
intervenes on are set in it. What descends from an intervention of any arm is drawn anew in every arm, with the same
random numbers. Every other latent site keeps its posterior value (under the prior, one draw for all arms and futures),
and every other observed site what was recorded. So an arm that leaves a site alone has it as it was.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import shard_map
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array
from numpyro import distributions as dist, handlers

from bayesalloc.ancestry import BACKWARDS, Ancestry, ancestry, has_values
from bayesalloc.effects.arms import REPLICATES, Arm, Simulated
from bayesalloc.errors import InputError, InterventionError, listed
from bayesalloc.following import Following, Held, Message, Model, seed_by_name
from bayesalloc.inference.draws import thinned
from bayesalloc.intervene import Intervention, numbers
from bayesalloc.programs import once
from bayesalloc.sites import site_dims

KEPT = 2**29  # bytes of single elements that are kept; beyond, those of some draws
CHUNK = 2**26  # bytes of outcomes that are simulated at once
FEWEST = 50  # draws from which statistics of single elements are made; with fewer there is only the mean


class Plan(NamedTuple):
    """What happens to each site.

    Attributes:
        latent: sites held at a posterior value or a prior draw.
        recorded: observed sites held at what was recorded.
        drawn: random sites that are drawn anew.
        outcomes: sites that respond, and are numbers.
        warnings: sentences on what was ignored, or needs care.
    """

    latent: list[str]
    recorded: list[str]
    drawn: list[str]
    outcomes: list[str]
    warnings: list[str]


def plan(found: Ancestry, arms: Mapping[str, Arm]) -> Plan:
    """What is held and what is drawn, from what descends from the interventions of all arms together."""
    fixed = {site for arm in arms.values() for site in arm.sites}
    in_all = {site for site in fixed if all(_set(arm.sites.get(site)) for arm in arms.values())}
    moved = {site for arm in arms.values() for site, value in arm.sites.items() if not _set(value)}

    def answers(name: str) -> bool:
        """Whether a site descends from an intervention on another, or through another from one on itself."""
        through = any(name in found.parents[other] for other in found.parents[name] - {name})
        own = through and (name in found.latent or name in moved)  # a record of it stays, unless it is moved from there
        return bool(found.parents[name] & (fixed - {name})) or (own and name in fixed)

    responding = [name for name in found.sites if answers(name)]
    random = [name for name, site in found.sites.items() if site.kind == "sample" and not site.factor]
    kept = [name for name in found.sites if name not in responding and name not in in_all]
    ignored = [name for name in responding if found.sites[name].factor]
    warnings = [
        f"'{name}' only weighs the density (a factor): the intervention changes it, and it is ignored here"
        for name in ignored
    ]
    outcomes = [name for name in responding if name not in fixed and name not in ignored]
    warnings += [
        f"the distribution of '{name}' reads recorded values of '{name}' itself, such as those of the period before,"
        " and those stay as recorded: the effect on it is that of one step only"
        for name in outcomes
        if name in found.lagged
    ]
    for name in [name for name in found.bypassed if name in fixed or name in responding]:
        past = [other for other in found.bypassed[name] if other in responding or other in found.observed]
        if past:
            warnings.append(
                f"the model computes '{listed(past)}' with the recorded values of '{name}' and not with its site: what"
                f" goes through '{name}' is left out of the effect there"
            )
    return Plan(
        latent=[name for name in kept if name in found.latent or found.sites[name].kind == "param"],
        recorded=[name for name in kept if name in found.observed and name in random],
        drawn=[name for name in random if name in responding and name not in in_all],
        outcomes=outcomes,
        warnings=warnings,
    )


def _set(value: Any) -> bool:
    """Whether an arm gives a site a value that does not depend on the one that it would have had."""
    return value is not None and (not callable(value) or isinstance(value, dist.Distribution))


def simulate(
    model: Model,
    arms: Mapping[str, Arm],
    key: Array,
    draws: int,
    futures: int | None,
    data: Mapping[str, Any],
    posterior: xr.DataTree | None,
) -> Simulated:
    """All arms of a plain model; see the top of this file for the rule, and `compare` for the arguments."""
    found = ancestry(model, data)
    sites = plan(found, arms)

    def run(name: str | None, rng_key: Array, held: Mapping[str, Any], given: Any = None) -> dict[str, Any]:
        """One arm's sites, or (None) the model's; `given` are the arms' numbers where they were tried before."""
        fixed = {} if name is None else {**arms[name].sites, **({} if given is None else given[name])}
        intervention = Intervention(fixed, tried=given is not None)
        with handlers.trace() as trace, seed_by_name(rng_key=rng_key), Held(held, sites.drawn), intervention:
            model(**data)
        intervention.check()
        return trace

    held = {} if posterior is None else _posterior_values(sites, found, posterior, draws)
    one = {name: values[0] for name, values in held.items()}
    shapes, dims = _tried(lambda name: run(name, key, one), sites, [*arms])
    fixed = {site for arm in arms.values() for site in arm.sites}
    outcomes = [name for name in sites.outcomes if name in shapes]
    if not fixed:
        raise InputError("no arm intervenes on anything: give a site and its value")
    if not outcomes:
        unused = fixed & found.observed
        hint = f"; the model may compute with the data instead of the value of '{listed(unused)}'" if unused else ""
        raise InputError(
            f"nothing responds to the intervention on '{listed(fixed)}': it has no effect on any site{hint}"
        )

    largest = max((int(np.prod(shape)) for shape in shapes.values()), default=1)
    elements = sum(int(np.prod(shapes[name])) for name in outcomes)
    if futures is None:  # 8 to 32, or as few as 2 where all elements of all draws could not be kept otherwise
        most = KEPT // (4 * elements * len(arms) * draws)
        futures = int(np.clip(REPLICATES // draws, min(8, max(2, most)), min(32, max(2, most))))

    def replicate(draw: Array, held: Mapping[str, Array], rng_key: Array, given: Any) -> dict[str, Any]:
        draw_key = jax.random.fold_in(rng_key, draw)
        if posterior is None:
            natural = run(None, jax.random.fold_in(draw_key, 0), {})
            held = {name: natural[name]["value"] for name in sites.latent}

        def future(index: Array) -> dict[str, Array]:
            traces = {name: run(name, jax.random.fold_in(draw_key, 1 + index), held, given) for name in arms}
            return {site: jnp.stack([_number(traces[name][site]["value"]) for name in arms]) for site in outcomes}

        every = jax.lax.map(future, jnp.arange(futures), batch_size=max(1, min(futures, 2**16 // max(largest, 1))))
        means = {site: _mean(values, 2) for site, values in every.items() if values.ndim > 2}
        return {"values": every, "means": means}

    settings = {name: numbers(arm.sites) for name, arm in arms.items()}
    values, means = _streamed(replicate, held, (key, settings), draws, 4 * elements * len(arms) * futures, largest)
    warnings = [
        *sites.warnings,
        *(
            f"'{name}' responds and is left out: it is no array of real numbers"
            for name in sites.outcomes
            if name not in shapes
        ),
    ]
    some = min(map(len, values.values()))
    if some < draws:
        warnings.append(
            f"single elements rest on {some} of the {draws} draws, to save memory; means over them rest on all"
            if some
            else "single elements are left out, to save memory: there are only means over them"
        )
    return Simulated(
        {name: value for name, value in values.items() if len(value)},
        {},
        means=means,
        dims={name: dims[name] for name in outcomes},
        shapes=shapes,
        held=[*sites.latent, *sites.recorded],
        drawn=[*sites.drawn],
        warnings=warnings,
    )


def _posterior_values(sites: Plan, found: Ancestry, posterior: xr.DataTree, draws: int) -> dict[str, Array]:
    for name in sites.latent:
        if found.sites[name].backwards:
            raise InputError(f"'{name}' {BACKWARDS}")
    samples = thinned(posterior, draws)
    missing = [name for name in sites.latent if name not in samples]
    if missing:
        raise InputError(
            f"the posterior has no site '{listed(missing)}', which the effect needs: it belongs to another model, or"
            " was made with that site summed out"
        )
    return {name: samples[name] for name in sites.latent}


class _Drawable(Following):
    """Refuses what forward simulation cannot draw, by name."""

    def inside(self, period: Any, horizon: int | None) -> Following:
        """See the base class."""
        return _Drawable()

    def site(self, msg: Message) -> None:
        """See the base class."""
        if msg["type"] == "plate":
            size, subsample = msg["args"]
            if subsample is not None and subsample != size:
                raise InputError(
                    f"plate '{self.name(msg)}' takes {subsample} of {size} at random: effects need all of them; give"
                    " the model no subsample_size here"
                )
        elif msg["type"] == "param" and msg["value"] is None and has_values(msg):
            raise InputError(
                f"'{self.name(msg)}' is a parameter without a prior (numpyro.param), which has no value here; give it a"
                " prior, or a posterior that holds it"
            )
        elif msg["type"] == "sample" and msg["value"] is None:
            fn = msg["fn"]
            try:
                jax.eval_shape(lambda key: fn.sample(key, msg["kwargs"].get("sample_shape", ())), jax.random.key(0))
            except NotImplementedError:  # what NumPyro raises of a distribution without random numbers
                raise InputError(
                    f"'{self.name(msg)}' cannot be drawn: {type(fn).__name__} has no random numbers (an improper prior,"
                    " for instance); give it a proper distribution, or, where no intervention reaches it, a posterior"
                ) from None


def _tried(
    run: Callable[[str | None], Mapping[str, Any]], sites: Plan, arms: Sequence[str]
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[str, ...]]]:
    """Shapes of the outcomes that are numbers, and names of their axes; refuses what cannot run."""
    shapes: dict[str, tuple[int, ...]] = {}
    dims: dict[str, tuple[str, ...]] = {}

    def trace() -> None:
        with _Drawable():
            natural = run(None)
            for arm in arms:
                run(arm)
        dims.update(site_dims(natural))
        for name in sites.outcomes:
            value = natural[name]["value"]
            kinds = (np.floating, np.integer, np.bool_)
            if jax.tree.structure(value).num_nodes == 1 and any(jnp.issubdtype(value, kind) for kind in kinds):
                shapes[name] = jnp.shape(value)

    jax.eval_shape(trace)
    return shapes, {name: dims.get(name, ()) for name in shapes}


def _number(value: Any) -> Array:
    """A value as a float; NaN where a whole number is at the end of 32 bits, as a count drawn beyond them is."""
    value = jnp.asarray(value)
    number = value.astype(float)
    if not jnp.issubdtype(value.dtype, jnp.integer):
        return number
    ends = jnp.iinfo(value.dtype)
    return jnp.where((value == ends.max) | ((value == ends.min) & (ends.min < 0)), jnp.nan, number)


def _mean(values: Array, first: int) -> Array:
    """The mean over all axes from `first` on; long sums are made of short ones, which float32 adds more exactly."""
    flat = values.reshape(*values.shape[:first], -1)
    n, block = flat.shape[-1], 256
    flat = jnp.pad(flat, [(0, 0)] * first + [(0, -n % block)])
    return flat.reshape(*flat.shape[:-1], -1, block).sum(-1).sum(-1) / n


def _streamed(
    replicate: Callable[..., dict[str, Any]],
    held: Mapping[str, Array],
    shared: tuple[Any, ...],
    draws: int,
    bytes_per_draw: int,
    largest: int,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Values (of as many draws as memory allows, evenly spaced) and means over elements, chunk by chunk of draws.

    `replicate` is given a draw's number, what is held in it, and what all draws share.
    """
    devices = jax.devices()
    kept = min(draws, KEPT // max(bytes_per_draw, 1))
    kept = kept if kept == draws or kept >= FEWEST else 0
    which = np.linspace(0, draws - 1, kept).round().astype(int)
    size = draws if kept == draws else max(CHUNK // bytes_per_draw, 1)
    size = -(-min(size, draws) // len(devices)) * len(devices)
    batch = int(np.clip(2**18 // max(largest, 1), 1, 64))
    spec, everywhere = PartitionSpec("device"), PartitionSpec()

    @once
    def chunk(index: Array, held: Mapping[str, Array], shared: tuple[Any, ...]) -> dict[str, Any]:
        def shard(index: Array, held: Mapping[str, Array], shared: tuple[Any, ...]) -> dict[str, Any]:
            return jax.lax.map(lambda each: replicate(*each, *shared), (index, held), batch_size=batch)

        mesh, specs = Mesh(np.array(devices), ("device",)), (spec, spec, everywhere)
        return shard_map(shard, mesh=mesh, in_specs=specs, out_specs=spec, check_vma=False)(index, held, shared)

    values: dict[str, list[np.ndarray]] = {}
    means: dict[str, list[np.ndarray]] = {}
    for first in range(0, draws, size):
        index = np.minimum(np.arange(first, first + size), draws - 1)  # padding repeats the last draw
        there = min(size, draws - first)
        part = _finished(chunk, jnp.asarray(index), {name: value[index] for name, value in held.items()}, shared)
        mine = which[(which >= first) & (which < first + there)] - first
        for name, value in part["values"].items():
            values.setdefault(name, []).append(np.asarray(value)[mine if value.ndim > 3 else slice(there)])
        for name, value in part["means"].items():
            means.setdefault(name, []).append(np.asarray(value)[:there])
    joined = [{name: np.concatenate(parts) for name, parts in found.items()} for found in (values, means)]
    return joined[0], joined[1]


def _finished(chunk: Callable[..., dict[str, Any]], *inputs: Any) -> dict[str, Any]:
    """The chunk's results; what was found wrong while it ran is the intervention's fault, in its own words."""
    try:
        return jax.block_until_ready(chunk(*inputs))
    except eqx.EquinoxRuntimeError as error:
        found = re.search(r"site '.*", str(error))  # Equinox writes of stacks around the sentence
        raise InterventionError(found.group() if found else str(error).splitlines()[0]) from None
