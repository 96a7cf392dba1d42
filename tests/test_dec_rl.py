"""DEC-RL: learned answers against greedy ones and by hand, under faults, relabelled, trained, stored and used."""

import dataclasses
import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from jaxtyping import Array

import bayesalloc as ba
from bayesalloc.agents import policies, training
from bayesalloc.agents.networks import Dense, Scorer
from bayesalloc.allocators import allocate, evaluate, make_problem
from bayesalloc.allocators.darap import DEFAULT, THESIS, Darap, dec_grd, with_minds
from bayesalloc.allocators.darap.answers import UNUSED
from bayesalloc.allocators.darap.faults import NO_FAULTS, Faults
from bayesalloc.allocators.darap.minds import Minds, Seen, features
from bayesalloc.allocators.instances import Setting
from bayesalloc.allocators.learned import REGISTRY, dec_rl
from tests.test_darap import instance, random_faults, stacked

AGENTS, BATCH, AMOUNTS = 6, 40, 8
QUICK = {"xla_backend_optimization_level": 0}  # compiles in less time
NEAR = Darap(max_hops=2, cycles=2)
SHARED, OWN = Seen("shared", AGENTS - 1, AMOUNTS), Seen("thesis", 4, AMOUNTS)


@functools.cache
def compiled(config: Darap, seen: Seen):
    def episode(problem, key, faults, networks, margin, epsilon):
        talk, choices = jax.random.split(jax.random.wrap_key_data(key))
        minds = Minds(seen, networks[0], networks[1], epsilon, margin, choices)
        allocation, record, lessons = with_minds(problem, talk, minds, config, faults)
        greedy = dec_grd(problem, talk, config, faults) if config.offer == "best" else None
        return allocation, record, lessons, greedy, evaluate(problem, allocation)

    batched = jax.vmap(episode, in_axes=(0, 0, 0, None, None, None))
    return jax.jit(batched, compiler_options=QUICK)


def run(config, seen, problems, networks, *, margin=0.0, epsilon=0.0, faults: Faults = NO_FAULTS):
    keys = jax.random.key_data(jax.random.split(jax.random.key(0), len(problems.owner)))
    arguments = jax.tree.map(np.asarray, (problems, keys, faults))
    return compiled(config, seen)(*arguments, networks, np.float32(margin), np.float32(epsilon))


def shared(seed: int = 0):
    """A random network that is every agent's; its values are far apart."""
    one = Scorer(features(AMOUNTS), 8, jax.random.key(seed), AMOUNTS)
    one = jax.tree.map(lambda leaf: 3.0 * leaf, one)
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (AGENTS, *leaf.shape)), one), None


def own(seed: int = 0):
    """Random networks of each agent, for offers and for confirmations."""

    def each(key):
        return jax.vmap(lambda key: Dense((2 + 4 * AMOUNTS, 8, 4 * AMOUNTS), key))(jax.random.split(key, AGENTS))

    return tuple(each(key) for key in jax.random.split(jax.random.key(seed)))


def instances(seed: int, count: int = BATCH):
    rng = np.random.default_rng(seed)
    return stacked([instance(rng, AGENTS, 2, 18) for _ in range(count)])


@pytest.mark.parametrize("faulty", [False, True])
def test_networks_that_do_not_promise_enough_are_the_greedy_answers(faulty):
    problems = instances(1)
    faults = random_faults(np.random.default_rng(2), BATCH, AGENTS) if faulty else NO_FAULTS
    allocation, record, lessons, greedy, _ = run(NEAR, SHARED, problems, shared(), margin=math.inf, faults=faults)
    jax.tree.map(np.testing.assert_array_equal, (allocation, record), greedy)
    offered, confirmed = lessons
    assert confirmed is None
    assert offered.made.sum() > 100 and not offered.strayed.any()
    assert np.count_nonzero(allocation.quantity) > 30
    followed = run(NEAR, SHARED, problems, shared(), margin=-math.inf, faults=faults)
    assert (followed[0].quantity != allocation.quantity).any((1, 2, 3)).any()  # they would do other things


