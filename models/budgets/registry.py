"""What `bayesalloc train budget` finds, learned methods of the organisation by name; and what was learned, as arms."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayesalloc import runs
from bayesalloc.agents import policies
from bayesalloc.agents.pareto import conditioned
from bayesalloc.agents.policies import Policy, Registry
from bayesalloc.checking import label
from bayesalloc.errors import InputError, quoted
from bayesalloc.models.budget import OBJECTIVES
from bayesalloc.models.budgets.learned import METHODS, averse
from bayesalloc.settings import read_setting
from bayesalloc.stepping import Deciding

REGISTRY = Registry(
    problem="budget",
    methods=METHODS,
    read_setting=read_setting,
    trained=Path(__file__).parent / "trained",
    averse=averse,
)


@cache
def _acting(layers: tuple[int, ...]) -> Callable[..., Array]:
    """One function for each form of network: arms of one function are stacked."""
    return partial(conditioned.acting)


def deciding(policy: Policy, weights: Sequence[float] | Float[np.ndarray, " objective"] | None = None) -> Deciding:
    """A learned office as an arm of a comparison.

    Args:
        policy: what was learned.
        weights: of efficiency, risk and performance; only their proportions matter. None: all the same.

    Raises:
        InputError: for weights that are not three numbers of at least 0, one of them above.
    """
    given = np.asarray([1.0, 1.0, 1.0] if weights is None else weights, float)
    if given.shape != (3,) or not np.isfinite(given).all() or (given < 0).any() or not given.any():
        raise InputError(
            f"weights are {quoted(given.tolist())}; they are three numbers of at least 0, of"
            f" {', '.join(OBJECTIVES)}, one of them above 0"
        )
    return Deciding(_acting(policy.plan.layers), (policy.network, jnp.asarray(given / given.sum(), jnp.float32)))


def named(name: str) -> tuple[str, Deciding]:
    """An arm by the path of a policy's file, with or without weights, as `my.policy:0.6,0.2,0.2`; and what to call it.

    Raises:
        InputError: where there is no such policy, or its weights are none.
    """
    path, _, text = name.partition(".policy")
    path = Path(f"{path}.policy")
    try:
        weights = [float(word) for word in text.removeprefix(":").split(",")] if text else None
    except ValueError:
        raise InputError(f"{quoted(name)}: weights are numbers with commas between them, as 0.6,0.2,0.2") from None
    runs.check(path)
    return label(name), deciding(policies.load(REGISTRY, path), weights)
