"""What can be chosen: an incentive mechanism, as a document for an analyst and as numbers for a simulator.

A `Mechanism` is one validated TOML file (or the same table in a Python file). Its `terms` are a pytree of arrays, which
can be stacked, vmapped, differentiated and optimised. What numbers cannot express, a Python file adds as functions
of the same signature as `standard_modifier` and `standard_payments` below.
"""

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import msgspec
from jaxtyping import Array, Float, Int
from msgspec import Meta, field

from bayesalloc import limits
from bayesalloc.errors import InputError, listed

SWITCH_WIDTH = 0.02  # in units of forest health

Factor = Annotated[float, Meta(ge=0, le=5, extra={"unit": "1"})]
Fraction = Annotated[float, Meta(ge=0, le=1, extra={"unit": "1"})]
Spread = Annotated[float, Meta(ge=0, le=2, extra={"unit": "1"})]
Money = Annotated[float, Meta(ge=-1e6, le=1e6, extra={"unit": "kEUR/yr"})]
Price = Annotated[float, Meta(ge=0, le=1e6, extra={"unit": "kEUR/credit"})]
Text = Annotated[str, Meta(max_length=limits.TEXT)]
Credits = Annotated[float, Meta(ge=0, le=1e6, extra={"unit": "credits/yr"})]


class Incentive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the mechanism changes what agents contribute.

    Attributes:
        modifier: factor on every agent's contribution while forest health is below `threshold`.
        threshold: forest health below which `modifier` holds; 1 for always.
        modifier_above: the factor once health has reached the threshold; default: `modifier`.
        volatility: standard deviation of an agent's contribution from year to year (share of its capacity).
    """

    modifier: Factor
    threshold: Fraction = 1.0
    modifier_above: Factor | None = None
    volatility: Spread = 0.0


class Market(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The credit market: price = `price` x exp(cycle x sentiment + price_volatility x noise), sentiment in (-1, 1).

    Attributes:
        price: the price in a calm market.
        price_volatility: standard deviation of the log price from year to year.
        cycle: log of the price in a full bull market over the calm price (and the reverse in a bear market).
        persistence: yearly autocorrelation of the market's sentiment.
        response: elasticity of the incentive modifier in the price.
    """

    price: Price = 0.0
    price_volatility: Spread = 0.0
    cycle: Spread = 0.0
    persistence: Fraction = 0.0
    response: Spread = 0.0


