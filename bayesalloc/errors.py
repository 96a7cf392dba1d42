"""The errors a user can cause: each message is one sentence that says what was wrong and what is allowed."""

import re
from collections.abc import Iterable

# What a terminal obeys instead of showing it, and what turns the direction of reading; a line's end and a tab may stay.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
LONGEST_SENTENCE = 2000  # characters of a sentence on the terminal
QUOTED = 400  # characters of what a file says that a message repeats


class InputError(ValueError):
    """Input that was refused: the command line prints its one sentence and exits with code 2."""


class InterventionError(InputError):
    """An intervention that cannot be carried out: unknown or deterministic site, wrong shape or value."""


class NotWritten(Exception):
    """Results could not be written, as on a full disk: one sentence. What was there before is there still."""


def listed(names: Iterable[object]) -> str:
    """Names for a message, sorted and comma-separated; 'none' where there are none.

    >>> listed(["b", "a"])
    'a, b'
    """
    return ", ".join(sorted(str(name) for name in names)) or "none"


def visible(text: str) -> str:
    r"""Text that can go to a terminal or into a page: control characters from data are written out.

    >>> visible("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return _UNSEEN.sub(lambda found: ascii(found.group())[1:-1], text)


def quoted(said: object) -> str:
    r"""What a file or a parser says, for a message: one line, not too long, and nothing that a terminal would obey.

    >>> quoted("a\x1b[2J\nb")
    'a\\x1b[2J\\nb'
    """
    text = str(said)
    text = text if len(text) <= QUOTED else f"{text[:QUOTED]}..."
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def sentence(error: BaseException | str) -> str:
    """What was wrong, as one visible line of bounded length."""
    text = visible(" ".join(str(error).split()))
    half = LONGEST_SENTENCE // 2
    return text if len(text) <= LONGEST_SENTENCE else f"{text[:half]} ... {text[-half:]}"
