"""Tables: what they hold, for a page; how they look in a terminal; and numbers as JSON has them."""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

Name = Callable[[str], str]
ARMS_PER_TABLE = 3  # in 100 columns


class Sheet(NamedTuple):
    """A table: `keys` is how many of its columns are text; equal neighbours in the first one are shown once."""

    title: str
    header: list[str]
    rows: list[list[str]]
    keys: int = 1


def for_json(value: Any) -> Any:
    """The same with plain Python numbers, and None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): for_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [for_json(entry) for entry in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def document(sentences: Sequence[str], sheets: Sequence[Sheet]) -> Group:
    """Sentences and tables for a terminal, in 100 columns."""
    bullets = Table.grid(padding=(0, 1))
    for sentence in sentences:
        bullets.add_row("•", Text(sentence))
    return Group(bullets, Text(), *(part for sheet in sheets for part in (rendered(sheet), Text())))


def rendered(sheet: Sheet) -> Table:
    """A table for a terminal."""
    # Text, not str: a name in square brackets is not markup.
    title = Text(sheet.title, style="bold")
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", show_edge=False, padding=(0, 1, 0, 0))
    for i, heading in enumerate(sheet.header):
        heading = heading.replace("parameters :", "param :").replace("relative", "rel.")
        width = max(len(part) for part in [*(row[i] for row in sheet.rows), *heading.split()])
        justify = "left" if i < sheet.keys else "right"
        heading = Text(textwrap.fill(heading, width))
        table.add_column(heading, justify=justify, no_wrap=i >= sheet.keys, vertical="bottom")
    before = None
    for row in sheet.rows:
        table.add_row(*map(Text, ["" if sheet.keys > 1 and row[0] == before else row[0], *row[1:]]))
        before = row[0]
    return table
