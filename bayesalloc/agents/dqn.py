"""Double deep Q-learning: whole training runs are one jitted function, and vmap over seeds, problems and agents.

Source: van Hasselt, Guez & Silver (2016), Deep reinforcement learning with double Q-learning, AAAI 30:2094.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Num

from bayesalloc.agents import buffer
from bayesalloc.agents.buffer import Buffer
from bayesalloc.agents.copies import opened
from bayesalloc.agents.curves import Series
from bayesalloc.agents.training import Trainer
from bayesalloc.environment import Observation
from bayesalloc.episodes import Episodes, numbered
from bayesalloc.errors import InputError

REFUSED = -1e9  # the value of an action that cannot be taken: finite, since 0 x infinity is not a number
SERIES = (
    Series(
        "return",
        "episode",
        "the sum of an episode's rewards. It is that of the run as it explores, so the policy that comes out of it,"
        " which takes no random actions, does better.",
    ),
    Series(
        "loss",
        "mean",
        "the mean squared difference between what an action was expected to bring and what it brought by the next step"
        " and the expectation there; it need not fall where returns rise.",
    ),
    Series("epsilon", "last", "the part of the actions that are random."),
)


@jax.tree_util.register_static
@dataclass(frozen=True)
class Config:
    """How an agent learns.

    Attributes:
        steps: of the environment, in all its copies together.
        episodes: after which the run is over, if that is sooner; 0: never. Who runs it looks at it.
        environments: copies that are acted in side by side.
        every: steps of each copy between updates of the network.
        updates: of the network, each time.
        batch: transitions in an update.
        capacity: transitions remembered.
        warmup: transitions before the first update.
        discount: of a reward one step later, in [0, 1].
        learning_rate: of the optimiser, > 0.
        optimiser: Adam, or plain stochastic gradient descent.
        weight_decay: added to each weight's step, as a part of it.
        target_every: updates between copies of the network to the one that values the next state.
        explore: part of the actions that are random at first and at last.
        explore_for: part of all steps, or episodes, over which the first turns into the last, linearly.
        explore_decay: instead, the factor by which it falls with every episode; 0: not.
        double: whether the network chooses the next action and the target values it, or the target does both.
        masked: whether the best next action is looked for among those that can be taken. The published variant looks
            among all.
        patience: updates without a lower loss until the learning rate is reduced; 0: never.
        plateau: updates over which that loss is averaged.
        reduction: the factor by which the rate is reduced.
        least_rate: the lowest rate it is reduced to.
    """

    steps: int = 500_000
    episodes: int = 0
    environments: int = 8
    every: int = 1
    updates: int = 1
    batch: int = 128
    capacity: int = 20_000
    warmup: int = 1_000
    discount: float = 0.99
    learning_rate: float = 5e-4
    optimiser: Literal["adam", "sgd"] = "adam"
    weight_decay: float = 0.0
    target_every: int = 200
    explore: tuple[float, float] = (1.0, 0.05)
    explore_for: float = 0.5
    explore_decay: float = 0.0
    double: bool = True
    masked: bool = True
    patience: int = 0
    plateau: int = 100
    reduction: float = 0.75
    least_rate: float = 1e-7

    def __post_init__(self) -> None:
        for name in ("steps", "environments", "every", "updates", "batch", "capacity", "target_every", "plateau"):
            if not 1 <= getattr(self, name) < 2**31:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1, and below {2**31}")
        if not 0 <= self.episodes < 2**31:
            raise InputError(f"episodes is {self.episodes}; it must be at least 1, or 0 for no end by their number")
        if self.capacity < self.environments * self.every:
            raise InputError(f"capacity is {self.capacity}; {self.environments * self.every} steps come at once")
        for name in ("discount", "explore_for", "explore_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name):g}; it must be in [0, 1]")
        if not all(0 <= part <= 1 for part in self.explore) or not self.learning_rate > 0:
            raise InputError("explore must be two numbers in [0, 1], and learning_rate above 0")

    @property
    def iterations(self) -> int:
        """How often the copies act together and the network is updated."""
        return -(-self.steps // (self.environments * self.every))


class Transition(NamedTuple):
    """What one action led to; `discount` is that of the next state's value, 0 where there is none."""

    values: Num[Array, "..."]
    action: Int[Array, "..."]
    reward: Float[Array, "..."]
    discount: Float[Array, "..."]
    next_values: Num[Array, "..."]
    next_mask: Bool[Array, "..."]


