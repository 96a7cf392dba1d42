"""The srap environment: networks, arrivals, allocators compared as interventions, refused settings."""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc.environment import stack
from bayesalloc.models import srap

KEY = jax.random.key(4)


def networks(setting, n=200):
    return np.asarray(jax.jit(jax.vmap(lambda k: srap.draw_network(setting, k)))(jax.random.split(KEY, n)))


@pytest.mark.parametrize("kind", ["small_world", "scale_free", "random", "barabasi_albert"])
@pytest.mark.parametrize(("agents", "degree"), [(8, 2), (11, 4)])
@pytest.mark.parametrize("layout", ["thesis", "shuffled"])
def test_networks_are_simple_and_connected(kind, agents, degree, layout):
    drawn = networks(srap.Setting(network=kind, agents=agents, degree=degree, layout=layout), 60)
    assert (drawn == drawn.transpose(0, 2, 1)).all() and not drawn.diagonal(axis1=1, axis2=2).any()
    assert all(nx.is_connected(nx.from_numpy_array(one)) for one in drawn)
    degrees = drawn.sum((1, 2)) / agents
    if kind in ("small_world", "random"):  # their mean degree is exact
        assert (degrees == degree).all()
    if kind == "barabasi_albert":
        m = degree // 2
        assert (degrees == 2 * (m + m * (agents - m - 1)) / agents).all()


def test_the_scale_free_generator_has_the_mean_degree_of_the_thesis():
    """About 2.2 at 8 agents and 2.9 at 40 (the standard error of 200 graphs is below 0.04)."""
    for agents, degree in ((8, 2.2), (40, 2.9)):
        drawn = networks(srap.Setting(network="scale_free", agents=agents))
        assert drawn.sum((1, 2)).mean() / agents == pytest.approx(degree, abs=0.12)


def test_a_small_world_is_rewired_as_often_as_it_says():
    """Of 10 x 4 / 2 edges of a ring each moves with probability 0.05: one of 20 on average (standard error 0.07)."""
    drawn = networks(srap.Setting(agents=10, degree=4))
    ring = nx.to_numpy_array(nx.circulant_graph(10, [1, 2])).astype(bool)
    moved = (drawn & ~ring).sum((1, 2)) / 2
    assert moved.mean() == pytest.approx(1.0, abs=0.25)


def test_arrivals_follow_the_setting():
    """Settings of 7.5.4: numbers of tasks, utilities and stocks are among those allowed, each about equally often."""
    setting = srap.Setting(
        agents=10, degree=4, tasks=(1, 2, 4), shuffled_utilities=True, requester_stock=(0, 1, 2), provider_stock=(7, 9)
    )
    joined = srap.draw_network(setting, KEY)

    @jax.jit
    @jax.vmap
    def draw(key):
        return ba.seed_by_name(lambda: srap.arrivals(setting, joined), key)()

    problem = draw(jax.random.split(KEY, 300))
    counts = problem.real.reshape(300, 10, 4).sum(-1)
    assert set(np.unique(counts)) == {1, 2, 4}
    assert set(np.unique(problem.utility)) == {4, 9, 16, 25}
    assert set(np.unique(problem.resources[:, :5])) == {0, 1, 2} and set(np.unique(problem.resources[:, 5:])) == {7, 9}
    share = (counts == 2).mean()  # of 3,000 draws: standard error 0.009
    assert share == pytest.approx(1 / 3, abs=0.035)
    fixed = ba.seed_by_name(lambda: srap.arrivals(srap.Setting(), srap.draw_network(srap.Setting(), KEY)), KEY)()
    assert fixed.utility[:4].tolist() == [4, 9, 16, 25] and fixed.real.all()
    assert fixed.resources.tolist() == [[1, 1]] * 4 + [[11, 11]] * 4


def test_comparing_allocators_is_comparing_interventions_on_the_same_arrivals():
    env = srap.market(srap.Setting(tasks=(2,), utilities=(9, 16), provider_stock=(5,)), ("cen-grd", "cen-grd+"))
    tree = ba.compare(env, None, KEY, draws=40, horizon=2, futures=2)
    effect = tree["effects"].to_dataset()["social_welfare"]
    assert tree.attrs["control"] == "cen-grd"
    assert float(effect.sel(statistic="ate").squeeze()) > 0
    twice = ba.rollout(env, ba.hold, KEY, arms=stack([np.int32(0), np.int32(0), np.int32(1)]), replicates=10, horizon=2)
    assert np.array_equal(twice.social_welfare[:, 0], twice.social_welfare[:, 1])
    assert (twice.social_welfare[:, 2] >= 0).all()


