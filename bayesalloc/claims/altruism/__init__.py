"""The published claims on funding a network of projects, and ours, beside what is measured in paired worlds."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bayesalloc.claims import Asked, Findings, Line, Picture, Row, Sweep, Table
from bayesalloc.claims.altruism.cells import Effort, run, there
from bayesalloc.claims.altruism.checks import judged, measurable
from bayesalloc.claims.altruism.published import Published, Setting, load_claims
from bayesalloc.claims.altruism.statistics import in_words, with_interval
from bayesalloc.errors import InputError
from bayesalloc.impact.rules import RULES

NAME = "altruism"
ROUNDS, WORLDS = 60, 20  # of a run that is not full, in the first setting alone
FULL_ROUNDS = 500
KEEP = Path("runs") / "altruism-cells"  # where nobody says otherwise
DRAWN = (1, 2, 5, 10, 20, 40, 60, 100, 200, 300, 400, 500)  # rounds in the figure
SAID = {"holds": "hold", "does not hold": "do not hold", "undecided": "are undecided"}
LEARNERS = (
    "#b5651d",
    "#c2185b",
    "#7b5ea7",
    "#2a6f97",
    "#d4a017",
    "#8d6e63",
    "#43aa8b",
    "#577590",
    "#e76f51",
    "#a44a3f",
)
COLOURS = {"bo": "#1b4332", "bomara": "#6a040f", "oracle_local": "#9e9e9e", "knapsack": "#6b705c"}
TERMS = {
    "share of the oracle": "impact over that of one who knows every effect, room and spill-over, but not delivery. The"
    " oracle that also knows delivery (oracle local) is above 1.",
    "measured": "the mean over worlds in each of the rounds that are named beside it on the right, in this order.",
    "margin": "by how much it is above what is claimed, in the last of these rounds; the brackets hold the mean over"
    " worlds with {level} probability (paired bootstrap).",
    "turnover": "share of the budget that moves from a round to the next, over the last 50 rounds.",
    "variance": "mean over projects of the variance of their shares over the last 50 rounds, times a million.",
    "converged": "median over worlds of the first round from which the mean share of the oracle over 20 rounds stays at"
    " 98 % or more of its final level; in brackets in how many worlds that would be later than measured.",
    "slope": "of reported impact on money (K as it is seen), by regression of all reports of a run and with effects of"
    " projects and rounds; by do: of what a quarter more does to a random half of the grants in the same rounds; true:"
    " of the curve. Where money follows what is believed, a regression does not say what money does.",
    "p": "by chance alone a difference as large would come about with this probability (sign flips over worlds).",
}


def measure(asked: Asked) -> Findings:
    """The default world over 60 rounds; a full run has 500 rounds, in all settings.

    Options: `experiments`, names of settings; `worlds` in each of them; `rounds`; `keep`, the folder of finished cells.
    """
    given = asked.only(NAME, "experiments", "worlds", "rounds", "keep")
    published = load_claims()
    settings = published.only(given.get("experiments"))
    if "experiments" not in given and not asked.full:
        settings = settings[:1]
    rounds = given.get("rounds", FULL_ROUNDS if asked.full else ROUNDS)
    worlds = given.get("worlds", None if asked.full else WORLDS)
    keep = Path(given.get("keep", KEEP))
    try:
        keep.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{keep}: cannot be written to: {error.strerror}") from None
    names = there(published.model)
    chosen = [(each, published.measured(each, names, full=asked.full)) for each in settings]
    found = run(published.model, chosen, Effort(rounds, worlds, keep), asked.seed, progress=asked.progress)
    return report(published, settings, found)


def report(published: Published, settings: Sequence[Setting], found: Mapping[str, xr.Dataset]) -> Findings:
    """What the measurements of `cells.run` say of the claims."""
    record = judged(published, settings, found)
    level, rounds = f"{100 * published.interval:.0f} %", record["rounds"]
    missing = record["missing"]
    return Findings(
        title="Funding altruistic projects: published claims beside what is measured",
        rows=[*_rows(record)],
        measures={in_words(at, rounds): f"in {in_words(at, rounds)}" for at in measurable(rounds)},
        sections={each.name: each.title for each in settings},
        sentences=_sentences(record, level),
        record=record,
        data=xr.DataTree.from_dict({f"/{name}": data for name, data in found.items()}),
        warnings=[f"Not part of this run: {', '.join(missing)}."] if missing else [],
        terms={name: text.replace("{level}", level) for name, text in TERMS.items()},
        pictures=[_picture(each, found[each.name], published.interval) for each in settings],
        tables=[table for each in settings for table in _tables(each.name, record)],
    )


def _rows(record: Mapping[str, Any]) -> Iterator[Row]:
    for claim in record["claims"]:
        values = [each["measured"] for each in claim["at"].values()]
        decimals = 1 if claim["quantity"] == "gain" else 3
        measured = ", ".join("-" if value is None else f"{value['mean']:.{decimals}f}" for value in values)
        last = values[-1]
        margin = ""
        if last is not None:
            mean, low, high = (f"{last[end] - claim['least']:.{decimals}f}" for end in ("mean", "low", "high"))
            margin = mean if claim["quantity"] == "worst" else f"{mean} [{low}, {high}]"
        yield Row(
            claim["setting"],
            f"{'ours: ' if claim['ours'] else ''}{claim['text']}",
            {in_words(at, record["rounds"]): each["verdict"] for at, each in claim["at"].items()},
            _plain(claim["of"]) + (f" over {_plain(claim['than'])}" if claim["than"] else ""),
            f"{claim['least']:g} %" if claim["quantity"] == "gain" else f"{claim['least']:g}",
            measured,
            margin,
        )


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _sentences(record: Mapping[str, Any], level: str) -> list[str]:
    lines = []
    for name, setting in record["settings"].items():
        claims = [each for each in record["claims"] if each["setting"] == name and not each["ours"]]
        counts = Counter([*each["at"].values()][-1]["verdict"] for each in claims)
        said = ", ".join(f"{counts[verdict]} {words}" for verdict, words in SAID.items() if counts[verdict])
        share = setting["allocators"].get("bo", {}).get("share", {}).get("last 50")
        reached = ""
        if share is not None:
            worst = setting["allocators"]["bo"]["worst"]
            reached = (
                f" Bayesian optimisation alone reaches {share['mean']:.3f} [{share['low']:.3f}, {share['high']:.3f}] of"
                f" the oracle in {in_words('last 50', record['rounds'])}, {worst:.3f} in the worst world ({level})."
            )
        lines.append(
            f"{name}, {setting['worlds']} worlds: of {len(claims)} published claims, each against one allocator and in"
            f" the last of its rounds, {said or 'none was measured'}.{reached}"
        )
    return lines


def _picture(setting: Setting, data: xr.Dataset, probability: float) -> Picture:
    """Share of the oracle over the rounds, of those that learn and the strongest that does not."""
    rounds = [each for each in DRAWN if each <= data.sizes["round"]]
    lines = {}
    drawn = [name for name in data["allocator"].values.tolist() if name in COLOURS or name not in RULES]
    colours = itertools.cycle(LEARNERS)
    for name in (name for name in drawn if name != "oracle"):
        colour = COLOURS.get(name) or next(colours)
        share = data["share_of_oracle"].sel(allocator=name).values[:, [each - 1 for each in rounds]]
        found = [with_interval(each, probability) for each in share.T]
        if all(each is not None for each in found):
            mean, low, high = (np.array([each[end] for each in found if each]) for end in ("mean", "low", "high"))
            lines[_plain(name)] = Line(mean, low, high, colour)
    caption = f"Share of the oracle's impact, average over worlds and its {100 * probability:.0f} % interval."
    return Picture(setting.name, caption, [Sweep(setting.name, "round", rounds, lines)])


def _tables(setting: str, record: Mapping[str, Any]) -> Iterator[Table]:
    """What each allocator does, and by how much others are below Bayesian optimisation."""
    found, rounds = record["settings"][setting], record["rounds"]
    shown = [at for at in measurable(rounds) if not at.startswith("to ")]
    yield Table(
        setting,
        "Share of the oracle",
        ["allocator", *(in_words(at, rounds) for at in shown), "worst world", "turnover", "variance", "converged"],
        [
            [
                _plain(name),
                *(_number(each["share"][at], 3, interval="last" in at) for at in shown),
                f"{each['worst']:.3f}",
                f"{each['turnover']:.3f}",
                f"{1e6 * each['variance']:.1f}",
                "" if (at := each["converged"]) is None else f"{at['median']:.0f} ({at['later']})",
            ]
            for name, each in found["allocators"].items()
        ],
    )
    for name, each in found["allocators"].items():
        if each["slopes"]:
            yield Table(
                setting,
                f"Slope of log impact on log(1 + x / K), in the rounds of {_plain(name)}",
                ["", "slope"],
                [[kind, _number(value, 3, interval=True)] for kind, value in each["slopes"].items()],
            )
    at = measurable(rounds)
    for of, gains in found["gains"].items():
        yield Table(
            setting,
            f"By how many % {_plain(of)} is above each",
            ["allocator", *(in_words(name, rounds) for name in at), "p", "worlds ahead"],
            [
                [
                    _plain(than),
                    *(_number(each[name]["gain"], 1, interval=True) for name in at),
                    f"{each['last 50']['p']:.3g}",
                    f"{each['last 50']['ahead']} of {each['last 50']['worlds']}",
                ]
                for than, each in gains.items()
            ],
        )


def _number(value: Mapping[str, float] | None, decimals: int, *, interval: bool) -> str:
    if value is None:
        return ""
    mean, low, high = (f"{value[end]:.{decimals}f}" for end in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]" if interval else mean
