"""What a price of causal risk takes of harm and of reward where an office learns, and the effect of switching it on."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import scipy.stats
from jaxtyping import Array, Float

from bayesalloc import defaults
from bayesalloc.agents.hypervolume import hypervolume
from bayesalloc.agents.pareto import conditioned
from bayesalloc.agents.pareto.networks import Heads
from bayesalloc.agents.training import SideBySide
from bayesalloc.discovery.risk import Risk
from bayesalloc.effects import Arm, compare
from bayesalloc.environment import stack
from bayesalloc.episodes import Episodes
from bayesalloc.models.budget import OBJECTIVES, Quarter, environment
from bayesalloc.models.budgets import causal_risk
from bayesalloc.models.budgets.ceiling import QUARTERS, REFERENCE
from bayesalloc.models.budgets.decisions import decide
from bayesalloc.models.budgets.experiments.agents import FOUR, GRID
from bayesalloc.models.budgets.experiments.world import OFFICE, books_of
from bayesalloc.models.budgets.learned import network, pareto
from bayesalloc.models.budgets.world import DEPARTMENTS, PLACE, PROTECTED, covariance, effects
from bayesalloc.simulate import hold, rollout
from bayesalloc.stepping import Deciding

TITLE = "Causal risk in the learning"
TERMS = {
    "side effects": "what the office's rule, and not chance, does to the four protected variables: mean levels less"
    " those when the plan is held, in the direction that harms, in standard deviations, added up.",
    "causal risk": "of what is done in a quarter, by true effects, with tolerance 0, in standard deviations. It counts"
    " a cut that the next quarter takes back as well.",
    "reward": "w.R by the quarter; a mean over 28 weights, as all else, or for two thirds of efficiency.",
    "switched on": "the average treatment effect of learning with lambda 10 instead of 0, by `compare`, for two"
    " thirds of efficiency, with its 89 % interval over courses of chance, as the world's constants are fixed.",
}
ROWS = 2_000  # of the books whose effects are learned
STEPS = 100_000  # of each office, side by side
LAMBDAS = (0.0, 3.0, 10.0)  # the first is compared with the last
OWN = FOUR["two thirds efficiency"]
JUDGING = jax.random.key(2)


def measured(seed: int) -> dict[str, dict[str, float]]:
    """Reward and harm by lambda, and what switching the risk on does."""
    offices, weights = learned(seed), GRID
    plan = stack([decide(target=dict.fromkeys(DEPARTMENTS, 0.0))])
    held = rollout(environment, hold, JUDGING, arms=plan, **_JUDGED)[2]
    found: dict[str, dict[str, float]] = {}
    for place, price in enumerate(LAMBDAS):
        office = jax.tree.map(lambda leaf, k=place: jnp.broadcast_to(leaf[k], (len(weights), *leaf.shape[1:])), offices)
        arms = office, jnp.asarray(weights, jnp.float32)
        rewards, risk, levels = map(np.asarray, rollout(environment, conditioned.acting, JUDGING, arms=arms, **_JUDGED))
        harm = np.maximum((levels - np.asarray(held)) / _SPREAD, 0.0).sum(1)
        for label, which in {"": slice(None), ", two thirds efficiency": [OWN]}.items():
            row = {"reward": (rewards * weights).sum(1), "side effects": harm, "causal risk": risk}
            row = {name: float(values[which].mean()) for name, values in row.items()}
            first = found.get(f"lambda 0{label}", row)
            lost = {name: 100.0 * (1.0 - row[name] / first[name]) for name in row}
            found[f"lambda {price:g}{label}"] = row | {
                "reward given up, %": lost["reward"],
                "side effects removed, %": lost["side effects"],
                "causal risk removed, %": lost["causal risk"],
                **({} if label else {"hypervolume": hypervolume(rewards.astype(float), REFERENCE)}),
            }
    return {**found, **switched(offices, seed)}


def learned(seed: int) -> Heads:
    """Offices for each lambda, with a leading axis, from the joint effects that books tell; tolerance 0."""
    assert isinstance(OFFICE.protected, dict)
    protected = {name: {**entry, "tolerance": 0.0} for name, entry in OFFICE.protected.items()}
    at_risk = causal_risk.risk_in(books_of(50 + seed, ROWS), msgspec.structs.replace(OFFICE, protected=protected))
    plan = pareto(None, STEPS // QUARTERS)
    config = dataclasses.replace(plan.config, aversion=1.0)

    def make(price: Array) -> Any:
        def risk(state: Any, quarter: Quarter, about: Risk) -> Array:
            return price * causal_risk.of_quarter(state, quarter, about)

        episodes = Episodes(environment, QUARTERS)
        return conditioned.trainer(config, episodes, partial(network, plan), (), risk=risk, about=at_risk)

    trainer = SideBySide(make, jnp.asarray(LAMBDAS))
    run = jax.jit(trainer.begin)(jax.random.key(seed))
    return jax.jit(lambda run: trainer.advance(run, config.iterations)[0])(run).network


def switched(offices: Heads, seed: int) -> dict[str, dict[str, float]]:
    """The effect of lambda on objectives and on each protected variable."""
    weights = jnp.asarray(GRID[OWN], jnp.float32)
    arms = {
        f"lambda {LAMBDAS[k]:g}": Arm(
            Deciding(conditioned.acting, (jax.tree.map(lambda leaf, k=k: leaf[k], offices), weights))
        )
        for k in (0, -1)
    }
    tree = compare(environment, arms, jax.random.key(seed), draws=100, horizon=QUARTERS, baseline="lambda 0")
    found = tree["effects"].to_dataset().isel(treatment=0)
    parts = {name: found[name] for name in OBJECTIVES}
    parts |= {name: found["side_effect"].sel(protected=name) for name in PROTECTED}
    rows = {}
    for name, part in parts.items():
        ate, error = (float(part.sel(statistic=word)) for word in ("ate", "mcse"))
        half = float(scipy.stats.norm.ppf((1.0 + defaults.INTERVAL) / 2.0)) * error
        rows[f"switched on, {name}"] = {"ate": ate, "low": ate - half, "high": ate + half}
    return rows


def true_risk() -> Risk:
    """What is at risk by the world's own effects, with tolerance 0."""
    effect = effects(DEPARTMENTS, jointly=True)[_PROTECTED] * (np.array([*PROTECTED.values()]) / _SPREAD)[:, None]
    return Risk(effect[None].astype(np.float32), np.zeros(len(PROTECTED)), np.ones(len(PROTECTED)))


def _collected(quarters: Quarter) -> tuple[Float[Array, "arm objective"], Float[Array, " arm"], Array]:
    """Means over the quarters of a replicate under each arm."""
    assert environment.reward is not None
    rewards = jax.vmap(jax.vmap(environment.reward))(quarters).mean(1)
    risk = jax.vmap(partial(causal_risk.over_quarters, true_risk()))(quarters).mean(1)
    return rewards, risk, quarters.side_effect.mean(1)


_PROTECTED = [PLACE[name] for name in PROTECTED]
_SPREAD = np.sqrt(np.diag(covariance()))[_PROTECTED]
_JUDGED: dict[str, Any] = {"replicates": 500, "horizon": QUARTERS, "collect": _collected, "average": True}
