"""The peer of `dqn_peers.py` on the social resource allocation problem: the DQN of Stable-Baselines3 on one thread.

It needs Stable-Baselines3, torch and bayesalloc with Gymnasium, and prints one line of JSON. The environments are
each a `GymnasiumEnv`, stepped one by one (`DummyVecEnv`); with `--together` all of them are one `GymnasiumVectorEnv`,
stepped by one compiled call, which is the best that can be got out of them there.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import clock
import jax
import numpy as np
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

sys.path.insert(0, str(Path(__file__).parent.parent))
from bayesalloc.agents.gymnasium import GymnasiumEnv, GymnasiumVectorEnv
from bayesalloc.allocators.instances import SWEEP
from bayesalloc.allocators.sequential import environment
from bayesalloc.episodes import Episodes


class Together(VecEnv):
    """A `GymnasiumVectorEnv` as Stable-Baselines3 wants it."""

    def __init__(self, inner: GymnasiumVectorEnv) -> None:
        self.inner = inner
        super().__init__(inner.num_envs, inner.single_observation_space, inner.single_action_space)

    def reset(self) -> np.ndarray:
        """New episodes in all copies."""
        return self.inner.reset(seed=0)[0]

    def step_async(self, actions: np.ndarray) -> None:
        """Remembers what is to be done."""
        self.actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Does it."""
        seen, reward, terminated, truncated, info = self.inner.step(self.actions)
        over = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in over]
        for place in np.flatnonzero(over):
            infos[place] = {
                "terminal_observation": info["final_obs"][place],
                "TimeLimit.truncated": bool(truncated[place]),
            }
        return seen, reward, over, infos

    def close(self) -> None:
        """Nothing to close."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """What SB3 asks for: how to draw, which these do not."""
        return [getattr(self.inner, attr_name, None)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Nothing is set."""

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Nothing is called."""
        return [None] * self.num_envs

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """They are not."""
        return [False] * self.num_envs


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--settings", required=True, help="JSON, as dqn_peers.py gives it")
    parser.add_argument("--steps", type=int, default=8_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--together", action="store_true")
    options = parser.parse_args()
    settings = json.loads(options.settings)
    torch.set_num_threads(1)
    env, horizon, n = environment(SWEEP, settings["rule"]), settings["horizon"], settings["environments"]
    params = Episodes(env, horizon).sample_params(jax.random.key(0))

    if options.together:
        copies: VecEnv = Together(GymnasiumVectorEnv(env, n, horizon, params))
    else:
        copies = DummyVecEnv([lambda: GymnasiumEnv(env, horizon, params)] * n)
    model = DQN(
        "MlpPolicy", copies, learning_rate=settings["learning_rate"], buffer_size=settings["capacity"],
        learning_starts=settings["warmup"], batch_size=settings["batch"], gamma=settings["discount"], train_freq=1,
        gradient_steps=settings["updates"], target_update_interval=settings["target_every"] * n // settings["updates"],
        exploration_fraction=settings["explore_for"], exploration_initial_eps=settings["explore"][0],
        exploration_final_eps=settings["explore"][1], policy_kwargs={"net_arch": settings["layers"]}, device="cpu",
        seed=0,
    )  # fmt: skip

    def more(steps: int) -> None:
        model.learn(steps, reset_num_timesteps=False)

    _, setup = clock.timed(lambda: more(settings["warmup"] + 10 * n))  # compiles the environment, fills the buffer
    row = {"peer": "Stable-Baselines3, " + ("one compiled step" if options.together else "one by one")}
    print(json.dumps(row | {"setup_s": round(setup, 2)} | clock.rates(options.steps, lambda: more(options.steps),
                                                                      options.repeats)))  # fmt: skip


if __name__ == "__main__":
    main()
