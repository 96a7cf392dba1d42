"""Households on one well, which rain fills, under a rule that says how much each may pump."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

import bayesalloc as ba

HOUSEHOLDS = 4
RULES = {"no_rule": 10.0, "meters": 0.7, "drought_plan": 0.4}  # m of the level that a household may pump in a year


class Params(NamedTuple):
    """What is unknown."""

    rain: jax.Array  # m that the level rises in a usual year
    luck: jax.Array  # standard deviation of a year's rain, on the log scale
    wish: jax.Array  # m that a household pumps in a year where nothing limits it
    error: jax.Array  # standard deviation of the gauge's error, m
    start: jax.Array  # m, before the first year


class Year(NamedTuple):
    """What is reported of a year."""

    level: jax.Array  # m, at the end of the year
    pumped: jax.Array  # m, by all households


def prior():
    """What is believed before any data."""
    return Params(
        rain=numpyro.sample("rain", dist.LogNormal(jnp.log(3.0), 0.3)),
        luck=numpyro.sample("luck", dist.LogNormal(jnp.log(0.2), 0.4)),
        wish=numpyro.sample("wish", dist.LogNormal(jnp.log(1.0), 0.3)),
        error=numpyro.sample("error", dist.LogNormal(jnp.log(0.3), 0.4)),
        start=numpyro.sample("start", dist.Normal(20.0, 3.0)),
    )


def initial(params):
    """The level before the first year."""
    return params.start


def step(level, limit, params):
    """One year: rain fills the well, then households pump what they wish and may."""
    shock = numpyro.sample("shock", dist.Normal())  # chance that no rule changes, so that every rule meets the same
    filled = level + params.rain * jnp.exp(params.luck * shock)
    pumped = jnp.minimum(HOUSEHOLDS * jnp.minimum(params.wish, limit), filled)
    return filled - pumped, Year(filled - pumped, pumped)


def measure(years, params, data):
    """How the truth shows in a record."""
    ba.measured("level", dist.Normal(years.level, params.error), data)


def read(table, mechanism=None):
    """How a CSV file becomes data; `mechanism` is the rule where the file names none."""
    years = table.integers("year")
    table.increasing("year", years)
    rules = table.labels("rule") if mechanism is None else [mechanism] * len(years)
    return ba.Recorded(environment, {"level": table.numbers("level")}, rules, years)


environment = ba.Environment(
    name="well",
    prior=prior,
    initial=initial,
    step=step,
    arms=lambda names: {name: jnp.asarray(RULES[name]) for name in names or RULES},
    outcomes={"level": ba.Outcome("m", "higher", at="horizon"), "pumped": ba.Outcome("m/yr", "higher")},
    baseline="no_rule",
    measure=measure,
    read=read,
    columns={
        "year": "whole number, a row for every year",
        "level": "by the gauge, m; empty: none",
        "rule": "the one in force",
    },
)
