"""Pareto Q-learning on the concave deep-sea-treasure by MORL-baselines, on one thread: steps a CPU second.

It needs Python 3.11 and an environment of its own: `pip install morl-baselines==1.3.0` and PyTorch. Ours: `pareto.py`.

    python benchmarks/pareto_peers.py
"""

import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import mo_gymnasium
import numpy as np
import torch
from morl_baselines.multi_policy.pareto_q_learning.pql import PQL

STEPS, REFERENCE = 40_000, np.array([0.0, -25.0])

torch.set_num_threads(1)
env = mo_gymnasium.make("deep-sea-treasure-concave-v0")
agent = PQL(env, REFERENCE, gamma=1.0, epsilon_decay_steps=32_000, final_epsilon=0.1, seed=1, log=False)
cpu, wall = time.process_time(), time.perf_counter()
agent.train(STEPS, eval_env=env, ref_point=REFERENCE, log_every=10**9)
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
found = {
    "library": "morl-baselines 1.3.0",
    "steps": STEPS,
    "steps_per_cpu_second": round(STEPS / cpu),
    "steps_per_wall_second": round(STEPS / wall),
    "points_found": len(agent.get_local_pcs(state=0)),
    "load": round(os.getloadavg()[0], 1),
}
print(found)
(Path(__file__).parent / "results" / "pareto_peers.json").write_text(json.dumps(found, indent=1) + "\n")
