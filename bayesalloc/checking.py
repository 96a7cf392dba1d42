"""Whether an environment holds together: what it declares and what its functions return; a sentence for each fault."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from bayesalloc.environment import Environment, Observation, Outcome, as_model, schema_of
from bayesalloc.errors import InputError, listed
from bayesalloc.following import seed_by_name
from bayesalloc.mechanism import Mechanism, check_schema, of_model
from bayesalloc.sites import RESERVED

BETTER, AT = ("higher", "lower", ""), ("horizon", "periods")
REQUIRED, OPTIONAL = (
    ("prior", "initial", "step", "arms"),
    ("observe", "reward", "ended", "measure", "guide", "deviate", "alike"),
)


def checked(env: Environment) -> Environment:
    """The environment, with an unknown arm refused by the names that there are; checked once.

    Raises:
        InputError: see `check_environment`.
    """
    if isinstance(env.arms, _Arms):
        return env
    env = known_arms(env)
    check_environment(env)
    return env


def known_arms(env: Environment) -> Environment:
    """The environment with arms that are those asked for, or a refusal."""
    return env if isinstance(env.arms, _Arms) else env._replace(arms=_Arms(env))


class _Arms:
    """The arms of an environment by name; an environment's own function may not look at the names it is given."""

    def __init__(self, env: Environment) -> None:
        self.env, self.arms = env, env.arms

    def __call__(self, names: Sequence[str | Mechanism] | None) -> dict[str, Any]:
        if names is None:
            return self.arms(None)
        for name in names:
            if isinstance(name, Mechanism):
                of_model(name, schema_of(self.env))
        found = self._asked(names)
        unknown = [] if found else [name for name in names if not self._asked([name])]
        if unknown:
            raise InputError(f"{self.env.name} has no arm '{listed(unknown)}'; there are {listed(self.arms(None))}")
        return found

    def _asked(self, names: Sequence[str | Mechanism]) -> dict[str, Any]:
        """The arms of these names; none where one is not there."""
        try:
            found = self.arms(names)
        except (LookupError, ValueError) as error:
            cause = error.__cause__ if isinstance(error, InputError) else error  # a loaded file's errors are wrapped
            if isinstance(cause, InputError) or not isinstance(cause, LookupError | ValueError):
                raise
            return {}
        named = [name.name if isinstance(name, Mechanism) else name for name in names]
        places = [name if name in found else label(name) for name in named]
        return {place: found[place] for place in places} if set(places) <= set(found) else {}


def label(name: str) -> str:
    """What the arm of a file is called: the file's stem, and what the name says after a colon.

    >>> label("runs/my.policy:1,0,0"), label("runs/my.toml")
    ('my:1,0,0', 'my')
    """
    path, colon, more = name.rpartition(":")
    return Path(path).stem + colon + more if Path(path).suffix else Path(name).stem


def check_environment(env: Environment) -> None:
    """Refuse an environment whose parts do not fit together.

    Raises:
        InputError: one sentence on the first fault: a field, its value, and what is allowed.
    """
    env = known_arms(env)
    if not env.name or not isinstance(env.name, str):
        raise InputError(f"an environment has the name {env.name!r}; it must be text")
    for part in (*REQUIRED, *OPTIONAL, "read"):
        value = getattr(env, part)
        if not callable(value) and (part in REQUIRED or value is not None):
            raise InputError(f"{env.name}: {part} is {value!r}; it must be a function")
    if not isinstance(env.outcomes, Mapping):
        raise InputError(f"{env.name}: outcomes is a {type(env.outcomes).__name__}; it must be name -> Outcome")
    if not isinstance(env.period, str) or not env.period.isidentifier() or env.period in {*RESERVED, *env.coords}:
        raise InputError(
            f"{env.name}: period is {env.period!r}; it must be one word, such as year or round, and no other dimension"
        )
    for name, labels in env.coords.items():
        if isinstance(labels, str) or len(set(labels)) < len(list(labels)):
            raise InputError(f"{env.name}: coords of '{name}' are {labels!r}; they must be different labels")
    if not isinstance(env.columns, Mapping):
        raise InputError(f"{env.name}: columns is a {type(env.columns).__name__}; it must be column -> what it holds")
    for name, outcome in env.outcomes.items():
        _check_outcome(env, f"{env.name}: outcome '{name}'", outcome)
    if env.mechanism is not None:
        _run(env, "mechanism", lambda: check_schema(env.mechanism, env.name))
    default = _run(env, "arms", lambda: env.arms(None))
    if not isinstance(default, Mapping) or not default:
        raise InputError(f"{env.name}: arms(None) must be name -> action, with at least one")
    for part in ("baseline", "refusal"):
        if getattr(env, part):
            try:
                env.arms([getattr(env, part)])
            except InputError as error:
                raise InputError(f"{env.name}: {part} is '{getattr(env, part)}', which is no arm: {error}") from None
    if env.payoff and (env.payoff not in env.outcomes or tuple(env.outcomes[env.payoff].dims) != ("agent",)):
        agents = [name for name, outcome in env.outcomes.items() if tuple(outcome.dims) == ("agent",)]
        raise InputError(
            f"{env.name}: payoff is '{env.payoff}'; it must be an outcome with dims ('agent',): {listed(agents)}"
        )
    action = jax.tree.map(jnp.asarray, next(iter(default.values())))
    jax.eval_shape(lambda: _check_period(env, action))
    two_periods = seed_by_name(as_model(env, horizon=2), jax.random.key(0))
    _run(env, "measure", lambda: jax.eval_shape(lambda: two_periods(mechanism=0)))


