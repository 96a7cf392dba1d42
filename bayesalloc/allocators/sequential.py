"""One task at a time: whose task is next decides who gets what. The decision problem of a central master (CEN-RL).

Each step the master names an agent, whose most efficient task is carried out with the items nearest to it.

Source: Malek Akhlagh (2024), Adaptive Resource Allocation in Multi-Agent Social Networks, University of Victoria,
algorithms 2 to 4.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from bayesalloc.allocators.evaluate import Allocation, dense
from bayesalloc.allocators.greedy import _efficiency, _first, _plans, _possible, ahead, provider_places
from bayesalloc.allocators.instances import BASE, Setting, arrivals, arrivals_of_any, check_setting, draw_network
from bayesalloc.allocators.problem import Problem, adjacency, package_cost, shortest_paths
from bayesalloc.environment import Environment, Observation, Outcome
from bayesalloc.errors import InputError, listed
from bayesalloc.following import next_key

Rule = Literal["thesis", "gain"]
FEATURES = 16  # numbers per agent that describe what naming it would do
TOGETHER = 3  # tasks of the greedy order that are carried out at once, if they can be


class Market(NamedTuple):
    """What does not change while tasks are carried out.

    Attributes:
        problem: the instance.
        distance: between agents.
        place: when each agent's turn comes to supply another, shape (agent, provider, type).
        rank: efficiency of each task on the initial stock (definition 8).
        scale: mean utility of a task.
    """

    problem: Problem
    distance: Float[Array, "agent agent"]
    place: Int[Array, "agent provider type"]
    rank: Float[Array, " task"]
    scale: Float[Array, ""]


class Options(NamedTuple):
    """What carrying out each agent's most efficient possible task would do, on the stock that there is.

    Attributes:
        task: which it is, shape (agent,).
        efficiency: by which it was chosen.
        possible: whether there is one.
        net: its utility less its transfer cost, 0 where there is none; by `thesis` nobody looks, and it is 0.
        worth: net value of every task, 0 if it is not possible, shape (task,); the same holds.
    """

    task: Int[Array, " agent"]
    efficiency: Float[Array, " agent"]
    possible: Bool[Array, " agent"]
    net: Float[Array, " agent"]
    worth: Float[Array, " task"]


class Progress(NamedTuple):
    """Where the master stands: stock left, tasks not carried out, its options, and whether it has stopped.

    `ahead` is what the greedy order would still gain from here.
    """

    market: Market
    stock: Int[Array, "agent type"]
    waiting: Bool[Array, " task"]
    options: Options
    stopped: Bool[Array, ""]
    ahead: Float[Array, ""]


class Step(NamedTuple):
    """Outcome of a step: net value gained, and that beyond what the greedy order would have gained from there on."""

    social_welfare: Array
    advantage: Array


_before = jax.vmap(jax.vmap(ahead, (1, 1), 1), (None, 0))


def survey(problem: Problem, rule: Rule) -> Market:
    """Distances, turns and ranks: turns as in CEN-GRD (`thesis`) or CEN-GRD+ (`gain`)."""
    lengths = adjacency(problem)
    distance, degree = shortest_paths(lengths), jnp.isfinite(lengths).sum(-1)
    if rule == "thesis":
        place = jnp.broadcast_to(
            provider_places(distance, degree)[..., None], (*distance.shape, problem.requires.shape[1])
        )
    else:
        place = jax.vmap(lambda stock: provider_places(distance, stock, degree), 1, 2)(problem.resources)
    count = jnp.maximum(problem.real.sum(), 1).astype(float)
    scale = jnp.maximum(jnp.where(problem.real, problem.utility, 0).sum() / count, 1e-6)
    _, net = _plans(problem, problem.resources, _before(problem.resources, place), distance)
    return Market(problem, distance, place, _efficiency(problem, net), scale)


class Prospects(NamedTuple):
    """What each task would bring, on the stock that there is.

    Attributes:
        before: items that others have to give before each agent's turn comes, shape (agent, provider, type).
        net: utility less transfer cost, if it were the only one.
        allowed: whether it can be carried out.
        rank: the efficiency by which tasks are chosen.
    """

    before: Int[Array, "agent provider type"]
    net: Float[Array, " task"]
    allowed: Bool[Array, " task"]
    rank: Float[Array, " task"]


def _foresee(market: Market, stock: Array, waiting: Array) -> Prospects:
    problem = market.problem
    before = jax.lax.optimization_barrier(_before(stock, market.place))  # else computed anew for every task
    _, net = _plans(problem, stock, before, market.distance)
    allowed = waiting & _possible(problem, stock) & ((net > 0) | (problem.requires.sum(-1) == 0))
    return Prospects(before, net, allowed, _efficiency(problem, net))


def weigh(market: Market, stock: Array, waiting: Array, rule: Rule) -> Options:
    """Every agent's most efficient task that is possible: by `gain` one that pays, by the efficiency on what is left.

    As published (`thesis`) tasks are ranked once, on the initial stock, and one that loses is possible too.
    """
    problem = market.problem
    if rule == "thesis":
        net, allowed, rank = jnp.zeros_like(market.rank), waiting & _possible(problem, stock), market.rank
    else:
        _, net, allowed, rank = _foresee(market, stock, waiting)
    mine = allowed & (problem.owner == jnp.arange(len(stock))[:, None])
    task, there = _first_best(jnp.where(mine, rank, -jnp.inf)), mine.any(1)
    worth = jnp.where(allowed, jnp.maximum(net, 0.0), 0.0)
    return Options(task, jnp.where(there, rank[task], 0.0), there, jnp.where(there, net[task], 0.0), worth)


def shipment(market: Market, stock: Array, task: Int[Array, ""]) -> tuple[Int[Array, "agent type"], Float[Array, ""]]:
    """What each agent gives to a task that is carried out, and the task's net value (algorithm 2)."""
    problem, owner = market.problem, market.problem.owner[task]
    before = jax.vmap(ahead, (1, 1), 1)(stock, market.place[owner])
    given = jnp.clip(problem.requires[task] - before, 0, stock)
    cost = package_cost(problem, given, market.distance[owner][:, None]).sum()
    return given, problem.utility[task] - cost


