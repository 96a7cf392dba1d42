"""Mechanism files: what is refused and how; money is conserved; mechanisms with different rules run side by side."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import bayesalloc as ba
from bayesalloc import library
from bayesalloc.environment import stack
from bayesalloc.mechanism import Mechanism, parse_mechanism
from bayesalloc.models.schemas.watershed_mechanisms import (
    AGENTS,
    SWITCH_WIDTH,
    Incentive,
    Ledger,
    Parameters,
    Terms,
    schema,
    standard_modifier,
    terms_of,
    unify,
)

HEAD = 'title = "Bad"\ndescription = "Bad."\n'
GOOD = HEAD + "[incentive]\nmodifier = 1.0\n"

# (file's text, what the message must contain)
BAD_FILES = {
    "unknown field": (GOOD + "strength = 2.0\n", ["incentive", "strength"]),
    "unknown field in capitals": (GOOD + "Modifier = 2.0\n", ["incentive", "Modifier"]),
    "unknown table": (GOOD + "[penalty]\nfine = 2.0\n", ["penalty"]),
    "reserved field": ('name = "x"\n' + GOOD, ["`name`"]),
    "above the range": (HEAD + "[incentive]\nmodifier = 6.0\n", ["incentive.modifier", "<= 5"]),
    "below the range": (GOOD + "volatility = -0.1\n", ["incentive.volatility", ">= 0"]),
    "not a number, though a float": (HEAD + "[incentive]\nmodifier = nan\n", ["incentive.modifier"]),
    "infinite": (GOOD + "[market]\nprice = inf\n", ["market.price"]),
    "text for a number": (HEAD + '[incentive]\nmodifier = "high"\n', ["incentive.modifier", "float", "str"]),
    "truth value for a number": (HEAD + "[incentive]\nmodifier = true\n", ["incentive.modifier", "float", "bool"]),
    "number for a table": (HEAD + "incentive = 1.0\n", ["incentive"]),
    "number for text": ('title = 3\ndescription = "x"\n[incentive]\nmodifier = 1.0\n', ["title", "str", "int"]),
    "wrong unit": (HEAD + '[incentive]\nmodifier = {value = 1.0, unit = "%"}\n', ["incentive.modifier", "'%'", "'1'"]),
    "wrong unit of an agent": (
        GOOD + '[verification.payment]\nexpert = {value = 0.0, unit = "EUR"}\n',
        ["verification.payment.expert", "'EUR'", "'kEUR/yr'"],
    ),
    "unknown key of a parameter": (
        HEAD + "[incentive]\nmodifier = {value = 1.0, units = '1'}\n",
        ["incentive.modifier", "units", "value, unit, source"],
    ),
    "parameter without a value": (HEAD + '[incentive]\nmodifier = {unit = "1"}\n', ["incentive.modifier"]),
    "share out of range": (GOOD + "[cost_sharing]\nexpert = 1.5\ndam_owner = -0.5\n", ["cost_sharing.expert"]),
    "text for a share": (GOOD + '[credits.shares]\nexpert = "half"\n', ["credits.shares.expert", "float", "str"]),
    "missing field": (HEAD + "[incentive]\nthreshold = 0.5\n", ["incentive", "modifier", "missing"]),
    "missing title": ('description = "x"\n[incentive]\nmodifier = 1.0\n', ["title", "missing"]),
    "missing table": (HEAD, ["incentive", "missing"]),
    "not TOML": (GOOD + "threshold = \n", ["line 5"]),
    "field twice": (GOOD + "modifier = 2.0\n", ["line 5"]),
    "shares do not sum to one": (GOOD + "[cost_sharing]\nexpert = 0.5\ninvestor = 0.4\n", ["cost_sharing", "0.9", "1"]),
    "credit shares do not sum to one": (GOOD + "[credits.shares]\nexpert = 0.5\n", ["credits.shares", "0.5", "1"]),
    "payments do not sum to zero": (
        GOOD + "[milestones.payment]\nexpert = 5.0\ninvestor = -4.0\n",
        ["milestones.payment", "1", "0"],
    ),
    "fees do not sum to zero": (GOOD + "[verification.payment]\nexpert = 5.0\n", ["verification.payment", "5", "0"]),
    "unknown agent": (GOOD + "[cost_sharing]\nmayor = 1.0\n", ["cost_sharing", "mayor", *AGENTS]),
    "credits without shares": (GOOD + "[credits]\nper_health = 10.0\n", ["credits.shares"]),
}


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused_with_file_and_field(tmp_path, case):
    text, parts = BAD_FILES[case]
    path = write(tmp_path / "bad.toml", text)
    with pytest.raises(ba.InputError) as caught:
        terms_of(ba.load_mechanism(path))
    message = str(caught.value)
    assert "\n" not in message
    for part in ("bad.toml", *parts):
        assert part in message


def test_the_same_good_file_is_accepted(tmp_path):
    mechanism = ba.load_mechanism(write(tmp_path / "good.toml", GOOD))
    assert terms_of(mechanism).modifier == 1.0


def numbers(value: Any, where: str = "") -> dict[str, float]:
    """Dotted path -> number, for every number of a TOML table, wrapped in {value = ...} or not."""
    if not isinstance(value, dict):
        return {where: value} if isinstance(value, int | float) else {}
    if "value" in value:
        return {where: value["value"]}
    return {k: v for key, inner in value.items() for k, v in numbers(inner, f"{where}.{key}".lstrip(".")).items()}


@pytest.mark.parametrize("name", library.available("mechanisms"))
def test_every_parameter_that_is_shipped_has_a_unit_and_a_source(name):
    import tomllib

    path = library.content("mechanisms") / f"{name}.toml"
    mechanism = ba.load_mechanism(name)
    terms = terms_of(mechanism)
    given = numbers(tomllib.loads(path.read_text(encoding="utf-8")))
    assert given
    for where in given:
        unit, source = mechanism.notes[where]
        assert unit, where
        assert source, where
    assert mechanism.title
    assert mechanism.description
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(terms))


def test_terms_are_the_numbers_of_the_file_in_the_order_of_the_agents():
    terms = terms_of(ba.load_mechanism("credit_trading"), ("investor", "expert", "forest_owner"))
    np.testing.assert_allclose(terms.verification_payment, [-6.0, 12.0, -6.0])
    np.testing.assert_allclose(terms.credit_shares, [0.5, 0.0, 0.5])
    np.testing.assert_allclose(terms.cost_shares, 0.0)
    assert (float(terms.pooled), float(terms.credits_per_health)) == (0.0, 12000.0)
    assert float(terms_of(ba.load_mechanism("cost_sharing")).pooled) == 1.0


def test_the_modifier_above_the_threshold_is_the_modifier_unless_the_file_says_otherwise():
    plain = terms_of(Mechanism("x", "x", "watershed", Parameters(Incentive(1.3, threshold=0.5))))
    assert plain.modifier_above == plain.modifier
    zero = terms_of(Mechanism("x", "x", "watershed", Parameters(Incentive(1.3, threshold=0.5, modifier_above=0.0))))
    assert zero.modifier_above == 0.0


def test_the_modifier_changes_over_at_the_threshold():
    terms = terms_of(Mechanism("x", "x", "watershed", Parameters(Incentive(1.4, threshold=0.5, modifier_above=1.0))))
    far = 10 * SWITCH_WIDTH  # a logistic curve is within 5e-5 of its end ten widths away
    health = jnp.array([0.5 - far, 0.5, 0.5 + far])
    np.testing.assert_allclose(standard_modifier(terms, health, jnp.ones(3)), [1.4, 1.2, 1.0], atol=1e-4)


def ledger(**changes: Any) -> Ledger:
    cost = jnp.array([10.0, 20.0, 30.0, 0.0, 40.0])
    base = Ledger(cost / 100, cost, jnp.float32(0.8), jnp.float32(0.2), jnp.float32(0.1), jnp.float32(0.01))
    return base._replace(**changes)


def test_payments_of_the_shipped_mechanisms_by_hand():
    cost = np.asarray(ledger().cost)
    pay, outside = terms_of(ba.load_mechanism("cost_sharing")).payments(ledger())
    np.testing.assert_allclose(pay, cost - np.array([0.25, 0.2, 0.05, 0.3, 0.2]) * 100.0, atol=1e-4)
    assert float(outside) == 0.0
    milestones, fee = np.array([-10.0, 24.0, 6.0, -20.0, 0.0]), np.array([-4.0, 0.0, 12.0, -8.0, 0.0])
    contract = terms_of(ba.load_mechanism("performance_contract"))
    for held, changes in [(1, {}), (2, {"erosion_reduction": jnp.float32(0.31)}), (0, {"health": jnp.float32(0.69)})]:
        np.testing.assert_allclose(contract.payments(ledger(**changes))[0], held * milestones + fee, atol=1e-4)
    pay, outside = terms_of(ba.load_mechanism("credit_trading")).payments(ledger())
    assert float(outside) == pytest.approx(12000.0 * 0.2 * 0.01)  # credits x gain x price
    np.testing.assert_allclose(pay, [0.0, 12.0 - 6.0, 12.0, 0.0, 12.0 - 6.0], atol=1e-4)
    pay, outside = terms_of(ba.load_mechanism("credit_trading")).payments(ledger(health_gain=jnp.float32(-0.2)))
    assert float(outside) == 0.0  # nobody buys back what was lost


def shares() -> st.SearchStrategy[dict[str, float]]:
    weights = st.lists(st.floats(0.01, 1.0), min_size=5, max_size=5)
    return weights.map(lambda w: dict(zip(AGENTS, (np.array(w) / np.sum(w)).tolist(), strict=True)))


def balanced() -> st.SearchStrategy[dict[str, float]]:
    amounts = st.lists(st.floats(-1000.0, 1000.0), min_size=5, max_size=5)
    return amounts.map(lambda a: dict(zip(AGENTS, (np.array(a) - np.mean(a)).tolist(), strict=True)))


UNIT = st.floats(0.0, 1.0, width=32)
LEDGERS = st.builds(
    lambda cost, health, gain, less, price: Ledger(
        jnp.array(cost, jnp.float32) / 100, jnp.array(cost, jnp.float32), *map(jnp.float32, (health, gain, less, price))
    ),
    st.lists(st.floats(0.0, 100.0, width=32), min_size=5, max_size=5),
    UNIT, st.floats(-1.0, 1.0), UNIT, st.floats(0.0, 10.0),
)  # fmt: skip


@jax.jit
def paid(terms: Terms, books: Ledger) -> tuple[jax.Array, jax.Array]:
    return terms.payments(books)


@settings(deadline=None, max_examples=60)
@given(
    cost_sharing=st.one_of(st.just({}), shares()), credit_shares=shares(), milestone=balanced(), fee=balanced(),
    health=UNIT, less=UNIT, per_health=st.one_of(st.just(0.0), st.floats(0.0, 1e4)), books=LEDGERS,
)  # fmt: skip
def test_payments_sum_to_the_outside_money(
    cost_sharing, credit_shares, milestone, fee, health, less, per_health, books
):
    table = {
        "title": "x",
        "description": "x",
        "incentive": {"modifier": 1.0},
        "cost_sharing": cost_sharing,
        "milestones": {"forest_health": health, "erosion_reduction": less, "payment": milestone},
        "verification": {"payment": fee},
        "credits": {"per_health": per_health, "shares": credit_shares},
    }
    payments, outside = paid(terms_of(parse_mechanism(table, "x.toml", schema)), books)
    # Every agent's payment is a sum of at most five terms, each rounded to float32 a few times: 32 roundings of the
    # money that changes hands bound the error.
    moved = 2 * float(books.cost.sum()) + sum(2 * abs(v) for v in milestone.values()) + sum(map(abs, fee.values()))
    tolerance = 32 * float(np.finfo(np.float32).eps) * (moved + float(outside) + 1.0)
    expected = per_health * max(float(books.health_gain), 0.0) * float(books.price)
    assert float(outside) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert float(payments.sum()) == pytest.approx(float(outside), abs=tolerance)
    if per_health == 0.0:
        assert float(outside) == 0.0


OWN = """
import jax.numpy as jnp

