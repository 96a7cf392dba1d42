"""DEC-PRICE: agents learn prices of their stock from their neighbours alone, allocate by them, and bound the optimum.

Dualise supply: with price lambda_ik of an item of type k at agent i,

    L(lambda) = sum_ik lambda_ik rsc_ik + sum_j max(0, u_j - sum_k rqr_jk m_k(loc_j)),
    m_k(b) = min_i (c dst(i, b) + lambda_ik),

is an upper bound on social welfare for any lambda >= 0 (weak duality; e.g. Fisher 1981, Management Science 27:1). m is
a Bellman-Ford fixed point, so an agent needs to hear only what its neighbours pay. c is the least that moving an item
of the type over distance 1 can cost.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.csgraph
from jaxtyping import Array, Float, Int

from bayesalloc.allocators.evaluate import Allocation, Shipments, dense, evaluate
from bayesalloc.allocators.problem import Problem, adjacency, exact_links, package_cost, shortest_paths


@dataclasses.dataclass(frozen=True)
class Pricing:
    """How prices are learned and used.

    Attributes:
        iterations: rounds in which prices follow excess demand.
        step: first change of a price per round, in units of the cost of an item over distance 1, or of what an item is
            worth where these are far apart (see SCALES).
        decay: the last change as a share of the first.
        caution: how much of its price a task counts when it chooses where to take an item from: 0 is the nearest, 1
            leaves scarce items to others even where nobody wants them in the end. The tries take these in turn.
        tries: allocations that are made, of which all agents keep the best; None: 16, or 1 where the table of all
            quantities has more than DENSE cells.
        noise: standard deviation of the log of what tells apart the tasks' worth from the second turn of tries on.
        ticks: how many values the clock shows in each pass; tasks that were left incomplete take part in the next pass.
        top: the clock's first value: how many times its price a task must be worth to be served at once.
    """

    iterations: int = 100
    step: float = 1.0
    decay: float = 0.01
    caution: tuple[float, ...] = (0.5, 0.0, 0.3, 0.7)
    tries: int | None = None
    noise: float = 0.3
    ticks: tuple[int, ...] = (24, 8, 8)
    top: float = 8.0


SCALES = 1 / 16, 4.0  # the least and the most that prices move by, as shares of the highest utility per item
SURE = 4e-6  # part of its utility that a task must gain: more than rounding can take
DENSE = 2**18  # cells up to which a table of all quantities is cheaper than a list of sales


def dec_price(problem: Problem, rng_key: Array | None = None, pricing: Pricing = Pricing()) -> Allocation:
    """Allocation by learned prices with neighbour messages only, and a certified upper bound.

    Args:
        problem: one instance.
        rng_key: for the noise by which the tries differ; None: always the same.
        pricing: how prices are learned and used.
    """
    return priced(problem, rng_key, pricing)[0]


def priced(
    problem: Problem, rng_key: Array | None = None, pricing: Pricing = Pricing()
) -> tuple[Allocation, Float[Array, "agent type"]]:
    """The same, and the prices that give its bound."""
    n_agents = len(problem.resources)
    source, target = problem.edges[:, 0], problem.edges[:, 1]
    links = Links(jnp.concatenate([source, target]), jnp.concatenate([target, source]), jnp.tile(problem.weights, 2))
    most = jnp.maximum(problem.requires.max(0, initial=1), 1)
    unit = problem.per_item / jnp.minimum(problem.package_size, most).astype(float)
    learned = learn(problem, links, unit, pricing)
    tries = (16 if _small(problem) else 1) if pricing.tries is None else pricing.tries
    noise = jax.random.normal(jax.random.key(0) if rng_key is None else rng_key, (tries, len(problem.owner)))
    noise = jnp.where(jnp.arange(tries)[:, None] < len(pricing.caution), 0.0, pricing.noise * noise)
    caution = jnp.resize(jnp.asarray(pricing.caution), (tries,))

    def attempt(caution: Array, noise: Array) -> Allocation:
        return _shipments(problem, sell(problem, links, unit, learned, caution, noise, pricing))

    found = jax.vmap(attempt)(caution, noise)
    best = jnp.argmax(jax.vmap(evaluate, in_axes=(None, 0))(problem, found).social_welfare)
    # up a spanning tree with the sums of all tries, and down with the choice
    messages = learned.messages + found.messages.sum() + (2.0 * (n_agents - 1) if tries > 1 else 0.0)
    found = jax.tree.map(lambda leaf: leaf[best], found)._replace(messages=messages, bound=learned.bound)
    return found, learned.surest


def certified(problem: Problem, prices: Float[Array, "agent type"]) -> float:
    """The bound L(lambda) of some prices in float64, on the host."""
    n, requires, stock = len(prices), np.asarray(problem.requires), np.asarray(problem.resources, float)
    offered, (one, other, weights) = np.asarray(prices, float), exact_links(problem)
    agents, seller = np.arange(n), np.full(n, n)  # the way from one more node to an agent costs its price
    value = np.where(problem.real, np.asarray(problem.utility, float), 0.0)
    for kind, most in enumerate(requires.max(0, initial=1)):
        unit = float(problem.per_item) / min(int(problem.package_size), max(int(most), 1))
        toll = unit * weights
        ends = (np.concatenate([one, other, seller]), np.concatenate([other, one, agents]))
        costs = np.concatenate([toll, toll, offered[:, kind]])
        graph = scipy.sparse.csr_array((np.maximum(costs, np.finfo(float).tiny), ends), shape=(n + 1, n + 1))
        cheapest = scipy.sparse.csgraph.dijkstra(graph, indices=n)
        value = value - requires[:, kind] * cheapest[np.asarray(problem.owner)]
    return float((offered * stock).sum() + np.maximum(value, 0.0).sum())


class Links(NamedTuple):
    """Edges in both directions: messages go from `source` to `target`."""

    source: Int[Array, " link"]
    target: Int[Array, " link"]
    length: Float[Array, " link"]


class Offers(NamedTuple):
    """What every agent has heard: the best offer for an item of each type, shape (agent, type).

    `cost` is price and transfer together, `provider` who makes the offer, `distance` and `hops` the way to them.
    """

    cost: Array
    provider: Array
    distance: Array
    hops: Array


def hear(links: Links, asked: Float[Array, "agent type"], unit: Array) -> tuple[Offers, Array]:
    """Offers spread from neighbour to neighbour until nobody hears a better one; and the messages this took."""
    n = len(asked)
    degree = jnp.zeros(n).at[links.source].add(jnp.where(jnp.isfinite(links.length), 1.0, 0.0))
    there = jnp.isfinite(links.length)[:, None]  # a link that is not is none where transport is free, too
    toll = jnp.where(there, unit * jnp.where(there, links.length[:, None], 0.0), jnp.inf)

    def sweep(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        cost, news, messages = state
        heard = jax.ops.segment_min(toll + cost[links.source], links.target, n)
        better = jnp.minimum(cost, heard)
        return better, jnp.any(better < cost, axis=-1), messages + jnp.where(news, degree, 0.0).sum()

    start = (asked, jnp.any(jnp.isfinite(asked), axis=-1), jnp.zeros(()))
    cost, _, messages = jax.lax.while_loop(lambda state: state[1].any(), sweep, start)
    told = jax.lax.optimization_barrier(toll + cost[links.source])  # compared with itself below, so kept as it is
    heard = jax.ops.segment_min(told, links.target, n)
    follows = heard < asked
    tells = (told == heard[links.target]) & follows[links.target]
    # Ways that cost nothing, or too little to tell, could lead in a circle: there offers come by the fewest hops.
    free = (tells & (cost[links.source] == cost[links.target])).any()

    def spread(state: tuple[Array, Array]) -> tuple[Array, Array]:
        hops, _ = state
        near = jax.ops.segment_min(jnp.where(tells, hops[links.source] + 1, n), links.target, n)
        fewer = jnp.minimum(hops, near)
        return fewer, jnp.any(fewer < hops)

    hops, _ = jax.lax.while_loop(lambda state: state[1], spread, (jnp.where(follows, n, 0), free))
    tells &= ~free | (hops[links.source] < hops[links.target])
    via = jax.ops.segment_min(jnp.where(tells, links.source[:, None], n), links.target, n)
    tells &= via[links.target] == links.source[:, None]
    length = jax.ops.segment_min(jnp.where(tells, links.length[:, None], jnp.inf), links.target, n)
    via = jnp.where(follows, via, jnp.arange(n)[:, None])
    length = jnp.where(follows, length, 0.0)
    kinds = jnp.arange(asked.shape[1])

    def double(_: Array, way: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        via, length, hops = way
        return via[via, kinds], length + length[via, kinds], hops + hops[via, kinds]

    way = jax.lax.fori_loop(0, max(1, n.bit_length()), double, (via, length, follows.astype(jnp.float32)))
    return Offers(cost, *way), messages


class Learned(NamedTuple):
    """What price learning ends with: prices, those with the lowest bound, that bound, and the messages sent."""

    prices: Float[Array, "agent type"]
    surest: Float[Array, "agent type"]
    bound: Float[Array, ""]
    messages: Float[Array, ""]


def learn(problem: Problem, links: Links, unit: Array, pricing: Pricing) -> Learned:
    """Prices that follow excess demand, each by its own provider, and the lowest bound met on the way.

    The step of each price is scaled by its own running mean square (Kingma & Ba 2015, arXiv:1412.6980), which a
    provider can do alone. The bound is also taken at the mean of the later prices.
    """
    stock = problem.resources.astype(jnp.float32)
    kinds = jnp.arange(stock.shape[1])
    scale = _scale(problem, unit)

    def dual(prices: Array) -> tuple[Array, Array, Array]:
        offers, messages = hear(links, prices, unit)
        value = problem.utility - _dot(problem.requires, offers.cost[problem.owner])
        wanted = problem.real & (value > 0)
        demand = jnp.where(wanted[:, None], problem.requires, 0).astype(jnp.float32)
        asked = jnp.zeros_like(stock).at[offers.provider[problem.owner], kinds].add(demand)
        bound = (prices * stock).sum() + jnp.where(wanted, value, 0.0).sum()
        hops = jnp.where(demand > 0, offers.hops[problem.owner], 0.0).sum()
        return bound, asked - stock, messages + hops

    def follow(state: tuple[Array, ...], time: Array) -> tuple[tuple[Array, ...], None]:
        prices, mean, square, average, surest, best, messages = state
        bound, excess, sent = dual(prices)
        surest = jnp.where(bound < best, prices, surest)
        mean, square = 0.8 * mean + 0.2 * excess, 0.95 * square + 0.05 * excess**2
        steps = (time + 1).astype(float)
        scaled = mean / (1 - 0.8**steps) / (jnp.sqrt(square / (1 - 0.95**steps)) + 1e-6)
        step = pricing.step * scale * pricing.decay ** (time / pricing.iterations)
        prices = jnp.maximum(0.0, prices + step * scaled)
        average = average + jnp.where(2 * time >= pricing.iterations, prices, 0.0)
        return (prices, mean, square, average, surest, jnp.minimum(best, bound), messages + sent), None

    zero = jnp.zeros_like(stock)
    start = (zero, zero, zero, zero, zero, jnp.asarray(jnp.inf), jnp.zeros(()))
    (_, _, _, total, surest, best, messages), _ = jax.lax.scan(follow, start, jnp.arange(pricing.iterations))
    prices = total / (pricing.iterations - (pricing.iterations + 1) // 2)
    bound, _, sent = dual(prices)
    surest = jnp.where(bound < best, prices, surest)
    return Learned(prices, surest, jnp.minimum(best, bound), messages + sent)


def _scale(problem: Problem, unit: Array) -> Array:
    least, most = SCALES
    return jnp.clip(unit, least * _per_item(problem), most * _per_item(problem))


def _per_item(problem: Problem) -> Float[Array, ""]:
    """The highest utility of a task per item that it requires."""
    items = problem.requires.sum(-1)
    each = problem.utility / jnp.maximum(items, 1).astype(float)
    return jnp.where(problem.real & (items > 0), each, 0.0).max(initial=0.0)


def _dot(requires: Int[Array, "task type"], cost: Float[Array, "task type"]) -> Float[Array, " task"]:
    """Cost of all that a task requires; of what it does not require, not even an infinite price counts."""
    return jnp.where(requires > 0, requires.astype(float) * cost, 0.0).sum(-1)


class Sales(NamedTuple):
    """What tasks took in each round, shape (round, task, type), and the messages sent."""

    provider: Int[Array, "round task type"]
    quantity: Int[Array, "round task type"]
    distance: Float[Array, "round task type"]
    messages: Float[Array, ""]


def sell(
    problem: Problem, links: Links, unit: Array, learned: Learned, caution: Array, noise: Array, pricing: Pricing
) -> Sales:
    """Allocation by a descending clock: a task asks for its items once the clock is down to what it is worth.

    A task's worth is its utility over the price of its items; everybody knows the clock, so nobody needs to know the
    other tasks. Where several ask a provider at once, it serves the worthier ones first. A task asks only as long as
    it expects to gain, from the provider that is cheapest by distance and a part (`caution`) of its price among those
    that have something left. After each pass, tasks that are incomplete, or would lose because their packages are not
    full, give back what they hold, and try again in the next.
    """
    n_tasks, types = problem.requires.shape
    offers, first = hear(links, learned.prices, unit)
    price = _dot(problem.requires, offers.cost[problem.owner])
    utility = jnp.asarray(problem.utility)
    least = 1e-6 * _per_item(problem)
    price = jnp.maximum(price, jnp.where(least > 0, least, 1e-6))
    worth = jnp.where(problem.real, jnp.exp(noise) * utility / price, -jnp.inf)
    # what an item costs a task at least: its packages are no fuller than it requires
    mine = problem.per_item / jnp.minimum(problem.package_size, jnp.maximum(problem.requires, 1)).astype(float)
    order = jnp.argsort(-worth, stable=True)
    kinds = jnp.arange(types)
    # Prices differ by no more than transport costs, but for the steps they move by: larger ones say little.
    scale = _scale(problem, unit)
    caution = caution * jnp.where(scale > unit, unit / jnp.where(scale > 0, scale, 1.0), 1.0)

    def tick(state: tuple[Array, ...], clock: Array) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        free, missing, spent, messages = state
        asked = jnp.where(free > 0, caution * learned.prices, jnp.inf)
        offers, sent = hear(links, asked, unit)
        offers = Offers(*(field[problem.owner] for field in offers))
        expected = spent + _dot(missing, mine * offers.distance)
        there = jnp.all((missing == 0) | jnp.isfinite(offers.cost), axis=-1)
        asks = (worth >= clock) & there & (expected < problem.utility) & (missing > 0).any(-1)
        wanted = jnp.where(asks[:, None], missing, 0)
        given = jnp.stack([_serve(wanted[:, k], offers.provider[:, k], free[:, k], order) for k in range(types)], 1)
        free = free.at[offers.provider, kinds].add(-given)
        hops = jnp.where(wanted > 0, 2 * offers.hops, 0.0).sum()  # a request and its answer
        spent = spent + (mine * offers.distance * given.astype(float)).sum(-1)
        return (free, missing - given, spent, messages + sent + hops), (offers.provider, given, offers.distance)

    missing = jnp.where(problem.real[:, None], problem.requires, 0)
    free, messages, rounds = problem.resources, first, []
    for ticks in pricing.ticks:
        last = jnp.asarray(-jnp.inf)  # at the end everybody may ask
        clocks = jnp.append(jnp.geomspace(pricing.top, 1.0 / pricing.top, ticks - 1), last)
        state = (free, missing, jnp.zeros(n_tasks), messages)
        (_, left, _, messages), (provider, given, distance) = jax.lax.scan(tick, state, clocks)
        cost = _cost(problem, provider, given, distance)
        complete = (left == 0).all(-1) & (cost <= (1 - SURE) * utility)
        given = jnp.where(complete[:, None], given, 0)
        free = free.at[provider, kinds].add(-given)
        missing = jnp.where(complete[:, None], 0, missing)
        rounds.append((provider, given, distance))
    provider, quantity, distance = (jnp.concatenate(parts) for parts in zip(*rounds, strict=True))
    return Sales(provider, quantity, distance, messages)


def _cost(
    problem: Problem, provider: Int[Array, "round task type"], quantity: Array, distance: Array
) -> Float[Array, " task"]:
    """What each task's items cost, where those of one provider share packages whichever round they come from."""

    def together() -> Array:
        order = jnp.argsort(provider, axis=0)
        who, items, far = (jnp.take_along_axis(x, order, axis=0) for x in (provider, quantity, distance))
        changes, edge = who[1:] != who[:-1], jnp.ones_like(who[:1], bool)
        first, last = jnp.concatenate([edge, changes]), jnp.concatenate([changes, edge])
        total = jnp.cumsum(items, axis=0)
        before = jax.lax.cummax(jnp.where(first, total - items, 0), axis=0)
        return package_cost(problem, jnp.where(last, total - before, 0), far).sum((0, 2))

    def apart() -> Array:
        return package_cost(problem, quantity, distance).sum((0, 2))

    return jax.lax.cond(problem.package_size > 1, together, apart)


