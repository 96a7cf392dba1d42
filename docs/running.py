"""Runs what a page shows: its code, its commands and its files, in the order they stand in, in an empty folder.

A fenced block says by the word after its fence what it is, and by further words what is done with it:

    ```python                    run, all blocks of a page in one namespace; what its last line is worth is shown
    ```sh                        run by bash, which stops at the first command that fails
    ```csv file=record.csv       written to the folder (any language)
    ```sh fails                  run, and has to fail: for the refusals that a page shows
    ```sh lines=12               its output is cut after 12 lines; `lines=0` shows none
    ```sh not-run                shown only, as are blocks in all other languages
    ```python alt="Stock by year"    what its figure shows, for who cannot see it
    ```text output               what the block before has to have printed first; numbers may differ by 2 %

`python docs/running.py PAGE.md FOLDER` runs one page and prints what came of it as JSON.
"""

import ast
import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

FENCE = re.compile(r"^(?P<fence>```+)(?P<info>[^\n`{]+)\n(?P<text>.*?)^(?P=fence) *$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its language, options and text, and from which character of the page to which it stands."""

    language: str
    options: Mapping[str, str]
    text: str
    start: int
    end: int

    @property
    def runs(self) -> bool:
        """Whether it is code or commands to be run."""
        return self.language in ("python", "sh") and not {"file", "not-run"} & {*self.options}


class Result(NamedTuple):
    """What a block printed, and the figures that it left, as files."""

    text: str = ""
    figures: tuple[str, ...] = ()


def blocks(page: str) -> Iterator[Block]:
    r"""The fenced blocks of a page in Markdown, without its directives.

    >>> [(block.language, block.options, block.runs) for block in blocks("```sh lines=2\nls\n```\n")]
    [('sh', {'lines': '2'}, True)]
    """
    for found in FENCE.finditer(page):
        language, *words = shlex.split(found["info"])
        options = {name: value for name, _, value in (word.partition("=") for word in words)}
        yield Block(language, options, found["text"], *found.span())


def run(page: str, folder: Path, figures: Path) -> list[Result]:
    """Run a page in a folder; what each of its blocks gave.

    Raises:
        SystemExit: where a block fails, with the block and what it printed.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    results = []
    for block in blocks(page):
        if "file" in block.options:
            (folder / block.options["file"]).write_text(block.text, encoding="utf-8")
        result = Result()
        if block.runs:
            done = _commands if block.language == "sh" else _code
            failed, text = done(block.text, folder, namespace)
            if failed != ("fails" in block.options):
                line = page[: block.start].count("\n") + 1
                raise SystemExit(f"line {line}: {'failed' if failed else 'should have failed'}\n{block.text}\n{text}")
            result = Result(text, _drawn(figures, len(results)))
        if "output" in block.options and not _alike(block.text, results[-1].text):
            raise SystemExit(f"the output shown is not what was printed:\n{block.text}\n{results[-1].text}")
        results.append(result)
    return results


def _commands(text: str, folder: Path, namespace: Mapping[str, Any]) -> tuple[bool, str]:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], cwd=folder, stdout=-1, stderr=-2, stdin=subprocess.DEVNULL, text=True
    )
    return done.returncode != 0, done.stdout


def _code(text: str, folder: Path, namespace: dict[str, Any]) -> tuple[bool, str]:
    """As an interpreter would run it: the value of a last expression is shown."""
    printed, tree = io.StringIO(), ast.parse(text)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            exec(compile(tree, "<page>", "exec"), namespace)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), "<page>", "eval"), namespace)
                if value is not None and not type(value).__module__.startswith("matplotlib"):
                    print(repr(value))
        except Exception:
            return True, printed.getvalue() + traceback.format_exc(limit=-3)
    return False, printed.getvalue()


def _alike(shown: str, printed: str) -> bool:
    """Whether lines that a page shows, up to a line of dots, are the first that were printed."""
    lines = [line.strip() for line in shown.partition("…")[0].strip().splitlines()]
    said = [line.strip() for line in printed.strip().splitlines()][: len(lines)]
    number = re.compile(r"\d[\d,]*\.?\d*")
    words = [number.sub("#", "\n".join(each)) for each in (lines, said)]
    numbers = [[float(found.replace(",", "")) for found in number.findall("\n".join(each))] for each in (lines, said)]
    return words[0] == words[1] and all(abs(a - b) <= 0.02 * max(a, b) + 0.002 for a, b in zip(*numbers, strict=True))


def _drawn(figures: Path, block: int) -> tuple[str, ...]:
    """The open figures of matplotlib, saved and closed."""
    if "matplotlib.pyplot" not in sys.modules:
        return ()
    from matplotlib import pyplot

    names = []
    for number in pyplot.get_fignums():
        names.append(f"{block}-{number}.svg")
        figures.mkdir(parents=True, exist_ok=True)
        pyplot.figure(number).savefig(figures / names[-1], bbox_inches="tight", metadata={"Date": None})
    pyplot.close("all")
    return tuple(names)


if __name__ == "__main__":
    page, folder = map(Path, sys.argv[1:])
    (folder / "run").mkdir(parents=True)
    sys.path[0] = str(folder.resolve() / "run")  # a page imports what it wrote
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ |= {"MPLBACKEND": "agg", "COLUMNS": "88", "NO_COLOR": "1", "JAX_PLATFORMS": "cpu"}
    print(json.dumps(run(page.read_text(encoding="utf-8"), folder / "run", folder / "figures")))
