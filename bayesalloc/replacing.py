"""A file written in one step: whoever reads it finds the old one or the new one, and never a part."""

import os
from collections.abc import Iterable
from pathlib import Path


def replace(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file beside its place, see it on the disk, and give it its name.

    Raises:
        OSError: where it cannot be written; what was there before is there still, and nothing is left beside it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
