"""Run folders: all of a run or none, in one step; what a killed run leaves is told from results, and removed."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import bayesalloc as ba
from bayesalloc import runs


def run(target: Path, **files: str) -> None:
    with runs.folder(target, "compare", *files) as folder:
        for name, text in files.items():
            (folder.path / name).write_text(text)


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def whole(target: Path) -> dict[str, str]:
    """The files that a folder's manifest means, each checked."""
    manifest = json.loads((target / runs.MANIFEST).read_text())
    assert manifest["complete"]
    for name in manifest["files"]:
        runs.check(target / name)
    return {name: (target / name).read_text() for name in manifest["files"]}


# How the folder may stand there: nothing, empty, another run's, the working directory (which cannot trade places).
@pytest.mark.parametrize("before", ["absent", "deep", "long", "empty", "run", "here", "link", "mount"])
def test_a_run_takes_its_place_and_leaves_other_files_alone(tmp_path, monkeypatch, before):
    target, kept = tmp_path / "results", set[str]()
    if before == "deep":
        target = tmp_path / "a" / "b" / "results"
    elif before == "long":
        target = tmp_path / ("é" * 120)
    elif before != "absent":
        real = tmp_path / "elsewhere" if before == "link" else target
        real.mkdir()
        if before == "link":
            target.symlink_to(real)
        if before == "mount":
            mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", target], capture_output=True)
            if mounted.returncode:
                pytest.skip("mounting needs the rights of root")
        if before != "empty":
            run(target, report="old", other="old too")
            (target / "mine").mkdir()
            (target / "mine" / "notes.txt").write_text("mine")
            kept = {"mine", "mine/notes.txt", "other"}
        if before == "here":
            monkeypatch.chdir(target)
    try:
        run(target, report="new", results="numbers")
        assert whole(target) == {"report": "new", "results": "numbers"}
        assert set(everything(target)) == {"manifest.json", "report", "results"} | kept
        assert not [name for name in everything(tmp_path) if runs.HIDDEN in name]
    finally:
        if before == "mount":
            subprocess.run(["umount", target], check=True)


def test_a_run_that_fails_leaves_what_was_there(tmp_path):
    run(tmp_path / "results", report="old")
    before = {name: (tmp_path / name).read_text() for name in everything(tmp_path) if (tmp_path / name).is_file()}
    with pytest.raises(ZeroDivisionError), runs.folder(tmp_path / "results", "compare") as folder:
        (folder.path / "report").write_text("half")
        raise ZeroDivisionError
    assert {name: (tmp_path / name).read_text() for name in everything(tmp_path) if name != "results"} == before
    with pytest.raises(ZeroDivisionError), runs.folder(tmp_path / "a" / "b", "compare"):
        raise ZeroDivisionError
    assert not (tmp_path / "a").exists()


def _dangling(target: Path) -> None:
    target.symlink_to("nowhere")


