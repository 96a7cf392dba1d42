"""What Streamlit runs: the dashboard's pages."""

import streamlit as st

from bayesalloc.dashboard import mechanisms, networks

st.set_page_config("bayesalloc", layout="wide")
st.navigation(
    [
        st.Page(mechanisms.page, title="Mechanisms", url_path="mechanisms", default=True),
        st.Page(networks.page, title="Networks", url_path="networks"),
    ]
).run()
