"""What is measured, cell by cell: allocators in a batch of worlds of a setting, kept as soon as it is finished.

A cell is kept under a hash of all that it comes from: the world in every field, how many rounds and worlds, the seed,
what the allocators are given, and the code of the world and of the allocators, comments and docstrings aside. So what
was measured by another version stays where it is, and is never mixed in.
"""

import dataclasses
import functools
import hashlib
import importlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from tqdm import tqdm

from bayesalloc.claims.altruism import regression
from bayesalloc.claims.altruism.published import Setting
from bayesalloc.claims.versions import code_of
from bayesalloc.environment import Environment, stack
from bayesalloc.errors import InputError, quoted
from bayesalloc.impact import metrics
from bayesalloc.impact.rules import RULES
from bayesalloc.replacing import replace
from bayesalloc.simulate import hold, rollout
from bayesalloc.stepping import Deciding, Hosted, played

BATCH = 4  # worlds that an allocator is measured on at once
REGISTRY = "bayesalloc.models.funding.allocators"
FOLLOWED = tuple(f"bayesalloc.{room}." for room in ("models", "impact", "agents"))  # a change is another version
DIMS = {
    "impact": ("round",),
    "share_of_oracle": ("round",),
    "turnover": ("round",),
    "variance": (),
    "slope": ("regression",),
}
REGRESSED = "bo"  # of whose rounds impact is regressed on allocation


class Effort(NamedTuple):
    """How much is measured.

    Attributes:
        rounds: of funding.
        worlds: in each setting; None: as many as it says.
        keep: folder of finished cells; None: they are not kept.
        world: fields of every world, beside those of the setting.
    """

    rounds: int
    worlds: int | None = None
    keep: Path | None = None
    world: Mapping[str, Any] = {}


class Cell(NamedTuple):
    """Allocators in a batch of worlds.

    Attributes:
        setting: its name.
        world: the fields of its `World`.
        names: of the allocators, which are simulated together.
        rounds: of funding.
        seed: of the run.
        batch: number of the batch, from 0; its worlds have their random numbers from the seed and this.
        worlds: how many.
        code: hash of what the world and the allocators do, see `versions`.
    """

    setting: str
    world: Mapping[str, Any]
    names: tuple[str, ...]
    rounds: int
    seed: int
    batch: int
    worlds: int
    code: str


class Kept(NamedTuple):
    """What is looked at of a round's outcome."""

    impact: Any
    share_of_oracle: Any
    turnover: Any
    share: Any


def there(model: str) -> list[str]:
    """Names of all allocators that can be measured in a model: rules and oracles first."""
    module = importlib.import_module(f"bayesalloc.models.{model}")
    return [*RULES, *module.ORACLES, *importlib.import_module(REGISTRY).ALLOCATORS]


def run(
    model: str,
    settings: Sequence[tuple[Setting, Sequence[str]]],
    effort: Effort,
    seed: int = 0,
    *,
    progress: bool = False,
) -> dict[str, xr.Dataset]:
    """Allocators in the same worlds of each setting.

    Args:
        model: name of the environment's module.
        settings: which, each with the names of its allocators.
        effort: how much is measured.
        seed: seed of the random numbers.
        progress: whether to show progress on stderr.

    Returns:
        Setting -> dataset of `impact`, `share_of_oracle` and `turnover` (allocator, world, round), `variance`
        (allocator, world; see `impact.metrics`), and `slope` (allocator, world, regression; see `regression`), which is
        NaN but for REGRESSED.
    """
    module = importlib.import_module(f"bayesalloc.models.{model}")
    versions: dict[tuple[str, ...], str] = {}  # as it is now: files may change while a run goes on
    cells = []
    for setting, names in settings:
        fixed = tuple(name for name in names if name in (*RULES, *module.ORACLES))
        groups = [*([fixed] if fixed else []), *((name,) for name in names if name not in fixed)]
        for group in groups:
            if group not in versions:
                versions[group] = code_of(modules_of(module.__name__, module.environment.arms(group)), FOLLOWED)
        world = dataclasses.asdict(module.World(**{**setting.world, **effort.world}))
        worlds = setting.worlds if effort.worlds is None else effort.worlds
        for batch, first in enumerate(range(0, worlds, BATCH)):
            size = min(BATCH, worlds - first)
            cells += [
                Cell(setting.name, world, group, effort.rounds, seed, batch, size, versions[group]) for group in groups
            ]
    parts: dict[str, dict[int, list[xr.Dataset]]] = {}
    for cell in tqdm(cells, "cells", disable=not progress, leave=False):
        found = _kept(cell, module, effort.keep)
        data = xr.Dataset(
            {name: (("world", "allocator", *DIMS[name]), values) for name, values in found.items()},
            {
                "allocator": [*cell.names],
                "world": cell.batch * BATCH + np.arange(cell.worlds),
                "regression": [*regression.SLOPES],
            },
        )
        parts.setdefault(cell.setting, {}).setdefault(cell.batch, []).append(data)
    return {
        setting: xr.concat([xr.concat(part, "allocator") for part in batches.values()], "world")
        for setting, batches in parts.items()
    }


