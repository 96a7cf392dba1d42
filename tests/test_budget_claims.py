"""Bounds on budgets from books: the file, verdicts on known numbers, cells that are kept, and a small run."""

import json
from pathlib import Path

import numpy as np
import pytest

from bayesalloc import claims
from bayesalloc.claims import budget
from bayesalloc.claims.budget import cells
from bayesalloc.claims.budget.published import Claim, average, averages, load_claims, verdict
from bayesalloc.errors import InputError
from bayesalloc.models.budgets import experiments
from bayesalloc.models.budgets.experiments import discovery
from bayesalloc.report import claims as documents
from bayesalloc.report.tables import for_json


def test_claims_are_well_formed():
    published = load_claims()
    assert published.seed == 42
    for claim in published.claims:
        assert claim.experiment in cells.EXPERIMENTS and claim.text and 1 <= len(claim.quantity) <= 2
        assert (claim.near is None) != (claim.least is None and claim.most is None)
    for name in cells.EXPERIMENTS:
        module = cells.module(name)
        assert module.TITLE and module.TERMS and callable(module.measured)


@pytest.mark.parametrize(
    ("bounds", "values", "expected"),
    [
        ({"least": 1.0}, [2.0, 2.1, 1.9], "holds"),
        ({"least": 1.0}, [0.5, 0.6, 0.4], "does not hold"),
        ({"least": 1.0}, [0.5, 1.6, 1.0], "undecided"),
        ({"most": 1.0}, [0.5, 0.6, 0.4], "holds"),
        ({"most": 1.0}, [1.5], "does not hold"),
        ({"least": 1.0, "most": 3.0}, [2.0, 2.1, 1.9], "holds"),
        ({"near": 0.9}, [0.88, 0.91, 0.9], "holds"),
        ({"near": 0.9}, [0.78, 0.81, 0.8], "does not hold"),
        ({"near": 0.9}, [0.9], "undecided"),
        ({"least": 1.0}, [np.nan], "not measured"),
    ],
)
def test_verdicts(bounds, values, expected):
    assert verdict(Claim("x", ["a"], "text", **bounds), average(values, 0.89)) == expected


def test_averages_are_over_the_cells_that_have_a_number():
    found = averages([{"a": 1.0, "b": {"x": 2.0}}, {"a": 3.0}], 0.89)
    assert (found["a",].mean, found["a",].seeds, found["b", "x"].seeds) == (2.0, 2, 1)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(discovery, "ROWS", (500,))
    monkeypatch.setattr(discovery, "TABLES", 4)


def test_cells_are_kept_by_experiment_seed_and_code(small, tmp_path, monkeypatch):
    first = cells.run(["discovery"], [3], tmp_path)
    [kept] = tmp_path.iterdir()
    monkeypatch.setattr(discovery, "measured", lambda seed: pytest.fail("is measured"))
    assert cells.run(["discovery"], [3], tmp_path) == json.loads(json.dumps(first))
    for other in ("seed", "code"):
        if other == "code":
            monkeypatch.setattr(cells, "code_of", lambda modules, followed: "another")
        with pytest.raises(pytest.fail.Exception, match="is measured"):
            cells.run(["discovery"], [4 if other == "seed" else 3], tmp_path)
    monkeypatch.undo()
    for text in (kept.read_text()[:50], kept.read_text().replace('"seed": 3', '"seed": 4')):
        kept.write_text(text)
        with pytest.raises(InputError, match=r"discovery-3-.*json: .*; remove it, and it is measured again"):
            cells.run(["discovery"], [3], tmp_path)


def test_a_run_says_what_was_measured_and_what_was_not(small, tmp_path):
    asked = claims.Asked(options={"experiments": ["discovery"], "keep": tmp_path})
    found = claims.measure("budget", asked)
    assert found.record["seeds"] == [42] and "seed 42" in found.measures
    verdicts = {row.text: row.verdicts["seed 42"] for row in found.rows}
    assert "not measured" in verdicts.values() and {"holds", "does not hold"} & {*verdicts.values()}
    assert found.warnings == ["Not part of this run: effects, proposals."] or "effects" in found.warnings[0]
    page = documents.write(found, tmp_path / "report.html", 0).read_text()
    assert "distance, tiers" in page and "asked" in page
    json.dumps(for_json(found.record), allow_nan=False)
    many = budget.report({"discovery": [found.record["measured"]["discovery"][0]] * 2}, [42, 43])
    assert "holds" in many.measures and len(many.data["discovery"]["seed"]) == 2


def test_only_experiments_that_there_are(tmp_path):
    with pytest.raises(InputError, match="no experiment 'mars'; there are accuracy, adaptability, discovery"):
        claims.measure("budget", claims.Asked(options={"experiments": ["mars"]}))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: cannot be written to"):
        claims.measure("budget", claims.Asked(options={"keep": tmp_path / "file"}))


def test_every_module_of_an_experiment_is_listed():
    there = {path.stem for path in Path(experiments.__path__[0]).iterdir()}
    rest = {"__init__", "__pycache__", "agents", "world"}
    assert there - rest == {*cells.EXPERIMENTS}
