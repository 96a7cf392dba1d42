"""What a run comes from: the command as it was given, its seed, versions, the platform, and a hash of every input."""

import hashlib
import importlib.metadata
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bayesalloc import __version__

PACKAGES = ("jax", "jaxlib", "numpyro", "numpy", "scipy", "xarray", "arviz")


class Origin(msgspec.Struct, frozen=True):
    """What a manifest says of where a run comes from.

    Attributes:
        arguments: of the command line, its name the first.
        directory: in which it ran, from the run's folder.
        time: when it began, UTC.
        seed: of its random numbers.
        versions: of Python and packages.
        platform: system, machine, and devices.
        inputs: path as it was given -> SHA-256 of the file before the run.
        modules: other Python files that a model or a mechanism imports -> SHA-256 after the run.
    """

    arguments: list[str]
    directory: str
    time: str
    seed: int
    versions: dict[str, str]
    platform: dict[str, str]
    inputs: dict[str, str]
    modules: dict[str, str] = {}


def begun(target: Path, seed: int) -> Callable[[], dict[str, Any]]:
    """What is known of a run that begins; called when it ends, all of it in types of JSON.

    Args:
        target: the folder of its results.
        seed: of its random numbers.
    """
    arguments, directory = sys.argv[1:], os.path.relpath(Path.cwd(), os.path.realpath(target))
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    inputs = {text: hashed(Path(text)) for text in files_in(arguments)}  # as they are before anything is computed

    def ended() -> dict[str, Any]:
        there = Origin(arguments, directory, when, seed, versions(), devices(), inputs, modules([*inputs]))
        return msgspec.to_builtins(there)

    return ended


def versions() -> dict[str, str]:
    """Of what computes."""
    installed = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"bayesalloc": __version__, "python": platform.python_version(), **installed}


def devices() -> dict[str, str]:
    """The system, the machine, and what JAX computes on."""
    import jax

    kinds = sorted({device.device_kind for device in jax.devices()})
    return {"system": platform.system(), "machine": platform.machine(), "devices": ", ".join(kinds)}


def files_in(arguments: Sequence[str]) -> list[str]:
    """Files that arguments name, each as it is given: see `named_in`.

    >>> files_in(["compare", "no such file"])
    []
    """
    return [text for text in named_in(arguments) if os.path.isfile(text)]


def named_in(arguments: Sequence[str]) -> list[str]:
    """What arguments may name as a file: a text, what follows a `=` or stands between commas, and what is before a `:`.

    >>> named_in(["compare", "my.py:model", "--do=x=1,mechanism=a.toml"])[2:5]
    ['my.py', '--do=x=1,mechanism=a.toml', 'x=1,mechanism=a.toml']
    >>> named_in(["office.policy:0.6,0.4"])[:2]
    ['office.policy:0.6,0.4', 'office.policy']
    """
    texts = [piece.strip() for text in arguments for piece in (text, text.partition("=")[2], *re.split("[=,]", text))]
    return [*dict.fromkeys(part for text in texts for part in (text, _before_colon(text)) if part)]


def _before_colon(text: str) -> str:
    """The file of `path.py:name` or `path.policy:weights`; "" of other texts."""
    found = re.match(r"(.+?\.(?:py|policy)):", text)
    return found.group(1) if found else ""


def modules(inputs: Sequence[str]) -> dict[str, str]:
    """Python files that the inputs' own have imported from beside them, with their hashes."""
    homes = {os.path.realpath(Path(text).parent) for text in inputs if text.endswith(".py")}
    given = {os.path.realpath(text) for text in inputs}
    there = {getattr(module, "__file__", None) for module in [*sys.modules.values()]}
    found = {os.path.realpath(path) for path in there if isinstance(path, str) and path.endswith(".py")}
    beside = sorted(path for path in found - given if any(Path(path).is_relative_to(home) for home in homes))
    outside = [path for path in beside if not _installed(path) and os.path.isfile(path)]
    return {os.path.relpath(path): hashed(Path(path)) for path in outside}


def _installed(path: str) -> bool:
    """Whether a module came with Python, with a package, or with bayesalloc."""
    package = Path(__file__).resolve().parent
    homes = [sys.prefix, sys.base_prefix, package, package.parent / "models"]
    return any(Path(path).is_relative_to(os.path.realpath(home)) for home in homes)


def hashed(file: Path) -> str:
    """The SHA-256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def differences(before: Origin, now: Origin) -> list[str]:
    """What has changed of versions and platform, in sentences."""
    said = []
    for name in ("versions", "platform"):
        old, new = getattr(before, name), getattr(now, name)
        said += [
            f"{part} was {old.get(part, 'not there')} and is {new.get(part, 'not there')}"
            for part in dict.fromkeys([*old, *new])
            if old.get(part) != new.get(part)
        ]
    return said
