"""Content identifiers (CID, version 1, SHA-256) of files, of JSON in canonical form, and of AT Protocol records.

A file's identifier has the codec `raw`; a cert is a file of JSON in the canonical form of RFC 8785, so that whoever
puts it into a content-addressed store finds it under the same identifier. A record's is of its DAG-CBOR, as the AT
Protocol has it. Certs and records hold text, whole numbers, lists and objects; fractions stand in them as text.
"""

import base64
import binascii
import hashlib
import json
import struct
from typing import Any

from bayesalloc import limits
from bayesalloc.errors import InputError, quoted

RAW, DAG_CBOR = 0x55, 0x71
_SHA256 = b"\x12\x20"  # the multihash's code and its length in bytes


def canonical(value: Any) -> bytes:
    """JSON as RFC 8785 has it: no space, names in the order of their UTF-16 code units.

    >>> canonical({"b": 1, "a": ["x", "é"]}).decode()
    '{"a":["x","é"],"b":1}'
    """
    return json.dumps(_ordered(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _ordered(value[name]) for name in sorted(value, key=lambda name: name.encode("utf-16-be"))}
    return [_ordered(each) for each in value] if isinstance(value, list) else value


def dag_cbor(value: Any) -> bytes:
    """CBOR in the one form that DAG-CBOR allows: shortest lengths, names by their length and then their bytes.

    >>> dag_cbor({"b": 1, "a": "x"}).hex()
    'a261616178616201'
    """
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: (len(name.encode()), name.encode()))
        return _head(5, len(value)) + b"".join(dag_cbor(name) + dag_cbor(value[name]) for name in names)
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(map(dag_cbor, value))
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    return _head(0, value) if value >= 0 else _head(1, -1 - value)


def _head(kind: int, size: int) -> bytes:
    """The kind of an item, and a size in as few bytes as hold it."""
    if size < 24:
        return bytes([kind << 5 | size])
    code, form = next(
        (code, form)
        for code, form in ((24, ">B"), (25, ">H"), (26, ">I"), (27, ">Q"))
        if size < 1 << 8 * struct.calcsize(form)
    )
    return bytes([kind << 5 | code]) + struct.pack(form, size)


def identifier(content: bytes, codec: int = RAW) -> str:
    """The CID of bytes, in base 32.

    >>> identifier(b"")
    'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku'
    """
    return of_digest(hashlib.sha256(content).hexdigest(), codec)


def of_digest(sha256: str, codec: int = RAW) -> str:
    """The CID of what has this SHA-256."""
    binary = bytes([1, codec]) + _SHA256 + bytes.fromhex(sha256)
    return "b" + base64.b32encode(binary).decode().lower().rstrip("=")


def checked(text: str) -> str:
    """A CID that a person gave, which is of the kind that a cert has.

    Raises:
        InputError: where it is not.
    """
    text = text.strip().removeprefix("ipfs://")
    try:
        binary = base64.b32decode(text[1:].upper() + "=" * (-len(text[1:]) % 8))
    except (binascii.Error, ValueError):
        binary = b""
    if binary[:4] != bytes([1, RAW]) + _SHA256 or text != of_digest(binary[4:].hex()):
        raise InputError(
            f"--cid '{quoted(text)}': is not the CID of a cert, which begins with bafkrei and has 59 characters"
        )
    return text


def read(text: str, where: object) -> Any:
    """JSON from others, in which no name stands twice and every number is a whole one.

    Raises:
        InputError: where it is not.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise InputError(f"{where}: a name stands twice in one object")
        return dict(pairs)

    def refused(number: str) -> Any:
        raise InputError(f"{where}: has the number {quoted(number)}; certs have whole ones, and fractions as text")

    def whole(number: str) -> int:
        return int(number) if len(number) < 16 and abs(int(number)) <= limits.EXACT else refused(number)

    try:
        found = json.loads(text, object_pairs_hook=once, parse_float=refused, parse_constant=refused, parse_int=whole)
        text.encode()
        canonical(found)
        return found
    except InputError:
        raise
    except RecursionError:
        raise InputError(f"{where}: its objects or lists are nested too deeply") from None
    except UnicodeEncodeError:
        raise InputError(f"{where}: has half a character (a lone surrogate)") from None
    except ValueError as error:
        raise InputError(f"{where}: is no JSON: {quoted(error)}") from None
