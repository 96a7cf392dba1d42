"""Published claims beside what is measured: one way to run them, to judge them and to print them.

A system is a module here with a function `measure(asked) -> Findings`, and a line in SYSTEMS. Its claims are data, in
`models/published`.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayesalloc.claims.judging import Verdict
from bayesalloc.errors import InputError, listed

SYSTEMS = {name: f"bayesalloc.claims.{name}" for name in ("watershed", "srap", "altruism", "budget")}


class Asked(NamedTuple):
    """How much is to be measured.

    Attributes:
        seed: seed of the random numbers.
        full: whether to measure more than by default.
        progress: whether to show progress on stderr.
        options: what only some systems take, by name; without those that were not given.
    """

    seed: int = 0
    full: bool = False
    progress: bool = False
    options: Mapping[str, Any] = {}

    def only(self, system: str, *names: str) -> Mapping[str, Any]:
        """The options, which must be among those that a system takes.

        Raises:
            InputError: for others.
        """
        if strange := set(self.options) - set(names):
            takes = f"it takes {listed(names)}" if names else "it takes none of these options"
            raise InputError(f"{system} takes no {listed(strange)}: {takes}")
        return self.options


class Row(NamedTuple):
    """A claim as it is printed.

    Attributes:
        section: the experiment that it is about; "" where there is one only.
        text: the claim.
        verdicts: measure -> what it says; a measure that was not taken is left out.
        where: in which part of the experiment, or "".
        published: the published number, or "".
        measured: what was measured, or "".
        margin: by how much it holds, at which place, or "".
    """

    section: str
    text: str
    verdicts: Mapping[str, Verdict]
    where: str = ""
    published: str = ""
    measured: str = ""
    margin: str = ""


class Line(NamedTuple):
    """A method's averages over a sweep, with their intervals, each of shape (value,); "": a colour of the report's."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    colour: str = ""


class Sweep(NamedTuple):
    """A panel: lines by method over the values of a sweep."""

    title: str
    label: str
    values: Sequence[int]
    lines: Mapping[str, Line]


class Picture(NamedTuple):
    """Panels of a section with one caption."""

    section: str
    caption: str
    panels: Sequence[Sweep]


class Table(NamedTuple):
    """Numbers of a section, ready to be printed; the first column has names."""

    section: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


class Findings(NamedTuple):
    """Claims and what was measured, ready to be printed.

    Attributes:
        title: of the whole.
        rows: the claims.
        measures: measure -> what it is, in words; the first is the one that was published.
        sections: section -> its title.
        sentences: what was found, in short.
        record: everything, in types of JSON.
        data: everything that was measured.
        warnings: what was left out.
        terms: word -> what it means.
        pictures: what was measured, drawn.
        tables: what was measured, in numbers.
        named: field of a row -> its header, where that is not the field's own name.
    """

    title: str
    rows: Sequence[Row]
    measures: Mapping[str, str]
    sections: Mapping[str, str]
    sentences: Sequence[str]
    record: dict[str, Any]
    data: xr.DataTree
    warnings: Sequence[str] = ()
    terms: Mapping[str, str] = {}
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    named: Mapping[str, str] = {}


def measure(name: str, asked: Asked) -> Findings:
    """The claims of a system beside what is measured.

    Args:
        name: a name in SYSTEMS.
        asked: how much is measured.

    Raises:
        InputError: for a system that is not there, or options that it does not have.
    """
    if name not in SYSTEMS:
        raise InputError(f"nothing is published of '{name}'; there are {listed(SYSTEMS)}")
    return importlib.import_module(SYSTEMS[name]).measure(asked)
