"""Tables that causes are looked for in: what is refused, what is left out, and what is warned of."""

import numpy as np
import pytest

from bayesalloc.discovery.books import from_columns, read_books
from bayesalloc.errors import InputError

RNG = np.random.default_rng(0)
ROWS = 40
A, B, C, D, E = RNG.normal(10.0, 3.0, (5, ROWS))


def written(tmp_path, text):
    path = tmp_path / "books.csv"
    path.write_text(text, encoding="utf-8")
    return path


def filled(cell, header="a,b", row=4):
    """A table whose cell in a line and the first column is this one."""
    lines = [f"{i}.5,{i * i % 7}" for i in range(8)]
    return "\n".join([header, *lines[: row - 2], f"{cell},1", *lines[row - 2 :]]) + "\n"


REFUSED = {
    "empty": ("", "the file is empty"),
    "only a header": ("a,b\n", "no row below"),
    "one variable": ("unit,period,a\nx,1,2\n", "has 1 columns of variables; there must be at least 2"),
    "few rows": ("a,b\n1,2\n2,1\n", "has 2 rows; nothing can be told from fewer than 5"),
    "semicolons": ("a;b\n1;2\n", "separated by a semicolon; it must be a comma"),
    "semicolons and decimal commas": ("a;b\n1,5;2,0\n", "separated by a semicolon"),
    "tabs": ("a\tb\n1\t2\n", "separated by a tab"),
    "a column without a name": ("a,,b\n1,2,3\n", "column 2 has no name"),
    "text": (filled("north"), "line 4, column 'a': is 'north'; it must be a number"),
    "NA": (filled("NA"), "is 'NA'; it must be a number .empty if missing"),
    "nan": (filled("nan"), "is 'nan'"),
    "infinity": (filled("inf"), "is 'inf'"),
    "too large": (filled("1e999"), "is '1e999'"),
    "too large to be squared": (filled("1e200"), "is 1e200: it is too large"),
    "underscores": (filled("1_000"), "is '1_000'"),
    "percent": (filled("12 %"), "is '12 %'; a number must stand without its percent sign"),
    "thousands": (filled('"1,234"'), "is '1,234'; a number must stand without thousands separators: 1234"),
    "thousands and a point": (filled('"-1,234,567.5"'), "separators: -1234567.5"),
    "a decimal comma": (filled('"1,5"'), "is '1,5'; the decimal mark must be a point: 1.5"),
    "a date": (filled("2020-01-31"), "is '2020-01-31'; a date is no number: call the column 'period'"),
    "a date of another country": (filled("31.01.2020"), "is '31.01.2020'; a date is no number"),
    "a quarter": (filled("2020Q1"), "is '2020Q1'; a date is no number"),
    "a date as a number": ("a,b\n" + "".join(f"2020{m:02},{m % 4}\n" for m in range(1, 10)), "is 202001, a date as a"),
    "years": ("year,b\n" + "".join(f"{y},{y % 4}\n" for y in range(2001, 2010)), "'year': is 2001, a date as a number"),
    "days since": ("date,b\n" + "".join(f"{y},{y % 4}\n" for y in range(43831, 43840)), "'date': is 43831, a date as"),
    "a unit without a name": ("unit,a,b\n,1,2\n", "line 2, column 'unit': is empty"),
    "a period twice": ("period,a,b\n1,2,3\n1,3,4\n", "line 3, column 'period': '1' stands in line 2 already.* 'unit'"),
    "a unit's period twice": (
        "unit,period,a,b\nx,1,2,3\ny,1,2,3\nx,1,3,4\n",
        "line 4, column 'period': '1' of unit 'x' stands in line 2",
    ),
    "a total by name": (
        "unit,a,b\nx,1,2\ny,3,5\nGrand total,4,7\n",
        "line 4, column 'unit': is 'Grand total': a row that sums",
    ),
    "a total of periods": ("period,a,b\n2020,1,2\n2021,3,5\nTotal:,4,7\n", "line 4, column 'period': is 'Total:'"),
    "a total by its numbers": (
        "a,b,c\n" + "".join(f"{i}.25,{i * i % 7},{9 - i}\n" for i in range(6)) + "16.5,13,6.5\n",
        "line 8, column 'a': is in a row that sums up or averages all others",
    ),
    "nothing that changes": ("a,b\n" + "1,2\n" * 9, "fewer than 2 columns are left; not used: 'a' .it is 1 in every"),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(tmp_path, text, said):
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=said) as refused:
        read_books(path)
    assert str(path) in str(refused.value)


def test_a_file_is_read(tmp_path):
    rows = "".join(f"\nx,{2000 + i},{i}.5,{i * i % 7},{'' if i == 3 else -i % 5}e-3" for i in range(8)).replace(
        ",e-3", ","
    )
    books = read_books(written(tmp_path, "\N{ZERO WIDTH NO-BREAK SPACE}unit,period,a,b,c" + rows + "\n"))
    assert books.names == ("a", "b", "c")
    assert books.units == ("x",) * 8 and books.periods is not None and books.periods[3] == "2003"
    assert np.array_equal(
        np.isnan(books.values), np.eye(8, 3, -1)[:, ::-1] * 0 + (np.arange(8)[:, None] == 3) * [0, 0, 1]
    )
    assert books.column("c")[2] == pytest.approx(0.003)
    assert not books.warnings


