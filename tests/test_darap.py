"""The negotiation: against plain Python, against dynamic programmes, and under faults."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

from bayesalloc.allocators.darap import INBOX, THESIS, dec_grd
from bayesalloc.allocators.darap.answers import UNUSED, bundle
from bayesalloc.allocators.darap.faults import NO_FAULTS, Faults, update_trust
from bayesalloc.allocators.darap.inbox import inbox_order
from bayesalloc.allocators.darap.protocol import Darap
from bayesalloc.allocators.evaluate import evaluate, merged
from bayesalloc.allocators.problem import Problem, make_problem
from bayesalloc.errors import InputError
from tests.darap_reference import Negotiation

AGENTS, TYPES, TASKS, BATCH = 8, 2, 32, 100  # one shape for most tests, so that they share what is compiled
ONCE = Darap(cycles=1)
CONFIGS = {
    "thesis": THESIS,
    "default": ONCE,
    "other": Darap(
        max_hops=4,
        reserve="none",
        utility_mode="full",
        confirm="joint",
        copies="each",
        leftovers="offered",
        max_quantity=3,
        cycles=1,
        parts=0,
    ),
    "random": replace(THESIS, order="random", max_hops=3),
}
ONE_HOP = replace(THESIS, max_hops=1, cycles=2)
IN_PARTS = Darap(max_hops=1, cycles=3)


def network(kind: int, n: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    seed = int(rng.integers(2**31))
    if kind == 0:
        graph = nx.connected_watts_strogatz_graph(n, int(rng.choice([2, 4])), 0.2, seed=seed)
    elif kind == 1:
        graph = nx.barabasi_albert_graph(n, int(rng.choice([1, 2])), seed=seed)
    else:
        graph = nx.compose(nx.path_graph(n), nx.gnm_random_graph(n, int(rng.integers(n)), seed=seed))
    return list(graph.edges)


def instance(rng: np.random.Generator, n: int = AGENTS, types: int = TYPES, tasks: int = TASKS) -> Problem:
    """A random instance; edges are padded to those of the complete network."""
    edges = network(int(rng.integers(3)), n, rng)
    pad = n * (n - 1) // 2 - len(edges)
    return make_problem(
        edges + [(0, 0)] * pad, [*rng.integers(1, 4, len(edges)), *[np.inf] * pad],
        rng.integers(0, 9, (n, types)) * rng.integers(0, 2, (n, 1)), rng.integers(0, n, tasks),
        rng.integers(1, 30, tasks), rng.integers(0, 4, (tasks, types)), package_size=int(rng.integers(1, 4)),
    )  # fmt: skip


def stacked(problems: list[Problem]) -> Problem:
    return jax.tree.map(lambda *x: np.stack(x), *problems)


def small(
    edges: list[tuple[int, int]], stock: dict[int, int], tasks: list[tuple[int, float, tuple[int, int]]]
) -> Problem:
    """A hand-made instance in the common shape: items of the first type, tasks (owner, utility, requires)."""
    pad = TASKS - len(tasks)
    owner, utility, requires = zip(*tasks, *[(0, 0.0, (0, 0))] * pad, strict=True)
    return make_problem(
        edges + [(0, 0)] * (28 - len(edges)), [1] * len(edges) + [np.inf] * (28 - len(edges)),
        [[stock.get(a, 0), 0] for a in range(AGENTS)], owner, utility, requires,
    )._replace(real=jnp.arange(TASKS) < len(tasks))  # fmt: skip


def alone(config: Darap, problem: Problem, faults: Faults = NO_FAULTS):
    results = run(config, stacked([problem]), jax.tree.map(lambda x: x[None], faults))
    return jax.tree.map(lambda x: x[0], results)


def published(rng: np.random.Generator, count: int, package_size: int = 20) -> Problem:
    """Section 7.5.1: half the agents have one item of each of two types, half have eleven."""
    problems = []
    for number in range(count):
        edges = network(number % 3, 8, rng)
        pad = 28 - len(edges)
        problems.append(
            make_problem(
                edges + [(0, 0)] * pad, [1] * len(edges) + [np.inf] * pad, [[1, 1]] * 4 + [[11, 11]] * 4,
                np.repeat(np.arange(8), 4), [4, 9, 16, 25] * 8, np.full((32, 2), 2), package_size=package_size,
            )
        )  # fmt: skip
    return stacked(problems)


@cache
def compiled(config: Darap):
    def episode(problem, key, faults):
        allocation, record = dec_grd(problem, jax.random.wrap_key_data(key), config, faults)
        return allocation, record, evaluate(problem, allocation)

    return jax.jit(jax.vmap(episode))


def run(config: Darap, problems: Problem, faults: Faults = NO_FAULTS, seed: int = 0):
    """All episodes, in batches of one size; the last one is filled up with its first episode."""
    count = len(problems.owner)
    keys = jax.random.key_data(jax.random.split(jax.random.key(seed), count))
    arguments = jax.tree.map(np.asarray, (problems, keys, faults))  # indexing NumPy arrays compiles nothing
    parts = []
    for start in range(0, count, BATCH):
        places = np.arange(start, start + BATCH)
        places[places >= count] = start
        parts.append(compiled(config)(*jax.tree.map(lambda x, places=places: x[places], arguments)))
    return jax.tree.map(lambda *x: np.concatenate(x)[:count], *parts)


def without_padding(problem: Problem) -> Problem:
    kept = np.isfinite(np.asarray(problem.weights))
    problem = jax.tree.map(np.asarray, problem)
    return problem._replace(edges=problem.edges[kept], weights=problem.weights[kept])


def turns(place: int, n: int, types: int):
    """When the requests of an episode of `run` have their turn; in the first round each comes from its origin."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.split(jax.random.key(0), BATCH)[place], 0), INBOX)

    @cache
    def ranks(now: int) -> np.ndarray:
        return np.argsort(inbox_order(key, now, types, n if now == 1 else n * n), axis=1)

    return lambda now, kind, origin, sender: ranks(now)[kind, origin if now == 1 else origin * n + sender]


