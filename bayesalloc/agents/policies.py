"""Learned policies: each is one file, a line of JSON that says what it is and how it was trained, and the weights.

A learned method is an entry of METHODS, which says how its plans, networks and allocators are made; the file holds
the plan, so that its network can be rebuilt.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import msgspec
from jaxtyping import Array

from bayesalloc.agents import leaves, master, negotiators, training
from bayesalloc.agents.training import Course, Training
from bayesalloc.allocators.evaluate import Allocation
from bayesalloc.allocators.files import quoted
from bayesalloc.allocators.instances import check_setting, read_setting
from bayesalloc.allocators.problem import Problem
from bayesalloc.errors import InputError, listed

MOST_LAYERS, MOST_UNITS, MOST_KINDS = 8, 4096, 64
MOST_EPISODES = 2**31
LARGEST = 2**26  # bytes of a policy's weights
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
        """The plan of its description in types of JSON.

        Raises:
            ValueError: where it describes none, in types, in names or in sizes.
        """
        made = msgspec.convert(plan, self.plan)
        layers, kinds = made.layers, (made.setting, *made.kinds)
        if not 1 <= len(layers) <= MOST_LAYERS or not all(1 <= units <= MOST_UNITS for units in layers):
            raise InputError(
                f"layers is {list(layers)[:9]}; there are 1 to {MOST_LAYERS}, of 1 to {MOST_UNITS} units each"
            )
        if len(kinds) > MOST_KINDS or any(each.agents != made.setting.agents for each in kinds):
            raise InputError(f"kinds are {len(kinds) - 1} settings; there are up to {MOST_KINDS - 1} of as many agents")
        for each in kinds:
            check_setting(each)
        return made


METHODS: Mapping[str, Method] = {
    "cen-rl": Method(
        master.Plan, master.PRESETS, master.course, master.network, master.allocator, master.check
    ),
    "dec-rl": Method(
        negotiators.Plan, negotiators.PRESETS, negotiators.course, negotiators.network, negotiators.allocator,
        negotiators.check,
    ),
}  # fmt: skip


LEARNABLE = {"srap": tuple(METHODS)}  # problem -> the methods that learn to decide about it, the default first


Count = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]


class _Notes(msgspec.Struct):
    """What the first line of a policy's file says beside what it is."""

    plan: dict[str, Any]
    episodes: Count
    steps: Count
    seed: Count


class _Asked(msgspec.Struct):
    """What the first line of a checkpoint says was asked for: see `Order.asked`."""

    problem: str
    method: str
    plan: dict[str, Any]
    seed: Count


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
        raise InputError(f"there is no learned method '{quoted(name)}'; there are {listed(METHODS)}")
    return METHODS[name]


class Order(NamedTuple):
    """A training run as it was asked for.

    Attributes:
        problem: what is decided about.
        method: a name in METHODS.
        plan: what is learned, on what and how.
        seed: of the run.
        course: the run itself.
    """

    problem: str
    method: str
    plan: Any
    seed: int
    course: Course

    @property
    def asked(self) -> dict[str, Any]:
        """The order in types of JSON, as checkpoints hold it."""
        plan = msgspec.to_builtins(self.plan)
        return {"problem": self.problem, "method": self.method, "plan": plan, "seed": self.seed}

    def policy(self, done: Training) -> Policy:
        """What the run has learned."""
        last = done.rows[-1]
        return Policy(
            self.method, self.plan, self.course.network(done.run), last.episodes, last.steps, self.seed
        )  # fmt: skip


def order(
    problem: str,
    name: str | None = None,
    *,
    preset: str | None = None,
    setting: Path | None = None,
    episodes: int | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> Order:
    """The training run that some options ask for.

    One that goes on from a checkpoint is as it was begun where nothing else is asked for; where something is,
    `training.train` refuses what differs.

    Args:
        problem: a name in LEARNABLE.
        name: of the method; default: the first for the problem.
        preset: of the method; default: its first.
        setting: a TOML file of what arrives, where it differs from the preset's.
        episodes: how many are played; default: as the preset says.
        seed: of the run; 0 where a run goes on is what it was begun with.
        checkpoint: of the run that goes on.

    Raises:
        InputError: for a name that is not there, a number below 1, or a file that cannot be read.
    """
    if problem not in LEARNABLE:
        raise InputError(f"there is nothing to train for '{problem}'; there is for {listed(LEARNABLE)}")
    if episodes is not None and not 1 <= episodes < MOST_EPISODES:
        raise InputError(f"episodes is {episodes}; it must be at least 1, and below {MOST_EPISODES}")
    begun = None if checkpoint is None else _begun(checkpoint)
    name = name or (begun.method if begun else LEARNABLE[problem][0])
    of, plan = method(name), None
    if begun and begun.method == name:
        try:
            plan, seed = of.described(begun.plan), seed or begun.seed
        except ValueError as error:
            raise InputError(f"{checkpoint}: is damaged: it has no plan of {name} ({quoted(error)})") from None
    if plan is None or (preset, setting, episodes) != (None, None, None):
        preset = preset or (plan.preset if plan else next(iter(of.presets)))
        if preset not in of.presets:
            raise InputError(f"{name} has no preset '{preset}'; there are {listed(of.presets)}")
        make = of.presets[preset]
        arrives = plan.setting if plan else None
        if setting is not None:
            arrives = read_setting(setting, make(None, None).setting)
        plan = make(arrives, episodes or (plan.episodes if plan else None))
    return Order(problem, name, plan, seed, of.course(plan))


def _begun(checkpoint: Path) -> _Asked:
    try:
        return msgspec.convert(training.begun(checkpoint), _Asked)
    except msgspec.ValidationError as error:
        raise InputError(f"{checkpoint}: is damaged: its first line asks for no run ({quoted(error)})") from None


def save_policy(path: str | Path, policy: Policy) -> None:
    """Writes a policy's file, whole or not at all."""
    notes = {
        "method": policy.method, "plan": msgspec.to_builtins(policy.plan), "episodes": policy.episodes,
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
    stored = leaves.read(path, "policy", LARGEST)
    given = stored.header.get("method")
    if not isinstance(given, str) or given not in METHODS or name not in (None, given):
        raise InputError(f"{path}: is a policy of the method {quoted(given)}, not of {name or listed(METHODS)}")
    try:
        notes = msgspec.convert(stored.header, _Notes)
        plan = METHODS[given].described(notes.plan)
    except ValueError as error:  # msgspec's errors and ours are among them
        raise InputError(
            f"{path}: is damaged: its first line describes no policy of {given} ({quoted(error)})"
        ) from None
    network = stored.tree(jax.eval_shape(lambda key: METHODS[given].network(plan, key), jax.random.key(0)))
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(network)):
        raise InputError(f"{path}: has weights that are not finite numbers")
    return Policy(given, plan, network, notes.episodes, notes.steps, notes.seed)


def shipped(name: str) -> Policy:
    """The shipped policy of a method.

    Raises:
        InputError: where none is shipped.
    """
    path = TRAINED / file_name(name)
    if not path.exists():
        raise InputError(f"no policy of {name} is shipped: train one, and name its file")
    return load_policy(path, name)


def file_name(name: str) -> str:
    """What a method's policy file is called.

    >>> file_name("cen-rl")
    'cen_rl.policy'
    """
    return f"{name.replace('-', '_')}.policy"
