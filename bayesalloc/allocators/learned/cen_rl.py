"""CEN-RL: a master that has learned whose task is carried out next, as published and as a correction of CEN-GRD+.

Source: Malek Akhlagh (2024), Adaptive Resource Allocation in Multi-Agent Social Networks, University of Victoria,
algorithms 3 and 4, section 7.4.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from bayesalloc.agents import dqn
from bayesalloc.agents.networks import Dense, Scorer
from bayesalloc.agents.policies import Method
from bayesalloc.agents.training import Course, Trainer
from bayesalloc.allocators.evaluate import Allocation, Table
from bayesalloc.allocators.instances import SWEEP, Setting, check_setting
from bayesalloc.allocators.learned.entry import Learned, check_plan
from bayesalloc.allocators.problem import Problem
from bayesalloc.allocators.sequential import (
    FEATURES,
    Params,
    Progress,
    Rule,
    environment,
    features,
    flat,
    greedy,
    in_sequence,
)
from bayesalloc.allocators.sizes import Sizes
from bayesalloc.episodes import Episodes
from bayesalloc.errors import InputError

MARGIN = 0.12  # mean utilities by which a choice must be better than the greedy one to be preferred
PUBLISHED_EPISODES = 20_000
PUBLISHED_PATIENCE = 500  # episodes without a lower loss until the learning rate is reduced

VARIED = dataclasses.replace(
    SWEEP,
    types=8,
    tasks=(1, 2, 3, 4),
    utilities=(4, 5, 9, 16, 25),
    shuffled_utilities=True,
    provider_stock=(3, 5, 7, 9, 11, 13, 15),
)
BULKY = dataclasses.replace(VARIED, required=5, requester_stock=(1, 3), used=2)
KINDS = (
    *(dataclasses.replace(VARIED, used=used) for used in (2, 4, 6, 8)),
    *(dataclasses.replace(BULKY, package_size=size) for size in (1, 2, 4, 5)),
)  # what our master learns from: networks, tasks, types, utilities, stocks and packages of all kinds


@dataclass(frozen=True)
class Plan:
    """What is learned, on what, and how.

    Attributes:
        preset: the name of the function that made the plan.
        rule: of the decision problem (see `sequential.environment`), which also says what network there is.
        layers: units of the hidden layers (`thesis`), or of all of them (`gain`).
        setting: what arrives in an episode.
        kinds: what arrives, if that is more: one of these in each episode.
        config: how it is learned.
        renew: iterations after which the networks are drawn anew; 0: never.
        margin: mean utilities by which a choice must be better than the greedy one to be preferred (`gain`).
    """

    preset: str
    rule: Rule
    layers: tuple[int, ...]
    setting: Setting
    config: dqn.Config
    renew: int = 0
    margin: float = MARGIN
    kinds: tuple[Setting, ...] = ()

    @property
    def episodes(self) -> int | None:
        """How many were asked for; None: as many as the steps allow."""
        return self.config.episodes or None


def thesis(setting: Setting | None = None, episodes: int | None = None) -> Plan:
    """As published: what the master sees are the numbers of all tasks and stocks, on one network drawn at first.

    The learning rate falls after 500 episodes without a lower loss; the plan counts in updates, of which there is one
    for each step, and as an episode's length it takes the mean number of tasks, which is the most that can be carried
    out. The loss is averaged over as many. Rate and decay of the weights are those of the author's code, which made the
    figures; with the rate in the text, 1e-3, the values grow beyond all bounds.

    Args:
        setting: what arrives; default: all of experiment 7.5.1.
        episodes: how many are played; default: 20,000.
    """
    setting = SWEEP if setting is None else setting
    check_setting(setting)
    episodes = PUBLISHED_EPISODES if episodes is None else episodes
    length = max(1, round(setting.agents * float(np.mean(setting.tasks))))
    config = dqn.Config(
        steps=max(1, episodes) * _longest(setting),
        episodes=episodes,
        environments=1,
        batch=32,
        capacity=100_000,
        warmup=1_000,
        discount=0.95,
        learning_rate=1e-4,
        weight_decay=1e-3,
        optimiser="sgd",
        target_every=200,
        explore=(1.0, 0.1),
        explore_decay=0.99982,
        masked=False,
        patience=PUBLISHED_PATIENCE * length,
        plateau=length,
        reduction=0.75,
        least_rate=1e-8,
    )
    return Plan("thesis", "thesis", (100, 50, 25), setting, config)


def ours(setting: Setting | None = None, episodes: int | None = None) -> Plan:
    """What naming each agent would do is seen, whatever their number, and the greedy order is corrected.

    Args:
        setting: what arrives; default: networks, tasks, utilities and stocks of all kinds.
        episodes: how many are played; default: as many as the steps allow.
    """
    setting, kinds = (VARIED, KINDS) if setting is None else (setting, ())
    check_setting(setting)
    config = dqn.Config(
        steps=1_000_000,
        environments=32,
        every=4,
        updates=2,
        batch=128,
        capacity=50_000,
        warmup=2_000,
        learning_rate=1e-3,
        target_every=500,
        discount=1.0,
        explore=(0.3, 0.05),
        explore_for=0.5,
    )
    if episodes is not None:  # and half as many again: renewed networks end some before their time
        steps = -(-3 * max(1, episodes) * _longest(setting) // 2)
        config = dataclasses.replace(config, steps=steps, episodes=episodes)
    return Plan("ours", "gain", (32,), setting, config, renew=50, kinds=kinds)


PRESETS: dict[str, Callable[[Setting | None, int | None], Plan]] = {"ours": ours, "thesis": thesis}


def network(plan: Plan, rng_key: Array) -> Dense | Scorer:
    """An untrained network of the plan's kind and size."""
    if plan.rule == "gain":
        return Scorer(FEATURES, plan.layers[0], rng_key)
    agents, tasks, types = _sizes(plan.setting)
    return Dense((tasks + tasks * types + agents * types, *plan.layers, agents), rng_key)


