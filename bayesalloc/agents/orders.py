"""Training runs as they are asked for: by names and numbers, or by the checkpoint of a run that goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import msgspec
from jaxtyping import Array

from bayesalloc.agents import training
from bayesalloc.agents.policies import Count, Judged, Policy, Registry
from bayesalloc.agents.training import Course, Training
from bayesalloc.errors import InputError, listed, quoted

MOST_EPISODES = 2**31
JUDGING = 2**32 - 1  # folded into the key of a run, for what comes after it


class Order(NamedTuple):
    """A training run as it was asked for.

    Attributes:
        problem: what is decided about.
        method: a name in the problem's registry.
        plan: what is learned, on what and how.
        seed: of the run.
        course: the run itself.
        judge: see `policies.Method`.
    """

    problem: str
    method: str
    plan: Any
    seed: int
    course: Course
    judge: Callable[[Any, Any, Array], Judged] | None = None

    @property
    def asked(self) -> dict[str, Any]:
        """The order in types of JSON, as checkpoints hold it."""
        plan = msgspec.to_builtins(self.plan)
        return {"problem": self.problem, "method": self.method, "plan": plan, "seed": self.seed}

    def policy(self, done: Training) -> Policy:
        """What the run has learned."""
        last = done.rows[-1]
        network = self.course.network(done.run)
        return Policy(self.method, self.plan, network, last.episodes, last.steps, self.seed)

    def judged(self, policy: Policy) -> Judged:
        """What that does, on random numbers that no run of this seed has."""
        if self.judge is None:
            return Judged([], {}, {})
        return self.judge(self.plan, policy.network, jax.random.fold_in(jax.random.key(self.seed), JUDGING))


class Books(NamedTuple):
    """Files of books and of what an office knows beside them, and lambda, the price of causal risk; None: as usual."""

    books: Path
    knowledge: Path
    price: float | None


class _Asked(msgspec.Struct):
    """What the first line of a checkpoint says was asked for: see `Order.asked`."""

    problem: str
    method: str
    plan: dict[str, Any]
    seed: Count


def order(
    registry: Registry,
    name: str | None = None,
    *,
    preset: str | None = None,
    setting: Path | None = None,
    episodes: int | None = None,
    books: Books | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> Order:
    """The training run that some options ask for.

    One that goes on from a checkpoint is as it was begun where nothing else is asked for; where something is,
    `training.train` refuses what differs.

    Args:
        registry: of the problem.
        name: of the method; default: the first.
        preset: of the method; default: its first.
        setting: a TOML file of what arrives, where it differs from the preset's.
        episodes: how many are played; default: as the preset says.
        books: whose causal risk lowers rewards; None: nobody's, or whose a run that goes on was begun with.
        seed: of the run; 0 where a run goes on is what it was begun with.
        checkpoint: of the run that goes on.

    Raises:
        InputError: for a name that is not there, a number below 1, or a file that cannot be read.
    """
    if episodes is not None and not 1 <= episodes < MOST_EPISODES:
        raise InputError(f"episodes is {episodes}; it must be at least 1, and below {MOST_EPISODES}")
    begun = None if checkpoint is None else _begun(checkpoint)
    if begun and begun.problem != registry.problem:
        raise InputError(
            f"{checkpoint}: the run is about {quoted(begun.problem)}; it cannot go on about {registry.problem}"
        )
    name = name or (begun.method if begun else next(iter(registry.methods)))
    of, plan = registry.method(name), None
    if begun and begun.method == name:
        try:
            plan, seed = of.described(begun.plan), seed or begun.seed
        except ValueError as error:
            raise InputError(f"{checkpoint}: is damaged: it has no plan of {name} ({quoted(error)})") from None
    if plan is None or (preset, setting, episodes) != (None, None, None):
        chosen = preset or (plan.preset if plan else next(iter(of.presets)))
        if chosen not in of.presets:
            raise InputError(f"{name} has no preset '{chosen}'; there are {listed(of.presets)}")
        make = of.presets[chosen]
        arrives = plan.setting if plan else None
        if setting is not None:
            arrives = registry.read_setting(setting, make(None, None).setting)
        plan = make(arrives, episodes or (plan.episodes if plan else None))
    if books is None:
        return Order(registry.problem, name, plan, seed, of.course(plan), of.judged)
    if registry.averse is None:
        raise InputError(f"nothing about {registry.problem} is learned from books; leave --books out")
    plan, course = registry.averse(plan, *books)
    return Order(registry.problem, name, plan, seed, course, of.judged)


def _begun(checkpoint: Path) -> _Asked:
    try:
        return msgspec.convert(training.begun(checkpoint), _Asked)
    except msgspec.ValidationError as error:
        raise InputError(f"{checkpoint}: is damaged: its first line asks for no run ({quoted(error)})") from None
