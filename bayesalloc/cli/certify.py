"""`bayesalloc certify`: a hypercert of an effect that a run found, with its evidence."""

import time
from pathlib import Path

from bayesalloc.cli.options import DEFAULT, Common, Texts
from bayesalloc.cli.rerun import CLOSE
from bayesalloc.cli.session import refusing, show
from bayesalloc.errors import InputError


def certify(
    run: Path,
    *,
    treatment: str = "",
    outcome: str = "",
    name: str = "",
    contributor: Texts = None,
    right: Texts = None,
    work: str = "",
    impact: str = "",
    did: str = "",
    tolerance: float = CLOSE,
    common: Common = DEFAULT,
) -> None:
    """Write a hypercert of an effect that `compare`, `counterfactual` or `effect` found, with its evidence.

    The folder holds `cert.json` (metadata by the ERC-1155 schema), AT Protocol records, the effect's picture and the
    evidence: the run's manifest, numbers and input files. Whoever has it can verify it, anywhere.

    Args:
        run: The folder of the run.
        treatment: Which treatment's effect, as the run names it; default: its first.
        outcome: The effect on which outcome, as the run names it (payoff.dam_owner); default: its first.
        name: A title, in place of what the effect is about.
        contributor: Who did the work: a name or an identifier. Repeated; default: nobody is stated.
        right: A right that the cert gives, as "Public Display". Repeated; default: none is stated.
        work: When the work is done, as 2026-01-01:2030-12-31; either day may be left out; default: left open.
        impact: When the effect is; default: the recorded years of a counterfactual, else left open.
        did: The identity (DID) whose repository the records are for: then they refer to each other.
        tolerance: How far numbers that are computed again may be off, relative to their size.
        common: What every command takes; nothing is random here.
    """
    with refusing():
        from bayesalloc import runs
        from bayesalloc.certifying import issuing
        from bayesalloc.report import certificates

        if not 0 <= tolerance <= issuing.LOOSEST:
            raise InputError(f"--tolerance is {tolerance:g}; it must be a number from 0 to {issuing.LOOSEST}")
        target = common.out or Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-certify"
        if target.is_dir() and any(target.iterdir()):
            raise InputError(f"{target}: is a folder that is not empty; a cert gets a folder of its own")
        with runs.folder(target, "") as folder:
            made = issuing.certify(
                run,
                folder.path,
                treatment,
                outcome,
                lambda said: issuing.words_of(
                    said,
                    name=name,
                    contributors=contributor or (),
                    rights=right or (),
                    work=work,
                    impact=impact,
                    repository=did,
                    tolerance=tolerance,
                ),
            )
        answer = {
            "cert": str(target / issuing.CERT),
            "cid": made.cid,
            "label": made.said.label,
            "effect": made.said._asdict(),
            "evidence": made.evidence,
            "files": {"picture": str(target / issuing.PICTURE)}
            | {each.removesuffix(".json"): str(target / issuing.RECORDS / each) for each in made.records},
        }
        lines = [
            certificates.labelled(made.said, certificates.sentence(made.said)),
            f"CID: {made.cid}",
            f"Evidence that goes along: {', '.join(made.evidence)}",
            f"Check it: bayesalloc verify {target} --cid {made.cid}",
        ]
        show(common, "\n".join(lines), answer)