def _first_best(rank: Float[Array, "agent task"]) -> Int[Array, " agent"]:
    """As `argmax` along the last axis, which takes three times as long on a CPU; ranks must be numbers."""
    n = rank.shape[-1]
    return jnp.where(rank == rank.max(-1, keepdims=True), jnp.arange(n), n).min(-1)


def greedy(choices: Options) -> Int[Array, ""]:
    """The agent whose task is the most efficient, as CEN-GRD+ would choose (ties: the later one)."""
    rank = jnp.where(choices.possible, choices.efficiency, -jnp.inf)
    return len(rank) - 1 - jnp.argmax(rank[::-1])


def greedy_gain(market: Market, stock: Array, waiting: Array) -> Float[Array, ""]:
    """What the greedy order gains from here on, as CEN-GRD+ would.

    The next tasks in the order are carried out together as long as none takes what another was to get. That is exact at
    package size 1, where less stock never makes a task worth more; at larger sizes they are carried out one by one.
    """
    problem = market.problem

    def tasks(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        stock, waiting, total, _ = state
        before, net, allowed, rank = _foresee(market, stock, waiting)
        left, does, any_left = stock, jnp.ones((), bool), allowed.any()
        for turn in range(TOGETHER):
            task = _first(problem, jnp.where(allowed, rank, -jnp.inf))
            given = jnp.clip(problem.requires[task] - before[problem.owner[task]], 0, stock)
            does &= allowed[task] & jnp.all(given <= left) & ((turn == 0) | (problem.package_size == 1))
            left, total = left - jnp.where(does, given, 0), total + jnp.where(does, net[task], 0.0)
            others = ~(does & (jnp.arange(len(waiting)) == task))
            allowed, waiting = allowed & others, waiting & others
        return left, waiting, total, any_left

    start = (stock, waiting, jnp.float32(0), jnp.ones((), bool))
    return jax.lax.while_loop(lambda state: state[3], tasks, start)[2]


def begin(problem: Problem, rule: Rule, *, look_ahead: bool = False) -> Progress:
    """Before the first task; `look_ahead` asks for what the greedy order gains at every step, which takes time."""
    market = survey(problem, rule)
    return _progress(market, problem.resources, problem.real, jnp.zeros((), bool), rule, look_ahead=look_ahead)


def _progress(
    market: Market, stock: Array, waiting: Array, stopped: Array, rule: Rule, *, look_ahead: bool
) -> Progress:
    choices = weigh(market, stock, waiting, rule)
    ahead = jnp.where(stopped, 0.0, greedy_gain(market, stock, waiting)) if look_ahead else jnp.float32(0)
    return Progress(market, stock, waiting, choices, stopped, ahead)


def carry_out(now: Progress, agent: Int[Array, ""], rule: Rule, *, look_ahead: bool = False) -> tuple[Progress, Step]:
    """Carries out the named agent's task; the number of agents stops."""
    stops = now.stopped | (agent >= len(now.stock))
    named = jnp.minimum(agent, len(now.stock) - 1)
    does, task = now.options.possible[named] & ~stops, now.options.task[named]
    given, net = shipment(now.market, now.stock, task)
    stock, gain = now.stock - jnp.where(does, given, 0), jnp.where(does, net, 0.0)
    waiting = now.waiting & ~(does & (jnp.arange(len(now.waiting)) == task))
    after = _progress(now.market, stock, waiting, stops, rule, look_ahead=look_ahead)
    return after, Step(gain, (gain + after.ahead - now.ahead) / now.market.scale)


def over(now: Progress) -> Bool[Array, ""]:
    """Whether nothing is left to choose."""
    return now.stopped | ~now.options.possible.any()


def features(now: Progress) -> Float[Array, "agent feature"]:
    """What naming each agent would do, in units of the mean utility: the same numbers whatever the agents' order.

    Among them is what its task would take from the others: by how much their tasks' net values fall.
    """
    market, choices, problem = now.market, now.options, now.market.problem
    n = len(now.stock)
    task, scale = choices.task, market.scale
    others = now.waiting & (jnp.arange(len(now.waiting)) != task[:, None])
    before = _foresee(market, now.stock, now.waiting).before
    given = jnp.clip(problem.requires[task][:, None] - before, 0, now.stock)
    given = jax.lax.optimization_barrier(jnp.where(choices.possible[:, None, None], given, 0))
    then = jax.vmap(lambda given, waiting: weigh(market, now.stock - given, waiting, "gain"))(given, others)
    drop = jnp.where(others, jnp.maximum(choices.worth - then.worth, 0.0), 0.0)
    cost = problem.utility[task] - choices.net
    items = jnp.maximum(problem.requires[task].sum(-1), 1).astype(float)
    per_item = choices.net / items
    best = jnp.where(choices.possible, per_item, -jnp.inf).max()
    demand = jnp.where((choices.worth > 0)[:, None], problem.requires, 0).sum(0)
    cover = jnp.min(now.stock.sum(0).astype(float) / jnp.maximum(demand, 1).astype(float))
    count = jnp.maximum((choices.worth > 0).sum(), 1).astype(float)
    mine = problem.owner == jnp.arange(n)[:, None]
    greediest = jnp.arange(n) == greedy(choices)
    columns = [
        choices.possible,
        choices.net / scale,
        4.0 * per_item / scale,
        cost / scale,
        items / 8.0,
        4.0 * (per_item - best) / scale,
        greediest,
        drop.sum(1) / scale,
        drop.max(1) / scale,
        drop.sum(1) / jnp.maximum(choices.net, 0.1 * scale),
        then.net.max(1) / scale,
        (then.net.sum(1) - choices.net.sum() + choices.net) / scale,
        jnp.broadcast_to(jnp.minimum(cover, 2.0), n),
        jnp.broadcast_to(jnp.log(count), n),
        (mine & (choices.worth > 0)).sum(1).astype(float) / 4.0,
        jnp.diagonal(given.sum(-1)).astype(float) / items,
    ]
    return jnp.where(choices.possible[:, None], jnp.stack([jnp.asarray(c, float) for c in columns], axis=1), 0.0)


def flat(now: Progress) -> Float[Array, " number"]:
    """What the published network sees: utilities, requirements (0 for tasks not waiting) and resources."""
    problem = now.market.problem
    utility = jnp.where(now.waiting, problem.utility, 0.0)
    requires = jnp.where(now.waiting[:, None], problem.requires, 0)
    return jnp.concatenate([each.reshape(-1).astype(float) for each in (utility, requires, now.stock)])


class Params(NamedTuple):
    """The network: which agents are joined."""

    joined: Bool[Array, "agent agent"]


def environment(setting: Setting | Sequence[Setting] = BASE, rule: Rule = "gain") -> Environment:
    """Episodes of one setting as decisions of a master: an action names an agent, the last one stops.

    Args:
        setting: what arrives; of several settings, any in each episode.
        rule: `gain`: only tasks that pay can be carried out, the master may stop, sees `features`, and is rewarded with
            what it gains over the greedy order (a potential-based shaping, which leaves the best policy the best: Ng,
            Harada & Russell 1999, ICML 16:278). `thesis`: any task that the stock allows, no stopping, `flat` numbers
            and plain net value, as published.

    Raises:
        InputError: for a setting that cannot be.
    """
    settings = [setting] if isinstance(setting, Setting) else list(setting)
    for each in settings:
        check_setting(each)
    n, ours = settings[0].agents, rule == "gain"

    def initial(params: Params) -> Progress:
        if len(settings) == 1:
            return begin(arrivals(settings[0], params.joined), rule, look_ahead=ours)
        return begin(arrivals_of_any(settings, params.joined, next_key()), rule, look_ahead=ours)

    def step(state: Progress, action: Array, params: Params) -> tuple[Progress, Step]:
        return carry_out(state, action, rule, look_ahead=ours)

    def observe(state: Progress, params: Params) -> Observation:
        if not ours:
            return Observation(flat(state), state.options.possible)
        return Observation(features(state), jnp.append(state.options.possible, True))

    def arms(names: Sequence[str] | None) -> dict[str, Any]:
        every = {f"agent_{k}": np.int32(k) for k in range(n)} | ({"stop": np.int32(n)} if ours else {})
        strange = set(names or ()) - set(every)
        if strange:
            raise InputError(f"srap_sequence has no action '{listed(strange)}'; there are {listed(every)}")
        return {name: every[name] for name in names or every}

    return Environment(
        name="srap_sequence",
        prior=lambda: Params(draw_network(settings[0], next_key())),
        initial=initial,
        step=step,
        arms=arms,
        outcomes={"social_welfare": Outcome("utility", "higher"), "advantage": Outcome("1", "higher")},
        period="decision",
        baseline="agent_0",
        observe=observe,
        reward=lambda outcome: outcome.advantage if ours else outcome.social_welfare,
        ended=lambda state, params: over(state),
    )


def in_sequence(problem: Problem, choose: Callable[[Progress], Array], rule: Rule) -> Allocation:
    """An allocation made by naming agents, as `choose` does, until nothing is left to choose.

    >>> from bayesalloc.allocators import cen_grd_plus, evaluate, make_problem
    >>> line = make_problem([[0, 1]], [1.0], [[0], [2]], [0], [9.0], [[2]])
    >>> ours = in_sequence(line, lambda now: greedy(now.options), "gain")
    >>> float(evaluate(line, ours).social_welfare)
    7.0
    """

    def task(now: Progress, _: None) -> tuple[Progress, tuple[Array, Array]]:
        after, _step = carry_out(now, choose(now), rule)
        done = now.waiting & ~after.waiting
        return after, (done, now.stock - after.stock)

    now = begin(problem, rule)
    _, (done, given) = jax.lax.scan(task, now, None, length=len(problem.owner))
    quantity = jnp.einsum("st,sar->tar", done.astype(given.dtype), given)
    return dense(problem, quantity, now.market.distance)
