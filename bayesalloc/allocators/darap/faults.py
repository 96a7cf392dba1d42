"""Faults that a negotiation must survive: lost and late messages, agents that stop, agents that lie; and trust."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from bayesalloc.allocators.darap.answers import UNUSED


class Faults(NamedTuple):
    """What goes wrong in an episode; a field that is None does not, and costs no time.

    Attributes:
        loss: probability that one sending of a message is lost, scalar in [0, 1]. A sender hears within a round whether
            its message came (acknowledgements are neither counted nor lost) and sends it again next round, as often as
            the protocol's `retries`.
        delay: probability that a message comes a round later, scalar in [0, 1].
        stop_round: the round from which an agent neither sends, answers nor executes, shape (agent,). The protocol's
            `rounds_to` names rounds; from UNUSED on, an agent never stops.
        exaggeration: factor on the utilities that an agent reports in its requests, shape (agent,).
        overstatement: factor on the stock from which an agent reserves and offers, shape (agent,).
        trust: what others make of an agent, in [0, 1], shape (agent,): they discount the utilities that it reports, and
            count on that share of the items that it offers.
    """

    loss: Num[Array, ""] | float | None = None
    delay: Num[Array, ""] | float | None = None
    stop_round: Int[Array, " agent"] | None = None
    exaggeration: Num[Array, " agent"] | None = None
    overstatement: Num[Array, " agent"] | None = None
    trust: Num[Array, " agent"] | None = None


NO_FAULTS = Faults()


class Record(NamedTuple):
    """What happened in an episode; with several cycles, rounds follow each other and counts add up.

    Attributes:
        messages: requests, answers (also "nothing") and confirmations (also "nothing") sent, and those sent again.
        held, reserved, offered, consumed: items of each owner at each round, shape (round, agent, type). Items that a
            confirmation sent on their way are consumed, until the last round of a cycle returns those not used.
        sent: items that set out in each round, to each agent's tasks from each agent, shape (round, agent, agent,
            type); in the last round of a cycle, those that the tasks use, their owner's among them.
        done: tasks of each agent that are done by each round, shape (round, agent).
        longest_wait: most rounds that a live agent waited, for answers or with items set aside.
        overdue: most rounds by which such a wait went past its timeout; at most 0.
        kept, broken: items that an agent had promised, was asked for, and did or did not deliver, shape (agent,).
        honest, inflated: utility that an agent reported for items it then confirmed, as an audit would confirm it and
            beyond that, shape (agent,).
    """

    messages: Int[Array, ""]
    held: Int[Array, "round agent type"]
    reserved: Int[Array, "round agent type"]
    offered: Int[Array, "round agent type"]
    consumed: Int[Array, "round agent type"]
    sent: Int[Array, "round agent agent type"]
    done: Int[Array, "round agent"]
    longest_wait: Int[Array, ""]
    overdue: Int[Array, ""]
    kept: Int[Array, " agent"]
    broken: Int[Array, " agent"]
    honest: Float[Array, " agent"]
    inflated: Float[Array, " agent"]


def stopping(before: Bool[Array, " agent"], after: Bool[Array, " agent"], max_hops: int) -> Int[Array, " agent"]:
    """The rounds in which agents stop: some before they could offer anything, some after they have confirmed."""
    return jnp.where(before, 1, jnp.where(after, 3 * max_hops + 1, UNUSED))


class Sending(NamedTuple):
    """Rounds that each message takes (UNUSED if it never comes), and how often it is sent."""

    rounds: Int[Array, "..."]
    times: Int[Array, "..."]


def send(key: Array, shape: tuple[int, ...], faults: Faults, retries: int) -> Sending:
    """How messages between all pairs fare; without loss and delay each takes one round."""
    rounds, times = jnp.ones(shape, jnp.int32), jnp.ones(shape, jnp.int32)
    for_loss, for_delay = jax.random.split(key)
    if faults.loss is not None:
        draw = jax.random.uniform(for_loss, shape)
        powers = jnp.asarray(faults.loss) ** jnp.arange(1.0, retries + 2)
        failed = jnp.sum(draw[..., None] < powers, axis=-1)  # P(the first k sendings are lost) = loss^k
        times = jnp.minimum(failed, retries) + 1
        rounds = jnp.where(failed > retries, UNUSED, failed + 1)
    if faults.delay is not None:
        rounds += jax.random.bernoulli(for_delay, jnp.asarray(faults.delay), shape).astype(int)
    return Sending(rounds, times)


def slowest(faults: Faults, retries: int) -> int:
    """Most rounds that a message which comes may take."""
    return 1 + (retries if faults.loss is not None else 0) + (faults.delay is not None)


def update_trust(trust: Float[Array, " agent"], record: Record, rate: Array | float = 0.5) -> Float[Array, " agent"]:
    """Trust after an episode: a step towards the share of promises kept, of items and of reported utilities.

    The lower of the two shares counts, so that honest requests do not make up for items that never came. An agent that
    promised nothing keeps its trust.
    """
    promised, reported = record.kept + record.broken, record.honest + record.inflated
    items = jnp.where(promised > 0, record.kept / jnp.maximum(promised, 1), jnp.inf)
    utility = jnp.where(reported > 0, record.honest / jnp.where(reported > 0, reported, 1.0), jnp.inf)
    share = jnp.minimum(items, utility)
    return jnp.where(jnp.isfinite(share), trust + rate * (jnp.minimum(share, 1.0) - trust), trust)
