"""Certificates: what they state, that any change of them is caught, and that others find the same elsewhere."""

import contextlib
import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bayesalloc.certifying import evidence, identifiers, reading, statements, verifying
from bayesalloc.errors import InputError
from bayesalloc.inference.files import save_tree
from bayesalloc.provenance import hashed
from bayesalloc.repeating import Difference
from bayesalloc.report import card, certificates
from tests import mutations
from tests.posteriors import drawn

HERE = Path(__file__).parent / "hypercerts"
COMPARED = ("compare", "watershed", "--mechanisms", "no_agreement", "cost_sharing", "--draws", 8, "--horizon", 4)
MODEL = """import numpyro, numpyro.distributions as dist
from pathlib import Path
Path('CODE_RAN').touch()
def model():
    numpyro.sample('y', dist.Normal(numpyro.sample('x', dist.Normal()), 1))
"""


def books(path: Path) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=60)
    rows = "\n".join(f"{x:.3f},{y:.3f}" for x, y in zip(a, a + rng.normal(size=60), strict=True))
    path.write_text(f"a,b\n{rows}\n")


@pytest.fixture(scope="module")
def issued(tmp_path_factory):
    """A cert of an effect in books, which takes the least to compute again, in `cert`; its run in `run`."""
    home = tmp_path_factory.mktemp("issued")
    books(home / "books.csv")
    spawned("effect", "books.csv", "--treatment=a", "--outcome=b", "--bootstrap=4", "--out=run", folder=home)
    words = ["--contributor=A. Board", "--right=Public Display", "--work=2020-01-01:", "--name=Staff"]
    spawned("certify", "run", *words, "--did=did:web:example.org", "--out=cert", folder=home)
    return home


