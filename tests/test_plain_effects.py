"""What is held and what is drawn in plain models: one rule, whatever the spelling, against closed forms.

Most effects are exact in every draw, as arms share their random numbers; of the others four Monte Carlo errors are
allowed. A model often holds several separate mechanisms, which cost one compilation.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from jax.scipy.special import expit, ndtr
from numpyro import handlers
from numpyro.contrib.control_flow import cond, scan
from numpyro.infer.reparam import LocScaleReparam

import bayesalloc as ba
from bayesalloc.effects import plain
from bayesalloc.effects.arms import Arm
from bayesalloc.intervene import Shift, _check_values
from tests.conftest import fully_optimised

KEY = jax.random.key(0)
SERIES = np.array([1.0, 2.0, 3.0], np.float32)


class Case(NamedTuple):
    """One model under two arms.

    Attributes:
        right: outcome -> effect, of the outcome's shape.
        dims: outcome -> names of its axes, where they matter.
        error: what is allowed; None: four Monte Carlo errors.
        over: outcome -> what its mean is over; None: it has none.
        absent: sites that are no outcomes.
        warns: what one of the warnings says; None: there is none.
        held, drawn: sites that the report says so of.
    """

    model: Callable[..., Any]
    treatment: dict[str, Any]
    control: dict[str, Any]
    right: dict[str, Any]
    dims: dict[str, tuple[str, ...]] = {}
    error: float | None = 1e-4
    over: dict[str, str | None] = {}
    absent: tuple[str, ...] = ()
    warns: str | None = None
    held: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ()
    data: dict[str, Any] = {}
    draws: int = 32
    futures: int = 2


def rain(x="rain"):
    return numpyro.sample(x, dist.Uniform(-1.0, 5.0))


def level(before, _, effect, name="level"):
    """Half of the level before, and what falls; the effect after t periods is `effect (2 - 2^(1 - t))`."""
    now = numpyro.sample(name, dist.Normal(0.5 * before + effect, 1.0))
    return now, now


GROWTH = 2 - 0.5 ** np.arange(3)  # of a unit that comes every period: 1, 1.5, 1.75


def handlers_around_scan():
    """Five spellings of a level that was recorded, in one model; each is opened and follows its drawn past."""
    x = rain()

    def run(name, xs=None):
        return scan(lambda b, s: level(b, s, x, name), 0.0, xs, length=3)

    with handlers.condition(data={"conditioned": jnp.asarray(SERIES)}):
        run("conditioned")
    with handlers.condition(condition_fn=lambda site: jnp.float32(3.0) if site["name"] == "by_function" else None):
        run("by_function")
    handlers.substitute(lambda: run("substituted"), data={"substituted": jnp.asarray(SERIES)})()

    def inside(before, seen):
        with handlers.condition(data={"within": seen}):
            return level(before, None, x, "within")

    scan(inside, 0.0, jnp.asarray(SERIES))

    def observed(before, seen):
        now = numpyro.sample("observed", dist.Normal(0.5 * before + x, 1.0), obs=seen)
        return now, None

    scan(observed, 0.0, jnp.asarray(SERIES))


def handlers_around_cond():
    """A condition around a branch, nested functions under scopes, and a model conditioned as a whole."""
    x = rain()

    def wet(amount):
        return numpyro.sample("branch", dist.Normal(2.0 * amount, 1.0))

    def dry(amount):
        return numpyro.sample("branch", dist.Normal(3.0 * amount, 1.0))

    with handlers.condition(data={"branch": jnp.float32(7.0)}):
        cond(True, wet, dry, x)

    def field():
        now = handlers.scope(lambda: numpyro.sample("yield", dist.Normal(2.0 * x, 1.0)), prefix="inner")()
        scan(lambda b, s: level(b, s, now), 0.0, None, length=3)

    handlers.scope(field, prefix="north")()
    on = numpyro.sample("on", dist.Bernoulli(0.5))
    either = [lambda a, k=k: numpyro.sample("either", dist.Normal(k * a, 1.0)) for k in (1.0, 3.0)]
    cond(on > 0, *either, x)


def values_around_reverse_scan():
    """NumPyro gives the values of a reverse scan in the order of its steps: the last period comes first."""
    x = rain()
    with handlers.condition(data={"weight": jnp.asarray(SERIES)}):
        _, weight = scan(lambda c, _: (c, numpyro.sample("weight", dist.Normal())), 0.0, None, length=3, reverse=True)
    numpyro.sample("y", dist.Normal(weight * x, 1.0).to_event(1))
    scan(lambda b, s: level(b, s, x, "backwards"), 0.0, None, length=3, reverse=True)


def scans_in_scans():
    x = rain()

    def year(total, _):
        noise = numpyro.sample("noise", dist.Normal())
        total, _ = scan(lambda b, s: level(b, s, x, "month"), total + noise, None, length=2)
        return total, None

    scan(year, 0.0, None, length=2)


def recorded_covariates(helped, age, passed=None):
    base = numpyro.sample("base", dist.Normal(-2.0, 1e-3))
    gain = numpyro.sample("gain", dist.Normal(1.0, 1e-3))
    with numpyro.plate("person", len(age)):
        years = numpyro.sample("age", dist.Normal(0.0, 10.0), obs=age)
        treatment = numpyro.sample("helped", dist.Bernoulli(0.5), obs=helped)
        probability = numpyro.deterministic("probability", expit(base + gain * treatment + years))
        numpyro.sample("passed", dist.Bernoulli(probability), obs=passed)


PEOPLE = {"helped": np.array([1, 0, 0, 0]), "age": np.full(4, 2.0), "passed": np.array([1, 0, 1, 0])}
HELP = float(expit(1.0) - expit(0.0))


def missing_covariates(x, z, there, y):
    """Elements of a covariate that are masked: in a plate, around a scan, and by `obs_mask`."""
    with numpyro.plate("row", 3):
        treated = numpyro.sample("x", dist.Bernoulli(0.5), obs=x)
        with handlers.mask(mask=there):
            in_plate = numpyro.sample("in_plate", dist.Normal(10.0, 1e-4), obs=z)
        numpyro.sample("y", dist.Normal(treated * in_plate, 1.0), obs=y)
    with handlers.mask(mask=there):
        _, in_scan = scan(lambda c, s: (c, numpyro.sample("in_scan", dist.Normal(10.0, 1e-4), obs=s)), 0.0, z)
    numpyro.sample("w", dist.Normal(treated * in_scan, 1.0).to_event(1))
    with numpyro.plate("row", 3):
        mixed = numpyro.sample("mixed", dist.Normal(10.0, 1e-4), obs=z, obs_mask=there)
        numpyro.deterministic("v", treated * mixed)


MISSING = {"x": np.array([0, 1, 0]), "z": SERIES, "there": np.array([True, False, True]), "y": SERIES}


def chain():
    """A treatment, a mediator and an outcome, with an intervention on either."""
    a = numpyro.sample("a", dist.Normal())
    b = numpyro.sample("b", dist.Normal(2.0 * a, 1.0))
    slope = numpyro.sample("slope", dist.Normal(1.0, 1.0))
    numpyro.sample("y", dist.Normal(3.0 * b + a, 1.0))
    numpyro.deterministic("held", slope * a)


def two_chains_in_one_scan():
    x = rain()

    def step(carry, _):
        hit, apart = carry
        hit, _ = level(hit, None, x, "hit")
        apart, _ = level(apart, None, 1.0, "apart")
        return (hit, apart), None

    scan(step, (0.0, 0.0), None, length=3)


def feedback():
    """A dose that answers to the last outcome: `y_t = y_{t-1} + dose_t`, `dose_t = -y_{t-1}` and noise."""

    def step(y, _):
        dose = numpyro.sample("dose", dist.Normal(-y, 0.1))
        y = numpyro.sample("y", dist.Normal(y + dose, 1.0))
        return y, None

    scan(step, 0.0, None, length=3)


def recorded_feedback(dose, y=None):
    def step(last, seen):
        given = numpyro.sample("dose", dist.Normal(-last, 0.1), obs=seen[0])
        now = numpyro.sample("y", dist.Normal(last + given, 1.0), obs=seen[1])
        return now, None

    scan(step, 0.0, (dose, y))


DOSED = {"dose": np.array([1.0, 1.0, -2.0], np.float32), "y": SERIES}


def autoregressive_treatment(rain, flow):
    """A recorded treatment with a memory of its own is what was recorded, like one in a plate."""

    def step(before, seen):
        fallen = numpyro.sample("rain", dist.Normal(0.8 * before, 1.0), obs=seen[0])
        numpyro.sample("flow", dist.Normal(2.0 * fallen, 1.0), obs=seen[1])
        return fallen, None

    scan(step, 0.0, (rain, flow))


def rare():
    """Events too rare for a few draws; those that are true or false count as 0 and 1."""
    debt = numpyro.sample("debt", dist.Uniform(0.0, 2.0))
    reserve = numpyro.sample("reserve", dist.Normal(3.0 - debt, 1.0))
    numpyro.deterministic("ruined", reserve < 0)
    numpyro.deterministic("ruin", jnp.where(reserve < 0, 1.0, 0.0))
    numpyro.sample("flood", dist.Bernoulli(1e-4 * (1.0 + debt)))
    numpyro.deterministic("probability", 1e-4 * debt)


def opposite(scores=None):
    root = numpyro.sample("root", dist.LKJCholesky(2, 2.0))
    training = numpyro.sample("training", dist.Bernoulli(0.5))
    numpyro.sample("scores", dist.MultivariateNormal(jnp.array([2.0, -1.0]) * training, scale_tril=root), obs=scores)


def shares():
    """Vectors that sum to a constant: of proportions, of counts, of zero; and one that does not."""
    subsidy = numpyro.sample("subsidy", dist.Uniform(0.0, 4.0))
    weights = jnp.array([20.0, 10.0, 10.0]) + jnp.array([20.0, 0.0, 0.0]) * subsidy
    share = numpyro.sample("share", dist.Dirichlet(weights))
    numpyro.sample("places", dist.Multinomial(40, probs=share))
    gains = numpyro.sample("gains", dist.Normal(jnp.array([3.0, 0.0, 0.0]) * subsidy, 1.0).to_event(1))
    numpyro.deterministic("contrast", gains - gains.mean())


def grid():
    x = rain()
    with numpyro.plate("site", 2, dim=-2), numpyro.plate("year", 3, dim=-1):
        numpyro.sample("yield", dist.Normal(x * jnp.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), 1.0))
    with numpyro.plate("arm", 3):
        numpyro.sample("pair", dist.MultivariateNormal(x * jnp.array([1.0, -2.0]), jnp.eye(2)))
    scan(lambda b, s: level(b, s, x * jnp.ones(2)), jnp.zeros(2), None, length=3)
    numpyro.sample("period", dist.Normal(x, 1.0))
    numpyro.sample("treatment", dist.Normal(x, 1.0))


def factors():
    price = numpyro.sample("price", dist.Uniform(0.0, 2.0))
    sales = numpyro.sample("sales", dist.Normal(10.0 - 3.0 * price, 1.0))
    numpyro.factor("balance", -0.5 * (sales - 8.0) ** 2)
    numpyro.factor("apart", jnp.float32(1.0))


def scoped():
    def field():
        seed = numpyro.sample("seed", dist.Uniform(0.0, 2.0))
        numpyro.sample("yield", dist.Normal(1.0 + 2.0 * seed, 0.5))

    for place in ("north", "south"):
        handlers.scope(field, prefix=place)()


def lag_in_scan(y, on):
    """The recorded value is carried, not the site's: of numbers, and of what is true or false as a float."""
    dose = numpyro.sample("dose", dist.Uniform(0.0, 2.0))

    def step(before, seen):
        numpyro.sample("y", dist.Normal(0.8 * before[0] + dose, 0.1), obs=seen[0])
        odds = numpyro.deterministic("odds", before[1] + 3.0 * dose)
        numpyro.sample("on", dist.Bernoulli(logits=odds), obs=seen[1])
        return seen, None

    scan(step, (0.0, 0.0), (y, on))


