"""BOMARA in a closed loop: Bayesian optimisation sets budgets and a split, agencies with a memory change them.

In each round the centre proposes a split and hands on what it believes; the agencies move money and bid; what then
happened teaches the centre, and the agencies by their rewards, in which its aggregate impact function is part. Each
world has a network of its own, which all its agencies share and which goes on learning there, where that is wanted.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bayesalloc.agents import ppo
from bayesalloc.agents.actors import Actor, Lived, look, untrained
from bayesalloc.agents.heads import Continuous
from bayesalloc.agents.ppo import Config, Learner, Way
from bayesalloc.agents.recurrent import ActorCritic
from bayesalloc.models.funding import bomara
from bayesalloc.models.funding.agencies import (
    AGENCY,
    Memory,
    from_centre,
    gains,
    nothing_remembered,
    remembered,
    sight,
    split_by,
    working,
)
from bayesalloc.models.funding.bomara import OWN, Believing
from bayesalloc.models.funding.guiding import Guide, believed_impact, handed_on
from bayesalloc.models.funding.reports import arrived
from bayesalloc.models.funding.world import World
from bayesalloc.stepping import Hosted, Standing

HEAD = Continuous(AGENCY + 1, deviation=0.25)  # so that trying costs little: a move is at most a fifth
FEATURES = 12 * AGENCY + 4  # that an agency sees
ONLINE = Config(environments=1, minibatches=1, rollout=20)  # learned from by the ten agencies of one world


class Turn(NamedTuple):
    """What agencies did in a round that is not judged yet; a leading axis of worlds.

    Attributes:
        guide: what they were told.
        split: what they made of it, whether projects were on or off.
        bid: of each agency.
        share: what was given.
        values: seen by each agency.
        drawn: what the head drew.
        log_prob: of it.
        value: of where they were.
    """

    guide: Guide
    split: Array
    bid: Array
    share: Array
    values: Array
    drawn: Array
    log_prob: Array
    value: Array


class Running(NamedTuple):
    """The closed loop's memory between two rounds; every array has a leading axis of worlds.

    Attributes:
        centre: what Bayesian optimisation remembers.
        own: what agencies do.
        recalled: their networks' memories, shape (world, agency, unit).
        before: the same where the rounds began that are not learned from yet.
        learner: the networks.
        scale: the impact that was expected of the centre's first split.
        turn: what was done last; None before the first round.
        lived: rounds that are not learned from yet, but for the values of where they led.
        updates: how often the networks were updated.
    """

    centre: bomara.Memory
    own: Memory
    recalled: Array
    before: Array
    learner: Learner
    scale: Array
    turn: Turn | None = None
    lived: tuple[Lived, ...] = ()
    updates: int = 0


def closed_loop(
    world: World, actor: Actor, *, rounds: int, eta: float, learning: Config | None = None, mean_field: bool = True
) -> Hosted:
    """Bayesian optimisation and agencies as one policy.

    Args:
        world: what the worlds are like; only its sizes and groups are looked at.
        actor: the agencies' network, of one group: all worlds begin with it.
        rounds: as in `agencies`.
        eta: weight of the aggregate impact function in the rewards.
        learning: how the networks go on learning, each in its own world, from `rollout` rounds at a time; None: they
            do not, and agencies do what they find best.
        mean_field: see `agencies`.
    """
    centre = bomara.optimiser(world)
    config = learning or Config()
    way = Way(config, HEAD, config.tuning)
    study = jax.jit(jax.vmap(partial(ppo.study, way), in_axes=(0, 0, 0, None, 0)))

    def seen(inner: Any, own: Memory, guide: Guide, params: Any) -> tuple[Array, Array]:
        base = from_centre(inner, guide, params)
        return sight(inner, own, base, guide, params, rounds, mean_field=mean_field), base

    observed = jax.jit(jax.vmap(seen))

    def start(standing: Standing) -> Running:
        n = len(standing.noise_key)
        everywhere = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[0], (n, *leaf.shape[1:])), actor)
        learner = Learner(everywhere, jax.vmap(partial(ppo.started, config))(everywhere.network))
        nothing = everywhere.nothing(world.n_agencies)
        own = jax.vmap(nothing_remembered)(jnp.zeros((n, world.n_projects)))
        return Running(centre.start(standing), own, nothing, nothing, learner, jnp.ones(n))

    def judged(running: Running, standing: Standing) -> Running:
        """With the last round's reports read, and the rewards of what was done."""
        turn = running.turn
        if turn is None:
            return running
        own, reward = _ended(turn, running.own, standing.state, standing.params, running.scale, jnp.float32(eta))
        if learning is None:
            return running._replace(own=own)
        no = jnp.zeros(reward.shape, bool)
        first = jnp.full(reward.shape, int(standing.period) == 1)
        lived = Lived(
            values=turn.values,
            mask=jnp.ones((*reward.shape, 1), bool),
            fresh=first,
            drawn=turn.drawn,
            log_prob=turn.log_prob,
            value=turn.value,
            reward=reward,
            next_value=turn.value,
            terminated=no,
            over=no,
        )
        return running._replace(own=own, lived=(*running.lived, lived))

    def learned(running: Running, value: Array, keys: Array) -> Running:
        """After an update, where there are enough rounds; `value` is that of where the last one led."""
        if learning is None or len(running.lived) < config.rollout:
            return running
        lived = jax.tree.map(lambda *leaves: jnp.stack(leaves, 1), *running.lived)
        ahead = jnp.concatenate([lived.value[:, 1:], value[:, None]], 1)
        learner, _ = study(
            running.learner, running.before, lived._replace(next_value=ahead), jnp.float32(config.learning_rate), keys
        )
        return running._replace(learner=learner, before=running.recalled, lived=(), updates=running.updates + 1)

    def act(running: Running, standing: Standing) -> tuple[Array, Running]:
        running = judged(running, standing)
        share, thought = centre.act(running.centre, standing)
        now = Believing(
            thought.rounds, standing.params, standing.state.on, share, thought.prior, thought.history, thought.learned
        )
        keys = jax.vmap(lambda key: jax.random.fold_in(jax.random.fold_in(key, OWN - 1), now.round))(standing.noise_key)
        guide = handed_on(now, keys[0])
        if running.turn is None:
            scale = jax.vmap(believed_impact)(guide.share, guide, standing.params.edges)
            running = running._replace(own=jax.vmap(nothing_remembered)(guide.share), scale=scale)
        values, base = observed(standing.state, running.own, guide, standing.params)
        fresh = jnp.zeros(values.shape[:2], bool)
        running = learned(running, _valued(running.learner.actor, running.recalled, values, fresh), keys)
        actors, drawing = running.learner.actor, learning is not None
        recalled, turn = _begun(actors, running.recalled, values, base, guide, keys, drawing=drawing)
        return turn.share, running._replace(centre=thought, recalled=recalled, turn=turn)

    def told(running: Running, happened: Any) -> Running:
        return running._replace(centre=centre.told(running.centre, happened))

    return Hosted(start, act, told)


