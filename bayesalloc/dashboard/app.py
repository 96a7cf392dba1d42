"""What Streamlit runs: the dashboard's pages."""

import streamlit as st

from bayesalloc.dashboard import funding, mechanisms, runs

st.set_page_config("bayesalloc", layout="wide")
st.navigation(
    [
        st.Page(mechanisms.page, title="Mechanisms", url_path="mechanisms", default=True),
        st.Page(funding.page, title="Funding", url_path="funding"),
        st.Page(runs.page, title="Runs", url_path="runs"),
    ],
    position="top",
).run()