def lag_in_plate(y):
    dose = numpyro.sample("dose", dist.Uniform(0.0, 2.0))
    with numpyro.plate("later", len(y) - 1):
        numpyro.sample("y", dist.Normal(0.8 * y[:-1] + dose, 0.1), obs=y[1:])


def drawn_past(y, gaps):
    """No recorded lag: the drawn past is carried, also of counts; and a mask made of the record is none."""
    dose = numpyro.sample("dose", dist.Uniform(0.0, 2.0))

    def step(before, seen):
        now = numpyro.sample("y", dist.Normal(0.8 * before[0] + dose, 0.1), obs=seen)
        whole = numpyro.sample("count", dist.Delta(before[1] + dose.astype(int)), obs=seen)
        return (now, whole), None

    scan(step, (0.0, 0.0), y)
    there = ~jnp.isnan(gaps)
    with numpyro.plate("row", len(gaps)), handlers.mask(mask=there):
        numpyro.sample("gap", dist.Normal(dose, 1.0), obs=jnp.where(there, gaps, 0.0))


def forecast(y, known):
    """A record that ends before the scan does, as in forecasts; and what starts from a record has no recorded lag."""
    x = rain()
    with handlers.condition(data={"y": y[1:]}):
        scan(lambda b, s: level(b, s, x, "y"), y[0], None, length=3)
    with handlers.condition(data={"known": known}):
        _, known = scan(lambda c, _: (c, numpyro.sample("known", dist.Normal(10.0, 1e-4))), 0.0, None, length=3)
    numpyro.deterministic("product", known * x)


