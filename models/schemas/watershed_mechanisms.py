"""The incentive mechanisms of the watershed: what their files hold, and the numbers and rules that a year takes.

The terms of a mechanism are a pytree of arrays, which can be stacked, vmapped, differentiated and optimised. What
numbers cannot express, a Python file adds as functions of the same signature as `standard_modifier` and
`standard_payments` below.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import msgspec
from jaxtyping import Array, Float, Int
from msgspec import Meta

from bayesalloc.errors import InputError, listed
from bayesalloc.mechanism import Mechanism, Schema

AGENTS = ("dam_owner", "forest_owner", "expert", "regulator", "investor")
SWITCH_WIDTH = 0.02  # in units of forest health

Factor = Annotated[float, Meta(ge=0, le=5, extra={"unit": "1"})]
Fraction = Annotated[float, Meta(ge=0, le=1, extra={"unit": "1"})]
Spread = Annotated[float, Meta(ge=0, le=2, extra={"unit": "1"})]
Money = Annotated[float, Meta(ge=-1e6, le=1e6, extra={"unit": "kEUR/yr"})]
Price = Annotated[float, Meta(ge=0, le=1e6, extra={"unit": "kEUR/credit"})]
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
    """The yearly verification fee.

    Attributes:
        payment: agent -> money; positive receives, negative pays; sums to zero.
    """

    payment: dict[str, Money] = {}


class CreditSale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Verified credits sold to buyers outside the watershed: the one source of outside money.

    Attributes:
        per_health: credits a year for one unit of forest health above its first-year level.
        shares: agent -> share of the revenue; sums to one.
    """

    per_health: Credits = 0.0
    shares: dict[str, Fraction] = {}


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file holds beside its title and description; see `terms_of` for the numbers that a simulator takes.

    Attributes:
        incentive: how it changes what agents contribute.
        market: the credit market.
        milestones: verified milestones.
        verification: the yearly fee.
        credits: what is sold to outside buyers.
        cost_sharing: agent -> share of the pooled costs it bears; sums to one; empty: each bears its own.
    """

    incentive: Incentive
    market: Market = Market()
    milestones: Milestones = Milestones()
    verification: Verification = Verification()
    credits: CreditSale = CreditSale()
    cost_sharing: dict[str, Fraction] = {}


@dataclasses.dataclass(frozen=True)
class Terms:
    """A mechanism's numbers: scalars, and arrays of shape (agent,); see the tables of `Parameters` for their meaning.

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


# What a contract can set, and what its table sums to; and what it cannot, as it is how people respond.
CONTRACT: dict[str, float | None] = {
    "market.price": None,
    "milestones.forest_health": None,
    "milestones.erosion_reduction": None,
    "milestones.payment": 0.0,
    "verification.payment": 0.0,
    "credits.shares": 1.0,
    "cost_sharing": 1.0,
}
RESPONSES = ("incentive.modifier", "incentive.modifier_above", "incentive.volatility", "market.response")


def terms_of(mechanism: Mechanism, agents: Sequence[str] = AGENTS) -> Terms:
    """The numbers of a mechanism, per-agent ones in the order of `agents`.

    Raises:
        InputError: where a table names an agent that is not there, or does not sum as it must.
    """
    given: Parameters = mechanism.parameters

    def table(where: str, amounts: Mapping[str, float]) -> Float[Array, " agent"]:
        strange, total = set(amounts) - set(agents), CONTRACT[where] or 0.0
        if strange:
            raise InputError(f"{mechanism.path}: {where} names '{listed(strange)}'; the agents are {listed(agents)}")
        if amounts and abs(sum(amounts.values()) - total) > 1e-6:
            raise InputError(f"{mechanism.path}: {where} sums to {sum(amounts.values()):g}; it must sum to {total:g}")
        return jnp.array([amounts.get(agent, 0.0) for agent in agents], jnp.float32)

    if given.credits.per_health and not given.credits.shares:
        raise InputError(f"{mechanism.path}: credits.shares is empty; it must say who receives the revenue")
    above = given.incentive.modifier_above
    numbers = {
        **{name: getattr(given.incentive, name) for name in ("modifier", "threshold", "volatility")},
        "modifier_above": given.incentive.modifier if above is None else above,
        **{name: getattr(given.market, name) for name in given.market.__struct_fields__},
        "health_milestone": given.milestones.forest_health,
        "erosion_milestone": given.milestones.erosion_reduction,
        "credits_per_health": given.credits.per_health,
        "pooled": float(bool(given.cost_sharing)),
    }
    return Terms(
        **{name: jnp.float32(value) for name, value in numbers.items()},
        cost_shares=table("cost_sharing", given.cost_sharing),
        milestone_payment=table("milestones.payment", given.milestones.payment),
        verification_payment=table("verification.payment", given.verification.payment),
        credit_shares=table("credits.shares", given.credits.shares),
        compliance=jnp.ones(len(agents)),
        rule=jnp.int32(0),
        rules=(Rules(**mechanism.rules),),
    )


schema = Schema(
    "watershed",
    Parameters,
    action=terms_of,
    rules=Rules._fields,
    alike=unify,
    contract=CONTRACT,
    responses=RESPONSES,
)