@pytest.fixture
def certified(issued, tmp_path, monkeypatch):
    """A copy of it in the working directory; its CID."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(issued, tmp_path, dirs_exist_ok=True)
    return identifiers.identifier(Path("cert/cert.json").read_bytes())


def spawned(*arguments, folder: Path, devices: int = 2) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "bayesalloc.cli", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def judged(folder: Path = Path("cert"), cid: str = "", code=()) -> verifying.Verdict:
    return verifying.verify(folder, cid, [*map(Path, code)], None)


def sealed(folder: Path = Path("cert"), **changes) -> str:
    """What a forger does: the cert, its picture and records are made to fit the evidence, or a changed statement."""
    cert = reading.opened(folder / "cert.json")
    origin = json.loads((folder / evidence.ORIGIN).read_text())
    files = [path for path in (folder / "evidence").rglob("*") if path.is_file()]
    links = {str(path.relative_to(folder)): identifiers.of_digest(hashed(path)) for path in files}
    answer = folder / evidence.RESULTS / f"{origin['command']}.json"
    there = statements.read(answer, origin["command"], answer)
    said = statements.chosen(there, "", cert.values["outcome"], answer)
    issuer = reading.issued(cert, said)
    said = said._replace(**{name: value for name, value in changes.items() if name in said._fields})
    issuer = issuer._replace(**{name: value for name, value in changes.items() if name in issuer._fields})
    made = certificates.metadata(said, issuer, links, origin["versions"])
    cid = identifiers.identifier(identifiers.canonical(made))
    (folder / "cert.json").write_bytes(identifiers.canonical(made))
    (folder / "effect.svg").write_text(card.picture(said))
    for name, record in certificates.records(said, issuer, made, cid).items():
        (folder / "records" / name).write_bytes(identifiers.canonical(record))
    return cid


def leaves(value, way=()):
    """Paths to every text and number of a document."""
    if isinstance(value, dict | list):
        for name in value if isinstance(value, dict) else range(len(value)):
            yield from leaves(value[name], (*way, name))
    else:
        yield way


def changed(document, way):
    """A copy in which one text has one other character, or one number is another."""
    document = copy.deepcopy(document)
    *before, last = way
    inside = document
    for name in before:
        inside = inside[name]
    old = inside[last]
    inside[last] = old + 1 if isinstance(old, int) else (chr(ord(old[0]) ^ 1) + old[1:] if old else "x")
    return document


def test_every_field_of_a_cert_is_held_by_its_identifier_and_by_what_stands_beside_it(certified):
    text = Path("cert/cert.json").read_bytes()
    cert = json.loads(text)
    ways = [*leaves(cert)]
    assert len(ways) > 60
    for way in ways:
        Path("cert/cert.json").write_bytes(identifiers.canonical(changed(cert, way)))
        for cid in (certified, ""):
            try:
                verdict = judged(cid=cid)
            except InputError:
                continue  # a name outside of the folder, a property that there is not any more
            assert verdict.verdict == "false", way
            assert not cid or "CID" in verdict.why
    Path("cert/cert.json").write_bytes(json.dumps(cert, indent=3).encode())  # as somebody's tool writes it
    assert identifiers.identifier(identifiers.canonical(reading.opened(Path("cert/cert.json")).metadata)) == certified


def test_every_byte_beside_a_cert_is_held_by_it(certified):
    files = [path for path in Path("cert").rglob("*") if path.is_file() and path.name != "cert.json"]
    assert len(files) == 7
    for file in files:
        content = file.read_bytes()
        for place in (0, len(content) // 2, len(content) - 1):
            file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            try:
                verdict = judged(cid=certified)
            except InputError as error:  # no JSON any more
                assert file.parent.name == "records" and file.name in str(error)
                continue
            assert (verdict.verdict, verdict.where) == ("false", str(file.relative_to("cert")))
        file.unlink()
        with pytest.raises(InputError, match="is missing, without which the cert cannot be verified"):
            judged(cid=certified)
        file.write_bytes(content)


def test_every_field_of_a_record_is_held_by_the_cert(certified):
    for file in Path("cert/records").iterdir():
        record = json.loads(file.read_bytes())
        for way in leaves(record):
            file.write_bytes(identifiers.canonical(changed(record, way)))
            verdict = judged(cid=certified)
            assert (verdict.verdict, verdict.where) == ("false", f"records/{file.name}"), way
        file.write_bytes(identifiers.canonical(record))


FORGED = [name for name in statements.Statement._fields if name not in ("outcome", "when")]


@pytest.mark.parametrize("field", FORGED)
def test_a_cert_that_is_made_anew_with_another_fact_is_false(certified, field):
    """Its CID, picture and records fit the changed fact: only the evidence does not."""
    old = getattr(statements.read(Path("run/effect.json"), "effect", "run")[0], field)
    other = {"label": "forecast", "kind": "counterfactual"}.get(field, f"{old} or so")
    sealed(**{field: old + 0.125 if isinstance(old, float) else other})
    verdict = judged()
    assert verdict.verdict == "false" and verdict.where == "cert.json"


def test_the_label_cannot_be_left_out(certified):
    cert = json.loads(Path("cert/cert.json").read_bytes())
    assert cert["name"] == "Estimate: Staff"
    Path("cert/cert.json").write_bytes(identifiers.canonical({**cert, "name": "Record: Staff"}))
    assert "does not begin with 'Estimate:'" in judged().why


def test_a_cert_verifies_elsewhere_and_says_what_rests_on_words(certified, run, tmp_path):
    shutil.move("cert", "elsewhere")
    shutil.rmtree("run")
    Path("books.csv").unlink()
    ran = run("verify", "elsewhere", "--cid", certified, "--tolerance", 0, "--json")
    assert ran.code == 0, ran.err
    answer = json.loads(ran.out)
    assert (answer["verdict"], answer["why"], answer["apart"], answer["cid_checked"]) == ("verified", "", 0.0, True)
    assert answer["issued"] == ["name", "contributors", "rights", "work_timeframe", "certified", "repository"]
    assert answer["inputs"] == ["evidence/inputs/books.csv"]
    answer = json.loads(Path("elsewhere/evidence/results/effect.json").read_text())
    rewritten("elsewhere/evidence/results/effect.json", ate=answer["ate"] + 0.01)
    rewritten(
        "elsewhere/evidence/origin.json", files={"effect.json": hashed(Path("elsewhere/evidence/results/effect.json"))}
    )
    cid = sealed(Path("elsewhere"))
    ran = run("verify", "elsewhere/cert.json", "--cid", cid)
    assert ran.code == 1 and "elsewhere/cert.json: false: " in ran.out and "computed again, ate differs" in ran.out
    origin = json.loads(Path("elsewhere/evidence/origin.json").read_text())
    rewritten("elsewhere/evidence/origin.json", platform={**origin["platform"], "machine": "another"})
    sealed(Path("elsewhere"))
    ran = run("verify", "elsewhere")
    assert ran.code == 1 and "not reproducible on this platform within the tolerance of 0.0001" in ran.out
    assert "machine was another" in ran.out and "checked against its evidence only" in ran.out


def rewritten(path, **changes):
    path = Path(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_forecast_verifies_in_another_process_with_other_devices(tmp_path):
    spawned(*COMPARED, "--out", "run", devices=1, folder=tmp_path)
    made = json.loads(
        spawned("certify", "run", "--outcome", "payoff.expert", "--out", "c", "--json", devices=1, folder=tmp_path)
    )
    (tmp_path / "away").mkdir()
    shutil.move(tmp_path / "c", tmp_path / "away" / "c")
    answer = json.loads(spawned("verify", "c", "--cid", made["cid"], "--json", devices=3, folder=tmp_path / "away"))
    assert answer["verdict"] == "verified" and answer["apart"] <= 1e-4
    cert = json.loads((tmp_path / "away" / "c" / "cert.json").read_bytes())
    assert cert["name"] == "Forecast: no_agreement instead of cost_sharing: payoff.expert"
    assert cert["description"].startswith("Forecast: ") and "no record of what happened" in cert["description"]
    activity, measurement, evaluation = (
        json.loads((tmp_path / "away" / "c" / "records" / f"{name}.json").read_bytes())
        for name in ("activity", "measurement", "evaluation")
    )
    assert measurement["metric"].startswith("Forecast: ") and measurement["comment"].startswith("Forecast, simulated")
    assert activity["title"].startswith("Forecast: ") and evaluation["summary"].startswith("Forecast: ")
    [row] = [
        row
        for row in json.loads((tmp_path / "run" / "compare.json").read_text())["effects"]
        if (row["outcome"], row["element"]) == ("payoff", {"agent": "expert"})
    ]
    assert float(measurement["value"]) == row["ate"] and measurement["unit"] == "kEUR/yr"


def test_code_of_a_cert_runs_only_where_it_is_named(run, tmp_path):
    """Also where the command hides it, and whatever Python would take for a module."""
    (tmp_path / "model.py").write_text(MODEL)
    ran = run("compare", "model.py", "--do", "x=0", "--do", "x=1", "--draws", 10, "--out", "run")
    assert ran.code == 0, ran.err
    assert run("certify", "run", "--out", "cert").code == 0
    Path("CODE_RAN").unlink()
    ran = run("verify", "cert")
    assert ran.code == 2 and "runs the Python code of evidence/inputs/model.py" in ran.err
    Path("other.py").write_text(MODEL + "\n")
    assert run("verify", "cert", "--code", "other.py").code == 2
    assert run("verify", "cert", "--code", "none.py").code == 2
    copy_of = tmp_path / "read.py"
    copy_of.write_text(MODEL)
    ran = run("verify", "cert", "--code", copy_of)
    assert ran.code == 0, ran.err + ran.out
    assert not any(tmp_path.rglob("CODE_RAN"))  # it ran in a folder of its own
    for name in ("numpy.py", "numpy.so", "numpy.pyc"):
        Path("cert/evidence/inputs", name).write_text("open('CODE_RAN', 'w')")
        origin = json.loads(Path("cert", evidence.ORIGIN).read_text())
        inputs = {"model.py": hashed(Path("model.py")), name: hashed(Path("cert/evidence/inputs", name))}
        (Path("cert") / evidence.ORIGIN).write_text(json.dumps(origin | {"inputs": inputs}))
        sealed()
        ran = run("verify", "cert", "--code", copy_of)
        assert ran.code == 2 and name in ran.err
        Path("cert/evidence/inputs", name).unlink()


LED_ASTRAY = {
    "an absolute path": ["effect", "/etc/hostname", "--treatment", "a", "--outcome", "b"],
    "a step up": ["effect", "../books.csv", "--treatment", "a", "--outcome", "b"],
    "home": ["effect", "books.csv", "--knowledge=~/k.toml"],
    "in a list": ["effect", "books.csv", "--treatment", "x=1,mechanism=/srv/evil.py"],
    "a name in a file": ["effect", "/srv/evil.py:model"],
    "results elsewhere": ["effect", "books.csv", "--OUT=/srv/here"],
    "no text": ["effect", "a\0b"],
}


@pytest.mark.parametrize("arguments", LED_ASTRAY.values(), ids=LED_ASTRAY)
def test_a_command_reaches_no_file_of_this_machine(certified, run, arguments):
    rewritten("cert/evidence/origin.json", arguments=arguments)
    sealed()
    ran = run("verify", "cert")
    assert ran.code == 2 and ran.err.count("\n") == 1 and "evidence/origin.json: the command" in ran.err


ORIGINS = {
    "another command": (dict(command="fit", arguments=["fit"]), "is not of a run that states an effect"),
    "a hidden command": (dict(arguments=["train", "srap"]), "is not of a run that states an effect"),
    "no arguments": (dict(arguments=None), "does not say what a run comes from"),
    "no files": (dict(files=None), "does not say what a run comes from"),
    "another seed": (dict(seed=4), "the seed is 4"),
    "an unknown input": (dict(inputs={}), "the run knows nothing of evidence/inputs/books.csv"),
    "a file more": (dict(files={"other.json": "0"}), "its evidence lacks evidence/results/other.json"),
    "a module more": (dict(modules={"m.py": "0"}), "its evidence lacks m.py"),
    "far up": (dict(inputs={"../" * 60 + "books.csv": "0"}), "60 steps up"),
    "a command that is refused": (dict(arguments=["effect", "books.csv"]), "the command does not run here"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), ORIGINS.values(), ids=ORIGINS)
def test_what_a_manifest_may_say(certified, run, changes, said):
    sealed()
    origin = json.loads(Path("cert/evidence/origin.json").read_text()) | changes
    Path("cert/evidence/origin.json").write_text(json.dumps(origin))
    cert = json.loads(Path("cert/cert.json").read_bytes())
    cert["properties"] = [each | linked(each) for each in cert["properties"]]
    Path("cert/cert.json").write_bytes(identifiers.canonical(cert))
    if said.startswith(("the seed", "the command")):
        sealed()
    ran = run("verify", "cert")
    assert ran.code in (1, 2) and said in ran.out + ran.err


def linked(entry):
    if entry["trait_type"] != "evidence":
        return {}
    return {"src": f"ipfs://{identifiers.of_digest(hashed(Path('cert', entry['name'])))}"}


def without(field):
    def change(cert):
        inside = cert
        *before, last = field.split(".")
        for name in before:
            inside = inside[name]
        del inside[last]

    return change


def named(name, **changes):
    def change(cert):
        [entry] = [each for each in cert["properties"] if each["trait_type"] == name]
        entry.update(changes)

    return change


def renamed(name):
    def change(cert):
        cert["properties"][-1]["name"] = name

    return change


PLACED = "it may only be in evidence/, and needs an ending"
REFUSED = {
    **{f"no {name}": (without(name), f"`{name.split('.')[-1]}`") for name in (
        "name", "description", "image", "version", "properties", "hypercert", "hypercert.impact_scope",
        "hypercert.work_scope", "hypercert.work_timeframe", "hypercert.impact_timeframe", "hypercert.contributors",
        "hypercert.rights", "hypercert.rights.value", "hypercert.work_timeframe.display_value")},
    "no outcome": (lambda cert: cert["properties"].pop(6), "has no 'outcome'"),
    "an outcome twice": (lambda cert: cert["properties"].append(cert["properties"][6]), "has 'outcome' twice"),
    "no link": (lambda cert: cert["properties"][-1].pop("src"), "lacks 'src'"),
    "no value": (lambda cert: cert["properties"][6].pop("value"), "lacks 'value'"),
    "a field more": (lambda cert: cert.update(external_url="x"), "unknown field `external_url`"),
    "a number for a text": (lambda cert: cert.update(version=1), "Expected `str`, got `int`"),
    "up": (renamed("evidence/../../x.csv"), PLACED),
    "absolute": (renamed("/etc/x.csv"), PLACED),
    "elsewhere": (renamed("records/activity.json"), PLACED),
    "gone": (renamed("evidence/gone.csv"), "'evidence/gone.csv' is missing"),
    "settings of matplotlib": (renamed("evidence/inputs/matplotlibrc"), PLACED),
    "very long": (renamed("evidence/" + "a/" * 600 + "a.csv"), PLACED),
    "a tolerance that is none": (named("tolerance", value="2"), "must be a number from 0 to 0.1"),
    "a moment that is none": (named("certified", value="yesterday"), "is not of the form 2026-01-31T12:00:00Z"),
    "no origin": (lambda cert: cert["properties"].pop(-2), "its evidence has no evidence/origin.json"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "said"), REFUSED.values(), ids=REFUSED)
def test_a_cert_that_is_none_is_refused(certified, run, change, said):
    cert = json.loads(Path("cert/cert.json").read_bytes())
    change(cert)
    Path("cert/cert.json").write_bytes(identifiers.canonical(cert))
    ran = run("verify", "cert")
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1 and not ran.out


TEXTS = {
    "no JSON": ("{", "is no JSON"),
    "nothing": ("", "is no JSON"),
    "a list": ("[]", "is no cert"),
    "deep": ("[" * 100_000, "nested too deeply"),
    "deep and whole": ('{"name":' + "[" * 5_000 + "]" * 5_000 + "}", ""),
    "a fraction": ('{"name": 0.5}', "has the number 0.5"),
    "not a number": ('{"name": NaN}', "has the number NaN"),
    "a long number": ('{"name": %s}' % ("9" * 5_000), "has the number 999"),
    "a name twice": ('{"name": "a", "name": "b"}', "a name stands twice"),
    "half a character": (r'{"name": "\ud800"}', "half a character"),
    "large": (" " * 1_000_001, "is larger than the 1,000,000 bytes"),
}


@pytest.mark.parametrize(("text", "said"), TEXTS.values(), ids=TEXTS)
def test_a_file_that_is_no_cert_is_refused(run, tmp_path, text, said):
    (tmp_path / "cert.json").write_text(text)
    ran = run("verify", "cert.json")
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1
    assert run("verify", "nothing.json").code == 2


@pytest.mark.parametrize("cid", ["x", "bafkrei", "b" + "a" * 58, identifiers.identifier(b"", 0x71), "Qm" + "a" * 44])
def test_a_cid_that_is_none_is_refused(certified, run, cid):
    ran = run("verify", "cert", "--cid", cid)
    assert ran.code == 2 and "is not the CID of a cert" in ran.err
    assert identifiers.checked(f" ipfs://{certified}") == certified


def test_links_are_not_followed(certified, run):
    shutil.move("cert/evidence/inputs", "inputs")
    Path("cert/evidence/inputs").symlink_to(Path("inputs").resolve())
    ran = run("verify", "cert", "--cid", certified)
    assert ran.code == 2 and "is reached by a link" in ran.err


UNCERTIFIED = {
    "another kind": (["discover", "books.csv"], [], "which states no effect; certify takes compare, counterfactual"),
    "no such outcome": ([], ["--outcome", "c"], "states no effect c; there are a raised by one: b"),
    "no such treatment": ([], ["--treatment", "c"], "there are a raised by one: b"),
    "a folder in use": ([], ["--out", "run"], "is a folder that is not empty"),
    "a long name": ([], ["--name", "a" * 300], "name is longer than 256 bytes"),
    "a contributor": ([], ["--contributor", ""], "must be 1 to 100 characters"),
    "control characters": ([], ["--right", "a\x1b[2J"], "characters that can be shown"),
    "a day": ([], ["--work", "2020-13-01:"], "is not of the form"),
    "one day": ([], ["--impact", "2020-01-01"], "is not of the form"),
    "backwards": ([], ["--impact", "2020-01-02:2020-01-01"], "ends before it begins"),
    "a DID": ([], ["--did", "example.org"], "is no DID"),
    "a tolerance": ([], ["--tolerance", "1"], "must be a number from 0 to 0.1"),
}


@pytest.mark.parametrize(("command", "options", "said"), UNCERTIFIED.values(), ids=UNCERTIFIED)
def test_what_is_not_certified(run, tmp_path, command, options, said):
    books(tmp_path / "books.csv")
    made = command or ["effect", "books.csv", "--treatment", "a", "--outcome", "b", "--bootstrap", 0]
    assert run(*made, "--out", "run").code == 0
    before = sorted(tmp_path.rglob("*"))
    ran = run("certify", "run", *([] if "--out" in options else ["--out", "cert"]), *options)
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_that_is_not_whole_is_not_certified(certified, run):
    for change, said in (
        (lambda: Path("books.csv").write_text("a,b\n"), "books.csv, which has changed since"),
        (lambda: Path("books.csv").unlink(), "books.csv, which is not there any more"),
        (lambda: Path("run/effect.json").write_text("{}"), "'effect.json' was changed"),
        (lambda: Path("run/report.html").unlink(), "'effect.json' was changed"),
        (lambda: Path("run/effect.json").unlink(), "'effect.json' is missing"),
        (lambda: Path("run/manifest.json").unlink(), "is no folder of a run"),
    ):
        change()
        ran = run("certify", "run", "--out", "second")
        assert ran.code == 2 and said in ran.err and not Path("second").exists()


def test_inputs_from_anywhere_are_laid_out_as_they_stood(run, tmp_path, monkeypatch):
    """By absolute paths, and from above the folder: labels and warnings that repeat a path are the same again."""
    (tmp_path / "data").mkdir()
    (tmp_path / "work").mkdir()
    books(tmp_path / "data" / "books.csv")
    (tmp_path / "data" / "office.toml").write_text('forbidden = [["b", "a"]]\n')
    monkeypatch.chdir(tmp_path / "work")
    asked = [
        "--treatment",
        "a",
        "--outcome",
        "b",
        "--bootstrap",
        0,
        "--knowledge",
        "../data/office.toml",
        "--out",
        "run",
    ]
    assert run("effect", tmp_path / "data" / "books.csv", *asked).code == 0
    assert run("certify", "run", "--out", "../cert").code == 0
    shutil.rmtree(tmp_path / "data")
    shutil.rmtree(tmp_path / "work")
    monkeypatch.chdir(tmp_path)
    found = judged()
    assert (found.verdict, found.apart) == ("verified", 0.0), found
    assert [*found.inputs] == ["evidence/inputs/absolute/0/books.csv", "evidence/inputs/data/office.toml"]


def test_a_counterfactual_has_the_recorded_years_and_what_is_to_be_kept_in_mind(
    run, tmp_path, watershed, simulated_record
):
    shutil.copy(simulated_record, tmp_path / "record.csv")
    save_tree(drawn(watershed, tmp_path / "record.csv"), tmp_path / "posterior.nc")
    asked = ["--posterior", "posterior.nc", "--do", "mechanism=no_agreement", "--from-year", 2004, "--draws", 4]
    ran = run("counterfactual", "watershed", "record.csv", *asked, "--out", "run", "--json")
    assert ran.code == 0, ran.err
    assert run("certify", "run", "--outcome", "erosion", "--out", "cert").code == 0
    cert = json.loads(Path("cert/cert.json").read_bytes())
    assert cert["hypercert"]["impact_timeframe"]["display_value"] == "2004-01-01 → 2012-12-31"
    assert cert["hypercert"]["impact_timeframe"]["value"][0] == 1072915200  # 2004-01-01T00:00:00Z
    assert cert["name"].startswith("Forecast: no_agreement from 2004 on instead of what was done")
    assert cert["description"].count("R-hat") == json.dumps(json.loads(ran.out)["warnings"]).count("R-hat")
    found = judged()
    assert (found.verdict, [*found.issued]) == ("verified", ["certified"]), found

    # A posterior of another record that says that it is of this one, with all hashes made to fit.
    (tmp_path / "other.csv").write_text((tmp_path / "record.csv").read_text().replace("2001,0.", "2001,0.0", 1))
    other, file = drawn(watershed, tmp_path / "other.csv"), Path("cert/evidence/inputs/posterior.nc")
    other.attrs["record"] = (tmp_path / "record.csv").read_text()
    save_tree(other, file)
    origin = json.loads(Path("cert", evidence.ORIGIN).read_text())
    origin["inputs"]["posterior.nc"] = hashed(file)
    Path("cert", evidence.ORIGIN).write_text(json.dumps(origin))
    sealed()
    found = judged()
    assert found.verdict == "false" and "was fitted to another record than it carries" in found.why, found
    assert "its observed 'forest_health'" in found.why


def test_identifiers_are_those_of_other_implementations():
    """Those of npm's multiformats, @ipld/dag-cbor and canonicalize: see hypercerts/vectors.mjs."""
    for vector in json.loads((HERE / "vectors.json").read_text()):
        value = vector["value"]
        assert identifiers.canonical(value).decode() == vector["canonical"]
        assert identifiers.identifier(identifiers.canonical(value)) == vector["raw"]
        assert identifiers.identifier(identifiers.dag_cbor(value), identifiers.DAG_CBOR) == vector["dag-cbor"]
        assert identifiers.checked(vector["raw"]) == vector["raw"]


