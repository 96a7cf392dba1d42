"""Posterior files: what is damaged, hostile, or of another model is refused in a sentence, before it costs anything."""

import errno
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import arviz as az
import h5py
import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr

import bayesalloc as ba
from bayesalloc.inference import files
from bayesalloc.inference.files import open_posterior, save_tree
from bayesalloc.inference.posing import restore
from tests.posteriors import drawn


@pytest.fixture(scope="module")
def tree(simulated_record, watershed) -> xr.DataTree:
    return drawn(watershed, simulated_record)


@pytest.fixture
def path(tree, tmp_path) -> Path:
    save_tree(tree, tmp_path / "posterior.nc")
    return tmp_path / "posterior.nc"


def refusal(path: Path) -> str:
    with pytest.raises(ba.InputError) as caught:
        open_posterior(path)
    message = str(caught.value)
    assert str(path) in message
    return message


def test_what_is_written_is_read(tree, path, watershed):
    again = open_posterior(path)
    assert again["posterior"].to_dataset().equals(tree["posterior"].to_dataset())
    assert again.attrs == {**tree.attrs, "file": str(path)}
    assert restore(watershed, again).periods == list(range(2001, 2013))
    assert xr.open_datatree(path, engine="h5netcdf")["posterior"].equals(tree["posterior"])
    summary = az.summary(az.from_netcdf(path), var_names=["growth"])
    assert "growth" in summary.index


def test_a_tree_of_arviz_without_our_attributes_is_opened(tree, tmp_path):
    bare = az.from_dict({"posterior": {"x": np.zeros((2, 3))}})
    bare.to_netcdf(tmp_path / "arviz.nc", engine="h5netcdf")
    assert open_posterior(tmp_path / "arviz.nc")["posterior"]["x"].shape == (2, 3)


