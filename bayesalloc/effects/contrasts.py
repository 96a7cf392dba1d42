"""Statistics of arms and of their paired contrasts, over draws of the parameters and futures under each of them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Statistic = np.ndarray | np.floating
ROUNDING = 1e-5  # of a mean in float32, as a share of what was added up


class Description(NamedTuple):
    """Statistics of one outcome; `low` and `high` bound one single future."""

    mean: Statistic
    sd: Statistic
    low: Statistic
    high: Statistic
    mcse: Statistic


class Contrast(NamedTuple):
    """Statistics of a paired contrast; see `contrast`."""

    ate: Statistic
    low: Statistic
    high: Statistic
    mcse: Statistic
    relative: Statistic
    prob_positive: Statistic
    prob_exceeds: Statistic
    one_low: Statistic
    one_high: Statistic
    var_parameter: Statistic
    var_process: Statistic
    var_monte_carlo: Statistic


class Difference(NamedTuple):
    """Statistics of a difference that each draw has one of."""

    mean: Statistic
    low: Statistic
    high: Statistic
    prob_positive: Statistic


def describe(values: Float[np.ndarray, "draw future ..."], interval: float) -> Description:
    """Statistics of one outcome over draws and futures together; mcse clusters by draw."""
    tail = (1 - interval) / 2
    low, high = np.quantile(values, [tail, 1 - tail], axis=(0, 1))
    mcse = values.mean(1).std(0, ddof=1) / np.sqrt(len(values))
    return Description(values.mean((0, 1)), values.std((0, 1)), low, high, mcse)


def difference(effect: Float[np.ndarray, "draw ..."], interval: float) -> Difference:
    """Statistics of a difference over draws; a draw without one counts half for `prob_positive`."""
    tail = (1 - interval) / 2
    low, high = np.quantile(effect, [tail, 1 - tail], axis=0)
    return Difference(effect.mean(0), low, high, (effect > 0).mean(0) + 0.5 * (effect == 0).mean(0))


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
    treated: Float[np.ndarray, "draw future ..."],
    control: Float[np.ndarray, "draw future ..."],
    interval: float,
    minimum: float = 0.0,
    size: Statistic | None = None,
) -> Contrast:
    """Statistics of a paired contrast.

    `ate` averages draws and futures; `low` and `high` bound the average effect given the parameters, `one_low` and
    `one_high` the effect in one single future. The variance of a single future's effect is split by analysis of
    variance into `var_parameter` (between draws) and `var_process` (between futures of a draw); `var_monte_carlo` is
    the variance of `ate` itself. `prob_exceeds` is the probability that the average effect is larger in size than
    `minimum`. Where an effect is not finite in some draw, there is no probability. `relative` is NaN where the
    control's mean is 0 but for rounding, as told by the `size` of the numbers in it: by default that of the values.
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
    size = np.abs(control).mean((0, 1)) if size is None else size
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(np.abs(base) > ROUNDING * size, mean / np.abs(base), np.nan)
    known = np.isfinite(given).all(0)
    positive = np.where(known, (given > 0).mean(0) + 0.5 * (given == 0).mean(0), np.nan)
    exceeds = np.where(known, (np.abs(given) > minimum).mean(0), np.nan)
    return Contrast(
        ate=mean,
        low=low,
        high=high,
        mcse=np.sqrt(between / n_draws),
        relative=relative,
        prob_positive=positive,
        prob_exceeds=exceeds,
        one_low=one_low,
        one_high=one_high,
        var_parameter=parameter,
        var_process=process,
        var_monte_carlo=between / n_draws,
    )