@pytest.mark.parametrize(
    ("name", "n", "types", "tasks"),
    [
        ("thesis", AGENTS, TYPES, TASKS), ("default", AGENTS, TYPES, TASKS), ("other", AGENTS, TYPES, TASKS),
        ("random", AGENTS, TYPES, TASKS), ("default", 10, 3, 30),
    ],
)  # fmt: skip
def test_agrees_with_plain_python(name: str, n: int, types: int, tasks: int):
    rng = np.random.default_rng(n)
    problems = [instance(rng, n, types, tasks) for _ in range(BATCH)]
    allocations, _, evaluations = run(CONFIGS[name], stacked(problems))
    assert evaluations.feasible.all()
    assert np.count_nonzero(allocations.hop_cost) > 40
    for place, problem in enumerate(problems):
        one = jax.tree.map(lambda x, place=place: np.asarray(x)[place], allocations)
        one = merged(one)
        columns = zip(one.task, one.agent, one.type, one.quantity, strict=True)
        shipments = {(int(t), int(a), int(r)): int(q) for t, a, r, q in columns if q}
        expected, messages, hop_cost = Negotiation(
            without_padding(problem), CONFIGS[name], turns(place, n, types)
        ).run()
        assert shipments == expected
        assert (one.messages, one.hop_cost) == (messages, hop_cost)


def test_random_inboxes_follow_the_seed():
    rng = np.random.default_rng(11)
    problems = stacked([instance(rng) for _ in range(BATCH)])
    one, again, other = (run(CONFIGS["random"], problems, seed=seed)[2].social_welfare for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).sum() > 10


def best_split(gains: list[np.ndarray], limit: int) -> float:
    """The most that sum_k gains[k][q_k] can be with sum_k q_k <= limit, by dynamic programming."""
    best = np.zeros(limit + 1)
    for gain in gains:
        best = np.array(
            [max(best[q - k] + gain[k] for k in range(min(q, len(gain) - 1) + 1)) for q in range(limit + 1)]
        )
    return float(best[limit])


