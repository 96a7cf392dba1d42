"""Effects on twelve public kinds of NumPyro models, beside answers written by hand in NumPy and SciPy.

Each model is fitted to a small simulated record by plain NumPyro. The effect of one arm against another is then taken
from `bayesalloc` and, for the same posterior draws, from a formula that knows nothing of it. All they can differ by is
the chance of the futures: four Monte Carlo errors are allowed, and the rounding of float32.

    python effects_models.py
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.control_flow import scan
from numpyro.infer import MCMC, NUTS
from scipy.integrate import solve_ivp
from scipy.special import expit
from scipy.stats import multivariate_normal, norm

import bayesalloc as ba
from bayesalloc.inference.names import escaped

DRAWS, FUTURES = 200, 32
ROUNDING = 2e-4  # of the largest effect of the outcome: sums and differences in float32
Draws = Mapping[str, np.ndarray]  # site -> (draw, ...)


class Kind(NamedTuple):
    """A model, its record, what is done to it, and the effect by hand: one for each draw."""

    model: Callable[..., Any]
    data: dict[str, Any]
    treatment: dict[str, Any]
    control: dict[str, Any]
    outcome: str
    by_hand: Callable[[Draws, Mapping[str, Any]], np.ndarray]


RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def coins(*shape: int) -> np.ndarray:
    return RNG.integers(0, 2, shape).astype(np.int32)


# --- the models, as they are published: covariates and treatments are sites with obs= ---------------------------------


def regression(treated, age, y=None):
    base, gain, slope = (numpyro.sample(name, dist.Normal(0.0, 2.0)) for name in ("base", "gain", "slope"))
    spread = numpyro.sample("spread", dist.HalfNormal(1.0))
    with numpyro.plate("person", len(age)):
        years = numpyro.sample("age", dist.Normal(0.0, 1.0), obs=age)
        given = numpyro.sample("treated", dist.Bernoulli(0.5), obs=treated)
        numpyro.sample("y", dist.Normal(base + gain * given * (1.0 + years) + slope * years, spread), obs=y)


def schools(dose, sigma, y=None):
    mean, between = numpyro.sample("mean", dist.Normal(0.0, 5.0)), numpyro.sample("between", dist.HalfNormal(5.0))
    with numpyro.plate("school", len(sigma)):
        effect = numpyro.sample("effect", dist.Normal(mean, between))
        hours = numpyro.sample("dose", dist.Gamma(2.0, 1.0), obs=dose)
        numpyro.sample("y", dist.Normal(effect * hours, sigma), obs=y)


def difference_in_differences(treated, y=None):
    units, periods = treated.shape
    gain, spread = numpyro.sample("gain", dist.Normal(0.0, 2.0)), numpyro.sample("spread", dist.HalfNormal(1.0))
    with numpyro.plate("unit", units, dim=-2):
        level = numpyro.sample("level", dist.Normal(0.0, 2.0))
    with numpyro.plate("period", periods, dim=-1):
        trend = numpyro.sample("trend", dist.Normal(0.0, 1.0))
    with numpyro.plate("unit", units, dim=-2), numpyro.plate("period", periods, dim=-1):
        on = numpyro.sample("treated", dist.Bernoulli(0.5), obs=treated)
        numpyro.sample("y", dist.Normal(level + trend + gain * on, spread), obs=y)


def synthetic_control(on, donors, y=None):
    weights = numpyro.sample("weights", dist.Dirichlet(jnp.ones(donors.shape[1])))
    lift, spread = numpyro.sample("lift", dist.Normal(0.0, 1.0)), numpyro.sample("spread", dist.HalfNormal(1.0))
    with numpyro.plate("period", len(on)):
        given = numpyro.sample("on", dist.Bernoulli(0.5), obs=on)
        drift = numpyro.deterministic("synthetic", donors @ weights)
        numpyro.sample("y", dist.Normal(drift * jnp.exp(lift * given), spread), obs=y)


def local_level(campaign, count=None):
    lift, drift = numpyro.sample("lift", dist.Normal(0.0, 1.0)), numpyro.sample("drift", dist.HalfNormal(0.3))
    start = numpyro.sample("start", dist.Normal(4.0, 1.0))

    def step(before, _):
        now = numpyro.sample("level", dist.Normal(before, drift))
        return now, now

    _, level = scan(step, start, None, length=len(campaign))
    with numpyro.plate("year", len(campaign)):
        on = numpyro.sample("campaign", dist.Bernoulli(0.5), obs=campaign)
        numpyro.sample("count", dist.Poisson(jnp.exp(level + lift * on)), obs=count)


def vector_autoregression(rate, y=None):
    lag = numpyro.sample("lag", dist.Normal(0.0, 0.4).expand([2, 2]).to_event(2))
    push = numpyro.sample("push", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    spread = numpyro.sample("spread", dist.HalfNormal(1.0).expand([2]).to_event(1))

    def step(before, seen):
        given = numpyro.sample("rate", dist.Normal(0.0, 1.0), obs=seen[0])
        now = numpyro.sample("y", dist.Normal(lag @ before + push * given, spread).to_event(1), obs=seen[1])
        return now, None

    scan(step, jnp.zeros(2), (rate, y))


def stochastic_volatility(news, y=None):
    calm, move = numpyro.sample("calm", dist.Normal(-1.0, 1.0)), numpyro.sample("move", dist.HalfNormal(0.3))
    excited = numpyro.sample("excited", dist.Normal(0.0, 1.0))

    def step(before, seen):
        log_variance = numpyro.sample("log_variance", dist.Normal(calm + 0.9 * (before - calm), move))
        told = numpyro.sample("news", dist.Bernoulli(0.5), obs=seen[0])
        spread = jnp.exp(0.5 * log_variance + excited * told)
        change = numpyro.sample("y", dist.Normal(0.0, spread), obs=seen[1])
        numpyro.deterministic("crash", change < -1.0)
        return log_variance, None

    scan(step, calm, (news, y))


def hidden_markov(on, y):
    """Two hidden states, summed out by the forward recursion in a factor."""
    stay = numpyro.sample("stay", dist.Beta(8.0, 2.0).expand([2]).to_event(1))
    low, gap = numpyro.sample("low", dist.Normal(0.0, 1.0)), numpyro.sample("gap", dist.HalfNormal(3.0))
    lift = numpyro.sample("lift", dist.Normal(0.0, 1.0))
    given = numpyro.sample("on", dist.Bernoulli(0.5).expand([len(y)]).to_event(1), obs=on)
    means = jnp.stack([low, low + gap])
    moves = jnp.stack([jnp.stack([stay[0], 1.0 - stay[0]]), jnp.stack([1.0 - stay[1], stay[1]])])

    def forward(state, seen):
        told, value = seen
        joint = state @ moves * jnp.exp(dist.Normal(means + lift * told, 1.0).log_prob(value))
        return joint / joint.sum(), jnp.log(joint.sum())

    state, evidence = jax.lax.scan(forward, jnp.array([0.5, 0.5]), (given.astype(jnp.float32), y))
    numpyro.factor("evidence", evidence.sum())
    numpyro.deterministic("forecast", state @ moves @ means + lift * given[-1])


def mixture(x, y=None):
    base, tilt = numpyro.sample("base", dist.Normal(0.0, 1.0)), numpyro.sample("tilt", dist.Normal(0.0, 1.0))
    places = numpyro.sample("places", dist.Normal(jnp.array([-2.0, 2.0]), 1.0).to_event(1))
    with numpyro.plate("row", len(x)):
        given = numpyro.sample("x", dist.Bernoulli(0.5), obs=x)
        high = jax.nn.sigmoid(base + tilt * given)
        which = dist.Categorical(probs=jnp.stack([1.0 - high, high], -1))
        numpyro.sample("y", dist.MixtureSameFamily(which, dist.Normal(places, 0.5)), obs=y)


TIMES, STEPS = np.linspace(0.0, 6.0, 13).astype(np.float32), 5


def predator_and_prey(harvest, y=None):
    rates = numpyro.sample("rates", dist.LogNormal(jnp.log(jnp.array([1.0, 0.5, 0.5])), 0.2).to_event(1))
    spread = numpyro.sample("spread", dist.HalfNormal(0.3))
    taken = numpyro.sample("harvest", dist.Uniform(0.0, 0.5), obs=harvest)

    def change(z):
        prey, predator = z
        return jnp.stack([prey * (rates[0] - rates[1] * predator - taken), rates[2] * predator * (prey - 1.0)])

    def runge_kutta(z, _):
        h = TIMES[1] / STEPS
        first = change(z)
        second = change(z + h / 2 * first)
        third = change(z + h / 2 * second)
        return z + h / 6 * (first + 2 * second + 2 * third + change(z + h * third)), None

    def between(z, _):
        return jax.lax.scan(runge_kutta, z, None, length=STEPS)[0], z

    _, z = jax.lax.scan(between, jnp.array([1.5, 1.0]), None, length=len(TIMES))
    numpyro.sample("y", dist.LogNormal(jnp.log(z), spread).to_event(2), obs=y)


def multivariate(x, y=None):
    base = numpyro.sample("base", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    gain = numpyro.sample("gain", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    scale = numpyro.sample("scale", dist.HalfNormal(1.0).expand([2]).to_event(1))
    root = numpyro.sample("root", dist.LKJCholesky(2, 2.0))
    with numpyro.plate("row", len(x)):
        given = numpyro.sample("x", dist.Bernoulli(0.5), obs=x)
        mean = base + gain * given[:, None]
        both = numpyro.sample("y", dist.MultivariateNormal(mean, scale_tril=scale[:, None] * root), obs=y)
        numpyro.deterministic("both", (both > 0).all(-1))


def zero_inflated(x, y=None):
    gate, open_up = numpyro.sample("gate", dist.Normal(0.0, 1.0)), numpyro.sample("open_up", dist.Normal(0.0, 1.0))
    rate, lift = numpyro.sample("rate", dist.Normal(1.0, 1.0)), numpyro.sample("lift", dist.Normal(0.0, 1.0))
    with numpyro.plate("row", len(x)):
        given = numpyro.sample("x", dist.Bernoulli(0.5), obs=x)
        never = jax.nn.sigmoid(gate + open_up * given)
        numpyro.sample("y", dist.ZeroInflatedPoisson(never, jnp.exp(rate + lift * given)), obs=y)


# --- the effects by hand: for each draw, the expectation over futures -------------------------------------------------


def by_hand_autoregression(post: Draws, data: Mapping[str, Any]) -> np.ndarray:
    difference, path = np.zeros_like(post["push"]), []
    for rate in data["rate"]:
        difference = np.einsum("nij,nj->ni", post["lag"], difference) + post["push"] * (1.0 - rate)
        path.append(difference)
    return np.stack(path, 1)


def by_hand_volatility(post: Draws, data: Mapping[str, Any]) -> np.ndarray:
    calm, told = (np.exp(0.5 * post["log_variance"] + k * post["excited"][:, None]) for k in (0, 1))
    return norm.cdf(-1.0 / told) - norm.cdf(-1.0 / calm)


def by_hand_hidden_markov(post: Draws, data: Mapping[str, Any]) -> np.ndarray:
    def forecast(low: float, gap: float, lift: float, stay: np.ndarray, on: np.ndarray) -> float:
        means, moves = np.array([low, low + gap]), np.array([[stay[0], 1 - stay[0]], [1 - stay[1], stay[1]]])
        state = np.array([0.5, 0.5])
        for given, value in zip(on, data["y"], strict=True):
            state = state @ moves * norm.pdf(value, means + lift * given)
            state = state / state.sum()
        return float(state @ moves @ means + lift * on[-1])

    rows = zip(post["low"], post["gap"], post["lift"], post["stay"], strict=True)
    always, never = np.ones(len(data["y"])), np.zeros(len(data["y"]))
    return np.array([forecast(*row, always) - forecast(*row, never) for row in rows])


def by_hand_predator_and_prey(post: Draws, data: Mapping[str, Any]) -> np.ndarray:
    def mean(rates: np.ndarray, spread: float, taken: float) -> np.ndarray:
        def change(_: float, z: np.ndarray) -> list[float]:
            prey, predator = z
            return [prey * (rates[0] - rates[1] * predator - taken), rates[2] * predator * (prey - 1)]

        span = (0.0, float(TIMES[-1]))
        path = solve_ivp(change, span, [1.5, 1.0], t_eval=TIMES.astype(float), rtol=1e-8, atol=1e-8).y.T
        return path * np.exp(0.5 * spread**2)

    rows = zip(post["rates"].astype(float), post["spread"].astype(float), strict=True)
    return np.stack([mean(rates, spread, 0.3) - mean(rates, spread, float(data["harvest"])) for rates, spread in rows])


def by_hand_multivariate(post: Draws, data: Mapping[str, Any]) -> np.ndarray:
    def both(mean: np.ndarray, root: np.ndarray) -> float:  # P(y > 0) = P(-y < 0)
        return float(multivariate_normal.cdf(np.zeros(2), mean=-mean, cov=root @ root.T))

    roots = post["scale"][:, :, None] * post["root"]
    rows = zip(post["base"].astype(float), post["gain"].astype(float), roots.astype(float), strict=True)
    each = np.array([both(base + gain, root) - both(base, root) for base, gain, root in rows])
    return np.repeat(each[:, None], len(data["x"]), 1)


def by_hand_zero_inflated(post: Draws, data: Mapping[str, Any]) -> np.ndarray:
    some = [(1 - expit(post["gate"] + k * post["open_up"])) * np.exp(post["rate"] + k * post["lift"]) for k in (0, 1)]
    return np.repeat((some[1] - some[0])[:, None], len(data["x"]), 1)


def by_hand_mixture(post: Draws, data: Mapping[str, Any]) -> np.ndarray:
    moved = expit(post["base"] + post["tilt"]) - expit(post["base"])
    return np.repeat((moved * (post["places"][:, 1] - post["places"][:, 0]))[:, None], len(data["x"]), 1)


def kinds() -> dict[str, Kind]:
    """The twelve, with records that their own kind made."""
    age, treated = normal(40), coins(40)
    dose, sigma = RNG.gamma(2.0, 1.0, 8).astype(np.float32), np.array([15, 10, 16, 11, 9, 11, 10, 18], np.float32)
    cells = np.zeros((6, 8), np.int32)
    cells[:3, 4:] = 1
    donors, after = (5.0 + normal(20, 4).cumsum(0) / 4), (np.arange(20) >= 12).astype(np.int32)
    campaign = np.repeat([0, 1, 0, 1], 4).astype(np.int32)
    level = 4.0 + 0.1 * normal(16).cumsum()
    rate, series = normal(30), np.zeros((30, 2), np.float32)
    for t in range(30):
        before = series[t - 1] if t else np.zeros(2)
        series[t] = np.array([[0.5, 0.1], [0.2, 0.3]]) @ before + np.array([1.0, -0.5]) * rate[t] + 0.3 * normal(2)
    news, on = coins(30), coins(30)
    states = np.repeat([0, 1, 0], 10)
    x = coins(60)
    root = np.array([[1.0, 0.0], [0.5, 0.8]])
    cycles = np.array([1.5, 1.0]) * np.exp(0.3 * np.sin(TIMES[:, None] + np.array([0.0, 1.5])) + 0.05 * normal(13, 2))
    return {
        "regression": Kind(
            regression, {"treated": treated, "age": age, "y": 1 + treated * (1 + age) + 0.5 * age + 0.5 * normal(40)},
            {"treated": 1}, {"treated": 0}, "y", lambda post, data: post["gain"][:, None] * (1.0 + data["age"]),
        ),
        "hierarchical": Kind(
            schools, {"dose": dose, "sigma": sigma, "y": 4.0 * dose + sigma * normal(8)},
            {"dose": 2.0}, {}, "y", lambda post, data: post["effect"] * (2.0 - data["dose"]),
        ),
        "difference in differences": Kind(
            difference_in_differences,
            {"treated": cells, "y": normal(6, 1) + normal(1, 8) + cells + 0.3 * normal(6, 8)},
            {}, {"treated": 0}, "y", lambda post, data: post["gain"][:, None, None] * data["treated"],
        ),
        "synthetic control": Kind(
            synthetic_control,
            {"on": after, "donors": donors, "y": donors[:, 0] * np.exp(0.2 * after) + 0.2 * normal(20)},
            {}, {"on": 0}, "y",
            lambda post, data: post["weights"] @ data["donors"].T * (np.exp(post["lift"][:, None] * data["on"]) - 1),
        ),
        "local level": Kind(
            local_level, {"campaign": campaign, "count": RNG.poisson(np.exp(level + 0.5 * campaign)).astype(np.int32)},
            {"campaign": 1}, {"campaign": 0}, "count",
            lambda post, data: np.exp(post["level"]) * (np.exp(post["lift"]) - 1)[:, None],
        ),
        "vector autoregression": Kind(
            vector_autoregression, {"rate": rate, "y": series}, {"rate": 1.0}, {}, "y", by_hand_autoregression
        ),
        "stochastic volatility": Kind(
            stochastic_volatility, {"news": news, "y": 0.6 * np.exp(0.5 * news) * normal(30)},
            {"news": 1}, {"news": 0}, "crash", by_hand_volatility,
        ),
        "hidden Markov": Kind(
            hidden_markov, {"on": on, "y": 2.5 * states.astype(np.float32) + 0.7 * on + normal(30)},
            {"on": 1}, {"on": 0}, "forecast", by_hand_hidden_markov,
        ),
        "mixture": Kind(
            mixture, {"x": x, "y": np.where(RNG.random(60) < 0.3 + 0.4 * x, 2.0, -2.0) + 0.5 * normal(60)},
            {"x": 1}, {"x": 0}, "y", by_hand_mixture,
        ),
        "differential equation": Kind(
            predator_and_prey, {"harvest": np.float32(0.1), "y": cycles.astype(np.float32)},
            {"harvest": 0.3}, {}, "y", by_hand_predator_and_prey,
        ),
        "correlated outcomes": Kind(
            multivariate, {"x": x, "y": 0.7 * x[:, None] * np.array([1.0, -0.5]) + normal(60, 2) @ root.T},
            {"x": 1}, {"x": 0}, "both", by_hand_multivariate,
        ),
        "zero-inflated": Kind(
            zero_inflated, {"x": x, "y": (RNG.random(60) < 0.6) * RNG.poisson(np.exp(1.0 + 0.5 * x))},
            {"x": 1}, {"x": 0}, "y", by_hand_zero_inflated,
        ),
    }  # fmt: skip


def measured(name: str, kind: Kind) -> dict[str, Any]:
    """One row of the table."""
    data = {key: jnp.asarray(value) for key, value in kind.data.items()}
    mcmc = MCMC(NUTS(kind.model), num_warmup=DRAWS, num_samples=DRAWS, progress_bar=False)
    mcmc.run(jax.random.key(1), **data)
    tree = az.from_numpyro(mcmc)
    found = ba.compare(
        kind.model, {"control": kind.control, "treatment": kind.treatment}, jax.random.key(2), draws=DRAWS,
        futures=FUTURES, posterior=tree, data=kind.data,
    )  # fmt: skip
    values = found["values"][escaped(kind.outcome)].values
    effect = (values[:, :, 1] - values[:, :, 0]).reshape(DRAWS, FUTURES, -1).astype(float)
    right = kind.by_hand({key: np.asarray(value) for key, value in mcmc.get_samples().items()}, kind.data)
    right = right.reshape(DRAWS, -1).mean(0)
    difference = effect.mean((0, 1)) - right
    rounding = ROUNDING * max(np.abs(right).max(), 1e-2)
    error = np.sqrt(effect.var(1, ddof=1).mean(0) / (DRAWS * FUTURES))
    mean_error = np.sqrt(effect.mean(2).var(1, ddof=1).mean() / (DRAWS * FUTURES))
    return {
        "kind": name,
        "elements": len(right),
        "ours": float(effect.mean()),
        "by_hand": float(right.mean()),
        "mc_error": float(mean_error),
        "worst_of_mean": float(abs(difference.mean()) / (mean_error + rounding / 4)),
        "worst_element": float((np.abs(difference) / (error + rounding / 4)).max()),
        "held": json.loads(found.attrs["held"]),
        "drawn": json.loads(found.attrs["drawn"]),
    }


def main() -> None:
    rows = []
    print(f"{'kind':28}{'ours':>10}{'by hand':>10}{'MC error':>10}{'apart, in MC errors (worst element)':>38}")
    for name, kind in kinds().items():
        row = measured(name, kind)
        rows.append(row)
        worst = f"{row['worst_of_mean']:.1f} ({row['worst_element']:.1f} of {row['elements']})"
        print(f"{name:28}{row['ours']:10.4f}{row['by_hand']:10.4f}{row['mc_error']:10.4f}{worst:>38}", flush=True)
    out = Path(__file__).parent / "results" / "effects_models.json"
    result = {"command": "python effects_models.py", "draws": DRAWS, "futures": FUTURES, "rows": rows}
    out.write_text(json.dumps(result, indent=1) + "\n")
    apart = [row["kind"] for row in rows if max(row["worst_of_mean"], row["worst_element"]) > 4]
    print("all agree within four Monte Carlo errors" if not apart else f"apart: {', '.join(apart)}")


if __name__ == "__main__":
    main()
