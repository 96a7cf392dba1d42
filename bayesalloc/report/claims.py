"""Published claims beside what is measured: a terminal table and a page, the same for every system."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table

from bayesalloc.claims import Findings, Picture, Row, Sweep
from bayesalloc.report import figures, html
from bayesalloc.report.tables import Sheet, rendered
from bayesalloc.report.words import MISSING

METHOD_COLOURS = {  # of those that are not learned; a line may bring its own
    "opt": figures.GREY,
    "cen-grd": figures.COLOURS[1],
    "dec-grd": figures.COLOURS[0],
    "cen-grd+": figures.COLOURS[4],
    "dec-price": figures.COLOURS[2],
    "dec-grd+": "#6b705c",
}
SAID = {"holds": "yes", "does not hold": "no"}  # in a narrow column
DECIDED = (
    "yes if the whole interval of the margin is above zero (or, without one, if the claim held in every repetition), no"
    " if none of it is, else undecided."
)
TERMS = {"needs learning": "the claim is about a learned method, which is not part of this run."}  # where it is said


def text(found: Findings) -> Group:
    """All claims as a terminal table, and what was found in short."""
    table = Table(title=found.title, box=SIMPLE)
    beside = ("published", "measured") if any(row.published for row in found.rows) else ()
    header, rows = _columns(found, found.rows, ("section", "text", "where", *beside, "margin"))
    for column in header:
        table.add_column(
            column, justify="right" if column in {found.named.get(each, each) for each in beside} else "left"
        )
    before: list[str] = []
    for row in rows:
        same = row[:1] == before[:1] and 1 + (row[:2] == before[:2])
        table.add_row(*["" for _ in range(same)], *row[same:])
        before = row
    sheets = [sheet for section in found.sections for sheet in _sheets(found, section)]
    return Group(table, *(rendered(sheet) for sheet in sheets), *found.sentences, *found.warnings)


def write(found: Findings, path: Path, seed: int) -> Path:
    """Writes the page: what was measured, drawn, and all claims."""
    return html.write(html.frame(found.title, _body(found), seed), path)


def _body(found: Findings) -> Iterator[str]:
    yield html.answer(found.sentences, found.warnings)
    yield html.section("How to read it")
    said = {verdict for row in found.rows for verdict in row.verdicts.values()}
    terms = {**found.terms, "yes, no, undecided": DECIDED, **{word: TERMS[word] for word in TERMS if word in said}}
    yield html.terms({**terms, **{name: f"{text}." for name, text in found.measures.items()}})
    for section, title in found.sections.items():
        yield html.section(title)
        for picture in found.pictures:
            if picture.section == section:
                yield _figure(picture)
        for sheet in _sheets(found, section):
            yield html.table(sheet)
        mine = [row for row in found.rows if row.section == section]
        header, rows = _columns(found, mine, ("text", "where", "published", "measured", "margin"))
        yield html.table(Sheet("Claims", header, rows, keys=2 if "where" in header else 1))


def _columns(found: Findings, rows: Sequence[Row], fields: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """The header and the rows; a column without an entry in any claim is left out."""
    kept = [field for field in fields if any(getattr(row, field) for row in found.rows)]
    names = {"section": "", "text": "claim", **found.named}
    header = [*(names.get(field, field) for field in kept), *found.measures]
    return header, [
        [
            *(getattr(row, field) or MISSING for field in kept),
            *(SAID.get(said, said) if (said := row.verdicts.get(name)) else MISSING for name in found.measures),
        ]
        for row in rows
    ]


def _sheets(found: Findings, section: str) -> list[Sheet]:
    named = f", {section}" if len(found.sections) > 1 else ""
    return [
        Sheet(f"{table.title}{named}", [*table.header], [[*row] for row in table.rows])
        for table in found.tables
        if table.section == section
    ]


def _figure(picture: Picture) -> str:
    panels = []
    for panel in picture.panels:
        shown = "; ".join(
            f"{name} {' '.join(f'{value:.0f}' for value in line.mean)}" for name, line in panel.lines.items()
        )
        alternative = f"{picture.section}, {panel.title}: {shown}."
        panels.append(html.svg(sweep(panel), alternative))
    return html.figure(panels, picture.caption)


def sweep(panel: Sweep) -> Figure:
    """Averages of each method over a sweep, with their intervals; the optimum is grey and dashed."""
    figure, [axes] = figures.grid(1, height=2.7, right=0.95)
    values = panel.values
    colours = {name: line.colour or METHOD_COLOURS.get(name, figures.INK) for name, line in panel.lines.items()}
    for name, line in panel.lines.items():
        axes.fill_between(values, line.low, line.high, color=colours[name], alpha=0.15, linewidth=0)
        style, top = ((0, (4, 1.5)), 3) if name == "opt" else ("-", 2)
        axes.plot(
            values, line.mean, color=colours[name], linewidth=1.7, linestyle=style, marker="o", markersize=3, zorder=top
        )
    axes.set_xticks(list(values))
    axes.set_title(figures.plain(panel.title), loc="left", fontsize=10, fontweight="bold", color=figures.INK)
    axes.set_xlabel(panel.label, fontsize=figures.SMALL)
    figures.label_ends(axes, {name: float(line.mean[-1]) for name, line in panel.lines.items()}, colours)
    return figure