def programs():
    """What JAX can compute with: loops, branches, derivatives, callbacks, and what is no array of numbers."""
    x = numpyro.sample("x", dist.Normal())
    apart = numpyro.sample("apart", dist.Normal())
    triple = jax.custom_jvp(lambda z: 3.0 * z)
    triple.defjvp(lambda primals, tangents: (triple(*primals), 3.0 * tangents[0]))
    found = {
        "while": jax.lax.while_loop(lambda s: s[0] < x, lambda s: (s[0] + 1.0, s[1] * 2.0), (0.0, 1.0))[1],
        "for": jax.lax.fori_loop(0, 3, lambda i, s: s + x, 0.0),
        "branch": jax.lax.cond(x > 1.0, lambda: 5.0, lambda: 0.0),
        "solved": jnp.linalg.solve(jnp.eye(2) * (1.0 + x), jnp.ones(2)),
        "custom": triple(x),
        "again": jax.checkpoint(lambda z: 4.0 * z)(x),
        "compiled": jax.jit(lambda z: 5.0 * z)(x),
        "slope": jax.grad(lambda z: z**2 * x)(3.0),
        "called": jax.pure_callback(
            lambda z: np.float32(6.0 * z), jax.ShapeDtypeStruct((), jnp.float32), x, vmap_method="sequential"
        ),
        "mapped": jax.vmap(lambda a: a * x)(jnp.arange(2.0)),
        "place": jnp.arange(5)[jnp.clip(x, 0, 4).astype(int)],
        "zero": 0.0 * x,
        "unrelated": apart + 1.0,
        "pair": (x, x),
        "imaginary": 1j * x,
    }
    for name, value in found.items():
        numpyro.deterministic(name, value)


PROGRAMS = {
    "while": 7.0, "for": 9.0, "branch": 5.0, "solved": [-0.75, -0.75], "custom": 9.0, "again": 12.0, "compiled": 15.0,
    "slope": 18.0, "called": 18.0, "mapped": [0.0, 3.0], "place": 3.0, "zero": 0.0,
}  # fmt: skip


