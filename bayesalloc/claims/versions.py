"""Which version of the code something was measured by: a hash of what modules do, comments and docstrings aside."""

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterable


def code_of(modules: Iterable[str], followed: tuple[str, ...]) -> str:
    """A hash of modules and of those that they use.

    Args:
        modules: names of imported modules.
        followed: beginnings of the names of used modules that count as well.
    """
    found: dict[str, str] = {}
    left = [*modules]
    while left:
        name = left.pop()
        if name in found:
            continue
        module = sys.modules[name]
        found[name] = ast.dump(_without_docstrings(ast.parse(inspect.getsource(module))))
        for value in vars(module).values():
            used = value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", None)
            if isinstance(used, str) and used.startswith(followed):
                left.append(used)
    return hashlib.blake2b(repr(sorted(found.items())).encode(), digest_size=10).hexdigest()


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:]
    return tree
