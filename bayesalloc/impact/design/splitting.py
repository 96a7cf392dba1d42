"""Which free numbers have to be searched: those without which every payoff and outcome is linear in the others.

A number that enters the dynamics is searched, and one in which something is not linear. Of numbers that are linear
alone but not together, such as a price and the shares of what it brings, as few as can be. The numbers of a table that
sums to something go together.
"""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jax import Array

from bayesalloc.environment import Environment
from bayesalloc.errors import InputError, listed
from bayesalloc.impact.design.affine import ROUNDING, Simulated, directions, simulated
from bayesalloc.impact.design.free import Free

TRIED = 64  # draws on which linearity is tried
TOGETHER = 40  # points that are simulated at once
MOST = 6  # numbers that are searched
DEVIATION = "gain from not complying"

Unit = str  # a number, or a table whose numbers sum to something
Edges = dict[tuple[Unit, Unit], str]  # what cannot both be left free, twice the same: what cannot be; and why


class _Quantity(NamedTuple):
    """Something that is to be linear: its name, whether it shows the dynamics, its values, and their rounding error."""

    name: str
    dynamic: bool
    values: np.ndarray
    error: float


def split(env: Environment, free: Free, key: Array, *, horizon: int) -> dict[str, str]:
    """The free numbers that have to be searched, and why: "it moves water".

    The others are tried with the searched ones at their least and their largest, too.

    Raises:
        InputError: where there are more than MOST.
    """
    edges = _crooked(env, free, key, {}, horizon)
    size = {unit: len(members) for unit, members in _units(free, free.centre()).items()}
    while True:
        cover = _cover(list(edges), size, MOST)
        if cover is None:
            names = listed(dict.fromkeys(itertools.chain(*edges)))
            raise InputError(
                f"--free: payoffs are not linear in {names}, alone or together, or these enter the dynamics; at most"
                f" {MOST} numbers can be searched: free fewer of them"
            )
        searched = free.of([number.name for number in free.numbers if _unit(free, number.name) in cover])
        names = [number.name for number in searched.numbers]
        linear = free.of([number.name for number in free.numbers if number.name not in names])
        more: Edges = {}
        for end in (searched.low, searched.high) if names and linear.numbers else ():
            at = dict(zip(names, searched.nearest(end).tolist(), strict=True))
            more |= _crooked(env, linear, key, at, horizon)
        if not more:
            return {name: _why(_unit(free, name), edges) for name in names}
        edges |= more


def searched_along(free: Free) -> list[int]:
    """The places of numbers that say all: in each table that sums to something one is left out."""
    return [i for i, _ in directions(free, free.centre())]


def _unit(free: Free, name: str) -> Unit:
    return next(number.table or name for number in free.numbers if number.name == name)


def _units(free: Free, at: np.ndarray) -> dict[Unit, list[int]]:
    """The directions of each unit, by their places among all."""
    found: dict[Unit, list[int]] = {}
    for k, (i, _) in enumerate(directions(free, at)):
        found.setdefault(free.numbers[i].table or free.numbers[i].name, []).append(k)
    return found


def _why(unit: Unit, edges: Edges) -> str:
    """The reason that a unit is searched, its own before any that it shares."""
    if (unit, unit) in edges:
        return edges[unit, unit]
    pair, reason = next((pair, reason) for pair, reason in edges.items() if unit in pair)
    return f"{reason} and {next(other for other in pair if other != unit)} together"


def _cover(edges: list[tuple[Unit, Unit]], size: Mapping[Unit, int], room: int) -> list[Unit] | None:
    """The units with the fewest directions that leave no edge, one of each; None: there are more than there is room."""
    if room < 0:
        return None
    if not edges:
        return []
    found = []
    for unit in dict.fromkeys(edges[0]):
        rest = _cover([edge for edge in edges if unit not in edge], size, room - size[unit])
        if rest is not None:
            found.append([unit, *rest])
    return min(found, key=lambda units: sum(size[unit] for unit in units), default=None)


