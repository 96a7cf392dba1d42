"""How names, numbers and their uncertainty are put into words."""

import math
from collections.abc import Iterable, Mapping

MISSING = "\N{EN DASH}"


def words(name: str) -> str:
    """A name as it is read.

    >>> words("payoff.dam_owner")
    'payoff, dam owner'
    """
    return name.replace("_", " ").replace(".", ", ") if name.replace(".", "_").isidentifier() else name


def listing(names: Iterable[str]) -> str:
    """Names in a sentence.

    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    *most, last = [*names] or ["none"]
    return f"{', '.join(most)} and {last}" if most else last


def places(low: float, high: float, value: float = 0.0) -> int:
    """Decimal places that show an interval's width to two digits, or its value to three where it has no width.

    >>> places(0.283, 0.394, 0.34), places(115.5, 158.9), places(2.0, 2.0, 2.0)
    (2, 0, 2)
    """
    size = max(abs(low), abs(high), abs(value))
    if not math.isfinite(size) or size == 0:
        return 0
    width = high - low
    digits = 1 - math.floor(math.log10(width)) if width > 1e-5 * size else 2 - math.floor(math.log10(size))
    return min(max(digits, 0), 12)


def number(value: float, decimals: int | None = None, *, signed: bool = False) -> str:
    """A number as it is read: `decimals` places, or three significant digits; a dash where it is missing.

    >>> number(-0.1366), number(1234.5, 0, signed=True)
    ('-0.137', '+1,234')
    """
    if not math.isfinite(value):
        return MISSING
    decimals = places(value, value, value) if decimals is None else decimals
    text = f"{value:{'+' if signed else ''},.{decimals}f}" if decimals < 7 else f"{value:{'+' if signed else ''}.2g}"
    return text.lstrip("+-") if float(text.replace(",", "")) == 0 else text


def shared_places(several: Iterable[Mapping[str, float]]) -> int:
    """Decimal places for several intervals side by side: those of the widest, of the intervals that have a width."""
    found = [places(s["low"], s["high"]) for s in several if s.get("high", 0.0) > s.get("low", 0.0)]
    return min(found, default=0)


def top_places(values: Iterable[float]) -> int:
    """Decimal places for several numbers side by side: three digits of the largest."""
    top = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return places(top, top, top)


def bracket(stats: Mapping[str, float], mean: str, decimals: int | None = None, *, signed: bool = False) -> str:
    """A mean with its interval, to its own two digits, or to `decimals` but at most one digit less.

    >>> bracket({"mean": 0.3405, "low": 0.2833, "high": 0.394}, "mean")
    '0.34 [0.28, 0.39]'
    """
    low, high = stats.get("low", math.nan), stats.get("high", math.nan)
    own = places(low, high, stats[mean])
    chosen = own if decimals is None else max(decimals, own - 1)
    if not math.isfinite(low + high):
        return number(stats[mean], signed=signed)
    return f"{number(stats[mean], chosen, signed=signed)} [{number(low, chosen)}, {number(high, chosen)}]"


def percent(probability: float, draws: int) -> str:
    """A probability estimated from draws; never 0 or 100 %, which no simulation shows.

    Where no draw (or every draw) has the property, the bound is the exact 95 % one, 1 - 0.05^(1/draws), or 1 %.

    >>> percent(0.978, 500), percent(1.0, 500), percent(0.0, 20)
    ('98 %', '>99 %', '<14 %')
    """
    if not math.isfinite(probability):
        return MISSING
    bound = max(0.01, 1 - 0.05 ** (1 / draws))
    if probability * draws < 0.5 or probability < 0.01:
        return f"<{100 * bound if probability * draws < 0.5 else 1:.0f} %"
    if (1 - probability) * draws < 0.5 or probability > 0.99:
        return f">{100 * (1 - bound) if (1 - probability) * draws < 0.5 else 99:.0f} %"
    return f"{100 * probability:.0f} %"


def with_unit(text: str, unit: str) -> str:
    """A number and its unit.

    >>> with_unit("138", "kEUR/yr"), with_unit("0.34", "")
    ('138 kEUR/yr', '0.34')
    """
    return f"{text} {unit}".rstrip()


def size_of(
    effect: Mapping[str, float], mean: str, decimals: int | None, unit: str, interval: float
) -> tuple[int | None, str]:
    """Direction of an effect (0 where it is open, None where there is none), and its size with its interval."""
    low, high = effect["low"], effect["high"]
    own = places(low, high, effect[mean])
    decimals = own if decimals is None else max(decimals, own - 1)
    label = f"{100 * interval:.0f} % interval " if interval else ""
    if low == high == 0:
        return None, ""
    if not math.isfinite(low + high):
        return 0, " (its size is not a finite number)"
    if low <= 0 <= high:
        return 0, f" ({label}{with_unit(f'{number(low, decimals)} to {number(high, decimals)}', unit)})"
    near, far = sorted((abs(low), abs(high)))
    shown = with_unit(number(abs(effect[mean]), decimals), unit)
    return (1 if low > 0 else -1), f"{shown} ({label}{number(near, decimals)} to {number(far, decimals)})"