def test_any_bit_that_was_flipped_is_found(path):
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in [0, 8, len(whole) // 2, len(whole) - 1 - files.SEALED, *rng.integers(0, len(whole), 60)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        if place < len(whole) - files.SEALED or place >= len(whole) - 65:
            assert "is damaged" in refusal(path)
    for cut in (0, 1, 100, len(whole) // 2, len(whole) - files.SEALED - 1):
        path.write_bytes(whole[:cut])
        refusal(path)
    path.write_bytes(whole[: -files.SEALED])  # absent: by its structure alone
    assert "posterior" in open_posterior(path).children


def in_file(change: Callable[[h5py.File], None]) -> Callable[[Path], None]:
    def changed(path: Path) -> None:
        path.write_bytes(path.read_bytes()[: -files.SEALED])
        with h5py.File(path, "r+") as file:
            change(file)

    return changed


def in_tree(change: Callable[[xr.DataTree], xr.DataTree | None]) -> Callable[[Path], None]:
    def changed(path: Path) -> None:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            loaded = tree.load()
        loaded = change(loaded) or loaded
        loaded.to_netcdf(path, engine="h5netcdf")

    return changed


def attribute(name: str, value: object) -> Callable[[Path], None]:
    return in_tree(lambda tree: tree.attrs.__setitem__(name, value))


def without(name: str) -> Callable[[Path], None]:
    return in_tree(lambda tree: tree.attrs.pop(name) and None)


def site(name: str, change: Callable[[xr.DataArray], xr.DataArray]) -> Callable[[Path], None]:
    def changed(tree: xr.DataTree) -> None:
        group = tree["posterior"].to_dataset()
        tree["posterior"] = group.assign({name: change(group[name])})

    return in_tree(changed)


def group(change: Callable[[xr.Dataset], xr.Dataset]) -> Callable[[Path], None]:
    return in_tree(lambda tree: tree.__setitem__("posterior", change(tree["posterior"].to_dataset())))


def first_draw(value: float) -> Callable[[xr.DataArray], xr.DataArray]:
    return lambda values: values.where(xr.DataArray(np.arange(4), dims="draw") > 0, value).transpose(*values.dims)


def huge(file: h5py.File) -> None:
    file["posterior"].create_dataset("huge", shape=(2**45, 2**5), dtype="f4", chunks=(1024, 32))


def bomb(file: h5py.File) -> None:
    file["posterior"].create_dataset("bomb", shape=(10**9,), dtype="f4", fillvalue=1.0)


def looping(file: h5py.File) -> None:
    file["posterior/again"] = file["/"]


def soft(file: h5py.File) -> None:
    file["posterior/soft"] = h5py.SoftLink("/posterior/soft")


def external(file: h5py.File) -> None:
    file["posterior/outside"] = h5py.ExternalLink("/etc/passwd", "/")


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "x", shape=(4,))
    file["posterior"].create_virtual_dataset("virtual", layout)


def stored_outside(file: h5py.File) -> None:
    file["posterior"].create_dataset("stored", shape=(4,), dtype="f4", external=[("elsewhere.bin", 0, 16)])


def compound(file: h5py.File) -> None:
    file["posterior"].create_dataset("pair", data=np.zeros(3, [("a", "f4"), ("b", "i4")]))


DAMAGED = {
    "a declared size of petabytes": (in_file(huge), "bytes of values"),
    "a gigabyte that is filled and not stored": (in_file(bomb), "bytes of values"),
    "a loop of groups": (in_file(looping), "stands in two places"),
    "a loop of soft links": (in_file(soft), "/posterior/soft is a link"),
    "groups in groups": (in_file(lambda file: file.create_group("/".join("g" * 60))), "more than 50 deep"),
    "an external link": (in_file(external), "/posterior/outside is a link"),
    "a virtual dataset": (in_file(virtual), "in another file"),
    "values stored outside": (in_file(stored_outside), "in another file"),
    "a compound type": (in_file(compound), "neither numbers nor text"),
    "no dimension scales": (in_file(lambda f: f["posterior"].create_dataset("x", data=[1.0])), "'x' has dimensions"),
    "no posterior": (in_file(lambda file: file.__delitem__("posterior")), "no group 'posterior'"),
    "a posterior that is an array": (
        in_file(lambda f: (f.__delitem__("posterior"), f.create_dataset("posterior", data=1.0))),
        "no group 'posterior'",
    ),
    "no sites": (group(lambda old: xr.Dataset()), "no group 'posterior'|has no site"),
    "no draws": (group(lambda old: old.isel(draw=slice(0))), "has no draw"),
    "no chains": (group(lambda old: old.isel(chain=slice(0))), "has no draw"),
    "draw before chain": (site("growth", lambda x: x.transpose("draw", "chain")), "site 'growth' has dimensions"),
    "a site without draws": (site("growth", lambda x: x.isel(draw=0, drop=True)), "site 'growth' has dimensions"),
    "text for numbers": (site("growth", lambda x: x.astype(str)), "site 'growth' is of type"),
    "complex numbers": (site("growth", lambda x: x.astype(complex)), "neither numbers|of type|not a netCDF"),
    "a NaN among the draws": (site("growth", first_draw(np.nan)), "'growth' has draws that are not finite"),
    "an infinity among the draws": (site("erosion", first_draw(np.inf)), "'erosion' has draws that are not finite"),
    "other chains": (
        in_tree(lambda t: t.__setitem__("sample_stats", xr.Dataset({"lp": (("chain", "draw"), np.zeros((2, 4)))}))),
        "in chain",
    ),
    "a record that is a number": (attribute("record", 3), "'record' is not text"),
    "a record that is a list": (attribute("record", [1, 2]), "'record' is not text"),
    "no record name": (without("record_name"), "lacks 'record_name'"),
    "no mechanism": (without("mechanism"), "lacks 'mechanism'"),
    "a mechanism that is a number": (attribute("mechanism", 1.5), "'mechanism' is not text"),
    "arms that are no list": (attribute("arms", "{}"), "'arms' is not a JSON list"),
    "arms that are numbers": (attribute("arms", "[1]"), "'arms' is not a JSON list"),
    "arms nested deeply": (attribute("arms", "[" * 50_000), "'arms' is not a JSON list"),
    "usable text": (attribute("usable", "yes"), "'usable' is not"),
    "usable without a reason": (attribute("usable", 0), "lacks 'why'"),
    "information that is text": (attribute("information", "much"), "'information' is not a number"),
    "a sampled site that is not there": (attribute("sampled", '["other"]'), "'sampled' lists the sites 'other'"),
    "no sampled site": (attribute("sampled", "[]"), "'sampled' lists the sites 'none'"),
    "a guide without its ratios": (attribute("method", "svi"), "lacks 'log_ratio'"),
    "doubts that are numbers": (attribute("doubts", 1.5), "'doubts' is not text"),
    "keywords that are a number": (attribute("keywords", 3), "'keywords' is not text"),
    "results of compare": (
        in_tree(lambda tree: tree.attrs.update(kind="interventional", basis="prior")),
        "holds the results of `compare`, and no posterior",
    ),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "is not a file"),
    "a petabyte of nothing": (lambda path: os.truncate(path, 10**12), "has 1,000,000,000,000 bytes"),
    "text": (lambda path: path.write_text("hello"), "not a netCDF file"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_file_that_is_no_posterior_is_refused(path, case):
    damage, said = DAMAGED[case]
    damage(path)
    assert re.search(said, refusal(path))


KEYWORDS = {"arrays": ["erosion"], "jax": [], "static": {"J": 2}, "categories": {}}


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ("{", "it is no JSON"),
        ("[" * 50_000, "it is no JSON"),
        ("[]", "Expected `object`"),
        (json.dumps({**KEYWORDS, "arrays": None}), "arrays"),
        (json.dumps({**KEYWORDS, "static": {"J": [1]}}), "static"),
        (json.dumps({**KEYWORDS, "categories": {"region": [1]}}), "categories"),
        (json.dumps({**KEYWORDS, "arrays": ["other"]}), "names the arrays 'other'"),
        (json.dumps({**KEYWORDS, "jax": ["other"]}), "lists 'other' under jax"),
    ],
)
def test_keywords_that_are_none_are_refused(tree, keywords, said):
    changed = tree.copy()
    changed["observed_data"] = xr.Dataset({"erosion": ("n", np.ones(2))})
    changed.attrs = {**tree.attrs, "keywords": json.dumps(KEYWORDS)}
    files.check_structure(changed, "a.nc")
    changed.attrs["keywords"] = keywords
    with pytest.raises(ba.InputError, match=f"a.nc: its attribute 'keywords' .*{said}"):
        files.check_structure(changed, "a.nc")


