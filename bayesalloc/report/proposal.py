"""An office's proposal as sentences that can be read aloud."""

from collections.abc import Sequence

from bayesalloc.budgets.proposal import Cause, Change, Expected, Proposal
from bayesalloc.budgets.proposing import LEAST
from bayesalloc.report.tables import Name
from bayesalloc.report.words import bracket, listing, number, words

SHOWN = 8
LITTLE = 0.02  # standard deviations; less is not worth a sentence


def sentences(found: Proposal, name: Name = str) -> list[str]:
    """The proposal as it can be read aloud."""
    said = [*_advised(found, name), *(_proposed(found, name) if found.changes else [_none(found)])]
    for decision, outcome, why in found.not_identified:
        said.append(f"Your books cannot tell of {name(decision)}{f' and {name(outcome)}' if outcome else ''}: {why}.")
    for heard in found.heard:
        what = (
            listing(
                f"{name(key)} from {number(before, 1, signed=True)} % to {number(after, 1, signed=True)} %"
                for key, (before, after) in heard.changes.items()
            )
            if heard.changes
            else "nothing"
        )
        says = heard.comment.says.rstrip(".") or "see the file"
        said.append(f"{heard.comment.who or 'A stakeholder'} says: {says}. It changed {what}.")
    return said


def _advised(found: Proposal, name: Name) -> list[str]:
    """Whose changes these are, where they are not the best that the books tell of; and what limits left of them."""
    if found.advised is None:
        return []
    said = [f"The changes are those of the policy '{found.by}'; what they do is told by the books."]
    kept = zip(found.question.decisions, found.advised, found.point.change, strict=True)
    cut = [
        f"{name(decision)} from {number(before, 1, signed=True)} % to {number(after, 1, signed=True)} %"
        for decision, before, after in kept
        if abs(before - after) >= 10 * LEAST
    ]
    return [*said, f"Limits changed {listing(cut)}."] if cut else said


def _none(found: Proposal) -> str:
    """Why nothing is proposed."""
    if found.by:
        return "No change is proposed: the policy has none, or limits leave none."
    if found.trust is None or not found.trust.least:
        return "No change is proposed: none is worth its risk, as far as the books tell."
    return (
        f"No change is proposed: none helps with a probability of {100 * found.trust.least:.0f} %, which changes must,"
        " for what one half of these books promises to be borne out best by the other half."
    )


def _proposed(found: Proposal, name: Name) -> list[str]:
    """What is to change, what comes of it, and how far to believe that."""
    raised = [change for change in found.changes if change.percent > 0]
    cut = [change for change in found.changes if change.percent < 0]
    net = sum(change.money for change in found.changes)
    said = [
        f"For the next period: {_several(raised, cut, name)}. In all, decisions come to {number(abs(net))}"
        f" {'more' if net >= 0 else 'less'}."
    ]
    for kind, wanted in (
        ("bring about", found.question.goals),
        ("protect", {p.variable for p in found.question.protected}),
    ):
        moves = [_moves(each, found.expected[each], name) for each in found.expected if each in wanted]
        if moves:
            said.append(
                f"{'Of what is protected' if kind == 'protect' else 'Of what counts'}, {listing(moves[:SHOWN])}."
            )
    taken = {
        key: abs(each.promised - each.effect.mean) / found.spread[found.joint.names.index(key)]
        for key, each in found.expected.items()
    }
    if max(taken.values()) > LITTLE:
        which = max(taken, key=lambda key: taken[key])
        worst = found.expected[which]
        said.append(
            f"The books by themselves promise more: most of all {number(worst.promised, signed=True)} of"
            f" {name(which)}, of which {number(worst.promised - float(worst.effect.mean), signed=True)} is taken off,"
            " as half of the books does not bear out what the other half promises."
        )
    if found.worth <= 0:
        said.append(
            "By the books, these changes are worth less than none: do not make them for the policy's sake."
            if found.by
            else "With that taken off, these changes are worth less than none. Fewer changes (limits: departments), a"
            " higher lambda or more rows would make a safer proposal."
        )
    return said


def _several(raised: Sequence[Change], cut: Sequence[Change], name: Name) -> str:
    parts = []
    for verb, changes in (("raise", raised), ("cut", cut)):
        if changes:
            several = listing(f"{name(each.decision)} by {number(abs(each.percent), 1)} %" for each in changes)
            parts.append(f"{verb} {several}")
    return "; ".join(parts)


def _moves(variable: str, each: Expected, name: Name) -> str:
    effect = each.effect._asdict()
    return f"{name(variable)} is expected to move by {bracket(effect, 'mean', signed=True)}"


def in_words(change: Change, causes: Sequence[Cause]) -> list[str]:
    """Sentences on what a change does."""
    does = "raising" if change.percent > 0 else "cutting"
    return [
        f"{does} {words(change.decision)} by {number(abs(change.percent), 1)} % is expected to"
        f" {'raise' if cause.effect.mean > 0 else 'lower'} {words(cause.variable)} by {_span(cause)}"
        for cause in causes
    ]


def _span(cause: Cause) -> str:
    """The size of an effect, with its interval from the smaller to the larger."""
    sign = 1.0 if cause.effect.mean > 0 else -1.0
    ends = sorted((sign * float(cause.effect.low), sign * float(cause.effect.high)))
    stats = {"mean": sign * float(cause.effect.mean), "low": ends[0], "high": ends[1]}
    return bracket(stats, "mean").replace("[", "(").replace("]", ")").replace(", ", " to ")
