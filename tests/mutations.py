"""What goes wrong with files: a random change of bytes, or of one node of a document. For tests that try many."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

ODD = (
    None, True, False, 0, -1, 1, 0.5, 2**31, 2**64, -(2**63), 10**30, 1e-300, 1e300, float("nan"), float("inf"),
    float("-inf"), "", "nan", "1e999", "\x1b[2J\x1b]0;title\x07", "line\nbreak", "\u202eright", "x" * 5_000,
    "../../etc", [], {}, [[]], [None], ["a", 1], {"": 0}, [1] * 300,
)  # fmt: skip


def of_bytes(rng: np.random.Generator, data: bytes) -> bytes:
    """The bytes after one to three changes: a bit turned, a part cut, doubled, or replaced by noise or by others."""
    for _ in range(rng.integers(1, 4)):
        start, stop = sorted(int(k) for k in rng.integers(0, len(data) + 1, 2))
        stop = min(stop, start + int(rng.choice([1, 8, len(data)])))
        part = data[start:stop]
        match rng.integers(5):
            case 0 if part:
                data = data[:start] + bytes([part[0] ^ 1 << int(rng.integers(8))]) + data[start + 1 :]
            case 1:
                data = data[:start] + data[stop:]
            case 2:
                data = data[:stop] + part * int(rng.integers(1, 20)) + data[stop:]
            case 3:
                data = data[:start] + rng.bytes(len(part)) + data[stop:]
            case _:
                others = (
                    b"\x00",
                    b"\xef\xbb\xbf",
                    b"9" * 400,
                    b"[" * 3_000,
                    b"-",
                    b"NaN",
                    b'"',
                    b"&",
                    b"\xff\xfe",
                    b"}",
                )
                data = data[:start] + others[rng.integers(len(others))] + data[stop:]
    return data


def of_json(rng: np.random.Generator, value: Any) -> Any:
    """The document with a random node replaced by an odd value, nested more deeply, left out, or doubled."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places:
        return _odd(rng, value)
    holder, key = places[rng.integers(len(places))]
    if rng.random() < 0.15:
        del holder[key]
    elif rng.random() < 0.1 and isinstance(holder, list):
        holder.extend(copy.deepcopy(holder[:50]))
    else:
        holder[key] = _odd(rng, holder[key])
    return value


def _places(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield value, key
        yield from _places(each)


def _odd(rng: np.random.Generator, value: Any) -> Any:
    if rng.random() < 0.1:
        for _ in range(int(rng.choice([1, 5, 400]))):
            value = [value]
        return value
    if rng.random() < 0.2 and isinstance(value, int | float) and not isinstance(value, bool):
        return -value
    return copy.deepcopy(ODD[rng.integers(len(ODD))])
