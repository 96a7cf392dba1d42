"""What the Networks page shows: instances, what each allocator makes of them, and a negotiation round by round.

NumPyro's handlers are one stack for the whole process, so that instances are drawn while nobody simulates.
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayesalloc import allocators
from bayesalloc.allocators.allocating import judged
from bayesalloc.allocators.darap import cautions, dec_grd
from bayesalloc.allocators.darap.faults import Faults, Record, stopping
from bayesalloc.allocators.darap.protocol import DEFAULT
from bayesalloc.allocators.evaluate import merged
from bayesalloc.allocators.instances import BASE, Setting, check_setting, instance
from bayesalloc.allocators.problem import Problem, without
from bayesalloc.allocators.sizes import tasks_of_each
from bayesalloc.dashboard.comparing import ONE_AT_A_TIME
from bayesalloc.dashboard.drawing import Move
from bayesalloc.errors import InputError

NEGOTIATED = "dec-grd"
AT_ONCE = ("opt", "cen-grd", "cen-grd+", NEGOTIATED, "dec-price")
SECONDS = 5.0  # that the solver has
MOST_AGENTS, MOST_TASKS, MOST_OWNED, MOST_TYPES = 24, 128, 8, 4  # on screen


class Wrong(NamedTuple):
    """What goes wrong.

    Attributes:
        loss: probability that a message is lost, once.
        delay: probability that a message comes a round later.
        before: agents that stop before they offer anything.
        after: agents that stop after they have confirmed.
        seed: of which messages are.
    """

    loss: float = 0.0
    delay: float = 0.0
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    seed: int = 0


ROUNDS = DEFAULT.rounds  # of a cycle
NOTHING = Wrong()
FIRST = replace(BASE, tasks=(1, 2, 3, 4), provider_stock=(6,), layout="shuffled")


class Size(NamedTuple):
    """By what programs differ: places for agents, links and tasks, types of items, and tasks of one agent at most."""

    agents: int
    links: int
    tasks: int
    types: int
    owned: int


class Negotiated(NamedTuple):
    """A negotiation: the document of its allocation, what happened in its rounds, and in which each agent stopped."""

    document: dict[str, Any]
    record: Record
    stop: np.ndarray


def generated(setting: Setting, seed: int) -> Problem:
    """An instance of a setting.

    Raises:
        InputError: for a setting that cannot be.
    """
    check_setting(setting)
    with ONE_AT_A_TIME:
        return instance(setting, jax.random.key(seed))


def check_size(problem: Problem) -> None:
    """Refuse an instance that is too large to be allocated while its user waits.

    Raises:
        InputError: saying what may be.
    """
    sizes = {
        "agents": (len(problem.resources), MOST_AGENTS),
        "tasks": (int(np.asarray(problem.real).sum()), MOST_TASKS),
        "tasks of one agent": (int(tasks_of_each(problem).max()), MOST_OWNED),
        "types of items": (problem.resources.shape[1], MOST_TYPES),
    }
    for name, (there, most) in sizes.items():
        if there > most:
            raise InputError(
                f"the instance has {there} {name}, and on screen there may be {most}; allocate it as a job"
            )


def size(problem: Problem) -> Size:
    """The size of an instance."""
    agents, types = problem.resources.shape
    owned = max(DEFAULT.tasks_per_agent, int(tasks_of_each(problem).max()))
    return Size(agents, len(problem.edges), len(problem.real), types, owned)


def allocated(problem: Problem, method: str, out: tuple[int, ...] = ()) -> dict[str, Any]:
    """The document of an allocation, when some agents are out."""
    left = without(problem, _among(problem, out)) if out else problem
    limit = SECONDS if method == "opt" else None
    return allocators.allocate(left, method, jax.random.key(0), time_limit=limit)


def negotiated(problem: Problem, wrong: Wrong) -> Negotiated:
    """A negotiation in which something may go wrong."""
    stop = stopping(_among(problem, wrong.before), _among(problem, wrong.after), DEFAULT.max_hops)
    faults = Faults(jnp.float32(wrong.loss), jnp.float32(wrong.delay), stop)
    found, record = _program(size(problem).owned)(problem, jax.random.key(wrong.seed), faults=faults)
    document = judged(problem, NEGOTIATED, merged(found), warnings=cautions(problem))
    return Negotiated(document, jax.tree.map(np.asarray, record), np.asarray(stop))


def moments(record: Record) -> list[int]:
    """The rounds in which something happens, the first and the last."""
    states = np.concatenate([record.held, record.reserved, record.offered], axis=-1)
    changed = (states[1:] != states[:-1]).any((1, 2)) | record.sent[1:].any((1, 2, 3))
    return sorted({0, len(states) - 1, *(1 + np.flatnonzero(changed)).tolist()})


def last(now: int) -> bool:
    """Whether a round is the last of its cycle, in which tasks are done."""
    return now % ROUNDS == ROUNDS - 1


def moves(record: Record, now: int) -> list[Move]:
    """Items that set out in a round to other agents; and before it in its cycle, while they are on their way."""
    first = now if last(now) else now - now % ROUNDS
    return [
        Move(int(origin), int(to), tuple(record.sent[when, to, origin].tolist()), now=when == now)
        for when in range(first, now + 1)
        for to, origin in np.argwhere(record.sent[when].any(-1))
        if to != origin
    ]


def made(problem: Problem, method: str) -> dict[str, Any]:
    """The document of an allocation where nothing goes wrong."""
    return negotiated(problem, NOTHING).document if method == NEGOTIATED else allocated(problem, method)


@functools.lru_cache(maxsize=MOST_OWNED)
def _program(owned: int) -> Callable[..., Any]:
    """The negotiation with room for so many tasks of an agent; room that is not needed changes nothing."""
    return jax.jit(functools.partial(dec_grd, config=replace(DEFAULT, tasks_per_agent=owned)))


def _among(problem: Problem, agents: tuple[int, ...]) -> jax.Array:
    return jnp.zeros(len(problem.resources), bool).at[jnp.asarray(agents, int)].set(True)
