"""A certified effect as documents: a hypercert's metadata, and AT Protocol records about it.

Each is a function of the statement, of the issuer's own words and of the evidence's identifiers, so that whoever checks
a cert makes them again and looks for the first difference.
"""

import calendar
import hashlib
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from bayesalloc.certifying.identifiers import DAG_CBOR, dag_cbor, identifier
from bayesalloc.certifying.statements import ESTIMATE, FORECAST, UNSAID, Statement
from bayesalloc.report.card import picture
from bayesalloc.report.html import upper
from bayesalloc.report.words import bracket

VERSION = "1.0.0"  # of the metadata's schema
SOFTWARE = ("bayesalloc", "python", "jax", "numpyro")
MEANINGS = {
    FORECAST: "simulated by a model; no record of what happened",
    ESTIMATE: "measured in books, in which nobody set the treatment",
}
KINDS = {
    "interventional": "what would happen, with fresh chance",
    "counterfactual": "what would have happened in the recorded periods, with the record's own chance",
    "observational": "from books, if nothing outside of them moves both",
}
MEDIA = {".json": "application/json", ".nc": "application/x-netcdf", ".csv": "text/csv", ".toml": "application/toml"}
OTHER = "application/octet-stream"
SHORT, SUMMARY, LONG = 300, 800, 20_000  # characters of texts
TITLE, METRIC, UNIT, SCOPE = 256, 500, 50, 3_000  # bytes of others
LINKS = 50  # evidence that a measurement points at
ISO = "%Y-%m-%dT%H:%M:%SZ"


class Issued(NamedTuple):
    """What the issuer says, and no evidence shows.

    Attributes:
        name: the title; "" for one that says what the effect is about.
        contributors: names or identifiers.
        rights: that the cert gives.
        work: from when to when the work is done, in UNIX seconds; 0 for what is open.
        impact: from when to when the effect is.
        time: when the cert was made, as ISO 8601 in UTC.
        repository: the identity (DID) in whose repository the records stand; "" for none.
        tolerance: how far a number that is computed again may be off, relative to its size.
    """

    name: str
    contributors: Sequence[str]
    rights: Sequence[str]
    work: tuple[int, int]
    impact: tuple[int, int]
    time: str
    repository: str
    tolerance: str


def title(said: Statement) -> str:
    """What an effect is about."""
    return f"{said.treatment} instead of {said.control}: {said.outcome}"


def sentence(said: Statement) -> str:
    """What is found, in one sentence."""
    unit = "" if said.unit in ("1", UNSAID) else f" {said.unit}"
    over = f" ({said.over})" if said.over else ""
    shown = bracket({"effect": said.effect, "low": said.low, "high": said.high}, "effect", signed=True)
    return (
        f"{said.treatment} instead of {said.control} changes {said.outcome}{over} by {shown}{unit}"
        f" ({100 * said.level:.0f} % interval)."
    )


def labelled(said: Statement, text: str) -> str:
    """A text under the label of its statement."""
    return f"{said.label.capitalize()}: {text}"


def metadata(said: Statement, issued: Issued, evidence: Mapping[str, str], versions: Mapping[str, str]) -> dict:
    """The cert: metadata of a hypercert, by its ERC-1155 schema.

    Args:
        said: the effect.
        issued: what the issuer says.
        evidence: name of each file -> CID.
        versions: of what computed it.
    """
    values = {
        "label": f"{said.label}: {MEANINGS[said.label]}",
        "kind": said.kind,
        "basis": said.basis,
        "model": said.model,
        "treatment": said.treatment,
        "control": said.control,
        "outcome": said.outcome,
        "over": said.over,
        "unit": said.unit,
        "effect": numeric(said.effect),
        "low": numeric(said.low),
        "high": numeric(said.high),
        "interval": numeric(said.level),
        "share of draws above zero": numeric(said.prob_positive),
        "made": said.made,
        "software": ", ".join(f"{name} {versions[name]}" for name in SOFTWARE if name in versions),
        "tolerance": issued.tolerance,
        "certified": issued.time,
        "repository": issued.repository,
    }
    files = [
        {"trait_type": "evidence", "type": media(name), "src": f"ipfs://{cid}", "name": name}
        for name, cid in sorted(evidence.items())
    ]
    return {
        "name": labelled(said, issued.name or title(said)),
        "description": f"{labelled(said, sentence(said))} This is {MEANINGS[said.label]} ({said.kind}:"
        f" {KINDS[said.kind]}; {said.model}, {said.basis}). {upper(said.made)}.",
        "image": f"ipfs://{identifier(picture(said).encode())}",
        "version": VERSION,
        "properties": [{"trait_type": name, "value": value} for name, value in values.items()] + files,
        "hypercert": {
            "impact_scope": _scope("Impact Scope", [said.outcome]),
            "work_scope": _scope("Work Scope", [said.treatment]),
            "work_timeframe": _frame("Work Timeframe", issued.work),
            "impact_timeframe": _frame("Impact Timeframe", issued.impact),
            "contributors": {
                name: each for name, each in _scope("Contributors", issued.contributors).items() if name != "excludes"
            },
            "rights": _scope("Rights", issued.rights),
        },
    }


