"""What the Mechanisms page shows: mechanisms compared by warm simulation, one question after another.

NumPyro's handlers are one stack for the whole process, so that only one session simulates at a time.
"""

import threading
import tomllib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import jax
import xarray as xr

from bayesalloc import effects
from bayesalloc.dashboard.numbers import changed, numbers
from bayesalloc.effects import decisions
from bayesalloc.effects.summaries import courses
from bayesalloc.environment import Environment, schema_of
from bayesalloc.errors import InputError
from bayesalloc.inference.files import open_posterior
from bayesalloc.inference.posing import pose, restore
from bayesalloc.library import load_mechanism, load_model, shipped_mechanisms
from bayesalloc.mechanism import Mechanism, Schema, parse_mechanism
from bayesalloc.report.reading import main_outcomes
from bayesalloc.report.terms import toml

DRAWS, FUTURES, SEED = 200, 8, 0
KEPT = ("arms", "arm_means", "effects", "effect_means", "agents", "decision")  # of a comparison
_ONE_AT_A_TIME = threading.Lock()


class Question(NamedTuple):
    """What is compared.

    Attributes:
        model: a shipped model's name.
        arms: name and TOML text of each mechanism.
        horizon: periods.
        posterior: a file of `fit`; "" for the prior.
        response: by what the numbers are multiplied that say how people respond.
    """

    model: str
    arms: tuple[tuple[str, str], ...]
    horizon: int
    posterior: str = ""
    response: float = 1.0


@lru_cache
def environment(model: str) -> Environment:
    """A shipped environment."""
    env = load_model(model)
    assert isinstance(env, Environment)
    return env


@lru_cache
def shipped(model: str) -> dict[str, str]:
    """The shipped mechanisms of a model: name -> TOML text."""
    schema = schema_of(environment(model))
    return {name: toml(load_mechanism(name, schema), schema) for name in shipped_mechanisms(model)}


def mechanism(text: str, name: str, schema: Schema) -> Mechanism:
    """A mechanism from its TOML text.

    Raises:
        InputError: naming the field and what is allowed.
    """
    try:
        return parse_mechanism(tomllib.loads(text), f"{name}.toml", schema)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{name}.toml: not a valid TOML file: {error}") from None


def answered(question: Question, draws: int = DRAWS, futures: int = FUTURES) -> xr.DataTree:
    """A comparison as `effects.compare` makes it."""
    env = environment(question.model)
    schema = schema_of(env)
    arms = [mechanism(text, name, schema) for name, text in question.arms]
    if question.response != 1.0:
        arms = [responding(each, schema, question.response) for each in arms]
    posterior = open_posterior(Path(question.posterior)) if question.posterior else None
    with _ONE_AT_A_TIME:
        return effects.compare(
            env,
            arms,
            jax.random.key(SEED),
            draws=draws,
            futures=futures,
            horizon=question.horizon,
            baseline=env.baseline,
            posterior=posterior,
        )


def responding(each: Mechanism, schema: Schema, factor: float) -> Mechanism:
    """The mechanism where all numbers that say how people respond are so many times what was assumed."""
    values = {name: factor * value for name in schema.responses if (value := each.number(name))}
    return changed(each, schema, values, each.name)


def shown(tree: xr.DataTree) -> xr.DataTree:
    """What a page shows of a comparison: its statistics, its courses over the periods, and worths in each draw."""
    kept = xr.DataTree.from_dict({name: tree[name].to_dataset() for name in KEPT if name in tree.children})
    kept["courses"] = courses(tree)
    kept["worth"] = decisions.worths(tree, main_outcomes(tree)).to_dataset(name="worth")
    kept.attrs = dict(tree.attrs)
    return kept


def check_record(model: str, path: Path, mechanisms: Sequence[str]) -> None:
    """Refuse a record that the model cannot be fitted to.

    Raises:
        InputError: naming column, row and what is allowed.
    """
    with _ONE_AT_A_TIME:
        pose(environment(model), path, mechanisms=mechanisms)


def check_posterior(model: str, path: Path) -> None:
    """Refuse a file that is no posterior of the model.

    Raises:
        InputError: saying why.
    """
    with _ONE_AT_A_TIME:
        restore(environment(model), open_posterior(path))


def ranges(model: str, names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Number, or table of numbers, of a mechanism -> between what its sliders go."""
    env = environment(model)
    every = [load_mechanism(name, schema_of(env)) for name in shipped(model)]
    found = numbers(every[0], schema_of(env), env.coords["agent"], every)
    return {each.table or each.name: (each.low, each.high) for each in found if (each.table or each.name) in names}
