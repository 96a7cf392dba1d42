"""The world of funded projects: an independent version of its rounds, its laws, what is seen, and what rules reach."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc import stepping
from bayesalloc.effects import decisions
from bayesalloc.environment import stack
from bayesalloc.impact.rules import RULES
from bayesalloc.models import altruism
from bayesalloc.models.funding.reports import NEVER, delays
from bayesalloc.models.funding.seeing import agencies, seen
from bayesalloc.models.funding.world import AGENCY, CONSTANTS, KINDS, World, draw_projects
from bayesalloc.simulate import Scenario, schedule, trajectories, trajectory
from bayesalloc.stepping import advance, begin

KEY, N = jax.random.key(0), 100
SITES = {
    "risk_lot": N,
    "report_lot": N,
    "delay_lot": N,
    "report_noise": N,
    "local_shock": N,
    "sight_noise": N,
    "region_noise": 8,
}


def drawn(world, draws, key=KEY):
    """Networks of projects with a leading axis."""
    draw = jax.jit(jax.vmap(lambda key: ba.seed_by_name(lambda: draw_projects(world), key)()))
    return draw(jax.random.split(key, draws))


@pytest.fixture(scope="module")
def networks():
    return jax.tree.map(np.asarray, drawn(World(), 300))


def rounds_of(world, names, replicates, horizon):
    """Outcomes with axes replicate, arm and round; JAX's own random numbers compile faster than those of `rollout`."""
    env = altruism.consortium(world)
    arms, keys = stack(list(env.arms(names).values())), jax.random.split(KEY, replicates)

    @jax.jit
    def run(keys):
        return trajectories(env, ba.hold, arms, keys, jnp.zeros(replicates, int), Scenario(horizon))

    return jax.tree.map(lambda leaf: np.moveaxis(np.asarray(leaf), (0, 1, -1), (2, 1, 0)), run(keys))


NAMES = [*RULES, "oracle", "oracle_local"]


@pytest.fixture(scope="module")
def usual():
    return rounds_of(World(), NAMES, 200, 3)


def plain_rounds(params, noise, shares, start):
    """The rounds in plain NumPy, written from the formulas of the model's docstring; regional shocks are given."""
    p, rounds = jax.tree.map(np.asarray, params), []
    on, local, region = np.ones(N, bool), start["local"], start["region"]
    for t, x in enumerate(shares):
        amount = np.where(on, x, 0.0)
        active = amount / (amount + p.room)
        impact, reported, arrival = np.zeros(N), np.zeros(N), np.full(N, NEVER)
        for j in range(N):
            spill = sum(w * active[k] for w, k in zip(p.weight[j], p.edges.source[j], strict=True))
            base = np.exp(p.log_effect[j] + local[j]) * p.room[j] * np.log(1 + amount[j] / p.room[j]) * (1 + spill)
            impact[j] = base * np.exp(0.3**2 / 2)
            if on[j] and x[j] >= 0.001 and noise["report_lot"][t][j] < 0.6:
                error = p.bias[j] + 0.7 * noise["report_noise"][t][j]
                reported[j] = np.log(base) + region[p.region[j]] + error
                waited = int(np.floor(np.log1p(-noise["delay_lot"][t][j]) / np.log(5 / 6)))
                arrival[j] = t + 1 + min(waited, 37)
        rounds.append({"project_impact": impact, "log_report": reported, "arrival": arrival, "on": on})
        on = np.where(on, noise["risk_lot"][t] >= 0.01, noise["risk_lot"][t] < 1 / 8)
        local = 0.8 * local + 0.3 * np.sqrt(1 - 0.64) * noise["local_shock"][t]
        region = 0.9 * region + 0.3 * np.sqrt(1 - 0.81) * noise["region_noise"][t]
    return rounds