LEFT_OUT = {
    "constant": ({"x": np.full(ROWS, 3.0)}, {"x": "it is 3 in every row"}),
    "empty": ({"x": np.full(ROWS, np.nan)}, {"x": "it is empty"}),
    "a copy": ({"x": A}, {"x": "it repeats 'a'"}),
    "in another unit": ({"x": 1000 * A + 70000}, {"x": "it is 1000 times 'a' \\+ 70000"}),
    "a copy with gaps": ({"x": np.where(np.arange(ROWS) < 5, np.nan, A)}, {"x": "it repeats 'a'"}),
    "a sum": ({"total": A + B + C}, {"total": "it is the sum of 'a', 'b' and 'c'"}),
    "a sum to the cent": ({"total": np.round(A + B + C, 2)}, {"total": "it is the sum of 'a', 'b' and 'c'"}),
    "a difference": ({"x": A - B}, {"a": "it is the sum of 'b' and 'x'"}),
    "a balance": ({"x": A + B - C - D}, {"x": "it is given by 'a', 'b', 'c' and 'd'"}),
    "two sums": ({"x": A + B, "y": C + D + E}, {"x": "sum of 'a' and 'b'", "y": "sum of 'c', 'd' and 'e'"}),
}


@pytest.mark.parametrize(("more", "why"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_is_left_out(more, why):
    books = from_columns({"a": A, "b": B, "c": C, "d": D, "e": E, **more})
    assert set(books.left_out) == set(why)
    for name, reason in why.items():
        with pytest.raises(InputError, match=f"'{name}' cannot be used: .*{reason}"):
            books.column(name)
        assert any(f"column '{name}' is left out" in warning for warning in books.warnings)
    assert books.closed == ()


@pytest.mark.parametrize("first", [True, False])
def test_a_total_is_left_out_wherever_it_stands(first):
    total = {"total": A + B + C}
    parts = {"a": A, "b": B, "c": C}
    assert set(from_columns({**total, **parts} if first else {**parts, **total}).left_out) == {"total"}


def test_a_sum_that_never_changes_is_named_and_nothing_is_left_out():
    books = from_columns({"a": A, "b": B, "c": 100 - A - B, "d": D, "total": np.full(ROWS, 100.0)})
    assert books.closed == (("a", "b", "c"),)
    assert set(books.left_out) == {"total"}
    assert any("the sum of 'a', 'b' and 'c' never changes" in warning for warning in books.warnings)


def test_a_weighted_sum_too():
    books = from_columns({"a": A, "b": B, "c": -(2 * A + 5 * B) / 3, "d": D})
    assert books.closed == (("a", "b", "c"),)
    assert "the weighted sum of 'a', 'b' and 'c' never changes" in books.warnings[0]


def test_gaps_hide_no_sum():
    """Three rows in four have a gap somewhere, as in the books of an office with surveys."""
    rng = np.random.default_rng(1)
    many = rng.normal(size=(400, 10))
    values = np.column_stack([many, many.sum(1)])
    values[rng.random(values.shape) < 0.12] = np.nan
    books = from_columns({f"x{i}": column for i, column in enumerate(values.T)})
    assert set(books.left_out) == {"x10"}


def test_a_total_that_does_not_add_up_says_where_and_by_how_much(tmp_path):
    parts = np.round([A, B, C], 2)
    total = parts.sum(0)
    total[[7, 30]] += [5.0, -120.0]
    columns = {
        "unit": [f"u{i}" for i in range(ROWS)],
        "a": parts[0],
        "b": parts[1],
        "total_cost": total,
        "c": parts[2],
        "d": D,
    }
    text = [",".join(columns)] + [
        ",".join(cell if isinstance(cell, str) else f"{cell:.6f}" for cell in row)
        for row in zip(*columns.values(), strict=True)
    ]
    books = read_books(written(tmp_path, "\n".join(text) + "\n"))
    why = "it adds up 'a', 'b' and 'c', but is off in line 9 by +5, in line 32 by -120"
    assert books.left_out["total_cost"] == why
    loose = from_columns({"a": A, "b": B, "total": A + B + 0.3 * C, "d": D})
    assert loose.names == ("a", "b", "total", "d")


def test_near_sums_are_kept():
    books = from_columns({"a": A, "b": B, "c": A + B + 0.05 * C})
    assert books.names == ("a", "b", "c") and not books.warnings


def test_few_rows_are_warned_of():
    columns = {f"x{i}": column for i, column in enumerate(np.random.default_rng(2).normal(size=(20, 12)))}
    (said,) = from_columns(columns).warnings
    assert "12 rows are fewer than the 20 variables" in said and "at most 8 variables held fixed" in said
    assert set(from_columns({**columns, "x20": columns["x0"]}).left_out) == {"x20"}


def test_rows_that_follow_each_other_are_warned_of():
    shocks = np.random.default_rng(3).normal(size=(60, 4))
    columns, periods = {f"x{i}": column for i, column in enumerate(shocks.cumsum(0).T)}, [*map(str, range(60))]
    assert "like that of the period before" in from_columns(columns, periods=periods).warnings[0]
    changes = {name: np.diff(column, prepend=0.0) for name, column in columns.items()}
    assert from_columns(changes, periods=periods).warnings == ()


def test_labels_of_discrete_variables(tmp_path):
    path = written(tmp_path, "a,b,c\n" + "low,1,x\nhigh,2,x\n,10,x\n" * 3)
    books = read_books(path, discrete=True)
    assert books.labels == {"a": ("high", "low"), "b": ("1", "10", "2")}
    assert np.isnan(books.column("a")[2]) and books.column("a")[0] == 1.0
    assert books.left_out == {"c": "it is x in every row"}
    with pytest.raises(InputError, match="column 'a': has 60 different values; a discrete variable has at most 50"):
        read_books(written(tmp_path, "a,b\n" + "".join(f"{i},{i % 3}\n" for i in range(60))), discrete=True)
