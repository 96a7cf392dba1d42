"""What one user has made: nobody else sees it, and files of it stand in a folder of its own."""

import os
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

import streamlit as st

from bayesalloc.dashboard.jobs import Job

RUNS = "BAYESALLOC_RUNS"  # the environment's variable that says where run folders are


def runs_folder() -> Path:
    """Where run folders are."""
    return Path(os.environ.get(RUNS, "runs"))


def _home() -> Path:
    return runs_folder() / "uploads" / secrets.token_hex(8)


@dataclass
class Mine:
    """One user's own.

    Attributes:
        home: the folder of what was uploaded or saved.
        mechanisms: name -> TOML text.
        files: kind -> name as its user calls it -> path.
        jobs: in the order in which they were started.
    """

    home: Path = field(default_factory=_home)
    mechanisms: dict[str, str] = field(default_factory=dict)
    files: dict[str, dict[str, Path]] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)

    def mechanism_files(self) -> list[str]:
        """The saved mechanisms as files, which jobs read."""
        self.home.mkdir(parents=True, exist_ok=True)
        paths = [self.home / f"{name}.toml" for name in self.mechanisms]
        for path, text in zip(paths, self.mechanisms.values(), strict=True):
            path.write_text(text, encoding="utf-8")
        return [*map(str, paths)]

    def new_run(self, command: str) -> Path:
        """A folder for the results of a job, which nobody else has."""
        return runs_folder() / f"{time.strftime('%Y%m%d-%H%M%S')}-{command}-{secrets.token_hex(2)}"


def mine() -> Mine:
    """This session's own."""
    return st.session_state.setdefault("mine", Mine())
