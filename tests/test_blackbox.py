"""The black box by scikit-learn's Gaussian process, closed forms, enumeration, and what may not change a proposal."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from bayesalloc.errors import InputError
from bayesalloc.impact import blackbox
from bayesalloc.impact.blackbox import Hyperparameters, box, fitted, predicted, simplex
from bayesalloc.impact.seeking import Proposal, _ascended, on_grid, proposed
from bayesalloc.impact.structured import double_precision

PROJECTS = 5
WORTH, RATE = np.array([1.0, 3.0, 0.5, 2.0, 0.2]), np.array([2.0, 1.0, 4.0, 0.8, 3.0])
ALL = simplex(np.zeros(PROJECTS), np.ones(PROJECTS))
KEY = jax.random.key(0)


def saturating(points):
    return (WORTH * -np.expm1(-RATE * points)).sum(-1)


def data(count=12, seed=0):
    points = np.random.default_rng(seed).dirichlet(np.ones(PROJECTS), count)
    return points, saturating(points)


def given(length=0.7, scale=1.5, noise=0.05):
    with double_precision():
        return Hyperparameters(jnp.full(PROJECTS, length), jnp.asarray(scale), jnp.asarray(noise))


@pytest.mark.parametrize("own", [False, True], ids=["common", "own"])
def test_the_posterior_is_that_of_scikit_learn(own):
    gaussian_process = pytest.importorskip(
        "sklearn.gaussian_process", reason="needs scikit-learn: pip install 'bayesalloc[dev]'"
    )
    kernels = gaussian_process.kernels
    points, values = data()
    lengths = np.linspace(0.5, 1.5, PROJECTS) if own else np.full(PROJECTS, 0.7)
    belief = fitted(points, values, ALL, hyperparameters=given()._replace(length=jnp.asarray(lengths)))
    kernel = kernels.ConstantKernel(1.0) + kernels.ConstantKernel(1.5**2) * kernels.Matern(lengths, nu=2.5)
    theirs = gaussian_process.GaussianProcessRegressor(kernel, alpha=0.05**2, optimizer=None, normalize_y=True)
    theirs.fit(np.sqrt(points), values)
    others = np.vstack([data(20, seed=1)[0], points, np.eye(PROJECTS)])
    for mine, wanted in zip(predicted(belief, others), theirs.predict(np.sqrt(others), return_std=True), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-4, atol=1e-6)
    with double_precision():
        density = blackbox.conditioned(belief.hyperparameters, belief.evaluations, 0.0)[2]
    assert np.isclose(density, theirs.log_marginal_likelihood_value_, rtol=1e-4)


def test_pads_change_nothing(monkeypatch):
    points, values = data()
    padded = fitted(points, values, ALL)
    monkeypatch.setattr(blackbox, "PADDED", 1)
    bare = fitted(points, values, ALL)
    assert len(bare.root) == 12 and len(padded.root) == 32
    others = data(20, seed=1)[0]
    np.testing.assert_allclose(predicted(padded, others), predicted(bare, others), rtol=1e-5)
    fixed = [fitted(points, values, ALL, hyperparameters=given())]
    monkeypatch.setattr(blackbox, "PADDED", 40)
    fixed.append(fitted(points, values, ALL, hyperparameters=given()))
    np.testing.assert_allclose(predicted(fixed[0], others), predicted(fixed[1], others), rtol=1e-10)
    proposals = [proposed(each, KEY).point for each in fixed]
    np.testing.assert_allclose(*proposals, atol=1e-5)


def test_another_evaluation_compiles_nothing():
    compiled = []
    for count in (10, 11, 12):
        proposed(fitted(*data(count), ALL), KEY)
        compiled.append([f._cache_size() for f in (blackbox.conditioned, blackbox._descent, _ascended)])
    assert compiled[0] == compiled[1] == compiled[2]


def test_permuting_projects_and_changing_the_unit_change_nothing_but_names():
    points, values = data()
    order = np.array([3, 0, 4, 1, 2])
    start = predicted(fitted(points, values, ALL), points)
    permuted = predicted(fitted(points[:, order], 1000.0 * values, ALL), points[:, order])
    np.testing.assert_allclose(permuted, 1000.0 * np.array(start), rtol=1e-3)
    one, other = (
        proposed(fitted(points[:, which], unit * values, ALL, hyperparameters=given()), KEY, "ucb", 2.0)
        for which, unit in ((np.arange(PROJECTS), 1.0), (order, 1000.0))
    )
    np.testing.assert_allclose(one.point[order], other.point, atol=1e-4)


def test_the_published_acquisition_ranks_as_its_upper_bound():
    belief = fitted(*data(), ALL)
    at = [proposed(belief, KEY, kind, 0.4).point for kind in ("published", "ucb")]
    np.testing.assert_allclose(*at, atol=1e-4)
    unsure = proposed(belief, KEY, "published", 0.0)
    spread = predicted(belief, np.vstack([unsure.point, data(200, seed=3)[0]]))[1]
    assert spread[0] >= spread.max()
    with pytest.raises(InputError, match="beta is 2"):
        proposed(belief, KEY, "published", 2.0)


@pytest.mark.parametrize("kind, beta", [("ucb", 1.0), ("ei", 1.0), ("published", 0.3)])
def test_the_search_finds_what_a_general_solver_finds(kind, beta):
    low, high = np.array([0.05, 0.0, 0.0, 0.1, 0.0]), np.array([1.0, 0.3, 1.0, 0.5, 0.02])
    belief = fitted(*data(), simplex(low, high), hyperparameters=given())
    found = proposed(belief, KEY, kind, beta)
    assert np.isclose(found.point.sum(), 1.0) and (found.point >= low - 1e-12).all()
    assert (found.point <= high + 1e-12).all()

    def loss(point):
        return -valued(belief, point[None], kind, beta)[0]

    sums = {"type": "eq", "fun": lambda point: point.sum() - 1.0}
    ends = list(zip(low + 1e-9, high, strict=True))
    starts = [proposed(belief, jax.random.key(1), kind, beta).point, np.array([0.3, 0.25, 0.33, 0.11, 0.01])]
    theirs = min(minimize(loss, start, method="SLSQP", bounds=ends, constraints=sums).fun for start in starts)
    assert np.isclose(-loss(found.point), found.value, rtol=1e-6)
    assert found.value >= -theirs - 1e-5 * abs(theirs)


def valued(belief, points, kind, beta):
    """The acquisition by its formula, in NumPy."""
    mean, spread = predicted(belief, points)
    unit = float(belief.evaluations.spread)
    if kind == "published":
        return (beta * (mean - float(belief.evaluations.centre)) + spread) / unit
    if kind == "ucb":
        return (mean - float(belief.evaluations.centre) + spread / beta) / unit
    there = np.asarray(belief.evaluations.there)
    best = predicted(belief, np.asarray(belief.evaluations.seen)[there] ** 2)[0].max()
    z = (mean - best) / spread
    density, below = (
        np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi),
        0.5 * np.array([1 + float(jax.lax.erf(x / 2**0.5)) for x in z]),
    )
    return np.log(np.maximum(spread / unit * (density + z * below), 1e-300))


@pytest.mark.parametrize("kind, beta", [("published", 0.2), ("published", 1.0), ("ei", 1.0)])
def test_exchanges_on_the_grid_end_where_enumeration_does(kind, beta):
    low, high, steps = np.array([0.1, 0.0, 0.0, 0.0, 0.0]), np.array([1.0, 1.0, 0.4, 1.0, 0.25]), 8
    belief = fitted(*data(), simplex(low, high), hyperparameters=given())
    found = on_grid(belief, steps, np.vstack([data(3, seed=5)[0], proposed(belief, KEY, kind, beta).point]), kind, beta)
    every = np.array([c for c in itertools.product(range(steps + 1), repeat=PROJECTS) if sum(c) == steps]) / steps
    every = every[((every >= low - 1e-9) & (every <= high + 1e-9)).all(1)]
    np.testing.assert_allclose(found.point * steps, np.round(found.point * steps), atol=1e-9)
    np.testing.assert_allclose(found.point, every[valued(belief, every, kind, beta).argmax()])
    with pytest.raises(InputError, match="steps of 1/2"):
        on_grid(fitted(*data(), simplex(np.full(5, 0.1), np.ones(5)), hyperparameters=given()), 2, data(1)[0])


def test_points_are_brought_between_the_ends_in_proportion():
    rng = np.random.default_rng(0)
    with double_precision():
        brought = jax.jit(lambda space, seen: space.point(seen))
        for _ in range(30):
            inside = rng.dirichlet(np.full(PROJECTS, 0.3))
            low, high = (
                inside * rng.choice([0.0, 0.5, 1.0], PROJECTS),
                np.minimum(inside + rng.choice([0.0, 0.1, 1.0], PROJECTS), 1.0),
            )
            seen = np.where(rng.random(PROJECTS) < 0.4, -0.1, rng.normal(0.5, 0.5, PROJECTS))
            point = np.asarray(brought(simplex(low, high), jnp.asarray(seen)))
            assert abs(point.sum() - 1.0) < 1e-9 and (point >= low).all() and (point <= high).all()
            free = (point > low + 1e-9) & (point < high - 1e-9) & (seen > 0)
            ratios = point[free] / seen[free] ** 2
            np.testing.assert_allclose(ratios, ratios[:1].repeat(len(ratios)), rtol=1e-6)


def test_it_finds_the_best_split():
    points, values = map(list, data(8))
    for count in range(10):
        point = proposed(fitted(np.array(points), np.array(values), ALL), jax.random.key(count)).point
        points.append(point)
        values.append(saturating(point))
    sums = {"type": "eq", "fun": lambda x: x.sum() - 1.0}
    best = minimize(lambda x: -saturating(x), np.full(5, 0.2), bounds=[(0, 1)] * 5, constraints=sums, method="SLSQP")
    assert -best.fun - max(values) < 3e-3 < -best.fun - max(values[:8])


def test_a_box_is_searched_whatever_its_units():
    low, high = np.array([-5.0, 1000.0]), np.array([10.0, 4000.0])
    space = box(low, high)

    def hill(points):
        return -((points[..., 0] - 3.0) ** 2) - ((points[..., 1] - 1500.0) / 200.0) ** 2

    points = np.random.default_rng(0).uniform(low, high, (6, 2))
    for count in range(8):
        found = proposed(fitted(points, hill(points), space), jax.random.key(count))
        assert ((found.point >= low) & (found.point <= high)).all()
        points = np.vstack([points, found.point])
    assert hill(points).max() > -0.1


def test_a_prior_mean_is_what_is_expected_where_nothing_is_known_and_noise_can_be_given():
    points, values = data()
    with_mean = fitted(points, values + 7.0, ALL, prior_mean=expected, hyperparameters=given(0.05))
    others = np.eye(PROJECTS)
    # Far from all evaluations only the constant is left, which says how far the values are from the prior mean.
    wanted = np.asarray(expected(others)) + np.mean(values + 7.0 - np.asarray(expected(points)))
    np.testing.assert_allclose(predicted(with_mean, others, expected)[0], wanted, atol=0.2 * values.std())
    exact, loose = (predicted(fitted(points, values, ALL, noise=noise), points) for noise in (0.0, np.full(12, 0.5)))
    np.testing.assert_allclose(exact[0], values, atol=1e-5)
    assert exact[1].max() < 1e-3 and abs(loose[0] - values).max() > 0.05
    assert isinstance(proposed(with_mean, KEY, prior_mean=expected), Proposal)


def expected(points):
    return 2.0 * points[..., 1]


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda p, v: (p, np.append(v[:-1], np.nan)), "evaluation 11 is not finite"),
        (lambda p, v: (np.where(p == p[3, 2], np.inf, p), v), "evaluation 3 is not finite"),
        (lambda p, v: (p - 0.5, v), "a share is negative"),
        (lambda p, v: (p[1:], v), "a value for each point"),
        (lambda p, v: (p[:0], v[:0]), "a value for each point"),
    ],
)
def test_data_that_are_refused(change, says):
    with pytest.raises(InputError, match=says):
        fitted(*change(*data()), ALL)


def test_noise_and_spaces_that_are_refused():
    with pytest.raises(InputError, match="noise"):
        fitted(*data(), ALL, noise=-1.0)
    with pytest.raises(InputError, match="sum to at most 1"):
        simplex(np.full(3, 0.5), np.ones(3))
    with pytest.raises(InputError, match="low < high"):
        box(np.zeros(2), np.array([1.0, np.inf]))
    with pytest.raises(InputError, match="acquisition is 'best'"):
        proposed(fitted(*data(), ALL, hyperparameters=given()), KEY, "best")


def test_jitter_grows_until_it_suffices_and_then_there_is_an_error(monkeypatch):
    points, values = (np.repeat(each, 2, 0) for each in data())
    exact = given(length=100.0, noise=0.0)
    for jitters in ((0.0, 1e-6), blackbox.JITTERS):
        monkeypatch.setattr(blackbox, "JITTERS", jitters)
        assert np.isfinite(predicted(fitted(points, values, ALL, hyperparameters=exact), points)).all()
    monkeypatch.setattr(blackbox, "JITTERS", (0.0,))
    with pytest.raises(blackbox.IllConditioned, match="24 evaluations"):
        fitted(points, values, ALL, hyperparameters=exact)
