"""What the labels of mechanisms in a record mean: a posterior carries the numbers, and the code of none."""

import dataclasses
import json
from collections.abc import Iterable, Mapping

import xarray as xr

from bayesalloc import library
from bayesalloc.environment import Environment, schema_of
from bayesalloc.errors import InputError, listed
from bayesalloc.mechanism import Mechanism, parse_mechanism


def carried_mechanisms(tree: xr.DataTree, given: Mapping[str, Mechanism], env: Environment) -> dict[str, Mechanism]:
    """An environment's mechanisms whose numbers a posterior carries, and of those given the ones that it does not."""
    file = tree.attrs.get("file", "the posterior")
    try:
        tables = json.loads(tree.attrs.get("mechanisms", "{}"))
    except (TypeError, ValueError, RecursionError):
        tables = None
    if not isinstance(tables, dict):
        raise InputError(f"{file}: its attribute 'mechanisms' is not a JSON object")
    found = dict(given)
    for label, table in tables.items():
        if isinstance(table, dict):
            parsed = parse_mechanism(table, f"{file}: mechanism '{label}'", schema_of(env))
            found[label] = dataclasses.replace(parsed, name=label)
        elif label not in given:
            raise InputError(f"{file}: '{label}' was a Python mechanism; give {label}.py among the mechanisms")
    return found


def meant(given: Mapping[str, Mechanism], labels: Iterable[str], period: str) -> list[str]:
    """Sentences on mechanisms that were given with a record."""
    hidden = [label for label in given if label in library.available("mechanisms")]
    found = [f"'{label}' means {given[label].path} here, not the shipped mechanism" for label in hidden]
    idle = [label for label in given if label not in set(labels)]
    return found + ([f"in no {period} in force: {listed(idle)}"] if idle else [])
