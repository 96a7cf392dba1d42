"""Instances of the social resource allocation problem: settings, networks, and what arrives in an episode.

Source of the settings: Malek Akhlagh (2024), Adaptive Resource Allocation in Multi-Agent Social Networks, University of
Victoria, section 7.5. Utilities and costs share one unit.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Bool
from numpyro import handlers
from numpyro.distributions import constraints

from bayesalloc import settings
from bayesalloc.allocators.problem import LARGEST, LEAST, Problem
from bayesalloc.errors import InputError, quoted

Network = Literal["small_world", "scale_free", "random", "barabasi_albert", "any"]
REWIRING = 0.05  # of a small world's edges
MOST_AGENTS = 64  # networks are drawn until one is connected, and every message is simulated
MOST_VALUES = 64  # numbers to draw from
ALLOWED = {  # the least and the most; what all agents have or require together must be below 2^31
    "types": (1, 64),
    "tasks": (0, 16),
    "utilities": (0, LARGEST - 1),
    "required": (0, 2**16),
    "requester_stock": (0, 2**16),
    "provider_stock": (0, 2**16),
    "package_size": (1, LARGEST - 1),
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """What arrives in an episode. The first half of the agents are requesters, the second half providers.

    Attributes:
        network: how the network is made: small_world (Watts & Strogatz 1998, resampled until connected), scale_free
            (each newcomer knocks at every agent with probability degree / sum of degrees until at least one opens),
            random (a path through all agents, and random edges up to the mean degree), barabasi_albert, or any of the
            first three, equally likely.
        agents: their number.
        degree: mean degree of the network; scale_free has none to choose.
        types: resource types.
        tasks: how many tasks an agent may own; one of these numbers, equally likely, for each agent.
        utilities: of an agent's first, second, ... task; with `shuffled_utilities` each is any of them.
        required: items of each type that a task requires.
        requester_stock: items of each type that a requester may hold, equally likely.
        provider_stock: the same for a provider.
        per_item: cost of moving one package over distance 1.
        package_size: items that move for the price of one.
        layout: whether agents stand in the network in the order of their numbers ("thesis") or "shuffled".
        alike: whether numbers of tasks, and of items by role, are drawn once for all agents.
        used: how many of the types tasks require, the first ones; 0: all.
    """

    network: Network = "small_world"
    agents: int = 8
    degree: int = 2
    types: int = 2
    tasks: tuple[int, ...] = (4,)
    utilities: tuple[int, ...] = (4, 9, 16, 25)
    shuffled_utilities: bool = False
    required: int = 2
    requester_stock: tuple[int, ...] = (1,)
    provider_stock: tuple[int, ...] = (11,)
    per_item: float = 1.0
    package_size: int = 1
    layout: Literal["thesis", "shuffled"] = "thesis"
    alike: bool = False
    used: int = 0


BASE = Setting()  # experiment 7.5.1 at stock 11
SWEEP = dataclasses.replace(BASE, network="any", provider_stock=(7, 9, 11, 13, 15), alike=True)  # all of 7.5.1


class Among(dist.Distribution):
    """One of a few whole numbers, equally likely; an intervention may fix any whole number from 0.

    Args:
        values: the numbers.
        shape: shape of the (independent) draws.
    """

    # NumPyro's own distributions override as we do: a constant `support`, no key that is None, no intermediates.
    support = constraints.nonnegative_integer  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]

    def __init__(self, values: Sequence[int], shape: tuple[int, ...] = ()) -> None:
        self.values = np.asarray(values, np.int32)
        super().__init__(batch_shape=shape, event_shape=())

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Independent draws."""
        places = jax.random.randint(key, (*sample_shape, *self.batch_shape), 0, len(self.values))
        return jnp.asarray(self.values)[places]

    def log_prob(self, value: ArrayLike) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Log probability: the share of the values that are the given one."""
        return jnp.log(jnp.mean(jnp.asarray(value)[..., None] == self.values, axis=-1))


def check_setting(setting: Setting) -> None:
    """Refuses a setting that cannot be.

    Raises:
        InputError: naming the field, its value and what is allowed.
    """
    n, degree = setting.agents, setting.degree
    if not 2 <= n <= MOST_AGENTS:
        raise InputError(f"agents is {n}; a network needs at least 2, and may have {MOST_AGENTS}")
    for field, (least, most) in ALLOWED.items():
        value = getattr(setting, field)
        values = value if isinstance(value, tuple) else (value,)
        if not 1 <= len(values) <= MOST_VALUES:
            raise InputError(f"{field} has {len(values)} numbers; there are 1 to {MOST_VALUES}")
        if strange := [each for each in values if not least <= each <= most]:
            raise InputError(f"{field} is {quoted(strange[0])}; it must be between {least} and {most}")
    if max(setting.tasks) < 1:
        raise InputError(f"tasks is {list(setting.tasks)}; some agent must be able to own at least 1 task")
    if setting.per_item != 0 and not LEAST <= setting.per_item < LARGEST:
        raise InputError(f"per_item is {setting.per_item:g}; it must be 0, or in [{LEAST:g}, {LARGEST})")
    if not 1 <= degree < n or (setting.network not in ("random", "scale_free") and degree % 2):
        raise InputError(f"degree is {degree}; it must be below {n} agents, and even in a {setting.network} network")
    if not setting.shuffled_utilities and max(setting.tasks) > len(setting.utilities):
        raise InputError(
            f"an agent may own {max(setting.tasks)} tasks, and there are {len(setting.utilities)} utilities"
        )
    if not 0 <= setting.used <= setting.types:
        raise InputError(f"used is {setting.used}; it must be between 0 (all) and the {setting.types} types")


def read_setting(path: str | Path, default: Setting = BASE) -> Setting:
    """The setting in a TOML file, whose fields are those of Setting; what it does not name is as in the default.

    Raises:
        InputError: naming the file, the field, and what is allowed.
    """
    return settings.read_setting(path, default, check_setting)


def draw_network(setting: Setting, key: Array) -> Bool[Array, "agent agent"]:
    """Which agents are joined: symmetric, connected, nobody with itself."""
    makers = {
        "small_world": _small_world,
        "scale_free": _scale_free,
        "random": _random,
        "barabasi_albert": _barabasi_albert,
        "any": _any,
    }
    network_key, layout_key = jax.random.split(key)
    joined = makers[setting.network](network_key, setting.agents, setting.degree)
    if setting.layout == "shuffled":
        place = jax.random.permutation(layout_key, setting.agents)
        joined = joined[place][:, place]
    return joined


def network_of_any(settings: Sequence[Setting], key: Array) -> Bool[Array, "agent agent"]:
    """A network of one of the sorts that several settings have, equally likely; they have the same number of agents."""
    sorts = {(each.network, each.agents, each.degree, each.layout): each for each in settings}.values()
    which, key = jax.random.split(key)
    place = jax.random.randint(which, (), 0, len(sorts))
    return jax.lax.switch(place, [functools.partial(draw_network, setting) for setting in sorts], key)


def _join(joined: Array, one: ArrayLike, other: ArrayLike, *, value: ArrayLike = True) -> Array:
    return joined.at[one, other].set(value).at[other, one].set(value)


def _connected(joined: Bool[Array, "agent agent"]) -> Bool[Array, ""]:
    reached = jnp.arange(len(joined)) == 0
    for _ in range(len(joined) - 1):
        reached |= (joined & reached[:, None]).any(0)
    return reached.all()


def _small_world(key: Array, n: int, degree: int) -> Array:
    """A ring of the nearest `degree` neighbours; each edge moves its far end with probability REWIRING."""
    agents = jnp.arange(n)
    ring = jnp.zeros((n, n), bool)
    for step in range(1, degree // 2 + 1):
        ring = _join(ring, agents, (agents + step) % n)

    def rewire(joined: Array, edge: tuple[Array, Array, Array, Array]) -> tuple[Array, None]:
        near, far, moves, wish = edge
        free = ~joined[near] & (agents != near)
        new = jnp.argmax(jnp.where(free, wish, -1.0))
        moves = moves & free.any()
        moved = _join(_join(joined, near, far, value=False), near, new)
        return jnp.where(moves, moved, joined), None

    def attempt(key: Array) -> Array:
        move_key, wish_key = jax.random.split(key)
        near = jnp.tile(agents, degree // 2)
        far = (near + jnp.repeat(jnp.arange(1, degree // 2 + 1), n)) % n
        moves = jax.random.bernoulli(move_key, REWIRING, near.shape)
        wishes = jax.random.uniform(wish_key, (len(near), n))
        return jax.lax.scan(rewire, ring, (near, far, moves, wishes))[0]

    def again(state: tuple[Array, Array]) -> tuple[Array, Array]:
        key, _ = state
        key, now = jax.random.split(key)
        return key, attempt(now)

    first, rest = jax.random.split(key)
    return jax.lax.while_loop(lambda state: ~_connected(state[1]), again, (rest, attempt(first)))[1]


def _scale_free(key: Array, n: int, degree: int) -> Array:
    """Newcomers knock at each agent in turn, which opens with probability degree / sum of degrees."""

    def knock(state: tuple[Array, Array, Array], old: Array) -> tuple[tuple[Array, Array, Array], None]:
        joined, new, key = state
        total = joined.sum()
        chance = jnp.where(total == 0, 1.0, joined[old].sum() / jnp.maximum(total, 1))
        opens = (old < new) & ~joined[old, new] & (jax.random.uniform(jax.random.fold_in(key, old)) < chance)
        return (_join(joined, old, new, value=joined[old, new] | opens), new, key), None

    def arrive(joined: Array, new: Array) -> tuple[Array, None]:
        def rounds(state: tuple[Array, Array]) -> tuple[Array, Array]:
            joined, key = state
            key, now = jax.random.split(key)
            return jax.lax.scan(knock, (joined, new, now), jnp.arange(n))[0][0], key

        start = (joined, jax.random.fold_in(key, new))
        return jax.lax.while_loop(lambda state: ~state[0][new].any(), rounds, start)[0], None

    return jax.lax.scan(arrive, jnp.zeros((n, n), bool), jnp.arange(1, n))[0]


def _random(key: Array, n: int, degree: int) -> Array:
    """A path through all agents in the order of their numbers, then random edges up to n x degree / 2."""
    agents = jnp.arange(n)
    path = _join(jnp.zeros((n, n), bool), agents[:-1], agents[1:])
    one, other = np.triu_indices(n, 2)
    wish = jax.random.uniform(key, one.shape)
    extra = min(max(0, n * degree // 2 - (n - 1)), len(one))
    chosen = (wish[:, None] > wish).sum(1) < extra
    return _join(path, one, other, value=chosen | path[one, other])


def _barabasi_albert(key: Array, n: int, degree: int) -> Array:
    """Each newcomer joins degree / 2 agents, drawn by their degrees (Barabasi & Albert 1999, Science 286:509)."""
    m = max(1, degree // 2)
    agents = jnp.arange(n)

    def arrive(joined: Array, new: Array) -> tuple[Array, None]:
        weight = jnp.where(agents < new, joined.sum(-1).astype(float), 0.0)
        noise = jax.random.gumbel(jax.random.fold_in(key, new), (n,))
        score = jnp.where(weight > 0, jnp.log(weight) + noise, -jnp.inf)  # the m highest: drawn without replacement
        chosen = (score > -jnp.inf) & ((score[:, None] < score).sum(1) < m)
        return _join(joined, agents, new, value=chosen | joined[:, new]), None

    star = _join(jnp.zeros((n, n), bool), 0, jnp.arange(1, m + 1))
    return jax.lax.scan(arrive, star, jnp.arange(m + 1, n))[0]


def _any(key: Array, n: int, degree: int) -> Array:
    """A small world, a scale-free or a random network."""
    kind_key, key = jax.random.split(key)
    makers = [functools.partial(make, n=n, degree=degree) for make in (_small_world, _scale_free, _random)]
    return jax.lax.switch(jax.random.randint(kind_key, (), 0, len(makers)), makers, key)


def arrivals(setting: Setting, joined: Bool[Array, "agent agent"], slots: int = 0) -> Problem:
    """The tasks and resources of one episode: sites `task_count`, `task_utility` and `stock`.

    Args:
        setting: what arrives.
        joined: the network.
        slots: places for tasks of each agent, if that is more than it may own.
    """
    n, slots = setting.agents, max(slots, *setting.tasks)

    def draw(site: str, values: Sequence[int], shape: tuple[int, ...]) -> Array:
        drawn = () if setting.alike else shape
        return jnp.broadcast_to(numpyro.sample(site, Among(values, drawn).to_event(len(drawn))), shape)

    count = draw("task_count", setting.tasks, (n,))
    if setting.shuffled_utilities:
        worth: dist.Distribution = Among(setting.utilities, (n, slots)).to_event(2)
    else:
        utilities = (*setting.utilities, *[0] * slots)[:slots]
        worth = dist.Delta(jnp.broadcast_to(jnp.asarray(utilities), (n, slots)), event_dim=2)
    utility = numpyro.sample("task_utility", worth)
    requester = draw("requester_stock", setting.requester_stock, (n - n // 2, setting.types))
    provider = draw("provider_stock", setting.provider_stock, (n // 2, setting.types))
    one, other = np.triu_indices(n, 1)
    owner = jnp.repeat(jnp.arange(n), slots)
    return Problem(
        edges=jnp.stack([jnp.asarray(one), jnp.asarray(other)], axis=1),
        weights=jnp.where(joined[one, other], 1.0, jnp.inf),
        resources=jnp.concatenate([requester, provider]),
        owner=owner,
        utility=jnp.asarray(utility, jnp.float32).reshape(-1),
        requires=jnp.full((n * slots, setting.types), setting.required).at[:, setting.used or setting.types :].set(0),
        real=(jnp.arange(slots) < jnp.asarray(count)[:, None]).reshape(-1),
        per_item=jnp.asarray(setting.per_item, jnp.float32),
        package_size=jnp.asarray(setting.package_size),
    )


def instance(setting: Setting, key: Array) -> Problem:
    """One instance: a network, and what arrives in an episode on it."""
    network_key, key = jax.random.split(key)
    sort = Setting(network=setting.network, agents=setting.agents, degree=setting.degree, layout=setting.layout)
    with handlers.seed(rng_seed=key):
        return arrivals(setting, _drawn(sort, network_key))


_drawn = jax.jit(draw_network, static_argnums=0)  # compiled once for each sort of network


def fullest(setting: Setting) -> Problem:
    """An instance of a setting in which every agent owns as many tasks as it may, on which to check sizes."""
    joined = ~jnp.eye(setting.agents, dtype=bool)
    with handlers.seed(rng_seed=jax.random.key(0)):
        problem = arrivals(setting, joined)
    return problem._replace(real=jnp.ones_like(problem.real))


def arrivals_of_any(settings: Sequence[Setting], joined: Bool[Array, "agent agent"], key: Array) -> Problem:
    """An episode of one of several settings, equally likely; they have the same numbers of agents and types."""
    slots = max(max(setting.tasks) for setting in settings)

    def of(setting: Setting) -> Callable[[Array], Any]:
        def draw(key: Array) -> Any:
            return handlers.seed(lambda: arrivals(setting, joined, slots), key)()

        return draw

    which, key = jax.random.split(key)
    place = jax.random.randint(which, (), 0, len(settings))
    return jax.lax.switch(place, [of(setting) for setting in settings], key)
