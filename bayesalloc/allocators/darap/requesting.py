"""Requests that cascade through the network, and the answers of those whom they reach, round by round."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from bayesalloc.allocators.darap.answers import UNUSED, Wanted, at, beyond, pick
from bayesalloc.allocators.darap.faults import Faults, Sending
from bayesalloc.allocators.darap.inbox import (
    Chosen,
    PassedOn,
    Queue,
    by_copy,
    cascade,
    copies_of,
    flat,
    in_turn,
    inbox_order,
    offer,
    offer_learned,
    queue_up,
    spread,
)
from bayesalloc.allocators.darap.minds import Minds
from bayesalloc.allocators.darap.protocol import Darap
from bayesalloc.allocators.darap.state import Asked, Offers, Stock, Talk, World


def ask(want: Wanted, world: World, stock: Stock, rounds: Array, faults: Faults, config: Darap) -> Talk:
    """Algorithm 6: every agent asks all its neighbours for what its blocked tasks lack."""
    kinds, n = want.quantity.shape
    own = jnp.eye(n, dtype=bool)
    asks = (want.quantity > 0) & (world.stop > 0)
    utility = want.utility
    for factor in (faults.exaggeration, faults.trust):
        if factor is not None:
            utility = utility * jnp.asarray(factor)[:, None]
    to = (own & asks[..., None])[..., None] & world.near
    none = jnp.zeros((kinds, n, n, n), jnp.int32)
    blank = jnp.zeros((kinds, n, n, config.max_quantity + 1))
    asked = Asked(
        jnp.where(own & asks[..., None], want.quantity[..., None], 0),
        jnp.where(own[..., None], utility[:, :, None], 0.0),
        jnp.broadcast_to(own[..., None] & (world.near | own), (kinds, n, n, n)),
        none[..., 0],
        jnp.where(own & asks[..., None], 0, UNUSED),
        to,
        jnp.where(to, rounds, UNUSED),
        none[..., 0],
        none[..., 0],
        blank,
    )
    offers = Offers(to & False, none, none, jnp.zeros((*none.shape, config.max_quantity + 1)), none + UNUSED)
    return Talk(stock, asked, offers, jnp.broadcast_to(own, (kinds, n, n)))


@jax.tree_util.register_static
@dataclass(frozen=True)
class Listening:
    """What a round of listening has room for.

    Attributes:
        turns: most copies that one agent may have to answer.
        originals: whether only copies that come from the origin itself can be among them.
        pass_on: whether copies may be passed on.
    """

    turns: int
    originals: bool
    pass_on: bool


def listen(
    talk: Talk,
    now: Any,
    room: Listening,
    *,
    world: World,
    sending: Sending,
    key: Array,
    config: Darap,
    minds: Minds | None = None,
) -> tuple[Talk, Chosen | None]:
    """One round of listening: Algorithm 7, then Algorithms 8 and 9, on the copies that come in this round.

    Args:
        talk: the state before.
        now: the round.
        room: what there must be room for in this round.
        world: what does not change.
        sending: how the requests fare.
        key: decides the order of inboxes where that is random.
        config: the protocol.
        minds: the agents' networks; None: greedy answers.

    Returns:
        The state after it, and what networks chose to offer.
    """
    stock, asked, offers, heard = talk
    n = world.near.shape[0]
    live = (asked.comes == now) & (now < config.lifetime - asked.hops * config.timeout_reduction)[..., None]
    live &= world.stop > now
    first = live & (jnp.cumsum(live, axis=2) == 1) & ~heard[:, :, None]
    copies = copies_of(asked, originals=room.originals)
    if config.order == "random":
        order = inbox_order(key, now, *copies.quantity.shape)
    else:
        worth = at(copies.utility, copies.quantity) / jnp.maximum(copies.quantity, 1).astype(float)
        order = jnp.argsort(-jnp.where(copies.quantity > 0, worth, -1.0), axis=1, stable=True)
    run = partial(in_turn, copies=copies, toll=world.toll)

    if room.pass_on:
        unknown = jnp.einsum("lobd,cd->lobc", (~asked.known).astype(jnp.float32), world.near.astype(jnp.float32)) > 0
        hops = asked.hops + 1
        time = (hops < config.max_hops) & (now < config.lifetime - hops * config.timeout_reduction)
        mine = flat(first & unknown & time[..., None], originals=room.originals)
        queue = queue_up(mine, order, n - 1)
        stock, passed = run(partial(cascade, world=world, config=config), stock, queue)
        cascaded = spread(by_copy(passed.onward, queue, mine), n, originals=room.originals)
        parent = jnp.argmax(first, axis=2)
        passed = _of_requests(passed, cascaded.any(2), queue, None if room.originals else parent)
        asked = _forward(asked, now, passed, parent, world, sending)
        offers = offers._replace(cascaded=offers.cascaded | cascaded)
    heard = heard | first.any(2)

    answered = live & ~offers.cascaded
    one = config.copies == "one"
    mine = flat(answered & first if one else answered, originals=room.originals)
    queue = queue_up(mine, order, min(room.turns, n - 1) if room.originals or one else room.turns)
    chosen = None
    if minds is None or minds.offering is None:
        stock, made = run(partial(offer, world=world, config=config), stock, queue)
    else:
        stock, made, chosen = offer_learned(
            stock, queue, copies, world=world, config=config, minds=minds, key=minds.at(0, now)
        )
    given, backed, cost = (spread(by_copy(x, queue, mine), n, originals=room.originals) for x in made)
    offers = Offers(
        offers.cascaded,
        jnp.where(answered, given, offers.quantity),
        jnp.where(answered, backed, offers.backed),
        jnp.where(answered[..., None], cost, offers.cost),
        jnp.where(answered, now, offers.round),
    )
    return Talk(stock, asked, offers, heard), chosen


def _of_requests(passed: PassedOn, onward: Array, queue: Queue, parent: Array | None) -> PassedOn:
    """By request: each agent passes on the copy that it got from the parent (None: from the origin itself)."""
    kinds, n = onward.shape[:2]
    origin = jnp.arange(n)[:, None]
    copy = jnp.broadcast_to(origin if parent is None else origin * n + parent, (kinds, n, n))
    turn = pick(queue.turn, copy, axis=1)
    aside, backed = (jnp.where(onward, pick(x, turn, axis=1), 0) for x in (passed.aside, passed.backed))
    return PassedOn(onward, aside, backed, pick(passed.loss, turn[..., None], axis=1))


def _forward(asked: Asked, now: Any, passed: PassedOn, parent: Array, world: World, sending: Sending) -> Asked:
    """Enters the requests that agents pass on in this round, as they got them from their parents."""
    onward, wide = passed.onward, passed.onward[..., None]
    quantity = pick(asked.quantity, parent, axis=2) - passed.aside
    utility = beyond(pick(asked.utility, parent[..., None], axis=2), passed.aside)
    told = pick(asked.known, parent[..., None], axis=2)
    reached = wide & world.near & ~told
    return Asked(
        jnp.where(onward, quantity, asked.quantity),
        jnp.where(wide, utility, asked.utility),
        jnp.where(wide, told | world.near, asked.known),
        jnp.where(onward, pick(asked.hops, parent, axis=2) + 1, asked.hops),
        jnp.where(onward, now, asked.round),
        asked.to | reached,
        jnp.where(reached, jnp.minimum(now + sending.rounds, UNUSED), asked.comes),
        asked.reserved + passed.aside,
        asked.backed + passed.backed,
        jnp.where(wide, passed.loss, asked.loss),
    )
