"""What an office brings to the Budgets page, and what was found for it.

`python -m bayesalloc.dashboard.office` makes `office.json` anew: what the command line answers for the example office,
so that the page begins with something to see.
"""

import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from bayesalloc import runs
from bayesalloc.budgets.question import question
from bayesalloc.dashboard.state import Mine
from bayesalloc.dashboard.uploads import said_of
from bayesalloc.discovery.books import Books, read_books
from bayesalloc.discovery.knowledge import Office, binding, read_office
from bayesalloc.errors import visible
from bayesalloc.report.words import words

EXAMPLE, NOTHING = "the example office", "nothing"  # as choices of books and of knowledge
FILE = Path(str(resources.files("bayesalloc.dashboard"))) / "office.json"
ASKED = {
    "discover": [],
    "effect": ["--treatment", "maintenance", "--outcome", "incidents"],
    "budget": [],
}  # of the example office


class Made(NamedTuple):
    """A result: its run, or "" for what comes with the package; its answer; whether what is known is what it used."""

    run: str
    answer: dict[str, Any]
    current: bool

    @property
    def label(self) -> str:
        """By which it is chosen."""
        asked = [" on ".join(words(self.answer[name]) for name in ("treatment", "outcome") if name in self.answer)]
        asked += [f"lambda {self.answer['lambda']:g}"] if "lambda" in self.answer else []
        asked += [f"by {self.answer['policy']}"] if self.answer.get("policy") else []
        return ", ".join(filter(None, [*asked, self.run or f"{EXAMPLE}, as it comes"]))


class Desk(NamedTuple):
    """What is worked with.

    Attributes:
        own: whose.
        books: one of the user's files, or EXAMPLE.
        knowledge: likewise, or NOTHING.
        levels: whether columns are levels that last.
    """

    own: Mine
    books: str
    knowledge: str
    levels: bool

    def path(self, kind: str) -> Path | None:
        """The file of the books or of the knowledge; the example's is there once a command needs it."""
        name = {"books": self.books, "knowledge": self.knowledge}[kind]
        if name == NOTHING:
            return None
        if name != EXAMPLE:
            return self.own.files[kind][name]
        return self.own.home / "example" / ("books.csv" if kind == "books" else "knowledge.toml")

    def read(self) -> tuple[Books, Office]:
        """Both files.

        Raises:
            InputError: where one of them cannot be used.
        """
        if self.books == EXAMPLE and not self.levels:
            table = _example()[0]
        else:
            path = self.written("books")
            assert path is not None
            with said_of(self.books, path):
                table = _read_books(str(path), path.stat().st_mtime_ns, levels=self.levels)
        if self.knowledge == EXAMPLE:
            return table, _example()[1]
        path = self.path("knowledge")
        if path is None:
            return table, Office()
        with said_of(self.knowledge, path):
            return table, read_office(path)

    def command(self, command: str, out: Path, *more: str) -> list[str]:
        """A command of the command line on these files."""
        known = self.written("knowledge")
        files = [str(self.path("books")), *(["--knowledge", str(known)] if known else [])]
        return [command, *files, *(["--levels"] if self.levels else []), *more, "--out", str(out)]

    def made(self, command: str) -> list[Made]:
        """What the command has answered for these books, the last at the end."""
        found, path, known = [], self.path("books"), self.path("knowledge")
        if self.books == EXAMPLE and not self.levels:
            found.append(Made("", first()[command], self.knowledge == EXAMPLE))
        for job in self.own.jobs:
            asked, file = job.commands[-1], job.out / f"{command}.json"
            same = asked[0] == command and asked[1] == str(path) and ("--levels" in asked) == self.levels
            if same and job.state == "done" and file.is_file() and not _newer(path, file):
                runs.check(file)
                used = asked[asked.index("--knowledge") + 1] if "--knowledge" in asked else "None"
                text = file.read_text(encoding="utf-8").replace(json.dumps(str(path))[1:-1], Path(asked[1]).name)
                found.append(Made(job.out.name, json.loads(text), used == str(known) and not _newer(known, file)))
        return found

    def written(self, kind: str) -> Path | None:
        """The file of the books or of the knowledge, which is there."""
        self._write_example()
        return self.path(kind)

    def _write_example(self) -> None:
        """The example's files, where they are worked with and not there yet."""
        folder = self.own.home / "example"
        if EXAMPLE in (self.books, self.knowledge) and not folder.exists():
            folder.mkdir(parents=True)
            write_example(folder)


