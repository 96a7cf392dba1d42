"""Offers that come back along the requests' ways, confirmations that go out along them, and the items they move.

Axes as in `state`: type, origin, asker, answering agent.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from bayesalloc.allocators.darap.answers import UNUSED, Wanted, accept, at, beyond, bundle, pick
from bayesalloc.allocators.darap.faults import Sending
from bayesalloc.allocators.darap.inbox import own_copies
from bayesalloc.allocators.darap.minds import Choices, Minds, Situation, answer_all
from bayesalloc.allocators.darap.protocol import Darap
from bayesalloc.allocators.darap.state import Asked, Offers, Talk, World


class Collected(NamedTuple):
    """What askers make of the answers.

    Attributes:
        offers: with those of agents that had passed the request on.
        counted: items of each offer that the asker counts on, shape (type, origin, agent, agent).
        before: items that the asker takes before those of each offer, shape (type, origin, agent, agent).
        decided: the round in which each asker stops waiting, shape (type, origin, agent).
        cap: the most of those to confirm, same shape.
        accepted: items that each origin wants, shape (type, origin).
        choices: what networks chose to confirm, if they did.
    """

    offers: Offers
    counted: Int[Array, "type origin agent agent"]
    before: Int[Array, "type origin agent agent"]
    decided: Int[Array, "type origin agent"]
    cap: Int[Array, "type origin agent agent"]
    accepted: Int[Array, "type origin"]
    choices: Choices | None


def collect(
    talk: Talk,
    want: Wanted,
    sending: Sending,
    world: World,
    config: Darap,
    trust: Float[Array, " agent"] | None,
    minds: Minds | None = None,
) -> Collected:
    """Algorithms 12-15: agents farthest from the origin first, each asker puts the answers it got together.

    An asker decides when it has all answers, or else when its request times out.
    """
    asked, offers, stop = talk.asked, talk.offers, world.stop
    deadline = config.lifetime - asked.hops * config.timeout_reduction
    everyone = jnp.arange(world.near.shape[0])
    counted, before = jnp.zeros_like(offers.quantity), jnp.full_like(offers.quantity, UNUSED)

    def weigh(to: Array, quantity: Array, sent: Array, rounds: Array, deadline: Array) -> tuple[Array, Array]:
        comes = jnp.where(to, jnp.minimum(sent + rounds, UNUSED), -1)
        decided = jnp.minimum(comes.max(-1), deadline)
        in_time = to & (comes <= decided[..., None])
        if trust is not None:
            quantity = jnp.floor(quantity.astype(float) * trust + 1e-4).astype(quantity.dtype)
        return jnp.where(in_time, quantity, 0), decided

    decided = jnp.zeros_like(asked.hops)
    for hops in range(config.max_hops - 1, 0, -1):
        at_hand, end = weigh(asked.to, offers.quantity, offers.round, sending.rounds, deadline)
        mine = (asked.round < UNUSED) & (asked.hops == hops) & (everyone != everyone[:, None])
        together = bundle(at_hand, offers.cost, asked.reserved, asked.loss)
        counted = jnp.where(mine[..., None], at_hand, counted)
        before = jnp.where(mine[..., None], together.before, before)
        decided = jnp.where(mine, end, decided)
        total = jnp.minimum(together.total, asked.quantity + asked.reserved)
        answers = offers.cascaded & (mine & (stop > end))[:, :, None]
        cost = together.cost[:, :, None] + world.toll
        offers = offers._replace(
            quantity=jnp.where(answers, total[:, :, None], offers.quantity),
            cost=jnp.where(answers[..., None], cost, offers.cost),
            round=jnp.where(answers, end[:, :, None], offers.round),
        )
    own = everyone == everyone[:, None]
    at_hand, end = weigh(*(own_copies(x) for x in (asked.to, offers.quantity, offers.round, sending.rounds, deadline)))
    nothing = jnp.zeros_like(own_copies(asked.quantity))
    together = bundle(at_hand, own_copies(offers.cost), nothing, jnp.zeros_like(want.utility))
    first, cap, choices = together.before, at_hand, None
    if minds is None or minds.confirming is None:
        accepted = accept(together, want, world.tasks, config.confirm)
    else:
        first, cap, choices = _confirm_learned(at_hand, own_copies(offers.cost), want, minds)
        accepted = cap.sum(-1)
    end = jnp.where(own_copies(asked.round) < UNUSED, end, 0)
    if config.confirm != "separate":
        end = jnp.broadcast_to(end.max(0), end.shape)
    accepted = jnp.where(stop > end, accepted, 0)
    counted = jnp.where(own[..., None], at_hand[:, :, None], counted)
    before = jnp.where(own[..., None], first[:, :, None], before)
    cap = jnp.where(own[..., None], cap[:, :, None], counted)
    return Collected(offers, counted, before, jnp.where(own, end[:, :, None], decided), cap, accepted, choices)


def _confirm_learned(
    at_hand: Int[Array, "type origin agent"], cost: Float[Array, "type origin agent amount"], want: Wanted, minds: Minds
) -> tuple[Int[Array, "type origin agent"], Int[Array, "type origin agent"], Choices]:
    """Algorithms 16 and 17: origins choose among the cheapest offers; how many items come before each, and of each."""
    n, slots = at_hand.shape[1], minds.seen.slots
    unit = jnp.where(at_hand > 0, at(cost, at_hand) / jnp.maximum(at_hand, 1).astype(float), jnp.inf)
    order = jnp.argsort(unit, axis=-1)[..., :slots]
    order = jnp.pad(order, ((0, 0), (0, 0), (0, max(0, slots - n))), constant_values=n - 1)
    real = jnp.arange(slots) < n

    def one_type(_: None, xs: tuple[Array, ...]) -> tuple[None, Any]:
        kind, order, at_hand, cost, quantity, utility = xs
        limit = jnp.where(real, pick(at_hand, order, axis=1), 0)
        price = pick(cost, order[..., None], axis=1)

        def situation(state: tuple[Array, Array, Array], answered: Array) -> Situation:
            total = state[0]
            worth = beyond(utility, total)
            gain = worth[:, None] - price
            lack = jnp.maximum(quantity - total, 0)
            wide = jnp.broadcast_to(worth[:, None], gain.shape)
            there = (limit > 0) & ~answered
            return Situation(jnp.broadcast_to(kind, n), lack, there, limit, gain[..., 1:], wide[..., 1:])

        def take(state: tuple[Array, Array, Array], slot: Array, quantity: Array) -> tuple[Array, Array, Array]:
            total, before, taken = state
            here = (jnp.arange(slots) == slot[:, None]) & (quantity > 0)[:, None]
            before, taken = jnp.where(here, total[:, None], before), jnp.where(here, quantity[:, None], taken)
            return total + quantity, before, taken

        start = jnp.zeros(n, at_hand.dtype), jnp.full((n, slots), UNUSED), jnp.zeros((n, slots), at_hand.dtype)
        key = minds.at(1, kind)
        (_, before, taken), choices = answer_all(minds, minds.confirming, key, start, situation, take)
        row = jnp.arange(n)[:, None]
        before = jnp.full((n, n), UNUSED).at[row, order].min(before)
        return None, (before, jnp.zeros((n, n), at_hand.dtype).at[row, order].max(taken), choices)

    xs = (jnp.arange(len(at_hand)), order, at_hand, cost, want.quantity, want.utility)
    return jax.lax.scan(one_type, None, xs)[1]


class Confirmed(NamedTuple):
    """Confirmations, and the items that they move.

    Attributes:
        told: whether the asker sent the agent a confirmation (also one for no items).
        comes: the round in which it reaches the agent in time, UNUSED if it does not, both shape
            (type, origin, agent, agent).
        quantity: items that it asks for, of confirmations that come in time, same shape.
        own: of these, items that the answering agent is to give itself, same shape.
        sent: of these, items that it has and sends, same shape.
        asked_own, sent_own: the same of items set aside by agents that passed the request on, with the round in which
            their confirmation came, each of shape (type, origin, agent).
    """

    told: Bool[Array, "type origin agent agent"]
    comes: Int[Array, "type origin agent agent"]
    quantity: Int[Array, "type origin agent agent"]
    own: Int[Array, "type origin agent agent"]
    sent: Int[Array, "type origin agent agent"]
    asked_own: Int[Array, "type origin agent"]
    sent_own: Int[Array, "type origin agent"]
    released: Int[Array, "type origin agent"]


def confirm(asked: Asked, got: Collected, sending: Sending, config: Darap, stop: Int[Array, " agent"]) -> Confirmed:
    """Algorithm 18: confirmations go out from the origins and are split, each asker's own items first."""
    n = stop.shape[0]
    own = jnp.eye(n, dtype=bool)
    fill = jnp.where(own, got.accepted[..., None], 0)
    starts = jnp.where(own & (asked.round < UNUSED) & (stop > got.decided), got.decided, UNUSED)
    cascaded = got.offers.cascaded & (got.offers.quantity > 0)
    told, comes, quantity = got.counted < 0, jnp.full_like(got.counted, UNUSED), jnp.zeros_like(got.counted)
    for _ in range(config.max_hops):
        told = (got.counted > 0) & (starts < UNUSED)[..., None]
        quantity = jnp.where(told, jnp.clip(fill[..., None] - got.before, 0, got.cap), 0)
        comes = jnp.where(told, starts[..., None] + sending.rounds, UNUSED)
        comes = jnp.where((comes <= config.offers_end) & (comes < stop), comes, UNUSED)
        quantity = jnp.where(comes < UNUSED, quantity, 0)
        fill = jnp.where(own, fill, jnp.sum(jnp.where(cascaded, quantity, 0), axis=2))
        starts = jnp.where(own, starts, jnp.min(jnp.where(cascaded, comes, UNUSED), axis=2))
    direct = jnp.where(got.offers.cascaded, 0, quantity)
    passed = jnp.where(own, 0, jnp.minimum(fill, asked.reserved))
    return Confirmed(
        told,
        comes,
        quantity,
        direct,
        jnp.minimum(direct, got.offers.backed),
        passed,
        jnp.minimum(passed, asked.backed),
        jnp.where(own, UNUSED, starts),
    )
