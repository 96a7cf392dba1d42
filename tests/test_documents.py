"""What the documents say is there: the files they point at, and every command line they show."""

import re
import shlex
from pathlib import Path

import pytest

from bayesalloc.cli.main import app
from docs.running import blocks

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("*.md", "docs/**/*.md", "bayesalloc/template/**/*.md", "benchmarks/*.md", "examples/data/*.md")
PAGES = [page for pattern in FOLDERS for page in sorted(ROOT.glob(pattern))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_point_at_files(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def commands():
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        shown = [block.text for block in blocks(text) if block.language == "sh"]
        lines = [line for block in shown for line in block.splitlines()] + re.findall(r"`(bayesalloc [^`]+)`", text)
        for line in lines:
            if line.startswith("bayesalloc ") and line.split()[1] != "FILE.py":
                yield pytest.param(page, line, id=f"{page.name}: {' '.join(line.split())}")


@pytest.mark.parametrize(("page", "line"), [*commands()])
def test_commands_are_ones_that_there_are(page, line):
    words = shlex.split(line, comments=True)[1:]
    if len(words) == 1 and not words[0].startswith("-"):  # a command by name
        assert words[0] in [*app], line
        return
    app.parse_args(words, exit_on_error=False, print_error=False)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
