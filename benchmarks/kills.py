"""Kills every command again and again, and looks at what is left: all of a run or none, nothing mixed, nothing behind.

    python benchmarks/kills.py --times 50

Every second kill comes at a random moment of the run, the others while results are being written. After each, the
target must be absent, whole by its manifest, or a training run that can go on; every process of the command must be
gone; and the next run must remove what was left. Prints a table: command, kills, and how often each was found.
"""

import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bayesalloc import runs
from bayesalloc.agents.training import CHECKPOINT

YEARS = "year,forest_health,erosion,mechanism\n" + "".join(f"{2001 + i},0.5,0.6,cost_sharing\n" for i in range(4))
PROBLEM = {
    "agents": 3, "edges": [[0, 1, 1.0], [1, 2, 2.5]], "resource_types": 2, "resources": [[1, 1], [0, 2], [3, 3]],
    "tasks": [{"agent": 0, "utility": 9, "requires": [2, 2]}], "transfer_cost": {"per_item": 1.0, "package_size": 1},
}  # fmt: skip
SETTING = "agents = 3\nnetwork = 'random'\ntasks = [1, 2]\nprovider_stock = [3, 5]\n"
COMMANDS = {
    "compare": "compare watershed --draws 4 --horizon 3",
    "fit": "fit watershed years.csv --method svi --draws 40 --warmup 20 --chains 1",
    "counterfactual": "counterfactual watershed years.csv --posterior ../given/posterior.nc --do mechanism=no_agreement"
    " --draws 4",
    "allocate": "allocate problem.json --method opt",
    "train": "train srap --method cen-rl --preset thesis --setting setting.toml --episodes 200",
    "reproduce": "reproduce srap --experiments 7.5.1 --graphs 2",
    "init": "init",
}
PATIENCE = 20.0  # seconds for the workers of a command that was killed to end


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=4, help="kills of each command")
    parser.add_argument("--only", nargs="*", choices=list(COMMANDS), default=list(COMMANDS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "work"
        place.mkdir()
        (place / "years.csv").write_text(YEARS)
        (place / "problem.json").write_text(json.dumps(PROBLEM))
        (place / "setting.toml").write_text(SETTING)
        finish(start(place, COMMANDS["fit"], place.parent / "given"))
        for command in options.only:
            print(f"{command:15}", dict(killed(place, command, options.times, chance)), flush=True)


def killed(place: Path, command: str, times: int, chance: random.Random) -> collections.Counter[str]:
    """How often what was found, after so many kills of a command."""
    target, found = place / "results", collections.Counter[str]()
    shutil.rmtree(target, ignore_errors=True)
    begun = time.monotonic()
    finish(start(place, COMMANDS[command], target))
    length = time.monotonic() - begun
    for i in range(times):
        if i % 4 == 2 or command == "init" or (target / CHECKPOINT).exists():  # else over an earlier run's results
            shutil.rmtree(target, ignore_errors=True)
        process = start(place, f"{COMMANDS[command]}{'' if command == 'init' else f' --seed {i}'}", target)
        if i % 2:
            wait(process, chance.uniform(0, 0.05), lambda: writing(place))
        else:
            wait(process, chance.uniform(0, 1.1 * length))
        process.kill()
        process.wait()
        found[state(target, command)] += 1
        gone(process.pid)
        try:
            with runs.folder(place / "next", "next"):
                raise InterruptedError
        except InterruptedError:
            left = [path.name for path in place.iterdir() if runs.HIDDEN in path.name]
            assert not left, f"{command}: the next run left {left}"
    return found


def start(place: Path, line: str, target: Path) -> subprocess.Popen[bytes]:
    """A command in a process group of its own."""
    out = [str(target)] if line.startswith("init") else ["--out", str(target)]
    command = [sys.executable, "-m", "bayesalloc.cli", *line.split(), *out, "--quiet"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=place, start_new_session=True, **quiet)


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a command that must succeed."""
    code = process.wait()
    assert code == 0, f"{process.args} ended with {code}"


def wait(process: subprocess.Popen[bytes], seconds: float, until: Callable[[], bool] | None = None) -> None:
    """Until something is so or the process is over, and then some seconds."""
    while until is not None and not until() and process.poll() is None:
        time.sleep(0.001)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def writing(place: Path) -> bool:
    """Whether a run's results are being written."""
    return any(path.is_dir() and any(path.iterdir()) for path in place.glob(f".*{runs.HIDDEN}"))


def state(target: Path, command: str) -> str:
    """What is found of a run; refused where it is a mixture or a part."""
    if not target.exists():
        return "absent"
    names = {path.name for path in target.iterdir()}
    if command == "init":
        assert names == {"README.md", "model.py", "my_contract.toml", "record.csv"}, names
        return "whole"
    if names == {CHECKPOINT}:
        return "can go on"
    manifest = json.loads((target / runs.MANIFEST).read_text())
    assert manifest["complete"] and manifest["command"] == command, manifest
    for name in manifest["files"]:
        runs.check(target / name)
    assert names - {CHECKPOINT} == {*manifest["files"], runs.MANIFEST}, names
    return "whole"


def gone(group: int) -> None:
    """Waits until no process of a group is left."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    raise AssertionError("workers outlived their parent")


if __name__ == "__main__":
    main()
