"""Malformed inputs from good ones, by a seeded generator: what the fuzz tests feed to loaders."""

import json
import math
from typing import Any

import numpy as np

# What has broken readers before, as text that may stand anywhere.
PIECES = [
    "", " ", "\t", "\r\n", "\n\n", ",", ",,,", '"', "'", ";", "=", "[", "]", "{", "}", "[[", "#", "\\", "/", "..",
    "0", "-0", "-1", "1e39", "-1e39", "1e-50", "1e400", "nan", "inf", "-Infinity", "null", "true", "1_0", "0x10", "-",
    "--", "9" * 20, "9" * 400, "9" * 5000, "1.5", "1e3", "2001", "-2001", "999999", "\x00", "\x1b[2J", "\x07", "\u202e",
    "\ufeff", "é", "日本", "\ud800", "a" * 300, "helper.py", "../helper.py", "/dev/zero", "cost_sharing", "mechanism",
    "[" * 2000, "{" * 2000, "(" * 200, "year", "chain", "draw", "__proto__", "%s", "NULL", "=cmd()", ".py",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 10**9, 10**12, 10**30, -(10**30), 0.5, -0.5, 1e39, 1e-50, math.nan, math.inf,
    "", "a", "a" * 5000, "\x1b[2J", "helper.py", [], {}, [[]], [{}], [1, 2, 3], ["a"], [[1, 2], [3]], {"a": 1},
    {"value": 1}, {"value": {"value": 1}}, [None], "0", "1e39", "NaN", [0] * 1000,
]  # fmt: skip


def of_bytes(rng: np.random.Generator, data: bytes) -> bytes:
    """The same file with one to four faults: bits flipped, parts lost, doubled, moved, or replaced by other text."""
    found = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at, end = sorted(int(place) for place in rng.integers(0, len(found) + 1, 2))
        end = min(end, at + int(rng.choice([1, 4, 40, 4000])))
        match int(rng.integers(7)):
            case 0 if found:
                found[min(at, len(found) - 1)] ^= 1 << int(rng.integers(8))
            case 1:
                del found[at:end]
            case 2:
                found[at:at] = found[at:end] * int(rng.choice([1, 2, 50]))
            case 3:
                found[at:at] = _piece(rng)
            case 4:
                found[at:end] = _piece(rng)
            case 5:
                found[at:end] = rng.bytes(end - at)
            case _:
                del found[at if rng.random() < 0.3 else end + 1 :]
    return bytes(found)


def of_json(rng: np.random.Generator, value: Any) -> Any:
    """The same tree of JSON with one to three faults: values replaced, keys lost, renamed or added, lists grown."""
    found = json.loads(json.dumps(value))
    for _ in range(int(rng.integers(1, 4))):
        found = _changed(rng, found)
    return found


def _changed(rng: np.random.Generator, value: Any) -> Any:
    """One fault somewhere below."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = list(value)[int(rng.integers(len(value)))]
        match int(rng.integers(8)):
            case 0:
                return {name: other for name, other in value.items() if name != key}
            case 1:
                return {**value, _text(rng): value[key]}
            case 2:
                return {(_text(rng) if name == key else name): other for name, other in value.items()}
            case _:
                return {**value, key: _changed(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = int(rng.integers(len(value)))
        match int(rng.integers(6)):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return value[:at] + [value[at]] * int(rng.choice([2, 100])) + value[at:]
            case _:
                return [*value[:at], _changed(rng, value[at]), *value[at + 1 :]]
    return VALUES[int(rng.integers(len(VALUES)))]


def text(rng: np.random.Generator, good: str) -> str:
    """A command line's text with faults; no zero bytes and no bytes that are not text, which no system hands on."""
    return of_bytes(rng, good.encode()).decode(errors="replace").replace("\x00", "")


def _text(rng: np.random.Generator) -> str:
    return PIECES[int(rng.integers(len(PIECES)))].encode("utf-8", "replace").decode()


def _piece(rng: np.random.Generator) -> bytes:
    return PIECES[int(rng.integers(len(PIECES)))].encode("utf-8", "surrogatepass")
