"""The second of two comparisons with other numbers in one process, beside one that has to compile anew.

python benchmarks/second_compare.py    # 500 draws x 20 years x 3 arms on the watershed; and a plain model
"""

import argparse
import dataclasses
import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)  # nothing is kept from one process to the next

import clock
import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import numpyro
import numpyro.distributions as dist

import bayesalloc as ba
from bayesalloc import effects, programs

RECORD = Path(__file__).parent.parent / "examples" / "data" / "malka.csv"
DOSE = np.linspace(-1.0, 1.0, 50, dtype=np.float32)


def harvest(dose, y=None):
    """A plain model: plots with a dose, and what they yield."""
    gain = numpyro.sample("gain", dist.Normal(0.5, 0.2))
    spread = numpyro.sample("spread", dist.LogNormal(0.0, 0.3))
    with numpyro.plate("plot", len(dose)):
        growth = numpyro.sample("growth", dist.Normal(gain * dose, spread))
        numpyro.sample("y", dist.Normal(jnp.exp(0.3 * growth), 0.1), obs=y)


def action(watershed: ba.Environment, number: float) -> Any:
    """A mechanism with another number."""
    known = ba.load_mechanism("cost_sharing")
    mine = msgspec.structs.replace(known.parameters.incentive, modifier=number)
    parameters = msgspec.structs.replace(known.parameters, incentive=mine)
    [made] = watershed.arms([dataclasses.replace(known, parameters=parameters)]).values()
    return made


def cases() -> dict[str, Callable[[int], Any]]:
    """What is compared -> a comparison that is another one for every number."""
    watershed, key = ba.load_model("watershed"), jax.random.key(0)
    posterior = ba.fit(watershed, RECORD, key, method="svi", warmup=20, draws=500, chains=1)

    def other(n: int) -> Any:
        tree = posterior.copy(deep=True)
        tree["posterior"]["growth"][:] *= 1 + n / 100
        return ba.compare(watershed, None, key, posterior=tree)

    def named(n: int) -> Any:
        arms = {**watershed.arms(None), "cost_sharing": action(watershed, 1 + n / 100)}
        return ba.compare(watershed, {name: effects.Arm(arm) for name, arm in arms.items()}, key)

    values = {"low": 0.3, "high": 0.5}
    return {
        "watershed, another key": lambda n: ba.compare(watershed, None, jax.random.key(n)),
        "watershed, other numbers of a mechanism": named,
        "watershed, another posterior": other,
        "watershed, other values of a site": lambda n: ba.compare(
            watershed, {"as it is": {}, **{name: {"growth": at + n / 100} for name, at in values.items()}}, key
        ),
        "plain model, other values of a site": lambda n: ba.compare(
            harvest, {"as it is": {}, "low": {"gain": n / 100}, "high": {"gain": 1 + n / 100}}, key, data={"dose": DOSE}
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    rows = []
    for name, compare in cases().items():

        def anew(n: int, compare: Callable[[int], Any] = compare) -> Any:
            jax.clear_caches()
            programs.forget()
            return compare(n)

        anew(0)
        row: dict[str, object] = {"case": name}
        for way, work in {"second": compare, "compiled anew": anew}.items():
            times = [clock.timed(lambda n=n, work=work: work(n)) for n in range(1, 1 + options.repeats)]
            for kind, found in zip(("cpu_seconds", "seconds"), zip(*times, strict=True), strict=True):
                row[f"{way}, {kind}"] = round(statistics.median(found), 3)
        rows.append(row)
        print(json.dumps(row), flush=True)
    (Path(__file__).parent / "results" / "second_compare.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
