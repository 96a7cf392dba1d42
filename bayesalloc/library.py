"""Finds models and mechanisms by name or by path, and loads a user's own files the same way."""

import contextlib
import functools
import importlib
import importlib.util
import os
import sys
import tomllib
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

import bayesalloc
from bayesalloc import limits
from bayesalloc.checking import checked, known_arms
from bayesalloc.environment import Environment, schema_of
from bayesalloc.errors import InputError, listed
from bayesalloc.following import Model
from bayesalloc.mechanism import Mechanism, Schema, model_of, of_model, parse_mechanism


class Label(str):
    """A mechanism's name as data state it: a shipped name at most, and never the path of a file to be opened."""


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


def describe(model: str) -> str:
    """What a shipped model is: the first line of its file.

    >>> describe("watershed")
    'A watershed shared by five stakeholders, under an incentive mechanism.'
    """
    text = (content("models") / f"{model}.py").read_text(encoding="utf-8")
    return text.split('"""')[1].strip().splitlines()[0]


def about(model: Environment | Model) -> dict[str, Any]:
    """What an environment is about: its name and period, and by name its outcomes, actions and columns of records.

    Raises:
        InputError: for a plain model, which does not say.
    """
    if not isinstance(model, Environment):
        raise InputError(
            "a plain model does not say what it is about: its outcomes are its sites, its columns keywords"
        )
    better = {
        name: f", {outcome.better} is better" if outcome.better else "" for name, outcome in model.outcomes.items()
    }
    each = {name: "".join(f", for each {dim}" for dim in outcome.dims) for name, outcome in model.outcomes.items()}
    return {
        "name": model.name,
        "period": model.period,
        "outcomes": {name: f"[{it.unit}]{each[name]}{better[name]}" for name, it in model.outcomes.items()},
        "actions": dict.fromkeys(model.arms(None), ""),
        "columns": dict(model.columns),
    }


def load_mechanism(name_or_path: str | Path | Mechanism, environment: Environment | Schema | None = None) -> Mechanism:
    """A mechanism by its shipped name, or by the path of a TOML or Python file; one that is loaded stays as it is.

    Args:
        name_or_path: which.
        environment: whose mechanism it is, or the schema of its mechanisms; None: the shipped model that the file
            names. A file never names code: one of a model of your own is read with its environment.

    Raises:
        InputError: for a name that is not shipped, a missing or unreadable file, a mechanism of another model, or a
            field that is not allowed.

    >>> load_mechanism("cost_sharing").parameters.incentive.modifier
    1.0
    """
    schema = schema_of(environment) if isinstance(environment, Environment) else environment
    if isinstance(name_or_path, Mechanism):
        return name_or_path if schema is None else of_model(name_or_path, schema)
    path = _path(name_or_path, "mechanisms", ".toml", "" if schema is None else schema.model)
    table, module = _table(path)
    schema = schema or _shipped_schema(model_of(table), path)
    rules = {name: _guarded(getattr(module, name), path) for name in schema.rules if hasattr(module, name)}
    return parse_mechanism(table, path, schema, rules)


def _shipped_schema(model: Any, path: Path) -> Schema:
    """The schema of the shipped model that a mechanism file names."""
    found = load_model(model) if isinstance(model, str) and model in available("models") else None
    if isinstance(found, Environment) and found.mechanism is not None:
        return found.mechanism
    raise InputError(
        f"{path}: is a mechanism of the model {str(model)[:60]!r}, which is none that is shipped with mechanisms of its"
        " own: load it with its environment"
    )


def _table(path: Path) -> tuple[dict[str, Any], ModuleType | None]:
    """What a mechanism file states, and the module where it is a Python file."""
    if path.suffix == ".py":
        module = _run(path)
        if not isinstance(getattr(module, "parameters", None), dict):
            raise InputError(f"{path}: a Python mechanism defines `parameters`, a dict with the fields of a TOML one")
        return module.parameters, module
    text = limits.read_text(path, limits.TEXT_BYTES, "a mechanism")
    try:
        return tomllib.loads(text), None
    except ValueError as error:  # also a number of thousands of digits
        raise InputError(f"{path}: not a valid TOML file: {error}") from None
    except RecursionError:
        raise InputError(f"{path}: its tables or lists are nested too deeply; {limits.NESTED} are allowed") from None


def shipped_mechanisms(model: str) -> list[str]:
    """Names of the mechanisms of a model that are shipped.

    >>> shipped_mechanisms("watershed")
    ['cost_sharing', 'credit_trading', 'no_agreement', 'performance_contract']
    """
    return [
        name for name in available("mechanisms") if model_of(_table(content("mechanisms") / f"{name}.toml")[0]) == model
    ]


