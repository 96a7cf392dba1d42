"""Who gains: impact per head by region, and how unequal it is, of a proposal and of the allocation that stands."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from bayesalloc.impact import acquisition, metrics
from bayesalloc.impact.explaining import interval
from bayesalloc.impact.proposing import Proposal, Understanding
from bayesalloc.impact.structured import double_precision

PEOPLE = 1000  # of whom impact is stated


class Fairness(NamedTuple):
    """What an allocation does for whom.

    Attributes:
        regions: region -> impact per 1,000 people: mean, low, high.
        gini: of the regions' impact per head, see `metrics.gini`: mean, low, high; None of a single region.
        worst_off: the region with the least mean.
    """

    regions: dict[str, dict[str, float]]
    gini: dict[str, float] | None
    worst_off: str


def people(u: Understanding) -> dict[str, float]:
    """Region -> how many people its projects are for, of those with an estimate and a population.

    A project without a region is one of its own. Projects for the same people count them again.
    """
    return {region: float(counts.sum()) for region, counts in sorted(_counts(u).items())}


def fairness(u: Understanding, proposal: Proposal) -> dict[str, Fairness]:
    """Of the proposal, and of the allocation that stands where there is one; empty where no population is known."""
    if not people(u):
        return {}
    amounts = {"proposal": proposal.amount / u.budget} | ({} if u.standing is None else {"as now": u.standing})
    return {name: _of(u, amount[u.which]) for name, amount in amounts.items()}


def _of(u: Understanding, share: np.ndarray) -> Fairness:
    counts = _counts(u)
    with double_precision():
        impact = np.asarray(acquisition.by_project(jnp.asarray(share), u.world))
        heads = {region: PEOPLE * (impact @ (counts[region] > 0)) / count for region, count in people(u).items()}
        unequal = np.asarray(metrics.gini(jnp.asarray(np.stack([*heads.values()], -1)))) if len(heads) > 1 else None
    means = {region: interval(draws) for region, draws in heads.items()}
    worst = min(means, key=lambda region: means[region]["mean"])
    return Fairness(means, None if unequal is None else interval(unequal), worst)


def _counts(u: Understanding) -> dict[str, np.ndarray]:
    """Region -> the population of each project that has an estimate, 0 where it is of another region."""
    names, regions = (np.array(each)[u.which] for each in (u.projects.names, u.projects.groups["region"]))
    places, counts = np.where(regions == "", names, regions), np.nan_to_num(u.projects.population[u.which])
    return {str(place): counts * (places == place) for place in np.unique(places[counts > 0])}
