"""One allocation as terminal tables."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table

SHOWN = 20  # shipments that are listed


def text(result: Mapping[str, Any]) -> Group:
    """The document of `bayesalloc allocate` as terminal tables."""
    table = Table(title=f"allocation by {result['method']}", box=SIMPLE, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    proven = " (proven optimal)" if result["optimal"] else ""
    table.add_row("social welfare", f"{result['social_welfare']:g}{proven}")
    table.add_row("utility of the tasks done", f"{result['utility']:g}")
    table.add_row("transfer cost", f"{result['transfer_cost']:g}")
    for name, label in {"social_welfare_hop": "social welfare, charged by hop", "upper_bound": "upper bound"}.items():
        if result[name] is not None:
            table.add_row(label, f"{result[name]:g}")
    table.add_row("tasks done", f"{len(result['tasks_done'])}")
    if result["messages"] is not None:
        table.add_row("messages", f"{result['messages']:.0f}")
    table.add_row("seconds", f"{result['seconds']:.3g}")
    sent = Table(title="shipments", box=SIMPLE)
    for column in ("task", "agent", "type", "quantity"):
        sent.add_column(column, justify="right")
    for row in result["allocation"][:SHOWN]:
        sent.add_row(*(str(row[column]) for column in ("task", "agent", "type", "quantity")))
    more = len(result["allocation"]) - SHOWN
    return Group(table, sent, *([f"and {more} more, in allocate.json"] if more > 0 else []))
