"""`bayesalloc optimize start`: a new state, of an allocation or of a mechanism's design."""

import dataclasses
from pathlib import Path
from typing import Any

from bayesalloc.cli.optimize import designing, funding
from bayesalloc.cli.options import DEFAULT, Common
from bayesalloc.cli.session import session
from bayesalloc.errors import InputError, listed


def start(
    subject: str,
    *,
    state: Path,
    allocation: funding.Options | None = None,
    design: designing.Options | None = None,
    common: Common = DEFAULT,
) -> None:
    """Begin an optimisation: a state file that `ask`, `tell` and `show` go on with.

    Args:
        subject: For an allocation, a CSV file with a row for each project: `project` and `impact_per_1000usd` or
            `usd_per_impact` (empty: unknown, the project stays at `current`); optional `low` and `high` (89 %), `unit`,
            `agency`, `domain`, `intervention`, `region`, `room_usd`, `floor`, `cap`, `minimum`, `current`,
            `population`, `external_risk`, `uses_<resource>`. For a mechanism's design (with --free), a model by name or
            path.
        state: The file to write.
        allocation: What is taken for an allocation.
        design: What is taken for a design.
        common: What every command takes.
    """
    with session(common, "start") as (say, folder):
        amounts, terms = allocation or funding.Options(), design or designing.Options()
        if terms.free is None:
            _refuse(terms, "the design of a mechanism, which begins with --free")
            funding.start(Path(subject), amounts, state, common.seed, say, folder.files())
        else:
            _refuse(amounts, "an allocation, and not the design of a mechanism (--free)")
            designing.start(subject, terms, state, common.seed, say, folder.files())


def _refuse(options: Any, of: str) -> None:
    """Refuse options that belong to the other kind of question."""
    given = [field.name for field in dataclasses.fields(options) if getattr(options, field.name) is not None]
    if given:
        names = (f"--{name.replace('_', '-')}" for name in given)
        raise InputError(f"{listed(names)}: belongs to {of}")