Network = Callable[[Array], Array]  # an equinox module: what is seen -> a value per action


class Learner(NamedTuple):
    """A network that learns: itself, the older copy that values next states, and its optimiser's state."""

    network: Any
    target: Any
    optimiser: Any
    updates: Int[Array, ""]


def optimiser(config: Config) -> optax.GradientTransformationExtraArgs:
    """The configured optimiser."""
    parts = [optax.add_decayed_weights(config.weight_decay)] if config.weight_decay else []
    parts.append(optax.adam(config.learning_rate) if config.optimiser == "adam" else optax.sgd(config.learning_rate))
    if config.patience:
        parts.append(
            optax.contrib.reduce_on_plateau(
                config.reduction,
                max(1, config.patience // config.plateau),
                accumulation_size=config.plateau,
                min_scale=config.least_rate / config.learning_rate,
            )
        )
    return optax.with_extra_args_support(optax.chain(*parts))


def start(config: Config, network: Any) -> Learner:
    """A learner that has learned nothing yet."""
    return Learner(network, network, optimiser(config).init(network), jnp.int32(0))


def best(q: Float[Array, "*batch action"], mask: Bool[Array, "*batch action"]) -> Int[Array, "*batch"]:
    """The action of highest value among those that can be taken (ties, and where there is none: the first)."""
    return jnp.argmax(jnp.where(mask, q, REFUSED), axis=-1)


def explore(rng_key: Array, q: Float[Array, " action"], mask: Bool[Array, " action"], epsilon: Num[Array, ""]) -> Array:
    """The best action, or with probability epsilon any that can be taken, all equally likely."""
    luck, which = jax.random.uniform(rng_key, (2,))
    count = jnp.cumsum(mask)
    chance = jnp.argmax(count.astype(float) > which * count[-1].astype(float))
    return jnp.where(luck < epsilon, chance, best(q, mask))


def differences(
    network: Network, target: Network, batch: Transition, *, masked: bool = True, double: bool = True
) -> Float[Array, " item"]:
    """Temporal differences of double Q-learning, r + d Q_target(s', argmax_a Q(s', a)) - Q(s, a), over a batch.

    Args:
        network: it values actions, and chooses the next.
        target: it values the chosen next.
        batch: transitions with a leading axis; d is 0 where no next action can be taken.
        masked: whether the next action is chosen among those that can be taken.
        double: whether the network chooses it; else the target does.
    """
    q = jax.vmap(network)(batch.values)
    taken = jnp.take_along_axis(q, batch.action[:, None], axis=1)[:, 0]
    worths = jax.vmap(target)(batch.next_values)
    ahead = jax.lax.stop_gradient(jax.vmap(network)(batch.next_values)) if double else worths
    then = best(ahead, batch.next_mask if masked else jnp.ones_like(batch.next_mask))
    worth = jnp.take_along_axis(worths, then[:, None], axis=1)[:, 0]
    discount = jnp.where(batch.next_mask.any(-1), batch.discount, 0.0)
    return batch.reward + jax.lax.stop_gradient(discount * worth) - taken


def learn(config: Config, learner: Learner, batch: Transition) -> tuple[Learner, Float[Array, ""]]:
    """One update of the network on a batch; also the loss before it."""

    def loss(network: Any) -> Array:
        error = differences(network, learner.target, batch, masked=config.masked, double=config.double)
        return jnp.square(error).mean()  # Huber's loss would seek medians, and so miss rare ends of episodes

    value, gradient = jax.value_and_grad(loss)(learner.network)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes whole numbers and floats itself
        step, state = optimiser(config).update(gradient, learner.optimiser, learner.network, value=value)
    network = optax.apply_updates(learner.network, step)
    updates = learner.updates + 1
    target = jax.tree.map(
        lambda new, old: jnp.where(updates % config.target_every == 0, new, old), network, learner.target
    )
    return Learner(network, target, state, updates), value


def epsilon(config: Config, iteration: Num[Array, ""], episodes: Num[Array, ""]) -> Array:
    """The part of the actions that are random, after so many iterations and episodes."""
    first, last = config.explore
    if config.explore_decay:
        return jnp.maximum(last, first * config.explore_decay ** episodes.astype(float))
    part = iteration.astype(float) / max(1, config.explore_for * config.iterations)
    if config.episodes:
        part = jnp.maximum(part, episodes.astype(float) / max(1, config.explore_for * config.episodes))
    return first + (last - first) * jnp.minimum(part, 1.0)


def study(config: Config, learner: Learner, memory: Buffer, rng_key: Array) -> tuple[Learner, Float[Array, ""]]:
    """The configured number of updates on what is remembered; none while that is too little. Also the mean loss."""

    def update(learner: Learner, key: Array) -> tuple[Learner, Array]:
        return learn(config, learner, buffer.sample(memory, key, config.batch))

    def updates(learner: Learner) -> tuple[Learner, Array]:
        learner, losses = jax.lax.scan(update, learner, jax.random.split(rng_key, config.updates))
        return learner, losses.mean()

    return jax.lax.cond(
        memory.added >= config.warmup, updates, lambda learner: (learner, jnp.float32(jnp.nan)), learner
    )


class Run(NamedTuple):
    """A training run under way: everything that the rest of it depends on.

    Attributes:
        key: of the whole run; iteration i uses fold_in(key, i).
        iteration: how many are done.
        learner, memory: what has been learned and seen.
        params: of the copies of the environment, with a leading axis.
        state, observation: of each copy.
        episode: return so far of each copy's episode.
        episodes: that have ended.
    """

    key: Array
    iteration: Int[Array, ""]
    learner: Learner
    memory: Any
    params: Any
    state: Any
    observation: Observation
    episode: Float[Array, " copy"]
    episodes: Int[Array, ""]


def trainer(
    config: Config,
    episodes: Episodes,
    network: Callable[[Array], Any],
    params: Any = None,
    *,
    renew: int = 0,
    shown: Sequence[Series] = (),
) -> Trainer:
    """How an agent is trained in episodes of an environment whose actions are its arms, by number.

    Where the mask of actions has an axis of actors, so have the values and the rewards: all learn one network, each
    from what it sees and gets itself. Else one gets the sum of the rewards.

    Args:
        config: how it learns.
        episodes: of the environment.
        network: `key -> module` that turns an observation's values into a value per action.
        params: of the environment; None: every copy has its own, drawn from the prior, or by a function of a key.
        renew: iterations after which the copies draw new parameters and begin new episodes; 0: never.
        shown: fields of the outcome whose mean over copies and steps the curve has too.
    """
    n = config.environments

    def open_up(key: Array) -> tuple[Any, Observation, Any]:
        return opened(episodes, n, params, key)

    def begin(key: Array) -> Run:
        for_network, for_copies, key = jax.random.split(key, 3)
        drawn, observation, state = open_up(for_copies)
        module = network(for_network)
        several = observation.mask.ndim == 3
        values, mask = jax.tree.map(lambda leaf: leaf[0, 0] if several else leaf[0], observation)
        zero = jnp.float32(0)
        item = Transition(values, jnp.int32(0), zero, zero, values, mask)
        memory = buffer.empty(item, config.capacity)
        return Run(
            key, jnp.int32(0), start(config, module), memory, drawn, state, observation, jnp.zeros(n), jnp.int32(0)
        )

    def act(run: Run, chance: Array, key: Array) -> tuple[Run, tuple[Any, ...]]:
        choose, move = jax.random.split(key)
        actors = run.observation.mask.shape[1:-1]  # none where there is one

        def items(leaf: Array) -> Array:
            return leaf.reshape(-1, *leaf.shape[2:]) if actors else leaf

        values = items(run.observation.values)
        q = jax.vmap(run.learner.network)(values)
        action = jax.vmap(explore, in_axes=(0, 0, 0, None))(
            jax.random.split(choose, len(q)), q, items(run.observation.mask), chance
        )
        observation, state, reward, terminated, truncated, info = episodes.step_many(
            jax.random.split(move, n),
            run.state,
            jax.vmap(numbered(episodes.env, actors))(action.reshape(n, *actors)),
            run.params,
        )
        rewards = items(reward) if actors else reward.reshape(n, -1).sum(-1)
        if len(rewards) != len(q):
            shape, name = reward.shape[1:], episodes.env.name
            raise InputError(f"{name} shows something to {actors[0]} actors, but its reward has shape {shape}")
        over, final = terminated | truncated, info["final_observation"]
        discount = jnp.repeat(jnp.where(terminated, 0.0, config.discount), len(q) // n)
        item = Transition(values, action, rewards, discount, items(final.values), items(final.mask))
        seen = {series.name: getattr(info["outcome"], series.name).mean() for series in shown}
        reward = rewards.reshape(n, -1).sum(-1)
        total = run.episode + reward
        run = run._replace(
            state=state,
            observation=observation,
            episode=jnp.where(over, 0.0, total),
            episodes=run.episodes + over.sum(),
        )
        return run, (item, {"ended": over.sum(), "return": jnp.where(over, total, 0.0).sum()}, seen)

    def iteration(run: Run, _: None) -> tuple[Run, dict[str, Array]]:
        key = jax.random.fold_in(run.key, run.iteration)
        if renew:
            now = (run.iteration > 0) & (run.iteration % renew == 0)
            old = run.params, run.observation, run.state
            drawn, observation, state = jax.lax.cond(now, open_up, lambda _: old, jax.random.fold_in(key, 1))
            run = run._replace(
                params=drawn, observation=observation, state=state, episode=jnp.where(now, 0.0, run.episode)
            )
        for_acts, for_study = jax.random.split(key)
        chance = epsilon(config, run.iteration, run.episodes)
        memory, run = run.memory, run._replace(memory=None)  # the loop must not carry it: it might be copied
        run, (items, counts, seen) = jax.lax.scan(
            lambda run, key: act(run, chance, key), run, jax.random.split(for_acts, config.every)
        )
        memory = buffer.add(memory, jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), items))
        learner, loss = study(config, run.learner, memory, for_study)
        run = run._replace(iteration=run.iteration + 1, learner=learner, memory=memory)
        counts = jax.tree.map(jnp.sum, counts) | jax.tree.map(jnp.mean, seen)
        return run, {**counts, "loss": loss, "epsilon": chance}

    def advance(run: Run, iterations: int) -> tuple[Run, dict[str, Array]]:
        return jax.lax.scan(iteration, run, None, length=iterations)

    return Trainer(begin, advance, (*SERIES, *shown))


def make_train(
    config: Config, episodes: Episodes, network: Callable[[Array], Any], params: Any = None, *, renew: int = 0
) -> Callable[[Array], tuple[Run, dict[str, Array]]]:
    """A whole training run as one function of its key, to be jitted and vmapped; arguments as in `trainer`."""
    whole = trainer(config, episodes, network, params, renew=renew)
    return lambda rng_key: whole.advance(whole.begin(rng_key), config.iterations)
