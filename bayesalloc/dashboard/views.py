"""What the Mechanisms page shows of a comparison: over time, effects, agents, the choice, and a brief."""

from collections.abc import Callable

import numpy as np
import streamlit as st
import xarray as xr

from bayesalloc.dashboard import figures, widgets
from bayesalloc.dashboard.uploads import safe
from bayesalloc.effects.decisions import best_by_weights
from bayesalloc.report import brief, comparison, decision, incentives
from bayesalloc.report.reading import arms_of, effects_of, group, level_of, main_outcomes
from bayesalloc.report.words import percent, words


def over_time(tree: xr.DataTree) -> None:
    """Each outcome's course."""
    for column, outcome in zip(st.columns(len(main_outcomes(tree))), main_outcomes(tree), strict=True):
        with column:
            widgets.figure(figures.course(tree, outcome), f"course {outcome}")
    st.caption(f"Mean of each mechanism, and the band that holds {level_of(tree)} of the simulated futures.")


def effects(tree: xr.DataTree) -> None:
    """What each mechanism changes, against the control."""
    for column, outcome in zip(st.columns(len(main_outcomes(tree))), main_outcomes(tree), strict=True):
        with column:
            widgets.figure(figures.effects(tree, outcome), f"effects {outcome}")
    level = level_of(tree)
    st.caption(
        f"Difference from {words(tree.attrs['control'])}: the average effect, its {level} interval (thick), and that of"
        " one single future (thin). The dashed line is no difference."
    )
    for sheet in comparison.effects_sheets(tree, main_outcomes(tree), words):
        widgets.table(sheet)


def agents(tree: xr.DataTree) -> None:
    """Who gains, who would refuse, who would not comply."""
    for found in incentives.sentences(tree, words):
        st.markdown(f"- {found}")
    widgets.figure(figures.payoffs(tree), "payoffs")
    widgets.table(incentives.sheet(tree, words))


def choice(tree: xr.DataTree) -> None:
    """Which is best, as the weights between the outcomes move."""
    worth = group(tree, "worth")["worth"]
    criteria = [str(each) for each in worth["criterion"].values]
    st.write("What counts, and for how much? A weight is for the whole way from the worst mechanism to the best.")
    columns = st.columns(len(criteria))
    weights = {
        each: float(column.slider(words(each), 0, 100, 50, key=f"weight {each}"))
        for column, each in zip(columns, criteria, strict=True)
    }
    if not any(weights.values()):
        st.info("Give at least one outcome a weight.")
        return
    arms = [str(arm) for arm in worth["arm"].values]
    now = dict(zip(arms, best_by_weights(worth, weights), strict=True))
    top = max(now, key=lambda arm: now[arm])
    sure = percent(now[top], tree.attrs["draws"])
    st.markdown(f"**{words(top).capitalize()}** is the best with a probability of {sure}.")
    moving = st.selectbox("Move the weight of", criteria, format_func=words, key="moving")
    shares = np.arange(0.0, 101.0, 5.0)
    others = {each: weight for each, weight in weights.items() if each != moving}
    if any(others.values()):
        rest = sum(others.values())
        along = [{**{each: (100 - share) * w / rest for each, w in others.items()}, moving: share} for share in shares]
        swept = np.array([best_by_weights(worth, at) for at in along])
        probabilities = {arm: swept[:, place].tolist() for place, arm in enumerate(arms)}
        widgets.figure(figures.best(probabilities, shares.tolist(), moving, tree), "best")
    widgets.table(decision.sheet(tree, words), "Each criterion in its own unit; CVaR also in its own sign.")


def in_brief(tree: xr.DataTree, paid: str, less: Callable[[], xr.DataTree | None]) -> None:
    """A page to print about one mechanism.

    Args:
        tree: the comparison.
        paid: the outcome that says what each agent receives.
        less: the same where people respond less; asked for here only, as it takes a moment.
    """
    treatments = [str(arm) for arm in group(tree, "effects")["treatment"].values]
    arm = st.selectbox("About", treatments, len(treatments) - 1, format_func=words, key="brief about")
    page = brief.page(tree, arm, paid, less=less())
    st.download_button("Download the brief", page, f"{safe(arm)}_brief.html", "text/html")
    st.iframe(page, height=900)


def take_away(tree: xr.DataTree) -> None:
    """All that is on the page, as files."""
    arms = [{"outcome": label, "arm": arm, **stats} for label, by in arms_of(tree).items() for arm, stats in by.items()]
    effects = [
        {"outcome": label, "treatment": arm, "control": tree.attrs["control"], **stats}
        for label, by in effects_of(tree).items()
        for arm, stats in by.items()
    ]
    widgets.downloads(
        [
            ("Outcomes (CSV)", widgets.rows_as_csv(arms), "outcomes.csv", "text/csv"),
            ("Effects (CSV)", widgets.rows_as_csv(effects), "effects.csv", "text/csv"),
            ("Over time (CSV)", _courses_as_csv(tree), "over_time.csv", "text/csv"),
        ]
    )


def _courses_as_csv(tree: xr.DataTree) -> str:
    data = tree["courses"].to_dataset()[main_outcomes(tree)]
    return data.to_dataframe().reset_index().to_csv(index=False)