def _crooked(env: Environment, free: Free, key: Array, others: Mapping[str, float], horizon: int) -> Edges:
    """What is not linear, or enters the dynamics: units alone, and pairs of those that are linear alone."""

    def simulate(points: list[np.ndarray]) -> Simulated:
        mechanisms = [free.set(at, others) for at in points]
        return simulated(env, mechanisms, key, draws=TRIED, horizon=horizon, futures=1)

    # Off the centre, where a number may be nothing and hide what it multiplies.
    centre = free.centre()
    base = centre + 0.3 * _moved(free, directions(free, centre))
    up, down = directions(free, base), directions(free, base, back=True)
    units, names = _units(free, base), [free.numbers[i].table or free.numbers[i].name for i, _ in up]
    points = [base, *(base + step for _, step in (*up, *down)), base + _moved(free, up)]
    found = _quantities(env, simulate(points))
    edges: Edges = {}
    for each in found:
        ahead, behind = each.values[1 : 1 + len(up)] - each.values[0], each.values[1 + len(up) : -1] - each.values[0]
        for unit, (i, step), there, (_, step_back), back in zip(names, up, ahead, down, behind, strict=True):
            if each.dynamic and max(np.abs(there).max(), np.abs(back).max()) > each.error:
                edges.setdefault((unit, unit), f"it moves {each.name}")
            if np.abs(there / step[i] - back / step_back[i]).max(initial=0.0) * np.abs(step[i]) > 2 * each.error:
                edges.setdefault((unit, unit), f"{each.name} is not linear in it")
    if not edges and not any(_bent(each, _parts(free, up)) for each in found):
        return edges
    alone = [unit for unit in units if (unit, unit) not in edges]
    pairs = [(a, b) for a, b in itertools.combinations_with_replacement(alone, 2) if a != b or len(units[a]) > 1]
    for start in range(0, len(pairs), TOGETHER):
        chunk = pairs[start : start + TOGETHER]
        parts = [_parts(free, up) * np.isin(names, pair) for pair in chunk]
        steps = [sum((part * step for part, (_, step) in zip(of, up, strict=True)), 0.0 * base) for of in parts]
        beyond = _quantities(env, simulate([base + step for step in steps]))
        for each, there in zip(found, beyond, strict=True):
            known = each._replace(error=max(each.error, there.error))
            for pair, of, value in zip(chunk, parts, there.values, strict=True):
                if _bent(known._replace(values=np.concatenate([each.values[:-1], value[None]])), of):
                    edges.setdefault(pair, f"{each.name} is not linear in it")
    return edges


def _moved(free: Free, steps: list[tuple[int, np.ndarray]]) -> np.ndarray:
    return sum((p * step for p, (_, step) in zip(_parts(free, steps), steps, strict=True)), np.zeros(len(free.numbers)))


def _parts(free: Free, steps: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """Which part of each step is taken where all are: another of each, and together they stay in the ranges."""
    crowd = [max(1, sum(other.table == free.numbers[i].table for other in free.numbers) - 1) for i, _ in steps]
    alone = [not free.numbers[i].table for i, _ in steps]
    return (0.75 + 0.25 * np.cos(np.arange(len(steps)))) / np.where(alone, 1, crowd)


def _bent(quantity: _Quantity, parts: np.ndarray) -> bool:
    """Whether the last value is otherwise than parts of the first steps say."""
    values = quantity.values
    predicted = values[0] + np.tensordot(parts, values[1 : 1 + len(parts)] - values[0], 1)
    return bool(np.abs(predicted - values[-1]).max(initial=0.0) > quantity.error)


def _quantities(env: Environment, found: Simulated) -> list[_Quantity]:
    unit = env.outcomes[env.payoff].unit if env.payoff else ""
    largest, quantities = np.abs(found.gain).max(initial=0.0), []
    for name, values in {**found.outcomes, "gain over refusing": found.gain, DEVIATION: found.deviation}.items():
        outcome = env.outcomes.get(name.split(".")[0])
        dynamic = outcome is not None and bool(env.payoff) and outcome.unit != unit
        error = ROUNDING * (np.abs(values).max(initial=0.0) + largest)
        quantities.append(_Quantity(name, dynamic, values, error))
    return quantities
