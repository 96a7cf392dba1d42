"""The published measures of an office that has learned in the organisation, and of one that plans from its books.

The source simulates 1,000 steps with seed 42: here these are 1,000 quarters in 50 courses of the 20 that an office
looks ahead, the same for all, and one office is trained for 1,000 too. Formulas: `bayesalloc.budgets.metrics`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from bayesalloc.agents.pareto.networks import Heads, greedy
from bayesalloc.budgets import metrics
from bayesalloc.budgets.proposal import Proposal, propose
from bayesalloc.budgets.proposing import worths
from bayesalloc.models.budget import OBJECTIVES, environment
from bayesalloc.models.budgets.ceiling import QUARTERS, REFERENCE
from bayesalloc.models.budgets.decisions import MOVES, REACH, STEP
from bayesalloc.models.budgets.experiments.agents import FOUR, GRID, PUBLISHED, STEPS, fixed_plans, learning, trained
from bayesalloc.models.budgets.experiments.world import OFFICE, books_of
from bayesalloc.models.budgets.judging import FIGURES, HELD, Judged, of_office, of_plans
from bayesalloc.models.budgets.world import DEPARTMENTS

TITLE = "The published measures, over 1,000 quarters"
TERMS = {
    "saved": "budgets and costs, in % of what the static rule spends, which holds every budget. A figure by which"
    " departments are judged is lower where it is more than a tenth of its standard deviation worse than under that"
    " rule; `most, no figure lower` is the most that any of 28 weights of the objectives saves without.",
    "of the ceiling": "hypervolume of mean rewards for 28 weights, over that of the best fixed plans for these.",
    "epsilon": "what all points lack to be as good as the front of all that is compared, in objectives' units.",
    "steps to 90 %": "after which the hypervolume stays at 90 % or more of the run's last.",
    "stability": "1 less the distance of what two seeds decide over the largest possible: budgets in the last quarter"
    " for 28 weights; of books, changes that are proposed from other draws of them.",
    "interpretability": "share of a forecast in its five largest effects: of an office that learned, what departments"
    " add to each objective by their first moves for equal weights; of books, to the weighted objectives.",
    "changed": "departments whose budget changes, a quarter.",
}
EVEN = "equal weights"
SHOWN = {"efficiency alone": len(GRID) - 1, EVEN: FOUR[EVEN]}
COURSES = 50
HOLD = int(np.flatnonzero(MOVES == 0)[0])  # the move that changes nothing
ROWS = 1_000  # of books


def measured(seed: int) -> dict[str, dict[str, float]]:
    """Measure by office."""
    key = jax.random.fold_in(jax.random.key(seed), 1)
    runs = {f"{steps:,} quarters of training": steps for steps in (STEPS, PUBLISHED)}

    def office(network: Heads) -> Judged:
        return of_office(environment, network, GRID, key, courses=COURSES, quarters=QUARTERS)

    plans = of_plans(environment, np.concatenate([HELD, fixed_plans()]), key, courses=COURSES, quarters=QUARTERS)
    held, best = Judged(*(leaf[:1] for leaf in plans)), Judged(*(leaf[1:] for leaf in plans))
    judged = {name: office(trained(seed, steps)) for name, steps in runs.items()}
    union = np.concatenate([_brought(each) for each in (*judged.values(), plans)])
    found: dict[str, dict[str, float]] = {}
    for name, each in {**judged, "best fixed plans": best, "static rule": held}.items():
        row = {
            **_saved(each, held),
            "of the ceiling": metrics.pareto_share(_brought(each), _brought(best), REFERENCE),
            "epsilon": metrics.additive_epsilon(_brought(each), union),
            **_managed(each),
        }
        if name in runs:
            volumes = {
                steps: metrics.pareto_share(_brought(office(network)), _brought(best), REFERENCE)
                for steps, network in learning(seed, runs[name]).items()
            }
            row["steps to 90 %"] = metrics.steps_to_end([*volumes], [*volumes.values()])
            other = office(trained(seed + 1, runs[name]))
            reach = np.full(len(DEPARTMENTS), REACH)
            row["stability"] = metrics.stability(each.budgets[:, :, -1], other.budgets[:, :, -1], reach)
            row["interpretability"] = metrics.interpretability(_advantages(trained(seed, runs[name])))
        for quantity, value in row.items():
            found.setdefault(quantity, {})[name] = float(value)
    for quantity, value in _from_books(seed).items():
        found.setdefault(quantity, {})["from books"] = float(value)
    return found


def _brought(judged: Judged) -> Float[np.ndarray, "arm objective"]:
    return judged.rewards.mean((1, 2))


def _saved(judged: Judged, held: Judged) -> dict[str, float]:
    """What is saved at some weights, and figures that are lower for it."""

    def figures(of: Judged, arm: int) -> dict[str, np.ndarray]:
        return dict(zip(FIGURES, of.figures[arm].reshape(-1, len(FIGURES)).T, strict=True))

    alike = figures(held, 0)
    each = [
        metrics.budget_efficiency(judged.spent[arm].ravel(), held.spent[0].ravel(), figures(judged, arm), alike)
        for arm in range(len(judged.spent))
    ]
    found: dict[str, float] = {}
    for name, place in SHOWN.items():
        at = each[min(place, len(each) - 1)]  # the static rule is one for all weights
        found |= {f"saved, {name}, %": at.percent, f"figures lower, {name}": len(at.failing)}
        if name == EVEN:
            found |= {f"{figure}, better by, sd": by for figure, by in at.better.items()}
    return found | {"saved, most, no figure lower, %": max([0.0, *(one.percent for one in each if not one.failing)])}


def _managed(judged: Judged) -> dict[str, float]:
    found = metrics.manageability(judged.changes, judged.violations)
    return {"changed": found.departments, "violations": found.violations}


def _advantages(network: Heads) -> Float[np.ndarray, "department objective"]:
    """What each department's first move adds to each objective, by the network, above holding; weighted evenly."""
    assert environment.observe is not None
    seen = environment.observe(environment.initial(()), ())
    weights = jnp.full(len(OBJECTIVES), 1 / len(OBJECTIVES))
    heads = network(seen.values, weights)
    moves = greedy(heads, weights, seen.mask)
    return np.asarray((heads[jnp.arange(len(heads)), moves] - heads[:, HOLD]) * weights)


