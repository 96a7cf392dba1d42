"""Books of levels that last: what is carried over, what a period adds, and effects that hold where levels mislead."""

import json
from pathlib import Path

import numpy as np
import pytest

from bayesalloc.discovery.asking import ask
from bayesalloc.discovery.books import from_columns, read_books
from bayesalloc.discovery.graph import from_edges
from bayesalloc.discovery.levels import carried_over, ordered
from bayesalloc.errors import InputError


@pytest.mark.parametrize(("units", "periods"), [(8, 20), (1, 60), (60, 6)])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 1.0])
def test_what_is_carried_over_is_found_in_short_records_too(units, periods, share):
    """Means of 60 records; the slope itself falls short by up to a half (60 x 6, share 1)."""
    rng, found = np.random.default_rng(0), []
    for _ in range(60):
        level = np.zeros((units, periods + 50))
        for t in range(1, periods + 50):
            level[:, t] = share * level[:, t - 1] + rng.normal(size=units)
        level = level[:, 50:] + 3.0 * rng.normal(size=(units, 1))
        whose = np.repeat(np.arange(units), periods - 1)
        found.append(carried_over(level[:, :-1].ravel(), level[:, 1:].ravel(), whose))
    error = np.std(found) / 60**0.5
    # Shares are cut off at 0 and 1: there the mean is off by what the errors beyond are, .4 of their spread.
    assert abs(np.mean(found) - share) < 3 * error + (0.5 * np.std(found) if share in (0.0, 1.0) else 0.01)


def chain(seed: int, units: int = 10, periods: int = 30) -> tuple[dict[str, np.ndarray], list[str], list[str]]:
    """A budget that follows surprises of demand and stays, and a result that both move and that lasts."""
    rng = np.random.default_rng(seed)
    demand, budget, result = np.zeros((3, units, periods))
    for t in range(1, periods):
        news = rng.normal(size=units)
        demand[:, t] = 0.7 * demand[:, t - 1] + news
        budget[:, t] = budget[:, t - 1] + 0.6 * news + rng.normal(size=units)
        result[:, t] = 0.5 * result[:, t - 1] - 0.3 * budget[:, t] + demand[:, t] + rng.normal(size=units)
    columns = {"demand": demand.ravel(), "budget": budget.ravel(), "result": result.ravel()}
    who = [f"u{unit}" for unit in range(units) for _ in range(periods)]
    return columns, who, [f"{2000 + t // 4}-Q{t % 4 + 1}" for t in range(periods)] * units


GRAPH = from_edges(["demand", "budget", "result"], [("demand", "budget"), ("demand", "result"), ("budget", "result")])


def test_intervals_hold_the_effect_within_a_period_where_those_of_levels_do_not():
    """89 % intervals of 40 books; of surprises within three standard errors of a binomial share."""
    held: dict[bool, list[bool]] = {True: [], False: []}
    for seed in range(40):
        columns, units, periods = chain(seed)
        for levels in held:
            found = ask(
                from_columns(columns, units, periods, levels=levels), "budget", "result", graph=GRAPH, bootstrap=0
            )
            held[levels].append(found.effect.low <= -0.3 <= found.effect.high)
    assert abs(np.mean(held[True]) - 0.89) <= 3 * (0.89 * 0.11 / 40) ** 0.5
    assert np.mean(held[False]) < 0.3


def test_rows_follow_each_other_in_time_however_they_stand_in_the_file():
    columns, units, periods = chain(0, units=3, periods=8)
    one = from_columns(columns, units, periods, levels=True)
    order = np.random.default_rng(0).permutation(24)
    shuffled = {name: values[order] for name, values in columns.items()}
    other = from_columns(shuffled, [units[i] for i in order], [periods[i] for i in order], levels=True)
    assert one.memory is not None and other.memory is not None and len(one.values) == 21
    np.testing.assert_allclose(other.memory.carried, one.memory.carried)
    assert {*zip(other.units or (), other.periods or (), strict=True)} == {
        *zip(one.units or (), one.periods or (), strict=True)
    }
    assert sorted(map(tuple, other.values.round(9))) == sorted(map(tuple, one.values.round(9)))
    kept = [i for i in range(24) if periods[i] != "2000-Q3"]  # a gap: no row follows another over it
    less = from_columns(
        {n: v[kept] for n, v in columns.items()}, [units[i] for i in kept], [periods[i] for i in kept], levels=True
    )
    assert len(less.values) == 18, "all units lack the period: the next follows the one before"
    kept = [i for i in range(24) if (units[i], periods[i]) != ("u0", "2000-Q3")]
    less = from_columns(
        {n: v[kept] for n, v in columns.items()}, [units[i] for i in kept], [periods[i] for i in kept], levels=True
    )
    assert len(less.values) == 19


