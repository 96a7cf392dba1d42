"""DEC-RL: agents that learn what to offer and what to confirm when they negotiate, each for itself or all alike.

Source: Malek Akhlagh (2024), Adaptive Resource Allocation in Multi-Agent Social Networks, University of Victoria,
algorithms 10, 11, 16 and 17, section 7.4.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from bayesalloc.agents import buffer, dqn
from bayesalloc.agents.dqn import Config, Learner, Transition
from bayesalloc.agents.networks import Dense, Scorer
from bayesalloc.agents.policies import Method
from bayesalloc.agents.training import Course, Trainer
from bayesalloc.allocators.darap import DEFAULT, THESIS, Darap, cautions, with_minds
from bayesalloc.allocators.darap.faults import NO_FAULTS, Faults, Record
from bayesalloc.allocators.darap.minds import Experience, Minds, Seen, features
from bayesalloc.allocators.evaluate import Allocation, evaluate
from bayesalloc.allocators.instances import SWEEP, Setting, arrivals_of_any, check_setting, draw_network, network_of_any
from bayesalloc.allocators.learned.entry import Learned, Negotiation, check_plan
from bayesalloc.allocators.problem import AnyArray, Problem
from bayesalloc.allocators.sizes import NEGOTIATION
from bayesalloc.errors import InputError

PUBLISHED_EPISODES = 20_000
PARCELS = dataclasses.replace(SWEEP, package_size=20)  # moving many items costs no more than moving one
MIXED = dataclasses.replace(
    SWEEP,
    degree=4,
    tasks=(1, 2, 4),
    shuffled_utilities=True,
    alike=False,
    requester_stock=(0, 1, 2, 3),
    provider_stock=(1, 2, 4, 7, 11, 15),
)
FEW = dataclasses.replace(SWEEP, tasks=(1, 2, 3, 4), utilities=(5, 5, 5, 5))
LARGE = dataclasses.replace(
    SWEEP, tasks=(2,), utilities=(9, 16), required=5, requester_stock=(3,), provider_stock=(11,), package_size=3
)
# What our agents learn from.
KINDS = (SWEEP, SWEEP, PARCELS, PARCELS, MIXED, *[dataclasses.replace(MIXED, package_size=20)] * 2, FEW, LARGE)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is learned, on what, and how.

    Attributes:
        preset: the name of the function that made the plan.
        protocol: of the negotiation.
        alike: whether all agents share one network, so that it can be used on another network of agents.
        offering, confirming: whether that is learned; what is not is answered greedily.
        slots: most requests or offers that an agent chooses among in a round.
        layers: units of the hidden layers (of all of them where agents are alike).
        setting: what arrives in an episode.
        kinds: what arrives, if that is more: one of these in each episode, on a network of any of these.
        config: how the networks learn; a step of its is an episode, in which many choices are made.
        margin: how much more than the greedy answer a shared network must promise to be followed (see `Minds`); half
            of that while it learns.
    """

    preset: str
    protocol: Darap
    alike: bool
    offering: bool
    confirming: bool
    slots: int
    layers: tuple[int, ...]
    setting: Setting
    config: Config
    margin: float = 0.0
    kinds: tuple[Setting, ...] = ()

    @property
    def episodes(self) -> int:
        """How many were asked for."""
        return self.config.steps

    @property
    def learned(self) -> tuple[bool, bool]:
        """Whether offering and confirming are."""
        return self.offering, self.confirming

    @property
    def seen(self) -> Seen:
        """How situations become numbers."""
        scale = 10.0 if self.alike else 1.0
        return Seen("shared" if self.alike else "thesis", self.slots, self.protocol.max_quantity, scale)


