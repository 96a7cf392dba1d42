"""Every loader and command against malformed inputs: one sentence, soon, and without much memory, or accepted.

BAYESALLOC_FUZZ sets how many inputs each gets (`make fuzz`: thousands); a failure names the seed that gives the input.
"""

import contextlib
import io
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc import runs
from bayesalloc.cli import arguments, main as program
from bayesalloc.discovery.books import read_books
from bayesalloc.discovery.graph import read_graph
from bayesalloc.discovery.knowledge import binding, read_office
from bayesalloc.discovery.search import Settings, discover
from bayesalloc.inference.files import SEALED, check_structure, open_posterior, save_tree
from bayesalloc.inference.posing import pose, restore
from tests import mutations
from tests.posteriors import drawn

COUNT = int(os.environ.get("BAYESALLOC_FUZZ", "40"))
SECONDS = 10.0  # of processor time: a busy machine is no fault
KILOBYTES = 1_000_000

pytestmark = pytest.mark.filterwarnings("ignore")

MECHANISM = """title = "Own"
description = "Mine."
[incentive]
modifier = { value = 1.2, unit = "1", source = "assumed" }
volatility = 0.1
[market]
price = 20.0
[milestones]
forest_health = 0.5
payment = { dam_owner = -10.0, forest_owner = 10.0 }
[cost_sharing]
dam_owner = 0.5
investor = 0.5
"""
YEARS = "year,forest_health,erosion,mechanism,contribution_expert\n" + "".join(
    f"{2001 + i},0.{4 + i % 3},{0.5 + i / 100:.2f},{name},{'' if i % 2 else 0.5}\n"
    for i, name in enumerate(["cost_sharing"] * 3 + ["credit_trading"] * 3)
)
PEOPLE = "group,person,mechanism,contribution,endowment,round\n" + "".join(
    f"{i // 4},{i % 4},{'on' if i < 6 else 'off'},{i},20,{t}\n" for t in (1, 2) for i in range(12)
)
BOOKS = "unit,period,rain,budget,income\n" + "".join(
    f"{'north' if i < 8 else 'south'},{2001 + i % 8},{i * i % 7}.5,{(i * 5) % 11 - 4},{'' if i == 3 else i * i % 13}\n"
    for i in range(16)
)
ANSWERS = "town,answer,vote\n" + "".join(f"{'abc'[i % 3]},{'yn'[i * i % 2]},{i * 5 % 4}\n" for i in range(20))
OFFICE = """tiers = [["rain"], ["budget"], ["income"]]
forbidden = [["rain", "budget"]]
required = [["budget", "income"]]
decisions = ["budget"]
[protected.income]
harm = "down"
[weights]
surplus = 0.5
[[comments]]
who = "mayor"
says = "No cuts."
frozen = ["budget"]
"""
GRAPH = json.dumps({"nodes": ["a", "b", "c"], "directed": [["a", "b"]], "undirected": [["b", "c"]], "alpha": 0.01})
PLAIN = """import numpyro, numpyro.distributions as dist
def model(dose=None, score=None):
    x = numpyro.sample("x", dist.Normal())
    numpyro.sample("score", dist.Normal(x, 1.0), obs=score)
"""


# What has broken readers before, as text that may stand anywhere.
PIECES = [
    "", " ", "\t", "\r\n", "\n\n", ",", ",,,", '"', "'", ";", "=", "[", "]", "{", "}", "[[", "#", "\\", "/", "..",
    "0", "-0", "-1", "1e39", "-1e39", "1e-50", "1e400", "nan", "inf", "-Infinity", "null", "true", "1_0", "0x10", "-",
    "--", "9" * 20, "9" * 400, "9" * 5000, "1.5", "1e3", "2001", "-2001", "999999", "\x00", "\x1b[2J", "\x07", "\u202e",
    "\ufeff", "é", "日本", "\ud800", "a" * 300, "helper.py", "../helper.py", "/dev/zero", "cost_sharing", "mechanism",
    "[" * 2000, "{" * 2000, "(" * 200, "year", "chain", "draw", "__proto__", "%s", "NULL", "=cmd()", ".py",
]  # fmt: skip


class Place(NamedTuple):
    """Where a fuzz test works, and what good inputs it starts from."""

    folder: Path
    posterior: bytes
    tree: Any


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    folder = tmp_path_factory.mktemp("fuzz")
    for name, text in {"own.toml": MECHANISM, "years.csv": YEARS, "people.csv": PEOPLE, "plain.py": PLAIN}.items():
        (folder / name).write_text(text)
    (folder / "helper.py").write_text("open('CODE_RAN', 'w')")
    tree = drawn(ba.load_model("watershed"), folder / "years.csv")
    save_tree(tree, folder / "posterior.nc")
    return Place(folder, (folder / "posterior.nc").read_bytes(), tree)