def mechanism_arms(
    schema: Schema, default: Sequence[str | Path | Mechanism]
) -> Callable[[Sequence[str | Mechanism] | None], dict[str, Any]]:
    """The `arms` of an environment whose actions are mechanisms: by name, by path, or loaded.

    Args:
        schema: what its mechanism files hold.
        default: the mechanisms that stand for None, and that have their names whether they are shipped or not.
    """
    own = {each.name if isinstance(each, Mechanism) else Path(each).stem: each for each in default}

    def arms(names: Sequence[str | Mechanism] | None) -> dict[str, Any]:
        meant = [own.get(name, name) if isinstance(name, str) else name for name in names or own]
        for name in meant:
            bare = isinstance(name, str) and not isinstance(name, Label) and not is_path(name)
            if bare and name not in available("mechanisms"):
                there = listed(dict.fromkeys([*own, *shipped_mechanisms(schema.model)]))
                raise InputError(f"no mechanism is called '{name}'; there are {there}, or give a path")
        loaded = [load_mechanism(each, schema) for each in meant]
        if len({mechanism.name for mechanism in loaded}) < len(loaded):
            raise InputError(f"two mechanisms have the same name among {', '.join(each.path for each in loaded)}")
        actions = schema.alike([schema.action(mechanism) for mechanism in loaded])
        return dict(zip([mechanism.name for mechanism in loaded], actions, strict=True))

    return arms


def load_mechanisms(
    given: Iterable[str | Path | Mechanism], environment: Environment | None = None
) -> dict[str, Mechanism]:
    """Mechanisms by what a record calls them: the names of their files without the ending.

    Raises:
        InputError: where two have the same name, and as `load_mechanism` does.
    """
    found: dict[str, Mechanism] = {}
    for mechanism in [load_mechanism(each, environment) for each in given]:
        before = found.setdefault(mechanism.name, mechanism)
        if Path(before.path).resolve() != Path(mechanism.path).resolve():
            raise InputError(f"{before.path} and {mechanism.path} have the same name; rename one of them")
    return found


def is_path(name: object) -> TypeGuard[str | Path]:
    """Whether a user's name of a mechanism means a file, as `my.toml` does."""
    return isinstance(name, Path) or (
        isinstance(name, str) and not isinstance(name, Label) and Path(name).suffix in (".py", ".toml")
    )


def knowing(env: Environment, mechanisms: Mapping[str, Mechanism]) -> Environment:
    """The environment whose arms may also be named by the labels of mechanisms that were given or carried."""
    if not mechanisms:
        return env
    arms = env.arms
    return env._replace(
        arms=lambda names: arms(names if names is None else [mechanisms.get(name, name) for name in names])
    )


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
            own: dict[str, Any] = {
                part: _guarded(value, path) for part, value in found._asdict().items() if callable(value)
            }
            if isinstance(found.mechanism, Schema):
                action, alike = _guarded(found.mechanism.action, path), _guarded(found.mechanism.alike, path)
                own["mechanism"] = found.mechanism._replace(action=action, alike=alike)
            try:
                return checked(found._replace(**own))
            except InputError as error:
                raise error if str(path) in str(error) else InputError(f"{path}: {error}") from error
        if callable(found):
            return _guarded(found, path)
    raise InputError(f"{path}: defines no '{attribute or 'environment'}'" + ("" if attribute else " and no 'model'"))


def _path(name_or_path: str | Path, folder: str, ending: str, model: str = "") -> Path:
    text = name_or_path if isinstance(name_or_path, str) else str(name_or_path)
    shipped = content(folder) / f"{text}{ending}"
    if text in available(folder) and shipped.is_file():
        return shipped
    path, data = Path(text), isinstance(name_or_path, Label)
    if data or path.suffix not in (".py", ".toml"):
        shipped = shipped_mechanisms(model) if model else available(folder)
        otherwise = "give its file among the mechanisms" if data else "give a path"
        raise InputError(f"no {folder[:-1]} is called '{text}'; shipped are {listed(shipped)}, or {otherwise}")
    if not os.path.isfile(path):  # also where the name is longer than any file's
        raise InputError(f"{path}: no such file")
    return path


def _run(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bayesalloc_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    with _minding(path):
        spec.loader.exec_module(module)
    return module


def _guarded(model: Model, path: Path) -> Model:
    """The user's model; what it raises when it runs is reported as the file's fault, with the line."""

    @functools.wraps(model)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        with _minding(path):
            return model(*args, **kwargs)

    return guarded


@contextlib.contextmanager
def _minding(path: Path) -> Iterator[None]:
    """While a user's file runs: what it raises is its fault, and it ends nobody else's program."""
    try:
        yield
    except (InputError, KeyboardInterrupt):
        raise
    except BaseException as error:  # sys.exit among them
        raise _raised(path, error) from error


def _same(filename: str, path: Path) -> bool:
    return Path(filename).resolve() == path.resolve()


def _raised(path: Path, error: BaseException) -> InputError:
    """Whatever a user's file raises is the user's to read, in one sentence."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if _same(frame.filename, path)]
    where = f", line {lines[-1]}" if lines else ""
    if isinstance(error, SystemExit):
        return InputError(f"{path}{where}: ends the program (sys.exit); a model or a mechanism must not")
    first = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
    return InputError(f"{path}{where}: raised {type(error).__name__}: {first}")
