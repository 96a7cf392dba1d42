"""What Streamlit runs: the dashboard's pages."""

import streamlit as st

from bayesalloc.dashboard import mechanisms

st.set_page_config("bayesalloc", layout="wide")
st.navigation([st.Page(mechanisms.page, title="Mechanisms", url_path="mechanisms", default=True)]).run()
