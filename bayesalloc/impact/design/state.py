"""The state of a mechanism's design: one file, which holds the question and the mechanism that is begun from."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from bayesalloc.checking import checked
from bayesalloc.environment import Environment, schema_of
from bayesalloc.errors import InputError
from bayesalloc.impact.design import designing
from bayesalloc.impact.files import DESIGN, hashed, parsed
from bayesalloc.library import load_mechanism, load_model
from bayesalloc.mechanism import parse_mechanism


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be designed; see `bayesalloc.impact.design.designing.Problem`.

    Attributes:
        model: its name, or the path of its file.
        name: of the mechanism that is begun from.
        mechanism: its table.
        notes: its numbers' units and sources.
        free: number -> range.
        maximise: an outcome.
        subject_to: the constraints, as they were given.
        draws: of the parameters.
        horizon: periods.
        seed: of the random numbers.
        searched: the free numbers that have to be searched, and why; see `splitting.split`.
    """

    model: str
    name: str
    mechanism: dict[str, Any]
    notes: dict[str, tuple[str, str]]
    free: dict[str, tuple[float, float]]
    maximise: str
    subject_to: list[str]
    draws: int
    horizon: int
    seed: int
    searched: dict[str, str] = {}

    def problem(self) -> designing.Problem:
        """The question, of its model as it is now.

        Raises:
            InputError: see `bayesalloc.impact.design.designing.posed`.
        """
        env = _environment(self.model)
        start = parse_mechanism(self.mechanism, f"{self.name}.toml", schema_of(env))
        start = dataclasses.replace(start, notes=self.notes)
        return designing.posed(
            env,
            start,
            self.free,
            self.maximise,
            self.subject_to,
            draws=self.draws,
            horizon=self.horizon,
            seed=self.seed,
            searched=self.searched,
        )


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question in a file: its kind, itself, and by which it is known to be whole."""

    format: str
    question: Question
    hash: str


def begun(
    model: str,
    mechanism: str | None,
    free: Mapping[str, tuple[float, float]],
    maximise: str,
    subject_to: list[str],
    *,
    draws: int,
    horizon: int,
    seed: int,
) -> State:
    """A new state, of a question that has an answer; which numbers have to be searched is found here.

    Args:
        model: its name, or the path of its file.
        mechanism: what is begun from, by name or path; None: the model's baseline.
        free: number -> range.
        maximise: an outcome.
        subject_to: constraints.
        draws: of the parameters.
        horizon: periods.
        seed: of the random numbers.

    Raises:
        InputError: naming what cannot be used.
    """
    env = _environment(model)
    start = load_mechanism(mechanism or env.baseline or next(iter(env.arms(None))), env)
    table = start.table()
    if table is None:
        raise InputError(f"{start.path}: has functions of its own; only a mechanism of numbers can be designed")
    question = Question(
        model, start.name, table, dict(start.notes), dict(free), maximise, subject_to, draws, horizon, seed
    )
    question = msgspec.structs.replace(question, searched=designing.split(question.problem()))
    return State(DESIGN, question, hashed(question))


def load(path: Path) -> State:
    """The state in a file.

    Raises:
        InputError: where it is not there, cut short, of another kind, or was changed.
    """
    return parsed(path, State, DESIGN)


def _environment(model: str) -> Environment:
    env = load_model(model)
    if not isinstance(env, Environment):
        raise InputError(f"{model}: is a plain model; mechanisms are designed for environments")
    return checked(env)