def _bytes(rng: np.random.Generator, data: bytes) -> bytes:
    """A file with faults: of its bytes, or with a piece of other text in it."""
    if rng.random() < 0.5:
        return mutations.of_bytes(rng, data)
    start, stop = sorted(int(place) for place in rng.integers(0, len(data) + 1, 2))
    stop = start if rng.random() < 0.5 else min(stop, start + 8)
    return data[:start] + PIECES[int(rng.integers(len(PIECES)))].encode("utf-8", "surrogatepass") + data[stop:]


def _text(rng: np.random.Generator, good: str) -> str:
    """A word of a command line with faults; no zero bytes and no bytes that are not text, which no system hands on."""
    return _bytes(rng, good.encode()).decode(errors="replace").replace("\x00", "")


def _file(name: str, good: str, load: Callable[[Path], Any]) -> Callable[[np.random.Generator, Place], Any]:
    def attempt(rng: np.random.Generator, place: Place) -> Any:
        path = place.folder / name
        path.write_bytes(_bytes(rng, good.encode()))
        return load(path)

    return attempt


def _sealed(rng: np.random.Generator, place: Place) -> Any:
    path = place.folder / "mutated.nc"
    path.write_bytes(mutations.of_bytes(rng, place.posterior))
    return open_posterior(path)


def _unsealed(rng: np.random.Generator, place: Place) -> Any:
    """Attributes and values changed, as another program would write them."""
    changed = place.tree.copy(deep=True)
    names = list(changed["posterior"].data_vars)
    name = names[int(rng.integers(len(names)))]
    match int(rng.integers(4)):
        case 0:
            attributes = mutations.of_json(rng, dict(changed.attrs))
            changed.attrs = (
                {str(name): value for name, value in attributes.items()} if isinstance(attributes, dict) else {}
            )
        case 1:
            values = changed["posterior"][name].values
            values.flat[int(rng.integers(values.size))] = rng.choice([np.nan, np.inf, -1.0, 2.0, 1e38, 0.0])
        case 2:
            changed["posterior"] = changed["posterior"].to_dataset().drop_vars(name)
        case _:
            dims = list(changed["posterior"].sizes)
            dim = dims[int(rng.integers(len(dims)))]
            changed["posterior"] = changed["posterior"].to_dataset().isel({dim: slice(int(rng.integers(3)))})
    check_structure(changed, "changed")
    return restore(ba.load_model("watershed"), changed)


def _carried(rng: np.random.Generator, place: Place) -> Any:
    own = {"title": "T", "description": "D", "incentive": {"modifier": 1.0}, "cost_sharing": {"expert": 1.0}}
    changed = place.tree.copy()
    changed.attrs = {**changed.attrs, "mechanisms": json.dumps(mutations.of_json(rng, {"own": own}))}
    return restore(ba.load_model("watershed"), changed)


def _manifest(rng: np.random.Generator, place: Place) -> Any:
    good = json.dumps({"run": "1", "command": "fit", "complete": True, "files": {"posterior.nc": "0" * 64}})
    (place.folder / "run").mkdir(exist_ok=True)
    (place.folder / "run" / "manifest.json").write_bytes(_bytes(rng, good.encode()))
    (place.folder / "run" / "posterior.nc").touch()
    return runs.check(place.folder / "run" / "posterior.nc")


def _intervention(rng: np.random.Generator, place: Place) -> Any:
    good = [
        "growth=0.5,mechanism=own.toml",
        "effort_shock=[1,2,3,4,5]",
        "mechanism=cost_sharing",
        "a=[[1,2],[3,4]],b=1",
    ]
    chosen = [_text(rng, good[int(rng.integers(4))]) for _ in range(2)]
    names = [_text(rng, name) for name in ("cost_sharing", "own.toml")[: int(rng.integers(3))]]
    return arguments.interventions(names, chosen, environment=bool(rng.integers(2)), baseline=None)


def _model(rng: np.random.Generator, place: Place) -> Any:
    return ba.load_model(_text(rng, "watershed" if rng.random() < 0.5 else "plain.py:model"))


