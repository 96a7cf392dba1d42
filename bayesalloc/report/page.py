"""A result as one HTML file that needs nothing else: no script, no font, no picture from elsewhere."""

import html
import importlib.metadata
import io
import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import xarray as xr
from matplotlib.figure import Figure

import bayesalloc
from bayesalloc.errors import visible
from bayesalloc.inference.names import unescaped
from bayesalloc.report import (
    INTERVAL,
    comparison_sentences,
    counterfactual_sentences,
    every_outcome,
    figures,
    fit_sentences,
    group,
    held_and_drawn,
    intervention,
    listing,
    main_outcomes,
    measures,
    notes,
    period,
    periods,
    tables,
    words,
)

if TYPE_CHECKING:
    from bayesalloc.inference.diagnosing import Verdict

LIBRARIES = ("numpyro", "jax", "arviz", "xarray", "numpy")

AT_DATA = "based on the prior, at the data given"
BASIS = {"prior": "based on the prior: no record was used", "posterior": "based on the posterior: given the record"}
EFFECT_TERMS = {
    "average effect [low, high]": "the difference between two arms, averaged over chance; it lies in the brackets with"
    " {level} probability, given what is known of the parameters.",
    "one future": "where the difference would lie with {level} probability in one single course of events: chance comes"
    " on top.",
    "P(>0)": "the probability that the average effect is above zero.",
    "MC error": "the standard error of the average effect that comes from the number of draws; more draws lessen it.",
    "parameters : chance": "what the spread of one future's effect comes from, in percent of its variance; more data"
    " can reduce only the first.",
}
AGENT_TERMS = {
    "would refuse": "the probability that an agent's expected payoff is lower than without an agreement.",
    "gain from not complying": "what an agent would gain if it alone did not do its part while all else went on by the"
    " rules; where it is above zero, the arm has to be enforced.",
}
DECISION_TERMS = {
    "P(best)": "the probability that an arm is the best by a criterion.",
    "expected regret": "how much worse than the best arm it is, on average over what the parameters may be.",
    "worst tenth (CVaR)": "the mean of the worst tenth of all simulated futures.",
    "value of knowing (EVPI)": "how much better the choice would be on average if the parameters were known before it;"
    " near zero, more data would not change the choice.",
}
PAST_TERMS = {
    "recorded": "what the record says, with its errors of measurement.",
    "factual": "what the model infers to have been, given the whole record.",
    "counterfactual": "what would have been at the same times, with the same chance events, had the intervention"
    " been made.",
    "difference [low, high]": "counterfactual minus factual; it lies in the brackets with {level} probability, given"
    " the model.",
    "P(>0)": "the probability that the difference is above zero.",
}
STYLE = """
:root { --ink: #1d2329; --soft: #59636e; --line: #d5dae0; --accent: #0072b2; color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff; font: 17px/1.55 Charter, Cambria, Georgia, serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1, h2, table, figcaption, .tag, svg text, dt, footer {
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif !important; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: .3rem 0 .9rem; max-width: 30em; }
h2 { font-size: 1.25rem; margin: 3rem 0 .6rem; padding-top: 1rem; border-top: 1px solid var(--line); }
p, li, dd { max-width: 44em; }
.tag { display: inline-block; font-size: .78rem; font-weight: 600; border: 1px solid; border-radius: 1em;
  padding: .05em .7em; margin: 0 .4em .4em 0; color: var(--accent); }
.answer { background: #f4f6f8; border-left: 4px solid var(--accent); padding: .6rem 1.2rem; margin: 1.2rem 0; }
.answer.bad { border-color: #d55e00; }
.answer ul { margin: .4rem 0; padding-left: 1.1em; }
.answer li { margin: .35rem 0; }
.warn { color: #a33b00; }
dl { columns: 2 24rem; column-gap: 2.5rem; margin: .8rem 0; font-size: .95rem; line-height: 1.45; }
dl div { break-inside: avoid; padding-bottom: .6rem; }
dt { font-weight: 600; font-size: .85rem; }
dd { margin: 0; }
figure { margin: 1rem 0; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); gap: .6rem 1rem; }
.panels.even { max-width: 54rem; grid-template-columns: repeat(auto-fit, minmax(min(23rem, 100%), 1fr)); }
svg { display: block; width: 100%; height: auto; max-width: 26rem; }
.wide svg { max-width: 33rem; }
figcaption, caption { color: var(--soft); line-height: 1.45; max-width: min(52rem, 100vw - 2.5rem); }
figcaption { margin-top: .4rem; }
caption { text-align: left; padding-bottom: .45rem; }
caption b { color: var(--ink); }
.scroll { overflow-x: auto; margin: 1.1rem 0; }
table { border-collapse: collapse; font-size: .84rem; line-height: 1.35; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .75rem; text-align: right; vertical-align: baseline; white-space: nowrap; font-weight: 400; }
thead th { vertical-align: bottom; white-space: normal; min-width: 5.2em; border-bottom: 1.5px solid var(--ink); }
thead th, tbody th[rowspan] { font-weight: 600; }
th.key { text-align: left; padding-left: 0; }
tbody tr.first > * { border-top: 1px solid var(--line); }
footer { margin-top: 3rem; padding-top: .8rem; border-top: 1px solid var(--line); color: var(--soft); }
figcaption, caption, footer { font-size: .85rem; }
@media (max-width: 40rem) {
  body { font-size: 16px; } main { padding-top: 1.4rem; } h1 { font-size: 1.5rem; } th, td { padding: .3rem .5rem; }
}
@media print {
  @page { margin: 16mm; } body { font-size: 10.5pt; } main { padding: 0; max-width: none; }
  h2 { break-after: avoid; margin-top: 1.6rem; } figure, tr, .scroll, .answer { break-inside: avoid; }
  .scroll { overflow: visible; } table { font-size: 7.4pt; } th, td { padding: .2rem .4rem; } dl { columns: 2; }
  .panels { grid-template-columns: repeat(3, 1fr); } .panels.even { grid-template-columns: repeat(2, 1fr); }
  .wide svg, .even svg { max-width: 24rem; } figcaption, caption, footer { font-size: 8.5pt; }
}
"""