def laws():
    """Distributions that published models use, each moved by a treatment."""
    x = rain()
    numpyro.sample("tail", dist.StudentT(5.0, x, 1.0))
    numpyro.sample("fixed", dist.Delta(2.0 * x))
    numpyro.sample("path", dist.EulerMaruyama(jnp.arange(3.0), lambda s, t: (x, 1.0), dist.Normal(0.0, 1.0)))
    numpyro.sample("low_rank", dist.LowRankMultivariateNormal(x * jnp.ones(2), jnp.ones((2, 1)), jnp.ones(2)))
    numpyro.sample(
        "moved", dist.TransformedDistribution(dist.Normal(x, 1.0), dist.transforms.AffineTransform(1.0, 2.0))
    )
    numpyro.sample("twice", dist.Normal(x, 1.0), sample_shape=(2,))


class Odd(dist.Distribution):
    """A user's own distribution that keeps what it is made of to itself."""

    support = dist.constraints.real

    def __init__(self, made_of):
        self.made_of = made_of
        super().__init__((), ())

    def sample(self, key, sample_shape=()):
        return self.made_of() + jax.random.normal(key, sample_shape)


def own_distribution():
    x = rain()
    numpyro.sample("y", Odd(lambda: 2.0 * x))


def spellings():
    """A mediator that is centred is drawn anew; of one that is not, the noise is held."""
    x = rain()
    centred = numpyro.sample("centred", dist.Normal(2.0 * x, 1.0))
    noise = numpyro.sample("noise", dist.Normal())
    numpyro.deterministic("not_centred", 2.0 * x + noise)
    with handlers.reparam(config={"by_handler": LocScaleReparam(0.0)}):
        numpyro.sample("by_handler", dist.Normal(2.0 * x, 1.0))
    numpyro.sample("y", dist.Normal(centred, 1.0))


SITES = {
    "real": dist.Normal(1.0, 1.0), "positive": dist.LogNormal(), "count": dist.Poisson(3.0), "on": dist.Bernoulli(0.3),
    "kind": dist.Categorical(jnp.ones(3) / 3), "share": dist.Beta(2.0, 2.0), "few": dist.Binomial(5, 0.5),
    "two": dist.Normal().expand([2]).to_event(1), "parts": dist.Dirichlet(jnp.ones(2)),
}  # fmt: skip


def treatments(*names):
    """A model with a site of each of these supports, and its value as an outcome."""

    def model():
        for name in names:
            numpyro.deterministic(f"{name} shown", 1.0 * numpyro.sample(name, SITES[name]))

    return model


