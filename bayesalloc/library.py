"""Finds models and mechanisms by name or by path, and loads a user's own files the same way."""

import functools
import importlib
import importlib.util
import sys
import tomllib
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import bayesalloc
from bayesalloc.checking import checked, known_arms
from bayesalloc.environment import Environment
from bayesalloc.errors import InputError, listed
from bayesalloc.following import Model
from bayesalloc.mechanism import Mechanism, Rules, parse_mechanism


def content(folder: str) -> Path:
    """The folder of shipped content: `models` or `mechanisms`, in a wheel or in a checkout."""
    for root in bayesalloc.__path__:
        if (Path(root) / folder).is_dir():
            return Path(root) / folder
    raise FileNotFoundError(f"bayesalloc was installed without its folder '{folder}'")


def available(folder: str) -> list[str]:
    """Names of what is shipped in a folder.

    >>> available("mechanisms")
    ['cost_sharing', 'credit_trading', 'no_agreement', 'performance_contract']
    """
    files = [*content(folder).glob("*.toml"), *content(folder).glob("*.py")]
    return sorted(file.stem for file in files if not file.stem.startswith("_"))


def load_mechanism(name_or_path: str | Path) -> Mechanism:
    """A mechanism by its shipped name, or by the path of a TOML or Python file.

    Raises:
        InputError: for a name that is not shipped, a missing or unreadable file, or a field that is not allowed.

    >>> load_mechanism("cost_sharing").incentive.modifier
    1.0
    """
    path = _path(name_or_path, "mechanisms", ".toml")
    if path.suffix == ".py":
        module = _run(path)
        if not isinstance(getattr(module, "parameters", None), dict):
            raise InputError(f"{path}: a Python mechanism defines `parameters`, a dict with the fields of a TOML one")
        own = {name: _guarded(getattr(module, name), path) for name in Rules._fields if hasattr(module, name)}
        return parse_mechanism(module.parameters, path, Rules(**own))
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a valid TOML file: {error}") from None
    return parse_mechanism(table, path)


def load_model(name_or_path: str | Path) -> Environment | Model:
    """An environment by its shipped name, or a model by the path of a Python file.

    The file defines `environment` (an Environment) or `model` (a plain NumPyro model function); `path.py:name` picks
    another name.

    Raises:
        InputError: for a name that is not shipped, a missing file, a file that raises or defines neither, or an
            environment whose parts do not fit together.

    >>> load_model("watershed").name
    'watershed'
    """
    text, _, attribute = str(name_or_path).partition(".py:")
    if attribute:
        name_or_path = f"{text}.py"
    path = _path(name_or_path, "models", ".py")
    shipped = path.parent == content("models")
    module = importlib.import_module(f"bayesalloc.models.{path.stem}") if shipped else _run(path)
    for name in (attribute,) if attribute else ("environment", "model"):
        found: Any = getattr(module, name, None)
        if isinstance(found, Environment):
            if shipped:
                return known_arms(found)
            own = {part: _guarded(value, path) for part, value in found._asdict().items() if callable(value)}
            try:
                return checked(found._replace(**own))
            except InputError as error:
                raise error if str(path) in str(error) else InputError(f"{path}: {error}") from error
        if callable(found):
            return _guarded(found, path)
    raise InputError(f"{path}: defines no '{attribute or 'environment'}'" + ("" if attribute else " and no 'model'"))


def _path(name_or_path: str | Path, folder: str, ending: str) -> Path:
    text = str(name_or_path)
    shipped = content(folder) / f"{text}{ending}"
    if text in available(folder) and shipped.is_file():
        return shipped
    path = Path(text)
    if path.suffix not in (".py", ".toml"):
        raise InputError(
            f"no {folder[:-1]} is called '{text}'; shipped are {listed(available(folder))}, or give a path"
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return path


def _run(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bayesalloc_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _raised(path, error) from error
    return module


def _guarded(model: Model, path: Path) -> Model:
    """The user's model; what it raises when it runs is reported as the file's fault, with the line."""

    @functools.wraps(model)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return model(*args, **kwargs)
        except InputError:
            raise
        except Exception as error:
            raise _raised(path, error) from error

    return guarded


def _same(filename: str, path: Path) -> bool:
    return Path(filename).resolve() == path.resolve()


def _raised(path: Path, error: Exception) -> InputError:
    """Whatever a user's file raises is the user's to read, in one sentence."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if _same(frame.filename, path)]
    where = f", line {lines[-1]}" if lines else ""
    first = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
    return InputError(f"{path}{where}: raised {type(error).__name__}: {first}")
