"""What `blackbox_peers.py` searches, in NumPy alone: both sides read the same problems, starts and noise from here.

- `shares D`: f(x) = sum w (1 - exp(-k x)) / sum w over the simplex, w ~ LogNormal(0, 1.5), k ~ D Uniform(0.1, 1); its
  best allocation is x = max(log(w k / lambda), 0) / k. From 20 Dirichlet(1) starts, to 60 evaluations in all.
- `noisy D`: the same with noise of standard deviation 0.01, about a fifth of the spread of f over the starts at D = 20.
- `branin`, `hartmann`: negative, over their usual boxes; from 2 (D + 1) uniform starts.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

NOISE = 0.01
FIRST_SEED = 1_000_000  # of the benchmark; what is tuned is tuned on smaller ones


class Problem(NamedTuple):
    """A function to maximise, and where everyone starts.

    Attributes:
        value: of a point, without noise.
        best: its largest value.
        low, high: the box; None where points are shares.
        starts: points, one a row.
        evaluations: in all, with those of the starts.
        noise: added to each evaluation, the starts' first.
    """

    value: Callable[[np.ndarray], float]
    best: float
    low: np.ndarray | None
    high: np.ndarray | None
    starts: np.ndarray
    evaluations: int
    noise: np.ndarray


def problem(name: str, seed: int) -> Problem:
    """The problem of that name, with the numbers of a seed."""
    rng = np.random.default_rng(seed)
    kind, *size = name.split()
    if kind in ("shares", "noisy"):
        n = int(size[0])
        weight, rate = rng.lognormal(0.0, 1.5, n), n * rng.uniform(0.1, 1.0, n)

        def value(x: np.ndarray) -> float:
            return float(weight @ -np.expm1(-rate * x) / weight.sum())

        starts = rng.dirichlet(np.ones(n), 20)
        noise = rng.normal(0.0, NOISE if kind == "noisy" else 0.0, 60)
        return Problem(value, value(_best_shares(weight, rate)), None, None, starts, 60, noise)
    value, best, low, high, evaluations = BOXES[kind]
    starts = rng.uniform(low, high, (2 * (len(low) + 1), len(low)))
    return Problem(value, best, low, high, starts, evaluations, np.zeros(evaluations))


def _best_shares(weight: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """The best shares: the level at which they add up to 1, by bisection of its logarithm."""
    below, above = -800.0, float(np.log(weight * rate).max())
    for _ in range(200):
        level = 0.5 * (below + above)
        shares = np.maximum(np.log(weight * rate) - level, 0.0) / rate
        below, above = (level, above) if shares.sum() > 1.0 else (below, level)
    return shares


def _branin(x: np.ndarray) -> float:
    first, second = x
    bend = second - 5.1 / (4.0 * np.pi**2) * first**2 + 5.0 / np.pi * first - 6.0
    return -float(bend**2 + 10.0 * (1.0 - 1.0 / (8.0 * np.pi)) * np.cos(first) + 10.0)


def _hartmann(x: np.ndarray) -> float:
    return float(_HEIGHT @ np.exp(-(_RATE * (x - _PEAK) ** 2).sum(1)))


_HEIGHT = np.array([1.0, 1.2, 3.0, 3.2])
_RATE = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
_PEAK = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
BOXES = {
    "branin": (_branin, -0.39788735772973816, np.array([-5.0, 0.0]), np.array([10.0, 15.0]), 30),
    "hartmann": (_hartmann, 3.322368011391339, np.zeros(6), np.ones(6), 60),
}
NAMES = ("shares 20", "noisy 20", "shares 100", "noisy 100", "branin", "hartmann")
