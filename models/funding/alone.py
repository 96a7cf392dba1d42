"""Agencies of `altruism.py` without a centre: each moves one project a round, from the knapsack on, as it has learned.

They see, do and are rewarded as in `agencies.py`, by numbers and from their own last split. One network is all's. They
learn as they go, from nothing and in this world alone; or come with what they learned in others, and learn no more:

    ppo              proximal policy optimisation with a memory, after every ROLLOUT rounds
    dqn              double deep Q-learning, from what is drawn out of all that happened, in every round
    ppo_pretrained   the policy that is shipped (`bayesalloc train altruism --method ppo --preset together`)
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float

from bayesalloc.agents import actors, buffer, dqn, policies, ppo
from bayesalloc.agents.actors import Actor, Lived, look
from bayesalloc.agents.buffer import Buffer
from bayesalloc.agents.dqn import Transition
from bayesalloc.agents.heads import Discrete
from bayesalloc.agents.networks import Dense
from bayesalloc.agents.recurrent import ActorCritic
from bayesalloc.environment import Observation
from bayesalloc.impact.returns import Edges
from bayesalloc.impact.rules import spread_by_room
from bayesalloc.models.altruism import State
from bayesalloc.models.funding.agencies import (
    MOVES,
    SPREAD,
    Memory,
    in_round,
    moved,
    nothing_remembered,
    remembered,
    sight,
    working,
)
from bayesalloc.models.funding.guiding import Guide, believed_impact, uninformed
from bayesalloc.models.funding.learned import Plan
from bayesalloc.models.funding.registry import REGISTRY
from bayesalloc.models.funding.reports import Arrived, Pending
from bayesalloc.models.funding.seeing import Sight, seen
from bayesalloc.models.funding.world import AGENCY, Params
from bayesalloc.simulate import Remembering
from bayesalloc.stepping import Deciding

HORIZON = 50  # rounds over which agencies see time go by; those that were trained before were trained for so many
ROLLOUT = 10
UNITS = 32
UPDATES, BATCH, CAPACITY, TARGET_EVERY = 2, 64, 4096, 50
HEAD = Discrete(MOVES)
ALL = jnp.ones(MOVES, bool)
SEED = jax.random.key(0)  # of the networks before they learn


class Policy(NamedTuple):
    """What can be tuned of `ppo`.

    Attributes:
        learning_rate: of Adam.
        discount: of a reward one round later.
        entropy_weight: of how undecided the policy is, in what it maximises.
        hold: logit of not moving at first; that of each move is 0.
        spread: part of the first split that is in proportion to the room seen.
    """

    learning_rate: ArrayLike
    discount: ArrayLike
    entropy_weight: ArrayLike
    hold: ArrayLike
    spread: ArrayLike


class Values(NamedTuple):
    """What can be tuned of `dqn`.

    Attributes:
        learning_rate: of Adam.
        discount: of a reward one round later.
        explore: part of the moves that are random.
        hold: what not moving is taken to be worth at first, beyond each move; a round's rewards add up to about 1.
        spread: part of the first split that is in proportion to the room seen.
    """

    learning_rate: ArrayLike
    discount: ArrayLike
    explore: ArrayLike
    hold: ArrayLike
    spread: ArrayLike


class Alone(NamedTuple):
    """What agencies remember (see `agencies.Memory`), what was expected of the first split, and their learner."""

    own: Memory
    scale: Float[Array, ""]
    learner: Any


class Learner(NamedTuple):
    """How agencies learn.

    Attributes:
        start: `(arm, number of agencies, features) -> learner`.
        turn: `(arm, learner, values, reward, period, key) -> (actions, learner)`, a round; the reward is of the last.
    """

    start: Callable[[Any, int, int], Any]
    turn: Callable[[Any, Any, Array, Array, Array, Array], tuple[Array, Any]]


def alone(learner: Learner, spread: Callable[[Any], ArrayLike]) -> Remembering:
    """Agencies that learn in some way, as a policy.

    Args:
        learner: the way.
        spread: arm -> part of the first split that is in proportion to the room seen.
    """

    def start(arm: Any, observation: Observation) -> Alone:
        told = seen(observation.values)
        guide, state, params = _told(told, 0)
        own = nothing_remembered(spread_by_room(guide.share, told.room, spread(arm)))
        values = sight(state, own, own.split, guide, params, HORIZON, mean_field=True)
        return Alone(own, believed_impact(guide.share, guide, params.edges), learner.start(arm, *values.shape))

    def act(arm: Any, memory: Alone, observation: Observation, period: Array, key: Array) -> tuple[Array, Alone]:
        told = seen(observation.values)
        guide, state, params = _told(told, period)
        own = memory.own
        come = Arrived(told.reports, told.log_report, told.log_ratio, told.age)
        after = remembered(own, come, own.split, own.bid, guide)
        own = jax.tree.map(lambda new, old: jnp.where(period > 0, new, old), after, own)
        reward = (come.reports * jnp.exp(come.log_report)).reshape(-1, AGENCY).sum(-1) / memory.scale
        values = sight(state, own, own.split, guide, params, HORIZON, mean_field=True)
        action, thought = learner.turn(arm, memory.learner, values, reward, period, key)
        split, bid = moved(own.split, action)
        return working(split, guide.on), Alone(own._replace(split=split, bid=bid), memory.scale, thought)

    return Remembering(start, act)


def _told(told: Sight, period: ArrayLike) -> tuple[Guide, State, Params]:
    """What there is to go by without a centre; the round and the projects, where what is not seen is 0."""
    nothing = jnp.zeros_like(told.room)
    edges = Edges(told.source, told.kind, jnp.ones_like(told.source, bool))
    hidden = {"log_effect": nothing, "room": nothing, "weight": jnp.zeros(told.source.shape), "bias": nothing}
    params = Params(
        **hidden,
        estimate=told.estimate,
        effect_expected=told.effect_expected,
        room_seen=told.room,
        region=told.region,
        edges=edges,
    )
    state = State(
        period=jnp.asarray(period),
        on=told.on > 0.0,
        region_shock=nothing,
        local=nothing,
        local_seen=told.local,
        share=told.share,
        best=nothing,
        pending=Pending(nothing[None], nothing[None], jnp.zeros((1, len(nothing)), jnp.int32)),
    )
    guide = in_round(uninformed(params, 1), 0)
    return guide._replace(on=told.on), state, params


def as_learned(plan: Plan) -> Remembering:
    """Agencies that learned before by proximal policy optimisation, and no more; an arm is their network."""

    def start(actor: Actor, agencies: int, features: int) -> Array:
        return actor.nothing(agencies // actor.groups)

    def turn(
        actor: Actor, memory: Array, values: Array, reward: Array, period: Array, key: Array
    ) -> tuple[Array, Array]:
        mask = jnp.ones((len(values), MOVES), bool)
        return actors.decide(plan.head, actor, memory, Observation(values, mask))

    return alone(Learner(start, turn), lambda actor: SPREAD)


@cache
def pretrained() -> Deciding:
    """The agencies whose policy is shipped: they learned in worlds of their own, each for one episode.

    They were rewarded together: each for itself learns to take money from the others.
    """
    policy = policies.shipped(REGISTRY, "ppo")
    return Deciding(as_learned(policy.plan), policy.network)


class Going(NamedTuple):
    """A network that learns by proximal policy optimisation as it goes.

    Attributes:
        learner: what it has learned.
        recalled: the agencies' memories.
        before: the same at the beginning of the rounds that are not learned from yet.
        lived: those rounds, at places modulo ROLLOUT.
    """

    learner: ppo.Learner
    recalled: Array
    before: Array
    lived: Lived


CONFIG = ppo.Config(steps=ROLLOUT, environments=1, rollout=ROLLOUT, minibatches=1)


def _policy_start(policy: Policy, agencies: int, features: int) -> Going:
    network = actors.untrained(lambda key: ActorCritic(features, HEAD, key, units=UNITS), features, 1, SEED)
    held = network.network.act.biases[-1].at[..., 0].set(policy.hold)
    network = network._replace(network=eqx.tree_at(lambda module: module.act.biases[-1], network.network, held))
    optimiser = jax.vmap(partial(ppo.started, CONFIG))(network.network)
    nothing, axes = network.nothing(agencies), (1, ROLLOUT, agencies)
    zero, no = jnp.zeros(axes), jnp.zeros(axes, bool)
    lived = Lived(
        values=jnp.zeros((*axes, features)),
        mask=jnp.ones((*axes, MOVES), bool),
        fresh=no,
        drawn=jnp.zeros(axes, jnp.int32),
        log_prob=zero,
        value=zero,
        reward=zero,
        next_value=zero,
        terminated=no,
        over=no,
    )
    return Going(ppo.Learner(network, optimiser), nothing, nothing, lived)


def _policy_turn(
    policy: Policy, going: Going, values: Array, reward: Array, period: Array, key: Array
) -> tuple[Array, Going]:
    """A round: the last reward is written down, what was lived through learned from, and a move drawn."""
    for_study, for_move = jax.random.split(key)
    seen, fresh = values[None], jnp.full((1, len(values)), period == 0)
    tuning = CONFIG.tuning._replace(discount=policy.discount, entropy_weight=policy.entropy_weight)
    way = ppo.Way(CONFIG, HEAD, tuning)
    lived = going.lived._replace(reward=going.lived.reward.at[:, (period - 1) % ROLLOUT].set(reward[None]))
    going = going._replace(lived=lived)

    def study(going: Going) -> Going:
        led_to = look(going.learner.actor, going.recalled, seen, fresh)[2]
        ahead = jnp.concatenate([lived.value[:, 1:], led_to[:, None]], 1)
        learner, _ = jax.vmap(partial(ppo.study, way), in_axes=(0, 0, 0, None, 0))(
            going.learner,
            going.before,
            lived._replace(next_value=ahead),
            policy.learning_rate,
            jax.random.split(for_study, 1),
        )
        return going._replace(learner=learner, before=going.recalled)

    due = (period > 0) & (period % ROLLOUT == 0)  # the same for all worlds: only then it is computed
    going = jax.lax.cond(due, study, lambda going: going, going)
    recalled, numbers, value = look(going.learner.actor, going.recalled, seen, fresh)
    mask = jnp.broadcast_to(ALL, numbers.shape)
    drawn = HEAD.sample(for_move, numbers, mask)
    now = {"values": seen, "fresh": fresh, "drawn": drawn, "value": value}
    now["log_prob"] = HEAD.log_prob(numbers, drawn, mask)
    place = period % ROLLOUT
    written = {name: getattr(going.lived, name).at[:, place].set(what) for name, what in now.items()}
    return drawn[0], going._replace(recalled=recalled, lived=going.lived._replace(**written))


class Weighing(NamedTuple):
    """A network that learns by double deep Q-learning as it goes: what it is, and what was seen and done last."""

    network: Dense
    target: Dense
    optimiser: Any
    memory: Buffer
    values: Array
    action: Array


_OPTIMISER = optax.scale_by_adam()


def _values_start(arm: Values, agencies: int, features: int) -> Weighing:
    network = Dense((features, UNITS, UNITS, MOVES), SEED)
    held = jnp.zeros_like(network.weights[-1]), network.biases[-1].at[0].set(arm.hold)
    network = eqx.tree_at(lambda made: (made.weights[-1], made.biases[-1]), network, held)
    seen, zero = jnp.zeros(features), jnp.float32(0)
    memory = buffer.empty(Transition(seen, jnp.int32(0), zero, zero, seen, ALL), CAPACITY)
    last = jnp.zeros((agencies, features)), jnp.zeros(agencies, jnp.int32)
    return Weighing(network, network, _OPTIMISER.init(network), memory, *last)  # pyright: ignore[reportArgumentType]


def _values_turn(
    arm: Values, weighing: Weighing, values: Array, reward: Array, period: Array, key: Array
) -> tuple[Array, Weighing]:
    """A round: the last move is remembered, the network learns, and the best move is made, or sometimes any."""
    agencies = len(values)
    for_sample, for_move = jax.random.split(key)
    discount, mask = jnp.full(agencies, arm.discount), jnp.ones((agencies, MOVES), bool)
    items = Transition(weighing.values, weighing.action, reward, discount, values, mask)
    memory = buffer.add(weighing.memory, items, jnp.full(agencies, period > 0))

    def update(carry: tuple[Dense, Any], key: Array) -> tuple[tuple[Dense, Any], None]:
        network, state = carry
        batch = buffer.sample(memory, key, BATCH)
        slope = jax.grad(lambda made: jnp.square(dqn.differences(made, weighing.target, batch)).mean())(network)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes whole numbers and floats itself
            step, state = _OPTIMISER.update(slope, state)
        return (jax.tree.map(lambda old, new: old - arm.learning_rate * new, network, step), state), None

    def study(carry: tuple[Dense, Any]) -> tuple[Dense, Any]:
        return jax.lax.scan(update, carry, jax.random.split(for_sample, UPDATES))[0]

    learned = weighing.network, weighing.optimiser
    network, state = jax.lax.cond(period >= ROLLOUT, study, lambda carry: carry, learned)
    target = jax.tree.map(lambda new, old: jnp.where(period % TARGET_EVERY == 0, new, old), network, weighing.target)
    action = jax.vmap(dqn.explore, in_axes=(0, 0, 0, None))(
        jax.random.split(for_move, agencies), network(values), mask, jnp.asarray(arm.explore)
    )
    return action, Weighing(network, target, state, memory, values, action)


by_policy = alone(Learner(_policy_start, _policy_turn), lambda arm: arm.spread)
by_values = alone(Learner(_values_start, _values_turn), lambda arm: arm.spread)

# The best of 20 tries drawn at random on 10 worlds of their own, by the mean share of the oracle over 500 rounds. What
# they earn in so few rounds is too noisy to learn from: the best are those that nearly always hold.
RIVALS = {
    "ppo": Deciding(by_policy, Policy(*map(np.float32, (3e-5, 0.319, 0.0287, 6.98, 0.0328)))),
    "dqn": Deciding(by_values, Values(*map(np.float32, (1e-5, 0.973, 0.0233, 0.0354, 0.362)))),
}
