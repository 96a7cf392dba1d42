"""Requests that cascade through the network, and the offers that agents make from their own stock.

Axes, in this order wherever they meet: type, origin (whose tasks a request is for), sender (of this copy of it),
receiver. An agent passes on the first copy of a request that it hears and no other, so each pair of agents exchanges at
most one copy, and the copies that were passed on form a tree.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from bayesalloc.allocators.darap.answers import UNUSED, OwnTasks, at, beyond, losses, pick
from bayesalloc.allocators.darap.faults import Sending
from bayesalloc.allocators.darap.learned import Choices, Minds, Situation, answer_all
from bayesalloc.allocators.darap.protocol import Darap


class World(NamedTuple):
    """What does not change: neighbours, lengths and prices of edges, distances, tasks."""

    near: Bool[Array, "agent agent"]
    toll: Float[Array, "agent agent amount"]
    distance: Float[Array, "agent agent"]
    tasks: OwnTasks


class Asked(NamedTuple):
    """Requests by type, origin and sender: the origin's own, and those that other agents passed on.

    Attributes:
        quantity: items asked for, 0 without a request, shape (type, origin, agent).
        utility: reported, of q items, shape (type, origin, agent, amount).
        known: agents that got the request from this sender or on its way there, shape (type, origin, agent, agent).
        hops: from the origin, shape (type, origin, agent).
        round: in which it was sent, UNUSED if none was, shape (type, origin, agent).
        to: the agents it was sent to, shape (type, origin, agent, agent).
        comes: the round in which it reaches each receiver, UNUSED if never, shape (type, origin, agent, agent).
        reserved, backed: items that the agent set aside when it passed the request on, and those of them that it really
            has, shape (type, origin, agent).
        loss: to it of giving q of them, shape (type, origin, agent, amount).
    """

    quantity: Int[Array, "type origin agent"]
    utility: Float[Array, "type origin agent amount"]
    known: Bool[Array, "type origin agent agent"]
    hops: Int[Array, "type origin agent"]
    round: Int[Array, "type origin agent"]
    to: Bool[Array, "type origin agent agent"]
    comes: Int[Array, "type origin agent agent"]
    reserved: Int[Array, "type origin agent"]
    backed: Int[Array, "type origin agent"]
    loss: Float[Array, "type origin agent amount"]


class Offers(NamedTuple):
    """Answers to requests by type, origin, sender of the request (whom they go to) and answering agent.

    Attributes:
        cascaded: whether the agent passed this copy on, so that it answers later.
        quantity, backed: items on offer, and those of the agent's own that it really has.
        cost: of q items to the asker, with a last axis over amounts.
        round: in which the answer is sent, UNUSED if none is.
    """

    cascaded: Bool[Array, "type origin agent agent"]
    quantity: Int[Array, "type origin agent agent"]
    backed: Int[Array, "type origin agent agent"]
    cost: Float[Array, "type origin agent agent amount"]
    round: Int[Array, "type origin agent agent"]


class Stock(NamedTuple):
    """Items that agents may still promise: those they claim to have, and those they have, shape (agent, type)."""

    claimed: Int[Array, "agent type"]
    real: Int[Array, "agent type"]


class Queue(NamedTuple):
    """Inboxes in the order in which they are handled.

    Attributes:
        copy: which copy each agent handles in each turn, shape (type, turn, agent).
        active: whether there is one, shape (type, turn, agent).
        turn: in which turn a copy is handled, shape (type, copy, agent).
    """

    copy: Int[Array, "type turn agent"]
    active: Bool[Array, "type turn agent"]
    turn: Int[Array, "type copy agent"]


def inbox_order(key: Array, now: Any, kinds: int, copies: int) -> Int[Array, "type copy"]:
    """A random order of the copies of each type for one round; an agent's inbox is in the order of what it got."""
    return jnp.argsort(jax.random.uniform(jax.random.fold_in(key, now), (kinds, copies)), axis=1)


def _queue(due: Bool[Array, "type copy agent"], order: Int[Array, "type copy"], turns: int) -> Queue:
    count = jnp.cumsum(pick(due, order[..., None], axis=1), axis=1)
    turn = jnp.arange(turns)[:, None]
    place = jnp.sum(count[:, None] <= turn[:, None], axis=2)
    copy = pick(order[..., None], jnp.minimum(place, due.shape[1] - 1), axis=1)
    back = jnp.argsort(order, axis=1)
    handled = pick(count, back[..., None], axis=1) - 1
    return Queue(copy, turn < count[:, -1:], jnp.clip(handled, 0, turns - 1))


