"""How Sphinx builds the site; `make docs` calls it. What the pages show is run first, and its output put into them."""

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from running import Result, blocks

import bayesalloc
from bayesalloc.cli.main import app as command_line

project, author, copyright = "bayesalloc", "the authors of bayesalloc", "the authors of bayesalloc, Apache-2.0"
version = release = bayesalloc.__version__
extensions = ["myst_parser", *(f"sphinx.ext.{each}" for each in ("autodoc", "autosummary", "napoleon", "viewcode"))]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
nitpicky = True  # a name that leads nowhere is an error, but for the packages of others, whose sites we do not ask
suppress_warnings = ["ref.python"]  # `low` in a docstring may be that of several classes
nitpick_ignore_regex = [(".*", r"(?!bayesalloc).*")]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "undoc-members": False}
autosummary_generate = True
napoleon_use_ivar = True  # fields of a NamedTuple stand once
napoleon_attr_annotations = False  # shapes stand in prose
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
default_role = "literal"
smartquotes = False  # --option stays as it is typed
html_theme = "pydata_sphinx_theme"
html_math_renderer = "mathml"
html_title = "bayesalloc"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_sidebars = {"index": []}
html_theme_options = {
    "navbar_align": "left",
    "show_prev_next": True,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}

RUNS = HERE / "_build" / "runs"
log = logging.getLogger(__name__)


def run_pages(app: Sphinx) -> None:
    """Run every page that has something to run, two at a time, before any is read."""
    shutil.rmtree(RUNS, ignore_errors=True)
    pages = {name: Path(app.env.doc2path(name)) for name in app.project.discover(exclude_patterns)}
    pages = {name: path for name, path in pages.items() if path.suffix == ".md" and _runs(path)}
    pages["README"] = HERE.parent / "README.md"  # is no page of the site, and has to run all the same
    environment = {"JAX_COMPILATION_CACHE_DIR": str(HERE / "_build" / "jax"), **os.environ}

    def samples(name: str) -> int:
        """How often a page fits, which takes longest: such pages start first."""
        return pages[name].read_text(encoding="utf-8").count("bayesalloc fit ")

    def run(name: str) -> tuple[str, subprocess.CompletedProcess[str]]:
        command = [sys.executable, str(HERE / "running.py"), str(pages[name]), str(RUNS / name)]
        return name, subprocess.run(command, capture_output=True, text=True, env=environment)

    results = {}
    with ThreadPoolExecutor(2) as pool:
        for name, done in pool.map(run, sorted(pages, key=samples, reverse=True)):
            if done.returncode:
                log.warning("%s", done.stderr.strip(), location=name)
            else:
                results[name] = [Result(*each) for each in json.loads(done.stdout)]
    app.results = results  # pyright: ignore[reportAttributeAccessIssue]


def _runs(path: Path) -> bool:
    return any(block.runs for block in blocks(path.read_text(encoding="utf-8")))


def insert_results(app: Sphinx, name: str, source: list[str]) -> None:
    """The page with a caption on each file that it shows, and what a block printed and drew below it."""
    page, at, parts = source[0], 0, []
    found = [*blocks(page)]
    results = app.results.get(name, [Result()] * len(found))  # pyright: ignore[reportAttributeAccessIssue]
    for block, result in zip(found, results, strict=True):
        options = {"caption": block.options.get("file", ""), "class": "not-run" if "not-run" in block.options else ""}
        parts += [page[at : block.start], _block(block.language, block.text, options)]
        lines = result.text.rstrip().splitlines()
        most = int(block.options.get("lines", len(lines)))
        shown = [line.rstrip() for line in lines[:most]] + ["…"] * (most < len(lines))
        if shown and most:
            parts.append("\n\n" + _block("text", "\n".join(shown) + "\n", {"class": "output"}))
        figures = [f"/_build/runs/{name}/figures/{figure}" for figure in result.figures]
        parts += [f"\n\n![{block.options.get('alt', '')}]({figure})\n" for figure in figures]
        at = block.end
    source[0] = "".join([*parts, page[at:]])


def _block(language: str, text: str, options: dict[str, str]) -> str:
    stated = "".join(f":{name}: {value}\n" for name, value in options.items() if value)
    language = {"csv": "text"}.get(language, language)  # Pygments has no lexer for it
    return f"`````{{code-block}} {language}\n{stated}\n{text}`````"


def insert_commands(app: Sphinx, name: str, source: list[str]) -> None:
    """The page of commands, from the program itself."""
    if name == "reference/commands":
        text = command_line.generate_docs(output_format="markdown")
        source[0] += text[text.index("\n## bayesalloc ") :]


def as_written(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings in reStructuredText: what stands in backticks is code there too, and an |x| is no substitution."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith(">>>"):
            parts = re.split("(`+[^`]+`+)", line)
            parts[::2] = [part.replace("|", "\\|").replace("*", "\\*") for part in parts[::2]]
            parts[1::2] = [f"``{part.strip('`')}``" for part in parts[1::2]]
            lines[number] = "".join(parts)


def without_aliases(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object) -> bool | None:  # noqa: FBT001 - Sphinx calls it by position
    """Fields of a NamedTuple stand in its docstring, and not a second time as "Alias for field number 0"."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def formula(writer: Any, node: nodes.Node) -> None:
    """A formula as MathML, which browsers show without a script from elsewhere."""
    writer.body.append(tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block)))
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's hook."""
    app.add_html_math_renderer("mathml", inline_renderers=(formula, None), block_renderers=(formula, None))
    app.connect("builder-inited", run_pages)
    app.connect("source-read", insert_results)
    app.connect("source-read", insert_commands)
    app.connect("autodoc-process-docstring", as_written, priority=400)  # before napoleon
    app.connect("autodoc-skip-member", without_aliases)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
