"""DEC-PRICE on instances of all kinds: never below zero, above the optimum, or the optimum above its bound."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from bayesalloc.allocators import allocate, make_problem, prices, solve
from bayesalloc.allocators.evaluate import exact, merged
from bayesalloc.allocators.prices import Links, certified, hear, priced

KEY = jax.random.key(0)
AGENTS, TASKS, TYPES = 5, 5, 2
PAIRS = np.stack(np.triu_indices(AGENTS, 1), axis=1)
RUN = {name: jax.jit(lambda problem, name=name: priced(problem)) for name in ("table", "list")}


@st.composite
def problems(draw):
    """Ties, zeros, packages, and magnitudes far apart; links that are not weigh infinity, tasks may not be real."""

    def each(count, *choices):
        return np.array(draw(st.lists(st.sampled_from(choices), min_size=count, max_size=count)), float)

    weights = each(len(PAIRS), 1.0, 1.0, 2.5, 1e-4, 1e4, np.inf, np.inf, np.inf)
    path = PAIRS[:, 1] - PAIRS[:, 0] == 1
    weights[path & np.isinf(weights)] = 1.0
    unit = draw(st.sampled_from([1e-3, 1.0, 1e6]))
    requires = each(TASKS * TYPES, 0, 0, 1, 2, 5, 100).reshape(TASKS, TYPES)
    stock = each(AGENTS * TYPES, 0, 1, 3, 11, 100_000).reshape(AGENTS, TYPES)
    owner = draw(st.lists(st.integers(0, AGENTS - 1), min_size=TASKS, max_size=TASKS))
    made = make_problem(
        PAIRS, weights, stock, owner, unit * each(TASKS, 0, 1, 4, 9, 9, 25), requires,
        per_item=draw(st.sampled_from([0.0, 1e-4, 1.0, 7.5, 1e4])),
        package_size=draw(st.sampled_from([1, 1, 2, 20, 1_000])),
    )  # fmt: skip
    return made._replace(real=jnp.asarray(each(TASKS, 1, 1, 1, 0) > 0))


@pytest.mark.parametrize("form", RUN)
def test_it_lies_between_nothing_and_the_optimum_and_that_below_its_bound(form, monkeypatch):
    """Whether allocations are a table of all quantities or a list of sales."""
    if form == "list":
        monkeypatch.setattr(prices, "DENSE", 0)

    @settings(max_examples=120, deadline=None, derandomize=True, database=None)
    @given(problem=problems())
    def check(problem):
        allocation, learned = RUN[form](problem)
        value, best = exact(problem, merged(allocation)), solve(problem)
        welfare, bound = float(value.social_welfare), certified(problem, learned)
        assert value.feasible and best.optimal
        assert 0 <= welfare <= best.bound * (1 + 1e-9)
        assert best.bound <= bound * (1 + 1e-9) + 1e-12
        assert float(allocation.bound) == pytest.approx(bound, rel=1e-4, abs=1e-4)  # the same in float32

    check()


FREE = make_problem(
    [[0, 1], [1, 2]], [1.0, 2.5], [[1, 1], [0, 2], [3, 3]], [0], [9.0], [[2, 2]], per_item=0.0
)  # fmt: skip
LOSING = make_problem(
    [[0, 1]], [10.0], [[0, 0], [100, 1]], [0, 0], [5.0, 1.0], [[0, 1], [100, 0]], package_size=1_000
)  # fmt: skip
TOO_LITTLE_TO_TELL = make_problem(  # in float32 a price of a million hides the way
    [[0, 1], [1, 2], [2, 3]], [1.0] * 3, [[0], [0], [0], [4]], [0, 1], [4e6, 4e6], [[2], [2]], per_item=1e-4
)


@pytest.mark.parametrize(("problem", "right"), [(FREE, 9.0), (LOSING, 0.0), (TOO_LITTLE_TO_TELL, 8e6 - 1e-3)])
def test_what_it_gave_wrong(problem, right):
    result = allocate(problem, "dec-price", KEY)
    assert result["social_welfare"] == pytest.approx(right, rel=1e-12)
    assert result["upper_bound"] >= right


def test_packages_are_shared_by_what_comes_in_several_rounds():
    """Two providers of 3 and 2 items, at 1 a package of 10: what is left pays, as a list of sales too."""
    problem = make_problem(
        [[0, 1], [1, 2]], [1.0, 1.0], [[0], [3], [2]], [0], [3.5], [[5]], package_size=10
    )  # fmt: skip
    assert allocate(problem, "dec-price", KEY)["social_welfare"] == pytest.approx(0.5)


def test_ways_that_cost_nothing_do_not_lead_in_a_circle():
    """On a ring where one agent sells, everybody hears its offer, over the fewest hops."""
    n = 9
    one, other = np.arange(n), (np.arange(n) + 1) % n
    links = Links(jnp.r_[one, other], jnp.r_[other, one], jnp.full(2 * n, 3.0))
    asked = jnp.full((n, 1), jnp.inf).at[4].set(1e6)
    for unit in (0.0, 1e-6):
        offers, _ = jax.jit(hear)(links, asked, jnp.asarray([unit]))
        hops = np.minimum(abs(one - 4), n - abs(one - 4))
        assert (offers.provider == 4).all() and offers.hops[:, 0].tolist() == hops.tolist()
        assert offers.distance[:, 0].tolist() == (3.0 * hops).tolist()


def test_free_transport_on_many_agents_uses_the_pool():
    """Half of 60 agents hold 4 items each, which is what the tasks of all require together: all are done."""
    edges = [[k, (k + 1) % 60] for k in range(60)]
    stock, utility = [[4]] * 30 + [[0]] * 30, np.arange(1.0, 61.0)
    problem = make_problem(edges, np.ones(60), stock, np.arange(60), utility, [[2]] * 60, per_item=0.0)
    assert allocate(problem, "dec-price", KEY)["social_welfare"] == 60 * 61 / 2
