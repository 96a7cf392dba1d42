"""Learned policies: their files, what is refused, and the allocators that they become."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc.agents import leaves, master, policies
from bayesalloc.allocators import allocate, cen_grd_plus, evaluate, make_problem
from bayesalloc.allocators.instances import Setting, arrivals, draw_network, read_setting
from bayesalloc.allocators.sequential import greedy, in_sequence
from bayesalloc.following import seed_by_name
from bayesalloc.runs import NotWritten

KEY = jax.random.key(3)
SMALL = Setting(agents=4, tasks=(1, 2), provider_stock=(3, 5))
PLANS = {"thesis": master.thesis(SMALL, 10), "ours": master.ours(SMALL, 10)}


def instance(key=KEY, setting=SMALL):
    network, arrive = jax.random.split(key)
    return seed_by_name(lambda: arrivals(setting, draw_network(setting, network)), arrive)()


def policy(preset):
    plan = PLANS[preset]
    return policies.Policy("cen-rl", plan, master.network(plan, KEY), episodes=10, steps=70, seed=5)


@pytest.mark.parametrize("preset", PLANS)
def test_a_policy_comes_back_from_its_file(tmp_path, preset):
    made, path = policy(preset), tmp_path / "some.policy"
    policies.save_policy(path, made)
    assert [file.name for file in tmp_path.iterdir()] == ["some.policy"]
    back = policies.load_policy(path, "cen-rl")
    assert back._replace(network=None) == made._replace(network=None)
    for one, other in zip(jax.tree.leaves(made.network), jax.tree.leaves(back.network), strict=True):
        assert one.dtype == other.dtype and np.array_equal(one, other)
    problem = instance()
    pair = [jax.jit(each.allocator())(problem, KEY) for each in (made, back)]
    assert np.array_equal(pair[0].quantity, pair[1].quantity)
    assert evaluate(problem, pair[0]).feasible


def changed(path, old, new):
    """And the first line without its checksum, so that it is judged by what it says."""
    data = re.sub(rb', "header_crc32": \d+', b"", path.read_bytes(), count=1)
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


DAMAGED = {
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:-3]), "is damaged"),
    "a bit turned": (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\xff"), "is damaged"),
    "a word turned": (lambda path: path.write_bytes(path.read_bytes().replace(b"thesis", b"theses")), "is damaged"),
    "empty": (lambda path: path.write_bytes(b""), "is not a policy"),
    "not a policy": (lambda path: path.write_bytes(b"\x89PNG\r\n"), "is not a policy"),
    "not there": (lambda path: path.unlink(), "no such file"),
    "a checkpoint": (lambda path: leaves.write(path, "checkpoint", {}, jnp.zeros(2)), "is not a policy"),
    "of another method": (lambda path: changed(path, b'"cen-rl"', b'"dec-xx"'), "dec-xx"),
    "of a later format": (lambda path: changed(path, b'"format": 1', b'"format": 9'), "format 9"),
    "without a plan": (lambda path: changed(path, b'"plan"', b'"plam"'), "describes no policy"),
    "a rule that is not there": (lambda path: changed(path, b'"rule": "thesis"', b'"rule": "theses"'), "describes no"),
    "other sizes": (lambda path: changed(path, b'"layers": [100', b'"layers": [101'), "its arrays"),
    "fewer layers": (lambda path: changed(path, b"[100, 50, 25]", b"[100, 50]"), "arrays"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_files_that_are_no_such_policy_are_refused_in_one_sentence(tmp_path, case):
    path = tmp_path / "some.policy"
    policies.save_policy(path, policy("thesis"))
    damage, said = DAMAGED[case]
    damage(path)
    with pytest.raises(ba.InputError, match=said) as refused:
        policies.load_policy(path, "cen-rl")
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_a_failed_write_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "some.policy"
    policies.save_policy(path, policy("thesis"))
    before = path.read_bytes()

    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(leaves.os, "fsync", full)
    with pytest.raises(NotWritten, match="No space left"):
        policies.save_policy(path, policy("ours"))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_random_keys_are_kept(tmp_path):
    tree = {"key": jax.random.key(7), "keys": jax.random.split(jax.random.key(8), 3), "old": jax.random.PRNGKey(1)}
    leaves.write(tmp_path / "file", "test", {"note": 1}, tree)
    stored = leaves.read(tmp_path / "file", "test")
    back = stored.tree(jax.eval_shape(lambda: tree))
    assert stored.header["note"] == 1
    for name in tree:
        assert back[name].dtype == tree[name].dtype
        assert np.array_equal(jax.random.key_data(back[name]), jax.random.key_data(tree[name]))


def test_a_network_that_sees_no_difference_is_the_greedy_order():
    """Its corrections are below the margin everywhere; one that loves stopping does nothing."""
    problem = instance()
    indifferent = master.cen_rl(lambda seen: 0.04 * jnp.sin(jnp.arange(len(seen) + 1.0)), "gain", 0.1)
    central, ours = cen_grd_plus(problem), indifferent(problem)
    assert evaluate(problem, ours).social_welfare == evaluate(problem, central).social_welfare > 0
    same = in_sequence(problem, lambda now: greedy(now.options), "gain")
    assert np.array_equal(ours.quantity, same.quantity)
    stopping = master.cen_rl(lambda seen: 1.0 * (jnp.arange(len(seen) + 1) == len(seen)), "gain", 0.1)
    assert not stopping(problem).quantity.any()


def test_the_published_network_values_possible_agents_only():
    """A network that prefers agent 3 names it while it has a possible task, and then the first that has one."""
    problem = instance()
    plan = PLANS["thesis"]

    def third(seen):
        return jnp.where(jnp.arange(4) == 3, 1.0, 0.0)

    found = evaluate(problem, jax.jit(master.allocator(plan, third))(problem, KEY))
    assert found.feasible and found.done[problem.owner == 3].any()


def test_published_places_are_filled_in_the_order_of_tasks():
    """Tasks in another order, and without the padding of a setting, are seen alike and done alike."""
    full = instance()
    kept = np.flatnonzero(np.asarray(full.real))[::-1]
    one_of_each = kept[np.sort(np.unique(np.asarray(full.owner)[kept], return_index=True)[1])]
    few = full._replace(real=jnp.zeros_like(full.real).at[one_of_each].set(True))  # one real task per agent
    reordered = few._replace(**{n: getattr(few, n)[one_of_each] for n in ("owner", "utility", "requires", "real")})
    run = jax.jit(policy("thesis").allocator())
    padded, bare = run(few, KEY), run(reordered, KEY)
    assert padded.quantity.shape[0] == 8 and bare.quantity.shape[0] == len(one_of_each) == 4
    assert np.array_equal(padded.quantity[one_of_each], bare.quantity)
    values = [float(evaluate(*pair).social_welfare) for pair in ((few, padded), (reordered, bare))]
    assert values[0] == values[1]


def line(agents, owner, types=2):
    edges = [[k, k + 1] for k in range(agents - 1)]
    return make_problem(
        edges, [1.0] * (agents - 1), [[3] * types] * agents, owner, [9.0] * len(owner), [[1] * types] * len(owner)
    )


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (line(5, [0]), "the problem has 5 agents"),
        (line(4, [0], types=1), "and 1 types"),
        (line(4, [0, 1, 1, 1]), "up to 3 tasks"),
    ],
)
def test_published_policies_act_on_one_size_only(tmp_path, problem, said):
    path = tmp_path / "some.policy"
    policies.save_policy(path, policy("thesis"))
    with pytest.raises(ba.InputError, match=said):
        allocate(problem, "cen-rl", KEY, policy=path)


def test_ours_act_on_any_size(tmp_path):
    path = tmp_path / "some.policy"
    policies.save_policy(path, policy("ours"))
    result = allocate(line(5, [0, 0, 4], types=1), "cen-rl", KEY, policy=path)
    assert result["method"] == "cen-rl" and result["messages"] is None and result["social_welfare"] >= 0
    with pytest.raises(ba.InputError, match="cen-grd does not act by a policy"):
        allocate(line(5, [0]), "cen-grd", KEY, policy=path)


@pytest.mark.parametrize("name", policies.METHODS)
def test_shipped_policies_are_what_the_default_preset_makes(name):
    assert policies.shipped(name).plan == next(iter(policies.METHODS[name].presets.values()))(None, None)


def test_the_shipped_policy_is_better_than_the_greedy_order():
    """Over 400 instances of what it was trained for: the mean paired difference, two standard errors above zero."""
    shipped = policies.shipped("cen-rl")
    problems = jax.vmap(lambda key: instance(key, shipped.plan.setting))(jax.random.split(KEY, 400))

    def gain(problem):
        pair = shipped.allocator()(problem), cen_grd_plus(problem)
        found = [evaluate(problem, each) for each in pair]
        return found[0].social_welfare - found[1].social_welfare, found[0].feasible

    gains, feasible = jax.jit(jax.vmap(gain))(problems)
    assert feasible.all()
    assert gains.mean() > 2 * gains.std(ddof=1) / len(gains) ** 0.5


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


def test_methods_that_are_not_there_are_refused():
    with pytest.raises(ba.InputError, match="no learned method 'best'"):
        policies.method("best")