def _from_books(seed: int) -> dict[str, float]:
    """Of an office that plans from its books: two proposals from two draws of them."""
    one, other = (propose(books_of(each, ROWS), OFFICE, seed=each) for each in (seed, seed + 1))
    reach = np.full(len(DEPARTMENTS), STEP)
    changes = np.stack([one.point.change, other.point.change])
    beyond = (np.abs(changes) > STEP + metrics.NEGLIGIBLE).sum(-1).astype(float)
    managed = metrics.manageability(changes, beyond)
    return {
        "stability": metrics.stability(changes[0], changes[1], reach),
        "interpretability": metrics.interpretability(_contributions(one)),
        "changed": managed.departments,
        "violations": managed.violations,
    }


def _contributions(proposal: Proposal) -> Float[np.ndarray, "decision column"]:
    """What each change adds to the weighted objectives through each column, and by what it costs itself."""
    asked, joint = proposal.question, proposal.joint
    moved = np.nan_to_num(joint.draws.mean(0)) * asked.per_percent * proposal.point.change
    apart = moved.T[..., None] * np.eye(len(joint.names))
    columns = worths(asked, joint.names, apart, proposal.spread) @ proposal.point.weight
    whole = proposal.at.gain.mean(0) * proposal.point.change
    cost = proposal.point.weight @ whole - columns.sum(1)
    return np.column_stack([columns, cost])
