"""What SECURITY.md promises: code runs where the user names a file as a model or a mechanism, and never from data.

Each way into a data file is tried with a canary: a Python file whose top level leaves a trace.
"""

import json
from pathlib import Path

import jax
import pytest
import xarray as xr

import bayesalloc as ba
from bayesalloc import library
from bayesalloc.inference.files import open_posterior, save_tree
from bayesalloc.inference.posing import pose, restore
from tests.posteriors import drawn

CANARY = """
from pathlib import Path
Path(__file__).with_name("CODE_RAN").touch()
parameters = {"title": "T", "description": "D", "incentive": {"modifier": 1.0}}
def modifier(terms, health, price_ratio):
    return terms.modifier
environment = None
def model():
    pass
"""
HEAD = "year,forest_health,erosion,mechanism\n"
TOML = 'title = "x"\ndescription = "x"\n[incentive]\nmodifier = 1.1\n'


@pytest.fixture
def canary(tmp_path, monkeypatch) -> Path:
    """A mechanism of one's own, also in the working directory's subfolders and under names that look shipped."""
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / "mechanisms", tmp_path / "models", tmp_path / "in"):
        folder.mkdir(exist_ok=True)
        for name in ("helper.py", "cost_sharing.py", "watershed.py", "x.toml.py"):
            (folder / name).write_text(CANARY)
    return tmp_path / "helper.py"


def ran(canary: Path) -> bool:
    return any(canary.parent.rglob("CODE_RAN"))


def record(labels: list[str]) -> str:
    return HEAD + "".join(f"{2001 + i},0.5,0.6,{label}\n" for i, label in enumerate(labels))


LABELS = ["helper.py", "./helper.py", "helper", "in/helper.py", "../in/helper.py", "helper.py:parameters",
          "file:helper.py", "x.toml.py", "helper.PY", "~/helper.py", "mechanisms/helper.py", "helper.toml"]  # fmt: skip


@pytest.mark.parametrize("label", [*LABELS, "{absolute}"])
def test_a_cell_of_a_record_runs_nothing(canary, watershed, label):
    label = label.replace("{absolute}", str(canary)[-100:] if len(str(canary)) > 100 else str(canary))
    (canary.parent / "record.csv").write_text(record([label, "cost_sharing"]))
    with pytest.raises(ba.InputError, match="line 2, column 'mechanism'"):
        pose(watershed, "record.csv")
    text = f"group,person,mechanism,contribution,endowment\n1,1,{label},5,20\n1,2,b,5,20\n"
    (canary.parent / "people.csv").write_text(text)
    assert list(pose(ba.load_model("cooperation"), "people.csv").arms) == [label, "b"]  # a label like any other
    assert not ran(canary)


def test_a_label_given_by_python_is_the_users_own_word(canary, watershed):
    """The same text runs where the user says it, and only then: this is what the canary would show."""
    (canary.parent / "record.csv").write_text(record(["helper", "helper"]))
    problem = pose(watershed, "record.csv", mechanisms=["helper.py"])
    assert list(problem.arms) == ["helper"] and ran(canary)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, simulated_record) -> xr.DataTree:
    """A posterior of a record with a mechanism of one's own, as TOML."""
    folder = tmp_path_factory.mktemp("fitted")
    (folder / "own.toml").write_text(TOML)
    (folder / "record.csv").write_text(simulated_record.read_text().replace("cost_sharing", "own"))
    return drawn(ba.load_model("watershed"), folder / "record.csv", mechanisms=[folder / "own.toml"])


def test_a_posterior_carries_the_numbers_of_a_mechanism(canary, watershed, fitted):
    save_tree(fitted, "posterior.nc")
    tree = open_posterior("posterior.nc")
    problem = restore(watershed, tree)
    assert float(problem.arms["own"].modifier) == pytest.approx(1.1)
    assert problem.environment is not None
    assert float(problem.environment.arms(["own"])["own"].modifier) == pytest.approx(1.1)
    result = ba.compare(watershed, ["own", "cost_sharing"], jax.random.key(0), posterior=tree, draws=2, horizon=2)
    assert result["arms"]["arm"].values.tolist() == ["own", "cost_sharing"]
    assert ba.counterfactual(watershed, tree, "own", draws=2).attrs["intervention"] == "own"


