"""Published experiments on the social resource allocation problem: the settings are data, measured here.

All methods allocate the same instances, so that they can be contrasted in pairs. Each instance is measured in up to
three ways (MEASURES), because what the published figures charge depends on the method.
"""

import dataclasses
import functools
import itertools
import multiprocessing
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import xarray as xr
from numpyro import handlers
from tqdm import tqdm

from bayesalloc.allocators import ALLOCATORS, LEARNED, Problem, evaluate, learned, solve
from bayesalloc.allocators.darap import THESIS, Darap, dec_grd
from bayesalloc.allocators.evaluate import Allocation
from bayesalloc.allocators.instances import Network, Setting, arrivals, draw_network
from bayesalloc.allocators.learned import per_graph
from bayesalloc.allocators.problem import AnyArray
from bayesalloc.claims.srap.checks import Claim, Ours
from bayesalloc.errors import InputError, listed
from bayesalloc.library import content
from bayesalloc.workers import follow_parent

MEASURES = {
    "published": "published package size; a negotiation pays what its confirmations charge hop by hop",
    "owner": "published package size; every method pays by the shortest path from the true owner",
    "per_item": "package size 1, so that the cost is linear; by the shortest path from the true owner",
}
# Ours -> the shipped policy that acts, or whose negotiation is used with greedy answers (dec-grd+).
OURS = {"cen-rl+": "cen-rl", "dec-grd+": "dec-rl", "dec-rl+": "dec-rl"}
THERE = {*ALLOCATORS, *OURS}


class Experiment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published experiment; models/published/srap.toml explains the fields."""

    id: str
    title: str
    sweep: str
    values: list[int]
    setting: dict[str, Any]
    settings: list[dict[str, Any]]
    networks: list[Network]
    methods: list[str]
    per_item: bool
    optimum: bool
    max_quantity: int
    claims: list[Claim]
    episodes: int = 1

    def at(self, place: int, network: Network) -> Setting:
        """The setting of one sweep value in one kind of network.

        A sweep over the types has as many of them at every value, of which tasks use the first ones: one network can
        then be trained for the whole sweep, as published, and allocators are compiled once.
        """
        fields = self.setting | self.settings[place]
        lists: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
        }
        setting = Setting(network=network, **lists)
        most = max((self.setting | each).get("types", setting.types) for each in self.settings)
        return setting if most == setting.types else dataclasses.replace(setting, types=most, used=setting.types)


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All experiments, and the probability of the intervals that decide."""

    interval: float
    experiments: list[Experiment]
    ours: list[Ours]

    def only(self, names: Sequence[str] | None) -> "Published":
        """The experiments of these names, and what we claim about them; all for None.

        Raises:
            InputError: for an experiment that is not there.
        """
        if names is None:
            return self
        there = [each.id for each in self.experiments]
        strange = set(names) - set(there)
        if strange:
            raise InputError(f"there is no experiment '{listed(strange)}'; there are {listed(there)}")
        cells = [(each, [name for name in each.experiments if name in names]) for each in self.ours]
        ours = [msgspec.structs.replace(each, experiments=kept) for each, kept in cells if kept]
        return Published(self.interval, [each for each in self.experiments if each.id in names], ours)