def test_greedy_offers_are_optimal_for_linear_utilities():
    """Proposition 6, through the whole protocol: one agent with a stock, asked by all its neighbours.

    Every task needs one item and an agent's tasks pay the same, so that utilities are linear. The edges cost nothing,
    and requests go no farther: an agent sets items aside for requests that it passes on before it answers others.
    """
    rng = np.random.default_rng(3)
    problems, expected = [], []
    for _ in range(60):
        pays, counts, stock = rng.integers(1, 20, AGENTS), rng.integers(0, 4, AGENTS), int(rng.integers(1, 15))
        pays[0] = counts[0] = 0
        owner = np.repeat(np.arange(AGENTS), counts)
        tasks = [(int(a), float(pays[a]), (1, 0)) for a in owner]
        problems.append(small([(0, a) for a in range(1, AGENTS)], {0: stock}, tasks)._replace(per_item=jnp.zeros(())))
        gains = [pay * np.arange(count + 1) for pay, count in zip(pays, counts, strict=True)]
        expected.append(best_split(gains, stock))
    np.testing.assert_array_equal(run(ONE_HOP, stacked(problems))[2].social_welfare, expected)


def test_greedy_bundles_are_optimal_for_linear_costs():
    """Propositions 9 and 11: the cheapest way to get q items at linear costs, and the best q to confirm."""
    rng = np.random.default_rng(4)
    sizes, prices = rng.integers(0, 9, (200, 6)), rng.integers(1, 15, (200, 6))
    amounts = np.arange(9)
    cost = (prices[..., None] * amounts).astype(np.float32)
    nothing = jnp.zeros(200, jnp.int32)
    together = jax.jit(bundle)(jnp.asarray(sizes), jnp.asarray(cost), nothing, jnp.zeros((200, 9)))
    for place in range(200):
        limit = min(8, int(together.total[place]))
        for q in range(limit + 1):
            # A reward per item above every price makes the programme take all q of them.
            gains = [(100 - p) * np.arange(s + 1) for p, s in zip(prices[place], sizes[place], strict=True)]
            assert float(together.cost[place, q]) == 100 * q - best_split(gains, q)
        for pay in (3, 8):
            gains = [(pay - p) * np.arange(s + 1) for p, s in zip(prices[place], sizes[place], strict=True)]
            curve = pay * amounts - np.asarray(together.cost[place])
            assert curve[: limit + 1].max() == best_split(gains, 8)


def random_faults(rng: np.random.Generator, count: int, n: int = AGENTS) -> Faults:
    stops = np.where(rng.random((count, n)) < 0.3, rng.integers(0, 12, (count, n)), UNUSED)
    return Faults(
        jnp.asarray(rng.uniform(0, 0.6, count)), jnp.asarray(rng.uniform(0, 0.6, count)), jnp.asarray(stops),
        jnp.asarray(rng.uniform(0.5, 3, (count, n))), jnp.asarray(rng.uniform(0.5, 3, (count, n))),
        jnp.asarray(rng.uniform(0.3, 1, (count, n))),
    )  # fmt: skip


def harmless(count: int) -> Faults:
    ones, never = jnp.ones((count, AGENTS)), jnp.full((count, AGENTS), UNUSED)
    return Faults(jnp.zeros(count), jnp.zeros(count), never, ones, ones, ones)


@pytest.mark.parametrize("config", [THESIS, Darap()])
def test_faults_lose_no_item_and_keep_nobody_waiting(config: Darap):
    rng = np.random.default_rng(5)
    problems = stacked([instance(rng) for _ in range(BATCH * 10)])
    faults = random_faults(rng, BATCH * 10)
    _, record, evaluation = run(config, problems, faults)
    assert evaluation.feasible.all()
    kinds = np.stack([record.held, record.reserved, record.offered, record.consumed])
    assert (kinds >= 0).all()
    np.testing.assert_array_equal(kinds.sum(0), np.broadcast_to(problems.resources[:, None], kinds[0].shape))
    assert not kinds[1:3, :, -1].any()
    cycles = record.sent.reshape(len(record.sent), config.cycles, config.rounds, *record.sent.shape[2:])
    np.testing.assert_array_equal(cycles[:, :, -1].sum((1, 2)), record.consumed[:, -1])  # what tasks used, by owner
    np.testing.assert_array_equal(cycles[:, 0, :-1].cumsum(1).sum(2), record.consumed[:, : config.rounds - 1])
    at_last = np.zeros((len(record.done), AGENTS), int)
    np.add.at(at_last, (np.arange(len(at_last))[:, None], np.asarray(problems.owner)), np.asarray(evaluation.done))
    lasting = (
        np.asarray(faults.stop_round) == UNUSED
    )  # a task that requires nothing is done even where its owner stopped
    np.testing.assert_array_equal(record.done[:, -1][lasting], at_last[lasting])
    assert (record.overdue <= 0).all()
    assert record.longest_wait.max() <= config.offers_end
    assert record.broken.sum() > 0 and record.kept.sum() > record.broken.sum()


