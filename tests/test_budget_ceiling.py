"""Fixed plans for the organisation of budgets, and the hypervolume that compares sets of them."""

import itertools

import jax
import numpy as np
import pytest

from bayesalloc.agents.hypervolume import hypervolume
from bayesalloc.models.budget import environment
from bayesalloc.models.budgets.ceiling import REFERENCE, best_targets, lattice, linear_targets, mean_rewards
from bayesalloc.models.budgets.world import DEPARTMENTS, TABLE


def by_inclusion_and_exclusion(points, reference):
    """The volume of a union of boxes from the volumes of all their intersections."""
    total = 0.0
    for size in range(1, len(points) + 1):
        for some in itertools.combinations(points, size):
            total -= (-1) ** size * np.prod(np.maximum(np.min(some, axis=0) - reference, 0.0))
    return total


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_hypervolume_is_that_of_a_union_of_boxes(objectives):
    rng = np.random.default_rng(objectives)
    for _ in range(5):
        points, reference = rng.integers(-2, 6, (8, objectives)).astype(float), rng.normal(size=objectives)
        points[1] = points[0]  # twice the same; and ties, as they are whole numbers
        assert hypervolume(points, reference) == pytest.approx(by_inclusion_and_exclusion(points, reference))
    assert hypervolume(np.zeros((0, objectives)), np.zeros(objectives)) == 0.0
    assert hypervolume(np.full((2, objectives), -1.0), np.zeros(objectives)) == 0.0


@pytest.fixture(scope="module")
def plans():
    """For each objective alone: the plan itself, a linear programme's, and a short ascent's; and what they bring."""
    weights = lattice(1)[::-1]
    climbed = best_targets(environment, weights, jax.random.key(1), steps=15, replicates=4)
    targets = np.concatenate([np.zeros((1, 20)), linear_targets(weights), climbed])
    return targets, mean_rewards(environment, targets, jax.random.key(2), replicates=100)


def test_plans_by_who_knows_the_world_are_better_than_the_plan(plans):
    _, means = plans
    hold, linear, climbed = means[0], means[1:4], means[4:]
    assert (np.diag(linear) > hold + 0.5).all() and (np.diag(climbed) > hold + 0.5).all()
    volume = [hypervolume(each, REFERENCE) for each in (means[:1], climbed)]
    assert 45 < volume[0] < 65 and volume[1] > 4 * volume[0]


def test_plans_keep_within_the_limits(plans):
    targets, _ = plans
    base = np.array([TABLE[name].base for name in DEPARTMENTS])
    assert np.abs(targets).max() <= 30 + 1e-5
    assert (targets[1:4] @ base / 100 <= 1.2 + 1e-6).all()  # to first order, as a linear programme sees it
