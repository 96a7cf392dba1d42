"""What proposals from books promise, what is left of it after the check by halves, and what they are worth in truth."""

import msgspec
import numpy as np

from bayesalloc.budgets.proposal import propose
from bayesalloc.budgets.proposing import LAMBDAS, best, judged, stakes
from bayesalloc.budgets.question import question
from bayesalloc.discovery.effects import evidence
from bayesalloc.discovery.joint import joint_effects
from bayesalloc.models.budgets.experiments.world import CONDITIONS, OFFICE, books_of
from bayesalloc.models.budgets.world import DEPARTMENTS, PLACE, effects

TITLE = "Proposals for the next quarter, of the shipped knowledge file"
TERMS = {
    "promised": "the weighted objectives less causal risk (lambda 1) that the books expect; no change has 0.",
    "checked": "what is left when plans from one half of the rows are judged by the other.",
    "true": "what the proposal is worth by the true effects; `best` is the most that there is.",
    "movements inside": "the share of true movements of objectives and protected variables in their 89 % intervals.",
    "harm": "true movements of protected variables in the direction that harms, in standard deviations, added up;"
    " tolerance 0. What a price of causal risk removes of it, and of the weighted objectives, is in % of lambda 0.",
}
CASES = {"160 rows, a quarter whole": (160, True), "500 rows": (500, False), "2000 rows": (2000, False)}
PRICED = (500, 2000)  # rows of the books by which prices of causal risk are tried


def measured(seed: int) -> dict[str, dict[str, float]]:
    """Worth by books."""
    found: dict[str, dict[str, float]] = {}
    truth = effects(DEPARTMENTS, jointly=True)
    for column, (rows, gaps) in CASES.items():
        proposal = propose(books_of(50 + seed, rows, gaps=gaps), OFFICE, seed=seed)
        names, point = proposal.joint.names, proposal.point
        true = truth[[PLACE[name] for name in names]]
        exact = stakes(proposal.question, proposal.joint._replace(draws=true[None]), proposal.spread)
        moved = true @ point.change
        inside = [
            each.effect.low <= moved[names.index(name)] <= each.effect.high for name, each in proposal.expected.items()
        ]
        row = {
            "promised": point.worth,
            "checked": proposal.worth,
            "true": judged(exact, point.change, point.weight, point.price).worth,
            "best": best(proposal.question, exact).worth,
            "departments changed": len(proposal.changes),
            "movements inside": float(np.mean(inside)),
        }
        for quantity, value in row.items():
            found.setdefault(quantity, {})[column] = float(value)
    for rows in PRICED:
        for quantity, values in _priced(seed, rows).items():
            found[f"{quantity}, {rows} rows"] = {
                f"lambda {price:g}": value for price, value in zip(LAMBDAS, values, strict=True)
            }
    return found


def _priced(seed: int, rows: int) -> dict[str, list[float]]:
    """What each price of causal risk takes of harm and of the weighted objectives in truth."""
    assert isinstance(OFFICE.protected, dict)
    protected = {name: {**entry, "tolerance": 0.0} for name, entry in OFFICE.protected.items()}
    office = msgspec.structs.replace(OFFICE, protected=protected)
    books, rng = books_of(50 + seed, rows), np.random.default_rng(seed)
    given, asked = evidence(books, 1), question(books, office)
    joint = joint_effects(given, asked.decisions, CONDITIONS, rng)
    true = effects(DEPARTMENTS, jointly=True)[[PLACE[name] for name in joint.names]]
    believed = stakes(asked, joint, given.spread)
    exact = stakes(asked, joint._replace(draws=true[None]), given.spread)
    plans = [best(asked, believed, price=price) for price in LAMBDAS]
    real = [judged(exact, plan.change, believed.weight, 0.0) for plan in plans]
    reward, harm = (np.array([getattr(each, name) for each in real]) for name in ("worth", "causal_risk"))
    return {
        "objectives": reward.tolist(),
        "harm": harm.tolist(),
        "harm removed, %": (100 * (1 - harm / harm[0])).tolist(),
        "objectives given up, %": (100 * (1 - reward / reward[0])).tolist(),
    }
