"""The table of `budget.py`: 50 variables of an organisation in a known graph, and what follows from it exactly.

A column of the books is a surprise: the deviation from the forecast that was made before the quarter, in points for
projects and satisfaction and in percent for all else. Surprises obey one equation, x = B x + e, and one graph. What is
behind the numbers: the organisation takes 120 M a year, spends 52 M on operations and shares out 60 M among 20
departments. Marketing moves revenue by .09 (advertising elasticities are .09 to .12 in the short run: Henningsen et al.
2011; Sethuraman et al. 2011), sales by .15 (long-run elasticity of personal selling .34: Albers et al. 2010); noise of
budgets has Student's t distribution with 5 degrees of freedom, as budgets change in bursts (Jones et al. 2009, AJPS
53:855). All other numbers are assumed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

TIERS = ("conditions", "budgets", "projects", "costs", "indicators", "results")
FREEDOM = 5.0  # degrees of freedom of the budgets' noise
REVENUE = 120.0  # M/yr by plan
VARIABLE_COST = 0.65  # of a deviation of revenue from its plan is spent on producing it


class Variable(NamedTuple):
    """One row of the table.

    Attributes:
        tier: which of TIERS; a cause stands in the same tier as its effect or in one before.
        sd: standard deviation of its noise.
        parents: cause -> coefficient.
        carried: share of a level's deviation from plan that is left a quarter later, all else at plan.
        base: M/yr by plan, of budgets and costs.
    """

    tier: int
    sd: float
    parents: dict[str, float] = {}
    carried: float = 0.0
    base: float = 0.0


def _condition(carried: float, sd: float, **parents: float) -> Variable:
    return Variable(0, sd, parents, carried)


def _budget(base: float, sd: float, **parents: float) -> Variable:
    return Variable(1, sd, parents, 1.0, base)


def _project(**parents: float) -> Variable:
    return Variable(2, 2.5, parents, 0.5)


def _cost(base: float, sd: float, **parents: float) -> Variable:
    return Variable(3, sd, parents, 0.2, base)


def _indicator(sd: float, **parents: float) -> Variable:
    return Variable(4, sd, parents, 0.2)


TABLE: dict[str, Variable] = {
    "economy": _condition(0.6, 2.0),
    "demand": _condition(0.6, 2.5, economy=0.6),
    "prices": _condition(0.7, 1.5, economy=0.35),
    "revenue_before": _condition(0.0, 3.0),  # of a quarter in the environment: the last quarter's surprise of revenue
    # What departments got: the parents are the organisation's past policy.
    "operations": _budget(9.0, 3.0, demand=0.5),
    "field_service": _budget(6.0, 3.0, demand=0.4),
    "customer_service": _budget(4.5, 3.5, demand=0.35),
    "sales": _budget(5.0, 3.5, revenue_before=0.5),
    "marketing": _budget(4.0, 3.5, revenue_before=0.8),
    "product": _budget(4.0, 4.0, revenue_before=0.4),
    "it_infrastructure": _budget(4.0, 3.5, revenue_before=0.35),
    "software": _budget(3.5, 4.0, it_infrastructure=-0.3),
    "security": _budget(1.0, 4.0, it_infrastructure=0.4),
    "logistics": _budget(4.0, 3.0, demand=0.35),
    "procurement": _budget(1.0, 3.5, prices=0.7),
    "facilities": _budget(3.0, 3.5, revenue_before=0.3),
    "maintenance": _budget(3.0, 3.5, facilities=-0.3, revenue_before=0.4),
    "energy": _budget(0.8, 4.0, prices=0.8),
    "hr": _budget(1.7, 3.5, economy=0.5),
    "training": _budget(2.0, 4.0, revenue_before=0.7),
    "finance": _budget(1.5, 3.0),
    "compliance": _budget(0.8, 3.5),
    "quality": _budget(0.7, 4.0, training=0.3),
    "analytics": _budget(0.5, 4.0, software=0.35),
    "digital_project": _project(software=0.3, analytics=0.15),
    "network_project": _project(it_infrastructure=0.35, maintenance=0.2),
    "product_project": _project(product=0.35, marketing=0.15),
    "automation_project": _project(operations=0.3, software=0.2),
    "hiring_project": _project(hr=0.4, economy=-0.4),
    "energy_project": _project(energy=0.35, facilities=0.2),
    "security_project": _project(security=0.4, compliance=0.2),
    "quality_project": _project(quality=0.35, training=0.2),
    "staff_cost": _cost(22.0, 1.5, operations=0.2, field_service=0.15, hiring_project=0.25, automation_project=-0.2),
    "overtime_cost": _cost(2.0, 3.0, demand=0.9, hiring_project=-0.5, field_service=-0.3),
    "it_cost": _cost(4.0, 2.0, it_infrastructure=0.25, digital_project=0.25, analytics=0.1),
    "energy_cost": _cost(3.0, 2.0, prices=0.9, energy_project=-0.4),
    "premises_cost": _cost(6.0, 2.0, facilities=0.35, prices=0.3),
    "supplier_cost": _cost(9.0, 2.0, prices=0.6, procurement=-0.25, finance=-0.2),
    "logistics_cost": _cost(4.0, 2.0, logistics=-0.25, prices=0.4, demand=0.35),
    "staff_satisfaction": _indicator(2.0, training=0.2, overtime_cost=-0.25, revenue_before=0.25, hr=0.15),
    "staff_turnover": _indicator(3.0, staff_satisfaction=-0.7, economy=0.5),
    "backlog": _indicator(3.0, demand=0.9, customer_service=-0.3, operations=-0.3, staff_turnover=0.3),
    "on_time": _indicator(2.0, backlog=-0.25, logistics=0.25, network_project=0.2),
    "incidents": _indicator(4.0, security_project=-0.5, maintenance=-0.35, network_project=-0.35, overtime_cost=0.3),
    "service_quality": _indicator(2.0, quality_project=0.35, on_time=0.35, incidents=-0.15),
    "complaints": _indicator(3.0, service_quality=-0.7, backlog=0.35),
    "customer_satisfaction": _indicator(1.5, service_quality=0.3, complaints=-0.25, digital_project=0.25),
    "reputation": _indicator(1.5, marketing=0.2, customer_satisfaction=0.4),
    "claims_cost": Variable(5, 4.0, {"incidents": 0.4, "complaints": 0.4, "compliance": -0.35}, 0.2, 2.0),
    "revenue": Variable(
        5,
        1.8,
        {
            "economy": 0.5,
            "revenue_before": 0.2,
            "sales": 0.15,
            "product_project": 0.2,
            "reputation": 0.3,
            "customer_satisfaction": 0.25,
        },
        0.3,
    ),
}

VARIABLES = tuple(TABLE)
PLACE = {name: place for place, name in enumerate(VARIABLES)}
DEPARTMENTS = tuple(name for name, variable in TABLE.items() if variable.tier == 1)
COSTS = tuple(name for name, variable in TABLE.items() if variable.base and variable.tier != 1)
EDGES = tuple((cause, effect) for effect, variable in TABLE.items() for cause in variable.parents)
# What the office protects, and which direction harms.
PROTECTED = {"backlog": 1.0, "staff_turnover": 1.0, "complaints": 1.0, "customer_satisfaction": -1.0}
SURVEY = (  # what is asked of staff and customers, together or not at all
    "staff_satisfaction",
    "staff_turnover",
    "service_quality",
    "complaints",
    "customer_satisfaction",
    "reputation",
)
# The figure by which each department is judged, and which direction is good.
JUDGED_BY = {
    "operations": ("backlog", -1.0),
    "field_service": ("on_time", 1.0),
    "customer_service": ("complaints", -1.0),
    "sales": ("revenue", 1.0),
    "marketing": ("reputation", 1.0),
    "product": ("product_project", 1.0),
    "it_infrastructure": ("network_project", 1.0),
    "software": ("digital_project", 1.0),
    "security": ("security_project", 1.0),
    "logistics": ("on_time", 1.0),
    "procurement": ("supplier_cost", -1.0),
    "facilities": ("energy_project", 1.0),
    "maintenance": ("network_project", 1.0),
    "energy": ("energy_project", 1.0),
    "hr": ("hiring_project", 1.0),
    "training": ("staff_satisfaction", 1.0),
    "finance": ("supplier_cost", -1.0),
    "compliance": ("claims_cost", -1.0),
    "quality": ("quality_project", 1.0),
    "analytics": ("product_project", 1.0),
}


def coefficients(*, decided: Sequence[str] = ()) -> Float[np.ndarray, "variable variable"]:
    """B of x = B x + e: in row i and column j what variable i moves by when j moves by one.

    Args:
        decided: variables that are set from outside, to which no arrow then leads.

    >>> float(coefficients()[PLACE["reputation"], PLACE["marketing"]])
    0.2
    """
    matrix = np.zeros((len(TABLE), len(TABLE)))
    for name, variable in TABLE.items():
        if name not in decided:
            matrix[PLACE[name], [PLACE[cause] for cause in variable.parents]] = list(variable.parents.values())
    return matrix


def effects(of: Sequence[str], *, jointly: bool = False) -> Float[np.ndarray, "variable cause"]:
    """True effects within a quarter, (I - B)^-1: what every variable moves by when one of `of` is raised by one.

    Args:
        of: the variables that are set.
        jointly: whether all of them are set at once, so that none follows another; otherwise one at a time.

    >>> together, alone = (effects(DEPARTMENTS, jointly=jointly)[PLACE["incidents"]] for jointly in (True, False))
    >>> facilities = DEPARTMENTS.index("facilities")  # past policy took from maintenance what it gave to facilities
    >>> abs(float(together[facilities])), round(float(alone[facilities]), 3)
    (0.0, 0.126)
    """
    matrix = coefficients(decided=of if jointly else ())
    return np.linalg.inv(np.eye(len(matrix)) - matrix)[:, [PLACE[name] for name in of]]


def lasting_effects() -> Float[np.ndarray, "variable department"]:
    """True effects in the long run of a change of a budget that is kept, all others being kept too: (I - D - B)^-1.

    >>> hr, turnover = DEPARTMENTS.index("hr"), PLACE["staff_turnover"]
    >>> [round(float(moved[turnover, hr]), 2) for moved in (effects(DEPARTMENTS, jointly=True), lasting_effects())]
    [-0.14, -0.3]
    """
    carried = [0.0 if name in DEPARTMENTS else variable.carried for name, variable in TABLE.items()]
    matrix = np.diag(carried) + coefficients(decided=DEPARTMENTS)
    return np.linalg.inv(np.eye(len(matrix)) - matrix)[:, [PLACE[name] for name in DEPARTMENTS]]


def covariance() -> Float[np.ndarray, "variable variable"]:
    """Covariance of the books' rows."""
    spread = np.linalg.inv(np.eye(len(TABLE)) - coefficients()) * [variable.sd for variable in TABLE.values()]
    return spread @ spread.T
