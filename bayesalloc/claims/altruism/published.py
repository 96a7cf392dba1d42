"""The published claims on funding a network of projects, and ours, as `models/published/altruism.toml` states them."""

import tomllib
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from bayesalloc.errors import InputError, listed
from bayesalloc.library import content

Quantity = Literal["gain", "share", "worst"]


class Setting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A world that is measured: `world` has the fields that differ from the default; `worlds` a full run's number."""

    name: str
    title: str
    world: dict[str, Any] = {}
    worlds: int = 20


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is claimed of allocators; the file says what the fields mean."""

    text: str
    of: list[str]
    least: float
    at: list[str]
    than: list[str] = []
    quantity: Quantity = "gain"
    settings: list[str] | None = None
    ours: bool = False


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings and claims, and the probability of the intervals that decide.

    `full_only` are allocators that only a full run measures, `first_only` those that only the first setting has.
    """

    model: str
    interval: float
    full_only: list[str]
    first_only: list[str]
    settings: list[Setting]
    claims: list[Claim]

    def measured(self, setting: Setting, there: Sequence[str], *, full: bool) -> list[str]:
        """Which of the allocators that there are a run measures in a setting."""
        out = {*([] if full else self.full_only), *([] if setting == self.settings[0] else self.first_only)}
        return [name for name in there if name not in out]

    def only(self, names: Sequence[str] | None) -> list[Setting]:
        """The settings of these names; all for None.

        Raises:
            InputError: for one that is not there.
        """
        there = [each.name for each in self.settings]
        if strange := set(names or ()) - set(there):
            raise InputError(f"altruism has no setting '{listed(strange)}'; there are {listed(there)}")
        return [each for each in self.settings if names is None or each.name in names]

    @property
    def allocators(self) -> list[str]:
        """All that claims are about."""
        named = (name for claim in self.claims for name in (*claim.than, *claim.of))
        return [*dict.fromkeys(named)]


def load_claims(name: str = "altruism") -> Published:
    """The settings and claims of a shipped file."""
    path = content("models") / "published" / f"{name}.toml"
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Published)
