"""Decentralised allocation by requests, offers and confirmations that cascade through the network (DARAP).

M. Malek Akhlagh, Adaptive Resource Allocation in Multi-Agent Social Networks, PhD thesis, University of Victoria, 2024,
Algorithms 5-9, 12-15 and 18, with the greedy answers (DEC-GRD), as a synchronous simulation in rounds of fixed shape.
"""

import operator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from bayesalloc.allocators.darap.answers import UNUSED, Wanted, at, hand_out, own_tasks, walk, wanted
from bayesalloc.allocators.darap.confirming import Collected, Confirmed, collect, confirm
from bayesalloc.allocators.darap.faults import NO_FAULTS, Faults, Record, send, slowest
from bayesalloc.allocators.darap.inbox import Chosen
from bayesalloc.allocators.darap.minds import Experience, Minds, Seen as Seen, experience, together
from bayesalloc.allocators.darap.protocol import DEFAULT, THESIS as THESIS, Darap as Darap
from bayesalloc.allocators.darap.requesting import Listening, ask, listen
from bayesalloc.allocators.darap.state import Stock, Talk, World
from bayesalloc.allocators.evaluate import Allocation, dense
from bayesalloc.allocators.problem import Problem, adjacency, package_cost, shortest_paths

INBOX = 3  # of a cycle's key: 0 to 2 are those of requests, offers and confirmations


class Ledger(NamedTuple):
    """What carries over from one cycle to the next: items of each agent, and its tasks not done yet."""

    stock: Int[Array, "agent type"]
    open_: Bool[Array, "agent own"]


class Cycle(NamedTuple):
    """What one negotiation did, and what networks had to choose in it: offers, and confirmations (None: greedy)."""

    used: Int[Array, "agent own agent type"]
    hop_cost: Float[Array, ""]
    record: Record
    experience: tuple[Experience | None, Experience | None]


class Exchange(NamedTuple):
    """What one negotiation exchanged: wishes, requests and offers, what askers made of these, and confirmations."""

    want: Wanted
    talk: Talk
    got: Collected
    sent: Confirmed


def dec_grd(
    problem: Problem, rng_key: Array, config: Darap = DEFAULT, faults: Faults = NO_FAULTS
) -> tuple[Allocation, Record]:
    """Allocates by the decentralised protocol with greedy answers.

    Args:
        problem: the instance.
        rng_key: decides which messages are lost or late, and the order of inboxes where the protocol leaves that to
            chance; without either nothing is random.
        config: the protocol.
        faults: what goes wrong.

    Returns:
        The allocation by true owner, for tasks that end complete, and the record of the negotiation. Items confirmed
        for tasks that end incomplete go back to their owners; `hop_cost` has been paid for them all the same.
    """
    allocation, record, _ = with_minds(problem, rng_key, None, config, faults)
    return allocation, record


