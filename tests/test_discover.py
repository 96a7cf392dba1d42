"""`bayesalloc discover`: its JSON, its page, its refusals; and the drawing of a graph."""

import json

import numpy as np
import pytest

from bayesalloc.discovery import graph as graphs
from bayesalloc.discovery.network import directed
from bayesalloc.report.networks import columns, network

EDGES = [("rain", "yield"), ("budget", "yield"), ("yield", "income"), ("budget", "staff cost")]
NAMES = ["rain", "budget", "yield", "income", "staff cost"]
TIERS = "tiers = [['rain', 'budget'], ['yield', 'staff cost'], ['income']]\n"


@pytest.fixture
def books(tmp_path):
    rng = np.random.default_rng(0)
    rain, budget, *noise = rng.normal(size=(5, 300))
    crop = 0.6 * rain + 0.6 * budget + noise[0]
    columns = {"rain": rain, "budget": budget, "yield": crop, "income": 0.8 * crop + noise[1]}
    columns |= {
        "staff cost": 0.9 * budget + noise[2],
        "area": np.full(300, 4.0),
        "income_keur": 1000 * columns["income"],
    }
    path = tmp_path / "books.csv"
    rows = zip(*[[f"{value:.5f}" for value in column] for column in columns.values()], strict=True)
    path.write_text("\n".join([",".join(columns), *map(",".join, rows)]) + "\n")
    return path


def test_the_answer_is_a_graph_file(run, books, tmp_path):
    (tmp_path / "office.toml").write_text(TIERS)
    ran = run("discover", books, "--knowledge", "office.toml", "--bootstrap", "20", "--out", "found", "--json")
    assert ran.code == 0
    result = json.loads(ran.out)
    assert result["nodes"] == NAMES and result["undirected"] == []
    assert {tuple(edge) for edge in result["directed"]} == set(EDGES)
    assert (result["rows"], result["alpha"], result["resampled"]) == (300, 0.01, 20)
    assert set(result["left_out"]) == {"area", "income_keur"}
    assert all(name in " ".join(result["warnings"]) for name in ("'area' is left out", "'income_keur' is left out"))
    assert "area" in ran.err
    sure = {(row["from"], row["to"]): row for row in result["confidence"]}
    assert all(sure[edge]["present"] > 0.9 and sure[edge]["directed"] > 0.9 for edge in EDGES)
    assert graphs.read_graph(tmp_path / "found" / "discover.json").directed == [
        tuple(edge) for edge in result["directed"]
    ]
    page = (tmp_path / "found" / "report.html").read_text()
    assert all(name in page for name in (*NAMES, "income keur", "resampled tables")) and "<script" not in page


def test_what_was_found_is_a_program_that_can_be_compared(run, books, tmp_path):
    (tmp_path / "office.toml").write_text(TIERS)
    asked = ("--knowledge", "office.toml", "--bootstrap", "0", "--program", "--out", "found", "--json")
    assert json.loads(run("discover", books, *asked).out)["files"]["program"].endswith("network.py")
    arms = ("--do", "budget=0", "--do", "budget=1", "--draws", "200", "--json", "--out", "effect")
    result = json.loads(run("compare", "found/network.py", *arms).out)
    ate = {row["outcome"]: row["ate"] for row in result["effects"]}
    # slopes of 300 rows with noise 1 have a standard error of .06; the product .6 x .8 one of some .07
    assert abs(ate["yield"] - 0.6) < 0.18 and abs(ate["income"] - 0.48) < 0.21 and "rain" not in ate


def test_edges_get_directions_without_new_colliders():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        dag = graphs.Graph(tuple("abcdef"), np.triu(rng.uniform(size=(6, 6)) < 0.5, 1))
        found = directed(graphs.cpdag(dag))
        assert found.undirected == [] and found.cycle() is None
        assert graphs.structural_hamming(graphs.cpdag(found), graphs.cpdag(dag)) == 0


def test_the_same_seed_gives_the_same_answer(run, books):
    first, again, other = (
        json.loads(run("discover", books, "--bootstrap", "10", "--seed", seed, "--json", "--out", "found").out)
        for seed in ("1", "1", "2")
    )
    assert first == again and first["tests"] != other["tests"]