def _check_outcome(env: Environment, what: str, outcome: Any) -> None:
    if not isinstance(outcome, Outcome):
        raise InputError(f"{what} is a {type(outcome).__name__}; it must be an Outcome")
    for field, allowed in (("better", BETTER), ("at", AT)):
        if getattr(outcome, field) not in allowed:
            choices = ", ".join(f"'{value}'" for value in allowed)
            raise InputError(f"{what}: {field} is {getattr(outcome, field)!r}; it must be one of {choices}")
    if not isinstance(outcome.unit, str):
        raise InputError(f"{what}: unit is {outcome.unit!r}; it must be text")
    if isinstance(outcome.dims, str) or len(set(outcome.dims)) < len(outcome.dims):
        raise InputError(f"{what}: dims are {outcome.dims!r}; they must be a tuple of different names")
    for dim in outcome.dims:
        if dim in {*RESERVED, env.period}:
            raise InputError(f"{what}: a dimension is called '{dim}', as one of every result")
        if dim not in env.coords:
            raise InputError(f"{what}: the dimension '{dim}' has no coords; there are {listed(env.coords)}")


def _check_period(env: Environment, action: Any) -> None:
    """What the functions return in one period; run for its shapes alone."""
    key = jax.random.key(0)
    params = _run(env, "prior", seed_by_name(env.prior, key))
    state = _run(env, "initial", lambda: seed_by_name(env.initial, key)(params))
    result = _run(env, "step", lambda: seed_by_name(env.step, key)(state, action, params))
    if not isinstance(result, tuple) or len(result) != 2:
        raise InputError(f"{env.name}: step returns a {type(result).__name__}; it must be (state, outcome)")
    after, outcome = result
    forms = [_form(each) for each in (state, after)]
    if forms[0] != forms[1]:
        parts = " into ".join(listed(parts) for _, parts in forms)
        raise InputError(f"{env.name}: step turns a state of {parts}; a state keeps its form")
    fields = getattr(outcome, "_fields", None)
    if fields is None:
        raise InputError(f"{env.name}: step's outcome is a {type(outcome).__name__}; it must be a NamedTuple")
    for name, declared in env.outcomes.items():
        if name not in fields:
            raise InputError(f"{env.name}: outcome '{name}' is no field of step's outcome; there are {listed(fields)}")
        shape, sizes = jnp.shape(getattr(outcome, name)), {dim: len(env.coords[dim]) for dim in declared.dims}
        if shape != tuple(sizes.values()):
            said = ", ".join(f"{dim} of {size}" for dim, size in sizes.items()) or "none"
            raise InputError(f"{env.name}: outcome '{name}' has shape {shape}, which its dims do not fit: {said}")
    if env.observe is not None:
        seen = _run(env, "observe", lambda: env.observe and env.observe(state, params))
        if not isinstance(seen, Observation) or jnp.ndim(seen.mask) != 1:
            raise InputError(f"{env.name}: observe must return an Observation, whose mask has one dimension")
    if env.reward is not None:
        reward = _run(env, "reward", lambda: env.reward and env.reward(outcome))
        if not hasattr(reward, "dtype") and not isinstance(reward, int | float):
            raise InputError(f"{env.name}: reward returns a {type(reward).__name__}; it must be a number or an array")
    if env.ended is not None:
        ended = _run(env, "ended", lambda: env.ended and env.ended(state, params))
        if jnp.shape(ended) != () or jnp.result_type(ended) != jnp.bool_:
            raise InputError(f"{env.name}: ended must return true or false, one of them")


def _run(env: Environment, part: str, function: Callable[[], Any]) -> Any:
    """What a function of the environment returns; whatever it raises is a fault of the environment."""
    try:
        return function()
    except InputError:
        raise
    except Exception as error:
        first = (str(error).strip() or "no message").splitlines()[0]
        raise InputError(f"{env.name}: {part} raised {type(error).__name__}: {first}") from error


def _form(state: Any) -> tuple[Any, list[str]]:
    """The structure of a state, and the type and shape of its parts."""
    parts = [f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}" for leaf in jax.tree.leaves(state)]
    return jax.tree.structure(state), parts