def test_what_adds_up_does_so_still():
    columns, units, periods = chain(1)
    columns["rest"] = 100.0 - columns["budget"]
    columns["other"] = np.random.default_rng(0).normal(size=300).cumsum()
    columns["total"] = columns["other"] + columns["result"]
    books = from_columns(columns, units, periods, levels=True)
    assert "total" in books.left_out and "rest" in books.left_out
    shut = {
        "a": columns["budget"],
        "b": columns["other"],
        "c": 5.0 - columns["budget"] - columns["other"],
        "d": columns["demand"],
    }
    books = from_columns(shut, units, periods, levels=True)
    assert books.closed == (("a", "b", "c"),) and books.memory is not None
    assert np.ptp(books.memory.carried[:3]) == 0.0 and np.ptp(books.values[:, :3].sum(1)) < 1e-9


def test_periods_are_put_in_order_by_year():
    assert [*ordered(["Q1 2021", "Q4 2020", "Q2 2021"], "b")] == ["Q4 2020", "Q1 2021", "Q2 2021"]
    assert [*ordered(["10", "9", "11"], "b")] == ["9", "10", "11"]
    with pytest.raises(InputError, match="'Mar 2020' and 'Jun 2020' it cannot be told which comes first"):
        ordered(["Mar 2020", "Jun 2020"], "b")


def table(path: str, columns, units, periods) -> None:
    rows = [
        f"{u},{p}," + ",".join(f"{v:.5f}" for v in r)
        for u, p, *r in zip(units, periods, *columns.values(), strict=True)
    ]
    Path(path).write_text("\n".join([",".join(["unit", "period", *columns]), *rows]) + "\n")


KNOWN = """tiers = [["demand"], ["budget"], ["result"]]
decisions = {budget = {base = 10.0}}
weights = {result = 1}
"""


@pytest.fixture
def books():
    columns, units, periods = chain(0)
    last = [i for i, period in enumerate(periods) if period == "2007-Q2"]
    before = [i for i in range(300) if i not in last]
    for path, rows in (("books.csv", before), ("next.csv", last)):
        table(path, {n: v[rows] for n, v in columns.items()}, [units[i] for i in rows], [periods[i] for i in rows])
    table("twice.csv", {n: v[last * 2] for n, v in columns.items()}, ["u1"] * 20, [f"2008-Q{i}" for i in range(20)])
    Path("k.toml").write_text(KNOWN)
    Path("bare.csv").write_text("a,b\n" + "".join(f"{i % 7},{i % 5}.5\n" for i in range(20)))
    return "books.csv"


def test_levels_are_warned_of_until_said_to_be_levels(run, books):
    first, second = (
        run("discover", books, "--bootstrap", "0", "--out", f"d{n}", *o) for n, o in enumerate(([], ["--levels"]))
    )
    assert "say --levels" in first.err and "a row is much like" not in second.err
    assert "levels are taken for a share of the level before" in second.err and "from 280 rows of 290" in second.err


def test_a_proposal_from_levels_is_held_against_levels(run, books):
    options = ("--knowledge", "k.toml", "--levels", "--json")
    found = json.loads(run("budget", books, *options, "--actuals", "next.csv", "--out", "out").out)
    assert [change["department"] for change in found["changes"]] == ["budget"] and found["changes"][0][
        "percent"
    ] == -5.0
    assert abs(found["expected"]["result"]["promised"] - 1.5) < 0.5  # 5 % x .3
    rows = found["actuals"]
    assert len(rows) == 10 and sum(row["inside"] for row in rows) >= 6
    happened, forecast = (np.array([row[key] for row in rows]) for key in ("happened", "forecast"))
    assert np.std(happened) > 4 and np.std(happened - forecast) < 2.5  # levels, of which the last are known
    refused = run("budget", books, *options, "--actuals", "twice.csv", "--out", "again")
    assert refused.code == 2 and "unit 'u1' stands twice" in refused.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("discover", "bare.csv", "--levels"), "bare.csv: levels need a column 'period'"),
        (("discover", "books.csv", "--levels", "--test", "chisq"), "a discrete variable has at most 50"),
    ],
)
def test_what_cannot_be_levels_is_refused(run, books, options, said):
    answer = run(*options, "--out", "out")
    assert answer.code == 2 and said in answer.err and not Path("out").exists()


def test_labels_are_no_levels(tmp_path):
    path = tmp_path / "l.csv"
    path.write_text("period,a,b\n" + "".join(f"{i},{'xy'[i % 2]},{'pq'[i % 3 > 0]}\n" for i in range(9)))
    with pytest.raises(InputError, match="levels are of numbers; these books are of labels"):
        read_books(path, discrete=True, levels=True)
