"""An office's proposal: what to change next, why, what may break, and what the books cannot tell."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bayesalloc import limits
from bayesalloc.budgets.advice import Adviser, within
from bayesalloc.budgets.checking import Checked, checked
from bayesalloc.budgets.proposing import LEAST, Point, Stakes, front, helps, judged, of_all, stakes, sure_ones, worths
from bayesalloc.budgets.question import Question, question, without
from bayesalloc.discovery.books import Books
from bayesalloc.discovery.effects import evidence
from bayesalloc.discovery.joint import Joint, earlier, joint_effects
from bayesalloc.discovery.knowledge import Comment, Office
from bayesalloc.discovery.moments import Moments
from bayesalloc.effects.contrasts import Difference, difference
from bayesalloc.errors import InputError, listed
from bayesalloc.threads import one_thread

RESAMPLED = 100  # tables, where rows of a unit are alike
TOLD = 3  # reasons and risks of a change
UNCLEAR = 0.055  # probability of the less likely direction from which an effect counts as not told


class Cause(NamedTuple):
    """What one change is expected to do to one column, in its own unit, all other changes being as they are."""

    variable: str
    effect: Difference


class Change(NamedTuple):
    """A proposed change of one decision.

    Attributes:
        decision: its name.
        percent: of its money.
        money: in the money's unit.
        reasons: what it is expected to do for objectives, the largest first.
        risks: what it is expected to do to what is protected, the largest harm first.
        helps: the probability that it is worth more than no change, the others being made.
    """

    decision: str
    percent: float
    money: float
    reasons: list[Cause]
    risks: list[Cause]
    helps: float


class Expected(NamedTuple):
    """What all changes together are expected to do to a column, in its own unit.

    Attributes:
        effect: corrected by what is promised too much.
        promised: what the books promise, uncorrected.
        tolerance: harm that is borne; None where it is not protected.
        harmful: probability of more harm than that; None likewise.
    """

    effect: Difference
    promised: float
    tolerance: float | None
    harmful: float | None


class Heard(NamedTuple):
    """What a stakeholder's comment changed: the decisions that would change otherwise, and the worth without it."""

    comment: Comment
    changes: dict[str, tuple[float, float]]


class Proposal(NamedTuple):
    """The whole answer.

    Attributes:
        question: of the office.
        joint: effects of all decisions at once.
        at: what is at stake.
        point: the changes.
        changes: one by one, the largest money first; those that are none are left out.
        expected: of objectives and of what is protected.
        objectives: expected of each, corrected as `expected` is.
        causal_risk: of the changes, by what is protected, corrected likewise.
        trust: how far proposals can be; None where the books are too small to check proposals.
        front: other points, none of which another beats in all respects.
        heard: what comments changed.
        not_identified: decision, column, and why its effect cannot be told.
        warnings: sentences.
        spread: standard deviation of each variable.
        interval: probability of the intervals.
        moments: of all rows.
        by: who proposes, where that is not the linear programme; else "".
        advised: % that they would change each decision by, had they no limits.
    """

    question: Question
    joint: Joint
    at: Stakes
    point: Point
    changes: list[Change]
    expected: dict[str, Expected]
    objectives: Float[np.ndarray, " objective"]
    causal_risk: dict[str, float]
    trust: Checked | None
    front: list[Point]
    heard: list[Heard]
    not_identified: list[tuple[str, str, str]]
    warnings: list[str]
    spread: Float[np.ndarray, " variable"]
    interval: float
    moments: Moments
    by: str = ""
    advised: Float[np.ndarray, " decision"] | None = None

    @property
    def worth(self) -> float:
        """Weighted objectives less the price of causal risk, corrected; of no change it is 0."""
        return float(self.point.weight @ self.objectives) - self.point.price * sum(self.causal_risk.values())


@one_thread
def propose(
    books: Books,
    office: Office,
    *,
    price: float = 1.0,
    seed: int = 0,
    interval: float = 0.89,
    where: str | Path = "knowledge",
    adviser: Adviser | None = None,
) -> Proposal:
    """The best changes of an office's decisions for one period, as far as its books can tell.

    Args:
        books: the table.
        office: what it knows and wants.
        price: lambda, what a unit of causal risk costs, in units of the weighted objectives.
        seed: of all draws.
        interval: probability of the intervals.
        where: the office's file, in messages.
        adviser: whose changes, as far as limits leave them, are judged instead of the best ones.

    Raises:
        InputError: where the question cannot be, or the books are too small for it.
    """
    if not 0 <= price < float("inf"):
        raise InputError(f"lambda is {price:g}; it must be at least 0")
    limits.probability("interval", interval)
    asked = question(books, office, where)
    before = held_fixed(books, office, asked, where)
    given, rng = evidence(books, RESAMPLED, seed), np.random.default_rng(seed)
    known = [name for name in asked.decisions if name in books.names]
    joint = of_all(joint_effects(given, known, before, rng), asked)
    at = stakes(asked, joint, given.spread)

    def planned(of: Question) -> tuple[Point, Checked | None]:
        if adviser is not None:  # who has not seen these books' errors, and so cannot have picked them
            its = stakes(of, joint, given.spread)
            return judged(its, within(of, its, adviser.advise(of)), its.weight, price), None
        trust = checked(of, books, before, given, price, np.random.default_rng(seed))
        least = 0.0 if trust is None else trust.least
        return sure_ones(of, stakes(of, joint, given.spread), least, price), trust

    point, trust = planned(asked)
    total = joint.draws @ (point.change * asked.per_percent)
    off = np.zeros(len(joint.names))
    if trust is not None and point.change.any():  # of no change nothing is promised, nor too much
        off = np.nan_to_num(trust.too_much)
    corrected = total - off
    expected, risk = _expected(asked, joint, total, corrected, given.spread, interval)
    warnings = [*books.warnings, *_warned(asked, before, small=trust is None and adviser is None)]
    heard = []
    for comment in office.comments:
        rest, change = without(office, comment), np.zeros(len(asked.decisions))
        if rest.weights or any(each.weights for each in rest.comments):  # else there would be no objective
            change = planned(question(books, rest, where))[0].change
        differ = np.flatnonzero(np.abs(change - point.change) >= 10 * LEAST)
        heard.append(Heard(comment, {asked.decisions[i]: (float(change[i]), float(point.change[i])) for i in differ}))
    return Proposal(
        asked,
        joint,
        at,
        point,
        _changes(asked, joint, at, point, interval),
        expected,
        point.objectives - worths(asked, joint.names, off, given.spread),
        risk,
        trust,
        front(asked, at, price),
        heard,
        _not_identified(asked, joint),
        warnings,
        given.spread,
        interval,
        given.moments,
        "" if adviser is None else adviser.name,
        None if adviser is None else adviser.advise(asked),
    )


