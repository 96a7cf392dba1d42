"""Steps of the master's decision problem, `srap_sequence`, in 1,024 copies against plain NumPy, per second of one core.

    python srap_sequence_numpy.py

Both do the same: random choices among those that can be made, and a new episode (new stocks on the same network of
agents) where one ends; experiment 7.5.1 with 8 agents and 32 tasks. Ours is jitted, `Episodes.step_many` with
its automatic reset. The peer takes one instance at a time, with arrays over its agents and tasks, and does only what is
needed: distances once per network, the ranks of the published rule once per episode, shipments of the task chosen.
First it plays some of our episodes, and must see and be paid the same.

Rules (see `bayesalloc.allocators.sequential.environment`): `thesis` sees utilities, requirements and stocks; `gain`
sees 16 features per agent, for which every agent's task is carried out on trial, and knows what the greedy order would
gain from there.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import clock
import jax
import jax.numpy as jnp
import numpy as np

from bayesalloc.allocators.instances import SWEEP
from bayesalloc.allocators.problem import adjacency
from bayesalloc.allocators.sequential import environment
from bayesalloc.episodes import Episodes

HORIZON = 33


class Choices(NamedTuple):
    """As `Options` in `bayesalloc.allocators.sequential`."""

    task: np.ndarray
    net: np.ndarray
    efficiency: np.ndarray
    possible: np.ndarray
    worth: np.ndarray


class Master:
    """One instance: its tasks' owners are the agents in turn, each with as many."""

    def __init__(self, lengths: np.ndarray, utility: np.ndarray, requires: np.ndarray, cost: tuple[float, int],
                 rule: str) -> None:  # fmt: skip
        self.agents, self.tasks, self.rule = len(lengths), len(utility), rule
        self.utility, self.requires, (self.per_item, self.package) = utility, requires, cost
        self.slots = self.tasks // self.agents
        self.owner = np.repeat(np.arange(self.agents), self.slots)
        self.items = requires.sum(1)
        self.distance = lengths.copy()
        for agent in range(self.agents):
            np.minimum(self.distance, self.distance[:, agent, None] + self.distance[agent], out=self.distance)
        degree = np.isfinite(lengths).sum(1)
        far = np.where(np.eye(self.agents, dtype=bool), -1.0, self.distance)
        self.by_distance = np.stack([np.lexsort((-degree, row)) for row in far])
        self.far, self.degree = far, degree

    def reset(self, stock: np.ndarray) -> None:
        """A new episode with these stocks."""
        self.stock, self.waiting = stock.copy(), np.ones(self.tasks, bool)
        if self.rule == "gain":
            order = [[np.lexsort((-self.degree, -held, row)) for held in stock.T] for row in self.far]
            self.order = np.stack([np.stack(each, axis=1) for each in order])
        else:
            self.order = np.repeat(self.by_distance[:, :, None], stock.shape[1], axis=2)
        near = np.take_along_axis(self.distance[:, :, None], self.order, axis=1)
        self.price = (near * self.per_item)[self.owner]  # of a package from the first, second, ... provider
        self.types = np.arange(stock.shape[1])
        self.scale = max(self.utility.mean(), 1e-6)
        self.stopped, self.over = False, False
        self.rank = self.efficiency(self.net(stock))
        self.choices = self.weigh(stock, self.waiting)
        self.ahead = self.greedy_gain() if self.rule == "gain" else 0.0

    def net(self, stock: np.ndarray) -> np.ndarray:
        """Net value of every task if it were the only one (algorithm 2)."""
        held = stock[self.order, self.types]
        before = (held.cumsum(1) - held)[self.owner]
        given = np.clip(self.requires[:, None] - before, 0, held[self.owner])
        packages = given if self.package == 1 else -(-given // self.package)
        return self.utility - (self.price * packages).sum((1, 2))

    def efficiency(self, net: np.ndarray) -> np.ndarray:
        """Net value per item (definition 8)."""
        return np.where(self.items > 0, net / np.maximum(self.items, 1), np.finfo(np.float32).max)

    def shipment(self, stock: np.ndarray, task: int) -> np.ndarray:
        """What each agent gives to a task."""
        order = self.order[self.owner[task]]
        held = stock[order, self.types]
        given = np.zeros_like(stock)
        given[order, self.types] = np.clip(self.requires[task] - (held.cumsum(0) - held), 0, held)
        return given

    def weigh(self, stock: np.ndarray, waiting: np.ndarray) -> Choices:
        """Every agent's most efficient task that can be carried out."""
        allowed = waiting & (stock.sum(0) >= self.requires).all(1)
        if self.rule == "gain":
            net = self.net(stock)
            allowed &= (net > 0) | (self.items == 0)
            rank, worth = self.efficiency(net), np.where(allowed, np.maximum(net, 0), 0.0)
        else:
            net, rank, worth = None, self.rank, None
        mine = np.where(allowed, rank, -np.inf).reshape(self.agents, self.slots)
        task = mine.argmax(1) + self.slots * np.arange(self.agents)
        there = allowed[task]
        return Choices(task, None if net is None else np.where(there, net[task], 0), rank[task], there, worth)

    def greedy(self, choices: Choices) -> int:
        """The agent of the most efficient task, the later one of two."""
        rank = np.where(choices.possible, choices.efficiency, -np.inf)
        return self.agents - 1 - int(rank[::-1].argmax())

    def greedy_gain(self) -> float:
        """What the greedy order gains from here on."""
        stock, waiting, choices, total = self.stock, self.waiting.copy(), self.choices, 0.0
        while choices.possible.any():
            agent = self.greedy(choices)
            task, total = choices.task[agent], total + choices.net[agent]
            stock = stock - self.shipment(stock, task)
            waiting[task] = False
            choices = self.weigh(stock, waiting)
        return total

    def step(self, agent: int) -> float:
        """Carries out the agent's task, and says what that is worth."""
        gain, before = 0.0, self.ahead
        if agent == self.agents:
            self.stopped = True
        elif self.choices.possible[agent]:
            task = self.choices.task[agent]
            given = self.shipment(self.stock, task)
            packages = given if self.package == 1 else -(-given // self.package)
            gain = self.utility[task] - self.per_item * (self.distance[self.owner[task]] @ packages).sum()
            self.stock -= given
            self.waiting[task] = False
            self.choices = self.weigh(self.stock, self.waiting)
        self.over = self.stopped or not self.choices.possible.any()
        if self.rule == "thesis":
            return gain
        self.ahead = 0.0 if self.stopped else self.greedy_gain()
        return (gain + self.ahead - before) / self.scale

    def observe(self) -> np.ndarray:
        """What the master sees."""
        return self.features() if self.rule == "gain" else self.flat()

    def flat(self) -> np.ndarray:
        """Utilities and requirements of tasks that wait, and stocks."""
        requires = np.where(self.waiting[:, None], self.requires, 0)
        parts = [np.where(self.waiting, self.utility, 0), requires.ravel(), self.stock.ravel()]
        return np.concatenate(parts).astype(np.float32)

    def features(self) -> np.ndarray:
        """What naming each agent would do."""
        choices, n, scale = self.choices, self.agents, self.scale
        seen = np.zeros((n, 16), np.float32)
        if not choices.possible.any():
            return seen
        task, net = choices.task, choices.net
        items = np.maximum(self.items[task], 1)
        per_item = net / items
        best = per_item[choices.possible].max()
        worth = choices.worth > 0
        demand = self.requires[worth].sum(0)
        cover = (self.stock.sum(0) / np.maximum(demand, 1)).min()
        common = min(cover, 2.0), np.log(max(worth.sum(), 1))
        many = worth.reshape(n, self.slots).sum(1) / 4
        greediest = self.greedy(choices)
        for agent in np.flatnonzero(choices.possible):
            chosen, gain = task[agent], net[agent]
            given = self.shipment(self.stock, chosen)
            others = self.waiting.copy()
            others[chosen] = False
            then = self.weigh(self.stock - given, others)
            drop = np.where(others, np.maximum(choices.worth - then.worth, 0), 0)
            seen[agent] = (
                1, gain / scale, 4 * per_item[agent] / scale, (self.utility[chosen] - gain) / scale, items[agent] / 8,
                4 * (per_item[agent] - best) / scale, agent == greediest, drop.sum() / scale, drop.max() / scale,
                drop.sum() / max(gain, 0.1 * scale), then.net.max() / scale,
                (then.net.sum() - net.sum() + gain) / scale, *common, many[agent], given[agent].sum() / items[agent],
            )  # fmt: skip
        return seen

    def mask(self) -> np.ndarray:
        """Which choices can be made."""
        return np.append(self.choices.possible, True) if self.rule == "gain" else self.choices.possible


def ours(episodes: Episodes, copies: int, steps: int, repeats: int) -> dict[str, Any]:
    """All copies side by side."""

    def play(seen: Any, state: Any, key: jax.Array) -> tuple[Any, Any]:
        def step(carry: tuple, key: jax.Array) -> tuple:
            seen, state = carry
            for_choice, for_step = jax.random.split(key)
            wish = jax.random.uniform(for_choice, seen.mask.shape)
            action = jnp.argmax(jnp.where(seen.mask, wish, -1.0), axis=-1)
            keys = jax.random.split(for_step, copies)
            seen, state, reward, *_ = episodes.step_many(keys, state, action, params)
            return (seen, state), reward.sum() + 0 * seen.values.sum()

        return jax.lax.scan(step, (seen, state), jax.random.split(key, steps))

    keys = jax.random.split(jax.random.key(0), copies)
    params = jax.vmap(episodes.sample_params)(keys)
    seen, state = jax.jit(jax.vmap(episodes.reset))(keys, params)
    compiled = []
    _, setup = clock.timed(lambda: compiled.append(jax.jit(play).lower(seen, state, jax.random.key(1)).compile()))
    row = {"who": "bayesalloc", "setup_s": round(setup, 2)}
    return row | clock.rates(
        copies * steps, lambda: jax.block_until_ready(compiled[0](seen, state, jax.random.key(1))), repeats
    )


Begin = Callable[[jax.Array], tuple[Any, Any, Any]]


def beginning(episodes: Episodes) -> Begin:
    """From a key to an episode's parameters, first observation and state."""

    def begin(key: jax.Array) -> tuple[Any, Any, Any]:
        params = episodes.sample_params(key)
        return params, *episodes.reset(key, params)

    return jax.jit(begin)


def instance(begin: Begin, rule: str, seed: int) -> tuple[Any, Any, Any, Master]:
    """One of our episodes, and the same instance for the peer."""
    params, seen, state = begin(jax.random.key(seed))
    problem = state.inner.market.problem
    cost = float(problem.per_item), int(problem.package_size)
    utility, requires = np.asarray(problem.utility, float), np.asarray(problem.requires)
    return params, seen, state, Master(np.asarray(adjacency(problem), float), utility, requires, cost, rule)


def check(episodes: Episodes, rule: str, count: int) -> int:
    """Plays episodes of ours and of the peer with the same choices; how many steps there were."""
    advance, begin = jax.jit(episodes.advance), beginning(episodes)
    rng, steps = np.random.default_rng(0), 0
    for seed in range(count):
        params, seen, state, peer = instance(begin, rule, seed)
        peer.reset(np.asarray(state.inner.stock))
        over = False
        while not over:
            np.testing.assert_array_equal(seen.mask, peer.mask())
            np.testing.assert_allclose(seen.values, peer.observe(), rtol=1e-4, atol=1e-4)
            choice = int(rng.choice(np.flatnonzero(peer.mask())))
            seen, state, reward, terminated, truncated, _ = advance(jax.random.key(0), state, choice, params)
            np.testing.assert_allclose(reward, peer.step(choice), rtol=1e-4, atol=1e-4)
            assert bool(terminated) == peer.over
            over, steps = bool(terminated | truncated), steps + 1
    return steps


def theirs(episodes: Episodes, rule: str, steps: int, repeats: int) -> dict[str, Any]:
    """One instance after the other."""
    rng = np.random.default_rng(0)
    begin = beginning(episodes)
    peers = [instance(begin, rule, seed)[-1] for seed in range(8)]
    low, types = SWEEP.agents // 2, SWEEP.types

    def arrive(peer: Master) -> None:
        stock = np.full((SWEEP.agents, types), SWEEP.requester_stock[0])
        stock[low:] = rng.choice(SWEEP.provider_stock)
        peer.reset(stock)

    def play() -> None:
        for peer in peers:
            arrive(peer)
            period = 0
            for _ in range(steps // len(peers)):
                peer.step(int(rng.choice(np.flatnonzero(peer.mask()))))
                period += 1
                if peer.over or period == HORIZON:
                    arrive(peer)
                    period = 0
                peer.observe()

    return {"who": "NumPy"} | clock.rates(steps, play, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rules", nargs="+", choices=("thesis", "gain"), default=["thesis", "gain"])
    parser.add_argument("--copies", type=int, default=1024)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of steps, for a quick look")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    clock.one_core()
    lengths = {"thesis": (256, 20_000), "gain": (16, 1_000)}  # steps of each copy, and of the peer
    rows = []
    for rule in options.rules:
        episodes = Episodes(environment(SWEEP, rule), HORIZON)
        checked = check(episodes, rule, 20)
        mine, other = (max(8, round(steps * options.scale)) for steps in lengths[rule])
        sides = [ours(episodes, options.copies, mine, options.repeats), theirs(episodes, rule, other, options.repeats)]
        ratio = sides[0]["per_cpu_second"] / sides[1]["per_cpu_second"]
        rows.append({"rule": rule, "copies": options.copies, "steps_checked": checked, "ratio": round(ratio, 1),
                     "sides": sides})  # fmt: skip
        print(f"{rule:<8}{checked:>6} steps alike; ours {sides[0]['per_cpu_second']:>10,.0f}, NumPy "
              f"{sides[1]['per_cpu_second']:>8,.0f} per CPU s: {ratio:.1f}x", file=sys.stderr)  # fmt: skip
    print(json.dumps(rows))
    if options.scale == 1 and len(rows) == 2:
        report = {"command": "python benchmarks/srap_sequence_numpy.py", "rows": rows}
        (Path(__file__).parent / "results" / "srap_sequence_numpy.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
