"""The requests that reach agents in one round: in which order each handles its own, what it sets aside, what it offers.

Axes as in `state`; a copy of a request is a pair of origin and sender.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from bayesalloc.allocators.darap.answers import at, losses, pick
from bayesalloc.allocators.darap.minds import Choices, Minds, Situation, answer_all
from bayesalloc.allocators.darap.protocol import Darap
from bayesalloc.allocators.darap.state import Asked, Stock, World


class Copies(NamedTuple):
    """Copies of requests that may be in an inbox.

    Attributes:
        quantity: items asked for.
        utility: reported, of q items.
        origin, sender: whose request each is a copy of, and which agent sent it.
    """

    quantity: Int[Array, "type copy"]
    utility: Float[Array, "type copy amount"]
    origin: Int[Array, " copy"]
    sender: Int[Array, " copy"]


def copies_of(asked: Asked, *, originals: bool) -> Copies:
    """All copies, or those that come from their origins themselves."""
    n = asked.quantity.shape[1]
    agent = jnp.arange(n)
    origin, sender = (agent, agent) if originals else (jnp.repeat(agent, n), jnp.tile(agent, n))
    return Copies(flat(asked.quantity, originals=originals), flat(asked.utility, originals=originals), origin, sender)


def own_copies(x: Array) -> Array:
    """What the origin itself sent: (type, origin, origin, ...) as (type, origin, ...)."""
    place = jnp.arange(x.shape[1])
    return x[:, place, place]


def flat(x: Array, *, originals: bool) -> Array:
    """From (type, origin, sender, ...) to (type, copy, ...)."""
    return own_copies(x) if originals else x.reshape(len(x), -1, *x.shape[3:])


def spread(x: Array, n: int, *, originals: bool) -> Array:
    """From (type, copy, agent, ...) to (type, origin, sender, agent, ...)."""
    if not originals:
        return x.reshape(x.shape[0], n, n, *x.shape[2:])
    same = jnp.eye(n, dtype=bool).reshape(1, n, n, *([1] * (x.ndim - 2)))
    return jnp.where(same, x[:, :, None], jnp.zeros((), x.dtype))


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


def queue_up(due: Bool[Array, "type copy agent"], order: Int[Array, "type copy"], turns: int) -> Queue:
    """The copies that are due to each agent, in order."""
    count = jnp.cumsum(pick(due, order[..., None], axis=1), axis=1)
    turn = jnp.arange(turns)[:, None]
    place = jnp.sum(count[:, None] <= turn[:, None], axis=2)
    copy = pick(order[..., None], jnp.minimum(place, due.shape[1] - 1), axis=1)
    back = jnp.argsort(order, axis=1)
    handled = pick(count, back[..., None], axis=1) - 1
    return Queue(copy, turn < count[:, -1:], jnp.clip(handled, 0, turns - 1))


def in_turn(step: Any, stock: Stock, queue: Queue, copies: Copies, toll: Array) -> Any:
    """Runs `step` over types and, within each, over turns; all agents handle their own inbox at the same time."""
    receiver = jnp.arange(toll.shape[1])

    def one_type(stock: Stock, xs: tuple[Array, ...]) -> tuple[Stock, Any]:
        kind, copy, active, quantity, utility = xs
        need = jnp.where(active, quantity[copy], 0)

        def turn(stock: Stock, xs: tuple[Array, ...]) -> tuple[Stock, Any]:
            copy, need = xs
            return step(stock, kind, need, utility[copy], toll[copies.sender[copy], receiver])

        return jax.lax.scan(turn, stock, (copy, need))

    xs = (jnp.arange(len(copies.quantity)), queue.copy, queue.active, copies.quantity, copies.utility)
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


class PassedOn(NamedTuple):
    """Requests that agents pass on; leading axes (type, turn, agent) of an inbox, (type, origin, agent) of requests.

    Attributes:
        onward: whether one is passed on.
        aside, backed: items that the agent sets aside for it, and those of them that it really has.
        loss: to it of giving q of them.
    """

    onward: Array
    aside: Array
    backed: Array
    loss: Array


def cascade(
    stock: Stock, kind: Array, need: Array, utility: Array, toll: Array, *, world: World, config: Darap
) -> tuple[Stock, PassedOn]:
    """Algorithm 7 for one copy per agent: what to set aside, if it is to be passed on at all."""
    have = stock.claimed[:, kind]
    loss = losses(stock.claimed, kind, world.tasks, world.open_, config.max_quantity)
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
    return stock, PassedOn(onward, aside, backed, loss)


def offer(
    stock: Stock, kind: Array, need: Array, utility: Array, toll: Array, *, world: World, config: Darap
) -> tuple[Stock, tuple[Array, ...]]:
    """Algorithm 9 for one copy per agent: how much of its own to offer, and the costs of giving it."""
    limit = jnp.minimum(need, stock.claimed[:, kind])
    cost = losses(stock.claimed, kind, world.tasks, world.open_, config.max_quantity) + toll
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


def offer_learned(
    stock: Stock, queue: Queue, copies: Copies, *, world: World, config: Darap, minds: Minds, key: Array
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
        fare = jnp.swapaxes(world.toll[copies.sender[copy], receiver], 0, 1)

        def costs(stock: Stock) -> Array:
            return losses(stock.claimed, kind, world.tasks, world.open_, config.max_quantity)[:, None] + fare

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
    xs = (jnp.arange(len(copies.quantity)), copy, of_slots(queue.active), copies.quantity, copies.utility)
    stock, (made, choices) = jax.lax.scan(one_type, stock, xs)

    def of_turns(x: Array) -> Array:
        wide = jnp.pad(x, ((0, 0), (0, max(0, turns - slots)), *[(0, 0)] * (x.ndim - 2)))
        return wide[:, :turns]

    which = pick(copy, choices.slot, axis=1)
    chosen = Chosen(choices, copies.origin[which], copies.sender[which])
    return stock, jax.tree.map(of_turns, made), chosen


def by_copy(values: Array, queue: Queue, due: Array) -> Array:
    """From (type, turn, agent, ...) to (type, copy, agent, ...), zero for copies that are not due."""
    extra = values.ndim - 3
    turn = queue.turn.reshape(*queue.turn.shape, *([1] * extra))
    return jnp.where(due.reshape(turn.shape), pick(values, turn, axis=1), jnp.zeros((), values.dtype))
