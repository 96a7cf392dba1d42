"""The design of a mechanism: the best terms that a contract could set, or the proof that there are none.

Numbers on which payoffs depend linearly are found by a programme on trajectories that are simulated once (`programme`).
Others are searched (`searching`), with a programme for the linear ones at each point that is tried: without a proof.
The design is then tried on random numbers that it has not seen, beside the mechanisms that there are, and found anew
where people respond otherwise than assumed; what was searched stays as it is.
"""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float

from bayesalloc.effects.comparing import compare
from bayesalloc.environment import Environment
from bayesalloc.errors import InputError
from bayesalloc.fields import range_of
from bayesalloc.impact.design import affine, searching, splitting
from bayesalloc.impact.design.constraints import Constraint, read_constraints
from bayesalloc.impact.design.free import Free, free_numbers
from bayesalloc.impact.design.margins import CAUTION, Solution, solve
from bayesalloc.impact.design.programme import BRIEFLY, SECONDS, Programme
from bayesalloc.inference.names import escaped
from bayesalloc.mechanism import Mechanism

OFF = 0.2  # by which part of itself a response may be otherwise than assumed
TRIES, FRESH, SEARCH = 1, 2, 3  # random numbers beside the design's: of the trial of linearity, check, and search


class Problem(NamedTuple):
    """What is to be designed.

    Attributes:
        env: the environment.
        free: its free numbers, with the mechanism that is begun from.
        maximise: an outcome, with its element where it has some.
        constraints: what a design must keep, one for each agent.
        asked: the same as it was given.
        draws: of the parameters.
        horizon: periods.
        seed: of the random numbers.
        searched: those of the free numbers that are to be searched, and why: "it moves water".
    """

    env: Environment
    free: Free
    maximise: str
    constraints: tuple[Constraint, ...]
    asked: tuple[str, ...]
    draws: int
    horizon: int
    seed: int
    searched: Mapping[str, str] = {}

    @property
    def linear(self) -> Free:
        """The free numbers that a programme finds."""
        return self.free.of([each.name for each in self.free.numbers if each.name not in self.searched])

    def key(self, purpose: int = 0) -> jax.Array:
        """Random numbers; those of another purpose are fresh."""
        key = jax.random.key(self.seed)
        return jax.random.fold_in(key, purpose) if purpose else key


class Doubt(NamedTuple):
    """What becomes of a design where people respond otherwise.

    Attributes:
        number: the assumption, by name.
        assumed: as the mechanism has it.
        value: as it is here.
        broken: constraint -> value, of those that the unchanged design would break.
        objective: what the unchanged design would bring.
        found: whether there are terms anew that keep the constraints.
        values: their free numbers.
        anew: what they would bring.
    """

    number: str
    assumed: float
    value: float
    broken: dict[str, float]
    objective: float
    found: bool
    values: Float[np.ndarray, " number"]
    anew: float


class Design(NamedTuple):
    """A design and what is known of it.

    Attributes:
        mechanism: with the free numbers set; those that come nearest where there are none.
        solution: what the programme found.
        effects: what the free numbers do, on the random numbers of the design.
        comparison: a result of `compare` with fresh random numbers: what was begun from, what is there, the design.
        fresh: constraint -> value with those.
        doubts: how it moves.
        search: what was tried of the searched numbers; None where there are none.
    """

    mechanism: Mechanism
    solution: Solution
    effects: affine.Affine
    comparison: xr.DataTree
    fresh: dict[str, float]
    doubts: list[Doubt]
    search: searching.Search | None


def posed(
    env: Environment,
    mechanism: Mechanism,
    free: Mapping[str, tuple[float, float]],
    maximise: str,
    subject_to: list[str],
    *,
    draws: int,
    horizon: int,
    seed: int,
    searched: Mapping[str, str] | None = None,
) -> Problem:
    """A design's question.

    Raises:
        InputError: where a part of it cannot be used; which numbers have to be searched is not tried: see `split`.
    """
    names = affine.outcome_names(env)
    if maximise not in names:
        of = [name for name in names if name.startswith(f"{maximise}.")]
        more = f"which of its elements? {', '.join(of)}" if of else f"there are {', '.join(names)}"
        raise InputError(f"--maximise {maximise}: is no outcome that is one number; {more}")
    agents = list(env.coords["agent"]) if env.payoff and env.refusal and env.deviate is not None else []
    constraints = read_constraints(subject_to, names, agents)
    numbers = free_numbers(env, mechanism, free)
    asked = tuple(subject_to)
    return Problem(env, numbers, maximise, constraints, asked, draws, horizon, seed, searched or {})


def split(problem: Problem) -> dict[str, str]:
    """Which free numbers have to be searched, and why; see `splitting.split`."""
    return splitting.split(problem.env, problem.free, problem.key(TRIES), horizon=problem.horizon)