def numeric(value: float) -> str:
    """A number as text, every digit of it and no exponent.

    >>> numeric(1e-05), numeric(0.5)
    ('0.00001', '0.5')
    """
    return f"{Decimal(repr(float(value))):f}"


def media(name: str) -> str:
    """What kind of file a name is of."""
    return MEDIA.get(PurePosixPath(name).suffix, OTHER)


def _scope(name: str, values: Sequence[str]) -> dict[str, Any]:
    return {"name": name, "value": [*values], "excludes": [], "display_value": ", ".join(values)}


def _frame(name: str, when: tuple[int, int]) -> dict[str, Any]:
    shown = " \N{RIGHTWARDS ARROW} ".join(day(seconds) if seconds else "indefinite" for seconds in when)
    return {"name": name, "value": [*when], "display_value": shown}


def day(seconds: int) -> str:
    """The date of a moment in UNIX seconds."""
    return moment(seconds)[:10]


def moment(seconds: int) -> str:
    """A moment in UNIX seconds, as ISO 8601 in UTC.

    >>> moment(-60_000_000_000)
    '0068-09-03T13:20:00Z'
    """
    return (datetime(1970, 1, 1) + timedelta(seconds=seconds)).isoformat() + "Z"


def records(said: Statement, issued: Issued, cert: Mapping[str, Any], cid: str) -> dict[str, dict[str, Any]]:
    """The AT Protocol records about a cert: file's name -> record.

    With a repository they refer to each other; each other record has a place in it that the cert's CID gives.
    """
    links = [f"ipfs://{cid}", *(each["src"] for each in cert["properties"] if each["trait_type"] == "evidence")]
    text = f"{labelled(said, sentence(said))} This is {MEANINGS[said.label]}."
    activity = {
        "$type": "org.hypercerts.claim.activity",
        "title": cut(cert["name"], TITLE),
        "shortDescription": text[:SHORT],
        "description": {"$type": "org.hypercerts.defs#descriptionString", "value": cert["description"][:LONG]},
        "image": _link(cert["image"]),
        "contributors": [
            {
                "contributorIdentity": {
                    "$type": "org.hypercerts.claim.activity#contributorIdentity",
                    "identity": contributor,
                }
            }
            for contributor in issued.contributors
        ],
        "workScope": {"$type": "org.hypercerts.claim.activity#workScopeString", "scope": cut(said.treatment, SCOPE)},
        **_dates(issued.work),
        "createdAt": issued.time,
    }
    measurement = {
        "$type": "org.hypercerts.context.measurement",
        "metric": cut(labelled(said, f"change of {said.outcome} by {said.treatment}, against {said.control}"), METRIC),
        "unit": cut(said.unit, UNIT),
        "value": numeric(said.effect),
        "methodType": said.kind,
        "evidenceURI": links[:LINKS],
        "comment": f"{said.label.capitalize()}, {MEANINGS[said.label]}. {100 * said.level:.3g} % interval"
        f" [{numeric(said.low)}, {numeric(said.high)}]; share of draws above zero {numeric(said.prob_positive)}.",
        **_dates(issued.impact),
        "createdAt": issued.time,
    }
    evaluation = {
        "$type": "org.hypercerts.context.evaluation",
        "evaluators": [{"did": issued.repository}] if issued.repository else [],
        "content": [_link(link) for link in links[:LINKS]],
        "summary": f"{text[:SUMMARY]} Recompute it from the evidence: bayesalloc verify, cert {cid}.",
        "createdAt": issued.time,
    }
    if issued.repository:
        about = _reference(issued.repository, activity, cid)
        measurement["subjects"] = [about]
        evaluation |= {"subject": about, "measurements": [_reference(issued.repository, measurement, cid)]}
    return {"activity.json": activity, "measurement.json": measurement, "evaluation.json": evaluation}


def cut(text: str, most: int) -> str:
    """A text of at most so many bytes."""
    whole = text.encode()
    return text if len(whole) <= most else whole[: most - 3].decode(errors="ignore") + "\N{HORIZONTAL ELLIPSIS}"


def _link(uri: str) -> dict[str, str]:
    return {"$type": "org.hypercerts.defs#uri", "uri": uri}


def _dates(when: tuple[int, int]) -> dict[str, str]:
    named = dict(zip(("startDate", "endDate"), when, strict=True))
    return {name: moment(seconds) for name, seconds in named.items() if seconds}


def key(when: str, cid: str, kind: str) -> str:
    """Where a record stands in its repository: a timestamp identifier (TID), told from others by a hash.

    >>> key("2026-11-27T17:01:06Z", "bafkrei", "activity")[:10]
    '3n3co2rxy6'
    """
    clock = int.from_bytes(hashlib.sha256(f"{cid} {kind}".encode()).digest()[:2]) & 1023
    bits = calendar.timegm(time.strptime(when, ISO)) * 1_000_000 << 10 | clock
    return "".join("234567abcdefghijklmnopqrstuvwxyz"[bits >> shift & 31] for shift in range(60, -5, -5))


def _reference(repository: str, record: dict[str, Any], cid: str) -> dict[str, str]:
    kind = record["$type"]
    return {
        "uri": f"at://{repository}/{kind}/{key(record['createdAt'], cid, kind)}",
        "cid": identifier(dag_cbor(record), DAG_CBOR),
    }
