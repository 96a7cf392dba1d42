"""Proximal policy optimisation with a memory: whole training runs are one jitted function, and vmap over seeds.

Sources: Schulman et al. (2017), arXiv:1707.06347; Schulman et al. (2016), High-dimensional continuous control using
generalized advantage estimation, ICLR, arXiv:1506.02438.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from bayesalloc.agents.actors import Actor, Copies, Lived, actors_of, collect, placed, untrained
from bayesalloc.agents.copies import opened
from bayesalloc.agents.curves import Series
from bayesalloc.agents.heads import Head
from bayesalloc.agents.recurrent import ActorCritic
from bayesalloc.agents.training import Trainer
from bayesalloc.episodes import Episodes
from bayesalloc.errors import InputError

SERIES = (
    Series("return", "episode", "the sum of an episode's rewards, all actors' together, as the run explores."),
    Series(
        "value_loss", "mean", "half the mean squared difference between what was expected to come and what then seemed."
    ),
    Series("entropy", "mean", "how undecided the policy is, in nats; it falls as it settles."),
    Series("divergence", "mean", "how far an update moved the policy from the one that acted (Kullback-Leibler)."),
    Series("clipped", "mean", "the part of the choices whose probability had changed by more than the clip."),
)


class Tuning(NamedTuple):
    """The numbers of a `Config` that may differ between runs side by side, each a number or an array."""

    discount: Any
    trace: Any
    clip: Any
    learning_rate: Any
    entropy_weight: Any
    value_weight: Any


@jax.tree_util.register_static
@dataclass(frozen=True)
class Config:
    """How actors learn.

    Attributes:
        steps: of the environment, in all its copies together.
        episodes: after which the run is over, if that is sooner; 0: never. Who runs it looks at it.
        environments: copies that are acted in side by side.
        rollout: steps of each copy between updates; memories are trained through all of them.
        epochs: passes over what was lived through, in each update.
        minibatches: into which a pass is split, by copies.
        shared: whether all actors share one network, or each has one.
        discount: of a reward one step later, in [0, 1].
        trace: lambda of the advantage: 0 trusts the values, 1 what came; in [0, 1].
        clip: by how much a choice's probability may change in an update and still be rewarded; in (0, 1).
        learning_rate: of Adam, > 0.
        annealed: whether it falls to 0 over the run, linearly.
        entropy_weight: of the entropy in what is maximised, >= 0.
        value_weight: of the values' loss in what is minimised, >= 0.
        value_clip: whether values may also change by no more than `clip` in an update.
        largest_gradient: the norm at which the gradient is cut off, > 0.
        scaled: whether what is seen is brought to mean 0 and variance 1.
    """

    steps: int = 1_000_000
    episodes: int = 0
    environments: int = 128
    rollout: int = 50
    epochs: int = 4
    minibatches: int = 4
    shared: bool = True
    discount: float = 0.95
    trace: float = 0.95
    clip: float = 0.2
    learning_rate: float = 3e-4
    annealed: bool = False
    entropy_weight: float = 0.0
    value_weight: float = 0.5
    value_clip: bool = False
    largest_gradient: float = 0.5
    scaled: bool = True

    def __post_init__(self) -> None:
        for name in ("steps", "environments", "rollout", "epochs", "minibatches"):
            if not 1 <= getattr(self, name) < 2**31:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1, and below {2**31}")
        if not 0 <= self.episodes < 2**31:
            raise InputError(f"episodes is {self.episodes}; it must be at least 1, or 0 for no end by their number")
        if self.environments % self.minibatches:
            raise InputError(
                f"minibatches is {self.minibatches}; it must divide the number of environments, {self.environments}"
            )
        for name in ("discount", "trace"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name):g}; it must be in [0, 1]")
        if not 0 < self.clip < 1:
            raise InputError(f"clip is {self.clip:g}; it must be in (0, 1)")
        for name in ("learning_rate", "largest_gradient"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name} is {getattr(self, name):g}; it must be above 0, and finite")
        for name in ("entropy_weight", "value_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"{name} is {getattr(self, name):g}; it must be at least 0, and finite")

    @property
    def iterations(self) -> int:
        """How often the copies act for a while, and the networks are updated."""
        return -(-self.steps // (self.environments * self.rollout))

    @property
    def tuning(self) -> Tuning:
        """The numbers that may differ between runs side by side."""
        return Tuning(*(getattr(self, name) for name in Tuning._fields))


class Learner(NamedTuple):
    """An actor that learns, and its optimiser's state."""

    actor: Actor
    optimiser: Any


