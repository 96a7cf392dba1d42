"""One network for all weights of several objectives, over actions of many factors: double Q-learning of vectors.

Q(s, a, w) is a sum over factors, so that the best action for weights w is each factor's best move by w.Q. Weights are
drawn anew for every episode, evenly from the simplex, so that one run learns the whole front. The envelope maximum
looks for the best next value under other weights too.

Source: Yang, Sun & Narasimhan (2019), A generalized algorithm for multi-objective reinforcement learning and policy
adaptation, NeurIPS 32:14636; Sunehag et al. (2018), Value-decomposition networks, AAMAS 17:2085, for the sum.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from bayesalloc.agents import buffer
from bayesalloc.agents.copies import opened
from bayesalloc.agents.curves import Series
from bayesalloc.agents.pareto.networks import Heads, greedy, together
from bayesalloc.agents.pareto.steps import Step, Transition, added_up
from bayesalloc.agents.training import Trainer
from bayesalloc.environment import Observation
from bayesalloc.episodes import Episodes
from bayesalloc.errors import InputError

SERIES = (
    Series(
        "return",
        "episode",
        "the sum of an episode's rewards in each objective, over episodes with all kinds of weights and with random"
        " moves, so the policy that comes out of it does better by any weights.",
    ),
    Series(
        "loss",
        "mean",
        "the mean squared difference between what an action was expected to bring and what it brought within some steps"
        " and the expectation there, in each objective; it need not fall where returns rise.",
    ),
    Series("epsilon", "last", "the part of the factors' moves that are random."),
)

RISK = Series(
    "risk", "mean", "what was at risk in a step; so many times as `aversion` says it is taken from every objective."
)

LEAST_SQUARE = 1e-8  # a difference that is none has a logarithm too
Risk = Callable[[Any, Any, Any], Array]  # (state before a step, its outcome, about) -> a number, 0 at best


@jax.tree_util.register_static
@dataclass(frozen=True)
class Config:
    """How an agent learns.

    Attributes:
        steps: of the environment, in all its copies together.
        environments: copies that are acted in side by side.
        updates: of the network after each step of all copies.
        batch: transitions in an update.
        capacity: transitions remembered.
        warmup: transitions before the first update.
        discount: of a reward one step later, in [0, 1].
        ahead: steps whose rewards are added up before the network says what is left.
        learning_rate: of Adam at first; it falls to a tenth along a cosine.
        polyak: part of the way that the network which values the next state goes towards the learning one, an update.
        explore: part of the moves that are random at first and at last.
        explore_for: part of all steps over which the first turns into the last, linearly.
        concentration: of the Dirichlet distribution of an episode's weights; 1: evenly over all weights.
        relabelled: part of the remembered transitions that are learned from with weights other than those they were
            made with.
        envelope: other weights whose best next action is tried beside that of a transition's own; 0: none.
        aversion: what is taken from every objective for each unit of risk (lambda of R' = R - lambda CausalRisk).
    """

    steps: int = 400_000
    environments: int = 32
    updates: int = 2
    batch: int = 256
    capacity: int = 100_000
    warmup: int = 2_000
    discount: float = 0.9
    ahead: int = 3
    learning_rate: float = 1e-3
    polyak: float = 0.005
    explore: tuple[float, float] = (1.0, 0.05)
    explore_for: float = 0.3
    concentration: float = 1.0
    relabelled: float = 0.5
    envelope: int = 0
    aversion: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            InputError: naming the field, its value and what is allowed.
        """
        for name in ("steps", "environments", "updates", "batch", "capacity", "ahead"):
            if not 1 <= getattr(self, name) < 2**31:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1, and below {2**31}")
        if self.capacity < self.environments:
            raise InputError(f"capacity is {self.capacity}; {self.environments} steps come at once")
        for name in ("discount", "polyak", "explore_for", "relabelled"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name):g}; it must be in [0, 1]")
        for name in ("warmup", "envelope", "aversion"):
            if not 0 <= getattr(self, name) < 2**31:
                raise InputError(f"{name} is {getattr(self, name):g}; it must be at least 0, and below {2**31}")
        for name in ("learning_rate", "concentration"):
            if not 0 < getattr(self, name) < 2**31:
                raise InputError(f"{name} is {getattr(self, name):g}; it must be above 0")
        if len(self.explore) != 2 or not all(0 <= part <= 1 for part in self.explore):
            raise InputError(f"explore is {list(self.explore)}; it must be two numbers in [0, 1]")

    @property
    def iterations(self) -> int:
        """How often the copies act together and the network is updated."""
        return -(-self.steps // self.environments)


class Run(NamedTuple):
    """A training run under way: everything that the rest of it depends on.

    Attributes:
        key: of the whole run; iteration i uses fold_in(key, i).
        iteration: how many are done.
        network, target, optimiser: what is learned, its slower copy, and the optimiser's state.
        memory: transitions seen.
        recent: the latest steps, from which no transition is made yet.
        params: of the copies of the environment, with a leading axis.
        state, observation, weights: of each copy.
        episode: return so far of each copy's episode, in each objective.
        about: what risk is computed from; None: nothing.
    """

    key: Array
    iteration: Int[Array, ""]
    network: Heads
    target: Heads
    optimiser: Any
    memory: Any
    recent: Step
    params: Any
    state: Any
    observation: Observation
    weights: Float[Array, "copy objective"]
    episode: Float[Array, "copy objective"]
    about: Any = None


def differences(
    network: Heads, target: Heads, batch: Transition, others: Float[Array, "other objective"]
) -> Float[Array, "item objective"]:
    """Temporal differences r + d Q_target(s', a', w') - Q(s, a, w) of vectors, over a batch.

    a' is the best action in s' by w.Q(s', ., w') of the network, for w' = w and each of some others, and of these the
    best pair counts: the envelope maximum.

    Args:
        network: it values actions, and chooses the next.
        target: it values the chosen next.
        batch: transitions with a leading axis.
        others: weights beside each transition's own.
    """
    tried = jnp.concatenate([batch.weights[:, None], jnp.broadcast_to(others, (len(batch.weights), *others.shape))], 1)
    seen = jnp.broadcast_to(batch.next_values[:, None], (*tried.shape[:2], batch.next_values.shape[-1]))
    own = jnp.broadcast_to(batch.weights[:, None], tried.shape)
    ahead = network(seen, tried)
    mask = jnp.broadcast_to(batch.next_mask[:, None], (*tried.shape[:2], batch.next_mask.shape[-1]))
    action = greedy(ahead, own, mask)
    which = jnp.argmax((together(ahead, action) * own).sum(-1), axis=1)[:, None, None]
    action, weights, values = (jnp.take_along_axis(leaf, which, axis=1)[:, 0] for leaf in (action, tried, seen))
    then = batch.reward + batch.discount[:, None] * together(target(values, weights), action)
    return jax.lax.stop_gradient(then) - together(network(batch.values, batch.weights), batch.action)


def optimiser(config: Config) -> optax.GradientTransformation:
    """Adam, whose rate falls to a tenth along a cosine until the run is over."""
    return optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.iterations * config.updates, 0.1))


