"""`bayesalloc mechanisms`: what mechanisms are shipped."""

from bayesalloc.cli.options import DEFAULT, Common
from bayesalloc.cli.session import refusing, show


def mechanisms(*, common: Common = DEFAULT) -> None:
    """List the mechanisms that are shipped, with their parameters, units and sources.

    Args:
        common: What every command takes.
    """
    with refusing():
        from bayesalloc import library

        lines, items = [], []
        for name in library.available("mechanisms"):
            mechanism = library.load_mechanism(name)
            notes = {where: {"unit": unit, "source": source} for where, (unit, source) in mechanism.notes.items()}
            items.append({"name": name, "title": mechanism.title, "description": mechanism.description, **notes})
            lines.append(f"{name}: {mechanism.description}")
            lines += [f"    {where} [{note['unit']}]: {note['source']}" for where, note in notes.items()]
        show(common, "\n".join(lines), {"mechanisms": items})
