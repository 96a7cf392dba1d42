"""What the Budgets page shows of a proposal: the changes, why and at what risk, and the other ways that there were."""

import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from bayesalloc.dashboard import widgets
from bayesalloc.dashboard.figures import add_intervals, as_axis, as_label, blank, name_rows
from bayesalloc.dashboard.state import Mine
from bayesalloc.discovery.joint import DRAWS
from bayesalloc.report.budget import TERMS
from bayesalloc.report.figures import COLOURS, GREY, INK
from bayesalloc.report.html import upper
from bayesalloc.report.tables import Sheet
from bayesalloc.report.words import bracket, number, percent, words

Answer = Mapping[str, Any]  # the document of `bayesalloc budget`, or a point in it
PRICES = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)  # of a unit of causal risk
LEVELS, BEST = (50, 80, 89, 95), "the best that are found"
PRICE = "What a unit of causal risk costs (lambda)"


def asked(own: Mine) -> list[str]:
    """What else may be asked of a proposal, as arguments of the command line."""
    level = st.select_slider("Intervals hold, %", LEVELS, 89)
    widgets.uploaded("Policy (as `bayesalloc train budget` writes it)", "policy", own, _check_policy)
    policies = own.files.get("policy", {})
    whose = st.selectbox("Whose changes", [BEST, *policies], len(policies)) if policies else BEST
    if whose == BEST:
        return ["--interval", f"{level / 100:g}"]
    help_ = "In the order in which it learned them: efficiency, risk, performance."
    weights = re.sub(r"\s", "", st.text_input("Weights of the policy's objectives", "1,1,1", help=help_))
    return ["--interval", f"{level / 100:g}", "--policy", f"{policies[whose]}:{weights}"]


def _check_policy(path: Path) -> None:
    importlib.import_module("bayesalloc.models.budgets.registry").named(str(path))


def proposed(answer: Answer) -> None:
    """The proposal in words, its changes with their reasons and risks, and what all of it does."""
    widgets.said(answer["answer"])
    with st.expander("What to beware of"):
        widgets.said([], answer["warnings"])
    if answer["changes"]:
        widgets.table(_changes(answer), "Money is in the unit of the plan.")
        why, but = st.columns(2)
        with why:
            st.markdown("**Why**")
            widgets.said([upper(each) for change in answer["changes"] for each in change["reasons"][:1]])
        with but:
            st.markdown("**What may break**")
            risks = [upper(each) for change in answer["changes"] for each in change["risks"][:1]]
            widgets.said(risks or ["No change is expected to harm what is protected."])
        widgets.figure(_moved(answer), "moved")
        level = f"{100 * answer['interval']['prob']:.0f} %"
        st.caption(f"What all changes do together, {level} intervals; crosses: what the books promise by themselves.")
        widgets.table(_expected(answer), upper(TERMS["expected"]).replace("{level}", level))
    rows = [
        {**change, "reasons": "; ".join(change["reasons"]), "risks": "; ".join(change["risks"])}
        for change in answer["changes"]
    ]
    expected = [{"column": name, **each} for name, each in answer["expected"].items()]
    widgets.downloads(
        [
            ("Changes (CSV)", widgets.rows_as_csv(rows), "changes.csv", "text/csv"),
            ("What they do (CSV)", widgets.rows_as_csv(expected), "expected.csv", "text/csv"),
        ]
    )


def _changes(answer: Answer) -> Sheet:
    rows = [
        [words(each["department"]), f"{number(each['percent'], 1, signed=True)} %", number(each["money"], signed=True)]
        + [percent(each["helps"], DRAWS)]
        for each in answer["changes"]
    ]
    net = sum(each["money"] for each in answer["changes"])
    rows.append(["in all", "", number(net, signed=True), ""])
    return Sheet("What to change", ["decision", "change", "money", "helps"], rows)


def _expected(answer: Answer) -> Sheet:
    risk = answer["causal_risk_of"]
    rows = [
        [words(name), bracket(each, "mean", signed=True), number(each["promised"], signed=True)]
        + ["" if each["tolerance"] is None else number(each["tolerance"])]
        + ["" if each["prob_harm"] is None else percent(each["prob_harm"], DRAWS)]
        + [number(risk[name], 2) if name in risk else ""]
        for name, each in answer["expected"].items()
    ]
    header = ["column", "expected", "books promise", "tolerance", "chance of more harm", "causal risk"]
    return Sheet("What all changes together do", header, rows)


