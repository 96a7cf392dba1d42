"""What descends from what, read from programs whose parents are known by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import cond, scan

from bayesalloc.ancestry import ancestry, outcomes


def normal(name, *loc):
    return numpyro.sample(name, dist.Normal(sum(loc, 0.0), 1.0))


def two_chains():
    def step(carry, _):
        first, second = carry
        return (normal("first", first, a), normal("second", second, b)), first

    a, b = normal("a"), normal("b")
    (last, _), lagged = scan(step, (0.0, 0.0), None, length=3)
    numpyro.deterministic("last", last)
    numpyro.deterministic("lagged", lagged.sum())


def round_a_loop():
    """x moves y a period later, and z only two periods later: the fixpoint needs three rounds."""

    def step(carry, _):
        y, z = carry
        x = normal("x", z)
        return (x, y), normal("seen", z)

    scan(step, (0.0, 0.0), None, length=5)


def loops():
    n, x, apart = normal("n"), normal("x"), normal("apart")
    counted = jax.lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1.0, s[1] + x), (0.0, 0.0))
    numpyro.deterministic("steps", counted[0])
    numpyro.deterministic("total", counted[1])
    numpyro.deterministic("summed", jax.lax.fori_loop(0, 3, lambda i, s: s + apart, 0.0))


def branches():
    which, x, y = normal("which"), normal("x"), normal("y")
    cond(which > 0, lambda a: normal("in_branch", a), lambda a: normal("in_branch", 1.0), x)
    numpyro.deterministic("chosen", jax.lax.cond(which > 0, lambda: y, lambda: 1.0))
    numpyro.deterministic("constants", jax.lax.switch(jnp.int32(which), [lambda: 1.0, lambda: 2.0]))
    numpyro.deterministic("where", jnp.where(which > 0, 1.0, 2.0))


def scoped():
    def field():
        x = normal("x")
        scan(lambda c, _: (handlers.scope(normal, prefix="deep")("y", c, x), None), 0.0, None, length=2)

    for place in ("north", "south"):
        handlers.scope(field, prefix=place)()


class Hidden(dist.Distribution):
    """Keeps what it is made of where no pytree shows it: in a closure, a method, a mapping and an object."""

    support = dist.constraints.real

    def __init__(self, **made_of):
        self.kept = [made_of]
        super().__init__((), ())

    def sample(self, key, sample_shape=()):
        return jnp.zeros(sample_shape)


def hidden():
    a, b, c, d = (normal(name) for name in "abcd")
    numpyro.sample("y", Hidden(closure=lambda: a, partial=jax.tree_util.Partial(lambda v: v, b), deep={"c": (c,)}))
    numpyro.deterministic("apart", d)


def computed():
    x, y = normal("x"), normal("y")
    numpyro.deterministic("vmap", jax.vmap(lambda v: v * x)(jnp.arange(3.0)))
    numpyro.deterministic("jit", jax.jit(lambda a, b: (a, b))(x, y)[0])
    numpyro.deterministic("checkpoint", jax.checkpoint(lambda v: v + y)(1.0))
    numpyro.deterministic("grad", jax.grad(lambda v: v * x)(2.0))
    numpyro.deterministic("jacobian", jax.jacfwd(lambda v: v * y)(jnp.ones(2)))
    numpyro.deterministic("solved", jnp.linalg.solve(jnp.eye(2) * x, jnp.ones(2)))
    numpyro.deterministic("untouched", jax.lax.map(lambda v: v, jnp.ones(2)).sum() + jax.lax.stop_gradient(x))


def called():
    """A callback is opaque: what comes out depends on all that goes in."""
    x, y, z = normal("x"), normal("y"), normal("z")
    like = jax.ShapeDtypeStruct((), jnp.float32)
    first, _ = jax.pure_callback(lambda a, b: (a, b), (like, like), x, y, vmap_method="sequential")
    numpyro.deterministic("first", first)
    numpyro.deterministic("apart", z)


def rare():
    x = normal("x")
    numpyro.sample("y", dist.Bernoulli(1e-9 * (x > 50.0)))


PARENTS = {
    "two chains in one scan": (two_chains, {
        "first": {"a", "first"}, "second": {"b", "second"}, "last": {"a", "first"}, "lagged": {"a", "first"},
    }),
    "round a loop": (round_a_loop, {"x": {"x"}, "seen": {"x"}}),
    "loops": (loops, {"steps": {"n"}, "total": {"n", "x"}, "summed": {"apart"}}),
    "branches": (branches, {
        "in_branch": {"which", "x"}, "chosen": {"which", "y"}, "constants": {"which"}, "where": {"which"},
    }),
    "scopes": (scoped, {
        "north/x": set(), "north/deep/y": {"north/x", "north/deep/y"}, "south/deep/y": {"south/x", "south/deep/y"},
    }),
    "a distribution that hides": (hidden, {"y": {"a", "b", "c"}, "apart": {"d"}}),
    "computed": (computed, {
        "vmap": {"x"}, "jit": {"x"}, "checkpoint": {"y"}, "grad": {"x"}, "jacobian": {"y"}, "solved": {"x"},
        "untouched": {"x"},
    }),
    "called": (called, {"first": {"x", "y"}, "apart": {"z"}}),
    "rare": (rare, {"y": {"x"}}),
}  # fmt: skip


@pytest.mark.parametrize(("model", "parents"), PARENTS.values(), ids=PARENTS)
def test_parents(model, parents):
    found = ancestry(model)
    assert {name: set(found.parents[name]) for name in parents} == parents


def regression(x, z, y, there, weight=1.0):
    slope = normal("slope")
    with numpyro.plate("row", len(x)):
        given = numpyro.sample("x", dist.Normal(), obs=x)
        answered = numpyro.sample("z", dist.Normal(given, 1.0), obs=z)
        with handlers.mask(mask=there):
            numpyro.sample("y", dist.Normal(slope * answered, 1.0), obs=y)
        numpyro.sample("part", dist.Normal(slope, 1.0), obs=jnp.where(there, y, 0.0), obs_mask=there)
    numpyro.factor("penalty", -(slope**2))


ROWS = {"x": np.ones(3), "z": np.ones(3), "y": np.ones(3), "there": np.array([True, False, True])}


def test_what_is_observed_and_what_a_fit_is_about():
    found = ancestry(regression, ROWS)
    assert found.observed == {"x", "z", "y", "part_observed", "penalty"}
    assert found.latent == {"slope", "part_unobserved"}
    assert found.parents["z"] == {"x"}
    assert found.parents["part"] == {"part_observed", "part_unobserved", "slope"}
    assert outcomes(found) == ["y", "part_observed"]  # a treatment and a covariate are not, nor a factor
    assert not found.lagged


def covariate_by_its_record(x, y):
    numpyro.sample("x", dist.Normal(normal("mean"), 1.0).expand([len(x)]), obs=x)
    numpyro.sample("y", dist.Normal(normal("slope") * x, 1.0), obs=y)


def each_reads_the_others_past(x, y):
    slope = normal("slope")
    numpyro.sample("x", dist.Normal(slope * y[:-1], 1.0), obs=x[1:])
    numpyro.sample("y", dist.Normal(slope * x[:-1], 1.0), obs=y[1:])


@pytest.mark.parametrize(
    ("model", "about"), [(covariate_by_its_record, ["y"]), (each_reads_the_others_past, ["x", "y"])]
)
def test_a_covariate_that_is_read_from_its_record_is_no_outcome(model, about):
    assert outcomes(ancestry(model, {"x": np.ones(3), "y": np.ones(3)})) == about


def test_observed_by_handlers():
    def model():
        x = normal("x")
        scan(lambda c, _: (normal("y", c, x), None), 0.0, None, length=2)

    for given in (handlers.condition, handlers.substitute):
        found = ancestry(given(model, data={"y": jnp.ones(2)}))
        assert (found.observed, found.latent) == ({"y"}, {"x"})
        assert found.parents["y"] == {"x", "y"}


def in_scan(y, carried):
    def step(before, seen):
        now = numpyro.sample("y", dist.Normal(before, 1.0), obs=seen)
        return (seen if carried else now), None

    scan(step, 0.0, y)


@pytest.mark.parametrize(
    ("model", "lagged"),
    [
        (lambda y: in_scan(y, carried=True), {"y"}),
        (lambda y: in_scan(y, carried=False), set()),
        (lambda y: scan(lambda b, s: (numpyro.sample("y", dist.Normal(b, 1.0), obs=s), None), y[0], y[1:]), set()),
        (lambda y: numpyro.sample("y", dist.Normal(y[:-1], 1.0), obs=y[1:]), {"y"}),
        (lambda y: numpyro.sample("y", dist.Normal(jnp.roll(y, 1), 1.0).mask(~jnp.isnan(y)), obs=y), {"y"}),
        (lambda y: numpyro.sample("y", dist.Normal(0.0, 1.0).mask(~jnp.isnan(y)), obs=jnp.nan_to_num(y)), set()),
        (lambda y: numpyro.sample("y", dist.Normal(normal("mean", y.mean()), 1.0).expand([3]), obs=y), set()),
        (lambda y: numpyro.sample("y", dist.Normal(jnp.zeros(y.shape), 1.0), obs=y), set()),
    ],
)
def test_lagged(model, lagged):
    assert ancestry(model, {"y": np.ones(3, np.float32)}).lagged == lagged


def test_data_that_a_model_needs_to_know_stay_constants():
    def model(n, y, groups):
        with numpyro.plate("group", int(groups.max()) + 1):
            effect = normal("effect")
        assert n == 2
        numpyro.sample("y", dist.Normal(effect[groups] + y, 1.0), obs=y)

    found = ancestry(model, {"n": 2, "y": np.ones(3), "groups": np.array([0, 1, 1])})
    assert found.parents["y"] == {"effect"}
    assert found.lagged == {"y"}


def test_horizons_kinds_and_parameters():
    def model():
        numpyro.param("p", 1.0)
        scan(lambda c, _: (normal("x"), numpyro.deterministic("twice", 2.0 * c)), 0.0, None, length=4)

    sites = ancestry(model).sites
    assert {name: (site.kind, site.horizon) for name, site in sites.items()} == {
        "p": ("param", None), "x": ("sample", 4), "twice": ("deterministic", 4)
    }  # fmt: skip