class Part(NamedTuple):
    """What an update is made from; as in `Lived`, with `seen` scaled, and what was found to be good.

    Attributes:
        target: what values should have been.
        advantage: of what was done, over what was expected; standardised.
    """

    seen: Array
    mask: Array
    fresh: Array
    drawn: Array
    log_prob: Array
    value: Array
    target: Array
    advantage: Array


class Run(NamedTuple):
    """A training run under way: everything that the rest of it depends on.

    Attributes:
        key: of the whole run; iteration i uses fold_in(key, i).
        iteration: how many are done.
        learner: of each group.
        copies: that are acted in.
    """

    key: Array
    iteration: Int[Array, ""]
    learner: Learner
    copies: Copies


class Task(NamedTuple):
    """What is learned, and how; see `trainer`."""

    config: Config
    episodes: Episodes
    head: Head
    network: Callable[[Array], ActorCritic]
    params: Any
    renew: int
    tuning: Tuning


def advantages(
    reward: Float[Array, "time ..."],
    value: Float[Array, "time ..."],
    next_value: Float[Array, "time ..."],
    terminated: Bool[Array, "time ..."],
    over: Bool[Array, "time ..."],
    discount: Any,
    trace: Any,
) -> Float[Array, "time ..."]:
    """Generalised advantages: A_t = d_t + g l A_{t+1}, d_t = r_t + g V(s'_t) - V(s_t).

    Where an episode was over at t nothing is added from t + 1; where it terminated V(s'_t) is 0 too, while one that was
    truncated goes on being worth what would have come.
    """
    surprise = reward + discount * jnp.where(terminated, 0.0, next_value) - value

    def back(ahead: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        surprise, over = now
        found = surprise + jnp.where(over, 0.0, discount * trace * ahead)
        return found, found

    return jax.lax.scan(back, jnp.zeros_like(reward[0]), (surprise, over), reverse=True)[1]


def begin(task: Task, key: Array) -> Run:
    """The run before its first iteration."""
    for_network, for_copies, key = jax.random.split(key, 3)
    which = task.episodes, task.config.environments, task.params
    seen = jax.eval_shape(partial(opened, *which), for_copies)[1]
    groups = 1 if task.config.shared else actors_of(seen)
    actor = untrained(task.network, seen.values.shape[-1], groups, for_network)
    learner = Learner(actor, jax.vmap(partial(started, task.config))(actor.network))
    return Run(key, jnp.int32(0), learner, placed(*which, actor, for_copies))


def _optimiser(config: Config) -> optax.GradientTransformation:
    """Steps of Adam, to be multiplied by the learning rate."""
    return optax.chain(optax.clip_by_global_norm(config.largest_gradient), optax.scale_by_adam(eps=1e-5))


def started(config: Config, network: Any) -> Any:
    """The optimiser's state before the first update."""
    return _optimiser(config).init(network)


def parts(task: Task, actor: Actor, lived: Lived) -> Part:
    """What a group's updates are made from."""
    known = (lived.reward, lived.value, lived.next_value, lived.terminated, lived.over)
    advantage = advantages(*known, task.tuning.discount, task.tuning.trace)
    standard = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    seen, target = actor.scaling(lived.values), advantage + lived.value
    return Part(seen, lived.mask, lived.fresh, lived.drawn, lived.log_prob, lived.value, target, standard)


def loss(
    task: Task, network: ActorCritic, memory: Array, part: Part
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """What an update reduces: -E min(r A, clip(r, 1 - c, 1 + c) A) + v (V - target)^2 / 2 - e entropy.

    r is how many times more probable the network makes what was done than the one that did it; memories are trained
    through the whole of what was lived through.

    Returns:
        The loss, and what curves show of it; `farthest` is the largest distance of r from 1.
    """
    tuning = task.tuning
    _, numbers, value = network(memory, part.seen, part.fresh)
    log_ratio = task.head.log_prob(numbers, part.drawn, part.mask) - part.log_prob
    ratio = jnp.exp(log_ratio)
    within = jnp.clip(ratio, 1.0 - tuning.clip, 1.0 + tuning.clip)
    gain = jnp.minimum(ratio * part.advantage, within * part.advantage).mean()
    wrong = jnp.square(value - part.target)
    if task.config.value_clip:
        near = part.value + jnp.clip(value - part.value, -tuning.clip, tuning.clip)
        wrong = jnp.maximum(wrong, jnp.square(near - part.target))
    entropy, value_loss = task.head.entropy(numbers, part.mask).mean(), 0.5 * wrong.mean()
    found = {
        "value_loss": value_loss,
        "entropy": entropy,
        "divergence": (ratio - 1.0 - log_ratio).mean(),
        "clipped": (jnp.abs(ratio - 1.0) > tuning.clip).mean(),
        "farthest": jnp.abs(ratio - 1.0).max(),
    }
    return tuning.value_weight * value_loss - gain - tuning.entropy_weight * entropy, found


def study(
    task: Task, learner: Learner, memory: Array, lived: Lived, rate: Any, rng_key: Array
) -> tuple[Learner, dict[str, Float[Array, "epoch minibatch"]]]:
    """A group's updates on what it lived through, and what was found in each; then the moments of what it saw."""
    actor, optimiser = learner.actor, _optimiser(task.config)
    whole = parts(task, actor, lived)

    def minibatch(carry: tuple[Any, Any], rows: Array) -> tuple[tuple[Any, Any], dict[str, Array]]:
        network, state = carry
        part = jax.tree.map(lambda leaf: leaf[:, rows], whole)
        (_, found), slope = jax.value_and_grad(partial(loss, task), has_aux=True)(network, memory[rows], part)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes whole numbers and floats itself
            step, state = optimiser.update(slope, state)
        return (jax.tree.map(lambda old, new: old - rate * new, network, step), state), found

    def epoch(carry: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], dict[str, Array]]:
        rows = jax.random.permutation(key, len(memory)).reshape(task.config.minibatches, -1)
        return jax.lax.scan(minibatch, carry, rows)

    start = actor.network, learner.optimiser
    (network, state), found = jax.lax.scan(epoch, start, jax.random.split(rng_key, task.config.epochs))
    scaling = actor.scaling.after(lived.values) if task.config.scaled else actor.scaling
    return Learner(Actor(network, scaling), state), found


def iteration(task: Task, run: Run) -> tuple[Run, dict[str, Array]]:
    """The copies act for a while, and the networks are updated; also what curves show, and `farthest` of `loss`."""
    config, (actor, _), copies = task.config, run.learner, run.copies
    for_acts, for_study, for_copies = jax.random.split(jax.random.fold_in(run.key, run.iteration), 3)
    if task.renew:
        now = (run.iteration > 0) & (run.iteration % task.renew == 0)
        new = partial(placed, task.episodes, config.environments, task.params, actor)
        copies = jax.lax.cond(now, lambda key: new(key)._replace(ended=copies.ended), lambda _: copies, for_copies)
    memory = copies.memory
    copies, lived, counts = collect(task.episodes, task.head, actor, copies, for_acts, config.rollout)
    left = 1.0 - run.iteration.astype(float) / config.iterations if config.annealed else 1.0
    rate = task.tuning.learning_rate * jnp.maximum(left, 0.0)
    learner, found = jax.vmap(partial(study, task), in_axes=(0, 0, 0, None, 0))(
        run.learner, memory, lived, rate, jax.random.split(for_study, actor.groups)
    )
    shown = {series.name: found[series.name].mean() for series in SERIES if series.name in found}
    return Run(run.key, run.iteration + 1, learner, copies), counts | shown | {"farthest": found["farthest"][:, 0, 0]}


def trainer(
    config: Config,
    episodes: Episodes,
    head: Head,
    network: Callable[[Array], ActorCritic],
    params: Any = None,
    *,
    renew: int = 0,
    tuning: Tuning | None = None,
) -> Trainer:
    """How the actors of an environment are trained in episodes of it.

    Where the observation's values have shape (actor, feature), so have its mask (actor, action) and the rewards
    (actor,); where it is (feature,), one actor gets the sum of the rewards.

    Args:
        config: how they learn.
        episodes: of the environment.
        head: what they do: numbers, that `step` takes as they are, with an axis of actors where there are several; or
            one of its arms, by number.
        network: `key -> module`.
        params: of the environment; None: every copy has its own, drawn from the prior, or by a function of a key.
        renew: iterations after which the copies draw new parameters and begin new episodes; 0: never.
        tuning: in place of the config's numbers; arrays may stand there.
    """
    task = Task(config, episodes, head, network, params, renew, tuning or config.tuning)

    def advance(run: Run, iterations: int) -> tuple[Run, dict[str, Array]]:
        return jax.lax.scan(lambda run, _: iteration(task, run), run, None, length=iterations)

    return Trainer(partial(begin, task), advance, SERIES)


def make_train(
    config: Config,
    episodes: Episodes,
    head: Head,
    network: Callable[[Array], ActorCritic],
    params: Any = None,
    *,
    renew: int = 0,
) -> Callable[..., tuple[Run, dict[str, Array]]]:
    """A whole training run as one function of its key, and of a `Tuning` if wanted, to be jitted and vmapped."""

    def train(rng_key: Array, tuning: Tuning | None = None) -> tuple[Run, dict[str, Array]]:
        whole = trainer(config, episodes, head, network, params, renew=renew, tuning=tuning)
        return whole.advance(whole.begin(rng_key), config.iterations)

    return train
