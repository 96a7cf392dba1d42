"""Hierarchical agent cooperation: people in groups contribute a share of an endowment to a common good.

A person's willingness is a baseline plus a group's and a person's own tendency, partially pooled; a mechanism
multiplies it and adds its own volatility; what is contributed is censored at none and all of the endowment (a
two-limit Tobit model: Tobin 1958, Econometrica 26:24; for public goods games, e.g. Bardsley & Moffatt 2007, Theory and
Decision 62:161). The watershed uses the same functions for its five agents.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.scipy.special import log_ndtr
from jaxtyping import Array, ArrayLike
from numpyro.distributions import constraints

from bayesalloc import limits
from bayesalloc.environment import Environment, Outcome, Recorded
from bayesalloc.errors import InputError, listed

COLUMNS = {
    "group": "label of the group",
    "person": "label of the person in the group",
    "mechanism": "label of the mechanism that was in force for the person; any",
    "contribution": "what the person gave, from 0 to the endowment",
    "endowment": "what the person could give in a round, above 0; one number for each person",
    "round": "optional: whole number; default: one round",
}
POOLING = (0.15, 0.5)  # prior of the spread of groups and of people, in shares of the endowment


def tendencies(name: str, n: int, spread: tuple[float, float]) -> Array:
    """Tendencies of `n` agents or groups around the baseline, partially pooled: sites `<name>_spread` and `<name>`.

    Shape (n,), in shares of the endowment. `spread` is the median and log standard deviation of the prior of their
    standard deviation.
    """
    median, log_sd = spread
    spread_site = numpyro.sample(f"{name}_spread", dist.LogNormal(np.log(median), log_sd))
    with numpyro.plate(f"{name}_plate", n):
        return jnp.asarray(numpyro.sample(name, dist.Normal(0.0, spread_site)))


def contribution(willingness: Array, modifier: ArrayLike, volatility: ArrayLike, shock: ArrayLike) -> Array:
    """Share contributed: willingness x modifier + volatility x shock, censored at none (0) and all (1)."""
    return jnp.clip(willingness * modifier + volatility * shock, 0.0, 1.0)


class Contributed(dist.Distribution):
    """The distribution of a share contributed: `contribution` over a standard normal shock, and two kinds of people.

    With probability `nothing` a person gives nothing whatever the circumstances, with probability `everything` all of
    it (the free riders and the unconditional givers of Fischbacher, Gaechter & Fehr 2001, Economics Letters 71:397).

    Args:
        loc: mean of the others before censoring.
        scale: their standard deviation before censoring, > 0.
        nothing, everything: probabilities, together below 1.
    """

    arg_constraints = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "nothing": constraints.unit_interval,
        "everything": constraints.unit_interval,
    }
    # NumPyro's own distributions override as we do: a constant `support`, no key that is None, no intermediates.
    support = constraints.unit_interval  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]

    def __init__(
        self,
        loc: ArrayLike,
        scale: ArrayLike,
        nothing: ArrayLike = 0.0,
        everything: ArrayLike = 0.0,
        *,
        validate_args: bool | None = None,
    ) -> None:
        given = (jnp.asarray(each, float) for each in (loc, scale, nothing, everything))
        self.loc, self.scale, self.nothing, self.everything = jnp.broadcast_arrays(*given)
        super().__init__(batch_shape=self.loc.shape, event_shape=(), validate_args=validate_args)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Draws; the same key gives the same person and the same shock under any parameters."""
        kind_key, shock_key = jax.random.split(key)
        kind = jax.random.uniform(kind_key, sample_shape + self.batch_shape)
        shock = jax.random.normal(shock_key, sample_shape + self.batch_shape)
        share = contribution(self.loc, 1.0, self.scale, shock)
        return jnp.where(kind < self.nothing, 0.0, jnp.where(kind > 1.0 - self.everything, 1.0, share))

    def log_prob(self, value: ArrayLike) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Log density inside (0, 1), log probability at 0 and 1."""
        value = jnp.asarray(value)
        others = jnp.log1p(-self.nothing - self.everything)
        z = (value - self.loc) / self.scale
        inside = others - 0.5 * z**2 - jnp.log(self.scale) - 0.5 * jnp.log(2 * jnp.pi)
        none = jnp.logaddexp(jnp.log(self.nothing), others + log_ndtr((0.0 - self.loc) / self.scale))
        every = jnp.logaddexp(jnp.log(self.everything), others + log_ndtr((self.loc - 1.0) / self.scale))
        return jnp.where(value <= 0.0, none, jnp.where(value >= 1.0, every, inside))

    @property
    def mean(self) -> Array:
        """Mean after censoring, in closed form."""
        low, high = -self.loc / self.scale, (1.0 - self.loc) / self.scale
        cdf, pdf = jax.scipy.stats.norm.cdf, jax.scipy.stats.norm.pdf
        inside = cdf(high) - cdf(low)
        others = self.loc * inside + self.scale * (pdf(low) - pdf(high)) + 1.0 - cdf(high)
        return self.everything + (1.0 - self.nothing - self.everything) * others


class Params(NamedTuple):
    """Unknown constants: shares of the endowment; `modifier` is a factor, geometric mean 1 over mechanisms.

    `kinds` has shape (mechanism, 3): probabilities of giving nothing, of giving everything, and of neither.
    """

    baseline: Array
    group: Array
    person: Array
    modifier: Array
    volatility: Array
    kinds: Array


class Round(NamedTuple):
    """Outcome of one round: what each person contributed, in the endowment's unit, and the mean of it."""

    contribution: Array
    contributions: Array


