"""Agencies that learn in worlds of `altruism.py`: what is learned, on what and how, by name.

Those of `bomara` begin from what Bayesian optimisation proposes; its proposals and beliefs in the worlds they are
trained in are recorded once, before training. Those of `ppo` and `dqn` begin from the knapsack, move one project a
round, and hear nothing of any centre.
"""

import dataclasses
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from bayesalloc.agents import actors, dqn, ppo
from bayesalloc.agents.actors import Actor
from bayesalloc.agents.curves import Series
from bayesalloc.agents.heads import Continuous, Discrete, Head
from bayesalloc.agents.networks import Dense, check_layers
from bayesalloc.agents.policies import Method
from bayesalloc.agents.recurrent import ActorCritic
from bayesalloc.agents.training import Course, Trainer
from bayesalloc.environment import Environment
from bayesalloc.episodes import Episodes
from bayesalloc.errors import InputError
from bayesalloc.models.altruism import consortium
from bayesalloc.models.funding.agencies import MOVES, SIZE, Guided, agencies
from bayesalloc.models.funding.guiding import Guide, recorded
from bayesalloc.models.funding.world import Params, World
from bayesalloc.simulate import Remembering

ROUNDS = 50  # of an episode
GOAL = "impact as reported, in units of what was expected of the first split in a round, and what its changes promised"
SHOWN = (Series("share_of_oracle", "mean", "impact over that of one who knows everything but delivery."),)
MOST_WORLDS = 4096


@dataclasses.dataclass(frozen=True)
class Plan:
    """What agencies learn by proximal policy optimisation, on what and how.

    Attributes:
        preset: the name of what made the plan.
        setting: the worlds.
        config: how they learn.
        worlds: in which Bayesian optimisation is recorded, each the world of as many copies; 0: there is no centre, and
            every episode has a world of its own.
        seeded: whether they begin from the centre's split of each round, or from their own last one.
        numbered: whether an action is one move by number, or a bid and a move of each project.
        mean_field: whether they see their neighbours' mean.
        recurrent: whether they remember by a gated unit.
        eta: weight of the centre's aggregate impact function in the rewards, at first and at last.
        together: whether each is rewarded by what all agencies' projects report.
        hold: logit of holding at first, where actions are numbers; that of each move is 0.
        units: of each hidden layer.
        deviation: of actions at first, before they are squashed.
        rounds: of an episode.
    """

    preset: str
    setting: World
    config: ppo.Config
    worlds: int
    seeded: bool = True
    numbered: bool = False
    mean_field: bool = True
    recurrent: bool = True
    eta: tuple[float, float] = (1.0, 0.0)
    together: bool = False
    hold: float = 0.0
    units: int = 64
    deviation: float = 0.5
    rounds: int = ROUNDS

    @property
    def episodes(self) -> int:
        """How many were asked for."""
        return self.config.steps // self.rounds

    @property
    def head(self) -> Head:
        """What an agency's network says."""
        return Discrete(MOVES) if self.numbered else Continuous(SIZE, self.deviation)

    @property
    def environment(self) -> Environment:
        """What they act in."""
        which = {name: getattr(self, name) for name in ("seeded", "numbered", "mean_field", "together")}
        return agencies(self.setting, rounds=self.rounds, **which)


@dataclasses.dataclass(frozen=True)
class ValuePlan:
    """What agencies learn by double deep Q-learning, on what and how; see `Plan`.

    Attributes:
        preset: see there, as all but `layers`.
        setting: see there.
        config: see there.
        layers: units of each hidden layer.
        mean_field: see there.
        rounds: see there.
    """

    preset: str
    setting: World
    config: dqn.Config
    layers: tuple[int, ...] = (64, 64)
    mean_field: bool = True
    rounds: int = ROUNDS

    @property
    def episodes(self) -> int:
        """How many were asked for."""
        return self.config.steps // self.rounds

    @property
    def environment(self) -> Environment:
        """What they act in."""
        return agencies(self.setting, rounds=self.rounds, seeded=False, numbered=True, mean_field=self.mean_field)


