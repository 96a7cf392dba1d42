"""Projects to start from: every command of every README works in the fresh folder, as it is written."""

import re
import shlex
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from bayesalloc.cli.init import TEMPLATE, init

KINDS = get_args(get_type_hints(init)["kind"])
FILES = {
    "start": "README.md model.py my_contract.toml record.csv",
    "mechanism": "README.md my_contract.toml",
    "model": "README.md model.py record.csv",
    "environment": "README.md record.csv well.py",
    "projects": "README.md projects.csv reports1.csv",
    "books": "README.md books.csv knowledge.toml",
}
SMALL = {  # options that make a test of it
    "compare": "--draws 10 --horizon 5",
    "fit": "--draws 20 --warmup 20 --chains 2",
    "discover": "--bootstrap 5",
    "effect": "--bootstrap 5",
}


def test_every_kind_has_its_files():
    assert set(FILES) == set(KINDS) == {path.name for path in TEMPLATE.iterdir() if path.is_dir()} | {"start"}


def commands(folder):
    return re.findall(r"^ {6}bayesalloc (.*)$", (folder / "README.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("kind", KINDS)
def test_its_commands_run(kind, run, monkeypatch):
    made = run("init", "project", *([] if kind == "start" else ["--kind", kind]))
    assert made.code == 0 and f"kind: {kind}" in made.out
    folder = Path("project")
    assert sorted(path.name for path in folder.iterdir()) == FILES[kind].split()
    lines = commands(folder)
    if kind == "start":  # what is run for its two parts
        assert lines and {*lines} <= {*commands(TEMPLATE / "mechanism"), *commands(TEMPLATE / "model")}
        return
    monkeypatch.chdir(folder)
    for line in lines:
        words = shlex.split(line)
        less = SMALL.get(words[0], "").split() if "model.py" not in words or words[0] == "fit" else ["--draws", "10"]
        ran = run(*words, *(less if not {*less} & {*words} else []))
        assert ran.code == 0, (line, ran.err)
