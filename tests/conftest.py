"""Shared fixtures. Shapes and types of bayesalloc's annotated functions are checked while the tests run."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("JAX_NUM_CPU_DEVICES", "2")
from jaxtyping import install_import_hook

install_import_hook("bayesalloc", "beartype.beartype")

import jax
import numpy as np
import pytest
import xarray as xr
from numpyro import handlers

import bayesalloc as ba

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


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
    return ba.fit(watershed, simulated_record, jax.random.key(1), warmup=300, draws=150, chains=2)


@pytest.fixture
def compilations() -> Callable[[], contextlib.AbstractContextManager[list[float]]]:
    """A context with a list that grows by one entry for each program that JAX compiles in it."""

    @contextlib.contextmanager
    def counted() -> Iterator[list[float]]:
        found = []

        def listen(event: str, seconds: float, **_: object) -> None:
            if event == "/jax/core/compile/backend_compile_duration":
                found.append(seconds)

        jax.monitoring.register_event_duration_secs_listener(listen)
        yield found
        jax.monitoring.unregister_event_duration_listener(listen)

    return counted
