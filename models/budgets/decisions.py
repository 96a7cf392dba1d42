"""What an office decides in a quarter of `budget.py`: changes by department, a plan to move to, or the past policy.

Beside Python an action is a file, as any mechanism:

    title = "Less marketing, more training"
    description = "Moved to in steps of at most 5 % a quarter, and kept."
    model = "budget"

    [target]
    marketing = -10.0
    training = 10.0
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp
import msgspec
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from msgspec import Meta

from bayesalloc.errors import InputError, listed
from bayesalloc.library import mechanism_arms
from bayesalloc.mechanism import Mechanism, Schema, parse_mechanism
from bayesalloc.models.budgets.world import DEPARTMENTS, TABLE, VARIABLES

STEP, REACH = 5.0, 30.0  # % that a budget may change by in a quarter, and may be away from its plan
MOVES = np.array([-STEP, 0.0, STEP], np.float32)  # lower, hold, raise: what a department's number 0, 1, 2 stands for
SLACK, PER_REVENUE = 1.02, 0.003  # of all budgets by plan, and more for each percent of revenue above plan

Target = Annotated[float, Meta(ge=-REACH, le=REACH, extra={"unit": "%"})]
Fixed = Annotated[float, Meta(ge=-100.0, le=100.0, extra={"unit": "% or points"})]


class Decision(NamedTuple):
    """The action of a quarter. Percentages are 100 x the log, so that a raise and an equal cut cancel.

    What is None is nothing, as where all is NaN or 0, and takes no time.

    Attributes:
        change: % by which each department's budget is changed.
        target: % from plan that each department's budget is moved to instead; NaN: as `change` says.
        follows: 1 where budgets without a target also follow the past policy; else 0.
        fixed: the level that each variable is held at whatever else says, as by `do`; NaN: free.
    """

    change: Float[ArrayLike, "*arm department"]
    target: Float[ArrayLike, "*arm department"] | None = None
    follows: ArrayLike | None = None
    fixed: Float[ArrayLike, "*arm variable"] | None = None


def decide(
    change: Mapping[str, float] = {},
    *,
    target: Mapping[str, float] = {},
    fixed: Mapping[str, float] = {},
    follows: bool = False,
) -> Decision:
    """A decision by names; what is not named is left as it is.

    Args:
        change: % by department.
        target: % from plan by department.
        fixed: level by variable.
        follows: whether the past policy goes on.

    Raises:
        InputError: for a name that there is not.

    >>> float(decide({"hr": -5.0}).change[DEPARTMENTS.index("hr")])
    -5.0
    """
    return Decision(
        change=jnp.asarray(_numbers("department", change, DEPARTMENTS, 0.0)),
        target=jnp.asarray(_numbers("department", target, DEPARTMENTS, np.nan)),
        follows=jnp.float32(follows),
        fixed=jnp.asarray(_numbers("variable", fixed, VARIABLES, np.nan)),
    )


def as_decision(action: Any) -> Decision:
    """An action in full: of whole numbers each is a department's move, of other numbers each is a percentage.

    >>> moves = jnp.ones(len(DEPARTMENTS), int).at[0].set(2)  # hold all, but raise the first
    >>> as_decision(moves).change[:2].tolist()
    [5.0, 0.0]
    """
    if isinstance(action, Decision):
        return action
    numbers = jnp.asarray(action)
    return Decision(jnp.asarray(MOVES)[numbers] if jnp.issubdtype(numbers.dtype, jnp.integer) else numbers)


def transfer(source: str, target: str, money: float) -> Decision:
    """A pair of changes that moves money, M/yr, between two departments whose budgets are at plan.

    Raises:
        InputError: for a department that there is not, or money that is more than 5 % of either budget.

    >>> moved = transfer("marketing", "training", 0.08)
    >>> [round(float(moved.change[DEPARTMENTS.index(name)]), 2) for name in ("marketing", "training")]
    [-2.02, 3.92]
    """
    if strange := {source, target} - {*DEPARTMENTS}:
        raise InputError(f"there is no department '{listed(strange)}'; there are {listed(DEPARTMENTS)}")
    changes = {}
    for name, amount in ((source, -money), (target, money)):
        base = TABLE[name].base
        changes[name] = 100.0 * float(np.log1p(amount / base)) if abs(amount) < base else np.inf
        if not abs(changes[name]) <= STEP:
            raise InputError(
                f"a transfer of {money:g} M/yr is more than {STEP:g} % of {name}'s budget of {base:g} M/yr"
            )
    return decide(changes)


def within_limits(
    wanted: Float[Array, " department"],
    before: Float[Array, " department"],
    base: Float[np.ndarray, " department"],
    money: Array,
) -> Float[Array, " department"]:
    """The changes that the hard limits leave: raises are scaled down, and then all are cut.

    No budget changes by more than 5 % or ends more than 30 % from plan, and together they stay within the money, or
    within what is left when all are cut as far as that allows. As money is convex in changes, a straight line between
    two sets of them never exceeds what it promises.

    Args:
        wanted: % that departments would like.
        before: % that they are from plan.
        base: budgets by plan.
        money: what there is; in the unit of `base`.
    """
    lowest = jnp.maximum(-STEP, -REACH - before)
    allowed = jnp.clip(wanted, lowest, jnp.maximum(lowest, jnp.minimum(STEP, REACH - before)))
    cuts = jnp.minimum(allowed, 0.0)
    all_of_it, without_raises, least = (
        (base * jnp.exp((before + changes) / 100.0)).sum() for changes in (allowed, cuts, lowest)
    )
    raised = jnp.clip((money - without_raises) / jnp.maximum(all_of_it - without_raises, 1e-9), 0.0, 1.0)
    cut = jnp.clip((without_raises - money) / jnp.maximum(without_raises - least, 1e-9), 0.0, 1.0)
    return cuts + raised * (allowed - cuts) + cut * (lowest - cuts)


def alike(actions: Sequence[Any]) -> list[Decision]:
    """Actions in full and in one structure, so that they can be stacked."""
    given, nothing = [as_decision(action)._asdict() for action in actions], decide()
    return [nothing._replace(**{name: part for name, part in each.items() if part is not None}) for each in given]


def check(action: Any, sites: Mapping[str, Any]) -> None:
    """Refuse an action that is none, and bursts where nobody follows the past policy, whose they are.

    Raises:
        InputError: see above.
    """
    decision = as_decision(action)
    if np.shape(decision.change) != (len(DEPARTMENTS),):
        raise InputError(
            f"an action has the shape {np.shape(decision.change)}; there are {len(DEPARTMENTS)} departments"
        )
    if "bursts" in sites and not (decision.follows is not None and np.any(decision.follows)):
        raise InputError("'bursts' are changes of budgets under the past policy: set under another arm they do nothing")


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file holds beside its title and description.

    Attributes:
        target: department -> % from plan (100 x the log) that its budget is moved to and kept at.
        fixed: variable -> the level it is held at, in % or points from plan, whatever would change it.
        past_policy: whether departments that have no target get what they got in the past.
    """

    target: dict[str, Target] = {}
    fixed: dict[str, Fixed] = {}
    past_policy: bool = False