def with_minds(
    problem: Problem, rng_key: Array, minds: Minds | None, config: Darap = DEFAULT, faults: Faults = NO_FAULTS
) -> tuple[Allocation, Record, tuple[Experience | None, Experience | None]]:
    """The same with learned answers (Algorithms 10, 11, 16 and 17); see `dec_grd`.

    Args:
        problem: the instance.
        rng_key: of what is left to chance, but for the networks' random choices.
        minds: the agents' networks; None: greedy answers.
        config: the protocol.
        faults: what goes wrong.

    Returns:
        Also what the networks had to choose and what came of it: offers and confirmations, None where answers are
        greedy. An offer is rewarded with utl(q) - cost(q) of the q items that are confirmed, a confirmation with what
        it adds to utl less its cost; both in the units of `Seen.scale`.
    """
    lengths = adjacency(problem)
    near = jnp.isfinite(lengths) & ~jnp.eye(len(lengths), dtype=bool)
    amounts = jnp.arange(config.max_quantity + 1)
    toll = package_cost(problem, amounts, jnp.where(near, lengths, 0.0)[..., None])
    tasks = own_tasks(problem, config.tasks_per_agent)
    lasting = jnp.full(len(lengths), UNUSED) if faults.stop_round is None else faults.stop_round
    world = World(near, toll, shortest_paths(lengths), tasks, tasks.real, lasting)

    def cycle(ledger: Ledger, number: Array) -> tuple[Ledger, Cycle]:
        stop = jnp.where(lasting < UNUSED, lasting - number * config.rounds, UNUSED)
        here = world._replace(open_=ledger.open_, stop=stop)
        key = jax.random.fold_in(rng_key, number)
        mine = None if minds is None else minds._replace(key=jax.random.fold_in(minds.key, number))
        parts = number >= config.cycles - config.parts if config.parts else False
        return _negotiate(problem, here, ledger.stock, key, config, faults, mine, parts=parts)

    _, cycles = jax.lax.scan(cycle, Ledger(problem.resources, tasks.real), jnp.arange(config.cycles))
    used, hop_cost, record = cycles.used.sum(0), cycles.hop_cost.sum(), _together(cycles.record)
    place = jnp.minimum(tasks.rank, config.tasks_per_agent - 1)
    part = problem.real & (tasks.rank < config.tasks_per_agent)
    quantity = jnp.where(part[:, None, None], used[problem.owner, place], 0)
    experience = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), cycles.experience)
    return dense(problem, quantity, world.distance, record.messages, hop_cost), record, experience


def suited(problem: Problem, config: Darap = DEFAULT) -> Darap:
    """The protocol with room for all tasks of an agent: inside jit, where owners are unknown, one may own them all."""
    if isinstance(problem.owner, Tracer) or isinstance(problem.real, Tracer):
        return replace(config, tasks_per_agent=len(problem.owner))
    owned = np.bincount(np.asarray(problem.owner)[np.asarray(problem.real)], minlength=1)
    return replace(config, tasks_per_agent=max(1, int(owned.max())))


def cautions(problem: Problem, config: Darap = DEFAULT) -> list[str]:
    """Sentences on what the negotiation leaves out in an instance: agents ask for so many items and no more."""
    requires = np.where(np.asarray(problem.real)[:, None], np.asarray(problem.requires, np.int64), 0)
    lacks = -np.asarray(problem.resources, np.int64)
    np.add.at(lacks, np.asarray(problem.owner), requires)
    agents = np.flatnonzero((lacks > config.max_quantity).any(1))
    if not agents.size:
        return []
    who = ", ".join(map(str, agents[:5])) + (", ..." if agents.size > 5 else "")
    return [
        f"an agent asks for at most {config.max_quantity} items of a type in a negotiation; what the tasks of"
        f" {agents.size} agents ({who}) lack is more, so that some may be left undone that could be done"
    ]


def negotiate(problem: Problem, rng_key: Array, config: Darap | None = None) -> Allocation:
    """DEC-GRD without faults, as an allocator among the others."""
    return dec_grd(problem, rng_key, suited(problem) if config is None else config)[0]


