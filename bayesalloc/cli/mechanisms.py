"""`bayesalloc mechanisms`: what mechanisms are shipped, and what a mechanism file may hold."""

from bayesalloc.cli.options import DEFAULT, Common
from bayesalloc.cli.session import refusing, show


def mechanisms(*, fields: str | None = None, common: Common = DEFAULT) -> None:
    """List the mechanisms that are shipped, with their models, parameters, units and sources.

    Args:
        fields: List instead what a mechanism file of a model may hold: its name, or the path of its Python file.
        common: What every command takes.
    """
    with refusing():
        from bayesalloc import library

        if fields is not None:
            from bayesalloc.environment import schema_of
            from bayesalloc.mechanism import mechanism_fields

            schema = schema_of(library.load_model(fields))
            found = mechanism_fields(schema)
            rules = f"functions of a Python file: {', '.join(schema.rules)}" if schema.rules else ""
            text = "\n".join([*(field.line() for field in found), *filter(None, [rules])])
            about = {"fields": [field._asdict() for field in found], "functions": list(schema.rules)}
            show(common, text, {"model": schema.model, **about})
            return
        lines, items = [], []
        for name in library.available("mechanisms"):
            mechanism = library.load_mechanism(name)
            notes = {where: {"unit": unit, "source": source} for where, (unit, source) in mechanism.notes.items()}
            about = {"name": name, "model": mechanism.model, "title": mechanism.title}
            items.append({**about, "description": mechanism.description, **notes})
            lines.append(f"{name} ({mechanism.model}): {mechanism.description}")
            lines += [f"    {where} [{note['unit']}]: {note['source']}" for where, note in notes.items()]
        show(common, "\n".join(lines), {"mechanisms": items})
