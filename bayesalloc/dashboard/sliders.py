"""A mechanism made by hand: its numbers as sliders, and what each of them moves."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from bayesalloc.dashboard import widgets
from bayesalloc.dashboard.comparing import mechanism
from bayesalloc.dashboard.numbers import Number, balanced, changed, numbers
from bayesalloc.dashboard.uploads import safe
from bayesalloc.environment import Environment, schema_of
from bayesalloc.errors import InputError, sentence
from bayesalloc.mechanism import Mechanism
from bayesalloc.report.words import listing, words

Moves = Mapping[str, Sequence[str]]  # number, or table of numbers -> outcomes that it can move


def made(env: Environment, there: Mapping[str, str], scale: Mapping[str, str], moves: Moves) -> Mechanism | None:
    """The mechanism that the sliders make; None where they are as they were, or make none.

    Args:
        env: the environment.
        there: mechanisms to begin from: name -> TOML text.
        scale: those that are shipped, by which the sliders' ranges are chosen.
        moves: what each number can move.
    """
    schema = schema_of(env)
    start = st.selectbox("Begin from", [*there], format_func=words, key="start")
    name = safe(st.text_input("Name of the new mechanism", "mine", key="name")) or "mine"
    base = mechanism(there[start], start, schema)
    every = [mechanism(text, each, schema) for each, text in scale.items()]
    values = _moved(start, numbers(base, schema, env.coords["agent"], every), schema.contract, moves)
    if not values:
        return None
    try:
        if name in scale:
            raise InputError(f"'{name}' is a mechanism that is shipped; give yours another name")
        return changed(base, schema, values, name)
    except InputError as error:
        widgets.refused(sentence(error).removeprefix(f"{name}.toml: "))
        return None


def _moved(start: str, every: Sequence[Number], totals: Mapping[str, float | None], moves: Moves) -> dict[str, Any]:
    """The numbers that were moved, a table as a whole."""
    found: dict[str, Any] = {}
    for group in dict.fromkeys(_group(each) for each in every):
        inside = [each for each in every if _group(each) == group]
        moved = dict.fromkeys(outcome for each in inside for outcome in moves.get(each.table or each.name, []))
        with st.expander(f"{words(group).capitalize()}: {_mark(moved)}", expanded=group == "incentive"):
            if inside[0].table:
                found |= _table(start, group, inside, totals.get(group) or 0.0)
            for each in inside if not inside[0].table else ():
                value = _slider(start, each, f", {_mark(moves.get(each.name, []))}", moves.get(each.name, []))
                found |= {each.name: value} if value != each.value else {}
    return found


def _group(number: Number) -> str:
    return number.table or number.name.partition(".")[0]


def _mark(moved: Sequence[str] | Mapping[str, Any]) -> str:
    """What a number moves, in a word or two."""
    return "moves the forest" if "forest_health" in moved else "only money" if moved else "nothing by itself"


def _table(start: str, group: str, inside: Sequence[Number], total: float) -> dict[str, Any]:
    """Numbers by agent that must sum to a total: one agent has what is left."""
    agents = {each.name.rpartition(".")[2]: each for each in inside}
    usual = next((agent for agent in reversed(agents) if agents[agent].value), [*agents][-1])
    place = [*agents].index(usual)
    last = st.selectbox(f"Who has what is left of {total:g}", [*agents], place, words, key=f"{start} {group}")
    values = {agent: _slider(start, each, "", []) for agent, each in agents.items() if agent != last}
    table = balanced({**values, last: 0.0}, total, last)
    st.caption(f"{words(last)}: {table.get(last, 0.0):g} {_unit(inside[0])}")
    apart = max(abs(table.get(agent, 0.0) - each.value) for agent, each in agents.items())
    return {group: table} if apart > 1e-9 else {}


def _slider(start: str, number: Number, mark: str, moved: Sequence[str]) -> float:
    """One number, with its unit, what it moves and what it means."""
    about = f"{number.meaning} It moves {listing(map(words, moved))}." if moved else number.meaning
    label = f"{words(number.name.rpartition('.')[2])} ({_unit(number)}{mark})"
    shown = f"%.{max(0, -math.floor(math.log10(number.step)))}f"
    key = f"{start} {number.name}"
    return st.slider(label, number.low, number.high, number.value, number.step, shown, key=key, help=about)


def _unit(number: Number) -> str:
    return number.unit if number.unit != "1" else "share" if number.table else "pure number"
