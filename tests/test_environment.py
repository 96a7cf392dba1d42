"""The NumPyro model derived from an environment: the same draws as the simulator, records with gaps, refusals."""

from typing import NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.infer.util import log_density

import bayesalloc as ba
from bayesalloc.environment import measured, stack
from bayesalloc.simulate import Scenario, trajectory

KEY, YEARS = jax.random.key(3), 8


def test_three_spellings_of_one_intervention_agree(watershed):
    """The simulator, our `do` on the model and NumPyro's own `do` give the same trajectories, to float32."""
    arms = watershed.arms(None)
    model = ba.as_model(watershed, arms, YEARS)
    truth = handlers.trace(ba.seed_by_name(watershed.prior, jax.random.fold_in(KEY, 0))).get_trace()
    params = {name: site["value"] for name, site in truth.items() if site["type"] == "sample"}
    simulated = ba.rollout(watershed, ba.hold, KEY, arms=stack(list(arms.values())), replicates=1, horizon=YEARS)
    key = jax.random.fold_in(KEY, 0)  # the first draw's; trajectory folds in the future (0) for the noise
    for k in range(len(arms)):
        spellings = [ba.do(model, {"mechanism": k}), handlers.do(model, data={"mechanism": k})]
        paths = []
        for spelling in spellings:
            seeded = ba.seed_by_name(handlers.substitute(spelling, data=drawn_params(watershed, key)), noise_key(key))
            paths.append(np.asarray(handlers.trace(seeded).get_trace()["forest_health"]["value"]))
        np.testing.assert_allclose(paths[0], paths[1], rtol=1e-6)
        np.testing.assert_allclose(paths[0], simulated.forest_health[0, k], rtol=1e-5)
    assert params.keys() == drawn_params(watershed, key).keys()


def noise_key(key):
    return jax.random.fold_in(key, 1)


def drawn_params(env, key):
    trace = handlers.trace(ba.seed_by_name(env.prior, jax.random.fold_in(key, 0))).get_trace()
    return {name: site["value"] for name, site in trace.items() if site["type"] == "sample"}


class Total(NamedTuple):
    value: jax.Array
    shares: jax.Array


def toy(n=3):
    """Contributions of n people, observed exactly (a site of the step) or through a meter."""

    def prior():
        return numpyro.sample("level", dist.Normal(0.0, 1.0))

    def step(state, action, level):
        shares = numpyro.sample("shares", dist.Normal(level + action, 1.0).expand([n]).to_event(1))
        return state, Total(shares.sum(), shares)

    def measure(outcomes, level, data):
        measured("meter", dist.Normal(outcomes.value, 0.5), data)

    return ba.Environment(
        name="toy", prior=prior, initial=lambda level: (), step=step, measure=measure,
        arms=lambda names: {"low": np.float32(0), "high": np.float32(1)},
        outcomes={"value": ba.Outcome("1", "higher")},
    )  # fmt: skip


def density(env, data, years):
    model = ba.as_model(env, env.arms(None), years)
    log_density, _ = numpyro.infer.util.log_density(
        model, (), {"mechanism": np.zeros(years, int), **data}, {"level": 0.3}
    )
    return float(log_density)


def test_missing_cells_carry_no_density():
    """Conditioning on a site of the step counts each cell that is there once, and padding with NaN adds nothing."""
    shares = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    holes = shares.copy()
    holes[1, 2] = holes[3, 0] = np.nan
    prior = dist.Normal(0, 1).log_prob(0.3) + 4 * np.log(1 / 2)  # the arm in force is a uniform site in each year
    for data in (shares, holes):
        expected = prior + np.nansum(np.asarray(dist.Normal(0.3, 1.0).log_prob(np.nan_to_num(data))) * ~np.isnan(data))
        assert density(toy(), {"shares": data}, 4) == pytest.approx(float(expected), rel=1e-4)


def test_a_year_without_any_data_changes_nothing():
    shares = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    padded = np.concatenate([shares, np.full((2, 3), np.nan, np.float32)])
    gap = density(toy(), {"shares": padded}, 6) - density(toy(), {"shares": shares}, 4)
    assert gap == pytest.approx(2 * np.log(1 / 2), rel=1e-4)


