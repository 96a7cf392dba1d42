"""Books of the world of organisation budgets: their law, their gaps, and what a reader of books makes of them."""

import numpy as np
import pytest

from bayesalloc.discovery.books import read_books
from bayesalloc.discovery.knowledge import binding, read_office
from bayesalloc.errors import InputError
from bayesalloc.models.budgets.books import as_csv, draw_books, knowledge
from bayesalloc.models.budgets.world import (
    DEPARTMENTS,
    EDGES,
    PLACE,
    PROTECTED,
    SURVEY,
    TABLE,
    VARIABLES,
    coefficients,
    covariance,
)
from bayesalloc.models.budgets.writing import write

BUDGETS = [PLACE[name] for name in DEPARTMENTS]
BASE = np.array([TABLE[name].base for name in DEPARTMENTS])
ROWS = 40_000


@pytest.fixture(scope="module")
def whole():
    return draw_books(1, sites=1, quarters=ROWS, gaps=False).values


def test_rows_have_the_law_of_the_table(whole):
    """Noise that is left after its causes is independent, with the table's spread; tolerances of five errors."""
    noise = whole[:, :50] @ (np.eye(50) - coefficients()).T
    sd = np.array([variable.sd for variable in TABLE.values()])
    kurtosis = np.where([variable.tier == 1 for variable in TABLE.values()], 9.0, 3.0)  # of Student's t with 5: 9
    np.testing.assert_array_less(np.abs(noise.std(0) / sd - 1), 5 * np.sqrt((kurtosis - 1) / ROWS) / 2)
    correlation = np.corrcoef(noise.T)[np.triu_indices(50, 1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(ROWS)
    assert (np.abs(noise / sd) > 5).mean(0)[BUDGETS].min() > 1e-4 > (np.abs(noise / sd) > 5).mean(0)[-1]  # bursts
    np.testing.assert_allclose(np.cov(whole[:, :50].T), covariance(), atol=0.06 * covariance().max())


def test_a_quarter_of_the_rows_is_complete():
    """.98^50 of them but for surveys, which depend on the quarter before; four standard errors."""
    books = draw_books(2, sites=1, quarters=ROWS)
    there = ~np.isnan(books.values[:, :50])
    before = np.random.default_rng(0).normal(size=10**6) * TABLE["revenue_before"].sd
    asked = 1 - np.mean(1 / (1 + np.exp(1.2 + 0.5 * before)))
    expected = 0.98**50 * asked
    assert 0.2 < expected < 0.3
    assert there.all(1).mean() == pytest.approx(expected, abs=4 * np.sqrt(expected / ROWS))
    surveys = there[:, [PLACE[name] for name in SURVEY]]
    assert surveys.any(1).mean() == pytest.approx(asked, abs=4 * 0.5 / np.sqrt(ROWS))
    others = np.delete(there, [PLACE[name] for name in SURVEY], axis=1)
    assert others.mean() == pytest.approx(0.98, abs=4 * 0.14 / np.sqrt(others.size))
    good = books.columns["revenue_before"] > 3
    assert surveys[good].any(1).mean() > surveys[~good].any(1).mean() + 0.2


def test_closed_changes_add_up_to_nothing(whole):
    closed = draw_books(1, sites=1, quarters=ROWS, gaps=False, closed=True)
    np.testing.assert_allclose(closed.values[:, BUDGETS] @ BASE, 0.0, atol=1e-9)
    np.testing.assert_allclose(closed.columns["total"], 0.0, atol=1e-9)
    shifted = whole[:, BUDGETS] - closed.values[:, BUDGETS]  # all departments give the same percentage
    np.testing.assert_allclose(shifted, shifted[:, :1].repeat(20, 1), atol=1e-9)


def test_simulated_books_keep_within_limits_and_levels_last():
    given = {"seed": 3, "sites": 20, "quarters": 30, "gaps": False}
    surprises, levels = (draw_books(**given, **kind).values for kind in ({"simulated": True}, {"levels": True}))
    assert np.abs(surprises[:, BUDGETS]).max() <= 5.001 and np.abs(levels[:, BUDGETS]).max() <= 30.001
    by_site = [values[:, :50].reshape(20, 30, 50) for values in (surprises, levels)]

    def lasting(values, name):
        return np.corrcoef(values[:, :-1, PLACE[name]].ravel(), values[:, 1:, PLACE[name]].ravel())[0, 1]

    assert lasting(by_site[1], "economy") > 0.4 > 0.2 > lasting(by_site[0], "prices")
    np.testing.assert_allclose(np.diff(by_site[1][..., BUDGETS], axis=1), by_site[0][:, 1:, BUDGETS], atol=1e-4)
    again = draw_books(**given, simulated=True).values
    assert (again == surprises).all()


def test_a_reader_of_books_finds_what_follows_from_other_columns(tmp_path):
    folder = tmp_path / "office"
    write(folder, sites=10, quarters=40, seed=4)
    books = read_books(folder / "books.csv")
    assert books.names == VARIABLES and set(books.left_out) == {"total", "reserve"}
    assert len(set(books.units)) == 10 and books.periods[39:41] == ("2029-Q4", "2020-Q1")
    np.testing.assert_allclose(books.values, draw_books(4, 10, 40).values[:, :50], atol=1e-5)
    office = read_office(folder / "knowledge.toml")
    assert list(office.decisions) == list(DEPARTMENTS) and list(office.protected) == list(PROTECTED)
    known = binding(office, books.names, books.closed, books.left_out)
    assert all(known.possible[PLACE[cause], PLACE[effect]] for cause, effect in EDGES)
    assert not any(known.forbidden[PLACE[cause], PLACE[effect]] for cause, effect in EDGES)
    (folder / "closed.csv").write_text(as_csv(draw_books(4, 10, 40, closed=True)))
    closed = read_books(folder / "closed.csv")
    assert [set(members) for members in closed.closed] == [set(DEPARTMENTS)]
    assert "marketing = { base = 4 }" in knowledge()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sites": 0}, "sites is 0"),
        ({"quarters": -1}, "quarters is -1"),
        ({"sites": 10**4, "quarters": 10**4}, "at most 1,000,000"),
        ({"closed": True, "levels": True}, "closed books are drawn from the table"),
    ],
)
def test_books_that_cannot_be_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        draw_books(0, **given)


def test_what_is_there_is_not_written_over(tmp_path, capsys):
    (tmp_path / "mine.csv").write_text("1")
    with pytest.raises(SystemExit) as stop:
        write(tmp_path)
    assert stop.value.code == 2 and "not empty" in capsys.readouterr().err
