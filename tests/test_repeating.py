"""What a run comes from, which runs there are, and one more of the same."""

import json
from pathlib import Path

import numpy as np
import pytest

from bayesalloc import repeating
from bayesalloc.errors import InputError
from bayesalloc.provenance import files_in, hashed

MODEL = """import numpyro, numpyro.distributions as dist
from helper_of_a_model import SCALE
def model():
    numpyro.sample('y', dist.Normal(SCALE * numpyro.sample('x', dist.Normal()), 1))
"""


@pytest.fixture
def made(run, tmp_path):
    """A run of `discover` in `work/one`, from `work`."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=60)
    rows = "\n".join(f"{x:.3f},{y:.3f}" for x, y in zip(a, a + rng.normal(size=60), strict=True))
    (tmp_path / "books.csv").write_text(f"a,b\n{rows}\n")
    ran = run("discover", "books.csv", "--alpha=0.05", "--seed", 3, "--json", "--out", "one")
    assert ran.code == 0, ran.err
    return tmp_path / "one"


def test_a_manifest_says_what_a_run_comes_from(made, tmp_path):
    manifest = json.loads((made / "manifest.json").read_text())
    assert manifest["arguments"][:3] == ["discover", "books.csv", "--alpha=0.05"]
    assert manifest["inputs"] == {"books.csv": hashed(tmp_path / "books.csv")}
    assert (manifest["seed"], manifest["directory"], manifest["modules"]) == (3, "..", {})
    assert {"bayesalloc", "python", "jax"} <= {*manifest["versions"]} and manifest["platform"]["devices"]


def test_every_file_that_a_command_names_is_an_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("m.py", "a.toml", "o.policy", "r.csv"):
        (tmp_path / name).touch()
    arguments = ["compare", "m.py:model", "--do=x=1, mechanism=a.toml", "--mechanisms", "o.policy:0.6,0.4", "r.csv"]
    assert files_in(arguments) == ["m.py", "a.toml", "o.policy", "r.csv"]


def test_runs_are_listed_with_what_is_wrong(made, run, tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    (old / "manifest.json").write_text('{"run": "1", "command": "fit", "complete": true, "files": {"gone.nc": "0"}}')
    listed = json.loads(run("runs", ".", "--json").out)["runs"]
    assert [(each["folder"], each["state"]) for each in listed] == [("old", "'gone.nc' is missing"), ("one", "whole")]
    assert listed[1]["command"] == "discover books.csv --alpha=0.05 --seed 3" and listed[0]["command"] == "fit"
    (made / "report.html").write_text("other")
    assert "'report.html' was changed" in run("runs", ".").out
    assert run("runs", "nowhere").code == 2
    (tmp_path / "empty").mkdir()
    assert run("runs", "empty").out == "empty: holds no runs\n"


def test_a_run_once_more_is_the_same(made, run, tmp_path):
    ran = run("rerun", made, "--out", "two", "--json")
    assert ran.code == 0, ran.err
    answer = json.loads(ran.out)
    assert (answer["verdict"], answer["differences"], answer["changed"]) == ("the same", [], [])
    assert (tmp_path / "two" / "discover.json").is_file()
    old, new = repeating.read(made), repeating.read(tmp_path / "two")
    assert new.origin is not None and new.origin.seed == 3
    changed = json.loads((tmp_path / "two" / "discover.json").read_text())
    (tmp_path / "two" / "discover.json").write_text(json.dumps({**changed, "alpha": 0.06, "rows": None}))
    [difference] = repeating.differing(old, new)
    assert (difference.file, difference.says, difference.relative) == ("discover.json", "rows", np.inf)
    (tmp_path / "two" / "discover.json").write_text(json.dumps({**changed, "alpha": 0.06}))
    [difference] = repeating.differing(old, new)
    assert difference.says == "alpha" and difference.relative == pytest.approx(0.01 / 0.06)


CHANGES = {
    "an input changed": (lambda home: (home / "books.csv").write_text("a,b\n1,2\n"), "books.csv, which has changed"),
    "an input is gone": (lambda home: (home / "books.csv").unlink(), "books.csv, which is not there any more"),
    "a file is missing": (lambda home: (home / "one" / "report.html").unlink(), "'report.html' is missing"),
    "a file changed": (lambda home: (home / "one" / "discover.json").write_text("{}"), "'discover.json' was changed"),
    "no manifest": (lambda home: (home / "one" / "manifest.json").unlink(), "no folder of a run"),
    "a state": (lambda home: rewritten(home, arguments=["optimize", "tell", "s.json"]), "cannot be repeated"),
    "nothing asked": (lambda home: rewritten(home, arguments=[]), "cannot be repeated"),
    "no arguments": (lambda home: rewritten(home, arguments=None), "does not say what a run comes from"),
    "an earlier version": (lambda home: rewritten(home, without="arguments"), "made by an earlier version"),
    "resumed": (lambda home: rewritten(home, arguments=["train", "srap", "--resume=r"]), "goes on from another run"),
    "outside": (lambda home: rewritten(home, files={"../books.csv": "0"}), "which is outside of it"),
    "elsewhere": (lambda home: rewritten(home, directory="../nowhere"), "there is no folder any more"),
}


def rewritten(home: Path, without: str = "", **changes):
    path = home / "one" / "manifest.json"
    manifest = json.loads(path.read_text()) | changes
    manifest.pop(without, None)
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
def test_what_is_not_repeated(made, run, tmp_path, change, said):
    change(tmp_path)
    ran = run("rerun", "one", "--out", "two")
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1
    assert not (tmp_path / "two").exists()


def test_a_manifest_alone_runs_no_code(run, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)  # as where Python is started there
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "helper_of_a_model.py").write_text("SCALE = 2.0\n")
    ran = run("compare", "model.py", "--do", "x=0", "--do", "x=1", "--draws", 20, "--out", "one")
    assert ran.code == 0, ran.err
    one = repeating.read(tmp_path / "one")
    assert one.origin is not None and [*one.origin.modules] == ["helper_of_a_model.py"]
    with pytest.raises(InputError, match=r"runs the Python code of model\.py; look at it, and allow it by --code"):
        repeating.command(one, [], tmp_path / "two")
    arguments, home = repeating.command(one, [tmp_path / "model.py"], tmp_path / "two")
    assert arguments[-3:] == ["--out", str(tmp_path / "two"), "--quiet"] and home == tmp_path
    assert arguments.count("--out") == 1 and arguments[:2] == ["compare", "model.py"]
    (tmp_path / "helper_of_a_model.py").write_text("SCALE = 3.0\n")
    with pytest.raises(InputError, match=r"helper_of_a_model\.py, which has changed since"):
        repeating.command(one, [tmp_path / "model.py"], tmp_path / "two")
    assert run("rerun", "one", "--out", "one").code == 2


NAMED = {
    "as the model": ["compare", "model.py", "--do", "x=0"],
    "with the name of a model": ["compare", "model.py:model", "--do", "x=0"],
    "as a mechanism": ["compare", "--mechanisms", "model.py", "cost_sharing"],
    "in an arm": ["compare", "watershed", "--do", "growth_shock=0, mechanism = model.py"],
    "in an arm, with =": ["compare", "--do=mechanism=model.py"],
}


@pytest.mark.parametrize("arguments", NAMED.values(), ids=NAMED)
def test_a_manifest_that_hides_its_code_runs_none(made, run, tmp_path, arguments):
    """It lists no inputs, so that none has to be allowed."""
    (tmp_path / "model.py").write_text("open('CODE_RAN', 'w')\n" + MODEL)
    rewritten(tmp_path, arguments=arguments, inputs={})
    ran = run("rerun", "one", "--out", "two")
    assert ran.code == 2 and "runs the Python code of model.py" in ran.err
    assert not (tmp_path / "CODE_RAN").exists() and not (tmp_path / "two").exists()


def test_no_file_of_the_directory_passes_for_a_module(made, run, tmp_path):
    (tmp_path / "numpy.py").write_text("open('CODE_RAN', 'w')\nraise SystemExit(0)\n")
    ran = run("rerun", "one", "--out", "two")
    assert ran.code == 0, ran.err
    assert not (tmp_path / "CODE_RAN").exists()
