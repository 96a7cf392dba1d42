"""`bayesalloc dashboard`: explore in a browser."""

import importlib.util
import socket
from pathlib import Path

from bayesalloc.cli.options import Whole
from bayesalloc.cli.session import refusing
from bayesalloc.errors import InputError

LOCAL = "127.0.0.1"


def dashboard(*, port: Whole = 8501, host: str = LOCAL, runs: Path = Path("runs")) -> None:
    """Open the dashboard: mechanisms moved by hand, compared, and put into words, in a browser on this machine.

    Args:
        port: Where it listens.
        host: By which address; the default lets nobody else in. There is no login: open it to a network you trust only.
        runs: Folder where results and uploads go.
    """
    with refusing():
        if importlib.util.find_spec("streamlit") is None or importlib.util.find_spec("plotly") is None:
            raise InputError("the dashboard needs streamlit and plotly: pip install 'bayesalloc[dashboard]'")
        if not 1 <= port <= 65535:
            raise InputError(f"port is {port}; it must be between 1 and 65,535")
        if runs.exists() and not runs.is_dir():
            raise InputError(f"{runs}: is a file; results go to a folder")
        _free(host, port)
        from bayesalloc.dashboard.serving import serve

        print(f"The dashboard is at http://{host}:{port}; Ctrl-C ends it.", flush=True)
        serve(host, port, runs)


def _free(host: str, port: int) -> None:
    """Refuse an address where nothing can listen."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as error:
        raise InputError(f"cannot listen at {host}, port {port}: {error.strerror}; give another --port") from None
