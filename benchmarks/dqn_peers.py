"""Deep Q-learning: ours beside Stable-Baselines3, PureJaxRL and a torch loop, in steps per CPU second.

    python dqn_peers.py --torch-python PATH --purejaxrl-python PATH --purejaxrl-checkout PATH

PATHs are of Pythons that have the peers (a peer whose path is not given is left out):

- torch: `pip install torch` (the CPU build), `pip install stable-baselines3` and
  bayesalloc with its extra `rl`, for `dqn_sb3.py` and `dqn_torch.py`;
- PureJaxRL: a checkout of github.com/luchris429/purejaxrl, and `pip install jax gymnax==0.0.8 flashbax flax distrax`,
  for `dqn_purejaxrl.py`.

Each side runs in its own process, after compilation (`setup_s`) and, for Stable-Baselines3, after the buffer has its
first transitions. Every side has one core, and torch one thread. Sides do the same work:

- `srap thesis`, `srap gain`: the master's decision problem, 8 copies on one network of agents, two updates of a
  100-50-25 network on 32 transitions for every 8 steps. The DQN of Stable-Baselines3 knows no masks, so ours does
  without them too, with the same plain Q-learning target; its loss is Huber's, and its gradients are clipped.
- `cart pole`: PureJaxRL's hyperparameters, 500,000 steps. Both are judged by 100 greedy episodes of the last network.
  Its target is that of plain Q-learning, and so is ours here.
- `8 networks, sgd`, `8 networks, adam`: unshared double-DQN networks, 42-70-35-40, updated side by side on batches
  of 32 from each one's own 10,000 transitions; counted are updates of one network.
"""

import argparse
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import clock

