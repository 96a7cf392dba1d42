"""A setting of what is simulated, as a TOML file that names only what differs from a default."""

import dataclasses
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bayesalloc import limits
from bayesalloc.errors import InputError, listed, quoted

LARGEST = 2**16  # bytes of its file


def read_setting[Setting](
    path: str | Path, default: Setting, check: Callable[[Setting], None] = lambda setting: None
) -> Setting:
    """The setting in a TOML file, whose fields are those of the default; what it does not name is as there.

    Args:
        path: the file.
        default: a frozen dataclass.
        check: refuses what cannot be.

    Raises:
        InputError: naming the file, the field, and what is allowed.
    """
    path, kind = Path(path), type(default)
    text = limits.read_text(path, LARGEST, "a setting", "utf-8-sig")
    try:
        given = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also for a whole number of too many digits
        raise InputError(f"{path}: is not TOML: {quoted(error)}") from None
    usual: dict[str, Any] = dataclasses.asdict(default)  # pyright: ignore[reportArgumentType] it is a dataclass
    if strange := set(given) - set(usual):
        raise InputError(f"{path}: has unknown fields {quoted(listed(strange))}; a setting has {listed(usual)}")
    if empty := [name for name, value in given.items() if value == []]:
        raise InputError(f"{path}: {listed(empty)} must have at least one number")
    try:
        setting = msgspec.convert({**usual, **given}, kind)
        check(setting)
    except (msgspec.ValidationError, InputError) as error:
        raise InputError(f"{path}: {quoted(error)}") from None
    return setting
