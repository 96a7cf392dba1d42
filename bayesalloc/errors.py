"""The errors a user can cause: each message is one sentence that says what was wrong and what is allowed."""

from collections.abc import Iterable


class InputError(ValueError):
    """Input that was refused: the command line prints its one sentence and exits with code 2."""


class InterventionError(InputError):
    """An intervention that cannot be carried out: unknown or deterministic site, wrong shape or value."""


def listed(names: Iterable[object]) -> str:
    """Names for a message, sorted and comma-separated; 'none' where there are none.

    >>> listed(["b", "a"])
    'a, b'
    """
    return ", ".join(sorted(str(name) for name in names)) or "none"