def epsilon(config: Config, iteration: Int[Array, ""]) -> Array:
    """The part of the moves that are random, after so many iterations."""
    first, last = config.explore
    return first + (last - first) * jnp.minimum(
        iteration.astype(float) / max(1.0, config.explore_for * config.iterations), 1.0
    )


def explored(
    rng_key: Array, action: Int[Array, "copy factor"], mask: Bool[Array, "copy choice"], chance: Array
) -> Int[Array, "copy factor"]:
    """The action, with each factor's move replaced at random by one that it can make."""
    lot, which = jax.random.split(rng_key)
    allowed = mask.reshape(*action.shape, -1)
    anything = jax.random.categorical(which, jnp.where(allowed, 0.0, -jnp.inf))
    swapped = (jax.random.uniform(lot, action.shape) < chance) & allowed.any(-1)
    return jnp.where(swapped, anything, action)


def trainer(
    config: Config,
    episodes: Episodes,
    network: Callable[[Array], Heads],
    params: Any = None,
    *,
    risk: Risk | None = None,
    about: Any = None,
) -> Trainer:
    """How an agent is trained in episodes of an environment with a vector of rewards.

    The environment takes an array of the factors' moves, by number; its mask is that of the first factor's moves, then
    of the next one's.

    Args:
        config: how it learns.
        episodes: of the environment.
        network: `key -> Heads`.
        params: of the environment; None: every copy has its own, drawn from the prior, or by a function of a key.
        risk: what `config.aversion` is averse to, a function of the state before a step, of the step's outcome and of
            `about`; None: nothing.
        about: arrays that risk is computed from; a run keeps them.
    """
    n = config.environments

    def drawn(key: Array, count: int, objectives: int) -> Array:
        return jax.random.dirichlet(key, jnp.full(objectives, config.concentration), (count,))

    def begin(key: Array) -> Run:
        for_network, for_copies, for_weights, key = jax.random.split(key, 4)
        drawn_params, observation, state = opened(episodes, n, params, for_copies)
        module = network(for_network)
        factors, moves, objectives = module.form
        if observation.mask.shape[1:] != (factors * moves,):
            raise InputError(
                f"{episodes.env.name} has a mask of shape {observation.mask.shape[1:]}; {factors} factors with {moves}"
                f" moves each need ({factors * moves},)"
            )
        weights = drawn(for_weights, n, objectives)
        no = jnp.zeros(n, bool)
        step = Step(observation.values, jnp.zeros((n, factors), jnp.int32), weights, weights, *observation, no, no, no)
        item = jax.tree.map(lambda leaf: leaf[0], Transition(*step[:4], weights[:, 0], *observation))
        return Run(
            key,
            jnp.int32(0),
            module,
            module,
            optimiser(config).init(module),  # pyright: ignore[reportArgumentType] equinox modules are pytrees
            buffer.empty(item, config.capacity),
            jax.tree.map(lambda leaf: jnp.zeros((config.ahead - 1, *leaf.shape), leaf.dtype), step),
            drawn_params,
            state,
            observation,
            weights,
            jnp.zeros((n, objectives)),
            about,
        )

    def act(run: Run, chance: Array, key: Array) -> tuple[Run, Step, dict[str, Array]]:
        choose, move, weigh = jax.random.split(key, 3)
        values, mask = run.observation
        action = greedy(run.network(values, run.weights), run.weights, mask)
        action = explored(choose, action, mask, chance)
        observation, state, reward, terminated, truncated, info = episodes.step_many(
            jax.random.split(move, n), run.state, action, run.params
        )
        if reward.shape != run.weights.shape:
            raise InputError(
                f"{episodes.env.name} has a reward of shape {reward.shape[1:]}; the network has"
                f" {run.weights.shape[1]} objectives"
            )
        at_risk = {}
        if risk is not None:
            seen = jax.vmap(risk, in_axes=(0, 0, None))(run.state.inner, info["outcome"], run.about)
            reward, at_risk = reward - config.aversion * seen[:, None], {"risk": seen.mean()}
        over, final = terminated | truncated, info["final_observation"]
        step = Step(values, action, run.weights, reward, final.values, final.mask, terminated, over, jnp.ones(n, bool))
        total = run.episode + reward
        run = run._replace(
            state=state,
            observation=observation,
            weights=jnp.where(over[:, None], drawn(weigh, n, reward.shape[1]), run.weights),
            episode=jnp.where(over[:, None], 0.0, total),
        )
        return run, step, {"ended": over.sum(), "return": jnp.where(over[:, None], total, 0.0).sum(0), **at_risk}

    def update(learned: tuple[Any, Any, Any], key: Array, memory: Any) -> tuple[tuple[Any, Any, Any], Array]:
        network, target, state = learned
        sample, label, which, other = jax.random.split(key, 4)
        batch: Transition = buffer.sample(memory, sample, config.batch)
        count, objectives = batch.weights.shape
        anew = jax.random.uniform(which, (count, 1)) < config.relabelled
        batch = batch._replace(weights=jnp.where(anew, drawn(label, count, objectives), batch.weights))
        others = drawn(other, config.envelope, objectives)

        def loss(network: Any) -> tuple[Array, Array]:
            squares = jnp.square(differences(network, target, batch, others)).mean(0)
            return jnp.log(squares + LEAST_SQUARE).sum(), squares  # so that no objective's scale outweighs another's

        (_, squares), gradient = jax.value_and_grad(loss, has_aux=True)(network)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes whole numbers and floats itself
            step, state = optimiser(config).update(gradient, state, network)
        network = optax.apply_updates(network, step)
        target = jax.tree.map(lambda new, old: old + config.polyak * (new - old), network, target)
        return (network, target, state), squares

    def iteration(run: Run, _: None) -> tuple[Run, dict[str, Array]]:
        for_acts, for_updates = jax.random.split(jax.random.fold_in(run.key, run.iteration))
        chance, memory = epsilon(config, run.iteration), run.memory
        run, step, counts = act(run, chance, for_acts)
        steps = jax.tree.map(lambda old, new: jnp.concatenate([old, new[None]]), run.recent, step)
        made, happened = jax.tree.map(lambda leaf: leaf[0], added_up(steps, config.ahead, config.discount))
        memory = buffer.add(memory, made, happened)

        def updates(learned: Any) -> tuple[Any, Array]:
            keys = jax.random.split(for_updates, config.updates)
            learned, losses = jax.lax.scan(lambda learned, key: update(learned, key, memory), learned, keys)
            return learned, losses.mean(0)

        learned, loss = jax.lax.cond(
            memory.added >= max(1, config.warmup),
            updates,
            lambda learned: (learned, jnp.full(run.weights.shape[1], jnp.nan)),
            (run.network, run.target, run.optimiser),
        )
        run = run._replace(
            iteration=run.iteration + 1,
            network=learned[0],
            target=learned[1],
            optimiser=learned[2],
            memory=memory,
            recent=jax.tree.map(lambda leaf: leaf[1:], steps),
        )
        return run, {**counts, "loss": loss, "epsilon": chance}

    def advance(run: Run, iterations: int) -> tuple[Run, dict[str, Array]]:
        return jax.lax.scan(iteration, run, None, length=iterations)

    return Trainer(begin, advance, SERIES if risk is None else (*SERIES, RISK))


def make_train(
    config: Config,
    episodes: Episodes,
    network: Callable[[Array], Heads],
    params: Any = None,
    *,
    risk: Risk | None = None,
    about: Any = None,
) -> Callable[[Array], tuple[Run, dict[str, Array]]]:
    """A whole training run as one function of its key, to be jitted and vmapped; arguments as in `trainer`."""
    whole = trainer(config, episodes, network, params, risk=risk, about=about)
    return lambda rng_key: whole.advance(whole.begin(rng_key), config.iterations)


def acting(arm: tuple[Heads, Array], observation: Observation, period: Array, rng_key: Array) -> Array:
    """What was learned as a policy of `rollout`, without chance; an arm is a network and weights."""
    network, weights = arm
    return greedy(network(observation.values, weights), weights, observation.mask)