def test_without_tables_nothing_is_said_of_confidence(run, books):
    ran = run("discover", books, "--bootstrap", "0", "--json")
    assert json.loads(ran.out)["confidence"] is None
    text = run("discover", books, "--bootstrap", "0").out
    assert "Of 5 variables in 300 rows, 4 pairs are joined" in text and "resampled" not in text


def test_labels(run, tmp_path):
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 3, (2, 800))
    c = np.where(rng.random(800) < 0.7, (a + b) % 3, rng.integers(0, 3, 800))
    words = np.array(["low", "mid", "high"])
    lines = ["a,b,c", *(",".join(row) for row in zip(words[a], words[b], words[c], strict=True))]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    result = json.loads(run("discover", "labels.csv", "--test", "chisq", "--json").out)
    # a and c, and b and c, are pairwise independent: (a + b) mod 3 hides either from who looks at one alone.
    assert result["test"] == "chisq" and result["confidence"] is None and result["directed"] == []
    tilted = np.where(rng.random(800) < 0.7, np.maximum(a, b), rng.integers(0, 3, 800))
    lines = ["a,b,c", *(",".join(row) for row in zip(words[a], words[b], words[tilted], strict=True))]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    result = json.loads(run("discover", "labels.csv", "--test", "chisq", "--bootstrap", "10", "--json").out)
    assert sorted(result["directed"]) == [["a", "c"], ["b", "c"]] and len(result["confidence"]) >= 2


REFUSED = {
    "no file": (["none.csv"], "none.csv: no such file"),
    "text among numbers": (["text.csv"], "text.csv, line 3, column 'b': is 'x'"),
    "a circle": (
        ["books.csv", "--knowledge", "circle.toml"],
        "circle.toml: the required edges are a circle: rain -> yield",
    ),
    "an unknown column": (
        ["books.csv", "--knowledge", "unknown.toml"],
        "unknown.toml: tiers: there is no variable 'snow'",
    ),
    "no knowledge": (["books.csv", "--knowledge", "none.toml"], "none.toml: no such file"),
    "alpha": (["books.csv", "--alpha", "2"], "alpha is 2; it must be between 0 and 1"),
    "half a table": (["books.csv", "--bootstrap", "1.5"], "'1.5' is not a whole number"),
    "no such test": (["books.csv", "--test", "t"], "t"),
}


@pytest.mark.parametrize(("arguments", "said"), REFUSED.values(), ids=REFUSED)
def test_refusals_are_one_sentence(run, books, tmp_path, arguments, said):
    (tmp_path / "text.csv").write_text("a,b\n1,2\n2,x\n")
    (tmp_path / "circle.toml").write_text("required = [['rain', 'yield'], ['yield', 'rain']]\n")
    (tmp_path / "unknown.toml").write_text("tiers = [['snow']]\n")
    before = sorted(tmp_path.iterdir())
    ran = run("discover", *arguments)
    assert (ran.code, ran.out) == (2, "") and ran.err.count("\n") == 1 and said in ran.err
    assert sorted(tmp_path.iterdir()) == before


def test_columns_of_a_drawing():
    graph = graphs.from_edges("abcdef", [("a", "b"), ("c", "b")], [("b", "d"), ("d", "e")])
    drawn = columns(graph)
    place = {name: i for i, column in enumerate(drawn) for name in column}
    assert "f" not in place and place["a"] < place["b"] and place["c"] < place["b"]
    assert columns(graph, [["a", "c"], ["f"], ["b", "d"]]) == [["a", "c"], ["b", "d"], ["e"]]
    figure = network(graph, {frozenset("ab"): 0.6}, {("a", "b"): 0.5})
    assert sorted(text.get_text() for text in figure.axes[0].texts) == list("abcde")
    lines = [patch for patch in figure.axes[0].patches if hasattr(patch, "get_mutation_scale")]
    assert len(lines) == 4 and min(line.get_linewidth() for line in lines) < max(line.get_linewidth() for line in lines)