REFUSED = {
    "a file": (lambda target: target.write_text("mine"), "is a file"),
    "a dangling link": (_dangling, "a link to nothing"),
    "a device": (lambda target: target.symlink_to("/dev/null"), "is a file"),
    "a folder in a file's place": (lambda target: (target / "report").mkdir(parents=True), "holds 'report'"),
    "a folder in the manifest's place": (lambda target: (target / runs.MANIFEST).mkdir(parents=True), "manifest.json"),
    "a link to nothing in a file's place": (
        lambda target: (target.mkdir(), (target / "report").symlink_to("nowhere")),
        "holds 'report'",
    ),
    "a name too long": (lambda target: None, "cannot be written to: File name too long"),
    "a file on the way": (lambda target: target.parent.write_text("mine"), "cannot be written to"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_target_that_cannot_be_written_is_refused_before_the_work(tmp_path, case):
    name = {"a file on the way": "way/results", "a name too long": "a" * 300}.get(case, "results")
    target = tmp_path / name
    make, said = REFUSED[case]
    make(target)
    before = everything(tmp_path)
    with pytest.raises(ba.InputError, match=said), runs.folder(target, "compare", "report"):
        pytest.fail("the work began")
    assert everything(tmp_path) == before


def test_a_read_only_place_is_refused_before_the_work(tmp_path):
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", tmp_path], capture_output=True)
    if done.returncode:
        pytest.skip("mounting needs the rights of root")
    try:
        for target in (tmp_path, tmp_path / "results"):
            with pytest.raises(ba.InputError, match="Read-only"), runs.folder(target, "compare"):
                pytest.fail("the work began")
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_full_disk_is_found_before_the_work_or_said_in_a_sentence(tmp_path, monkeypatch):
    run(tmp_path / "results", report="old")
    for number, said in ((errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "full"), (errno.EIO, "writing failed")):
        with pytest.raises(runs.NotWritten, match=said), runs.folder(tmp_path / "results", "compare") as folder:
            (folder.path / "report").write_text("half")
            raise OSError(number, os.strerror(number))
    monkeypatch.setattr(runs, "ROOM", 1 << 60)
    with pytest.raises(runs.NotWritten, match="bytes are left"), runs.folder(tmp_path / "results", "compare"):
        pytest.fail("the work began")
    assert everything(tmp_path) == ["results", "results/manifest.json", "results/report"]
    assert whole(tmp_path / "results") == {"report": "old"}


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from bayesalloc import runs

    at, target = sys.argv[1], Path(sys.argv[2])
    calls = 0

    def killing(function):
        def call(*arguments, **options):
            global calls
            calls += begun
            if begun and calls > int(at):
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)
        return call

    begun = 0
    for name in ("rename", "replace", "pwrite", "unlink", "mkdir", "rmdir", "close"):
        setattr(os, name, killing(getattr(os, name)))
    runs._exchange = killing(runs._exchange)
    begun = 1
    with runs.folder(target, "compare", "report", "results") as folder:
        (folder.path / "report").write_text("new")
        (folder.path / "results").write_text("new")
"""


@pytest.mark.parametrize("places", ["traded", "moved"])
def test_a_kill_at_any_step_mixes_nothing_and_the_next_run_tidies_up(tmp_path, monkeypatch, places):
    """At each call that changes a folder in turn: the old run, the new one, or a mixture that says that it is one."""
    script = textwrap.dedent(KILLED)
    if places == "moved":
        script = script.replace("runs._exchange = killing(runs._exchange)", "runs._exchange = lambda *_: False")
    seen, survived = set(), False
    for at in range(40):
        target = tmp_path / f"{at}" / "results"
        run(target, report="old", results="old")
        (target / "notes.txt").write_text("mine")
        done = subprocess.run([sys.executable, "-c", script, str(at), str(target)], capture_output=True, text=True)
        survived = done.returncode == 0
        assert survived or done.returncode == -signal.SIGKILL, done.stderr
        found = {name: (target / name).read_text() for name in ("report", "results")}
        manifest = json.loads((target / runs.MANIFEST).read_text())
        if manifest["complete"]:
            assert len(set(whole(target).values())) == 1
            seen.add(found["report"])
        else:
            seen.add("told")
            for name in found:
                with pytest.raises(ba.InputError, match="was ended while its results were moved"):
                    runs.check(target / name)
        with pytest.raises(ZeroDivisionError), runs.folder(target.parent / "another", "compare"):  # only tidies up
            raise ZeroDivisionError
        assert everything(target.parent) == [
            "results", *(f"results/{name}" for name in ("manifest.json", "notes.txt", "report", "results"))
        ]  # fmt: skip
        assert (target / "notes.txt").read_text() == "mine"
        assert len(set(whole(target).values())) == 1
        if survived:
            break
    assert survived and {"old", "new"} <= seen and ("told" in seen) is (places == "moved")


def test_files_that_could_not_be_brought_along_are_not_lost(tmp_path, monkeypatch):
    run(tmp_path / "results", report="old")
    (tmp_path / "results" / "notes.txt").write_text("mine")

    def fail(old: Path, target: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(runs, "_bring_along", fail)
        with pytest.raises(runs.NotWritten, match="writing failed"):
            run(tmp_path / "results", report="new")
    assert whole(tmp_path / "results") == {"report": "new"}
    run(tmp_path / "another", report="new")
    assert (tmp_path / "results" / "notes.txt").read_text() == "mine"
    assert not [name for name in everything(tmp_path) if runs.HIDDEN in name]


def test_what_another_run_holds_is_left_alone(tmp_path):
    with runs.folder(tmp_path / "results", "compare") as first:
        (first.path / "report").write_text("first")
        run(tmp_path / "results", report="second")
        assert (first.path / "report").read_text() == "first"
        assert whole(tmp_path / "results") == {"report": "second"}
    assert whole(tmp_path / "results") == {"report": "first"}


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    (tmp_path / f".other-12345678{runs.HIDDEN}").mkdir()
    (tmp_path / f".other-12345678{runs.HIDDEN}.lock").touch()
    monkeypatch.setattr(runs.fcntl, "flock", refuse)
    run(tmp_path / "results", report="new")
    assert whole(tmp_path / "results") == {"report": "new"}
    assert len([name for name in everything(tmp_path) if runs.HIDDEN in name]) == 2  # perhaps somebody is at work


def test_a_file_that_was_changed_is_refused_and_one_without_a_manifest_is_not(tmp_path):
    run(tmp_path / "results", report="as it was")
    runs.check(tmp_path / "results" / "report")
    (tmp_path / "results" / "notes").write_text("not the run's")
    runs.check(tmp_path / "results" / "notes")
    (tmp_path / "results" / "report").write_text("as it is")
    with pytest.raises(ba.InputError, match=r"report: is not what manifest\.json beside it says"):
        runs.check(tmp_path / "results" / "report")
    for text in ("{}", "[]", "not JSON", "[" * 100_000, '{"files": 3, "run": 1}'):
        (tmp_path / "results" / "manifest.json").write_text(text)
        runs.check(tmp_path / "results" / "report")
