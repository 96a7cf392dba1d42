"""What the texts on the command line stand for: interventions, and files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bayesalloc import limits
from bayesalloc.errors import InputError

SHOWN = 200  # characters of an option that a message repeats

# What NumPyro's distributions raise where they are given what they cannot take: it depends on the distribution.
REFUSALS = (TypeError, ValueError, AssertionError, AttributeError, NotImplementedError)


def interventions(
    mechanisms: Sequence[str] | None, do: Sequence[str] | None, *, environment: bool, baseline: str | None
) -> Any:
    """The arms that the options ask for, in the forms that `effects.compare` takes; None for the model's own.

    Args:
        mechanisms: names or paths.
        do: an arm each, as in `sites`.
        environment: whether the model is one, with mechanisms.
        baseline: the arm to measure against; without one, a single `do` is measured against no intervention.

    Raises:
        InputError: where two arms have the same name, or one is not of that form.
    """
    if not do:
        return mechanisms
    from bayesalloc.checking import label

    arms: dict[str, Any] = {}
    for name in mechanisms or ():
        before = arms.setdefault(label(name), {"mechanism": name})["mechanism"]
        if before != name or list(mechanisms or ()).count(name) > 1:
            raise InputError(f"--mechanisms gives two mechanisms of the same name: {before} and {name}")
    for text in do:
        fixed = sites(text)
        name = text
        if environment and "mechanism" in fixed:  # a label, also where it looks like a number
            fixed["mechanism"] = str(fixed["mechanism"])
            name = label(fixed["mechanism"]) if len(fixed) == 1 else text
        if name in arms:
            raise InputError(f"--do '{text}': there is an arm '{name}' already")
        arms[name] = fixed
    if len(arms) == 1 and baseline is None:
        arms = {"as it is": {}, **arms}
    return arms


def sites(text: str) -> dict[str, Any]:
    """What `a=1,b=[1,2],c+=1,"d=Normal(0, 1)",mechanism=name` sets; commas inside brackets belong to a value.

    `c+=1` moves the value that a site would have had, and a NumPyro distribution by name with numbers draws it.

    Raises:
        InputError: where it is not of that form, or a value is none of these.

    >>> sites("forest=[1,2],mechanism=trading")
    {'forest': array([1, 2]), 'mechanism': 'trading'}
    """
    given: dict[str, Any] = {}
    for part in _parts(text):
        site, equals, value = (piece.strip() for piece in part.partition("="))
        moved = site.endswith("+")
        site = site.removesuffix("+").strip()
        if not equals or not site or not value or (moved and site == "mechanism"):
            raise InputError(f"--do '{text}': is not of the form SITE=VALUE")
        if site in given:
            raise InputError(f"--do '{text}': gives '{site}' twice")
        try:
            given[site] = value if site == "mechanism" else _setting(value, moved=moved)
        except InputError as error:
            raise InputError(f"--do '{text if len(text) < SHOWN else text[:SHOWN] + '...'}': {error}") from None
    return given


def _setting(value: str, *, moved: bool) -> Any:
    """What a site is set to: a number, numbers, or a distribution; moved by numbers where `moved`."""
    from bayesalloc.intervene import Shift

    number = _number(value)
    if number is not None:
        return Shift(number) if moved else number
    if moved or not value.endswith(")") or not value.partition("(")[0].isidentifier():
        raise InputError(f"'{value}' is not a number or a list of numbers")
    return _distribution(value)


def _parts(text: str) -> list[str]:
    """A text at its commas outside brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += {"[": 1, "]": -1, "(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _number(value: str) -> Any:
    """A number or array of numbers, or None where it is neither."""
    import numpy as np

    try:
        array = np.asarray(json.loads(value))
    except RecursionError:
        raise InputError("its brackets are nested too deeply") from None
    except ValueError:
        return None
    if array.dtype.kind not in "biuf":
        return None
    if not (np.isfinite(array) & (np.abs(array.astype(float)) <= limits.LARGEST)).all():
        raise InputError(f"{value} is not a finite number, or beyond {limits.LARGEST:g}")
    return array


def _distribution(value: str) -> Any:
    """The NumPyro distribution that `Normal(1, 0.2)` names: looked up, never evaluated."""
    from numpyro import distributions

    name, _, inside = value.removesuffix(")").partition("(")
    kind: Any = getattr(distributions, name, None) if name in distributions.__all__ and name[0].isupper() else None
    if kind is None:
        raise InputError(f"NumPyro has no distribution '{name}'")
    places, names = [], {}
    for part in _parts(inside) if inside.strip() else []:
        label, equals, number = (piece.strip() for piece in part.rpartition("="))
        parsed = _number(number)
        if parsed is None:
            raise InputError(f"'{number}' in {name}(...) is not a number or a list of numbers")
        if equals:
            names[label] = parsed
        else:
            places.append(parsed)
    try:
        made = kind(*places, **names, validate_args=True)
        if made.support is not None:
            return made
        raise ValueError("it says not what values it takes")
    except REFUSALS as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "its numbers do not fit"
        raise InputError(f"{name} cannot be made of these numbers: {reason}") from None


def open_posterior(path: Path) -> Any:
    """The posterior in a file, which is the one that its run folder's manifest means.

    Raises:
        InputError: where it is not; see `bayesalloc.inference.files.open_posterior`.
    """
    from bayesalloc import runs
    from bayesalloc.inference import files

    runs.check(path)
    return files.open_posterior(path)
