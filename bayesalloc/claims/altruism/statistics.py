"""What runs in paired worlds say: gains, their intervals over worlds, and how surprising they would be by chance."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from bayesalloc.impact import metrics

RESAMPLED = 4000  # bootstrap samples of the worlds
FLIPPED = 10_000  # random choices of signs, where there are more than can all be tried
Worlds = Float[np.ndarray, " world"]


def rounds_of(name: str, rounds: int) -> slice | None:
    """The rounds that a claim names, of so many; None where there are not so many.

    >>> rounds_of("round 20", 60), rounds_of("last 50", 60), rounds_of("300 on", 60)
    (slice(19, 20, None), slice(10, 60, None), None)
    """
    kind, number = (name.split()[0], int(name.split()[1])) if name[0].isalpha() else ("from", int(name.split()[0]))
    if kind == "last":
        return slice(max(0, rounds - number), rounds)
    if number > rounds:
        return None
    return {"round": slice(number - 1, number), "to": slice(0, number), "from": slice(number - 1, rounds)}[kind]


def in_words(name: str, rounds: int) -> str:
    """The same for a reader.

    >>> in_words("last 50", 60), in_words("to 28", 60), in_words("round 20", 60)
    ('rounds 11 to 60', 'rounds 1 to 28', 'round 20')
    """
    at = rounds_of(name, rounds)
    return name if at is None or at.stop - at.start == 1 else f"rounds {at.start + 1} to {at.stop}"


def gain(treated: Float[np.ndarray, "world round"], control: Float[np.ndarray, "world round"], at: slice) -> Worlds:
    """By how many % the mean impact of one allocator is above that of another, in each world."""
    treated, control = treated[:, at], control[:, at]
    return np.asarray(metrics.impact_increase(jnp.asarray(treated), jnp.asarray(control), treated.shape[1]))


def with_interval(values: Worlds, probability: float) -> dict[str, float] | None:
    """The mean over worlds and its equal-tailed bootstrap interval; None with fewer than two worlds.

    >>> with_interval(np.array([1.0, 1.0, 1.0]), 0.89)
    {'mean': 1.0, 'low': 1.0, 'high': 1.0}
    """
    if len(values) < 2:
        return None
    means = np.random.default_rng(0).choice(values, (RESAMPLED, len(values))).mean(1)
    low, high = np.quantile(means, [(1 - probability) / 2, (1 + probability) / 2])
    return {"mean": float(values.mean()), "low": float(low), "high": float(high)}


def sign_flips(differences: Worlds) -> float:
    """Two-sided p of the mean paired difference, if which of a pair came first were a matter of chance.

    All choices of signs are tried where there are no more than FLIPPED, else as many at random.

    >>> sign_flips(np.array([1.0, 2.0, 1.5]))
    0.25
    """
    differences, n = np.asarray(differences, float), len(differences)
    if 2**n <= FLIPPED:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        added = 0
    else:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (FLIPPED, n))
        added = 1  # what was found is one of the choices
    sums = abs(signs @ differences)
    as_far = sums >= abs(differences.sum()) * (1 - 1e-12)
    return float((as_far.sum() + added) / (len(signs) + added))


def compared(treated: np.ndarray, control: np.ndarray, at: slice, probability: float) -> dict[str, Any]:
    """One allocator beside another in the same worlds, in some rounds; impacts have the shape (world, round)."""
    gains = gain(treated, control, at)
    ratios = np.log(treated[:, at].mean(1) / control[:, at].mean(1))  # which would turn round with the pair
    return {
        "gain": with_interval(gains, probability),
        "p": sign_flips(ratios),
        "ahead": int((gains > 0).sum()),
        "worlds": len(gains),
    }


def converged(shares: Float[np.ndarray, "world round"]) -> dict[str, Any] | None:
    """The median round of convergence, and in how many worlds it is later than measured; None for too few rounds."""
    if shares.shape[1] < metrics.SMOOTHED:
        return None
    found = [metrics.convergence_round(jnp.asarray(share)) for share in shares]
    rounds, censored = (np.array([float(each[k]) for each in found]) for k in (0, 1))
    return {"median": float(np.median(rounds)), "later": int(censored.sum())}