def assert_nothing_is_lost(problems, record, evaluation):
    assert evaluation.feasible.all()
    kinds = np.stack([record.held, record.reserved, record.offered, record.consumed])
    assert (kinds >= 0).all()
    np.testing.assert_array_equal(kinds.sum(0), np.broadcast_to(problems.resources[:, None], kinds[0].shape))
    assert not kinds[1:3, :, -1].any()
    assert (record.overdue <= 0).all()


@pytest.mark.parametrize("epsilon", [0.0, 0.5])
@pytest.mark.parametrize(
    ("config", "seen", "networks", "faulty"),
    [(NEAR, SHARED, shared, False), (NEAR, SHARED, shared, True), (THESIS, OWN, own, True)],
)
def test_random_networks_lose_no_item(config, seen, networks, faulty, epsilon):
    problems = instances(3)
    faults = random_faults(np.random.default_rng(4), BATCH, AGENTS) if faulty else NO_FAULTS
    margin = -math.inf if epsilon == 0.0 else math.inf
    _, record, lessons, _, evaluation = run(
        config, seen, problems, networks(), margin=margin, epsilon=epsilon, faults=faults
    )
    assert_nothing_is_lost(problems, record, evaluation)
    for lesson in lessons:
        if lesson is not None:
            transitions, made = lesson.transitions, np.asarray(lesson.made)
            assert made.sum() > 30
            assert np.isfinite(transitions.reward).all() and np.isfinite(transitions.values).all()
            np.testing.assert_array_equal(transitions.discount, transitions.next_mask.any(-1))
            assert not (transitions.next_mask.any(-1) & ~made).any()
            assert not transitions.reward[~made].any()


def test_what_networks_confirm_is_what_is_sent():
    """Without a fault that strikes, all owners deliver what all origins choose together, cascades included."""
    none, ones = jnp.zeros(BATCH), jnp.ones((BATCH, AGENTS))
    calm = Faults(none, none, jnp.full((BATCH, AGENTS), UNUSED), ones, ones, ones)
    _, record, (offered, confirmed), _, _ = run(THESIS, OWN, instances(5), own(1), faults=calm)
    chosen = np.where(confirmed.made, confirmed.transitions.action % AMOUNTS + 1, 0)
    assert chosen.sum() > 60
    np.testing.assert_array_equal(chosen.sum((1, 2)), record.kept.sum(1))
    assert not record.broken.any()
    assert ((offered.transitions.reward == 0) & offered.made).any()  # offers that nobody wanted


class Fixed(eqx.Module):
    """A network that values actions the same whatever it sees."""

    values: Array

    def __call__(self, x: Array) -> Array:
        return self.values


def preferring(*actions: int) -> Fixed:
    """All three agents' networks: those actions first, in this order, then the others by number."""
    values = -np.arange(2.0 * AMOUNTS)
    values[list(actions)] = 100 - np.arange(len(actions))
    return Fixed(jnp.broadcast_to(jnp.asarray(values), (3, len(values))))


LINE = Darap(max_hops=1, tasks_per_agent=2, cycles=1, parts=0)
TWO = Seen("thesis", 2, AMOUNTS)


def line(lengths, stock, tasks):
    """Agents 0 - 1 - 2, one type, two tasks (owner, utility, requires)."""
    owner, utility, requires = zip(*tasks, strict=True)
    return make_problem([(0, 1), (1, 2)], lengths, [[s] for s in stock], owner, utility, [[q] for q in requires])


def alone(problem, networks):
    outcome = run(LINE, TWO, stacked([problem]), networks)
    return jax.tree.map(lambda x: np.asarray(x)[0], outcome)


