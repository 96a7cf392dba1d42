"""How large an input may be: every limit is stated here, and checked before any work is done."""

import math
import os
from pathlib import Path

from bayesalloc.errors import InputError

CSV_BYTES = 50_000_000
CSV_CELLS = 5_000_000
CSV_COLUMNS = 2_000
CELL = 1_000  # characters
TEXT_BYTES = 1_000_000  # of a TOML file
ANSWER_BYTES = 50_000_000  # of a JSON answer
CERT_BYTES = 1_000_000
EVIDENCE_BYTES = 4_000_000_000  # of all files together
TEXT = 2_000  # characters of a title or a description
LABEL = 100  # characters of a mechanism's name in a record
NESTED = 50  # tables or lists in one another
EXACT = 2**53  # whole numbers that a float holds exactly
YEARS = (-10_000, 10_000)
SMALLEST, LARGEST = 1.2e-38, 3.4e38  # sizes of numbers that single precision can hold
PERIOD_DRAWS = 10_000_000  # draws x horizon of a comparison
COUNTS = {
    "draws": (2, 1_000_000),
    "horizon": (2, 10_000),
    "futures": (1, 10_000),
    "chains": (1, 1_000),
    "warmup": (1, 1_000_000),
    "episodes": (1, 1_000_000_000),
    "graphs": (2, 10_000),
    "training": (0, 1_000_000_000),
    "worlds": (2, 10_000),
    "rounds": (2, 10_000),
    "bootstrap": (0, 10_000),
}


def counted(**counts: int | None) -> None:
    """Refuse counts outside the limits of their names; None is left to whoever chooses a default.

    >>> counted(draws=0)
    Traceback (most recent call last):
    bayesalloc.errors.InputError: draws is 0; it must be at least 2
    """
    for name, count in counts.items():
        low, high = COUNTS[name]
        if count is not None and count < low:
            raise InputError(f"{name} is {count}; it must be at least {low}")
        if count is not None and count > high:
            raise InputError(f"{name} is {count}; it must be at most {high:,}")
    size = (counts.get("draws") or 1) * (counts.get("horizon") or 1)
    if size > PERIOD_DRAWS:
        raise InputError(f"draws x horizon is {size:,}; it must be at most {PERIOD_DRAWS:,}")


def probability(name: str, value: float) -> None:
    """Refuse what is not between 0 and 1."""
    if not 0 < value < 1:
        raise InputError(f"{name} is {value:g}; it must be between 0 and 1")


def single_precision(value: float) -> str:
    """Why a number cannot be computed with in single precision; "" where it can.

    >>> single_precision(1e39)
    'it is too large for single precision (3.4e+38)'
    """
    if math.isfinite(value) and abs(value) > LARGEST:
        return f"it is too large for single precision ({LARGEST:g})"
    if 0 < abs(value) < SMALLEST:
        return f"it is too near zero for single precision ({SMALLEST:g})"
    return ""


def read_text(path: Path, most: int, kind: str, encoding: str = "utf-8") -> str:
    """A text file's content.

    Raises:
        InputError: where there is none, it is larger than `most` bytes, or it is not text.
    """
    if not os.path.isfile(path):  # neither a folder nor a pipe, which might never end
        there = os.path.exists(path)
        raise InputError(f"{path}: {'not a readable text file, but a folder or device' if there else 'no such file'}")
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise InputError(f"{path}: is larger than the {most:,} bytes that {kind} may have")
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a readable text file: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
