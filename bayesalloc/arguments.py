"""What the texts on the command line stand for: interventions, and files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    arms: dict[str, Any] = {Path(name).stem: {"mechanism": name} for name in mechanisms or ()}
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
    """What `a=1,b=[1,2],c+=1,"d=Normal(0, 1)",mechanism=name` sets; commas inside brackets belong to a value.

    `c+=1` moves the value that a site would have had, and a NumPyro distribution by name with numbers draws it.

    Raises:
        InputError: where it is not of that form, or a value is none of these.

    >>> sites("forest=[1,2],mechanism=trading")
    {'forest': array([1, 2]), 'mechanism': 'trading'}
    """
    from bayesalloc.intervene import Shift

    given: dict[str, Any] = {}
    for part in _parts(text):
        site, equals, value = (piece.strip() for piece in part.partition("="))
        moved = site.endswith("+")
        site = site.removesuffix("+").strip()
        if not equals or not site or not value or (moved and site == "mechanism"):
            raise InputError(f"--do '{text}': is not of the form SITE=VALUE")
        if site in given:
            raise InputError(f"--do '{text}': gives '{site}' twice")
        if site == "mechanism":
            given[site] = value
            continue
        number = _number(value)
        if moved and number is not None:
            given[site] = Shift(number)
        elif number is not None:
            given[site] = number
        elif not moved and value.endswith(")") and value.partition("(")[0].isidentifier():
            given[site] = _distribution(text, value)
        else:
            raise InputError(f"--do '{text}': '{value}' is not a number or a list of numbers")
    return given


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
    except (ValueError, RecursionError):
        return None
    return array if array.dtype.kind in "biuf" else None


def _distribution(text: str, value: str) -> Any:
    """The NumPyro distribution that `Normal(1, 0.2)` names: looked up, never evaluated."""
    from numpyro import distributions

    name, _, inside = value.removesuffix(")").partition("(")
    kind: Any = getattr(distributions, name, None) if name in distributions.__all__ and name[0].isupper() else None
    if kind is None:
        raise InputError(f"--do '{text}': NumPyro has no distribution '{name}'")
    places, names = [], {}
    for part in _parts(inside) if inside.strip() else []:
        label, equals, number = (piece.strip() for piece in part.rpartition("="))
        parsed = _number(number)
        if parsed is None:
            raise InputError(f"--do '{text}': '{number}' in {name}(...) is not a number or a list of numbers")
        if equals:
            names[label] = parsed
        else:
            places.append(parsed)
    try:
        return kind(*places, **names, validate_args=True)
    except (TypeError, ValueError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "its numbers do not fit"
        raise InputError(f"--do '{text}': {name} cannot be made of these numbers: {reason}") from None


def open_posterior(path: Path) -> Any:
    """The posterior in a file of `bayesalloc fit`, as a DataTree with the file's name among its attributes.

    Raises:
        InputError: where the file is none.
    """
    import xarray as xr

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            loaded = tree.load()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a netCDF file from `bayesalloc fit`: {error}") from None
    if "posterior" not in loaded.children:
        raise InputError(f"{path}: has no group 'posterior'; give the posterior.nc of `bayesalloc fit`")
    loaded.attrs["file"] = str(path)
    return loaded
