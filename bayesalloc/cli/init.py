"""`bayesalloc init`: a project to start from."""

import shutil
from pathlib import Path

from bayesalloc import runs
from bayesalloc.cli.options import DEFAULT, Common
from bayesalloc.cli.session import refusing, show
from bayesalloc.errors import InputError


def init(folder: Path, *, common: Common = DEFAULT) -> None:
    """Write a project to start from: a mechanism, a model, a record and the commands to run.

    Args:
        folder: A folder that does not exist yet, or is empty.
        common: What every command takes.
    """
    with refusing():
        from bayesalloc import library

        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder}: is a file or not empty; give a new folder")
        with runs.folder(folder, "") as made:
            for source in sorted((Path(__file__).parents[1] / "template").iterdir()):
                if source.is_file():
                    shutil.copyfile(source, made.path / source.name)
            contract = library.content("mechanisms") / "performance_contract.toml"
            shutil.copyfile(contract, made.path / "my_contract.toml")
        written = sorted(path.name for path in folder.iterdir())
        show(common, f"{folder}: wrote {', '.join(written)}; start with {folder / 'README.md'}", {"files": written})
