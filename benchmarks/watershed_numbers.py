"""The numbers of the watershed and of its three mechanisms, for peers that must run without bayesalloc.

`forward_numpy.py --check` and `make_record.py` refuse to run on if they differ from those that bayesalloc ships.
"""

from dataclasses import dataclass

AGENTS = ("dam_owner", "forest_owner", "expert", "regulator", "investor")
YEARS = 20

# Median and log standard deviation of each log-normal prior: the published scenario, and that of a user's own record.
SCENARIO = {
    "growth": (0.4, 0.03),
    "degradation": (0.813, 0.03),
    "urgency": (0.1, 0.1),
    "erosion_reference": (0.874, 0.02),
    "erosion_decay": (0.897, 0.05),
    "growth_noise": (0.03, 0.3),
    "tendency_spread": (0.03, 0.5),
    "health_error": (0.03, 0.3),
    "erosion_error": (0.1, 0.3),
    "contribution_error": (0.05, 0.3),
}
RECORD = {
    "growth": (0.4, 0.4),
    "degradation": (0.8, 0.4),
    "urgency": (0.1, 0.5),
    "erosion_reference": (0.9, 0.5),
    "erosion_decay": (2.0, 0.7),
    "growth_noise": (0.05, 0.5),
    "tendency_spread": (0.05, 0.5),
    "health_error": (0.03, 0.5),
    "erosion_error": (0.15, 0.5),
    "contribution_error": (0.05, 0.5),
}
SCENARIO_HEALTH = (0.4, 0.32)  # median, and sd of the logit, of forest health before the first year
RECORD_HEALTH = (0.5, 1.14)

BASELINE = 0.6
SWITCH_WIDTH = 0.02  # of the threshold's logistic switch, in forest health
INFLUENCE = (0.15, 0.35, 0.10, 0.20, 0.20)
COST = (60.0, 80.0, 30.0, 50.0, 70.0)
HEALTH_VALUE = (0.0, 120.0, 40.0, 150.0, 110.0)
SEDIMENT_VALUE = (150.0, 0.0, 0.0, 40.0, 0.0)

NOBODY = (0.0,) * len(AGENTS)


@dataclass(frozen=True)
class Mechanism:
    """A mechanism's numbers; per-agent ones in the order of AGENTS. The names are those of `bayesalloc` terms."""

    modifier: float
    volatility: float
    threshold: float = 1.0
    modifier_above: float = 0.0
    price: float = 0.0
    price_volatility: float = 0.0
    cycle: float = 0.0
    persistence: float = 0.0
    response: float = 0.0
    health_milestone: float = 1.0
    erosion_milestone: float = 1.0
    credits_per_health: float = 0.0
    cost_shares: tuple[float, ...] = NOBODY
    milestone_payment: tuple[float, ...] = NOBODY
    verification_payment: tuple[float, ...] = NOBODY
    credit_shares: tuple[float, ...] = NOBODY

    @property
    def has_market(self) -> bool:
        """Whether a credit price matters at all."""
        return self.cycle > 0 or self.price_volatility > 0


MECHANISMS = {
    "cost_sharing": Mechanism(
        modifier=1.0, modifier_above=1.0, volatility=0.08, cost_shares=(0.25, 0.20, 0.05, 0.30, 0.20)
    ),
    "performance_contract": Mechanism(
        modifier=1.3,
        threshold=0.5,
        modifier_above=1.26,
        volatility=0.08,
        health_milestone=0.7,
        erosion_milestone=0.3,
        milestone_payment=(-10.0, 24.0, 6.0, -20.0, 0.0),
        verification_payment=(-4.0, 0.0, 12.0, -8.0, 0.0),
    ),
    "credit_trading": Mechanism(
        modifier=1.5,
        modifier_above=1.5,
        volatility=0.10,
        price=0.01,
        price_volatility=0.10,
        cycle=0.28,
        persistence=0.8,
        response=1.0,
        verification_payment=(0.0, -6.0, 12.0, 0.0, -6.0),
        credits_per_health=12000.0,
        credit_shares=(0.0, 0.5, 0.0, 0.0, 0.5),
    ),
}


def verify() -> None:
    """Raise ValueError where a number here is not the one bayesalloc ships."""
    import dataclasses

    import numpy as np

    from bayesalloc.models import watershed

    pairs: list[tuple[str, object, object]] = [
        ("AGENTS", AGENTS, watershed.AGENTS),
        ("MECHANISMS", tuple(MECHANISMS), watershed.MECHANISMS),
        ("SCENARIO", SCENARIO, watershed.CONSTANTS),
        ("RECORD", RECORD, watershed.RECORD_CONSTANTS),
        ("SCENARIO_HEALTH", SCENARIO_HEALTH, watershed.INITIAL_HEALTH),
        ("RECORD_HEALTH", RECORD_HEALTH, watershed.RECORD_INITIAL_HEALTH),
        ("BASELINE", BASELINE, watershed.BASELINE),
    ]
    wrong = [name for name, ours, theirs in pairs if ours != theirs]
    vectors = {name: globals()[name] for name in ("INFLUENCE", "COST", "HEALTH_VALUE", "SEDIMENT_VALUE")}
    wrong += [name for name, ours in vectors.items() if not np.allclose(ours, getattr(watershed, name), rtol=1e-6)]
    for name, terms in watershed.arms(None).items():
        for field in dataclasses.fields(Mechanism):
            ours, theirs = getattr(MECHANISMS[name], field.name), getattr(terms, field.name)
            if not np.allclose(ours, theirs, rtol=1e-6):
                wrong.append(f"{name}.{field.name}")
    if wrong:
        raise ValueError(f"these numbers are not bayesalloc's: {', '.join(wrong)}")
