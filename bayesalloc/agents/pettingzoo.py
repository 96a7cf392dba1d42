"""Environments with several actors, for PettingZoo's agents.

Needs the extra `rl`: pip install 'bayesalloc[rl]'.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from bayesalloc.agents.adapter import Playing, compiled, key_of
from bayesalloc.environment import Environment
from bayesalloc.episodes import Episodes
from bayesalloc.errors import InputError, listed

try:
    from gymnasium.error import ResetNeeded
    from gymnasium.spaces import Box, Discrete, Space
    from gymnasium.utils.seeding import np_random
    from pettingzoo import ParallelEnv
except ModuleNotFoundError as error:
    raise InputError("this adapter needs PettingZoo: pip install 'bayesalloc[rl]'") from error


class PettingZooEnv(ParallelEnv[str, np.ndarray, np.int64]):
    """Several actors in an environment, as `pettingzoo.ParallelEnv`: all act in every period, and end together.

    The environment's observation has values of shape (agent, value) and a mask of shape (agent, action), its reward is
    one number per agent, and its `step` takes one whole number per agent, shape (agent,). What an action does that the
    mask (`info[agent]["action_mask"]`) forbids is for the environment to say.

    An episode's randomness is a function of the seed given to `reset`; a reset without one goes on to the next episode
    of the same sequence.

    Args:
        env: the environment.
        horizon: periods until an episode is truncated.
        params: the environment's parameters; None: each episode has its own, drawn from the prior.
        names: the agents' names; default: agent_0, agent_1, ...
        low: least observed values, a number or shape (value,).
        high: the largest, likewise.

    Raises:
        InputError: where the environment cannot be acted in by several, or their number is not that of the names.
    """

    metadata = {"render_modes": [], "name": "bayesalloc"}
    render_mode = None

    def __init__(
        self,
        env: Environment,
        horizon: int,
        params: Any = None,
        *,
        names: Sequence[str] | None = None,
        low: float | Sequence[float] | np.ndarray = -np.inf,
        high: float | Sequence[float] | np.ndarray = np.inf,
    ) -> None:
        episodes = Episodes(env, horizon)
        key = jax.random.key(0)
        sight, _ = jax.eval_shape(lambda key: episodes.reset(key, episodes.sample_params(key)), key)
        shape, of_mask = sight.values.shape, sight.mask.shape
        if len(shape) != 2 or len(of_mask) != 2 or shape[0] != of_mask[0]:
            raise InputError(
                f"{env.name} does not have several actors: the shapes of its values and mask are {shape} and {of_mask},"
                " and they must be (agent, value) and (agent, action)"
            )
        self.possible_agents = [f"agent_{place}" for place in range(shape[0])] if names is None else list(names)
        if len(set(self.possible_agents)) != shape[0]:
            raise InputError(f"{env.name} has {shape[0]} agents; the names are {listed(self.possible_agents)}")
        self._program = compiled(env, horizon, actors=shape[0])
        self._params = params
        self._playing: Playing | None = None
        self.metadata = {**self.metadata, "name": env.name}
        self.agents: list[str] = []
        least, largest = (np.broadcast_to(np.asarray(bound, np.float32), shape[1:]) for bound in (low, high))
        self.observation_spaces = {name: Box(least, largest, dtype=np.float32) for name in self.possible_agents}
        self.action_spaces = {name: Discrete(of_mask[1]) for name in self.possible_agents}
        self._n_actions = of_mask[1]

    def observation_space(self, agent: str) -> Space[np.ndarray]:
        """What an agent's observations are among."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Space[np.int64]:
        """What an agent's actions are among."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """A new episode: the first observations, and the masks in info. There are no options to choose from."""
        key = self._playing.next_key if self._playing and seed is None else key_of(np_random(seed)[0])
        self._playing, seen = self._program.start(key, self._params)
        values, mask = jax.device_get(seen)
        self.agents = list(self.possible_agents)
        return self._by_agent(np.array(values)), self._masks(mask)

    def step(
        self, actions: Mapping[str, int | np.integer]
    ) -> tuple[dict[str, np.ndarray], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """One period in which every agent acts: observations, rewards, terminated, truncated, info, by agent."""
        if self._playing is None or not self.agents:
            raise ResetNeeded("the episode is over or not begun: call reset() before step()")
        if set(actions) != set(self.agents):
            raise InputError(f"actions were given for {listed(actions)}; there must be one for {listed(self.agents)}")
        numbers = np.array([actions[name] for name in self.possible_agents], np.int32)
        if numbers.min() < 0 or numbers.max() >= self._n_actions:
            raise InputError(f"actions are {numbers.tolist()}; each must be 0 to {self._n_actions - 1}")
        state, stepped = self._program.step(self._playing, numbers)
        self._playing = self._playing._replace(state=state)
        (values, mask), _, rewards, terminated, truncated = jax.device_get(stepped)
        if terminated or truncated:
            self.agents = []
        return (
            self._by_agent(np.array(values)),
            self._by_agent(rewards.tolist()),
            dict.fromkeys(self.possible_agents, bool(terminated)),
            dict.fromkeys(self.possible_agents, bool(truncated)),
            self._masks(mask),
        )

    def _by_agent(self, values: Any) -> dict[str, Any]:
        return dict(zip(self.possible_agents, values, strict=True))

    def _masks(self, mask: np.ndarray) -> dict[str, dict[str, Any]]:
        return {name: {"action_mask": row} for name, row in self._by_agent(np.array(mask)).items()}
