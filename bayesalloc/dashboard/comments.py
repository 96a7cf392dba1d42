"""What stakeholders say on the Budgets page: comments, vetoes and what is protected, kept with name and date."""

import datetime
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import streamlit as st

from bayesalloc.dashboard import office, widgets
from bayesalloc.dashboard.office import Desk, Made
from bayesalloc.dashboard.uploads import safe, said_of
from bayesalloc.discovery.books import Books
from bayesalloc.discovery.knowledge import Comment, Goal, Office, read_office
from bayesalloc.errors import InputError, sentence
from bayesalloc.report.tables import Sheet
from bayesalloc.report.words import listing, number, words

FROZEN, PROTECTED, BORNE = "must not change", "must not be harmed", "may be harmed by at most"
NOT, CAUSE, WEIGHT = "does not cause", "causes", "counts with a weight of"
KINDS = (FROZEN, PROTECTED, BORNE, NOT, CAUSE, WEIGHT)


def comments(desk: Desk, table: Books, known: Office, made: Made | None) -> None:
    """What was said, what came of it, and a form for more.

    Args:
        desk: whose knowledge it goes into.
        table: the books.
        known: what is known.
        made: the proposal in which it is looked up what each comment changed.
    """
    if known.comments:
        widgets.table(_said(known, made), "Changed: what the proposal would be without it, and what it is.")
    else:
        st.info("Nobody has said anything yet. What is said here changes the next proposal.")
    new = _form(table, known)
    if new:
        try:
            _keep(desk, table, known, new)
        except InputError as error:
            widgets.refused(sentence(error))
            return
        st.rerun()
    path = desk.path("knowledge")
    if path is not None and path.exists():
        text, day = path.read_text(encoding="utf-8"), datetime.date.today().isoformat()
        widgets.downloads([("What is known (TOML)", text, f"knowledge_{day}.toml", "application/toml")])


def _said(known: Office, made: Made | None) -> Sheet:
    heard = {(each["who"], each["says"]): each["changed"] for each in (made.answer["comments"] if made else ())}
    rows = [
        [
            str(each.date or ""),
            each.who,
            each.says,
            "; ".join(_asked(each)),
            _changed(heard[each.who, each.says]) if (each.who, each.says) in heard else "not yet in a proposal",
        ]
        for each in known.comments
    ]
    return Sheet("What stakeholders say", ["date", "who", "says", "asks", "changed"], rows, keys=5)


def _asked(each: Comment) -> list[str]:
    """What is made of a comment, in words."""
    return [
        *(f"{words(name)} {FROZEN}" for name in each.frozen),
        *(f"{words(name)} {PROTECTED}" for name in each.protected),
        *(f"{words(name)} {BORNE} {number(least)}" for name, least in each.tolerances.items()),
        *(f"{words(cause)} {NOT} {words(effect)}" for cause, effect in each.forbidden),
        *(f"{words(cause)} {CAUSE} {words(effect)}" for cause, effect in each.required),
        *(
            f"{words(name)} {WEIGHT} {number(goal.weight if isinstance(goal, Goal) else goal)}"
            for name, goal in each.weights.items()
        ),
    ]


def _changed(changes: Mapping[str, Sequence[float]]) -> str:
    if not changes:
        return "nothing"
    return listing(
        f"{words(name)} from {number(before, 1, signed=True)} % to {number(after, 1, signed=True)} %"
        for name, (before, after) in changes.items()
    )


def _form(table: Books, known: Office) -> dict[str, Any] | None:
    """What somebody says, as fields of a comment, once it is sent."""
    st.markdown("**Say something**")
    count = len(known.comments)  # what was kept is not asked again
    who = st.text_input("Who says it", max_chars=80, key=f"who {count}")
    left, right = st.columns(2)
    kind = right.selectbox("What is asked", KINDS, key=f"kind {count}")
    results = [name for name in table.names if name not in known.decisions]
    of = {FROZEN: [*known.decisions], NOT: [*table.names], CAUSE: [*table.names]}.get(kind, results)
    name = left.selectbox("Which column", of, format_func=words, key=f"column of {kind} {count}")
    asks: dict[str, Any] = {}
    if kind == FROZEN:
        asks = {"frozen": [name]}
    elif kind == PROTECTED:
        asks = {"protected": {name: {"harm": st.radio("It is harm when it goes", ["up", "down"], horizontal=True)}}}
    elif kind == BORNE:
        asks = {"tolerances": {name: st.number_input("At most, in its own unit", 0.0)}}
    elif kind == WEIGHT:
        weight, goal = st.number_input("Weight", 0.0, value=1.0), known.weights.get(name)
        better = "higher" if name in known.weights else st.radio("Better is", ["higher", "lower"], horizontal=True)
        fields = msgspec.to_builtins(goal) if isinstance(goal, Goal) else {"better": better}
        fields = {key: value for key, value in {**fields, "weight": weight}.items() if value is not None}
        asks = {"weights": {name: fields}}
    else:
        effect = st.selectbox("Which column is moved", table.names, format_func=words)
        asks = {"forbidden" if kind == NOT else "required": [[name, effect]]}
    says = st.text_area("In their words", max_chars=500, key=f"says {count}")
    if not st.button("Keep it, for the next proposal", disabled=not (who.strip() and name)):
        return None
    return {"who": " ".join(who.split()), "says": " ".join(says.split()), "date": datetime.date.today(), **asks}


def _keep(desk: Desk, table: Books, known: Office, new: Mapping[str, Any]) -> None:
    """A file of knowledge with one more comment, checked, beside the one before it.

    Raises:
        InputError: where it does not fit what else is known.
    """
    path, home = desk.written("knowledge"), desk.own.home
    home.mkdir(parents=True, exist_ok=True)
    there = desk.own.files.setdefault("knowledge", {})
    stem = "what was said" if path is None else desk.knowledge.partition(", comment ")[0]
    name = f"{stem}, comment {1 + sum(each.startswith(f'{stem}, comment ') for each in there)}"
    target = home / f"{safe(name)}_{secrets.token_hex(4)}.toml"
    target.write_text(office.with_comment(path.read_text(encoding="utf-8") if path else "", new), encoding="utf-8")
    try:
        with said_of(name, target):
            office.check(table, read_office(target), name, proposing=bool(known.decisions and known.weights))
    except InputError:
        target.unlink()
        raise
    there[name] = target