def test_a_plain_version_gives_the_same_rounds():
    rng, horizon = np.random.default_rng(1), 12
    uniform = ("risk_lot", "report_lot", "delay_lot")
    noise = {
        name: (rng.uniform(size=(horizon, n)) if name in uniform else rng.normal(size=(horizon, n))).astype(np.float32)
        for name, n in SITES.items()
    }
    noise["risk_lot"][2, :30] = 0.005  # a third go off, some of them for a while
    env = altruism.environment
    params = jax.tree.map(lambda leaf: leaf[0], drawn(World(), 1))
    start = jax.jit(ba.seed_by_name(env.initial, jax.random.fold_in(KEY, 1)))(params)  # the noise key of future 0
    shares = rng.dirichlet(np.ones(N), horizon).astype(np.float32)
    rounds = trajectory(env, schedule, jnp.asarray(shares), KEY, Scenario(horizon, params=params, sites=noise))
    plain = plain_rounds(params, noise, shares, {"local": start.local, "region": np.asarray(start.region_shock)})
    for t, expected in enumerate(plain):
        assert (np.asarray(rounds.on[t]) == expected["on"]).all()
        assert (np.asarray(rounds.arrival[t]) == expected["arrival"]).all()
        np.testing.assert_allclose(rounds.project_impact[t], expected["project_impact"], rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(rounds.log_report[t], expected["log_report"], atol=2e-3)
        total = expected["project_impact"].sum()
        assert float(rounds.impact[t]) == pytest.approx(total, rel=1e-4)
        regions = [expected["project_impact"][np.asarray(params.region) == r].sum() for r in range(8)]
        assert float(rounds.worst_off[t]) == pytest.approx(min(regions), rel=1e-4)
        assert float(rounds.inequality[t]) == pytest.approx(decisions.gini(np.array(regions)), rel=1e-4)
        by_domain = [part.sum() for part in np.split(shares[t], [40, 70])]
        np.testing.assert_allclose(rounds.domain_share[t], by_domain, rtol=1e-4)
    moved = np.abs(np.diff(shares, axis=0)).sum(1) / 2
    np.testing.assert_allclose(rounds.turnover, [0.0, *moved], rtol=1e-4)
    assert 0 < (np.asarray(rounds.arrival) != NEVER).mean() < 0.6


def test_laws_of_the_network(networks):
    """Every tolerance is about four standard errors over 300 networks."""
    world, p = World(), networks
    domain, intervention = world.domain, world.intervention
    np.testing.assert_allclose(p.room.sum(1), 1.5, rtol=1e-4)
    deviation = p.log_effect - world.log_median
    assert deviation.var() == pytest.approx(1.0**2 + 0.6**2, abs=0.1)
    assert (deviation - p_mean(deviation, intervention)).std() == pytest.approx(0.6, abs=0.05)
    assert np.corrcoef(deviation.ravel(), (p.estimate - world.log_median).ravel())[0, 1] == pytest.approx(0.6, abs=0.03)
    error = p.estimate - p.log_effect
    shared = np.mean([error[:, a] * error[:, b] for a, b in ((0, 5), (1, 6), (40, 45), (99, 94))])  # same interventions
    assert shared / error.var() == pytest.approx(0.5, abs=0.1)
    assert np.log(p.room_seen / p.room).std() == pytest.approx(0.3, abs=0.01)
    assert p.bias.std() == pytest.approx(0.3, abs=0.01)
    for d, median in enumerate([5.0, 1.6, 1895 * 0.0026]):
        assert np.median(p.log_effect[:, domain == d]) == pytest.approx(np.log(median), abs=0.12)


def p_mean(values, groups):
    sums = np.stack([values[:, groups == g].mean(1) for g in range(groups.max() + 1)], 1)
    return sums[:, groups]


def test_three_different_neighbours_in_ones_own_region(networks):
    source, region = networks.edges.source, networks.region
    there = np.arange(N)[None, :, None]
    draws = np.arange(len(source))[:, None, None]
    assert (region[draws, source] == region[..., None]).all() and (source != there).all()
    assert all((source[..., a] != source[..., b]).all() for a, b in ((0, 1), (0, 2), (1, 2)))
    sizes = np.stack([(region == r).sum(1) for r in range(8)])
    assert set(np.unique(sizes)) == {12, 13}
    counts = np.bincount(source.ravel(), minlength=N)  # nobody is preferred: binomial with mean 900
    assert counts.min() > 900 - 5 * 30 and counts.max() < 900 + 5 * 30
    world = World()
    same = world.intervention[source] == world.intervention[there]
    assert ((networks.edges.kind == 0) == same).all()
    names = np.array(KINDS)[networks.edges.kind][~same]
    which = np.array(["health", "poverty", "animals"])[world.domain]
    expected = np.char.add(np.char.add(which[source], " to "), np.broadcast_to(which[there], source.shape))[~same]
    assert (names == expected).all()


def test_weights(networks):
    kind, weight = networks.edges.kind, networks.weight
    assert weight[kind == 0].mean() == pytest.approx(-0.15, abs=0.01)
    assert weight[kind > 0].mean() == pytest.approx(0.06, abs=0.015)
    assert weight.min() >= -0.3 and weight.max() <= 0.6
    within = [weight[0][kind[0] == k].std() for k in range(10) if (kind[0] == k).sum() > 10]
    assert np.mean(within) == pytest.approx(0.05, abs=0.01)
    free = jax.tree.map(np.asarray, drawn(World(spillovers="free"), 100))
    overlap = free.edges.kind == 0
    assert (free.weight[overlap] < 0).all()
    assert (free.weight[~overlap] > 0).mean() == pytest.approx(0.7, abs=0.01)
    assert np.abs(free.weight).mean() == pytest.approx(0.15, abs=0.005) and np.abs(free.weight).max() <= 0.3


def test_the_expected_effect_is_that_of_the_joint_normal_law():
    """Against the textbook's conditional mean and variance, with the covariance matrix written out."""
    for world in (World(), World(preset="shortlist", rho=0.9, n_projects=30)):
        one = jax.tree.map(lambda leaf: np.asarray(leaf[0], float), drawn(world, 1))
        same = world.intervention[:, None] == world.intervention
        s_u, s_v = world.spreads
        signal = s_u**2 * same + s_v**2 * np.eye(world.n_projects)
        half = (s_u**2 + s_v**2) * (1 / world.rho**2 - 1) / 2
        gain = signal @ np.linalg.inv(signal + half * same + half * np.eye(world.n_projects))
        mean = world.log_median + gain @ (one.estimate - world.log_median)
        variance = np.diag(signal - gain @ signal)
        np.testing.assert_allclose(one.effect_expected, np.exp(mean + variance / 2), rtol=1e-3)


def test_delays():
    lot = jnp.linspace(0.0, 1.0, 100_000, endpoint=False)
    for world, mean in ((World(), 6.0), (World(delay=12.0), 12.0), (World(delay=1.0), 1.0)):
        waited = np.asarray(delays(world, lot))
        assert waited.min() == 1 and waited.max() <= world.depth
        assert waited.mean() == pytest.approx(mean, rel=2e-3)
        assert (waited == world.depth).mean() < 3e-3 or world.depth == 1  # 1 in 1,000 are cut short


def test_external_risk(usual):
    assert usual.on[:, 0, 0].all()
    assert 1 - usual.on[:, 0, 1:].all(1).mean() == pytest.approx(1 - 0.99**2, abs=4 * 0.14 / np.sqrt(20_000))


def test_what_arrives_is_what_was_reported():
    """Every report is seen once, in its round, with the others of its project that arrive then.

    Stepped from outside JAX: what a learner there would have, rounds by projects, is what has `arrival <= now`.
    """
    env, horizon = altruism.consortium(World(n_projects=30, delay=3.0)), 40
    standing = begin(env, KEY, replicates=1)
    uniform, sights, happened = jnp.full((1, 30), 1 / 30), [], []
    for _ in range(horizon):
        sights.append(seen(stepping.seen(env, standing).values[0]))
        standing, outcome = advance(env, standing, uniform)
        happened.append(jax.tree.map(lambda leaf: np.asarray(leaf[0]), outcome))
    arrival, log_report = (np.stack([getattr(each, name) for each in happened]) for name in ("arrival", "log_report"))
    origin = np.arange(horizon)[:, None]
    for t, sight in enumerate(sights):
        due = arrival == t
        counts = np.maximum(due.sum(0), 1)
        assert (np.asarray(sight.reports) == due.sum(0)).all()
        np.testing.assert_allclose(sight.log_report, (due * log_report).sum(0) / counts, atol=1e-4)
        ratio = (due * (log_report - np.log(1 / 30))).sum(0) / counts
        np.testing.assert_allclose(sight.log_ratio, ratio, atol=1e-4)
        np.testing.assert_allclose(sight.age, (due * (t - origin)).sum(0) / counts, atol=1e-4)
        assert due.any() or t < 3
    assert (arrival[arrival != NEVER] - np.broadcast_to(origin, arrival.shape)[arrival != NEVER]).max() > 6


def test_what_is_seen():
    env = altruism.environment
    standing, _ = advance(env, begin(env, KEY, replicates=1), jax.random.dirichlet(KEY, jnp.ones(N), (1,)))
    state, params, values = jax.tree.map(
        lambda leaf: leaf[0], (standing.state, standing.params, stepping.seen(env, standing).values)
    )
    sight = seen(values)
    for field in ("estimate", "effect_expected", "region"):
        assert (getattr(sight, field) == getattr(params, field)).all()
    assert (sight.room == params.room_seen).all() and (sight.on == state.on).all()
    assert (sight.source == params.edges.source).all() and (sight.kind == params.edges.kind).all()
    assert (sight.share == state.share).all() and (sight.local == state.local_seen).all()
    each = agencies(values)
    assert each.own.on.shape == (10, AGENCY) and each.own.source.shape == (10, AGENCY, 3)
    assert (each.own.local[3] == state.local_seen[30:40]).all()
    source, share = np.asarray(params.edges.source), np.asarray(state.share)
    for j in range(N):
        elsewhere = [k for k in source[j] if k // AGENCY != j // AGENCY]
        mean = np.mean(share[elsewhere]) if elsewhere else 0.0
        assert float(each.neighbours[j // AGENCY, j % AGENCY]) == pytest.approx(mean, abs=1e-6)


def test_rules_reach_what_they_did_before(usual):
    """Shares of the oracle of the throwaway prototype (40 worlds), within three standard errors of both."""
    known = dict(zip(RULES, (0.416, 0.538, 0.656, 0.458, 0.564, 0.672), strict=True))
    for name, value in known.items():
        share = usual.share_of_oracle[:, NAMES.index(name), -1]
        assert share.mean() == pytest.approx(value, abs=3 * share.std() * np.sqrt(1 / 40 + 1 / 200)), name


def test_knowing_delivery_is_worth_what_it_was(usual):
    impact = usual.impact[:, -2:, -1]
    gain = impact[:, 1] / impact[:, 0] - 1
    assert gain.mean() == pytest.approx(0.033, abs=3 * gain.std() * np.sqrt(1 / 40 + 1 / 200))
    assert (gain > -0.02).all()


def test_every_rule_spends_the_budget_on_those_that_are_on(usual):
    assert not usual.on.all()
    assert (usual.share[~usual.on] == 0).all()
    np.testing.assert_allclose(usual.share.sum(-1), 1.0, atol=1e-5)


def test_arms_are_paired(usual):
    assert (usual.on[:, :1] == usual.on).all()
    uniform, knapsack = (NAMES.index(name) for name in ("uniform", "knapsack"))
    both = (usual.arrival[:, uniform] != NEVER) & (usual.arrival[:, knapsack] != NEVER)
    assert len(np.unique(usual.arrival[:, uniform][both])) > 10
    assert (usual.arrival[:, uniform] == usual.arrival[:, knapsack])[both].all()  # whatever is given


def test_an_allocation_stands_for_the_rule_that_chose_it(usual):
    env = altruism.environment
    given = usual.share[0, NAMES.index("knapsack"), 0]
    actions = stack(env.alike([given, *env.arms(["uniform"]).values()]))
    key = jax.random.split(KEY, 200)[0]
    fixed = jax.jit(lambda key: trajectories(env, ba.hold, actions, key[None], jnp.zeros(1, int), Scenario(1)))(key)
    np.testing.assert_allclose(fixed.impact[0, 0, 0], usual.impact[0, NAMES.index("knapsack"), 0], rtol=1e-5)
    np.testing.assert_allclose(fixed.impact[0, 1, 0], usual.impact[0, NAMES.index("uniform"), 0], rtol=1e-5)
    bare = trajectory(env, ba.hold, jnp.asarray(given), key, Scenario(1))
    np.testing.assert_allclose(bare.impact[0], fixed.impact[0, 0, 0], rtol=1e-5)


@pytest.mark.parametrize(
    "world",
    [
        World(n_projects=30),
        World(n_projects=1000),
        World(spillovers="free", spillover_scale=3.3),
        World(moral_weight=0.0),
        World(moral_weight=0.856, eta=0.375),
        World(rho=1.0, local=0.0, noise=0.0, bias=0.0, delay=1.0),
    ],
    ids=["30", "1000", "free", "no animals", "animals", "nothing hidden"],
)
def test_worlds(world):
    rounds = rounds_of(world, ["uniform", "knapsack", "oracle"], 2, 3)
    for leaf in jax.tree.leaves(rounds):
        assert np.isfinite(np.asarray(leaf, float)).all()
    assert (rounds.project_impact >= 0).all()
    assert (rounds.share_of_oracle < 1.02).all()
    animals = rounds.domain_share[:, 1, :, 2]
    if world.moral_weight == 0.0:
        assert (animals == 0).all()
    if world.moral_weight > 0.5:
        assert (animals > 0.9).all()


def test_sizes_follow_the_number_of_projects():
    assert [World(n).n_regions for n in (30, 100, 1000)] == [2, 8, 80]
    assert [World(n).n_agencies for n in (30, 100, 1000)] == [3, 10, 100]
    assert [World(n).intervention.max() + 1 for n in (30, 100, 1000)] == [6, 15, 150]
    for n in (30, 100, 1000):
        world = World(n)
        assert np.bincount(world.domain).tolist() == [4 * n // 10, 3 * n // 10, 3 * n // 10]
        for i in range(world.intervention.max() + 1):
            assert len(set(world.domain[world.intervention == i])) == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"n_projects": 31}, "n_projects is 31"),
        ({"n_projects": 20}, "multiple of 10 from 30"),
        ({"spillovers": "none"}, "typed"),
        ({"preset": "long"}, "shortlist"),
        ({"rho": 0.0}, "rho is 0.0"),
        ({"rho": 1.5}, "at most 1"),
        ({"room": float("inf")}, "room is inf"),
        ({"noise": -1.0}, "noise is -1.0"),
        ({"delay": 0.5}, "delay is 0.5"),
        ({"moral_weight": float("nan")}, "moral_weight is nan"),
        ({"report_probability": 1.1}, "from 0 to 1"),
    ],
)
def test_a_world_that_cannot_be_is_refused(changes, says):
    with pytest.raises(ba.InputError, match=says) as caught:
        World(**changes)
    assert "\n" not in str(caught.value)


def test_arms_that_cannot_be_are_refused():
    env = altruism.environment
    with pytest.raises(ba.InputError, match="'lottery'.*knapsack"):
        env.arms(["lottery"])
    for given, says in (
        (np.full(N, 0.02), "add up to 2"),
        (np.eye(N)[0] * 2 - np.eye(N)[1], "-1"),
        (np.full(N, np.nan), "nan"),
        (np.full(50, 0.02), "100 projects"),
    ):
        with pytest.raises(ba.InputError, match=says):
            env.check(given, {})
    for action in env.arms(None).values():
        env.check(action, {})


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked")
def test_a_comparison_reads_as_others_do(run):
    ran = run("compare", "altruism", "--mechanisms", "uniform", "knapsack", "--draws", "8", "--horizon", "3")
    assert ran.code == 0, ran.err
    assert "knapsack" in ran.out and "oracle" in ran.out
    ran = run("models", "altruism")
    assert "altruism, by the round" in ran.out and "knapsack" in ran.out and "share_of_oracle" in ran.out


def test_constants_stay_as_they_were_fixed():
    assert World() == World(100, "typed", "default", 0.0026, 0.6, 1.5, 1.0, 1.0, 0.3, 1.0, 0.6, 6.0, 0.7, 0.3)
    assert CONSTANTS["animals_effect"] * World().moral_weight == pytest.approx(CONSTANTS["health_effect"], rel=0.02)
