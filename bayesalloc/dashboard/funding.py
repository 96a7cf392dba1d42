"""The Funding page: what is believed of projects, what to fund next and why, and telling it what happened."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from bayesalloc.dashboard import figures, results, widgets
from bayesalloc.dashboard.state import Mine, mine, runs_folder
from bayesalloc.dashboard.uploads import safe
from bayesalloc.errors import InputError, sentence
from bayesalloc.impact.projects import read_projects
from bayesalloc.impact.state import State, load
from bayesalloc.records import Table
from bayesalloc.report.tables import Sheet
from bayesalloc.report.words import bracket, number, with_unit, words

NEW, OTHER, NONE = "a new one", "another split", "none"
BEGIN, TOLD = "Begin ", "Report"  # jobs
RISKS = {
    "the expected impact": "ev",
    "the worst tenth of what may happen": "cvar:0.1",
    "what is reached with 90 % probability": "quantile:0.1",
}
VIEWS = ("What to fund next", "What is believed", "Other rules", "Other budgets")
RULES = (
    "Dots are means, lines hold 89 %. Uniform: the same for every project. Proportional: by impact of the first 1,000"
    " USD; proportional room: by that times the room. Top20: only the fifth with the most impact, equally or by room."
    " Knapsack: what would be best if what is expected were true and nothing spilled over. As now: what each project"
    " gets now."
)


def page() -> None:
    """The page."""
    own, home = mine(), runs_folder() / "funding"
    st.title("Fund what does most good")
    states = {path.stem: path for path in sorted(home.glob("*.json"))}
    for job in own.jobs:
        begun = job.title.removeprefix(BEGIN)
        if job.state == "done" and not job.seen and begun in states:
            job.seen, st.session_state["programme"] = True, begun
    chosen = st.selectbox("Programme", [*states, NEW], key="programme", help="Everybody here sees every programme.")
    if chosen == NEW or chosen not in states:
        _begin(own, home)
    else:
        try:
            _programme(own, states[chosen], load(states[chosen]))
        except InputError as error:
            widgets.refused(sentence(error))
    widgets.jobs(own)


def _begin(own: Mine, home: Path) -> None:
    """A new programme from a project table."""
    st.write(
        "A row for each project: its name and `impact_per_1000usd` or `usd_per_impact`; optionally what is spent now,"
        " the room for more, floors, caps, domains, regions and the resources that it uses."
    )
    budget = st.number_input("Budget of a round, USD", 1.0, 1e12, 1_000_000.0, 10_000.0, "%.0f", key="budget")

    def check(path: Path) -> None:
        read_projects(Table(path), budget)

    widgets.uploaded("Projects (CSV)", "projects", own, check)
    widgets.uploaded("Spill-overs between them (CSV, optional)", "edges", own, Table)
    widgets.uploaded("Past rounds (CSV, optional)", "rounds", own, Table)
    tables = own.files.get("projects", {})
    if not tables:
        return
    table = st.selectbox("Table", [*tables], len(tables) - 1)
    chosen = {
        kind: st.selectbox(label, [NONE, *own.files.get(kind, {})], len(own.files.get(kind, {})), key=f"{kind} chosen")
        for kind, label in {"edges": "Spill-overs", "rounds": "Past rounds"}.items()
        if own.files.get(kind)
    }
    risk = st.selectbox("What counts of an uncertain impact", [*RISKS], key="risk")
    name = safe(st.text_input("Name of the programme", Path(table).stem, key="programme name")) or "programme"
    state = home / f"{name}.json"
    if state.exists():
        st.info(f"There is a programme '{name}' already; give this one another name.")
    elif st.button("Begin"):
        home.mkdir(parents=True, exist_ok=True)
        out = own.new_run("start")
        command = ["optimize", "start", str(tables[table]), "--budget", f"{budget:.2f}", "--risk", RISKS[risk]]
        for kind, chosen_name in chosen.items():
            command += [] if chosen_name == NONE else [f"--{kind}", str(own.files[kind][chosen_name])]
        widgets.start(own, f"{BEGIN}{name}", [[*command, "--state", str(state), "--out", str(out)]], out)


def _programme(own: Mine, path: Path, state: State) -> None:
    """One programme: what was proposed, what is believed, and what happened."""
    budget = state.question.budget
    st.markdown(f"{number(budget, 0)} USD a round; rounds of which something is known: {state.rounds}.")
    view = st.segmented_control("Show", VIEWS, default=VIEWS[0], key="funding view", label_visibility="collapsed")
    if view == "What is believed":
        _beliefs(own, path)
        return
    found = results.latest("ask", path)
    if found is None:
        st.info("Nothing was proposed yet.")
    else:
        folder, answer = found
        if answer["asks"][0]["round"] <= state.rounds:
            st.warning("This was proposed before the last report came in; ask again.")
        shows = {"Other rules": _rules, "Other budgets": _budgets}
        shows.get(str(view), _proposal)(answer)
        widgets.run_downloads(folder)
    with st.expander("Ask what to fund next", expanded=found is None):
        _ask(own, path, budget)
    with st.expander("Tell what happened"):
        _tell(own, path, state)


def _proposal(answer: Mapping[str, Any]) -> None:
    """What to fund, what to expect of it, and why."""
    ask, unit, knowing = answer["asks"][0], answer["unit"], answer["value_of_next_round"]
    impact = with_unit(bracket(ask["impact"], "mean"), unit)
    st.markdown(f"- Expected impact of this split: {impact}; brackets hold 89 %.")
    st.markdown(f"- HyperScore: {bracket(ask['hyperscore'], 'mean')}.")
    if knowing is not None:
        st.markdown(f"- What this round would teach is worth {with_unit(number(knowing), unit)} in the next one.")
    projects = answer["projects"]
    widgets.figure(figures.moved(projects), "allocation")
    rows = [
        [
            each["project"],
            number(each["amount"], 0),
            number(each["before"], 0),
            bracket(each["effect"], "mean"),
            number(each["marginal"]),
            number(each["spilled"]),
            str(each["reports"]),
        ]
        for each in projects
    ]
    header = ["project", "USD", "USD now", "impact per 1,000 USD, the first", "the next", "spill-over", "reports"]
    widgets.table(
        Sheet("Why", header, rows),
        f"Impact in {unit or 'the unit of the table'}. Money goes where the next 1,000 USD do most.",
    )
    moves = [
        [each["project"], *(number(each[way], 0) for way in ("lower", "higher"))] for each in answer["sensitivity"]
    ]
    sheet = Sheet("How the split moves", ["project", "USD if its estimate is lower", "USD if higher"], moves)
    widgets.table(sheet, "By one standard deviation of what is believed.")


def _rules(answer: Mapping[str, Any]) -> None:
    """What the usual rules would do on this very table."""
    unit = answer["unit"] or "impact"
    rows = {words(each["name"]): each["impact"] for each in answer["rules"]}
    rows = {"the proposal": answer["asks"][0]["impact"], **rows}
    widgets.figure(figures.intervals(rows, "Expected impact by rule", unit), "rules")
    st.caption(RULES)
    gains = [
        [words(each["name"]), bracket(each["gain_percent"], "mean"), "yes" if each["allowed"] else "no"]
        for each in answer["rules"]
    ]
    widgets.table(Sheet("The proposal over each rule, %", ["rule", "gain", "within the limits"], gains))
    if past := answer["backtest"]:
        names = [name for name in past[0] if name != "round"]
        rows = [[str(each["round"]), *(number(each[name]["mean"]) for name in names)] for each in past]
        note = "Mean impact as the projects are believed to be now."
        widgets.table(Sheet("Past rounds by the usual rules", ["round", *map(words, names)], rows), note)
    listed = [
        {"rule": each["name"], "allowed": each["allowed"]}
        | {f"{field}_{part}": value for field in ("impact", "gain_percent") for part, value in each[field].items()}
        for each in answer["rules"]
    ]
    widgets.downloads([("Rules (CSV)", widgets.rows_as_csv(listed), "rules.csv", "text/csv")])


def _budgets(answer: Mapping[str, Any]) -> None:
    """What other total budgets could do."""
    if not answer.get("sweep"):
        st.info("Ask with a range of budgets to see this.")
        return
    unit = answer["unit"] or "impact"
    widgets.figure(figures.sweep(answer["sweep"], answer["budget"], unit), "sweep")
    rows = [
        [number(each["budget"], 0), number(each["impact"]), number(each["next_thousand"])] for each in answer["sweep"]
    ]
    widgets.table(Sheet("Other budgets", ["USD", f"expected {unit}", "by the next 1,000 USD"], rows))
    widgets.downloads([("Budgets (CSV)", widgets.rows_as_csv(answer["sweep"]), "budgets.csv", "text/csv")])


def _beliefs(own: Mine, path: Path) -> None:
    """What is believed of each project, after all that was told."""
    found = results.latest("show", path)
    if st.button("Show what is believed now"):
        out = own.new_run("show")
        widgets.start(own, "Beliefs", [["optimize", "show", str(path), "--out", str(out)]], out)
    if found is None:
        return
    projects = found[1]["projects"]
    rows = {name: each["effect_per_1000usd"] for name, each in projects.items()}
    unit = f"{found[1]['unit'] or 'impact'} per 1,000 USD, the first"
    estimates = {name: each["estimate"] for name, each in projects.items()}
    widgets.figure(
        figures.intervals(rows, f"What is believed (rounds told: {found[1]['rounds']})", unit, estimates), "beliefs"
    )
    st.caption("Dots are means, lines hold 89 %; crosses are the estimates in the table.")
    listed = [{"project": name, **stats, "estimate": estimates[name]} for name, stats in rows.items()]
    widgets.downloads([("Beliefs (CSV)", widgets.rows_as_csv(listed), "beliefs.csv", "text/csv")])
    widgets.run_downloads(found[0])


def _ask(own: Mine, path: Path, budget: float) -> None:
    goal = st.selectbox("To do", ["most good", "most good, and learn"], key="goal")
    low, high = st.slider(
        "Also show what budgets could do, USD",
        0.1 * budget,
        3.0 * budget,
        (0.5 * budget, 2.0 * budget),
        format="localized",
    )
    if st.button("Ask"):
        out = own.new_run("ask")
        command = ["optimize", "ask", str(path), "--goal", "learn" if "learn" in goal else "impact"]
        widgets.start(own, "Proposal", [[*command, "--sweep", f"{low:.2f}:{high:.2f}", "--out", str(out)]], out)


def _tell(own: Mine, path: Path, state: State) -> None:
    """What was done, and what was reported; several may tell at once, and wait for each other."""
    if not state.asks:
        st.info("Ask first; or tell of another split by a table with project and amount_usd.")
    done = st.selectbox(
        "What was carried out",
        [*(f"proposal {ask.id}" for ask in state.asks[::-1]), OTHER],
        key=f"done {len(state.asks)}",
    )
    impact = st.number_input("Reported in total (leave empty where it is not known yet)", 0.0, None, None, key="impact")
    turn = sum(job.title == TOLD for job in own.jobs)  # a table is told once
    if done == OTHER:
        widgets.uploaded("The split (CSV: project, amount_usd)", "allocation", own, Table, turn)
    widgets.uploaded("Reports by project (CSV, optional)", "reports", own, Table, turn)
    splits, reports = own.files.get("allocation", {}), own.files.get("reports", {})
    if done == OTHER and not splits:
        return
    st.caption("Several may tell one programme at once: each waits until the other's report is written.")
    if st.button("Tell", key=f"tell {turn}"):
        out = own.new_run("tell")
        what = ["--allocation", str([*splits.values()][-1])] if done == OTHER else ["--ask", done.split()[-1]]
        command = ["optimize", "tell", str(path), *what]
        command += ["--impact", repr(float(impact))] if impact is not None else []
        command += ["--by-project", str([*reports.values()][-1])] if reports else []
        widgets.start(own, TOLD, [[*command, "--out", str(out)]], out)
        own.files |= {"allocation": {}, "reports": {}}
        st.rerun()
