"""`bayesalloc init`: a project to start from."""

import shutil
from pathlib import Path
from typing import Literal

from bayesalloc import runs
from bayesalloc.cli.options import DEFAULT, Common
from bayesalloc.cli.session import refusing, show
from bayesalloc.errors import InputError

TEMPLATE = Path(__file__).parents[1] / "template"
CONTRACT = "performance_contract.toml"


def init(
    folder: Path,
    *,
    kind: Literal["start", "mechanism", "model", "environment", "projects", "books"] = "start",
    common: Common = DEFAULT,
) -> None:
    """Write a project to start from: its files, and the commands to run in README.md.

    Args:
        folder: A folder that does not exist yet, or is empty.
        kind: A mechanism of the watershed, a plain NumPyro model with its record, an environment with its record, a
            funder's projects with reports, or books with what is known beside them; start: a mechanism and a model.
        common: What every command takes.
    """
    with refusing():
        from bayesalloc import library

        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder}: is a file or not empty; give a new folder")
        parts = [TEMPLATE / "model", TEMPLATE] if kind == "start" else [TEMPLATE / kind]
        with runs.folder(folder, "") as made:
            for source in (source for part in parts for source in sorted(part.iterdir())):
                if source.is_file():
                    shutil.copyfile(source, made.path / source.name)
            if kind in ("start", "mechanism"):
                shutil.copyfile(library.content("mechanisms") / CONTRACT, made.path / "my_contract.toml")
        written = sorted(path.name for path in folder.iterdir())
        said = f"{folder}: wrote {', '.join(written)} (kind: {kind}); start with {folder / 'README.md'}"
        show(common, said, {"kind": kind, "files": written})
