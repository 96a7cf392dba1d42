"""Learned policies: each is one file, a line of JSON that says what it is and how it was trained, and the weights.

A learned method is an entry of METHODS, which says how its plans, networks and allocators are made; the file holds
the plan, so that its network can be rebuilt.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import msgspec
from jaxtyping import Array

from bayesalloc.agents import leaves, master
from bayesalloc.agents.training import Course
from bayesalloc.allocators.evaluate import Allocation
from bayesalloc.allocators.problem import Problem
from bayesalloc.errors import InputError, listed

TRAINED = Path(__file__).parent / "trained"  # the policies that are shipped


class Method(NamedTuple):
    """A learned method.

    Attributes:
        plan: a frozen dataclass in types of JSON, with `preset`, `setting`, and `episodes`, None where none were asked
            for.
        presets: name -> `(setting or None, episodes or None) -> plan`; the first one is the default.
        course: `plan -> Course`, its training run.
        network: `(plan, key) -> network`, untrained: any pytree of arrays.
        allocator: `(plan, network) -> allocator`, to be jitted.
        check: `(plan, problem)`; it refuses a problem on which such a policy cannot act.
    """

    plan: type
    presets: Mapping[str, Callable[[Any, int | None], Any]]
    course: Callable[[Any], Course]
    network: Callable[[Any, Array], Any]
    allocator: Callable[[Any, Any], Callable[..., Allocation]]
    check: Callable[[Any, Problem], None] = lambda plan, problem: None

    def described(self, plan: Mapping[str, Any]) -> Any:
        """The plan of its description in types of JSON."""
        return msgspec.convert(plan, self.plan)


METHODS: Mapping[str, Method] = {
    "cen-rl": Method(
        master.Plan, master.PRESETS, master.course, master.network, master.allocator, master.check
    ),
}  # fmt: skip


class Policy(NamedTuple):
    """A learned policy.

    Attributes:
        method: a name in METHODS.
        plan: what was learned, on what and how.
        network: what was learned.
        episodes, steps: that it was trained on.
        seed: of the training run.
    """

    method: str
    plan: Any
    network: Any
    episodes: int = 0
    steps: int = 0
    seed: int = 0

    def allocator(self) -> Callable[..., Allocation]:
        """`(problem, rng_key) -> Allocation`, which can be jitted and vmapped."""
        return METHODS[self.method].allocator(self.plan, self.network)

    def check(self, problem: Problem) -> None:
        """Refuses a problem on which the policy cannot act."""
        METHODS[self.method].check(self.plan, problem)


def method(name: str) -> Method:
    """A learned method by name.

    Raises:
        InputError: where there is none.
    """
    if name not in METHODS:
        raise InputError(f"there is no learned method '{name}'; there are {listed(METHODS)}")
    return METHODS[name]


def save_policy(path: str | Path, policy: Policy) -> None:
    """Writes a policy's file, whole or not at all."""
    notes = {
        "method": policy.method, "plan": dataclasses.asdict(policy.plan), "episodes": policy.episodes,
        "steps": policy.steps, "seed": policy.seed,
    }  # fmt: skip
    leaves.write(path, "policy", notes, policy.network)


def load_policy(path: str | Path, name: str | None = None) -> Policy:
    """The policy in a file.

    Args:
        path: the file.
        name: the method that it must be of; None: any.

    Raises:
        InputError: where it is not there, no policy, damaged, or one of another method.
    """
    stored = leaves.read(path, "policy")
    notes = stored.header
    if notes.get("method") not in METHODS or name not in (None, notes["method"]):
        raise InputError(f"{path}: is a policy of the method {notes.get('method')}, not of {name or listed(METHODS)}")
    of = METHODS[notes["method"]]
    try:
        plan = of.described(notes["plan"])
        numbers = [int(notes[each]) for each in ("episodes", "steps", "seed")]
    except (KeyError, TypeError, ValueError):  # msgspec's errors are among them
        raise InputError(f"{path}: is damaged: its first line describes no policy of {notes['method']}") from None
    like = jax.eval_shape(lambda key: of.network(plan, key), jax.random.key(0))
    return Policy(notes["method"], plan, stored.tree(like), *numbers)


def shipped(name: str) -> Policy:
    """The shipped policy of a method.

    Raises:
        InputError: where none is shipped.
    """
    path = TRAINED / file_name(name)
    if not path.exists():
        raise InputError(
            f"no policy of {name} is shipped: train one with `bayesalloc train srap --method {name}`, and name its file"
            " with --policy"
        )
    return load_policy(path, name)


def file_name(name: str) -> str:
    """What a method's policy file is called.

    >>> file_name("cen-rl")
    'cen_rl.policy'
    """
    return f"{name.replace('-', '_')}.policy"
