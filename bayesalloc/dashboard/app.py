"""What Streamlit runs: the dashboard's pages."""

import streamlit as st

from bayesalloc.dashboard import budgets, funding, mechanisms, runs

st.set_page_config("bayesalloc", layout="wide")
PAGES = [
    st.Page(mechanisms.page, title="Mechanisms", url_path="mechanisms", default=True),
    st.Page(funding.page, title="Funding", url_path="funding"),
    st.Page(budgets.page, title="Budgets", url_path="budgets"),
    st.Page(runs.page, title="Runs", url_path="runs"),
]
st.navigation(PAGES, position="top").run()