def _newer(path: Path | None, result: Path) -> bool:
    """Whether a file was uploaded after a result."""
    return path is not None and path.exists() and path.stat().st_mtime > result.stat().st_mtime


def check(table: Books, office: Office, where: str, *, proposing: bool = True) -> None:
    """Refuse knowledge that does not fit books, or that no proposal can be made from.

    Raises:
        InputError: naming the field and what is allowed.
    """
    binding(office, table.names, table.closed, table.left_out, where)
    if proposing:
        question(table, office, where)


def with_comment(text: str, comment: Mapping[str, Any]) -> str:
    """A file of knowledge with one more comment at its end.

    Args:
        text: the file's.
        comment: fields of `bayesalloc.discovery.knowledge.Comment`.

    >>> print(with_comment('decisions = ["a"]', {"who": "HR", "frozen": ["a"], "tolerances": {"b": 0.5}}))
    decisions = ["a"]
    <BLANKLINE>
    [[comments]]
    who = "HR"
    frozen = ["a"]
    tolerances = { "b" = 0.5 }
    <BLANKLINE>
    """
    fields = "".join(f"{name} = {_value(value)}\n" for name, value in comment.items())
    return f"{text.rstrip()}\n\n[[comments]]\n{fields}"


def _value(value: Any) -> str:
    """A value as TOML has it; a string in one line."""
    if isinstance(value, str):
        return json.dumps(visible(value), ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_value(key)} = {_value(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return str(value)


@lru_cache
def example() -> dict[str, str]:
    """The example office's files: kind -> text."""
    office = importlib.import_module("bayesalloc.models.budgets.books")
    later = office.draw_books(2, quarters=1, gaps=False)
    return {
        "books": office.as_csv(office.draw_books(1)),
        "knowledge": office.knowledge(),
        "next_quarter": office.as_csv(later._replace(periods=["2025-Q1"] * len(later.periods))),
    }


def write_example(folder: Path) -> tuple[Path, Path]:
    """The example office's files, in a folder."""
    books, knowledge = folder / "books.csv", folder / "knowledge.toml"
    books.write_text(example()["books"], encoding="utf-8")
    knowledge.write_text(example()["knowledge"], encoding="utf-8")
    return books, knowledge


@lru_cache
def first() -> dict[str, dict[str, Any]]:
    """What the command line answers for them: command -> its document."""
    return json.loads(FILE.read_text(encoding="utf-8"))


@lru_cache
def _example() -> tuple[Books, Office]:
    with tempfile.TemporaryDirectory() as folder:
        books, knowledge = write_example(Path(folder))
        return read_books(books), read_office(knowledge)


@st.cache_resource(max_entries=4, show_spinner=False)
def _read_books(path: str, changed: int, *, levels: bool) -> Books:
    """Books; a file that was written anew is read again."""
    return read_books(path, levels=levels)


def _answered(command: str) -> dict[str, Any]:
    """What the command line answers for the example office."""
    with tempfile.TemporaryDirectory() as folder:
        books, knowledge = write_example(Path(folder))
        asked = [command, books.name, "--knowledge", knowledge.name, *ASKED[command], "--json", "--out", "run"]
        ran = subprocess.run([sys.executable, "-m", "bayesalloc.cli", *asked], cwd=folder, stdout=-1, check=True)
    return {**json.loads(ran.stdout), "files": {}}


if __name__ == "__main__":
    FILE.write_text(json.dumps({command: _answered(command) for command in ASKED}, indent=0) + "\n", encoding="utf-8")
