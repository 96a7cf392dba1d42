"""Central greedy allocation: CEN-GRD as published, and CEN-GRD+, which ranks anew and leaves losing tasks alone.

Source: Malek Akhlagh (2024), Adaptive Resource Allocation in Multi-Agent Social Networks, University of Victoria,
algorithms 1 and 2, definition 8.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from bayesalloc.allocators.evaluate import Allocation, dense
from bayesalloc.allocators.problem import Problem, adjacency, package_cost, shortest_paths

COUNTED = 64  # agents up to which comparing all with all is faster than a sort


def provider_places(
    lengths: Float[Array, "agent agent"], distance: Float[Array, "agent agent"]
) -> Int[Array, "agent provider"]:
    """When each agent's turn comes to supply another: that one itself first, then the nearest to it.

    Of equally near ones the best connected comes first, then the lower id.
    """
    n = len(lengths)
    agents, degree = jnp.arange(n), jnp.isfinite(lengths).sum(-1)
    far = jnp.where(jnp.eye(n, dtype=bool), -1.0, distance)
    if n > COUNTED:
        order = jnp.lexsort((jnp.broadcast_to(-degree, (n, n)), far), axis=-1)
        return jnp.zeros((n, n), int).at[agents[:, None], order].set(agents)
    first_if_tied = (degree[:, None] > degree) | ((degree[:, None] == degree) & (agents[:, None] < agents))
    before = (far[:, :, None] < far[:, None, :]) | ((far[:, :, None] == far[:, None, :]) & first_if_tied)
    return before.sum(1)


def supply(
    requires: Int[Array, " type"], stock: Int[Array, "agent type"], place: Int[Array, " agent"]
) -> Int[Array, "agent type"]:
    """What each agent gives to one task when agents take turns (algorithm 2); no more than the stock has."""
    if len(place) > COUNTED:
        order = jnp.zeros_like(place).at[place].set(jnp.arange(len(place)))
        before = (jnp.cumsum(stock[order], axis=0) - stock[order])[place]
    else:
        before = jnp.where((place < place[:, None])[..., None], stock, 0).sum(1)
    return jnp.clip(requires - before, 0, stock)


def cen_grd(problem: Problem, rng_key: Array | None = None) -> Allocation:
    """CEN-GRD: tasks by efficiency on the initial stock, each carried out if the stock suffices, at whatever cost.

    Efficiency is (utility - transfer cost) / items required; ties go to the later owner. Nothing is random.
    """
    place, distance, net, possible = _first_look(problem)
    efficiency = jnp.where(possible, _efficiency(problem, net), -jnp.inf)
    rank = _ranking(problem, efficiency)

    def carry_out(stock: Array, task: Array) -> tuple[Array, tuple[Array, Array]]:
        given = supply(problem.requires[task], stock, place[problem.owner[task]])
        enough = jnp.all(stock.sum(0) >= problem.requires[task]) & problem.real[task]
        given = jnp.where(enough, given, 0)
        return stock - given, (task, given)

    _, (tasks, given) = jax.lax.scan(carry_out, problem.resources, rank)
    quantity = jnp.zeros_like(given).at[tasks].set(given)
    return dense(problem, quantity, distance)


def cen_grd_plus(problem: Problem, rng_key: Array | None = None) -> Allocation:
    """CEN-GRD+: the most efficient task on what is left, again and again, as long as one gains. Nothing is random."""
    place, distance, *_ = _first_look(problem)
    places = place[problem.owner]
    n_tasks = len(problem.owner)

    def carry_out(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        stock, waiting = state
        given = jax.vmap(supply, in_axes=(0, None, 0))(problem.requires, stock, places)
        cost = package_cost(problem, given, distance[problem.owner][:, :, None]).sum((1, 2))
        net = problem.utility - cost
        gains = (net > 0) | (problem.requires.sum(-1) == 0)
        possible = waiting & gains & jnp.all(stock.sum(0) >= problem.requires, axis=-1)
        task = _first(problem, jnp.where(possible, _efficiency(problem, net), -jnp.inf))
        now = jnp.where(possible[task], given[task], 0)
        return (stock - now, waiting.at[task].set(False)), (task, now)

    start = (problem.resources, problem.real)
    _, (tasks, given) = jax.lax.scan(carry_out, start, None, length=n_tasks)
    return dense(problem, jnp.zeros_like(given).at[tasks].add(given), distance)


def _first_look(problem: Problem) -> tuple[Array, Array, Float[Array, " task"], Bool[Array, " task"]]:
    """Turns of the providers, distances, and each task's net value and possibility if it were the only one."""
    lengths = adjacency(problem)
    distance = shortest_paths(lengths)
    place = provider_places(lengths, distance)
    given = jax.vmap(supply, in_axes=(0, None, 0))(problem.requires, problem.resources, place[problem.owner])
    cost = package_cost(problem, given, distance[problem.owner][:, :, None]).sum((1, 2))
    possible = problem.real & jnp.all(problem.resources.sum(0) >= problem.requires, axis=-1)
    return place, distance, problem.utility - cost, possible


def _efficiency(problem: Problem, net: Float[Array, " task"]) -> Float[Array, " task"]:
    """Net value per item required; a task that requires nothing comes first."""
    items = problem.requires.sum(-1)
    return jnp.where(items > 0, net / jnp.maximum(items, 1), jnp.finfo(jnp.float32).max)


def _first(problem: Problem, efficiency: Float[Array, " task"]) -> Int[Array, ""]:
    """The task of highest efficiency, of these the latest owner's, of these the first."""
    best = efficiency == efficiency.max()
    latest = jnp.where(best, problem.owner, -1)
    return jnp.argmax(latest == latest.max())


def _ranking(problem: Problem, efficiency: Float[Array, " task"]) -> Int[Array, " task"]:
    """Tasks in the order of `_first`."""
    later = problem.owner[:, None] > problem.owner
    earlier = (problem.owner[:, None] == problem.owner) & (
        jnp.arange(len(efficiency))[:, None] < jnp.arange(len(efficiency))
    )
    before = (efficiency[:, None] > efficiency) | ((efficiency[:, None] == efficiency) & (later | earlier))
    return jnp.zeros(len(efficiency), int).at[before.sum(0)].set(jnp.arange(len(efficiency)))
