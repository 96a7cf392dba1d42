"""A user's environment with mechanism files and a period of its own: what holds for the watershed's holds for it."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc import library
from bayesalloc.allocators.problem import instance_fields
from bayesalloc.checking import check_environment
from bayesalloc.cli.allocate import allocate
from bayesalloc.environment import Environment
from bayesalloc.inference.posing import pose, restore
from bayesalloc.mechanism import mechanism_fields
from bayesalloc.models.schemas import watershed_mechanisms
from bayesalloc.records import Table
from bayesalloc.report import counterfactual as documents
from bayesalloc.report.fit import summaries
from tests.conftest import Run
from tests.posteriors import drawn
from tests.test_cli import assert_refused

ORCHARD = '''
from pathlib import Path
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import msgspec
import numpyro
import numpyro.distributions as dist

import bayesalloc as ba


class Pay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the keepers of bees get.

    Attributes:
        per_hive: money for each hive.
        shares: keeper -> share of
            the money.
    """

    per_hive: Annotated[float, msgspec.Meta(ge=0, le=9, extra={"unit": "EUR/quarter"})]
    shares: dict[str, Annotated[float, msgspec.Meta(gt=0, le=1, extra={"unit": "1"})]] = {}


class Quarter(NamedTuple):
    hives: jax.Array


def action(mechanism):
    if sum(mechanism.parameters.shares.values()) > 1:
        raise ba.InputError(f"{mechanism.path}: shares sum to more than 1")
    bonus = mechanism.rules["bonus"]() if mechanism.rules else 0.0
    return {"per_hive": jnp.float32(mechanism.parameters.per_hive + bonus)}


def step(hives, terms, zeal):
    hives = 0.5 * hives + zeal * terms["per_hive"] + 0.1 * numpyro.sample("shock", dist.Normal())
    return hives, Quarter(hives)


def read(table, mechanism=None):
    quarters, labels = table.integers("quarter"), [mechanism] * len(table)
    labels = table.labels("mechanism") if mechanism is None else labels
    return ba.Recorded(environment, {"hives": table.numbers("hives", required_column=True)}, labels, quarters)


