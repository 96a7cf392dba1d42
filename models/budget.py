"""An organisation that shares out its budget among 20 departments, quarter by quarter, in a known causal graph.

Fifty variables stand in one graph (`budgets/world.py`): conditions, budgets, projects, costs, indicators, results. A
level L is a deviation from the plan, in points for projects and satisfaction and in percent for all else:

    L(t) = D L(t-1) + B L(t) + e(t),

where budgets are what is decided, saturate (b enters as 15 tanh(b / 15)) and stay until they are changed. The forecast
of a quarter is the same with no noise and budgets unchanged; what differs from it is the surprise, which is what the
books hold. Last quarter's surprise of revenue is this quarter's `revenue_before`. Conditions are normal, a boom or a
downturn, and nobody sees which. The graph is the truth that discovery, effects and risk are measured against.

Three objectives, by the quarter and from levels: what the result is above plan, in percent of the quarter's revenue;
risk, at most 0; and how departments do by the figure each is judged by. Other organisations are
`organisation(World(...))`, in a file of one's own:

    from bayesalloc.models.budget import World, organisation
    environment = organisation(World(plan={"training": 2.5}))
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float, Int

from bayesalloc.environment import Environment, Observation, Outcome
from bayesalloc.errors import InputError, listed
from bayesalloc.models.budgets import decisions, rewards
from bayesalloc.models.budgets.bursts import Bursts
from bayesalloc.models.budgets.decisions import MOVES, PER_REVENUE, REACH, SLACK, STEP, as_decision, within_limits
from bayesalloc.models.budgets.world import DEPARTMENTS, FREEDOM, PLACE, PROTECTED, TABLE, VARIABLES

OBJECTIVES = ("efficiency", "risk", "performance")
# What is added to the economy's noise, %, and the probability that a quarter of the kind is followed by another one.
CONDITIONS = {"normal": (0.1, 0.92), "boom": (1.2, 0.85), "downturn": (-1.6, 0.80)}
BROKEN = {"marketing": 0.5, "maintenance": 2.0}  # factors on what a budget does, after a break
SATURATION = 15.0  # %
NEGLIGIBLE = 1e-3  # %; rounding that is no violation

_BUDGETS = slice(PLACE[DEPARTMENTS[0]], PLACE[DEPARTMENTS[-1]] + 1)
_CARRIED = np.array([variable.carried for variable in TABLE.values()], np.float32)
_SD = np.array([variable.sd for variable in TABLE.values()], np.float32)
_BEFORE = PLACE["revenue_before"]
_CAUSES = {name: {} if name in DEPARTMENTS else variable.parents for name, variable in TABLE.items()}
_POLICY = {name: TABLE[name].parents for name in VARIABLES[: _BUDGETS.stop]}  # of surprises: conditions and budgets


@dataclasses.dataclass(frozen=True)
class World:
    """What an organisation is like.

    Attributes:
        break_at: the quarter, from 0, from which marketing does half of what it did and maintenance twice; None: never.
        plan: department -> its budget by plan, M/yr, where that is not the table's; the plan's result goes with it.
    """

    break_at: int | None = None
    plan: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a world that cannot be.

        Raises:
            InputError: names the field, its value and what is allowed.
        """
        if self.break_at is not None and self.break_at < 0:
            raise InputError(f"break_at is {self.break_at}; it must be at least 0")
        if strange := set(self.plan) - {*DEPARTMENTS}:
            raise InputError(f"plan has no department '{listed(strange)}'; there are {listed(DEPARTMENTS)}")
        for name, money in self.plan.items():
            if not 0.0 < money < np.inf:
                raise InputError(f"plan.{name} is {money:g}; it must be a number above 0")

    def __hash__(self) -> int:
        """Of what is equal, as plans of training that hold a world are looked up."""
        return hash((self.break_at, frozenset(self.plan.items())))

    @property
    def base(self) -> Float[np.ndarray, " department"]:
        """Budgets by plan, M/yr."""
        return np.array([self.plan.get(name, TABLE[name].base) for name in DEPARTMENTS], np.float32)


class State(NamedTuple):
    """A quarter's beginning.

    Attributes:
        level: % or points from plan in the last quarter.
        revenue_surprise: % that revenue was above its forecast in the last quarter.
        reserve: M, the sum of results above plan.
        condition: index into CONDITIONS of the quarter that begins.
        period: its number, from 0.
    """

    level: Float[Array, " variable"]
    revenue_surprise: Array
    reserve: Array
    condition: Int[Array, ""]
    period: Int[Array, ""]


