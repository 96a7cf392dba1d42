"""Interventions reach every site or refuse; random numbers belong to (key, site, period)."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import cond, scan
from numpyro.infer import MCMC, NUTS, Predictive

import bayesalloc as ba
from bayesalloc.following import next_key

PERIODS, KEY = 6, jax.random.key(0)
A, B = 0.5, 2.0


def structural(extra=False):
    """A linear-Gaussian structural model over time: x_t = A x_{t-1} + B u_t + e_t."""
    if extra:
        numpyro.sample("extra_before", dist.Normal())
    start = numpyro.sample("start", dist.Normal(1.0, 0.1))

    def body(x, _):
        if extra:
            numpyro.sample("extra_inside", dist.Normal())
        u = numpyro.sample("u", dist.Normal())
        e = numpyro.sample("e", dist.Normal())
        x = numpyro.deterministic("x", A * x + B * u + e)
        return x, x

    _, xs = scan(body, start, None, length=PERIODS)
    return xs


def drawn(model, key=KEY, **kwargs):
    trace = handlers.trace(ba.seed_by_name(model, key)).get_trace(**kwargs)
    return {name: np.asarray(site["value"]) for name, site in trace.items()}


def closed_form(natural, u):
    """x under given u, from the noise of the natural run: the model is linear, so this is exact."""
    x, path = natural["start"], []
    for t in range(PERIODS):
        x = A * x + B * u[t] + natural["e"][t]
        path.append(x)
    return np.array(path)


@pytest.mark.parametrize(
    ("value", "start", "stop"),
    [(3.0, None, None), (3.0, 2, None), (3.0, 2, 3), (3.0, None, 4), (np.arange(6.0), None, None)],
    ids=["all periods", "from period 2", "period 2 alone", "until period 4", "a value per period"],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_do_reaches_a_site_inside_the_scan(value, start, stop, compiled):
    natural = drawn(structural)
    active = [(start or 0) <= t < (PERIODS if stop is None else stop) for t in range(PERIODS)]
    u = np.where(active, value, natural["u"])
    intervened = ba.do(structural, {"u": value}, start=start, stop=stop)
    run = (lambda key: ba.seed_by_name(intervened, key)()) if compiled else None
    xs = jax.jit(run)(KEY) if compiled else drawn(intervened)["x"]
    np.testing.assert_allclose(xs, closed_form(natural, u), rtol=1e-5)
    np.testing.assert_allclose(drawn(intervened)["u"], u, rtol=1e-6)  # its value is recorded under its own name


def test_paired_effect_is_the_closed_form_in_every_replicate():
    def effect(key):
        high, low = (ba.seed_by_name(ba.do(structural, {"u": u}), key)() for u in (1.0, 0.0))
        return high[-1] - low[-1]

    effects = jax.jit(jax.vmap(effect))(jax.random.split(KEY, 200))
    np.testing.assert_allclose(effects, B * sum(A**t for t in range(PERIODS)), rtol=1e-4)


def test_agrees_with_numpyro_do_where_that_works():
    natural = drawn(structural)
    theirs = handlers.do(structural, data={"start": 5.0})
    ours = ba.do(structural, {"start": 5.0})
    np.testing.assert_array_equal(ba.seed_by_name(theirs, KEY)(), ba.seed_by_name(ours, KEY)())
    assert not np.array_equal(drawn(ours)["x"], natural["x"])


def test_predictive_records_the_intervened_value():
    draws = Predictive(ba.do(structural, {"start": 5.0}), num_samples=3)(KEY)
    np.testing.assert_array_equal(draws["start"], 5.0)


def test_inference_under_do_learns_nothing_from_the_intervened_site():
    def model():
        mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        numpyro.sample("x", dist.Normal(mu, 0.01))

    mcmc = MCMC(NUTS(ba.do(model, {"x": 5.0})), num_warmup=200, num_samples=1000, progress_bar=False)
    mcmc.run(KEY)
    # Conditioning on x = 5 would put mu at 5; under do it keeps its prior. At least 200 effective draws: 5 sigma 0.35.
    assert abs(float(mcmc.get_samples()["mu"].mean())) < 0.35


def test_reaches_into_cond():
    def model():
        branches = [lambda loc, s=s: numpyro.sample("x", dist.Normal(loc, s)) for s in (1.0, 2.0)]
        return cond(numpyro.sample("which", dist.Bernoulli(0.5)) > 0, *branches, 10.0)

    assert float(ba.seed_by_name(ba.do(model, {"x": 3.0}), KEY)()) == 3.0
    assert float(ba.seed_by_name(ba.do(model, {"which": 1}), KEY)()) != 3.0


def vector():
    p = numpyro.sample("p", dist.Beta(1.0, 1.0))
    numpyro.sample("k", dist.Binomial(10, p))
    with numpyro.plate("people", 3):
        return numpyro.sample("y", dist.Normal(p, 1.0))


@pytest.mark.parametrize(
    ("model", "data", "options", "says"),
    [
        (structural, {"v": 1.0}, {}, ["no site 'v'", "e, start, u"]),
        (structural, {"x": 1.0}, {}, ["'x' is deterministic", "u"]),
        (structural, {"u": np.ones(4)}, {}, ["'u'", "(6,)", "(4,)"]),
        (structural, {"u": np.nan}, {}, ["'u'", "nan"]),
        (structural, {"start": 1.0}, {"start": 2}, ["'start'", "outside every scan"]),
        (vector, {"p": 1.3}, {}, ["'p'", "1.3", "Beta"]),
        (vector, {"k": 2.5}, {}, ["'k'", "2.5"]),
        (vector, {"k": 11}, {}, ["'k'", "11"]),
        (vector, {"y": np.ones(4)}, {}, ["'y'", "(3,)", "(4,)"]),
        (vector, {"p": 0.5, "q": 1.0}, {}, ["no site 'q'"]),
    ],
)
def test_refuses_and_says_why(model, data, options, says):
    with pytest.raises(ba.InterventionError) as refusal:
        drawn(ba.do(model, data, **options))
    assert all(part in str(refusal.value) for part in says), str(refusal.value)


def test_refuses_a_value_outside_bounds_known_only_when_running():
    def model():
        return numpyro.sample("bounded", dist.Uniform(0.0, numpyro.sample("high", dist.LogNormal())))

    run = jax.jit(lambda key: ba.seed_by_name(ba.do(model, {"bounded": 1e6}), key)())
    with pytest.raises(Exception, match="bounded"):
        jax.block_until_ready(run(KEY))


def test_an_extra_site_changes_no_other_draw():
    plain, extended = drawn(structural), drawn(structural, extra=True)
    for name in plain:
        np.testing.assert_array_equal(plain[name], extended[name])


def test_periods_and_sites_have_different_draws():
    natural = drawn(structural)
    everything = np.concatenate([natural["u"], natural["e"], [natural["start"]]])
    assert len(np.unique(everything)) == len(everything)


def test_draws_are_standard_normal():
    def moments(key):
        noise = handlers.trace(ba.seed_by_name(structural, key)).get_trace()["u"]["value"]
        return jnp.array([noise.mean(), (noise**2).mean(), noise[0] * noise[1]])

    n = 4000
    mean, square, product = np.asarray(jax.jit(jax.vmap(moments))(jax.random.split(KEY, n))).mean(0)
    # standard errors over n replicates of 6 periods: 1/sqrt(6n), sqrt(2/6n), 1/sqrt(n); 5 sigma each
    assert abs(mean) < 5 / np.sqrt(PERIODS * n)
    assert abs(square - 1) < 5 * np.sqrt(2 / (PERIODS * n))
    assert abs(product) < 5 / np.sqrt(n)


def test_subsampling_plates_and_prng_keys_are_seeded():
    def model():
        with numpyro.plate("data", 100, subsample_size=5) as index:
            numpyro.sample("y", dist.Normal())
        return index, jax.random.normal(numpyro.prng_key())

    (index, value), (again, same) = ba.seed_by_name(model, KEY)(), ba.seed_by_name(model, KEY)()
    np.testing.assert_array_equal(index, again)
    assert float(value) == float(same)


def test_what_is_random_needs_a_key():
    with pytest.raises(ba.InputError, match=r"no rng_key.*jax\.random\.key"):
        ba.seed_by_name(structural)
    with handlers.trace(), pytest.raises(ba.InputError, match="under a seed"):
        next_key()
    with ba.seed_by_name(rng_key=KEY):
        assert next_key() != next_key()


def test_old_style_keys_work():
    assert np.isfinite(drawn(structural, key=jax.random.PRNGKey(0))["x"]).all()
