"""Allocators: one table of contract tests for all of them, exact references, certified bounds, refused problems."""

import json

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc.allocators import ALLOCATORS, allocate, evaluate, greedy, make_problem, read_problem, solve
from bayesalloc.allocators.evaluate import merged
from bayesalloc.allocators.prices import Links, Pricing, dec_price, hear
from bayesalloc.allocators.problem import Problem, adjacency, package_cost, shortest_paths, to_json
from tests import srap_reference as reference

KEY = jax.random.key(0)
AGENTS, TASKS, TYPES = 7, 10, 2


def padded(document, agents=AGENTS, tasks=TASKS):
    """The reference's dictionary as arrays of one shape: with edges of infinite length and tasks that are not real."""
    edges = np.zeros((agents * (agents - 1) // 2, 2), int)
    weights = np.full(len(edges), np.inf)
    for place, (one, other, weight) in enumerate(document["edges"]):
        edges[place], weights[place] = (one, other), weight
    listed = document["tasks"]
    more = tasks - len(listed)
    problem = make_problem(
        edges, weights, document["resources"], [t["agent"] for t in listed] + [0] * more,
        [t["utility"] for t in listed] + [50] * more, [t["requires"] for t in listed] + [[0] * TYPES] * more,
        per_item=document["transfer_cost"]["per_item"], package_size=document["transfer_cost"]["package_size"],
    )  # fmt: skip
    return problem._replace(real=jnp.arange(tasks) < len(listed))


def draw(number, agents=AGENTS, tasks=None, package_size=1):
    rng = np.random.default_rng(number)
    kind, weights = ("scarce", "mixed", "plenty")[number % 3], ("unit", "random")[number % 2]
    tasks = int(rng.integers(1, TASKS + 1)) if tasks is None else tasks
    return reference.random_problem(rng, agents, tasks, TYPES, package_size, weights, kind)


def batch(documents):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(padded(document) for document in documents))


@pytest.fixture(scope="module")
def instances():
    documents = [draw(number) for number in range(60)]
    return documents, batch(documents)


@pytest.fixture(scope="module")
def outcomes(instances):
    """Every allocator on the same instances."""
    keys = jax.random.split(KEY, len(instances[0]))

    def run(allocator):
        def one(problem, key):
            allocation = allocator(problem, key)
            return allocation, evaluate(problem, allocation)

        return jax.jit(jax.vmap(one))(instances[1], keys)

    return {name: run(allocator) for name, allocator in ALLOCATORS.items()}


@pytest.mark.parametrize("method", ALLOCATORS)
def test_every_allocation_is_feasible_and_no_better_than_the_optimum(method, instances, outcomes):
    allocation, value = outcomes[method]
    assert value.feasible.all()
    assert (value.social_welfare <= outcomes["opt"][1].social_welfare + 1e-4).all()
    assert (allocation.bound >= outcomes["opt"][1].social_welfare - 1e-3).all()
    for place in range(0, len(instances[0]), 7):  # the evaluator agrees with a plain one
        one = merged(jax.tree.map(lambda leaf, place=place: leaf[place], allocation))
        sent = zip(*(np.asarray(field).tolist() for field in one[:4]), strict=True)
        shipments = {(task, agent, kind): quantity for task, agent, kind, quantity in sent}
        welfare, utility, cost, done, feasible = reference.welfare(instances[0][place], shipments)
        assert feasible
        np.testing.assert_allclose(
            [value.social_welfare[place], value.utility[place], value.transfer_cost[place]], [welfare, utility, cost]
        )
        assert np.flatnonzero(value.done[place]).tolist() == done


@pytest.mark.parametrize("method", ALLOCATORS)
def test_padding_changes_nothing(method, outcomes):
    """Without padding, and alone instead of in a batch, an instance has the same welfare."""
    document = draw(5)
    listed = document["tasks"]
    bare = make_problem(
        [edge[:2] for edge in document["edges"]], [edge[2] for edge in document["edges"]], document["resources"],
        [t["agent"] for t in listed], [t["utility"] for t in listed], [t["requires"] for t in listed],
    )  # fmt: skip
    key = jax.random.split(KEY, 60)[5]
    value = evaluate(bare, jax.jit(ALLOCATORS[method])(bare, key))
    tolerance = 0.05 if method == "dec-price" else 1e-6  # its noise has one number for each task, padded or not
    np.testing.assert_allclose(value.social_welfare, outcomes[method][1].social_welfare[5], rtol=tolerance)


@pytest.mark.parametrize("method", ALLOCATORS)
def test_nothing_to_do_or_to_give_is_worth_nothing(method):
    edges, weights = [[0, 1], [1, 2]], [1.0, 1.0]
    idle = make_problem(edges, weights, [[1, 2], [0, 0], [3, 3]], [], [], np.zeros((0, 2)))
    empty = make_problem(edges, weights, np.zeros((3, 2)), [0, 2], [5.0, 9.0], [[1, 0], [2, 2]])
    for problem in (idle, empty):
        value = evaluate(problem, jax.jit(ALLOCATORS[method])(problem, KEY))
        assert value.feasible and float(value.social_welfare) == 0.0 and not value.done.any()


@pytest.mark.parametrize(("method", "plain"), [("cen-grd", reference.cen_grd), ("cen-grd+", reference.cen_grd_plus)])
def test_greedy_is_the_plain_version(method, plain):
    """Shipment by shipment, on 1,000 instances of all sizes, package sizes and kinds of stock."""
    documents = [draw(1000 + number, package_size=1 + number % 3) for number in range(1000)]
    found = jax.jit(jax.vmap(ALLOCATORS[method]))(batch(documents), jax.random.split(KEY, 1000))
    quantity = np.asarray(found.quantity)
    for number, document in enumerate(documents):
        ours = {tuple(where): int(quantity[number][tuple(where)]) for where in np.argwhere(quantity[number]).tolist()}
        assert ours == plain(document), number


@pytest.mark.parametrize(("method", "plain"), [("cen-grd", reference.cen_grd), ("cen-grd+", reference.cen_grd_plus)])
def test_many_agents_are_sorted_instead_of_counted(method, plain, monkeypatch):
    """Above COUNTED agents; here for few, so that the plain version is quick."""
    monkeypatch.setattr(greedy, "COUNTED", 0)
    documents = [draw(2000 + number, package_size=1 + number % 3) for number in range(100)]
    found = jax.jit(jax.vmap(lambda p: ALLOCATORS[method](p, KEY)))(batch(documents))
    for number, document in enumerate(documents):
        quantity = np.asarray(found.quantity)[number]
        assert {tuple(i): int(quantity[tuple(i)]) for i in np.argwhere(quantity).tolist()} == plain(document), number


def test_the_optimum_is_that_of_another_formulation():
    """Items that flow along edges, on 200 instances: no distances and no variables per provider."""
    for number in range(200):
        document = draw(3000 + number)
        assert solve(padded(document)).bound == pytest.approx(reference.optimum_flow(document), abs=1e-5), number


def test_the_optimum_is_that_of_enumeration():
    """Every package size, on instances small enough to try everything."""
    for number in range(90):
        document = draw(4000 + number, agents=4, tasks=1 + number % 4, package_size=1 + number % 3)
        problem = padded(document, agents=4)
        found = solve(problem)
        value = evaluate(problem, found.allocation(problem))
        assert found.optimal and value.feasible
        assert float(value.social_welfare) == pytest.approx(reference.brute_force(document), abs=1e-5), number


def test_a_time_limit_gives_what_was_found_and_a_bound_labelled_so():
    rng = np.random.default_rng(0)
    document = reference.random_problem(rng, 40, 120, 2, 3, "random", "mixed")
    problem = make_problem(
        [e[:2] for e in document["edges"]], [e[2] for e in document["edges"]], document["resources"],
        *zip(*((t["agent"], t["utility"], t["requires"]) for t in document["tasks"]), strict=True), package_size=3,
    )  # fmt: skip
    result = allocate(problem, "opt", KEY, time_limit=0.01)
    assert not result["optimal"] and result["upper_bound"] > result["social_welfare"] >= 0


def test_offers_are_heard_over_shortest_paths():
    """Bellman-Ford from prices agrees with Dijkstra, on random lengths; who offers, and how far it is, too."""
    graph = nx.gnm_random_graph(60, 120, seed=3)
    graph.add_edges_from(nx.path_graph(60).edges)
    rng = np.random.default_rng(1)
    length = {edge: rng.uniform(0.1, 3.0) for edge in graph.edges}
    nx.set_edge_attributes(graph, length, "weight")
    edges = jnp.asarray(list(graph.edges))
    prices = jnp.asarray(rng.uniform(0, 4, (60, 2)), jnp.float32).at[5].set(jnp.inf)
    weights = jnp.asarray([length[edge] for edge in graph.edges], jnp.float32)
    links = Links(
        jnp.concatenate([edges[:, 0], edges[:, 1]]), jnp.concatenate([edges[:, 1], edges[:, 0]]), jnp.tile(weights, 2)
    )
    offers, messages = jax.jit(hear)(links, prices, jnp.asarray(2.0))
    way = dict(nx.all_pairs_dijkstra_path_length(graph))
    distance = np.array([[way[i][j] for j in range(60)] for i in range(60)])
    every = 2.0 * distance[:, :, None] + np.asarray(prices)[:, None, :]
    np.testing.assert_allclose(offers.cost, every.min(0), rtol=1e-5)
    assert (np.asarray(offers.provider) == every.argmin(0)).all()
    np.testing.assert_allclose(
        offers.distance, distance[np.asarray(offers.provider), np.arange(60)[:, None]], rtol=1e-5, atol=1e-6
    )
    assert float(messages) >= 2 * len(edges)


def test_prices_reach_most_of_their_own_bound():
    """On 400 agents the welfare is above 0.97 of the bound that the prices certify (measured: 0.98)."""
    rng = np.random.default_rng(2)
    graph = nx.connected_watts_strogatz_graph(400, 4, 0.05, seed=2)
    owner = np.repeat(np.arange(400), 2)
    stock = np.where(rng.random((400, 1)) < 0.5, 1, rng.integers(3, 8, (400, 2)))
    problem = make_problem(
        list(graph.edges), np.ones(800), stock, owner, rng.choice([4, 9, 16, 25], 800), rng.integers(1, 4, (800, 2))
    )
    allocation = jax.jit(dec_price)(problem)
    sales = merged(allocation)
    assert evaluate(problem, sales).feasible
    way = dict(nx.all_pairs_shortest_path_length(graph))
    to = owner[np.asarray(sales.task)].tolist()
    assert [way[i][j] for i, j in zip(sales.agent.tolist(), to, strict=True)] == sales.distance.tolist()
    assert float(evaluate(problem, allocation).social_welfare / allocation.bound) > 0.97


def test_more_tries_are_never_worse(instances):
    problem = jax.tree.map(lambda leaf: leaf[:12], instances[1])

    def welfare(tries):
        return jax.vmap(lambda p: evaluate(p, dec_price(p, None, Pricing(tries=tries))).social_welfare)(problem)

    assert (jax.jit(welfare, static_argnums=0)(8) >= jax.jit(welfare, static_argnums=0)(1) - 1e-4).all()


def test_packages_are_counted_exactly():
    line = make_problem([[0, 1]], [1.0], [[0], [1]], [0], [1.0], [[1]])
    quantity = jnp.asarray(np.r_[0:3000, 2**22 - 3000 : 2**22])
    costs = jax.jit(jax.vmap(lambda size: package_cost(line._replace(package_size=size), quantity, jnp.ones(()))))
    sizes = jnp.asarray(np.r_[1:200, 4096, 65_537, 2**22 - 1])
    np.testing.assert_array_equal(costs(sizes), -(-np.asarray(quantity) // np.asarray(sizes)[:, None]))


def test_distances_are_those_of_networkx():
    document = draw(1)
    lengths = adjacency(padded(document))
    plain = reference.distances(document)
    np.testing.assert_allclose(shortest_paths(lengths), [[plain[i][j] for j in range(7)] for i in range(7)])


GOOD = {
    "agents": 3, "edges": [[0, 1, 1.0], [1, 2, 2.5]], "resource_types": 2, "resources": [[1, 1], [0, 2], [3, 3]],
    "tasks": [{"agent": 0, "utility": 9, "requires": [2, 2]}], "transfer_cost": {"per_item": 1.0, "package_size": 2},
}  # fmt: skip


def written(tmp_path, **changes):
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(GOOD | changes))
    return path


def test_a_problem_survives_its_file(tmp_path):
    problem = read_problem(written(tmp_path))
    again = tmp_path / "again.json"
    again.write_text(to_json(problem))
    assert jax.tree.all(jax.tree.map(np.array_equal, problem, read_problem(again)))


@pytest.mark.parametrize("suffix", ["graphml", "txt"])
def test_a_network_may_come_from_a_graph_file(tmp_path, suffix):
    graph = nx.Graph()
    graph.add_weighted_edges_from([(0, 1, 1.0), (1, 2, 2.5)])
    path = tmp_path / f"network.{suffix}"
    nx.write_graphml(graph, path) if suffix == "graphml" else nx.write_weighted_edgelist(graph, path)
    changes = {key: value for key, value in GOOD.items() if key != "edges"} | {"graph": path.name}
    (tmp_path / "problem.json").write_text(json.dumps(changes))
    assert np.array_equal(read_problem(tmp_path / "problem.json").weights, [1.0, 2.5])
    (tmp_path / "bare.txt").write_text("0 1\n1 2\n")  # a weight left out is 1
    (tmp_path / "problem.json").write_text(json.dumps(changes | {"graph": "bare.txt"}))
    assert np.array_equal(read_problem(tmp_path / "problem.json").weights, [1.0, 1.0])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"edges": [[0, 1, 1.0]]}, ["2 parts", "reachable"]),
        ({"tasks": [{"agent": 3, "utility": 9, "requires": [1, 1]}]}, ["tasks[0].agent is 3", "0 to 2"]),
        ({"resources": [[1, 1], [0, -2], [3, 3]]}, ["resources[1]", "-2", "[0,"]),
        ({"tasks": [{"agent": 0, "utility": 9, "requires": [-1, 1]}]}, ["tasks[0].requires", "-1"]),
        ({"tasks": [{"agent": 0, "utility": 9, "requires": [1]}]}, ["tasks[0].requires has 1", "2 resource types"]),
        ({"tasks": [{"agent": 0, "utility": -9, "requires": [1, 1]}]}, ["tasks[0].utility is -9"]),
        ({"transfer_cost": {"package_size": 0}}, ["package_size is 0", "[1, 16777216)"]),
        ({"transfer_cost": {"per_item": -1.0}}, ["per_item is -1"]),
        ({"edges": [[0, 1, 0.0], [1, 2]]}, ["edges[0]", "weight 0", "from 1e-09"]),
        ({"edges": [[0, 1, -2.0], [1, 2]]}, ["edges[0]", "weight -2"]),
        ({"edges": [[0, 1, 1.0], [1, 0, 2.0], [1, 2]]}, ["edges[1]", "weight 1 before"]),
        ({"edges": [[0, 3], [1, 2]]}, ["edges[0]", "0 to 2"]),
        ({"edges": [[0, 0], [1, 2]]}, ["two different"]),
        ({"edges": [[0], [1, 2]]}, ["edges[0]", "[agent, agent]"]),
        ({"resources": [[1, 1]]}, ["resources has 1 rows", "3 agents"]),
        ({"agents": 0}, ["0 agents"]),
        ({"agents": "three"}, ["agents is 'three'; it must be a whole number or a list"]),
        (
            {"edges": [[0, 1], ["a\x1b", "b"]]},
            ["edges[1][0] is 'a\\x1b'; it must be a number; an edge joins", "numbers"],
        ),
        ({"edges": [[0, 1], {"from": 1}]}, ['edges[1] is {"from": 1}; it must be a list; an edge joins two agents']),
        ({"edges": [[0, 1], None]}, ["edges[1] is null; it must be a list"]),
        ({"resources": [[1, 1], [0, 1.5], [3, 3]]}, ["resources[1][1] is 1.5; it must be a whole number"]),
        (
            {"tasks": [{"agent": 0, "utility": "x", "requires": [1, 1]}]},
            ["tasks[0].utility is 'x'; it must be a number"],
        ),
        ({"colour": "blue"}, ["colour"]),
        ({"graph": "network.txt"}, ["either 'edges' or 'graph'"]),
        ({"edges": None, "graph": "missing.graphml"}, ["missing.graphml", "no such file"]),
    ],
)
def test_bad_problems_are_refused_by_name(tmp_path, changes, said):
    with pytest.raises(ba.InputError) as error:
        read_problem(written(tmp_path, **changes))
    message = str(error.value)
    assert "problem.json" in message and all(part in message for part in said), message
    assert "\n" not in message


def test_files_that_are_not_problems_are_refused(tmp_path):
    with pytest.raises(ba.InputError, match="no such file"):
        read_problem(tmp_path / "nothing.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ba.InputError, match="broken.json"):
        read_problem(tmp_path / "broken.json")
    (tmp_path / "broken.graphml").write_text("<graphml")
    with pytest.raises(ba.InputError, match="cannot be read as a network"):
        read_problem(written(tmp_path, edges=None, graph="broken.graphml"))


def test_methods_and_limits_are_refused_by_name(tmp_path):
    problem = read_problem(written(tmp_path))
    assert isinstance(problem, Problem)
    with pytest.raises(ba.InputError, match="no method 'best'"):
        allocate(problem, "best", KEY)
    with pytest.raises(ba.InputError, match="time limit"):
        allocate(problem, "cen-grd", KEY, time_limit=1.0)
