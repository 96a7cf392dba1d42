"""Whether a cert says what its evidence shows: every hash, every field, and the run once more in another process.

The cert, its records and its picture are made again from the evidence, and must be the same to the last byte but for
what only the issuer can say. Then the recorded command runs on copies of the evidence's inputs in a temporary folder.
A cert is data: its command may only be one that states an effect, names no file outside of the evidence, and runs no
Python file but those that whoever verifies has named.
"""

import json
import math
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bayesalloc import limits, repeating
from bayesalloc.certifying import evidence, statements
from bayesalloc.certifying.identifiers import canonical, identifier, of_digest, read
from bayesalloc.certifying.issuing import CERT, PICTURE, RECORDS, tolerance_of
from bayesalloc.certifying.reading import Cert, Wrong, issued, opened
from bayesalloc.certifying.statements import Statement
from bayesalloc.errors import InputError, listed, quoted, sentence
from bayesalloc.inference.posing import ANOTHER_RECORD
from bayesalloc.provenance import Origin, devices, differences, hashed, versions
from bayesalloc.repeating import Difference, Run
from bayesalloc.report import card, certificates
from bayesalloc.report.certificates import Issued

VERIFIED, UNLIKE, FALSE = "verified", "not reproducible", "false"


class Verdict(NamedTuple):
    """What was found.

    Attributes:
        verdict: `verified`, `not reproducible` (on this platform, within the tolerance) or `false`.
        why: in a sentence; "" where it is verified.
        where: the field or file that is wrong; "" where none is.
        cid: of the cert as it is.
        tolerance: of numbers that are computed again, relative to their size.
        apart: the largest difference of a number; None where nothing was computed again.
        issued: what rests on the issuer's word alone.
        inputs: files that are taken as they are.
        changed: how versions and platform differ from those of the run.
    """

    verdict: str
    why: str
    where: str
    cid: str
    tolerance: float
    apart: float | None = None
    issued: Sequence[str] = ()
    inputs: Sequence[str] = ()
    changed: Sequence[str] = ()


def verify(path: Path, cid: str, code: Sequence[Path], tolerance: float | None) -> Verdict:
    """Whether a cert is what it says.

    Args:
        path: the cert, or its folder.
        cid: what the cert's identifier has to be; "" where whoever verifies does not know.
        code: Python files that may run: those of the evidence with the same content.
        tolerance: in place of the cert's own.

    Raises:
        InputError: where it cannot be judged: no cert, a missing field or file, Python code that nobody allowed.
    """
    cert = opened(path / CERT if path.is_dir() else path)
    own = identifier(canonical(cert.metadata))
    if tolerance is None:
        tolerance = tolerance_of(cert.value("tolerance"))
    if cid and own != cid:
        why = f"the cert's CID is {own}, not {cid}: it was changed, or is another one"
        return Verdict(FALSE, why, CERT, own, tolerance)
    with tempfile.TemporaryDirectory(prefix="bayesalloc-verify-") as temporary:
        try:
            return _judged(cert, own, code, tolerance, Path(temporary))
        except Wrong as wrong:
            return Verdict(FALSE, f"{wrong.where}: {wrong.why}", wrong.where, own, tolerance)


def _judged(cert: Cert, own: str, code: Sequence[Path], tolerance: float, temporary: Path) -> Verdict:
    folder = cert.path.parent
    copies = evidence.copied(folder, [*cert.evidence], temporary)
    for name, file in copies.items():
        if f"ipfs://{of_digest(hashed(file))}" != cert.evidence[name]:
            raise Wrong(name, "is not the file that the cert means: its hash is another")
    run, moved = _run(cert, copies, temporary)
    assert run.origin is not None
    answer = f"{run.command}.json"
    there = statements.read(run.path / answer, run.command, f"{evidence.RESULTS}/{answer}")
    treatment, outcome = (cert.value(name) for name in ("treatment", "outcome"))
    said = next((each for each in there if (each.treatment, each.outcome) == (treatment, outcome)), None)
    if said is None:
        raise Wrong(CERT, f"the evidence states no effect of '{quoted(treatment)}' on '{quoted(outcome)}'")
    issuer = issued(cert, said)
    _same_documents(cert, own, said, issuer, run.origin)
    here = msgspec.structs.replace(run.origin, versions=versions(), platform=devices())
    allowed, changed = _allowed(folder, copies, code), differences(run.origin, here)
    found = _once_more(run, said, allowed, temporary, moved)
    verdict = VERIFIED if found.relative <= tolerance else UNLIKE if changed else FALSE
    good = verdict == VERIFIED
    return Verdict(
        verdict,
        "" if good else f"{found.file}: {found.says}",
        "" if good else found.file,
        own,
        tolerance,
        found.relative if math.isfinite(found.relative) else None,
        [*_own_words(said, issuer)],
        [name for name in copies if name.startswith(f"{evidence.INPUTS}/")],
        changed,
    )


