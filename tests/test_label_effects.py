"""Effects in books of labels: intervals that hold the true probabilities, what tables cannot tell, and refusals."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from bayesalloc.discovery.asking import ask
from bayesalloc.discovery.books import Books
from bayesalloc.discovery.graph import from_edges
from bayesalloc.discovery.knowledge import Office
from bayesalloc.discovery.tables import Setting, tables

NAMES, LEVELS = ("age", "smoke", "lung", "xray"), (3, 2, 2, 3)
EDGES = [("age", "smoke"), ("age", "lung"), ("smoke", "lung"), ("lung", "xray")]
GRAPH, TIERS = from_edges(NAMES, EDGES), Office(tiers=[[name] for name in NAMES])


def chances(seed: int) -> list[np.ndarray]:
    """Each variable's probabilities, given its causes in the order of the names."""
    rng = np.random.default_rng(seed)
    causes = [[LEVELS[NAMES.index(cause)] for cause in GRAPH.parents(name)] for name in NAMES]
    return [rng.dirichlet(np.full(level, 0.7), tuple(of)) for level, of in zip(LEVELS, causes, strict=True)]


def drawn(chance: list[np.ndarray], rows: int, seed: int) -> Books:
    rng, columns = np.random.default_rng(seed), {}
    for name, table in zip(NAMES, chance, strict=True):
        given = table[tuple(columns[cause] for cause in GRAPH.parents(name))] if table.ndim > 1 else table
        columns[name] = (rng.random((rows, 1)) > np.broadcast_to(given, (rows, table.shape[-1])).cumsum(1)[:, :-1]).sum(
            1
        )
    labels = {name: tuple(map(str, range(level))) for name, level in zip(NAMES, LEVELS, strict=True)}
    return Books(NAMES, np.stack([*columns.values()], 1).astype(float), labels=labels)


def truth(chance: list[np.ndarray], treatment: str, to: int, outcome: str) -> np.ndarray:
    """P(outcome | do(treatment = to)), by adding up all there can be."""
    found = np.zeros(LEVELS[NAMES.index(outcome)])
    for row in itertools.product(*map(range, LEVELS)):
        value = dict(zip(NAMES, row, strict=True))
        probability = float(value[treatment] == to)
        for name, table in zip(NAMES, chance, strict=True):
            if name != treatment:
                probability *= table[(*(value[cause] for cause in GRAPH.parents(name)), value[name])]
        found[value[outcome]] += probability
    return found


@pytest.mark.parametrize("learned", [False, True])
def test_intervals_hold_the_true_effect_of_a_known_network(learned):
    """89 % intervals of 80 tables of 400 rows: within three standard errors of a binomial share; naive ones do not."""
    held, naive = [], []
    for seed in range(80):
        chance = chances(seed)
        books = drawn(chance, 400, seed)
        known = {"office": TIERS} if learned else {"graph": GRAPH}
        found = ask(books, "smoke", "lung", **known, bootstrap=10, seed=seed, setting=Setting("1", "0", "1"))
        true = (truth(chance, "smoke", 1, "lung") - truth(chance, "smoke", 0, "lung"))[1]
        held.append(found.effect.low <= true <= found.effect.high)
        raw = tables(books, (1, 2), (1.0, 0.0), ()).mean()
        naive.append(found.effect.low <= raw[0, 1] - raw[1, 1] <= found.effect.high)
    assert abs(np.mean(held) - 0.89) <= 3 * (0.89 * 0.11 / 80) ** 0.5
    assert np.mean(naive) < 0.75


def test_with_many_rows_the_effect_is_the_formulas_and_probabilities_are_such():
    chance = chances(1)
    found = ask(drawn(chance, 200_000, 1), "smoke", "xray", graph=GRAPH, setting=Setting("0", "1"))
    assert found.labelled is not None and found.labelled.setting == ("0", "1", "2")
    arms = found.labelled.arms
    np.testing.assert_allclose(arms.sum(-1), 1.0)
    exact = [truth(chance, "smoke", to, "xray") for to in (0, 1)]
    np.testing.assert_allclose(arms.mean(0), exact, atol=0.01)  # standard errors of some .002
    np.testing.assert_allclose(found.estimate.draws.sum(1), 0.0, atol=1e-12)
    assert found.estimate.sets == [(("age",), 1.0)] and found.identified


def test_nothing_moves_a_direct_cause_or_what_was_before():
    books = drawn(chances(2), 100, 2)
    assert ask(books, "smoke", "age", graph=GRAPH).effect == (0.0, 0.0, 0.0, 0.5)
    found = ask(books, "xray", "age", TIERS, bootstrap=4)
    assert found.effect == (0.0, 0.0, 0.0, 0.5) and found.identified