def _action(mechanism: Mechanism) -> Decision:
    given: Parameters = mechanism.parameters
    try:
        return decide(target=given.target, fixed=given.fixed, follows=given.past_policy)
    except InputError as error:
        raise InputError(f"{mechanism.path}: {error}") from None


def _numbers(what: str, given: Mapping[str, float], names: Sequence[str], otherwise: float) -> Float[np.ndarray, " n"]:
    if strange := set(given) - {*names}:
        raise InputError(f"there is no {what} '{listed(strange)}'; there are {listed(names)}")
    return np.array([given.get(name, otherwise) for name in names], np.float32)


schema = Schema("budget", Parameters, action=_action)
HOLD: dict[str, Any] = {
    "title": "Hold the plan",
    "description": "Every budget stays at its plan, and goes back to it after a forced cut.",
    "target": dict.fromkeys(DEPARTMENTS, 0.0),
}
PAST_POLICY: dict[str, Any] = {
    "title": "Past policy",
    "description": "Budgets follow conditions and each other, and change in bursts, as in the books.",
    "past_policy": True,
}
_OWN = {"hold": HOLD, "past_policy": PAST_POLICY}
arms = mechanism_arms(
    schema, [parse_mechanism({**table, "model": "budget"}, name, schema) for name, table in _OWN.items()]
)
