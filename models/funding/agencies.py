"""The agencies of `altruism.py` as those who act: each moves money among its projects, and bids for more of the budget.

They begin from a split: the centre's, of every round, after each has re-split its own part by what it alone sees of
delivery; or the last one, which at first is the centre's. An agency's action is its bid and a move for each of its
projects, all in [-1, 1]; with b the split's budget of agency i,

    x_ij = B_i w_ij / sum_j w_ij,  w_ij = split_ij (1 + 0.2 move_ij),  B_i in proportion to b_i exp(0.2 bid_i),

so that an action of zeros is the split itself. Or it is a number: 0 holds, and 1 + 2 j and 2 + 2 j give its project j a
fifth more or less, at the cost or to the gain of everybody.

An agency sees its own projects, how they and their delivery do, what the centre believes of them, and its neighbours'
mean. It is rewarded by what its projects report, when that arrives, and with weight `eta` by what the aggregate impact
function of the centre expects of its own changes to the split.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from bayesalloc.environment import Environment, Observation, Outcome
from bayesalloc.impact.rules import spread_by_room
from bayesalloc.models.altruism import State, consortium
from bayesalloc.models.funding.guiding import UNKNOWN, Guide, believed_impact, uninformed
from bayesalloc.models.funding.reports import Arrived, arrived
from bayesalloc.models.funding.tilt import tilted
from bayesalloc.models.funding.world import AGENCY, Params, World, draw_projects

STEP = 0.2  # most that a project's share moves by in a round, and the log of a budget
MOVES = 1 + 2 * AGENCY  # actions by number
SIZE = AGENCY + 1  # numbers of an action that is not one
SPREAD = 0.1  # of the first split that is in proportion to room, where agencies go on from their own: none starts at 0
TINY = 1e-12


class Guided(NamedTuple):
    """A network of projects and what the centre says in each round.

    Attributes:
        params: the projects.
        guide: with a leading axis of rounds; the last holds for all later ones.
        eta: weight of the aggregate impact function in the rewards.
    """

    params: Params
    guide: Guide
    eta: Float[ArrayLike, ""]


class Memory(NamedTuple):
    """What agencies remember, beside what they see.

    Attributes:
        split: the last split, of all projects, whether on or off.
        bid: each agency's last bid, shape (agency,).
        reports: of each project so far, shape (project,).
        surprise: log of the last report less what was expected; 0 before the first.
        age: rounds since that report was read.
    """

    split: Float[Array, " project"]
    bid: Float[Array, " agency"]
    reports: Float[Array, " project"]
    surprise: Float[Array, " project"]
    age: Float[Array, " project"]


class Acting(NamedTuple):
    """A round's beginning: the consortium's, and what agencies remember."""

    inner: State
    memory: Memory


class Acted(NamedTuple):
    """Outcome of a round; the first three as in `altruism.Round`.

    Attributes:
        impact: see there.
        share_of_oracle: see there.
        turnover: see there.
        share: of each project in the budget.
        reported: what each agency's projects (or where they are rewarded together, an agency's on average) reported
            that was read after the round, in units of the impact expected of the first split, shape (agency,).
        expected: what the aggregate impact function expects of each agency's changes to the split, likewise.
        reward: reported + eta expected.
    """

    impact: Array
    share_of_oracle: Array
    turnover: Array
    share: Float[Array, " project"]
    reported: Float[Array, " agency"]
    expected: Float[Array, " agency"]
    reward: Float[Array, " agency"]


def agencies(
    world: World,
    *,
    rounds: int,
    seeded: bool = True,
    numbered: bool = False,
    mean_field: bool = True,
    together: bool = False,
) -> Environment:
    """Rounds of funding in which agencies act.

    The centre's guides are part of the parameters: `guiding.recorded` has those of Bayesian optimisation, and the
    prior those of one who never learns.

    Args:
        world: what it is like.
        rounds: how many there are; the prior's guides have as many.
        seeded: whether agencies begin from the centre's split of each round, re-split, or from their own last one.
        numbered: whether actions are numbers.
        mean_field: whether agencies see their neighbours' mean.
        together: whether each is rewarded by the mean of what all agencies' projects report.
    """
    funding = consortium(world)
    shape = (world.n_agencies,) if numbered else (world.n_agencies, SIZE)

    def initial(guided: Guided) -> Acting:
        split = in_round(guided.guide, 0).share
        if not seeded:
            split = spread_by_room(split, guided.params.room_seen, SPREAD)
        return Acting(funding.initial(guided.params), nothing_remembered(split))

    def step(state: Acting, action: Array, guided: Guided) -> tuple[Acting, Acted]:
        guide, params = told(state.inner, guided), guided.params
        base = from_centre(state.inner, guide, params) if seeded else state.memory.split
        split, bid = moved(base, action) if numbered else split_by(base, action)
        share = working(split, guide.on)
        inner, happened = funding.step(state.inner._replace(on=guide.on > 0.0), share, params)
        come = arrived(inner.pending, inner.period)
        first = in_round(guided.guide, 0)
        scale = believed_impact(first.share, first, params.edges)
        reported = (come.reports * jnp.exp(come.log_report)).reshape(-1, AGENCY).sum(-1) / scale
        if together:
            reported = jnp.full_like(reported, reported.mean())
        expected = gains(share, guide.share, guide, params) / scale
        return Acting(inner, remembered(state.memory, come, split, bid, guide)), Acted(
            impact=happened.impact,
            share_of_oracle=happened.share_of_oracle,
            turnover=happened.turnover,
            share=share,
            reported=reported,
            expected=expected,
            reward=reported + guided.eta * expected,
        )

    def observe(state: Acting, guided: Guided) -> Observation:
        guide = told(state.inner, guided)
        base = from_centre(state.inner, guide, guided.params) if seeded else state.memory.split
        values = sight(state.inner, state.memory, base, guide, guided.params, rounds, mean_field=mean_field)
        return Observation(values, jnp.ones((world.n_agencies, MOVES if numbered else SIZE), bool))

    def arms(names: Sequence[str] | None) -> dict[str, Any]:
        return {"hold": jnp.zeros(shape, int) if numbered else jnp.zeros(shape)}

    def prior() -> Guided:
        params = draw_projects(world)
        return Guided(params, uninformed(params, rounds), jnp.float32(0.0))

    return Environment(
        name="agencies",
        prior=prior,
        initial=initial,
        step=step,
        arms=arms,
        outcomes={
            "impact": Outcome("DALY", "higher"),
            "share_of_oracle": Outcome("1", "higher"),
            "turnover": Outcome("share of the budget"),
        },
        period="round",
        observe=observe,
        reward=lambda acted: acted.reward,
    )


def in_round(guide: Guide, number: ArrayLike) -> Guide:
    """What is said in a round; in later ones than there are the last is said again."""
    return jax.tree.map(lambda leaf: leaf[jnp.minimum(number, len(leaf) - 1)], guide)


def told(inner: State, guided: Guided) -> Guide:
    """What is said in the round that begins."""
    guide = in_round(guided.guide, inner.period)
    return guide._replace(on=jnp.where(guide.on == UNKNOWN, inner.on.astype(guide.on.dtype), guide.on))


def nothing_remembered(split: Float[Array, " project"]) -> Memory:
    """Before the first round, with the split that agencies begin from."""
    nothing = jnp.zeros_like(split)
    return Memory(split, jnp.zeros(len(split) // AGENCY), nothing, nothing, nothing)


def from_centre(inner: State, guide: Guide, params: Params) -> Float[Array, " project"]:
    """The centre's split as agencies re-split it without having learned anything."""
    return tilted(guide.share, params.room_seen, inner.local_seen, guide.on)