def bomara(preset: str, setting: World | None, episodes: int | None, **changes: Any) -> Plan:
    """Agencies that re-split what Bayesian optimisation proposes.

    Args:
        preset: its name.
        setting: the worlds; default: those of `altruism`.
        episodes: how many are played; default: 25,600.
        changes: of the plan.
    """
    config = ppo.Config(steps=ROUNDS * (25_600 if episodes is None else episodes), rollout=ROUNDS, annealed=True)
    return Plan(preset, World() if setting is None else setting, config, **{"worlds": 32, **changes})


VARIANTS: dict[str, dict[str, Any]] = {
    "ours": {},
    "no_gaussian_process": {"eta": (0.0, 0.0)},
    "no_memory": {"recurrent": False},
    "no_mean_field": {"mean_field": False},
    "unseeded": {"seeded": False},
}


def rivals(setting: World | None, episodes: int | None, preset: str = "ours", *, together: bool = False) -> Plan:
    """Agencies that move one project a round, from the knapsack on, and learn that by proximal policy optimisation.

    Args:
        setting: see `bomara`, as the next two.
        episodes: see there.
        preset: see there.
        together: see `Plan`: each for itself learns to take from the others, which makes all of them worse off.
    """
    alone = {"worlds": 0, "seeded": False, "numbered": True, "eta": (0.0, 0.0), "hold": 4.0 if together else 0.0}
    made = bomara(preset, setting, episodes, together=together, **alone)
    changes = {"learning_rate": 1e-3} if together else {"entropy_weight": 0.003}
    return dataclasses.replace(made, config=dataclasses.replace(made.config, **changes))


def value_rivals(setting: World | None, episodes: int | None) -> ValuePlan:
    """The same by double deep Q-learning; 6,400 episodes by default."""
    config = dqn.Config(
        steps=ROUNDS * (6_400 if episodes is None else episodes),
        environments=32,
        batch=256,
        capacity=100_000,
        warmup=5_000,
        discount=0.95,
        learning_rate=3e-4,
        target_every=200,
        explore=(0.5, 0.02),
    )
    return ValuePlan("ours", World() if setting is None else setting, config)


def check_plan(plan: Plan) -> None:
    """Refuses a plan that cannot be.

    Raises:
        InputError: naming what, and what is allowed.
    """
    check_layers([plan.units])
    if not 0 <= plan.worlds <= MOST_WORLDS:
        raise InputError(f"worlds is {plan.worlds}; it must be from 0 to {MOST_WORLDS}")
    if plan.rounds < 1 or not plan.deviation > 0:
        raise InputError("rounds must be at least 1, and deviation above 0")


def check_value_plan(plan: ValuePlan) -> None:
    """The same of the other kind of plan."""
    check_layers(plan.layers)
    if plan.rounds < 1:
        raise InputError(f"rounds is {plan.rounds}; it must be at least 1")


def network(plan: Plan, rng_key: Array) -> Actor:
    """Agencies that have learned nothing: those that begin from a split hold it."""
    groups = 1 if plan.config.shared else plan.setting.n_agencies
    return actors.untrained(_make(plan), _features(plan), groups, rng_key)


def _make(plan: Plan) -> Callable[[Array], ActorCritic]:
    """A new network, which at first holds as probably as the plan says."""

    def make(rng_key: Array) -> ActorCritic:
        made = ActorCritic(_features(plan), plan.head, rng_key, units=plan.units, recurrent=plan.recurrent)
        if not plan.numbered:
            return made
        return eqx.tree_at(lambda it: it.act.biases[-1], made, made.act.biases[-1].at[..., 0].set(plan.hold))

    return make


def value_network(plan: ValuePlan, rng_key: Array) -> Dense:
    """The same of the other kind of plan."""
    return Dense((_features(plan), *plan.layers, MOVES), rng_key)


def _features(plan: Plan | ValuePlan) -> int:
    episodes = Episodes(plan.environment, plan.rounds)
    seen, _ = jax.eval_shape(lambda key: episodes.reset(key, episodes.sample_params(key)), jax.random.key(0))
    return seen.values.shape[-1]