def designed(problem: Problem) -> Design:
    """The best mechanism within the constraints, tried on fresh random numbers and doubted."""
    found = _searched(problem) if problem.searched else None
    effects, solution = (found.best.effects, found.best.solution) if found else _solved(problem, {}, SECONDS)
    mechanism = _named(problem, solution)
    start, env = problem.free.mechanism, problem.env
    others = [name for name in env.arms(None) if name not in (start.name, mechanism.name)]
    comparison = compare(
        env,
        [start, *others, mechanism],
        problem.key(FRESH),
        draws=problem.draws,
        horizon=problem.horizon,
        baseline=start.name,
    )
    fresh = {each.text: measured(comparison, mechanism.name, each.name, each.agent) for each in problem.constraints}
    doubts = _doubts(problem, solution) if solution.found else []
    return Design(mechanism, solution, effects, comparison, fresh, doubts, found)


def _searched(problem: Problem) -> searching.Search:
    """The search over the numbers that are searched, on the random numbers of the design at every point."""
    free = problem.free.of(problem.searched)

    def evaluate(values: Float[np.ndarray, " searched"]) -> searching.Point:
        given = {number.name: value for number, value in zip(free.numbers, values.tolist(), strict=True)}
        effects, solution = _solved(problem, given, SECONDS, explained=False)
        at, objective = solution.values, effects.outcome(problem.maximise, solution.values)
        missed = [each.excess(at, effects) for each in problem.constraints]
        careful = [each.tightened(at, effects, CAUTION).excess(at, effects) for each in problem.constraints]
        return searching.Point(values, effects, solution, objective, missed, careful)

    return searching.search(free, evaluate, problem.key(SEARCH))


def _solved(
    problem: Problem, given: Mapping[str, float], seconds: float, *, explained: bool = True
) -> tuple[affine.Affine, Solution]:
    """What the free numbers do and the best of them, where the searched ones, and others, are given."""
    linear, free = problem.linear, problem.free.numbers
    size = {"draws": problem.draws, "horizon": problem.horizon}
    effects = affine.affine(problem.env, linear, problem.key(), given, **size)
    programme = Programme(linear, effects, problem.maximise, problem.constraints, seconds)
    places = [i for i, number in enumerate(free) if number.name not in problem.searched]
    known = np.array([given.get(number.name, 0.0) for number in free])
    return effects.among(places, len(free)), solve(programme, explained=explained).among(places, known)


def _doubts(problem: Problem, solution: Solution) -> list[Doubt]:
    """The design where each response is less, and more, than assumed by OFF of itself; what was searched stays."""
    found, schema = [], problem.free.schema
    chosen = zip((each.name for each in problem.free.numbers), solution.values.tolist(), strict=True)
    searched = {name: value for name, value in chosen if name in problem.searched}
    from_here = problem._replace(free=problem.free.begun_from(solution.values))
    for name in schema.responses:
        assumed = problem.free.mechanism.number(name)
        if not assumed:
            continue
        low, high = range_of(schema.parameters, name.split("."))
        for factor in (1 - OFF, 1 + OFF):
            value = min(max(assumed * factor, low), high)
            effects, anew = _solved(from_here, {**searched, name: value}, BRIEFLY)
            values = {each: each.value(solution.values, effects) for each in problem.constraints}
            broken = {each.text: value for each, value in values.items() if not each.kept(value)}
            brings = [effects.outcome(problem.maximise, each.values) for each in (solution, anew)]
            found.append(Doubt(name, assumed, value, broken, brings[0], anew.found, anew.values, brings[1]))
    return found


def _named(problem: Problem, solution: Solution) -> Mechanism:
    """The mechanism that was found, with a note on each number that was set."""
    free, start = problem.free, problem.free.mechanism
    asked = "; ".join([f"{problem.maximise} is largest", *problem.asked])
    how = "designed" if solution.found else "nearest to a design, of which there is none"
    notes = {
        number.name: (
            number.unit,
            f"{how}{' by a search' if number.name in problem.searched else ''}: {asked}; free from {number.low:g} to"
            f" {number.high:g} in {start.name}",
        )
        for number in free.numbers
    }
    made = free.set(solution.values)
    return replace(
        made,
        title=f"{start.title}, designed",
        description=f"{start.title} with {'designed terms' if solution.found else 'terms nearest to a design'}.",
        name=f"{start.name}_designed",
        path="",
        notes={**start.notes, **notes},
    )


def measured(comparison: xr.DataTree, arm: str, name: str, agent: int = -1) -> float:
    """An outcome (with its element) under an arm of a comparison; or of an agent's incentives, the one of that name."""
    if agent >= 0:
        return float(comparison["agents"].to_dataset()[name].sel(arm=arm).values[agent])
    outcome, _, label = name.partition(".")
    values = comparison["arms"].to_dataset()[escaped(outcome)].sel(statistic="mean", arm=arm)
    labels = itertools.product(*(values[dim].values.tolist() for dim in values.dims))
    place = [".".join(map(str, each)) for each in labels].index(label)
    return float(values.values.reshape(-1)[place])