CASES = {
    "handlers around scan": Case(
        handlers_around_scan, {"rain": 1.0}, {"rain": 0.0},
        {name: GROWTH for name in ("conditioned", "by_function", "substituted", "within", "observed")},
        drawn=("by_function", "conditioned", "observed", "substituted", "within"),
    ),
    "handlers around cond": Case(
        handlers_around_cond, {"rain": 1.0}, {"rain": 0.0},
        {"branch": 2.0, "north/inner/yield": 2.0, "north/level": 2.0 * GROWTH, "either": 2.0}, held=("on",),
        error=None, draws=200,
    ),
    "values around a reverse scan": Case(
        values_around_reverse_scan, {"rain": 1.0}, {"rain": 0.0},
        {"y": SERIES[::-1], "backwards": GROWTH[::-1]}, held=("weight",), absent=("weight",),
    ),
    "scans in scans": Case(
        scans_in_scans, {"rain": 1.0}, {"rain": 0.0}, {"month": [[1.0, 1.5], [1.75, 1.875]]}, held=("noise",)
    ),
    "recorded covariates": Case(
        recorded_covariates, {"helped": 1}, {"helped": 0}, {"probability": np.full(4, HELP)}, error=1e-3,
        absent=("age",), held=("base", "gain", "age"), drawn=("passed",), data=PEOPLE,
    ),
    "the recorded treatment": Case(
        recorded_covariates, {"helped": 0}, {}, {"probability": [-HELP, 0.0, 0.0, 0.0]}, error=1e-3,
        held=("base", "gain", "age", "helped"), drawn=("passed",), data=PEOPLE,
    ),
    "missing covariates": Case(
        missing_covariates, {"x": 1}, {"x": 0}, {name: [1.0, 10.0, 3.0] for name in "ywv"}, error=1e-3, data=MISSING
    ),
    "a missing covariate that is shifted": Case(
        missing_covariates, {"in_plate": Shift(2.0)}, {}, {"y": [0.0, 2.0, 0.0]}, data=MISSING,
        held=("in_plate", "in_scan", "mixed_observed", "mixed_unobserved", "x"), absent=("w", "v"),
    ),
    "a chain set at both ends": Case(
        chain, {"a": 1.0}, {"b": 0.0}, {}, drawn=("b", "y"), held=("a", "slope"), absent=("a", "b")
    ),
    "a chain shifted twice": Case(
        chain, {"a": Shift(1.0), "b": Shift(0.5)}, {}, {"y": 8.5, "held": 1.0}, error=None, draws=400,
        drawn=("b", "y"), held=("a", "slope"),
    ),
    "two chains in one scan": Case(
        two_chains_in_one_scan, {"rain": 1.0}, {"rain": 0.0}, {"hit": GROWTH}, absent=("apart",), held=("apart",)
    ),
    "feedback, shifted": Case(feedback, {"dose": Shift(1.0)}, {}, {"y": np.ones(3)}, drawn=("dose", "y")),
    "feedback, set": Case(feedback, {"dose": 1.0}, {"dose": 0.0}, {"y": [1.0, 2.0, 3.0]}, drawn=("y",)),
    "recorded feedback": Case(
        recorded_feedback, {"dose": 0.0}, {}, {"y": [-1.0, -2.0, 0.0]}, held=("dose",), drawn=("y",), data=DOSED
    ),
    "recorded feedback, shifted": Case(
        recorded_feedback, {"dose": Shift(1.0)}, {}, {"y": np.ones(3)}, drawn=("dose", "y"), data=DOSED
    ),
    "a recorded treatment with a memory": Case(
        autoregressive_treatment, {"rain": 0.0}, {}, {"flow": -2.0 * SERIES}, held=("rain",),
        data={"rain": SERIES, "flow": SERIES},
    ),
    "rare events": Case(
        rare, {"debt": 1.0}, {"debt": 0.0},
        {"reserve": -1.0, "ruined": ndtr(-2.0) - ndtr(-3.0), "ruin": ndtr(-2.0) - ndtr(-3.0), "probability": 1e-4},
        error=None, draws=2000,
    ),
    "opposite effects": Case(opposite, {"training": 1}, {"training": 0}, {"scores": [2.0, -1.0]}, held=("root",)),
    "shares": Case(
        shares, {"subsidy": 2.0}, {"subsidy": 0.0},
        {"share": [0.25, -0.125, -0.125], "places": [10.0, -5.0, -5.0], "contrast": [4.0, -2.0, -2.0]},
        error=None, draws=300,
        over={"share": None, "places": None, "contrast": None, "gains": "mean over 3 elements"},
    ),
    "plates and scans": Case(
        grid, {"rain": 1.0}, {"rain": 0.0},
        {"yield": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], "pair": np.tile([1.0, -2.0], (3, 1)),
         "level": np.stack([GROWTH, GROWTH], 1), "period": 1.0, "treatment%": 1.0},
        {"yield": ("site", "year"), "pair": ("arm_", "pair_dim_1"), "level": ("period_", "level_dim_1")},
        over={"yield": "mean over 2 site x 3 year", "pair": "mean over 3 arm_ x 2 elements"},
    ),
    "factors": Case(
        factors, {"price": 1.0}, {"price": 0.0}, {"sales": -3.0}, absent=("balance", "apart"), warns="'balance'"
    ),
    "scopes": Case(
        scoped, {"north/seed": 1.0}, {"north/seed": 0.0}, {"north/yield": 2.0}, absent=("south/yield",),
        held=("south/seed", "south/yield"),
    ),
    "a recorded lag in scan": Case(
        lag_in_scan, {"dose": 1.0}, {"dose": 0.0}, {"y": np.ones(3), "odds": np.full(3, 3.0)},
        warns="distribution of 'y' reads recorded values of 'y'", data={"y": SERIES, "on": np.array([0.0, 1, 1], "f")},
    ),
    "a recorded lag in a plate": Case(
        lag_in_plate, {"dose": 1.0}, {"dose": 0.0}, {"y": np.ones(2)}, warns="'y'", data={"y": SERIES}
    ),
    "a drawn past": Case(
        drawn_past, {"dose": 1.0}, {"dose": 0.0},
        {"y": np.cumsum(0.8 ** np.arange(3)), "count": [1.0, 2.0, 3.0], "gap": np.ones(2)},
        data={"y": SERIES, "gaps": np.array([1.0, np.nan], np.float32)},
    ),
    "a record shorter than its scan": Case(
        forecast, {"rain": 1.0}, {"rain": 0.0}, {"y": GROWTH, "product": [1.0, 2.0, 10.0]}, error=1e-3,
        held=("known",), drawn=("y",), data={"y": SERIES, "known": SERIES[:2]},
    ),
    "programs": Case(
        programs, {"x": 3.0}, {"x": 0.0}, PROGRAMS, absent=("unrelated", "pair", "imaginary"),
        warns="'pair' responds and is left out",
    ),
    "laws": Case(
        laws, {"rain": 1.0}, {"rain": 0.0},
        {"tail": 1.0, "fixed": 2.0, "path": [0.0, 1.0, 2.0], "low_rank": [1.0, 1.0], "moved": 2.0, "twice": [1.0, 1.0]},
    ),
    "a distribution of one's own": Case(own_distribution, {"rain": 1.0}, {"rain": 0.0}, {"y": 2.0}),
    "centred and not": Case(
        spellings, {"rain": 1.0}, {"rain": 0.0}, {"centred": 2.0, "not_centred": 2.0, "by_handler": 2.0, "y": 2.0},
        held=("noise", "by_handler_decentered"), drawn=("centred", "y"),
    ),
    "shifts": Case(
        treatments("real", "positive", "kind", "on", "two"),
        {"real": Shift(1.0), "positive": lambda v: 2.0 * v, "on": lambda v: 1 - v, "two": Shift([1, 2]),
         "kind": lambda v: (v + 1) % 3},
        {"on": 0, "positive": 1.0, "kind": 0},
        {"real shown": 1.0, "two shown": [1.0, 2.0], "on shown": 0.7, "positive shown": 2.0 * np.exp(0.5) - 1.0,
         "kind shown": 1.0},
        error=None, draws=400,
    ),
    "drawn treatments": Case(
        treatments("real", "positive", "count", "on", "kind", "share", "few", "two"),
        {"real": dist.Normal(3.0, 0.5), "positive": dist.Exponential(0.5), "count": dist.Bernoulli(0.2),
         "on": dist.Bernoulli(0.9), "kind": dist.Categorical(jnp.array([0.0, 0.5, 0.5])),
         "share": dist.Uniform(0.0, 0.5), "few": dist.DiscreteUniform(0, 5),
         "two": dist.Delta(jnp.array([4.0, 5.0]))},
        {"real": 0.0, "positive": 1.0, "count": 0, "on": 0, "kind": 0, "share": 0.0, "few": 0, "two": 0.0},
        {"real shown": 3.0, "positive shown": 1.0, "count shown": 0.2, "on shown": 0.9, "kind shown": 1.5,
         "share shown": 0.25, "few shown": 2.5, "two shown": [4.0, 5.0]},
        error=None, draws=400,
    ),
}  # fmt: skip


