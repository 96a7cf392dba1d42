"""How accurately impact is forecast: effects learned with causes, linear forecasting, and a cash-flow model."""

import jax
import numpy as np
from jaxtyping import Float

from bayesalloc.budgets.forecasts import cash_flow, linear, linear_apart
from bayesalloc.budgets.metrics import impact_accuracy
from bayesalloc.budgets.proposal import Proposal, propose
from bayesalloc.budgets.proposing import worths
from bayesalloc.budgets.question import MONEY
from bayesalloc.defaults import INTERVAL
from bayesalloc.discovery.books import Books, from_columns
from bayesalloc.discovery.effects import effects_of, evidence
from bayesalloc.discovery.joint import Joint, joint_effects
from bayesalloc.discovery.search import USUAL, discover
from bayesalloc.environment import stack
from bayesalloc.models.budget import environment
from bayesalloc.models.budgets.books import draw_books
from bayesalloc.models.budgets.decisions import decide
from bayesalloc.models.budgets.experiments.world import CONDITIONS, OFFICE, TIERS
from bayesalloc.models.budgets.world import DEPARTMENTS, PLACE, TABLE, VARIABLES, effects
from bayesalloc.simulate import hold, rollout

TITLE = "Impact accuracy: what moves with budgets is not what they move"
TERMS = {
    "network": "our effects: each by adjustment in graphs learned with the order in time, or of all budgets at once.",
    "linear": "linear forecasting: slopes on one budget, or on all, and nothing else.",
    "cash flow": "accounts: a budget costs its money, and nothing else moves.",
    "right signs": "of 520 pairs of a budget and a later variable, of those with an effect: whose direction is right."
    " Coverage: of the same, the share inside its 89 % interval; error: root mean square, over all pairs.",
    "proposal": "what each forecasts of the proposal from the same books, beside what the organisation then does within"
    " the quarter (simulated), in each column's unit; money in % of all budgets. `error` is over all of these, in"
    " standard deviations of each column.",
}
LATER = [name for name, variable in TABLE.items() if variable.tier > 1]
ENDS = ((1 - INTERVAL) / 2, (1 + INTERVAL) / 2)
GRAPHS = 100
PROPOSED = "1000 rows"  # of the books that a proposal is made from
ROWS = {PROPOSED: (1000, False), "160 rows, a quarter whole": (160, True)}
SITES, COURSES = 8, 100


def measured(seed: int) -> dict[str, dict[str, float]]:
    """Measure and books by forecast."""
    found: dict[str, dict[str, float]] = {}
    for case, (rows, gaps) in ROWS.items():
        books, rng = _books(1000 + seed, rows, gaps=gaps), np.random.default_rng(seed)
        given = evidence(books, 1)
        graphs = discover(books, TIERS, USUAL._replace(halves=True), bootstrap=GRAPHS, seed=seed).samples
        sampled = evidence(books, GRAPHS, seed)
        each = [effects_of(name, sampled, graphs, rng).draws for name in DEPARTMENTS]
        apart = {
            "network": Joint(books.names, DEPARTMENTS, (), np.stack(each, -1)),
            "linear": linear_apart(books, DEPARTMENTS, rng),
            "cash flow": cash_flow(books, DEPARTMENTS),
        }
        together = {
            "network": joint_effects(given, DEPARTMENTS, CONDITIONS, rng),
            "linear": linear(books, DEPARTMENTS, rng),
            "cash flow": cash_flow(books, DEPARTMENTS),
        }
        for name in apart:
            for label, joint in {"one at a time": apart[name], "all at once": together[name]}.items():
                truth = effects(DEPARTMENTS, jointly=label == "all at once")[[PLACE[later] for later in LATER]]
                for measure, value in _accuracy(joint, truth).items():
                    found.setdefault(f"{measure}, {label}, {case}", {})[name] = value
        if case == PROPOSED:
            for column, row in _of_proposal(books, together, seed).items():
                found[f"proposal, {column}"] = row
    return found | {f"{row}, over network's": _over(each) for row, each in found.items() if "error" in row}


def _over(errors: dict[str, float]) -> dict[str, float]:
    """How many times the network's error those of others are."""
    return {name: error / errors["network"] for name, error in errors.items() if name != "network"}


def _books(seed: int, rows: int, *, gaps: bool) -> Books:
    """Of SITES sites, with their quarters, as trends are part of linear forecasting."""
    ledger = draw_books(seed, SITES, rows // SITES, gaps=gaps)
    return from_columns({name: ledger.columns[name] for name in VARIABLES}, ledger.units, ledger.periods)


def _accuracy(joint: Joint, truth: Float[np.ndarray, "variable decision"]) -> dict[str, float]:
    draws = joint.draws[:, [joint.names.index(name) for name in LATER]]
    interval = None if len(draws) < 2 else tuple(np.quantile(draws, ENDS, axis=0))
    found = impact_accuracy(draws.mean(0), truth, interval)
    known = {"error": found.rmse, "right signs": found.signs}
    return known if found.coverage is None else {**known, "coverage": found.coverage}


def _of_proposal(books: Books, forecasts: dict[str, Joint], seed: int) -> dict[str, dict[str, float]]:
    """What a proposal is forecast to do, and what it does: columns that count, the money, and the error over all."""
    proposal = propose(books, OFFICE, seed=seed)
    simulated = _simulated(proposal, seed)
    change = proposal.point.change
    moved = {name: np.nan_to_num(joint.draws.mean(0)) @ change for name, joint in forecasts.items()}
    moved["network"] = moved["network"].copy()
    for column, expected in proposal.expected.items():  # checked by halves, as the office is told
        moved["network"][books.names.index(column)] = expected.effect.mean
    moved["simulated"] = simulated
    cost = change @ proposal.question.base / proposal.question.base.sum()
    found = {
        column: {name: float(each[books.names.index(column)]) for name, each in moved.items()}
        for column in proposal.expected
    }
    place = proposal.at.objectives.index(MONEY)
    found[MONEY] = {
        name: float(worths(proposal.question, books.names, each, proposal.spread)[place] - cost)
        for name, each in moved.items()
    }
    places = [books.names.index(column) for column in proposal.expected]
    found["error"] = {
        name: impact_accuracy((each / proposal.spread)[places], (simulated / proposal.spread)[places]).rmse
        for name, each in moved.items()
        if name != "simulated"
    }
    return found


def _simulated(proposal: Proposal, seed: int) -> Float[np.ndarray, " variable"]:
    """By how much every column of the books differs in the first quarter from one without changes; means of courses."""
    changes = dict(zip(proposal.question.decisions, proposal.point.change.tolist(), strict=True))
    arms = stack([decide(), decide(changes)])
    levels = rollout(
        environment,
        hold,
        jax.random.key(seed),
        arms=arms,
        replicates=COURSES,
        horizon=1,
        collect=lambda quarter: quarter.level[:, 0],
        average=True,
    )
    difference = np.asarray(levels[1] - levels[0], float)
    return difference[[PLACE[name] for name in proposal.joint.names]]
