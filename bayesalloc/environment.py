"""What is simulated: an environment, written once as small NumPyro programs, and the NumPyro model derived from it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike
from numpyro.contrib.control_flow import scan
from numpyro.infer.reparam import Reparam
from numpyro.primitives import Messenger

from bayesalloc.errors import InputError, listed
from bayesalloc.following import Following, Message, Model
from bayesalloc.mechanism import Schema


class Outcome(NamedTuple):
    """One field of an environment's outcome that reports are about.

    Attributes:
        unit: the unit of measurement, for axes and tables ("1" for a pure number).
        better: which direction is good for the common good; "" where neither is.
        dims: names of its axes after the period, each with labels in `Environment.coords`.
        at: what one number stands for all periods: a stock is reported at the horizon, a flow as the mean over them.
    """

    unit: str
    better: Literal["higher", "lower", ""] = ""
    dims: tuple[str, ...] = ()
    at: Literal["horizon", "periods"] = "periods"


class Environment(NamedTuple):
    """A decision problem over time: pure functions, each a small NumPyro program whose randomness is sample sites.

    Attributes:
        name: what it is called in reports and files.
        prior: `() -> params`, the unknown constants; its sites are the priors.
        initial: `params -> state`, where it starts.
        step: `(state, action, params) -> (state, outcome)`, one period; its sites are the exogenous noise, not centred
            on anything the action changes, and `outcome` is a NamedTuple.
        arms: `names or None -> {name: action}`, the actions that have a name; None asks for the default ones.
            Names may be paths of mechanism files, or loaded mechanisms, where there is a schema of them. Beside the
            default ones an arm may be a policy, `stepping.Deciding`.
        outcomes: the fields of `outcome` that reports are about.
        coords: labels of every dimension used in `outcomes`.
        period: what one period is called in reports and results: year, round, quarter, episode; its plural has an s.
        baseline: the arm that effects are measured against unless the user names another.
        observe: `(state, params) -> Observation`, what a decision-maker sees.
        reward: `outcome -> array`, per agent or per objective.
        ended: `(state, params) -> bool`, whether the problem is over in a state; None: it never is.
        measure: `(outcomes, params, data) -> None`, the measurement model over all periods; see `measured`.
        guide: `(state, action, params, data) -> {site: (loc, scale)}`, a normal approximation of what one period's
            measurements (a cell per keyword, NaN where missing) say about noise sites of `step` that are standard
            normal; it changes how fast the sampler mixes and not what it samples.
        read: `(table, mechanism) -> Recorded`, how a user's record becomes data; see `bayesalloc.records`.
        columns: column of a record -> what it holds, for those who write one.
        payoff: the outcome that is each agent's private payoff, or "".
        deviate: `(action, agent) -> action`, the same action with one agent (an index) no longer complying.
        refusal: the arm that holds when an agent refuses, or "".
        mechanism: what the mechanism files hold that may be its actions; see `bayesalloc.mechanism.Schema`.
        check: `(action, sites) -> None`, refuses interventions on sites that cannot reach what an action does, which
            would else be reported as an effect of zero.
        alike: `actions -> actions`, the same ones in one structure, so that they can be stacked; None: as the schema
            of its mechanisms has it, or they have one.
    """

    name: str
    prior: Callable[[], Any]
    initial: Callable[[Any], Any]
    step: Callable[[Any, Any, Any], tuple[Any, Any]]
    arms: Callable[[Sequence[Any] | None], dict[str, Any]]
    outcomes: Mapping[str, Outcome]
    coords: Mapping[str, Sequence[str]] = {}
    period: str = "year"
    baseline: str = ""
    observe: Callable[[Any, Any], Any] | None = None
    reward: Callable[[Any], Array] | None = None
    ended: Callable[[Any, Any], Array] | None = None
    measure: Callable[[Any, Any, Mapping[str, ArrayLike]], None] | None = None
    guide: Callable[[Any, Any, Any, Mapping[str, Array]], Mapping[str, tuple[Array, Array]]] | None = None
    read: Callable[..., "Recorded"] | None = None
    columns: Mapping[str, str] = {}
    payoff: str = ""
    deviate: Callable[[Any, ArrayLike], Any] | None = None
    refusal: str = ""
    mechanism: Schema | None = None
    check: Callable[[Any, Mapping[str, Any]], None] | None = None
    alike: Callable[[Sequence[Any]], Sequence[Any]] | None = None


class Observation(NamedTuple):
    """What a decision-maker sees: `values`, shape (n_values,), and `mask`, shape (n_actions,), True where allowed."""

    values: Array
    mask: Array


class Recorded(NamedTuple):
    """A record as an environment reads it: the environment that fits it, its data, and the periods it covers.

    Attributes:
        environment: the environment, sized to the record.
        data: keywords of the model, NaN where a cell is missing.
        labels: per period (and group), the name of the arm in force; shape (period, ...).
        periods: the label of each, such as its year.
        warnings: sentences on what was assumed or ignored.
        noncentered: pooled sites about which the record says little, for which the sampler does better with the
            non-centred form (Betancourt & Girolami 2015, arXiv:1312.0906).
    """

    environment: Environment
    data: dict[str, Any]
    labels: Any
    periods: list[int]
    warnings: list[str] = []
    noncentered: tuple[str, ...] = ()


def stack(actions: Sequence[Any]) -> Any:
    """Actions of one structure, stacked on a new leading axis.

    >>> stack([{"a": 1.0}, {"a": 2.0}])["a"].tolist()
    [1.0, 2.0]
    """
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *actions)


def alike(env: Environment, actions: Sequence[Any]) -> Sequence[Any]:
    """Actions of an environment in one structure, as its schema says, so that they can be stacked."""
    if env.alike is not None:
        return env.alike(actions)
    return actions if env.mechanism is None else env.mechanism.alike(actions)


def schema_of(env: Environment | Model) -> Schema:
    """The schema of an environment's mechanism files.

    Raises:
        InputError: where there is none.
    """
    if not isinstance(env, Environment):
        raise InputError("a plain model has no mechanism files: mechanisms are the actions of an environment")
    if env.mechanism is None:
        raise InputError(f"{env.name} has no mechanism files; its actions are {listed(env.arms(None))}")
    return env.mechanism


def as_model(
    env: Environment, arms: Mapping[str, Any] | None = None, horizon: int = 20, *, guided: bool = False
) -> Model:
    """The environment as a plain NumPyro model function, for NUTS, SVI, `Predictive` and ArviZ.

    The model has a top-level site `mechanism`, the index of the arm in force (one number, or one per period), so that
    NumPyro's own `do(model, data={"mechanism": k})` chooses an arm. Every outcome is a deterministic site with a
    leading axis of periods. Data keywords default to None, and NaN in them means missing: a keyword named after a site
    of `step` conditions that site, the others go to `env.measure`.

    Args:
        env: the environment.
        arms: name -> action; default: the environment's own.
        horizon: number of periods.
        guided: whether the noise that `env.guide` knows of is sampled as its standardised deviation from the guide,
            site `<name>_standard`, with the same posterior: for NUTS and SVI.

    Returns:
        `model(mechanism=None, **data)`.

    Raises:
        InputError: (when the model runs) for a data keyword that the environment cannot use.
    """
    actions = stack(list((env.arms(None) if arms is None else arms).values()))
    n_arms = len(jax.tree.leaves(actions)[0])

    def model(mechanism: ArrayLike | None = None, **data: ArrayLike | None) -> None:
        given = {name: jnp.asarray(value) for name, value in data.items() if value is not None}
        params = env.prior()
        index = numpyro.sample("mechanism", dist.CategoricalProbs(jnp.ones(n_arms) / n_arms), obs=mechanism)
        index = jnp.asarray(index)
        index = jnp.broadcast_to(index, (horizon, *index.shape[1:]))

        by_period = {name: value for name, value in given.items() if value.ndim and len(value) == horizon}

        def body(state: Any, inputs: tuple[Array, dict[str, Array]]) -> tuple[Any, Any]:
            arm, measurements = inputs
            action = jax.tree.map(lambda leaf: leaf[arm], actions)
            if not guided or env.guide is None:
                return env.step(state, action, params)
            guides = env.guide(state, action, params, measurements)
            config: dict[str, Reparam] = {name: _Guided(*guide) for name, guide in guides.items() if name not in given}
            with numpyro.handlers.reparam(config=config):
                return env.step(state, action, params)

        conditions = _Given(given)
        with conditions:
            _, outcomes = scan(body, env.initial(params), (index, by_period))
        for name in env.outcomes:
            numpyro.deterministic(name, getattr(outcomes, name))
        unused = set(given) - conditions.reached
        if env.measure is not None:
            env.measure(outcomes, params, given)
        elif unused:
            raise InputError(f"{env.name} cannot use the data {listed(unused)}; it has {listed(env.outcomes)}")

    return model


def measured(name: str, distribution: dist.Distribution, data: Mapping[str, ArrayLike]) -> None:
    """A measurement site `<name>_observed`: data where `data` has `name`, and NaN in it counts as missing.

    Without any data the site is drawn (a simulated record); with some, but not of this name, nothing was measured.

    Args:
        name: the data column; its array has the distribution's shape.
        distribution: what a measurement would be, given the truth.
        data: column -> values.
    """
    values = data.get(name)
    if values is None:
        if data:
            return
        numpyro.sample(f"{name}_observed", distribution)
        return
    values = jnp.asarray(values)
    there = ~jnp.isnan(values)
    with numpyro.handlers.mask(mask=there):
        numpyro.sample(f"{name}_observed", distribution, obs=jnp.where(there, values, 0.5))


class _Guided(Reparam):
    """A standard normal site, sampled as its standardised deviation from a guide; its density stays its own.

    Centring each latent variable on its own conditional removes the funnel between the noise and the scale of the
    measurement error (partially non-centred form: Papaspiliopoulos, Roberts & Skold 2007, Statistical Science 22:59).
    """

    def __init__(self, loc: Array, scale: Array) -> None:
        self.loc, self.scale = loc, scale

    def __call__(self, name: str, fn: dist.Distribution, obs: Array | None) -> tuple[None, Array]:
        """NumPyro's hook: the value of the site from a site of its own."""
        normal = dist.Normal().expand(fn.shape()).to_event(fn.event_dim)
        deviation = numpyro.sample(f"{name}_standard", normal)
        value = self.loc + self.scale * deviation
        jacobian = jnp.log(jnp.broadcast_to(self.scale, fn.shape())).sum()
        numpyro.factor(f"{name}_density", fn.log_prob(value) - normal.log_prob(deviation) + jacobian)
        return None, value


