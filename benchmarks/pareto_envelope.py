"""The organisation's office by MORL-baselines' Envelope, and what its policies bring: the peer's half.

Envelope has one action a step, so it may move one department (lower or raise) or none: 41 actions. The organisation
runs in another process, `pareto_envelope_world.py`, as MORL-baselines needs Python 3.11 and an environment of its own
(`pip install morl-baselines==1.3.0` and PyTorch). Setting `usual` is the library's, `small` nearer to ours.

    .venv-peers/bin/python benchmarks/pareto_envelope.py --ours .venv/bin/python
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from multiprocessing.connection import Listener
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium
import numpy as np
import torch
from morl_baselines.multi_policy.envelope.envelope import Envelope

HERE = Path(__file__).parent
SEEN, ACTIONS, OBJECTIVES, QUARTERS = 52, 41, 3, 20
SETTINGS = {
    "usual": {},
    "small": {
        "net_arch": [128, 128],
        "batch_size": 64,
        "gamma": 0.9,
        "initial_epsilon": 1.0,
        "final_epsilon": 0.05,
        "learning_rate": 1e-3,
    },
}

torch.set_num_threads(1)


class Office(gymnasium.Env):
    """One organisation, in the other process."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (SEEN,), np.float32)
    action_space = gymnasium.spaces.Discrete(ACTIONS)
    reward_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBJECTIVES,), np.float32)

    def __init__(self, world) -> None:
        self.world = world

    def reset(self, *, seed=None, options=None):
        """A new episode."""
        super().reset(seed=seed)
        self.world.send(("reset", 1))
        return self.world.recv()[0], {}

    def step(self, action):
        """A quarter."""
        self.world.send(("step", np.array([action], np.int32)))
        seen, reward, over = self.world.recv()
        return seen[0], reward[0], False, bool(over[0]), {}


def brought(agent, world, weights, episodes):
    """Mean rewards by the quarter for each of some weights."""
    found = []
    for weight in weights:
        world.send(("reset", episodes))
        seen, total = world.recv(), np.zeros(OBJECTIVES)
        w = torch.tensor(weight, dtype=torch.float32)
        for _ in range(QUARTERS):
            with torch.no_grad():
                values = agent.q_net(torch.tensor(seen), w.expand(episodes, -1))
            world.send(("step", (values @ w).argmax(1).numpy().astype(np.int32)))
            seen, reward, _ = world.recv()
            total += reward.mean(0)
        found.append((total / QUARTERS).tolist())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", type=Path, default=Path(".venv/bin/python"))
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--settings", nargs="+", default=[*SETTINGS])
    options = parser.parse_args()
    found = {"library": "morl-baselines 1.3.0", "steps": options.steps, "runs": []}
    with tempfile.TemporaryDirectory() as folder, Listener(f"{folder}/world", "AF_UNIX") as listener:
        served = subprocess.Popen([options.ours, HERE / "pareto_envelope_world.py", listener.address])
        world = listener.accept()
        world.send(("weights", 0))
        weights = world.recv()
        for setting in options.settings:
            for seed in range(options.seeds):
                decay = int(0.3 * options.steps) if "initial_epsilon" in SETTINGS[setting] else None
                agent = Envelope(
                    Office(world),
                    log=False,
                    seed=seed,
                    device="cpu",
                    epsilon_decay_steps=decay,
                    **SETTINGS[setting],
                )
                cpu, wall = time.process_time(), time.perf_counter()
                agent.train(options.steps)
                cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
                world.send(("hypervolume", np.array(brought(agent, world, weights, options.episodes))))
                row = {
                    "setting": setting,
                    "seed": seed,
                    "hypervolume": round(world.recv(), 1),
                    "cpu_seconds_without_the_world": round(cpu, 1),
                    "steps_per_cpu_second": round(options.steps / cpu),
                    "steps_per_wall_second": round(options.steps / wall),
                    "load": round(os.getloadavg()[0], 1),
                }
                print(row, flush=True)
                found["runs"].append(row)
        world.close()
        served.wait()
    (HERE / "results" / "pareto_envelope.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
