"""Run folders: all of a run's results or none, in one step, with a manifest by which a reader can tell.

Results are written into a hidden folder beside the target (`.NAME-xxxx.bayesalloc`), whose lock says that somebody is
at work (`.NAME-xxxx.bayesalloc.lock`). The manifest, with a hash of every file, is written last; then the folder takes
the target's name, or trades places with a folder that was there, whose other files come along. Where folders cannot
trade places (a mount point, the working directory, a system without such a call), files are moved one by one under a
manifest that says so, and the next run brings to an end what was begun. A training run's checkpoint is written in the
target itself, again and again, checks itself, and is none of the manifest's business.
"""

import ctypes
import errno
import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bayesalloc import limits
from bayesalloc.errors import InputError, NotWritten
from bayesalloc.provenance import hashed

MANIFEST = "manifest.json"
HIDDEN = ".bayesalloc"  # the end of a hidden folder's name
ROOM = 5_000_000  # bytes that must be free before a run begins
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
LOCKLESS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # of file systems without locks, where nothing is tidied up
_EXCHANGE, _HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux


class Folder:
    """The results of a run that is under way: files under `path`, until `keep` gives them their place.

    Args:
        target: the folder that the results are for.
        names: of the files that will be written, as far as they are known.

    Raises:
        InputError: where results could not be written there.
    """

    def __init__(self, target: Path, *names: str) -> None:
        self.target = target
        self.real = Path(os.path.realpath(target))
        if os.path.lexists(target) and not os.path.isdir(target):
            kind = "a link to nothing" if target.is_symlink() and not target.exists() else "a file"
            raise InputError(f"{target}: is {kind}; results go to a folder")
        for name in (MANIFEST, *names):
            if os.path.lexists(self.real / name) and not os.path.isfile(self.real / name):
                raise InputError(
                    f"{target}: holds '{name}', which is no file and would be written; give another folder"
                )
        self.made = [parent for parent in self.real.parents if not os.path.exists(parent)]
        self.token = secrets.token_hex(8)
        self.lock, self.begun = -1, ""
        try:
            self.real.parent.mkdir(parents=True, exist_ok=True)
            settle(self.real.parent)
            settle(self.real)
            self._begin(self.real.parent)
        except OSError as error:
            self.clear()
            raise InputError(f"{target}: cannot be written to: {error.strerror}") from None

    def _begin(self, home: Path) -> None:
        """The hidden folder, on the target's own file system."""
        try:
            self.lock, lock = _locked(home, self.real.name)
            self.path = lock.with_suffix("")
            self.path.mkdir()
            if self.real.exists():
                _reachable(self.path, self.real)
        except OSError:
            self.clear()
            if home == self.real or not self.real.exists():
                raise
            self._begin(self.real)
            return
        free = shutil.disk_usage(self.path).free
        if free < ROOM:
            self.clear()
            raise NotWritten(f"{self.target}: the disk is full: {free:,} bytes are left, and {ROOM:,} must be")

    def files(self, report: str = "", results: str = "", **others: str) -> dict[str, str]:
        """The files' final paths, by role."""
        named = {"report": report, "results": results, **others}
        return {role: str(self.target / name) for role, name in named.items() if name}

    def keep(self, command: str, origin: Mapping[str, Any]) -> None:
        """Write the manifest and give everything its place; without a command's name there is none.

        Args:
            command: the run's.
            origin: what it comes from, in types of JSON.
        """
        if command:
            hashes = {str(file.relative_to(self.path)): hashed(file) for file in _within(self.path)}
            manifest = {"run": self.token, "command": command, "complete": True, "files": hashes, **origin}
            _write(self.path / MANIFEST, json.dumps(manifest, indent=1))
        inside = self.path.parent == self.real
        self.begun = f"{self.token} {'.' if inside else self.real.name}"
        os.pwrite(self.lock, os.fsencode(self.begun), 0)
        if not self.real.exists():
            os.rename(self.path, self.real)
        elif not inside and not Path.cwd().is_relative_to(self.real) and _exchange(self.path, self.real):
            _bring_along(self.path, self.real)
        else:
            _move(self.path, self.real)
        self.made = []

    def clear(self) -> None:
        """Remove what is not kept: the hidden folder, its lock, and parents that were made for it."""
        if self.lock >= 0:
            with suppress(OSError):  # what cannot be brought to an end now is left to the next run
                _settle(self.path, self.begun)
                self.path.with_name(f"{self.path.name}.lock").unlink(missing_ok=True)
            os.close(self.lock)
            self.lock = -1
        for parent in self.made:
            with suppress(OSError):  # not empty, or not there
                parent.rmdir()


