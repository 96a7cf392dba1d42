"""Instances of the social resource allocation problem: networks and arrivals."""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc.allocators.instances import Among, Setting, arrivals, draw_network, instance, read_setting

KEY = jax.random.key(4)


def networks(setting, n=200):
    return np.asarray(jax.jit(jax.vmap(lambda k: draw_network(setting, k)))(jax.random.split(KEY, n)))


@pytest.mark.parametrize("kind", ["small_world", "scale_free", "random", "barabasi_albert"])
@pytest.mark.parametrize(("agents", "degree"), [(8, 2), (11, 4)])
@pytest.mark.parametrize("layout", ["thesis", "shuffled"])
def test_networks_are_simple_and_connected(kind, agents, degree, layout):
    drawn = networks(Setting(network=kind, agents=agents, degree=degree, layout=layout), 60)
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
        drawn = networks(Setting(network="scale_free", agents=agents))
        assert drawn.sum((1, 2)).mean() / agents == pytest.approx(degree, abs=0.12)


def test_a_small_world_is_rewired_as_often_as_it_says():
    """Of 10 x 4 / 2 edges of a ring each moves with probability 0.05: one of 20 on average (standard error 0.07)."""
    drawn = networks(Setting(agents=10, degree=4))
    ring = nx.to_numpy_array(nx.circulant_graph(10, [1, 2])).astype(bool)
    moved = (drawn & ~ring).sum((1, 2)) / 2
    assert moved.mean() == pytest.approx(1.0, abs=0.25)


def test_arrivals_follow_the_setting():
    """Settings of 7.5.4: numbers of tasks, utilities and stocks are among those allowed, each about equally often."""
    setting = Setting(
        agents=10, degree=4, tasks=(1, 2, 4), shuffled_utilities=True, requester_stock=(0, 1, 2), provider_stock=(7, 9)
    )
    joined = draw_network(setting, KEY)

    @jax.jit
    @jax.vmap
    def draw(key):
        return ba.seed_by_name(lambda: arrivals(setting, joined), key)()

    problem = draw(jax.random.split(KEY, 300))
    counts = problem.real.reshape(300, 10, 4).sum(-1)
    assert set(np.unique(counts)) == {1, 2, 4}
    assert set(np.unique(problem.utility)) == {4, 9, 16, 25}
    assert set(np.unique(problem.resources[:, :5])) == {0, 1, 2} and set(np.unique(problem.resources[:, 5:])) == {7, 9}
    share = (counts == 2).mean()  # of 3,000 draws: standard error 0.009
    assert share == pytest.approx(1 / 3, abs=0.035)
    fixed = ba.seed_by_name(lambda: arrivals(Setting(), draw_network(Setting(), KEY)), KEY)()
    assert fixed.utility[:4].tolist() == [4, 9, 16, 25] and fixed.real.all()
    assert fixed.resources.tolist() == [[1, 1]] * 4 + [[11, 11]] * 4


def test_stock_and_cost_leave_the_rest_of_an_instance_as_it_was():
    """And nothing is compiled for them: the network is drawn by a program that knows nothing of them."""
    one, other = (
        instance(Setting(layout="shuffled", tasks=(1, 2), provider_stock=(stock,), per_item=cost), KEY)
        for stock, cost in ((6, 1.0), (9, 2.5))
    )
    assert (one.resources[4:] == 6).all() and (other.resources[4:] == 9).all() and other.per_item == 2.5
    same = other._replace(resources=one.resources, per_item=one.per_item)
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), one, same))


def test_among_says_how_likely_each_value_is():
    among = Among((1, 1, 4))
    np.testing.assert_allclose(jnp.exp(among.log_prob(jnp.array([1, 4, 2]))), [2 / 3, 1 / 3, 0], rtol=1e-6)


def test_settings_are_read_over_a_default(tmp_path):
    path = tmp_path / "setting.toml"
    path.write_text("agents = 6\ntasks = [1, 3]\nnetwork = 'random'\nper_item = 2\n")
    default = Setting(types=3)
    assert read_setting(path, default) == Setting(types=3, agents=6, tasks=(1, 3), network="random", per_item=2.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("agents = 6\ncolour = 'red'\n", "unknown fields colour"),
        ("agents = 'six'\n", r"Expected `int`.*agents"),
        ("network = 'star'\n", "star"),
        ("tasks = []\n", "tasks must have at least one"),
        ("agents = 1\n", "agents is 1"),
        ("agents = \n", "is not TOML"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, text, said):
    path = tmp_path / "setting.toml"
    path.write_text(text)
    with pytest.raises(ba.InputError, match=said) as refused:
        read_setting(path)
    assert str(path) in str(refused.value)
    with pytest.raises(ba.InputError, match="no such file"):
        read_setting(tmp_path / "none.toml")
