"""`bayesalloc models`: what models are shipped, and what one of them is about."""

from bayesalloc.cli.options import DEFAULT, Common
from bayesalloc.cli.session import refusing, show


def models(model: str | None = None, *, common: Common = DEFAULT) -> None:
    """List the models that are shipped, or what one has: its outcomes, its actions, and the columns of its records.

    Args:
        model: The name of a shipped model, or the path of a Python file with `environment`.
        common: What every command takes.
    """
    with refusing():
        from bayesalloc import library

        if model is None:
            shipped = {name: library.describe(name) for name in library.available("models")}
            text = "\n".join(f"{name}: {description}" for name, description in shipped.items())
            show(common, text, {"models": [{"name": name, "description": it} for name, it in shipped.items()]})
            return
        about = library.about(library.load_model(model))
        lines = [f"{about['name']}, by the {about['period']}"]
        for part in ("outcomes", "actions", "columns"):
            lines += [f"{part}:" if about[part] else f"{part}: none"]
            lines += [f"    {name}: {said}" if said else f"    {name}" for name, said in about[part].items()]
        show(common, "\n".join(lines), about)