def thesis(setting: Setting | None = None, episodes: int | None = None) -> Plan:
    """As published: every agent has its own networks, for offers and confirmations, in one network drawn at first.

    Each network is updated once after every episode; how often it was the text does not say. For 8 agents the memories
    take 0.6 GB, and so does a checkpoint.

    Args:
        setting: what arrives; default: all of experiment 7.5.1.
        episodes: how many are played; default: 20,000.
    """
    setting = SWEEP if setting is None else setting
    config = Config(
        steps=PUBLISHED_EPISODES if episodes is None else episodes,
        environments=1,
        batch=32,
        capacity=100_000,
        warmup=32,
        discount=0.95,
        learning_rate=1e-4,
        weight_decay=1e-3,
        optimiser="sgd",
        target_every=200,
        explore=(1.0, 0.1),
        explore_decay=0.99982,
        masked=False,
        patience=500,
        plateau=1,
        reduction=0.75,
        least_rate=1e-8,
    )
    return _plan("thesis", THESIS, setting, config, alike=False, confirming=True, slots=4, layers=(70, 35))


def ours(setting: Setting | None = None, episodes: int | None = None) -> Plan:
    """One network for all agents values what they may offer, on networks drawn anew for every episode.

    It learns what an answer adds to the social welfare of the whole episode, beside the same episode with greedy
    answers: what agents see is local, but what they are rewarded for is common.

    Args:
        setting: what arrives; default: in four of nine episodes all of experiment 7.5.1, at package sizes 1 and 20,
            else tasks and stocks of other kinds.
        episodes: how many are played; default: 120,000.
    """
    setting, kinds = (SWEEP, KINDS) if setting is None else (setting, ())
    config = Config(
        steps=120_000 if episodes is None else episodes,
        environments=16,
        updates=4,
        batch=256,
        capacity=100_000,
        warmup=500,
        discount=0.0,
        learning_rate=1e-3,
        target_every=200,
        patience=800,
        plateau=200,
        least_rate=5e-5,
        explore=(0.2, 0.02),
        explore_for=0.6,
    )
    # Where requests claim only shares of a task's utility, its items come from farther away at four hops.
    far = dataclasses.replace(DEFAULT, max_hops=4, utility_mode="full")
    return _plan(
        "ours", far, setting, config, alike=True, confirming=False, slots=7, layers=(32,), margin=0.2, kinds=kinds
    )


def _plan(preset: str, protocol: Darap, setting: Setting, config: Config, **others: Any) -> Plan:
    check_setting(setting)
    protocol = dataclasses.replace(protocol, tasks_per_agent=max(setting.tasks))
    return Plan(preset, protocol, offering=True, setting=setting, config=config, **others)


PRESETS: dict[str, Callable[[Setting | None, int | None], Plan]] = {"ours": ours, "thesis": thesis}


class Run(NamedTuple):
    """A training run under way: everything that the rest of it depends on.

    Attributes:
        key: of the whole run; iteration i uses fold_in(key, i).
        iteration, episodes: how many are done.
        joined: the network of agents that are not alike.
        learners, memories: of offering and confirming, None where that is not learned; with a leading agent axis where
            each agent has its own.
    """

    key: Array
    iteration: Int[Array, ""]
    episodes: Int[Array, ""]
    joined: Bool[Array, "agent agent"]
    learners: tuple[Learner | None, ...]
    memories: tuple[Any, ...]


Networks = tuple[Any, ...]  # two: of offering and of confirming, None where that is not learned


def network(plan: Plan, rng_key: Array) -> Networks:
    """Untrained networks, with a leading agent axis where agents are not alike."""

    def one(key: Array) -> Any:
        amounts = plan.seen.amounts
        if plan.alike:
            return Scorer(features(amounts), plan.layers[0], key, amounts)
        return Dense((2 + plan.slots * amounts, *plan.layers, plan.slots * amounts), key)

    def part(key: Array) -> Any:
        return one(key) if plan.alike else jax.vmap(one)(jax.random.split(key, plan.setting.agents))

    keys = jax.random.split(rng_key)
    return (part(keys[0]) if plan.offering else None), (part(keys[1]) if plan.confirming else None)