def test_stocks_can_be_intervened_on():
    env = srap.market(srap.Setting(), ("cen-grd+",))
    arms = stack([np.int32(0)])
    none = ba.rollout(env, ba.hold, KEY, arms=arms, replicates=3, horizon=2, interventions={"provider_stock": 0})
    as_it_is = ba.rollout(env, ba.hold, KEY, arms=arms, replicates=3, horizon=2)
    assert (none.tasks_done < as_it_is.tasks_done).all()
    with pytest.raises(ba.InterventionError, match="provider_stock"):
        ba.rollout(env, ba.hold, KEY, arms=arms, replicates=3, horizon=2, interventions={"provider_stock": -1})


@pytest.fixture(scope="module")
def faulted():
    """Mean welfare of the negotiation, per episode, under an intervention on what may go wrong; and of `cen-grd+`."""
    env = srap.market(methods=("dec-grd", "cen-grd+"), faults=True)
    arms = stack([np.int32(0), np.int32(1)])

    def run(**sites):
        found = ba.rollout(env, ba.hold, KEY, arms=arms, replicates=60, horizon=4, interventions=sites)
        return np.asarray(found.social_welfare).mean(0), float(found.messages[:, 0].mean())

    return run


def test_faults_are_interventions(faulted):
    """Loss and stopping stay within the bounds that are asked of them: 0.9 with retries, and 1 - 1.5 f."""
    (calm, central), messages = faulted()
    (lossy, same), more = faulted(message_loss=0.2)
    assert np.array_equal(central, same)  # nobody sends messages there
    assert 0.9 < lossy.mean() / calm.mean() < 1.0 and more > messages
    (delayed, _), _ = faulted(message_delay=1.0)
    assert 0.9 < delayed.mean() / calm.mean() <= 1.0
    (late, same), _ = faulted(stopped_after_confirming=0.25)
    assert np.array_equal(central, same)
    (early, fewer), _ = faulted(stopped_before_offering=0.25)
    assert (fewer < central).all()
    for stopped in (early, late):
        assert 1 - 1.5 * 0.25 < stopped.mean() / calm.mean() < 1.0


def test_lies_cost_and_are_remembered(faulted):
    (calm, _), _ = faulted()
    (believed, _), _ = faulted(liars=0.3, reputation=0.0)
    assert believed.mean() < calm.mean()
    assert np.ptp(believed) == 0.0  # the same episode again and again: nothing was learned
    (doubted, _), _ = faulted(liars=0.3)
    assert doubted[0] == believed[0] and np.ptp(doubted) > 0.0


def test_without_faults_nothing_goes_wrong(faulted):
    env = srap.market(methods=("dec-grd", "cen-grd+"))
    arms = stack([np.int32(0), np.int32(1)])
    plain = ba.rollout(env, ba.hold, KEY, arms=arms, replicates=60, horizon=4)
    np.testing.assert_allclose(np.asarray(plain.social_welfare).mean(0), faulted()[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (srap.Setting(agents=1), "agents is 1"),
        (srap.Setting(degree=8), "degree is 8"),
        (srap.Setting(degree=3, agents=10), "even"),
        (srap.Setting(tasks=(5,)), "5 tasks"),
        (srap.Setting(package_size=0), "package size at least 1"),
        (srap.Setting(required=-1), "0 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(setting, said):
    with pytest.raises(ba.InputError, match=said):
        srap.market(setting)


def test_allocators_that_are_not_there_are_refused():
    with pytest.raises(ba.InputError, match="no allocator 'best'"):
        srap.market(methods=("best",))
    with pytest.raises(ba.InputError, match="no allocator 'opt'"):
        srap.environment.arms(["opt"])


def test_among_says_how_likely_each_value_is():
    among = srap.Among((1, 1, 4))
    np.testing.assert_allclose(jnp.exp(among.log_prob(jnp.array([1, 4, 2]))), [2 / 3, 1 / 3, 0], rtol=1e-6)
