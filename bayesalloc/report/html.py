"""A page as one HTML file that needs nothing else: no script, no font, no picture from elsewhere."""

import html
import importlib.metadata
import io
import itertools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

import bayesalloc
from bayesalloc.errors import visible
from bayesalloc.report.tables import Sheet

LONG = 24  # characters of a heading
LIBRARIES = ("numpyro", "jax", "arviz", "xarray", "numpy")
STYLE = """
:root { --ink: #1d2329; --soft: #59636e; --line: #d5dae0; --accent: #0072b2; color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff; font: 17px/1.55 Charter, Cambria, Georgia, serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1, h2, table, figcaption, .tag, svg text, dt, footer {
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif !important; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: .3rem 0 .9rem; max-width: 30em; }
h2 { font-size: 1.25rem; margin: 3rem 0 .6rem; padding-top: 1rem; border-top: 1px solid var(--line); }
p, li, dd { max-width: 44em; }
.tag { display: inline-block; font-size: .78rem; font-weight: 600; border: 1px solid; border-radius: 1em;
  padding: .05em .7em; margin: 0 .4em .4em 0; color: var(--accent); }
.answer { background: #f4f6f8; border-left: 4px solid var(--accent); padding: .6rem 1.2rem; margin: 1.2rem 0; }
.answer.bad { border-color: #d55e00; }
.answer ul { margin: .4rem 0; padding-left: 1.1em; }
.answer li { margin: .35rem 0; }
.warn { color: #a33b00; }
dl { columns: 2 24rem; column-gap: 2.5rem; margin: .8rem 0; font-size: .95rem; line-height: 1.45; }
dl div { break-inside: avoid; padding-bottom: .6rem; }
dt { font-weight: 600; font-size: .85rem; }
dd { margin: 0; }
figure { margin: 1rem 0; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); gap: .6rem 1rem; }
.panels.even { max-width: 54rem; grid-template-columns: repeat(auto-fit, minmax(min(23rem, 100%), 1fr)); }
svg { display: block; width: 100%; height: auto; max-width: 26rem; }
.wide svg { max-width: 33rem; }
.full svg { max-width: 64rem; }
figcaption, caption { color: var(--soft); line-height: 1.45; max-width: min(52rem, 100vw - 2.5rem); }
figcaption { margin-top: .4rem; }
caption { text-align: left; padding-bottom: .45rem; }
caption b { color: var(--ink); }
.scroll { overflow-x: auto; margin: 1.1rem 0; }
table { border-collapse: collapse; font-size: .84rem; line-height: 1.35; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .75rem; text-align: right; vertical-align: baseline; white-space: nowrap; font-weight: 400; }
thead th { vertical-align: bottom; white-space: normal; min-width: 5.2em; border-bottom: 1.5px solid var(--ink); }
thead th.long { min-width: 8.5em; }
thead th, tbody th[rowspan] { font-weight: 600; }
th.key { text-align: left; padding-left: 0; }
tbody tr.first > * { border-top: 1px solid var(--line); }
footer { margin-top: 3rem; padding-top: .8rem; border-top: 1px solid var(--line); color: var(--soft); }
figcaption, caption, footer { font-size: .85rem; }
@media (max-width: 40rem) {
  body { font-size: 16px; } main { padding-top: 1.4rem; } h1 { font-size: 1.5rem; } th, td { padding: .3rem .5rem; }
}
@media print {
  @page { margin: 16mm; } body { font-size: 10.5pt; } main { padding: 0; max-width: none; }
  h2 { break-after: avoid; margin: 1rem 0 .3rem; padding-top: .5rem; } .scroll, .answer { margin: .6rem 0; }
  figure, tr, .scroll, .answer { break-inside: avoid; } footer { margin-top: 1rem; }
  .scroll { overflow: visible; } table { font-size: 7.4pt; } th, td { padding: .2rem .4rem; } dl { columns: 2; }
  .panels { grid-template-columns: repeat(3, 1fr); } .panels.even { grid-template-columns: repeat(2, 1fr); }
  .wide svg, .even svg { max-width: 24rem; } figcaption, caption, footer { font-size: 8.5pt; }
}
"""