def _run(cert: Cert, copies: Mapping[str, Path], temporary: Path) -> tuple[Run, dict[str, str]]:
    """The run that the evidence is of, with no path that leads elsewhere; and what its inputs' paths are now."""
    if evidence.ORIGIN not in copies:
        raise InputError(f"{cert.path}: is no cert: its evidence has no {evidence.ORIGIN}")
    try:
        manifest = msgspec.convert(_manifest(copies[evidence.ORIGIN]), dict[str, Any])
        origin, command = msgspec.convert(manifest, Origin), msgspec.convert(manifest.get("command"), str)
        listed_files = msgspec.convert(manifest.get("files"), dict[str, str])
    except msgspec.ValidationError as error:
        raise InputError(f"{evidence.ORIGIN}: does not say what a run comes from: {quoted(error)}") from None
    if command not in statements.COMMANDS or origin.arguments[:1] != [command]:
        raise InputError(f"{evidence.ORIGIN}: is not of a run that states an effect: {listed(statements.COMMANDS)}")
    numbers = {name: value for name, value in listed_files.items() if name.endswith(evidence.NUMBERS)}
    layout = evidence.laid_out([*origin.inputs, *origin.modules])
    expected = {f"{evidence.RESULTS}/{name}": value for name, value in numbers.items()}
    expected |= {f"{evidence.INPUTS}/{layout.places[name]}": value for name, value in origin.inputs.items()}
    for name, value in expected.items():
        if name not in copies:
            raise Wrong(CERT, f"its evidence lacks {quoted(name)}, of which {evidence.ORIGIN} speaks")
        if hashed(copies[name]) != value:
            raise Wrong(name, f"is not the file that {evidence.ORIGIN} means: its hash is another")
    modules = {name: hashed(copies[name]) for name in copies if name not in expected and name != evidence.ORIGIN}
    if unknown := [name for name, value in modules.items() if value not in origin.modules.values()]:
        raise Wrong(evidence.ORIGIN, f"the run knows nothing of {listed(unknown)}")
    if missing := [name for name, value in origin.modules.items() if value not in modules.values()]:
        raise Wrong(CERT, f"its evidence lacks {listed(missing)}, of which {evidence.ORIGIN} speaks")
    inputs = temporary / evidence.INPUTS
    home = inputs / layout.here
    home.mkdir(parents=True, exist_ok=True)
    path = temporary / evidence.RESULTS
    there = Origin(
        evidence.arguments_there(origin, layout),
        os.path.relpath(home, path),
        origin.time,
        origin.seed,
        origin.versions,
        origin.platform,
        {layout.given(name): value for name, value in origin.inputs.items()},
        {os.path.relpath(temporary / name, home): value for name, value in modules.items()},
    )
    moved = {name: layout.given(name) for name in origin.inputs if layout.given(name) != name}
    return Run(path, command, there, numbers, "whole"), moved


def _manifest(path: Path) -> Any:
    """What a manifest from others says.

    Raises:
        InputError: where it is no JSON.
    """
    try:
        return msgspec.json.decode(limits.read_text(path, limits.TEXT_BYTES, "a manifest"))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InputError(f"{evidence.ORIGIN}: is no JSON: {quoted(error)}") from None


def _own_words(said: Statement, issuer: Issued) -> Iterator[str]:
    stated = {
        "name": bool(issuer.name),
        "contributors": bool(issuer.contributors),
        "rights": bool(issuer.rights),
        "work_timeframe": any(issuer.work),
        "impact_timeframe": issuer.impact != said.when,
        "certified": True,
        "repository": bool(issuer.repository),
    }
    yield from (name for name, is_stated in stated.items() if is_stated)


def _same_documents(cert: Cert, own: str, said: Statement, issuer: Issued, origin: Origin) -> None:
    """The cert, its picture and its records are those that the evidence makes."""
    links = {name: link.removeprefix("ipfs://") for name, link in cert.evidence.items()}
    expected = certificates.metadata(said, issuer, links, origin.versions)
    if different := _different(expected, cert.metadata, ""):
        raise Wrong(CERT, different)
    folder = cert.path.parent
    if of_digest(hashed(evidence.file_in(folder, PICTURE))) != identifier(card.picture(said).encode()):
        raise Wrong(PICTURE, "is not the picture of the effect that the evidence states")
    for name, record in certificates.records(said, issuer, expected, own).items():
        file = f"{RECORDS}/{name}"
        found = read(limits.read_text(evidence.file_in(folder, file), limits.CERT_BYTES, "a record"), file)
        if different := _different(record, found, ""):
            raise Wrong(file, different)