def test_rewards_of_offers_by_hand():
    """Agent 1 has three items; agent 2 wants one for 6 and agent 0 two for 10, which is less per item."""
    problem = line([1, 1], [0, 3, 0], [(0, 10.0, 2), (2, 6.0, 1)])
    _, _, (offered, confirmed), _, evaluation = alone(problem, (preferring(), preferring()))
    made = offered.made
    assert made.tolist() == [[False, True, False], [False, True, False]]  # two turns of the one round
    first, second = (jax.tree.map(lambda x, turn=turn: x[turn, 1], offered.transitions) for turn in range(2))
    assert first.action == 0 and second.action == AMOUNTS + 1  # one item to agent 2, two to agent 0
    np.testing.assert_allclose([first.reward, second.reward], [(6 - 1) / 10, (10 - 2) / 10])
    gains = np.zeros((2, AMOUNTS))
    gains[0, 0], gains[1, 1] = 6 - 1, 10 - 2  # one item is worth nothing to agent 0, nor more than one to agent 2
    np.testing.assert_array_equal(first.values, [0, 3, *gains.reshape(-1)])
    gains[0] = 0
    np.testing.assert_array_equal(first.next_values, [0, 2, *gains.reshape(-1)])
    np.testing.assert_array_equal(first.next_values, second.values)
    assert np.flatnonzero(first.next_mask).tolist() == [AMOUNTS + 1]
    assert first.discount == 1.0 and second.discount == 0.0 and not second.next_mask.any()
    assert evaluation.social_welfare == 16 - 3
    assert np.flatnonzero(confirmed.made.any(0)).tolist() == [0, 2]
    np.testing.assert_allclose(confirmed.transitions.reward.sum(0), [0.8, 0, 0.5])


def test_an_offer_that_is_not_wanted_is_rewarded_with_nothing():
    """Agents 0 and 2 both offer the one item that agent 1 wants; agent 2 is farther."""
    problem = line([1, 2], [1, 0, 1], [(1, 6.0, 1), (1, 0.0, 9)])
    _, _, (offered, confirmed), _, evaluation = alone(problem, (preferring(), preferring()))
    assert offered.made[0].tolist() == [True, False, True]
    np.testing.assert_allclose(offered.transitions.reward[0], [0.5, 0, 0])
    np.testing.assert_allclose(confirmed.transitions.reward.sum(0), [0, 0.5, 0])
    assert evaluation.social_welfare == 5
    _, _, (offered, _), _, evaluation = alone(problem, (preferring(), preferring(AMOUNTS)))  # the dearer one instead
    np.testing.assert_allclose(offered.transitions.reward[0], [0, 0, 0.4])
    assert evaluation.social_welfare == 4


def test_confirmations_are_rewarded_at_the_margin_and_carried_out():
    """Agent 1 has tasks of one item for 10 and for 6; both neighbours offer it two. It takes one from each."""
    problem = line([1, 2], [5, 0, 5], [(1, 10.0, 1), (1, 6.0, 1)])
    allocation, record, (offered, confirmed), greedy, evaluation = alone(
        problem, (preferring(1), preferring(AMOUNTS, 0))
    )
    assert allocation.quantity.sum((0, 2)).tolist() == [1, 0, 1]
    assert greedy[0].quantity.sum((0, 2)).tolist() == [2, 0, 0]
    assert evaluation.social_welfare == 16 - 1 - 2
    actions = confirmed.transitions.action[:, 1]
    assert confirmed.made[:, 1].all() and actions.tolist() == [AMOUNTS, 0]  # the farther one first
    np.testing.assert_allclose(confirmed.transitions.reward[:, 1], [(10 - 2) / 10, (6 - 1) / 10])
    assert np.flatnonzero(confirmed.transitions.next_mask[0, 1]).tolist() == [0]  # one more item is all it lacks
    np.testing.assert_allclose(offered.transitions.reward[0], [(10 - 1) / 10, 0, (10 - 2) / 10])
    assert record.kept.tolist() == [1, 0, 1]


def relabelled(problem, order):
    """The same instance where agent k is called order[k]."""
    name = np.asarray(order, np.int32)
    return problem._replace(
        edges=name[np.asarray(problem.edges)], owner=name[np.asarray(problem.owner)],
        resources=np.asarray(problem.resources)[np.argsort(name)],
    )  # fmt: skip


