"""Arrays in one file, behind one line of JSON that says what they are: written whole or not at all.

The line ends with a checksum of itself, and has one of the arrays. A file without them is read by its structure alone.
"""

import io
import json
import math
import re
import stat
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import msgspec
import numpy as np

import bayesalloc
from bayesalloc import replacing
from bayesalloc.errors import InputError, NotWritten, quoted

FORMAT = 1
LONGEST_LINE = 2**24  # bytes
LARGEST = 2**34  # bytes of the arrays: a memory of many transitions
CHECKSUM = re.compile(rb', "header_crc32": ([0-9]+)}\n$')


class Stored(NamedTuple):
    """What a file holds: its first line, and the bytes of its arrays."""

    path: Path
    header: dict[str, Any]
    data: bytes

    def tree(self, like: Any) -> Any:
        """The arrays, in the structure of a pytree of arrays, or of their shapes and types.

        Raises:
            InputError: where the structure is not that of what was written.
        """
        file, plain = io.BytesIO(self.data), jax.eval_shape(_plain, like)
        if sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(plain)) > len(self.data):
            raise InputError(f"{self.path}: its arrays are smaller than those that its first line promises")
        try:
            found = jax.tree.map(lambda leaf: _array(file, leaf), plain)
        except Exception:  # numpy's parser of headers raises many kinds
            raise InputError(f"{self.path}: its arrays are not those that its first line promises") from None
        if file.read(1):
            raise InputError(f"{self.path}: has more arrays than its first line promises")
        return jax.tree.map(lambda leaf, as_: jax.random.wrap_key_data(leaf) if _is_key(as_) else leaf, found, like)


def write(path: str | Path, kind: str, notes: Mapping[str, Any], tree: Any) -> None:
    """Writes arrays under a temporary name that is then replaced, so that there is never half a file.

    Args:
        path: where to; its folder must be there.
        kind: what the file is.
        notes: what else its first line says, in types of JSON.
        tree: a pytree of arrays; random keys may be among them.

    Raises:
        NotWritten: where it cannot be written, as on a full disk; what was there before is there still.
    """
    path = Path(path)
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, _plain(tree))
    data = file.getbuffer()
    about = {
        "bayesalloc": kind,
        "format": FORMAT,
        "version": bayesalloc.__version__,
        "bytes": len(data),
        "crc32": zlib.crc32(data),
    }
    line = json.dumps({**about, **notes}, allow_nan=False).encode()
    header = line[:-1] + f', "header_crc32": {zlib.crc32(line)}}}\n'.encode()
    try:
        replacing.replace(path, [header, data])
    except OSError as error:
        raise NotWritten(f"{path}: cannot be written to: {error.strerror}") from None


def read(path: str | Path, kind: str, largest: int = LARGEST) -> Stored:
    """A file that `write` wrote, and that is whole.

    Raises:
        InputError: for a file that is not there, of another kind, of a later format, larger than `largest`, or damaged.
    """
    path = Path(path)
    first, size = header(path, kind), path.stat().st_size
    if size > largest + LONGEST_LINE:
        raise InputError(f"{path}: has {size:,} bytes; a {kind} has at most {largest:,}")
    data = _bytes(path, first=False)
    if len(data) != first.get("bytes", len(data)) or first.get("crc32") not in (None, zlib.crc32(data)):
        raise InputError(f"{path}: is damaged: its arrays are not those that were written")
    return Stored(path, first, data)


def header(path: str | Path, kind: str) -> dict[str, Any]:
    """Only the first line of such a file."""
    path = Path(path)
    line = _bytes(path, first=True)
    try:
        found = msgspec.json.decode(line)
    except (ValueError, RecursionError):  # msgspec's errors are among them
        found = None
    if not isinstance(found, dict) or found.get("bayesalloc") != kind:
        raise InputError(f"{path}: is not a {kind} of bayesalloc")
    if found.get("format") != FORMAT:
        raise InputError(f"{path}: is of format {quoted(found.get('format'))}; this version reads format {FORMAT}")
    written = CHECKSUM.search(line)
    if written and int(written[1]) != zlib.crc32(line[: written.start()] + b"}"):
        raise InputError(f"{path}: is damaged: its first line is not what was written")
    return found


def _bytes(path: Path, *, first: bool) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path}: is not a file")
        with path.open("rb") as file:
            line = file.readline(LONGEST_LINE)
            return line if first else file.read()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _array(file: io.BytesIO, like: jax.ShapeDtypeStruct) -> jax.Array:
    """The next array, which has the shape and the type it shall have; no more is read than it takes."""
    version = np.lib.format.read_magic(file)
    reading = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = reading(file)
    if shape != like.shape or dtype != like.dtype:
        raise ValueError("another array")
    flat = np.frombuffer(file.read(math.prod(shape) * dtype.itemsize), dtype)
    return jnp.asarray(flat.reshape(shape, order="F" if by_columns else "C"))


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(tree: Any) -> Any:
    """The tree with the data of random keys in their place."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, tree)