def _different(expected: Any, found: Any, way: str) -> str:
    """The first place where two documents differ, in a sentence; "" where there is none."""
    if type(expected) is not type(found):
        return f"{way or 'it'} is not of the kind that it should be"
    if isinstance(expected, dict):
        if expected.keys() != found.keys():
            return f"{way or 'it'} has the fields {listed(found)}, and should have {listed(expected)}"
        named = f"{way}.{expected['trait_type']}" if "trait_type" in expected else way
        parts = ((expected[name], found[name], f"{named}.{name}".lstrip(".")) for name in expected)
    elif isinstance(expected, list):
        if len(expected) != len(found):
            return f"{way} has {len(found)} entries, and should have {len(expected)}"
        parts = (
            (one, other, f"{way}[{place}]") for place, (one, other) in enumerate(zip(expected, found, strict=True))
        )
    else:
        return "" if expected == found else f"{way} is '{quoted(found)}', and the evidence says '{quoted(expected)}'"
    return next((said for one, other, place in parts if (said := _different(one, other, place))), "")


def _allowed(folder: Path, copies: Mapping[str, Path], code: Sequence[Path]) -> list[Path]:
    """The Python files among the evidence's inputs, each of which has been named.

    Raises:
        InputError: where one has not, or where there are other files that Python could import.
    """
    for file in code:
        if not file.is_file():
            raise InputError(f"--code {file}: no such file")
    known = {hashed(file) for file in code}
    modules = evidence.importable(copies)
    if binary := [name for name in modules if not name.endswith(".py")]:
        raise InputError(f"{folder}: the evidence has {listed(binary)}, which Python would run and nobody can read")
    if unknown := [name for name in modules if hashed(copies[name]) not in known]:
        ways = " ".join(f"--code {folder / name}" for name in unknown)
        raise InputError(f"{folder}: runs the Python code of {listed(unknown)}; look at it, and allow it by {ways}")
    return [copies[name] for name in modules]


def _once_more(
    run: Run, said: Statement, code: Sequence[Path], temporary: Path, moved: Mapping[str, str]
) -> Difference:
    """The run again, and what differs most: of the effect itself and of all other numbers."""
    assert run.origin is not None
    arguments, home = repeating.command(run, code, temporary / "again")
    done = subprocess.run(
        [*repeating.program(code), *arguments], cwd=home, check=False, capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
        why = sentence(lines[-1].removeprefix("bayesalloc: "))
        if ANOTHER_RECORD in why:
            raise Wrong(evidence.INPUTS, why)
        return Difference(evidence.ORIGIN, f"the command does not run here: {why}", math.inf)
    new = repeating.read(temporary / "again")
    if new.origin is None or new.origin.seed != run.origin.seed:
        raise Wrong(evidence.ORIGIN, f"the seed is {run.origin.seed}, and not that of the command")
    answer = new.path / f"{run.command}.json"
    text = answer.read_text(encoding="utf-8")
    for given, now in moved.items():  # an answer repeats paths, in its warnings and in names of arms
        text = text.replace(json.dumps(now)[1:-1], json.dumps(given)[1:-1])
    answer.write_text(text, encoding="utf-8")
    kept = {name: value for name, value in new.files.items() if name.endswith(evidence.NUMBERS)}
    try:
        there = repeating.differing(run, new._replace(files=kept))
    except (ArithmeticError, ValueError, RecursionError) as error:
        raise Wrong(evidence.RESULTS, f"is nothing that a run writes: {quoted(error)}") from None
    found = [
        Difference(f"{evidence.RESULTS}/{each.file}", f"computed again, {each.says} differs", each.relative)
        for each in there
    ]
    again = statements.read(answer, run.command, answer)
    return max([_apart(said, again), *found], key=lambda each: each.relative)


def _apart(said: Statement, again: Sequence[Statement]) -> Difference:
    """How far the effect is from what it was, as a share of the largest of its numbers."""
    same = [each for each in again if (each.treatment, each.outcome) == (said.treatment, said.outcome)]
    if not same:
        return Difference(CERT, "computed again, there is no such effect", math.inf)
    size = max(abs(said.effect), abs(said.low), abs(said.high)) or 1.0
    found = []
    for name, scale in (("effect", size), ("low", size), ("high", size), ("prob_positive", 1.0)):
        one, other = getattr(said, name), getattr(same[0], name)
        says = f"computed again, {name} is {other:.6g} and not {one:.6g}"
        found.append(Difference(CERT, says, abs(one - other) / scale))
    return max(found, key=lambda each: each.relative)
