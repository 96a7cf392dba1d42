"""The published learners as their experiments use them: on every graph networks of its own, for a whole sweep.

Networks have a leading graph axis: those of one graph are trained beside those of the others.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import msgspec
from jaxtyping import Array, Bool

from bayesalloc.agents import files, training
from bayesalloc.allocators.evaluate import Allocation
from bayesalloc.allocators.instances import Setting
from bayesalloc.allocators.learned import LEARNED
from bayesalloc.errors import InputError


def plan(method: str, settings: Sequence[Setting], max_quantity: int, episodes: int = 1) -> Any:
    """The published plan of a learned method, with room for all that the settings of a sweep may bring.

    Args:
        method: a name in LEARNED.
        settings: of the sweep.
        max_quantity: most items in a request of the negotiation.
        episodes: how many are played on each graph.
    """
    first, most = settings[0], max(max(setting.tasks) for setting in settings)
    utilities = first.utilities if first.shuffled_utilities else (*first.utilities, *[0] * most)[:most]
    setting = dataclasses.replace(first, tasks=(most,), utilities=utilities)
    entry = LEARNED[method]
    return entry.asking(entry.method.presets["thesis"](setting, episodes), max_quantity)


def allocator(method: str, plan: Any) -> Callable[..., Allocation]:
    """`(problem, rng_key, networks of its graph) -> Allocation`."""
    owned = max(plan.setting.tasks)
    return lambda problem, key, network: LEARNED[method].allocator(plan, network, owned)(problem, key)


def train(
    method: str,
    plan: Any,
    settings: Sequence[Setting],
    joined: Bool[Array, "graph agent agent"],
    rng_key: Array,
    *,
    progress: bool = False,
) -> Any:
    """Networks trained on one graph each; every episode brings one of the settings, equally likely."""
    alone = LEARNED[method].method.course(plan)
    course = alone._replace(
        trainer=training.SideBySide(lambda here: LEARNED[method].trainer(plan, settings, here), joined),
        episodes=plan.episodes * len(joined),
        steps=alone.steps * len(joined),
    )
    return jax.tree.map(jnp.asarray, course.network(training.train(course, rng_key, progress=progress).run))


def kept(path: Path, order: Mapping[str, Any], method: str, plan: Any, graphs: int, make: Callable[[], Any]) -> Any:
    """The networks in a file; where there is none, those that `make` makes, which are then put there.

    Args:
        path: of the file.
        order: how they were trained, or shall be: anything in types of msgspec.
        method: a name in LEARNED.
        plan: of the method.
        graphs: how many.
        make: trains them.

    Raises:
        InputError: where the networks in the file were trained otherwise.
    """
    asked = msgspec.json.decode(msgspec.json.encode(order))  # as a file gives it back
    if not path.exists():
        networks = make()
        files.write(path, "networks", {"asked": asked}, networks)
        return networks
    stored = files.read(path, "networks")
    if stored.header["asked"] != asked:
        raise InputError(f"{path}: its networks were trained otherwise; give another folder")
    keys = jax.random.split(jax.random.key(0), graphs)
    like = jax.eval_shape(jax.vmap(lambda key: LEARNED[method].method.network(plan, key)), keys)
    return jax.tree.map(jnp.asarray, stored.tree(like))
