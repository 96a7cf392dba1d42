"""The fields of a file: names, units, ranges, defaults and meanings, read from the types by which it is checked."""

import inspect
import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import NODEFAULT, inspect as types

from bayesalloc.errors import quoted

KINDS = {
    types.FloatType: "number",
    types.IntType: "whole number",
    types.StrType: "text",
    types.BoolType: "true or false",
}
WORDS = {"float": "a number", "int": "a whole number", "str": "a text", "array": "a list", "object": "a table"}
UNLIKE = re.compile(r"Expected `(?P<kinds>[^`]+)`, got `[^`]+` - at `\$\.(?P<where>[^`]+)`")
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


class Field(NamedTuple):
    """One field of a file.

    Attributes:
        name: its place, such as `incentive.modifier`; `<name>` stands for any name, `[]` for any place in a list.
        kind: what its value is.
        unit: its unit; "1" for a pure number, "" for what has none.
        allowed: its range in words; "" where anything of the kind is allowed.
        required: whether it has to be there (if the table does in which it stands).
        default: its value where it is not there; None where nothing is.
        meaning: what it is.
    """

    name: str
    kind: str
    unit: str
    allowed: str
    required: bool
    default: Any
    meaning: str

    def line(self) -> str:
        """The field in a line of text."""
        unit = f" [{self.unit}]" if self.unit else ""
        more = "required" if self.required else f"default {self.default}" if self.default is not None else "optional"
        about = ", ".join(part for part in (self.kind, self.allowed, more) if part)
        return f"{self.name}{unit}: {self.meaning}{' ' if self.meaning else ''}({about})"


def fields(kind: type[msgspec.Struct]) -> list[Field]:
    """The fields of a file that is read as a Struct, those of its tables among them.

    >>> from typing import Annotated
    >>> class Tax(msgspec.Struct):
    ...     '''A tax.
    ...
    ...     Attributes:
    ...         rate: share of income that is paid.
    ...     '''
    ...     rate: Annotated[float, msgspec.Meta(ge=0, le=1, extra={"unit": "1"})] = 0.2
    >>> print(fields(Tax)[0].line())
    rate [1]: share of income that is paid. (number, at least 0, at most 1, default 0.2)
    """
    return list(_of_struct(types.type_info(kind), ""))


def unlike(error: Exception, data: bytes) -> str:
    """What msgspec says of a value of another kind in a JSON document, with the value and in words; "" of other faults.

    >>> fault = msgspec.ValidationError("Expected `float`, got `str` - at `$.edges[0][0]`")
    >>> unlike(fault, b'{"edges": [["a", 1]]}')
    "edges[0][0] is 'a'; it must be a number"
    """
    found = UNLIKE.fullmatch(str(error))
    if found is None:
        return ""
    try:
        value = msgspec.json.decode(data)
    except msgspec.DecodeError:  # what comes after that value is no JSON: the first fault says enough
        return ""
    for step in re.findall(r"\w+", found["where"]):
        value = value[int(step) if isinstance(value, list) else step]
    shown = f"'{quoted(value)}'" if isinstance(value, str) else quoted(json.dumps(value, ensure_ascii=False))
    allowed = [WORDS.get(each, each) for each in found["kinds"].split(" | ")]
    return f"{found['where']} is {shown}; it must be {' or '.join(allowed)}"


def unit_of(kind: type[msgspec.Struct], where: Sequence[str]) -> str:
    """The unit of the field at a path; "" where it has none."""
    return _simple(_type_at(kind, where))[1]


def range_of(kind: type[msgspec.Struct], where: Sequence[str]) -> tuple[float, float]:
    """Between what the number at a path may be, ends included."""
    info: Any = _simple(_type_at(kind, where))[0]
    low, high = getattr(info, "ge", None), getattr(info, "le", None)
    return -math.inf if low is None else float(low), math.inf if high is None else float(high)


def _type_at(kind: type[msgspec.Struct], where: Sequence[str]) -> Any:
    info: Any = types.type_info(kind)
    for part in where:
        if isinstance(info, types.StructType):
            info = {field.name: field.type for field in info.fields}[part]
        else:
            info = _simple(info)[0].value_type
    return info


def _of_struct(info: Any, prefix: str) -> Iterator[Field]:
    meanings = _meanings(info.cls)
    for field in info.fields:
        default = None if field.default is NODEFAULT else field.default
        meaning = meanings.get(field.name, "")
        yield from _of_type(field.type, prefix + field.name, meaning, default, required=field.required)


def _of_type(info: Any, name: str, meaning: str, default: Any, *, required: bool) -> Iterator[Field]:
    inner, unit = _simple(info)
    if isinstance(inner, types.StructType):
        yield from _of_struct(inner, f"{name}.")
    elif isinstance(inner, types.DictType):
        yield from _of_type(inner.value_type, f"{name}.<name>", meaning, None, required=False)
    elif isinstance(inner, types.ListType):
        yield from _of_type(inner.item_type, f"{name}[]", meaning, None, required=required)
    else:
        bounds = {bound: value for bound in BOUNDS if (value := getattr(inner, bound, None)) is not None}
        allowed = ", ".join(f"{BOUNDS[bound]} {value:,.10g}" for bound, value in bounds.items())
        yield Field(name, _kind(info), unit, allowed, required, default, meaning)


def _simple(info: Any) -> tuple[Any, str]:
    """A type without what is around it, and its unit."""
    unit = ""
    while isinstance(info, types.UnionType | types.Metadata):
        if isinstance(info, types.Metadata):
            unit, info = (info.extra or {}).get("unit", unit), info.type
        else:
            info = info.types[0]
    return info, unit


def _kind(info: Any) -> str:
    """What a value may be, in words."""
    if isinstance(info, types.Metadata):
        return _kind(info.type)
    if isinstance(info, types.UnionType):
        return " or ".join(_kind(each) for each in info.types if not isinstance(each, types.NoneType))
    return f"list of {_kind(info.item_type)}" if isinstance(info, types.ListType) else KINDS.get(type(info), "value")


def _meanings(kind: type) -> dict[str, str]:
    """Field -> what the `Attributes` of a docstring say of it."""
    _, _, listed = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    joined = re.sub(r"\n {5,}", " ", listed)
    found = re.findall(r"^ {4}([\w, ]+): (.*)$", joined, flags=re.MULTILINE)
    return {name.strip(): meaning for names, meaning in found for name in names.split(",")}
