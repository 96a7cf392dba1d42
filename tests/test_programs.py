"""Programs are compiled once for what they compute: a second call with other numbers compiles nothing.

And it gives what it would have given in a process of its own: nothing is kept of a function, an array or a global that
has changed since.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import bayesalloc as ba
import bayesalloc.effects
from bayesalloc import programs
from bayesalloc.errors import InterventionError
from bayesalloc.programs import once

KEY, OTHER = jax.random.key(0), jax.random.key(1)
SMALL = {"draws": 4, "futures": 2}
FACTOR = 2.0


@pytest.fixture(autouse=True)
def nothing_compiled():
    programs.forget()


def test_new_functions_that_do_the_same_are_one_program(compilations):
    def make(number):
        return once(lambda x: {"sum": (x["a"] * number).sum(), "rest": (jnp.sin(x["a"]), None)})

    values = {"a": jnp.arange(3.0)}
    first = make(np.float32(2.0))(values)
    with compilations() as found:
        second = make(np.float32(2.0))(values)
        assert not found
        make(np.float32(3.0))(values)
        assert len(found) == 1
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), first, second))


def test_the_second_call_has_its_own_result_type():
    kinds = [dataclasses.make_dataclass("Pair", ["x", "y"], frozen=True) for _ in range(2)]
    for kind in kinds:
        jax.tree_util.register_dataclass(kind)
        assert type(once(lambda x, kind=kind: kind(x, 2 * x))(jnp.ones(2))) is kind


# What a function reads beside its arguments -> how that changes, by a function of the numbers read.
def _array(values):
    return once(lambda x: x * values)


def _of_array(values):
    return once(lambda x: jax.lax.map(lambda each: each * jnp.asarray(values).sum(), x))


def _of_jax(values):
    return once(lambda x: x + jnp.asarray(values)[jnp.array([1, 0, 1999])].sum())


def _global(values):
    global FACTOR
    FACTOR = float(values[0])
    return once(lambda x: x * FACTOR)


@pytest.mark.parametrize("make", [_array, _of_array, _of_jax, _global])
def test_what_changed_since_is_seen(make):
    values = np.arange(2000, dtype=np.float32)
    x = jnp.ones(2000)
    before = make(values)(x)
    values[:] += 1.0  # in place, far from where a printed array is cut off
    after = make(values)(x)
    again = make(values - 1.0)(x)
    assert (after != before).all()
    assert (again == before).all()


def test_keys_and_numpy_arrays_are_arguments(compilations):
    def make():
        return once(lambda key, x: jax.random.normal(key) + x)

    first = make()(KEY, np.float32(1.0))
    with compilations() as found:
        second = make()(OTHER, np.float32(1.0))
    assert not found
    assert first != second == jax.random.normal(OTHER) + 1.0


def test_a_program_that_calls_back_is_made_for_each_function():
    """Its text says nothing about the Python function, here a sentence."""

    def make(sentence):
        return once(lambda x: eqx.error_if(x, x > 1.0, sentence))

    for sentence in ("first sentence", "second sentence"):
        with pytest.raises(eqx.EquinoxRuntimeError, match=sentence):
            make(sentence)(jnp.float32(2.0))
    assert not programs._compiled


def test_inside_a_larger_program():
    half = once(lambda x, n: x**n)
    assert jax.grad(lambda x: half(x, 2))(3.0) == 6.0
    np.testing.assert_array_equal(jax.vmap(lambda x: half(x, 2))(jnp.arange(3.0)), [0.0, 1.0, 4.0])


def test_only_so_many_programs_are_kept(monkeypatch):
    monkeypatch.setattr(programs, "KEPT", 3)
    double = once(lambda x: 2 * x)
    for n in range(1, 6):
        double(jnp.ones(n))
    assert len(programs._compiled) == 3


def rows(x, y=None):
    """A plain model, whose data are shapes and constants of its program."""
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    spread = numpyro.sample("spread", dist.Uniform(0.0, 1.0))
    with numpyro.plate("row", len(x)):
        rate = numpyro.sample("rate", dist.LogNormal(slope * x, spread))
        numpyro.sample("y", dist.Normal(rate, 1.0), obs=y)


def steep(terms, health, price_ratio):
    return terms.modifier + 0.1 * health


def watershed(number, growth=None, **rules):
    model, known = ba.load_model("watershed"), ba.load_mechanism("cost_sharing")
    sites = {} if growth is None else {"growth": growth}
    incentive = msgspec.structs.replace(known.parameters.incentive, modifier=number)
    parameters = msgspec.structs.replace(known.parameters, incentive=incentive)
    mine = dataclasses.replace(known, name="mine", parameters=parameters, rules=rules)
    [action] = model.arms([mine]).values()
    return model, {"control": ba.effects.Arm(action), "treatment": ba.effects.Arm(action, sites)}


X = np.linspace(-1.0, 1.0, 5, dtype=np.float32)
SECOND = {
    "another mechanism": (watershed(1.0), watershed(1.2)),
    "its Python rule": (watershed(1.0, modifier=steep), watershed(1.2, modifier=steep)),
    "another value": (watershed(1.0, 0.3), watershed(1.0, 0.5)),
    "a plain model": ((rows, {"a": {"slope": 0.1}, "b": {}}), (rows, {"a": {"slope": 0.7}, "b": {}})),
    "a bounded site": ((rows, {"a": {"spread": 0.1}, "b": {}}), (rows, {"a": {"spread": 0.7}, "b": {}})),
    "a site in a plate": ((rows, {"a": {"rate": 1.0}, "b": {"rate": X + 2}}),
                          (rows, {"a": {"rate": 0.3}, "b": {"rate": X + 3}})),
}  # fmt: skip


def effects(model, arms, key, **options):
    data = {"x": X} if model is rows else None
    tree = ba.compare(model, arms, key, data=data, horizon=2, **SMALL, **options)
    return {str(name): values.values for name, values in tree["effects"].data_vars.items()}


def anew(*args, **options):
    jax.clear_caches()
    programs.forget()
    return effects(*args, **options)


@pytest.mark.parametrize(("first", "second"), SECOND.values(), ids=[*SECOND])
def test_a_second_comparison_compiles_nothing(first, second, compilations):
    before = effects(*first, KEY)
    with compilations() as found:
        after = effects(*second, OTHER)
    assert not found
    assert any((after[name] != before[name]).any() for name in after)
    for name, values in anew(*second, OTHER).items():
        np.testing.assert_array_equal(after[name], values)


@pytest.mark.parametrize(
    ("model", "good", "bad"),
    [("watershed", {"growth": 0.3}, {"growth": -0.3}), (rows, {"spread": 0.3}, {"spread": 1.5})],
)
def test_a_second_comparison_is_refused_as_the_first(model, good, bad):
    model = ba.load_model(model) if isinstance(model, str) else model
    effects(model, {"a": good, "b": {}}, KEY)
    with pytest.raises(InterventionError, match=r"takes values in .*; the intervention is (-0.3|1.5)"):
        effects(model, {"a": bad, "b": {}}, KEY)


def test_data_changed_in_place_are_seen():
    x = X.copy()
    arms = {"a": {"slope": 0.0}, "b": {"slope": 1.0}}
    before, same = (ba.compare(rows, arms, KEY, data={"x": x}, **SMALL) for _ in range(2))
    x[:] = 2.0
    after = ba.compare(rows, arms, KEY, data={"x": x}, **SMALL)
    assert before.identical(same)
    assert (after["effects"]["rate"].sel(statistic="ate") > before["effects"]["rate"].sel(statistic="ate")).all()


def test_a_file_loaded_again_is_the_same_program_until_it_changes(tmp_path, compilations):
    path = tmp_path / "model.py"
    text = (
        "import numpyro, numpyro.distributions as dist\n"
        "def model():\n"
        "    x = numpyro.sample('x', dist.Normal(0.0, 1.0))\n"
        "    numpyro.sample('y', dist.Normal(2.0 * x, 1.0))\n"
    )

    def compare():
        return ba.compare(ba.load_model(path), {"a": {"x": 0.0}, "b": {"x": 1.0}}, KEY, **SMALL)["effects"]["y"]

    path.write_text(text)
    before = compare()
    with compilations() as found:
        assert compare().identical(before)
    assert not found
    path.write_text(text.replace("2.0 * x", "30.0 * x"))
    np.testing.assert_allclose(compare().sel(statistic="ate"), 15.0 * before.sel(statistic="ate"), rtol=1e-5)


def test_products_of_matrices_are_in_single_precision_on_every_device():
    """What a GPU multiplies in 10 bits by default is multiplied in 24, in effects, simulations and fits."""
    seen = set()

    def model(x, y=None):
        seen.add(jax.config.jax_default_matmul_precision)
        slope = numpyro.sample("slope", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
        numpyro.sample("y", dist.Normal(x @ slope, 1.0).to_event(1), obs=y)

    assert "precision=(Precision.HIGHEST" in str(jax.make_jaxpr(once(lambda x: x @ x))(jnp.ones((2, 2))))
    x = np.ones((3, 2), np.float32)
    ba.compare(model, {"a": {"slope": np.zeros(2)}, "b": {"slope": np.ones(2)}}, KEY, data={"x": x}, **SMALL)
    assert "highest" in seen
    seen.clear()
    ba.fit(model, {"y": np.zeros(3)}, KEY, data={"x": x}, warmup=10, draws=10, chains=1)
    assert "highest" in seen
    with jax.default_matmul_precision("bfloat16"):  # a user who has said so
        assert "HIGHEST" not in str(jax.make_jaxpr(once(lambda x: x @ x))(jnp.ones((2, 2))))