def _command(rng: np.random.Generator, place: Place) -> None:
    """A command whose options have faults, on files that are not there: refused, whatever it would have done."""
    record = ("--draws", "10", "--interval", "0.9", "--seed", "1")
    commands = (
        ("compare", "none.py", "--do", "x=1", *record, "--horizon", "5", "--minimum", "0.1", "--baseline", "x"),
        ("compare", "watershed", "--mechanisms", "none.toml", *record, "--horizon", "5"),
        ("compare", "watershed", "--posterior", "none.nc", *record),
        ("fit", "none.py", "years.csv", "--chains", "2", "--warmup", "5", *record[:2], "--method", "nuts"),
        ("fit", "watershed", "none.csv", "--mechanisms", "own.toml", "--target-accept", "0.9", *record[:2]),
        ("counterfactual", "watershed", "years.csv", "--posterior", "none.nc", "--do", "x=1", "--from-year", "2001"),
        ("allocate", "none.json", "--method", "dec-price", "--time-limit", "1", "--policy", "none.policy"),
        ("train", "none", "--episodes", "5", "--preset", "ours", "--resume", "none"),
        ("reproduce", "none", "--graphs", "3", "--training", "0"),
        ("discover", "none.csv", "--alpha", "0.05", "--bootstrap", "10", "--test", "chisq", "--rule", "sepset"),
        ("discover", "none.csv", "--knowledge", "none.toml", "--missing", "em", "--seed", "3"),
        ("models", "--none"),
        ("mechanisms", "--none"),
        ("init", "own.toml/deep"),
    )
    chosen = list(commands[int(rng.integers(len(commands)))])
    for _ in range(int(rng.integers(1, 3))):
        at = int(rng.integers(1, len(chosen)))
        if not chosen[at].startswith("none") and chosen[at] not in ("watershed", "own.toml/deep"):
            chosen[at] = _text(rng, chosen[at])
    if "--help" in chosen or "-h" in chosen or "--version" in chosen:
        return
    out = _text(rng, "out/results") if rng.random() < 0.3 else "out"
    line = [*chosen, "--out", out] if chosen[0] not in ("init",) else chosen
    assert main(*line) == 2, line


def main(*line: str) -> int:
    """The command's exit code, which must be 0 or 2, with one sentence where it is 2."""
    before, out, err = sys.argv, io.StringIO(), io.StringIO()
    sys.argv = ["bayesalloc", *line]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            program.main()
        return 0
    except SystemExit as stop:
        assert stop.code in (0, 2, None), (line, err.getvalue())
        if stop.code == 2:
            assert err.getvalue().startswith("bayesalloc: ") and err.getvalue().count("\n") == 1, (line, err.getvalue())
            assert not set(err.getvalue()[:-1]) & {chr(code) for code in [*range(32), 127, 0x202E]}, (
                line,
                err.getvalue(),
            )
        return int(stop.code or 0)
    finally:
        sys.argv = before


ATTEMPTS: dict[str, Callable[[np.random.Generator, Place], Any]] = {
    "a yearly record": _file("r.csv", YEARS, lambda path: pose(ba.load_model("watershed"), path)),
    "a record of groups": _file("g.csv", PEOPLE, lambda path: pose(ba.load_model("cooperation"), path)),
    "books": _file("b.csv", BOOKS, lambda path: discover(read_books(path), bootstrap=3)),
    "books of labels": _file(
        "l.csv", ANSWERS, lambda path: discover(read_books(path, discrete=True), settings=Settings(test="chisq"))
    ),
    "knowledge": _file("k.toml", OFFICE, lambda path: binding(read_office(path), ["rain", "budget", "income"])),
    "a graph": _file("g.json", GRAPH, read_graph),
    "a mechanism": _file("m.toml", MECHANISM, lambda path: ba.load_model("watershed").arms([str(path)])),
    "a posterior of ours": _sealed,
    "a posterior of others": _unsealed,
    "numbers of mechanisms in a posterior": _carried,
    "a manifest": _manifest,
    "interventions": _intervention,
    "a model's name": _model,
    "a command's options": _command,
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_malformed_inputs(place, monkeypatch, name):
    monkeypatch.chdir(place.folder)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for seed in range(COUNT):
        rng, start = np.random.default_rng([seed, *name.encode()]), time.process_time()
        try:
            ATTEMPTS[name](rng, place)
        except ba.InputError as error:
            refused += 1
            assert str(error), seed
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
        assert time.process_time() - start < SECONDS, f"seed {seed}: {time.process_time() - start:.1f} s"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < KILOBYTES
    assert refused or name == "a command's options" or name == "a manifest"
    assert not (place.folder / "CODE_RAN").exists()
    assert not [path for path in place.folder.rglob("*") if runs.HIDDEN in path.name]


def test_bytes_of_a_posterior_without_a_seal(place):
    """HDF5 itself meets the faults: those it doesn't find are for the checks of structure."""
    whole = place.posterior[:-SEALED]
    for seed in range(COUNT):
        path = place.folder / "unsealed.nc"
        path.write_bytes(mutations.of_bytes(np.random.default_rng(seed), whole))
        start = time.process_time()
        with contextlib.suppress(ba.InputError):
            open_posterior(path)
        assert time.process_time() - start < SECONDS, seed
