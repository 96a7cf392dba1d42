"""What a funder makes of an uncertain impact: one number from draws of it.

| risk | what counts |
| --- | --- |
| `ev` | the expected impact |
| `quantile:q` | the impact that is exceeded with probability 1 - q |
| `cvar:q` | the mean of the worst share q of the draws |
| `tails:lo,hi` | the mean between two quantiles: what is less likely than that does not count |
| `dmreu:a` | rank-dependent: a gain that has probability P counts P^a; averse to risk for a above 1 (Buchak 2013) |
| `wlu:c` | weighted-linear: a draw counts 1 / (1 + (I / scale)^c), so that large ones count less (Chew 1983) |
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from bayesalloc.errors import InputError, quoted

Functional = Callable[[Float[Array, " draw"]], Float[Array, ""]]


def functional(risk: str, scale: ArrayLike = 1.0) -> Functional:
    """The function of draws of the impact that a risk attitude is.

    Args:
        risk: as in the table above.
        scale: the impact that counts as one unit for `wlu`: that of what is funded now.

    Raises:
        InputError: where there is no such attitude, or its numbers are not allowed.

    >>> draws = jnp.array([1.0, 2.0, 3.0, 6.0])
    >>> [float(functional(risk)(draws)) for risk in ("ev", "cvar:0.5", "quantile:0.5", "tails:0.25,0.75")]
    [3.0, 1.5, 2.5, 2.5]
    """
    name, _, text = risk.partition(":")
    if name not in _KINDS:
        raise InputError(f"risk is '{quoted(risk)}'; it must be one of {', '.join(_FORMS)}")
    try:
        numbers = [float(part) for part in text.split(",")] if text else []
    except ValueError:
        numbers = [float("nan")]
    low, high, count = _ALLOWED[name]
    ordered = name != "tails" or (len(numbers) == 2 and numbers[0] < numbers[1])
    if len(numbers) != count or not all(low <= number <= high for number in numbers) or not ordered:
        raise InputError(f"risk is '{quoted(risk)}'; it must be {_FORMS[list(_KINDS).index(name)]}")
    return _KINDS[name](*numbers, scale)


def _expected(_: ArrayLike) -> Functional:
    return jnp.mean


def _quantile(q: float, _: ArrayLike) -> Functional:
    return lambda draws: jnp.quantile(draws, q)


def _worst(q: float, _: ArrayLike) -> Functional:
    return lambda draws: _weighted_ranks(draws, 0.0, q)


def _without_tails(low: float, high: float, _: ArrayLike) -> Functional:
    return lambda draws: _weighted_ranks(draws, low, high)


def _rank_dependent(a: float, _: ArrayLike) -> Functional:
    def worth(draws: Array) -> Array:
        n = len(draws)
        at_least = (jnp.arange(n, 0, -1) / n) ** a  # probability, transformed, of this draw or a better one
        return jnp.sort(draws) @ (at_least - jnp.append(at_least[1:], 0.0)).astype(draws.dtype)

    return worth


def _weighted_linear(c: float, scale: ArrayLike) -> Functional:
    def worth(draws: Array) -> Array:
        weights = 1.0 / (1.0 + (draws / scale) ** c)
        return (weights * draws).sum() / weights.sum()

    return worth


def _weighted_ranks(draws: Array, low: float, high: float) -> Array:
    """The mean of the draws between two quantiles; those at the ends count in part."""
    n = len(draws)
    ends = jnp.clip(jnp.arange(n + 1), low * n, high * n)
    return jnp.sort(draws) @ jnp.diff(ends).astype(draws.dtype) / ((high - low) * n)


_KINDS: dict[str, Callable[..., Functional]] = {
    "ev": _expected,
    "quantile": _quantile,
    "cvar": _worst,
    "tails": _without_tails,
    "dmreu": _rank_dependent,
    "wlu": _weighted_linear,
}
_ALLOWED = {  # lowest and highest number, and how many there are
    "ev": (0.0, 0.0, 0),
    "quantile": (0.01, 0.99, 1),
    "cvar": (0.01, 1.0, 1),
    "tails": (0.0, 1.0, 2),
    "dmreu": (0.1, 10.0, 1),
    "wlu": (0.01, 1.0, 1),
}
_FORMS = (
    "ev",
    "quantile:q with q from 0.01 to 0.99",
    "cvar:q with q from 0.01 to 1",
    "tails:lo,hi with 0 <= lo < hi <= 1",
    "dmreu:a with a from 0.1 to 10",
    "wlu:c with c from 0.01 to 1",
)
