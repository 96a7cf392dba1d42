"""DEC-RL: agents that learn what to offer and what to confirm when they negotiate, each for itself or all alike.

Source: Malek Akhlagh (2024), Adaptive Resource Allocation in Multi-Agent Social Networks, University of Victoria,
algorithms 10, 11, 16 and 17, section 7.4.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int
from numpyro import handlers

from bayesalloc.agents import dqn, replay as buffers
from bayesalloc.agents.dqn import Config, Curve, Learner, Trainer, Transition
from bayesalloc.agents.networks import Dense, Scorer
from bayesalloc.allocators.darap import DEFAULT, THESIS, Darap, dec_rl
from bayesalloc.allocators.darap.learned import FEATURES, Experience, Minds, Seen
from bayesalloc.allocators.evaluate import Allocation, evaluate
from bayesalloc.allocators.instances import Setting, arrivals, draw_network
from bayesalloc.allocators.problem import Problem

Parts = tuple[bool, bool]  # whether offering and confirming are learned


@dataclasses.dataclass(frozen=True)
class Preset:
    """How agents learn to negotiate.

    Attributes:
        protocol: of the negotiation.
        alike: whether all agents share one network, so that it can be used on another network of agents.
        learned: whether offers and confirmations are learned; what is not is answered greedily.
        config: how the networks learn; a step of its is an episode, in which many choices are made.
        discount: of an agent's next choice in the same round.
        slots: most requests that an agent considers in a round.
        hidden: units in the hidden layers.
        margin: how much better than the greedy answer a shared network's must seem to be preferred.
    """

    protocol: Darap
    alike: bool
    learned: Parts
    config: Config
    slots: int
    hidden: tuple[int, ...]
    margin: float = 0.0

    @property
    def seen(self) -> Seen:
        """How situations become numbers."""
        return Seen("shared" if self.alike else "thesis", self.slots, self.protocol.max_quantity)

    def network(self, rng_key: Array) -> Any:
        """A network that has learned nothing yet."""
        if self.alike:
            assert FEATURES == 8 + 2 * 8
            return Scorer(8 + 2 * self.seen.amounts, self.hidden[0], rng_key, self.seen.amounts)
        actions = self.seen.slots * self.seen.amounts
        return Dense((2 + actions, *self.hidden, actions), rng_key)


PUBLISHED = Preset(
    protocol=THESIS, alike=False, learned=(True, True), slots=4, hidden=(70, 35),
    config=Config(
        steps=20_000, environments=1, updates=1, batch=32, capacity=100_000, warmup=32, discount=0.95,
        learning_rate=1e-3, optimiser="sgd", target_every=200, explore=(1.0, 0.1), explore_decay=0.99982, masked=False,
        patience=500, plateau=1, reduction=0.75, least_rate=1e-7,
    ),
)  # fmt: skip

SHARED = Preset(
    protocol=dataclasses.replace(DEFAULT, max_hops=4, cycles=2), alike=True, learned=(True, False), slots=7,
    hidden=(32,), margin=0.02,
    config=Config(
        steps=20_000, environments=16, updates=4, batch=256, capacity=50_000, warmup=500, discount=0.0,
        learning_rate=1e-3, target_every=200, explore=(0.2, 0.02),
    ),
)  # fmt: skip


class Run(NamedTuple):
    """A training run under way: everything that the rest of it depends on.

    Attributes:
        key: of the whole run; iteration i uses fold_in(key, i).
        iteration, episodes: how many are done.
        learners, memories: of offering and confirming, None where that is not learned; with a leading agent axis where
            each agent has its own.
    """

    key: Array
    iteration: Int[Array, ""]
    episodes: Int[Array, ""]
    learners: tuple[Learner | None, Learner | None]
    memories: tuple[Any, Any]


def minds(
    preset: Preset, networks: tuple[Any, Any], agents: int, key: Array, epsilon: Any = 0.0, margin: Any = None
) -> Minds:
    """Networks as the negotiation uses them; a shared one is every agent's."""

    def of_all(network: Any) -> Any:
        if network is None or not preset.alike:
            return network
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (agents, *leaf.shape)), network)

    margin = preset.margin if margin is None else margin
    return Minds(preset.seen, of_all(networks[0]), of_all(networks[1]), jnp.asarray(epsilon), jnp.asarray(margin), key)


def dec_rl_allocator(
    preset: Preset, networks: tuple[Any, Any], protocol: Darap
) -> Callable[[Problem, Array], Allocation]:
    """Negotiation with learned answers as an allocator among the others."""

    def allocator(problem: Problem, rng_key: Array) -> Allocation:
        all_ = minds(preset, networks, len(problem.resources), rng_key)
        return dec_rl(problem, rng_key, all_, protocol)[0]

    return allocator