def _small(problem: Problem) -> bool:
    return len(problem.owner) * problem.resources.size <= DENSE


def _shipments(problem: Problem, sales: Sales) -> Allocation:
    """Sales as an allocation: one shipment for each task, agent and type, unless that were too many."""
    task, kind = jnp.arange(len(problem.owner))[:, None], jnp.arange(problem.resources.shape[1])
    if _small(problem):
        quantity = jnp.zeros((len(problem.owner), *problem.resources.shape), int)
        quantity = quantity.at[task, sales.provider, kind].add(sales.quantity)
        return dense(problem, quantity, shortest_paths(adjacency(problem)), messages=sales.messages)
    task, kind = (jnp.broadcast_to(place, sales.provider.shape).reshape(-1) for place in (task, kind))
    provider, quantity, distance = (field.reshape(-1) for field in sales[:3])
    nan, inf = jnp.asarray(jnp.nan), jnp.asarray(jnp.inf)
    return Shipments(task, provider, kind, quantity, distance, sales.messages, nan, inf)


def _serve(
    wanted: Int[Array, " task"], provider: Int[Array, " task"], free: Int[Array, " agent"], order: Int[Array, " task"]
) -> Int[Array, " task"]:
    """What each task gets of one type: every provider serves tasks in the given order as long as it has items."""
    order = order[jnp.argsort(provider[order], stable=True)]
    who, want = provider[order], wanted[order]
    before = jnp.cumsum(want) - want
    before = (
        before - jax.ops.segment_max(jnp.where(jnp.append(True, who[1:] != who[:-1]), before, 0), who, len(free))[who]
    )
    return jnp.zeros_like(wanted).at[order].set(jnp.clip(free[who] - before, 0, want))
