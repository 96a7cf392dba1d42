"""Answers that are learned: what agents offer, and what they confirm, as their networks value it (DEC-RL).

An agent answers the requests for one type one by one: each time it chooses a request and a quantity. So does one that
confirms offers. Malek Akhlagh (2024), Algorithms 10, 11, 16 and 17.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from bayesalloc.agents.dqn import REFUSED, Transition, best, explore

Part = Literal["offering", "confirming"]


def features(amounts: int) -> int:
    """Numbers per request or offer that a shared network sees, where there are so many amounts."""
    return 8 + 2 * amounts


class Situation(NamedTuple):
    """What one agent sees when it chooses among requests (or offers) for one type; a slot is one of them.

    Attributes:
        kind: the type.
        stock: items of it that the agent has left to promise (when it confirms: items it lacks still).
        there: whether there is one that is not answered yet, shape (slot,).
        limit: the most items it can choose, shape (slot,).
        gain: utility less cost of 1, 2, ... items, shape (slot, amount).
        utility: of 1, 2, ... items, same shape.
    """

    kind: Int[Array, ""]
    stock: Int[Array, ""]
    there: Bool[Array, " slot"]
    limit: Int[Array, " slot"]
    gain: Float[Array, "slot amount"]
    utility: Float[Array, "slot amount"]


class Choices(NamedTuple):
    """What agents chose, and on the grounds of what; leading axes (type, turn, agent).

    Attributes:
        values, mask: what the network saw, and which of its actions there were.
        action: the number of the action.
        next_values, next_mask: the same for the agent's next choice in this round.
        slot: the request or offer chosen.
        quantity: items, 0 where the agent chose none.
        gain: what they seemed to gain.
        made: whether there was a choice.
        strayed: whether it was another than the greedy answer.
    """

    values: Array
    mask: Array
    action: Array
    next_values: Array
    next_mask: Array
    slot: Array
    quantity: Array
    gain: Array
    made: Array
    strayed: Array


@jax.tree_util.register_static
class Seen(NamedTuple):
    """How situations become numbers.

    Attributes:
        kind: `thesis`: one vector with type, stock and gains, for a network of fixed width that always chooses
            something that gains; `shared`: a row per request, for a network that is the same for all. It values how
            much better than the greedy answer each other one is, to hold back what is left among them.
        slots: most requests considered.
        amounts: most items in one.
        scale: the unit of utility for a shared network.
    """

    kind: Literal["thesis", "shared"]
    slots: int
    amounts: int
    scale: float = 10.0


class Minds(NamedTuple):
    """The agents' networks, and how they use them.

    Attributes:
        seen: how situations become numbers.
        offering, confirming: modules with a leading agent axis, or None for the greedy answer.
        epsilon: probability of a random choice.
        margin: what a shared network must promise beyond the greedy answer to be followed, in units of `Seen.scale`.
        key: of random choices.
    """

    seen: Seen
    offering: Any
    confirming: Any
    epsilon: Num[Array, ""]
    margin: Num[Array, ""]
    key: Array

    def at(self, part: int, moment: Any) -> Array:
        """The key of a moment of the negotiation."""
        return jax.random.fold_in(jax.random.fold_in(self.key, part), moment)


class Experience(NamedTuple):
    """What choices led to: transitions with leading axes (choice, agent), which were made, and which not greedily."""

    transitions: Transition
    made: Bool[Array, "choice agent"]
    strayed: Bool[Array, "choice agent"]


def experience(choices: Choices, reward: Float[Array, "type turn agent"], discount: float = 1.0) -> Experience:
    """Choices with their rewards; `discount` is that of the next choice in the same round."""
    then = jnp.where(choices.next_mask.any(-1), discount, 0.0)
    fields = Transition(choices.values, choices.action, reward, then, choices.next_values, choices.next_mask)
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), (fields, choices.made, choices.strayed))
    return Experience(*flat)


def together(parts: Sequence[Experience]) -> Experience:
    """One after the other, on the axis of choices."""
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def feasible(situation: Situation) -> Bool[Array, "slot amount"]:
    """What can be chosen: no more items than there are, and only what gains."""
    amounts = jnp.arange(1, situation.gain.shape[1] + 1)
    fits = amounts <= jnp.minimum(situation.limit, situation.stock)[:, None]
    return situation.there[:, None] & fits & (situation.gain > 0)


def greedy(situation: Situation) -> Int[Array, ""]:
    """The greedy answer as the number of an action: the first request that gains, and the quantity that gains most."""
    can = feasible(situation)
    slot = jnp.argmax(can.any(1))
    return slot * can.shape[1] + jnp.argmax(jnp.where(can[slot], situation.gain[slot], -jnp.inf))


def see(seen: Seen, situation: Situation) -> tuple[Array, Bool[Array, " action"]]:
    """What the network gets, and the actions there are: slot x amounts + (amount - 1), then to hold back (`shared`)."""
    can = feasible(situation)
    gain = jnp.where(can, situation.gain, 0.0)
    if seen.kind == "thesis":
        own = jnp.stack([situation.kind, situation.stock]).astype(float)
        return jnp.concatenate([own, gain.reshape(-1)]), can.reshape(-1)
    there = can.any(1, keepdims=True)
    n = len(situation.there)
    facts = [
        there,
        jnp.broadcast_to(situation.stock.astype(float) / seen.amounts, (n, 1)),
        situation.limit[:, None].astype(float) / seen.amounts,
        jnp.broadcast_to(can.any(1).sum().astype(float) / 4.0, (n, 1)),
        gain.max(1, keepdims=True) / seen.scale,
        (gain / jnp.arange(1.0, seen.amounts + 1)).max(1, keepdims=True) / seen.scale,
        jnp.where(there, jnp.minimum(situation.limit, situation.stock)[:, None].astype(float) / seen.amounts, 0.0),
        jnp.where(can.any(1), situation.limit, 0).sum().astype(float) / seen.amounts * jnp.ones((n, 1)),
    ]
    curves = [gain / seen.scale, jnp.where(can, situation.utility, 0.0) / seen.scale]
    rows = jnp.concatenate([*(jnp.asarray(fact, float) for fact in facts), *curves], axis=1)
    return jnp.where(there, rows, 0.0), jnp.append(can.reshape(-1), can.any())


def answer_all(
    minds: Minds,
    networks: Any,
    key: Array,
    state: Any,
    situation: Callable[[Any, Array], Situation],
    take: Callable[[Any, Array, Array], Any],
) -> tuple[Any, Choices]:
    """All agents choose, one choice each at a time, until none has any left.

    Args:
        minds: how they see and choose.
        networks: modules with a leading agent axis.
        key: of random choices.
        state: whatever the choices change.
        situation: `(state, answered) -> Situation` with a leading agent axis; answered has shape (agent, slot).
        take: `(state, slot, quantity) -> state`, the last two of shape (agent,), where a quantity of 0 changes nothing.

    Returns:
        The state after them, and the choices with leading axes (turn, agent).
    """
    seen = minds.seen

    def look(state: Any, answered: Array) -> tuple[Array, ...]:
        facts = situation(state, answered)
        values, mask = jax.vmap(partial(see, seen))(facts)
        return values, mask, jax.vmap(greedy)(facts), facts.gain.reshape(len(facts.gain), -1)

    def pick_one(key: Array, q: Array, mask: Array, usual: Array) -> Array:
        if seen.kind == "thesis":
            return explore(key, q, mask, minds.epsilon)
        others = mask & (jnp.arange(len(mask)) != usual)
        which, how = jax.random.split(key)
        luck, blind = jax.random.uniform(which, (2,))
        follows = jnp.where(others, q, REFUSED).max() > q[usual] + minds.margin
        stray = explore(how, q, others, jnp.where(blind < 0.5, 1.0, 0.0))
        strays = others.any() & ((luck < minds.epsilon) | follows)
        return jnp.where(strays, jnp.where(luck < minds.epsilon, stray, best(q, others)), usual)

    n, places = jax.tree.leaves(networks)[0].shape[0], jnp.arange(seen.slots)
    values, mask, usual, gain = look(state, jnp.zeros((n, seen.slots), bool))

    def choose(loop: tuple[Any, ...], turn: Array) -> tuple[Any, ...]:
        state, answered, values, mask, usual, gain, log = loop
        q = jax.vmap(lambda network, x: network(x))(networks, values)
        keys = jax.random.split(jax.random.fold_in(key, turn), n)
        action = jax.vmap(pick_one)(keys, q, mask, usual)
        made = mask.any(-1)
        holds = action >= seen.slots * seen.amounts
        slot = jnp.minimum(action // seen.amounts, seen.slots - 1)
        quantity = jnp.where(made & ~holds, action % seen.amounts + 1, 0)
        state = take(state, slot, quantity)
        answered = answered | (places == slot[:, None]) & made[:, None] | holds[:, None]
        if seen.kind == "shared":  # what the greedy answer has passed by does not come back when the stock changes
            answered |= (places < (usual // seen.amounts)[:, None]) & made[:, None]
        gained = jnp.where(quantity > 0, gain[jnp.arange(n), jnp.minimum(action, gain.shape[1] - 1)], 0.0)
        after = look(state, answered)
        strayed = made & (action != usual)
        choice = Choices(values, mask, action, after[0], after[1], slot, quantity, gained, made, strayed)
        log = jax.tree.map(lambda all_, one: all_.at[turn].set(one), log, choice)
        return state, answered, *after, log

    number = jnp.zeros(n, jnp.int32)
    no = jnp.zeros(n, bool)
    blank = Choices(values, mask, number, values, mask, number, number, jnp.zeros(n), no, no)
    log = jax.tree.map(lambda leaf: jnp.zeros((seen.slots, *leaf.shape), leaf.dtype), blank)
    start = (state, jnp.zeros((n, seen.slots), bool), values, mask, usual, gain, log)

    def body(carry: tuple[Array, Any]) -> tuple[Array, Any]:
        turn, loop = carry
        return turn + 1, choose(loop, turn)

    _, (state, *_, log) = jax.lax.while_loop(
        lambda carry: (carry[0] < seen.slots) & carry[1][3].any(), body, (jnp.int32(0), start)
    )
    return state, log
