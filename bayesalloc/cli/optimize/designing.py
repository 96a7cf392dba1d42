"""`bayesalloc optimize` on a mechanism: the options of `start`, and what `start`, `ask` and `show` do with a design."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclopts import Parameter

from bayesalloc import defaults, limits
from bayesalloc.cli.options import Names, Texts, Whole
from bayesalloc.errors import InputError


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What `start` takes of a design."""

    free: Texts = None
    """NUMBER=LOW:HIGH, a number of a mechanism's file that may be set, and between what (for every agent where it is a
    table); repeated. What there is `bayesalloc mechanisms --fields MODEL` lists."""
    maximise: str | None = None
    "The outcome that is to be as large as can be, with its element where it has some: payoff.expert."
    subject_to: Names = None
    """What must be kept: would_refuse<=0.05 and deviation_gain<=0 (of every agent; of one: would_refuse.expert<=0.05),
    or bounds on outcomes (social_welfare>=200)."""
    mechanisms: str | None = None
    "The mechanism to begin from, by name or path; default: the model's baseline."
    draws: Whole | None = None
    "How many draws of the parameters; default: 500."
    horizon: Whole | None = None
    "How many periods; default: 20."


def start(model: str, given: Options, state: Path, seed: int, say: Any, files: dict[str, str]) -> None:
    """Begin a design: a state file with its question, and which of its numbers have to be searched."""
    draws = defaults.COMPARED_DRAWS if given.draws is None else given.draws
    horizon = defaults.HORIZON if given.horizon is None else given.horizon
    limits.counted(draws=draws, horizon=horizon)
    if given.maximise is None:
        raise InputError("--maximise is missing: say which outcome a design is to make as large as can be")

    from bayesalloc.impact.design import state as design_state
    from bayesalloc.impact.files import create

    new = design_state.begun(
        model,
        given.mechanisms,
        ranges(given.free or ()),
        given.maximise,
        given.subject_to or [],
        draws=draws,
        horizon=horizon,
        seed=seed,
    )
    create(state, new)
    _say(state, new, say, files)


def ask(state: Path, say: Any, folder: Any) -> None:
    """The design, as a mechanism file with its effects."""
    from bayesalloc.impact.design import designing, state as design_state
    from bayesalloc.inference.files import save_tree
    from bayesalloc.report import design as documents

    problem = design_state.load(state).question.problem()
    found = designing.designed(problem)
    files = folder.files("report.html", "results.nc", mechanism=f"{found.mechanism.name}.toml")
    found.comparison.attrs["seed"] = problem.seed
    save_tree(found.comparison, folder.path / "results.nc")
    documents.write(problem, found, folder.path, problem.seed)
    say(documents.text(problem, found), documents.as_json(str(state), problem, found, files, problem.seed))


def show(state: Path, say: Any, files: dict[str, str]) -> None:
    """The question of a design."""
    from bayesalloc.impact.design import state as design_state

    _say(state, design_state.load(state), say, files)


def _say(state: Path, known: Any, say: Any, files: dict[str, str]) -> None:
    from bayesalloc.report import design as documents
    from bayesalloc.report.tables import document

    problem = known.question.problem()
    say(document(*documents.question(problem)), documents.question_json(str(state), problem, files))


def is_design(state: Path) -> bool:
    """Whether a state file is one of a design."""
    from bayesalloc.impact.files import DESIGN, read

    return read(state)["format"] == DESIGN


def ranges(texts: Any) -> dict[str, tuple[float, float]]:
    """What `market.price=0:0.02` says, by name.

    Raises:
        InputError: where a text is not of that form.

    >>> ranges(["market.price=0:0.02"])
    {'market.price': (0.0, 0.02)}
    """
    found: dict[str, tuple[float, float]] = {}
    for text in texts:
        name, equals, span = text.rpartition("=")
        low, colon, high = span.partition(":")
        try:
            ends = (float(low), float(high)) if name and equals and colon else (math.nan, math.nan)
        except ValueError:
            ends = (math.nan, math.nan)
        if not all(map(math.isfinite, ends)) or name in found:
            raise InputError(f"--free '{text[:100]}': is not NUMBER=LOW:HIGH with two numbers, each name once")
        found[name] = ends
    return found
