"""A result as one HTML file that needs nothing else: no script, no font, no picture from elsewhere."""

import html
import importlib.metadata
import io
import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import xarray as xr
from matplotlib.figure import Figure

import bayesalloc
from bayesalloc.report import (
    INTERVAL,
    comparison_sentences,
    counterfactual_sentences,
    figures,
    fit_sentences,
    group,
    intervention,
    listing,
    main_outcomes,
    measures,
    notes,
    tables,
    words,
)

if TYPE_CHECKING:
    from bayesalloc.inference import Verdict

LIBRARIES = ("numpyro", "jax", "arviz", "xarray", "numpy")

KEY, FIRST = ' class="key"', ' class="first"'
BASIS = {
    "prior": "based on the prior: no record was used",
    "posterior": "based on the posterior: given the record",
}
EFFECT_TERMS = [
    ("average effect [low, high]", "the difference between two arms, averaged over chance; with {level} probability it lies in the brackets, given how little is known of the parameters."),
    ("one future", "where the difference would lie with {level} probability in one single course of events: chance comes on top."),
    ("P(>0)", "the probability that the average effect is above zero."),
    ("MC error", "the standard error of the average effect that is due to the number of draws; more draws make it smaller."),
    ("parameters : chance", "what the spread of one future's effect comes from, in percent of its variance; more data can only reduce the first."),
]
AGENT_TERMS = [
    ("would refuse", "the probability that an agent's expected payoff is lower than without an agreement."),
    ("gain from not complying", "what an agent would gain if it alone did not do its part while all else goes on by the rules; where it is above zero, the arm has to be enforced."),
]
DECISION_TERMS = [
    ("P(best)", "the probability that an arm is the best by a criterion."),
    ("expected regret", "how much worse than the best arm it is, on average over what the parameters may be."),
    ("worst tenth (CVaR)", "the mean of the worst tenth of all simulated futures."),
    ("value of knowing (EVPI)", "how much better the choice would be on average if the parameters were known before it; near zero, more data would not change the choice."),
]
PAST_TERMS = [
    ("recorded", "what the record says, with its errors of measurement."),
    ("factual", "what the model infers to have been, given the whole record."),
    ("counterfactual", "what would have been in the same years, with the same weather, markets and people, had the intervention been made."),
    ("difference [low, high]", "counterfactual minus factual; with {level} probability it lies in the brackets, given the model."),
    ("P(>0)", "the probability that the difference is above zero."),
]

