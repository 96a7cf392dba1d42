"""Offices that learn to share out the budget of `budget.py`: what is learned, on what and how, by name.

One network learns for all weights of the three objectives at once; what it then does is asked for by weights.
"""

import dataclasses
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayesalloc.agents.hypervolume import hypervolume
from bayesalloc.agents.networks import check_layers
from bayesalloc.agents.pareto import bounds, conditioned
from bayesalloc.agents.pareto.networks import Heads
from bayesalloc.agents.policies import Judged, Method
from bayesalloc.agents.training import Course
from bayesalloc.discovery.risk import Risk
from bayesalloc.environment import Environment
from bayesalloc.episodes import Episodes
from bayesalloc.errors import InputError
from bayesalloc.models.budget import OBJECTIVES, World, organisation
from bayesalloc.models.budgets import causal_risk
from bayesalloc.models.budgets.causal_risk import Averse
from bayesalloc.models.budgets.ceiling import QUARTERS, REFERENCE, by_the_quarter, lattice
from bayesalloc.models.budgets.decisions import MOVES
from bayesalloc.models.budgets.world import DEPARTMENTS, TABLE

SEEN = len(TABLE) + 2  # levels, the reserve and the room
JUDGED = 70  # quarters of an episode by which values are judged: what comes after counts less than a thousandth
LEAST_UPDATES = 5_000  # of the network in a run, however few its steps
GOAL = f"efficiency, risk and performance, added up over {QUARTERS} quarters"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What an office learns, on what and how.

    Attributes:
        preset: the name of what made the plan.
        setting: the organisation.
        config: how it learns.
        layers: units of each hidden layer.
        averse: whose books say what is at risk, of which `config.aversion` is lambda; None: nothing is.
    """

    preset: str
    setting: World
    config: conditioned.Config
    layers: tuple[int, ...] = (128, 128)
    averse: Averse | None = None

    @property
    def episodes(self) -> int:
        """How many were asked for."""
        return self.config.steps // QUARTERS

    @property
    def environment(self) -> Environment:
        """What it acts in."""
        return organisation(self.setting)


def pareto(setting: World | None, episodes: int | None) -> Plan:
    """An office that learns for all weights; 20,000 episodes by default."""
    count = 20_000 if episodes is None else episodes
    usual = conditioned.Config()
    config = dataclasses.replace(usual, steps=QUARTERS * count, environments=min(usual.environments, count))
    updates = max(config.updates, -(-LEAST_UPDATES // config.iterations))
    config = dataclasses.replace(config, updates=updates, warmup=min(config.warmup, config.steps // 10))
    return Plan("ours", World() if setting is None else setting, config)


def check_plan(plan: Plan) -> None:
    """Refuses a plan that cannot be.

    Raises:
        InputError: naming what, and what is allowed.
    """
    check_layers(plan.layers)


def network(plan: Plan, rng_key: Array) -> Heads:
    """An office that has learned nothing."""
    return Heads(SEEN, len(DEPARTMENTS), len(MOVES), len(OBJECTIVES), plan.layers, rng_key)


def course(plan: Plan, risk: Risk | None = None) -> Course:
    """The plan's training run.

    Args:
        plan: what, on what and how.
        risk: what is at risk where the plan is averse to it; a run that goes on has it already.
    """
    return _course(plan)._replace(furnish=partial(_at_risk, risk)) if plan.averse else _course(plan)


def _at_risk(risk: Risk | None, run: conditioned.Run) -> conditioned.Run:
    if risk is None:
        raise InputError("this plan is averse to a risk that its books tell: give them")
    return run._replace(about=risk)


@cache
def _course(plan: Plan) -> Course:
    config, episodes = plan.config, Episodes(plan.environment, QUARTERS)
    risk, about = (causal_risk.of_quarter, plan.averse.empty) if plan.averse else (None, None)
    return Course(
        trainer=conditioned.trainer(config, episodes, partial(network, plan), (), risk=risk, about=about),
        iterations=config.iterations,
        episodes=0,
        steps=config.environments,
        network=lambda run: run.network,
        goal=GOAL,
    )


def averse(plan: Plan, books: Path, knowledge: Path, price: float | None) -> tuple[Plan, Course]:
    """A plan, and its run, that takes lambda x CausalRisk from each objective.

    Args:
        plan: what is learned otherwise.
        books: a CSV file, as `bayesalloc budget` takes it.
        knowledge: a TOML file, likewise.
        price: lambda; None: as the plan has it if it is averse, else 1.
    """
    usual = plan.config.aversion if plan.averse else 1.0
    config = dataclasses.replace(plan.config, aversion=usual if price is None else price)
    of, risk = causal_risk.read_risk(books, knowledge)
    plan = dataclasses.replace(plan, config=config, averse=of)
    return plan, course(plan, risk)


METHODS = {
    "pareto": Method(
        says="one network for all weights of the objectives, by double Q-learning of vectors over departments' moves",
        plan=Plan,
        presets={"ours": pareto},
        course=course,
        network=network,
        check_plan=check_plan,
        judged=lambda plan, policy, rng_key: judged(plan, policy, rng_key),
    ),
}


def front(
    env: Environment,
    policy: Heads,
    rng_key: Array,
    *,
    parts: int = 6,
    replicates: int = 2_000,
) -> tuple[Float[np.ndarray, "weight objective"], Float[np.ndarray, "weight objective"]]:
    """What a learned office brings by the quarter for a lattice of weights, on common random numbers.

    Args:
        env: the organisation.
        policy: what was learned.
        rng_key: of the quarters of chance.
        parts: weights are the multiples of 1 / parts.
        replicates: courses of chance.

    Returns:
        The weights, and mean rewards over the first `QUARTERS` quarters; some may be dominated by others.
    """
    weights = lattice(parts)
    each = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(weights), *leaf.shape)), policy)

    arms = each, jnp.asarray(weights, jnp.float32)
    return weights, by_the_quarter(env, conditioned.acting, arms, rng_key, replicates)


def judged(plan: Plan, policy: Heads, rng_key: Array, *, episodes: int = 200, replicates: int = 500) -> Judged:
    """What a learned office brings for all weights, and how far off its own values are of what it brings.

    Args:
        plan: what it learned.
        policy: what was learned.
        rng_key: of the quarters of chance.
        episodes: by which its values are judged, for equal weights, each of `JUDGED` quarters.
        replicates: courses of chance for each of the weights.
    """
    for_front, for_values = jax.random.split(rng_key)
    weights, points = front(plan.environment, policy, for_front, replicates=replicates)
    volume = hypervolume(points, REFERENCE)
    equal, rng = jnp.full(len(OBJECTIVES), 1.0 / len(OBJECTIVES)), np.random.default_rng(0)
    rewards, values = bounds.played(Episodes(plan.environment, JUDGED), policy, equal, for_values, episodes, JUDGED)
    found = bounds.n_step_bounds(np.asarray(rewards)[None], np.asarray(values)[None], plan.config.discount, rng)
    returns = [
        [
            str(n),
            *(f"{mean:.2f} [{low:.2f}, {high:.2f}], {bound:.2f}" for mean, low, high, bound in zip(*of_n, strict=True)),
        ]
        for n, *of_n in zip(found.ahead, found.mean, found.low, found.high, found.bound, strict=True)
    ]
    ranges = ", ".join(
        f"{low:.2f} to {high:.2f} of {name}"
        for name, low, high in zip(OBJECTIVES, points.min(0), points.max(0), strict=True)
    )
    ends = {name: np.round(np.asarray(getattr(found, name)), 4).tolist() for name in found._fields}
    return Judged(
        [
            f"By the quarter, as the weights are, it brings {ranges}; together that dominates a volume of {volume:,.0f}"
            f" above {', '.join(f'{each:g}' for each in REFERENCE)}.",
        ],
        {
            f"What {len(weights)} weights bring by the quarter, means over {QUARTERS}": [
                ["weights", *OBJECTIVES],
                *(
                    [", ".join(f"{each:.2f}" for each in weight), *(f"{each:.2f}" for each in point)]
                    for weight, point in zip(weights, points, strict=True)
                ),
            ],
            "Return at the start for equal weights by n steps and the network's value then: mean, 89 % interval, and by"
            " how much the value's error can have moved it": [["n", *OBJECTIVES], *returns],
        },
        {
            "objectives": [*OBJECTIVES],
            "hypervolume": round(volume, 1),
            "front": [
                {"weights": weight.round(4).tolist(), "rewards": point.round(4).tolist()}
                for weight, point in zip(weights, points, strict=True)
            ],
            "n_step_returns": ends,
        },
    )