def _moved(answer: Answer) -> go.Figure:
    """What all changes together are expected to do: what counts, and what is protected."""
    figure = blank("What all changes do together", 110 + 28 * len(answer["expected"]))
    for kind, colour, symbol in (("what counts", COLOURS[0], "circle"), ("protected", COLOURS[1], "square")):
        there = {
            name: each
            for name, each in answer["expected"].items()
            if (each["tolerance"] is None) == (kind == "what counts")
        }
        add_intervals(figure, kind, there, (colour, symbol, "white"))
    promised = [each["promised"] for each in answer["expected"].values()]
    names = [as_label(words(name)) for name in answer["expected"]]
    figure.add_scatter(
        x=promised,
        y=names,
        name="the books promise",
        mode="markers",
        marker={"symbol": "x-thin", "line": {"color": GREY, "width": 2}},
    )
    figure.add_vline(0, line={"color": INK, "width": 1, "dash": "dash"})
    figure.update_xaxes(title=as_axis("movement, each in its column's own unit"))
    name_rows(figure, [*map(words, answer["expected"])])
    return figure


def other_ways(answer: Answer) -> None:
    """The front; weights choose among its points."""
    objectives = [*answer["weights"]]
    st.write("What counts, and for how much? The points are computed; what you say chooses the best of them.")
    columns = st.columns(len(objectives))
    weights = {
        each: column.slider(words(each), 0, 100, round(100 * answer["weights"][each]), key=f"goal {each}")
        for column, each in zip(columns, objectives, strict=True)
    }
    price = st.select_slider(PRICE, sorted({*PRICES, answer["lambda"]}), answer["lambda"], key="front price")
    total = sum(weights.values())
    if not total:
        st.info("Give at least one objective a weight.")
        return
    shares = {each: weight / total for each, weight in weights.items()}
    point = best(answer["front"], shares, price)
    widgets.figure(_front(answer, shares, point), "front")
    st.caption(
        "Each point is a proposal that no other beats in all respects, as the books by themselves promise; the square"
        " is the proposal, whose changes also had to be sure enough. Money is in % of all that is decided on, other"
        " objectives are in their standard deviations."
    )
    widgets.table(_compared(answer, point), "Money is in the unit of the plan.")
    widgets.downloads([("Other ways (CSV)", _front_csv(answer), "front.csv", "text/csv")])


def best(points: Sequence[Answer], weights: Mapping[str, float], price: float) -> Answer:
    """Of computed points the one that is worth most: weighted objectives less the price of causal risk.

    >>> cheap = {"objectives": {"money": 1.0}, "causal_risk": 0.0}
    >>> best([cheap, {"objectives": {"money": 3.0}, "causal_risk": 1.0}], {"money": 1.0}, 5.0) is cheap
    True
    """
    return max(points, key=lambda point: worth(point, weights) - price * point["causal_risk"])


def worth(point: Answer, weights: Mapping[str, float]) -> float:
    """Weighted objectives."""
    return sum(weight * point["objectives"][each] for each, weight in weights.items())


def _front(answer: Answer, weights: Mapping[str, float], chosen: Answer) -> go.Figure:
    """The points, the one that is chosen, and the proposal."""
    figure = blank("What is gained, at what causal risk", 360)
    for name, points, symbol, colour, size in (
        ("other ways", answer["front"], "circle-open", COLOURS[0], 9),
        ("chosen", [chosen], "diamond", COLOURS[1], 15),
        ("proposal", [answer["proposed"]], "square", COLOURS[0], 11),
    ):
        figure.add_scatter(
            x=[point["causal_risk"] for point in points],
            y=[worth(point, weights) for point in points],
            name=name,
            mode="markers",
            marker={"symbol": symbol, "color": colour, "size": size, "line": {"color": colour, "width": 2}},
        )
    figure.update_xaxes(title="causal risk, standard deviations", rangemode="tozero")
    figure.update_yaxes(title="objectives, weighted as above")
    return figure


def _compared(answer: Answer, chosen: Answer) -> Sheet:
    """The changes of the chosen point beside those of the proposal."""
    rows = []
    for name, money in answer["money"].items():
        both = [point["changes"][name] for point in (chosen, answer["proposed"])]
        if any(both):
            shown = [f"{number(each, 1, signed=True)} %" if each else "" for each in both]
            rows.append(
                [words(name), shown[0], number(both[0] * money / 100, signed=True) if both[0] else "", shown[1]]
            )
    for each in answer["weights"]:
        values = [number(point["objectives"][each], 2, signed=True) for point in (chosen, answer["proposed"])]
        rows.append([f"objective: {words(each)}", values[0], "", values[1]])
    values = [number(point["causal_risk"], 2) for point in (chosen, answer["proposed"])]
    rows.append(["causal risk", values[0], "", values[1]])
    return Sheet("The chosen point", ["", "chosen", "money", "proposal"], rows)


def _front_csv(answer: Answer) -> str:
    """Every point, the proposal first."""
    return widgets.rows_as_csv(
        [
            {"proposal": place == 0, "lambda": point["lambda"], "causal_risk": point["causal_risk"]}
            | {f"weight.{name}": value for name, value in point["weights"].items()}
            | {f"objective.{name}": value for name, value in point["objectives"].items()}
            | {f"change.{name}": value for name, value in point["changes"].items()}
            for place, point in enumerate([answer["proposed"], *answer["front"]])
        ]
    )
