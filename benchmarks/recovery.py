"""Do the 89 % intervals cover the truth? Simulated 20-year watershed records, fitted by NUTS, counted.

    python benchmarks/recovery.py --records 200

For each record the truth is drawn from the prior for records (RECORD_CONSTANTS), 20 years are simulated under cost
sharing with forest health, erosion and the five contributions measured, a tenth of the cells go missing, and the model
is fitted. Counted is how often the 89 % interval covers the true parameter, and the true average effect of a
performance contract against cost sharing on forest health and erosion at the horizon. Written to
benchmarks/results/recovery.json.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer.hmc import hmc
from numpyro.infer.util import initialize_model

import bayesalloc as ba
from bayesalloc.environment import stack
from bayesalloc.models import watershed

YEARS, INTERVAL = 20, 0.89
PARAMETERS = [name for name in watershed.Params._fields if name != "tendency"] + ["tendency", "tendency_spread"]
OUTCOMES = ("forest_health", "erosion")


def main() -> None:
    """Simulate, fit, count, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of the first record (to continue a run)")
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--warmup", type=int, default=600)
    parser.add_argument("--draws", type=int, default=900)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "recovery.json")
    options = parser.parse_args()
    env = watershed.catchment(watershed.RECORD_CONSTANTS, watershed.RECORD_INITIAL_HEALTH)
    arms = env.arms(["cost_sharing", "performance_contract"])
    model = ba.as_model(env, {"cost_sharing": arms["cost_sharing"]}, YEARS)
    in_force = jnp.zeros(YEARS, int)
    sampled = ba.as_model(env, {"cost_sharing": arms["cost_sharing"]}, YEARS, guided=True)
    sample = make_sampler(sampled, env, (options.chains, options.warmup, options.draws))

    @jax.jit
    def simulate(key: jax.Array) -> tuple[dict, dict]:
        trace = handlers.trace(ba.seed_by_name(lambda: model(mechanism=in_force), key)).get_trace()
        data = {name: trace[f"{name}_observed"]["value"] for name in ("forest_health", "erosion", "contribution")}
        gone = {
            name: jax.random.bernoulli(jax.random.fold_in(key, place), 0.1, value.shape)
            for place, (name, value) in enumerate(data.items())
        }
        missing = {name: jnp.where(gone[name], jnp.nan, value) for name, value in data.items()}
        return missing, {name: trace[name]["value"] for name in PARAMETERS}

    @jax.jit
    @jax.vmap
    def to_params(one: dict) -> watershed.Params:
        return ba.seed_by_name(handlers.substitute(env.prior, data=one), jax.random.key(0))()

    def effects(sample: dict, key: jax.Array, draws: int, futures: int) -> np.ndarray:
        horizon = ba.rollout(
            env, ba.hold, key, arms=stack(list(arms.values())), replicates=draws * futures, futures=futures,
            horizon=YEARS, params=to_params(sample), collect=collect,
        )  # fmt: skip
        value = np.asarray(horizon).reshape(draws, futures, 2, len(OUTCOMES)).mean(1)
        return value[:, 1] - value[:, 0]

    def collect(years: watershed.Year) -> jax.Array:
        return jnp.stack([getattr(years, name)[:, -1] for name in OUTCOMES], -1)

    covered: dict[str, list[bool]] = {}
    ranks: dict[str, list[float]] = {}
    rhats, divergences, seconds = [], 0, []
    tail = [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2]
    for record in range(options.first, options.first + options.records):
        start = time.perf_counter()
        key = jax.random.fold_in(jax.random.key(2026), record)
        data, truth = simulate(key)
        grouped, diverging = jax.tree.map(np.asarray, sample(jax.random.fold_in(key, 1), data))
        posterior = {name: grouped[name].reshape(-1, *grouped[name].shape[2:]) for name in PARAMETERS}
        divergences += int(diverging.sum())
        rhats.append(max(split_rhat(grouped[name]) for name in PARAMETERS))
        for name in PARAMETERS:
            low, high = np.quantile(posterior[name], tail, axis=0)
            inside = (low <= truth[name]) & (truth[name] <= high)
            covered.setdefault(name, []).extend(np.atleast_1d(inside).tolist())
            ranks.setdefault(name, []).extend(np.atleast_1d((posterior[name] < truth[name]).mean(0)).tolist())
        few = {name: jnp.asarray(value[:: max(1, len(value) // 200)][:200]) for name, value in posterior.items()}
        found = effects(few, jax.random.fold_in(key, 2), 200, 64)
        true = effects({name: value[None] for name, value in truth.items()}, jax.random.fold_in(key, 3), 1, 12_800)[0]
        low, high = np.quantile(found, tail, axis=0)
        for place, name in enumerate(OUTCOMES):
            covered.setdefault(f"ate_{name}", []).append(bool(low[place] <= true[place] <= high[place]))
            ranks.setdefault(f"ate_{name}", []).append(float((found[:, place] < true[place]).mean()))
        seconds.append(time.perf_counter() - start)
        if record % 10 == 9:
            write(options, covered, ranks, rhats, divergences, seconds)
            print(record + 1, {name: round(float(np.mean(c)), 3) for name, c in covered.items()}, flush=True)
    write(options, covered, ranks, rhats, divergences, seconds)


def make_sampler(model: Callable, env: ba.Environment, size: tuple[int, int, int]) -> Callable:
    """`(key, data) -> (parameters of shape (chain, draw, ...), divergences)`, compiled once for all records."""
    chains, warmup, draws = size
    prototype = {
        "forest_health": jnp.full(YEARS, 0.5),
        "erosion": jnp.ones(YEARS),
        "contribution": jnp.ones((YEARS, 5)),
    }
    in_force = jnp.zeros(YEARS, int)
    info = initialize_model(
        jax.random.key(0), model, dynamic_args=True, model_kwargs={"mechanism": in_force, **prototype}
    )
    start = info.param_info.z

    def chain(key: jax.Array, data: dict) -> tuple[dict, jax.Array]:
        keywords = {"mechanism": in_force, **data}
        start_key, run_key = jax.random.split(key)
        drawn = handlers.trace(ba.seed_by_name(env.prior, start_key)).get_trace()
        first = {
            name: biject_to(drawn[name]["fn"].support).inv(drawn[name]["value"])
            if name in drawn
            else jax.random.normal(jax.random.fold_in(start_key, place), value.shape)
            for place, (name, value) in enumerate(start.items())
        }
        init, step = hmc(potential_fn_gen=info.potential_fn, algo="NUTS")
        state = init(
            first, warmup, dense_mass=[tuple(PARAMETERS)], target_accept_prob=0.95, rng_key=run_key,
            model_kwargs=keywords,
        )  # fmt: skip
        state = jax.lax.fori_loop(0, warmup, lambda _, s: step(s, model_kwargs=keywords), state)

        def draw(state: Any, _: None) -> tuple[Any, tuple[dict, jax.Array]]:
            state = step(state, model_kwargs=keywords)
            return state, ({name: state.z[name] for name in PARAMETERS}, state.diverging)

        _, (sites, diverging) = jax.lax.scan(draw, state, None, length=draws)
        return sites, diverging

    @jax.jit
    def sample(key: jax.Array, data: dict) -> tuple[dict, jax.Array]:
        sites, diverging = jax.vmap(lambda k: chain(k, data))(jax.random.split(key, chains))
        return {name: constrain(name, value) for name, value in sites.items()}, diverging

    trace = handlers.trace(ba.seed_by_name(env.prior, jax.random.key(0))).get_trace()

    def constrain(name: str, value: jax.Array) -> jax.Array:
        return biject_to(trace[name]["fn"].support)(value)

    return sample


def split_rhat(draws: np.ndarray) -> float:
    """The largest split R-hat of a variable; shape (chain, draw, ...)."""
    half = draws.shape[1] // 2
    parts = np.concatenate([draws[:, :half], draws[:, half : 2 * half]])
    within, between = parts.var(1, ddof=1).mean(0), half * parts.mean(1).var(0, ddof=1)
    return float(np.max(np.sqrt(((half - 1) / half * within + between / half) / within)))


def write(
    options: argparse.Namespace, covered: dict, ranks: dict, rhats: list, divergences: int, seconds: list
) -> None:
    """Coverage with its distance from 0.89 in standard errors of a binomial count; the mean rank of a truth is 0.5."""
    error = float(np.sqrt(INTERVAL * (1 - INTERVAL) / len(rhats)))
    table = {
        name: {
            "covered": round(float(np.mean(c)), 4),
            "standard_errors_off": round((float(np.mean(c)) - INTERVAL) / error, 2),
            "mean_rank": round(float(np.mean(ranks[name])), 3),
        }
        for name, c in covered.items()
    }
    result = {
        "command": f"python benchmarks/recovery.py --records {options.records}",
        "records": len(rhats),
        "standard_error": round(error, 4),
        "coverage": table,
        "rhat": {
            "median": round(float(np.median(rhats)), 4),
            "max": round(float(np.max(rhats)), 4),
            "records_above_1.05": [options.first + int(place) for place in np.flatnonzero(np.array(rhats) > 1.05)],
        },
        "divergences": divergences,
        "seconds_per_record": round(float(np.median(seconds)), 2),
    }
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
