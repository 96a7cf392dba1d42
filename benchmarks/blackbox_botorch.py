"""The peer of `blackbox_peers.py`: one search by BoTorch, on one thread; it prints one line of JSON.

It needs `pip install botorch` with the CPU build of torch. The model is SingleTaskGP and all settings are those of
BoTorch: its kernel with a length-scale for each coordinate, its priors, values standardised, the noise learned. The
acquisition is log expected improvement, with noise qLogNoisyExpectedImprovement, from 10 starts out of 512 points.

- `raw`: coordinates are the D shares, none dropped. The search is over the unit cube, and the model sees points divided
  by their sum.
- `equality`: the same, but the search is over the simplex, under an equality constraint.
- `root`: coordinates are the D square roots of shares. The search is over the unit cube, and the model sees points
  divided by their length.
- `box`: coordinates of the box, scaled to [0, 1].
"""

import argparse
import json
import warnings

import clock
import numpy as np
import torch
from blackbox_problems import Problem, problem
from botorch.acquisition import LogExpectedImprovement, qLogNoisyExpectedImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.transforms.input import InputTransform
from botorch.optim import optimize_acqf
from gpytorch.mlls import ExactMarginalLogLikelihood


class Divided(InputTransform, torch.nn.Module):
    """Points divided by their sum, or by their length, in training and afterwards."""

    is_one_to_many = False
    transform_on_train = transform_on_eval = transform_on_fantasize = True

    def __init__(self, power: int) -> None:
        super().__init__()
        self.power = power

    def transform(self, X: torch.Tensor) -> torch.Tensor:
        """What the model sees."""
        return X / X.norm(p=self.power, dim=-1, keepdim=True).clamp_min(1e-9)


def search(found: Problem, coordinates: str, *, noisy: bool) -> dict:
    """Regret of the recommended evaluation after each one, and CPU seconds of each proposal."""
    power = {"raw": 1, "equality": 1, "root": 2}.get(coordinates, 0)
    divided = coordinates in ("raw", "root")
    if power:
        inside, outside = (lambda x: x ** (1 / power)), (lambda z: z**power / (z**power).sum())
    else:
        low, size = found.low, found.high - found.low
        inside, outside = (lambda x: (x - low) / size), (lambda z: low + size * z)
    points = list(found.starts)
    truth = [found.value(x) for x in points]
    seconds, failed = [], 0
    ends = torch.tensor([[0.0] * len(points[0]), [1.0] * len(points[0])], dtype=torch.double)
    sums = [(torch.arange(len(points[0])), torch.ones(len(points[0]), dtype=torch.double), 1.0)]

    def fitted() -> tuple[SingleTaskGP, torch.Tensor, torch.Tensor]:
        x = torch.tensor(np.array([inside(x) for x in points]))
        y = torch.tensor(np.array(truth) + found.noise[: len(truth)])[:, None]
        model = SingleTaskGP(x, y, input_transform=Divided(power) if divided else None)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        return model, x, y

    def propose() -> np.ndarray:
        model, x, y = fitted()
        if noisy:
            acquisition = qLogNoisyExpectedImprovement(model, x, prune_baseline=True)
        else:
            acquisition = LogExpectedImprovement(model, best_f=y.max())
        constrained = {"equality_constraints": sums} if coordinates == "equality" else {}
        z, _ = optimize_acqf(acquisition, ends, q=1, num_restarts=10, raw_samples=512, **constrained)
        return np.asarray(z[0].detach())

    while len(points) < found.evaluations:
        before = clock.cpu()
        try:
            z = propose()
        except Exception as error:  # a peer's failed proposal is counted, and the round is a random point
            failed += 1
            print("failed:", error)
            z = inside(np.random.default_rng(len(points)).dirichlet(np.ones(len(points[0]))))
        seconds.append(clock.cpu() - before)
        points.append(outside(np.maximum(z, 0.0)))
        truth.append(found.value(points[-1]))
    if noisy:
        model, x, _ = fitted()
        recommended = truth[int(model.posterior(x).mean.argmax())]
    else:
        recommended = max(truth)
    return {"regret": found.best - recommended, "seconds": float(np.median(seconds)), "failed": failed}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--problem", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--coordinates", choices=("raw", "equality", "root", "box"), default="raw")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    found = problem(options.problem, options.seed)
    print(json.dumps(search(found, options.coordinates, noisy=options.problem.startswith("noisy"))))


if __name__ == "__main__":
    main()