def write(text: str, path: str | Path) -> Path:
    """Writes a page, in which names from data show their control characters; there is never half a file."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_text(visible(text), encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def frame(title: str, body: Iterable[str], seed: int) -> str:
    """The HTML around the parts of a page."""
    title = upper(title)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    made = f"Seed {seed}. Page written with bayesalloc {bayesalloc.__version__} ({versions})."
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{_text(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n<h1>{_text(title)}</h1>\n{''.join(body)}<footer>{_text(made)}</footer>\n</main>\n</body>\n"
        "</html>\n"
    )


def tags(*names: str) -> str:
    """Words in frames, that say what kind of result it is."""
    return "<p>" + "".join(f'<span class="tag">{_text(name)}</span>' for name in names) + "</p>\n"


def answer(sentences: Sequence[str], warnings: Sequence[str], *, bad: bool = False) -> str:
    """The findings in a box, warnings last."""
    items = "".join(f"<li>{_text(sentence)}</li>" for sentence in sentences)
    items += "".join(f'<li class="warn">{_text(warning)}</li>' for warning in warnings)
    return f'<div class="answer{" bad" if bad else ""}"><ul>{items}</ul></div>\n'


def section(title: str) -> str:
    """The heading of a section."""
    return f"<h2>{_text(upper(title))}</h2>\n"


def terms(meanings: Mapping[str, str], level: str = "") -> str:
    """Words and what they mean; `{level}` in a sentence is replaced."""
    text = {name: sentence.replace("{level}", level) for name, sentence in meanings.items()}
    return "<dl>" + "".join(f"<div><dt>{_text(a)}</dt><dd>{_text(b)}</dd></div>" for a, b in text.items()) + "</dl>\n"


def figure(pictures: Sequence[str], caption: str, *, wide: bool = False, full: bool = False) -> str:
    """Pictures beside each other with one caption; one that is `wide`, or as wide as the page (`full`)."""
    shape = "full" if full else "wide" if wide else "panels even" if len(pictures) in (2, 4) else "panels"
    inside = f'<div class="{shape}">{"".join(pictures)}</div><figcaption>{_text(caption)}</figcaption>'
    return f"<figure>{inside}</figure>\n"


def table(sheet: Sheet, note: str = "") -> str:
    """A table; equal neighbours in its first column become one cell."""
    looks = [_look(name, key=i < sheet.keys) for i, name in enumerate(sheet.header)]
    head = "".join(f'<th scope="col"{look}>{_text(name)}</th>' for look, name in zip(looks, sheet.header, strict=True))
    body = ""
    for _, same in itertools.groupby(sheet.rows, lambda row: row[0]):
        rows = list(same)
        for i, row in enumerate(rows):
            span = f'rowspan="{len(rows)}"' if len(rows) > 1 else ""
            cells = "" if i else f'<th scope="row" class="key" {span}>{_text(row[0])}</th>'
            cells += "".join(f'<th scope="row" class="key">{_text(cell)}</th>' for cell in row[1 : sheet.keys])
            cells += "".join(f"<td>{_text(_minus(cell))}</td>" for cell in row[sheet.keys :])
            body += f"<tr{'' if i else ' class="first"'}>{cells}</tr>\n"
    caption = f"<caption><b>{_text(upper(sheet.title))}.</b> {_text(note)}</caption>"
    return f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n'


def _look(heading: str, *, key: bool) -> str:
    """The classes of a heading; a long one needs room, or it is a line for each word."""
    classes = " ".join(["key"] * key + ["long"] * (len(heading) > LONG))
    return f' class="{classes}"' if classes else ""


def _minus(text: str) -> str:
    return re.sub(r"(?<!\w)-(?=\d)", "\N{MINUS SIGN}", text)


def svg(figure: Figure, alternative: str) -> str:
    """A figure as inline SVG with live text; `alternative` is read out in its place."""
    buffer = io.StringIO()
    # The salt makes the page the same in every run, and ids distinct between figures.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": alternative}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    box = re.search(r'viewBox="[^"]*"', text)
    inside = text[text.index(">", text.index("<svg")) + 1 :]
    inside = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", inside, flags=re.DOTALL)
    inside = re.sub(r'<g id="[^"]*"', "<g", inside).replace("xlink:href", "href")
    label = html.escape(alternative)
    return f'<svg {box.group() if box else ""} role="img" aria-label="{label}">{inside}'


def upper(text: str) -> str:
    """A text that begins with a capital."""
    return text[:1].upper() + text[1:]


def _text(text: str) -> str:
    return html.escape(text, quote=True)