class Quarter(NamedTuple):
    """Outcome of a quarter.

    Attributes:
        level: % or points from plan.
        surprise: % or points from the forecast: a row of the books. Of a budget it is the change.
        efficiency: result above plan, % of a quarter's revenue by plan.
        risk: at most 0; of incidents and overtime, a result below plan, a reserve below 0, and change itself.
        performance: 10 x the departments' mean tanh of the figure each is judged by, over 6 %.
        side_effect: % by which each protected variable is worse than by plan.
        budget: M/yr.
        changed: departments whose budget changed.
        violations: of hard limits.
        condition: index into CONDITIONS.
    """

    level: Float[Array, " variable"]
    surprise: Float[Array, " variable"]
    efficiency: Array
    risk: Array
    performance: Array
    side_effect: Float[Array, " protected"]
    budget: Float[Array, " department"]
    changed: Array
    violations: Array
    condition: Int[Array, ""]


def arms(names: Sequence[Any] | None) -> dict[str, Any]:
    """What can be done, by name: mechanisms, their files, and learned offices, as `my.policy` or `my.policy:1,0,0`."""
    if not any(isinstance(name, str) and ".policy" in name for name in names or ()):
        return decisions.arms(names)
    from bayesalloc.models.budgets import registry  # it learns in this world, and so imports it

    found: dict[str, Any] = {}
    for name in names or ():
        learned = isinstance(name, str) and ".policy" in name
        for label, arm in [registry.named(name)] if learned else decisions.arms([name]).items():
            if label in found:
                raise InputError(f"two arms are called '{label}'")
            found[label] = arm
    return found


def organisation(world: World = World()) -> Environment:
    """Quarters of an organisation.

    Args:
        world: what it is like.
    """
    base, whole = world.base, float(world.base.sum())

    def money_for(level: Float[Array, " variable"]) -> Array:
        return whole * (SLACK + PER_REVENUE * level[PLACE["revenue"]])

    def step(state: State, action: Any, params: tuple[()]) -> tuple[State, Quarter]:
        decision = as_decision(action)
        fixed = None if decision.fixed is None else jnp.asarray(decision.fixed)
        before = state.level[_BUDGETS]

        def felt(cause: str, value: Array) -> Array:
            if cause not in DEPARTMENTS:
                return value
            value = SATURATION * jnp.tanh(value / SATURATION)
            if world.break_at is None or cause not in BROKEN:
                return value
            return value * jnp.where(state.period >= world.break_at, BROKEN[cause], 1.0)

        carried = state.level * _CARRIED
        noise, condition = _chance(state.condition)
        noise = noise.at[_BEFORE].set(state.revenue_surprise)

        forecast = _solved(carried, _CAUSES, felt)
        wanted = jnp.asarray(decision.change)
        if decision.follows is not None:
            known = None if fixed is None else fixed - forecast
            policy = _solved(noise, _POLICY, lambda cause, value: value, known)[_BUDGETS]
            wanted = wanted + jnp.asarray(decision.follows) * policy
        if decision.target is not None:
            target = jnp.asarray(decision.target)
            wanted = jnp.where(jnp.isnan(target), wanted, target - before)
        change = within_limits(wanted, before, base, money_for(state.level))
        level = _solved((carried + noise).at[_BUDGETS].set(before + change), _CAUSES, felt, fixed)

        budget, change = jnp.exp(level[_BUDGETS] / 100.0) * base, level[_BUDGETS] - before
        above = rewards.above_plan(level, budget.sum() - whole)
        reserve = jnp.clip(state.reserve + above, -rewards.DEEP, rewards.DEEP)
        happened = Quarter(
            level=level,
            surprise=level - forecast,
            efficiency=rewards.efficiency(above),
            risk=rewards.risk(level, rewards.efficiency(above), reserve, change),
            performance=rewards.performance(level),
            side_effect=jnp.stack([harmful * level[PLACE[name]] for name, harmful in PROTECTED.items()]),
            budget=budget,
            changed=(jnp.abs(change) > NEGLIGIBLE).sum().astype(jnp.float32),
            violations=_violations(change, before, base, money_for(state.level)),
            condition=state.condition,
        )
        return State(level, happened.surprise[PLACE["revenue"]], reserve, condition, state.period + 1), happened

    def observe(state: State, params: tuple[()]) -> Observation:
        """What the office sees: last quarter's levels in tens, with its surprise of revenue, the reserve and the room.

        The mask is of `lower, hold, raise` of the first department, then of the next; a move is allowed if the
        budget's distance from plan leaves all of it.
        """
        budget = state.level[_BUDGETS]
        level = state.level.at[_BEFORE].set(state.revenue_surprise) / 10.0
        room = money_for(state.level) / (base * jnp.exp(budget / 100.0)).sum() - 1.0
        seen = jnp.concatenate([level, jnp.stack([state.reserve / rewards.DEEP, 10.0 * room])])
        moved = budget[:, None] + MOVES
        return Observation(seen, ((MOVES == 0.0) | (jnp.abs(moved) <= REACH + NEGLIGIBLE)).ravel())

    return Environment(
        name="budget",
        prior=lambda: (),
        initial=lambda params: State(jnp.zeros(len(TABLE)), jnp.zeros(()), jnp.zeros(()), jnp.int32(0), jnp.int32(0)),
        step=step,
        arms=arms,
        outcomes={
            "efficiency": Outcome("% of revenue", "higher"),
            "risk": Outcome("points", "higher"),
            "performance": Outcome("points", "higher"),
            "side_effect": Outcome("%", "lower", ("protected",)),
            "level": Outcome("% or points", "", ("variable",)),
            "budget": Outcome("M/yr", "", ("department",)),
            "changed": Outcome("departments"),
            "violations": Outcome("limits", "lower"),
        },
        coords={"variable": VARIABLES, "department": DEPARTMENTS, "protected": tuple(PROTECTED)},
        period="quarter",
        baseline="hold",
        observe=observe,
        reward=lambda quarter: jnp.stack([quarter.efficiency, quarter.risk, quarter.performance]),
        mechanism=decisions.schema,
        check=decisions.check,
        alike=decisions.alike,
    )