def minds(plan: Plan, networks: Networks, agents: int, key: Array, epsilon: Any = 0.0) -> Minds:
    """Networks as the negotiation uses them; a shared one is every agent's."""

    def of_all(network: Any) -> Any:
        if network is None or not plan.alike:
            return network
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (agents, *leaf.shape)), network)

    offering, confirming = (of_all(network) for network in networks)
    return Minds(plan.seen, offering, confirming, jnp.asarray(epsilon), jnp.asarray(plan.margin), key)


def allocator(plan: Plan, networks: Networks, owned: int | None = None) -> Callable[[Problem, Array], Allocation]:
    """Negotiation with learned answers; nothing is random. There is room for as many tasks of an agent as are owned."""
    return lambda problem, rng_key: negotiation(plan, networks, owned).run(problem, rng_key, NO_FAULTS)[0]


def negotiation(plan: Plan, networks: Networks, owned: int | None = None) -> Negotiation:
    """The same as a negotiation in which things may go wrong."""

    def run(problem: Problem, rng_key: Array, faults: Faults) -> tuple[Allocation, Record]:
        agents = len(problem.resources)
        mine = minds(plan, networks, agents, rng_key)
        if plan.alike:  # such a network takes any number of requests: none may go unanswered where there are more
            mine = mine._replace(seen=plan.seen._replace(slots=max(plan.slots, agents - 1)))
        room = len(problem.owner) if owned is None else max(1, owned)
        protocol = dataclasses.replace(plan.protocol, tasks_per_agent=room)
        return with_minds(problem, rng_key, mine, protocol, faults)[:2]

    return Negotiation(run, plan.protocol.max_hops)


def check(plan: Plan, problem: Problem) -> None:
    """Refuses a problem on which a policy of the plan cannot act: agents that are not alike cannot be others.

    Raises:
        InputError: naming the numbers of agents.
    """
    agents = len(problem.resources)
    if not plan.alike and agents != plan.setting.agents:
        raise InputError(f"this policy was trained by {plan.setting.agents} agents; the problem has {agents}")


