"""The projects of `altruism.py`: what is assumed of them and where it comes from, and one network drawn from that.

Params stand in three domains (40 % health, 30 % poverty, 30 % animals), in that order; each is one of its domain's
interventions, stands in a region, and belongs to an agency of ten consecutive projects. With other numbers of projects
than 100 there are as many more or fewer interventions, regions and agencies, so that their sizes stay as they are.
"""

import dataclasses
import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float, Int

from bayesalloc.errors import InputError, listed
from bayesalloc.impact.returns import Edges

DOMAINS = ("health", "poverty", "animals")
AGENCY = 10  # projects
EDGES = 3  # that lead into each project, from its own region
# Kinds of spill-over: of projects of one intervention, which take from each other, and by the domains from and to.
KINDS = ("overlap", *(f"{source} to {target}" for source in DOMAINS for target in DOMAINS))

# Log standard deviations of the effect between interventions, and between projects of one intervention.
PRESETS = {
    "default": (1.0, 0.6),  # assumed; the best of DCP2's 108 interventions is 50 times the median (Todd 2023): 1.5-1.8
    "shortlist": (0.30, 0.47),  # GiveWell's file, recomputed: nets, malaria drugs and vitamin A in 24 places
}
CONSTANTS = {
    # Of domains: Rethink Priorities' cross-cause model, whose prices per DALY stand behind each
    "health_effect": 5.0,  # DALY per 1,000 USD, median; the best HIV programmes cost 150-250 USD/DALY
    "poverty_effect": 1.6,  # DALY per 1,000 USD, median; cash costs 460-836 USD/DALY
    "animals_effect": 1895.0,  # suffering-years per 1,000 USD, median; 160-3,630 in 90 %
    "room_spread": 1.2,  # log sd of K; Open Philanthropy's within areas: grants 1.60, organisations' means 0.87
    "room_error": 0.3,  # log sd of K as seen; assumed
    "region_persistence": 0.9,  # a round; assumed, as all that follows but for external risk
    "region_spread": 0.3,  # log sd of a region's shock
    "local_persistence": 0.8,  # a round; of a project's delivery
    "sight_error": 0.2,  # sd of what the agency sees of the log of its projects' delivery
    "risk": 0.01,  # probability a round of going off, 18 % in 20; of the World Bank's projects 12-21 % fail (IEG 2021)
    "risk_rounds": 8.0,  # mean rounds that it lasts
    "overlap": -0.15,  # weight of a spill-over between projects of one intervention
    "kind_mean": 0.06,  # mean and sd of the weight of each other kind
    "kind_spread": 0.14,
    "edge_spread": 0.05,  # sd of a weight around its kind's
    "weight_low": -0.3,  # bounds of a weight; the extreme: a multiplier of cash of 2.5 (Egger et al. 2022)
    "weight_high": 0.6,
    "free_weight": 0.3,  # largest size of a weight where spill-overs are free
    "free_positive": 0.7,  # probability that one not between projects of one intervention adds
    "least_reported": 0.001,  # share of the budget below which a project reports nothing
}
# DALY for a suffering-year of a chicken: none, what makes animals equal to health, and the least and the most that
# Rethink Priorities have published.
MORAL_WEIGHTS = {"none": 0.0, "parity": 0.0026, "published_low": 0.002, "published_high": 0.856}
NO_WEIGHT = 1e-12  # stands for a moral weight of 0, so that logarithms stay finite


