"""How every document reads a result: groups, labels of outcomes and of their elements, and what to speak of first."""

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayesalloc.inference.names import unescaped
from bayesalloc.report.tables import Name
from bayesalloc.report.words import listing

MANY = 8  # more names than this are counted instead of listed
FEW = 4  # elements of an outcome up to which each is spoken of
ELEMENTS = 100  # elements of an outcome that are shown; a result's file has all
Statistics = dict[str, dict[str, dict[str, float]]]  # outcome -> arm -> statistic -> value


class Part(NamedTuple):
    """What a label of a comparison stands for.

    Attributes:
        outcome: the outcome.
        element: dimension -> coordinate of one element, or None for a single number or a mean.
        over: what a mean is over, such as "mean over 12 year", or None.
    """

    outcome: str
    element: dict[str, Any] | None = None
    over: str | None = None


class Measure(NamedTuple):
    """How one outcome is measured; the fields of `bayesalloc.Outcome`."""

    unit: str = ""
    better: str = ""
    dims: Sequence[str] = ()
    at: str = "periods"


def measures(tree: xr.DataTree) -> dict[str, Measure]:
    """Outcome -> how it is measured, as the result's attributes say; without the unit "1" of pure numbers."""
    given = {name: Measure(**fields) for name, fields in json.loads(tree.attrs.get("units", "{}")).items()}
    return {name: known._replace(unit="") if known.unit == "1" else known for name, known in given.items()}


def measure(tree: xr.DataTree, label: str) -> Measure:
    """How the outcome of a label is measured; `payoff.dam_owner` as `payoff`."""
    known = measures(tree)
    return known.get(label) or known.get(label.partition(".")[0], Measure())


def group(tree: xr.DataTree, name: str) -> xr.Dataset:
    """One group of a result; empty where the result does not have it."""
    return tree[name].to_dataset() if name in tree.children else xr.Dataset()


def flat(dataset: xr.Dataset, *keep: str, most: int | None = None) -> dict[str, np.ndarray]:
    """Label -> values with the axes `keep`; what is left of a variable's axes becomes part of the label.

    Variables that lack one of the axes are left out, and elements of a variable beyond `most`.

    >>> flat(xr.Dataset({"payoff": (("arm", "agent"), [[1, 2]])}, {"agent": ["a", "b"]}), "arm")
    {'payoff.a': array([1]), 'payoff.b': array([2])}
    """
    return {label: values for label, (_, values) in _flat(dataset, *keep, most=most).items()}


def _flat(dataset: xr.Dataset, *keep: str, most: int | None = None) -> dict[str, tuple[Part, np.ndarray]]:
    found = {}
    for key, variable in dataset.data_vars.items():
        if not set(keep) <= set(variable.dims):
            continue
        rest = [dim for dim in variable.dims if dim not in keep]
        values = variable.transpose(*keep, *rest).values
        values = values.astype(float) if values.dtype.kind == "f" else values
        labels = [variable[dim].values.tolist() for dim in rest]
        name, dims = unescaped(str(key)), [unescaped(str(dim)) for dim in rest]
        for index in itertools.islice(itertools.product(*(range(len(names)) for names in labels)), most):
            element = {dim: names[i] for dim, names, i in zip(dims, labels, index, strict=True)}
            label = ".".join([name, *map(str, element.values())])
            found[label] = Part(name, element or None), values[(..., *index)]
    return found


def statistics(dataset: xr.Dataset, axis: str) -> Statistics:
    """Outcome -> arm -> statistic -> value, of a group that has the axes `statistic` and `axis`."""
    if "statistic" not in dataset.coords:
        return {}
    arms, names = dataset[axis].values, dataset["statistic"].values
    return {
        label: {
            str(arm): {str(name): float(value) for name, value in zip(names, column, strict=True)}
            for arm, column in zip(arms, values.T, strict=True)
        }
        for label, values in flat(dataset, "statistic", axis, most=ELEMENTS).items()
    }


def arms_of(tree: xr.DataTree) -> Statistics:
    """Label -> arm -> statistic -> value of a comparison's arms; means over elements before the elements."""
    return _in_order(tree, "arms", "arm_means", "arm")


def effects_of(tree: xr.DataTree) -> Statistics:
    """Label -> treatment -> statistic -> value of a comparison's effects; means over elements before the elements."""
    return _in_order(tree, "effects", "effect_means", "treatment")


def _in_order(tree: xr.DataTree, elements: str, means: str, axis: str) -> Statistics:
    found = {**statistics(group(tree, means), axis), **statistics(group(tree, elements), axis)}
    return {label: found[label] for label in parts(tree) if label in found}


def parts(tree: xr.DataTree) -> dict[str, Part]:
    """The labels of a comparison, outcome by outcome, and what each stands for."""
    means = {unescaped(str(name)): each.attrs["over"] for name, each in group(tree, "effect_means").data_vars.items()}
    effects = group(tree, "effects")
    found = {label: part for label, (part, _) in _flat(effects, "statistic", "treatment", most=ELEMENTS).items()}
    ordered: dict[str, Part] = {}
    for outcome in [*measures(tree), *(part.outcome for part in found.values())]:
        if outcome in means:
            ordered.setdefault(outcome, Part(outcome, None, means[outcome]))
        ordered |= {label: part for label, part in found.items() if part.outcome == outcome and label not in ordered}
    return ordered


