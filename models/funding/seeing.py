"""What the funder and the agencies of `altruism.py` see, as one row of numbers, and the same by name."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from bayesalloc.impact.rules import RULES, spread_by_room
from bayesalloc.models.funding.reports import Arrived
from bayesalloc.models.funding.world import AGENCY, EDGES, Params


class Sight(NamedTuple):
    """What is seen at the beginning of a round; every field has shape (project,), or (project, edge) where it says so.

    Attributes:
        on: 1 where a project is on, 0 where external risk has put it off.
        share: of the last round's budget.
        reports: how many arrive; the four fields from here on are those of `Arrived`.
        log_report: see there.
        log_ratio: see there.
        age: see there.
        local: the log of its delivery as its agency sees it; for that agency alone.
        estimate: of the log effect, before any report.
        effect_expected: E[e | m].
        room: K as seen.
        region: index of its region.
        source: index of the project that each edge comes from, shape (project, edge).
        kind: index of each edge's kind, shape (project, edge).
    """

    on: Array
    share: Array
    reports: Array
    log_report: Array
    log_ratio: Array
    age: Array
    local: Array
    estimate: Array
    effect_expected: Array
    room: Array
    region: Array
    source: Array
    kind: Array


class Agencies(NamedTuple):
    """What each agency sees, shape (agency, project of its own).

    Attributes:
        own: its own projects' part of what there is to see; edges have a further axis.
        neighbours: for each of its projects the mean share, in the last round, of those projects of other agencies that
            have an edge into it; 0 where there are none.
    """

    own: Sight
    neighbours: Float[Array, "agency project"]


def look(on: Array, share: Array, reports: Arrived, local_seen: Array, params: Params) -> Float[Array, " values"]:
    """All that is seen as one row of numbers; `seen` gives it its names back."""
    known = (params.estimate, params.effect_expected, params.room_seen, params.region)
    fields = [on, share, *reports, local_seen, *known, *params.edges.source.T, *params.edges.kind.T]
    return jnp.concatenate([field.astype(share.dtype) for field in fields])


def seen(values: Float[Array, " values"]) -> Sight:
    """What an observation's row of numbers says, by name."""
    columns = values.reshape(len(Sight._fields) - 2 + 2 * EDGES, -1)
    own, source, kind = columns[: -2 * EDGES], columns[-2 * EDGES : -EDGES].T, columns[-EDGES:].T
    *fields, region = own
    return Sight(*fields, *(_whole(each) for each in (region, source, kind)))


def _whole(value: Array) -> Int[Array, "..."]:
    return value.astype(jnp.int32)


def first_split(sight: Sight, spread: ArrayLike) -> Float[Array, " project"]:
    """What learners begin with: the knapsack's split of all projects, with a part of the money by room.

    Args:
        sight: before any report.
        spread: that part, in [0, 1], in proportion to the room seen, so that no project begins with nothing.
    """
    knapsack = RULES["knapsack"](sight.effect_expected, sight.room, jnp.ones_like(sight.on, bool), 1.0)
    return spread_by_room(knapsack, sight.room, spread)


def agencies(values: Float[Array, " values"]) -> Agencies:
    """What each agency sees of an observation: its own projects, and what their neighbours elsewhere were given."""
    everything = seen(values)
    agency = jnp.arange(len(everything.on)) // AGENCY
    outside = (agency[everything.source] != agency[:, None]).astype(values.dtype)
    given = (outside * everything.share[everything.source]).sum(-1) / jnp.maximum(outside.sum(-1), 1.0)
    own = Sight(*(field.reshape(-1, AGENCY, *field.shape[1:]) for field in everything))
    return Agencies(own, given.reshape(-1, AGENCY))
