"""What would happen to the common good if resources were shared out by this rule instead of that one?"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if not (Path(__file__).parent / "models").is_dir():  # an editable install or a raw checkout: content lies beside us
    __path__.append(str(Path(__file__).parent.parent))

if TYPE_CHECKING:
    from bayesalloc.effects import ate as ate, compare as compare, counterfactual as counterfactual
    from bayesalloc.environment import (
        Environment as Environment,
        Outcome as Outcome,
        Recorded as Recorded,
        as_model as as_model,
        measured as measured,
    )
    from bayesalloc.errors import InputError as InputError, InterventionError as InterventionError
    from bayesalloc.following import seed_by_name as seed_by_name
    from bayesalloc.inference import diagnose as diagnose, fit as fit
    from bayesalloc.intervene import do as do
    from bayesalloc.library import (
        load_mechanism as load_mechanism,
        load_model as load_model,
        mechanism_arms as mechanism_arms,
    )
    from bayesalloc.mechanism import Mechanism as Mechanism, Schema as Schema
    from bayesalloc.simulate import hold as hold, rollout as rollout

_PUBLIC = {
    "effects": ("ate", "compare", "counterfactual"),
    "environment": ("Environment", "Outcome", "Recorded", "as_model", "measured"),
    "errors": ("InputError", "InterventionError"),
    "inference": ("diagnose", "fit"),
    "following": ("seed_by_name",),
    "intervene": ("do",),
    "library": ("load_mechanism", "load_model", "mechanism_arms"),
    "mechanism": ("Mechanism", "Schema"),
    "simulate": ("hold", "rollout"),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}
__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    # Loaded on first use: `bayesalloc --help` must not wait for JAX.
    if name not in _HOME:
        raise AttributeError(f"module 'bayesalloc' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(f"bayesalloc.{_HOME[name]}"), name)
