"""The one vectorized simulator: vmap over replicates and arms, scan over periods, in chunks, sharded over devices.

Replicate `r` is future `r % futures` of parameter draw `r // futures`. Its keys depend on those two numbers and on
nothing else, so arms are paired and a replicate stays the same when their number grows. Inside a chunk the replicates
are the last axis of every array: XLA vectorises over the last one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import shard_map
from jax.core import Tracer
from jax.experimental.layout import Layout, with_layout_constraint
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, ArrayLike
from numpyro import handlers
from numpyro.primitives import Messenger

from bayesalloc.environment import Environment
from bayesalloc.errors import InputError
from bayesalloc.following import seed_by_name
from bayesalloc.intervene import Intervention, Setting
from bayesalloc.programs import once
from bayesalloc.threefry import unrolled

CACHED, BUSY = 256, 131_072  # replicates a chunk; on an H100 the larger is 80 times as fast as the smaller


class Remembering(NamedTuple):
    """A policy with a memory, such as a bandit's running means or a recurrent network's state.

    The memory is any structure of arrays that keeps its form; each replicate under each arm has one of its own.

    Attributes:
        start: `(arm, observation) -> memory`, before the first period, from what is then seen.
        act: `(arm, memory, observation, period, key) -> (action, memory)`.
    """

    start: Callable[[Any, Any], Any]
    act: Callable[[Any, Any, Any, Array, Array], tuple[Any, Any]]


Policy = Callable[[Any, Any, Array, Array], Any] | Remembering


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Scenario:
    """What the arms of a simulation have in common.

    Attributes:
        horizon: number of periods.
        params: the environment's parameters; None: drawn from the prior.
        sites: noise to be replayed, site -> values with a leading period axis.
        interventions: site -> value, as in `do`.
        start: first period of the intervention, as in `do`.
        stop: the period before which it ends.
        tried: whether the interventions' numbers were found allowed before, while they were known.

    Where there are many replicates, every array of `params` and `sites` has a leading axis of them, or of parameter
    draws.
    """

    horizon: int = field(metadata={"static": True})
    params: Any = None
    sites: Any = field(default_factory=dict)
    interventions: Any = field(default_factory=dict)
    start: int | None = field(default=None, metadata={"static": True})
    stop: int | None = field(default=None, metadata={"static": True})
    tried: bool = field(default=False, metadata={"static": True})


class _Batch(NamedTuple):
    """How many replicates are simulated, how many at once and where; and whether only their mean is wanted."""

    replicates: int
    futures: int
    chunk_size: int
    devices: int
    average: bool


def hold(action: Any, observation: Any, period: Array, rng_key: Array) -> Any:
    """The policy that takes the same action in every period: `arms` of `rollout` are then the actions themselves."""
    return action


def schedule(actions: Any, observation: Any, period: Array, rng_key: Array) -> Any:
    """The policy that takes a planned action in each period: an arm is actions with a leading period axis."""
    return jax.tree.map(lambda leaf: leaf[period], actions)


def _remembering(policy: Policy) -> Remembering:
    """The policy as one with a memory, which of a plain one is empty."""
    if isinstance(policy, Remembering):
        return policy
    return Remembering(
        start=lambda arm, observation: (),
        act=lambda arm, memory, observation, period, key: (policy(arm, observation, period, key), memory),
    )


class _SideBySide(Messenger):
    """Has every draw's replicates side by side in memory on a processor.

    XLA vectorises over what lies side by side: by itself that would be the agents, or whatever else comes last.
    """

    def postprocess_message(self, msg: dict[str, Any]) -> None:
        """NumPyro's hook."""
        if msg["type"] == "sample" and jax.default_backend() == "cpu":
            msg["value"] = _side_by_side(msg["value"])


@jax.custom_batching.custom_vmap
def _side_by_side(draw: Array) -> Array:
    return draw


@_side_by_side.def_vmap
def _replicates_side_by_side(size: int, batched: list[bool], draw: Array) -> tuple[Array, bool]:
    return with_layout_constraint(draw, Layout((*range(1, draw.ndim), 0))), True


def begun(env: Environment, rng_key: Array, future: ArrayLike, params: Any) -> tuple[Array, Any, Any]:
    """Where a replicate stands before its first period: the key of its noise, its parameters and its state.

    Args:
        env: the environment.
        rng_key: the key of its parameter draw.
        future: which future of the draw it is.
        params: its parameters; None: drawn from the prior.
    """
    noise_key = jax.random.fold_in(rng_key, 1 + future)
    if params is None:
        params = seed_by_name(env.prior, jax.random.fold_in(rng_key, 0))()
    return noise_key, params, seed_by_name(env.initial, noise_key)(params)


