"""The posterior of the watershed's parameters, written straight in NumPyro.

The years are a `scan` whose noise is standard normal; the chains run vectorized.

    python make_record.py --out record.npz
    python sampling_numpyro.py --record record.npz
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path

import diagnostics
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import watershed_numbers as numbers
from jax import Array
from numpyro.contrib.control_flow import scan
from numpyro.distributions.transforms import SigmoidTransform
from numpyro.infer import MCMC, NUTS, init_to_median

INFLUENCE = np.array(numbers.INFLUENCE, np.float32)
N_AGENTS = len(numbers.AGENTS)
INCENTIVE = ("modifier", "modifier_above", "threshold", "volatility")
MARKET = ("persistence", "cycle", "price_volatility", "response")


def in_force(mechanism: np.ndarray) -> dict[str, Array]:
    """The mechanisms' numbers, one per year."""
    chosen = [list(numbers.MECHANISMS.values())[index] for index in mechanism]
    return {name: jnp.array([getattr(each, name) for each in chosen]) for name in INCENTIVE + MARKET}


def model(terms: Mapping[str, Array], forest_health: Array, erosion: Array, contribution: Array) -> None:
    """Joint density of parameters, yearly noise and measurements; NaN in a measurement is a missing cell."""
    median, spread = numbers.RECORD_HEALTH
    logit = dist.Normal(np.log(median / (1 - median)), spread)
    start = numpyro.sample("initial_health", dist.TransformedDistribution(logit, SigmoidTransform()))
    p = {
        name: numpyro.sample(name, dist.LogNormal(np.log(median), log_sd))
        for name, (median, log_sd) in numbers.RECORD.items()
    }
    with numpyro.plate("agent", N_AGENTS):
        tendency = numpyro.sample("tendency", dist.Normal(0.0, p["tendency_spread"]))

    def year(state: tuple[Array, Array], now: Mapping[str, Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        health, sentiment = state
        effort_shock = numpyro.sample("effort_shock", dist.Normal(0.0, 1.0).expand([N_AGENTS]).to_event(1))
        growth_shock = numpyro.sample("growth_shock", dist.Normal(0.0, 1.0))
        sentiment_shock = numpyro.sample("sentiment_shock", dist.Normal(0.0, 1.0))
        price_shock = numpyro.sample("price_shock", dist.Normal(0.0, 1.0))
        sentiment = now["persistence"] * sentiment + jnp.sqrt(1.0 - now["persistence"] ** 2) * sentiment_shock
        log_price = now["cycle"] * jnp.tanh(sentiment) + now["price_volatility"] * price_shock
        above = jax.nn.sigmoid((health - now["threshold"]) / numbers.SWITCH_WIDTH)
        modifier = now["modifier"] + above * (now["modifier_above"] - now["modifier"])
        modifier = modifier * jnp.exp(now["response"] * log_price)
        willing = numbers.BASELINE + tendency + p["urgency"] * (1.0 - health)
        effort = jnp.clip(willing * modifier + now["volatility"] * effort_shock, 0.0, 1.0)
        joint, room = INFLUENCE @ effort, health * (1.0 - health)
        change = (p["growth"] * joint + p["growth_noise"] * growth_shock) * room
        change = change - p["degradation"] * (1.0 - joint) ** 2 * health
        health = jnp.clip(health + change, 0.0, 1.0)
        return (health, sentiment), (health, effort)

    _, (health, effort) = scan(year, (start, jnp.zeros(())), terms)
    log_erosion = jnp.log(p["erosion_reference"]) - p["erosion_decay"] * health
    measurements = {
        "forest_health": (dist.TruncatedNormal(health, p["health_error"], low=0.0, high=1.0), forest_health),
        "erosion": (dist.LogNormal(log_erosion, p["erosion_error"]), erosion),
        "contribution": (dist.TruncatedNormal(effort, p["contribution_error"], low=0.0), contribution),
    }
    for name, (distribution, values) in measurements.items():
        there = ~jnp.isnan(values)
        with numpyro.handlers.mask(mask=there):
            numpyro.sample(f"{name}_observed", distribution, obs=jnp.where(there, values, 0.5))


def sample(
    record: Mapping[str, np.ndarray], *, chains: int, warmup: int, draws: int, target_accept: float, seed: int
) -> tuple[dict[str, np.ndarray], int, float, float, float]:
    """Draws of the parameters, divergences, seconds of sampling and of compilation, and leapfrog steps per draw."""
    data = {name: jnp.asarray(record[name], float) for name in ("forest_health", "erosion", "contribution")}
    data = {"terms": in_force(record["mechanism"]), **data}

    def run(key: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        mcmc = MCMC(
            NUTS(model, target_accept_prob=target_accept, init_strategy=init_to_median),
            num_warmup=warmup,
            num_samples=draws,
            num_chains=chains,
            chain_method="vectorized",
            progress_bar=False,
        )
        mcmc.run(key, extra_fields=("diverging", "num_steps"), **data)
        return mcmc.get_samples(group_by_chain=True), mcmc.get_extra_fields(group_by_chain=True)

    started = time.perf_counter()
    compiled = jax.jit(run).lower(jax.random.key(seed)).compile()
    compiling, started = time.perf_counter() - started, time.perf_counter()
    posterior, extra = jax.block_until_ready(compiled(jax.random.key(seed)))
    sampling = time.perf_counter() - started
    draws_of = jax.tree.map(np.asarray, posterior)
    return draws_of, int(extra["diverging"].sum()), sampling, compiling, float(extra["num_steps"].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, default=Path("record.npz"))
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--warmup", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--target-accept", type=float, default=0.8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--float64", action="store_true")
    parser.add_argument("--save", help="keep the draws in this .npz file")
    options = parser.parse_args()
    if options.float64:
        numpyro.enable_x64()
    with np.load(options.record) as record:
        posterior, *numbers_of_run = sample(
            record,
            chains=options.chains,
            warmup=options.warmup,
            draws=options.draws,
            target_accept=options.target_accept,
            seed=options.seed,
        )
    if options.save:
        diagnostics.save(options.save, posterior)
    print(json.dumps(diagnostics.report("numpyro", posterior, *numbers_of_run)))


if __name__ == "__main__":
    main()