STYLE = """
:root { --ink: #1d2329; --soft: #59636e; --line: #d5dae0; --accent: #0072b2; --wash: #f4f6f8; color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff; font: 17px/1.55 Charter, "Bitstream Charter", Cambria, Georgia, serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1, h2, table, figcaption, .tag, svg text, dt, footer {
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif !important; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: .3rem 0 .9rem; letter-spacing: -.01em; max-width: 30em; }
h2 { font-size: 1.25rem; margin: 3rem 0 .6rem; padding-top: 1rem; border-top: 1px solid var(--line); }
p, li, dd { max-width: 44em; }
.tag { display: inline-block; font-size: .78rem; font-weight: 600; border: 1px solid currentColor; border-radius: 1em;
  padding: .05em .7em; margin: 0 .4em .4em 0; color: var(--accent); }
.warn { color: #a33b00; }
.answer { background: var(--wash); border-left: 4px solid var(--accent); padding: .6rem 1.2rem; margin: 1.2rem 0; }
.answer.bad { border-color: #d55e00; }
.answer ul { margin: .4rem 0; padding-left: 1.1em; }
.answer li { margin: .35rem 0; }
dl { columns: 2 24rem; column-gap: 2.5rem; margin: .8rem 0; font-size: .95rem; line-height: 1.45; }
dl div { break-inside: avoid; padding-bottom: .6rem; }
dt { font-weight: 600; font-size: .85rem; }
dd { margin: 0; }
figure { margin: 1rem 0; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); gap: .6rem 1rem; }
svg { display: block; width: 100%; height: auto; }
.wide svg { max-width: 38rem; }
.panels svg { max-width: 26rem; }
figcaption, caption { color: var(--soft); font-size: .85rem; line-height: 1.45; max-width: 52rem; }
figcaption { margin-top: .4rem; }
.scroll { overflow-x: auto; margin: 1.1rem 0; }
table { border-collapse: collapse; font-size: .84rem; line-height: 1.35; font-variant-numeric: tabular-nums lining-nums; }
caption { text-align: left; padding-bottom: .45rem; }
caption b { color: var(--ink); }
th, td { padding: .3rem .75rem; text-align: right; vertical-align: baseline; white-space: nowrap; }
thead th { vertical-align: bottom; white-space: normal; min-width: 5.2em; border-bottom: 1.5px solid var(--ink); font-weight: 600; }
tbody th { font-weight: 400; }
th.key { text-align: left; padding-left: 0; }
tbody tr.first th, tbody tr.first td { border-top: 1px solid var(--line); }
tbody th[rowspan] { font-weight: 600; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: .8rem; color: var(--soft); font-size: .8rem; }
@media (max-width: 40rem) {
  body { font-size: 16px; } main { padding-top: 1.4rem; } h1 { font-size: 1.5rem; }
  th, td { padding: .3rem .5rem; }
}
@media print {
  @page { margin: 16mm; } body { font-size: 10.5pt; } main { padding: 0; max-width: none; }
  h2 { break-after: avoid; margin-top: 1.6rem; } figure, tr, .answer { break-inside: avoid; }
  .scroll { overflow: visible; } table { font-size: 7.6pt; } th, td { padding: .2rem .4rem; }
  .panels { grid-template-columns: repeat(3, 1fr); }
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
    path = Path(path)
    text = page(tree, seed, verdict=verdict)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def page(tree: xr.DataTree, seed: int, *, verdict: "Verdict | None" = None) -> str:
    """The HTML of a result: see `write_page`."""
    if "posterior" in tree.children:
        title, body = f"{words(tree.attrs['model'])}: what the record says", _fit(tree, verdict)
    elif tree.attrs["kind"] == "counterfactual":
        did, first = words(intervention(tree)), tree.attrs["from_year"]
        title, body = f"{words(tree.attrs['model'])}: with {did} from {first} on", _counterfactual(tree)
    else:
        treatments = listing(map(words, group(tree, "effects")["treatment"].values.tolist()))
        control = words(tree.attrs["control"])
        title, body = f"{words(tree.attrs['model'])}: {treatments} against {control}", _comparison(tree)
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
    posterior = tree.attrs["basis"] == "posterior"
    yield _tags("interventional: what would happen if", BASIS[tree.attrs["basis"]])
    yield _answer(comparison_sentences(tree, words), notes(tree))
    terms = [*EFFECT_TERMS, *(AGENT_TERMS if "agents" in tree.children else ()), *DECISION_TERMS]
    yield _section("How to read it") + _terms((name, text.format(level=level)) for name, text in terms)

    yield _section("Outcomes of each arm")
    [arms] = tables.arms_sheets(tree, scalar, words, per_table=1000)
    if "outcomes" in tree.children:
        spoken = {row[0]: "; ".join(map(": ".join, zip(arms.header[1:], row[1:], strict=True))) for row in arms.rows}
        panels = [
            _svg(figures.trajectories(tree, [outcome]), f"{words(outcome)} over the years, by arm. At the horizon or on"
                 f" average, mean and interval: {spoken[tables.labelled(tree, outcome, words)]}")
            for outcome in main[: figures.PANELS]
        ]  # fmt: skip
        yield _figure(panels, f"Mean of each arm (line) and the band that holds {level} of the simulated futures, one"
                      f" future per draw of the parameters; dashed: {control}.")  # fmt: skip
    yield _table(arms, f"In brackets: where {level} of single futures lie, over parameters and chance. {_when(tree)}")

    yield _section(f"Effects against {control}")
    sheets = tables.effects_sheets(tree, scalar, words)
    panels = []
    for outcome in scalar[: figures.PANELS]:
        label = tables.labelled(tree, outcome, words)
        found = [f"{sheet.title.removeprefix('Effects: ')} {row[1]}" for sheet in sheets for row in sheet.rows if row[0] == label]
        panels.append(_svg(figures.effects_plot(tree, [outcome]), f"Effect on {label}. {'; '.join(found)}"))
    yield _figure(panels, f"Average effect (circle) with its {level} interval (thick) and the {level} interval of one"
                  " single future (thin). The vertical line is no difference.")  # fmt: skip
    for sheet in sheets:
        yield _table(sheet, "The relative change is left out where the control may be zero or negative.")

    yield _section("Where the uncertainty comes from")
    split = _svg(figures.uncertainty_split(tree), "Stacked bars of the shares of parameters, chance and simulation error in"
                 " the variance of one future's effect; the shares are in the tables of effects.")  # fmt: skip
    yield _figure([split], "More data can reduce the share of the unknown parameters, more draws the simulation's own"
                  " error, which is mostly too small to see; nothing reduces chance.", wide=True)  # fmt: skip
    if "agents" in tree.children:
        yield from _agents(tree, level)
    if group(tree, "decision").sizes.get("criterion"):
        yield _section("What it means for a choice") + _table(
            tables.decision_sheet(tree, words),
            "Each criterion in its own unit and sign; regret, worst tenth and value of knowing as explained above.",
        )
    rest = [label for label in tables.every_outcome(tree) if label not in scalar]
    if rest:
        yield _section("Effects by agent")
        for sheet in tables.effects_sheets(tree, rest, words):
            yield _table(sheet)
    yield _section("How it was made")
    basis = "the posterior given the record" if posterior else "the prior: no record was used"
    yield _terms([
        ("model", tree.attrs["model"]),
        ("kind", "interventional: fresh chance, the same in all arms, so that arms differ only by what was done"),
        ("parameters", f"{tree.attrs['draws']} draws from {basis}"),
        ("chance", f"{tree.attrs['futures']} futures per draw"),
        *([("horizon", f"{tree.attrs['horizon']} years")] if tree.attrs["horizon"] else []),
        ("intervals", f"equal-tailed, {level}"),
        ("arms", ", ".join(group(tree, "arms")["arm"].values.tolist())),
    ])  # fmt: skip
    yield _table(_measures(tree))


def _agents(tree: xr.DataTree, level: str) -> Iterator[str]:
    agents = group(tree, "agents")
    yield _section("Who gains, who would refuse, who would not comply")
    alt = "Payoff of each agent under each arm, beside its payoff without an agreement; the numbers are in the table."
    caption = (
        f"Payoff of each agent: mean and the {level} interval of one future. The dashed line is its payoff without an"
        " agreement; a cross marks who would probably refuse."
    )
    yield _figure([_svg(figures.payoffs(tree), alt)], caption, wide=True)
    yield _table(tables.agents_sheet(tree, words))
    rows = [
        [words(arm), f"{float(agents['gini'].sel(arm=arm)):.2f}", words(str(agents["worst_off"].sel(arm=arm).item()))]
        for arm in agents["arm"].values.tolist()
    ]
    yield _table(tables.Sheet("Fairness", ["arm", "Gini of payoffs", "worst off"], rows), "Gini: 0 when all have the same,"
                 " 1 when one has all.")  # fmt: skip


def _fit(tree: xr.DataTree, verdict: "Verdict | None") -> Iterator[str]:
    level, posterior = f"{100 * INTERVAL:.0f} %", group(tree, "posterior")
    yield _tags("posterior", f"method: {tree.attrs['method']}")
    unknown = [f"The posterior of {words(tree.attrs['model'])} given {tree.attrs['record_name']}; see the checks below."]
    yield _answer(fit_sentences(tree, verdict, words) if verdict else unknown, notes(tree), bad=bool(verdict and not verdict.usable))
    if verdict:
        numbers = {
            "largest R-hat": (verdict.rhat_max, ".3f", "chains agree where it is at most 1.01"),
            "effective samples, bulk": (verdict.ess_bulk_min, ".0f", "of the worst parameter; at least 400"),
            "effective samples, tails": (verdict.ess_tail_min, ".0f", "of the worst parameter; at least 400"),
            "divergences": (verdict.divergences, "d", "none if the sampler reached everything"),
            "Pareto k": (verdict.pareto_k, ".2f", "the approximation can be trusted at 0.7 or below"),
        }
        rows = [[name, format(value, form), why] for name, (value, form, why) in numbers.items() if value is not None]
        yield _section("Can it be used?") + _table(tables.Sheet("Diagnostics", ["", "value", "what is good"], rows))
    yield _section("Does the model reproduce the record?")
    check = _svg(figures.predictive_check(tree), "Observations and the posterior predictive interval of each data site.")
    yield _figure([check], f"Dots: the record. Band or bars: the {level} posterior predictive interval. Orange crosses:"
                  " observations outside it, about one in nine for a model that fits.")  # fmt: skip
    if verdict:
        yield _table(tables.checks_sheet(verdict, words), "The last two are best near 50 %; below 2.5 or above 97.5 % the model"
                     " does not reproduce that feature of the record.")  # fmt: skip
    yield _section("What was learnt")
    alt = "Prior and posterior interval of each parameter; the numbers are in the table."
    yield _figure([_svg(figures.parameters(tree), alt)], f"Grey: the {level} interval of the prior, drawn to one length"
                  " for all. Blue: the posterior. Where they are alike the record says nothing.", wide=True)  # fmt: skip
    yield _table(tables.parameters_sheet(tree, words), "Mean and interval. Spread left: the posterior's standard deviation as a"
                 " share of the prior's.")  # fmt: skip
    yield _section("How it was made")
    observed = {words(str(site)): values for site, values in group(tree, "observed_data").data_vars.items()}
    seen = [f"{site}: {int(values.notnull().sum())} of {values.size} cells" for site, values in observed.items()]
    yield _terms([
        ("record", f"{tree.attrs['record_name']} ({'; '.join(seen)})"),
        ("draws", f"{posterior.sizes['chain']} chains of {posterior.sizes['draw']} draws"),
        ("mechanisms in force", listing(json.loads(tree.attrs["arms"])) if tree.attrs.get("arms") else "none"),
    ])  # fmt: skip


def _counterfactual(tree: xr.DataTree) -> Iterator[str]:
    level, first, did = f"{100 * tree.attrs['interval']:.0f} %", tree.attrs["from_year"], words(intervention(tree))
    main, scalar = main_outcomes(tree), main_outcomes(tree, directed=False)
    yield _tags("counterfactual: what would have happened had", BASIS["posterior"])
    yield _answer(counterfactual_sentences(tree, words), notes(tree))
    yield _section("How to read it") + _terms((name, text.format(level=level)) for name, text in PAST_TERMS)
    yield _section("Year by year")
    panels = [
        _svg(figures.counterfactual_plot(tree, [outcome]), f"{words(outcome)}: recorded, factual, and with {did} from {first}")
        for outcome in main[: figures.PANELS]
    ]
    yield _figure(panels, f"Dots: the record. Grey, dashed: what the model says was. Blue: what would have been with {did}"
                  f" from {first} on. Bands: {level} of the posterior draws.")  # fmt: skip
    yield _table(tables.overall_sheet(tree, scalar, words))
    for outcome in main[: figures.PANELS]:
        yield _table(tables.years_sheet(tree, outcome, words))
    rest = [label for label in tables.every_outcome(tree) if label not in scalar]
    if rest:
        yield _section("By agent") + _table(tables.overall_sheet(tree, rest, words))
    yield _section("How it was made")
    yield _terms([
        ("model", tree.attrs["model"]),
        ("kind", "counterfactual: the noise of the recorded years, as inferred from the record, replayed (abduction,"
                 " action, prediction)"),
        ("intervention", f"{intervention(tree)}, from {first} on"),
        ("parameters", f"{tree.attrs['draws']} draws from the posterior given the record"),
        ("intervals", f"equal-tailed, {level}"),
    ])  # fmt: skip
    yield _table(_measures(tree))


def _when(tree: xr.DataTree) -> str:
    ends = [words(name) for name, known in measures(tree).items() if known.at == "horizon"]
    years = tree.attrs.get("horizon", 0)
    return f"{_upper(listing(ends))}: in year {years}; all else: mean of the {years} years." if ends and years else ""


def _measures(tree: xr.DataTree) -> tables.Sheet:
    """What each outcome is called in files, and how it is measured."""
    at = {"horizon": "the last year", "years": "the mean of the years"}
    rows = [
        [words(name), name, known.unit or "pure number", known.better or "neither", at[known.at]]
        for name, known in measures(tree).items()
    ]
    return tables.Sheet("Outcomes", ["outcome", "name in files", "unit", "better", "one number is"], rows, keys=5)


def _tags(*names: str) -> str:
    return "<p>" + "".join(f'<span class="tag">{_text(name)}</span>' for name in names) + "</p>\n"


def _answer(sentences: Sequence[str], warnings: Sequence[str], *, bad: bool = False) -> str:
    items = "".join(f"<li>{_text(sentence)}</li>" for sentence in sentences)
    items += "".join(f'<li class="warn">{_text(warning)}</li>' for warning in warnings)
    return f'<div class="answer{" bad" if bad else ""}"><ul>{items}</ul></div>\n'


def _section(title: str) -> str:
    return f"<h2>{_text(_upper(title))}</h2>\n"


def _terms(terms: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<div><dt>{_text(a)}</dt><dd>{_text(b)}</dd></div>" for a, b in terms) + "</dl>\n"


def _figure(pictures: Sequence[str], caption: str, *, wide: bool = False) -> str:
    inside = "".join(pictures)
    return f'<figure><div class="{"wide" if wide else "panels"}">{inside}</div><figcaption>{_text(caption)}</figcaption></figure>\n'


def _table(sheet: tables.Sheet, note: str = "") -> str:
    head = "".join(
        f'<th scope="col"{KEY if i < sheet.keys else ""}>{_text(name)}</th>' for i, name in enumerate(sheet.header)
    )
    rows, spans = [], [len(list(same)) for _, same in itertools.groupby(sheet.rows, lambda row: row[0])]
    starts = dict(zip(itertools.accumulate(spans, initial=0), spans, strict=False))
    for i, row in enumerate(sheet.rows):
        cells = []
        for j, cell in enumerate(row):
            if j == 0 and i not in starts:
                continue
            span = f' rowspan="{starts[i]}"' if j == 0 and starts[i] > 1 else ""
            shown = cell if j < sheet.keys else re.sub(r"(?<!\w)-(?=\d)", "\N{MINUS SIGN}", cell)
            cells.append(f'<th scope="row"{KEY}{span}>{_text(shown)}</th>' if j < sheet.keys else f"<td>{_text(shown)}</td>")
        rows.append(f"<tr{FIRST if i in starts else ''}>{''.join(cells)}</tr>")
    caption = f"<caption><b>{_text(_upper(sheet.title))}.</b> {_text(note)}</caption>"
    table = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<div class="scroll">{table}</div>\n'


def _svg(figure: Figure, alternative: str) -> str:
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
    return f'<svg {box.group() if box else ""} role="img" aria-label="{label}"><title>{label}</title>{inside}'


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _text(text: str) -> str:
    return html.escape(text, quote=True)
