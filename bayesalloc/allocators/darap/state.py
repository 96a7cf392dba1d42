"""The state of a negotiation: the world that it takes place in, and the requests and offers made so far.

Axes, in this order wherever they meet: type, origin (whose tasks a request is for), sender (of this copy of it),
receiver. An agent passes on the first copy of a request that it hears and no other, so each pair of agents exchanges at
most one copy, and the copies that were passed on form a tree.
"""

from typing import NamedTuple

from jaxtyping import Array, Bool, Float, Int

from bayesalloc.allocators.darap.answers import OwnTasks


class World(NamedTuple):
    """What stays as it is during one negotiation.

    Attributes:
        near: who are neighbours.
        toll: price of q items along an edge, 0 without one, shape (agent, agent, amount).
        distance: between agents, along shortest paths.
        tasks: of each agent.
        open_: whether they are not done yet.
        stop: the round from which an agent neither sends, answers nor executes.
    """

    near: Bool[Array, "agent agent"]
    toll: Float[Array, "agent agent amount"]
    distance: Float[Array, "agent agent"]
    tasks: OwnTasks
    open_: Bool[Array, "agent own"]
    stop: Int[Array, " agent"]


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


class Talk(NamedTuple):
    """A negotiation under way."""

    stock: Stock
    asked: Asked
    offers: Offers
    heard: Bool[Array, "type origin agent"]
