"""Shared fixtures. Shapes and types of bayesalloc's annotated functions are checked while the tests run."""

import atexit
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("JAX_NUM_CPU_DEVICES", "2")

# Nearly all of the time is the compiler's. It needs half of it for programs that take three times as long, which only
# those notice that run for many seconds: see `fully_optimised`.
QUICK = "JAX_DISABLE_MOST_OPTIMIZATIONS"
os.environ.setdefault(QUICK, "1")

# Many tests, the workers, and the processes that they start compile the same programs. What one wrote all read, and an
# entry that another is still writing JAX takes for a broken one: it says so, and compiles the program itself.
CACHE = "JAX_COMPILATION_CACHE_DIR"
if CACHE not in os.environ:
    os.environ[CACHE] = tempfile.mkdtemp(prefix="bayesalloc-tests-")
    atexit.register(shutil.rmtree, os.environ[CACHE])
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("PYTHONWARNINGS", "ignore:Error reading persistent compilation cache entry")

from jaxtyping import install_import_hook

install_import_hook("bayesalloc", "beartype.beartype")

import jax
import numpy as np
import pytest
import xarray as xr
from numpyro import handlers

import bayesalloc as ba
from bayesalloc import programs, simulate
from bayesalloc.cli.main import main

# JAX's own form of its random numbers: the same bits, as `test_threefry` shows, from programs that are compiled in 65
# to 90 % of the time. Processes that tests start have the form of the simulator.
simulate.unrolled = jax.numpy.asarray

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@contextmanager
def fully_optimised() -> Iterator[None]:
    """What is compiled here, or in processes started here, is compiled as it is for users."""
    before = os.environ[QUICK]
    os.environ[QUICK] = "0"
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        yield
    finally:
        os.environ[QUICK] = before
        jax.config.update("jax_disable_most_optimizations", before == "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First the tests of the fit that takes longest, so that one worker makes it: each begins with half of the list."""
    items.sort(key=lambda item: "posterior" not in getattr(item, "fixturenames", ()))


# NumPyro mixes numbers of different types itself, in NUTS and in some of its distributions: not with these.
STRICT = (
    "allocators cen_rl darap decide dec_rl dqn experiments gymnasium instances networks optimum policies ppo"
    " prices sequential simulate srap threefry training workers"
)


@pytest.fixture(scope="module", autouse=True)
def strict(request: pytest.FixtureRequest) -> Iterator[None]:
    """Numbers of one type are never turned into another silently, such as whole numbers into floats."""
    promotion = "strict" if request.module.__name__.removeprefix("tests.test_") in STRICT.split() else "standard"
    with jax.numpy_dtype_promotion(promotion):
        yield


MAPS, MOST_MAPS = Path("/proc/self/maps"), 25_000  # Linux allows a process 65,530 of them, and each program takes some


@pytest.fixture(scope="module", autouse=True)
def room_for_programs() -> Iterator[None]:
    """Compiled programs are let go of before there are so many that the process is ended."""
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        programs.forget()
        gc.collect()


@pytest.fixture(scope="session")
def watershed() -> ba.Environment:
    return ba.load_model("watershed")


@pytest.fixture(scope="session")
def simulated_record(tmp_path_factory: pytest.TempPathFactory, watershed: ba.Environment) -> Path:
    """Twelve years under cost sharing, with two years without forest health and one year missing altogether."""
    years = 12
    model = ba.as_model(watershed, watershed.arms(["cost_sharing"]), years)
    trace = handlers.trace(
        ba.seed_by_name(lambda: model(mechanism=np.zeros(years, int)), jax.random.key(5))
    ).get_trace()
    health, erosion = (np.asarray(trace[f"{name}_observed"]["value"]) for name in ("forest_health", "erosion"))
    lines = ["year,forest_health,erosion,mechanism,note"]
    for year in range(years):
        if year != 7:
            shown = "" if year in (3, 4) else f"{health[year]:.4f}"
            lines.append(f"{2001 + year},{shown},{erosion[year]:.4f},cost_sharing,x")
    path = tmp_path_factory.mktemp("record") / "record.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def posterior(watershed: ba.Environment, simulated_record: Path) -> xr.DataTree:
    with fully_optimised():
        return ba.fit(watershed, simulated_record, jax.random.key(1), warmup=300, draws=150, chains=2)


@pytest.fixture
def compilations() -> Callable[[], AbstractContextManager[list[float]]]:
    """A context with a list that grows by one entry for each program that JAX compiles in it."""

    @contextmanager
    def counted() -> Iterator[list[float]]:
        found = []

        def listen(event: str, seconds: float, **_: object) -> None:
            if event == "/jax/core/compile/backend_compile_duration":
                found.append(seconds)

        jax.monitoring.register_event_duration_secs_listener(listen)
        yield found
        jax.monitoring.unregister_event_duration_listener(listen)

    return counted


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `bayesalloc ...` in this process, in an empty folder; an exception that escapes fails the test."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> Ran:
        monkeypatch.setattr(sys, "argv", ["bayesalloc", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return call