def _negotiate(
    problem: Problem,
    world: World,
    stock: Array,
    key: Array,
    config: Darap,
    faults: Faults,
    minds: Minds | None,
    *,
    parts: Any,
) -> tuple[Ledger, Cycle]:
    n, kinds = stock.shape
    want = wanted(world.tasks, stock, world.open_, config.max_quantity, config.utility_mode, parts=parts)
    requests, answers, confirmations = (
        send(k, (kinds, n, n, n), faults, config.retries) for k in jax.random.split(key, 3)
    )
    free = stock
    if config.leftovers == "kept":
        pledged = jnp.where(want.blocked[..., None], world.tasks.requires, 0).sum(1)
        free = free - jnp.minimum(want.left, pledged)
    claimed = free
    if faults.overstatement is not None:
        claimed = jnp.floor(free.astype(float) * jnp.asarray(faults.overstatement)[:, None]).astype(free.dtype)
    talk = ask(want, world, Stock(claimed, jnp.minimum(free, claimed)), requests.rounds, faults, config)
    inbox = jax.random.fold_in(key, INBOX)
    hear = partial(listen, world=world, sending=requests, key=inbox, config=config, minds=minds)
    slow, chosen = slowest(faults, config.retries), []
    if slow == 1:
        for now in range(1, config.max_hops + 1):
            turns = n - 1 if now == 1 else (n - 1) ** 2 // (4 if config.max_hops == 2 else 1)
            talk, made = hear(talk, now, Listening(max(turns, 1), originals=now == 1, pass_on=now < config.max_hops))
            chosen.append(made)
    else:
        turns = n**2 // 4 if config.max_hops <= 2 else (n - 1) ** 2
        step = partial(hear, room=Listening(max(turns, 1), originals=False, pass_on=config.max_hops > 1))
        talk, made = jax.lax.scan(step, talk, jnp.arange(1, slow * config.max_hops + 1))
        chosen = [jax.tree.map(operator.itemgetter(now), made) for now in range(slow * config.max_hops)]
    trust = None if faults.trust is None else jnp.asarray(faults.trust)
    got = collect(talk, want, answers, world, config, trust, minds)
    sent = confirm(talk.asked, got, confirmations, config, world.stop)
    edge = jnp.where(world.near, adjacency(problem), 0.0)
    hop_cost = package_cost(problem, sent.quantity, edge).sum()

    arrived = jnp.einsum("lobc->ocl", sent.sent) + jnp.einsum("loc->ocl", sent.sent_own)
    away = arrived.sum(0)
    pool = stock - away
    working = world.stop > config.rounds - 1
    served, _ = walk(pool + arrived.sum(1), world.tasks.requires, world.open_ & working[:, None])
    need = jnp.where(served[..., None], world.tasks.requires, 0)
    everything = arrived + jnp.where(jnp.eye(n, dtype=bool)[..., None], pool[:, None], 0)
    used = hand_out(everything, need, world.distance)
    after = Ledger(stock - used.sum((0, 1)), world.open_ & ~served)
    times = (requests.times, answers.times, confirmations.times)
    exchange = Exchange(want, talk, got, sent)
    record = _record(stock, used, served, exchange, times, world.stop, faults, config)
    lessons = (None, None) if minds is None else _lessons(minds, chosen, exchange)
    return after, Cycle(used, hop_cost, record, lessons)


def _lessons(
    minds: Minds, chosen: list[Chosen | None], exchange: Exchange
) -> tuple[Experience | None, Experience | None]:
    """What came of the networks' choices: an offer's reward is known only when its confirmation comes."""
    _, talk, got, sent = exchange
    taken, scale = sent.quantity, minds.seen.scale
    worth = at(jnp.broadcast_to(talk.asked.utility[..., None, :], got.offers.cost.shape), taken)
    reward = jnp.where(taken > 0, worth - at(got.offers.cost, taken), 0.0) / scale
    kind, agent = jnp.arange(len(reward))[:, None, None], jnp.arange(reward.shape[1])

    def offering(made: Chosen) -> Experience:
        of_each = jnp.where(made.choices.quantity > 0, reward[kind, made.origin, made.sender, agent], 0.0)
        return experience(made.choices, of_each)

    offers = [offering(made) for made in chosen if made is not None]
    confirmations = None if got.choices is None else experience(got.choices, got.choices.gain / scale)
    return together(offers) if offers else None, confirmations


