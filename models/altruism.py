"""A budget shared out among projects of unknown impact that saturate, spill over, and report late and noisily.

In each round a consortium splits a budget of 1 among its projects; project j with amount x_j achieves

    y_j = on_j e_j K_j log(1 + x_j / K_j) (1 + sum_k W_jk z_k) exp(g + s_j),    z_k = on_k x_k / (x_k + K_k),

with e its effect per 1,000 USD of the first dollars, K the room for more funding, W the weights of spill-overs, g its
region's shock and s its delivery. External risk puts a project off for some rounds, which everybody knows. Rounds have
no meaning in calendar time; impact is in DALY-equivalents for each 1,000 USD of the budget.

The action is the allocation, of shape (project,), or a rule by name that chooses one; what is given to a project that
is off is lost, and no rule does that. Who learns from reports may be an arm too: `funding/allocators.py`. Other worlds
are `consortium(World(...))`, in a file of one's own:

    from bayesalloc.models.altruism import World, consortium
    environment = consortium(World(spillovers="free", local=0.6))

Every constant, with its source, and the setting of a world: `funding/world.py`.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from bayesalloc.environment import Environment, Observation, Outcome
from bayesalloc.errors import InputError, listed
from bayesalloc.impact import metrics
from bayesalloc.impact.returns import impacts
from bayesalloc.impact.rules import RULES
from bayesalloc.impact.waterfill import best_split
from bayesalloc.models.funding.allocators import ALLOCATORS
from bayesalloc.models.funding.reports import NEVER, Pending, arrived, delays, filed, nothing_pending
from bayesalloc.models.funding.seeing import look
from bayesalloc.models.funding.world import AGENCY, CONSTANTS, DOMAINS, Params, World, draw_projects, lots, normals
from bayesalloc.stepping import Deciding

ORACLES = ("oracle", "oracle_local")  # both know e, K and W; the second also what delivery will be in this round
GIVEN = "given"  # stands among the rules of a `Funding` for the allocation it holds
REFINED = 4  # rounds in which the oracle's last split is brought up to date, as few projects a round go on or off
DEFAULT = World()
LEAST = 1e-30  # impact that is divided by, where there is none
SHARES = 1e-4  # what an allocation's shares may miss a sum of 1 by


class State(NamedTuple):
    """A round's beginning.

    Attributes:
        period: number of the round, from 0.
        on: whether external risk has spared each project.
        region_shock: g, of each region.
        local: s, the log of each project's delivery.
        local_seen: what its agency sees of it.
        share: the last allocation; zeros before the first round.
        best: the last round's best allocation by one who knows all but delivery.
        pending: reports under way.
    """

    period: Array
    on: Bool[Array, " project"]
    region_shock: Float[Array, " region"]
    local: Float[Array, " project"]
    local_seen: Float[Array, " project"]
    share: Float[Array, " project"]
    best: Float[Array, " project"]
    pending: Pending


class Round(NamedTuple):
    """Outcome of a round. Impact is what is expected of the allocation, never the noisy total.

    Attributes:
        impact: E[I | e, K, W, on, s] of the allocation: regional shocks at their mean, delivery as it was.
        share_of_oracle: impact over that of the best allocation by one who knows e, K, W and who is on, but not s.
        turnover: half the sum of what the shares have changed by since the last round; 0 in the first.
        inequality: Gini coefficient of the regions' impact.
        worst_off: impact in the region with the least of it.
        domain_share: of the budget, shape (domain,).
        share: of each project in the budget.
        project_impact: each project's part of the impact.
        on: whether each project was on.
        log_report: log of the impact that each project reports on this round; 0 where it does not.
        arrival: the round at whose beginning that report arrives; NEVER where there is none.
    """

    impact: Array
    share_of_oracle: Array
    turnover: Array
    inequality: Array
    worst_off: Array
    domain_share: Float[Array, " domain"]
    share: Float[Array, " project"]
    project_impact: Float[Array, " project"]
    on: Bool[Array, " project"]
    log_report: Float[Array, " project"]
    arrival: Int[Array, " project"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Funding:
    """The action of a named arm: one of some rules, by its place among them.

    Attributes:
        number: the place.
        given: the allocation where the rule is GIVEN; otherwise zeros.
        among: names of the rules, as only what is compared is computed.
    """

    number: ArrayLike
    given: ArrayLike
    among: tuple[str, ...] = dataclasses.field(metadata={"static": True})


def consortium(world: World = DEFAULT) -> Environment:
    """Rounds of funding in one world.

    Args:
        world: what it is like.
    """
    n, regions = world.n_projects, world.n_regions
    domains = jnp.asarray(world.domain[None] == np.arange(len(DOMAINS))[:, None], jnp.float32)
    carried, kept = (CONSTANTS[f"{which}_persistence"] for which in ("region", "local"))
    region_sd, sight = CONSTANTS["region_spread"], CONSTANTS["sight_error"]

    def initial(params: Params) -> State:
        region_shock = region_sd * normals("initial_region_shock", regions)
        local = world.local * normals("initial_local", n)
        return State(
            period=jnp.int32(0),
            on=jnp.ones(n, bool),
            region_shock=region_shock,
            local=local,
            local_seen=local + sight * normals("initial_sight", n),
            share=jnp.zeros(n),
            best=best(jnp.ones(n, bool), params, 0.0),
            pending=nothing_pending(world),
        )

    def impact_of(amount: Array, params: Params, local: ArrayLike) -> Float[Array, " project"]:
        log_effect = params.log_effect + local + 0.5 * region_sd**2
        return impacts(amount, log_effect, params.room, params.weight, params.edges, world.eta)

    def best(on: Array, params: Params, local: ArrayLike, **given: Any) -> Float[Array, " project"]:
        log_effect = params.log_effect + local
        return best_split(log_effect, params.room, params.weight, params.edges, on, eta=world.eta, **given)

    def allocation(
        action: Array | Funding, state: State, params: Params, oracle: Float[Array, " project"]
    ) -> Float[Array, " project"]:
        if not isinstance(action, Funding):
            return jnp.asarray(action, params.room.dtype)

        def by(name: str) -> Array:
            if name == GIVEN:
                return jnp.asarray(action.given)
            if name in ORACLES:
                return oracle if name == "oracle" else best(state.on, params, state.local)
            return RULES[name](params.effect_expected, params.room_seen, state.on, 1.0)

        return jax.lax.switch(action.number, [lambda name=name: by(name) for name in action.among])

    def step(state: State, action: Array | Funding, params: Params) -> tuple[State, Round]:
        risk_lot, report_lot, delay_lot = (lots(f"{name}_lot", n) for name in ("risk", "report", "delay"))
        report_noise, local_shock, sight_noise = (
            normals(name, n) for name in ("report_noise", "local_shock", "sight_noise")
        )
        region_noise = normals("region_noise", regions)

        oracle = best(state.on, params, 0.0, rounds=REFINED, start=state.best)
        share = allocation(action, state, params, oracle)
        amount = jnp.where(state.on, share, 0.0)
        impact, most = (impact_of(each, params, state.local) for each in (amount, oracle))
        in_region = params.region[None] == jnp.arange(regions)[:, None]
        by_region = jnp.where(in_region, impact, 0.0).sum(-1)

        reports = (amount >= CONSTANTS["least_reported"]) & (report_lot < world.report_probability)
        log_impact = jnp.log(jnp.where(reports, impact, 1.0)) - 0.5 * region_sd**2 + state.region_shock[params.region]
        log_report = jnp.where(reports, log_impact + params.bias + world.noise * report_noise, 0.0)
        arrival = jnp.where(reports, state.period + delays(world, delay_lot), NEVER)

        happened = Round(
            impact=impact.sum(),
            share_of_oracle=jnp.where(most.sum() > 0.0, impact.sum() / jnp.maximum(most.sum(), LEAST), 1.0),
            turnover=jnp.where(state.period > 0, metrics.turnover(state.share, share), 0.0),
            inequality=metrics.gini(by_region),
            worst_off=by_region.min(),
            domain_share=domains @ share,
            share=share,
            project_impact=impact,
            on=state.on,
            log_report=log_report,
            arrival=arrival,
        )
        local = kept * state.local + world.local * math.sqrt(1.0 - kept**2) * local_shock
        after = State(
            period=state.period + 1,
            on=jnp.where(state.on, risk_lot >= CONSTANTS["risk"], risk_lot < 1.0 / CONSTANTS["risk_rounds"]),
            region_shock=carried * state.region_shock + region_sd * math.sqrt(1.0 - carried**2) * region_noise,
            local=local,
            local_seen=local + sight * sight_noise,
            share=share,
            best=oracle,
            pending=filed(state.pending, state.period, log_report, amount, arrival, reports),
        )
        return after, happened

    def observe(state: State, params: Params) -> Observation:
        """All that is seen, see `funding.seeing.seen`; the actions by number are the default arms."""
        values = look(state.on, state.share, arrived(state.pending, state.period), state.local_seen, params)
        return Observation(values, jnp.ones(len(default), bool))

    default = (*RULES, "oracle")

    def arms(names: Sequence[str] | None) -> dict[str, Funding | Deciding]:
        there = (*RULES, *ORACLES, *ALLOCATORS)
        if strange := set(names or ()) - {*there}:
            raise InputError(f"altruism has no rule '{listed(strange)}'; there are {listed(there)}")
        asked = tuple(dict.fromkeys(names or default))
        among = tuple(name for name in asked if name not in ALLOCATORS)

        def rule(name: str) -> Funding:
            return Funding(np.int32(among.index(name)), np.zeros(n, np.float32), among)

        return {name: ALLOCATORS[name](world) if name in ALLOCATORS else rule(name) for name in asked}

    def alike(actions: Sequence[Any]) -> list[Funding]:
        chosen = [named(action) for action in actions]
        among = tuple(dict.fromkeys(name for name, _ in chosen))
        return [Funding(np.int32(among.index(name)), given, among) for name, given in chosen]

    def check(action: Any, sites: Mapping[str, ArrayLike]) -> None:
        name, given = named(action)
        if given.shape != (n,):
            raise InputError(f"an allocation has the shape {given.shape}; there are {n} projects")
        if name == GIVEN and not (given >= 0.0).all():
            raise InputError(f"an allocation has the share {given.min():g}; shares must be numbers of at least 0")
        if name == GIVEN and abs(given.sum() - 1.0) > SHARES:
            raise InputError(f"an allocation's shares add up to {given.sum():g}; they must add up to 1")

    return Environment(
        name="altruism",
        prior=lambda: draw_projects(world),
        initial=initial,
        step=step,
        arms=arms,
        outcomes={
            "impact": Outcome("DALY", "higher"),
            "share_of_oracle": Outcome("1", "higher"),
            "turnover": Outcome("share of the budget"),
            "inequality": Outcome("Gini of regions", "lower"),
            "worst_off": Outcome("DALY", "higher"),
            "domain_share": Outcome("share of the budget", "", ("domain",)),
        },
        coords={"domain": DOMAINS},
        period="round",
        baseline="knapsack",
        observe=observe,
        reward=lambda happened: happened.project_impact.reshape(-1, AGENCY).sum(-1),
        check=check,
        alike=alike,
    )


def named(action: Any) -> tuple[str, Float[np.ndarray, " project"]]:
    """The name of an action's rule, and the allocation where it is GIVEN."""
    if isinstance(action, Funding):
        return action.among[int(np.asarray(action.number))], np.asarray(action.given, np.float32)
    return GIVEN, np.asarray(action, np.float32)


environment = consortium()