def held_fixed(books: Books, office: Office, asked: Question, where: str | Path) -> list[str]:
    """What is held fixed where all decisions are set: all of the tiers before theirs.

    Raises:
        InputError: where the file does not say which tier that is, or what counts comes before it.
    """
    tiers = office.ordered
    own = [number for number, tier in enumerate(tiers) if {*tier} & {*asked.decisions}]
    if not own:
        raise InputError(
            f"{where}: tiers: none holds the decisions; say what comes before them and what after, such as"
            " tiers = [[conditions], [decisions], [results]]"
        )
    if len(own) > 1:
        raise InputError(f"{where}: tiers: decisions stand in {len(own)} tiers; those of one period must be in one")
    missing = [name for name in asked.decisions if name not in tiers[own[0]]]
    if missing:
        raise InputError(f"{where}: tiers: {listed(missing)} are decisions too, and in no tier")
    early = earlier(books, tiers, asked.decisions)
    for name in [*asked.goals, *(each.variable for each in asked.protected)]:
        if name in early:
            raise InputError(f"{where}: '{name}' comes before the decisions, which cannot move it")
    return early


def _changes(asked: Question, joint: Joint, at: Stakes, point: Point, interval: float) -> list[Change]:
    found = []
    probability = helps(at, point)
    for place in np.argsort(-np.abs(point.change * asked.base), kind="stable"):
        percent = float(point.change[place])
        if not percent:
            continue
        moved = joint.draws[..., place] * percent * asked.per_percent[place]
        wanted = [(name, 1.0 if goal.better == "higher" else -1.0) for name, goal in asked.goals.items() if goal.weight]
        found.append(
            Change(
                asked.decisions[place],
                percent,
                percent / 100.0 * float(asked.base[place]),
                _causes(wanted, moved, joint, interval),
                _causes([(each.variable, each.harm) for each in asked.protected], moved, joint, interval),
                float(probability[place]),
            )
        )
    return found


def _causes(
    wanted: Sequence[tuple[str, float]], moved: Float[np.ndarray, "draw variable"], joint: Joint, interval: float
) -> list[Cause]:
    """Of some columns those that are moved in the wanted direction, the most clearly moved first."""
    found = []
    for name, direction in wanted:
        draws = moved[:, joint.names.index(name)]
        clear = direction * draws.mean() / max(draws.std(), 1e-300)
        if clear > 0:
            found.append((clear, Cause(name, difference(draws, interval))))
    return [cause for _, cause in sorted(found, key=lambda pair: -pair[0])][:TOLD]


def _expected(
    asked: Question,
    joint: Joint,
    total: Float[np.ndarray, "draw variable"],
    corrected: Float[np.ndarray, "draw variable"],
    spread: Float[np.ndarray, " variable"],
    interval: float,
) -> tuple[dict[str, Expected], dict[str, float]]:
    expected, risk = {}, {}
    protected = {each.variable: each for each in asked.protected}
    for name in dict.fromkeys([*asked.goals, *protected]):
        place = joint.names.index(name)
        draws = corrected[:, place]
        tolerance = harmful = None
        if name in protected:
            each = protected[name]
            beyond = (each.harm * draws - each.tolerance) / spread[place]
            risk[name] = float(each.weight * beyond.clip(0.0).mean())
            tolerance, harmful = each.tolerance, float((beyond > 0).mean())
        expected[name] = Expected(difference(draws, interval), float(total[:, place].mean()), tolerance, harmful)
    return expected, risk


def _not_identified(asked: Question, joint: Joint) -> list[tuple[str, str, str]]:
    """Decisions of which the books do not even tell the direction, on anything that counts."""
    counted = [*dict.fromkeys([*asked.goals, *(each.variable for each in asked.protected)])]
    places = [joint.names.index(name) for name in counted]
    found = []
    for place, decision in enumerate(asked.decisions):
        draws = joint.draws[:, places, place]
        if not draws.any():
            found.append((decision, "", "only transfers to or from it can be told: all decisions add up to a constant"))
            continue
        raised = (draws > 0).mean(0)
        if (np.minimum(raised, 1 - raised) > UNCLEAR).all():
            found.append((decision, "", "whether it raises or lowers any of the columns that count"))
    return found


def _warned(asked: Question, before: Sequence[str], *, small: bool) -> list[str]:
    said = [
        "this proposal is for one period: effects are those within a period; a change that is kept may do more later"
    ]
    if not before:
        said.append("nothing comes before the decisions: whatever moved both them and results passes for their effect")
    if asked.balanced:
        said.append("decisions add up to a constant, so that only transfers between them can be told and are proposed")
    if small:
        said.append("the books are too small to check, in one half, what proposals from the other promise: expect less")
    return said
