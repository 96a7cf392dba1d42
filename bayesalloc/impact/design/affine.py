"""Payoffs as linear functions of a mechanism's numbers, simulated on common random numbers.

A number that only says who pays what never enters the dynamics. The trajectories are then the same whatever it is, and
in each draw every payoff is a constant plus a slope for each number: two simulated mechanisms say it exactly. Which
numbers are such is seen in `splitting`.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from bayesalloc.effects.environments import incentive_arms, summed_up
from bayesalloc.environment import Environment, alike, stack
from bayesalloc.impact.design.free import Free
from bayesalloc.mechanism import Mechanism
from bayesalloc.simulate import hold, rollout

FUTURES = 8  # of each draw
ROUNDING = 3e-5  # of the size of a quantity: what float32 leaves of it


class Simulated(NamedTuple):
    """What mechanisms bring, as the mean over the futures of each draw.

    Attributes:
        outcomes: `outcome`, or `outcome.<label>` for one with elements -> values.
        gain: each agent's payoff over that without an agreement; no agents where there are none with payoffs.
        deviation: what each agent would gain if it alone did not comply.
    """

    outcomes: dict[str, Float[np.ndarray, "point draw"]]
    gain: Float[np.ndarray, "point draw agent"]
    deviation: Float[np.ndarray, "point draw agent"]


class Affine(NamedTuple):
    """The same as functions constant + slope . values of the free numbers.

    Attributes:
        outcomes: name -> (constant, slope) of the mean over draws.
        gain: (constant of shape (draw, agent), slope of shape (draw, agent, number)).
        deviation: likewise.
    """

    outcomes: dict[str, tuple[float, Float[np.ndarray, " number"]]]
    gain: tuple[Float[np.ndarray, "draw agent"], Float[np.ndarray, "draw agent number"]]
    deviation: tuple[Float[np.ndarray, "draw agent"], Float[np.ndarray, "draw agent number"]]

    def outcome(self, name: str, values: Float[np.ndarray, " number"]) -> float:
        """The mean of an outcome at values of the free numbers."""
        constant, slope = self.outcomes[name]
        return float(constant + slope @ values)

    def among(self, places: Sequence[int], count: int) -> "Affine":
        """The same as functions of `count` numbers, of which its own have these places: others move nothing."""

        def widened(slope: Float[np.ndarray, "*row number"]) -> Float[np.ndarray, "*row wide"]:
            wide = np.zeros((*slope.shape[:-1], count))
            wide[..., list(places)] = slope
            return wide

        outcomes = {name: (constant, widened(slope)) for name, (constant, slope) in self.outcomes.items()}
        pairs = ((constant, widened(slope)) for constant, slope in (self.gain, self.deviation))
        return Affine(outcomes, *pairs)


def simulated(
    env: Environment, mechanisms: Sequence[Mechanism], key: Array, *, draws: int, horizon: int, futures: int = FUTURES
) -> Simulated:
    """What mechanisms bring, on common random numbers."""
    schema, n = env.mechanism, len(mechanisms)
    assert schema is not None
    actions = [schema.action(mechanism) for mechanism in mechanisms]
    if env.check is not None:
        for action in actions:
            env.check(action, {})
    together = stack(alike(env, [*actions, *incentive_arms(env, actions)]))
    result: Any = rollout(
        env,
        hold,
        key,
        arms=together,
        replicates=draws * futures,
        futures=futures,
        horizon=horizon,
        collect=lambda periods: summed_up(env, n, periods),
    )

    def averaged(value: Any) -> np.ndarray:
        array = np.asarray(value, float)
        return array.reshape(draws, futures, *array.shape[1:]).mean(1).swapaxes(0, 1)

    result = jax.tree.map(averaged, result)
    columns = np.concatenate([result["values"][name].reshape(n, draws, -1) for name in env.outcomes], axis=-1)
    outcomes = dict(zip(outcome_names(env), np.moveaxis(columns, -1, 0), strict=True))
    if "refusal" not in result:
        none = np.zeros((n, draws, 0))
        return Simulated(outcomes, none, none)
    payoff = result["values"][env.payoff]
    return Simulated(outcomes, payoff - result["refusal"], result["deviation"] - payoff)


def outcome_names(env: Environment) -> list[str]:
    """The outcomes, and `<outcome>.<label>` for each element of those that have some, in the order of their arrays."""
    return [
        ".".join([name, *map(str, labels)])
        for name, outcome in env.outcomes.items()
        for labels in itertools.product(*(env.coords[dim] for dim in outcome.dims))
    ]


def affine(
    env: Environment, free: Free, key: Array, others: Mapping[str, float], *, draws: int, horizon: int
) -> Affine:
    """Payoffs and outcomes as linear functions of the free numbers, which `splitting.split` has found them to be.

    Args:
        env: the environment.
        free: the free numbers; there may be none.
        key: a key; the same gives the same trajectories.
        others: numbers of the mechanism that are set too, by name.
        draws: of the parameters.
        horizon: periods.
    """
    centre = free.centre()
    steps = [step for _, step in directions(free, centre)]
    moved = [free.set(centre + step, others) for step in steps]
    found = simulated(env, [free.set(centre, others), *moved], key, draws=draws, horizon=horizon)
    along = np.reshape(steps, (len(steps), len(centre)))

    def of(values: Float[np.ndarray, "point ..."]) -> tuple[Any, Any]:
        change = values[1:] - values[0]
        change = np.where(np.abs(change) > ROUNDING * np.abs(values).max(initial=0.0), change, 0.0)
        slope = np.moveaxis(np.tensordot(np.linalg.pinv(along), change, 1), 0, -1)
        return values[0] - slope @ centre, slope

    means = {name: of(values.mean(1)) for name, values in found.outcomes.items()}
    outcomes = {name: (float(constant), slope) for name, (constant, slope) in means.items()}
    return Affine(outcomes, of(found.gain), of(found.deviation))


def directions(
    free: Free, at: Float[np.ndarray, " number"], *, back: bool = False
) -> list[tuple[int, Float[np.ndarray, " number"]]]:
    """A step in each free number, to the end of its range: from values up, or back.

    Where numbers sum to something, the one with the widest range makes up for each of the others.
    """
    found = []
    partners = {
        i: max(members, key=lambda j: free.high[j] - free.low[j]) for members, _ in free.tables() for i in members
    }
    above, below = free.high - at, at - free.low
    room, against, sign = (below, above, -1.0) if back else (above, below, 1.0)
    for i in range(len(at)):
        step, partner = np.zeros(len(at)), partners.get(i)
        if partner == i:
            continue
        size = room[i] if partner is None else min(room[i], against[partner])
        step[i] = sign * size
        if partner is not None:
            step[partner] = -sign * size
        found.append((i, step))
    return found