@dataclasses.dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        graphs: of each kind of network, at least 2 so that averages have an interval.
        episodes: most episodes on a graph, where what arrives is random.
        solved: on how many graphs the optimum is computed, by package size: 1, and larger ones, which take longer.
        everywhere: whether the optimum is also computed where the published figure has none.
        time_limit: seconds for the optimum of one instance; where it is reached, the proven bound takes its place, so
            that how many optima are proven depends on the machine.
        workers: processes that compute optima; 0 computes them here.
        training: episodes for which the published learned methods are trained on each graph; 0: they are left out.
        keep: folder that their networks are put into, and taken from where they are there; None: none.

    Raises:
        InputError: for fewer than 2 graphs.
    """

    graphs: int = 30
    episodes: int = 4
    solved: tuple[int, int] = (10, 4)
    everywhere: bool = False
    time_limit: float = 0.5
    workers: int = 0
    training: int = 0
    keep: Path | None = None

    def __post_init__(self) -> None:
        if self.graphs < 2:
            raise InputError(f"graphs is {self.graphs}; it must be at least 2")


FULL = Effort(graphs=60, episodes=20, solved=(60, 20), everywhere=True, time_limit=3.0)


def load_experiments(name: str = "srap") -> Published:
    """The experiments and claims of a shipped file."""
    path = content("models") / "published" / f"{name}.toml"
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Published)


@functools.cache
def _networks(network: Network, agents: int, degree: int, graphs: int, seed: int) -> jax.Array:
    setting = Setting(network=network, agents=agents, degree=degree)
    keys = jax.random.split(jax.random.key(seed), graphs)
    return jax.jit(jax.vmap(functools.partial(draw_network, setting)))(keys)


@functools.partial(jax.jit, static_argnums=0)
def _arrive(setting: Setting, fixed: dict[str, jax.Array], joined: jax.Array, keys: jax.Array) -> Problem:
    def one(joined: jax.Array, key: jax.Array) -> Problem:
        model = handlers.substitute(lambda: arrivals(setting, joined), data=fixed)
        problem: Any = handlers.seed(model, key)()
        return problem

    return jax.vmap(jax.vmap(one), in_axes=(None, 0))(joined, keys)


def instances(setting: Setting, slots: int, graphs: int, episodes: int, seed: int) -> Problem:
    """Problems of shape (episode, graph, ...); settings with the same seed share their graphs, and so are paired.

    What has one possible value is an argument of the compiled function, not a part of it, so that a sweep over it
    compiles once. Where this is the number of tasks, their places are filled up to `slots`.
    """
    n, half = setting.agents, setting.agents // 2
    joined = _networks(setting.network, n, setting.degree, graphs, seed)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1), (episodes, graphs))
    shapes = {
        "tasks": ("task_count", (n,), slots),
        "requester_stock": ("requester_stock", (n - half, setting.types), 0),
        "provider_stock": ("provider_stock", (half, setting.types), 0),
    }
    alike, fixed = dataclasses.replace(setting, network="random", degree=1, package_size=1), {}
    for field, (site, shape, instead) in shapes.items():
        if len(value := getattr(setting, field)) == 1:
            fixed[site] = jnp.full(shape, value[0])
            alike = dataclasses.replace(alike, **{field: (instead,)})
    problems = _arrive(alike, fixed, joined, keys)
    return problems._replace(package_size=jnp.full_like(problems.package_size, setting.package_size))


def allocator(method: str, experiment: Experiment) -> Callable[..., Allocation]:
    """A method as the experiment uses it, `(problem, key, network or None) -> Allocation`; negotiation as published."""
    most = max(max(experiment.at(i, "random").tasks) for i in range(len(experiment.values)))
    if method in OURS:
        policy = learned.policy(OURS[method])
        if method == "dec-grd+":
            chosen = _negotiation(dataclasses.replace(policy.plan.protocol, tasks_per_agent=most))
        else:
            chosen = learned.allocator(policy, most)
    elif method in LEARNED:
        settings = [experiment.at(place, "random") for place in range(len(experiment.values))]
        return per_graph.allocator(method, per_graph.plan(method, settings, experiment.max_quantity))
    elif method == "dec-grd":
        chosen = _negotiation(dataclasses.replace(THESIS, max_quantity=experiment.max_quantity, tasks_per_agent=most))
    else:
        chosen = ALLOCATORS[method]
    return lambda problem, key, network: chosen(problem, key)


def _negotiation(protocol: Darap) -> Callable[..., Allocation]:
    return lambda problem, key: dec_grd(problem, key, protocol)[0]


def trained(method: str, cells: Sequence["Cell"], effort: Effort, seed: int, *, progress: bool = False) -> Any:
    """The published networks of each graph, with a leading graph axis, for all sweep values of the cells."""
    experiment, network = cells[0].experiment, cells[0].network
    settings = [experiment.at(place, network) for place in sorted({cell.place for cell in cells})]
    plan = per_graph.plan(method, settings, experiment.max_quantity, effort.training)
    joined = _networks(network, settings[0].agents, settings[0].degree, effort.graphs, seed)
    key = jax.random.fold_in(jax.random.key(seed), 3)
    make = functools.partial(per_graph.train, method, plan, settings, joined, key, progress=progress)
    if effort.keep is None:
        return make()
    order = {"plan": plan, "settings": settings, "graphs": effort.graphs, "seed": seed}
    file = effort.keep / f"{experiment.id}-{network}-{method}.networks"
    return per_graph.kept(file, order, method, plan, effort.graphs, make)


class Cell(NamedTuple):
    """The instances of one kind of network at one sweep value, at one package size."""

    experiment: Experiment
    place: int
    network: Network
    problems: Problem
    per_item: bool = False


def run(
    experiments: Sequence[Experiment], effort: Effort = Effort(), seed: int = 0, *, progress: bool = False
) -> dict[str, xr.Dataset]:
    """Social welfare of every method on the same instances of each experiment.

    Args:
        experiments: which.
        effort: how much is measured.
        seed: seed of the random numbers.
        progress: whether to show progress on stderr.

    Returns:
        Experiment -> dataset with `welfare` (measure, network, method, value, graph, episode), `bound` (without the
        method), which is proven to be no less than the optimum, and `proven`, whether the two are equal. What was not
        measured is NaN, and so is an optimum that was not proven; a method that there is not yet is left out.
    """
    found = {e.id: _empty(e, effort) for e in experiments}
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(effort.workers, spawn, follow_parent) if effort.workers else None
    cells, waiting, optima = [], {}, []
    with tqdm(desc="instances", disable=not progress, leave=False) as bar:
        for cell in _cells(experiments, effort, seed):
            cells.append(cell)
            for where, problem in _to_solve(cell, effort):
                same = b"".join(leaf.tobytes() for leaf in problem)  # graphs recur, and so do whole instances
                if same not in waiting:
                    waiting[same] = _submit(pool, problem, effort.time_limit)
                optima.append((cell, where, waiting[same]))
            bar.update()
    groups: dict[Any, list[Cell]] = {}
    for cell in cells:
        shapes = tuple(leaf.shape for leaf in cell.problems)
        for method in found[cell.experiment.id]["method"].values.tolist():
            if method != "opt":
                most = cell.experiment.max_quantity if method == "dec-grd" else 0
                own = (cell.experiment.id, cell.network) if method in LEARNED else ()
                groups.setdefault((method, most, shapes, own), []).append(cell)
    trainable = {key: group for key, group in groups.items() if key[0] in LEARNED}
    with ThreadPoolExecutor(2) as threads:  # compilation takes longest, and does not hold Python up
        jobs = {
            threads.submit(_allocate, key[0], group, seed): (key[0], group)
            for key, group in groups.items()
            if key not in trainable
        }
        for job in tqdm(as_completed(jobs), "methods", len(jobs), disable=not progress, leave=False):
            _note(found, *jobs[job], job.result())
    for (method, *_), group in tqdm(trainable.items(), "learned", disable=not progress or not trainable, leave=False):
        networks = trained(method, group, effort, seed, progress=progress)  # one after another: they need much memory
        _note(found, method, group, _allocate(method, group, seed, networks))
    for cell, (graph, episode), job in optima:
        value, bound, proven = job.result() if isinstance(job, Future) else job()
        data, index = found[cell.experiment.id], {"network": cell.network, "value": cell.experiment.values[cell.place]}
        for measure in _measures(cell):
            spot = {"measure": measure, **index, "graph": graph, "episode": episode}
            if proven:
                data["welfare"].loc[{**spot, "method": "opt"}] = value
            data["bound"].loc[spot] = bound
            data["proven"].loc[spot] = float(proven)
    if pool:
        pool.shutdown()
    return found


def _empty(experiment: Experiment, effort: Effort) -> xr.Dataset:
    coords = {
        "measure": list(MEASURES)[: 3 if experiment.per_item else 2],
        "network": experiment.networks,
        "method": [name for name in experiment.methods if name in THERE or (effort.training and name in LEARNED)],
        "value": experiment.values,
        "graph": np.arange(effort.graphs),
        "episode": np.arange(min(experiment.episodes, effort.episodes)),
    }
    nan = xr.DataArray(np.nan, coords, list(coords))
    one = nan.isel(method=0, drop=True)
    return xr.Dataset({"welfare": nan.copy(), "bound": one.copy(), "proven": one.copy()})


def _cells(experiments: Iterable[Experiment], effort: Effort, seed: int) -> Iterator[Cell]:
    for experiment in experiments:
        for place, network in itertools.product(range(len(experiment.values)), experiment.networks):
            settings = [experiment.at(i, network) for i in range(len(experiment.values))]
            slots = max(max(setting.tasks) for setting in settings)
            episodes = min(experiment.episodes, effort.episodes)
            problems = instances(settings[place], slots, effort.graphs, episodes, seed)
            yield Cell(experiment, place, network, problems)
            if experiment.per_item:
                one = problems._replace(package_size=jnp.ones_like(problems.package_size))
                yield Cell(experiment, place, network, one, per_item=True)


def _measures(cell: Cell) -> list[str]:
    return ["per_item"] if cell.per_item else ["published", "owner"]


def _to_solve(cell: Cell, effort: Effort) -> Iterator[tuple[tuple[int, int], Problem]]:
    """The first episode of the graphs on which the optimum is computed."""
    if not (cell.experiment.optimum or effort.everywhere):
        return
    host: Problem = jax.tree.map(lambda leaf: np.asarray(leaf[0]), cell.problems)
    for graph in range(min(effort.graphs, effort.solved[0 if host.package_size[0] == 1 else 1])):
        yield (graph, 0), Problem(*(leaf[graph] for leaf in host))


def _optimum(problem: Problem, time_limit: float) -> tuple[float, float, bool]:
    found = solve(problem, time_limit)
    value = float(evaluate(problem, found.allocation(problem)).social_welfare)
    return value, max(found.bound, value), found.optimal


def _submit(
    pool: ProcessPoolExecutor | None, problem: Problem, time_limit: float
) -> Future[tuple[float, float, bool]] | Callable[[], tuple[float, float, bool]]:
    if pool:
        return pool.submit(_optimum, problem, time_limit)
    return functools.cache(lambda: _optimum(problem, time_limit))


def _allocate(
    method: str, cells: Sequence[Cell], seed: int, networks: Any = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Welfare by true owner and by hop (NaN for a central method), of shape (graph, episode), of each cell."""
    chosen = allocator(method, cells[0].experiment)

    @jax.jit
    @jax.vmap
    def value(problem: Problem, key: jax.Array, network: Any) -> tuple[AnyArray, ...]:
        worth = evaluate(problem, chosen(problem, key, network))
        return worth.social_welfare, worth.social_welfare_hop, worth.feasible

    found = []
    for cell in cells:
        episodes, graphs = cell.problems.utility.shape[:2]
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 2), (episodes, graphs))
        parts = [value(Problem(*(leaf[i] for leaf in cell.problems)), keys[i], networks) for i in range(episodes)]
        by_owner, by_hop, feasible = (np.stack(part, axis=-1) for part in zip(*parts, strict=True))
        if not feasible.all():
            raise RuntimeError(f"{method} made an allocation that is not feasible")
        found.append((by_owner, by_hop))
    return found


def _note(
    found: Mapping[str, xr.Dataset], method: str, cells: Sequence[Cell], values: Sequence[tuple[np.ndarray, np.ndarray]]
) -> None:
    for cell, (by_owner, by_hop) in zip(cells, values, strict=True):
        index = {"network": cell.network, "method": method, "value": cell.experiment.values[cell.place]}
        for measure in _measures(cell):
            shown = np.where(np.isfinite(by_hop), by_hop, by_owner) if measure == "published" else by_owner
            found[cell.experiment.id]["welfare"].loc[{"measure": measure, **index}] = shown
