"""A mechanism's design as documents: its terms, whether they keep what was asked, and what they rest on."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group

from bayesalloc.impact.design.affine import FUTURES
from bayesalloc.impact.design.constraints import DEVIATE, REFUSE, Constraint
from bayesalloc.impact.design.designing import OFF, Design, Doubt, Problem, measured
from bayesalloc.impact.design.margins import CAUTION
from bayesalloc.impact.design.searching import Search
from bayesalloc.report import comparison, html, terms
from bayesalloc.report.tables import Sheet, document, for_json
from bayesalloc.report.words import listing, number, percent, top_places, with_unit, words

WHAT = {REFUSE: "the probability of refusing", DEVIATE: "the gain from not complying"}
TERMS = {
    "design": "the quantity as the programme has it, on the random numbers on which the terms were found.",
    "fresh": "the same by a comparison on random numbers that the programme has not seen.",
    "margin": "the least by which the agents' limits are kept, of the largest that there could be half is given up so"
    " that less of what is in force has to change.",
}


def as_json(state: str, problem: Problem, design: Design, files: Mapping[str, str], seed: int) -> dict[str, Any]:
    """The JSON of `bayesalloc optimize ask` on a design."""
    compared = comparison.as_json(design.comparison, files, seed)
    solution, start = design.solution, problem.free.mechanism
    names = [each.name for each in problem.free.numbers]
    return for_json(
        {
            "state": state,
            "mechanism": files["mechanism"],
            "feasible": solution.found,
            "optimal": solution.status == "optimal" and design.search is None,
            "confirmed": _confirmed(problem, design),
            "proof": None
            if design.search
            else {
                "status": solution.status,
                **_answer(problem, design),
                "bound": solution.bound,
                "conflict": [each.text for each in solution.conflict],
            },
            "search": design.search
            and {
                **_answer(problem, design),
                "numbers": problem.searched,
                "points": len(design.search.points),
                "kept": _kept(design.search),
                "so_far": design.search.so_far,
                "missed": {
                    each.text: by for each, by in zip(problem.constraints, design.search.best.missed, strict=True) if by
                },
            },
            "numbers": {
                each.name: {
                    "value": value,
                    "start": problem.free.mechanism.number(each.name),
                    "low": each.low,
                    "high": each.high,
                    "unit": each.unit,
                }
                for each, value in zip(problem.free.numbers, solution.values.tolist(), strict=True)
            },
            "constraints": [
                {
                    "constraint": each.text,
                    "start": measured(design.comparison, start.name, each.name, each.agent),
                    "design": each.value(solution.values, design.effects),
                    "fresh": design.fresh[each.text],
                }
                for each in problem.constraints
            ],
            "outcomes": compared["arms"][design.mechanism.name],
            "effects": [row for row in compared["effects"] if row["treatment"] == design.mechanism.name],
            "agents": {agent: by[design.mechanism.name] for agent, by in compared["agents"].items()},
            "doubts": [
                {**doubt._asdict(), "values": dict(zip(names, doubt.values.tolist(), strict=True))}
                for doubt in design.doubts
            ],
            "files": dict(files),
        }
    )


def _answer(problem: Problem, design: Design) -> dict[str, Any]:
    """What is said of terms however they were found."""
    solution = design.solution
    return {
        "in_words": " ".join(proof(problem, design)),
        "maximise": problem.maximise,
        "value": design.effects.outcome(problem.maximise, solution.values) if solution.found else None,
        "margin": solution.margin,
        "cautious": solution.cautious,
        "draws": problem.draws,
        "futures": FUTURES,
    }


def _kept(search: Search) -> int:
    """At how many points what is asked could be kept."""
    return sum(point.solution.found for point in search.points)


def write(problem: Problem, design: Design, folder: Path, seed: int) -> None:
    """Writes the mechanism file and the page: the design, then its effects beside the mechanisms that there are."""
    (folder / f"{design.mechanism.name}.toml").write_text(terms.toml(design.mechanism, problem.free.schema), "utf-8")
    comparison.write(design.comparison, folder / "report.html", seed, first=_section(problem, design))


def text(problem: Problem, design: Design) -> Group:
    """A design for the terminal."""
    return document(sentences(problem, design), sheets(problem, design, str))


def sentences(problem: Problem, design: Design) -> list[str]:
    """What was found, whether it holds on fresh random numbers, and what it rests on."""
    found, start = proof(problem, design), problem.free.mechanism.name
    if not design.solution.found:
        return found
    if design.solution.margin > 0 and problem.linear.numbers:
        margin = with_unit(number(design.solution.margin), _unit(problem))
        found.append(f"The agents' limits could be kept by up to {margin}; half of it is given up to change less.")
    broken = [_said(problem, each, design.fresh[each.text]) for each in problem.constraints if not _fresh(design, each)]
    if broken:
        found.append(f"On fresh random numbers {listing(broken)}: the design is too close to its limits.")
    elif problem.constraints:
        found.append("On fresh random numbers they keep all that was asked, too.")
    before, now = (measured(design.comparison, arm, problem.maximise) for arm in (start, design.mechanism.name))
    digits = top_places([before, now]) + 1
    unit = with_unit(number(now, digits), _outcome_unit(problem))
    found.append(f"There, {words(problem.maximise)} is {unit}, under {start} {number(before, digits)}.")
    fragile = [doubt for doubt in design.doubts if doubt.broken]
    for doubt in fragile:
        said = [
            _said(problem, each, doubt.broken[each.text]) for each in problem.constraints if each.text in doubt.broken
        ]
        found.append(f"They would break with {_case(doubt)}: {listing(said)}.")
    if design.doubts:
        others = "in all other cases" if fragile else "in every case"
        found.append(f"If a response is {100 * OFF:.0f} % less or more than assumed, they are kept {others}.")
    lost = [_case(doubt) for doubt in design.doubts if not doubt.found]
    if lost:
        found.append(f"No terms would be found with {listing(lost)}.")
    if design.doubts and design.search:
        found.append(f"Terms anew are sought with the same {listing(design.search.names)}.")
    return found


def _case(doubt: Doubt) -> str:
    return f"{doubt.number} {number(doubt.value)} instead of {number(doubt.assumed)}"


def proof(problem: Problem, design: Design) -> list[str]:
    """What the programme proves, or the search found, in words."""
    if design.search:
        return _found(problem, design, design.search)
    solution, unit = design.solution, _unit(problem)
    within = f"within the ranges of the {len(problem.free.numbers)} free numbers, in {problem.draws} draws"
    if solution.status == "infeasible":
        conflict = [_asked(each) for each in solution.conflict]
        least = ""
        if len(conflict) == 1 and not solution.conflict[0].chance:
            only = solution.conflict[0]
            constant, slope = only.function(design.effects)
            extreme = number(only.sign * float(constant - problem.free.best(-slope)))
            least = f"; it is at {'least' if only.sign > 0 else 'most'} {extreme}"
        found = [f"There are no such terms: {within}, it cannot be that {listing(conflict)}{least}."]
        if len(conflict) > 1:
            found.append("They are in each other's way: without any one of them, the others could be kept.")
        if all(each.private for each in problem.constraints):
            found.append(
                f"The nearest terms miss by {with_unit(number(-solution.margin), unit)}; they are in the file."
            )
        return found
    if not solution.found:
        return [f"Undecided: the time was over before terms were found, or shown not to be there, {within}."]
    value = design.effects.outcome(problem.maximise, solution.values)
    _, slope = design.effects.outcomes[problem.maximise]
    size = with_unit(number(value), _outcome_unit(problem))
    if not slope.any():
        found = [f"There are such terms, and {words(problem.maximise)} is {size} under all of them: it does not move."]
    elif solution.status == "optimal":
        found = [f"{words(problem.maximise).capitalize()} is {size}, and no terms could bring more {within}."]
    else:
        found = [f"{words(problem.maximise).capitalize()} is {size}; more than {number(solution.bound)} cannot be."]
    return [*found, *_care(problem, design)]


def _care(problem: Problem, design: Design) -> list[str]:
    if design.solution.cautious or not any(each.private for each in problem.constraints):
        return []
    none = "Of the points tried none has terms that" if design.search else "No terms"
    return [f"{none} keep {CAUTION:g} standard errors from the limits: chance may carry these over them."]


def _found(problem: Problem, design: Design, search: Search) -> list[str]:
    """What a search found, which proves nothing."""
    names = [f"{name} ({why})" for name, why in problem.searched.items()]
    solved = "; at each, a programme found the best of the other numbers" if problem.linear.numbers else ""
    tried = f"{len(search.points)} points"
    how = f"A Gaussian process searched {listing(names)}: {tried} were tried in {problem.draws} draws{solved}."
    if not design.solution.found:
        missed = [
            _said(problem, each, each.value(design.solution.values, design.effects))
            for each, by in zip(problem.constraints, search.best.missed, strict=True)
            if by
        ]
        none = f"None was found among {tried} that keeps what was asked, which is no proof that there is none."
        nearest = f"At the nearest, whose terms are in the file, {listing(missed)}." if missed else ""
        return [none, *([nearest] if nearest else []), how]
    value = design.effects.outcome(problem.maximise, design.solution.values)
    size = with_unit(number(value), _outcome_unit(problem))
    kept = f", of which {_kept(search)} could keep what was asked" if problem.constraints else ""
    best = f"{words(problem.maximise).capitalize()} is {size}, the most among {tried}{kept}; more is not ruled out."
    return [best, how, *_care(problem, design)]


def sheets(problem: Problem, design: Design, name: Any) -> list[Sheet]:
    """The terms, what was asked of them, and how they move."""
    solution, free, search = design.solution, problem.free, design.search
    rows = []
    for each, value in zip(free.numbers, solution.values, strict=True):
        before = free.mechanism.number(each.name)
        was = number(before) if before is not None else "-"
        rows.append([name(each.name), number(value), was, f"{each.low:g} to {each.high:g}", each.unit])
    found = [Sheet("Terms", ["number", "design", free.mechanism.name, "free", "unit"], rows)]
    rows = []
    for each in problem.constraints:
        values = (
            measured(design.comparison, free.mechanism.name, each.name, each.agent),
            each.value(solution.values, design.effects),
            design.fresh[each.text],
        )
        rows.append([each.text, *(_shown(problem, each, value) for value in values)])
    found += [Sheet("What was asked", ["constraint", free.mechanism.name, "design", "fresh"], rows)] if rows else []
    found += [_steps(problem, search, name)] if search and solution.found else []
    if design.doubts:
        rows = []
        places = top_places(doubt.objective for doubt in design.doubts)
        for doubt in design.doubts:
            change = abs(doubt.values - solution.values) / (free.high - free.low)
            most = int(change.argmax())
            moved = f"{name(free.numbers[most].name)} {number(doubt.values[most])}" if change[most] else "the same"
            broken = f"break {len(doubt.broken)} of {len(problem.constraints)}" if doubt.broken else "kept"
            anew = moved if doubt.found else "none"
            label = f"{name(doubt.number)} {number(doubt.value)}"
            rows.append([label, broken, anew, number(doubt.objective, places)])
        header = ["response", "these terms", "terms anew", words(problem.maximise)]
        found.append(Sheet(f"If people respond by {100 * OFF:.0f} % otherwise", header, rows, keys=3))
    return found


def _steps(problem: Problem, search: Search, name: Any) -> Sheet:
    """The points at which the best so far was found."""
    rows, so_far = [], search.so_far
    places = top_places(value for value in so_far if value is not None) + 1
    for i, (point, best) in enumerate(zip(search.points, so_far, strict=True)):
        if best is not None and (not i or best != so_far[i - 1]):
            rows.append([str(i + 1), *map(number, point.searched), number(best, places)])
    return Sheet("The best so far", ["point", *map(name, search.names), words(problem.maximise)], rows)


def _section(problem: Problem, design: Design) -> Iterator[str]:
    yield html.section("The design")
    yield html.answer(sentences(problem, design), [], bad=not _confirmed(problem, design))
    for sheet in sheets(problem, design, words):
        yield html.table(sheet)
    yield html.terms(TERMS)
    yield html.section("Its effects, on fresh random numbers")


def _confirmed(problem: Problem, design: Design) -> bool:
    """Whether the design keeps what was asked on fresh random numbers."""
    return design.solution.found and all(_fresh(design, each) for each in problem.constraints)


def _fresh(design: Design, constraint: Constraint) -> bool:
    """Whether a constraint is kept on fresh random numbers."""
    return constraint.kept(design.fresh[constraint.text])


def _outcome_unit(problem: Problem) -> str:
    return problem.env.outcomes[problem.maximise.split(".")[0]].unit


def _unit(problem: Problem) -> str:
    return problem.env.outcomes[problem.env.payoff].unit if problem.env.payoff else ""


def _shown(problem: Problem, constraint: Constraint, value: float) -> str:
    return percent(value, problem.draws) if constraint.chance else number(value)


def _said(problem: Problem, constraint: Constraint, value: float) -> str:
    return f"{_quantity(constraint)} is {_shown(problem, constraint, value)}"


def _quantity(constraint: Constraint) -> str:
    agent = constraint.text.partition("<=")[0].partition(".")[2]
    return f"{WHAT[constraint.name]} of {words(agent)}" if constraint.private else words(constraint.name)


def _asked(constraint: Constraint) -> str:
    """A constraint in words."""
    bound = constraint.sign * constraint.bound
    limit = f"{100 * bound:g} %" if constraint.chance else f"{bound:g}"
    return f"{_quantity(constraint)} is at {'most' if constraint.sign > 0 else 'least'} {limit}"


def question(problem: Problem) -> tuple[list[str], Sequence[Sheet]]:
    """What is asked, for `start` and `show`: sentences and tables."""
    free = problem.free
    said = [
        f"{problem.env.name}: terms are to be designed, from {free.mechanism.name}, under which"
        f" {words(problem.maximise)} is largest{f', subject to {listing(problem.asked)}' if problem.asked else ''}.",
    ]
    if problem.searched:
        names = [f"{name} ({why})" for name, why in problem.searched.items()]
        said.append(f"A Gaussian process is to search {listing(names)}; payoffs are linear in all other free numbers.")
    else:
        said.append("Payoffs are linear in every free number, and none enters the dynamics.")
    rows = [[each.name, number(each.low), number(each.high), number(each.start), each.unit] for each in free.numbers]
    return said, [Sheet("Free", ["number", "from", "to", "now", "unit"], rows)]


def question_json(state: str, problem: Problem, files: Mapping[str, str]) -> dict[str, Any]:
    """The same as JSON."""
    return for_json(
        {
            "state": state,
            "model": problem.env.name,
            "start": problem.free.mechanism.name,
            "maximise": problem.maximise,
            "constraints": [each.text for each in problem.constraints],
            "free": {each.name: [each.low, each.high] for each in problem.free.numbers},
            "searched": problem.searched,
            "draws": problem.draws,
            "horizon": problem.horizon,
            "seed": problem.seed,
            "files": dict(files),
        }
    )