def test_what_was_never_seen_leaves_the_interval_open_and_is_said():
    """The old never smoke: of half of the rows nothing is known of one arm, however many rows there are."""
    books = drawn(chances(3), 4000, 3)
    values = books.values.copy()
    values[values[:, 0] > 0, 1] = 0.0
    share = (values[:, 0] > 0).mean()
    found = ask(books._replace(values=values), "smoke", "lung", graph=GRAPH)
    assert found.effect.high - found.effect.low > 0.8 * share
    assert f"of {100 * share:.0f} % of the rows the books cannot tell" in found.warnings[-1]
    few = ask(drawn(chances(4), 30, 4), "smoke", "lung", graph=GRAPH)
    assert "of the rows" in few.warnings[-1]


def test_rows_of_a_unit_that_are_alike_widen_intervals():
    rng, units = np.random.default_rng(0), np.repeat(np.arange(30), 20)
    treated = (rng.random(30) < 0.5)[units]
    result = np.where(rng.random(600) < 0.1, rng.random(600) < 0.5, (rng.random(30) < 0.5)[units])
    values = np.stack([treated, result], 1).astype(float)
    books = Books(("treated", "result"), values, labels={name: ("no", "yes") for name in ("treated", "result")})
    alike = books._replace(units=tuple(f"u{unit}" for unit in units))
    graph = from_edges(books.names, [("treated", "result")])
    wide, narrow = (ask(each, "treated", "result", graph=graph).effect for each in (alike, books))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


@pytest.fixture
def answers():
    books = drawn(chances(1), 300, 0)
    rows = [",".join(f"{name}{int(value)}" for name, value in zip("aslx", row, strict=True)) for row in books.values]
    Path("answers.csv").write_text("\n".join([",".join(NAMES), *rows]) + "\n")
    mixed = [row.replace("a", "") for row in rows]
    Path("mixed.csv").write_text("\n".join([",".join(NAMES), *mixed]) + "\n")
    words = [row.replace("0", "no").replace("1", "yes").replace("2", "perhaps") for row in rows]
    Path("words.csv").write_text("\n".join([",".join(NAMES), *words]) + "\n")
    half = [f"{index}," + row.partition(",")[2] for index, row in enumerate(words)]
    Path("half.csv").write_text("\n".join([",".join(NAMES), *half]) + "\n")
    Path("k.toml").write_text(f"tiers = {[[name] for name in NAMES]}\n")


ASKED = ("--treatment", "smoke", "--outcome", "xray")
BAD = {
    "label": (
        ("answers.csv", "--test", "chisq", *ASKED, "--to", "s7"),
        "'smoke' is never 's7'; its labels are s0, s1",
    ),
    "itself": (("answers.csv", "--test", "chisq", *ASKED, "--to", "s1", "--instead-of", "s1"), "instead of itself"),
    "outcome": (("answers.csv", "--test", "chisq", *ASKED, "--label", "s1"), "'xray' is never 's1'"),
    "words": (("words.csv", *ASKED), "as all columns do; `discover` and `effect` take labels with --test chisq"),
    "half": (("half.csv", *ASKED), "column 'smoke': holds labels such as 'syes', and others hold numbers; either all"),
    "classes": (
        ("half.csv", "--test", "chisq", *ASKED),
        "put numbers into a few classes, such as low, middle and high",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_questions_are_refused_in_one_sentence(run, answers, case):
    options, said = BAD[case]
    answer = run("effect", *options, "--out", "out")
    assert answer.code == 2 and said in answer.err and answer.err.count("\n") == 1
    assert not Path("out").exists()


def test_the_command_answers_as_agreed(run, answers):
    asked = ("--test", "chisq", "--knowledge", "k.toml", *ASKED, "--label", "x0", "--bootstrap", "10", "--out", "out")
    found = json.loads(run("effect", "answers.csv", *asked, "--json").out)
    assert (found["to"], found["instead_of"], found["label"]) == ("s1", "s0", "x0")
    assert [*found["probabilities"]] == ["x0", "x1", "x2"]
    each = found["probabilities"]["x0"]
    assert each["mean"] == found["ate"] and each["to"] - each["instead_of"] == pytest.approx(found["ate"])
    assert found["low"] <= found["ate"] <= found["high"] and found["method"].startswith("tables of counts")
    page = Path("out/report.html").read_text()
    assert "<svg" in page and "smoke = s1" in page and "linear" not in page
    graph = {"nodes": [*NAMES], "directed": EDGES}
    Path("g.json").write_text(json.dumps(graph))
    said = run("effect", "answers.csv", "--test", "chisq", *ASKED, "--graph", "g.json", "--out", "again").out
    assert "Setting smoke to 's1' instead of 's0' moves the probability that xray is 'x2'" in " ".join(said.split())


def test_labels_are_not_asked_of_numbers(run):
    Path("n.csv").write_text("smoke,xray\n" + "".join(f"{i * 37 % 11}.5,{i * 53 % 13}\n" for i in range(60)))
    answer = run("effect", "n.csv", *ASKED, "--to", "1.5")
    assert answer.code == 2 and "these books are of numbers" in answer.err
