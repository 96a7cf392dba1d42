"""The command line: its JSON, its exit codes, and that a refused input is one sentence and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import bayesalloc
from bayesalloc import library
from bayesalloc.agents import training
from tests.conftest import Ran, Run

# The command line is run in this process on purpose.

TINY = ("--draws", "4", "--horizon", "3")
STATISTICS = {"mean", "sd", "low", "high", "mcse"}


@pytest.fixture
def project(run: Run) -> Path:
    assert run("init", "project").code == 0
    return Path("project")


def spawn(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bayesalloc.cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, env={**os.environ})


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


PAST = ("watershed", "years.csv", "--posterior", "none.nc", "--do", "growth_shock=0")

# Files that stand there when the cases below are tried.
THERE = {
    "canary.py": "open('CODE_RAN', 'w')",
    "years.csv": "year,forest_health,erosion,mechanism\n2001,0.5,0.6,canary.py\n",
    "a/my.toml": "title = 'a'\ndescription = 'a'\n[incentive]\nmodifier = 1.0\n",
    "b/my.toml": "title = 'b'\ndescription = 'b'\n[incentive]\nmodifier = 2.0\n",
    "dotted.toml": "title = 'a'\ndescription = 'a'\n[incentive]\nmodifier = 1.0\n[cost_sharing]\n"
    "'dam.owner' = { value = 1.0, unit = '1' }\n",
    "huge.toml": f"title = 'a'\ndescription = 'a'\n[incentive]\nmodifier = {'9' * 5000}\n",
    "large.toml": f"title = 'a'\ndescription = 'a'\n[incentive]\nmodifier = {'9' * 500}\n",
    "deep.toml": f"title = {'[' * 5000}{']' * 5000}\n",
    "exits.py": "import sys; sys.exit()\n",
    "late.py": "def model():\n    raise SystemExit(0)\n",
}

# What is refused, and what the sentence must contain. A bad arm stands first: it is refused before any compilation.
REFUSED = {
    "interval above one": (["compare", "--interval", "1.5"], ["interval", "1.5", "between 0 and 1"]),
    "interval zero": (["compare", "--interval", "0"], ["interval", "0"]),
    "interval not a number": (["compare", "--interval", "nan"], ["interval", "nan"]),
    "interval below zero": (["counterfactual", *PAST, "--interval", "-0.5"], ["interval", "-0.5", "between 0 and 1"]),
    "interval of two": (["counterfactual", *PAST, "--interval", "2"], ["interval", "2", "between 0 and 1"]),
    "interval NaN": (["counterfactual", *PAST, "--interval", "nan"], ["interval", "nan", "between 0 and 1"]),
    "no posterior draws": (["counterfactual", *PAST, "--draws", "0"], ["draws", "0", "at least 2"]),
    "too many posterior draws": (["counterfactual", *PAST, "--draws", "1000000000000"], ["draws", "at most 1,000,000"]),
    "half a year": (["counterfactual", *PAST, "--from-year", "2010.5"], ["--from-year", "'2010.5'", "whole number"]),
    "minimum NaN": (["compare", "--minimum", "nan"], ["minimum", "nan"]),
    "minimum infinite": (["compare", "--minimum", "1e999"], ["minimum", "inf"]),
    "half a draw": (["compare", "--draws", "2.7"], ["--draws", "'2.7'", "whole number"]),
    "draws with an exponent": (["compare", "--draws", "1e3"], ["--draws", "'1e3'", "whole number"]),
    "draws with an underscore": (["compare", "--draws", "1_0"], ["--draws", "'1_0'", "whole number"]),
    "half a seed": (["compare", "--seed", "1.5"], ["--seed", "'1.5'", "whole number"]),
    "draws too many": (["compare", "--draws", "1000000000000"], ["draws", "at most 1,000,000"]),
    "horizon too long": (["compare", "--horizon", "1000000000"], ["horizon", "at most 10,000"]),
    "draws and years too many": (
        ["compare", "--draws", "1000000", "--horizon", "10000"], ["draws x horizon is 10,000,000,000", "10,000,000"]
    ),
    "chains too many": (["fit", "watershed", "none.csv", "--chains", "1e9"], ["--chains", "'1e9'"]),
    "chains beyond all": (["fit", "watershed", "none.csv", "--chains", "99999"], ["chains", "at most 1,000"]),
    "warm-up too long": (["fit", "watershed", "none.csv", "--warmup", "9" * 12], ["warmup", "at most 1,000,000"]),
    "draws in all": (["fit", "watershed", "none.csv", "--draws", "900000"], ["draws", "at most 1,000,000"]),
    "half an episode": (["train", "srap", "--episodes", "1.5"], ["--episodes", "'1.5'"]),
    "half a graph": (["reproduce", "srap", "--graphs", "2.5"], ["--graphs", "'2.5'"]),
    "graphs too many": (["reproduce", "srap", "--graphs", "99999"], ["graphs", "at most 10,000"]),
    "negative training": (["reproduce", "srap", "--training", "-1"], ["training", "-1", "at least 0"]),
    "a value beyond single precision": (["compare", *TINY, "--do", "growth=1e39"], ["growth", "1e39", "3.4e+38"]),
    "a value nested deeply": (["compare", "--do", "growth=" + "[" * 9999], ["nested too deeply"]),
    "a value of many dimensions": (["compare", "--do", "growth=" + "[" * 70 + "1" + "]" * 70], ["growth", "number"]),
    "mechanisms of one name": (
        ["compare", "--mechanisms", "a/my.toml", "b/my.toml", "--do", "growth=1"], ["a/my.toml", "b/my.toml"]
    ),
    "mechanism files of one name": (["compare", "--mechanisms", "a/my.toml", "b/my.toml"], ["a/my.toml", "b/my.toml"]),
    "mechanism files of one name in a record": (
        ["fit", "watershed", "years.csv", "--mechanisms", "a/my.toml", "b/my.toml"], ["a/my.toml", "b/my.toml"]
    ),
    "a path in a record": (["fit", "watershed", "years.csv"], ["years.csv", "'canary.py'", "among the mechanisms"]),
    "a mechanism with a dotted agent": (["compare", "--mechanisms", "dotted.toml"], ["dotted.toml", "'dam.owner'"]),
    "a mechanism with a huge number": (["compare", "--mechanisms", "huge.toml"], ["huge.toml", "digits"]),
    "a mechanism with a large number": (["compare", "--mechanisms", "large.toml"], ["incentive.modifier", "bits"]),
    "a mechanism nested deeply": (["compare", "--mechanisms", "deep.toml"], ["deep.toml", "nested"]),
    "a model that exits": (["compare", "exits.py", "--do", "x=0", "--json"], ["exits.py, line 1", "ends the program"]),
    "a model that exits when it runs": (
        ["compare", "late.py", "--do", "x=0", "--json"], ["late.py, line 2", "ends the program"]
    ),
    "a name longer than any file's": (["compare", "a" * 5000], ["no model is called"]),
    "a path longer than any file's": (["compare", "a" * 5000 + ".py"], ["no such file"]),
    "a name that turns the terminal": (["compare", "\x1b[2J\x07"], ["'\\x1b[2J\\x07'"]),
    "interval text": (["compare", "--interval", "wide"], ["--interval", "wide"]),
    "no draws": (["compare", "--draws", "0"], ["draws", "0", "at least 2"]),
    "draws negative": (["compare", "--draws", "-5"], ["draws", "-5"]),
    "draws text": (["compare", "--draws", "many"], ["--draws", "many"]),
    "no horizon": (["compare", "--horizon", "0"], ["horizon", "0", "at least 2"]),
    "seed text": (["compare", "--seed", "abc"], ["--seed", "abc"]),
    "seed too large": (["compare", *TINY, "--seed", "99999999999999999999"], ["seed"]),
    "unknown model": (["compare", "watershet"], ["'watershet'", "altruism, budget, cooperation, srap, srap_sequence"]),
    "missing model file": (["compare", "own.py"], ["own.py", "no such file"]),
    "unknown mechanism": (["compare", "--mechanisms", "cost_sharing", "taxes"], ["'taxes'", "credit_trading"]),
    "mechanism given twice": (["compare", "--mechanisms", "cost_sharing", "cost_sharing"], ["cost_sharing", "two"]),
    "unknown mechanism in --do": (["compare", "--do", "mechanism=taxes"], ["'taxes'", "credit_trading"]),
    "unknown site": (
        ["compare", *TINY, "--do", "grow=1", "--do", "growth=1"],
        ["'grow'", "growth_noise", "initial_health"],
    ),
    "deterministic site": (
        ["compare", *TINY, "--do", "forest_health=0.5", "--do", "growth=1"],
        ["'forest_health'", "initial_health"],
    ),
    "value outside (0, inf)": (
        ["compare", *TINY, "--do", "growth=-1", "--do", "growth=1"],
        ["'growth'", "-1"],
    ),
    "value outside [0, 1]": (
        ["compare", *TINY, "--do", "initial_health=1.5", "--do", "growth=1"],
        ["'initial_health'", "1.5"],
    ),
    "value not finite": (["compare", *TINY, "--do", "growth=NaN", "--do", "growth=1"], ["growth", "NaN"]),
    "value of another shape": (["compare", *TINY, "--do", "growth=[1,2]", "--do", "growth=1"], ["'growth'", "(2,)"]),
    "value a word": (["compare", *TINY, "--do", "growth=fast", "--do", "growth=1"], ["'fast'", "number"]),
    "value in quotes": (["compare", *TINY, "--do", 'growth="x"', "--do", "growth=1"], ["growth", "number"]),
    "value null": (["compare", *TINY, "--do", "growth=null", "--do", "growth=1"], ["growth", "number"]),
    "value an object": (["compare", *TINY, "--do", 'growth={"a":1}', "--do", "growth=1"], ["growth", "number"]),
    "value ragged": (["compare", *TINY, "--do", "growth=[[1,2],[3]]", "--do", "growth=1"], ["growth"]),
    "no value": (["compare", "--do", "growth="], ["growth=", "SITE=VALUE"]),
    "no equals sign": (["compare", "--do", "growth"], ["'growth'", "SITE=VALUE"]),
    "no site": (["compare", "--do", "=1"], ["'=1'", "SITE=VALUE"]),
    "trailing comma": (["compare", "--do", "growth=1,"], ["'growth=1,'", "SITE=VALUE"]),
    "bracket not closed": (["compare", *TINY, "--do", "growth=[1", "--do", "growth=1"], ["growth=[1"]),
    "bracket not opened": (["compare", *TINY, "--do", "growth=1]", "--do", "growth=1"], ["growth=1]"]),
    "a site twice in one arm": (
        ["compare", *TINY, "--do", "growth=1,growth=2", "--do", "growth=1"],
        ["growth=1,growth=2"],
    ),
    "plain model without --do": (["compare", "project/model.py"], ["--do"]),
    "value outside a Bernoulli": (
        ["compare", "project/model.py", *TINY, "--do", "tutoring=2", "--do", "tutoring=1"],
        ["'tutoring'", "2"],
    ),
    "nothing responds": (["compare", "project/model.py", *TINY, "--do", "score=1", "--do", "score=2"], ["'score'"]),
    "missing posterior": (["compare", "--posterior", "none.nc"], ["none.nc", "no such file"]),
    "posterior is text": (["compare", "--posterior", "project/README.md"], ["project/README.md", "netCDF"]),
    "posterior is empty": (["compare", "--posterior", "empty"], ["empty", "netCDF"]),
    "posterior of nothing": (["compare", "--posterior", "other.nc"], ["other.nc", "'posterior'"]),
    "posterior without a record": (["compare", "--posterior", "bare.nc"], ["posterior", "record"]),
    "posterior of another model": (["compare", "--posterior", "pupils.nc"], ["pupils.nc"]),
    "unknown experiment": (["reproduce", "srap", "--experiments", "7.5.9"], ["'7.5.9'", "7.5.1", "7.5.7"]),
    "one graph": (["reproduce", "srap", "--graphs", "1"], ["graphs", "1", "at least 2"]),
    "one world": (["reproduce", "altruism", "--worlds", "1"], ["worlds", "1", "at least 2"]),
    "unknown setting": (["reproduce", "altruism", "--experiments", "mars"], ["mars", "default", "shortlist"]),
    "graphs of funding": (["reproduce", "altruism", "--graphs", "5"], ["graphs", "altruism takes no"]),
    "graphs of a catchment": (["reproduce", "watershed", "--graphs", "5"], ["graphs", "watershed takes no"]),
    "unknown option": (["compare", "--colour", "red"], ["--colour"]),
    "unknown command": (["compere"], ["compere", "compare"]),
    "missing record": (["fit", "watershed", "none.csv"], ["none.csv", "no such file"]),
    "record of another model": (["fit", "watershed", "project/record.csv"], ["project/record.csv", "'year'"]),
    "no record": (["fit", "watershed"], ["record"]),
    "mechanisms of a plain model": (
        ["fit", "project/model.py", "project/record.csv", "--mechanisms", "a/my.toml"], ["plain model", "no mechanisms"]
    ),
    "a mechanism of a plain model": (
        ["fit", "project/model.py", "project/record.csv", "--mechanism", "cost_sharing"], ["plain model"]
    ),
    "no chains": (["fit", "project/model.py", "project/record.csv", "--chains", "0"], ["chains", "0", "at least 1"]),
    "no warm-up": (["fit", "project/model.py", "project/record.csv", "--warmup", "0"], ["warmup", "0", "at least 1"]),
    "unknown method": (["fit", "watershed", "none.csv", "--method", "gibbs"], ["--method", "gibbs"]),
    "counterfactual without a posterior": (["counterfactual", "watershed", "none.csv", "--do", "x=1"], ["--posterior"]),
    "nothing to train": (["train", "weather"], ["'weather'", "altruism, budget, srap"]),
    "nothing learned": (["train", "srap", "--method", "cen-grd"], ["no learned method 'cen-grd'", "cen-rl"]),
    "unknown preset": (["train", "srap", "--preset", "theirs"], ["no preset 'theirs'", "ours, thesis"]),
    "no episodes": (["train", "srap", "--episodes", "0"], ["episodes is 0", "at least 1"]),
    "missing setting": (["train", "srap", "--setting", "none.toml"], ["none.toml", "no such file"]),
    "setting of something else": (
        ["train", "srap", "--setting", "project/my_contract.toml"], ["project/my_contract.toml", "unknown fields"]
    ),
    "no run to go on with": (["train", "srap", "--resume", "project"], ["project", "no checkpoint"]),
    "not a checkpoint": (["train", "srap", "--resume", "project/README.md"], ["README.md", "not a checkpoint"]),
    "init in a folder with files": (["init", "project"], ["project", "not empty"]),
    "init in a file": (["init", "empty"], ["empty"]),
}  # fmt: skip


def netcdf(name: str, group: str, **attributes: str) -> None:
    import xarray as xr

    tree = xr.DataTree.from_dict({group: xr.Dataset({"x": (("chain", "draw"), [[1.0, 2.0]])})})
    tree.attrs = attributes
    tree.to_netcdf(name, engine="h5netcdf")


def assert_refused(ran: Ran, *parts: str) -> None:
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("bayesalloc: ")
    assert ran.err.count("\n") == 1
    assert ran.err.endswith("\n")
    assert "Traceback" not in ran.err
    for part in parts:
        assert part in ran.err


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_one_sentence_and_leaves_nothing(run, project, tmp_path, case):
    arguments, parts = REFUSED[case]
    Path("empty").touch()
    for name, text in THERE.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    netcdf("other.nc", "/results")
    netcdf("bare.nc", "/posterior")
    record = Path("project/record.csv").read_text()
    netcdf("pupils.nc", "/posterior", model="model", record=record, record_name="record.csv", mechanism="")
    before = everything(tmp_path)
    out = [] if arguments[0] in ("init", "compere") else ["--out", "results"]
    assert_refused(run(*arguments, *out), *parts)
    assert everything(tmp_path) == before


def test_a_model_that_prints_does_not_mix_with_the_answer(run):
    text = "print('read')\nimport numpyro, numpyro.distributions as dist, jax\ndef model():\n    print('run')\n"
    text += (
        "    x = numpyro.sample('x', dist.Normal())\n    jax.debug.print('deep')\n    numpyro.deterministic('y', x)\n"
    )
    Path("own.py").write_text(text)
    ran = run("compare", "own.py", "--do", "x=0", "--do", "x=1", "--draws", "4", "--json", "--out", "results")
    assert ran.code == 0 and compared(ran.out)["arms"] and "read" in ran.err and "run" in ran.err
    assert run("compare", "own.py", "--do", "x=0", "--do", "x=1", "--draws", "4", "--quiet").out == ""


def test_what_a_model_writes_beneath_python_does_not_mix_with_the_answer(tmp_path):
    text = "import os, sys\nos.write(1, b'beneath')\nsys.__stdout__.write('beside')\n"
    (tmp_path / "own.py").write_text(f"{text}raise BaseException('of mine')\n")
    ran = spawn("compare", "own.py", "--do", "x=0", "--json", "--out", "results", folder=tmp_path)
    assert ran.returncode == 2 and ran.stdout == ""
    assert "beneath" in ran.stderr and "beside" in ran.stderr and "own.py, line 4: raised BaseException" in ran.stderr


def test_control_characters_reach_neither_the_terminal_nor_a_page(run):
    name = "\x1b[2J\x1b]0;owned\x07\u202e"
    text = "import numpyro, numpyro.distributions as dist\ndef model():\n    x = numpyro.sample('x', dist.Normal())\n"
    text += f"    numpyro.deterministic({name!r}, x)\nmodel.__name__ = {name!r}\n"
    Path("own.py").write_text(text)
    for options in ((), ("--json",)):
        ran = run("compare", "own.py", "--do", "x=0", "--do", "x=1", "--draws", "4", "--out", "results", *options)
        assert ran.code == 0 and "owned" in ran.out, ran.err
        written = ran.out + ran.err + Path("results/report.html").read_text() + Path("results/compare.json").read_text()
        assert not {"\x1b", "\x07", "\u202e"} & set(written)


def test_a_mechanism_of_ones_own_from_the_record_to_the_counterfactual(run):
    """The file is not needed again: the posterior carries its numbers."""
    Path("my.toml").write_text(THERE["b/my.toml"])
    rows = "".join(f"{2001 + i},0.5,0.6,my\n" for i in range(4))
    Path("years.csv").write_text("year,forest_health,erosion,mechanism\n" + rows)
    small = ("--method", "svi", "--draws", "40", "--warmup", "20", "--chains", "1", "--quiet", "--out", "fitted")
    assert run("fit", "watershed", "years.csv", *small, "--mechanisms", "my.toml").code == 0
    Path("my.toml").unlink()
    given = ("--posterior", "fitted/posterior.nc", "--draws", "4", "--json", "--out", "results")
    ran = run("compare", *given, "--horizon", "3", "--do", "mechanism=my", "--do", "mechanism=cost_sharing")
    assert ran.code == 0 and list(compared(ran.out)["arms"]) == ["my", "cost_sharing"], ran.err
    ran = run("counterfactual", "watershed", "years.csv", *given, "--do", "mechanism=my")
    effects = json.loads(ran.out)["outcomes"]["forest_health"]
    assert ran.code == 0 and {year["effect"]["mean"] for year in effects} == {0.0}  # what was in force
    with Path("fitted/posterior.nc").open("ab") as file:
        file.write(b"more")
    assert_refused(run("compare", *given), "fitted/posterior.nc", "manifest.json")


@pytest.mark.parametrize("out", ["taken", "taken/results"])
def test_out_must_not_be_a_file(run, tmp_path, out):
    Path("taken").write_text("mine")
    assert_refused(run("compare", *TINY, "--out", out), "taken")
    assert everything(tmp_path) == ["taken"]
    assert Path("taken").read_text() == "mine"


@pytest.mark.parametrize("out", [(), ("--out", "new/folder/results")])
def test_a_refusal_leaves_no_folders_on_the_way_to_the_results(run, tmp_path, out):
    assert_refused(run("compare", "watershet", *out))
    assert everything(tmp_path) == []


def test_a_broken_model_file_leaves_nothing(run, tmp_path):
    Path("own.py").write_text("def model():\n    raise KeyError('late')\n")
    ran = run("compare", "own.py", "--do", "x=0", "--do", "x=1", "--out", "results")
    assert_refused(ran, "own.py", "line 2", "KeyError", "late")
    assert everything(tmp_path) == ["own.py"]


def compared(text: str) -> dict:
    """The JSON object of `compare`, with the fields that the contract promises."""
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert {"model", "kind", "basis", "draws", "horizon", "seed", "interval", "arms", "effects"} <= set(found)
    assert {"decision", "files"} <= set(found)
    assert found["kind"] == "interventional"
    assert set(found["interval"]) == {"kind", "prob"}
    for by_outcome in found["arms"].values():
        for statistics in by_outcome.values():
            assert set(statistics) >= STATISTICS
    for effect in found["effects"]:
        assert set(effect) >= {"treatment", "control", "outcome", "ate", "low", "high", "mcse", "relative"}
        assert set(effect) >= {"prob_positive", "variance"}
        assert set(effect["variance"]) == {"parameter", "process", "monte_carlo"}
        assert {"element", "over"} <= set(effect)
        label = ".".join([effect["outcome"], *map(str, (effect["element"] or {}).values())])
        means = [found["arms"][effect[role]][label]["mean"] for role in ("treatment", "control")]
        assert effect["ate"] == pytest.approx(means[0] - means[1], rel=1e-3, abs=1e-4)
    assert {"prob_best", "expected_regret", "cvar", "evpi"} <= set(found["decision"])
    for path in found["files"].values():
        assert Path(path).stat().st_size > 0
    return found


def test_compare_prints_one_json_object_and_the_same_again_for_the_same_seed(run):
    first = run("compare", *TINY, "--seed", "3", "--json", "--out", "results")
    assert first.code == 0
    assert first.out.count("\n") == 1
    found = compared(first.out)
    assert (found["model"], found["basis"], found["seed"]) == ("watershed", "prior", 3)
    assert (found["draws"], found["horizon"], found["interval"]) == (4, 3, {"kind": "eti", "prob": 0.89})
    assert set(found["arms"]) == {"cost_sharing", "performance_contract", "credit_trading"}
    assert {effect["control"] for effect in found["effects"]} == {"cost_sharing"}
    assert {effect["treatment"] for effect in found["effects"]} == {"performance_contract", "credit_trading"}
    assert set(found["agents"]) == {"dam_owner", "forest_owner", "expert", "regulator", "investor"}
    for by_arm in found["agents"].values():
        assert set(by_arm) == set(found["arms"])
        for cell in by_arm.values():
            assert set(cell) >= {"payoff", "would_refuse", "deviation_gain"}
            assert 0.0 <= cell["would_refuse"] <= 1.0
    assert sum(found["decision"]["prob_best"]["erosion"].values()) == pytest.approx(1.0)
    assert everything(Path()) == [
        "results",
        *(f"results/{name}" for name in ("compare.json", "manifest.json", "report.html", "results.nc")),
    ]
    assert json.loads(Path("results/compare.json").read_text()) == found

    again = run("compare", *TINY, "--seed", "3", "--json", "--out", "results")
    assert again.out == first.out


def test_the_words_and_where_the_files_are_and_quiet(run, project):
    arms = ["--do", "tutoring=0", "--do", "tutoring=1"]
    ran = run("compare", "project/model.py", "--draws", "20", *arms, "--out", "results")
    assert ran.code == 0
    assert "score" in ran.out
    assert "tutoring=1" in ran.out
    assert "results" in ran.out.splitlines()[-1]
    assert run("compare", "project/model.py", "--draws", "20", *arms, "--out", "results", "--quiet") == Ran(0, "", "")
    other = run("compare", "project/model.py", "--draws", "20", *arms, "--json", "--quiet", "--seed", "1")
    found = compared(other.out)
    assert (found["model"], found["horizon"], list(found["arms"])) == ("model", 0, ["tutoring=0", "tutoring=1"])
    (folder,) = Path("runs").iterdir()  # the default place
    assert folder.name.endswith("-compare")


def test_a_failed_run_leaves_earlier_results_alone(run, project):
    arms = ["--do", "tutoring=0", "--do", "tutoring=1"]
    assert run("compare", "project/model.py", "--draws", "4", *arms, "--out", "results").code == 0
    Path("results/notes.txt").write_text("mine")
    before = {path: path.read_bytes() for path in Path("results").iterdir()}
    assert_refused(run("compare", "project/model.py", "--draws", "4", "--do", "x=0", *arms, "--out", "results"), "'x'")
    assert {path: path.read_bytes() for path in Path("results").iterdir()} == before


def test_labels_of_mechanisms_may_be_numbers(run):
    text = "from bayesalloc.models.cooperation import game\nenvironment = game([0, 0, 1], mechanisms=('1', '2'))\n"
    Path("numbered.py").write_text(text)
    ran = run(
        "compare", "numbered.py", *TINY, "--do", "mechanism=1", "--do", "mechanism=2", "--json", "--out", "results"
    )
    assert ran.code == 0, ran.err
    assert list(compared(ran.out)["arms"]) == ["1", "2"]


def test_init_and_the_commands_of_its_readme(run, project):
    assert {path.name for path in project.iterdir()} == {"README.md", "model.py", "my_contract.toml", "record.csv"}
    readme = (project / "README.md").read_text().splitlines()
    commands = [line.split()[1:] for line in readme if line.strip().startswith("bayesalloc ")]
    assert [command[0] for command in commands] == ["compare", "compare", "fit", "compare"]
    os.chdir(project)
    less = {
        "compare": ["--draws", "10", "--json"],
        "fit": ["--draws", "20", "--warmup", "50", "--chains", "2", "--json"],
    }
    answers = []
    for command in commands:
        tiny = [*less[command[0]], *(["--horizon", "3"] if "watershed" in command else [])]
        ran = run(*command, *tiny)
        assert ran.code == 0, (command, ran.err)
        answers.append(json.loads(ran.out))
    assert set(answers[0]["arms"]) == {"cost_sharing", "my_contract"}
    assert {answers[1]["basis"], answers[3]["basis"]} == {"prior", "posterior"}
    fitted = answers[2]
    numbers = {"rhat_max", "ess_bulk_min", "ess_tail_min", "divergences"}
    assert {"model", "method", "usable", "why", "summary", "files"} | numbers <= set(fitted)
    assert fitted["method"] == "nuts"
    assert fitted["usable"] is False  # forty draws are too few
    assert fitted["why"]
    for site in ("ability", "effect", "spread"):
        assert set(fitted["summary"][site]) >= {"mean", "sd", "low", "high"}
    assert Path(fitted["files"]["posterior"]).is_file()
    # The record says more than the prior did.
    before, after = (next(e for e in answers[i]["effects"] if e["element"] is None) for i in (1, 3))
    assert after["high"] - after["low"] < before["high"] - before["low"]


PROBLEM = {
    "agents": 3, "edges": [[0, 1, 1.0], [1, 2, 2.5]], "resource_types": 2, "resources": [[1, 1], [0, 2], [3, 3]],
    "tasks": [{"agent": 0, "utility": 9, "requires": [2, 2]}, {"agent": 2, "utility": 4, "requires": [1, 0]}],
    "transfer_cost": {"per_item": 1.0, "package_size": 1},
}  # fmt: skip


@pytest.mark.parametrize("method", ["opt", "cen-grd", "cen-grd+", "dec-grd", "dec-price", "cen-rl"])
def test_allocate(run, tmp_path, method):
    """By hand: both tasks done; agent 0 lacks one item of each type, at distances 3.5 (agent 2) and 1 (agent 1)."""
    (tmp_path / "problem.json").write_text(json.dumps(PROBLEM))
    code, out, _ = run("allocate", "problem.json", "--method", method, "--json", "--out", "results")
    result = json.loads(out)
    assert code == 0 and result["method"] == method
    assert (result["social_welfare"], result["utility"], result["transfer_cost"]) == (8.5, 13.0, 4.5)
    assert result["tasks_done"] == [0, 1] and result["seconds"] > 0
    assert {"task": 0, "agent": 2, "type": 0, "quantity": 1} in result["allocation"]
    assert result["optimal"] is (method == "opt") or method == "dec-price"
    assert (result["upper_bound"] is None) is method.startswith(("cen", "dec-grd"))
    assert (result["messages"] is None) is method.startswith(("cen", "opt"))
    assert json.loads(Path("results/allocate.json").read_text()) == result


def test_allocate_in_words_and_refused(run, tmp_path):
    (tmp_path / "problem.json").write_text(json.dumps(PROBLEM))
    _, out, _ = run("allocate", "problem.json", "--method", "opt")
    assert "social welfare" in out and "8.5 (proven optimal)" in out and "shipments" in out
    for arguments, said in (
        (["--method", "best"], "no method 'best'"),
        (["--time-limit", "1"], "time limit"),
        (["--method", "opt", "--time-limit", "0"], "above 0"),
        (["--policy", "problem.json"], "dec-price does not act by a policy"),
        (["--method", "cen-rl", "--policy", "none.policy"], "none.policy: no such file"),
        (["--method", "cen-rl", "--policy", "problem.json"], "problem.json: is not a policy"),
    ):
        code, out, err = run("allocate", "problem.json", *arguments, "--out", "refused")
        assert code == 2 and said in err and out == "" and not Path("refused").exists()


def test_allocate_on_a_network_of_its_own(run, tmp_path):
    """What was understood is said, and what is not clear is asked; nothing is said about it where `quiet` is."""
    (tmp_path / "net.csv").write_text("from,to,km\nB,C,15\nA,B,2\n")
    problem = {name: value for name, value in PROBLEM.items() if name != "edges"} | {"graph": "net.csv"}
    (tmp_path / "problem.json").write_text(json.dumps(problem))
    assert_refused(run("allocate", "problem.json"), "net.csv", "have km", "say the attribute")
    ran = run("allocate", "problem.json", "--length", "km", "--method", "cen-grd", "--json")
    said = "3 agents (0 is 'A', 1 is 'B', 2 is 'C'), 2 links, lengths: their 'km' (2 to 15)"
    assert ran.err == f"network: {said}\n"
    result = json.loads(ran.out)
    assert (result["network"], result["warnings"]) == (said, []) and result["transfer_cost"] == 17 + 2
    assert run("allocate", "problem.json", "--length", "1", "--method", "cen-grd", "--quiet").err == ""


def test_allocate_says_what_the_negotiation_leaves_out(run, tmp_path):
    many = PROBLEM | {"tasks": [PROBLEM["tasks"][0] | {"requires": [0, 11]}]}
    (tmp_path / "problem.json").write_text(json.dumps(many))
    ran = run("allocate", "problem.json", "--method", "dec-grd", "--json")
    assert "at most 8 items of a type" in ran.err and json.loads(ran.out)["warnings"][0] in ran.err
    (tmp_path / "problem.json").write_text(json.dumps(PROBLEM | {"tasks": PROBLEM["tasks"][:1] * 17}))
    assert_refused(run("allocate", "problem.json", "--method", "dec-grd"), "up to 16 tasks", "agent 0 owns 17")


def test_reproduce_srap(run):
    """One experiment on few graphs, in which nothing is solved: the claims on methods that are there are judged."""
    ran = run("reproduce", "srap", "--experiments", "7.5.7", "--graphs", "3", "--json", "--out", "results")
    assert (ran.code, ran.err) == (0, "")
    result = json.loads(ran.out)
    assert result == json.loads(Path("results/reproduce.json").read_text())
    assert result["seed"] == 0 and result["ours"] == [] and result["missing"] == []
    assert {claim["experiment"] for claim in result["claims"]} == {"7.5.7"} and len(result["claims"]) == 4
    for claim in result["claims"]:
        assert set(claim["measured"]) == {"published", "owner", "per_item"}
        for measured in claim["measured"].values():
            assert measured["margin"]["graphs"] == 3 and len(measured["averages"]) == 4
    assert result["files"] == {"report": "results/report.html", "results": "results/results.nc"}
    assert everything(Path("results")) == ["manifest.json", "report.html", "reproduce.json", "results.nc"]


TRAINING = (
    "train", "srap", "--method", "cen-rl", "--preset", "thesis", "--setting", "setting.toml", "--episodes", "200",
    "--seed", "3",
)  # fmt: skip
SMALL = "agents = 3\nnetwork = 'random'\ntasks = [1, 2]\nprovider_stock = [3, 5]\n"


def test_train_and_allocate_by_the_policy(run, tmp_path, monkeypatch):
    """Also interrupted, and gone on with in a process of its own, which ends with the same policy to the last bit."""
    (tmp_path / "setting.toml").write_text(SMALL)
    code, out, err = run(*TRAINING, "--out", "whole", "--json")
    assert code == 0 and err == ""
    result = json.loads(out)
    assert {name: result[name] for name in ("problem", "method", "preset", "seed")} == {
        "problem": "srap", "method": "cen-rl", "preset": "thesis", "seed": 3,
    }  # fmt: skip
    assert 200 <= result["episodes"] < 220 and result["steps"] >= result["episodes"] and result["seconds"] > 0
    assert result["epsilon"] == pytest.approx(0.99982 ** result["episodes"], abs=2e-3) and result["return"] > 0
    assert set(result["files"]) == {"policy", "curve", "report", "results", "checkpoint"}
    assert {"manifest.json", "train.json", *(Path(file).name for file in result["files"].values())} == set(
        everything(Path("whole"))
    )
    assert json.loads(Path("whole/train.json").read_text()) == result
    assert "Learning curve" in Path(result["files"]["report"]).read_text()

    row, rows = training._row, []

    def interrupting(course, before, found):
        rows.append(row(course, before, found))
        if len(rows) == 7:
            signal.raise_signal(signal.SIGINT)
        return rows[-1]

    monkeypatch.setattr(training, "_row", interrupting)
    code, out, err = run(*TRAINING, "--out", "part")
    assert code == 130 and out == "" and err.count("\n") == 1 and "--resume part" in err
    assert everything(tmp_path) == ["part", "part/checkpoint.run", "setting.toml", *_inside("whole")]
    assert_refused(run(*TRAINING, "--out", "part"), "part", "not over", "--resume")
    for other in (["--preset", "ours"], ["--seed", "4"], ["--episodes", "10"], ["--setting", "setting.toml"]):
        (tmp_path / "setting.toml").write_text(SMALL + "types = 3\n")
        assert_refused(run("train", "srap", "--resume", "part", *other), "part", "begun with", "cannot go on")
    ran = spawn("train", "srap", "--resume", "part", "--json", folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    resumed = json.loads(ran.stdout)
    assert (resumed["return"], resumed["loss"], resumed["steps"]) == tuple(
        result[name] for name in ("return", "loss", "steps")
    )
    assert Path("part/cen_rl.policy").read_bytes() == Path("whole/cen_rl.policy").read_bytes()

    (tmp_path / "problem.json").write_text(json.dumps(PROBLEM))
    by_policy = ("allocate", "problem.json", "--method", "cen-rl", "--policy", "part/cen_rl.policy")
    code, out, _ = run(*by_policy, "--json")
    found = json.loads(out)
    assert code == 0 and found["messages"] is None and found["tasks_done"] == [0, 1]
    assert found["social_welfare"] == 8.5  # there is but one way to supply the two tasks, in either order
    (tmp_path / "problem.json").write_text(json.dumps(PROBLEM | {"tasks": [PROBLEM["tasks"][0]] * 3}))
    assert_refused(run(*by_policy, "--out", "refused"), "up to 2 tasks", "up to 3 tasks")


def _inside(folder: str) -> list[str]:
    return [folder, *(f"{folder}/{name}" for name in everything(Path(folder)))]


def test_listings(run):
    ran = run("models")
    assert ran.code == 0
    for name in library.available("models"):
        assert f"{name}: " in ran.out
    ran = run("mechanisms")
    assert ran.code == 0
    for name in library.available("mechanisms"):
        assert f"{name} (watershed): " in ran.out
    assert "incentive.modifier [1]: " in ran.out
    assert everything(Path()) == []


@pytest.mark.parametrize("kind", ["models", "mechanisms"])
def test_listings_as_json(run, kind):
    ran = run(kind, "--json")
    found = json.loads(ran.out)[kind]
    assert [item["name"] for item in found] == library.available(kind)
    assert all(item["description"] for item in found)
    assert run(kind, "--quiet") == Ran(0, "", "")


def test_init_as_json_and_in_an_empty_folder(run):
    Path("there").mkdir()
    ran = run("init", "there", "--json")
    assert ran.code == 0
    assert set(json.loads(ran.out)["files"]) == {path.name for path in Path("there").iterdir()}
    assert run("init", "deep/er", "--quiet") == Ran(0, "", "")
    assert Path("deep/er/README.md").is_file()


def test_init_where_it_cannot_be_written(run, tmp_path):
    Path("file").touch()
    Path("link").symlink_to("nowhere")
    for target, said in (("file/deep", "cannot be written to"), ("link", "a link to nothing"), ("/dev/null", "file")):
        assert_refused(run("init", target), target, said)
    assert everything(tmp_path) == ["file", "link"]
    assert run("init", ".").code == 2
    Path("file").unlink()
    Path("link").unlink()
    assert run("init", ".", "--quiet").code == 0  # also where one stands
    assert everything(tmp_path) == ["README.md", "model.py", "my_contract.toml", "record.csv"]


def test_help_and_version(run):
    ran = run("--help")
    assert ran.code == 0
    commands = "compare fit counterfactual allocate train reproduce runs rerun certify verify models mechanisms init"
    assert all(command in ran.out for command in commands.split())
    assert run("--version").out.strip() == bayesalloc.__version__


def test_as_a_process(tmp_path):
    (tmp_path / "own.py").write_text(
        "import numpyro, numpyro.distributions as dist\n"
        "def model():\n    x = numpyro.sample('x', dist.Normal())\n    numpyro.sample('y', dist.Normal(2 * x, 1))\n"
    )
    good = (
        "compare",
        "own.py",
        "--do",
        "x=0",
        "--do",
        "x=1",
        "--draws",
        "4",
        "--json",
        "--out",
        str(tmp_path / "results"),
    )
    ran = spawn(*good, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert compared(ran.stdout)["effects"][0]["ate"] == pytest.approx(2.0, abs=1e-5)
    ran = spawn("compare", "own.py", "--do", "z=0", "--do", "z=1", folder=tmp_path)
    assert_refused(Ran(ran.returncode, ran.stdout, ran.stderr), "'z'")


def test_help_does_not_wait_for_jax(tmp_path):
    code = "import sys; from bayesalloc.cli.main import main; sys.argv = ['bayesalloc', '--help']\n"
    code += "try: main()\nexcept SystemExit: pass\nsys.exit('jax' in sys.modules or 'xarray' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
