"""What fixed plans bring in the world of organisation budgets, what they harm, and how fast the world is.

Plans are made by gradient ascent on courses of chance of their own and judged on others. The second part asks what a
plan of 2.5 instead of 2 M/yr for training changes.

    python benchmarks/organisation_ceiling.py
"""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(os.cpu_count() or 1))

import jax
import jax.numpy as jnp
import numpy as np
from clock import timed

import bayesalloc as ba
from bayesalloc.agents.hypervolume import hypervolume
from bayesalloc.environment import stack
from bayesalloc.models.budget import World, environment, organisation
from bayesalloc.models.budgets.ceiling import REFERENCE, best_targets, lattice, linear_targets, mean_rewards
from bayesalloc.models.budgets.decisions import decide
from bayesalloc.models.budgets.world import DEPARTMENTS, PLACE, PROTECTED, covariance
from bayesalloc.simulate import schedule

FOUR = np.array([[0.67, 0.17, 0.16], [0.17, 0.67, 0.16], [0.17, 0.16, 0.67], [1 / 3, 1 / 3, 1 / 3]])
TRAINING = DEPARTMENTS.index("training")
MAKING, JUDGING = jax.random.key(1), jax.random.key(2)


def fronts(parts: int, steps: int, replicates: int) -> dict[str, object]:
    """Hypervolumes of plans for a lattice of weights, and what the plan for efficiency alone does to the protected."""
    weights = lattice(parts)
    climbed = best_targets(environment, weights, MAKING, steps=steps, replicates=replicates)
    targets = np.concatenate([np.zeros((1, 20)), linear_targets(weights), climbed])
    means = mean_rewards(environment, targets, JUDGING, replicates=4_000)
    hold, linear, best = means[:1], means[1 : len(weights) + 1], means[len(weights) + 1 :]

    alone = stack([decide(target=dict.fromkeys(DEPARTMENTS, 0.0)), decide()._replace(target=jnp.asarray(climbed[-1]))])
    harm = ba.rollout(
        environment, ba.hold, JUDGING, arms=alone, replicates=2_000, horizon=20, collect=lambda q: q.side_effect[:, -1]
    )
    raised = np.asarray(harm[:, 1] - harm[:, 0]).mean(0)
    spread = np.sqrt(np.diag(covariance()))
    return {
        "weights": len(weights),
        "hypervolume": {
            "hold": round(hypervolume(hold, REFERENCE), 1),
            "linear_on_true_slopes": round(hypervolume(linear, REFERENCE), 1),
            "ceiling": round(hypervolume(best, REFERENCE), 1),
        },
        "best_of_each_objective": best[[-1, parts, 0]].round(2).tolist(),
        "efficiency_alone_harms": {
            name: {"percent": round(float(by), 2), "sd": round(float(by / spread[PLACE[name]]), 2)}
            for name, by in zip(PROTECTED, raised, strict=True)
        },
    }


def training(steps: int, replicates: int) -> list[dict[str, object]]:
    """The plans for 2 and for 2.5 M/yr at four weights, and the regret of the old one where the new one is right."""
    richer = organisation(World(plan={"training": 2.5}))
    old, new = (best_targets(env, FOUR, MAKING, steps=steps, replicates=replicates) for env in (environment, richer))
    brought = mean_rewards(richer, np.concatenate([old, new]), JUDGING, replicates=4_000).reshape(2, 4, 3)
    worth = (brought * FOUR).sum(-1)
    return [
        {
            "weights": FOUR[k].round(2).tolist(),
            "same_directions": int((np.sign(old[k]) == np.sign(new[k])).sum()),
            "training": [round(float(each[k, TRAINING]), 1) for each in (old, new)],
            "regret_percent": round(100 * float((worth[1, k] - worth[0, k]) / abs(worth[1, k])), 3),
        }
        for k in range(4)
    ]


def speed(replicates: int) -> dict[str, float]:
    """Steps a CPU second: random moves, as a learner's, and the two arms of a comparison; without compiling."""
    moves = jax.random.randint(MAKING, (1, 20, 20), 0, 3)
    arms, collect = stack(list(environment.arms(None).values())), jax.vmap(jax.vmap(environment.reward))
    found = {}
    for name, policy, given in (("moves", schedule, moves), ("arms", ba.hold, arms)):
        n_arms = len(jax.tree.leaves(given)[0])

        def run(seed: int, policy=policy, given=given) -> None:
            means = ba.rollout(
                environment,
                policy,
                jax.random.key(seed),
                arms=given,
                replicates=replicates,
                horizon=20,
                collect=collect,
                average=True,
            )
            jax.block_until_ready(means)

        run(0)
        found[name] = round(max(replicates * 20 * n_arms / timed(lambda seed=seed: run(seed))[0] for seed in (1, 2, 3)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, default=6, help="weights are multiples of 1 / parts")
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--replicates", type=int, default=24)
    options = parser.parse_args()
    found = {
        "speed_per_cpu_second": speed(20_000),
        **fronts(options.parts, options.steps, options.replicates),
        "training_2_to_2.5": training(options.steps, options.replicates),
    }
    print(json.dumps(found, indent=1))
    (Path(__file__).parent / "results" / "organisation_ceiling.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