def working(split: Float[Array, " project"], on: Float[Array, " project"]) -> Float[Array, " project"]:
    """A split of the whole budget among the projects that are on; where none of them has a share, all the same."""
    there = split * on
    there = jnp.where(there.sum() > TINY, there, on)
    return there / jnp.maximum(there.sum(), TINY)


def split_by(
    base: Float[Array, " project"], action: Float[Array, "agency action"]
) -> tuple[Float[Array, " project"], Float[Array, " agency"]]:
    """The split that moves and bids make of another, and the bids.

    Args:
        base: the other.
        action: moves of each agency's projects, and last its bid, in [-1, 1].
    """
    own = base.reshape(-1, AGENCY)
    moves, bid = action[:, :AGENCY], action[:, AGENCY]
    within = own * (1.0 + STEP * moves)
    budget = own.sum(-1) * jnp.exp(STEP * bid)
    budget = budget * own.sum() / jnp.maximum(budget.sum(), TINY)
    return (budget[:, None] * within / jnp.maximum(within.sum(-1, keepdims=True), TINY)).reshape(-1), bid


def moved(base: Float[Array, " project"], number: Array) -> tuple[Float[Array, " project"], Float[Array, " agency"]]:
    """The split after one move of each agency, by number; and by how much its part of all has grown, in logs."""
    place, less = (number - 1) // 2, (number - 1) % 2
    chosen = (jnp.arange(AGENCY) == place[:, None]) & (number > 0)[:, None]
    own = base.reshape(-1, AGENCY)
    after = own * jnp.where(chosen, jnp.where(less > 0, 1.0 - STEP, 1.0 + STEP)[:, None], 1.0)
    after = after * own.sum() / jnp.maximum(after.sum(), TINY)
    grown = jnp.log(jnp.maximum(after.sum(-1), TINY) / jnp.maximum(own.sum(-1), TINY))
    return after.reshape(-1), grown / STEP