@pytest.fixture
def validated():
    """What the official packages say of certs and of records."""
    if shutil.which("node") is None or not (HERE / "node_modules" / ".package-lock.json").is_file():
        pytest.skip("the official schemas are not there; install them with: make hypercerts (it needs npm)")

    def call(certs, records):
        given = json.dumps({"certs": certs, "records": records})
        done = subprocess.run(["node", HERE / "validate.mjs"], input=given, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        return found["certs"], found["records"]

    return call


def test_certs_and_records_are_valid_by_the_official_schemas(certified, validated):
    cert, *records = (
        json.loads(Path("cert", f"{name}.json").read_bytes())
        for name in ("cert", "records/activity", "records/measurement", "records/evaluation")
    )
    worse = [{name: value for name, value in cert.items() if name != field} for field in ("name", "image")]
    wrong = [{**record, field: 5} for record, field in zip(records, ("title", "value", "evaluators"), strict=True)]
    by_schema, by_lexicon = validated([cert, *worse], [*records, *wrong])
    assert [each["said"] == "valid" for each in by_schema] == [True, False, False]
    assert [each["said"] == "valid" for each in by_lexicon] == [True] * 3 + [False] * 3
    assert by_schema[0]["cid"] == certified
    assert by_schema[0]["canonical"].encode() == Path("cert/cert.json").read_bytes()
    cids = [identifiers.identifier(identifiers.dag_cbor(each), identifiers.DAG_CBOR) for each in records]
    assert [each["cid"] for each in by_lexicon[:3]] == cids
    assert records[2]["subject"]["cid"] == cids[0] and records[2]["measurements"][0]["cid"] == cids[1]


def test_the_longest_words_are_valid_by_the_official_schemas(certified, validated):
    [said] = statements.read(Path("run/effect.json"), "effect", "run")
    long = "\N{EARTH GLOBE EUROPE-AFRICA}" * 400
    said = said._replace(treatment=long, control=long, outcome=long, unit=long, made=long, effect=1e-38, low=-3.4e38)
    issuer = reading.issued(reading.opened(Path("cert/cert.json")), said)
    cert = certificates.metadata(said, issuer, {f"evidence/inputs/{place}": certified for place in range(100)}, {})
    by_schema, by_lexicon = validated([cert], [*certificates.records(said, issuer, cert, certified).values()])
    assert [each["said"] for each in [*by_schema, *by_lexicon]] == ["valid"] * 4


def test_the_lock_file_names_no_registry():
    packages = json.loads((HERE / "package-lock.json").read_text())["packages"]
    assert not [name for name, package in packages.items() if "://" in package.get("resolved", "")]
    assert packages["node_modules/@hypercerts-org/sdk"]["version"] == "2.9.1"


def links_renewed(folder: Path) -> None:
    """A cert whose links are those of the files that are there, and all else is as it was."""
    cert = json.loads((folder / "cert.json").read_bytes())
    for entry in cert["properties"]:
        if entry["trait_type"] == "evidence":
            entry["src"] = f"ipfs://{identifiers.of_digest(hashed(folder / entry['name']))}"
    (folder / "cert.json").write_bytes(identifiers.canonical(cert))


@pytest.mark.parametrize("name", ["cert.json", evidence.ORIGIN, f"{evidence.RESULTS}/effect.json"])
def test_malformed_documents_are_false_or_refused(certified, monkeypatch, name):
    """Whatever stands in a document, and with links that fit it: a verdict, or one sentence."""
    monkeypatch.setattr(verifying, "_once_more", lambda *_: Difference("", "", 0.0))
    good = json.loads(Path("cert", name).read_bytes())
    origin = json.loads(Path("cert", evidence.ORIGIN).read_bytes())
    shutil.copytree("cert", "good")
    for seed in range(int(os.environ.get("BAYESALLOC_FUZZ", "40"))):
        shutil.copytree("good", "cert", dirs_exist_ok=True)
        Path("cert", name).write_text(json.dumps(mutations.of_json(np.random.default_rng(seed), good)))
        if name.endswith("effect.json"):
            rewritten(
                Path("cert", evidence.ORIGIN), files={**origin["files"], "effect.json": hashed(Path("cert", name))}
            )
        if name != "cert.json":
            links_renewed(Path("cert"))
        with contextlib.suppress(InputError):
            assert judged().verdict == "false" or json.loads(Path("cert", name).read_bytes()) == good, seed
        if name.endswith("effect.json"):  # and with a cert that fits it
            with contextlib.suppress(InputError):
                sealed()
                judged()
