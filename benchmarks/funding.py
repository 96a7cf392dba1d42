"""Funding a network of altruistic projects: how far Bayesian optimisation comes, and whether its intervals hold.

The structured impact function alone (no agencies) against the rules that do not learn, on the same worlds and random
numbers; its share of what one who knows everything would do; and, after 20 and 60 rounds, how often the 89 % intervals
of projects' effects and of the proposal's impact hold the truth.

    python benchmarks/funding.py --worlds 24 --rounds 61 --seeds 201 202 203 204 [--setting free]

There are as many worlds of each seed; all are taken together.
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
        funded = now.share > 1e-3
        held = np.asarray(inside)
        found.append(
            {
                "round": np.full(len(held), now.round),
                "impact": np.asarray((true >= ends[0]) & (true <= ends[1])),
                "effect": held.mean(1),
                "effect of funded": (held & funded).sum(1) / funded.sum(1),
            }
        )

    return watch


def coverage(found: list[dict]) -> list[dict]:
    """How often intervals hold the truth, and the standard error over worlds."""
    together = {name: np.concatenate([each[name] for each in found]) for name in found[0]} if found else {"round": []}
    rows = []
    for number in np.unique(together["round"]):
        row = {"round": int(number), "worlds": int((together["round"] == number).sum())}
        for name in ("impact", "effect", "effect of funded"):
            held = together[name][together["round"] == number]
            row |= {name: round(float(held.mean()), 3), f"{name}, error": round(held.std(ddof=1) / len(held) ** 0.5, 3)}
        rows.append(row)
    return rows


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
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    world = World(**SETTINGS[options.setting])
    env, keys = consortium(world), [jax.random.key(seed) for seed in options.seeds]
    names = (*RULES, "oracle")
    arms = stack(env.alike(list(env.arms(names).values())))
    size = {"replicates": options.worlds, "horizon": options.rounds}
    of_rules = [
        ba.rollout(env, ba.hold, key, arms=arms, collect=lambda out: (out.share_of_oracle, out.impact), **size)
        for key in keys
    ]
    shares, impact = (np.concatenate(each) for each in zip(*of_rules, strict=True))
    covered: list[dict] = []
    begun, watch = time.perf_counter(), intervals(covered)
    chosen = {"worlds": options.worlds, "rounds": options.rounds, "kappa": options.kappa, "watch": watch}
    done = jax.tree.map(lambda *parts: np.concatenate(parts), *[fund(world, env, key, **chosen) for key in keys])
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
        "worlds": options.worlds * len(keys),
        "rounds": options.rounds,
        "kappa": options.kappa,
        "seconds": round(seconds),
        "turnover": round(float(done.turnover[:, last].mean()), 3),
        "table": table,
        "intervals": coverage(covered),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
