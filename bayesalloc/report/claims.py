"""Published claims beside what is measured: a terminal table and a page, the same for every system."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table

from bayesalloc.claims import Findings, Picture, Row
from bayesalloc.report import MISSING, figures, page
from bayesalloc.report.tables import Sheet

SAID = {"holds": "yes", "does not hold": "no"}  # in a narrow column
TERMS = {
    "yes, no, undecided": "yes if the whole interval of the margin is above zero (or, without one, if the claim held in"
    " every repetition), no if none of it is, else undecided.",
    "needs learning": "the claim is about a learned method, which is not part of this run.",
}


def claims_text(found: Findings) -> Group:
    """All claims as a terminal table, and what was found in short."""
    table = Table(title=found.title, box=SIMPLE)
    beside = ("published", "measured") if any(row.published for row in found.rows) else ()
    header, rows = _columns(found, found.rows, ("section", "text", "where", *beside, "margin"))
    for column in header:
        table.add_column(column, justify="right" if column in beside else "left")
    before: list[str] = []
    for row in rows:
        same = row[:1] == before[:1] and 1 + (row[:2] == before[:2])
        table.add_row(*["" for _ in range(same)], *row[same:])
        before = row
    return Group(table, *found.sentences, *found.warnings)


def write_claims(found: Findings, path: Path, seed: int) -> Path:
    """Writes the page: what was measured, drawn, and all claims."""
    return page.write(page.frame(found.title, _body(found), seed), path)


def _body(found: Findings) -> Iterator[str]:
    yield page.answer(found.sentences, found.warnings)
    yield page.section("How to read it")
    yield page.terms({**found.terms, **TERMS, **{name: f"{text}." for name, text in found.measures.items()}})
    for section, title in found.sections.items():
        yield page.section(f"{section}: {title}" if len(found.sections) > 1 else title)
        for picture in found.pictures:
            if picture.section == section:
                yield _figure(picture)
        mine = [row for row in found.rows if row.section == section]
        header, rows = _columns(found, mine, ("text", "where", "published", "margin", "measured"))
        yield page.table(Sheet("Claims", header, rows, keys=2 if "where" in header else 1))


def _columns(found: Findings, rows: Sequence[Row], fields: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """The header and the rows; a column without an entry in any claim is left out."""
    kept = [field for field in fields if any(getattr(row, field) for row in found.rows)]
    names = {"section": "", "text": "claim"}
    header = [*(names.get(field, field) for field in kept), *found.measures]
    return header, [
        [
            *(getattr(row, field) or MISSING for field in kept),
            *(SAID.get(said, said) if (said := row.verdicts.get(name)) else MISSING for name in found.measures),
        ]
        for row in rows
    ]


def _figure(picture: Picture) -> str:
    panels = []
    for sweep in picture.panels:
        shown = "; ".join(
            f"{name} {' '.join(f'{value:.0f}' for value in line.mean)}" for name, line in sweep.lines.items()
        )
        alternative = f"{picture.section}, {sweep.title}: {shown}."
        panels.append(page.svg(figures.sweep(sweep), alternative))
    return page.figure(panels, picture.caption)
