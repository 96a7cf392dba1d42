"""The impact function as a black box, in `altruism.py`: a Gaussian process over allocations, of totals alone.

What the funder has are the totals of past rounds: the reported impact of a round's projects, times those funded over
those that have reported. A round counts from SETTLED rounds later on, and its total is brought up to date as further
reports arrive. The first BEGUN rounds, and any before two totals are there, mix the usual rules at random; then the
allocation with the largest mu + sigma / beta of `impact.blackbox` is given, but for what projects that are off would
get. After those it knows neither projects nor what was thought of them. Its hyperparameters are learned when the
spreads of Bayesian optimisation are. Only the last KEPT totals are looked at.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayesalloc.impact.blackbox import Hyperparameters, fitted, simplex
from bayesalloc.impact.loop import LEARN_AT, LEAST_ROUNDS, History, nothing_yet
from bayesalloc.impact.rules import RULES
from bayesalloc.impact.seeking import proposed
from bayesalloc.models.funding.bomara import OWN, with_round
from bayesalloc.models.funding.world import CONSTANTS, World
from bayesalloc.stepping import Hosted, Standing

BEGUN, SETTLED, KEPT = 8, 6, 192


class Memory(NamedTuple):
    """Rounds so far, the usual rules' splits at the outset, and each world's hyperparameters."""

    history: History
    rules: Float[np.ndarray, "world rule project"]
    learned: list[Hyperparameters | None]
    rounds: int = 0


def black_box(world: World) -> Hosted:
    """The black box as a policy.

    Args:
        world: what the worlds are like; only the number of projects is looked at.
    """
    n = world.n_projects
    space = simplex(np.zeros(n), np.ones(n))

    def start(standing: Standing) -> Memory:
        params = standing.params
        everywhere = jnp.ones_like(params.room_seen, bool)
        splits = [
            jax.vmap(lambda effect, room, on, rule=rule: rule(effect, room, on, 1.0))(
                params.effect_expected, params.room_seen, everywhere
            )
            for rule in RULES.values()
        ]
        worlds = len(everywhere)
        return Memory(nothing_yet(worlds, LEAST_ROUNDS, n), np.stack(splits, 1), [None] * worlds)

    def act(memory: Memory, standing: Standing) -> tuple[Array, Memory]:
        number, learned, shares = memory.rounds, [*memory.learned], []
        for at, key in enumerate(standing.noise_key):
            key = jax.random.fold_in(jax.random.fold_in(key, OWN), number)
            points, totals = settled(memory.history, at, number)
            if number < BEGUN or len(totals) < 2:
                weight = np.random.default_rng(np.asarray(jax.random.key_data(key))).dirichlet(np.ones(len(RULES)))
                shares.append(weight @ memory.rules[at])
                continue
            again = learned[at] is None or number in LEARN_AT
            belief = fitted(points, totals, space, hyperparameters=None if again else learned[at])
            learned[at] = belief.hyperparameters
            shares.append(proposed(belief, key, "ucb").point)
        share = np.where(np.asarray(standing.state.on), np.stack(shares), 0.0)
        share = share / np.maximum(share.sum(1, keepdims=True), 1e-30)
        return jnp.asarray(share, jnp.float32), memory._replace(learned=learned)

    def told(memory: Memory, happened: Any) -> Memory:
        history = with_round(memory.history, memory.rounds, happened)
        return memory._replace(history=history, rounds=memory.rounds + 1)

    return Hosted(start, act, told)


def settled(
    history: History, world: int, now: int
) -> tuple[Float[np.ndarray, "total project"], Float[np.ndarray, " total"]]:
    """Allocations of a world's rounds that count by now, and their totals; those without any report are left out."""
    rounds = slice(max(0, now - SETTLED - KEPT), max(0, now - SETTLED))
    amount, there = history.amount[world, rounds], history.arrival[world, rounds] <= now
    reported = np.where(there, np.exp(history.log_report[world, rounds]), 0.0).sum(1)
    funded, count = (amount >= CONSTANTS["least_reported"]).sum(1), there.sum(1)
    kept = count > 0
    points = amount[kept] / amount[kept].sum(1, keepdims=True)
    return points, (reported * funded / np.maximum(count, 1))[kept]
