"""One question put to books: what setting a treatment does to an outcome, and whether they can tell."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from bayesalloc.discovery.books import Books
from bayesalloc.discovery.bootstrap import clustered
from bayesalloc.discovery.effects import SURE, Estimate, effects_of, evidence
from bayesalloc.discovery.graph import Graph
from bayesalloc.discovery.knowledge import Office
from bayesalloc.discovery.search import USUAL, discover
from bayesalloc.effects.contrasts import Difference
from bayesalloc.errors import InputError, listed, quoted
from bayesalloc.threads import one_thread

RESAMPLED = 100


class Answer(NamedTuple):
    """The effect of raising a treatment by one, in the outcome's own unit.

    Attributes:
        outcome: on what.
        effect: statistics over graphs, adjustment sets and draws.
        identified: whether nearly all graphs, with whatever is adjusted for, give one effect.
        range: the least and the largest of the effects by single adjustment sets.
        estimate: the same of all other variables.
        method: in words.
        graphs: how many were looked at.
        warnings: sentences; those on the books first, then what the books cannot tell and what would.
    """

    outcome: str
    effect: Difference
    identified: bool
    range: tuple[float, float]
    estimate: Estimate
    method: str
    graphs: int
    warnings: tuple[str, ...]


@one_thread
def ask(
    books: Books,
    treatment: str,
    outcome: str,
    office: Office | None = None,
    graph: Graph | None = None,
    *,
    bootstrap: int = RESAMPLED,
    seed: int = 0,
    interval: float = 0.89,
    where: str | Path = "knowledge",
) -> Answer:
    """The effect of one variable on another.

    Args:
        books: the table, of numbers.
        treatment: what is set.
        outcome: what it is to move.
        office: what is known beside the books.
        graph: what causes what, where that is known; else it is learned, in `bootstrap` random halves of the rows.
        bootstrap: how many; 0: in all rows, once, so that nothing is said of how sure the graph is.
        seed: of all draws.
        interval: probability of the interval.
        where: whose knowledge or graph it is, in messages.

    Raises:
        InputError: for a treatment or outcome that is no variable, or both the same; for a graph that has a circle or
            lacks one of them; for too few rows.
    """
    for name in (treatment, outcome):
        books.column(name)
    if treatment == outcome:
        raise InputError(f"the effect of '{quoted(treatment)}' on itself is asked; an outcome must be another variable")
    warnings = list(books.warnings)
    if graph is not None:
        # Where rows of a unit are alike, slopes are taken from halves of the units all the same.
        times = bootstrap if bootstrap and clustered(books) else 1
        samples = np.repeat(_matched(graph, books, where)[None], times, axis=0)
    else:
        found = discover(books, office, USUAL._replace(halves=True), bootstrap=bootstrap, seed=seed, where=where)
        samples, warnings = found.samples, list(found.warnings)
    estimate = effects_of(treatment, evidence(books, len(samples), seed), samples, np.random.default_rng(seed))
    if graph is None and office is not None:
        estimate = _in_time(estimate, office)
    place = books.names.index(outcome)
    if np.isnan(estimate.draws[:, place]).any():
        most = max(len(chosen) for chosen, _ in estimate.sets)
        raise InputError(
            f"the books have too few rows with '{quoted(treatment)}' and '{quoted(outcome)}' to hold {most} other"
            " variables fixed"
        )
    shut = [members for members in books.closed if treatment in members]
    identified = float(estimate.identified[place]) >= SURE and not shut
    for members in shut:
        warnings.append(
            f"{listed(members)} add up to what never changes: what one gains others lose, so no effect of"
            f" '{quoted(treatment)}' alone can be told, only that of a transfer"
        )
    if not identified and not shut:
        warnings.append(_untold(estimate, place))
    means = estimate.means[:, place]
    kinds = "the graph given" if graph is not None else f"{len(samples)} graphs" if len(samples) > 1 else "one graph"
    if estimate.clustered:
        kinds += f", in {len(samples)} random halves of the units"
    return Answer(
        outcome,
        estimate.on(outcome, interval),
        identified,
        (float(means.min()), float(means.max())),
        estimate,
        f"linear regression with direct causes of the treatment held fixed, over {kinds}",
        len(samples),
        tuple(warnings),
    )


def _matched(graph: Graph, books: Books, where: str | Path) -> np.ndarray:
    """The graph's adjacency in the order of the books; of what stands in them."""
    if circle := graph.cycle():
        raise InputError(f"{where}: the graph has a circle: {quoted(' -> '.join(circle))}")
    for name in books.names:
        if name not in graph.nodes:
            raise InputError(f"{where}: the graph has no node '{quoted(name)}', which is a column of the books")
    for name in graph.nodes:
        if name not in books.names:
            why = books.left_out.get(name, "there is no such column")
            raise InputError(f"{where}: node '{quoted(name)}' is not in the books: {why}")
    order = [graph.index(name) for name in books.names]
    return graph.adjacency[np.ix_(order, order)]


def _in_time(estimate: Estimate, office: Office) -> Estimate:
    """The same, where nothing moves what is in an earlier tier."""
    tier = {name: number for number, names in enumerate(office.ordered) for name in names}
    own = tier.get(estimate.treatment, 0)
    early = np.array([tier.get(name, own) < own for name in estimate.names])
    return estimate._replace(
        draws=np.where(early, 0.0, estimate.draws),
        means=np.where(early, 0.0, estimate.means),
        identified=np.where(early, 1.0, estimate.identified),
    )


def _untold(estimate: Estimate, place: int) -> str:
    """A sentence on what the books cannot tell, and on what would."""
    treatment, open_ = estimate.treatment, estimate.undecided[place]
    shown = listed(open_[:3]) if open_ else "its neighbours"
    return (
        f"the books cannot tell the effect of '{quoted(treatment)}' on '{quoted(estimate.names[place])}': whether"
        f" {shown} come before or after '{quoted(treatment)}' decides it; a tier that says so would tell, or a period"
        f" in which '{quoted(treatment)}' is set on purpose"
    )