HERE = Path(__file__).parent
SRAP: dict[str, Any] = {
    "environments": 8, "updates": 2, "batch": 32, "capacity": 20_000, "warmup": 1_000, "discount": 0.95,
    "learning_rate": 1e-3, "target_every": 500, "explore": (1.0, 0.1), "explore_for": 0.5,
}  # fmt: skip
CART: dict[str, Any] = {
    "environments": 10, "updates": 1, "batch": 128, "capacity": 10_000, "warmup": 10_000, "discount": 0.99,
    "learning_rate": 2.5e-4, "target_every": 50, "explore": (1.0, 0.05), "explore_for": 0.5,
}  # fmt: skip
NETWORKS: dict[str, Any] = {
    "batch": 32, "capacity": 10_000, "discount": 0.95, "learning_rate": 1e-3, "target_every": 200,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {  # what the two sides are told beside the settings above
    "srap thesis": {"rule": "thesis", "horizon": 33, "layers": (100, 50, 25), "settings": SRAP},
    "srap gain": {"rule": "gain", "horizon": 33, "layers": (100, 50, 25), "settings": SRAP},
    "cart pole": {"horizon": 500, "layers": (120, 84), "settings": CART},
    "8 networks, sgd": {"networks": 8, "sizes": (42, 70, 35, 40), "optimiser": "sgd", "settings": NETWORKS},
    "8 networks, adam": {"networks": 8, "sizes": (42, 70, 35, 40), "optimiser": "adam", "settings": NETWORKS},
}
STEPS = {  # of ours and of the peer: enough for seconds of each
    "srap thesis": (60_000, 6_000), "srap gain": (20_000, 4_000), "cart pole": (500_000, 500_000),
    "8 networks, sgd": (5_000, 1_000), "8 networks, adam": (5_000, 1_000),
}  # fmt: skip


def learning(case: dict[str, Any], steps: int, repeats: int) -> dict[str, Any]:
    """Whole training runs of ours on a case that has an environment."""
    import jax
    import jax.numpy as jnp

    sys.path.insert(0, str(HERE.parent))
    from bayesalloc.agents import dqn
    from bayesalloc.agents.networks import Dense
    from bayesalloc.allocators.instances import SWEEP
    from bayesalloc.allocators.sequential import environment
    from bayesalloc.environment import Observation
    from bayesalloc.episodes import Episodes
    from tests.probes import CART_POLE

    env = environment(SWEEP, case["rule"]) if "rule" in case else CART_POLE
    observe = env.observe

    def unmasked(state: Any, params: Any) -> Observation:
        values, mask = observe(state, params)
        return Observation(values.reshape(-1), jnp.ones_like(mask))

    episodes = Episodes(env._replace(observe=unmasked), case["horizon"])
    params = episodes.sample_params(jax.random.key(0))
    seen = jax.eval_shape(episodes.reset, jax.random.key(0), params)[0]
    sizes = (seen.values.size, *case["layers"], seen.mask.size)
    config = dqn.Config(steps=steps, double=False, **case["settings"])  # as the peers
    train = dqn.make_train(config, episodes, lambda key: Dense(sizes, key), params)

    def greedy(network: Any, key: jax.Array) -> jax.Array:
        """Return of one episode in which the network's best action is always taken."""
        seen, state = episodes.reset(key, params)

        def step(carry: tuple, key: jax.Array) -> tuple:
            seen, state, going = carry
            action = dqn.best(network(seen.values), seen.mask)
            seen, state, reward, terminated, _, _ = episodes.advance(key, state, action, params)
            return (seen, state, going & ~terminated), jnp.where(going, reward, 0.0)

        _, rewards = jax.lax.scan(step, (seen, state, jnp.ones((), bool)), jax.random.split(key, case["horizon"]))
        return rewards.sum()

    compiled, runs = [], []
    _, setup = clock.timed(lambda: compiled.append(jax.jit(train).lower(jax.random.key(0)).compile()))

    def once() -> None:
        runs.append(jax.block_until_ready(compiled[0](jax.random.key(len(runs))))[0].learner.network)

    row = {"peer": "bayesalloc", "setup_s": round(setup, 2)} | clock.rates(steps, once, repeats)
    if "rule" not in case:
        evaluate = jax.jit(jax.vmap(greedy, in_axes=(None, 0)))
        keys = jax.random.split(jax.random.key(1), 100)
        row["greedy_returns"] = [round(float(evaluate(network, keys).mean()), 1) for network in runs]
    return row


def updating(case: dict[str, Any], steps: int, repeats: int) -> dict[str, Any]:
    """Updates of several networks of ours, side by side."""
    import jax
    import jax.numpy as jnp

    sys.path.insert(0, str(HERE.parent))
    from bayesalloc.agents import buffer, dqn
    from bayesalloc.agents.networks import Dense

    n, sizes, settings = case["networks"], case["sizes"], case["settings"]
    config = dqn.Config(optimiser=case["optimiser"], **settings)

    def agent(key: jax.Array) -> tuple[dqn.Learner, buffer.Buffer]:
        for_network, *keys = jax.random.split(key, 6)
        capacity, seen, actions = config.capacity, sizes[0], sizes[-1]
        items = dqn.Transition(
            jax.random.normal(keys[0], (capacity, seen)), jax.random.randint(keys[1], (capacity,), 0, actions),
            jax.random.normal(keys[2], (capacity,)), jnp.full(capacity, config.discount),
            jax.random.normal(keys[3], (capacity, seen)),
            jax.random.bernoulli(keys[4], 0.5, (capacity, actions)).at[:, -1].set(True),
        )  # fmt: skip
        return dqn.start(config, Dense(sizes, for_network)), buffer.Buffer(items, jnp.int32(capacity))

    def work(learners: dqn.Learner, memories: buffer.Buffer, key: jax.Array) -> tuple[dqn.Learner, jax.Array]:
        def update(learners: dqn.Learner, key: jax.Array) -> tuple[dqn.Learner, jax.Array]:
            draw = jax.vmap(partial(buffer.sample, count=config.batch))
            return jax.vmap(partial(dqn.learn, config))(learners, draw(memories, jax.random.split(key, n)))

        return jax.lax.scan(update, learners, jax.random.split(key, steps))

    learners, memories = jax.vmap(agent)(jax.random.split(jax.random.key(0), n))
    compiled = []
    _, setup = clock.timed(
        lambda: compiled.append(jax.jit(work).lower(learners, memories, jax.random.key(1)).compile())
    )
    return {"peer": "bayesalloc", "setup_s": round(setup, 2)} | clock.rates(
        steps * n, lambda: jax.block_until_ready(compiled[0](learners, memories, jax.random.key(1))), repeats
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", help="a Python that has torch, Stable-Baselines3 and bayesalloc")
    parser.add_argument("--purejaxrl-python", help="a Python that has JAX, gymnax 0.0.8, flashbax, flax and distrax")
    parser.add_argument("--purejaxrl-checkout", help="where PureJaxRL is")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of steps, for a quick look")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--measure", nargs=2, metavar=("CASE", "STEPS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    clock.one_core()
    if options.measure:
        name, steps = options.measure
        ours = updating if "networks" in CASES[name] else learning
        print(json.dumps(ours(CASES[name], int(steps), options.repeats)))
        return

    def fresh(python: str, script: str, *arguments: str) -> dict[str, Any]:
        command = [python, str(HERE / script), *arguments, "--repeats", str(options.repeats)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{script} failed:\n{done.stderr}")
        return json.loads(done.stdout.splitlines()[-1])

    rows = []
    for name in options.cases:
        ours, theirs = (max(50, round(steps * options.scale)) for steps in STEPS[name])
        case = {key: value for key, value in CASES[name].items() if key != "settings"} | CASES[name]["settings"]
        told = ("--settings", json.dumps(case), "--steps", str(theirs))
        sides = [fresh(sys.executable, "dqn_peers.py", "--measure", name, str(ours))]
        if name.startswith("srap") and options.torch_python:
            sides.append(fresh(options.torch_python, "dqn_sb3.py", *told))
            sides.append(fresh(options.torch_python, "dqn_sb3.py", *told, "--together"))
        if name == "cart pole" and options.purejaxrl_python and options.purejaxrl_checkout:
            checkout = ("--checkout", options.purejaxrl_checkout)
            sides.append(fresh(options.purejaxrl_python, "dqn_purejaxrl.py", *told, *checkout))
        if "networks" in case and options.torch_python:
            sides.append(fresh(options.torch_python, "dqn_torch.py", *told))
        for side in sides:
            side["bayesalloc_over_this"] = round(sides[0]["per_cpu_second"] / side["per_cpu_second"], 2)
            rows.append({"case": name} | side)
            print(f"{name:<18}{side['peer']:<38}{side['per_cpu_second']:>10,.0f} per CPU s"
                  f"{side['per_wall_second']:>10,.0f} per s{side['bayesalloc_over_this']:>8.2f}x"
                  f"{side['setup_s']:>7.1f} s first  {side.get('greedy_returns', '')}", flush=True)  # fmt: skip
    if options.scale == 1 and options.cases == list(CASES):
        (HERE / "results" / "dqn_peers.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
