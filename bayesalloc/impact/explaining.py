"""Why a proposal is what it is: each project's case, the usual rules on the same table, and what estimates change."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from bayesalloc.defaults import INTERVAL
from bayesalloc.impact import acquisition
from bayesalloc.impact.bounds import allowed
from bayesalloc.impact.proposing import Proposal, Understanding, impact_of, room_of, searched
from bayesalloc.impact.rounds import TOTAL, amounts_of
from bayesalloc.impact.rules import RULES
from bayesalloc.impact.state import State
from bayesalloc.impact.structured import double_precision

DRAWN, CURVED = 6, 25  # projects with the largest grants whose curves are drawn, and amounts on each
MOVED = 20  # projects with the largest grants whose estimates are moved


class Case(NamedTuple):
    """One project's case.

    Attributes:
        project: its name.
        amount: USD proposed.
        before: USD of the allocation that stands; NaN where none does.
        estimate: impact per 1,000 USD as the table has it.
        effect: the same as it is believed now: mean, low, high.
        reports: how many there have been.
        impact: of the proposed amount: mean, low, high.
        marginal: what the next 1,000 USD would add.
        spilled: of that, what reaches other projects.
    """

    project: str
    amount: float
    before: float
    estimate: float
    effect: dict[str, float]
    reports: int
    impact: dict[str, float]
    marginal: float
    spilled: float


class Rival(NamedTuple):
    """What another allocation is expected to do, beside the proposal.

    Attributes:
        name: the rule.
        amount: USD of each project.
        impact: mean, low, high.
        gain: of the proposal over it, in % of its mean: mean, low, high of the paired differences.
        allowed: whether it is within the limits.
    """

    name: str
    amount: np.ndarray
    impact: dict[str, float]
    gain: dict[str, float]
    allowed: bool


class Moved(NamedTuple):
    """How the proposal moves if a project's effect were one standard deviation higher or lower than believed.

    Attributes:
        project: whose effect.
        higher, lower: USD that it would get.
        turnover: share of the budget that would move, the larger of the two.
    """

    project: str
    higher: float
    lower: float
    turnover: float


class Curve(NamedTuple):
    """A project's impact by what it gets, all others as in the proposal.

    Attributes:
        project: its name.
        amount: USD, from nothing to beyond what it gets and is to get.
        impact: mean, low and high for each amount, shape (3, amount).
    """

    project: str
    amount: np.ndarray
    impact: np.ndarray


def curves(u: Understanding, proposal: Proposal) -> list[Curve]:
    """The curves of the projects with the largest grants."""
    order = [index for index in np.argsort(-proposal.amount, kind="stable") if u.which[index]][:DRAWN]
    places = np.cumsum(u.which) - 1
    share = proposal.amount[u.which] / u.budget
    tail = (1.0 - INTERVAL) / 2.0
    found = []
    with double_precision():
        for index in order:
            now = 0.0 if u.standing is None else u.standing[index]
            most = max(1.6 * proposal.amount[index] / u.budget, 1.3 * now, 0.1 * u.projects.room[index] / u.budget)
            amounts = np.linspace(0.0, min(most, 1.0), CURVED)
            impact = []
            for amount in amounts:
                changed = share.copy()
                changed[places[index]] = amount
                draws = np.asarray(acquisition.by_project(jnp.asarray(changed), u.world))[:, places[index]]
                impact.append([draws.mean(), *np.quantile(draws, [tail, 1.0 - tail])])
            found.append(Curve(u.projects.names[index], amounts * u.budget, np.array(impact).T))
    return found


def interval(draws: np.ndarray) -> dict[str, float]:
    """Mean and 89 % equal-tailed interval of draws."""
    tail = (1.0 - INTERVAL) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return {"mean": float(draws.mean()), "low": float(low), "high": float(high)}


def cases(state: State, u: Understanding, proposal: Proposal) -> list[Case]:
    """The case of each project that has an estimate, the largest grant first."""
    with double_precision():
        shares = jnp.asarray(proposal.amount[u.which] / u.budget)
        impact = np.asarray(acquisition.by_project(shares, u.world))
        slope = np.asarray(acquisition.marginal(shares, u.world)) * 1000.0 / u.budget
        alone = np.asarray(acquisition.marginal(shares, u.world, own=True)) * 1000.0 / u.budget
        effect = np.exp(np.asarray(u.world.draws.log_effect)) * 1000.0 / u.budget
    counts = {name: 0 for name in u.projects.names}
    for row in state.rows:
        if row.impact is not None and row.project != TOTAL:
            counts[row.project] += 1
    standing = np.full(len(u.which), np.nan) if u.standing is None else u.standing * u.budget
    found = [
        Case(
            u.projects.names[index],
            float(proposal.amount[index]),
            float(standing[index]),
            float(u.projects.effect[index]),
            interval(effect[:, at]),
            counts[u.projects.names[index]],
            interval(impact[:, at]),
            float(slope[at]),
            float(slope[at] - alone[at]),
        )
        for at, index in enumerate(np.flatnonzero(u.which))
    ]
    return sorted(found, key=lambda case: (-case.amount, case.project))


def rivals(u: Understanding, proposal: Proposal) -> list[Rival]:
    """The usual rules on this very table, and the allocation that stands; what stays as it is stays in each."""
    which, budget = u.which, u.budget
    held = np.where(which, 0.0, np.nan_to_num(u.projects.current))
    left = (budget - held.sum()) / budget
    with double_precision():
        effect = jnp.exp(u.world.draws.log_effect).mean(0)
        on = jnp.ones(int(which.sum()), bool)
        amounts = {}
        for name, rule in RULES.items():
            amount = held.copy()
            amount[which] = np.asarray(rule(effect, u.prior.room, on, left)) * budget
            amounts[name] = amount
    if u.standing is not None:
        amounts["as now"] = u.standing * budget
    return [_rival(u, name, amount, proposal.impact) for name, amount in amounts.items()]


def backtest(state: State, u: Understanding) -> list[dict[str, Any]]:
    """What each usual rule would have done with the money of each past round, as the projects are believed to be now.

    A rule knows of a project what the table says, not what rounds have shown; projects that were off get nothing.
    """
    past = amounts_of(state.rows, u.projects)
    off = {(row.round, row.project) for row in state.rows if not row.on}
    found = []
    with double_precision():
        estimate = jnp.exp(u.prior.estimate)
        for number, amount in past.items():
            spent = amount[u.which].sum()
            names = [name for name, here in zip(u.projects.names, u.which, strict=True) if here]
            on = np.array([(number, name) not in off for name in names])
            did = _works(u, amount[u.which] * on / u.budget)
            row: dict[str, Any] = {"round": number, "as it was": interval(did)}
            for name, rule in RULES.items():
                would = np.asarray(rule(estimate, u.prior.room, jnp.asarray(on), spent / u.budget))
                row[name] = interval(_works(u, would))
            found.append(row)
    return found


def implied_beliefs(u: Understanding) -> dict[str, float]:
    """What effects per 1,000 USD would make the allocation that stands the best one, if nothing spilled over.

    Where amounts are at their best, all marginal returns are equal: e_j is in proportion to 1 + x_j / K_j. The
    factor is chosen so that the logarithms have the mean of what is believed. Only projects that got something.
    """
    if u.standing is None:
        return {}
    share, room = u.standing[u.which], room_of(u)[u.which]
    funded = share > 0
    if not funded.any():
        return {}
    believed = np.asarray(u.belief.effect) + np.log(1000.0 / u.budget)
    implied = np.log1p(share / room)
    implied = np.exp(implied + (believed - implied)[funded].mean())
    names = np.array(u.projects.names)[u.which]
    return {str(name): float(value) for name, value in zip(names[funded], implied[funded], strict=True)}


def moves(state: State, u: Understanding, proposal: Proposal) -> list[Moved]:
    """How the proposal depends on what is believed of each of the projects with the largest grants."""
    order = [index for index in np.argsort(-proposal.amount, kind="stable") if u.which[index]][:MOVED]
    place = np.cumsum(u.which) - 1
    found = []
    with double_precision():
        spread = np.asarray(u.world.draws.log_effect).std(0)
        for index in order:
            at = place[index]
            amounts = []
            for sign in (1.0, -1.0):
                effects = u.world.draws.log_effect.at[:, at].add(sign * spread[at])
                world = u.world._replace(draws=u.world.draws._replace(log_effect=effects))
                amounts.append(searched(state, u._replace(world=world), [proposal.amount / u.budget]).amount)
            turnover = max(0.5 * np.abs(amount - proposal.amount / u.budget).sum() for amount in amounts)
            higher, lower = (float(amount[index] * u.budget) for amount in amounts)
            found.append(Moved(u.projects.names[index], higher, lower, float(turnover)))
    return found


def _works(u: Understanding, share: np.ndarray) -> np.ndarray:
    world = u.world._replace(works=jnp.ones_like(u.world.works))
    return np.asarray(acquisition.impact(jnp.asarray(share), world))


def _rival(u: Understanding, name: str, amount: np.ndarray, proposed: np.ndarray) -> Rival:
    impact = impact_of(u, amount)
    gain = interval(np.round(100.0 * (proposed - impact) / impact.mean(), 9))  # the same is 0, whatever was rounded
    return Rival(name, amount, interval(impact), gain, allowed(amount / u.budget, u.bounds))
