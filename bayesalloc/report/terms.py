"""A mechanism as a TOML file: its numbers with units and sources, as an analyst would write them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bayesalloc.fields import unit_of
from bayesalloc.mechanism import Document, Mechanism, Schema, mechanism_fields


def toml(mechanism: Mechanism, schema: Schema) -> str:
    """The file of a mechanism that has no functions of its own; `load_mechanism` reads the same from it.

    What is as it would be without being said is left out, unless there is a note on it.
    """
    table = mechanism.table()
    assert table is not None
    defaults = {field.name: field.default for field in mechanism_fields(schema)}
    lines = [f"{_key(name)} = {_value(table[name])}" for name in ("title", "description")]
    lines += [f"model = {_value(mechanism.model)}"]
    sections: dict[tuple[str, ...], list[str]] = {}
    for path, value in _leaves({name: part for name, part in table.items() if name not in Document.__struct_fields__}):
        name = ".".join(path)
        unit, source = mechanism.notes.get(name, ("", ""))
        if value is None or (name not in mechanism.notes and name in defaults and defaults[name] == value):
            continue
        number = isinstance(value, float | int) and not isinstance(value, bool)
        parts = {"unit": unit or (unit_of(schema.parameters, path) if number else ""), "source": source}
        noted = "".join(f", {key} = {_value(part)}" for key, part in parts.items() if part)
        said = f"{{ value = {_value(value)}{noted} }}" if noted else _value(value)
        sections.setdefault(path[:-1], []).append(f"{_key(path[-1])} = {said}")
    for path in sorted(sections, key=lambda path: (len(path) > 0, [*sections].index(path))):
        lines += ["", f"[{'.'.join(map(_key, path))}]"] if path else []
        lines += sections[path]
    return "\n".join(lines) + "\n"


def _leaves(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value


def _key(name: str) -> str:
    return name if name.replace("-", "_").isidentifier() and name.isascii() else json.dumps(name)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {_value(each)}" for name, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return (
        json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        if isinstance(value, str)
        else json.dumps(value)
    )
