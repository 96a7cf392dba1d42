"""What one user has made: nobody else sees it, and files of it stand in a folder of its own."""

import os
import secrets
import time
from collections.abc import Mapping
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
        offered: those of them that were put into the comparison, whatever became of them.
        files: kind -> name as its user calls it -> path.
        taken: uploads that were looked at: the server's name for each -> why it was refused, or "".
        jobs: in the order in which they were started.
    """

    home: Path = field(default_factory=_home)
    mechanisms: dict[str, str] = field(default_factory=dict)
    offered: set[str] = field(default_factory=set)
    files: dict[str, dict[str, Path]] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)

    def saved(self, mechanisms: Mapping[str, str]) -> dict[str, str]:
        """Mechanisms as files, which jobs read: name -> path."""
        self.home.mkdir(parents=True, exist_ok=True)
        paths = {name: self.home / f"{name}.toml" for name in mechanisms}
        for name, path in paths.items():
            path.write_text(mechanisms[name], encoding="utf-8")
        return {name: str(path) for name, path in paths.items()}

    def new_run(self, command: str) -> Path:
        """A folder for the results of a job, which nobody else has."""
        return runs_folder() / f"{time.strftime('%Y%m%d-%H%M%S')}-{command}-{secrets.token_hex(2)}"


def mine() -> Mine:
    """This session's own."""
    if "mine" not in st.session_state:
        st.session_state["mine"] = Mine()
    return st.session_state["mine"]