def trainer(preset: Preset, setting: Setting, joined: Bool[Array, "agent agent"] | None = None) -> Trainer:
    """How agents learn to negotiate in episodes of one setting.

    Args:
        preset: how they learn.
        setting: what arrives.
        joined: the network they stand in; None: every episode has its own.
    """
    config, n = preset.config, setting.agents
    protocol = dataclasses.replace(preset.protocol, tasks_per_agent=max(setting.tasks))

    def episode(networks: tuple[Any, Any], epsilon: Array, key: Array) -> tuple[Array, tuple[Any, Any]]:
        for_network, for_arrivals, for_choices, for_talk = jax.random.split(key, 4)
        here = draw_network(setting, for_network) if joined is None else joined
        problem: Any = handlers.seed(lambda: arrivals(setting, here), for_arrivals)()
        mine = minds(preset, networks, n, for_choices, epsilon)
        allocation, _, lessons = dec_rl(problem, for_talk, mine, protocol)
        welfare = evaluate(problem, allocation).social_welfare
        if not preset.alike:
            return welfare, lessons
        usual = evaluate(problem, dec_rl(problem, for_talk, None, protocol)[0]).social_welfare
        gain = (welfare - usual) / preset.seen.scale

        def credited(lesson: Experience | None) -> Experience | None:
            return lesson and Experience(
                lesson.transitions._replace(reward=jnp.full_like(lesson.transitions.reward, gain)),
                lesson.made, lesson.strayed,
            )  # fmt: skip

        return welfare - usual, (credited(lessons[0]), credited(lessons[1]))

    def begin(key: Array) -> Run:
        for_networks, key = jax.random.split(key)
        keys = jax.random.split(for_networks, 2)

        def learner(part: int) -> Any:
            if not preset.learned[part]:
                return None
            if preset.alike:
                return dqn.start(config, preset.network(keys[part]))
            return jax.vmap(lambda k: dqn.start(config, preset.network(k)))(jax.random.split(keys[part], n))

        learners = learner(0), learner(1)
        networks = tuple(each and each.network for each in learners)
        shapes = jax.eval_shape(episode, networks, jnp.float32(0), key)[1]

        def memory(lessons: Experience | None) -> Any:
            if lessons is None:
                return None
            item = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[2:], leaf.dtype), lessons.transitions)
            one = buffers.empty(item, config.capacity)
            return one if preset.alike else jax.tree.map(lambda x: jnp.broadcast_to(x, (n, *x.shape)), one)

        return Run(key, jnp.int32(0), jnp.int32(0), learners, tuple(memory(part) for part in shapes))

    def remember(memory: Any, lessons: Experience) -> Any:
        items: Transition = lessons.transitions._replace(discount=lessons.transitions.discount * config.discount)
        if preset.alike:  # (copy, choice, agent) -> one axis
            flat, made = jax.tree.map(lambda x: x.reshape(-1, *x.shape[3:]), (items, lessons.made))
            return buffers.add(memory, flat, made)
        flat, made = jax.tree.map(lambda x: jnp.moveaxis(x.reshape(-1, *x.shape[2:]), 1, 0), (items, lessons.made))
        return jax.vmap(buffers.add)(memory, flat, made)

    def study(learner: Any, memory: Any, key: Array) -> tuple[Any, Array]:
        if preset.alike:
            return dqn.study(config, learner, memory, key)
        learner, loss = jax.vmap(partial(dqn.study, config))(learner, memory, jax.random.split(key, n))
        return learner, jnp.nanmean(loss)

    def iteration(run: Run, _: None) -> tuple[Run, Curve]:
        key = jax.random.fold_in(run.key, run.iteration)
        for_episodes, *for_study = jax.random.split(key, 3)
        chance = dqn.epsilon(config, run.iteration, run.episodes)
        networks = tuple(each and each.network for each in run.learners)
        welfare, lessons = jax.vmap(episode, in_axes=(None, None, 0))(
            networks, chance, jax.random.split(for_episodes, config.environments)
        )
        learners, memories, losses = [], [], []
        for learner, memory, lesson, key in zip(run.learners, run.memories, lessons, for_study, strict=True):
            if lesson is not None:
                memory = remember(memory, lesson)
                learner, loss = study(learner, memory, key)
                losses.append(loss)
            learners.append(learner)
            memories.append(memory)
        episodes = run.episodes + config.environments
        after = Run(run.key, run.iteration + 1, episodes, tuple(learners), tuple(memories))
        loss = jnp.stack(losses).mean()
        return after, Curve(jnp.int32(config.environments), welfare.sum(), loss, chance)

    def advance(run: Run, iterations: int) -> tuple[Run, Curve]:
        return jax.lax.scan(iteration, run, None, length=iterations)

    return Trainer(begin, advance)
