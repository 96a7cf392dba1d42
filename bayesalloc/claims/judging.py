"""Whether what was measured bears a claim out: margins with intervals, and one word for them."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import scipy.stats

from bayesalloc.effects.contrasts import contrast

Verdict = Literal["holds", "does not hold", "undecided", "needs learning", "not measured"]


def average(treated: np.ndarray, control: np.ndarray, interval: float) -> dict[str, float] | None:
    """Average paired effect over graphs with its interval, shape (graph, episode); None with fewer than two graphs.

    The interval is that of the average (Student's t with the standard error of `effects.contrast`, clustered by graph),
    because the claims are about averages. Instances on which either was not measured are left out.
    """
    known = np.isfinite(treated - control)
    treated, control = (part[:, known.any(0)][known.any(1)] for part in (treated, control))
    if len(treated) < 2:
        return None
    mean, _, _, error = contrast(treated, control, interval)[:4]
    half = scipy.stats.t.ppf((1 + interval) / 2, len(treated) - 1) * error
    return {"mean": float(mean), "low": float(mean - half), "high": float(mean + half), "graphs": len(treated)}


def decide(found: Mapping[Any, dict[str, float] | None]) -> Verdict:
    """Holds if every margin is above zero with its interval; not if one is nowhere above zero; else undecided."""
    known = [each for each in found.values() if each is not None]
    if len(known) < len(found) or not known:
        return "not measured"
    if any(each["high"] <= 0 for each in known):
        return "does not hold"
    return "holds" if all(each["low"] > 0 for each in known) else "undecided"


def throughout(held: Iterable[bool]) -> Verdict:
    """Holds if it held in every repetition, not if it held in none; else undecided.

    >>> throughout([True, True]), throughout([True, False])
    ('holds', 'undecided')
    """
    held = [*held]
    return "holds" if all(held) else "undecided" if any(held) else "does not hold"
