"""One question put to books: what setting a treatment does to an outcome, and whether they can tell."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bayesalloc.discovery.books import Books
from bayesalloc.discovery.bootstrap import clustered
from bayesalloc.discovery.effects import SURE, Estimate, effects_of, evidence
from bayesalloc.discovery.graph import Graph
from bayesalloc.discovery.knowledge import Office
from bayesalloc.discovery.search import USUAL, discover
from bayesalloc.discovery.tables import THIN, Labelled, Setting, label_effects
from bayesalloc.effects.contrasts import Difference, difference
from bayesalloc.errors import InputError, listed, quoted
from bayesalloc.threads import one_thread

RESAMPLED = 100
UNSEEN, THINNED = 0.05, 0.3  # shares of the rows from which it is said that tables are empty or thin


class Answer(NamedTuple):
    """The effect of raising a treatment by one, in the outcome's own unit; of labels see `tables.Labelled`.

    Attributes:
        outcome: on what.
        place: where in the estimate that is.
        effect: statistics over graphs, adjustment sets and draws.
        identified: whether nearly all graphs, with whatever is adjusted for, give one effect.
        range: the least and the largest of the effects by single adjustment sets.
        estimate: the same of all other variables.
        method: in words.
        graphs: how many were looked at.
        warnings: sentences; those on the books first, then what the books cannot tell and what would.
        labelled: what was set and asked, where books are of labels; else None.
    """

    outcome: str
    place: int
    effect: Difference
    identified: bool
    range: tuple[float, float]
    estimate: Estimate
    method: str
    graphs: int
    warnings: tuple[str, ...]
    labelled: Labelled | None = None


@one_thread
def ask(
    books: Books,
    treatment: str,
    outcome: str,
    office: Office | None = None,
    graph: Graph | None = None,
    *,
    setting: Setting | None = None,
    bootstrap: int = RESAMPLED,
    seed: int = 0,
    interval: float = 0.89,
    where: str | Path = "knowledge",
) -> Answer:
    """The effect of one variable on another.

    Args:
        books: the table, of numbers or of labels.
        treatment: what is set.
        outcome: what it is to move.
        office: what is known beside the books.
        graph: what causes what, where that is known; else it is learned, in `bootstrap` random halves of the rows.
        setting: labels that are set and asked for, where books are of labels.
        bootstrap: how many; 0: in all rows, once, so that nothing is said of how sure the graph is.
        seed: of all draws.
        interval: probability of the interval.
        where: whose knowledge or graph it is, in messages.

    Raises:
        InputError: for a treatment or outcome that is no variable, or both the same; for a graph that has a circle or
            lacks one of them; for too few rows; for labels that there are not, or of books of numbers.
    """
    for name in (treatment, outcome):
        books.column(name)
    if treatment == outcome:
        raise InputError(f"the effect of '{quoted(treatment)}' on itself is asked; an outcome must be another variable")
    if setting and any(setting) and not books.labels:
        raise InputError("labels are asked for, and these books are of numbers; books of labels take --test chisq")
    warnings = list(books.warnings)
    if graph is not None:
        # Where rows of a unit are alike, slopes are taken from halves of the units all the same.
        times = bootstrap if bootstrap and clustered(books) else 1
        samples = np.repeat(_matched(graph, books, where)[None], times, axis=0)
    else:
        settings = USUAL._replace(halves=True, test="chisq" if books.labels else "fisherz")
        found = discover(books, office, settings, bootstrap=bootstrap, seed=seed, where=where)
        samples, warnings = found.samples, list(found.warnings)
    early = _before(treatment, books.names, office if graph is None else None)
    labelled = None
    if books.labels:
        moved = not early[books.names.index(outcome)]
        labelled = label_effects(books, treatment, outcome, setting or Setting(), samples, seed, moved=moved)
        estimate, place = labelled.estimate, books.labels[outcome].index(labelled.setting.label)
    else:
        estimate = effects_of(treatment, evidence(books, len(samples), seed), samples, np.random.default_rng(seed))
        estimate = estimate._replace(
            draws=np.where(early, 0.0, estimate.draws),
            means=np.where(early, 0.0, estimate.means),
            identified=np.where(early, 1.0, estimate.identified),
        )
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
        warnings.append(_untold(treatment, outcome, estimate.undecided[place]))
    if labelled:
        warnings += _scarce(labelled)
    means = estimate.means[:, place]
    kinds = "the graph given" if graph is not None else f"{len(samples)} graphs" if len(samples) > 1 else "one graph"
    if estimate.clustered:
        kinds += f", in {len(samples)} random halves of the units"
    return Answer(
        outcome,
        place,
        difference(estimate.draws[:, place], interval),
        identified,
        (float(means.min()), float(means.max())),
        estimate,
        f"{'tables of counts' if labelled else 'linear regression'} with direct causes of the treatment held fixed,"
        f" over {kinds}",
        len(samples),
        tuple(warnings),
        labelled,
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


def _before(treatment: str, names: Sequence[str], office: Office | None) -> np.ndarray:
    """Which variables are in an earlier tier than a treatment: nothing moves them."""
    tier = {name: number for number, tier in enumerate(office.ordered if office else ()) for name in tier}
    own = tier.get(treatment, 0)
    return np.array([tier.get(name, own) < own for name in names])


def _untold(treatment: str, outcome: str, undecided: Sequence[str]) -> str:
    """A sentence on what the books cannot tell, and on what would."""
    shown = listed(undecided[:3]) if undecided else "its neighbours"
    return (
        f"the books cannot tell the effect of '{quoted(treatment)}' on '{quoted(outcome)}': whether"
        f" {shown} come before or after '{quoted(treatment)}' decides it; a tier that says so would tell, or a period"
        f" in which '{quoted(treatment)}' is set on purpose"
    )


def _scarce(found: Labelled) -> list[str]:
    """What tables that are mostly empty cannot tell."""
    treatment, setting = found.estimate.treatment, found.setting
    both = f"where '{quoted(treatment)}' is '{quoted(setting.to)}', or where it is '{quoted(setting.instead_of)}'"
    if found.unseen > UNSEEN:
        return [
            f"of {100 * found.unseen:.0f} % of the rows the books cannot tell: among those like them in what is held"
            f" fixed there is none {both}; the interval takes any outcome for possible there"
        ]
    if found.thin > THINNED:
        return [
            f"of {100 * found.thin:.0f} % of the rows the books tell little: among those like them in what is held"
            f" fixed fewer than {THIN} are {both}; more rows, or fewer different labels, would help"
        ]
    return []