def gains(
    share: Float[Array, " project"], base: Float[Array, " project"], guide: Guide, params: Params
) -> Float[Array, " agency"]:
    """What the aggregate impact function expects of each agency's own changes: mu(x) - mu(x with its part of the base).

    Args:
        share: x.
        base: the centre's split.
        guide: of the round.
        params: the projects.
    """
    own = jnp.arange(len(share)) // AGENCY == jnp.arange(len(share) // AGENCY)[:, None]
    without = jax.vmap(lambda each: believed_impact(each, guide, params.edges))(jnp.where(own, base, share))
    return believed_impact(share, guide, params.edges) - without


def remembered(
    memory: Memory, come: Arrived, split: Float[Array, " project"], bid: Float[Array, " agency"], guide: Guide
) -> Memory:
    """The memory after a round, and after the reports that are then read."""
    there = come.reports > 0.0
    surprise = come.log_ratio - guide.belief.log_effect[0]
    return Memory(
        split=split,
        bid=bid,
        reports=memory.reports + come.reports,
        surprise=jnp.where(there, surprise, memory.surprise),
        age=jnp.where(there, 0.0, memory.age + 1.0),
    )


def sight(
    inner: State,
    memory: Memory,
    base: Float[Array, " project"],
    guide: Guide,
    params: Params,
    rounds: int,
    *,
    mean_field: bool,
) -> Float[Array, "agency feature"]:
    """What each agency sees.

    Of each of its projects: the log of its share and of its room (in fair shares of the budget), what is believed of
    its log effect and the doubt about that, the surprise and age of its last report, whether it has one, how many,
    whether it is on, its delivery as the agency sees it, and the log of its marginal impact over the mean of all; of
    itself: the log of its part of the budget, its last bid, and how much of the time is gone; and the mean field: for
    each project its neighbours' mean share, and the others' mean bid.
    """
    n = len(base)
    marginal = jax.grad(believed_impact)(base, guide, params.edges) * guide.on
    level = jnp.log(jnp.maximum(marginal, TINY) / jnp.maximum(marginal.mean(), TINY))
    projects = (
        jnp.log1p(n * base),
        jnp.log(n * params.room_seen),
        guide.belief.log_effect[0],
        guide.doubt,
        memory.surprise,
        memory.age / AGENCY,
        (memory.reports > 0.0).astype(base.dtype),
        jnp.log1p(memory.reports),
        guide.on,
        inner.local_seen,
        jnp.where(guide.on > 0.0, jnp.clip(level, -5.0, 5.0), 0.0),
    )
    part = jnp.log(jnp.maximum(base.reshape(-1, AGENCY).sum(-1), TINY) * (n / AGENCY) + 0.01)
    gone = jnp.full(part.shape, jnp.minimum(inner.period.astype(base.dtype) / rounds, 1.0))
    agency = jnp.arange(n) // AGENCY
    source = params.edges.source
    outside = (agency[source] != agency[:, None]).astype(base.dtype)
    neighbours = (outside * inner.share[source]).sum(-1) / jnp.maximum(outside.sum(-1), 1.0)
    others = (memory.bid.sum() - memory.bid) / max(n // AGENCY - 1, 1)
    field = [jnp.log1p(n * neighbours).reshape(-1, AGENCY), others[:, None]]
    seen = [each.reshape(-1, AGENCY) for each in projects] + [jnp.stack([part, memory.bid, gone], -1)]
    return jnp.concatenate([*seen, *(each if mean_field else jnp.zeros_like(each) for each in field)], -1)
