"""Tabular Pareto Q-learning: of each state and action the set of outcomes that can be attained, none of them dominated.

The mean reward of a state and action stands apart from the set of what may come after it, so that a set is never added
to what was not seen: Q(s, a) = mean reward + discount x future(s, a), future(s, a) = the non-dominated of all Q(s', .).
Nothing is assumed of what was not seen yet: a set without outcomes is empty. So each outcome in a set is that of a path
that there is, if a state and action always lead to the same state. Where they do not, no policy need attain what a set
holds (Vamplew, Foale & Dazeley 2020, arXiv:2004.06277), and the answer is refused.

Source: Van Moffaert & Nowe (2014), Multi-objective reinforcement learning using sets of Pareto dominating policies,
JMLR 15:3663.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from bayesalloc.agents.curves import Series
from bayesalloc.agents.pareto.sets import area, nondominated, packed
from bayesalloc.agents.training import Trainer
from bayesalloc.errors import InputError

SERIES = (
    Series("return", "episode", "the sum of an episode's rewards in each objective, of the run as it explores."),
    Series("overflow", "sum", "outcomes that a set had no room for: above 0 the front may lack some."),
    Series("epsilon", "last", "the part of the actions that are those tried least often."),
)


class Problem(NamedTuple):
    """What is learned about, in numbered states.

    Attributes:
        states, actions, objectives: how many.
        start: the state in which an episode begins.
        step: `(key, state, action) -> (state, reward, terminated)`, the reward in each objective.
        allowed: (state, action), what can be done where; None: everything.
    """

    states: int
    actions: int
    objectives: int
    start: int
    step: Callable[[Array, Array, Array], tuple[Array, Array, Array]]
    allowed: Any = None


@dataclass(frozen=True)
class Config:
    """How it is learned.

    Attributes:
        steps: of the problem.
        horizon: steps after which an episode is cut off.
        room: outcomes in a set, at most; what does not fit is counted.
        discount: of a reward one step later, in [0, 1].
        ahead: steps after which what came is known to those before: 1, or more where the problem is deterministic,
            since only then what once came after an action always can.
        explore: part of the actions that are those tried least often, at first and at last.
        explore_for: part of all steps over which the first turns into the last, linearly.
        choice: the action is that with the largest "area" of outcomes, in two objectives, or with the most outcomes
            that no other action's dominate, "pareto".
        reference: the point from which areas are measured.
        tolerance: by which outcomes may differ and still be one.
        aversion: what is taken from every objective for each unit of risk.
    """

    steps: int = 100_000
    horizon: int = 100
    room: int = 16
    discount: float = 1.0
    ahead: int = 1
    explore: tuple[float, float] = (1.0, 0.1)
    explore_for: float = 0.8
    choice: Literal["pareto", "area"] = "pareto"
    reference: tuple[float, ...] = (0.0, 0.0)
    tolerance: float = 1e-4
    aversion: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            InputError: naming the field, its value and what is allowed.
        """
        for name in ("steps", "horizon", "room", "ahead"):
            if not 1 <= getattr(self, name) < 2**31:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1, and below {2**31}")
        if not 0 <= self.discount <= 1 or not 0 <= self.explore_for <= 1:
            raise InputError(f"discount and explore_for are {self.discount:g} and {self.explore_for:g}; both in [0, 1]")
        if self.choice == "area" and len(self.reference) != 2:
            raise InputError("areas are of two objectives, and reference has two numbers; choose by 'pareto' instead")


class Tables(NamedTuple):
    """What is known of each state and action.

    Attributes:
        reward: the mean so far.
        times: how often it was tried.
        future: outcomes that may come after it, in a place each, and `there`, which places are taken.
        led: the state that it led to first; the number of states where that was the end.
    """

    reward: Float[Array, "state action objective"]
    times: Int[Array, "state action"]
    future: Float[Array, "state action room objective"]
    there: Bool[Array, "state action room"]
    led: Int[Array, "state action"]


class Path(NamedTuple):
    """The latest steps, the last one first.

    Attributes:
        state, action, reward: of each.
        steps: how many of them belong to this episode.
        done: steps of the episode so far, also those that are not among the latest.
        terminated, over: whether the last one was the end of the episode, and whether by the problem itself.
        total: rewards of the episode so far.
    """

    state: Int[Array, " lag"]
    action: Int[Array, " lag"]
    reward: Float[Array, "lag objective"]
    steps: Int[Array, ""]
    done: Int[Array, ""]
    terminated: Bool[Array, ""]
    over: Bool[Array, ""]
    total: Float[Array, " objective"]