def _chance(condition: Int[Array, ""]) -> tuple[Float[Array, " variable"], Int[Array, ""]]:
    """A quarter's noise of each variable, and the condition of the next one; of budgets it is the past policy's."""
    normal, student = dist.Normal(0.0, 1.0), Bursts(FREEDOM)
    others = jnp.asarray(numpyro.sample("noise", normal.expand([len(TABLE) - len(DEPARTMENTS)]).to_event(1)))
    bursts = jnp.asarray(numpyro.sample("bursts", student.expand([len(DEPARTMENTS)]).to_event(1)))
    lot = numpyro.sample("condition_lot", dist.Uniform(0.0, 1.0))
    first = _BUDGETS.start
    standard = jnp.concatenate([others[:first], bursts * np.sqrt(1.0 - 2.0 / FREEDOM), others[first:]])
    shift, stays = (jnp.asarray(column, jnp.float32)[condition] for column in zip(*CONDITIONS.values(), strict=True))
    onwards = jnp.where(lot < stays, 0, jnp.where(lot < (1.0 + stays) / 2.0, 1, 2))  # or either other one, evenly
    return (standard * _SD).at[PLACE["economy"]].add(shift), (condition + onwards) % len(CONDITIONS)


def _solved(
    alone: Float[Array, " variable"],
    causes: Mapping[str, Mapping[str, float]],
    felt: Callable[[str, Array], Array],
    fixed: Float[Array, " variable"] | None = None,
) -> Float[Array, " found"]:
    """Variables from their causes, one by one in the order of the table.

    Args:
        alone: what each is without its causes.
        causes: variable -> cause -> coefficient.
        felt: what of a cause's value reaches its effects, `(cause, value) -> value`.
        fixed: what each is set to; NaN: free.
    """
    found: dict[str, Array] = {}
    for name, coefficients in causes.items():
        value = alone[PLACE[name]]
        for cause, coefficient in coefficients.items():
            value = value + coefficient * felt(cause, found[cause])
        found[name] = value if fixed is None else jnp.where(jnp.isnan(fixed[PLACE[name]]), value, fixed[PLACE[name]])
    return jnp.stack(list(found.values()))


def _violations(
    change: Float[Array, " department"], before: Float[Array, " department"], base: np.ndarray, money: Array
) -> Array:
    """How many hard limits are broken; the money's is not where all are cut as far as the others allow."""
    after, least = before + change, before + jnp.maximum(-STEP, -REACH - before)
    spent, attainable = ((base * jnp.exp(level / 100.0)).sum() for level in (after, least))
    over = spent > jnp.maximum(money, attainable) * (1.0 + 0.01 * NEGLIGIBLE)
    broken = jnp.abs(change) > STEP + NEGLIGIBLE, jnp.abs(after) > REACH + NEGLIGIBLE
    return (over + sum(each.sum() for each in broken)).astype(jnp.float32)


environment = organisation()
