"""Who may decide in `altruism.py` beside its rules and oracles, by the name that an arm of a comparison has."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from bayesalloc.models.funding import bandit, blackbox, bomara, gradient, tilt
from bayesalloc.models.funding.world import World
from bayesalloc.stepping import Deciding


def _learning(module: str, name: str) -> Any:
    """What stands on the model that reads this, so that it is found when it is asked for."""
    return getattr(importlib.import_module(f"bayesalloc.models.funding.{module}"), name)


ALLOCATORS: Mapping[str, Callable[[World], Deciding]] = {
    "bandit": lambda world: Deciding(bandit.central, bandit.TUNED["central"]),
    "bandit_agencies": lambda world: Deciding(bandit.per_agency, bandit.TUNED["per_agency"]),
    "pg_own": lambda world: Deciding(gradient.own, gradient.TUNED["own"]),
    "pg_total": lambda world: Deciding(gradient.total, gradient.TUNED["total"]),
    "ppo": lambda world: _learning("alone", "RIVALS")["ppo"],
    "dqn": lambda world: _learning("alone", "RIVALS")["dqn"],
    "ppo_pretrained": lambda world: _learning("alone", "pretrained")(),
    "blackbox": lambda world: Deciding(blackbox.black_box(world)),
    "thompson": lambda world: Deciding(bomara.optimiser(world, sampled=True)),
    "bo_no_spillovers": lambda world: Deciding(bomara.optimiser(world, spillovers=False)),
    "tilt": lambda world: Deciding(tilt.tilting(world)),
    "bo": lambda world: Deciding(bomara.optimiser(world)),
    "bomara": lambda world: Deciding(_learning("closed_loop", "online")(world)),
}
