"""What the first page shows before anything is compiled; `python -m bayesalloc.dashboard.first` makes it anew.

It holds the shipped mechanisms compared, and which outcomes each number of a mechanism can move.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path

import jax
import numpy as np
import xarray as xr

from bayesalloc.dashboard.comparing import Question, answered, environment, shipped, shown
from bayesalloc.dashboard.numbers import Number, balanced, changed, numbers
from bayesalloc.environment import schema_of, stack
from bayesalloc.errors import InputError
from bayesalloc.inference.files import open_tree, save_tree
from bayesalloc.library import load_mechanism
from bayesalloc.mechanism import Mechanism
from bayesalloc.report.tables import for_json
from bayesalloc.simulate import hold, rollout

MODEL, HORIZON = "watershed", 20
FILE = Path(str(resources.files("bayesalloc.dashboard"))) / "first.nc"
NUDGE, ALIKE = 0.1, 1e-5  # of a slider's way; of an outcome's size, which rounding may make


def first_question() -> Question:
    """The shipped mechanisms that a comparison takes by default."""
    env = environment(MODEL)
    return Question(MODEL, tuple((name, shipped(MODEL)[name]) for name in env.arms(None)), HORIZON)


def first() -> tuple[xr.DataTree, dict[str, list[str]]]:
    """The answer to it, as `shown` makes it; and number or table of numbers -> outcomes that it can move."""
    tree = open_tree(FILE)
    tree.attrs = for_json(tree.attrs)
    return tree, json.loads(tree.attrs["moves"])


def moves(model: str) -> dict[str, list[str]]:
    """Number, or table of numbers -> outcomes that it moves in any of the shipped mechanisms."""
    env = environment(model)
    schema = schema_of(env)
    every, agents = [load_mechanism(name, schema) for name in shipped(model)], env.coords["agent"]
    found: dict[str, set[str]] = {}
    for base in every:
        there = numbers(base, schema, agents, every)
        nudges: dict[str, Mechanism] = {}
        for number in there:
            name, value = _nudge(base, number, there, schema.contract)
            with suppress(InputError):  # as credits without anybody to receive them: it moves nothing in this one
                nudges[name] = changed(base, schema, {name: value}, "nudged")
        arms = [base, *nudges.values()]
        actions = stack(schema.alike([schema.action(each) for each in arms]))
        outcomes = rollout(env, hold, jax.random.key(0), arms=actions, replicates=32, horizon=HORIZON)
        for outcome in env.outcomes:
            values = np.moveaxis(np.asarray(getattr(outcomes, outcome), float), 1, 0).reshape(len(arms), -1)
            apart = np.abs(values[1:] - values[0]).max(1) > ALIKE * np.abs(values[0]).max()
            for name in np.array([*nudges])[apart]:
                found.setdefault(str(name), set()).add(outcome)
    return {name: [outcome for outcome in env.outcomes if outcome in moved] for name, moved in found.items()}


def _nudge(
    base: Mechanism, number: Number, there: Sequence[Number], totals: Mapping[str, float | None]
) -> tuple[str, float | Mapping[str, float]]:
    """A number, or a table of them, a little elsewhere."""
    way = NUDGE * (number.high - number.low)
    if not number.table:
        return number.name, number.value + (way if number.value + way <= number.high else -way)
    table = {each.name.removeprefix(f"{number.table}."): each.value for each in there if each.table == number.table}
    one, *_, last = table
    return number.table, balanced({**table, one: table[one] + way}, totals[number.table] or 0.0, last)


if __name__ == "__main__":
    made = shown(answered(first_question()))
    made.attrs["moves"] = json.dumps(moves(MODEL))
    save_tree(made, FILE)
