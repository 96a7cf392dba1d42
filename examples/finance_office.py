"""A finance office's quarter, from its books to its proposal and what came of it.

    python examples/finance_office.py

The organisation is the one of `models/budget.py`, so that what the office is told can be held against the truth, which
no real office has. Eight sites have kept books for twenty quarters, a row each, against plan; three of four rows have
gaps. The office asks what causes what, what a cut would do that somebody is unsure of, and what to change next; a
stakeholder objects; a quarter goes by. Each step prints the command that does the same, and what it says.
"""

import argparse
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bayesalloc.budgets.actuals import Outturn, judge
from bayesalloc.budgets.proposal import Proposal, propose
from bayesalloc.discovery.asking import ask
from bayesalloc.discovery.books import read_books
from bayesalloc.discovery.knowledge import read_office
from bayesalloc.discovery.search import USUAL, discover
from bayesalloc.models.budgets.books import as_csv, draw_books, knowledge
from bayesalloc.models.budgets.world import (
    DEPARTMENTS,
    EDGES,
    PLACE,
    PROTECTED,
    TABLE,
    VARIABLES,
    coefficients,
    effects,
)
from bayesalloc.report import discovery, effect as answers, proposal as proposals
from bayesalloc.report.words import bracket, listing, number, words

CUT, FEARED, INTERVAL = "maintenance", "incidents", 0.89
COMMENT = """
[[comments]]
who = "The works council"
says = "{says}"
frozen = ["{frozen}"]
tolerances = {{ staff_turnover = 0.0 }}
"""
NEXT = "2025-Q1"


def steps(folder: Path, sites: int = 8, quarters: int = 20, seed: int = 1, bootstrap: int = 100) -> Iterator[str]:
    """The walk: commands, which begin with a dollar sign, and sentences.

    Args:
        folder: where books, knowledge and what happened are written.
        sites: how many keep books.
        quarters: for how long.
        seed: of the organisation's chance.
        bootstrap: number of random halves of the rows that graphs are learned from.
    """
    books, office = folder / "books.csv", folder / "knowledge.toml"
    asked = f"{folder.name}/books.csv --knowledge {folder.name}/knowledge.toml"
    size = f"--sites {sites} --quarters {quarters} --seed {seed}"
    yield f"$ python -m bayesalloc.models.budgets.books {folder.name} {size}"
    books.write_text(as_csv(draw_books(seed, sites, quarters)))
    office.write_text(knowledge())
    table, known = read_books(books), read_office(office)
    whole = int((~np.isnan(table.values).any(1)).sum())
    yield f"The books have {len(table.values)} rows, of which {whole} are whole, and {len(table.names)} columns of use."

    yield f"$ bayesalloc discover {asked}"
    found = discover(table, known, bootstrap=bootstrap, seed=seed, where=office)
    yield from discovery.sentences(discovery.as_json(table, found, USUAL, {}))[:2]
    true = {*EDGES}
    right = sum(edge in true for edge in found.graph.directed)
    yield f"In truth {right} of the {len(found.graph.directed)} directed edges are there, and {len(true)} there are."

    yield f"$ bayesalloc effect {asked} --treatment {CUT} --outcome {FEARED}"
    answer = ask(table, CUT, FEARED, known, bootstrap=bootstrap, seed=seed, where=office)
    yield answers.sentences(answer, INTERVAL, words)[0]
    each = effects([CUT])[PLACE[FEARED], 0]
    low, high = sorted(-5 * float(end) for end in (answer.effect.low, answer.effect.high))
    yield (
        f"So cutting {CUT} by 5 % moves {FEARED} by {number(-5 * float(answer.effect.mean), 1, signed=True)} %, or by"
        f" something from {number(low, 1, signed=True)} to {number(high, 1, signed=True)}; in truth it is"
        f" {number(-5 * each, 1, signed=True)}."
    )

    yield f"$ bayesalloc budget {asked}"
    first = propose(table, known, seed=seed, where=office)
    yield from proposals.sentences(first, words)
    yield in_truth(first)

    cut = [change.decision for change in first.changes if change.percent < 0]
    frozen = cut[0] if cut else CUT
    says = f"We are short of hands in {words(frozen)} as it is, and nobody more may leave."
    office.write_text(knowledge() + COMMENT.format(says=says, frozen=frozen))
    yield f"$ bayesalloc budget {asked}    # with the works council's comment at its end"
    second = propose(table, read_office(office), seed=seed, where=office)
    yield from proposals.sentences(second, words)
    yield in_truth(second)

    actuals = folder / "next_quarter.csv"
    actuals.write_text(happened(second, sites, seed + 1))
    yield f"$ bayesalloc budget {asked} --actuals {folder.name}/{actuals.name}"
    yield from told(judge(actuals, table, second))


def in_truth(found: Proposal) -> str:
    """What the changes do, as only this world can say."""
    change = np.zeros(len(DEPARTMENTS))
    for each in found.changes:
        change[DEPARTMENTS.index(each.decision)] = each.percent
    moved = effects(DEPARTMENTS, jointly=True) @ change
    shown = listing(
        f"{words(name)} by {number(moved[PLACE[name]], 1, signed=True)}" for name in ("revenue", *PROTECTED)
    )
    return f"In truth these changes move {shown}."


def happened(found: Proposal, sites: int, seed: int) -> str:
    """The next quarter's books, in which budgets are as proposed, and all else as it comes."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(sites, len(TABLE))) * [variable.sd for variable in TABLE.values()]
    budgets = [PLACE[name] for name in DEPARTMENTS]
    noise[:, budgets] = 0.0
    for each in found.changes:
        noise[:, PLACE[each.decision]] = each.percent
    values = noise @ np.linalg.inv(np.eye(len(TABLE)) - coefficients(decided=DEPARTMENTS)).T
    rows = [f"site_{i + 1},{NEXT}," + ",".join(f"{value:.5f}" for value in row) for i, row in enumerate(values)]
    return "\n".join([",".join(["unit", "period", *VARIABLES]), *rows]) + "\n"


def told(outturns: list[Outturn]) -> Iterator[str]:
    """What was forecast beside what happened: in how many cells, and at the first site of some."""
    inside = sum(each.inside for each in outturns)
    share = number(100 * inside / len(outturns), 0)
    yield f"Of {len(outturns)} numbers that were forecast, {inside} lie in their 89 % intervals, which is {share} %."
    yield f"They are the books' own forecasts, given what was decided and the conditions. At {outturns[0].row}:"
    for each in outturns:
        if each.row == outturns[0].row and each.variable in ("revenue", *PROTECTED):
            forecast = bracket(each.forecast._asdict(), "mean", 1, signed=True)
            came = number(each.happened, 1, signed=True)
            yield f"{words(each.variable)} was forecast at {forecast}, and came to {came}."


def main() -> None:
    """Walk, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="for the files; default: one that is thrown away after use")
    parser.add_argument("--sites", type=int, default=8)
    parser.add_argument("--quarters", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bootstrap", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as away:
        folder = given.folder or Path(away) / "office"
        folder.mkdir(parents=True, exist_ok=True)
        for said in steps(folder, given.sites, given.quarters, given.seed, given.bootstrap):
            print(f"\n{said}" if said.startswith("$") else textwrap.fill(said, 100), flush=True)


if __name__ == "__main__":
    main()
