"""From a state to a proposal: what is believed now, what to fund next, why, how sure, and what it would teach."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import msgspec
import numpy as np

from bayesalloc.impact import acquisition, learning
from bayesalloc.impact.bounds import Bounds, Limits, allowed, best_first_order, bounds, filled
from bayesalloc.impact.grid import nearest, on_grid
from bayesalloc.impact.hyperscore import hyperscore
from bayesalloc.impact.projects import Projects
from bayesalloc.impact.rounds import amounts_of, kinds_of, prior_of, reports_of, totals_of
from bayesalloc.impact.search import Found, best
from bayesalloc.impact.state import State
from bayesalloc.impact.structured import Belief, Prior, Reports, Spreads, double_precision, draw
from bayesalloc.impact.totals import Total

MOST_DRAWS, DRAWN = 512, 100_000  # draws of the posterior; and most draws x projects
BEST_OF = 64  # draws for which the best allocation is searched, for the HyperScore and the value of knowing
LEARN_AT = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)  # rounds from which the spreads are learned anew


class Understanding(NamedTuple):
    """What is believed of the projects in a state.

    Attributes:
        projects: the table.
        warnings: what was assumed in reading it.
        budget: USD.
        which: the projects that have an estimate.
        prior: they, in budgets.
        reports: what projects reported.
        totals: what was reported of all together.
        spreads: how far estimates, projects and reports spread, at the most probable.
        belief: the posterior, given these.
        world: draws from the posterior, with the spreads uncertain too.
        bounds: which allocations are allowed.
        standing: the allocation that stands, in budgets: the last that was told, else the current one, else that of
            the last round before; with as much money for projects with an estimate as there is now. None: none.
    """

    projects: Projects
    warnings: list[str]
    budget: float
    which: np.ndarray
    prior: Prior
    reports: Reports
    totals: list[Total]
    spreads: Spreads
    belief: Belief
    world: acquisition.World
    bounds: Bounds
    standing: np.ndarray | None


class Proposal(NamedTuple):
    """An allocation that is proposed, and what is expected of it.

    Attributes:
        amount: USD of each project.
        impact: of the allocation, a number for each draw.
        value: its acquisition.
        residual: what the search left to gain at most, to first order, as a share.
        share: V of each of some draws, its impact over that of the allocation that would be best under the draw.
        lost: what knowing everything would add, for the same draws.
        score: HyperScore of these.
    """

    amount: np.ndarray
    impact: np.ndarray
    value: float
    residual: float
    share: np.ndarray
    lost: np.ndarray
    score: np.ndarray


def due(state: State) -> bool:
    """Whether the spreads are to be learned anew: at first, and after 1, 2, 4, 8, ... rounds."""
    rounds = len({row.round for row in state.rows if row.impact is not None})
    return not state.spreads or any(state.learned_from < at <= rounds for at in LEARN_AT)


def understand(state: State) -> tuple[Understanding, State]:
    """What is believed, and the state with the spreads that were learned on the way."""
    with double_precision():
        projects, warnings = state.projects()
        question = state.question
        prior = prior_of(projects, question.budget)
        reports = reports_of(state.rows, projects, question.budget)
        n_kinds, n_regions = len(kinds_of(projects)), int(prior.region.max()) + 1
        totals = totals_of(state.rows, projects, question.budget)
        known = _known(state)
        if known is None or due(state):
            start = None if known is None else known.mode
            known = learning.learned(prior, reports, n_kinds, n_regions, start, totals)
            state = _with(state, known)
        each = [jax.tree.map(lambda leaf, at=at: leaf[at], known.points) for at in range(learning.POINTS)]
        beliefs = [learning.belief(prior, reports, totals, spreads, n_kinds, n_regions) for spreads in each]
        belief = learning.belief(prior, reports, totals, known.mode, n_kinds, n_regions)
        which = projects.estimated
        world = world_of(beliefs, prior, projects, question.seed, n_kinds)
        limits = Limits(question.domain_caps, question.turnover, question.change, question.resources)
        made = Understanding(
            projects,
            warnings,
            question.budget,
            which,
            prior,
            reports,
            totals,
            known.mode,
            belief,
            world,
            bounds(projects, question.budget, limits),
            _standing(state, projects),
        )
        return made, state


def searched(state: State, u: Understanding, starts: Sequence[np.ndarray] | None = None) -> Found:
    """The allowed allocation that the state's acquisition favours, in budgets; in double precision.

    Args:
        state: what is asked for.
        u: what is believed.
        starts: where to search from; default: several.
    """
    question = state.question
    standing = np.full(len(u.which), 1.0 / len(u.which)) if u.standing is None else u.standing
    reference = np.asarray(acquisition.impact(jnp.asarray(standing[u.which]), u.world))
    favoured = acquisition.as_function(u.world, reference, question.beta, question.acquisition, question.risk, u.which)
    found = best(favoured, room_of(u), u.bounds, _starts(u) if starts is None else starts)
    return found if question.step is None else on_grid(favoured, u.bounds, found, question.step / u.budget)


def propose(state: State, understanding: Understanding, found: Found | None = None) -> Proposal:
    """The allocation that the state's acquisition favours, within its limits, and what is expected of it.

    Args:
        state: what is asked for.
        understanding: what is believed.
        found: the allocation, where it has been found otherwise.
    """
    u = understanding
    with double_precision():
        step = state.question.step
        if found is None:
            found = searched(state, u)
        elif step is not None:
            found = found._replace(amount=nearest(u.bounds, found.amount, step / u.budget))
        impact = np.asarray(acquisition.impact(jnp.asarray(found.amount[u.which]), u.world))
        share, lost = _against_the_best(u, found, impact)
        score = np.asarray(hyperscore(share))
        return Proposal(found.amount * u.budget, impact, found.value, found.residual, share, lost, score)


def impact_of(understanding: Understanding, amount: np.ndarray) -> np.ndarray:
    """Impact of an allocation in USD, under every draw."""
    with double_precision():
        shares = jnp.asarray(amount[understanding.which] / understanding.budget)
        return np.asarray(acquisition.impact(shares, understanding.world))


def _known(state: State) -> learning.Learned | None:
    if not state.spreads:
        return None
    mode, *points = state.spreads
    return learning.Learned(Spreads(*map(jnp.asarray, mode)), Spreads(*map(jnp.asarray, zip(*points, strict=True))))


def _with(state: State, known: learning.Learned) -> State:
    spreads = np.vstack([np.array(known.mode), np.array(known.points).T]).tolist()
    rounds = len({row.round for row in state.rows if row.impact is not None})
    return msgspec.structs.replace(state, spreads=spreads, learned_from=rounds)


def world_of(beliefs: Sequence[Belief], prior: Prior, projects: Projects, seed: int, n_kinds: int) -> acquisition.World:
    """Draws of what is believed, as many from each of several beliefs, and of which projects can work."""
    n, parts = len(prior.room), len(beliefs)
    n_draws = int(np.clip(DRAWN // n, 128, MOST_DRAWS)) // (2 * parts) * 2 * parts
    keys = jax.random.split(jax.random.key(seed), parts + 1)
    each = [_drawn(belief, prior, key, n_draws // parts, n_kinds) for belief, key in zip(beliefs, keys, strict=False)]
    draws = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *each)
    works = jax.random.uniform(keys[-1], (n_draws, n)) >= jnp.asarray(projects.risk[projects.estimated])
    return acquisition.World(draws, works.astype(float), prior.edges)


_drawn = jax.jit(draw, static_argnums=(3, 4))


def kinds_and_regions(u: Understanding) -> tuple[int, int]:
    """How many kinds of spill-overs and how many regions there are."""
    return len(kinds_of(u.projects)), int(np.asarray(u.prior.region).max()) + 1


def room_of(u: Understanding) -> np.ndarray:
    """K of every project, in budgets."""
    return u.projects.room / u.budget


def _standing(state: State, projects: Projects) -> np.ndarray | None:
    past = amounts_of(state.rows, projects)
    if past and (state.rounds > state.before or np.isnan(projects.current).any()):
        amount = past[max(past)]
    elif not np.isnan(projects.current).any():
        amount = projects.current
    else:
        return None
    held = np.where(projects.estimated, 0.0, projects.current) / state.question.budget
    moved = np.where(projects.estimated, amount, 0.0)
    return None if moved.sum() == 0 else held + moved / moved.sum() * (1.0 - held.sum())


def _starts(u: Understanding) -> list[np.ndarray]:
    """Allowed allocations to search from: near the one that stands, the plain knapsack, and those of single draws."""
    room, n = room_of(u), len(u.which)
    worths = [np.ones(n), np.zeros(n)]
    worths[1][u.which] = np.asarray(jnp.exp(u.belief.effect))
    starts = [filled(worth, room, u.bounds) for worth in worths]
    if u.standing is not None:
        nearest = best_first_order(np.zeros(n), u.bounds)
        starts.append(u.standing if allowed(u.standing, u.bounds) or nearest is None else nearest)
    return starts


def _against_the_best(u: Understanding, found: Found, impact: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For some draws: the impact as a share of that of the allocation that would be best if the draw were true."""
    shares, lost = [], []
    n_draws = len(impact)
    for index in np.linspace(0, n_draws - 1, min(BEST_OF, n_draws)).astype(int):
        draws, works = jax.tree.map(lambda leaf, i=index: leaf[i : i + 1], (u.world.draws, u.world.works))
        alone = acquisition.World(draws, works, u.world.edges)
        certain = acquisition.as_function(alone, impact[index : index + 1], 1.0, "ucb", "ev", u.which)
        top = best(certain, room_of(u), u.bounds, [found.amount]).value
        shares.append(min(impact[index] / top, 1.0) if top > 0 else 1.0)
        lost.append(max(top - impact[index], 0.0))
    return np.array(shares), np.array(lost)