def _in_turn(
    step: Any, stock: Stock, queue: Queue, quantity: Array, utility: Array, toll: Array, senders: Array
) -> Any:
    """Runs `step` over types and, within each, over turns; all agents handle their own inbox at the same time."""
    receiver = jnp.arange(toll.shape[1])

    def one_type(stock: Stock, xs: tuple[Array, ...]) -> tuple[Stock, Any]:
        kind, copy, active, quantity, utility = xs
        need = jnp.where(active, quantity[copy], 0)

        def turn(stock: Stock, xs: tuple[Array, ...]) -> tuple[Stock, Any]:
            copy, need = xs
            return step(stock, kind, need, utility[copy], toll[senders[copy], receiver])

        return jax.lax.scan(turn, stock, (copy, need))

    xs = (jnp.arange(len(quantity)), queue.copy, queue.active, quantity, utility)
    return jax.lax.scan(one_type, stock, xs)


def _take(stock: Stock, kind: Array, quantity: Array) -> tuple[Stock, Array]:
    """Takes items from a stock; also how many of them are really there."""
    backed = jnp.minimum(quantity, stock.real[:, kind])
    chosen = (jnp.arange(stock.real.shape[1]) == kind).astype(int)
    left = Stock(stock.claimed - quantity[:, None] * chosen, stock.real - backed[:, None] * chosen)
    return left, backed


def _best_gain(utility: Array, cost: Array, limit: Array) -> Array:
    """The quantity up to a limit with most utility above its cost, 0 if none has any (ties: the lower)."""
    gain = jnp.where(jnp.arange(utility.shape[-1]) <= limit[..., None], utility - cost, -jnp.inf)
    return jnp.argmax(gain, axis=-1)


def _cascade(
    stock: Stock, kind: Array, need: Array, utility: Array, toll: Array, *, world: World, open_: Array, config: Darap
) -> tuple[Stock, tuple[Array, ...]]:
    """Algorithm 7 for one copy per agent: what to set aside, if it is to be passed on at all."""
    have = stock.claimed[:, kind]
    loss = losses(stock.claimed, kind, world.tasks, open_, config.max_quantity)
    cost = loss + toll
    short = need > have
    unprofitable = at(utility, need) <= at(cost, need)
    onward = (need > 0) & (short | unprofitable)
    if config.reserve == "thesis":
        aside = have
    elif config.reserve == "gain":
        aside = _best_gain(utility, cost, jnp.minimum(have, need))
    else:
        aside = jnp.zeros_like(have)
    aside = jnp.where(short, aside, 0)
    stock, backed = _take(stock, kind, aside)
    return stock, (onward, aside, backed, loss)


def _offer(
    stock: Stock, kind: Array, need: Array, utility: Array, toll: Array, *, world: World, open_: Array, config: Darap
) -> tuple[Stock, tuple[Array, ...]]:
    """Algorithm 9 for one copy per agent: how much of its own to offer, and the costs of giving it."""
    limit = jnp.minimum(need, stock.claimed[:, kind])
    cost = losses(stock.claimed, kind, world.tasks, open_, config.max_quantity) + toll
    if config.offer == "best":
        quantity = _best_gain(utility, cost, limit)
    else:
        quantity = jnp.where(at(utility, limit) > at(cost, limit), limit, 0)
    stock, backed = _take(stock, kind, quantity)
    return stock, (quantity, backed, cost)


class Chosen(NamedTuple):
    """Choices of what to offer, and whose request, sent on by whom, each answered; axes (type, turn, agent)."""

    choices: Choices
    origin: Int[Array, "type turn agent"]
    sender: Int[Array, "type turn agent"]