def escaped(name):
    return name.replace("/", "%2F")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_closed_forms(case):
    arms = {"control": case.control, "treatment": case.treatment}
    tree = ba.compare(case.model, arms, KEY, draws=case.draws, futures=case.futures, data=case.data)
    effects = tree["effects"]
    for name, right in case.right.items():
        found = effects[escaped(name)].sel(treatment="treatment")
        error = case.error if case.error is not None else 4 * found.sel(statistic="mcse").values + 1e-5
        assert found.sel(statistic="ate").shape == np.shape(right), name
        assert (np.abs(found.sel(statistic="ate").values - right) <= error).all(), (name, found.sel(statistic="ate"))
    for name, dims in case.dims.items():
        assert effects[name].dims[2:] == dims
    means = tree["effect_means"].data_vars if "effect_means" in tree.children else {}
    for name, over in case.over.items():
        assert (means[name].attrs["over"] == over) if over else (name not in means)
        if over:
            mean, elements = (group[name].sel(statistic="ate") for group in (means, effects))
            assert float(mean.item()) == pytest.approx(float(elements.mean()), abs=1e-4)
    assert not {escaped(name) for name in case.absent} & set(effects.data_vars)
    warnings = " ".join(json.loads(tree.attrs["warnings"]))
    assert (case.warns in warnings) if case.warns else not warnings
    held, drawn = (json.loads(tree.attrs[name]) for name in ("held", "drawn"))
    assert set(case.held) <= set(held)
    if case.drawn:
        assert sorted(case.drawn) == sorted(drawn)
    assert not set(held) & set(drawn)


def test_counts_beyond_32_bits_are_no_numbers():
    """JAX draws at the end of the type there, of which no mean would be right."""

    def counts():
        numpyro.sample("y", dist.Poisson(jnp.exp(30.0 + numpyro.sample("x", dist.Normal(0.0, 1e-3)))))

    tree = ba.compare(counts, {"few": {"x": -30.0}, "many": {"x": 0.0}}, KEY, draws=8)
    assert np.isnan(tree["effects"]["y"].sel(statistic="ate")).all()
    (warning,) = json.loads(tree.attrs["warnings"])
    assert "under many" in warning and "beyond 32-bit whole numbers" in warning


def test_a_latent_site_is_one_draw_for_arms_and_futures():
    tree = ba.compare(chain, {"no": {"a": 0.0}, "yes": {"a": 1.0}}, KEY, draws=50, futures=4)
    held = tree["values"]["held"].values  # draw, future, arm: the slope is that of the draw
    np.testing.assert_array_equal(held, np.broadcast_to(held[:, :1], held.shape))
    assert held[:, 0, 1].std() > 0.5
    assert (tree["values"]["y"].std("future") > 0).all()


def test_the_arm_as_it_is_has_the_law_of_the_model_also_under_feedback():
    """`y_1 = e_0 + d_1 + e_1` with `d_1 = -e_0 + 0.1 u`: variance 1.01. A dose held from another run would give 3."""
    tree = ba.compare(feedback, {"as it is": {}, "none": {"dose": 0.0}}, KEY, draws=4000, futures=1)
    variance = tree["values"]["y"].sel(arm="as it is").var("draw").values.ravel()
    np.testing.assert_allclose(variance, 1.01, rtol=5 * np.sqrt(2 / 4000))


# --- given a posterior ------------------------------------------------------------------------------------------------


def given(model, treatment, control, sites, data=None, futures=8):
    """outcome -> (draw, future, arm, ...) of control and treatment, from a posterior that is made by hand."""
    variables = {
        name: (("chain", "draw", *(f"{name}_dim_{k}" for k in range(np.ndim(value) - 1))), np.asarray(value)[None])
        for name, value in sites.items()
    }
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset(variables)})
    arms = {"control": Arm(sites=control), "treatment": Arm(sites=treatment)}
    draws = len(next(iter(sites.values())))
    return plain.simulate(model, arms, KEY, draws, futures, data or {}, tree)


CAMPAIGN = np.array([0, 0, 1, 1], np.int32)
LEVELS = np.linspace(3.5, 4.5, 60).reshape(-1, 1) + np.array([0.0, 0.1, 0.2, -0.1])
LIFT = np.linspace(0.4, 0.6, 60)


def counted(level, lift, campaign, count, law=dist.Normal):
    with numpyro.plate("year", len(level)):
        on = numpyro.sample("campaign", dist.Bernoulli(0.5), obs=campaign)
        expected = numpyro.deterministic("expected", jnp.exp(level + lift * on))
        # the law of counts once: that of Poisson takes seconds to compile
        numpyro.sample("count", dist.Poisson(expected) if law is None else law(expected, 1.0), obs=count)


