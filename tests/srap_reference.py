"""Plain reference implementations of the social resource allocation problem (SRAP).

Written from the digest and the JSON contract alone, to be compared with the library: no JAX,
no code shared with it. A problem is the dictionary of the JSON format; shipments map
``(task, agent, type)`` to a positive quantity. Ties are decided by comparing floats, so keep
weights, utilities and ``per_item`` dyadic (``random_problem`` does) for exact comparisons.

`self_check` checks them against each other; `benchmarks/srap_batch.py` times `networkx_episode`.
"""

import math
import time
from functools import cache
from itertools import combinations

import networkx as nx
import numpy as np
from scipy.optimize import LinearConstraint, milp

STOCK_RANGES = {"scarce": (0, 1), "mixed": (0, 4), "plenty": (3, 7)}


def graph(problem):
    """The social network; several edges between the same two agents count as the lightest."""
    network = nx.Graph()
    network.add_nodes_from(range(problem["agents"]))
    for a, b, weight in sorted(problem["edges"], key=lambda edge: -edge[2]):
        network.add_edge(a, b, weight=weight)
    return network


def distances(problem):
    """Shortest path lengths, ``distances[a][b]``, by networkx's Dijkstra."""
    return dict(nx.all_pairs_dijkstra_path_length(graph(problem)))


def transfer_cost(problem, distance, quantity):
    """Cost of ``quantity`` items of one type from one agent to one task."""
    terms = problem["transfer_cost"]
    return terms["per_item"] * distance * math.ceil(quantity / terms["package_size"])


def provider_orders(problem, dist):
    """For every owner: itself, then by distance up, number of neighbours down, id up."""
    neighbours = [set() for _ in range(problem["agents"])]
    for a, b, _ in problem["edges"]:
        neighbours[a].add(b)
        neighbours[b].add(a)
    ids = range(problem["agents"])
    return [sorted(ids, key=lambda i, o=owner: (i != o, dist[o][i], -len(neighbours[i]), i)) for owner in ids]


def plentiful_first(problem, dist, order):
    """``order`` again for every type, where initial stock comes between distance and neighbours."""
    orders = []
    for owner, turns in enumerate(order):
        levels = [[owner]]
        for agent in turns[1:]:
            if dist[owner][agent] != dist[owner][levels[-1][0]] or len(levels) == 1:
                levels.append([])
            levels[-1].append(agent)
        by_type = []
        for k in range(problem["resource_types"]):
            held = [row[k] for row in problem["resources"]]
            by_type.append([agent for level in levels for agent in sorted(level, key=held.__getitem__, reverse=True)])
        orders.append(by_type)
    return orders


def select_providers(problem, dist, order, j, stock):
    """Alg 2: ``(shipments, cost)`` of task ``j`` from ``stock``, or None where it is too small.

    ``order[owner][k]`` are the agents in the order in which they give items of type ``k``.
    """
    owner, requires = problem["tasks"][j]["agent"], problem["tasks"][j]["requires"]
    shipments, cost = {}, 0.0
    for k, missing in enumerate(requires):
        for agent in order[owner][k]:
            if missing == 0:
                break
            quantity = min(missing, stock[agent][k])
            if quantity > 0:
                shipments[j, agent, k] = quantity
                cost += transfer_cost(problem, dist[owner][agent], quantity)
                missing -= quantity
        if missing > 0:
            return None
    return shipments, cost


def rank(problem, j, cost):
    """Sort key of task ``j``, best first: efficiency down, owner down, task index up."""
    task = problem["tasks"][j]
    items = sum(task["requires"])
    efficiency = (task["utility"] - cost) / items if items else math.inf
    return (-efficiency, -task["agent"], j)


def execute(shipments, stock):
    """Take the shipped items out of ``stock``, in place."""
    for (_, agent, k), quantity in shipments.items():
        stock[agent][k] -= quantity


def cen_grd(problem, dist=None):
    """CEN-GRD as published (Alg 1, 2): ranked once on the initial stock, net loss or not."""
    dist = distances(problem) if dist is None else dist
    order = [[turns] * problem["resource_types"] for turns in provider_orders(problem, dist)]
    stock = [list(row) for row in problem["resources"]]
    queue = []
    for j in range(len(problem["tasks"])):
        plan = select_providers(problem, dist, order, j, stock)
        if plan is not None:
            queue.append(rank(problem, j, plan[1]))
    result = {}
    for *_, j in sorted(queue):
        plan = select_providers(problem, dist, order, j, stock)
        if plan is not None:
            result |= plan[0]
            execute(plan[0], stock)
    return result


