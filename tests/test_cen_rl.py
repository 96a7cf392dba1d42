"""CEN-RL: the published master and ours, by hand, on sizes they were not trained for, and against the greedy order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc.agents import policies
from bayesalloc.allocators import allocate, cen_grd_plus, evaluate, learned, make_problem
from bayesalloc.allocators.instances import Setting, arrivals, draw_network
from bayesalloc.allocators.learned import cen_rl
from bayesalloc.allocators.sequential import greedy, in_sequence
from bayesalloc.following import seed_by_name

KEY = jax.random.key(3)
SMALL = Setting(agents=4, tasks=(1, 2), provider_stock=(3, 5))
PLANS = {"thesis": cen_rl.thesis(SMALL, 10), "ours": cen_rl.ours(SMALL, 10)}


def instance(key=KEY, setting=SMALL):
    network, arrive = jax.random.split(key)
    return seed_by_name(lambda: arrivals(setting, draw_network(setting, network)), arrive)()


def policy(preset):
    plan = PLANS[preset]
    return policies.Policy("cen-rl", plan, cen_rl.network(plan, KEY), episodes=10, steps=70, seed=5)


def test_a_network_that_sees_no_difference_is_the_greedy_order():
    """Its corrections are below the margin everywhere; one that loves stopping does nothing."""
    problem = instance()
    indifferent = cen_rl.cen_rl(lambda seen: 0.04 * jnp.sin(jnp.arange(len(seen) + 1.0)), "gain", 0.1)
    central, ours = cen_grd_plus(problem), indifferent(problem)
    assert evaluate(problem, ours).social_welfare == evaluate(problem, central).social_welfare > 0
    same = in_sequence(problem, lambda now: greedy(now.options), "gain")
    assert np.array_equal(ours.quantity, same.quantity)
    stopping = cen_rl.cen_rl(lambda seen: (jnp.arange(len(seen) + 1) == len(seen)).astype(float), "gain", 0.1)
    assert not stopping(problem).quantity.any()


def test_the_published_network_values_possible_agents_only():
    """A network that prefers agent 3 names it while it has a possible task, and then the first that has one."""
    problem = instance()
    plan = PLANS["thesis"]

    def third(seen):
        return jnp.where(jnp.arange(4) == 3, 1.0, 0.0)

    found = evaluate(problem, jax.jit(cen_rl.allocator(plan, third))(problem, KEY))
    assert found.feasible and found.done[problem.owner == 3].any()


def test_published_places_are_filled_in_the_order_of_tasks():
    """Tasks in another order, and without the padding of a setting, are seen alike and done alike."""
    full = instance()
    kept = np.flatnonzero(np.asarray(full.real))[::-1]
    one_of_each = kept[np.sort(np.unique(np.asarray(full.owner)[kept], return_index=True)[1])]
    few = full._replace(real=jnp.zeros_like(full.real).at[one_of_each].set(True))  # one real task per agent
    reordered = few._replace(**{n: getattr(few, n)[one_of_each] for n in ("owner", "utility", "requires", "real")})
    run = jax.jit(learned.allocator(policy("thesis")))
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
    policies.save(path, policy("thesis"))
    with pytest.raises(ba.InputError, match=said):
        allocate(problem, "cen-rl", KEY, policy=path)


def test_ours_act_on_any_size(tmp_path):
    path = tmp_path / "some.policy"
    policies.save(path, policy("ours"))
    result = allocate(line(5, [0, 0, 4], types=1), "cen-rl", KEY, policy=path)
    assert result["method"] == "cen-rl" and result["messages"] is None and result["social_welfare"] >= 0
    with pytest.raises(ba.InputError, match="cen-grd does not act by a policy"):
        allocate(line(5, [0]), "cen-grd", KEY, policy=path)


def test_the_shipped_policy_is_better_than_the_greedy_order():
    """Over 400 instances of what it was trained for: the mean paired difference, two standard errors above zero."""
    shipped = learned.policy("cen-rl")
    problems = jax.vmap(lambda key: instance(key, shipped.plan.setting))(jax.random.split(KEY, 400))

    def gain(problem):
        pair = learned.allocator(shipped)(problem), cen_grd_plus(problem)
        found = [evaluate(problem, each) for each in pair]
        return found[0].social_welfare - found[1].social_welfare, found[0].feasible

    gains, feasible = jax.jit(jax.vmap(gain))(problems)
    assert feasible.all()
    assert gains.mean() > 2 * gains.std(ddof=1) / len(gains) ** 0.5
