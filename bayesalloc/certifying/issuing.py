"""A run becomes a cert: the issuer's own words are checked, and a folder is written that can be carried anywhere."""

import calendar
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bayesalloc import limits, repeating
from bayesalloc.certifying import evidence
from bayesalloc.certifying.identifiers import canonical, identifier
from bayesalloc.certifying.statements import COMMANDS, Statement, chosen, read
from bayesalloc.errors import InputError, listed, quoted
from bayesalloc.report import card, certificates
from bayesalloc.report.certificates import ISO, Issued

CERT, PICTURE, RECORDS = "cert.json", "effect.svg", "records"
LOOSEST = 0.1  # a tolerance above which nothing would be verified
MOST, LONGEST = 100, 100  # contributors or rights, and characters of one
_DID = re.compile(r"did:[a-z]+:[a-zA-Z0-9._:%-]*[a-zA-Z0-9._-]")
_DAYS = re.compile(r"(\d{4}-\d\d-\d\d)?:(\d{4}-\d\d-\d\d)?")


class Made(NamedTuple):
    """A cert that was made.

    Attributes:
        cert: its metadata.
        cid: its identifier.
        said: the effect.
        evidence: name of each file -> CID.
        records: names of the AT Protocol records.
    """

    cert: Mapping[str, Any]
    cid: str
    said: Statement
    evidence: Mapping[str, str]
    records: Sequence[str]


def certify(path: Path, folder: Path, treatment: str, outcome: str, issued: Callable[[Statement], Issued]) -> Made:
    """Write the cert of a run's effect into a folder.

    Args:
        path: the run's folder.
        folder: where to write.
        treatment: which of the treatments; "" for the first.
        outcome: which of the outcomes; "" for the first.
        issued: what the issuer says of an effect.

    Raises:
        InputError: where the run states no effect, is not whole, or could not be made once more.
    """
    run = repeating.read(path)
    if run.command not in COMMANDS:
        raise InputError(
            f"{path}: is a run of '{quoted(run.command)}', which states no effect; certify takes {listed(COMMANDS)}"
        )
    home = repeating.ready(run)
    assert run.origin is not None
    files = evidence.files_of(run, home)
    if wrong := [name for name in files if not evidence.safe(name)]:
        raise InputError(f"{path}: used '{quoted(wrong[0])}'; for a cert a file's name needs an ending, as .csv")
    evidence.arguments_there(run.origin, evidence.laid_out([*run.origin.inputs, *run.origin.modules]))
    answer = f"{run.command}.json"
    said = chosen(read(path / answer, run.command, path / answer), treatment, outcome, path)
    for given in filter(os.path.isabs, run.origin.inputs):
        if given in said.treatment + said.control:
            raise InputError(f"{path}: an arm is called by '{quoted(given)}'; run it again with a path from its folder")
    words = checked(issued(said), said)
    for name, file in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / name)
    identifiers = evidence.identified({name: folder / name for name in files})
    cert = certificates.metadata(said, words, identifiers, run.origin.versions)
    if len(canonical(cert)) > limits.CERT_BYTES:
        raise InputError(f"{path}: its cert would be larger than the {limits.CERT_BYTES:,} bytes that one may have")
    cid = identifier(canonical(cert))
    records = certificates.records(said, words, cert, cid)
    (folder / CERT).write_bytes(canonical(cert))
    (folder / PICTURE).write_bytes(card.picture(said).encode())
    (folder / RECORDS).mkdir()
    for name, record in records.items():
        (folder / RECORDS / name).write_bytes(canonical(record))
    return Made(cert, cid, said, identifiers, [*records])


def words_of(
    said: Statement,
    *,
    name: str = "",
    contributors: Sequence[str] = (),
    rights: Sequence[str] = (),
    work: str = "",
    impact: str = "",
    repository: str = "",
    tolerance: float,
) -> Issued:
    """What the issuer says, from texts; what is left out is left open, or follows from the statement."""
    return Issued(
        name,
        contributors,
        rights,
        _span("--work", work, (0, 0)),
        _span("--impact", impact, said.when),
        certificates.moment(int(time.time())),
        repository,
        certificates.numeric(tolerance),
    )


def _span(option: str, text: str, otherwise: tuple[int, int]) -> tuple[int, int]:
    """From the first second of a day to the last one of another; 0 where it is open."""
    if not text:
        return otherwise
    found = _DAYS.fullmatch(text)
    try:
        first, last = (
            calendar.timegm(time.strptime(day, "%Y-%m-%d")) if day else 0 for day in (found.groups() if found else ())
        )
    except ValueError:
        raise InputError(
            f"{option} '{quoted(text)}': is not of the form 2026-01-01:2026-12-31, where either day may be left out"
        ) from None
    return first, last + 24 * 3600 - 1 if last else 0


def checked(issued: Issued, said: Statement) -> Issued:
    """What an issuer says, if a cert can say it.

    Raises:
        InputError: where it cannot.
    """
    if len(certificates.labelled(said, issued.name).encode()) > certificates.TITLE:
        raise InputError(f"the cert's name is longer than {certificates.TITLE} bytes")
    for what, texts in (("contributors", issued.contributors), ("rights", issued.rights), ("name", [issued.name])):
        if len(texts) > MOST:
            raise InputError(f"a cert has at most {MOST} {what}; {len(texts)} were given")
        for text in texts:
            if not text.isprintable() or (what != "name" and not 0 < len(text) <= LONGEST):
                raise InputError(f"{what} '{quoted(text)}': must be 1 to {LONGEST} characters that can be shown")
    for what, (start, end) in (("work", issued.work), ("impact", issued.impact)):
        if start and end and end < start:
            raise InputError(f"the {what} timeframe ends before it begins")
        if not all(-62_135_596_800 <= moment < 253_402_300_800 for moment in (start, end)):
            raise InputError(f"the {what} timeframe is not within the years 1 to 9999")
    if issued.repository and not (_DID.fullmatch(issued.repository) and len(issued.repository) <= 256):
        raise InputError(f"repository '{quoted(issued.repository)}': is no DID, such as did:plc:abc or did:web:a.org")
    try:
        time.strptime(issued.time, ISO)
    except ValueError:
        raise InputError(f"the time '{quoted(issued.time)}' is not of the form 2026-01-31T12:00:00Z") from None
    tolerance_of(issued.tolerance)
    return issued


def tolerance_of(text: str) -> float:
    """A tolerance that a cert states.

    Raises:
        InputError: where it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= LOOSEST:
        raise InputError(f"tolerance '{quoted(text)}': must be a number from 0 to {LOOSEST}")
    return value