def cen_grd_plus(problem, dist=None):
    """CEN-GRD ranked anew after every task on what is left; never a task of net loss.

    A task that requires items must gain (net > 0); one that requires none must not lose. Of
    equally near agents the one with the larger initial stock of the type gives first.
    """
    dist = distances(problem) if dist is None else dist
    order = plentiful_first(problem, dist, provider_orders(problem, dist))
    stock = [list(row) for row in problem["resources"]]
    waiting, result = set(range(len(problem["tasks"]))), {}
    while True:
        plans = {}
        for j in waiting:
            plan = select_providers(problem, dist, order, j, stock)
            if plan is None:
                continue
            net = problem["tasks"][j]["utility"] - plan[1]
            if net > 0 or (net == 0 and not any(problem["tasks"][j]["requires"])):
                plans[rank(problem, j, plan[1])] = plan[0]
        if not plans:
            return result
        best = min(plans)
        result |= plans[best]
        execute(plans[best], stock)
        waiting.remove(best[-1])


def welfare(problem, shipments, dist=None):
    """``(social_welfare, utility, cost, done, feasible)`` of an allocation.

    A task is done when every type arrives in full, so one that requires nothing always is.
    Every shipment is paid for, also to a task left undone. Feasible: known tasks, agents and
    types, whole quantities with ``0 <= o(t, a, r) <= rqr(t, r)``, no stock overdrawn.
    """
    dist = distances(problem) if dist is None else dist
    tasks, resources = problem["tasks"], problem["resources"]
    given = {(j, k): 0 for j in range(len(tasks)) for k in range(problem["resource_types"])}
    sent = {(i, k): 0 for i in range(len(resources)) for k in range(problem["resource_types"])}
    cost, feasible = 0.0, True
    for (j, agent, k), quantity in shipments.items():
        if (j, k) not in given or (agent, k) not in sent:
            feasible = False
            continue
        feasible &= quantity == int(quantity) and 0 <= quantity <= tasks[j]["requires"][k]
        given[j, k] += quantity
        sent[agent, k] += quantity
        cost += transfer_cost(problem, dist[tasks[j]["agent"]][agent], quantity)
    feasible = bool(feasible) and all(q <= resources[i][k] for (i, k), q in sent.items())
    done = [j for j, t in enumerate(tasks) if all(given[j, k] >= q for k, q in enumerate(t["requires"]))]
    utility = sum(tasks[j]["utility"] for j in done)
    return utility - cost, utility, cost, done, feasible


def brute_force(problem):
    """Optimum social welfare by enumeration, any package size; 4 tasks and 4 agents at most.

    All subsets of tasks; given the subset the types are independent, and for each of them all
    ways of splitting every requirement over the agents are tried.
    """
    dist, tasks, agents = distances(problem), problem["tasks"], problem["agents"]

    def cheapest(done, k):
        @cache
        def rest(position, provider, missing, stock):
            owner = tasks[done[position]]["agent"]
            if missing == 0:
                if position + 1 == len(done):
                    return 0.0
                return rest(position + 1, 0, tasks[done[position + 1]]["requires"][k], stock)
            if provider == agents:
                return math.inf
            options = []
            for quantity in range(min(missing, stock[provider]) + 1):
                left = (*stock[:provider], stock[provider] - quantity, *stock[provider + 1 :])
                cost = transfer_cost(problem, dist[owner][provider], quantity)
                options.append(cost + rest(position, provider + 1, missing - quantity, left))
            return min(options)

        stock = tuple(row[k] for row in problem["resources"])
        return rest(0, 0, tasks[done[0]]["requires"][k], stock)

    best = 0.0
    for size in range(1, len(tasks) + 1):
        for done in combinations(range(len(tasks)), size):
            cost = sum(cheapest(done, k) for k in range(problem["resource_types"]))
            best = max(best, sum(tasks[j]["utility"] for j in done) - cost)
    return best


def optimum_flow(problem):
    """Optimum social welfare at package size 1, as items flowing along directed edges.

    Variables: y_j in {0, 1} (task done), f[arc, k] >= 0. At every agent and type:
    outflow - inflow + sum of r_jk y_j over its own tasks <= stock. With y fixed the rest is a
    network flow, which is integral. No distances and no variables per (task, provider).
    """
    if problem["transfer_cost"]["package_size"] != 1:
        raise ValueError("optimum_flow needs transfer_cost.package_size = 1")
    tasks, types = problem["tasks"], problem["resource_types"]
    if not tasks:
        return 0.0
    arcs = [arc for a, b, w in problem["edges"] for arc in ((a, b, w), (b, a, w))]
    n_tasks, n = len(tasks), len(tasks) + len(arcs) * types
    objective = np.zeros(n)
    objective[:n_tasks] = [-task["utility"] for task in tasks]
    balance = np.zeros((problem["agents"], types, n))
    for j, task in enumerate(tasks):
        balance[task["agent"], :, j] = task["requires"]
    for e, (a, b, weight) in enumerate(arcs):
        for k in range(types):
            column = n_tasks + e * types + k
            objective[column] = problem["transfer_cost"]["per_item"] * weight
            balance[a, k, column] += 1
            balance[b, k, column] -= 1
    upper = np.full(n, np.inf)
    upper[:n_tasks] = 1
    answer = milp(
        objective,
        integrality=np.arange(n) < n_tasks,
        bounds=(np.zeros(n), upper),
        constraints=LinearConstraint(balance.reshape(-1, n), ub=np.ravel(problem["resources"])),
        options={"mip_rel_gap": 0.0},
    )
    if not answer.success:
        raise RuntimeError(f"milp did not solve the flow problem: {answer.message}")
    return float(-answer.fun)