class Milestones(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Verified milestones and what is paid each year that one is held.

    Attributes:
        forest_health: the first milestone: forest health above this.
        erosion_reduction: the second: erosion down by more than this fraction of its first-year level.
        payment: agent -> money per milestone; positive receives, negative pays; sums to zero.
    """

    forest_health: Fraction = 1.0
    erosion_reduction: Fraction = 1.0
    payment: dict[str, Money] = {}


class Verification(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The yearly verification fee: agent -> money; positive receives, negative pays; sums to zero."""

    payment: dict[str, Money] = {}


class CreditSale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Verified credits sold to buyers outside the watershed: the one source of outside money.

    Attributes:
        per_health: credits a year for one unit of forest health above its first-year level.
        shares: agent -> share of the revenue; sums to one.
    """

    per_health: Credits = 0.0
    shares: dict[str, Fraction] = {}


class Mechanism(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One incentive mechanism, as its file states it; see `terms` for the numbers a simulator takes.

    Attributes:
        title: name for readers.
        description: what it is, in a sentence or two.
        incentive, market, milestones, verification, credits: its parameters by subject.
        cost_sharing: agent -> share of the pooled costs it bears; sums to one; empty: each bears its own.
        name: the file's name without its ending.
        path: the file.
        notes: parameter -> (unit, source), as far as the file states them.
        rules: functions in place of the standard ones, from a Python file.
    """

    title: Text
    description: Text
    incentive: Incentive
    market: Market = Market()
    milestones: Milestones = Milestones()
    verification: Verification = Verification()
    credits: CreditSale = CreditSale()
    cost_sharing: dict[str, Fraction] = {}
    name: str = ""
    path: str = ""
    notes: dict[str, tuple[str, str]] = {}
    rules: Any = field(default=None)

    def table(self) -> dict[str, Any] | None:
        """Its numbers, as `parse_mechanism` takes them; None where it has rules of its own, which numbers can't say."""
        if self.rules not in (None, Rules()):
            return None
        numbers = msgspec.structs.replace(self, name="", path="", notes={}, rules=None)
        return {
            name: value
            for name, value in msgspec.to_builtins(numbers).items()
            if name not in ("name", "path", "notes", "rules")
        }

    def terms(self, agents: Sequence[str]) -> "Terms":
        """The mechanism's numbers, per-agent ones in the order of `agents`.

        Raises:
            InputError: where a table names an agent that is not there, or does not sum as it must.
        """

        def table(where: str, amounts: Mapping[str, float], total: float) -> Float[Array, " agent"]:
            strange = set(amounts) - set(agents)
            if strange:
                raise InputError(f"{self.path}: {where} names '{listed(strange)}'; the agents are {listed(agents)}")
            if amounts and abs(sum(amounts.values()) - total) > 1e-6:
                raise InputError(f"{self.path}: {where} sums to {sum(amounts.values()):g}; it must sum to {total:g}")
            return jnp.array([amounts.get(agent, 0.0) for agent in agents], jnp.float32)

        if self.credits.per_health and not self.credits.shares:
            raise InputError(f"{self.path}: credits.shares is empty; it must say who receives the revenue")
        above = self.incentive.modifier_above
        numbers = {
            **{name: getattr(self.incentive, name) for name in ("modifier", "threshold", "volatility")},
            "modifier_above": self.incentive.modifier if above is None else above,
            **{name: getattr(self.market, name) for name in self.market.__struct_fields__},
            "health_milestone": self.milestones.forest_health,
            "erosion_milestone": self.milestones.erosion_reduction,
            "credits_per_health": self.credits.per_health,
            "pooled": float(bool(self.cost_sharing)),
        }
        return Terms(
            **{name: jnp.float32(value) for name, value in numbers.items()},
            cost_shares=table("cost_sharing", self.cost_sharing, 1.0),
            milestone_payment=table("milestones.payment", self.milestones.payment, 0.0),
            verification_payment=table("verification.payment", self.verification.payment, 0.0),
            credit_shares=table("credits.shares", self.credits.shares, 1.0),
            compliance=jnp.ones(len(agents)),
            rule=jnp.int32(0),
            rules=(Rules() if self.rules is None else self.rules,),
        )


@dataclasses.dataclass(frozen=True)
class Terms:
    """A mechanism's numbers: scalars, and arrays of shape (agent,); see the tables of `Mechanism` for their meaning.

    `pooled` is 1 where costs are shared, else 0. `compliance` is 1 for an agent that acts under the mechanism and 0 for
    one that contributes as without it. `rule` is the index into `rules` of the functions in force.
    """

    modifier: Float[Array, "*arm"]
    threshold: Float[Array, "*arm"]
    modifier_above: Float[Array, "*arm"]
    volatility: Float[Array, "*arm"]
    price: Float[Array, "*arm"]
    price_volatility: Float[Array, "*arm"]
    cycle: Float[Array, "*arm"]
    persistence: Float[Array, "*arm"]
    response: Float[Array, "*arm"]
    health_milestone: Float[Array, "*arm"]
    erosion_milestone: Float[Array, "*arm"]
    credits_per_health: Float[Array, "*arm"]
    pooled: Float[Array, "*arm"]
    cost_shares: Float[Array, "*arm agent"]
    milestone_payment: Float[Array, "*arm agent"]
    verification_payment: Float[Array, "*arm agent"]
    credit_shares: Float[Array, "*arm agent"]
    compliance: Float[Array, "*arm agent"]
    rule: Int[Array, "*arm"]
    rules: tuple["Rules", ...]

    def incentive(self, health: Array, price_ratio: Array) -> Array:
        """The factor on contributions, given forest health and the credit price over the calm price.

        A scalar, or of shape (agent,) where a rule says so.
        """
        return self._rule("modifier", health, price_ratio)

    def payments(self, ledger: "Ledger") -> tuple[Float[Array, " agent"], Array]:
        """What each agent receives (negative: pays) in a year, and the outside money among it."""
        return self._rule("payments", ledger)

    def _rule(self, which: str, *args: Any) -> Any:
        def branch(rule: Callable[..., Any]) -> Callable[..., Any]:
            def full(terms: "Terms", *args: Any) -> Any:
                result = rule(terms, *args)
                if which == "modifier" and len(self.rules) > 1:  # one factor for all, or one per agent: alike
                    return jnp.broadcast_to(result, jnp.shape(terms.compliance))
                return result

            return full

        branches = [branch(getattr(rules, which)) for rules in self.rules]
        if len(branches) == 1:
            return branches[0](self, *args)
        return jax.lax.switch(self.rule, branches, self, *args)


jax.tree_util.register_dataclass(Terms, [f.name for f in dataclasses.fields(Terms) if f.name != "rules"], ["rules"])


class Ledger(NamedTuple):
    """What a year's payments can depend on; arrays of shape (agent,) and scalars, in kEUR and pure numbers."""

    contribution: Float[Array, " agent"]
    cost: Float[Array, " agent"]
    health: Array
    health_gain: Array
    erosion_reduction: Array
    price: Array


def standard_modifier(terms: Terms, health: Array, price_ratio: Array) -> Array:
    """`modifier` below the threshold and `modifier_above` above it, times price_ratio ** response.

    The change-over is a logistic curve of width SWITCH_WIDTH in forest health: a jump, however small, makes the
    density of a record that crosses the threshold discontinuous, and NUTS then stalls.
    """
    above = jax.nn.sigmoid((health - terms.threshold) / SWITCH_WIDTH)
    return (terms.modifier + above * (terms.modifier_above - terms.modifier)) * price_ratio**terms.response


def standard_payments(terms: Terms, ledger: Ledger) -> tuple[Float[Array, " agent"], Array]:
    """Pooled costs, milestone payments, the verification fee and credit sales; all but the sales sum to zero."""
    pooled = terms.pooled * (ledger.cost - terms.cost_shares * ledger.cost.sum())
    held = (ledger.health > terms.health_milestone).astype(float) + (
        ledger.erosion_reduction > terms.erosion_milestone
    ).astype(float)
    sales = terms.credits_per_health * jnp.maximum(ledger.health_gain, 0.0) * ledger.price
    inside = pooled + held * terms.milestone_payment + terms.verification_payment
    return inside + sales * terms.credit_shares, sales


class Rules(NamedTuple):
    """The two functions of a mechanism; a Python mechanism file may define either.

    Attributes:
        modifier: `(terms, health, price_ratio) -> factor`, a scalar or an array of shape (agent,).
        payments: `(terms, ledger) -> (payments of shape (agent,), outside money)`.
    """

    modifier: Callable[..., Any] = standard_modifier
    payments: Callable[..., Any] = standard_payments


def unify(terms: Sequence[Terms]) -> list[Terms]:
    """The same mechanisms with one shared tuple of rules, so that they can be stacked."""
    rules = tuple(dict.fromkeys(rule for each in terms for rule in each.rules))
    return [
        dataclasses.replace(each, rules=rules, rule=jnp.int32(rules.index(each.rules[int(each.rule)])))
        for each in terms
    ]


def parse_mechanism(table: Mapping[str, Any], path: str | Path, rules: Rules | None = None) -> Mechanism:
    """A mechanism from its table; a parameter is a number or `{value = , unit = , source = }`.

    Raises:
        InputError: naming the file, the field and what is allowed.
    """
    notes: dict[tuple[str, ...], tuple[str, str]] = {}

    def plain(value: Any, where: tuple[str, ...]) -> Any:
        shown = ".".join(map(str, where))
        if len(where) > limits.NESTED:
            raise InputError(f"{path}: {shown[:60]}... is nested too deeply; {limits.NESTED} tables are allowed")
        if isinstance(value, int) and abs(value) > limits.EXACT:
            raise InputError(f"{path}: {shown} is a whole number of {value.bit_length()} bits; at most 53 are allowed")
        if not isinstance(value, Mapping):
            return value
        if "value" not in value:
            return {key: plain(inner, (*where, key)) for key, inner in value.items()}
        strange = set(value) - {"value", "unit", "source"}
        if strange:
            raise InputError(f"{path}: {shown} has '{listed(strange)}'; allowed are value, unit, source")
        notes[where] = (str(value.get("unit", "")), str(value.get("source", "")))
        return plain(value["value"], where)

    reserved = {"name", "path", "notes", "rules"} & set(table)
    if reserved:
        raise InputError(f"{path}: '{listed(reserved)}' is not a field of a mechanism file")
    numbers = plain(table, ())
    try:
        parsed = msgspec.convert(numbers, Mechanism)
    except msgspec.ValidationError as error:
        reason, _, at = str(error).partition(" - at ")
        if "[...]" in at:
            at = at.replace("[...]", f".{_culprit(numbers, at)}")
        raise InputError(
            f"{path}: {at.strip('`').removeprefix('$.') or 'the file'}: {reason[:1].lower() + reason[1:]}"
        ) from None
    for where, (unit, _) in notes.items():
        expected = _unit(where)
        if unit and unit != expected:
            raise InputError(f"{path}: {'.'.join(where)} has unit '{unit}'; it must be given in '{expected}'")
    named = {".".join(where): note for where, note in notes.items()}
    return msgspec.structs.replace(parsed, name=Path(path).stem, path=str(path), notes=named, rules=rules)


def _culprit(table: Mapping[str, Any], at: str) -> str:
    """The key that a validation error means where it says only that some value of a table is wrong."""
    path = at.strip("`").removeprefix("$.").removesuffix("[...]").split(".")
    for key in _inner(table, path):
        alone = copy.deepcopy(dict(table))
        inner = _inner(alone, path)
        for other in set(inner) - {key}:
            del inner[other]
        try:
            msgspec.convert(alone, Mechanism)
        except msgspec.ValidationError as error:
            if str(error).endswith(at):
                return str(key)
    return "..."


def _inner(table: Any, path: Sequence[str]) -> Any:
    for part in path:
        table = table.get(part, {}) if isinstance(table, Mapping) else {}
    return table


def _unit(where: Sequence[str]) -> str:
    """The unit of the parameter at a path, from the types above."""
    info: Any = msgspec.inspect.type_info(Mechanism)
    for part in where:
        if isinstance(info, msgspec.inspect.StructType):
            info = {f.name: f.type for f in info.fields}[part]
        else:
            info = info.value_type
    while isinstance(info, msgspec.inspect.UnionType):
        info = info.types[0]
    return (info.extra or {}).get("unit", "") if isinstance(info, msgspec.inspect.Metadata) else ""
