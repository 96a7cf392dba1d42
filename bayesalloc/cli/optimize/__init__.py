"""`bayesalloc optimize`: what to fund next, round after round, and the design of mechanisms; one file a command."""

from cyclopts import App

from bayesalloc.cli.optimize.ask import ask
from bayesalloc.cli.optimize.importing import importing
from bayesalloc.cli.optimize.show import show
from bayesalloc.cli.optimize.start import start
from bayesalloc.cli.optimize.tell import tell

optimize = App(
    name="optimize", help="What to fund next, why, how sure, and what it would teach; and the design of mechanisms."
)
for command in (start, ask, tell, show):
    optimize.command(command)
optimize.command(importing, name="import")