def random_problem(rng, n_agents, n_tasks, types, package_size=1, weights="unit", kind="mixed"):
    """A small random problem from a ``numpy.random.Generator``.

    A random tree plus each other edge with probability 1/4; ``weights`` "unit", or "random":
    quarters from 0.25 to 2. ``kind``, the stock per agent and type: "scarce" 0 or 1, "mixed"
    0 to 4, "plenty" 3 to 7. Requirements 0 to 3, one task in eight requires nothing, utilities
    0 to 12.
    """
    tree = {(int(rng.integers(b)), b) for b in range(1, n_agents)}
    pairs = [p for p in combinations(range(n_agents), 2) if p in tree or rng.random() < 0.25]
    weight = {"unit": lambda: 1.0, "random": lambda: float(rng.integers(1, 9)) / 4}[weights]
    low, high = STOCK_RANGES[kind]
    label = rng.permutation(n_agents).tolist()
    return {
        "agents": n_agents,
        "edges": [[label[a], label[b], weight()] for a, b in pairs],
        "resource_types": types,
        "resources": rng.integers(low, high + 1, (n_agents, types)).tolist(),
        "tasks": [
            {
                "agent": int(rng.integers(n_agents)),
                "utility": int(rng.integers(13)),
                "requires": (rng.integers(4, size=types) * (rng.random() > 1 / 8)).tolist(),
            }
            for _ in range(n_tasks)
        ],
        "transfer_cost": {"per_item": 1.0, "package_size": package_size},
    }


def networkx_episode(rng, n=8, degree=2):
    """One episode of experiment 7.5.1 (small world, stock 11, 2 types): CEN-GRD's welfare.

    Generates the graph, the tasks and the stock, all distances, allocates and evaluates.
    """
    network = nx.connected_watts_strogatz_graph(n, degree, 0.05, seed=rng)
    problem = {
        "agents": n,
        "edges": [[a, b, 1.0] for a, b in network.edges],
        "resource_types": 2,
        "resources": [[1, 1] if agent < n // 2 else [11, 11] for agent in range(n)],
        "tasks": [
            {"agent": agent, "utility": utility, "requires": [2, 2]} for agent in range(n) for utility in (4, 9, 16, 25)
        ],
        "transfer_cost": {"per_item": 1.0, "package_size": 1},
    }
    dist = dict(nx.all_pairs_dijkstra_path_length(network))
    return welfare(problem, cen_grd(problem, dist), dist)[0]


def time_episodes(episodes=1000, seed=0, n=8, degree=2):
    """``(milliseconds per episode, mean welfare)`` over ``episodes`` after one to warm up."""
    rng = np.random.default_rng(seed)
    networkx_episode(rng, n, degree)
    start = time.perf_counter()
    values = [networkx_episode(rng, n, degree) for _ in range(episodes)]
    return 1e3 * (time.perf_counter() - start) / episodes, float(np.mean(values))


def self_check(instances=100, seed=0):
    """Enumeration equals the flow optimum (package 1) and bounds both greedies (package 1-3)."""
    rng = np.random.default_rng(seed)
    tally = {"optimum > 0": 0, "CEN-GRD optimal": 0, "CEN-GRD+ optimal": 0, "CEN-GRD < 0": 0}
    for number in range(instances * 3):
        size = [int(rng.integers(low, 5)) for low in (1, 2)] + [int(rng.integers(1, 3))]
        weights, kind = ("unit", "random")[number % 2], tuple(STOCK_RANGES)[number // 2 % 3]
        problem = random_problem(rng, *size, 1 + number // instances, weights, kind)
        best = brute_force(problem)
        if number < instances:
            assert abs(best - optimum_flow(problem)) < 1e-6, problem
        tally["optimum > 0"] += best > 0
        for name, method in (("CEN-GRD", cen_grd), ("CEN-GRD+", cen_grd_plus)):
            value, *_, feasible = welfare(problem, method(problem))
            assert feasible and value <= best, (name, problem)
            tally[f"{name} optimal"] += value == best
            if name == "CEN-GRD+":
                assert value >= 0, problem
            else:
                tally["CEN-GRD < 0"] += value < 0
    return tally
