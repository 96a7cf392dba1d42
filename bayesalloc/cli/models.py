"""`bayesalloc models`: what models are shipped."""

from bayesalloc.cli.options import DEFAULT, Common
from bayesalloc.cli.session import refusing, show


def models(*, common: Common = DEFAULT) -> None:
    """List the models that are shipped.

    Args:
        common: What every command takes.
    """
    with refusing():
        from bayesalloc import library

        shipped = {name: library.describe(name) for name in library.available("models")}
        text = "\n".join(f"{name}: {description}" for name, description in shipped.items())
        show(common, text, {"models": [{"name": name, "description": it} for name, it in shipped.items()]})
