"""The server: Streamlit in this process, with the pages imported and the usual program compiled before anybody asks."""

import threading
from collections.abc import Mapping
from pathlib import Path

from streamlit.web import cli as streamlit

from bayesalloc.dashboard import budgets, comparing, funding, mechanisms, runs  # noqa: F401 - the first page would wait
from bayesalloc.dashboard.first import MODEL, first_question

APP = Path(__file__).with_name("app.py")


def serve(settings: Mapping[str, str]) -> None:
    """Serve the pages until it is interrupted.

    Args:
        settings: Streamlit's options.
    """
    threading.Thread(target=_warm_up, daemon=True).start()
    streamlit.main(["run", str(APP), *(f"--{name}={value}" for name, value in settings.items())])


def _warm_up() -> None:
    """Compile what a first moved slider needs: the usual mechanisms and one more."""
    usual = first_question()
    comparing.answered(usual._replace(arms=(*usual.arms, ("more", comparing.shipped(MODEL)[usual.arms[0][0]]))))
