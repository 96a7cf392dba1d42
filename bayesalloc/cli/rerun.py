"""`bayesalloc rerun`: a run once more, and what differs."""

import subprocess
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bayesalloc.cli.options import DEFAULT, Common
from bayesalloc.cli.session import refusing, show

CLOSE = 1e-4  # relative: what another machine or version may make of single precision
Paths = Annotated[list[Path] | None, Parameter(negative=())]


def rerun(run: Path, *, code: Paths = None, common: Common = DEFAULT) -> None:
    """Repeat a run from what its manifest says, and say what differs: numbers, versions, the platform.

    Nothing runs where an input has changed since.

    Args:
        run: The folder of the run.
        code: A Python file that the run may execute, as its model; a manifest alone executes none. Repeated.
        common: What every command takes; the seed is the run's own.
    """
    with refusing():
        from bayesalloc import repeating
        from bayesalloc.errors import InputError
        from bayesalloc.provenance import differences
        from bayesalloc.report.words import number

        old = repeating.read(run)
        out = (common.out or Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{old.command}").resolve()
        if out == run.resolve():
            raise InputError(f"{run}: is the run itself; give another folder for the new results")
        arguments, home = repeating.command(old, code or [], out)
        done = subprocess.run([*repeating.program(code or []), *arguments], cwd=home, check=False)
        if done.returncode:
            raise SystemExit(done.returncode)
        new = repeating.read(out)
        assert old.origin is not None and new.origin is not None
        changed, apart = differences(old.origin, new.origin), repeating.differing(old, new)
        worst = max((each.relative for each in apart), default=0.0)
        verdict = "the same" if not apart else "the same to rounding" if worst <= CLOSE else "different"
        lines = [f"{repeating.relative(run)}: {repeating.short(arguments)}", f"The numbers are {verdict}."]
        for each in apart:
            by = f": by {number(each.relative)} of its size" if each.relative < float("inf") else ""
            lines.append(f"{each.file}: {each.says} differs most{by}." if by else f"{each.file}: {each.says} differs.")
        lines += [f"Since then {sentence}." for sentence in changed]
        lines.append(f"Results: {repeating.relative(out)}")
        answer = {
            "run": str(run),
            "rerun": str(out),
            "verdict": verdict,
            "differences": [
                {"file": each.file, "entry": each.says, "relative": each.relative if each.relative < 1e300 else None}
                for each in apart
            ],
            "changed": changed,
        }
        show(common, "\n".join(lines), answer)
