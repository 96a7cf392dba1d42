"""A cert from others as it is read: a file of its one shape, with every field, and names that stay in its folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from bayesalloc import limits
from bayesalloc.certifying import evidence
from bayesalloc.certifying.identifiers import read
from bayesalloc.certifying.issuing import CERT, checked
from bayesalloc.certifying.statements import Statement
from bayesalloc.errors import InputError, quoted
from bayesalloc.report import certificates
from bayesalloc.report.certificates import Issued


class Wrong(Exception):
    """A field or a file that says something else than the evidence."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(why)
        self.where, self.why = where, why


class Cert(NamedTuple):
    """A cert as it was read.

    Attributes:
        path: the file.
        metadata: all of it.
        values: its properties by name.
        evidence: name of each file -> link.
    """

    path: Path
    metadata: dict[str, Any]
    values: Mapping[str, str]
    evidence: Mapping[str, str]

    def value(self, name: str) -> str:
        """One of its properties.

        Raises:
            InputError: where it has none of this name.
        """
        if name not in self.values:
            raise InputError(f"{self.path}: is no cert: properties has no '{name}'")
        return self.values[name]


class _Scope(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    value: list[str]
    display_value: str
    excludes: list[str] = []


class _Frame(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    value: Annotated[list[int], msgspec.Meta(min_length=2, max_length=2)]
    display_value: str


class _Claim(msgspec.Struct, forbid_unknown_fields=True):
    impact_scope: _Scope
    work_scope: _Scope
    work_timeframe: _Frame
    impact_timeframe: _Frame
    contributors: _Scope
    rights: _Scope


class _Metadata(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    description: str
    image: str
    version: str
    properties: Annotated[list[dict[str, str]], msgspec.Meta(max_length=1000)]
    hypercert: _Claim


def opened(path: Path) -> Cert:
    """A cert by its file.

    Raises:
        InputError: where it is none, or lacks a field.
    """
    cert = read(limits.read_text(path, limits.CERT_BYTES, "a cert"), path)
    try:
        msgspec.convert(cert, _Metadata)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: is no cert: {quoted(error)}") from None
    values: dict[str, str] = {}
    files: dict[str, str] = {}
    for entry in cert["properties"]:
        kind, found, name = (
            ("src", files, "name") if entry.get("trait_type") == "evidence" else ("value", values, "trait_type")
        )
        if kind not in entry or name not in entry:
            raise InputError(f"{path}: is no cert: an entry of properties lacks '{kind if name in entry else name}'")
        if entry[name] in found:
            raise InputError(f"{path}: is no cert: properties has '{quoted(entry[name])}' twice")
        found[entry[name]] = entry[kind]
    for name in files:
        if not evidence.safe(name):
            raise InputError(
                f"{path}: names the evidence '{quoted(name)}'; it may only be in {evidence.HOME}/, and needs an ending"
            )
    return Cert(path, cert, values, files)


def issued(cert: Cert, said: Statement) -> Issued:
    """What only the issuer can say, as the cert has it.

    Raises:
        Wrong: where the cert's name hides what kind of statement it is.
        InputError: where an issuer cannot say it.
    """
    claim, prefix = cert.metadata["hypercert"], certificates.labelled(said, "")
    name = cert.metadata["name"]
    if not name.startswith(prefix):
        raise Wrong(CERT, f"its name does not begin with '{prefix.strip()}'")
    rest = name.removeprefix(prefix)
    return checked(
        Issued(
            "" if rest == certificates.title(said) else rest,
            claim["contributors"]["value"],
            claim["rights"]["value"],
            tuple(claim["work_timeframe"]["value"]),
            tuple(claim["impact_timeframe"]["value"]),
            cert.value("certified"),
            cert.value("repository"),
            cert.value("tolerance"),
        ),
        said,
    )