class Run(NamedTuple):
    """A run under way.

    Attributes:
        key: of the whole run; step i uses fold_in(key, i).
        step: how many are done.
        state: in which the next one begins.
        path: that led there.
        tables: what was learned.
        overflow: outcomes that had no room so far.
        elsewhere: steps that led to another state than the first time.
        otherwise: steps that were rewarded otherwise than in the mean.
    """

    key: Array
    step: Int[Array, ""]
    state: Int[Array, ""]
    path: Path
    tables: Tables
    overflow: Int[Array, ""]
    elsewhere: Int[Array, ""]
    otherwise: Int[Array, ""]


class Front(NamedTuple):
    """What was found: outcomes from the start, none of them dominated, and how many had no room on the way."""

    points: Float[np.ndarray, "point objective"]
    overflow: int


def trainer(config: Config, problem: Problem, *, risk: Callable[[Array, Array], Array] | None = None) -> Trainer:
    """How it is learned; an iteration is a step.

    Args:
        config: how.
        problem: about what.
        risk: `(state, action) -> number` that `config.aversion` is averse to; None: nothing.
    """
    n, n_states, n_actions = problem.objectives, problem.states, problem.actions
    if config.choice == "area" and n != 2:
        raise InputError(f"areas are of two objectives, and there are {n}; choose by 'pareto' instead")
    given = np.ones((n_states, n_actions), bool) if problem.allowed is None else np.asarray(problem.allowed)
    allowed, end = jnp.asarray(given), jnp.zeros((config.room, n))
    nothing_more = jnp.arange(config.room) == 0

    def begin(key: Array) -> Run:
        pairs = n_states, n_actions
        tables = Tables(
            jnp.zeros((*pairs, n)),
            jnp.zeros(pairs, jnp.int32),
            jnp.zeros((*pairs, config.room, n)),
            jnp.zeros((*pairs, config.room), bool),
            jnp.full(pairs, -1, jnp.int32),
        )
        zero, no, lags = jnp.int32(0), jnp.zeros((), bool), jnp.zeros(config.ahead, jnp.int32)
        path = Path(lags, lags, jnp.zeros((config.ahead, n)), zero, zero, no, no, jnp.zeros(n))
        return Run(key, zero, jnp.int32(problem.start), path, tables, zero, zero, zero)

    def outcomes(tables: Tables, state: Array) -> tuple[Array, Array]:
        """What may come of each action in a state: outcomes in places, and which places count."""
        points = tables.reward[state][:, None] + config.discount * tables.future[state]
        return points, tables.there[state] & allowed[state][:, None]

    def remembered(run: Run, coming: Array, valid: Array) -> tuple[Tables, Array]:
        """The tables when it is known what may come after the last step, and the overflow on the way."""
        tables, path = run.tables, run.path
        coming, valid = jnp.where(path.terminated, end, coming), jnp.where(path.terminated, nothing_more, valid)
        known = (path.steps > 0) & (path.terminated | ~path.over)
        if config.ahead == 1:
            place = jnp.where(known, path.state[0], n_states), path.action[0]
            return tables._replace(
                future=tables.future.at[place].set(coming, mode="drop"),
                there=tables.there.at[place].set(valid, mode="drop"),
            ), jnp.int32(0)

        def earlier(lag: Array, carry: tuple[Tables, Array, Array]) -> tuple[Tables, Array, Array]:
            tables, coming, overflow = carry
            state, action = path.state[lag], path.action[lag]
            points = jnp.concatenate([tables.future[state, action], coming])
            kept = nondominated(points, jnp.concatenate([tables.there[state, action], valid]), config.tolerance)
            future, there, too_many = packed(points, kept, config.room)
            now = known & (lag < path.steps)
            place = jnp.where(now, state, n_states), action
            tables = tables._replace(
                future=tables.future.at[place].set(future, mode="drop"),
                there=tables.there.at[place].set(there, mode="drop"),
            )
            return tables, path.reward[lag] + config.discount * coming, overflow + jnp.where(now, too_many, 0)

        tables, _, overflow = jax.lax.fori_loop(0, config.ahead, earlier, (tables, coming, jnp.int32(0)))
        return tables, overflow

    def one(run: Run, _: None) -> tuple[Run, dict[str, Array]]:
        choose, move = jax.random.split(jax.random.fold_in(run.key, run.step))
        state, first, last = run.state, *config.explore
        chance = first + (last - first) * jnp.minimum(
            run.step.astype(float) / max(1.0, config.explore_for * config.steps), 1.0
        )
        points, valid = outcomes(run.tables, state)
        flat = points.reshape(-1, n), valid.reshape(-1)
        kept = nondominated(*flat, config.tolerance)
        coming, taken, too_many = packed(flat[0], kept, config.room)
        tables, more = remembered(run, coming, taken)

        if config.choice == "area":
            worth = area(points, valid, jnp.asarray(config.reference, jnp.float32))
        else:
            worth = kept.reshape(valid.shape).sum(-1).astype(float)
        lots = jax.random.uniform(choose, (1 + n_actions,))
        worth = jnp.where(lots[0] < chance, -tables.times[state].astype(float), worth)
        worth = jnp.where(allowed[state], worth, -jnp.inf)
        action = jnp.argmax(jnp.where(worth == worth.max(), lots[1:], -1.0))  # of those alike any
        onwards, reward, terminated = problem.step(move, state, action)
        if risk is not None:
            reward = reward - config.aversion * risk(state, action)

        path, fresh = run.path, run.path.over
        place, times = (state, action), tables.times[state, action]
        before, led = tables.reward[place], jnp.where(terminated, n_states, onwards)
        tables = tables._replace(
            reward=tables.reward.at[place].set(before + (reward - before) / (times + 1).astype(float)),
            times=tables.times.at[place].add(1),
            led=tables.led.at[place].set(jnp.where(times == 0, led, tables.led[place])),
        )
        done = jnp.where(fresh, 0, path.done) + 1
        total = jnp.where(fresh, 0.0, path.total) + reward
        over = terminated | (done >= config.horizon)
        path = Path(
            jnp.concatenate([state[None], path.state[:-1]]),
            jnp.concatenate([action[None], path.action[:-1]]),
            jnp.concatenate([reward[None], path.reward[:-1]]),
            jnp.minimum(jnp.where(fresh, 0, path.steps) + 1, config.ahead),
            done,
            terminated,
            over,
            total,
        )
        overflow = too_many + more
        run = Run(
            run.key,
            run.step + 1,
            jnp.where(over, problem.start, onwards).astype(jnp.int32),
            path,
            tables,
            run.overflow + overflow,
            run.elsewhere + ((times > 0) & (tables.led[place] != led)),
            run.otherwise + ((times > 0) & (jnp.abs(reward - before).max() > config.tolerance)),
        )
        ended = {"ended": over.astype(jnp.int32), "return": jnp.where(over, total, 0.0)}
        return run, {**ended, "overflow": overflow, "epsilon": chance}

    def advance(run: Run, iterations: int) -> tuple[Run, dict[str, Array]]:
        return jax.lax.scan(one, run, None, length=iterations)

    return Trainer(begin, advance, SERIES)


