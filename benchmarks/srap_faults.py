"""Allocators under faults: items lost or doubled, waits past their timeout, and welfare that remains.

    python benchmarks/srap_faults.py [episodes]

Random faulted episodes of the negotiation first (100,000 unless told), with every invariant counted, and of each other
allocator, with agents that stop before offering (a hundredth of them of the optimum); then the setting of Section 7.5.1
(8 agents with four tasks each, two types, eleven items at half the agents) under loss, stopping and lies; then variants
of the protocol without faults; then speed.
"""

import sys
import time
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np

from bayesalloc.allocators import ALLOCATORS
from bayesalloc.allocators.darap import THESIS, dec_grd
from bayesalloc.allocators.darap.answers import UNUSED
from bayesalloc.allocators.darap.faults import NO_FAULTS, Faults, update_trust
from bayesalloc.allocators.darap.protocol import Darap
from bayesalloc.allocators.evaluate import evaluate
from bayesalloc.allocators.problem import Problem, make_problem, without

BATCH, N = 1000, 8
PAIRS = N * (N - 1) // 2


def network(kind: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    seed = int(rng.integers(2**31))
    if kind == 0:
        graph = nx.connected_watts_strogatz_graph(N, 2, 0.05, tries=1000, seed=seed)
    elif kind == 1:
        graph = nx.barabasi_albert_graph(N, 1, seed=seed)
    else:
        graph = nx.path_graph(N)
        while graph.number_of_edges() < N:
            graph.add_edge(*rng.choice(N, 2, replace=False).tolist())
    return list(graph.edges)


def stacked(problems: list[Problem]) -> Problem:
    return jax.tree.map(lambda *x: np.stack(x), *[jax.tree.map(np.asarray, p) for p in problems])


def padded(edges: list[tuple[int, int]], weights: list[float]) -> tuple[list, list]:
    pad = PAIRS - len(edges)
    return edges + [(0, 0)] * pad, list(weights) + [np.inf] * pad


def published(kind: int, package_size: int, rng: np.random.Generator) -> Problem:
    edges = network(kind, rng)
    return make_problem(
        *padded(edges, [1.0] * len(edges)), [[1, 1]] * 4 + [[11, 11]] * 4, np.repeat(np.arange(N), 4),
        [4, 9, 16, 25] * N, np.full((4 * N, 2), 2), package_size=package_size,
    )  # fmt: skip


def random_instance(rng: np.random.Generator) -> Problem:
    edges = network(int(rng.integers(3)), rng)
    return make_problem(
        *padded(edges, list(rng.integers(1, 4, len(edges)))),
        rng.integers(0, 9, (N, 2)) * rng.integers(0, 2, (N, 1)), rng.integers(0, N, 4 * N), rng.integers(1, 30, 4 * N),
        rng.integers(0, 4, (4 * N, 2)), package_size=int(rng.integers(1, 4)),
    )  # fmt: skip


@partial(jax.jit, static_argnums=0)
def misuse(method: str, problems: Problem, keys: jax.Array, out: jax.Array) -> dict[str, jax.Array]:
    """What is wrong with allocations when some agents are out, counted against the whole instance."""

    def count(xs: tuple[Problem, jax.Array, jax.Array]) -> dict[str, jax.Array]:
        problem, out, key = xs
        quantity = ALLOCATORS[method](without(problem, out), key).quantity
        sent, arrived = quantity.sum(0), quantity.sum(1)
        touched = arrived.any(-1)
        return {
            "items used that nobody has": jnp.maximum(sent - problem.resources, 0).sum(),
            "negative quantities": jnp.sum(quantity < 0),
            "items of agents that are out": jnp.where(out[:, None], sent, 0).sum(),
            "tasks with some of what they require": jnp.sum(touched & (arrived < problem.requires).any(-1)),
            "items beyond what a task requires": jnp.maximum(arrived - problem.requires, 0).sum(),
            "items for tasks of agents that are out": jnp.where(out[problem.owner], arrived.sum(-1), 0).sum(),
        }

    return jax.lax.map(count, (problems, out, keys), batch_size=50)  # which fits into the cache


def random_faults(rng: np.random.Generator) -> Faults:
    stops = np.where(rng.random((BATCH, N)) < 0.3, rng.integers(0, 20, (BATCH, N)), UNUSED)
    return Faults(
        rng.uniform(0, 0.6, BATCH), rng.uniform(0, 0.6, BATCH), stops, rng.uniform(0.5, 3, (BATCH, N)),
        rng.uniform(0.5, 3, (BATCH, N)), rng.uniform(0.3, 1, (BATCH, N)),
    )  # fmt: skip


@partial(jax.jit, static_argnums=0)
@partial(jax.vmap, in_axes=(None, 0, 0, 0))
def violations(config: Darap, problem: Problem, key: jax.Array, faults: Faults) -> dict[str, jax.Array]:
    allocation, record = dec_grd(problem, key, config, faults)
    kinds = jnp.stack([record.held, record.reserved, record.offered, record.consumed])
    return {
        "infeasible allocations": ~evaluate(problem, allocation).feasible,
        "rounds in which items were lost or doubled": jnp.sum(jnp.any(kinds.sum(0) != problem.resources, axis=(1, 2))),
        "negative numbers of items": jnp.sum(kinds < 0),
        "items never set free": kinds[1:3, -1].sum(),
        "waits past their timeout": record.overdue > 0,
        "broken promises (of liars and of none else)": jnp.sum(record.broken * (faults.overstatement > 1)),
        "broken promises of honest agents": jnp.sum(record.broken * (faults.overstatement <= 1)),
    }


@partial(jax.jit, static_argnums=0)
@partial(jax.vmap, in_axes=(None, 0, 0, 0))
def welfare(config: Darap, problem: Problem, key: jax.Array, faults: Faults) -> tuple:
    allocation, record = dec_grd(problem, key, config, faults)
    worth = evaluate(problem, allocation)
    return worth.social_welfare, worth.social_welfare_hop, allocation.messages, record


def stopping(fraction: float, at: int, rng: np.random.Generator) -> Faults:
    """About that fraction of agents stops in that round: the number rounded up or down at random."""
    count = np.floor(fraction * N + rng.random(BATCH))
    order = rng.permuted(np.tile(np.arange(N), (BATCH, 1)), axis=1)
    return Faults(stop_round=np.where(order < count[:, None], at, UNUSED))


def main() -> None:
    episodes = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    rng = np.random.default_rng(0)
    instances = stacked([random_instance(rng) for _ in range(BATCH)])
    keys = jax.random.split(jax.random.key(0), BATCH)
    for name, config in (("default", Darap()), ("thesis", THESIS)):
        total: dict[str, int] = {}
        for part in range(episodes // 2 // BATCH):
            some = jax.random.split(jax.random.fold_in(jax.random.key(1), part), BATCH)
            for what, count in violations(config, instances, some, random_faults(rng)).items():
                total[what] = total.get(what, 0) + int(np.sum(count))
        print(f"{name}: {episodes // 2 // BATCH * BATCH} random faulted episodes")
        for what, count in total.items():
            print(f"  {count:8d} {what}")

    chance = np.random.default_rng(1)
    for method in (name for name in ALLOCATORS if name != "dec-grd"):
        batches, total = max(1, episodes // (100 if method == "opt" else 1) // BATCH), {}
        for part in range(batches):
            some = jax.random.split(jax.random.fold_in(jax.random.key(2), part), BATCH)
            out = chance.random((BATCH, N)) < chance.random((BATCH, 1))
            for what, count in misuse(method, instances, some, out).items():
                total[what] = total.get(what, 0) + int(np.sum(count))
        print(f"{method}: {batches * BATCH} random episodes in which agents stop before offering")
        for what, count in total.items():
            print(f"  {count:8d} {what}")

    for package_size in (20, 1):
        problems = stacked([published(place % 3, package_size, rng) for place in range(BATCH)])

        def mean(config: Darap, faults: Faults = NO_FAULTS, problems: Problem = problems) -> float:
            return float(np.mean(welfare(config, problems, keys, faults)[0]))

        print(f"Section 7.5.1, package size {package_size}: social welfare, and its share of that without faults")
        for name, config in (("default", Darap()), ("thesis", THESIS)):
            calm = mean(config)
            print(f"  {name}: {calm:.1f}")
            for retries in (0, 1, 3):
                lossy = mean(replace(config, retries=retries), Faults(loss=np.full(BATCH, 0.2)))
                print(f"    20 % of messages lost, sent again up to {retries} times: {lossy / calm:.3f}")
            late = mean(config, Faults(delay=np.full(BATCH, 0.5)))
            print(f"    half of the messages a round late: {late / calm:.3f}")
            for moment, at in (("before offering", 1), ("after confirming", 3 * config.max_hops + 1)):
                for fraction in (0.1, 0.25, 0.5):
                    rest = mean(config, stopping(fraction, at, rng))
                    bound = 1 - 1.5 * fraction
                    print(f"    {fraction:.0%} of agents stop {moment}: {rest / calm:.3f} (bound {bound:.3f})")
            liars = np.where(np.arange(N) % 4 == 3, 2.0, 1.0)
            lies = Faults(exaggeration=np.tile(liars, (BATCH, 1)), overstatement=np.tile(liars, (BATCH, 1)))
            trust, shares = np.ones((BATCH, N)), []
            for _ in range(6):
                worth, _, _, record = welfare(config, problems, keys, lies._replace(trust=trust))
                shares.append(f"{np.mean(worth) / calm:.3f}")
                trust = jax.vmap(update_trust)(trust, record)
            print(f"    two of eight agents double what they report, trust updated each time: {', '.join(shares)}")

        variants = {
            "thesis": THESIS, "default": Darap(), "confirm separate": Darap(confirm="separate"),
            "confirm joint": Darap(confirm="joint"), "leftovers offered": Darap(leftovers="offered"),
            "reserve none": Darap(reserve="none"), "reserve thesis": Darap(reserve="thesis"),
            "offer all": Darap(offer="all"), "copies each": Darap(copies="each"),
            "utility full": Darap(utility_mode="full"), "cycles 1": Darap(cycles=1), "cycles 3": Darap(cycles=3),
            "parts 0": Darap(parts=0), "cycles 1, parts 0": Darap(cycles=1, parts=0),
            "max_hops 1": Darap(max_hops=1), "max_hops 7": Darap(max_hops=7),
        }  # fmt: skip
        print("  without faults, on small-world, scale-free and random networks; messages")
        for name, config in variants.items():
            worth, hop, messages, _ = welfare(config, problems, keys, Faults())
            kinds = " ".join(f"{np.mean(worth[k::3]):6.1f}" for k in range(3))
            print(f"    {name:18} {kinds}  hop accounting {np.mean(hop):6.1f}  messages {np.mean(messages):5.1f}")

    for name, config in (("default", Darap()), ("thesis", THESIS)):

        def episode(problem: Problem, key: jax.Array, config: Darap = config) -> tuple:
            worth = evaluate(problem, dec_grd(problem, key, config)[0])
            return worth.social_welfare, worth.feasible

        run = jax.jit(jax.vmap(episode))
        jax.block_until_ready(run(problems, keys))
        times = []
        for _ in range(5):
            start = time.perf_counter()
            jax.block_until_ready(run(problems, keys))
            times.append(time.perf_counter() - start)
        print(f"{name}: {BATCH / min(times):.0f} episodes a second without faults, {BATCH} at a time")


if __name__ == "__main__":
    main()