def write_page(tree: xr.DataTree, path: str | Path, seed: int, *, verdict: "Verdict | None" = None) -> Path:
    """Writes the page of a result of `compare`, `fit` or `counterfactual`; there is never half a file.

    Args:
        tree: the result.
        path: where to; its folder must be there.
        seed: the seed of the run.
        verdict: what `diagnose` says of a fit.

    Returns:
        The path.
    """
    return write(page(tree, seed, verdict=verdict), path)


def write(text: str, path: str | Path) -> Path:
    """Writes a page, in which names from data show their control characters; there is never half a file."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_text(visible(text), encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def page(tree: xr.DataTree, seed: int, *, verdict: "Verdict | None" = None) -> str:
    """The HTML of a result: see `write_page`."""
    if "kind" not in tree.attrs:
        title, body = f"{words(tree.attrs['model'])}: what the record says", _fit(tree, verdict)
    elif tree.attrs["kind"] == "counterfactual":
        did, first = words(intervention(tree)), tree.attrs["from_year"]
        title, body = f"{words(tree.attrs['model'])}: with {did} from {first} on", _counterfactual(tree)
    else:
        treatments = listing(map(words, group(tree, "effects")["treatment"].values.tolist()))
        control = words(tree.attrs["control"])
        title, body = f"{words(tree.attrs['model'])}: {treatments} against {control}", _comparison(tree)
    return frame(title, body, seed)


def frame(title: str, body: Iterable[str], seed: int) -> str:
    """The HTML around the parts of a page."""
    title = _upper(title)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    made = f"Seed {seed}. Page written with bayesalloc {bayesalloc.__version__} ({versions})."
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{_text(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n<h1>{_text(title)}</h1>\n{''.join(body)}<footer>{_text(made)}</footer>\n</main>\n</body>\n"
        "</html>\n"
    )


def _comparison(tree: xr.DataTree) -> Iterator[str]:
    control, level = words(tree.attrs["control"]), f"{100 * tree.attrs['interval']:.0f} %"
    main, scalar = main_outcomes(tree), main_outcomes(tree, directed=False)
    with_agents, with_choice = "agents" in tree.children, bool(group(tree, "decision").sizes.get("criterion"))
    yield _tags("interventional: what would happen", _basis(tree))
    yield answer(comparison_sentences(tree, words), notes(tree))
    meanings = EFFECT_TERMS | (AGENT_TERMS if with_agents else {}) | (DECISION_TERMS if with_choice else {})
    yield section("How to read it") + terms(meanings, level)

    yield section("Outcomes of each arm")
    [arms] = tables.arms_sheets(tree, scalar, words, per_table=1000)
    if "outcomes" in tree.children:
        lines = f"Lines over the {period(tree)}s, one per arm: {{}}; the means and intervals are in the table.".format
        panels = [svg(figures.trajectories(tree, [each]), lines(words(each))) for each in main[: figures.PANELS]]
        yield figure(panels, f"Mean of each arm (line) and the band that holds {level} of the simulated futures, one"
                      f" future per draw of the parameters. Dashed: {control}.")  # fmt: skip
    yield table(arms, f"In brackets: where {level} of single futures lie, over parameters and chance. {_when(tree)}")

    yield section(f"Effects against {control}")
    sheets = tables.effects_sheets(tree, scalar, words)
    panels = []
    for outcome in scalar[: figures.PANELS]:
        label = tables.labelled(tree, outcome, words)
        rows = [f"{sheet.title}, {row[1]}" for sheet in sheets for row in sheet.rows if row[0] == label]
        panels.append(svg(figures.effects_plot(tree, [outcome]), f"{label}. {'; '.join(rows)}"))
    yield figure(panels, f"Average effect (circle), its {level} interval (thick) and the {level} interval of one"
                  " single future (thin). The vertical line is no difference.")  # fmt: skip
    note = "The relative change is left out where the control may be zero or negative."
    for i, sheet in enumerate(sheets):
        yield table(sheet, "" if i else note)
    if split := figures.uncertainty_split(tree):
        alt = "Bars: shares of parameters, chance and simulation error in the variance; see the tables of effects."
        yield section("Where the uncertainty comes from")
        yield figure([svg(split, alt)], "More data can reduce the share of the unknown parameters, more draws that"
                      " of the simulation's own error, often too small to see; nothing reduces chance.",
                      wide=True)  # fmt: skip
    if with_agents:
        yield from _agents(tree, level)
    if with_choice:
        yield section("What it means for a choice")
        yield table(tables.decision_sheet(tree, words), "Each criterion in its own unit; CVaR also in its own sign.")
    if rest := [label for label in every_outcome(tree) if label not in scalar]:
        yield section("Effects by agent" if with_agents else "Effects on single elements")
        for sheet in tables.effects_sheets(tree, rest, words):
            yield table(sheet)
    horizon = tree.attrs["horizon"]
    yield section("How it was made") + terms({
        "model": tree.attrs["model"],
        "kind": "interventional: fresh chance, the same in all arms, so that they differ only by what was done",
        "parameters": f"{tree.attrs['draws']} draws; {_basis(tree)}",
        "chance": f"{tree.attrs['futures']} futures per draw" + (f", {periods(tree, horizon)} each" if horizon else ""),
        "intervals": f"equal-tailed, {level}",
        "arms": ", ".join(group(tree, "arms")["arm"].values.tolist()),
        **({"sites": " ".join(held_and_drawn(tree))} if held_and_drawn(tree) else {}),
    })  # fmt: skip
    yield _measures(tree)


def _agents(tree: xr.DataTree, level: str) -> Iterator[str]:
    yield section("Who gains, who would refuse, who would not comply")
    alt = "Payoff of each agent under each arm, beside its payoff without an agreement; the numbers are in the table."
    yield figure([svg(figures.payoffs(tree), alt)], f"Payoff of each agent: mean and the {level} interval of one"
                  " future. Dashed: its expected payoff without an agreement. A cross marks who would probably refuse.",
                  wide=True)  # fmt: skip
    yield table(tables.agents_sheet(tree, words))
    rows = [[words(arm), words(worst), f"{gini:.2f}"] for arm, gini, worst in tables.fairness(tree)]
    sheet = tables.Sheet("Fairness", ["arm", "worst off", "Gini of payoffs"], rows, keys=2)
    yield table(sheet, "Gini: 0 when all have the same, 1 when one has all.")


def _fit(tree: xr.DataTree, verdict: "Verdict | None") -> Iterator[str]:
    level, sampled = f"{100 * INTERVAL:.0f} %", group(tree, "posterior").sizes
    yield _tags("posterior: given the record", f"method: {tree.attrs['method'].upper()}")
    unknown = [f"The posterior of {words(tree.attrs['model'])} given {tree.attrs['record_name']}: see the checks."]
    bad = verdict is not None and not verdict.usable
    yield answer(fit_sentences(tree, verdict, words) if verdict else unknown, notes(tree), bad=bad)
    if verdict:
        numbers = [
            ("largest R-hat", "chains agree where it is at most 1.01", verdict.rhat_max, ".3f"),
            ("effective samples, bulk", "of the worst parameter; at least 400", verdict.ess_bulk_min, ".0f"),
            ("effective samples, tails", "of the worst parameter; at least 400", verdict.ess_tail_min, ".0f"),
            ("divergences", "none, where the sampler reached everything", verdict.divergences, "d"),
            ("Pareto k", "the approximation can be trusted up to 0.7", verdict.pareto_k, ".2f"),
        ]
        rows = [[name, good, format(value, form)] for name, good, value, form in numbers if value is not None]
        yield section("Can it be used?")
        yield table(tables.Sheet("Diagnostics", ["measure", "what is good", "value"], rows, keys=2))
    yield section("Does the model reproduce the record?")
    sites = [str(site) for site in group(tree, "observed_data").data_vars][: figures.PANELS]
    alt = "Observations and posterior predictive interval of {}.".format
    panels = [svg(figures.predictive_check(tree, [site]), alt(words(unescaped(site)))) for site in sites]
    yield figure(panels, f"Dots: the record. Band or bars: the {level} posterior predictive interval. Orange crosses:"
                  " observations outside it, about one in nine where the model fits.")  # fmt: skip
    if verdict:
        note = "The last two are best near 50 %; below 2.5 % or above 97.5 % the model misses that side of the record."
        yield table(tables.checks_sheet(verdict, words), note)
    yield section("What was learnt")
    alt = "Prior and posterior interval of each parameter; the numbers are in the table."
    yield figure([svg(figures.parameters(tree), alt)], f"Grey: the {level} interval of the prior, drawn to one"
                  " length for all. Blue: the posterior. Where they are alike the record says nothing.",
                  wide=True)  # fmt: skip
    note = "Mean and interval. Spread left: the posterior's standard deviation as a share of the prior's."
    yield table(tables.parameters_sheet(tree, words), note)
    observed = group(tree, "observed_data").data_vars.items()
    seen = [
        f"{words(unescaped(str(site)))}: {int(values.notnull().sum())} of {values.size} cells"
        for site, values in observed
    ]
    yield section("How it was made") + terms({
        "record": f"{tree.attrs['record_name']} ({'; '.join(seen)})",
        "draws": f"{sampled['chain']} chains of {sampled['draw']}",
        "arms in force": ", ".join(json.loads(tree.attrs["arms"])) or "none",
    })  # fmt: skip


def _counterfactual(tree: xr.DataTree) -> Iterator[str]:
    level = f"{100 * tree.attrs['interval']:.0f} %"
    did = f"{words(intervention(tree))} from {tree.attrs['from_year']} on"
    main, scalar = main_outcomes(tree)[: figures.PANELS], main_outcomes(tree, directed=False)
    yield _tags("counterfactual: what would have happened", BASIS["posterior"])
    yield answer(counterfactual_sentences(tree, words), notes(tree))
    yield section("How to read it") + terms(PAST_TERMS, level) + section(f"{period(tree)} by {period(tree)}")
    lines = f"Lines over the {period(tree)}s: {{}} as recorded, as it was by the model, and with {did}.".format
    panels = [svg(figures.counterfactual_plot(tree, [outcome]), lines(words(outcome))) for outcome in main]
    yield figure(panels, "Dots: the record. Grey, dashed: what the model says was. Blue: what would have been with"
                  f" {did}. Bands: {level} of the posterior draws.")  # fmt: skip
    yield table(tables.overall_sheet(tree, scalar, words))
    for outcome in main:
        yield table(tables.periods_sheet(tree, outcome, words))
    if rest := [label for label in every_outcome(tree) if label not in scalar]:
        yield section("By agent") + table(tables.overall_sheet(tree, rest, words))
    yield section("How it was made") + terms({
        "model": tree.attrs["model"],
        "kind": f"counterfactual: the chance events of the recorded {period(tree)}s, as inferred from the record,"
        " happen again (abduction, action, prediction)",
        "intervention": f"{intervention(tree)}, from {tree.attrs['from_year']} on",
        "parameters": f"{tree.attrs['draws']} draws from the posterior given the record",
        "intervals": f"equal-tailed, {level}",
    })  # fmt: skip
    yield _measures(tree)


def _basis(tree: xr.DataTree) -> str:
    at_data = tree.attrs["basis"] == "prior" and tree.attrs.get("recorded")
    return AT_DATA if at_data else BASIS[tree.attrs["basis"]]


def _when(tree: xr.DataTree) -> str:
    ends = [words(name) for name, known in measures(tree).items() if known.at == "horizon"]
    horizon = tree.attrs.get("horizon", 0)
    if not ends or not horizon:
        return ""
    return f"{_upper(listing(ends))}: in {period(tree)} {horizon}; all else: mean of the {periods(tree, horizon)}."


def _measures(tree: xr.DataTree) -> str:
    """What each outcome is called in files, and how it is measured; nothing for a plain model, which does not say."""
    at = {"horizon": f"that of the last {period(tree)}", "years": f"the mean of the {period(tree)}s"}
    rows = [
        [words(name), name, known.unit or "pure number", known.better or "neither", at[known.at]]
        for name, known in measures(tree).items()
    ]
    header = ["outcome", "name in files", "unit", "better", "one number is"]
    return table(tables.Sheet("Outcomes", header, rows, keys=5)) if tree.attrs.get("horizon", 1) else ""


def _tags(*names: str) -> str:
    return "<p>" + "".join(f'<span class="tag">{_text(name)}</span>' for name in names) + "</p>\n"


def answer(sentences: Sequence[str], warnings: Sequence[str], *, bad: bool = False) -> str:
    """The findings in a box, warnings last."""
    items = "".join(f"<li>{_text(sentence)}</li>" for sentence in sentences)
    items += "".join(f'<li class="warn">{_text(warning)}</li>' for warning in warnings)
    return f'<div class="answer{" bad" if bad else ""}"><ul>{items}</ul></div>\n'


def section(title: str) -> str:
    """The heading of a section."""
    return f"<h2>{_text(_upper(title))}</h2>\n"


def terms(meanings: Mapping[str, str], level: str = "") -> str:
    """Words and what they mean; `{level}` in a sentence is replaced."""
    text = {name: sentence.replace("{level}", level) for name, sentence in meanings.items()}
    return "<dl>" + "".join(f"<div><dt>{_text(a)}</dt><dd>{_text(b)}</dd></div>" for a, b in text.items()) + "</dl>\n"


def figure(pictures: Sequence[str], caption: str, *, wide: bool = False) -> str:
    """Pictures beside each other with one caption."""
    shape = "wide" if wide else "panels even" if len(pictures) in (2, 4) else "panels"
    inside = f'<div class="{shape}">{"".join(pictures)}</div><figcaption>{_text(caption)}</figcaption>'
    return f"<figure>{inside}</figure>\n"


def table(sheet: tables.Sheet, note: str = "") -> str:
    """A table; equal neighbours in its first column become one cell."""
    key = ['class="key"' if i < sheet.keys else "" for i in range(len(sheet.header))]
    head = "".join(f'<th scope="col" {k}>{_text(name)}</th>' for k, name in zip(key, sheet.header, strict=True))
    body = ""
    for _, same in itertools.groupby(sheet.rows, lambda row: row[0]):
        rows = list(same)
        for i, row in enumerate(rows):
            span = f'rowspan="{len(rows)}"' if len(rows) > 1 else ""
            cells = "" if i else f'<th scope="row" class="key" {span}>{_text(row[0])}</th>'
            cells += "".join(f'<th scope="row" class="key">{_text(cell)}</th>' for cell in row[1 : sheet.keys])
            cells += "".join(f"<td>{_text(_minus(cell))}</td>" for cell in row[sheet.keys :])
            body += f"<tr{'' if i else ' class="first"'}>{cells}</tr>\n"
    caption = f"<caption><b>{_text(_upper(sheet.title))}.</b> {_text(note)}</caption>"
    return f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n'


def _minus(text: str) -> str:
    return re.sub(r"(?<!\w)-(?=\d)", "\N{MINUS SIGN}", text)


def svg(figure: Figure, alternative: str) -> str:
    """A figure as inline SVG with live text; `alternative` is read out in its place."""
    buffer = io.StringIO()
    # The salt makes the page the same in every run, and ids distinct between figures.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": alternative}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    box = re.search(r'viewBox="[^"]*"', text)
    inside = text[text.index(">", text.index("<svg")) + 1 :]
    inside = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", inside, flags=re.DOTALL)
    inside = re.sub(r'<g id="[^"]*"', "<g", inside).replace("xlink:href", "href")
    label = html.escape(alternative)
    return f'<svg {box.group() if box else ""} role="img" aria-label="{label}">{inside}'


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _text(text: str) -> str:
    return html.escape(text, quote=True)