class _Given(Following):
    """Conditions sites inside the time scan on data with a leading axis of periods; NaN leaves a site unconditioned.

    A missing value is filled with its expectation and carries no density.
    """

    def __init__(
        self, data: Mapping[str, Array], period: Array | None = None, horizon: int = 0, reached: set[str] | None = None
    ) -> None:
        self.data, self.period, self.horizon = data, period, horizon
        self.reached: set[str] = set() if reached is None else reached
        super().__init__()

    def inside(self, period: Array | None, horizon: int | None) -> Messenger:
        """See the base class."""
        return _Given(
            self.data, *((self.period, self.horizon) if period is None else (period, horizon or 0)), self.reached
        )

    def site(self, msg: Message) -> None:
        """See the base class."""
        if msg["type"] != "sample" or msg["name"] not in self.data or self.period is None:
            return
        self.reached.add(msg["name"])
        if len(self.data[msg["name"]]) != self.horizon:  # JAX would repeat the last one
            raise InputError(f"'{msg['name']}' has {len(self.data[msg['name']])} periods; the model has {self.horizon}")
        value = self.data[msg["name"]][self.period]
        there = ~jnp.isnan(value)
        msg["value"] = jnp.where(there, value, msg["fn"].mean)
        msg["fn"] = _masked(msg["fn"], there)
        msg["is_observed"] = True


def _masked(fn: dist.Distribution, there: Array) -> dist.Distribution:
    """The distribution without the density of what is missing; independent events are masked one by one."""
    if isinstance(fn, dist.Independent):
        return _masked(fn.base_dist, there).to_event(fn.reinterpreted_batch_ndims)
    return fn.mask(there.all(axis=tuple(range(-fn.event_dim, 0))))