def test_faults_that_do_not_strike_change_nothing():
    rng = np.random.default_rng(6)
    problems = stacked([instance(rng) for _ in range(50)])
    for one, other in zip(run(ONCE, problems), run(ONCE, problems, harmless(50)), strict=True):
        jax.tree.map(np.testing.assert_array_equal, one, other)


CHAIN = small([(0, 1), (1, 2)], {0: 1, 2: 5}, [(0, 10, (3, 0))])


def test_record_of_a_trade_that_can_be_followed_by_hand():
    """Agent 2 has what agent 0 lacks, and agent 1 stands between them."""
    allocation, record, evaluation = alone(ONCE, CHAIN)
    assert allocation.messages == 6  # request, passed on; offer, passed on; confirmation, passed on
    assert allocation.hop_cost == 4.0  # two items over two edges
    assert evaluation.social_welfare == 10 - 4
    assert record.offered[:, 2, 0].tolist() == [0, 0, 2, 2, 2, 2] + [0] * (ONCE.rounds - 6)
    assert record.consumed[:, :, 0].sum(1).tolist() == [0] * 6 + [2] * (ONCE.rounds - 7) + [3]
    sent = np.argwhere(record.sent).tolist()  # on their way in round 6; in the last one with what agent 0 has itself
    assert sent == [[6, 0, 2, 0], [ONCE.rounds - 1, 0, 0, 0], [ONCE.rounds - 1, 0, 2, 0]]
    assert record.done[-2:, 0].tolist() == [0, 1]
    assert record.longest_wait == 4
    assert record.kept.tolist() == [0, 0, 2] + [0] * 5


def test_one_hop_reaches_neighbours_only():
    _, record, evaluation = alone(ONE_HOP, CHAIN)
    assert evaluation.social_welfare == 0
    assert record.messages == 4  # a request and its answer in each cycle
    assert record.held[:, :, 0].tolist() == [[1, 0, 5] + [0] * 5] * 2 * ONE_HOP.rounds


def test_agents_with_few_items_bring_them_together_where_requests_claim_parts():
    """Two agents beside the owner have one item each of the two that its task lacks: apart they are worth nothing."""
    problem = small([(0, 1), (0, 2)], {0: 1, 1: 1, 2: 1}, [(0, 10, (3, 0))])
    assert alone(replace(IN_PARTS, parts=0), problem)[2].social_welfare == 0
    allocation, record, evaluation = alone(IN_PARTS, problem)
    assert evaluation.social_welfare == 10 - 2
    assert allocation.messages == 4 + 4 + 6  # only in the last cycle is anything to be confirmed
    assert record.offered[:, 1:3, 0].max(0).tolist() == [1, 1]
    too_few = small([(0, 1), (0, 2)], {0: 1, 1: 1}, [(0, 10, (3, 0))])
    allocation, record, evaluation = alone(IN_PARTS, too_few)
    assert evaluation.social_welfare == 0 and not allocation.quantity.any()
    assert record.offered[:, 1, 0].max() == 1 and record.held[-1, 1, 0] == 1  # what was promised in vain is free again