def trajectories(
    env: Environment, policy: Policy, arms: Any, rng_keys: Array, futures: Array, scenario: Scenario
) -> Any:
    """A chunk of replicates under every arm: the outcomes with axes period, arm, ..., replicate.

    Args:
        env: the environment.
        policy: `(arm, observation, period, key) -> action`, or one that is `Remembering`.
        arms: what the policy is given, with a leading arm axis: actions for `hold`, or networks' weights, ...
        rng_keys: the key of each replicate's parameter draw.
        futures: which future of its parameter draw each replicate is.
        scenario: what is done to all of them.
    """
    horizon, start, stop = scenario.horizon, scenario.start, scenario.stop
    root = Intervention(scenario.interventions, start=start, stop=stop, horizon=horizon, tried=scenario.tried)
    looks_first = isinstance(policy, Remembering)
    policy = _remembering(policy)

    def begin(key: Array, future: Array, params: Any) -> tuple[Array, Any, Any]:
        with root:
            return begun(env, key, future, params)

    def observed(state: Any, params: Any) -> Any:
        return None if env.observe is None else env.observe(state, params)

    def remember(state: Any, arm: Any, params: Any) -> Any:
        return jax.tree.map(jnp.asarray, policy.start(arm, observed(state, params)))

    def period(carry: Any, arm: Any, noise_key: Array, params: Any, sites: Any, t: Array) -> tuple[Any, Any]:
        state, memory = carry
        key = jax.random.fold_in(noise_key, t)

        def replayed(site: dict[str, Any]) -> Array | None:
            recorded = site["type"] == "sample" and site["name"] in sites
            return sites[site["name"]][t] if recorded else None

        action, memory = policy.act(arm, memory, observed(state, params), t, jax.random.fold_in(key, 0))
        seeded, replay = seed_by_name(rng_key=key), handlers.substitute(substitute_fn=replayed)
        with seeded, replay, root.inside(t, horizon), _SideBySide():
            state, outcome = env.step(state, action, params)
        return (state, memory), outcome

    noise_keys, params, state = jax.vmap(begin, out_axes=(0, -1, -1))(rng_keys, futures, scenario.params)
    n_arms = len(jax.tree.leaves(arms)[0])
    state = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (n_arms, *leaf.shape)), state)
    start_all = jax.vmap(jax.vmap(remember, in_axes=(-1, None, -1), out_axes=-1), in_axes=(0, 0, None))
    of_replicates = jax.vmap(period, in_axes=(-1, None, 0, -1, 0, None), out_axes=-1)
    of_arms = jax.vmap(of_replicates, in_axes=(0, 0, None, None, None, None))

    def together(carry: Any, t: Array) -> tuple[Any, Any]:
        return of_arms(carry, arms, noise_keys, params, scenario.sites, t)

    memory = start_all(state, arms, params) if looks_first else ()  # else what is seen would be traced for nothing
    _, outcomes = jax.lax.scan(together, (state, memory), jnp.arange(horizon))
    root.check()
    return outcomes


def trajectory(
    env: Environment, policy: Policy, arm: Any, rng_key: Array, scenario: Scenario, *, future: ArrayLike = 0
) -> Any:
    """One replicate under one arm: the outcomes with a leading period axis; see `trajectories` for the arguments."""
    given = arm, rng_key, future, scenario.params, scenario.sites
    arms, keys, futures, params, sites = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], given)
    outcomes = trajectories(env, policy, arms, keys, futures, replace(scenario, params=params, sites=sites))
    return jax.tree.map(lambda leaf: leaf[:, 0, ..., 0], outcomes)


