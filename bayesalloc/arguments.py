"""What the texts on the command line stand for: interventions, and files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bayesalloc import limits
from bayesalloc.errors import InputError


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
    arms: dict[str, Any] = {}
    for name in mechanisms or ():
        before = arms.setdefault(Path(name).stem, {"mechanism": name})["mechanism"]
        if before != name or list(mechanisms or ()).count(name) > 1:
            raise InputError(f"--mechanisms gives two mechanisms of the same name: {before} and {name}")
    for text in do:
        fixed = sites(text)
        name = text
        if environment and "mechanism" in fixed:  # a label, also where it looks like a number
            fixed["mechanism"] = str(fixed["mechanism"])
            name = Path(fixed["mechanism"]).stem if len(fixed) == 1 else text
        if name in arms:
            raise InputError(f"--do '{text}': there is an arm '{name}' already")
        arms[name] = fixed
    if len(arms) == 1 and baseline is None:
        arms = {"as it is": {}, **arms}
    return arms


def sites(text: str) -> dict[str, Any]:
    """What `a=1,b=[1,2],mechanism=name` fixes; commas inside brackets belong to a value.

    Raises:
        InputError: where it is not of that form, or a value is not a number or a list of numbers.

    >>> sites("forest=[1,2],mechanism=trading")
    {'forest': array([1, 2]), 'mechanism': 'trading'}
    """
    import numpy as np

    fixed: dict[str, Any] = {}
    parts, depth = [""], 0
    for letter in text:
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    for part in parts:
        site, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not site or not value:
            raise InputError(f"--do '{text}': is not of the form SITE=VALUE")
        if site in fixed:
            raise InputError(f"--do '{text}': gives '{site}' twice")
        try:
            array = np.asarray(json.loads(value))
        except RecursionError:
            raise InputError(f"--do '{text[:60]}...': its brackets are nested too deeply") from None
        except ValueError:
            array = np.asarray(value)
        number = np.issubdtype(array.dtype, np.number) or array.dtype == bool
        if site != "mechanism" and not number:
            raise InputError(f"--do '{text}': '{value}' is not a number or a list of numbers")
        if number and not (np.isfinite(array) & (np.abs(array) <= limits.LARGEST)).all():
            raise InputError(
                f"--do '{text}': {site} is {array.tolist()}; it must be finite, at most {limits.LARGEST:g}"
            )
        fixed[site] = array if number else value
    return fixed


def open_posterior(path: Path) -> Any:
    """The posterior in a file, which is the one that its run folder's manifest means.

    Raises:
        InputError: where it is not; see `bayesalloc.inference.files.open_posterior`.
    """
    from bayesalloc import runs
    from bayesalloc.inference import files

    runs.check(path)
    return files.open_posterior(path)
