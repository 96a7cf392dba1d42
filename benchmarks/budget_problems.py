"""What `budget_peers.py` shares out, in NumPy alone: three sets of saturating curves, each with 200 posterior draws.

Impact is the mean over draws of sum e K log(1 + x / K), with e and K log-normal around each project's own.

- `even`: 6 projects whose curves are alike within a factor of two, a budget of 1,000 USD.
- `spread`: 30 projects, first-dollar effects and rooms with log standard deviations of 1.5 and 1.2, 1 million USD.
- `badly scaled`: 12 projects, rooms from 100 USD to 100 million, effects from 1e-9 to 1e-3 a dollar, 10 million USD.
"""

from typing import NamedTuple

import numpy as np

NAMES = ("even", "spread", "badly scaled")
DRAWS = 200


class Problem(NamedTuple):
    """Draws of what is believed, shape (draw, project), in USD; and the budget."""

    effect: np.ndarray
    room: np.ndarray
    budget: float

    def impact(self, amount: np.ndarray) -> float:
        """Expected impact of amounts in USD."""
        return float((self.effect * self.room * np.log1p(amount / self.room)).sum(1).mean())

    def slope(self, amount: np.ndarray) -> np.ndarray:
        """Marginal impact of a dollar in each project."""
        return (self.effect * self.room / (self.room + amount)).mean(0)


def problem(name: str) -> Problem:
    """The problem of that name."""
    rng = np.random.default_rng(NAMES.index(name))
    if name == "even":
        effect, room, budget = rng.uniform(1.0, 2.0, 6), rng.uniform(100.0, 200.0, 6), 1e3
    elif name == "spread":
        effect, room, budget = rng.lognormal(0.0, 1.5, 30), 5e4 * rng.lognormal(0.0, 1.2, 30), 1e6
    else:
        effect, room, budget = np.geomspace(1e-3, 1e-9, 12), np.geomspace(1e2, 1e8, 12), 1e7
    noise = rng.normal(size=(2, DRAWS, len(effect)))
    return Problem(effect * np.exp(0.5 * noise[0]), room * np.exp(0.3 * noise[1]), budget)
