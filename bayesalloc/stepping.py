"""The simulator's replicates, stepped one period at a time from outside JAX, on the random numbers of `rollout`.

For whoever decides in Python between two periods, such as with a Gaussian process in float64. Replicate r in period t
has the noise that it has in a `rollout` of the same key, so what is done to it is paired with what a `rollout` did. The
outcomes are those of `rollout` to the rounding of float32, as other programs may add in another order.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from bayesalloc.environment import Environment
from bayesalloc.errors import InputError
from bayesalloc.following import seed_by_name
from bayesalloc.programs import once
from bayesalloc.simulate import Policy, begun


class Standing(NamedTuple):
    """Where replicates stand between two periods; every array has a leading axis of replicates, but for `period`.

    Attributes:
        noise_key: the key of each replicate's noise.
        params: the environment's parameters.
        state: its state.
        period: number of the period that comes next, from 0.
    """

    noise_key: Array
    params: Any
    state: Any
    period: Array


class Hosted(NamedTuple):
    """A policy that decides in Python for all replicates at once, such as with a Gaussian process in float64.

    What it looks at is for its author to keep to what a decision-maker can see.

    Attributes:
        start: `standing -> memory`, before the first period.
        act: `(memory, standing) -> (actions, memory)`, the actions with a leading axis of replicates.
        told: `(memory, outcomes) -> memory`, when a period is over; its outcomes have a leading axis of replicates.
    """

    start: Callable[[Standing], Any]
    act: Callable[[Any, Standing], tuple[Any, Any]]
    told: Callable[[Any, Any], Any]


class Deciding(NamedTuple):
    """A policy as an arm of a comparison, in the place of an action.

    Attributes:
        policy: what decides, as `rollout` takes it, or hosted.
        given: the arm that the policy is given; None for one that is hosted.
    """

    policy: Policy | Hosted
    given: Any = None


def begin(env: Environment, rng_key: Array, *, replicates: int, futures: int = 1, params: Any = None) -> Standing:
    """The replicates of a `rollout` of this key before their first period.

    Args:
        env: the environment.
        rng_key: a key, as of `rollout`.
        replicates: how many.
        futures: replicates that share each parameter draw.
        params: parameters with a leading axis of ceil(replicates / futures) draws; None: drawn from the prior.

    Raises:
        InputError: where a count is below 1.
    """
    for name, count in {"replicates": replicates, "futures": futures}.items():
        if count < 1:
            raise InputError(f"{name} is {count}; it must be at least 1")
    return _begin(env, jnp.asarray(rng_key), jnp.arange(replicates), futures, params)


def seen(env: Environment, standing: Standing) -> Any:
    """What a decision-maker sees of each replicate before the next period: observations with a leading axis.

    Raises:
        InputError: where the environment has nothing to see.
    """
    if env.observe is None:
        raise InputError(f"{env.name} has no `observe`: nothing is seen of it")
    return _seen(env, standing)


def advance(env: Environment, standing: Standing, actions: Any) -> tuple[Standing, Any]:
    """The next period of every replicate: where they then stand, and the outcomes.

    Args:
        env: the environment.
        standing: where they stand; another action can be tried from the same place.
        actions: of each replicate, with a leading axis.

    >>> import jax, bayesalloc
    >>> env = bayesalloc.load_model("watershed")
    >>> standing = begin(env, jax.random.key(0), replicates=2)
    >>> actions = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), env.arms(["cost_sharing"])["cost_sharing"])
    >>> standing, year = advance(env, standing, actions)
    >>> int(standing.period), year.payoff.shape
    (1, (2, 5))
    """
    return _advance(env, standing, jax.tree.map(jnp.asarray, actions))


def played(
    env: Environment,
    policy: Hosted,
    rng_key: Array,
    *,
    replicates: int,
    horizon: int,
    futures: int = 1,
    params: Any = None,
    collect: Callable[[Any], Any] = lambda outcomes: outcomes,
) -> Any:
    """Outcomes of a hosted policy in every replicate and period, or a part of them: as `rollout` has them of one arm.

    Args:
        env: the environment.
        policy: what decides.
        rng_key: see `begin`, as the others up to `params`.
        replicates: see there.
        horizon: number of periods.
        futures: see there.
        params: see there.
        collect: function of a period's outcomes, which have a leading axis of replicates: what is kept of them.

    Returns:
        What is collected, NumPy arrays of shape (replicate, period, ...).

    Raises:
        InputError: where a count is below 1.
    """
    if horizon < 1:
        raise InputError(f"horizon is {horizon}; it must be at least 1")
    standing = begin(env, rng_key, replicates=replicates, futures=futures, params=params)
    memory = policy.start(standing)
    kept = []
    for _ in range(horizon):
        actions, memory = policy.act(memory, standing)
        standing, outcomes = advance(env, standing, actions)
        memory = policy.told(memory, outcomes)
        kept.append(jax.tree.map(np.asarray, collect(outcomes)))
    return jax.tree.map(lambda *leaves: np.stack(leaves, 1), *kept)


@once
def _begin(env: Environment, rng_key: Array, index: Array, futures: int, params: Any) -> Standing:
    draw = index // futures

    def one(draw: Array, future: Array, params: Any) -> tuple[Array, Any, Any]:
        return begun(env, jax.random.fold_in(rng_key, draw), future, params)

    of_each = jax.tree.map(lambda leaf: jnp.asarray(leaf)[draw], params)
    return Standing(*jax.vmap(one)(draw, index % futures, of_each), jnp.int32(0))


@once
def _seen(env: Environment, standing: Standing) -> Any:
    assert env.observe is not None
    return jax.vmap(env.observe)(standing.state, standing.params)


@once
def _advance(env: Environment, standing: Standing, actions: Any) -> tuple[Standing, Any]:
    def one(noise_key: Array, params: Any, state: Any, action: Any) -> tuple[Any, Any]:
        with seed_by_name(rng_key=jax.random.fold_in(noise_key, standing.period)):
            return env.step(state, action, params)

    state, outcomes = jax.vmap(one)(standing.noise_key, standing.params, standing.state, actions)
    return standing._replace(state=state, period=standing.period + 1), outcomes
