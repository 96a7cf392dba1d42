"""Published claims beside what is measured: the claims are a file beside the models, the measuring is `compare`."""

import tomllib

import msgspec

from bayesalloc.library import content


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published number: the mean of an arm, or with `control` its effect against that arm."""

    arm: str
    outcome: str
    value: float
    tolerance: float
    control: str | None = None


class Ordering(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arms from the lowest to the highest `statistic` of an outcome: mean, width or effect_width (of the interval)."""

    outcome: str
    statistic: str
    arms: list[str]
    control: str | None = None


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published comparison of arms; `at` says whether its means are at the 'horizon' or over the 'years'."""

    model: str
    draws: int
    horizon: int
    at: str
    claims: list[Claim]
    orderings: list[Ordering] = []


def load_claims(name: str) -> Published:
    """The published claims on a shipped model."""
    path = content("models") / "published" / f"{name}.toml"
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Published)