def test_names_mean_nothing_to_a_shared_policy():
    """In trees, where no two copies of a request meet, with lengths and utilities that leave no ties."""
    rng, problems, others = np.random.default_rng(6), [], []
    for seed in range(BATCH):
        edges = [*nx.random_labeled_tree(AGENTS, seed=seed).edges]
        pad = 15 - len(edges)
        problem = make_problem(
            edges + [(0, 0)] * pad, [*rng.uniform(0.5, 2, len(edges)), *[np.inf] * pad],
            rng.integers(0, 9, (AGENTS, 2)) * rng.integers(0, 2, (AGENTS, 1)), rng.integers(0, AGENTS, 18),
            rng.uniform(1, 30, 18), rng.integers(0, 4, (18, 2)), package_size=1,
        )  # fmt: skip
        problems.append(problem)
        others.append(relabelled(problem, rng.permutation(AGENTS)))
    one, other = (run(NEAR, SHARED, stacked(each), shared(3)) for each in (problems, others))
    assert one[2][0].strayed.sum() > 10
    np.testing.assert_allclose(one[4].social_welfare, other[4].social_welfare, rtol=1e-5, atol=1e-4)


# In a triangle agent 2 has four items and keeps two for itself or none. Agent 0 wants two items for 16, which is more
# per item than the four that agent 1 wants for 25 and 4; but two of these pay 25.
TRIANGLE = Setting(
    agents=3, degree=2, types=1, tasks=(1, 2), utilities=(4, 16, 25), shuffled_utilities=True, requester_stock=(0,),
    provider_stock=(4,),
)  # fmt: skip


def triangle(agents: int = 3):
    edges = [(0, 1), (0, 2), (1, 2)] + [(k - 1, k) for k in range(3, agents)]
    stock = [[0], [0], [4]] + [[0]] * (agents - 3)
    return make_problem(edges, [1] * len(edges), stock, [0, 1, 1, 2], [16, 25, 4, 25], [[2]] * 4)


@functools.cache
def plan(preset: str) -> dec_rl.Plan:
    if preset == "thesis":
        made = dec_rl.thesis(TRIANGLE, 3_000)
        changes = {"optimiser": "adam", "explore_decay": 0.999, "patience": 0, "capacity": 2_000}
    else:
        made = dec_rl.ours(TRIANGLE, 6_000)
        changes = {"environments": 8, "capacity": 4_000, "batch": 64, "warmup": 100}
    protocol = dataclasses.replace(made.protocol, max_hops=1, cycles=1)
    return dataclasses.replace(made, protocol=protocol, config=dataclasses.replace(made.config, **changes))


@functools.cache
def course(preset: str) -> training.Course:
    return dec_rl.course(plan(preset))


@functools.cache
def trained(preset: str) -> training.Training:
    return training.train(course(preset), jax.random.key(1))


@functools.cache
def policy(preset: str) -> policies.Policy:
    done = trained(preset)
    return policies.Policy("dec-rl", plan(preset), course(preset).network(done.run), 3_000, 3_000, 1)


PRESETS = ("thesis", "ours")


def plain(leaf):
    return jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def assert_same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for mine, yours in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert mine.dtype == yours.dtype and np.array_equal(plain(mine), plain(yours), equal_nan=True)


@pytest.mark.parametrize("preset", PRESETS)
def test_training_counts_and_stays_finite(preset):
    done = trained(preset)
    assert done.rows[-1].episodes == int(done.run.episodes) >= plan(preset).episodes
    assert all(math.isfinite(done.rows[-1].series[name]) for name in ("loss", "return"))
    for learner, memory in zip(done.run.learners, done.run.memories, strict=True):
        assert (learner is None) == (memory is None)
        for leaf in jax.tree.leaves((learner, memory)):
            assert jnp.isfinite(leaf).all()
    assert (done.run.learners[1] is None) == (preset == "ours")


class Killed(Exception):
    pass