def course(plan: Plan) -> Course:
    """The plan's training run."""
    config = plan.config
    return Course(
        trainer=trainer(plan),
        iterations=-(-config.steps // config.environments),
        episodes=config.steps,
        steps=config.environments,
        network=lambda run: tuple(each and each.network for each in run.learners),
        goal="gain in social welfare over greedy answers" if plan.alike else "social welfare",
    )


def trainer(plan: Plan, settings: Sequence[Setting] = (), joined: Bool[Array, "agent agent"] | None = None) -> Trainer:
    """How agents learn to negotiate.

    Args:
        plan: what is learned, and how.
        settings: what arrives, one of them in each episode; default: the plan's.
        joined: the network they stand in; None: where agents are alike every episode has its own, else one is drawn.
    """
    config, setting, n = plan.config, plan.setting, plan.setting.agents

    def episode(networks: Networks, epsilon: Array, here: Array, key: Array) -> tuple[AnyArray, tuple[Any, Any]]:
        for_network, for_arrivals, for_choices, for_talk = jax.random.split(key, 4)
        if plan.alike and joined is None:
            here = network_of_any(plan.kinds or [setting], for_network)
        problem = arrivals_of_any(settings or plan.kinds or [setting], here, for_arrivals)
        mine = minds(plan, networks, n, for_choices, epsilon)
        mine = mine._replace(margin=mine.margin / 2)  # to see more of what else there is
        allocation, _, lessons = with_minds(problem, for_talk, mine, plan.protocol)
        welfare = evaluate(problem, allocation).social_welfare
        if not plan.alike:
            return welfare, lessons
        usual = evaluate(problem, with_minds(problem, for_talk, None, plan.protocol)[0]).social_welfare
        gain = (welfare - usual) / plan.seen.scale

        def credited(lesson: Experience | None) -> Experience | None:
            if lesson is None:
                return None
            same = jnp.full_like(lesson.transitions.reward, gain)
            return lesson._replace(transitions=lesson.transitions._replace(reward=same))

        return welfare - usual, (credited(lessons[0]), credited(lessons[1]))

    def begin(key: Array) -> Run:
        for_networks, for_here, key = jax.random.split(key, 3)
        here = draw_network(setting, for_here) if joined is None else joined
        networks = network(plan, for_networks)
        shapes = jax.eval_shape(episode, networks, jnp.float32(0), here, key)[1]
        start = partial(dqn.start, config) if plan.alike else jax.vmap(partial(dqn.start, config))

        def memory(lessons: Experience | None) -> Any:
            if lessons is None:
                return None
            count = config.environments * (lessons.made.size if plan.alike else len(lessons.made))
            if count > config.capacity:
                raise InputError(f"capacity is {config.capacity}; up to {count} choices come at once in this setting")
            item = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[2:], leaf.dtype), lessons.transitions)
            one = buffer.empty(item, config.capacity)
            return one if plan.alike else jax.tree.map(lambda x: jnp.broadcast_to(x, (n, *x.shape)), one)

        learners = tuple(None if each is None else start(each) for each in networks)
        memories = tuple(memory(part) for part in shapes)
        return Run(key, jnp.int32(0), jnp.int32(0), here, learners, memories)

    def remember(memory: Any, lessons: Experience) -> Any:
        items: Transition = lessons.transitions._replace(discount=lessons.transitions.discount * config.discount)
        if plan.alike:  # (copy, choice, agent) -> one axis
            flat, made = jax.tree.map(lambda x: x.reshape(-1, *x.shape[3:]), (items, lessons.made))
            return buffer.add(memory, flat, made)
        flat, made = jax.tree.map(lambda x: jnp.moveaxis(x.reshape(-1, *x.shape[2:]), 1, 0), (items, lessons.made))
        return jax.vmap(buffer.add)(memory, flat, made)

    def study(learner: Any, memory: Any, key: Array) -> tuple[Any, Array]:
        if plan.alike:
            return dqn.study(config, learner, memory, key)
        learner, loss = jax.vmap(partial(dqn.study, config))(learner, memory, jax.random.split(key, n))
        return learner, jnp.nanmean(loss)

    def iteration(run: Run, _: None) -> tuple[Run, dict[str, Array]]:
        key = jax.random.fold_in(run.key, run.iteration)
        for_episodes, *for_study = jax.random.split(key, 3)
        chance = dqn.epsilon(config, run.iteration, run.episodes)
        networks = tuple(each and each.network for each in run.learners)
        welfare, lessons = jax.vmap(episode, in_axes=(None, None, None, 0))(
            networks, chance, run.joined, jax.random.split(for_episodes, config.environments)
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
        after = Run(run.key, run.iteration + 1, episodes, run.joined, tuple(learners), tuple(memories))
        ended, loss = jnp.int32(config.environments), jnp.stack(losses).mean()
        return after, {"ended": ended, "return": welfare.sum(), "loss": loss, "epsilon": chance}

    def advance(run: Run, iterations: int) -> tuple[Run, dict[str, Array]]:
        return jax.lax.scan(iteration, run, None, length=iterations)

    return Trainer(begin, advance, dqn.SERIES)


def asking(plan: Plan, max_quantity: int) -> Plan:
    """The plan with requests of up to so many items."""
    return dataclasses.replace(plan, protocol=dataclasses.replace(plan.protocol, max_quantity=max_quantity))


ENTRY = Learned(
    method=Method(
        says="agents that have learned what to offer when they negotiate",
        plan=Plan,
        presets=PRESETS,
        course=course,
        network=network,
        check_plan=check_plan,
    ),
    allocator=allocator,
    trainer=trainer,
    colours=("#56B4E9", "#1b4f72"),
    check=check,
    sizes=NEGOTIATION,
    negotiation=negotiation,
    cautions=lambda plan, problem: cautions(problem, plan.protocol),
    asking=asking,
)