def level_in_scan(campaign, count=None):
    lift = numpyro.sample("lift", dist.Normal(0.5, 0.1))
    start = numpyro.sample("start", dist.Normal(4.0, 1.0))

    def step(before, _):
        now = numpyro.sample("level", dist.Normal(before, 0.3))
        return now, now

    counted(scan(step, start, None, length=len(campaign))[1], lift, campaign, count, law=None)


def level_in_plate(campaign, count=None):
    lift = numpyro.sample("lift", dist.Normal(0.5, 0.1))
    start = numpyro.sample("start", dist.Normal(4.0, 1.0))
    with numpyro.plate("steps", len(campaign)):
        change = numpyro.sample("change", dist.Normal(0.0, 0.3))
    counted(start + jnp.cumsum(change), lift, campaign, count)


def level_as_a_vector(campaign, count=None):
    lift = numpyro.sample("lift", dist.Normal(0.5, 0.1))
    level = numpyro.sample("level", dist.GaussianRandomWalk(0.3, len(campaign)))
    counted(level, lift, campaign, count)


@pytest.mark.parametrize(
    ("model", "sites"),
    [
        (level_in_scan, {"lift": LIFT, "start": LEVELS[:, 0], "level": LEVELS}),
        (level_in_plate, {"lift": LIFT, "start": 0 * LIFT, "change": np.diff(LEVELS, axis=1, prepend=0.0)}),
        (level_as_a_vector, {"lift": LIFT, "level": LEVELS}),
    ],
)
def test_the_recorded_years_keep_their_levels(model, sites):
    """The effect in year t is `exp(level_t) (e^lift - 1)`, averaged over the posterior: in every spelling."""
    found = given(model, {"campaign": 1}, {"campaign": 0}, sites, {"campaign": CAMPAIGN}, futures=16)
    effect = {name: value[:, :, 1] - value[:, :, 0] for name, value in found.values.items()}
    right = np.exp(LEVELS) * (np.exp(LIFT) - 1)[:, None]
    np.testing.assert_allclose(effect["expected"].mean(1), right, rtol=1e-4)
    # chance of the futures; the draws are the posterior
    error = np.sqrt(effect["count"].var(1, ddof=1).mean(0) / (60 * 16)) + 1e-4
    assert (np.abs(effect["count"].mean((0, 1)) - right.mean(0)) <= 4 * error).all()
    assert "count" in found.drawn
    assert set(sites) <= set(found.held)


def grouped_in_plate(y=None):
    x = rain()
    with numpyro.plate("school", 3):
        effect = numpyro.sample("effect", dist.Normal(1.0, 1.0))
        numpyro.sample("y", dist.Normal(effect * x, 1.0), obs=y)


def grouped_in_scan(y=None):
    x = rain()

    def school(carry, seen):
        effect = numpyro.sample("effect", dist.Normal(1.0, 1.0))
        numpyro.sample("y", dist.Normal(effect * x, 1.0), obs=seen)
        return carry, None

    scan(school, 0.0, y)


def grouped_without_a_centre(y=None):
    x = rain()
    noise = numpyro.sample("noise", dist.Normal().expand([3]).to_event(1))
    numpyro.sample("y", dist.Normal((1.0 + noise) * x, 1.0).to_event(1), obs=y)


def grouped_in_nested_scans(y=None):
    x = rain()

    def outer(carry, seen):
        def inner(carry, seen):
            effect = numpyro.sample("effect", dist.Normal(1.0, 1.0))
            numpyro.sample("y", dist.Normal(effect * x, 1.0), obs=seen)
            return carry, None

        return scan(inner, carry, seen)

    scan(outer, 0.0, y)


@pytest.mark.parametrize(
    ("model", "site", "shape"),
    [
        (grouped_in_plate, "effect", (3,)),
        (grouped_in_scan, "effect", (3,)),
        (grouped_without_a_centre, "noise", (3,)),
        (grouped_in_nested_scans, "effect", (3, 2)),
    ],
)
def test_effects_of_groups_keep_their_posterior_values(model, site, shape):
    values = 1.0 + np.arange(np.prod(shape), dtype=float).reshape(shape)
    kept = np.tile(values - (site == "noise"), (4, *(1,) * len(shape)))
    found = given(model, {"rain": 2.0}, {"rain": 0.0}, {site: kept}, {"y": np.zeros(shape, np.float32)}, 2)
    effect = found.values["y"][:, :, 1] - found.values["y"][:, :, 0]
    np.testing.assert_allclose(effect, np.broadcast_to(2.0 * values, effect.shape), atol=1e-5)
    assert found.held == [site]


@pytest.mark.parametrize(
    ("model", "shape"), [(grouped_in_plate, (4,)), (grouped_in_scan, (2,)), (grouped_in_nested_scans, (2, 3))]
)
def test_a_posterior_of_a_record_of_another_size_is_refused(model, shape):
    rows = np.zeros((3, 2) if model is grouped_in_nested_scans else 3, np.float32)
    with pytest.raises(ba.InputError, match="site 'effect' has shape .* record of another size"):
        given(model, {"rain": 2.0}, {"rain": 0.0}, {"effect": np.ones((4, *shape))}, {"y": rows})


def test_a_centred_mediator_is_drawn_anew_and_of_another_the_noise_is_kept():
    sites = {"centred": np.full(64, 50.0), "noise": np.full(64, 50.0), "by_handler_decentered": np.full(64, 50.0)}
    found = given(spellings, {"rain": 1.0}, {"rain": 0.0}, sites)
    means = {name: value.mean((0, 1)) for name, value in found.values.items()}
    np.testing.assert_allclose(means["centred"], [0.0, 2.0], atol=5 / np.sqrt(64 * 8))
    np.testing.assert_allclose(means["not_centred"], [50.0, 52.0], rtol=1e-6)
    np.testing.assert_allclose(means["by_handler"], [50.0, 52.0], rtol=1e-6)