def rollout(
    env: Environment,
    policy: Policy,
    rng_key: Array,
    *,
    arms: Any,
    replicates: int,
    horizon: int,
    futures: int = 1,
    params: Any = None,
    sites: Mapping[str, ArrayLike] | None = None,
    interventions: Mapping[str, Setting] | None = None,
    start: int | None = None,
    stop: int | None = None,
    collect: Callable[[Any], Any] | None = None,
    average: bool = False,
    chunk_size: int | None = None,
    devices: int | None = None,
) -> Any:
    """Outcomes of every arm in every replicate and period, or a function of them, or the mean of it, streamed.

    Args:
        env: the environment.
        policy: `(arm, observation, period, key) -> action`, or one that is `Remembering`; `hold` where the arms are
            actions.
        rng_key: a key from `jax.random.key` or `jax.random.PRNGKey`.
        arms: what the policy is given, stacked on a leading axis (see `environment.stack`).
        replicates: number of replicates.
        horizon: number of periods.
        futures: replicates that share each parameter draw.
        params: parameters with a leading axis of ceil(replicates / futures) draws; None: drawn from the prior.
        sites: noise to be replayed, site -> values of shape (draw, period, ...).
        interventions: site -> value, as in `bayesalloc.do`.
        start: first period of the intervention, as in `bayesalloc.do`.
        stop: the period before which it ends.
        collect: function of one replicate's outcomes (all arms, leading axes arm and period); None: the outcomes.
        average: whether to return the mean over replicates of what is collected; memory then does not grow with them.
        chunk_size: replicates simulated at once on one device; None: as many as fit a processor's cache, and on other
            devices as many as keep them busy.
        devices: how many devices to use; None: all.

    Returns:
        What is collected, with a leading replicate axis: the outcomes have shape (replicate, arm, period, ...). Or its
        mean.

    Raises:
        InputError: where a count is below 1.
        InterventionError: see `bayesalloc.do`.
    """
    if chunk_size is None:
        chunk_size = CACHED if jax.default_backend() == "cpu" else BUSY
    for name, count in {"replicates": replicates, "horizon": horizon, "futures": futures, "chunk": chunk_size}.items():
        if count < 1:
            raise InputError(f"{name} is {count}; it must be at least 1")
    scenario = Scenario(horizon, params, dict(sites or {}), dict(interventions or {}), start, stop)
    if interventions:  # refuse at once, while the values are known, what the compiled program could only fail on
        arm, of_one, noise = jax.tree.map(lambda leaf: leaf[0], (arms, params, scenario.sites))
        first = replace(scenario, params=of_one, sites=noise)
        jax.eval_shape(lambda: trajectory(env, policy, arm, rng_key, first))
    n_devices = len(jax.devices()) if devices is None else devices
    batch = _Batch(replicates, futures, min(chunk_size, -(-replicates // n_devices)), n_devices, average)
    arms, scenario = jax.tree.map(lambda leaf: leaf if callable(leaf) else jnp.asarray(leaf), (arms, scenario))
    tried = not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((arms, scenario)))
    scenario = replace(scenario, tried=tried)
    if jax.default_backend() == "cpu":
        return _run_on_cpu(env, policy, collect, unrolled(rng_key), arms, scenario, batch)
    return _run(env, policy, collect, jnp.asarray(rng_key), arms, scenario, batch)


def _simulated(
    env: Environment, policy: Policy, collect: Any, rng_key: Array, arms: Any, scenario: Scenario, batch: _Batch
) -> Any:
    replicates, futures, chunk_size, n_devices, average = batch
    per_device = -(-replicates // (chunk_size * n_devices))
    mesh = Mesh(np.array(jax.devices()[:n_devices]), ("device",))

    def chunk(first: Array) -> Any:
        index = first + jnp.arange(chunk_size)
        padded = jnp.minimum(index, replicates - 1)  # padding repeats the last replicate
        draw = padded // futures
        params, sites = jax.tree.map(lambda leaf: leaf[draw], (scenario.params, scenario.sites))
        keys = jax.vmap(lambda draw: jax.random.fold_in(rng_key, draw))(draw)
        given = replace(scenario, params=params, sites=sites)
        outcomes = trajectories(env, policy, arms, keys, padded % futures, given)
        outcomes = jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), outcomes)
        each = (lambda periods: periods) if collect is None else collect
        if not average:
            return jax.vmap(each, in_axes=-1)(outcomes)
        values = jax.vmap(each, in_axes=-1, out_axes=-1)(outcomes)
        counts = (index < replicates).astype(float)  # XLA adds a long axis number by number, and vectorises a product
        return jax.tree.map(lambda value: value.astype(float) @ counts, values)

    def shard(firsts: Array) -> Any:
        if not average:
            return jax.lax.map(chunk, firsts)
        zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(chunk, firsts[0]))
        sums, _ = jax.lax.scan(lambda acc, first: (jax.tree.map(jnp.add, acc, chunk(first)), None), zero, firsts)
        return jax.tree.map(lambda leaf: leaf[None], sums)

    firsts = jnp.arange(per_device * n_devices) * chunk_size
    spec = PartitionSpec("device")
    parts = shard_map(shard, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)(firsts)
    if average:
        return jax.tree.map(lambda leaf: leaf.sum(0) / replicates, parts)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:replicates], parts)


# Vectors as wide as the processor has them; and sums over agents left to XLA itself, since its library for them would
# have the agents side by side instead of the replicates.
_ON_CPU: dict[str, Any] = {
    "compiler_options": {
        "xla_cpu_prefer_vector_width": 512,
        "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT",
    }
}
_run, _run_on_cpu = once(_simulated), once(_simulated, **_ON_CPU)