def tampered(tree: xr.DataTree, **attributes: str) -> xr.DataTree:
    copy = tree.copy()
    copy.attrs = {**tree.attrs, "mechanisms": "{}", **attributes}
    return copy


def test_no_attribute_of_a_posterior_runs_anything(canary, watershed, fitted):
    rows = fitted.attrs["record"]
    for label in LABELS:
        for attributes in (
            {"record": rows.replace("own", label)},
            {"record": rows.replace("own", label), "mechanisms": json.dumps({label: None})},
            {"mechanism": label},
            {"mechanism": label, "mechanisms": json.dumps({label: "helper.py"})},
            {"record": rows, "arms": json.dumps([label]), "model": label},
            {"mechanisms": json.dumps({"own": {"title": "T", "description": "D", "path": label, "incentive": {}}})},
            {"mechanisms": json.dumps({"own": {"title": "T", "description": "D", "rules": label, "incentive": {}}})},
        ):
            tree = tampered(fitted, **attributes)
            with pytest.raises(ba.InputError):
                restore(watershed, tree)
            with pytest.raises(ba.InputError):
                ba.compare(watershed, None, jax.random.key(0), posterior=tree, draws=2, horizon=2)
            with pytest.raises(ba.InputError):
                ba.counterfactual(watershed, tree, "cost_sharing", draws=2)
    assert not ran(canary)


def test_a_python_mechanism_is_named_again_and_matched_by_its_name(canary, watershed, fitted):
    rows = fitted.attrs["record"].replace("own", "helper")
    tree = tampered(fitted, record=rows, mechanisms=json.dumps({"helper": None}))
    with pytest.raises(ba.InputError, match=r"'helper' was a Python mechanism; give helper\.py among the mechanisms"):
        restore(watershed, tree)
    assert not ran(canary)
    assert list(restore(watershed, tree, mechanisms=["helper.py"]).arms) == ["helper"]
    arms = ["in/helper.py", "cost_sharing"]
    assert ba.compare(watershed, arms, jax.random.key(0), posterior=tree, draws=2, horizon=2).attrs["draws"] == 2
    done = ba.counterfactual(watershed, tree, "cost_sharing", mechanisms=["helper.py"], draws=2)
    assert done.attrs["intervention"] == "cost_sharing"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "mechanism 'own'"),
        ({"title": "T", "description": "D", "incentive": {"modifier": 9}}, "incentive.modifier"),
        ({"title": "T", "description": "D", "incentive": {"modifier": 10**400}}, "whole number of 1329 bits"),
        ({"title": 3, "description": "D", "incentive": {"modifier": 1}}, "title"),
        ("helper.py", "was a Python mechanism"),
        ([1], "was a Python mechanism"),
    ],
)
def test_the_numbers_that_a_posterior_carries_are_checked_like_a_files(canary, watershed, fitted, table, said):
    tree = tampered(fitted, mechanisms=json.dumps({"own": table}))
    with pytest.raises(ba.InputError, match=said):
        restore(watershed, tree)
    for text in ("[]", "3", "not JSON", "[" * 100_000):
        with pytest.raises(ba.InputError, match="'mechanisms' is not a JSON object"):
            restore(watershed, tampered(fitted, mechanisms=text))


def test_two_files_of_the_same_name_are_refused_and_both_named(canary, watershed):
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Path(folder, "own.toml").write_text(TOML)
    for load in (
        lambda: library.load_mechanisms(["a/own.toml", "b/own.toml"]),
        lambda: watershed.arms(["a/own.toml", "b/own.toml"]),
    ):
        with pytest.raises(ba.InputError, match=r"a/own\.toml.*b/own\.toml"):
            load()
    assert list(library.load_mechanisms(["a/own.toml", "./a/own.toml"])) == ["own"]
