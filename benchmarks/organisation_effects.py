"""What is learned from the organisation's books beside its truth: effects, and proposals that are made from them.

    python benchmarks/organisation_effects.py --out benchmarks/results/organisation_effects.json

Effects of 20 budgets on 26 later variables, 89 % intervals: with the graph known, learned with tiers from 100 random
halves of the rows, and of all budgets at once. Proposals of the shipped knowledge file: what they promise, what is left
when that is checked by halves, and what they are worth in truth; expected movements of what counts likewise. And what a
price of causal risk takes of harm and of reward.
"""

import argparse
import json
import time
import tomllib
from pathlib import Path

import msgspec
import numpy as np

from bayesalloc.budgets.proposal import propose
from bayesalloc.budgets.proposing import LAMBDAS, best, judged, stakes
from bayesalloc.budgets.question import question
from bayesalloc.discovery.books import from_columns
from bayesalloc.discovery.effects import SURE, effects_of, evidence
from bayesalloc.discovery.graph import from_edges
from bayesalloc.discovery.joint import joint_effects
from bayesalloc.discovery.knowledge import Office
from bayesalloc.discovery.search import USUAL, discover
from bayesalloc.models.budgets.books import draw_books, knowledge
from bayesalloc.models.budgets.world import DEPARTMENTS, EDGES, PLACE, TABLE, VARIABLES, effects

OFFICE = msgspec.convert(tomllib.loads(knowledge()), Office)
LATER = [name for name, variable in TABLE.items() if variable.tier > 1]
ENDS = (0.055, 0.945)


def books_of(seed: int, rows: int, *, gaps: bool):
    columns = draw_books(seed, 1, rows, gaps=gaps).columns
    return from_columns({name: columns[name] for name in VARIABLES})


def covered(given, samples, rng) -> tuple[float, float]:
    """Of pairs with a path, the share whose interval holds the truth; of all pairs, the share that is identified."""
    truth, inside, told = effects(DEPARTMENTS), [], []
    for place, name in enumerate(DEPARTMENTS):
        found = effects_of(name, given, samples, rng)
        at = [found.names.index(later) for later in LATER]
        true = truth[[PLACE[later] for later in LATER], place]
        low, high = np.quantile(found.draws[:, at], ENDS, axis=0)
        inside += [*((low <= true) & (true <= high))[np.abs(true) > 1e-12]]
        told += [*(found.identified[at] >= SURE)]
    return float(np.mean(inside)), float(np.mean(told))


def of_effects(rows: int, repeats: int, *, gaps: bool) -> dict:
    shares, begun = {"known": [], "learned": [], "joint": []}, time.process_time()
    told = []
    together = effects(DEPARTMENTS, jointly=True)[[PLACE[name] for name in LATER]]
    for seed in range(repeats):
        books, rng = books_of(1000 + seed, rows, gaps=gaps), np.random.default_rng(seed)
        graph = from_edges(books.names, EDGES)
        given = evidence(books, 1)
        shares["known"].append(covered(given, graph.adjacency[None], rng)[0])
        found = discover(books, Office(tiers=OFFICE.tiers), USUAL._replace(halves=True), bootstrap=100, seed=seed)
        share, identified = covered(evidence(books, 100, seed), found.samples, rng)
        shares["learned"].append(share)
        told.append(identified)
        conditions = [name for name, variable in TABLE.items() if variable.tier == 0]
        joint = joint_effects(given, DEPARTMENTS, conditions, rng)
        low, high = np.quantile(joint.draws[:, [joint.names.index(name) for name in LATER]], ENDS, axis=0)
        shares["joint"].append(((low <= together) & (together <= high)).mean())
    return {
        "rows": rows,
        "gaps": gaps,
        "books": repeats,
        **{f"coverage, {name}": round(float(np.mean(each)), 3) for name, each in shares.items()},
        **{f"error, {name}": round(float(np.std(each, ddof=1) / repeats**0.5), 3) for name, each in shares.items()},
        "identified": round(float(np.mean(told)), 3),
        "cpu_s": round((time.process_time() - begun) / repeats, 1),
    }


def of_proposals(rows: int, repeats: int, *, gaps: bool) -> dict:
    truth, found, begun = effects(DEPARTMENTS, jointly=True), [], time.process_time()
    for seed in range(repeats):
        proposal = propose(books_of(50 + seed, rows, gaps=gaps), OFFICE, seed=seed)
        true = truth[[PLACE[name] for name in proposal.joint.names]]
        exact = stakes(proposal.question, proposal.joint._replace(draws=true[None]), proposal.spread)
        real = judged(exact, proposal.point.change, proposal.point.weight, proposal.point.price)
        moved = true @ proposal.point.change
        names = proposal.joint.names
        inside = [e.effect.low <= moved[names.index(name)] <= e.effect.high for name, e in proposal.expected.items()]
        found.append(
            {
                "promised": proposal.point.worth,
                "checked": proposal.worth,
                "real": real.worth,
                "best": best(proposal.question, exact).worth,
                "changes": len(proposal.changes),
                "inside": np.mean(inside),
            }
        )
    means = {name: round(float(np.mean([each[name] for each in found])), 2) for name in found[0]}
    seconds = round((time.process_time() - begun) / repeats, 1)
    return {"rows": rows, "gaps": gaps, "books": repeats, **means, "cpu_s": seconds}


def of_prices(rows: int, repeats: int) -> list[dict]:
    """What the price of causal risk takes of harm and of reward, in truth; means over books, tolerance 0."""
    protected = {name: {**entry, "tolerance": 0.0} for name, entry in dict(OFFICE.protected).items()}
    office = msgspec.structs.replace(OFFICE, protected=protected)
    truth, found = effects(DEPARTMENTS, jointly=True), {price: [] for price in LAMBDAS}
    for seed in range(repeats):
        books, rng = books_of(50 + seed, rows, gaps=False), np.random.default_rng(seed)
        given, asked = evidence(books, 1), question(books, office)
        conditions = [name for name, variable in TABLE.items() if variable.tier == 0]
        joint = joint_effects(given, asked.decisions, conditions, rng)
        at = stakes(asked, joint, given.spread)
        exact = stakes(asked, joint._replace(draws=truth[[PLACE[name] for name in joint.names]][None]), given.spread)
        for price in LAMBDAS:
            real = judged(exact, best(asked, at, price=price).change, at.weight, 0.0)
            found[price].append((real.worth, real.causal_risk))
    reward, harm = (np.array([np.mean(found[price], axis=0)[part] for price in LAMBDAS]) for part in (0, 1))
    return [
        {
            "rows": rows,
            "lambda": price,
            "reward": round(float(reward[i]), 2),
            "harm, sd": round(float(harm[i]), 2),
            "harm removed, %": round(100 * float(1 - harm[i] / harm[0])),
            "reward given up, %": round(100 * float(1 - reward[i] / reward[0])),
        }
        for i, price in enumerate(LAMBDAS)
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    result = {
        "effects": [
            of_effects(rows, options.repeats, gaps=gaps)
            for rows, gaps in ((500, False), (1000, False), (5000, False), (1000, True))
        ],
        "proposals": [
            of_proposals(rows, max(options.repeats // 2, 2), gaps=gaps)
            for rows, gaps in ((160, True), (500, False), (2000, False))
        ],
    }
    result["prices"] = [row for rows in (500, 2000) for row in of_prices(rows, max(options.repeats // 2, 2))]
    text = json.dumps(result, indent=1)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
