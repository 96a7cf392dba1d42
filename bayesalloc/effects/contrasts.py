"""Statistics of arms and of their paired contrasts, over draws of the parameters and futures under each of them."""

import numpy as np
from jaxtyping import Float

STATISTICS = ("mean", "sd", "low", "high", "mcse")
EFFECT_STATISTICS = (
    "ate", "low", "high", "mcse", "relative", "prob_positive", "prob_exceeds", "one_low", "one_high",
    "var_parameter", "var_process", "var_monte_carlo",
)  # fmt: skip


def describe(values: Float[np.ndarray, "draw future ..."], interval: float) -> np.ndarray:
    """STATISTICS of one outcome over draws and futures together, on a new leading axis; mcse clusters by draw."""
    tail = (1 - interval) / 2
    low, high = np.quantile(values, [tail, 1 - tail], axis=(0, 1))
    mcse = values.mean(1).std(0, ddof=1) / np.sqrt(len(values))
    return np.stack([values.mean((0, 1)), values.std((0, 1)), low, high, mcse])


def expected(values: Float[np.ndarray, "draw future ..."]) -> Float[np.ndarray, "draw ..."]:
    """What is expected given each draw of the parameters: the mean over its futures, freed of their noise.

    The mean over few futures still carries chance, which would pass for parameter uncertainty. The means are drawn
    towards their own mean until their variance is the parameters' share of it (analysis of variance).
    """
    given = values.mean(1)
    between = given.var(0, ddof=1)
    chance = values.var(1, ddof=1).mean(0) / values.shape[1] if values.shape[1] > 1 else np.zeros_like(between)
    share = np.divide(np.maximum(between - chance, 0.0), between, out=np.zeros_like(between), where=between > 0)
    return given.mean(0) + np.sqrt(share) * (given - given.mean(0))


def contrast(
    treated: Float[np.ndarray, "draw future ..."], control: Float[np.ndarray, "draw future ..."],
    interval: float, minimum: float = 0.0,
) -> np.ndarray:  # fmt: skip
    """EFFECT_STATISTICS of a paired contrast, on a new leading axis.

    `ate` averages draws and futures; `low` and `high` bound the average effect given the parameters, `one_low` and
    `one_high` the effect in one single future. The variance of a single future's effect is split by analysis of
    variance into `var_parameter` (between draws) and `var_process` (between futures of a draw); `var_monte_carlo` is
    the variance of `ate` itself. `prob_exceeds` is the probability that the average effect is larger in size than
    `minimum`. Where an effect is not finite in some draw, there is no probability.
    """
    effect = treated - control
    n_draws, n_futures = effect.shape[:2]
    given = expected(effect)
    tail = (1 - interval) / 2
    low, high = np.quantile(given, [tail, 1 - tail], axis=0)
    one_low, one_high = np.quantile(effect, [tail, 1 - tail], axis=(0, 1))
    between = effect.mean(1).var(0, ddof=1)
    process = effect.var(1, ddof=1).mean(0) if n_futures > 1 else np.full_like(between, np.nan)
    parameter = np.maximum(between - process / n_futures, 0.0)
    mean, base = effect.mean((0, 1)), control.mean((0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(np.abs(base) > 1e-12, mean / np.abs(base), np.nan)
    known = np.isfinite(given).all(0)
    positive = np.where(known, (given > 0).mean(0) + 0.5 * (given == 0).mean(0), np.nan)
    exceeds = np.where(known, (np.abs(given) > minimum).mean(0), np.nan)
    return np.stack([
        mean, low, high, np.sqrt(between / n_draws), relative, positive, exceeds, one_low, one_high,
        parameter, process, between / n_draws,
    ])  # fmt: skip
