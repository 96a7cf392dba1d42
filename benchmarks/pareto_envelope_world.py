"""The organisation for a learner in another process: the half of `pareto_envelope.py` that runs in our environment."""

import sys
from multiprocessing.connection import Client
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import jax.numpy as jnp
import numpy as np

from bayesalloc.agents.hypervolume import hypervolume
from bayesalloc.episodes import Episodes
from bayesalloc.models.budget import environment
from bayesalloc.models.budgets.ceiling import QUARTERS, REFERENCE, lattice
from bayesalloc.models.budgets.world import DEPARTMENTS

N = len(DEPARTMENTS)
EPISODES = Episodes(environment, QUARTERS)
SINGLE = (
    jnp.ones((2 * N + 1, N), jnp.int32).at[np.arange(N), np.arange(N)].set(0).at[N + np.arange(N), np.arange(N)].set(2)
)

reset = jax.jit(jax.vmap(lambda key: EPISODES.reset(key, ())))


@jax.jit
def step(keys, state, actions):
    observation, state, reward, _, truncated, _ = EPISODES.step_many(keys, state, SINGLE[actions], ())
    return observation.values, state, reward, truncated


def main() -> None:
    world, key, state = Client(sys.argv[1], "AF_UNIX"), jax.random.key(7), None
    while True:
        try:
            what, given = world.recv()
        except EOFError:
            return
        key, here = jax.random.split(key)
        if what == "weights":
            world.send(lattice(6))
        elif what == "hypervolume":
            world.send(float(hypervolume(given, REFERENCE)))
        elif what == "reset":
            observation, state = reset(jax.random.split(here, given))
            world.send(np.asarray(observation.values))
        else:
            values, state, reward, over = step(jax.random.split(here, len(given)), state, given)
            world.send((np.asarray(values), np.asarray(reward), np.asarray(over)))


if __name__ == "__main__":
    main()
