"""Checks that the sampling peers have bayesalloc's log joint density, at points drawn from its prior.

The first command compares bayesalloc with the NumPyro peer, the second the PyMC peer at the same points:

    python check_sampling.py --record record.npz --points points.npz
    python check_sampling.py --record record.npz --points points.npz --pymc
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

NOISE = ("effort_shock", "growth_shock", "sentiment_shock", "price_shock")
TOLERANCE = 1e-6  # relative, in float64


def compare(peer: str, value: float, expected: float) -> None:
    """Raise ValueError where a peer's log density is not the one expected."""
    if abs(value - expected) > TOLERANCE * abs(expected):
        raise ValueError(f"{peer}: the log density is {value}, and in bayesalloc {expected}")


def bayesalloc_and_numpyro(record: Mapping[str, np.ndarray], n_points: int = 20) -> dict[str, np.ndarray]:
    """Points from the prior and their log density; ValueError where bayesalloc and the NumPyro peer disagree."""
    import diagnostics
    import jax
    import numpyro
    import sampling_numpyro
    from numpyro import handlers
    from numpyro.infer.util import log_density

    import bayesalloc as ba
    from bayesalloc.models import watershed

    numpyro.enable_x64()
    env = watershed.catchment(watershed.RECORD_CONSTANTS, watershed.RECORD_INITIAL_HEALTH)
    model = ba.as_model(env, horizon=len(record["mechanism"]))
    data = {name: values for name, values in record.items() if name != "mechanism"}
    terms = sampling_numpyro.in_force(record["mechanism"])
    points: list[dict[str, np.ndarray]] = []
    for key in jax.random.split(jax.random.key(0), n_points):
        trace = handlers.trace(ba.seed_by_name(model, key)).get_trace(mechanism=record["mechanism"])
        point = {name: trace[name]["value"] for name in (*diagnostics.PARAMETERS, *NOISE)}
        theirs, _ = log_density(model, (record["mechanism"],), data, point)
        theirs += len(record["mechanism"]) * np.log(len(watershed.MECHANISMS))  # its prior of the mechanism in force
        ours, _ = log_density(sampling_numpyro.model, (terms,), data, point)
        compare("numpyro", float(ours), float(theirs))
        points.append({**point, "log_density": theirs})
    return {name: np.array([point[name] for point in points]) for name in points[0]}


def pymc(record: Mapping[str, np.ndarray], points: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError where the PyMC peer disagrees about the points' log density."""
    import sampling_pymc

    for loop in ("unrolled", "scan"):
        model = sampling_pymc.build(record, loop)
        log_density = model.compile_logp(jacobian=False)
        for i, expected in enumerate(points["log_density"]):
            start = {}
            for variable in model.free_RVs:
                value = points[variable.name][i]
                transform = model.rvs_to_transforms[variable]
                if transform is not None:
                    value = np.asarray(transform.forward(value, *variable.owner.inputs).eval())
                start[model.rvs_to_values[variable].name] = value
            compare(f"pymc, {loop}", float(log_density(start)), float(expected))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, default=Path("record.npz"))
    parser.add_argument("--points", type=Path, default=Path("points.npz"))
    parser.add_argument("--pymc", action="store_true")
    options = parser.parse_args()
    with np.load(options.record) as file:
        record = dict(file)
    if options.pymc:
        with np.load(options.points) as points:
            pymc(record, dict(points))
    else:
        np.savez(options.points, **bayesalloc_and_numpyro(record))
    print("the log densities agree")


if __name__ == "__main__":
    main()