def game(
    group_of: Sequence[int] = tuple(i // 3 for i in range(60)),
    endowment: float | Sequence[float] = 20.0,
    mechanisms: Sequence[str] = ("control", "treatment"),
    *,
    repeated: bool = False,
    unit: str = "endowment unit",
) -> Environment:
    """A public goods game as an environment.

    Args:
        group_of: the index of each person's group; shape (person,).
        endowment: what a person can give in a round; a number, or shape (person,).
        mechanisms: labels of the mechanisms.
        repeated: whether there are several rounds; with only one, a person's own tendency cannot be told from noise
            and is left out.
        unit: unit of the endowment.
    """
    membership, mechanisms = np.asarray(group_of), tuple(mechanisms)
    n_people, n_groups, n_mechanisms = len(membership), int(membership.max()) + 1, len(mechanisms)
    stake = np.broadcast_to(np.asarray(endowment, np.float32), (n_people,))

    def prior() -> Params:
        baseline = jnp.asarray(numpyro.sample("baseline", dist.Normal(0.5, 0.25)))
        log_modifier = (
            numpyro.sample("log_modifier", dist.ZeroSumNormal(0.5, (n_mechanisms,)))
            if n_mechanisms > 1
            else jnp.zeros(1)
        )
        with numpyro.plate("mechanism_plate", n_mechanisms):
            volatility = jnp.asarray(numpyro.sample("volatility", dist.LogNormal(np.log(0.3), 0.5)))
            kinds = jnp.asarray(numpyro.sample("kinds", dist.Dirichlet(np.array([1.0, 1.0, 10.0], np.float32))))
        person = tendencies("person", n_people, POOLING) if repeated else jnp.zeros(n_people)
        return Params(
            baseline, tendencies("group", n_groups, POOLING), person, jnp.exp(log_modifier), volatility, kinds
        )

    def step(state: tuple[()], mechanism: Array, params: Params) -> tuple[tuple[()], Round]:
        mechanism = jnp.broadcast_to(mechanism, (n_people,))
        willingness = params.baseline + params.group[membership] + params.person
        nothing, everything, _ = params.kinds[mechanism].T
        loc = willingness * params.modifier[mechanism]
        shares = Contributed(loc, params.volatility[mechanism], nothing, everything).to_event(1)
        share = jnp.asarray(numpyro.sample("share", shares))
        return state, Round((share * stake).mean(), share * stake)

    def arms(names: Sequence[str] | None) -> dict[str, Any]:
        strange = [name for name in names or () if name not in mechanisms]
        if strange:
            raise InputError(f"cooperation has no mechanism '{listed(strange)}'; there are {listed(mechanisms)}")
        return {str(name): np.int32(mechanisms.index(name)) for name in names or mechanisms}

    return Environment(
        name="cooperation",
        prior=prior,
        initial=lambda params: (),
        step=step,
        arms=arms,
        outcomes={"contribution": Outcome(unit, "higher")},
        period="round",
        read=read,
        columns=COLUMNS,
    )


def read(table: Any, mechanism: str | None = None) -> Recorded:
    """A record of who gave what, with COLUMNS."""
    group = table.labels("group")
    person = list(zip(group, table.labels("person"), strict=True))
    endowment = table.numbers("endowment", low=0.0, above=True, required=True)
    given = table.numbers("contribution", low=0.0, required_column=True)
    label = [mechanism] * len(table) if mechanism is not None else table.labels("mechanism")
    rounds = table.integers("round") if "round" in table.columns else [1] * len(table)
    people, groups, mechanisms, years = (_places(values) for values in (person, group, label, sorted(rounds)))
    if len(years) * len(people) > limits.CSV_CELLS:
        raise InputError(
            f"{table.path}: has {len(years):,} rounds of {len(people):,} people; rounds x people may be at most"
            f" {limits.CSV_CELLS:,}"
        )
    share = np.full((len(years), len(people)), np.nan, np.float32)
    force = np.full((len(years), len(people)), label[0], dtype=object)
    stake, group_of = np.zeros(len(people), np.float32), np.zeros(len(people), np.int32)
    seen: dict[tuple[int, int], int] = {}
    for row in range(len(table)):
        t, i = years[rounds[row]], people[person[row]]
        if (t, i) in seen:
            raise table.error(row, "person", f"'{person[row][1]}' of this group and round stands in line {seen[t, i]}")
        if given[row] > endowment[row]:
            raise table.error(row, "contribution", f"is {given[row]:g}; it must be in [0, {endowment[row]:g}]")
        if stake[i] and stake[i] != np.float32(endowment[row]):
            raise table.error(row, "endowment", f"is {endowment[row]:g}, and {stake[i]:g} before; a person has one")
        seen[t, i] = table.row(row)
        share[t, i], force[t, i] = given[row] / endowment[row], label[row]
        stake[i], group_of[i] = endowment[row], groups[group[row]]
    env = game(group_of.tolist(), stake.tolist(), list(mechanisms), repeated=len(years) > 1)
    pooled = ("group", "person") if len(years) > 1 else ("group",)
    return Recorded(env, {"share": share}, force, list(years), [], pooled)


def _places(values: Sequence[Any]) -> dict[Any, int]:
    """Distinct values in order of appearance, with their places."""
    return {value: place for place, value in enumerate(dict.fromkeys(values))}


environment = game()