def make_train(
    config: Config, problem: Problem, *, risk: Callable[[Array, Array], Array] | None = None
) -> Callable[[Array], Run]:
    """A whole run as one function of its key, to be jitted, and vmapped over many; arguments as in `trainer`."""
    whole = trainer(config, problem, risk=risk)

    def step(_: Any, run: Run) -> Run:
        return whole.advance(run, 1)[0]

    return lambda rng_key: jax.lax.fori_loop(0, config.steps, step, whole.begin(rng_key))


def front(config: Config, problem: Problem, run: Run) -> Front:
    """What a run has found from the start on.

    Raises:
        InputError: where the problem turned out to be one that sets of outcomes say nothing true about.
    """
    if int(run.elsewhere):
        raise InputError(
            f"{int(run.elsewhere)} of {int(run.step)} steps led elsewhere than the same action in the same state had"
            " before: sets of outcomes are for problems without such chance, as no policy need attain what they hold"
        )
    if config.ahead > 1 and int(run.otherwise):
        raise InputError(
            f"{int(run.otherwise)} of {int(run.step)} steps were rewarded otherwise than before, and looking"
            f" {config.ahead} steps ahead is for problems without chance: look 1 step ahead"
        )
    points, valid = _outcomes(config, problem, run.tables, problem.start)
    flat = points.reshape(-1, problem.objectives)
    kept = np.asarray(nondominated(jnp.asarray(flat), jnp.asarray(valid.ravel()), config.tolerance))
    found = flat[kept]
    return Front(found[np.lexsort(found.T[::-1])], int(run.overflow))


def plan(config: Config, problem: Problem, run: Run, point: Float[np.ndarray, " objective"]) -> list[int]:
    """The actions that bring an outcome of the front, by following it from state to state.

    Args:
        config: how it was learned.
        problem: about what.
        run: what was learned.
        point: the outcome that is wanted; the nearest one is taken.
    """
    state, wanted, actions = problem.start, np.asarray(point, float), []
    while state < problem.states and len(actions) < config.horizon:
        points, valid = _outcomes(config, problem, run.tables, state)
        apart = np.where(valid, np.abs(points - wanted).max(-1), np.inf)
        action, place = np.unravel_index(np.argmin(apart), apart.shape)
        actions.append(int(action))
        wanted = np.asarray(run.tables.future[state, action, place], float)
        state = int(run.tables.led[state, action])
    return actions


def _outcomes(config: Config, problem: Problem, tables: Tables, state: int) -> tuple[np.ndarray, np.ndarray]:
    points = np.asarray(tables.reward[state])[:, None] + config.discount * np.asarray(tables.future[state])
    allowed = True if problem.allowed is None else np.asarray(problem.allowed)[state][:, None]
    return points, np.asarray(tables.there[state]) & allowed
