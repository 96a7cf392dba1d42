"""The posterior of the watershed's parameters, in PyMC and sampled with nutpie.

Which mechanism was in force is known, so the market's sentiment is one matrix product of its shocks and prices are
computed for all years at once; only forest health goes year by year, unrolled (the default) or in a PyTensor scan.

    python sampling_pymc.py --record record.npz
    python sampling_pymc.py --record record.npz --backend jax --loop scan
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path

import diagnostics
import numpy as np
import nutpie
import pymc as pm
import pytensor
import pytensor.tensor as pt
import watershed_numbers as numbers
from pytensor.tensor import TensorVariable

INFLUENCE = np.array(numbers.INFLUENCE)


def build(record: Mapping[str, np.ndarray], loop: str) -> pm.Model:
    """Joint density of parameters, yearly noise and the measurements that are there."""
    chosen = [list(numbers.MECHANISMS.values())[index] for index in record["mechanism"]]
    years = len(chosen)

    def terms(name: str) -> np.ndarray:
        return np.array([getattr(mechanism, name) for mechanism in chosen])

    persistence = terms("persistence")
    memory = np.zeros((years, years))  # sentiment = memory @ sentiment_shock
    for year in range(years):
        memory[year] = persistence[year] * memory[year - 1] if year else 0.0
        memory[year, year] = np.sqrt(1.0 - persistence[year] ** 2)

    with pm.Model(coords={"agent": numbers.AGENTS, "year": np.arange(years)}) as model:
        median, spread = numbers.RECORD_HEALTH
        start = pm.LogitNormal("initial_health", mu=np.log(median / (1 - median)), sigma=spread)
        p = {name: pm.LogNormal(name, np.log(median), log_sd) for name, (median, log_sd) in numbers.RECORD.items()}
        tendency = pm.Normal("tendency", 0.0, p["tendency_spread"], dims="agent")
        effort_shock = pm.Normal("effort_shock", dims=("year", "agent"))
        growth_shock, sentiment_shock, price_shock = (
            pm.Normal(name, dims="year") for name in ("growth_shock", "sentiment_shock", "price_shock")
        )

        sentiment = pt.dot(memory, sentiment_shock)
        log_price = terms("cycle") * pt.tanh(sentiment) + terms("price_volatility") * price_shock
        price_factor = pt.exp(terms("response") * log_price)
        own, noise = numbers.BASELINE + tendency, terms("volatility")[:, None] * effort_shock

        def year_ahead(
            factor: TensorVariable,
            shocks: TensorVariable,
            growth_shock: TensorVariable,
            threshold: TensorVariable | float,
            below: TensorVariable | float,
            above: TensorVariable | float,
            health: TensorVariable,
            *constants: TensorVariable,
        ) -> tuple[TensorVariable, TensorVariable]:
            own, growth, degradation, urgency, growth_noise = constants
            step = (
                below
                if isinstance(below, float) and below == above
                else below + (above - below) * pt.sigmoid((health - threshold) / numbers.SWITCH_WIDTH)
            )
            effort = pt.clip((own + urgency * (1.0 - health)) * (factor * step) + shocks, 0.0, 1.0)
            joint, room = pt.sum(INFLUENCE * effort), health * (1.0 - health)
            change = (growth * joint + growth_noise * growth_shock) * room - degradation * (1.0 - joint) ** 2 * health
            return pt.clip(health + change, 0.0, 1.0), effort

        constants = [own, *(p[name] for name in ("growth", "degradation", "urgency", "growth_noise"))]
        levels = [terms(name) for name in ("threshold", "modifier", "modifier_above")]
        if loop == "scan":
            health, effort = pytensor.scan(
                year_ahead,
                sequences=[price_factor, noise, growth_shock, *(pt.as_tensor(level) for level in levels)],
                outputs_info=[start, None],
                non_sequences=constants,
                return_updates=False,
            )
        else:
            state, health, effort = start, [], []
            for year in range(years):
                now = [float(level[year]) for level in levels]
                state, given = year_ahead(price_factor[year], noise[year], growth_shock[year], *now, state, *constants)
                health.append(state)
                effort.append(given)
            health, effort = pt.stack(health), pt.stack(effort)

        log_erosion = pt.log(p["erosion_reference"]) - p["erosion_decay"] * health
        for name, error, distribution, center, bounds in (
            ("forest_health", "health_error", pm.TruncatedNormal, health, {"lower": 0.0, "upper": 1.0}),
            ("erosion", "erosion_error", pm.LogNormal, log_erosion, {}),
            ("contribution", "contribution_error", pm.TruncatedNormal, effort, {"lower": 0.0}),
        ):
            there = np.nonzero(np.isfinite(record[name]))
            distribution(f"{name}_observed", center[there], p[error], **bounds, observed=record[name][there])
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, default=Path("record.npz"))
    parser.add_argument("--backend", choices=("numba", "jax"), default="numba")
    parser.add_argument("--loop", choices=("unrolled", "scan"), default="unrolled")
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--warmup", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--target-accept", type=float, default=0.8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", help="keep the draws in this .npz file")
    options = parser.parse_args()
    with np.load(options.record) as record:
        model = build(dict(record), options.loop)
    started = time.perf_counter()
    gradient = "jax" if options.backend == "jax" else "pytensor"
    compiled = nutpie.compile_pymc_model(model, backend=options.backend, gradient_backend=gradient)
    run = {"chains": options.chains, "cores": options.cores, "progress_bar": False, "seed": options.seed}
    nutpie.sample(compiled, draws=10, tune=10, **run)  # what is compiled at the first call
    compiling, started = time.perf_counter() - started, time.perf_counter()
    tree = nutpie.sample(compiled, draws=options.draws, tune=options.warmup, target_accept=options.target_accept, **run)
    sampling = time.perf_counter() - started
    draws = {name: tree.posterior[name].values for name in diagnostics.PARAMETERS}
    if options.save:
        diagnostics.save(options.save, draws)
    peer = f"pymc, nutpie {options.backend}, {options.loop}"
    divergences, steps = int(tree.sample_stats.diverging.sum()), float(tree.sample_stats.n_steps.mean())
    print(json.dumps(diagnostics.report(peer, draws, divergences, sampling, compiling, steps)))


if __name__ == "__main__":
    main()
