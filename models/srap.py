"""The social resource allocation problem: agents on a network share items so that tasks get done.

Each period is an episode: tasks and resources arrive, an allocator says who sends what to which task, and what is done
pays. The action is the allocator, so comparing allocators is comparing interventions, on the same arrivals.

Source of the settings: Malek Akhlagh (2024), Adaptive Resource Allocation in Multi-Agent Social Networks, University of
Victoria, section 7.5. Utilities and costs share one unit.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Bool
from numpyro.distributions import constraints

from bayesalloc import runs
from bayesalloc.agents.policies import Policy
from bayesalloc.allocators import ALLOCATORS, LEARNED, METHODS, dec_grd, learned
from bayesalloc.allocators.darap.faults import NO_FAULTS, Faults, stopping, update_trust
from bayesalloc.allocators.darap.protocol import DEFAULT, Darap
from bayesalloc.allocators.evaluate import Allocation, evaluate
from bayesalloc.allocators.instances import BASE, Setting, arrivals, check_setting, draw_network, fullest
from bayesalloc.allocators.learned.entry import Negotiation
from bayesalloc.allocators.methods import SIZES
from bayesalloc.allocators.problem import AnyArray, Problem, without
from bayesalloc.environment import Environment, Outcome
from bayesalloc.errors import InputError, listed
from bayesalloc.following import next_key


class Usually(dist.Distribution):
    """A number that is always the same unless an intervention changes it.

    Args:
        value: the number.
        support: what an intervention may make of it.
    """

    pytree_data_fields = ("value",)

    def __init__(self, value: float, support: constraints.Constraint) -> None:
        self.value, self._support = jnp.asarray(value), support
        super().__init__(batch_shape=(), event_shape=())

    @property
    def support(self) -> constraints.Constraint | None:
        """What values there may be."""
        return self._support

    # NumPyro's own distributions override as we do: no key that is None, no intermediates.
    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The number."""
        return jnp.broadcast_to(self.value, sample_shape)

    def log_prob(self, value: ArrayLike) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        """0 at the number, minus infinity elsewhere."""
        return jnp.where(jnp.asarray(value) == self.value, 0.0, -jnp.inf)


# What may go wrong: site -> what it is without an intervention, and what it may be made.
FAULTS: dict[str, tuple[float, constraints.Constraint]] = {
    "message_loss": (0.0, constraints.unit_interval),  # probability that a message is lost, once
    "message_delay": (0.0, constraints.unit_interval),  # probability that a message comes a round later
    "stopped_before_offering": (0.0, constraints.unit_interval),  # share of agents that stop then, in each episode
    "stopped_after_confirming": (0.0, constraints.unit_interval),
    "network_changes": (0.0, constraints.unit_interval),  # probability that an episode finds another network
    "liars": (0.0, constraints.unit_interval),  # share of agents that lie, the same ones in all episodes
    "exaggeration": (2.0, constraints.positive),  # factor on the utilities that a liar reports
    "overstatement": (2.0, constraints.positive),  # factor on the stock that a liar offers
    "reputation": (1.0, constraints.unit_interval),  # how fast trust follows kept and broken promises; 0: never
}


REACHING_ALL = ("stopped_before_offering", "network_changes")  # the rest is about messages, promises and reports
NEED_LIARS = ("exaggeration", "overstatement")
NEGOTIATING = ("dec-grd", *(name for name, entry in LEARNED.items() if entry.negotiation is not None))


class Params(NamedTuple):
    """The network, and what may go wrong: `liar` has shape (agent,), `rates` are the sites of FAULTS."""

    joined: Bool[Array, "agent agent"]
    liar: Array
    rates: dict[str, Array]


class State(NamedTuple):
    """What one episode leaves to the next: what others make of each agent, in [0, 1], shape (agent,)."""

    trust: Array


class Episode(NamedTuple):
    """Outcome of an episode: in units of utility, the share of tasks done, and messages (0 for a central allocator)."""

    social_welfare: AnyArray
    utility: AnyArray
    transfer_cost: AnyArray
    tasks_done: Array
    messages: Array