def test_without_data_measurements_are_drawn_and_with_some_only_those():
    env = toy()
    model = ba.as_model(env, env.arms(None), 5)
    free = handlers.trace(ba.seed_by_name(model, KEY)).get_trace(mechanism=0)
    assert free["meter_observed"]["value"].shape == (5,)
    given = handlers.trace(ba.seed_by_name(model, KEY)).get_trace(mechanism=0, shares=np.zeros((5, 3)))
    assert "meter_observed" not in given
    both = handlers.trace(ba.seed_by_name(model, KEY)).get_trace(mechanism=0, meter=np.array([1.0, np.nan, 0, 0, 0]))
    assert both["meter_observed"]["is_observed"]


def test_data_that_nothing_uses_is_refused():
    env = toy()._replace(measure=None)
    with pytest.raises(ba.InputError, match="speed"):
        ba.seed_by_name(ba.as_model(env, env.arms(None), 2), KEY)(mechanism=0, speed=np.zeros(2))


def test_the_arm_may_change_from_year_to_year(watershed):
    arms = watershed.arms(None)
    model = ba.as_model(watershed, arms, YEARS)
    switched = np.array([0] * 4 + [2] * 4)
    paths = {
        name: handlers.trace(ba.seed_by_name(model, KEY)).get_trace(mechanism=index)["forest_health"]["value"]
        for name, index in {"first": 0, "switched": switched, "third": 2}.items()
    }
    np.testing.assert_array_equal(paths["first"][:4], paths["switched"][:4])
    assert (paths["switched"][4:] > paths["first"][4:]).all()


def test_trajectory_replays_noise(watershed):
    arm = watershed.arms(None)["cost_sharing"]
    shock = jnp.zeros(YEARS)
    calm = trajectory(watershed, ba.hold, arm, KEY, Scenario(YEARS, sites={"growth_shock": shock}))
    other = trajectory(watershed, ba.hold, arm, KEY, Scenario(YEARS))
    assert not np.array_equal(calm.forest_health, other.forest_health)
    again = trajectory(watershed, ba.hold, arm, KEY, Scenario(YEARS, interventions={"growth_shock": 0.0}))
    np.testing.assert_allclose(calm.forest_health, again.forest_health, rtol=1e-6)


def test_a_guided_model_has_the_same_density(watershed):
    """Guided noise is a change of variables: densities differ by its Jacobian, with gaps and with contributions."""
    years = 4
    arms = watershed.arms(["cost_sharing"])
    plain = ba.as_model(watershed, arms, years)
    guided = ba.as_model(watershed, arms, years, guided=True)
    force = np.zeros(years, int)
    trace = handlers.trace(ba.seed_by_name(lambda: plain(mechanism=force), KEY)).get_trace()
    data = {name: trace[f"{name}_observed"]["value"] for name in ("forest_health", "erosion", "contribution")}
    data = {name: values.at[1].set(jnp.nan) for name, values in data.items()}
    sites = handlers.trace(ba.seed_by_name(lambda: guided(mechanism=force, **data), KEY)).get_trace()
    latent = {n: s["value"] for n, s in sites.items() if s["type"] == "sample" and not s["is_observed"]}
    standards = {name: value for name, value in latent.items() if name.endswith("_standard")}
    assert set(standards) == {"effort_shock_standard", "growth_shock_standard"}
    others = {name: value for name, value in latent.items() if name not in standards}
    flat, unravel = jax.flatten_util.ravel_pytree(standards)

    def shocks(flat):
        given = handlers.substitute(lambda: guided(mechanism=force, **data), data=others | unravel(flat))
        found = handlers.trace(ba.seed_by_name(given, KEY)).get_trace()
        return {name: found[name]["value"] for name in ("effort_shock", "growth_shock")}

    def density(model, values):
        return log_density(lambda: model(mechanism=force, **data), (), {}, values)[0]

    jacobian = jax.jacobian(lambda z: jax.flatten_util.ravel_pytree(shocks(z))[0])(flat)
    expected = density(plain, others | shocks(flat)) + jnp.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(density(guided, others | standards), expected, rtol=1e-4)
    assert float(jnp.abs(expected - density(plain, others | shocks(flat)))) > 1.0  # the guide did something
