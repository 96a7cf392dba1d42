"""Environments for Gymnasium's agents: one at a time, or many copies in one compiled step.

Needs the extra `rl`: pip install 'bayesalloc[rl]'.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from bayesalloc.agents.adapter import Playing, Program, Seen, compiled, key_of
from bayesalloc.environment import Environment
from bayesalloc.errors import InputError

try:
    from gymnasium import Env
    from gymnasium.error import ResetNeeded
    from gymnasium.spaces import Box, Discrete
    from gymnasium.utils.seeding import np_random
    from gymnasium.vector import AutoresetMode, VectorEnv
    from gymnasium.vector.utils import batch_space
except ModuleNotFoundError as error:
    raise InputError("this adapter needs Gymnasium: pip install 'bayesalloc[rl]'") from error


class GymnasiumEnv(Env[np.ndarray, np.int64]):
    """One actor in an environment, as `gymnasium.Env`.

    Actions are the numbers of the mask's places. Where the environment's named actions (`env.arms(None)`) are whole
    numbers, `step` takes the number itself; otherwise number k stands for the k-th named action: on the watershed 0 is
    cost_sharing. An action that the mask forbids is passed on, and what it does is for the environment to say: agents
    that can avoid it read `info["action_mask"]`, or call `action_masks()`, as MaskablePPO does.

    `info["reward"]` is the reward per agent or objective. An episode's randomness is a function of the seed given to
    `reset`; a reset without one goes on to the next episode of the same sequence.

    Args:
        env: the environment; it must have `observe` and `reward`.
        horizon: periods until an episode is truncated.
        params: the environment's parameters; None: each episode has its own, drawn from the prior.
        scalarise: `reward per agent or objective -> number`, in JAX; default: their sum.
        low: least observed values, a number or shape (n_values,).
        high: the largest, likewise.

    Raises:
        InputError: where the environment cannot be acted in, or by one actor.

    >>> import bayesalloc
    >>> env = GymnasiumEnv(bayesalloc.load_model("watershed"), horizon=20)
    >>> observation, info = env.reset(seed=1)
    >>> observation.shape, info["action_mask"].tolist()
    ((3,), [True, True, True])
    >>> observation, reward, terminated, truncated, info = env.step(1)  # a year under the performance contract
    """

    metadata = {"render_modes": []}

    def __init__(
        self,
        env: Environment,
        horizon: int,
        params: Any = None,
        *,
        scalarise: Callable[[Array], Array] = jnp.sum,
        low: float | Sequence[float] | np.ndarray = -np.inf,
        high: float | Sequence[float] | np.ndarray = np.inf,
    ) -> None:
        self._program = compiled(env, horizon, scalarise=scalarise)
        self._params = params
        self._playing: Playing | None = None
        self._over = True
        self._mask = np.zeros(0, bool)
        self.observation_space, self.action_space = _spaces(env, self._program, low, high)
        self._n_actions = int(self.action_space.n)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A new episode: the first observation, and the mask in info. There are no options to choose from."""
        super().reset(seed=seed)
        key = self._playing.next_key if self._playing and seed is None else key_of(self.np_random)
        self._playing, seen = self._program.start(key, self._params)
        values, self._mask = jax.device_get(seen)
        self._over = False
        return np.array(values), {"action_mask": self.action_masks()}

    def step(self, action: np.integer | np.ndarray | int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One period: observation, reward, terminated (the problem is over), truncated (the horizon), info."""
        if self._playing is None or self._over:
            raise ResetNeeded("the episode is over or not begun: call reset() before step()")
        if not 0 <= action < self._n_actions:
            raise InputError(f"action is {action}; it must be 0 to {self._n_actions - 1}")
        state, stepped = self._program.step(self._playing, np.int32(action))
        self._playing = self._playing._replace(state=state)
        (values, self._mask), reward, rewards, terminated, truncated = jax.device_get(stepped)
        self._over = bool(terminated or truncated)
        info = {"action_mask": self.action_masks(), "reward": np.array(rewards)}
        return np.array(values), float(reward), bool(terminated), bool(truncated), info

    def action_masks(self) -> np.ndarray:
        """Which actions are available now, shape (n_actions,)."""
        return np.array(self._mask)


class GymnasiumVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Many copies of an environment in one compiled step, as `gymnasium.vector.VectorEnv`.

    A copy whose episode ended starts the next one in the same step (`AutoresetMode.SAME_STEP`): the observation is then
    the new episode's first, the one that the action led to is in `info["final_obs"]`, and its mask in
    `info["final_info"]`. Copy i, seeded with an integer, is `GymnasiumEnv` seeded with seed + i, episode after episode.

    Args:
        env: as in `GymnasiumEnv`, as are the other arguments.
        num_envs: number of copies.
        horizon: periods until an episode is truncated.
        params: the parameters of every copy; None: each episode has its own, drawn from the prior.
        scalarise: `reward per agent or objective -> number`, in JAX; default: their sum.
        low: least observed values.
        high: the largest.

    Raises:
        InputError: as `GymnasiumEnv`, and where there are no copies.

    >>> import bayesalloc
    >>> envs = GymnasiumVectorEnv(bayesalloc.load_model("watershed"), 64, horizon=20)
    >>> observations, info = envs.reset(seed=1)
    >>> observations, rewards, terminated, truncated, info = envs.step(np.ones(64, int))
    >>> rewards.shape, info["reward"].shape  # in all, and per stakeholder
    ((64,), (64, 5))
    """

    def __init__(
        self,
        env: Environment,
        num_envs: int,
        horizon: int,
        params: Any = None,
        *,
        scalarise: Callable[[Array], Array] = jnp.sum,
        low: float | Sequence[float] | np.ndarray = -np.inf,
        high: float | Sequence[float] | np.ndarray = np.inf,
    ) -> None:
        if num_envs < 1:
            raise InputError(f"num_envs is {num_envs}; it must be at least 1")
        self._program = compiled(env, horizon, scalarise=scalarise)
        self._params = params
        self._playing: Playing | None = None
        self._mask = np.zeros(0, bool)
        self.num_envs = num_envs
        self.metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space, self.single_action_space = _spaces(env, self._program, low, high)
        self._n_actions = int(self.single_action_space.n)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """New episodes in all copies; `seed` is one for each, or the first of consecutive ones."""
        if options and "reset_mask" in options:
            raise InputError("option 'reset_mask' is for copies reset by hand; these reset themselves when they end")
        if seed is not None:
            seeds = range(seed, seed + self.num_envs) if isinstance(seed, int | np.integer) else seed
            if len(seeds) != self.num_envs:
                raise InputError(f"there are {len(seeds)} seeds; it must be {self.num_envs}, one for each copy")
            super().reset(seed=seeds[0])
            keys = jnp.stack([key_of(np_random(int(one))[0]) for one in seeds])
        elif self._playing is None:
            keys = jax.random.split(key_of(self.np_random), self.num_envs)
        else:
            keys = self._playing.next_key
        self._playing, seen = self._program.start_many(keys, self._params)
        values, self._mask = jax.device_get(seen)
        return np.array(values), self._info(action_mask=self.action_masks())

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One period in every copy: observations, rewards, terminated, truncated, info."""
        if self._playing is None:
            raise ResetNeeded("the episodes are not begun: call reset() before step()")
        numbers = np.asarray(actions, np.int32)
        if numbers.shape != (self.num_envs,) or numbers.min() < 0 or numbers.max() >= self._n_actions:
            raise InputError(f"actions must be {self.num_envs} numbers from 0 to {self._n_actions - 1}")
        self._playing, seen, stepped = self._program.step_many(self._playing, numbers, self._params)
        (values, self._mask), (final, reward, rewards, terminated, truncated) = jax.device_get((seen, stepped))
        info = self._info(action_mask=self.action_masks(), reward=np.array(rewards))
        over = terminated | truncated
        if over.any():
            info |= _of_the_ended(over, final, rewards)
        return np.array(values), np.array(reward, float), np.array(terminated), np.array(truncated), info

    def action_masks(self) -> np.ndarray:
        """Which actions are available now, shape (num_envs, n_actions)."""
        return np.array(self._mask)

    def _info(self, **fields: np.ndarray) -> dict[str, Any]:
        """Info of all copies; Gymnasium's `_name` says which copies have a field: all."""
        return fields | {f"_{name}": np.ones(self.num_envs, bool) for name in fields}


def _of_the_ended(over: np.ndarray, final: Seen, rewards: np.ndarray) -> dict[str, Any]:
    """Info of the copies whose episode ended, in Gymnasium's form: None, or zeros, for the others."""
    final_obs = np.full(len(over), None, object)
    for place in np.flatnonzero(over):
        final_obs[place] = np.array(final.values[place])
    final_info: dict[str, Any] = {}
    for name, field in {"action_mask": final.mask, "reward": rewards}.items():
        there = over.reshape(-1, *[1] * (field.ndim - 1))
        final_info |= {name: np.where(there, field, np.zeros_like(field)), f"_{name}": over.copy()}
    return {"final_obs": final_obs, "_final_obs": over.copy(), "final_info": final_info, "_final_info": over.copy()}


def _spaces(env: Environment, program: Program, low: Any, high: Any) -> tuple[Box, Discrete]:
    shape, of_mask = program.seen.values.shape, program.seen.mask.shape
    if len(of_mask) != 1:
        raise InputError(f"{env.name} has several actors (a mask of shape {of_mask}): see bayesalloc.agents.pettingzoo")
    least, largest = (np.broadcast_to(np.asarray(bound, np.float32), shape) for bound in (low, high))
    return Box(least, largest, dtype=np.float32), Discrete(of_mask[0])