def _offer_learned(
    stock: Stock,
    queue: Queue,
    quantity: Array,
    utility: Array,
    senders: Array,
    *,
    world: World,
    open_: Array,
    config: Darap,
    minds: Minds,
    key: Array,
) -> tuple[Stock, tuple[Array, Array, Array], Chosen]:
    """Algorithms 10 and 11: agents choose among the best requests in their inboxes; the others get no offer."""
    slots, turns = minds.seen.slots, queue.copy.shape[1]
    n, amounts = world.near.shape[0], config.max_quantity + 1
    receiver, places = jnp.arange(n), jnp.arange(slots)

    def of_slots(x: Array) -> Array:
        return jnp.pad(x[:, :slots], ((0, 0), (0, max(0, slots - turns)), (0, 0)))

    def one_type(stock: Stock, xs: tuple[Array, ...]) -> tuple[Stock, Any]:
        kind, copy, active, quantity, utility = xs
        need = jnp.where(active, quantity[copy], 0).T
        worth = jnp.swapaxes(utility[copy], 0, 1)
        fare = jnp.swapaxes(world.toll[senders[copy], receiver], 0, 1)

        def costs(stock: Stock) -> Array:
            return losses(stock.claimed, kind, world.tasks, open_, config.max_quantity)[:, None] + fare

        def situation(state: tuple[Stock, Any], answered: Array) -> Situation:
            stock, gain = state[0], worth - costs(state[0])
            there = active.T & ~answered & (need > 0)
            return Situation(
                jnp.broadcast_to(kind, n), stock.claimed[:, kind], there, need, gain[..., 1:], worth[..., 1:]
            )

        def take(state: tuple[Stock, Any], slot: Array, quantity: Array) -> tuple[Stock, Any]:
            stock, (given, backed, cost) = state
            now = costs(stock)
            after, real = _take(stock, kind, quantity)
            here = (places == slot[:, None]) & (quantity > 0)[:, None]
            given, backed = (jnp.where(here, x[:, None], y) for x, y in ((quantity, given), (real, backed)))
            return after, (given, backed, jnp.where(here[..., None], now, cost))

        none = jnp.zeros((n, slots), quantity.dtype)
        start = stock, (none, none, jnp.zeros((n, slots, amounts)))
        at_moment = jax.random.fold_in(key, kind)
        (stock, made), choices = answer_all(minds, minds.offering, at_moment, start, situation, take)
        return stock, (jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), made), choices)

    copy = of_slots(queue.copy)
    xs = (jnp.arange(len(quantity)), copy, of_slots(queue.active), quantity, utility)
    stock, (made, choices) = jax.lax.scan(one_type, stock, xs)

    def of_turns(x: Array) -> Array:
        wide = jnp.pad(x, ((0, 0), (0, max(0, turns - slots)), *[(0, 0)] * (x.ndim - 2)))
        return wide[:, :turns]

    which = pick(copy, choices.slot, axis=1)
    origin = which if len(senders) == n else which // n
    given, backed, cost = made
    return stock, (of_turns(given), of_turns(backed), of_turns(cost)), Chosen(choices, origin, senders[which])


def _by_copy(values: Array, queue: Queue, due: Array) -> Array:
    """From (type, turn, agent, ...) to (type, copy, agent, ...), zero for copies that are not due."""
    extra = values.ndim - 3
    turn = queue.turn.reshape(*queue.turn.shape, *([1] * extra))
    return jnp.where(due.reshape(turn.shape), pick(values, turn, axis=1), jnp.zeros((), values.dtype))


class Talk(NamedTuple):
    """A negotiation under way."""

    stock: Stock
    asked: Asked
    offers: Offers
    heard: Bool[Array, "type origin agent"]