class Acting(NamedTuple):
    """An allocator by name: a negotiation, or `(problem, rng_key) -> Allocation`."""

    name: str
    rule: Negotiation | Callable[..., Allocation]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Chosen:
    """The action of an arm beyond a market's own methods: one of some allocators, by its place among them."""

    number: ArrayLike
    among: tuple[Acting, ...] = dataclasses.field(metadata={"static": True})


def market(
    setting: Setting = BASE,
    methods: Sequence[str] = METHODS,
    *,
    policies: Mapping[str, Policy] = {},
    protocol: Darap = DEFAULT,
    faults: bool = False,
) -> Environment:
    """Episodes of one setting as an environment whose actions are allocators.

    An arm is one of the methods, by name or as an action by its place among them; a policy by its name here; a learned
    method, by the policy that is shipped; or the path of a policy's file, `my.policy`, whose arm is called `my`.

    Args:
        setting: what arrives.
        methods: names of the allocators that are compared by default (see `bayesalloc.allocators`), or of policies.
        policies: name -> policy, for policies that are not in files, or in place of those that are shipped.
        protocol: parameters of `dec-grd`.
        faults: whether the sites of FAULTS are there, so that interventions can make things go wrong. An agent that
            stops before offering is out for every allocator: its tasks are not done, its items stay. Everything else
            concerns negotiations, `dec-grd` and learned ones, which alone send messages that can be lost, promises that
            can be broken, and reports that can be lies.

    Comparing refuses what could have no effect: an arm that has one of these with another method.

    Raises:
        InputError: for a setting that cannot be, an allocator that is not there, or a policy that cannot act on the
            setting.
    """
    check_setting(setting)
    known = {*ALLOCATORS, *LEARNED, *policies}
    if strange := set(methods) - known:
        raise InputError(f"there is no allocator '{listed(strange)}'; there are {listed(known)}")

    n, most = setting.agents, max(setting.tasks)
    protocol = dataclasses.replace(protocol, tasks_per_agent=most)
    example = functools.cache(lambda: fullest(setting))

    def by_policy(name: str, policy: Policy) -> Acting:
        SIZES[policy.method].check(policy.method, example())
        learned.check(policy, example())
        entry = LEARNED[policy.method]
        return Acting(name, (entry.negotiation or entry.allocator)(policy.plan, policy.network, most))

    @functools.cache  # a program that was compiled for an allocator is found again by it
    def acting(name: str) -> Acting:
        if name in policies:
            return by_policy(name, policies[name])
        if name in LEARNED:
            return by_policy(name, learned.policy(name))
        if name == "dec-grd":
            return Acting(name, Negotiation(functools.partial(dec_grd, config=protocol), protocol.max_hops))
        return Acting(name, ALLOCATORS[name])

    own = tuple(map(acting, methods))

    def prior() -> Params:
        joined = draw_network(setting, next_key())
        if not faults:
            return Params(joined, jnp.zeros(n, bool), {})
        rates = {name: jnp.asarray(numpyro.sample(name, Usually(*usual))) for name, usual in FAULTS.items()}
        lot = jnp.asarray(numpyro.sample("liar_lot", dist.Uniform().expand([n]).to_event(1)))
        return Params(joined, lot < rates["liars"], rates)

    def step(state: State, method: Array | Chosen, params: Params) -> tuple[State, Episode]:
        joined, rates, wrong = params.joined, params.rates, NO_FAULTS
        out = late = jnp.zeros(n, bool)
        if faults:
            changes = numpyro.sample("network_lot", dist.Uniform()) < rates["network_changes"]
            joined = jnp.where(changes, draw_network(setting, next_key()), joined)
            lot = jnp.asarray(numpyro.sample("stop_lot", dist.Uniform().expand([n]).to_event(1)))
            out = lot < rates["stopped_before_offering"]
            late = lot > 1.0 - rates["stopped_after_confirming"]
            more, stock = (jnp.where(params.liar, rates[name], 1.0) for name in ("exaggeration", "overstatement"))
            wrong = Faults(rates["message_loss"], rates["message_delay"], None, more, stock, state.trust)
        problem, key = arrivals(setting, joined), numpyro.prng_key()
        working = without(problem, out)

        def allocate(one: Acting, problem: Problem, key: Array) -> tuple[Allocation, Array]:
            if not isinstance(one.rule, Negotiation):
                return one.rule(working, key), state.trust
            if not faults:
                return one.rule.run(problem, key, faults=NO_FAULTS)[0], state.trust
            stop = stopping(out, late, one.rule.max_hops)
            allocation, record = one.rule.run(problem, key, faults=wrong._replace(stop_round=stop))
            return allocation, update_trust(state.trust, record, rates["reputation"])

        number, among = (method.number, method.among) if isinstance(method, Chosen) else (method, own)
        allocation, trust = jax.lax.switch(number, [functools.partial(allocate, one) for one in among], problem, key)
        value = evaluate(problem, allocation)
        share = value.done.sum() / jnp.maximum(problem.real.sum(), 1)
        messages = jnp.nan_to_num(allocation.messages)
        episode = Episode(value.social_welfare, value.utility, value.transfer_cost, share, messages)
        return State(trust), episode

    def arms(names: Sequence[str] | None) -> dict[str, Any]:
        files = {name for name in names or () if Path(name).suffix == ".policy"}
        there = {*methods, *LEARNED, *policies}
        if strange := set(names or ()) - files - there:
            raise InputError(
                f"srap has no allocator '{listed(strange)}'; there are {listed(there)}, or give a policy's file"
            )
        found: dict[str, Any] = {}
        for name in names or methods:
            label = Path(name).stem if name in files else name
            if label in found:
                raise InputError(f"two arms are called '{label}'")
            if name in files:
                runs.check(Path(name))
            if name in methods:
                found[label] = np.int32(list(methods).index(name))
            else:
                one = by_policy(label, learned.policy(None, name)) if name in files else acting(name)
                found[label] = Chosen(np.int32(0), (one,))
        return dict(zip(found, alike([*found.values()]), strict=True))

    def chosen(action: Any) -> Acting:
        return action.among[int(np.asarray(action.number))] if isinstance(action, Chosen) else own[int(action)]

    def alike(actions: Sequence[Any]) -> list[Any]:
        if not any(isinstance(action, Chosen) for action in actions):
            return list(actions)
        among = tuple(dict.fromkeys(map(chosen, actions)))
        return [Chosen(np.int32(among.index(chosen(action))), among) for action in actions]

    def check(action: Any, sites: Mapping[str, ArrayLike]) -> None:
        wrong = {
            name for name, value in sites.items() if name in FAULTS and np.any(np.asarray(value) != FAULTS[name][0])
        }
        one = chosen(action)
        if (strange := wrong - {*REACHING_ALL}) and not isinstance(one.rule, Negotiation):
            raise InputError(
                f"{listed(strange)} cannot change what {one.name} does in this model: only negotiations"
                f" ({listed(NEGOTIATING)}) have messages, promises and reports that can go wrong;"
                f" {listed(REACHING_ALL)} can befall all methods"
            )
        if (strange := wrong & {*NEED_LIARS}) and "liars" not in wrong:
            raise InputError(f"{listed(strange)} is about agents that lie, and none does: say how many with liars")

    return Environment(
        name="srap",
        prior=prior,
        initial=lambda params: State(jnp.ones(n)),
        step=step,
        arms=arms,
        outcomes={
            "social_welfare": Outcome("utility", "higher"),
            "utility": Outcome("utility", "higher"),
            "transfer_cost": Outcome("utility", "lower"),
            "tasks_done": Outcome("share", "higher"),
            "messages": Outcome("1", "lower"),
        },
        period="episode",
        baseline="cen-grd" if "cen-grd" in methods else methods[0],
        check=check,
        alike=alike,
    )


environment = market(faults=True)
