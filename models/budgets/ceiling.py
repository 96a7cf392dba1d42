"""What fixed plans bring in the organisation of `budget.py`, made for any weights by who knows the world.

A plan is a target for each department that is moved to in steps of at most 5 % and then kept. The best one is found by
gradient ascent through the world itself, on the same courses of chance for every plan; a linear programme knows true
slopes only. Rewards are means by the quarter over the first `QUARTERS`. What the best plans bring is a ceiling for
plans, not for whoever reacts to what happens.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float
from scipy.optimize import linprog

from bayesalloc.environment import Environment
from bayesalloc.models.budgets import rewards
from bayesalloc.models.budgets.decisions import REACH, SLACK, decide
from bayesalloc.models.budgets.world import DEPARTMENTS, TABLE, lasting_effects
from bayesalloc.programs import once
from bayesalloc.simulate import Scenario, hold, rollout, trajectory

QUARTERS = 20
REFERENCE = np.array([-3.0, -6.0, -4.0])  # efficiency, risk and performance from which a hypervolume is counted
RATE = 1.0  # % by the step at first, of Adam


def lattice(parts: int) -> Float[np.ndarray, "weight objective"]:
    """All weights of the three objectives that are multiples of 1 / parts.

    >>> lattice(1).tolist()
    [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    pairs = [(a, b) for a in range(parts + 1) for b in range(parts + 1 - a)]
    return np.array([(a, b, parts - a - b) for a, b in pairs], float) / parts


def best_targets(
    env: Environment,
    weights: Float[np.ndarray, "weight objective"],
    rng_key: Array,
    *,
    steps: int = 300,
    replicates: int = 32,
) -> Float[np.ndarray, "weight department"]:
    """The fixed plan of the largest weighted reward, for each of some weights; % from plan.

    Args:
        env: the organisation.
        weights: of the objectives.
        rng_key: of the quarters of chance, which differ from those of any other key.
        steps: of gradient ascent.
        replicates: courses of chance that a step's gradient is a mean over, the same in every step.
    """
    return np.asarray(_ascended(env, jnp.asarray(weights, jnp.float32), rng_key, steps, replicates))


@once
def _ascended(env: Environment, weights: Array, rng_key: Array, steps: int, replicates: int) -> Array:
    keys, template = jax.random.split(rng_key, replicates), decide()
    optimiser = optax.adam(optax.cosine_decay_schedule(RATE, steps, 0.02))

    def lost(targets: Array) -> Array:
        def of_one(target: Array, weight: Array, key: Array) -> Array:
            quarters = trajectory(env, hold, template._replace(target=target), key, Scenario(QUARTERS, params=()))
            assert env.reward is not None
            return weight @ jax.vmap(env.reward)(quarters).mean(0)

        of_all = jax.vmap(jax.vmap(of_one, in_axes=(None, None, 0)), in_axes=(0, 0, None))
        return -of_all(targets, weights, keys).mean(1).sum()

    def step(carry: tuple[Array, Any], _: None) -> tuple[tuple[Array, Any], None]:
        targets, memory = carry
        updates, memory = optimiser.update(jax.grad(lost)(targets), memory)
        return (jnp.clip(targets + jnp.asarray(updates), -REACH, REACH), memory), None

    start = jnp.zeros((len(weights), len(DEPARTMENTS)))
    (targets, _), _ = jax.lax.scan(step, (start, optimiser.init(start)), None, length=steps)
    return targets


def linear_targets(
    weights: Float[np.ndarray, "weight objective"], effects: Float[np.ndarray, "variable department"] | None = None
) -> Float[np.ndarray, "weight department"]:
    """The plan that a linear programme finds, for each of some weights; % from plan.

    It knows how much each department moves each objective, at the plan, and the hard limits.

    Args:
        weights: of the objectives.
        effects: of a percent of each budget on every variable; default: the true ones in the long run.
    """
    moved = jnp.asarray(lasting_effects() if effects is None else effects, jnp.float32)
    nothing = jnp.zeros(())
    base = np.array([TABLE[name].base for name in DEPARTMENTS])

    def objectives(target: Array) -> Array:
        level = moved @ target
        above = rewards.above_plan(level, (jnp.expm1(target / 100.0) * base).sum())
        risk = rewards.risk(level, nothing, nothing, jnp.zeros(len(DEPARTMENTS)))
        return jnp.stack([rewards.efficiency(above), risk, rewards.performance(level)])

    slopes = np.asarray(jax.jacfwd(objectives)(jnp.zeros(len(DEPARTMENTS))), float)
    room, bounds = [100.0 * (SLACK - 1.0) * base.sum()], [(-REACH, REACH)] * len(DEPARTMENTS)
    return np.stack([linprog(-weight @ slopes, A_ub=base[None], b_ub=room, bounds=bounds).x for weight in weights])


def mean_rewards(
    env: Environment, targets: Float[ArrayLike, "plan department"], rng_key: Array, *, replicates: int = 2_000
) -> Float[np.ndarray, "plan objective"]:
    """Mean rewards of fixed plans by the quarter, on common random numbers."""
    template, targets = decide(), jnp.asarray(targets, jnp.float32)
    arms = jax.vmap(lambda target: template._replace(target=target))(targets)

    return by_the_quarter(env, hold, arms, rng_key, replicates)


def by_the_quarter(
    env: Environment, policy: Any, arms: Any, rng_key: Array, replicates: int
) -> Float[np.ndarray, "arm objective"]:
    """Mean rewards of a policy's arms over the first `QUARTERS`, on common random numbers."""

    def collected(quarters: Any) -> Array:
        assert env.reward is not None
        return jax.vmap(jax.vmap(env.reward))(quarters).mean(1)

    means = rollout(
        env, policy, rng_key, arms=arms, replicates=replicates, horizon=QUARTERS, collect=collected, average=True
    )
    return np.asarray(means, float)