def listen(
    talk: Talk,
    now: Any,
    *,
    world: World,
    open_: Array,
    sending: Sending,
    stop: Array,
    key: Array,
    config: Darap,
    turns: int,
    originals: bool,
    pass_on: bool,
    minds: Minds | None = None,
) -> tuple[Talk, Chosen | None]:
    """One round of listening: Algorithm 7, then Algorithms 8 and 9, on the copies that come in this round.

    Args:
        talk: the state before.
        now: the round.
        world: what does not change.
        open_: own tasks not done yet.
        sending: how the requests fare.
        stop: the round in which each agent stops.
        key: decides the order of inboxes where that is random.
        config: the protocol.
        turns: most copies that one agent may have to answer.
        originals: whether only copies that come from the origin itself can be among them.
        pass_on: whether copies may be passed on in this round.
        minds: the agents' networks; None: greedy answers.

    Returns:
        The state after it, and what networks chose to offer.
    """
    stock, asked, offers, heard = talk
    n = world.near.shape[0]
    live = (asked.comes == now) & (now < config.lifetime - asked.hops * config.timeout_reduction)[..., None]
    live &= stop > now
    first = live & (jnp.cumsum(live, axis=2) == 1) & ~heard[:, :, None]
    if originals:
        senders, due = jnp.arange(n), own_copies
        quantity, utility = own_copies(asked.quantity), own_copies(asked.utility)
    else:
        senders, due = jnp.tile(jnp.arange(n), n), lambda x: x.reshape(len(x), n * n, n)
        quantity, utility = asked.quantity.reshape(len(live), -1), asked.utility.reshape(len(live), n * n, -1)
    if config.order == "random":
        order = inbox_order(key, now, *quantity.shape)
    else:
        efficiency = jnp.where(quantity > 0, at(utility, quantity) / jnp.maximum(quantity, 1).astype(float), -1.0)
        order = jnp.argsort(-efficiency, axis=1, stable=True)
    run = partial(_in_turn, quantity=quantity, utility=utility, toll=world.toll, senders=senders)

    if pass_on:
        unknown = jnp.einsum("lobd,cd->lobc", (~asked.known).astype(jnp.float32), world.near.astype(jnp.float32)) > 0
        hops = asked.hops + 1
        time = (hops < config.max_hops) & (now < config.lifetime - hops * config.timeout_reduction)
        mine = due(first & unknown & time[..., None])
        queue = _queue(mine, order, n - 1)
        stock, (onward, aside, backed, loss) = run(
            partial(_cascade, world=world, open_=open_, config=config), stock, queue
        )
        cascaded = _by_copy(onward, queue, mine)
        cascaded = _spread(cascaded, n, originals=originals)
        asked = _forward(asked, now, cascaded, first, queue, (aside, backed, loss), world, sending, originals=originals)
        offers = offers._replace(cascaded=offers.cascaded | cascaded)
    heard = heard | first.any(2)

    answered = live & ~offers.cascaded
    mine = due(answered & first if config.copies == "one" else answered)
    queue = _queue(mine, order, min(turns, n - 1) if originals or config.copies == "one" else turns)
    chosen = None
    if minds is None or minds.offering is None:
        stock, (given, backed, cost) = run(partial(_offer, world=world, open_=open_, config=config), stock, queue)
    else:
        learned = partial(_offer_learned, world=world, open_=open_, config=config, minds=minds, key=minds.at(0, now))
        stock, (given, backed, cost), chosen = learned(stock, queue, quantity, utility, senders)
    given, backed, cost = (_spread(_by_copy(x, queue, mine), n, originals=originals) for x in (given, backed, cost))
    offers = Offers(
        offers.cascaded,
        jnp.where(answered, given, offers.quantity),
        jnp.where(answered, backed, offers.backed),
        jnp.where(answered[..., None], cost, offers.cost),
        jnp.where(answered, now, offers.round),
    )
    return Talk(stock, asked, offers, heard), chosen


def own_copies(x: Array) -> Array:
    """What the origin itself sent: (type, origin, origin, ...) as (type, origin, ...)."""
    place = jnp.arange(x.shape[1])
    return x[:, place, place]


def _spread(x: Array, n: int, *, originals: bool) -> Array:
    """From (type, copy, agent, ...) to (type, origin, sender, agent, ...)."""
    if not originals:
        return x.reshape(x.shape[0], n, n, *x.shape[2:])
    same = jnp.eye(n, dtype=bool).reshape(1, n, n, *([1] * (x.ndim - 2)))
    return jnp.where(same, x[:, :, None], jnp.zeros((), x.dtype))


def _forward(
    asked: Asked,
    now: Any,
    cascaded: Array,
    first: Array,
    queue: Queue,
    results: tuple[Array, ...],
    world: World,
    sending: Sending,
    *,
    originals: bool,
) -> Asked:
    """Enters the requests that agents pass on in this round."""
    kinds, n = cascaded.shape[:2]
    parent = jnp.argmax(first, axis=2)
    onward = cascaded.any(2)
    copy = jnp.arange(n)[:, None] * (1 if originals else n) + (0 if originals else parent)
    turn = pick(queue.turn, jnp.broadcast_to(copy, (kinds, n, n)), axis=1)
    aside, backed = (jnp.where(onward, pick(x, turn, axis=1), 0) for x in results[:2])
    loss = pick(results[2], turn[..., None], axis=1)
    quantity = pick(asked.quantity, parent, axis=2) - aside
    utility = beyond(pick(asked.utility, parent[..., None], axis=2), aside)
    told = pick(asked.known, parent[..., None], axis=2)
    reached = onward[..., None] & world.near & ~told
    wide = onward[..., None]
    return Asked(
        jnp.where(onward, quantity, asked.quantity),
        jnp.where(wide, utility, asked.utility),
        jnp.where(wide, told | world.near, asked.known),
        jnp.where(onward, pick(asked.hops, parent, axis=2) + 1, asked.hops),
        jnp.where(onward, now, asked.round),
        asked.to | reached,
        jnp.where(reached, jnp.minimum(now + sending.rounds, UNUSED), asked.comes),
        asked.reserved + aside,
        asked.backed + backed,
        jnp.where(wide, loss, asked.loss),
    )
