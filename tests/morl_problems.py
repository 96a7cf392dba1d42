"""Problems in several objectives whose fronts are known: in closed form, by construction, or by trying everything."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers

from bayesalloc.agents.pareto.tabular import Problem
from bayesalloc.environment import Observation
from bayesalloc.models.budget import environment
from bayesalloc.models.budgets.world import DEPARTMENTS, PLACE

# Deep-sea-treasure: of each column of the sea the row of the bottom, and what lies there. The concave front is that of
# Vamplew et al. (2011), Empirical evaluation methods for multiobjective reinforcement learning algorithms, Machine
# Learning 84:51; the convex one that of Yang, Sun & Narasimhan (2019), NeurIPS 32:14636.
BOTTOM = (1, 2, 3, 4, 4, 4, 7, 7, 9, 10)
TREASURES = {
    "concave": (1.0, 2.0, 3.0, 5.0, 8.0, 16.0, 24.0, 50.0, 74.0, 124.0),
    "convex": (0.7, 8.2, 11.5, 14.0, 15.1, 16.1, 19.6, 20.3, 22.4, 23.7),
}


class Known(NamedTuple):
    """A problem and its whole front."""

    problem: Problem
    front: np.ndarray


def sorted_rows(points):
    points = np.asarray(points, float)
    return points[np.lexsort(points.T[::-1])]


def tabled(onwards, rewards, terminal, start=0, allowed=None):
    """A deterministic problem from its tables: (state, action) -> state, and -> reward; which states are the end."""
    onwards, rewards, terminal = (
        jnp.asarray(onwards, jnp.int32),
        jnp.asarray(rewards, jnp.float32),
        np.asarray(terminal),
    )
    ends = jnp.asarray(terminal)

    def step(key, state, action):
        there = onwards[state, action]
        return there, rewards[state, action], ends[there]

    return Problem(*onwards.shape, rewards.shape[-1], start, step, allowed)


def deep_sea(kind):
    """A submarine goes up, down, left or right from the top left; objectives are the treasure, and -1 a step."""
    rows, columns, moves = 11, 10, ((-1, 0), (1, 0), (0, -1), (0, 1))
    onwards = np.zeros((rows * columns, 4), int)
    rewards, terminal = np.zeros((rows * columns, 4, 2)), np.zeros(rows * columns, bool)
    rewards[..., 1] = -1.0
    for row, column in itertools.product(range(rows), range(columns)):
        terminal[row * columns + column] = row == BOTTOM[column]
        for action, (down, right) in enumerate(moves):
            there = row + down, column + right
            if not (0 <= there[0] < rows and 0 <= there[1] < columns and there[0] <= BOTTOM[there[1]]):
                there = row, column
            onwards[row * columns + column, action] = there[0] * columns + there[1]
            if there[0] == BOTTOM[there[1]]:
                rewards[row * columns + column, action, 0] = TREASURES[kind][there[1]]
    front = [
        (treasure, -float(row + column))
        for column, (row, treasure) in enumerate(zip(BOTTOM, TREASURES[kind], strict=True))
    ]
    return Known(tabled(onwards, rewards, terminal), sorted_rows(front))


def fruit_tree(depth, seed=0):
    """A binary tree whose leaves bear fruits in six objectives; all lie on a sphere, so none dominates another.

    The form is that of Yang, Sun & Narasimhan (2019); the fruits are drawn here.
    """
    inner, leaves = 2**depth - 1, 2**depth
    fruits = np.abs(np.random.default_rng(seed).normal(size=(leaves, 6)))
    fruits = (10.0 * fruits / np.linalg.norm(fruits, axis=1, keepdims=True)).astype(np.float32)
    children = 2 * np.arange(inner)[:, None] + np.array([1, 2])
    onwards = np.concatenate([children, np.zeros((leaves, 2), int)])
    rewards = np.zeros((inner + leaves, 2, 6))
    bearing = children >= inner
    rewards[:inner][bearing] = fruits[children[bearing] - inner]
    return Known(tabled(onwards, rewards, np.arange(inner + leaves) >= inner), sorted_rows(fruits))


FREE = ("operations", "security", "training")  # the departments of the small organisation; the others hold
CHOICES = np.array([0, 2])  # what each of them does: lower or raise
QUARTERS = 3


def small_organisation():
    """The organisation of 20 departments without chance: in three quarters three of them lower or raise their budgets.

    Its observation is what the three budgets are, in tens of percent, and how many quarters are over.
    """
    free = np.array([DEPARTMENTS.index(name) for name in FREE])
    nothing = {"noise": np.zeros(30, np.float32), "bursts": np.zeros(20, np.float32), "condition_lot": np.float32(0.5)}

    def step(state, action, params):
        moves = jnp.ones(len(DEPARTMENTS), jnp.int32).at[free].set(jnp.asarray(CHOICES, jnp.int32)[action])
        with handlers.substitute(data=nothing):
            return environment.step(state, moves, params)

    def observe(state, params):
        budgets = state.level[np.array([PLACE[name] for name in FREE])] / 10.0
        seen = jnp.concatenate([budgets, state.period[None].astype(jnp.float32)])
        return Observation(seen, jnp.ones(len(FREE) * len(CHOICES), bool))

    return environment._replace(
        name="small_budget", step=step, observe=observe, ended=lambda state, params: state.period >= QUARTERS
    )


def enumerated():
    """The same as a tree of histories, and its front by trying every sequence of actions."""
    env = small_organisation()
    actions = np.array(list(itertools.product(range(len(CHOICES)), repeat=len(FREE))), np.int32)

    @jax.jit
    @jax.vmap
    def of_all(state):
        def of_one(action):
            onwards, quarter = env.step(state, action, ())
            return onwards, env.reward(quarter)

        return jax.vmap(of_one)(actions)

    each, state, rewards = len(actions), jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], env.initial(())), []
    totals = np.zeros((1, 3))
    for _ in range(QUARTERS):
        state, reward = of_all(state)
        rewards.append(np.asarray(reward))
        totals = (totals[:, None] + rewards[-1]).reshape(-1, 3)
        state = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), state)
    inner = sum(each**quarter for quarter in range(QUARTERS))  # what comes after them is one and the same end
    onwards = np.minimum(each * np.arange(inner + 1)[:, None] + 1 + np.arange(each), inner)
    table = np.concatenate([*rewards, np.zeros((1, each, 3))])
    return Known(tabled(onwards, table, np.arange(inner + 1) == inner), sorted_rows(by_definition(totals)))


def by_definition(points):
    """The points that none dominates, one by one."""
    return np.array([p for p in points if not ((points >= p).all(1) & (points > p).any(1)).any()])
