"""Learned policies: each is one file, a line of JSON that says what it is and how it was trained, and the weights.

The file holds the plan, from which the method makes a network of the right form. The methods of a problem are listed
in its own `Registry`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import msgspec
from jaxtyping import Array

from bayesalloc.agents import files
from bayesalloc.agents.training import Course
from bayesalloc.errors import InputError, listed, quoted

LARGEST = 2**26  # bytes of a policy's weights

Count = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]


class Judged(NamedTuple):
    """What a learned policy is found to do, ready to be printed.

    Attributes:
        sentences: in short.
        tables: title -> rows of words, the header first.
        record: the numbers, in types of JSON, by name.
    """

    sentences: list[str]
    tables: dict[str, list[list[str]]]
    record: dict[str, Any]


class Method(NamedTuple):
    """A learned method, as far as it is planned, trained and stored.

    Attributes:
        says: what it does, in a few words.
        plan: a frozen dataclass in types of JSON, with `preset`, `setting`, and `episodes`, None where none were asked
            for.
        presets: name -> `(setting or None, episodes or None) -> plan`; the first one is the default.
        course: `plan -> Course`, its training run.
        network: `(plan, key) -> network`, untrained: any pytree of arrays.
        check_plan: refuses a plan that cannot be; a file may hold any.
        judged: `(plan, network, key) -> Judged`, what comes out of a training run beside its curve; None: nothing.
    """

    says: str
    plan: type
    presets: Mapping[str, Callable[[Any, int | None], Any]]
    course: Callable[[Any], Course]
    network: Callable[[Any, Array], Any]
    check_plan: Callable[[Any], None]
    judged: Callable[[Any, Any, Array], Judged] | None = None

    def described(self, plan: Mapping[str, Any]) -> Any:
        """The plan of its description in types of JSON.

        Raises:
            ValueError: where it describes none, in types, in names or in sizes.
        """
        made = msgspec.convert(plan, self.plan)
        self.check_plan(made)
        return made


class Registry(NamedTuple):
    """The learned methods of a problem.

    Attributes:
        problem: what is decided about, as in `bayesalloc train PROBLEM`.
        methods: by name; the first one is the default.
        read_setting: `(path, default) -> setting`, of a file that says what arrives while a policy is trained.
        trained: the folder of the policies that are shipped.
        averse: `(plan, books, knowledge, lambda) -> (plan, course)`, where rewards can be lowered by the causal risk
            that a file of books tells; lambda may be None: as usual.
    """

    problem: str
    methods: Mapping[str, Method]
    read_setting: Callable[[Path, Any], Any]
    trained: Path
    averse: Callable[[Any, Path, Path, float | None], tuple[Any, Course]] | None = None

    def method(self, name: str) -> Method:
        """A method by name.

        Raises:
            InputError: where there is none; it says what each of those does that there are.
        """
        if name not in self.methods:
            there = "; ".join(f"{name}, {method.says}" for name, method in self.methods.items())
            raise InputError(f"there is no learned method '{quoted(name)}' for {self.problem}; there are {there}")
        return self.methods[name]


class Policy(NamedTuple):
    """A learned policy.

    Attributes:
        method: its name in the registry of its problem.
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


class _Notes(msgspec.Struct):
    """What the first line of a policy's file says beside what it is."""

    plan: dict[str, Any]
    episodes: Count
    steps: Count
    seed: Count


def save(path: str | Path, policy: Policy) -> None:
    """Writes a policy's file, whole or not at all."""
    notes = {
        "method": policy.method,
        "plan": msgspec.to_builtins(policy.plan),
        "episodes": policy.episodes,
        "steps": policy.steps,
        "seed": policy.seed,
    }
    files.write(path, "policy", notes, policy.network)


def load(registry: Registry, path: str | Path, name: str | None = None) -> Policy:
    """The policy in a file.

    Args:
        registry: of the problem that it decides about.
        path: the file.
        name: the method that it must be of; None: any.

    Raises:
        InputError: where it is not there, no policy, damaged, or one of another method.
    """
    stored = files.read(path, "policy", LARGEST)
    given = stored.header.get("method")
    if not isinstance(given, str) or given not in registry.methods or name not in (None, given):
        wanted = name or listed(registry.methods)
        raise InputError(f"{path}: is a policy of the method {quoted(given)}, not of {wanted}")
    method = registry.methods[given]
    try:
        notes = msgspec.convert(stored.header, _Notes)
        plan = method.described(notes.plan)
    except ValueError as error:  # msgspec's errors and ours are among them
        raise InputError(
            f"{path}: is damaged: its first line describes no policy of {given} ({quoted(error)})"
        ) from None
    network = stored.tree(jax.eval_shape(lambda key: method.network(plan, key), jax.random.key(0)))
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(network)):
        raise InputError(f"{path}: has weights that are not finite numbers")
    return Policy(given, plan, network, notes.episodes, notes.steps, notes.seed)


def shipped(registry: Registry, name: str) -> Policy:
    """The shipped policy of a method.

    Raises:
        InputError: where none is shipped.
    """
    path = registry.trained / file_name(name)
    if not path.exists():
        raise InputError(f"no policy of {name} is shipped: train one, and name its file")
    return load(registry, path, name)


def file_name(name: str) -> str:
    """What a method's policy file is called.

    >>> file_name("best-of-all")
    'best_of_all.policy'
    """
    return f"{name.replace('-', '_')}.policy"