def improper():
    floor = numpyro.sample("floor", dist.ImproperUniform(dist.constraints.real, (), ()))
    price = numpyro.sample("price", dist.Uniform(0.0, 2.0))
    slope = numpyro.param("slope", -3.0)
    numpyro.sample("sales", dist.Normal(floor + slope * price, 1.0))


def test_improper_priors_and_parameters_have_their_posterior_values_and_are_refused_without():
    sites = {"floor": np.full(8, 10.0), "slope": np.full(8, -2.0)}
    found = given(improper, {"price": 1.0}, {"price": 0.0}, sites)
    effect = found.values["sales"][:, :, 1] - found.values["sales"][:, :, 0]
    np.testing.assert_allclose(effect, -2.0, atol=1e-5)
    with pytest.raises(ba.InputError, match="'floor' cannot be drawn.*improper"):
        ba.compare(improper, {"a": {"price": 0.0}, "b": {"price": 1.0}}, KEY, draws=4)
    with pytest.raises(ba.InputError, match="no site 'slope'"):
        given(improper, {"price": 1.0}, {"price": 0.0}, {"floor": sites["floor"]})


# --- periods, values, and what is refused -----------------------------------------------------------------------------


def pushes():
    def step(x, _):
        push = numpyro.sample("push", dist.Normal())
        x = numpyro.deterministic("x", 0.5 * x + push + numpyro.sample("noise", dist.Normal()))
        return x, x

    return scan(step, 0.0, None, length=6)[1]


@pytest.mark.parametrize(
    "periods", [{"start": 60}, {"start": 6}, {"start": 4, "stop": 2}, {"start": 3, "stop": 3}, {"start": -2},
                {"stop": 0}, {"stop": 9}],
)  # fmt: skip
def test_periods_that_there_are_not_are_refused(periods):
    with pytest.raises(ba.InterventionError, match="period"):
        ba.seed_by_name(ba.do(pushes, {"push": 1.0}, **periods), KEY)()


@pytest.mark.parametrize("push", [1.0, Shift(1.0), lambda v: 2.0 * v, dist.Normal(3.0, 1.0), np.arange(6.0)])
def test_before_the_start_everything_is_as_without_the_intervention_draw_by_draw(push):
    def pair(key):
        return ba.seed_by_name(pushes, key)(), ba.seed_by_name(ba.do(pushes, {"push": push}, start=2, stop=4), key)()

    with fully_optimised():  # else the two are rounded differently
        natural, forced = jax.jit(jax.vmap(pair))(jax.random.split(KEY, 20))
    np.testing.assert_array_equal(natural[:, :2], forced[:, :2])
    assert (natural[:, 2:] != forced[:, 2:]).all()
    np.testing.assert_allclose((forced - natural)[:, 4], 0.5 * (forced - natural)[:, 3], atol=1e-5)  # it ends


@pytest.mark.parametrize(
    ("site", "value", "says"),
    [
        ("real", np.nan, "'real' takes values in"),
        ("real", np.inf, "'real' takes values in"),
        ("count", 2**40, "32 bits cannot hold"),
        ("real", lambda v: "x", "makes no numbers of site 'real'"),
        ("real", lambda v: None, "makes no numbers of site 'real'"),
        ("two", Shift([1.0, 2.0, 3.0]), "makes no numbers of site 'two'"),
        ("real", lambda v: jnp.ones(2), r"'real' has shape \(\); the intervention has \(2,\)"),
        ("positive", Shift(-100.0), "^site 'positive' takes values in .*; the intervention leaves them$"),
        ("count", Shift(0.5), "^site 'count' takes values in .*; the intervention leaves them$"),
        ("on", Shift(2), "^site 'on' takes values in .*; the intervention leaves them$"),
        ("positive", dist.Normal(1.0, 0.1), r"Normal\(1.0, 0.1.*\) does not keep to them"),
        ("count", dist.Normal(), "does not keep to them"),
        ("on", dist.Poisson(2.0), "does not keep to them"),
        ("few", dist.Binomial(6, 0.5), "does not keep to them"),
        ("share", dist.Uniform(0.0, 1.5), "does not keep to them"),
        ("parts", dist.Normal(), "does not keep to them"),
        ("two", dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)), "depend on each other"),
        ("real", dist.Normal(jnp.zeros(2), 1.0), r"'real' has shape \(\)"),
        ("nothing", 1.0, "no site 'nothing'.*real"),
        ("shown", 1.0, "'real shown' is deterministic"),
    ],
)
def test_refuses_by_name_and_in_a_sentence(site, value, says):
    model = treatments(site if site in SITES else "real")
    name = "real shown" if site == "shown" else site
    with pytest.raises(ba.InterventionError, match=says) as refusal:
        ba.compare(model, {"a": {}, "b": {name: value}}, KEY, draws=2, futures=1)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("value", ["high", None, 1j, {}, [1.0, [2.0]], np.array(["a"]), dist.Normal, 10**400])
def test_values_that_are_no_numbers_are_refused(value):
    with pytest.raises(ba.InterventionError, match="'real' is set to .*, which is neither numbers"):
        _check_values({"real": value})
