"""Files from others: looked at before they are read, so that none hangs or fills the memory."""

import stat
from pathlib import Path

from bayesalloc.errors import InputError

LARGEST_TEXT = 2**25  # bytes of a problem, a network or a setting: 32 MiB


def read_bytes(path: str | Path, largest: int = LARGEST_TEXT) -> bytes:
    """What a regular file holds.

    Raises:
        InputError: where it is not there, no regular file (a pipe or a device may never end), or larger than `largest`.
    """
    path = Path(path)
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise InputError(f"{path}: is not a file")
        if about.st_size <= largest:
            with path.open("rb") as file:
                data = file.read(largest + 1)
            if len(data) <= largest:
                return data
        raise InputError(f"{path}: has more than the {largest:,} bytes that are read")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def read_text(path: str | Path, largest: int = LARGEST_TEXT) -> str:
    """The same as text in UTF-8, with or without a byte-order mark.

    Raises:
        InputError: also where it is not UTF-8.
    """
    try:
        return read_bytes(path, largest).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not text in UTF-8 (byte {error.start})") from None
