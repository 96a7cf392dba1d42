"""Models and mechanisms by name and by path; a user's own file is the user's to mend, and the message says where."""

from pathlib import Path

import jax
import pytest

import bayesalloc as ba
from bayesalloc import library

PLAIN = """
import numpyro
import numpyro.distributions as dist

def model():
    x = numpyro.sample("x", dist.Normal())
    numpyro.sample("y", dist.Normal(2.0 * x, 1.0))
"""
GAME = "from bayesalloc.models.cooperation import game\nenvironment = game(mechanisms=('off', 'on'))\n"
MECHANISM = 'title = "Own"\ndescription = "Mine."\n[incentive]\nmodifier = 1.25\n'


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refused(load, given: str | Path) -> str:
    with pytest.raises(ba.InputError) as caught:
        load(given)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", library.available("models"))
def test_shipped_models_load_by_name(name):
    model = ba.load_model(name)
    assert isinstance(model, ba.Environment)
    assert model.name == name


def test_a_model_by_path(tmp_path):
    environment = ba.load_model(write(tmp_path / "game.py", GAME))
    assert isinstance(environment, ba.Environment)
    assert list(environment.arms(None)) == ["off", "on"]
    assert callable(ba.load_model(str(write(tmp_path / "plain.py", PLAIN))))


def test_a_mechanism_by_path(tmp_path):
    mechanism = ba.load_mechanism(write(tmp_path / "own.toml", MECHANISM))
    assert (mechanism.name, mechanism.title, mechanism.parameters.incentive.modifier) == ("own", "Own", 1.25)


def test_relative_paths_belong_to_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "inside").mkdir()
    write(tmp_path / "inside" / "game.py", GAME)
    write(tmp_path / "own.toml", MECHANISM)
    monkeypatch.chdir(tmp_path)
    assert isinstance(ba.load_model("inside/game.py"), ba.Environment)
    assert ba.load_mechanism("own.toml").name == "own"
    assert ba.load_model("watershed").name == "watershed"  # shipped content does not depend on where one is
    monkeypatch.chdir(tmp_path / "inside")
    assert ba.load_mechanism("../own.toml").name == "own"
    assert "no such file" in refused(ba.load_model, "inside/game.py")


def test_a_file_of_ones_own_may_have_a_shipped_name(tmp_path):
    own = ba.load_model(write(tmp_path / "watershed.py", GAME))
    assert isinstance(own, ba.Environment)
    assert own.name == "cooperation"
    assert ba.load_mechanism(write(tmp_path / "cost_sharing.toml", MECHANISM)).title == "Own"


@pytest.mark.parametrize(
    ("load", "kind", "missing"), [(ba.load_model, "models", "x.py"), (ba.load_mechanism, "mechanisms", "x.toml")]
)
def test_unknown_names_and_missing_files(tmp_path, load, kind, missing):
    message = refused(load, "watershet")
    assert "'watershet'" in message
    for name in library.available(kind):
        assert name in message
    message = refused(load, tmp_path / missing)
    assert str(tmp_path / missing) in message
    assert "no such file" in message


def test_a_folder_is_not_a_model(tmp_path):
    (tmp_path / "folder.py").mkdir()
    assert "folder.py" in refused(ba.load_model, tmp_path / "folder.py")
    assert "tmp" in refused(ba.load_model, "/tmp")


@pytest.mark.parametrize(
    ("text", "line", "error"),
    [
        ("import math\n\nmath.sqrt(-1.0)\n", 3, "ValueError"),
        ("x = 1\nimport nowhere_to_be_found\n", 2, "nowhere_to_be_found"),
        ("\n\ndef model(:\n    pass\n", 3, "SyntaxError"),
        ("raise RuntimeError\n", 1, "RuntimeError"),
        ("raise RuntimeError('first\\nsecond')\n", 1, "first"),
    ],
)
@pytest.mark.parametrize("relative", [False, True])
def test_a_file_that_raises_is_named_with_line_and_exception(tmp_path, monkeypatch, text, line, error, relative):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "broken.py", text)
    message = refused(ba.load_model, "broken.py" if relative else path)
    assert "broken.py" in message
    assert f"line {line}" in message
    assert error in message


def test_a_python_mechanism_that_raises_is_named_with_line_and_exception(tmp_path):
    path = write(tmp_path / "broken.py", "parameters = {}\nparameters['a']\n")
    message = refused(ba.load_mechanism, path)
    assert f"{path}, line 2" in message
    assert "KeyError" in message


def test_a_file_that_defines_neither(tmp_path):
    path = write(tmp_path / "empty.py", "model = 3\n")
    message = refused(ba.load_model, path)
    assert all(part in message for part in (str(path), "'environment'", "'model'"))
    message = refused(ba.load_mechanism, path)
    assert all(part in message for part in (str(path), "`parameters`"))


def test_a_mechanism_is_not_a_model(tmp_path):
    path = write(tmp_path / "own.toml", MECHANISM)
    assert str(path) in refused(ba.load_model, path)


def test_another_name_in_the_file(tmp_path, monkeypatch):
    path = write(tmp_path / "two.py", PLAIN.replace("def model", "def first") + GAME.replace("environment", "second"))
    assert callable(ba.load_model(f"{path}:first"))
    second = ba.load_model(f"{path}:second")
    assert isinstance(second, ba.Environment)
    message = refused(ba.load_model, f"{path}:third")
    assert all(part in message for part in (str(path), "'third'"))
    monkeypatch.chdir(tmp_path)
    assert isinstance(ba.load_model("two.py:second"), ba.Environment)


def test_a_model_that_raises_only_when_it_runs(tmp_path):
    path = write(tmp_path / "late.py", PLAIN + "    raise ZeroDivisionError('no people')\n")
    model = ba.load_model(path)
    with pytest.raises(ba.InputError) as caught:
        ba.compare(model, {"a": {"x": 0.0}, "b": {"x": 1.0}}, jax.random.key(0), draws=4)
    line = len((PLAIN + "x").splitlines())
    assert str(caught.value) == f"{path}, line {line}: raised ZeroDivisionError: no people"


def test_a_model_file_may_have_a_dataclass_with_postponed_annotations(tmp_path):
    text = "from __future__ import annotations\nimport dataclasses\n"
    text += "@dataclasses.dataclass\nclass Size:\n    n: int = 3\n"
    assert callable(ba.load_model(write(tmp_path / "modern.py", text + PLAIN)))


def test_mechanisms_that_are_not_text_or_not_toml(tmp_path):
    path = tmp_path / "latin.toml"
    path.write_bytes('title = "Vertrag für alle"'.encode("latin-1"))
    assert str(path) in refused(ba.load_mechanism, path)
    path = write(tmp_path / "broken.toml", 'title = "x"\nmodifier = = 3\n')
    message = refused(ba.load_mechanism, path)
    assert str(path) in message
    assert "line 2" in message
