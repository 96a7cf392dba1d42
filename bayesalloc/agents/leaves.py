"""Arrays in one file, behind one line of JSON that says what they are: written whole or not at all."""

import io
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax

import bayesalloc
from bayesalloc.errors import InputError

FORMAT = 1
LONGEST_LINE = 2**24  # bytes


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
        file = io.BytesIO(self.data)
        try:
            found = eqx.tree_deserialise_leaves(file, jax.eval_shape(_plain, like))
        except (ValueError, RuntimeError, EOFError, OSError):
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
    """
    path = Path(path)
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, _plain(tree))
    data = file.getbuffer()
    about = {
        "bayesalloc": kind, "format": FORMAT, "version": bayesalloc.__version__, "bytes": len(data),
        "crc32": zlib.crc32(data),
    }  # fmt: skip
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as out:
            out.write(json.dumps({**about, **notes}, allow_nan=False).encode() + b"\n")
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written to: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


def read(path: str | Path, kind: str) -> Stored:
    """A file that `write` wrote, and that is whole.

    Raises:
        InputError: for a file that is not there, of another kind, of a later format, or damaged.
    """
    path = Path(path)
    first = header(path, kind)
    data = _bytes(path, first=False)
    if len(data) != first.get("bytes") or zlib.crc32(data) != first.get("crc32"):
        raise InputError(f"{path}: is damaged: its arrays are not those that were written")
    return Stored(path, first, data)


def header(path: str | Path, kind: str) -> dict[str, Any]:
    """Only the first line of such a file."""
    path = Path(path)
    line = _bytes(path, first=True)
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("bayesalloc") != kind:
        raise InputError(f"{path}: is not a {kind} of bayesalloc")
    if found.get("format") != FORMAT:
        raise InputError(f"{path}: is of format {found.get('format')}; this version reads format {FORMAT}")
    return found


def _bytes(path: Path, *, first: bool) -> bytes:
    try:
        with path.open("rb") as file:
            line = file.readline(LONGEST_LINE)
            return line if first else file.read()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(tree: Any) -> Any:
    """The tree with the data of random keys in their place."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, tree)