def trainer(plan: Plan, settings: Sequence[Setting] = (), joined: Array | None = None) -> Trainer:
    """How the plan's master learns.

    Args:
        plan: what is learned, and how.
        settings: what arrives, one of them in each episode; default: the plan's.
        joined: the network, shape (agent, agent); None: drawn, as the plan says.
    """
    episodes = Episodes(environment(settings or plan.kinds or plan.setting, plan.rule), _longest(plan.setting))
    params = None if joined is None else Params(joined)
    return dqn.trainer(plan.config, episodes, lambda key: network(plan, key), params, renew=plan.renew)


def course(plan: Plan) -> Course:
    """The plan's training run."""
    config = plan.config
    return Course(
        trainer=trainer(plan),
        iterations=config.iterations,
        episodes=config.episodes,
        steps=config.environments * config.every,
        network=lambda run: run.learner.network,
        goal="gain over the greedy order, in mean utilities" if plan.rule == "gain" else "social welfare",
    )


def cen_rl(network: Callable[[Array], Array], rule: Rule, margin: float = MARGIN) -> Callable[..., Allocation]:
    """The allocator of a network; nothing is random.

    By the rule `thesis` it names the agent of the highest value. By `gain` it does what has the highest value, naming
    an agent or stopping, where that is more than the margin above the value of what the greedy order would do, and
    follows the greedy order elsewhere.

    Args:
        network: values of the actions, from what the rule shows.
        rule: of the decision problem it was trained on.
        margin: mean utilities.

    Returns:
        `(problem, rng_key) -> Allocation`.

    >>> from bayesalloc.allocators import evaluate, make_problem
    >>> line = make_problem([[0, 1]], [1.0], [[0], [2]], [0], [9.0], [[2]])
    >>> like_greedy = cen_rl(lambda seen: jnp.zeros(len(seen) + 1), "gain")
    >>> float(evaluate(line, like_greedy(line)).social_welfare)
    7.0
    """

    def choose(now: Progress) -> Array:
        possible = now.options.possible
        if rule == "thesis":
            return dqn.best(network(flat(now)), possible)
        q = network(features(now))
        first, highest = greedy(now.options), dqn.best(q, jnp.append(possible, True))
        return jnp.where(q[highest] > q[first] + margin, highest, first)

    return lambda problem, rng_key=None: in_sequence(problem, choose, rule)


def check(plan: Plan, problem: Problem) -> None:
    """Refuses a problem on which a policy of the plan cannot act: the published one is made for one size.

    Raises:
        InputError: naming the sizes.
    """
    if plan.rule == "gain":
        return
    agents, tasks, types = _sizes(plan.setting)
    found, of_each = problem.resources.shape, np.bincount(np.asarray(problem.owner)[np.asarray(problem.real)])
    if found != (agents, types) or of_each.max(initial=0) > tasks // agents:
        raise InputError(
            f"this policy was trained on {agents} agents with up to {tasks // agents} tasks each and {types} types; the"
            f" problem has {found[0]} agents with up to {of_each.max(initial=0)} tasks and {found[1]} types"
        )


def allocator(plan: Plan, network: Any, owned: int | None = None) -> Callable[..., Allocation]:
    """The allocator of a trained network.

    The published network has fixed places for each agent's tasks: they are filled in the tasks' order, and a task too
    many is not carried out (`check` says so beforehand). How many are `owned` makes no difference.
    """
    policy = cen_rl(network, plan.rule, plan.margin)
    if plan.rule == "gain":
        return policy
    agents, places, types = _sizes(plan.setting)
    each = places // agents

    def allocate(problem: Problem, rng_key: Array | None = None) -> Allocation:
        if problem.resources.shape != (agents, types):
            check(plan, problem)
        owner, real = problem.owner, problem.real
        earlier = (owner[:, None] == owner) & real & (jnp.arange(len(owner)) < jnp.arange(len(owner))[:, None])
        place = jnp.where(real & (earlier.sum(1) < each), owner * each + earlier.sum(1), places)

        def placed(of_task: Array, fill: Any) -> Array:
            return jnp.full((places, *of_task.shape[1:]), fill, of_task.dtype).at[place].set(of_task, mode="drop")

        full = problem._replace(
            owner=jnp.repeat(jnp.arange(agents), each),
            utility=placed(problem.utility, 0),
            requires=placed(problem.requires, 1),
            real=placed(real, 0),
        )
        found = policy(full, rng_key)
        assert isinstance(found, Table)
        return found._replace(
            quantity=found.quantity.at[place].get(mode="fill", fill_value=0), distance=found.distance[owner * each]
        )

    return allocate


def _longest(setting: Setting) -> int:
    """Steps of the longest episode: every task is carried out, and then nothing is possible or the master stops."""
    return setting.agents * max(setting.tasks) + 1


def _sizes(setting: Setting) -> tuple[int, int, int]:
    """Agents, places for tasks, and types."""
    return setting.agents, setting.agents * max(setting.tasks), setting.types


ENTRY = Learned(
    method=Method(
        says="a master that has learned whose task is carried out next",
        plan=Plan,
        presets=PRESETS,
        course=course,
        network=network,
        check_plan=check_plan,
    ),
    allocator=allocator,
    trainer=trainer,
    colours=("#CC79A7", "#7b3a63"),
    check=check,
    sizes=Sizes(by_agents=2),  # it looks at what naming each of them would leave
)