@contextmanager
def folder(
    target: Path, command: str, *names: str, origin: Callable[[], Mapping[str, Any]] | None = None
) -> Iterator[Folder]:
    """A run's folder: kept where all went well, cleared where not.

    Args:
        target: the folder that the results are for.
        command: the run's, for the manifest; "" for a folder without one.
        *names: of the files that will be written, as far as they are known.
        origin: what the run comes from, asked for at its end.

    Raises:
        InputError: where it could not be written to.
        NotWritten: where writing failed, as on a full disk.
    """
    made, done = Folder(target, *names), False
    try:
        yield made
        done = True
        made.keep(command, (origin or dict)())
    except OSError as error:
        if not done and error.errno not in FULL | {errno.EIO, errno.EROFS, errno.ESTALE}:
            raise
        reason = "the disk is full" if error.errno in FULL else f"writing failed ({error.strerror})"
        raise NotWritten(f"{target}: {reason}; no results were written") from None
    finally:
        made.clear()


def check(file: Path) -> None:
    """Refuse a file of a run folder that is not the one which its manifest means; where there is none, all is well.

    Raises:
        InputError: naming the file, where it was changed or a run was ended while its results were moved.
    """
    where = Path(os.path.realpath(file)).parent / MANIFEST
    manifest = manifest_of(where)
    if manifest is None:
        return
    if not manifest.get("complete"):
        raise InputError(f"{file}: stands in a folder where a run was ended while its results were moved; run it again")
    expected = manifest["files"].get(file.name)
    if expected is not None and file.is_file() and expected != hashed(file):
        raise InputError(f"{file}: is not what {where.name} beside it says: it was changed, or is another run's")


def settle(home: Path) -> None:
    """Bring to an end what runs left behind in a folder; what somebody holds stays.

    Files that are not a run's own, which were on their way into its target, arrive there.
    """
    for lock in home.glob(f".*{HIDDEN}.lock") if home.is_dir() else ():
        with suppress(OSError):  # another user's, or somebody was faster: no reason to refuse a run of ours
            handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
            try:
                if not _held(handle, lock):
                    _settle(lock.with_suffix(""), os.fsdecode(os.pread(handle, 1000, 0)))
                    lock.unlink(missing_ok=True)
            finally:
                os.close(handle)


def _settle(path: Path, begun: str) -> None:
    """One hidden folder: `begun` is empty, or the run's token and target where its results were on their way."""
    token, _, name = begun.partition(" ")
    manifest = manifest_of(path.parent / name / MANIFEST) if token else None
    if path.is_dir() and manifest is not None and manifest["run"] == token:
        (_bring_along if manifest.get("complete") else _move)(path, path.parent / name)
    shutil.rmtree(path, ignore_errors=True)


def _locked(home: Path, name: str) -> tuple[int, Path]:
    """A new lock file that we hold."""
    short = os.fsdecode(os.fsencode(name)[:100])
    while True:
        handle, made = tempfile.mkstemp(prefix=f".{short}-", suffix=f"{HIDDEN}.lock", dir=home)
        try:
            if not _held(handle, Path(made)):
                return handle, Path(made)
        except OSError as error:
            if error.errno not in LOCKLESS:
                raise
            return handle, Path(made)
        os.close(handle)  # a run that tidies up took it for a leftover


def _held(handle: int, lock: Path) -> bool:
    """Whether another process holds a lock, or has removed it; if not, we hold it now."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.stat(lock).st_ino != os.fstat(handle).st_ino
    except (BlockingIOError, FileNotFoundError):
        return True


def _reachable(new: Path, target: Path) -> None:
    """Raise where files could not be moved from one folder into another: asks to move one that isn't there."""
    if not os.access(target, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    with suppress(FileNotFoundError):  # and not OSError of another kind: other file systems, read-only ones
        os.rename(new / f"{new.name}.none", target / f"{new.name}.none")


def _exchange(one: Path, other: Path) -> bool:
    """Two folders trade places in one step; False where the system or the file system cannot."""
    shutil.copymode(other, one)
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return rename is not None and rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0


def _bring_along(old: Path, target: Path) -> None:
    """What the new run did not replace of the folder that was there."""
    for entry in old.iterdir():
        if not os.path.lexists(target / entry.name):
            os.rename(entry, target / entry.name)


def _move(new: Path, target: Path) -> None:
    """One file after another; the manifest says so meanwhile."""
    whole, files = new / MANIFEST, sorted(new.iterdir())
    if whole in files:
        files = [*(file for file in files if file != whole), whole]
        _write(new / f".{MANIFEST}", json.dumps(json.loads(whole.read_text()) | {"complete": False}))
        os.replace(new / f".{MANIFEST}", target / MANIFEST)
    for file in files:
        os.replace(file, target / file.name)


def manifest_of(path: Path) -> dict | None:
    """A folder's manifest; None where there is none of ours."""
    try:
        found = json.loads(limits.read_text(path, limits.TEXT_BYTES, "a manifest"))
    except (InputError, ValueError, RecursionError):
        return None
    ours = isinstance(found, dict) and isinstance(found.get("files"), dict) and "run" in found
    return found if ours else None


def _within(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
