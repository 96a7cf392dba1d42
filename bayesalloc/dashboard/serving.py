"""The server: Streamlit in this process, with the pages imported and what is usual compiled before anybody asks."""

import importlib
import os
import tempfile
import threading
from pathlib import Path

from streamlit.web import cli as streamlit

from bayesalloc.dashboard import comparing, negotiating, readying
from bayesalloc.dashboard.first import MODEL, first_question
from bayesalloc.dashboard.state import RUNS
from bayesalloc.dashboard.uploads import KINDS

APP = Path(__file__).with_name("app.py")
WAITS = 600.0  # seconds
PAGES = ("mechanisms", "networks", "funding", "budgets", "runs")
SETTINGS = {
    "server.headless": "true",
    "server.maxUploadSize": max(kind.most for kind in KINDS.values()) // 1_000_000,
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "theme.primaryColor": "#0072B2",
}


def serve(host: str, port: int, runs: Path) -> None:
    """Serve the pages until it is interrupted.

    Args:
        host: by which address.
        port: where.
        runs: the folder of results and uploads.
    """
    os.environ[RUNS] = str(runs)
    readying.keep_programs()
    for page in PAGES:  # now, so that whoever comes first has not to wait for it
        importlib.import_module(f"bayesalloc.dashboard.{page}")
    threading.Thread(target=_warm_up, daemon=True).start()
    settings = {"server.address": host, "server.port": port, **SETTINGS}
    streamlit.main(["run", str(APP), *(f"--{name}={value}" for name, value in settings.items())])


def _warm_up() -> None:
    """Compile what a first moved slider needs: the usual mechanisms and one more; then what a first network needs."""
    usual = first_question()
    comparing.answered(usual._replace(arms=(*usual.arms, ("more", comparing.shipped(MODEL)[usual.arms[0][0]]))))
    first = negotiating.generated(negotiating.FIRST, 0)
    with tempfile.TemporaryDirectory(prefix="bayesalloc-first-") as folder:
        readying.job(first, Path(folder)).wait(WAITS)
    for method in negotiating.AT_ONCE:
        negotiating.made(first, method)
