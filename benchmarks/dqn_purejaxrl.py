"""The peer of `dqn_peers.py` on the cart with a pole: PureJaxRL's own `dqn.py` on gymnax' CartPole, as it is.

It needs a checkout of github.com/luchris429/purejaxrl, and beside JAX flashbax, flax, distrax and gymnax 0.0.8 (1.0
changed what `step` returns). It prints one line of JSON. What `dqn.py` asks for and newer JAX or this comparison lacks
(`jax.tree_map`; wandb, which stays off) is put in its place here; the checkout itself is not changed.
"""

import argparse
import json
import sys
import types

import clock
import jax
import jax.numpy as jnp


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkout", required=True)
    parser.add_argument("--settings", required=True, help="JSON, as dqn_peers.py gives it")
    parser.add_argument("--steps", type=int, default=500_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    settings = json.loads(options.settings)
    sys.modules.setdefault("wandb", types.ModuleType("wandb"))
    jax.tree_map = jax.tree.map
    sys.path.insert(0, f"{options.checkout}/purejaxrl")
    import dqn
    import gymnax

    n = settings["environments"]
    config = {
        "NUM_ENVS": n, "BUFFER_SIZE": settings["capacity"], "BUFFER_BATCH_SIZE": settings["batch"],
        "TOTAL_TIMESTEPS": options.steps, "EPSILON_START": settings["explore"][0],
        "EPSILON_FINISH": settings["explore"][1], "EPSILON_ANNEAL_TIME": options.steps * settings["explore_for"],
        "TARGET_UPDATE_INTERVAL": settings["target_every"] * n, "LR": settings["learning_rate"],
        "LEARNING_STARTS": settings["warmup"], "TRAINING_INTERVAL": n, "LR_LINEAR_DECAY": False,
        "GAMMA": settings["discount"], "TAU": 1.0, "ENV_NAME": "CartPole-v1",
    }  # fmt: skip
    env, params = gymnax.make("CartPole-v1")

    def greedy(train_state: dqn.CustomTrainState, key: jax.Array) -> jax.Array:
        """Return of one episode in which the network's best action is always taken."""
        seen, state = env.reset_env(key, params)

        def step(carry: tuple, key: jax.Array) -> tuple:
            seen, state, going = carry
            action = jnp.argmax(train_state.apply_fn(train_state.params, seen))
            seen, state, reward, done, _ = env.step_env(key, state, action, params)
            return (seen, state, going & ~done), jnp.where(going, reward, 0.0)

        _, rewards = jax.lax.scan(step, (seen, state, jnp.ones((), bool)), jax.random.split(key, settings["horizon"]))
        return rewards.sum()

    compiled: list = []
    train = jax.jit(dqn.make_train(config))
    _, setup = clock.timed(lambda: compiled.append(train.lower(jax.random.PRNGKey(0)).compile()))
    runs: list = []

    def once() -> None:
        runs.append(jax.block_until_ready(compiled[0](jax.random.PRNGKey(len(runs)))))

    row = {"peer": "PureJaxRL", "setup_s": round(setup, 2)} | clock.rates(options.steps, once, options.repeats)
    values = [
        jax.vmap(greedy, in_axes=(None, 0))(run["runner_state"][0], jax.random.split(jax.random.PRNGKey(1), 100)).mean()
        for run in runs
    ]
    print(json.dumps(row | {"greedy_returns": [round(float(value), 1) for value in values]}))


if __name__ == "__main__":
    main()
