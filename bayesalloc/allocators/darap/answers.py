"""What one agent computes while it negotiates: its own plan, what it asks for, and how it puts offers together.

Everything is a greedy answer in the order of utility per item, which is exact where utilities and costs are linear
(Malek Akhlagh 2024, Propositions 6, 9 and 11). Quantities run over 0, 1, ..., q_max on the last axis ("amount").
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from bayesalloc.allocators.problem import Problem

UNUSED = 2**20  # a position, or a round, that is never reached
pick = partial(jnp.take_along_axis, mode="promise_in_bounds")  # every index here is clipped where it is made


class OwnTasks(NamedTuple):
    """The tasks of each agent, by utility per item, best first (ties: in the problem's order).

    Attributes:
        place: index in the problem, shape (agent, own).
        utility: shape (agent, own).
        requires: shape (agent, own, type).
        real: False where an agent has fewer tasks than that, shape (agent, own).
        rank: where the problem's task stands in its owner's list, shape (task,).
    """

    place: Int[Array, "agent own"]
    utility: Float[Array, "agent own"]
    requires: Int[Array, "agent own type"]
    real: Bool[Array, "agent own"]
    rank: Int[Array, " task"]


def own_tasks(problem: Problem, count: int) -> OwnTasks:
    """The `count` best tasks of each agent by utility per item; the other tasks of an agent with more stay undone."""
    if not len(problem.owner):  # one task that is not real stands for none
        one = [jnp.zeros((1, *x.shape[1:]), x.dtype) for x in (problem.owner, problem.utility, problem.requires)]
        problem = problem._replace(owner=one[0], utility=one[1], requires=one[2], real=jnp.zeros(1, bool))
    items = problem.requires.sum(-1)
    per_item = jnp.where(items > 0, problem.utility / jnp.maximum(items, 1).astype(float), jnp.inf)
    place = jnp.arange(len(items))
    better = (per_item[:, None] > per_item) | ((per_item[:, None] == per_item) & (place[:, None] < place))
    rank = jnp.sum(better & (problem.owner[:, None] == problem.owner) & problem.real[:, None], axis=0)
    agents = jnp.arange(len(problem.resources))[:, None, None]
    here = (problem.owner == agents) & (rank == jnp.arange(count)[:, None]) & problem.real
    first, real = jnp.argmax(here, axis=-1), here.any(-1)
    return OwnTasks(
        first,
        jnp.where(real, problem.utility[first], 0.0),
        jnp.where(real[..., None], problem.requires[first], 0),
        real,
        rank,
    )


def walk(
    stock: Int[Array, "*batch type"], requires: Int[Array, "*tasks own type"], doable: Bool[Array, "*tasks own"]
) -> tuple[Bool[Array, "*batch own"], Int[Array, "*batch type"]]:
    """Which tasks a stock serves completely when they are tried in order, and what is left of it."""
    left = [stock[..., r] for r in range(stock.shape[-1])]
    served = []
    for task in range(requires.shape[-2]):
        need = [requires[..., task, r] for r in range(len(left))]
        fits = doable[..., task]
        for have, want in zip(left, need, strict=True):
            fits = fits & (want <= have)
        left = [have - jnp.where(fits, want, 0) for have, want in zip(left, need, strict=True)]
        served.append(fits)
    return jnp.stack(served, axis=-1), jnp.stack(left, axis=-1)


def value(
    stock: Int[Array, "*batch type"],
    utility: Float[Array, "*tasks own"],
    requires: Int[Array, "*tasks own type"],
    doable: Bool[Array, "*tasks own"],
) -> Float[Array, "*batch"]:
    """V(stock): utilities of the tasks that `walk` serves."""
    served, _ = walk(stock, requires, doable)
    total = jnp.zeros(stock.shape[:-1])
    for task in range(utility.shape[-1]):
        total = total + jnp.where(served[..., task], utility[..., task], 0.0)
    return total


def losses(
    stock: Int[Array, "agent type"], kind: Int[Array, ""], tasks: OwnTasks, doable: Bool[Array, "agent own"], q_max: int
) -> Float[Array, "agent amount"]:
    """V(stock) - V(stock - q) for giving q items of one type away, at least 0; all types jointly.

    It means nothing for a q above the stock.
    """
    amount = jnp.arange(q_max + 1)[:, None] * (jnp.arange(stock.shape[-1]) == kind).astype(int)
    after = stock[:, None, :] - amount
    kept = value(after, tasks.utility[:, None], tasks.requires[:, None], doable[:, None])
    return jnp.maximum(kept[:, :1] - kept, 0.0)


class Wanted(NamedTuple):
    """What the agents lack for the tasks that their own stock does not serve.

    Attributes:
        blocked: those tasks, shape (agent, own).
        left: stock that the served tasks leave, shape (agent, type).
        quantity: items to ask for, at most q_max; 0 where asking cannot pay, shape (type, agent).
        utility: of receiving q of them, nondecreasing and 0 at q = 0, shape (type, agent, amount).
    """

    blocked: Bool[Array, "agent own"]
    left: Int[Array, "agent type"]
    quantity: Int[Array, "type agent"]
    utility: Float[Array, "type agent amount"]


def wanted(
    tasks: OwnTasks,
    stock: Int[Array, "agent type"],
    open_: Bool[Array, "agent own"],
    q_max: int,
    utility_mode: str,
    *,
    parts: Any = False,
) -> Wanted:
    """Own tasks first, then a request for what the blocked ones lack (Algorithm 6).

    utl(q) is a step function: the utilities of the blocked tasks that the leftovers and q more items of this type serve
    as far as this type goes, in order. Every type claims a task's full utility (`full`), or an equal share of it with
    the other types that the task lacks (`marginal`). With `parts`, q items claim their share of what more are
    worth, at the best utility per item that q or more have: agents with few each can then bring them together.
    """
    served, left = walk(stock, tasks.requires, open_)
    blocked = open_ & ~served
    need = jnp.where(blocked[..., None], tasks.requires, 0)
    short = jnp.clip(need.sum(1) - left, 0, q_max)
    lacking = jnp.sum(tasks.requires > left[:, None, :], axis=-1)
    share = tasks.utility / jnp.maximum(lacking, 1).astype(float) if utility_mode == "marginal" else tasks.utility
    have = left.T[:, :, None] + jnp.arange(q_max + 1)
    total = jnp.zeros(have.shape)
    for task in range(need.shape[1]):
        want = need[:, task, :].T[:, :, None]
        fits = (want > 0) & (want <= have)
        have = have - jnp.where(fits, want, 0)
        total = total + jnp.where(fits, share[:, task, None], 0.0)
    utility = jax.lax.cummax(total, axis=2) - total[..., :1]
    q, more = np.ogrid[: q_max + 1, : q_max + 1]
    portion = np.where(q <= more, q / np.maximum(more, 1), 0).astype(np.float32)
    utility = jnp.where(parts, (portion * utility[..., None, :]).max(-1), utility)
    quantity = jnp.where(at(utility, short.T) > 0, short.T, 0)
    return Wanted(blocked, left, quantity, utility)


def at(curve: Float[Array, "*batch amount"], quantity: Int[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Each curve at its quantity."""
    return pick(curve, quantity[..., None], axis=-1)[..., 0]


def beyond(curve: Float[Array, "*batch amount"], quantity: Int[Array, "*batch"]) -> Float[Array, "*batch amount"]:
    """What q items more are worth to one who has `quantity` of them already: utl(quantity + q) - utl(quantity)."""
    amounts = jnp.minimum(quantity[..., None] + jnp.arange(curve.shape[-1]), curve.shape[-1] - 1)
    moved = pick(curve, amounts, axis=-1)
    return moved - moved[..., :1]


class Bundle(NamedTuple):
    """Offers put together, cheapest per item first.

    Attributes:
        before: items of the bundle that come before those of each offer, UNUSED for an empty offer,
            shape (..., offer).
        total: all items offered, shape (...).
        cost: of the first q items, shape (..., amount).
    """

    before: Int[Array, "*batch offer"]
    total: Int[Array, "*batch"]
    cost: Float[Array, "*batch amount"]


def bundle(
    offered: Int[Array, "*batch offer"],
    cost: Float[Array, "*batch offer amount"],
    first: Int[Array, "*batch"],
    first_cost: Float[Array, "*batch amount"],
) -> Bundle:
    """Algorithms 12-15: items in stock first, then offers by cost(q) / q ascending (ties: the lower id first).

    An offer brings at least one item, so a bundle of at most q_max items uses at most q_max offers.
    """
    n, amounts = cost.shape[-2:]
    unit = jnp.where(offered > 0, at(cost, offered) / jnp.maximum(offered, 1).astype(float), jnp.inf)
    flat = cost.reshape(-1)
    rows = (jnp.arange(offered.size // n) * (n * amounts)).reshape(offered.shape[:-1])
    places, q = jnp.arange(n), jnp.arange(amounts)

    def take(_: Array, state: tuple[Bundle, Array]) -> tuple[Bundle, Array]:
        (before, total, spent), unit = state
        best = jnp.argmin(unit, axis=-1)
        size = pick(offered, best[..., None], axis=-1)[..., 0]
        size = jnp.where(jnp.isfinite(unit.min(-1)), size, 0)
        chosen = (places == best[..., None]) & (size[..., None] > 0)
        part = jnp.clip(q - total[..., None], 0, size[..., None])
        spent = spent + flat.at[(rows + best * amounts)[..., None] + part].get(mode="promise_in_bounds")
        before = jnp.where(chosen, total[..., None], before)
        return Bundle(before, total + size, spent), jnp.where(chosen, jnp.inf, unit)

    own = pick(first_cost, jnp.minimum(q, first[..., None]), axis=-1)
    start = Bundle(jnp.full(offered.shape, UNUSED), first, own)
    return jax.lax.fori_loop(0, min(n, amounts - 1), take, (start, unit))[0]


def accept(bundles: Bundle, want: Wanted, tasks: OwnTasks, confirm: str) -> Int[Array, "type agent"]:
    """Items of each type to confirm from the bundles on offer.

    `separate` takes, type by type, the q that maximises utl(q) - cost(q), as published. `joint` drops all of it unless
    the tasks that the types complete together pay more than it costs. `tasks` takes the blocked tasks in order and
    accepts what each lacks, of all types at once, if that is on offer and costs less than the task pays.
    """
    amounts = bundles.cost.shape[-1]
    limit = jnp.minimum(want.quantity, bundles.total)
    if confirm == "tasks":
        taken, left = jnp.zeros_like(limit), want.left.T
        for task in range(tasks.real.shape[1]):
            need = tasks.requires[:, task].T
            after = taken + jnp.maximum(need - left, 0)
            extra = at(bundles.cost, jnp.minimum(after, amounts - 1)) - at(bundles.cost, taken)
            pays = want.blocked[:, task] & jnp.all(after <= limit, axis=0)
            pays &= tasks.utility[:, task] > extra.sum(0)
            taken = jnp.where(pays, after, taken)
            left = jnp.where(pays, jnp.maximum(left - need, 0), left)
        return taken
    gain = jnp.where(jnp.arange(amounts) <= limit[..., None], want.utility - bundles.cost, -jnp.inf)
    taken = jnp.argmax(gain, axis=-1)
    if confirm == "joint":
        worth = value(want.left + taken.T, tasks.utility, tasks.requires, want.blocked)
        taken = jnp.where(worth > at(bundles.cost, taken).sum(0), taken, 0)
    return taken


def hand_out(
    arrived: Int[Array, "agent owner type"],
    need: Int[Array, "agent own type"],
    distance: Float[Array, "agent agent"],
) -> Int[Array, "agent own owner type"]:
    """The items that each task uses, by their owner: the nearest owners' first (ties: the lower id), task by task."""
    place = jnp.arange(len(distance))
    nearer = (distance[:, :, None] < distance[:, None, :]) | (
        (distance[:, :, None] == distance[:, None, :]) & (place[:, None] < place)
    )
    start = jnp.einsum("ajr,aji->air", arrived, nearer.astype(arrived.dtype))[:, None]
    first = (jnp.cumsum(need, axis=1) - need)[:, :, None]
    last = jnp.minimum(first + need[:, :, None], start + arrived[:, None])
    return jnp.maximum(last - jnp.maximum(first, start), 0)
