"""The posterior of the watershed's parameters as `bayesalloc.fit` samples it.

python make_record.py --mechanisms cost_sharing cost_sharing --out record.npz
python sampling_bayesalloc.py --record record.npz
"""

import argparse
import json
import time
from pathlib import Path

import diagnostics
import jax
import jax.numpy as jnp
import numpy as np
import watershed_numbers as numbers
from numpyro.infer import MCMC, NUTS, init_to_sample

import bayesalloc as ba
from bayesalloc.inference.posing import Problem
from bayesalloc.inference.sampling import dense_block, sampled_model
from bayesalloc.models import watershed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, default=Path("record.npz"))
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--warmup", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--target-accept", type=float, default=0.95, help="the default of `bayesalloc.fit`")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    numbers.verify()
    env = watershed.catchment(watershed.RECORD_CONSTANTS, watershed.RECORD_INITIAL_HEALTH)
    with np.load(options.record) as record:
        data = {name: jnp.asarray(record[name], float) for name in ("forest_health", "erosion", "contribution")}
        labels = record["mechanism"]
    data = {name: values for name, values in data.items() if bool(jnp.isfinite(values).any())}
    arms = env.arms(list(numbers.MECHANISMS))
    problem = Problem(
        "watershed", ba.as_model(env, arms, numbers.YEARS), data, env, arms, labels, list(range(numbers.YEARS)),
        noncentered=() if "contribution" in data else ("tendency",),
    )  # fmt: skip

    def run(key: jax.Array) -> tuple[dict, dict]:
        kernel = NUTS(
            sampled_model(problem),
            init_strategy=init_to_sample,
            target_accept_prob=options.target_accept,
            dense_mass=dense_block(problem),
        )
        mcmc = MCMC(
            kernel, num_warmup=options.warmup, num_samples=options.draws, num_chains=options.chains,
            chain_method="vectorized", progress_bar=False,
        )  # fmt: skip
        mcmc.run(key, extra_fields=("diverging", "num_steps"), mechanism=labels, **data)
        return mcmc.get_samples(group_by_chain=True), mcmc.get_extra_fields(group_by_chain=True)

    started = time.perf_counter()
    compiled = jax.jit(run).lower(jax.random.key(options.seed)).compile()
    compiling, started = time.perf_counter() - started, time.perf_counter()
    posterior, extra = jax.block_until_ready(compiled(jax.random.key(options.seed)))
    sampling = time.perf_counter() - started
    kept = {name: np.asarray(value) for name, value in posterior.items() if name not in env.outcomes}
    steps = float(extra["num_steps"].mean())
    print(json.dumps(diagnostics.report("bayesalloc", kept, int(extra["diverging"].sum()), sampling, compiling, steps)))


if __name__ == "__main__":
    main()
