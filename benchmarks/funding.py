"""Funding a network of altruistic projects: how far Bayesian optimisation comes, and whether its intervals hold.

The structured impact function alone (no agencies) against the rules that do not learn, on the same worlds and random
numbers; its share of what one who knows everything would do; and, after 20 and 60 rounds, how often the 89 % intervals
of projects' effects and of the proposal's impact hold the truth.

    python benchmarks/funding.py --worlds 40 --rounds 61 [--setting free]
"""

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import bayesalloc as ba
from bayesalloc.environment import stack
from bayesalloc.impact import acquisition
from bayesalloc.impact.returns import impacts
from bayesalloc.impact.structured import double_precision
from bayesalloc.models.altruism import World, consortium
from bayesalloc.models.funding.bomara import Believing, fund

SETTINGS = {
    "default": {},
    "free": {"spillovers": "free"},
    "shortlist": {"preset": "shortlist"},
    "rho 0.3": {"rho": 0.3},
    "rho 0.9": {"rho": 0.9},
    "isoelastic": {"eta": 0.375},
}
WATCHED = (20, 60)  # rounds funded before intervals are looked at
RULES = ("uniform", "top20_equal", "top20_room", "proportional", "proportional_room", "knapsack")
TAIL = (1 - 0.89) / 2


def doubled(leaf):
    """An array in double precision; whole numbers stay what they are."""
    return jnp.asarray(np.asarray(leaf, float if leaf.dtype.kind == "f" else leaf.dtype))


def intervals(found: list[dict]):
    def watch(now: Believing) -> None:
        if now.round not in WATCHED:
            return
        with double_precision():
            believed = now.draws(jax.random.key(now.round), 64)
            truth = jax.tree.map(doubled, now.params)
            amount = jnp.where(now.on, jnp.asarray(now.share), 0.0)
            of_draws = jax.jit(jax.vmap(acquisition.impact))(amount, believed)
            true = jax.vmap(lambda x, p: impacts(x, p.log_effect, p.room, p.weight, p.edges).sum())(amount, truth)
            low, high = jnp.quantile(believed.draws.log_effect, jnp.array([TAIL, 1 - TAIL]), axis=1)
            inside = (truth.log_effect >= low) & (truth.log_effect <= high)
            ends = jnp.quantile(of_draws, jnp.array([TAIL, 1 - TAIL]), axis=1)
        covers = np.asarray((true >= ends[0]) & (true <= ends[1]))
        by_world = np.asarray(inside).mean(1)
        funded = np.asarray(inside)[now.share > 1e-3]
        found.append(
            {
                "round": now.round,
                "effect": by_world.mean(),
                "effect_error": by_world.std(ddof=1) / len(by_world) ** 0.5,
                "effect_of_funded": funded.mean(),
                "impact": covers.mean(),
                "impact_error": covers.std(ddof=1) / len(covers) ** 0.5,
            }
        )

    return watch


def interval(gains: np.ndarray) -> list[float]:
    """Mean and 89 % interval of the mean over worlds, by the bootstrap."""
    draws = np.random.default_rng(0).choice(gains, (4000, len(gains))).mean(1)
    return [round(float(each), 1) for each in (gains.mean(), *np.quantile(draws, [TAIL, 1 - TAIL]))]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--worlds", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=61)
    parser.add_argument("--setting", choices=SETTINGS, default="default")
    parser.add_argument("--kappa", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    world = World(**SETTINGS[options.setting])
    env, key = consortium(world), jax.random.key(options.seed)
    names = (*RULES, "oracle")
    arms = stack(env.alike(list(env.arms(names).values())))
    of_rules = ba.rollout(
        env,
        ba.hold,
        key,
        arms=arms,
        replicates=options.worlds,
        horizon=options.rounds,
        collect=lambda outcomes: (outcomes.share_of_oracle, outcomes.impact),
    )
    shares, impact = (np.asarray(each) for each in of_rules)
    covered: list[dict] = []
    begun = time.perf_counter()
    done = fund(
        world,
        env,
        key,
        worlds=options.worlds,
        rounds=options.rounds,
        kappa=options.kappa,
        watch=intervals(covered),
    )
    seconds = time.perf_counter() - begun
    last = slice(max(0, options.rounds - 50), options.rounds)
    at = [number for number in (20, 60, options.rounds) if number <= options.rounds]
    rows = {name: shares[:, place] for place, name in enumerate(names)} | {"structured": done.share_of_oracle}
    table = {}
    for place, (name, share) in enumerate(rows.items()):
        table[name] = {f"round {number}": round(float(share[:, number - 1].mean()), 3) for number in at}
        table[name]["last 50"] = round(float(share[:, last].mean()), 3)
        table[name]["worst world"] = round(float(share[:, last].mean(1).min()), 3)
        if name not in ("structured", "oracle"):
            gain = 100 * (done.impact[:, last].mean(1) / impact[:, place, last].mean(1) - 1)
            table[name]["structured is above it by, %"] = interval(gain)
    result = {
        "setting": options.setting,
        "worlds": options.worlds,
        "rounds": options.rounds,
        "kappa": options.kappa,
        "seconds": round(seconds),
        "turnover": round(float(done.turnover[:, last].mean()), 3),
        "table": table,
        "intervals": [{name: round(float(value), 3) for name, value in row.items()} for row in covered],
    }
    text = json.dumps(result, indent=1)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
