"""What a run states: each of its effects as one statement, read from the answer that it left."""

import calendar
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bayesalloc import limits
from bayesalloc.errors import InputError, listed, quoted

FORECAST, ESTIMATE = "forecast", "estimate"
UNSAID = "not stated"  # of a unit
NUMBERS = ("effect", "low", "high", "level", "prob_positive")  # of a statement
SHOWN = 30  # effects that a message lists


class Statement(NamedTuple):
    """One effect, and how it was found.

    Attributes:
        label: `forecast` of what was simulated, by whatever model and given whatever record; `estimate` of what was
            measured in books.
        kind: `interventional`, `counterfactual` or `observational`.
        basis: `prior`, `posterior` or `books`.
        model: by name; of an estimate, the method.
        treatment: what is done.
        control: what is done otherwise.
        outcome: what it moves.
        over: which of its values; "" where it is one.
        unit: of the effect.
        effect: the mean.
        low: the lower end of its interval.
        high: the upper end.
        level: the interval's probability.
        prob_positive: that the effect is above zero.
        made: how much was computed, and what is to be kept in mind.
        when: from when to when the effect is, in UNIX seconds; zeros where the run does not say.
    """

    label: str
    kind: str
    basis: str
    model: str
    treatment: str
    control: str
    outcome: str
    over: str
    unit: str
    effect: float
    low: float
    high: float
    level: float
    prob_positive: float
    made: str
    when: tuple[int, int] = (0, 0)


def read(path: Path, command: str, where: object) -> list[Statement]:
    """The effects that the answer of a run states, in its order; those that are no finite numbers are left out.

    Args:
        path: the answer, as JSON.
        command: which made it.
        where: what a message calls it.

    Raises:
        InputError: where it is none, or of a command that states no effect.
    """
    if command not in _READERS:
        raise InputError(f"{where}: is of '{quoted(command)}', which states no effect; there are {listed(_READERS)}")
    try:
        answer = json.loads(limits.read_text(path, limits.ANSWER_BYTES, "an answer"))
        found = [each for each in _READERS[command](answer) if all(_finite(getattr(each, name)) for name in NUMBERS)]
        plain = [tuple(each._replace(**{name: float(getattr(each, name)) for name in NUMBERS})) for each in found]
        return msgspec.convert(plain, list[Statement])  # its types: an answer may be anybody's
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise InputError(f"{where}: is no answer of '{command}': {quoted(repr(error))}") from None


def _finite(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def chosen(there: Sequence[Statement], treatment: str, outcome: str, where: object) -> Statement:
    """The first statement about a treatment and an outcome; "" stands for any.

    Raises:
        InputError: where there is none.
    """
    for each in there:
        if treatment in ("", each.treatment) and outcome in ("", each.outcome):
            return each
    names = [f"{each.treatment}: {each.outcome}" for each in there]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    asked = ": ".join(quoted(name) for name in (treatment, outcome) if name) or "of any kind"
    raise InputError(f"{where}: states no effect {asked}; there are {listed(names[:SHOWN])}{more}")


def _compared(answer: Mapping[str, Any]) -> list[Statement]:
    period = answer["period"] if answer.get("horizon") else ""
    length = f" over {answer['horizon']} {period}s" if period else ""
    made = f"{answer['draws']} draws of the parameters, {answer['futures']} futures each{length}"
    return [
        Statement(
            FORECAST,
            answer["kind"],
            answer["basis"],
            answer["model"],
            row["treatment"],
            row["control"],
            _label(row["outcome"], row["element"]),
            row["over"] or _at(answer["units"].get(row["outcome"], {}), period, answer.get("horizon")),
            _unit(answer["units"].get(row["outcome"], {})),
            row["ate"],
            row["low"],
            row["high"],
            answer["interval"]["prob"],
            row["prob_positive"],
            made + _warnings(answer),
        )
        for row in answer["effects"]
    ]


def _label(outcome: str, element: Mapping[str, Any] | None) -> str:
    return ".".join([outcome, *map(str, (element or {}).values())])


def _unit(known: Mapping[str, Any]) -> str:
    return known.get("unit") or UNSAID


def _at(known: Mapping[str, Any], period: str, last: Any) -> str:
    """When an outcome is taken: a stock in the last period, a flow as the mean of all."""
    if not period:
        return ""
    return f"in {period} {last}" if known.get("at") == "horizon" else f"mean of the {period}s"


def _warnings(answer: Mapping[str, Any]) -> str:
    return "".join(f"; {warning}" for warning in answer.get("warnings", ()))


def _replayed(answer: Mapping[str, Any]) -> list[Statement]:
    found = []
    for outcome, row in answer["overall"].items():
        periods = [each[answer["period"]] for each in answer["outcomes"][outcome]]
        known = answer["units"].get(outcome) or answer["units"].get(outcome.partition(".")[0], {})
        since, last = answer["from_year"], periods[-1]
        when = _years(since, last) if answer["period"] == "year" else (0, 0)
        found.append(
            Statement(
                FORECAST,
                answer["kind"],
                answer["basis"],
                answer["model"],
                f"{answer['intervention']} from {since} on",
                "what was done",
                outcome,
                f"in {last}" if known.get("at") == "horizon" else f"mean of {since} to {last}",
                _unit(known),
                row["mean"],
                row["low"],
                row["high"],
                answer["interval"]["prob"],
                row["prob_positive"],
                f"{answer['draws']} draws of the posterior, the chance events of the record{_warnings(answer)}",
                when,
            )
        )
    return found


def _years(first: int, last: int) -> tuple[int, int]:
    """The beginning of a year and the end of another in UNIX seconds; zeros where no calendar has them."""
    if not 1 <= first <= last < 9999:
        return (0, 0)
    return calendar.timegm((first, 1, 1, 0, 0, 0)), calendar.timegm((last + 1, 1, 1, 0, 0, 0)) - 1


def _estimated(answer: Mapping[str, Any]) -> list[Statement]:
    treatment, outcome, identified = answer["treatment"], answer["outcome"], answer["identified"]
    done, control, unit = f"{treatment} raised by one", f"{treatment} as it was", f"{outcome} per {treatment}"
    if "probabilities" in answer:
        done, control = (f"{treatment} set to {answer[arm]}" for arm in ("to", "instead_of"))
        outcome, unit = f"probability that {outcome} is {answer['label']}", "1"
    low, high = answer["range"]
    sure = "identified" if identified else f"not identified: between {low:.3g} and {high:.3g} by what is held fixed"
    return [
        Statement(
            ESTIMATE,
            "observational",
            "books",
            answer["method"],
            done,
            control,
            outcome,
            "",
            unit,
            answer["ate"],
            answer["low"],
            answer["high"],
            answer["interval"]["prob"],
            answer["prob_positive"],
            f"{sure}{_warnings(answer)}",
        )
    ]


_READERS: dict[str, Callable[[Mapping[str, Any]], list[Statement]]] = {
    "compare": _compared,
    "counterfactual": _replayed,
    "effect": _estimated,
}
COMMANDS = tuple(_READERS)