def trainer(plan: Plan) -> Trainer:
    """How they learn: the weight of the aggregate impact function goes from its first value to its last, linearly."""
    episodes, renew = Episodes(plan.environment, plan.rounds), 0 if plan.worlds else 1
    whole = ppo.trainer(plan.config, episodes, plan.head, _make(plan), renew=renew, shown=SHOWN)
    first, last = plan.eta

    def advance(run: ppo.Run, iterations: int) -> tuple[ppo.Run, dict[str, Array]]:
        def one(run: ppo.Run, _: None) -> tuple[ppo.Run, dict[str, Array]]:
            gone = jnp.minimum(run.iteration.astype(float) / plan.config.iterations, 1.0)
            guided: Guided = run.copies.params
            guided = guided._replace(eta=jnp.full_like(guided.eta, first + (last - first) * gone))
            run, curve = whole.advance(run._replace(copies=run.copies._replace(params=guided)), 1)
            return run, jax.tree.map(lambda leaf: leaf[0], curve)

        return jax.lax.scan(one, run, None, length=iterations)

    return Trainer(whole.begin, advance, whole.series)


def furnish(plan: Plan, run: ppo.Run) -> ppo.Run:
    """The run in worlds in which Bayesian optimisation is recorded here."""
    key, env = jax.random.fold_in(run.key, 2**31 - 1), consortium(plan.setting)
    params, guide, _ = recorded(plan.setting, env, key, worlds=plan.worlds, rounds=plan.rounds)
    return furnished(plan, run, params, guide)


def furnished(plan: Plan, run: ppo.Run, params: Params, guide: Guide) -> ppo.Run:
    """The run in worlds in which Bayesian optimisation has been recorded: copies take turns in them."""
    n = plan.config.environments
    which = np.arange(n) % len(params.estimate)
    params, guide = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[which]), (params, guide))
    guided, keys = Guided(params, guide, run.copies.params.eta), jax.random.split(jax.random.fold_in(run.key, 0), n)
    observation, state = jax.jit(jax.vmap(Episodes(plan.environment, plan.rounds).reset))(keys, guided)
    return run._replace(copies=run.copies._replace(params=guided, observation=observation, state=state))


@cache
def course(plan: Plan) -> Course:
    """The plan's training run."""
    return Course(
        trainer=trainer(plan),
        iterations=plan.config.iterations,
        episodes=0,
        steps=plan.config.environments * plan.config.rollout,
        network=lambda run: run.learner.actor,
        goal=GOAL,
        furnish=partial(furnish, plan) if plan.worlds else None,
    )


@cache
def value_course(plan: ValuePlan) -> Course:
    """The same of the other kind of plan."""
    config, episodes = plan.config, Episodes(plan.environment, plan.rounds)
    return Course(
        trainer=dqn.trainer(config, episodes, partial(value_network, plan), renew=plan.rounds, shown=SHOWN),
        iterations=config.iterations,
        episodes=0,
        steps=config.environments * config.every,
        network=lambda run: run.learner.network,
        goal=GOAL,
    )


def acting(plan: Plan) -> Remembering:
    """Learned agencies as a policy in `plan.environment`, without chance; an arm is what they have learned."""
    return Remembering(
        start=lambda actor, observation: actor.nothing(plan.setting.n_agencies // actor.groups),
        act=lambda actor, memory, observation, period, key: actors.decide(plan.head, actor, memory, observation),
    )


def value_acting(plan: ValuePlan) -> Callable[[Dense, Any, Array, Array], Array]:
    """The same of the other kind of plan."""
    return lambda network, observation, period, key: dqn.best(network(observation.values), observation.mask)


def _made(preset: str, changes: dict[str, Any]) -> Callable[[World | None, int | None], Plan]:
    return lambda setting, episodes: bomara(preset, setting, episodes, **changes)


METHODS = {
    "bomara": Method(
        says="agencies that re-split what Bayesian optimisation proposes, by proximal policy optimisation",
        plan=Plan,
        presets={preset: _made(preset, changes) for preset, changes in VARIANTS.items()},
        course=course,
        network=network,
        check_plan=check_plan,
    ),
    "ppo": Method(
        says="agencies that move one project a round, by proximal policy optimisation",
        plan=Plan,
        presets={"ours": rivals, "together": partial(rivals, preset="together", together=True)},
        course=course,
        network=network,
        check_plan=check_plan,
    ),
    "dqn": Method(
        says="agencies that move one project a round, by double deep Q-learning",
        plan=ValuePlan,
        presets={"ours": value_rivals},
        course=value_course,
        network=value_network,
        check_plan=check_value_plan,
    ),
}