def main_outcomes(tree: xr.DataTree, *, directed: bool = True) -> list[str]:
    """The outcomes to speak of first: one number each and a good direction; where there are none, all.

    Of a plain model, whose outcomes have no direction, means over elements, and the elements where they are few or
    have no mean.

    Args:
        tree: a result of `compare` or `counterfactual`.
        directed: False also takes outcomes of one number without a good direction.
    """
    known = measures(tree)
    if tree.attrs.get("horizon", 1) == 0:
        return _plain_outcomes(tree)
    scalar = [name for name, m in known.items() if not m.dims]
    good = [name for name in scalar if known[name].better]
    rest = [name for name in scalar if name not in good]
    chosen = (good or rest) if directed else good + rest
    return chosen or every_outcome(tree)


def _plain_outcomes(tree: xr.DataTree) -> list[str]:
    by_outcome: dict[str, list[str]] = {}
    every = parts(tree)
    for label, part in every.items():
        by_outcome.setdefault(part.outcome, []).append(label)
    chosen = []
    for labels in by_outcome.values():
        whole = [label for label in labels if every[label].element is None]
        single = [label for label in labels if every[label].element is not None]
        chosen += whole + (single if len(single) <= FEW else [] if whole else single[:MANY])
    return chosen


def every_outcome(tree: xr.DataTree) -> list[str]:
    """All outcomes of a comparison or counterfactual, those of several agents one by one."""
    return list(parts(tree) if "arms" in tree.children else flat(group(tree, "effects"), "statistic", period(tree)))


def period(tree: xr.DataTree) -> str:
    """What the result's model calls a period: "year", "round"; "year" where the result does not say."""
    return str(tree.attrs.get("period", "year"))


def periods(tree: xr.DataTree, count: int) -> str:
    """A number of periods in words, such as "20 years"."""
    return f"{count} {period(tree)}s"  # of which there are two or more


def titled(tree: xr.DataTree, label: str, name: Callable[[str], str] = str) -> str:
    """A label as it is read: a mean over elements says what it is over, a numbered element which it is."""
    part = parts(tree).get(label) if "arms" in tree.children else None
    if part is None or (part.over is None and not _numbered(part)):
        return name(label)
    own = f"{part.outcome}_dim_"
    places = [
        f"{value}" if dim.startswith(own) else f"{name(dim)} {value}" for dim, value in (part.element or {}).items()
    ]
    return f"{name(part.outcome)} ({part.over or ', '.join(places)})"


def _numbered(part: Part) -> bool:
    return bool(part.element) and all(isinstance(value, int) for value in (part.element or {}).values())


def intervention(tree: xr.DataTree) -> str:
    """What was done in a counterfactual: the name of an arm, or the sites and their values."""
    text = str(tree.attrs["intervention"])
    if not text.startswith("{"):
        return text
    return listing(f"{site} = {value}" for site, value in json.loads(text).items())


def setting(tree: xr.DataTree) -> str:
    """How a comparison was made, in one line."""
    prior = "under the prior, at the data given" if tree.attrs.get("recorded") else "under the prior (no record used)"
    basis = "given the record (posterior)" if tree.attrs["basis"] == "posterior" else prior
    run = f", {periods(tree, tree.attrs['horizon'])}" if tree.attrs["horizon"] else ""
    return (
        f"interventional effects {basis}; {tree.attrs['draws']} draws of the parameters x {tree.attrs['futures']}"
        f" futures{run}; {100 * tree.attrs['interval']:.0f} % equal-tailed intervals"
    )


def notes(tree: xr.DataTree) -> list[str]:
    """What was assumed or is to be kept in mind: the attribute `warnings` of a result, as sentences."""
    return [f"Note: {warning}." for warning in json.loads(tree.attrs.get("warnings", "[]"))]


def named(dataset: xr.Dataset) -> dict[str, dict[str, float]]:
    """Label -> statistic -> value, of what has the axis `statistic` and elements."""
    names = dataset["statistic"].values.tolist()
    return {
        label: {name: float(value) for name, value in zip(names, values, strict=True)}
        for label, values in flat(dataset, "statistic").items()
    }


def labelled(tree: xr.DataTree, outcome: str, name: Name = str) -> str:
    """An outcome with its unit."""
    unit = measure(tree, outcome).unit
    return f"{titled(tree, outcome, name)} ({unit})" if unit else titled(tree, outcome, name)


def level_of(tree: xr.DataTree) -> str:
    """The probability of the result's intervals, in percent."""
    return f"{100 * tree.attrs['interval']:.0f}\N{NO-BREAK SPACE}%"


def header_of(tree: xr.DataTree, seed: int) -> dict[str, Any]:
    """What the JSON of a comparison and that of a counterfactual begin with."""
    shared = {key: tree.attrs[key] for key in ("model", "kind", "basis", "draws")}
    return {**shared, "seed": seed, "interval": {"kind": "eti", "prob": tree.attrs["interval"]}}
