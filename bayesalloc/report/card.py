"""The picture of one certified effect: its mean, its interval, and what it is.

Drawn in plain SVG and not by matplotlib, so that it is the same bytes on every machine and with every version: a cert
has its hash, and whoever checks one draws it again.
"""

import html
import textwrap
from collections.abc import Iterator

from bayesalloc.certifying.statements import FORECAST, UNSAID, Statement
from bayesalloc.errors import visible
from bayesalloc.report.words import number, places, words

WIDTH, HEIGHT, EDGE, AXIS = 900, 500, 60, 300  # of the picture, its margin, and where the effect stands
INK, SOFT, BLUE, BROWN = "#1d2329", "#59636e", "#0072B2", "#8a3b00"
LINE, LINES = 46, 3  # characters of a title's line, and how many there are at most


def picture(said: Statement) -> str:
    """The effect as an SVG file of its own."""
    inside = "\n".join([*_heading(said), *_effect(said), *_foot(said)])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        f' role="img" font-family="system-ui, Helvetica, Arial, sans-serif" fill="{INK}">\n'
        f"<title>{_safe(f'{said.label}: {said.treatment} instead of {said.control}, {said.outcome}')}</title>\n"
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n{inside}\n</svg>\n'
    )


def _heading(said: Statement) -> Iterator[str]:
    colour = BROWN if said.label == FORECAST else BLUE
    name = said.label.upper()
    yield (
        f'<rect x="{EDGE}" y="40" width="{18 * len(name) + 24}" height="36" rx="18" fill="none" stroke="{colour}"'
        ' stroke-width="2"/>'
    )
    yield _text(EDGE + 9 * len(name) + 12, 65, name, 19, colour, weight=700, anchor="middle", spacing=2)
    title = f"{words(said.treatment)} instead of {words(said.control)}"
    for place, line in enumerate(_wrapped(title, LINE, LINES)):
        yield _text(EDGE, 122 + 38 * place, line, 30, weight=600)


def _effect(said: Statement) -> Iterator[str]:
    low, high = min(said.low, said.effect, 0.0), max(said.high, said.effect, 0.0)
    room = 0.12 * (high - low) or 1.0
    scale = (WIDTH - 2 * EDGE) / (high - low + 2 * room)
    start, end, mean, zero = (EDGE + (value - low + room) * scale for value in (said.low, said.high, said.effect, 0.0))
    decimals = places(said.low, said.high, said.effect)
    yield (
        f'<line x1="{zero:.1f}" y1="{AXIS - 62}" x2="{zero:.1f}" y2="{AXIS + 50}" stroke="{SOFT}" stroke-width="1.5"'
        ' stroke-dasharray="5 4"/>'
    )
    yield _text(zero, AXIS + 72, "0: no change", 17, SOFT, anchor="middle")
    yield (
        f'<line x1="{start:.1f}" y1="{AXIS}" x2="{max(end, start + 1):.1f}" y2="{AXIS}" stroke="{BLUE}"'
        ' stroke-width="9"/>'
    )
    yield (f'<circle cx="{mean:.1f}" cy="{AXIS}" r="11" fill="#ffffff" stroke="{BLUE}" stroke-width="4"/>')
    shown = number(said.effect, decimals, signed=True).replace("-", "\N{MINUS SIGN}")
    yield _text(mean, AXIS - 26, shown, 30, weight=700, anchor="middle", halo=True)
    for x, value, anchor in ((start, said.low, "end"), (end, said.high, "start")):
        if end - start > 1:
            label = number(value, decimals).replace("-", "\N{MINUS SIGN}")
            yield _text(x, AXIS + 36, label, 19, anchor=anchor, halo=True)


def _foot(said: Statement) -> Iterator[str]:
    unit = "" if said.unit in ("1", UNSAID) else f", {said.unit}"
    over = f" ({said.over})" if said.over else ""
    bar = f"; the bar holds {100 * said.level:.0f} %" if said.high > said.low else ""
    for place, line in enumerate(_wrapped(f"change of {words(said.outcome)}{over}{unit}{bar}", 78, 2)):
        yield _text(EDGE, 416 + 24 * place, line, 19)
    yield _text(EDGE, 472, _wrapped(f"{said.kind}, {said.basis}: {said.model}", 86, 1)[0], 17, SOFT)


def _wrapped(text: str, width: int, lines: int) -> list[str]:
    return textwrap.wrap(text, width, max_lines=lines, placeholder=" \N{HORIZONTAL ELLIPSIS}") or [""]


def _text(
    x: int | float,
    y: int,
    text: str,
    size: int,
    colour: str = INK,
    *,
    weight: int = 400,
    anchor: str = "start",
    spacing: int = 0,
    halo: bool = False,
) -> str:
    more = ' stroke="#ffffff" stroke-width="5" paint-order="stroke"' if halo else ""
    more += f' letter-spacing="{spacing}"' if spacing else ""
    return (
        f'<text x="{x:.1f}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{colour}"'
        f' text-anchor="{anchor}"{more}>{_safe(text)}</text>'
    )


def _safe(text: str) -> str:
    return html.escape(visible(text))