parameters = {"title": "Own", "description": "Own rules.", "incentive": {"modifier": 0.9, "volatility": 0.1}}


def modifier(terms, health, price_ratio):
    return terms.modifier + 0.5 * health


def payments(terms, ledger):
    return ledger.contribution - ledger.contribution.mean(), 0.0 * ledger.price
"""


def test_a_python_mechanism_has_its_own_rules(tmp_path):
    mechanism = ba.load_mechanism(write(tmp_path / "own.py", OWN))
    assert (mechanism.name, mechanism.title) == ("own", "Own")
    terms = terms_of(mechanism)
    assert float(terms.incentive(jnp.float32(0.4), jnp.float32(1.0))) == pytest.approx(0.9 + 0.2)
    share = np.asarray(ledger().contribution)
    np.testing.assert_allclose(terms.payments(ledger())[0], share - share.mean(), atol=1e-6)


def test_a_python_mechanism_with_one_rule_keeps_the_other_standard_one(tmp_path):
    text = OWN.partition("def payments")[0]
    terms = terms_of(ba.load_mechanism(write(tmp_path / "half.py", text)))
    assert float(terms.incentive(jnp.float32(0.4), jnp.float32(1.0))) == pytest.approx(1.1)
    np.testing.assert_allclose(terms.payments(ledger())[0], 0.0)


def test_the_parameters_of_a_python_mechanism_are_checked_like_a_file(tmp_path):
    path = write(tmp_path / "own.py", OWN.replace("0.9", "9.0"))
    with pytest.raises(ba.InputError, match=r"incentive\.modifier") as caught:
        ba.load_mechanism(path)
    assert str(path) in str(caught.value)


def side_by_side(tmp_path: Path) -> list[Terms]:
    names = ["cost_sharing", write(tmp_path / "own.py", OWN), "performance_contract", "credit_trading"]
    return [terms_of(ba.load_mechanism(name)) for name in names]


def test_mechanisms_with_different_rules_act_together_as_each_does_alone(tmp_path):
    alone = side_by_side(tmp_path)
    together = unify(alone)
    assert len(together[0].rules) == 2
    assert [int(terms.rule) for terms in together] == [0, 1, 0, 0]
    healths = jnp.linspace(0.1, 0.9, 5)
    incentive = jax.jit(lambda terms, health: terms.incentive(health, jnp.float32(1.2)))
    stacked = stack(together)
    over_arms = jax.jit(jax.vmap(lambda terms, books: terms.payments(books), (0, None)))
    for health in healths:
        expected = [float(terms.incentive(health, jnp.float32(1.2))) for terms in alone]
        full = np.broadcast_to(np.array(expected)[:, None], (len(alone), len(AGENTS)))  # one factor per agent
        np.testing.assert_allclose([incentive(terms, health) for terms in together], full, rtol=1e-6)
        np.testing.assert_allclose(jax.vmap(incentive, (0, None))(stacked, health), full, rtol=1e-6)
        books = ledger(health=health, erosion_reduction=health)
        money = [terms.payments(books) for terms in alone]
        for i, terms in enumerate(together):
            payments, outside = paid(terms, books)
            np.testing.assert_allclose(payments, money[i][0], atol=1e-5)
            np.testing.assert_allclose(outside, money[i][1], atol=1e-5)
        payments, outside = over_arms(stacked, books)
        np.testing.assert_allclose(payments, np.stack([m[0] for m in money]), atol=1e-5)
        np.testing.assert_allclose(outside, np.stack([m[1] for m in money]), atol=1e-5)


def test_unify_twice_changes_nothing(tmp_path):
    once = unify(side_by_side(tmp_path))
    again = unify(once[:1] + once[1:])
    assert [(t.rules, int(t.rule)) for t in again] == [(t.rules, int(t.rule)) for t in once]


def test_a_modifier_per_agent_acts_beside_a_standard_one(tmp_path):
    """`Rules` allows a modifier that is an array of shape (agent,), and others are one number."""
    text = OWN.replace("terms.modifier + 0.5 * health", "jnp.arange(5) * health")
    alone = [terms_of(ba.load_mechanism(name)) for name in ("cost_sharing", write(tmp_path / "own.py", text))]
    health, ratio = jnp.float32(0.5), jnp.float32(1.0)
    for terms, single in zip(unify(alone), alone, strict=True):
        found = np.broadcast_to(terms.incentive(health, ratio), (5,))
        np.testing.assert_allclose(found, np.broadcast_to(single.incentive(health, ratio), (5,)), rtol=1e-6)


def test_a_rule_that_raises_is_the_files_fault(tmp_path):
    path = write(tmp_path / "own.py", OWN.replace("ledger.contribution -", "ledger.contribution / ledger.people -"))
    terms = terms_of(ba.load_mechanism(path))
    with pytest.raises(ba.InputError, match="people") as caught:
        terms.payments(ledger())
    assert f"{path}, line 12" in str(caught.value)