schema = ba.Schema("orchard", Pay, action=action, rules=("bonus",))
environment = ba.Environment(
    name="orchard",
    prior=lambda: numpyro.sample("zeal", dist.LogNormal(0.0, 0.3)),
    initial=lambda zeal: jnp.zeros(()),
    step=step,
    arms=ba.mechanism_arms(schema, [Path(__file__).with_name("low.toml"), Path(__file__).with_name("high.toml")]),
    outcomes={"hives": ba.Outcome("1", "higher", at="horizon")},
    period="quarter",
    measure=lambda outcomes, zeal, data: ba.measured("hives", dist.Normal(outcomes.hives, 0.1), data),
    read=read,
    columns={"quarter": "whole number", "hives": "how many", "mechanism": "a name"},
    mechanism=schema,
)
'''
HEAD = 'title = "Pay"\ndescription = "Paid by the hive."\n'
OURS = f'{HEAD}model = "orchard"\n'
RECORD = "quarter,hives,mechanism\n1,0.9,low\n2,1.5,low\n3,2.6,mine\n4,,mine\n"
WATERSHED = HEAD + "[incentive]\nmodifier = 1.1\n"


@pytest.fixture
def orchard(run: Run) -> Environment:
    """The model and its mechanisms, in the working directory."""
    Path("orchard.py").write_text(ORCHARD)
    for name, amount in {
        "low": "1.0",
        "high": '{value = 3.0, unit = "EUR/quarter", source = "us"}',
        "mine": "2",
    }.items():
        Path(f"{name}.toml").write_text(f"{OURS}per_hive = {amount}\n")
    Path("theirs.toml").write_text(WATERSHED)
    Path("bonus.py").write_text(
        'parameters = {"title": "B", "description": "B.", "model": "orchard", "per_hive": 1.0}\nbonus = lambda: 0.5\n'
    )
    Path("record.csv").write_text(RECORD)
    env = ba.load_model("orchard.py")
    assert isinstance(env, Environment)
    return env


def test_its_mechanisms_are_compared_by_path_by_name_and_loaded(orchard):
    loaded = ba.load_mechanism("mine.toml", orchard)
    assert (loaded.model, loaded.parameters.per_hive) == ("orchard", 2.0)
    assert ba.load_mechanism("high.toml", orchard).notes == {"per_hive": ("EUR/quarter", "us")}
    arms = orchard.arms(["low", "high.toml", loaded, "bonus.py"])
    assert {name: float(action["per_hive"]) for name, action in arms.items()} == {
        "low": 1.0, "high": 3.0, "mine": 2.0, "bonus": 1.5,
    }  # fmt: skip
    assert list(orchard.arms(None)) == ["low", "high"]


def test_results_speak_of_its_period(orchard, run):
    small = ("--draws", "8", "--horizon", "3", "--out", "out")
    ran = run("compare", "orchard.py", "--mechanisms", "mine.toml", "bonus.py", "--json", *small)
    found = json.loads(ran.out)
    assert (ran.code, found["period"], list(found["arms"])) == (0, "quarter", ["mine", "bonus"])
    text = run("compare", "orchard.py", *small).out
    assert "3 quarters;" in text and "hives in the last quarter" in text and "year" not in text
    html = Path("out/report.html").read_text()
    assert "Lines over the quarters" in html and "in quarter 3; all else: mean of the 3 quarters" in html
    assert "year" not in html


def test_a_record_and_what_would_have_been_are_by_its_period(orchard):
    tree = drawn(orchard, "record.csv", mechanisms=["mine.toml"])
    assert tree["observed_data"]["hives_observed"].dims == ("quarter",)
    carried = json.loads(tree.attrs["mechanisms"])
    assert carried == {"mine": {**dict(zip(("title", "description"), ("Pay", "Paid by the hive."), strict=True)),
                                "model": "orchard", "per_hive": 2.0, "shares": {}}}  # fmt: skip
    done = ba.counterfactual(orchard, tree, "high", from_year=3, draws=4)
    assert done["effects"]["hives"].dims == ("statistic", "quarter")
    rows = documents.as_json(done, {}, 0)["outcomes"]["hives"]
    assert [row["quarter"] for row in rows] == [1, 2, 3, 4]
    html = documents.page(done, 0)
    assert "Quarter by quarter" in html and "recorded quarters" in html and "year" not in html
    with pytest.raises(ba.InputError, match="the first quarter is 9; the record runs from 1 to 4"):
        ba.counterfactual(orchard, tree, "high", from_year=9, draws=4)
    posed = pose(orchard, "record.csv", mechanisms=["high.toml", "mine.toml"])
    assert posed.warnings == ["in no quarter in force: high"]


# (file, its text, what the one sentence says)
BAD = {
    "unknown field": (OURS + "per_hive = 1.0\nper_bee = 2.0\n", ["bad.toml", "per_bee"]),
    "missing field": (OURS, ["bad.toml", "per_hive"]),
    "out of range": (OURS + "per_hive = 10\n", ["bad.toml: per_hive", "<= 9"]),
    "wrong unit": (OURS + 'per_hive = {value = 1, unit = "EUR"}\n', ["per_hive", "'EUR'", "'EUR/quarter'"]),
    "wrong unit inside": (
        OURS + 'per_hive = 1\n[shares]\nann = {value = 1, unit = "%"}\n',
        ["shares.ann", "'%'", "'1'"],
    ),
    "out of range inside": (OURS + "per_hive = 1\n[shares]\nann = 0\n", ["bad.toml: shares.ann", "> 0"]),
    "refused by the action": (OURS + "per_hive = 1\n[shares]\nann = 1\nbob = 1\n", ["bad.toml: shares sum"]),
    "no model named": (HEAD + "per_hive = 1.0\n", ["bad.toml", "'watershed'", 'model = "orchard"']),
    "of another model": (WATERSHED + 'model = "watershed"\n'.join(["", ""]), ["bad.toml", "'watershed'", "'orchard'"]),
    "of a number": (f"{HEAD}model = 3\n", ["bad.toml: model", "str"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_in_one_sentence(orchard, run, case):
    text, parts = BAD[case]
    Path("bad.toml").write_text(text)
    assert_refused(run("compare", "orchard.py", "--mechanisms", "low.toml", "bad.toml", "--draws", "4"), *parts)


def test_a_mechanism_of_another_model_is_refused_and_both_are_named(orchard, watershed, run):
    ran = run("compare", "watershed", "--mechanisms", "cost_sharing", "mine.toml", "--draws", "4")
    assert_refused(ran, "mine.toml", "'orchard'", "'watershed'")
    assert_refused(run("compare", "orchard.py", "--mechanisms", "low", "cost_sharing"), "'watershed'", "'orchard'")
    for refusing in (
        lambda: ba.load_mechanism("theirs.toml", orchard),
        lambda: watershed.arms([ba.load_mechanism("mine.toml", orchard)]),
        lambda: ba.load_model("cooperation").arms([ba.load_mechanism("mine.toml", orchard)]),
        lambda: pose(watershed, Path("none.csv"), mechanism="mine.toml", mechanisms=["mine.toml"]),
    ):
        with pytest.raises(ba.InputError):
            refusing()
    with pytest.raises(ba.InputError, match="cooperation has no mechanism files; its actions are control, treatment"):
        ba.load_mechanism("mine.toml", ba.load_model("cooperation"))


@pytest.mark.parametrize("named", ["orchard", "orchard.py", "./orchard.py", "cooperation", "../watershed", "srap", ""])
def test_a_file_names_no_code(orchard, named):
    """The model in a file is looked up among those that are shipped; a user's own comes from the user alone."""
    Path("mine.toml").write_text(f'{HEAD}model = "{named}"\nper_hive = 1\n')
    Path("orchard.py").write_text("raise RuntimeError\n")
    with pytest.raises(ba.InputError, match=r"mine\.toml.*load it with its environment"):
        ba.load_mechanism("mine.toml")


def test_what_a_file_may_hold_is_listed(orchard, run):
    lines = run("mechanisms", "--fields", "orchard.py").out.splitlines()
    assert "per_hive [EUR/quarter]: money for each hive. (number, at least 0, at most 9, required)" in lines
    assert "shares.<name> [1]: keeper -> share of the money. (number, above 0, at most 1, optional)" in lines
    assert "functions of a Python file: bonus" in lines
    found = json.loads(run("mechanisms", "--fields", "watershed", "--json").out)
    assert (found["model"], found["functions"]) == ("watershed", ["modifier", "payments"])
    fields = {field["name"]: field for field in found["fields"]}
    assert fields["model"]["default"] == "watershed" and fields["incentive.modifier"]["required"]
    assert fields["market.price"] == {
        "name": "market.price", "kind": "number", "unit": "kEUR/credit", "allowed": "at least 0, at most 1,000,000",
        "required": False, "default": 0.0, "meaning": "the price in a calm market.",
    }  # fmt: skip
    assert_refused(run("mechanisms", "--fields", "cooperation"), "cooperation has no mechanism files")
    shipped = run("mechanisms")
    assert "cost_sharing (watershed): All costs" in shipped.out
    assert {each["model"] for each in json.loads(run("mechanisms", "--json").out)["mechanisms"]} == {"watershed"}
    about = run("models", "orchard.py").out
    assert all(part in about for part in ("by the quarter", "hives: [1], higher is better", "quarter: whole number"))


def test_every_field_that_is_listed_says_what_it_means():
    for field in (*mechanism_fields(watershed_mechanisms.schema), *instance_fields()):
        assert field.meaning, field.name


def test_the_help_of_allocate_has_every_field_of_a_problem():
    for field in instance_fields():
        for part in field.name.replace("[]", "").split("."):
            assert f"`{part}`" in str(allocate.__doc__), field.name


FULL = {
    "watershed": "year,forest_health,erosion,mechanism,contribution_"
    + ",contribution_".join(watershed_mechanisms.AGENTS)
    + "\n2001,0.5,0.6,cost_sharing,0.1,0.2,0.3,0.4,0.5\n",
    "cooperation": "group,person,mechanism,contribution,endowment,round\n1,1,a,2,20,1\n1,2,b,3,20,1\n",
}  # fmt: skip


@pytest.mark.parametrize("name", library.available("models"))
def test_the_columns_that_a_model_lists_are_those_that_it_reads(tmp_path, name):
    env = ba.load_model(name)
    assert isinstance(env, Environment)
    assert (env.read is None) == (not env.columns) == (name not in FULL)
    if env.read is not None:
        (tmp_path / "record.csv").write_text(FULL[name])
        table = Table(tmp_path / "record.csv")
        env.read(table)
        assert table.used == set(table.columns) == set(env.columns)


class Loose(msgspec.Struct):
    rate: float


class Titled(msgspec.Struct, forbid_unknown_fields=True):
    title: str


# (what is changed, what is said)
FAULTS = {
    "a schema of another kind": ({"mechanism": 3}, "must be a Schema"),
    "parameters that let anything pass": ({"parameters": Loose}, "forbid_unknown_fields"),
    "parameters of another kind": ({"parameters": dict}, "msgspec.Struct"),
    "a field that every file has": ({"parameters": Titled}, "field 'title'"),
    "no action": ({"action": None}, "action is None"),
    "no name": ({"model": ""}, "the model's name"),
    "a period of two words": ({"period": "half year"}, "period is 'half year'"),
    "a period that is a dimension": ({"period": "draw"}, "period is 'draw'"),
    "columns that are a list": ({"columns": ["a"]}, "columns is a list"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_an_environment_is_refused_where_its_own_parts_cannot_be_used(orchard, case):
    change, said = FAULTS[case]
    own = {name: value for name, value in change.items() if name in ba.Schema._fields}
    assert orchard.mechanism is not None
    wrong = {"mechanism": orchard.mechanism._replace(**own)} if own else change
    with pytest.raises(ba.InputError, match=said) as caught:
        check_environment(orchard._replace(**wrong))
    assert str(caught.value).startswith("orchard: ")


def test_a_posterior_from_before_files_named_models_is_read(tmp_path, watershed):
    """Its tables name no model, and it does not say what its periods are called."""
    (tmp_path / "own.toml").write_text(WATERSHED)
    (tmp_path / "record.csv").write_text("year,forest_health,erosion,mechanism\n2001,0.5,0.6,own\n2002,0.5,0.6,own\n")
    tree = drawn(watershed, tmp_path / "record.csv", mechanisms=[tmp_path / "own.toml"])
    table = json.loads(tree.attrs["mechanisms"])["own"]
    assert table.pop("model") == "watershed" and tree.attrs.pop("period") == "year"
    tree.attrs["mechanisms"] = json.dumps({"own": table})
    assert float(restore(watershed, tree).arms["own"].modifier) == pytest.approx(1.1)
    result = ba.compare(watershed, ["own", "cost_sharing"], jax.random.key(0), posterior=tree, draws=2, horizon=2)
    assert np.isfinite(result["values"]["erosion"]).all()
    tree.attrs["mechanisms"] = json.dumps({"own": table | {"model": "orchard"}})
    with pytest.raises(ba.InputError, match="'orchard', and not of 'watershed'"):
        restore(watershed, tree)


def test_a_game_in_rounds_fitted_before_rounds_were_called_so_is_read(tmp_path):
    (tmp_path / "record.csv").write_text(
        "group,person,mechanism,contribution,endowment,round\n"
        + "".join(f"1,{i},{'ab'[i % 2]},{5 + t},20,{t}\n" for i in range(4) for t in (1, 2))
    )
    game = ba.load_model("cooperation")
    tree = drawn(game, tmp_path / "record.csv")
    assert "round" in tree["observed_data"].dims
    old = tree.map_over_datasets(lambda group: group.rename({"round": "year"}) if "round" in group.dims else group)
    old.attrs = {name: value for name, value in tree.attrs.items() if name != "period"}
    result = ba.compare(game, ["a", "b"], jax.random.key(0), posterior=old, draws=2, horizon=2)
    assert jnp.isfinite(result["values"]["contribution"].values).all()
    assert "baseline" in summaries(old)
