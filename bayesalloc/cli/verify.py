"""`bayesalloc verify`: whether a hypercert says what its evidence shows."""

from pathlib import Path

from bayesalloc.cli.options import DEFAULT, Common
from bayesalloc.cli.rerun import Paths
from bayesalloc.cli.session import refusing, show
from bayesalloc.errors import InputError, listed


def verify(
    cert: Path,
    *,
    cid: str = "",
    code: Paths = None,
    tolerance: float | None = None,
    common: Common = DEFAULT,
) -> None:
    """Check a hypercert: every hash, every field against the evidence, and the run once more in another process.

    The answer is one of three: verified (exit code 0), not reproducible on this platform within the tolerance, or
    false (1 each). What cannot be judged, such as a cert that lacks a field, is refused (2).

    Args:
        cert: The file, or its folder.
        cid: The identifier that the cert was given; without it the cert is checked only against its own evidence.
        code: A Python file that may run, as the model: one of the evidence with the same content. Repeated.
        tolerance: How far numbers may be off, relative to their size; default: what the cert states.
        common: What every command takes; the seed is the run's own.
    """
    with refusing():
        from bayesalloc.certifying import identifiers, issuing, verifying

        if tolerance is not None and not 0 <= tolerance <= issuing.LOOSEST:
            raise InputError(f"--tolerance is {tolerance:g}; it must be a number from 0 to {issuing.LOOSEST}")
        found = verifying.verify(cert, identifiers.checked(cid) if cid else "", code or [], tolerance)
        unlike = f"not reproducible on this platform within the tolerance of {found.tolerance:g}"
        head = unlike if found.verdict == verifying.UNLIKE else found.verdict
        lines = [f"{cert}: {head}{f': {found.why}' if found.why else ''}."]
        if found.apart is not None:
            off = f"differ by at most {found.apart:.2g} of their size" if found.apart else "are the same"
            lines.append(f"Computed again, the numbers {off} (tolerance {found.tolerance:g}).")
        if not cid:
            lines.append(f"Its fields were checked against its evidence only; its CID is {found.cid}: give --cid.")
        if found.issued:
            lines.append(f"On the issuer's word alone: {listed(found.issued)}.")
        if found.inputs:
            lines.append(f"Taken as they are: {listed(found.inputs)}.")
        lines += [f"Since the run {sentence}." for sentence in found.changed]
        answer = found._asdict() | {"cert": str(cert), "cid_checked": bool(cid)}
        show(common, "\n".join(lines), answer)
        if found.verdict != verifying.VERIFIED:
            raise SystemExit(1)