def online(world: World, *, rounds: int = 500, eta: float = 1.0, learning: Config = ONLINE) -> Hosted:
    """The closed loop of agencies that have learned nothing before; arguments as in `closed_loop`."""
    actor = untrained(lambda key: ActorCritic(FEATURES, HEAD, key), FEATURES, 1, jax.random.key(0))
    return closed_loop(world, actor, rounds=rounds, eta=eta, learning=learning)


@jax.jit
def _valued(actor: Actor, recalled: Array, values: Array, fresh: Array) -> Float[Array, "world agency"]:
    return look(actor, recalled, values, fresh)[2]


@partial(jax.jit, static_argnames="drawing")
def _begun(
    actor: Actor, recalled: Array, values: Array, base: Array, guide: Guide, keys: Array, *, drawing: bool
) -> tuple[Array, Turn]:
    """What agencies do in a round."""
    recalled, numbers, value = look(actor, recalled, values, jnp.zeros(values.shape[:2], bool))
    drawn = jax.vmap(HEAD.sample, (0, 0, None))(keys, numbers, None) if drawing else HEAD.best(numbers, None)
    split, bid = jax.vmap(split_by)(base, HEAD.done(drawn))
    share = jax.vmap(working)(split, guide.on)
    return recalled, Turn(guide, split, bid, share, values, drawn, HEAD.log_prob(numbers, drawn, None), value)


@jax.jit
def _ended(
    turn: Turn, own: Memory, state: Any, params: Any, scale: Array, eta: Array
) -> tuple[Memory, Float[Array, "world agency"]]:
    """What agencies remember when a round's reports have been read, and their rewards."""

    def of_world(turn: Turn, own: Memory, state: Any, params: Any, scale: Array) -> tuple[Memory, Array]:
        come = arrived(state.pending, state.period)
        reported = (come.reports * jnp.exp(come.log_report)).reshape(-1, AGENCY).sum(-1)
        expected = gains(turn.share, turn.guide.share, turn.guide, params)
        return remembered(own, come, turn.split, turn.bid, turn.guide), (reported + eta * expected) / scale

    return jax.vmap(of_world)(turn, own, state, params, scale)
