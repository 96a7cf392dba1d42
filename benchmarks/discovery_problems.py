"""Known networks as the examples read them, for scripts that have NumPy only."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "examples"))

from network_files import Network, draw, read

__all__ = ["Network", "draw", "read"]
