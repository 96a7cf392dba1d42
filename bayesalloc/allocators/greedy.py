"""Central greedy allocation: CEN-GRD as published, and CEN-GRD+, which ranks anew and leaves losing tasks alone.

Source: Malek Akhlagh (2024), Adaptive Resource Allocation in Multi-Agent Social Networks, University of Victoria,
algorithms 1 and 2, definition 8.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from bayesalloc.allocators.evaluate import Allocation, dense
from bayesalloc.allocators.problem import Problem, adjacency, package_cost, shortest_paths

COUNTED = 64  # agents up to which comparing all with all is faster than a sort


def provider_places(
    distance: Float[Array, "agent agent"], *merits: Num[Array, " provider"]
) -> Int[Array, "agent provider"]:
    """When each agent's turn comes to supply another: that one itself first, then the nearest to it.

    Of equally near ones the one of higher merit comes first, by the first merit that tells them apart, then the lower
    id.
    """
    n = len(distance)
    agents = jnp.arange(n)
    far = jnp.where(jnp.eye(n, dtype=bool), -1.0, distance)
    if n > COUNTED:
        keys = [jnp.broadcast_to(-merit, (n, n)) for merit in reversed(merits)]
        order = jnp.lexsort((*keys, far), axis=-1)
        return jnp.zeros((n, n), int).at[agents[:, None], order].set(agents)
    first_if_tied = agents[:, None] < agents
    for merit in reversed(merits):
        first_if_tied = (merit[:, None] > merit) | ((merit[:, None] == merit) & first_if_tied)
    before = (far[:, :, None] < far[:, None, :]) | ((far[:, :, None] == far[:, None, :]) & first_if_tied)
    return before.sum(1)


def ahead(stock: Int[Array, " agent"], place: Int[Array, " agent"]) -> Int[Array, " agent"]:
    """Items of one type that others have to give before each agent's turn comes (algorithm 2)."""
    if len(place) > COUNTED:
        order = jnp.zeros_like(place).at[place].set(jnp.arange(len(place)))
        return (jnp.cumsum(stock[order]) - stock[order])[place]
    return jnp.where(place < place[:, None], stock, 0).sum(1)


def cen_grd(problem: Problem, rng_key: Array | None = None) -> Allocation:
    """CEN-GRD: tasks by efficiency on the initial stock, each carried out if the stock suffices, at whatever cost.

    Efficiency is (utility - transfer cost) / items required; ties go to the later owner. Nothing is random.
    """
    lengths = adjacency(problem)
    distance = shortest_paths(lengths)
    place = provider_places(distance, jnp.isfinite(lengths).sum(-1))
    taken = jax.vmap(jax.vmap(ahead, (1, None), 1), (None, 0))
    _, net = _plans(problem, problem.resources, taken(problem.resources, place), distance)
    possible = _possible(problem, problem.resources)
    turn = _turns(problem, jnp.where(possible, _efficiency(problem, net), -jnp.inf))

    def carry_out(stock: Array, task: Array) -> tuple[Array, Array]:
        before = jax.vmap(ahead, (1, None), 1)(stock, place[problem.owner[task]])
        given = jnp.clip(problem.requires[task] - before, 0, stock)
        enough = jnp.all(stock.sum(0) >= problem.requires[task]) & problem.real[task]
        given = jnp.where(enough, given, 0)
        return stock - given, given

    tasks = jnp.zeros_like(turn).at[turn].set(jnp.arange(len(turn)))
    _, given = jax.lax.scan(carry_out, problem.resources, tasks)
    return dense(problem, given[turn], distance)


def cen_grd_plus(problem: Problem, rng_key: Array | None = None) -> Allocation:
    """CEN-GRD+: the most efficient task on what is left, again and again, as long as one gains. Nothing is random.

    Of equally near providers the one that held most of the type at the start gives first, so that those who need their
    few items themselves keep them.
    """
    lengths = adjacency(problem)
    distance = shortest_paths(lengths)
    degree = jnp.isfinite(lengths).sum(-1)
    place = jax.vmap(lambda stock: provider_places(distance, stock, degree), 1, 2)(problem.resources)
    taken = jax.vmap(jax.vmap(ahead, (1, 1), 1), (None, 0))

    def carry_out(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        stock, waiting = state
        given, net = _plans(problem, stock, taken(stock, place), distance)
        gains = (net > 0) | (problem.requires.sum(-1) == 0)
        possible = waiting & gains & _possible(problem, stock)
        task = _first(problem, jnp.where(possible, _efficiency(problem, net), -jnp.inf))
        now = jnp.where(possible[task], given[task], 0)
        return (stock - now, waiting.at[task].set(False)), (task, now)

    start = (problem.resources, problem.real)
    _, (tasks, given) = jax.lax.scan(carry_out, start, length=len(problem.owner))
    return dense(problem, jnp.zeros_like(given).at[tasks].add(given), distance)


def _plans(
    problem: Problem, stock: Array, taken: Int[Array, "agent provider type"], distance: Array
) -> tuple[Int[Array, "task agent type"], Float[Array, " task"]]:
    """What each agent would give to each task if it were the only one, and the task's net value then."""
    given = jnp.clip(problem.requires[:, None] - taken[problem.owner], 0, stock)
    cost = package_cost(problem, given, distance[problem.owner][:, :, None]).sum((1, 2))
    return given, problem.utility - cost


def _possible(problem: Problem, stock: Int[Array, "agent type"]) -> Bool[Array, " task"]:
    """Whether all agents together hold what each task requires."""
    return problem.real & jnp.all(stock.sum(0) >= problem.requires, axis=-1)


def _efficiency(problem: Problem, net: Float[Array, " task"]) -> Float[Array, " task"]:
    """Net value per item required; a task that requires nothing comes first."""
    items = problem.requires.sum(-1)
    return jnp.where(items > 0, net / jnp.maximum(items, 1).astype(float), jnp.finfo(jnp.float32).max)


def _first(problem: Problem, efficiency: Float[Array, " task"]) -> Int[Array, ""]:
    """The task of highest efficiency, of these the latest owner's, of these the first."""
    best = efficiency == efficiency.max()
    latest = jnp.where(best, problem.owner, -1)
    return jnp.argmax(latest == latest.max())


def _turns(problem: Problem, efficiency: Float[Array, " task"]) -> Int[Array, " task"]:
    """When each task's turn comes, in the order of `_first`."""
    n_tasks = len(efficiency)
    tie = problem.owner * n_tasks - jnp.arange(n_tasks)
    before = (efficiency[:, None] > efficiency) | ((efficiency[:, None] == efficiency) & (tie[:, None] > tie))
    return before.sum(0)
