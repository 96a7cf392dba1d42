"""How sure an expected return is: n-step returns from the start with intervals, and how far off values can leave them.

The n-step return is sum over k < n of d^k r_k + d^n V(s_n) with the network's value V, whose error therefore counts
d^n-fold: more steps mean less of what was learned and more of chance.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayesalloc.agents.copies import opened
from bayesalloc.agents.pareto.networks import Heads, greedy, together
from bayesalloc.defaults import INTERVAL
from bayesalloc.episodes import Episodes
from bayesalloc.errors import InputError
from bayesalloc.programs import once

AHEAD = (1, 3, 5, 10)
RESAMPLES = 1_000


class Bounds(NamedTuple):
    """The n-step returns at the start, a row for each n.

    Attributes:
        ahead: n.
        mean: over seeds and episodes.
        low, high: of the equal-tailed interval of that mean, by resampling the episodes of each seed.
        bound: d^n max |V(s_n) - the return from there|, the largest that the value's error and chance together made
            the n-step return of an episode differ from the return itself.
    """

    ahead: tuple[int, ...]
    mean: Float[np.ndarray, "n objective"]
    low: Float[np.ndarray, "n objective"]
    high: Float[np.ndarray, "n objective"]
    bound: Float[np.ndarray, "n objective"]


@once
def played(
    episodes: Episodes, network: Heads, weights: Float[Array, " objective"], rng_key: Array, count: int, steps: int
) -> tuple[Float[Array, "episode step objective"], Float[Array, "episode state objective"]]:
    """Rewards of episodes without chance in what is done, and the network's value of each state, the last one too.

    Args:
        episodes: of the environment; none of them ends.
        network: what acts.
        weights: for which.
        rng_key: a key.
        count: how many.
        steps: of each.
    """
    begin, go = jax.random.split(rng_key)
    params, seen, state = opened(episodes, count, None, begin)

    @jax.vmap
    def valued(seen: Array, mask: Array) -> tuple[Array, Array]:
        heads = network(seen, weights)
        action = greedy(heads, weights, mask)
        return action, together(heads, action)

    def step(carry: tuple, key: Array) -> tuple[tuple, tuple[Array, Array]]:
        seen, state = carry
        action, value = valued(*seen)
        seen, state, reward, *_ = jax.vmap(episodes.advance)(jax.random.split(key, count), state, action, params)
        return (seen, state), (reward, value)

    (seen, _), (rewards, values) = jax.lax.scan(step, (seen, state), jax.random.split(go, steps))
    values = jnp.concatenate([values, valued(*seen)[1][None]])
    return jnp.moveaxis(rewards, 0, 1), jnp.moveaxis(values, 0, 1)


def n_step_bounds(
    rewards: Float[np.ndarray, "seed episode step objective"],
    values: Float[np.ndarray, "seed episode state objective"],
    discount: float,
    rng: np.random.Generator,
    *,
    ahead: Sequence[int] = AHEAD,
    resamples: int = RESAMPLES,
    interval: float = INTERVAL,
) -> Bounds:
    """Mean n-step returns at the start, with intervals.

    Args:
        rewards: of some episodes by each of some seeds.
        values: of their states, one more than there are steps; what comes after the last step is its value.
        discount: of a reward one step later.
        rng: of the resamples.
        ahead: which n.
        resamples: how many.
        interval: its probability.

    Raises:
        InputError: where an n is longer than the episodes.
    """
    seeds, count, steps = rewards.shape[:3]
    if not 1 <= min(ahead) <= max(ahead) <= steps:
        raise InputError(f"ahead is {list(ahead)}; episodes have {steps} steps, so it must be from 1 to {steps}")
    rewards, values = np.asarray(rewards, float), np.asarray(values, float)
    left = [values[:, :, -1]]  # returns from each state on, from the last one backwards
    for step in reversed(range(steps)):
        left.append(rewards[:, :, step] + discount * left[-1])
    returns = np.stack(left[::-1], axis=2)
    chosen = rng.integers(count, size=(resamples, seeds, count))
    rows = []
    for n in ahead:
        factors = discount ** np.arange(n)
        each = np.einsum("k,seko->seo", factors, rewards[:, :, :n]) + discount**n * values[:, :, n]
        means = np.stack([each[seed][chosen[:, seed]].mean(1) for seed in range(seeds)]).mean(0)
        low, high = np.quantile(means, [(1 - interval) / 2, (1 + interval) / 2], axis=0)
        bound = discount**n * np.abs(values[:, :, n] - returns[:, :, n]).max((0, 1))
        rows.append((each.mean((0, 1)), low, high, bound))
    return Bounds(tuple(ahead), *map(np.stack, zip(*rows, strict=True)))