def _kept(cell: Cell, module: Any, folder: Path | None) -> dict[str, np.ndarray]:
    """What the folder has of a cell; else what is measured, which is put there."""
    env = _environment(module.consortium, module.World(**cell.world))
    arms = env.arms(cell.names)
    if folder is None:
        return measured(cell, env, arms, module.NEVER)
    text = json.dumps(description(cell, arms), sort_keys=True)
    name = "-".join([cell.setting, "rules" if cell.names[0] in RULES else cell.names[0], str(cell.batch)])
    digest = hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
    path = folder / f"{name}-{digest}.npz".replace(" ", "_")
    if path.exists():
        return _read(path, text)
    found = measured(cell, env, arms, module.NEVER)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, description=np.array(text), **found)  # pyright: ignore[reportArgumentType] its keywords
    replace(path, [buffer.getbuffer()])
    return found


def _read(path: Path, text: str) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            if str(file["description"]) == text:
                return {name: file[name] for name in DIMS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: is not a whole cell; remove it, and it is measured again: {quoted(error)}") from None
    raise InputError(f"{path}: holds another cell than its name says; remove it, and it is measured again")


def description(cell: Cell, arms: Mapping[str, Any]) -> dict[str, Any]:
    """All that a cell comes from, in types of JSON."""
    given = hashlib.blake2b(digest_size=10)
    for arm in arms.values():
        for leaf in jax.tree.leaves(arm.given) if isinstance(arm, Deciding) else ():
            given.update(repr((np.shape(leaf), np.asarray(leaf).tolist())).encode())
    return {**cell._asdict(), "given": given.hexdigest()}


def modules_of(world: str, arms: Mapping[str, Any]) -> frozenset[str]:
    """The modules in which a world and allocators are written."""
    policies = [arm.policy for arm in arms.values() if isinstance(arm, Deciding)]
    return frozenset({world, *(getattr(policy, "act", policy).__module__ for policy in policies)})


@functools.lru_cache(1)
def _environment(consortium: Callable[[Any], Environment], world: Any) -> Environment:
    """The same environment as long as the world is the same, so that its programs are compiled once."""
    return consortium(world)


def measured(cell: Cell, env: Environment, arms: Mapping[str, Any], never: int) -> dict[str, np.ndarray]:
    """Outcomes of the allocators of a cell, each with axes world and allocator first; see `DIMS`.

    Args:
        cell: which.
        env: its environment.
        arms: its allocators.
        never: the round in which a report arrives that there is not.
    """
    key = jax.random.fold_in(jax.random.key(cell.seed), cell.batch)
    first = arms[cell.names[0]]
    size: dict[str, Any] = {"replicates": cell.worlds, "horizon": cell.rounds}
    slopes = np.full((cell.worlds, len(cell.names), len(regression.SLOPES)), np.nan)
    if not isinstance(first, Deciding):
        assert env.alike is not None
        found = rollout(env, hold, key, arms=stack(env.alike([*arms.values()])), collect=_looked_at, **size)
    elif isinstance(first.policy, Hosted):
        found = played(env, first.policy, key, **size)
        if cell.names == (REGRESSED,):
            slopes[:, 0] = regression.slopes(env, key, found, found.arrival < never, cell.world["eta"])
        found = jax.tree.map(lambda leaf: leaf[:, None], found)
    else:
        given = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], first.given)
        found = rollout(env, first.policy, key, arms=given, collect=_looked_at, **size)
    variance = jax.vmap(jax.vmap(metrics.allocation_variance))(jnp.asarray(found.share))
    series = {name: np.asarray(getattr(found, name)) for name in DIMS if "round" in DIMS[name]}
    return {**series, "variance": np.asarray(variance), "slope": slopes}


def _looked_at(outcomes: Any) -> Kept:
    return Kept(*(getattr(outcomes, name) for name in Kept._fields))
