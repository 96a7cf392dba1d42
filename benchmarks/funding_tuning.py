"""The search by which rivals among funded projects are tuned: 20 tries drawn at random, in worlds of their own.

Every try is run in the same 20 worlds for 500 rounds; the best is the one with the largest mean share of the oracle
over all of them. Their random numbers are apart from those of `bayesalloc reproduce altruism`. What is found is written
into the rival's own file, in `models/funding`, to three digits.

    python benchmarks/funding_tuning.py pg_own

Of Bayesian optimisation one number is tuned, beta of the acquisition beta mu + sigma: it is tried at each of BETAS, of
which those up to 1 are the published range, and infinity is the mean alone.

    python benchmarks/funding_tuning.py bo --worlds 8 --rounds 60

And in worlds whose estimates are worse or better, it is tried with a table that says of them how far they are off, as
they would be at each of RHOS: what a wrong statement costs, beside none at all.

    python benchmarks/funding_tuning.py stated --worlds 8 --rounds 60
"""

import argparse
import json
import time

import jax
import jax.numpy as jnp
import numpy as np

import bayesalloc as ba
from bayesalloc.models.altruism import World, consortium
from bayesalloc.models.funding import alone, gradient
from bayesalloc.models.funding.bomara import fund
from bayesalloc.models.funding.gradient import Gradient


def log_uniform(low, high):
    return lambda draws: np.exp(draws.uniform(np.log(low), np.log(high)))


def uniform(low, high):
    return lambda draws: draws.uniform(low, high)


GRADIENT = (log_uniform(1e-4, 1.0), log_uniform(0.02, 0.5), log_uniform(0.01, 0.5), uniform(0.0, 0.5))
POLICY = (log_uniform(1e-5, 3e-3), uniform(0.0, 0.98), log_uniform(1e-4, 0.05), uniform(1.0, 8.0), uniform(0.0, 0.5))
VALUES = (
    log_uniform(1e-5, 1e-2),
    uniform(0.0, 0.98),
    log_uniform(5e-3, 0.3),
    log_uniform(3e-3, 1.0),
    uniform(0.0, 0.5),
)
# name -> what decides, the record of what is tuned, and from what each of its fields is drawn
RIVALS = {
    "pg_own": (gradient.own, Gradient, GRADIENT),
    "pg_total": (gradient.total, Gradient, GRADIENT),
    "ppo": (alone.by_policy, alone.Policy, POLICY),
    "dqn": (alone.by_values, alone.Values, VALUES),
}
APART = 1_000_000  # seed of the worlds
BETAS = (0.1, 0.3, 1.0, 3.0, 10.0, np.inf)
RHOS = (0.3, 0.6, 0.9)  # correlations of estimates and effects


def betas(worlds, rounds):
    """The mean share of the oracle with each beta, and what it is over that of the mean alone, paired."""
    env, key = consortium(World()), jax.random.key(APART)
    found = {
        beta: fund(World(), env, key, worlds=worlds, rounds=rounds, kappa=1.0 / beta).share_of_oracle for beta in BETAS
    }
    for beta, share in found.items():
        told({"beta": beta}, share, found[BETAS[-1]])


def stated(worlds, rounds):
    """The mean share of the oracle with each statement about estimates, and what it is over that without any."""
    for rho in (RHOS[0], RHOS[-1]):
        world, key = World(rho=rho), jax.random.key(APART)
        env, off = consortium(world), {None: 0.0} | {each: World(rho=each).estimate_error for each in RHOS}
        found = {
            said: fund(world, env, key, worlds=worlds, rounds=rounds, stated=error).share_of_oracle
            for said, error in off.items()
        }
        for said, share in found.items():
            told({"rho": rho, "stated": said}, share, found[None])


def told(of, share, beside):
    """Prints a row: the share of the oracle by world and round, and what it is over another's, paired."""
    more = (share - beside).mean(1)
    numbers = {
        "share": share.mean(),
        "round 20": share[:, 19].mean(),
        "more": more.mean(),
        "error": more.std(ddof=1) / len(more) ** 0.5,
    }
    print(json.dumps(of | {name: round(float(value), 4) for name, value in numbers.items()}), flush=True)


OURS = {"bo": betas, "stated": stated}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rival", choices=(*RIVALS, *OURS))
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=500)
    options = parser.parse_args()
    if options.rival in OURS:
        OURS[options.rival](options.worlds, options.rounds)
        return
    policy, record, ranges = RIVALS[options.rival]
    draws = np.random.default_rng(APART)
    tried = np.array([[drawn(draws) for drawn in ranges] for _ in range(options.tries)])
    begun = time.perf_counter()
    share = ba.rollout(
        consortium(World()),
        policy,
        jax.random.key(APART),
        arms=record(*jnp.asarray(tried.T, jnp.float32)),
        replicates=options.worlds,
        horizon=options.rounds,
        collect=lambda outcomes: outcomes.share_of_oracle,
    )
    share = np.asarray(share).mean((0, 2))
    for k in np.argsort(-share):
        print(
            json.dumps({"share": round(float(share[k]), 4)} | dict(zip(record._fields, tried[k].round(5), strict=True)))
        )
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