@dataclasses.dataclass(frozen=True)
class World:
    """What a world of projects is like; the defaults were fixed before any allocator was run.

    Attributes:
        n_projects: a multiple of 10, from 30 to 10,000.
        spillovers: `typed`, where a weight is that of the edge's kind with a little noise; or `free`, where each edge
            has its own, and nothing tells how strong it is.
        preset: spread of effects; see PRESETS.
        moral_weight: see MORAL_WEIGHTS; any number of at least 0, which itself is taken as 1e-12.
        rho: correlation of estimates with log effects within domains. Single experts who name the better of two
            policies in 65 % of cases have 0.45, crowds of 30 with 86 % have 0.90 (Otis 2022).
        room: sum of K over the budget; 900 million USD of gaps for a goal of 600 million (GiveWell 2022).
        spread: factor on the spread of effects.
        spillover_scale: factor on the weights.
        local: log sd of a project's delivery; assumed.
        eta: curvature of returns: 1 is logarithmic, as Open Philanthropy assumes; 0.375 for GiveWell.
        report_probability: that a project reports on a round in which it was on and got something; assumed.
        delay: mean rounds until a report arrives, 1 + geometric; at most `depth`.
        noise: sd of a report's log: the naive predictor is off by 97 % (Vivalt 2015).
        bias: sd of each project's lasting error in the log of all its reports; assumed.
    """

    n_projects: int = 100
    spillovers: str = "typed"
    preset: str = "default"
    moral_weight: float = MORAL_WEIGHTS["parity"]
    rho: float = 0.6
    room: float = 1.5
    spread: float = 1.0
    spillover_scale: float = 1.0
    local: float = 0.3
    eta: float = 1.0
    report_probability: float = 0.6
    delay: float = 6.0
    noise: float = 0.7
    bias: float = 0.3

    def __post_init__(self) -> None:
        """Refuse a world that cannot be.

        Raises:
            InputError: names the field, its value and what is allowed.
        """
        n = self.n_projects
        if n % AGENCY or not 30 <= n <= 10_000:
            raise InputError(f"n_projects is {n}; it must be a multiple of {AGENCY} from 30 to 10,000")
        for name, choices in (("spillovers", ("typed", "free")), ("preset", tuple(PRESETS))):
            if getattr(self, name) not in choices:
                raise InputError(f"{name} is {getattr(self, name)!r}; it must be one of {listed(choices)}")
        for name, low, high in (
            *((name, 0.0, math.inf) for name in ("moral_weight", "spillover_scale", "local", "noise", "bias")),
            ("report_probability", 0.0, 1.0),
            ("delay", 1.0, 1000.0),
        ):
            if not low <= getattr(self, name) <= high or math.isinf(getattr(self, name)):
                raise InputError(f"{name} is {getattr(self, name)}; it must be a number from {low:g} to {high:g}")
        for name, high in (("rho", 1.0), ("room", math.inf), ("spread", math.inf), ("eta", math.inf)):
            if not 0.0 < getattr(self, name) <= high or math.isinf(getattr(self, name)):
                raise InputError(f"{name} is {getattr(self, name)}; it must be a number above 0, at most {high:g}")

    @property
    def n_regions(self) -> int:
        """Regions of 12 or 13 projects: 8 of them at 100."""
        return max(2, round(0.08 * self.n_projects))

    @property
    def n_agencies(self) -> int:
        """Agencies, of ten consecutive projects each."""
        return self.n_projects // AGENCY

    @property
    def domain(self) -> Int[np.ndarray, " project"]:
        """Index of each project's domain."""
        return np.repeat(np.arange(3), np.array([4, 3, 3]) * self.n_projects // 10)

    @property
    def intervention(self) -> Int[np.ndarray, " project"]:
        """Index of each project's intervention: five in each domain at 100 projects, taken in turn."""
        each = max(2, round(0.05 * self.n_projects))
        starts = np.array([0, 4, 7]) * self.n_projects // 10
        return each * self.domain + (np.arange(self.n_projects) - starts[self.domain]) % each

    @property
    def log_median(self) -> Float[np.ndarray, " project"]:
        """The log of the median effect in each project's domain."""
        medians = [CONSTANTS[f"{domain}_effect"] for domain in DOMAINS]
        medians[2] *= max(self.moral_weight, NO_WEIGHT)
        return np.log(medians)[self.domain].astype(np.float32)

    @property
    def spreads(self) -> tuple[float, float]:
        """Log standard deviations of effects between and within interventions."""
        between, within = PRESETS[self.preset]
        return self.spread * between, self.spread * within

    @property
    def estimate_error(self) -> float:
        """Standard deviation of an estimate's error; half of its variance is the intervention's."""
        return math.hypot(*self.spreads) * math.sqrt(1.0 / self.rho**2 - 1.0)

    @property
    def depth(self) -> int:
        """Rounds after which a report has arrived at the latest: of geometric delays fewer than 1 in 1,000 are longer.

        Those are cut short, not lost.
        """
        return 1 if self.delay == 1.0 else math.ceil(math.log(1e-3) / math.log1p(-1.0 / self.delay))


class Params(NamedTuple):
    """One network of projects, the environment's parameters; K is in shares of a round's budget.

    Attributes:
        log_effect: log e, of the DALY per 1,000 USD of the first dollars. Nobody knows it.
        room: K. Nobody knows it.
        weight: of each spill-over. Nobody knows it.
        bias: lasting error of each project's log reports. Nobody knows it.
        estimate: m, what is thought of log e before any report; errors not shrunk away.
        effect_expected: E[e | m] of all projects together, by the true laws and medians.
        room_seen: K as it is seen.
        region: index of each project's region.
        edges: who spills over to whom; their kinds as in KINDS.
    """

    log_effect: Float[Array, " project"]
    room: Float[Array, " project"]
    weight: Float[Array, "project edge"]
    bias: Float[Array, " project"]
    estimate: Float[Array, " project"]
    effect_expected: Float[Array, " project"]
    room_seen: Float[Array, " project"]
    region: Int[Array, " project"]
    edges: Edges


def normals(name: str, *shape: int) -> Array:
    """A site of standard normals."""
    return jnp.asarray(numpyro.sample(name, dist.Normal(0.0, 1.0).expand(shape).to_event(len(shape))))


def lots(name: str, *shape: int) -> Array:
    """A site of numbers that are uniform in [0, 1)."""
    return jnp.asarray(numpyro.sample(name, dist.Uniform(0.0, 1.0).expand(shape).to_event(len(shape))))


def draw_projects(world: World) -> Params:
    """A network of projects; the sites are standard normals and uniform numbers."""
    n, intervention = world.n_projects, world.intervention
    groups = int(intervention.max()) + 1
    between, within = world.spreads
    half = world.estimate_error / math.sqrt(2.0)
    of_intervention, of_project = normals("intervention_effect", groups), normals("project_effect", n)
    deviation = between * of_intervention[intervention] + within * of_project
    error = normals("intervention_error", groups)[intervention] + normals("project_error", n)
    estimated = deviation + half * error

    room = jnp.exp(CONSTANTS["room_spread"] * normals("project_room", n))
    room = world.room * room / room.sum()
    region, edges = _network(world)
    return Params(
        log_effect=jnp.asarray(world.log_median) + deviation,
        room=room,
        weight=_weights(world, edges),
        bias=world.bias * normals("report_bias", n),
        estimate=jnp.asarray(world.log_median) + estimated,
        effect_expected=jnp.exp(world.log_median + expected_log_effect(world, estimated)),
        room_seen=room * jnp.exp(CONSTANTS["room_error"] * normals("room_error", n)),
        region=region,
        edges=edges,
    )


def expected_log_effect(world: World, estimated: Float[Array, " project"]) -> Float[Array, " project"]:
    """The log of E[e | m] less the domain's log median, from the estimates less the same, of all projects together.

    The mean over an intervention's projects and what is left of each are independent, so each is shrunk by itself;
    half the variance that remains is added, as the mean of a log-normal is above its median.
    """
    intervention = world.intervention
    between, within = (spread**2 for spread in world.spreads)
    half = 0.5 * world.estimate_error**2
    counts = np.bincount(intervention)
    averaging = (np.arange(len(counts))[:, None] == intervention) / counts[:, None]
    size = counts[intervention].astype(np.float32)
    mean = (averaging.astype(np.float32) @ estimated)[intervention]
    signal_mean, signal_own = between + within / size, within * (1.0 - 1.0 / size)
    kept_mean, kept_own = signal_mean / (between + half + (within + half) / size), within / (within + half)
    remaining = signal_mean * (1.0 - kept_mean) + signal_own * (1.0 - kept_own)
    return kept_mean * mean + kept_own * (estimated - mean) + 0.5 * remaining


def _network(world: World) -> tuple[Int[Array, " project"], Edges]:
    """Regions of equal size, and three different projects of its own region that lead into each."""
    n, regions = world.n_projects, world.n_regions
    order = jnp.argsort(lots("region_lot", n))  # project `order[p]` stands in region p % regions
    place = jnp.argsort(order)
    region, own = place % regions, place // regions
    others = (n - region + regions - 1) // regions - 1
    chosen: list[Array] = []
    for k, lot in enumerate(lots("edge_lot", n, EDGES).T):
        left = others - k
        pick = jnp.minimum((lot * left).astype(jnp.int32), left - 1)
        for before in _sorted(chosen):
            pick = pick + (pick >= before)
        chosen.append(pick)
    member = jnp.stack(chosen, -1)
    member = member + (member >= own[:, None])
    source = order[region[:, None] + regions * member]
    domain, intervention = jnp.asarray(world.domain), jnp.asarray(world.intervention)
    kind = 1 + 3 * domain[source] + domain[:, None]
    kind = jnp.where(intervention[source] == intervention[:, None], 0, kind)
    return region, Edges(source, kind, jnp.ones_like(source, bool))


def _sorted(picks: list[Array]) -> list[Array]:
    return [] if not picks else list(jnp.sort(jnp.stack(picks), axis=0))


def _weights(world: World, edges: Edges) -> Float[Array, "project edge"]:
    shape = edges.kind.shape
    if world.spillovers == "free":
        adds = (lots("edge_sign", *shape) < CONSTANTS["free_positive"]) & (edges.kind > 0)
        weight = jnp.where(adds, 1.0, -1.0) * CONSTANTS["free_weight"] * lots("edge_size", *shape)
    else:
        of_kind = CONSTANTS["kind_mean"] + CONSTANTS["kind_spread"] * normals("kind_weight", len(KINDS) - 1)
        of_kind = jnp.concatenate([jnp.full(1, CONSTANTS["overlap"]), of_kind])
        weight = of_kind[edges.kind] + CONSTANTS["edge_spread"] * normals("edge_weight", *shape)
    return jnp.clip(world.spillover_scale * weight, CONSTANTS["weight_low"], CONSTANTS["weight_high"])
