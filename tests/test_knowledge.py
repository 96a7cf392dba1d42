"""What an office knows, from its file to the edges that there can be; contradictions are refused with their path."""

import numpy as np
import pytest

from bayesalloc.discovery.knowledge import Comment, Office, binding, read_office
from bayesalloc.errors import InputError

NAMES = ["a", "b", "c", "d"]
FILE = """
decisions = ["b"]
forbidden = [["b", "d"]]
weights = { surplus = 1.0 }
limits = { change = 5.0 }

[tiers]
conditions = ["a"]
budgets = ["b"]
results = ["c", "d"]

[protected.d]
harm = "up"

[[comments]]
who = "works council"
says = "Overtime drives people away."
required = [["c", "d"]]
frozen = ["b"]
"""


def test_a_file_is_read_and_binds(tmp_path):
    path = tmp_path / "office.toml"
    path.write_text(FILE)
    office = read_office(path)
    assert office.comments[0].frozen == ("b",)
    known = binding(office, NAMES)
    assert known.tier.tolist() == [0, 1, 2, 2]
    assert known.required.astype(int).tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert known.forbidden.astype(int).tolist() == [[0, 0, 0, 0], [1, 0, 0, 1], [1, 1, 0, 0], [1, 1, 1, 0]]
    assert not known.possible[1, 3] and known.possible[0, 3]


def test_columns_that_are_left_out_and_sums_that_never_change():
    known = binding(Office(tiers=[["total", "a"], ["b"]]), NAMES, closed=[("b", "c", "d")], left_out=["total"])
    assert known.tier.tolist() == [0, 1, -1, -1]
    assert not known.possible[1:, 1:].any() and known.possible[0, 1:].all()
    kept = binding(Office(required=(("b", "c"),)), NAMES, closed=[("b", "c", "d")])
    assert kept.possible[1, 2] and not kept.possible[1, 3]


@pytest.mark.parametrize(
    ("text", "said"),
    {
        "not TOML": ("tiers = [", "is not TOML"),
        "an unknown field": ("tier = []", "unknown field `tier`; the fields are decisions, tiers, forbidden"),
        "a comment's unknown field": ("[[comments]]\nfreeze = ['b']", r"unknown field `freeze`.*comments\[0\]"),
        "an edge of one": ("forbidden = [['a']]", r"forbidden\[0\]"),
        "a tier of numbers": ("tiers = [[1]]", "tiers"),
    }.values(),
)
def test_a_bad_file_is_refused(tmp_path, text, said):
    path = tmp_path / "office.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as refused:
        read_office(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("office", "said"),
    {
        "unknown in a tier": (Office(tiers=[["x"]]), "tiers: there is no variable 'x'; there are a, b, c, d"),
        "unknown in an edge": (Office(required=(("a", "x"),)), "required: there is no variable 'x'"),
        "unknown in a comment": (
            Office(comments=(Comment(forbidden=(("x", "a"),)),)),
            "forbidden: there is no variable",
        ),
        "in two tiers": (Office(tiers=[["a"], ["b", "a"]]), "'a' stands in tier 1 and 2"),
        "an edge to itself": (Office(forbidden=(("a", "a"),)), "'a' is joined to itself"),
        "required and forbidden": (
            Office(required=(("a", "b"),), comments=(Comment(forbidden=(("a", "b"),)),)),
            "a -> b is required and forbidden",
        ),
        "against time": (
            Office(tiers=[["a"], ["b"]], required=(("b", "a"),)),
            "b -> a is required, but 'b' is in tier 2, later than 'a' in tier 1",
        ),
        "a circle": (
            Office(required=(("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"))),
            "required edges are a circle: a -> b -> c -> a",
        ),
        "a circle of two": (Office(required=(("a", "b"), ("b", "a"))), "a circle: a -> b -> a"),
    }.values(),
)
def test_contradictions_are_refused(office, said):
    with pytest.raises(InputError, match=said):
        binding(office, NAMES)


def test_a_variable_without_a_tier_is_neither_earlier_nor_later():
    known = binding(Office(tiers=[["a"], ["b"]]), NAMES)
    assert np.argwhere(known.later).tolist() == [[1, 0]]
