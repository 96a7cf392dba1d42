"""What Streamlit runs: the dashboard's pages."""

import streamlit as st

from bayesalloc.dashboard import budgets, mechanisms, networks

st.set_page_config("bayesalloc", layout="wide")
PAGES = [
    st.Page(mechanisms.page, title="Mechanisms", url_path="mechanisms", default=True),
    st.Page(networks.page, title="Networks", url_path="networks"),
    st.Page(budgets.page, title="Budgets", url_path="budgets"),
]
st.navigation(PAGES).run()
