"""The Budgets page: what to change next and why, other ways, causes, effects, what stakeholders say, what happened."""

from collections.abc import Sequence

import streamlit as st

from bayesalloc.dashboard import causes, comments, forest, office, outturns, proposals, widgets
from bayesalloc.dashboard.office import EXAMPLE, NOTHING, Desk, Made
from bayesalloc.dashboard.state import Mine, mine
from bayesalloc.discovery.books import Books, read_books
from bayesalloc.discovery.knowledge import Office, read_office
from bayesalloc.errors import InputError, sentence
from bayesalloc.records import Table
from bayesalloc.report.words import words

VIEWS = ("Proposal", "Other ways", "Causes", "Effects", "Comments", "What happened")


def page() -> None:
    """The page."""
    own = mine()
    st.title("Share a budget by what its books tell")
    desk = _desk(own)
    try:
        table, known = desk.read()
        _show(desk, table, known)
    except InputError as error:
        widgets.refused(sentence(error))
    with st.expander("Upload your books, and what you know beside them"):
        widgets.uploaded("Books (CSV)", "books", own, read_books)
        widgets.uploaded("Knowledge (TOML)", "knowledge", own, read_office)
        st.caption("Begin from the example office's files:")
        texts = office.example()
        widgets.downloads(
            [
                ("books.csv", texts["books"], "books.csv", "text/csv"),
                ("knowledge.toml", texts["knowledge"], "knowledge.toml", "application/toml"),
            ]
        )
    widgets.jobs(own)


def _desk(own: Mine) -> Desk:
    """Which files are worked with: the last ones, unless others are chosen."""
    with st.sidebar:
        books = [EXAMPLE, *own.files.get("books", {})]
        known = [NOTHING, EXAMPLE, *own.files.get("knowledge", {})]
        chosen = st.selectbox("Books", books, len(books) - 1)
        usual = known.index(EXAMPLE) if chosen == EXAMPLE and len(known) == 2 else len(known) - 1
        usual = usual if chosen == EXAMPLE or len(known) > 2 else known.index(NOTHING)
        knowledge = st.selectbox("What is known beside them", known, usual)
        levels = st.toggle("Columns are levels that last", help="Money, stocks or shares; not surprises or changes.")
    return Desk(own, chosen, knowledge, levels)


def _show(desk: Desk, table: Books, known: Office) -> None:
    """The view that is chosen."""
    views = {
        "Other ways": _other_ways,
        "Causes": _causes,
        "Effects": _effects,
        "Comments": _comments,
        "What happened": _happened,
    }
    view = st.segmented_control("Show", VIEWS, default=VIEWS[0], key="budgets view", label_visibility="collapsed")
    views.get(str(view), _proposal)(desk, table, known)


def _chosen(desk: Desk, command: str, called: str) -> Made | None:
    """One of the results that there are for these books, the last one unless another is chosen."""
    return _of([*desk.made(command)], called)


def _of(every: Sequence[Made], called: str) -> Made | None:
    there = {made.label: made for made in every}
    if not there:
        st.info(f"There is no {called} from these books yet; ask for one.")
        return None
    made = there[next(iter(there)) if len(there) == 1 else st.selectbox(f"Which {called}", [*there], len(there) - 1)]
    if not made.current:
        st.info(f"This {called} comes from other knowledge than is chosen now; ask for a new one.")
    return made


def _start(desk: Desk, command: str, title: str, *more: str) -> None:
    """Run a command on these files as a job."""
    out = desk.own.new_run(command)
    widgets.start(desk.own, title, [desk.command(command, out, *more)], out)


def _proposal(desk: Desk, table: Books, known: Office) -> None:
    """What to change next, or how to ask for it."""
    if made := _chosen(desk, "budget", "proposal"):
        proposals.proposed(made.answer)
    office.check(table, known, desk.knowledge)
    price = st.select_slider(proposals.PRICE, proposals.PRICES, 1.0)
    with st.expander("Other intervals, or the changes of a learned policy"):
        more = proposals.asked(desk.own)
    if st.button("Propose what to change next"):
        _start(desk, "budget", "Proposal", "--lambda", f"{price:g}", *more)


def _other_ways(desk: Desk, table: Books, known: Office) -> None:
    """The front of a proposal."""
    del table, known
    if made := _chosen(desk, "budget", "proposal"):
        proposals.other_ways(made.answer)


def _causes(desk: Desk, table: Books, known: Office) -> None:
    """The graph, or how to ask for it."""
    if made := _chosen(desk, "discover", "graph"):
        causes.causes(made.answer, known.ordered)
    office.check(table, known, desk.knowledge, proposing=False)
    if st.button("Find what causes what"):
        _start(desk, "discover", "Causes")


def _effects(desk: Desk, table: Books, known: Office) -> None:
    """The effect of one column, or how to ask for it."""
    if made := _chosen(desk, "effect", "effect"):
        forest.effects(made.answer)
    office.check(table, known, desk.knowledge, proposing=False)
    first = [name for name in known.decisions if name in table.names] or table.names
    goal = [name for name in known.weights if name in table.names] or table.names[::-1]
    left, right = st.columns(2)
    treatment = left.selectbox("What is set", table.names, table.names.index(first[0]), words)
    outcome = right.selectbox("What it is to move", table.names, table.names.index(goal[0]), words)
    if st.button("Ask for this effect", disabled=treatment == outcome):
        _start(desk, "effect", "Effect", "--treatment", treatment, "--outcome", outcome)


def _happened(desk: Desk, table: Books, known: Office) -> None:
    """What was forecast of a later period, and what happened in it; or how to ask for it."""
    if made := _of([made for made in desk.made("budget") if made.answer["actuals"]], "forecast beside what happened"):
        outturns.outturns(made.answer)
    office.check(table, known, desk.knowledge)
    st.write("A table of a period after the books, with their columns: what was decided, and what happened.")
    widgets.uploaded("What happened (CSV)", "actuals", desk.own, Table)
    there = desk.own.files.get("actuals", {})
    if desk.books == EXAMPLE:
        example = office.example()["next_quarter"]
        widgets.downloads([("Try with the example office's next_quarter.csv", example, "next_quarter.csv", "text/csv")])
    if not there:
        return
    chosen = st.selectbox("Table", [*there], len(there) - 1)
    if st.button("Set it beside the forecast"):
        _start(desk, "budget", "What happened", "--actuals", str(there[chosen]))


def _comments(desk: Desk, table: Books, known: Office) -> None:
    """What stakeholders say, beside the last proposal."""
    made = desk.made("budget")
    comments.comments(desk, table, known, made[-1] if made else None)
