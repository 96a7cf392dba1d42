"""What a proposal would teach, proposals for the same round or the rounds after, and for other budgets."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import msgspec
import numpy as np
from scipy.stats import norm

from bayesalloc.errors import InputError, quoted
from bayesalloc.impact import acquisition, learning
from bayesalloc.impact.bounds import best_first_order
from bayesalloc.impact.proposing import Understanding, kinds_and_regions, searched, understand, world_of
from bayesalloc.impact.rounds import MOST, REPORTABLE, Row
from bayesalloc.impact.search import Found
from bayesalloc.impact.state import Ask, State
from bayesalloc.impact.structured import Reports, double_precision

FANCIED = 16  # rounds that are imagined
NOTHING_TO_LEARN = 1e6  # beta of the expected impact alone
_QUANTILES = norm.ppf((np.arange(64) + 0.5) / 64)
BUDGETS = 7  # of a sweep


class Swept(NamedTuple):
    """The best that another total budget could do.

    Attributes:
        budget: USD.
        impact: expected.
        next_thousand: what 1,000 USD more would add.
    """

    budget: float
    impact: float
    next_thousand: float


def value_of_round(state: State, u: Understanding, amount: np.ndarray) -> tuple[float, float]:
    """What the reports of one more round would be worth in the round after, E max mu' - max mu; and its error.

    Rounds are imagined: the truth is a draw of what is believed, reports are drawn from it, beliefs are updated, and
    the best allocation is found again. Since E mu'(x) = mu(x), what it gains on the allocation x that is best now is
    averaged, which has less variance. Spreads are at their most probable, and not learned anew.

    Args:
        state: what is asked for; only the expected impact counts here.
        u: what is believed.
        amount: what would be funded in the round, USD.

    Returns:
        The mean, and its standard error, in the unit of impact.
    """
    plain = _with_question(state, risk="ev", acquisition="ucb", beta=NOTHING_TO_LEARN, step=None)
    n_kinds, n_regions = kinds_and_regions(u)
    gains = []
    seed = state.question.seed
    with double_precision():
        u = u._replace(world=world_of([u.belief], u.prior, u.projects, seed, n_kinds))
        best_now = searched(plain, u).amount
        share = amount[u.which] / u.budget
        funded = share >= REPORTABLE
        impact = np.log(np.maximum(np.asarray(acquisition.by_project(jnp.asarray(share), u.world)), 1e-300))
        spreads = [float(each) for each in (u.spreads.noise, u.spreads.bias, u.spreads.shock)]
        draws = np.random.default_rng(seed)
        for index in np.linspace(0, len(impact) - 1, FANCIED).astype(int):
            told = impact[index] + math.hypot(*spreads) * draws.normal(size=len(share))
            works = np.asarray(u.world.works)[index] > 0
            reports = _one_more(u.reports, share, told, funded & works)
            belief = learning.belief(u.prior, reports, u.totals, u.spreads, n_kinds, n_regions)
            after = u._replace(belief=belief, world=world_of([belief], u.prior, u.projects, seed, n_kinds))
            standing = float(acquisition.impact(jnp.asarray(best_now[u.which]), after.world).mean())
            better = searched(plain, after, [best_now])
            reached = float(acquisition.impact(jnp.asarray(better.amount[u.which]), after.world).mean())
            gains.append(max(reached - standing, 0.0))
    return float(np.mean(gains)), float(np.std(gains) / math.sqrt(len(gains)))


def to_learn(state: State, u: Understanding, loss: float) -> Found:
    """The best allocation that also gives projects that would get nothing the least from which a report is heard.

    A report says as much about a small grant as about a large one, so what teaches is to hear of more projects. Those
    come first whose report is worth most for what it costs; and as many as leave the expected impact within `loss` of
    the best.

    Args:
        state: what is asked for.
        u: what is believed.
        loss: share of the expected impact that may be lost.

    Raises:
        InputError: where the loss is not between 0 and 1.
    """
    if not 0 < loss < 1:
        raise InputError(f"loss is {loss:g}; it must be between 0 and 1")
    plain = _with_question(state, risk="ev", acquisition="ucb", beta=NOTHING_TO_LEARN, step=None)
    with double_precision():
        found = searched(plain, u)
        best = _expected(u, found.amount)
        order = _worth_hearing_of(u, found.amount)
        few, many = 0, len(order)
        while few < many:  # how many can be heard of: the loss grows with their number
            middle = (few + many + 1) // 2
            tried = _heard_of(plain, u, order[:middle])
            if tried is not None and _expected(u, tried.amount) >= (1.0 - loss) * best:
                found, few = tried, middle
            else:
                many = middle - 1
    return found


def _expected(u: Understanding, amount: np.ndarray) -> float:
    return float(acquisition.impact(jnp.asarray(amount[u.which]), u.world).mean())


def _worth_hearing_of(u: Understanding, amount: np.ndarray) -> list[int]:
    """Projects that would get too little for a report, those first whose report is worth most for its cost.

    With a report, the mean of log e moves by N(0, s^4 / (s^2 + noise^2)), s its spread now. If e, without what spills
    over, then exceeds the marginal return lambda, the project gets K (e / lambda - 1), which gains
    e K log(e / lambda) - K (e - lambda).
    """
    effects = np.asarray(u.world.draws.log_effect)
    slope = np.zeros(len(amount))
    slope[u.which] = np.asarray(acquisition.marginal(jnp.asarray(amount[u.which]), u.world))
    level = slope[u.which & (amount > 0)].max(initial=slope.max())
    noise = float(jnp.sqrt(u.spreads.noise**2 + u.spreads.bias**2 + u.spreads.shock**2))
    places = np.cumsum(u.which) - 1
    worth = {}
    for index in np.flatnonzero(u.which & (amount < REPORTABLE) & (u.bounds.high >= REPORTABLE)):
        spread = effects[:, places[index]].std()
        moved = spread**2 / math.hypot(spread, noise) * _QUANTILES
        effect = slope[index] * np.exp(moved - moved.var() / 2)
        room = u.projects.room[index] / u.budget
        above = np.maximum(effect, level)
        gain = (above * room * np.log(above / level) - room * (above - level)).mean()
        worth[int(index)] = gain / max((level - slope[index]) * REPORTABLE, 1e-12 * level)
    return sorted(worth, key=lambda index: -worth[index])


def _heard_of(state: State, u: Understanding, heard: list[int]) -> Found | None:
    """The best allocation in which these projects get enough for a report; None where the limits do not allow it."""
    low = u.bounds.low.copy()
    low[heard] = np.maximum(low[heard], REPORTABLE)
    limited = u.bounds._replace(low=low)
    start = best_first_order(np.zeros(len(low)), limited)
    return None if start is None else searched(state, u._replace(bounds=limited), [start])


def after_pending(state: State, asks: list[Ask], u: Understanding) -> State:
    """The state as if proposals had been carried out and every project had reported what is expected of it.

    Expectations do not move, and what would have been learned is no longer uncertain.
    """
    rows = list(state.rows)
    with double_precision():
        for ask in asks:
            amounts = u.projects.amounts(ask.allocation)
            share = jnp.asarray(amounts[u.which] / u.budget)
            expected = np.median(np.asarray(acquisition.by_project(share, u.world)), 0)
            by_name = dict(zip(np.array(u.projects.names)[u.which].tolist(), expected.tolist(), strict=True))
            for name, amount in ask.allocation.items():
                reported = by_name.get(name, 0.0)
                rows.append(Row(ask.round, name, amount, reported if reported > 0 else None))
    return msgspec.structs.replace(state, rows=rows, learned_from=MOST)  # nothing is learned of spreads that way


def pending(state: State) -> list[Ask]:
    """The latest proposal of each round that has not been told."""
    told = {row.round for row in state.rows}
    latest = {ask.round: ask for ask in state.asks if ask.round not in told}
    return [latest[number] for number in sorted(latest)]


def sweep(state: State, text: str) -> Iterator[Swept]:
    """What total budgets from low to high could do, a sentence such as `1e6:5e6`.

    Raises:
        InputError: where the text is not of that form, or a budget cannot be spent within the limits.
    """
    low, colon, high = text.partition(":")
    try:
        ends = (float(low), float(high)) if colon else (0.0, 0.0)
    except ValueError:
        ends = (0.0, 0.0)
    if not 0 < ends[0] < ends[1] < math.inf:
        raise InputError(f"the sweep is '{quoted(text)}'; it must be LOW:HIGH, two budgets in USD, such as 1e6:5e6")
    plain = _with_question(state, risk="ev", acquisition="ucb", beta=NOTHING_TO_LEARN, step=None)
    for budget in np.geomspace(*ends, BUDGETS):
        u, _ = understand(_with_question(plain, budget=float(budget)))
        with double_precision():
            found = searched(plain, u)
            share = jnp.asarray(found.amount[u.which])
            impact = float(acquisition.impact(share, u.world).mean())
            slope = np.asarray(acquisition.marginal(share, u.world)) * 1000.0 / budget
            free = (found.amount > u.bounds.low + 1e-9) & (found.amount < u.bounds.high - 1e-9)
        at = slope[free[u.which]]
        yield Swept(float(budget), impact, float(at.max() if len(at) else slope.max()))


def _with_question(state: State, **changes: object) -> State:
    return msgspec.structs.replace(state, question=msgspec.structs.replace(state.question, **changes))


def _one_more(reports: Reports, share: np.ndarray, told: np.ndarray, there: np.ndarray) -> Reports:
    """One more round, in the first place after the last with a report; room is made where there is none."""
    seen = np.flatnonzero(np.asarray(reports.amount).any(1) | np.asarray(reports.there).any(1))
    at = int(seen.max()) + 1 if len(seen) else 0
    if at == len(reports.amount):
        fills = (0.0, 0.0, np.nan, False)
        reports = Reports(
            *(
                jnp.concatenate([field, jnp.full(field.shape, fill, field.dtype)])
                for field, fill in zip(reports, fills, strict=True)
            )
        )
    return Reports(
        reports.amount.at[at].set(share),
        reports.log_impact.at[at].set(np.where(there, told, 0.0)),
        reports.error,
        reports.there.at[at].set(there),
    )