def _record(
    stock: Array,
    used: Array,
    served: Array,
    exchange: Exchange,
    times: tuple[Array, Array, Array],
    stop: Array,
    faults: Faults,
    config: Darap,
) -> Record:
    want, talk, got, sent = exchange
    asked, offers, end = talk.asked, got.offers, config.offers_end
    answered = asked.to & (offers.round < UNUSED)
    messages = sum(jnp.sum(jnp.where(m, t, 0)) for m, t in zip((asked.to, answered, sent.told), times, strict=True))

    # Each agent's items on offer, and those it set aside: from when, until when, how many of them left.
    given = jnp.where(offers.cascaded, 0, offers.backed)
    free_again = jnp.minimum(sent.comes, end)
    aside_free = jnp.minimum(sent.released, end)
    answer = jnp.min(jnp.where(offers.cascaded, offers.round, UNUSED), axis=2)
    now = jnp.arange(config.rounds - 1)

    def over_time(quantity: Array, start: Array, stop_: Array | int = UNUSED) -> Array:
        shape = (-1, *([1] * quantity.ndim))
        during = (start <= now.reshape(shape)) & (now.reshape(shape) < stop_)
        owned = jnp.where(during, quantity, 0)
        return jnp.swapaxes(owned.sum(tuple(range(2, owned.ndim - 1))), 1, 2)

    offered = over_time(given, offers.round, free_again)
    offered += over_time(asked.backed, answer, aside_free)
    reserved = over_time(asked.backed, asked.round, jnp.minimum(answer, aside_free))

    def setting_out(quantity: Array, comes: Array) -> Array:
        each = jnp.where(comes == now.reshape(-1, *([1] * quantity.ndim)), quantity, 0)
        return jnp.moveaxis(each.sum(3) if quantity.ndim == 4 else each, 1, 3)

    gone = over_time(sent.sent, sent.comes) + over_time(sent.sent_own, sent.released)
    taken = over_time(given, offers.round) + over_time(asked.backed, asked.round)
    back = over_time(given - sent.sent, free_again)
    back += over_time(asked.backed - sent.sent_own, jnp.where(asked.round < UNUSED, aside_free, UNUSED))
    held = stock - taken + back
    done = used.sum((0, 1))
    last = jnp.zeros_like(done)
    returned = gone[-1] - (done - jnp.einsum("akal->al", used))
    at_last = held[-1] + returned - jnp.einsum("akal->al", used)

    waits = got.decided - asked.round
    asking = (asked.round < UNUSED) & (stop > got.decided)
    late = got.decided - (config.lifetime - asked.hops * config.timeout_reduction)
    holding = (given > 0) & (stop > free_again)
    aside = (asked.backed > 0) & (stop > aside_free)
    longest = [jnp.where(asking, waits, 0).max(), jnp.where(holding, free_again - offers.round, 0).max()]
    longest.append(jnp.where(aside, aside_free - asked.round, 0).max())
    overdue = [jnp.where(asking, late, -UNUSED).max(), jnp.where(holding, free_again - end, -UNUSED).max()]
    overdue.append(jnp.where(aside, aside_free - end, -UNUSED).max())

    kept = sent.sent.sum((0, 1, 2)) + sent.sent_own.sum((0, 1))
    promised = sent.own.sum((0, 1, 2)) + sent.asked_own.sum((0, 1))
    honest = at(want.utility, got.accepted).sum(0)
    factor = jnp.ones(len(stop)) if faults.exaggeration is None else jnp.asarray(faults.exaggeration)
    return Record(
        jnp.asarray(messages),
        jnp.concatenate([held, at_last[None]]),
        jnp.concatenate([reserved, last[None]]),
        jnp.concatenate([offered, last[None]]),
        jnp.concatenate([gone, done[None]]),
        jnp.concatenate(
            [setting_out(sent.sent, sent.comes) + setting_out(sent.sent_own, sent.released), used.sum(1)[None]]
        ),
        jnp.zeros((len(now) + 1, len(stop)), int).at[-1].set(served.sum(1)),
        jnp.stack(longest).max(),
        jnp.stack(overdue).max(),
        kept,
        promised - kept,
        honest,
        jnp.maximum(honest * (factor - 1), 0.0),
    )


def _together(record: Record) -> Record:
    """One record of all cycles: rounds follow each other, and what earlier cycles consumed stays consumed."""
    remaining = {}
    for name in ("consumed", "done"):
        each = getattr(record, name)
        remaining[name] = each + jnp.cumsum(each[:, -1:], axis=0) - each[:, -1:]
    rows = {name: getattr(record, name) for name in ("held", "reserved", "offered", "sent")} | remaining
    rows = {name: each.reshape(-1, *each.shape[2:]) for name, each in rows.items()}
    most = {name: getattr(record, name).max(0) for name in ("longest_wait", "overdue")}
    total = jax.tree.map(lambda x: x.sum(0), record)
    return total._replace(**rows, **most)