@pytest.mark.parametrize("preset", PRESETS)
def test_a_run_that_was_killed_goes_on_bit_for_bit(tmp_path, preset):
    short = course(preset)
    path, half = tmp_path / "checkpoint.run", trained(preset).rows[len(trained(preset).rows) // 2].steps

    def kill(row):
        if row.steps >= half:
            raise Killed

    with pytest.raises(Killed):
        training.train(short, jax.random.key(1), checkpoint=path, every=0.0, on_chunk=kill)
    done = training.train(short, jax.random.key(9), checkpoint=path, resume=path)
    assert_same(done.run, trained(preset).run)


def test_an_agents_networks_are_its_own():
    """What one agent remembers changes its own networks only."""
    before = trained("thesis").run
    offering, confirming = before.memories
    rewards = offering.items.reward.at[2].add(50.0)
    strange = offering._replace(items=offering.items._replace(reward=rewards))
    advance = jax.jit(lambda run: course("thesis").trainer.advance(run, 1)[0], compiler_options=QUICK)
    usual, other = advance(before), advance(before._replace(memories=(strange, confirming)))
    for one, two in zip(*(jax.tree.leaves(run.learners[0].network) for run in (usual, other)), strict=True):
        np.testing.assert_array_equal(one[:2], two[:2])
        assert (np.asarray(one[2]) != np.asarray(two[2])).any()
    assert_same(usual.learners[1], other.learners[1])


@pytest.mark.parametrize("preset", PRESETS)
def test_a_policy_from_its_file_answers_better_where_the_greedy_answer_is_wrong(tmp_path, preset):
    path, problem = tmp_path / "some.policy", triangle()
    policies.save(path, policy(preset))
    back = policies.load(REGISTRY, path, "dec-rl")
    assert back._replace(network=None) == policy(preset)._replace(network=None)
    assert_same(back.network, policy(preset).network)
    usual = jax.jit(functools.partial(dec_grd, config=plan(preset).protocol), compiler_options=QUICK)
    greedy, _ = usual(problem, jax.random.key(0))
    assert evaluate(problem, greedy).social_welfare == 25 + 16 - 2
    found = allocate(problem, "dec-rl", jax.random.key(0), policy=path)
    assert found["method"] == "dec-rl" and found["social_welfare"] == 25 + 25 - 2 and found["messages"] > 0


def test_agents_that_are_not_alike_cannot_be_others(tmp_path):
    paths = {preset: tmp_path / f"{preset}.policy" for preset in PRESETS}
    for preset, path in paths.items():
        policies.save(path, policy(preset))
    with pytest.raises(ba.InputError, match="was trained by 3 agents; the problem has 5"):
        allocate(triangle(5), "dec-rl", jax.random.key(0), policy=paths["thesis"])
    assert allocate(triangle(5), "dec-rl", jax.random.key(0), policy=paths["ours"])["social_welfare"] > 0


def test_shared_networks_answer_more_requests_than_they_were_trained_with():
    """Twelve agents around one that has what they all want; its greedy answers serve them all."""
    star = make_problem(
        [(0, k) for k in range(1, 13)], [1] * 12, [[24]] + [[0]] * 12, range(1, 13), np.arange(11.0, 23), [[2]] * 12
    )
    timid = dataclasses.replace(plan("ours"), margin=1e9)
    assert timid.slots < 12
    allocator = dec_rl.allocator(timid, dec_rl.network(timid, jax.random.key(0)))
    found = jax.jit(allocator, compiler_options=QUICK)(star, jax.random.key(0))
    assert evaluate(star, found).social_welfare == np.arange(11.0, 23).sum() - 24


def test_presets_are_plans_that_can_be_described():
    for preset in PRESETS:
        made = dec_rl.PRESETS[preset](None, None)
        assert made.preset == preset and made.protocol.tasks_per_agent == 4
        assert made.seen == Seen("shared" if made.alike else "thesis", made.slots, AMOUNTS, 10.0 if made.alike else 1.0)
    assert DEFAULT.offer == "best"  # which the shared networks' greedy answers are