def test_vmap_is_one_by_one():
    rng = np.random.default_rng(7)
    problems = [instance(rng) for _ in range(3)]
    together = run(ONCE, stacked(problems))
    single = jax.jit(lambda problem, key: dec_grd(problem, key, ONCE))
    for place, problem in enumerate(problems):
        apart = single(problem, jax.random.split(jax.random.key(0), 3)[place])
        for one, other in zip(apart, together[:2], strict=True):
            jax.tree.map(lambda x, y, place=place: np.testing.assert_array_equal(x, y[place]), one, other)


def test_padding_changes_nothing():
    rng = np.random.default_rng(8)
    problems = stacked([instance(rng) for _ in range(50)])
    pad = {"edges": 0, "weights": np.inf, "owner": 1, "utility": 99, "requires": 1, "real": False}
    padded = problems._replace(**{
        field: np.concatenate([x := getattr(problems, field), np.full_like(x[:, :4], value)], axis=1)
        for field, value in pad.items()
    })  # fmt: skip
    _, record, evaluation = run(ONCE, problems)
    _, again, evaluated = run(ONCE, padded)
    jax.tree.map(np.testing.assert_array_equal, record, again)
    np.testing.assert_array_equal(evaluation.social_welfare, evaluated.social_welfare)
    np.testing.assert_array_equal(evaluation.social_welfare_hop, evaluated.social_welfare_hop)


@pytest.mark.parametrize("config", [THESIS, ONCE])
def test_nothing_to_do_or_nothing_to_give(config: Darap):
    rng = np.random.default_rng(9)
    problem = instance(rng)
    bare = problem._replace(resources=jnp.zeros_like(problem.resources), requires=jnp.maximum(problem.requires, 1))
    idle = problem._replace(real=jnp.zeros_like(problem.real))
    allocation, record, evaluation = run(config, stacked([bare, idle]))
    assert not allocation.quantity.any() and not allocation.hop_cost.any()
    np.testing.assert_array_equal(evaluation.social_welfare, 0)
    np.testing.assert_array_equal(record.held[1], np.broadcast_to(idle.resources, record.held[1].shape))


def test_no_tasks_at_all():
    problem = make_problem([(0, 1)], [1], [[1], [2]], [], [], np.zeros((0, 1)))
    allocation, _ = jax.jit(dec_grd)(problem, jax.random.key(0))
    assert evaluate(problem, allocation).social_welfare == 0


def test_welfare_survives_loss_and_stopping():
    problems = published(np.random.default_rng(10), 150)
    calm = run(Darap(), problems)[2].social_welfare.mean()
    lossy = harmless(150)._replace(loss=jnp.full(150, 0.2))
    assert run(Darap(), problems, lossy)[2].social_welfare.mean() >= 0.9 * calm
    stops = np.where(np.arange(8) == np.arange(150)[:, None] % 8, 1, UNUSED)  # each agent in turn, before it offers
    stopped = run(Darap(), problems, harmless(150)._replace(stop_round=jnp.asarray(stops)))[2].social_welfare.mean()
    assert stopped >= (1 - 1.5 / 8) * calm


def test_trust_falls_for_liars_only():
    problem = small([(0, 1), (0, 2)], {1: 2, 2: 4}, [(0, 30, (4, 0))])
    one = jax.tree.map(lambda x: x[0], harmless(1))
    lies = one._replace(overstatement=one.trust.at[1].set(2.0), exaggeration=one.trust.at[0].set(2.0))
    allocation, record, evaluation = alone(ONCE, problem, lies)
    assert evaluation.utility == 0  # agent 1 promised four items and has two
    assert allocation.hop_cost == 4.0
    assert record.broken.tolist() == [0, 2] + [0] * 6
    trust = update_trust(jnp.ones(8), record)
    np.testing.assert_allclose(trust, [0.75, 0.75] + [1.0] * 6)
    for _ in range(4):
        trust = update_trust(trust, alone(ONCE, problem, lies._replace(trust=trust))[1])
    assert alone(ONCE, problem, lies._replace(trust=trust))[2].utility == 30


@pytest.mark.parametrize(
    ("field", "value"), [("reserve", "all"), ("confirm", "both"), ("max_hops", 0), ("parts", -1), ("retries", -1)]
)
def test_refuses_parameters(field: str, value: object):
    with pytest.raises(InputError, match=field):
        Darap(**{field: value})