FOREIGN = {
    "a negative rate": (site("growth", first_draw(-0.1)), "site 'growth' has a draw -0.1"),
    "a health above one": (site("initial_health", first_draw(1.5)), "site 'initial_health' has a draw 1.5"),
    "agents in another order": (group(lambda old: old.isel(agent=[1, 0, 2, 3, 4])), "labels of 'agent'"),
    "agents with other names": (group(lambda old: old.assign_coords(agent=list("abcde"))), "labels of 'agent'"),
    "too few years": (group(lambda old: old.isel(year=slice(0, 5))), "labels of 'year'"),
    "other years": (group(lambda old: old.assign_coords(year=np.arange(1901, 1913))), "labels of 'year'"),
    "too few years without labels": (
        group(lambda old: old.isel(year=slice(0, 5)).drop_vars("year")),
        r"'\w+' has shape \(5",
    ),
    "one agent without labels": (group(lambda old: old.drop_vars("agent").isel(agent=[0])), r"'\w+' has shape \("),
    "a record of something else": (attribute("record", "a,b\n1,2\n"), "belongs to another model"),
    "a record that is no CSV": (attribute("record", '"'), "another model|header"),
    "a record of another length": (
        attribute("record", "year,forest_health,erosion,mechanism\n2001,0.5,0.6,cost_sharing\n"),
        "labels of 'year'",
    ),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_posterior_that_the_model_cannot_have_is_refused(path, case, watershed):
    change, said = FOREIGN[case]
    change(path)
    tree = open_posterior(path)
    with pytest.raises(ba.InputError, match=said):
        restore(watershed, tree)
    with pytest.raises(ba.InputError, match=said):
        ba.compare(watershed, None, jax.random.key(0), posterior=tree, draws=2, horizon=2)


def test_supports_of_a_plain_models_sites(tmp_path):
    """A support that depends on another site is not held against the draws; one that doesn't is."""

    def model(y=None):
        top = numpyro.sample("top", dist.Uniform(1.0, 3.0))
        numpyro.sample("below", dist.Uniform(0.0, top))
        numpyro.sample("share", dist.Dirichlet(np.ones(3, np.float32)))
        with numpyro.plate("pupils", 2):
            skill = numpyro.sample("skill", dist.HalfNormal())
        numpyro.sample("y", dist.Normal(skill.sum(), 1.0), obs=y)

    (tmp_path / "r.csv").write_text("y\n1.5\n2.5\n")
    tree = drawn(model, tmp_path / "r.csv")
    assert restore(model, tree).name == "model"

    def with_value(name: str, value: float) -> xr.DataTree:
        copy = tree.copy(deep=True)
        copy["posterior"][name].values[0, -1] = value
        return copy

    assert restore(model, with_value("below", 2.9)).name == "model"
    for name, value in (("top", 4.0), ("share", 0.5), ("skill", -0.5)):
        with pytest.raises(ba.InputError, match=f"site '{name}' has a draw"):
            restore(model, with_value(name, value))


def test_an_input_that_is_refused_costs_little_memory(path):
    in_file(huge)(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refusal(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes


FULL = """
    import resource, sys
    import numpy as np, xarray as xr
    from bayesalloc.inference import files

    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    files.IN_MEMORY = int(sys.argv[2])
    try:
        files.save_tree(xr.Dataset({"x": ("a", np.ones(50_000))}), sys.argv[1])
    except OSError as error:
        print(error.errno)
"""


@pytest.mark.parametrize("in_memory", [10**9, 0])
def test_a_write_that_fails_is_an_error_and_not_the_end_of_the_process(tmp_path, in_memory):
    command = [sys.executable, "-c", textwrap.dedent(FULL), str(tmp_path / "x.nc"), str(in_memory)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, str(errno.EFBIG), "")


def test_a_file_too_large_for_memory_is_written_the_same(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "IN_MEMORY", 0)
    save_tree(tree, tmp_path / "large.nc")
    assert open_posterior(tmp_path / "large.nc")["posterior"].equals(tree["posterior"])
    shutil.copyfile(tmp_path / "large.nc", tmp_path / "copy.nc")
    assert json.loads(open_posterior(tmp_path / "copy.nc").attrs["arms"]) == ["cost_sharing"]
