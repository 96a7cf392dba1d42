"""The one evaluator of every allocation, whoever made it: social welfare by true owner, and whether it is feasible."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from bayesalloc.allocators.problem import AnyArray, Problem, exact_paths, package_cost


class Shipments(NamedTuple):
    """Who sends what to which task, as a list; shipments of quantity 0 fill up the shape.

    Attributes:
        task, agent, type, quantity: of each shipment, shape (shipment,). The agent is the one who owned the items.
        distance: the length of the way they go, by the shortest path, shape (shipment,).
        messages: messages sent to reach the allocation, NaN for a central allocator.
        hop_cost: what its confirmations charged hop by hop (the published accounting), NaN where there were none.
        bound: an upper bound on the best social welfare that the allocator certifies, infinity without one.
    """

    task: Int[AnyArray, "*batch shipment"]
    agent: Int[AnyArray, "*batch shipment"]
    type: Int[AnyArray, "*batch shipment"]
    quantity: Int[AnyArray, "*batch shipment"]
    distance: Float[AnyArray, "*batch shipment"]
    messages: Num[AnyArray, "*batch"]
    hop_cost: Float[AnyArray, "*batch"]
    bound: Float[AnyArray, "*batch"]


class Table(NamedTuple):
    """The same as a table of all quantities, for problems that are not large; see Shipments for the rest."""

    quantity: Int[Array, "*batch task agent type"]
    distance: Float[Array, "*batch task agent"]
    messages: Num[Array, "*batch"]
    hop_cost: Float[Array, "*batch"]
    bound: Float[Array, "*batch"]


Allocation = Shipments | Table


class Evaluation(NamedTuple):
    """What an allocation is worth.

    Attributes:
        social_welfare: utilities of the tasks that are done, less the transfer cost.
        social_welfare_hop: the same with the costs that confirmations charged hop by hop, NaN where there were none.
        utility: of the tasks that are done.
        transfer_cost: of all shipments, by the shortest path from the true owner to the task.
        done: whether each task has everything it requires.
        feasible: whether no agent sends more than it holds, no task gets more than it requires, no quantity is
            negative, and nothing goes to a task that is not done.
    """

    social_welfare: Float[AnyArray, ""]
    social_welfare_hop: Float[AnyArray, ""]
    utility: Float[AnyArray, ""]
    transfer_cost: Float[AnyArray, ""]
    done: Bool[AnyArray, " task"]
    feasible: Bool[AnyArray, ""]


def dense(
    problem: Problem,
    quantity: Int[Array, "task agent type"],
    distance: Float[Array, "agent agent"],
    messages: Num[Array, ""] | float = jnp.nan,
    hop_cost: Float[Array, ""] | float = jnp.nan,
    bound: Float[Array, ""] | float = jnp.inf,
) -> Table:
    """An allocation from the table of all quantities and the distances between agents."""
    notes = (jnp.asarray(note, jnp.float32) for note in (messages, hop_cost, bound))
    return Table(quantity, distance[problem.owner], *notes)


def merged(allocation: Allocation) -> Shipments:
    """One shipment for each task, agent and type, and none of quantity 0; not for use inside jit."""
    quantity, distance = np.asarray(allocation.quantity), np.asarray(allocation.distance)
    if isinstance(allocation, Table):
        where = np.argwhere(quantity)
        task, agent, kind = where.T
        total, far = quantity[task, agent, kind], distance[task, agent]
    else:
        kept = quantity != 0
        where = np.stack([allocation.task, allocation.agent, allocation.type], axis=1)[kept]
        where, first, place = np.unique(where, axis=0, return_index=True, return_inverse=True)
        total = np.bincount(place.reshape(-1), quantity[kept], minlength=len(where))
        far = distance[kept][first]
    task, agent, kind, sent = (jnp.asarray(column, int) for column in (*where.T, total))
    notes = allocation.messages, allocation.hop_cost, allocation.bound
    return Shipments(task, agent, kind, sent, jnp.asarray(far), *notes)


def evaluate(problem: Problem, allocation: Allocation) -> Evaluation:
    """Social welfare by true owner of an allocation, and whether it is feasible.

    In Shipments with package_size > 1, no two may be of one task, agent and type (see `merged`).
    """
    quantity, distance = allocation.quantity, allocation.distance
    if isinstance(allocation, Table):
        arrived, sent = quantity.sum(1), quantity.sum(0)
        cost = package_cost(problem, quantity, distance[..., None]).sum()
    else:
        arrived = jnp.zeros(problem.requires.shape, int).at[allocation.task, allocation.type].add(quantity)
        sent = jnp.zeros(problem.resources.shape, int).at[allocation.agent, allocation.type].add(quantity)
        cost = package_cost(problem, quantity, distance).sum()
    done = jnp.all(arrived >= problem.requires, axis=-1) & problem.real
    utility = jnp.where(done, problem.utility, 0.0).sum()
    wasted = jnp.where(done[:, None], arrived - problem.requires, arrived)
    feasible = jnp.all(sent <= problem.resources) & jnp.all(wasted == 0) & jnp.all(quantity >= 0)
    return Evaluation(utility - cost, utility - allocation.hop_cost, utility, cost, done, feasible)


EXACT = 2**22  # distances up to which `exact` computes them anew


def exact(problem: Problem, allocation: Shipments) -> Evaluation:
    """The same in float64 and 64-bit integers, on the host, of shipments as `merged` gives them.

    The shipments' distances, which are in float32, are computed anew where that takes no more than EXACT of them.
    """
    task, agent, kind, quantity = (np.asarray(field, np.int64) for field in allocation[:4])
    owner = np.asarray(problem.owner)[task]
    owners, place = np.unique(owner, return_inverse=True)
    distance = np.asarray(allocation.distance, float)
    if len(owners) * len(problem.resources) <= EXACT:
        distance = exact_paths(problem, owners)[place, agent]
    requires, resources = (np.asarray(field, np.int64) for field in (problem.requires, problem.resources))
    arrived, sent = np.zeros_like(requires), np.zeros_like(resources)
    np.add.at(arrived, (task, kind), quantity)
    np.add.at(sent, (agent, kind), quantity)
    packages = -(-quantity // int(problem.package_size))
    cost = float(np.sum(float(problem.per_item) * distance * packages))
    done = np.all(arrived >= requires, axis=-1) & np.asarray(problem.real)
    utility = float(np.sum(np.asarray(problem.utility, float)[done]))
    wasted = np.where(done[:, None], arrived - requires, arrived)
    feasible = np.all(sent <= resources) and np.all(wasted == 0) and np.all(quantity >= 0)
    hop = utility - np.asarray(allocation.hop_cost, float)
    return Evaluation(*(np.asarray(x) for x in (utility - cost, hop, utility, cost, done, feasible)))
