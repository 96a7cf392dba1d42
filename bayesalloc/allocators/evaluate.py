"""The one evaluator of every allocation, whoever made it: social welfare by true owner, and whether it is feasible."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from bayesalloc.allocators.problem import Problem, package_cost


class Allocation(NamedTuple):
    """Who sends what to which task, as a list of shipments; those with quantity 0 fill up the shape.

    Attributes:
        task, agent, type, quantity: of each shipment, shape (shipment,). The agent is the one who owned the items.
        distance: the length of the way they go, by the shortest path.
        messages: messages sent to reach the allocation, NaN for a central allocator.
        hop_cost: what its confirmations charged hop by hop (the published accounting), NaN where there were none.
        bound: an upper bound on the best social welfare that the allocator certifies, infinity without one.
    """

    task: Int[Array, " shipment"]
    agent: Int[Array, " shipment"]
    type: Int[Array, " shipment"]
    quantity: Int[Array, " shipment"]
    distance: Float[Array, " shipment"]
    messages: Num[Array, ""]
    hop_cost: Float[Array, ""]
    bound: Float[Array, ""]


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

    social_welfare: Float[Array, ""]
    social_welfare_hop: Float[Array, ""]
    utility: Float[Array, ""]
    transfer_cost: Float[Array, ""]
    done: Bool[Array, " task"]
    feasible: Bool[Array, ""]


def dense(
    problem: Problem,
    quantity: Int[Array, "task agent type"],
    distance: Float[Array, "agent agent"],
    messages: Num[Array, ""] | float = jnp.nan,
    hop_cost: Float[Array, ""] | float = jnp.nan,
    bound: Float[Array, ""] | float = jnp.inf,
) -> Allocation:
    """An allocation from the table of all quantities."""
    task, agent, kind = (place.reshape(-1) for place in jnp.indices(quantity.shape))
    far = jnp.broadcast_to(distance[problem.owner][:, :, None], quantity.shape).reshape(-1)
    notes = (jnp.asarray(note, jnp.float32) for note in (messages, hop_cost, bound))
    return Allocation(task, agent, kind, quantity.reshape(-1), far, *notes)


def evaluate(problem: Problem, allocation: Allocation) -> Evaluation:
    """Social welfare by true owner of an allocation, and whether it is feasible."""
    n_tasks, types = problem.requires.shape
    arrived = jnp.zeros((n_tasks, types), int).at[allocation.task, allocation.type].add(allocation.quantity)
    sent = jnp.zeros(problem.resources.shape, int).at[allocation.agent, allocation.type].add(allocation.quantity)
    done = jnp.all(arrived >= problem.requires, axis=-1) & problem.real
    utility = jnp.where(done, problem.utility, 0.0).sum()
    cost = package_cost(problem, allocation.quantity, allocation.distance).sum()
    wasted = jnp.where(done[:, None], arrived - problem.requires, arrived)
    feasible = jnp.all(sent <= problem.resources) & jnp.all(wasted == 0) & jnp.all(allocation.quantity >= 0)
    return Evaluation(utility - cost, utility - allocation.hop_cost, utility, cost, done, feasible)
