"""The program: its commands, and how it ends. Imports wait until a command needs them, so that --help is instant."""

import os
import sys

from cyclopts import App, CycloptsError

from bayesalloc import __version__
from bayesalloc.cli.allocate import allocate
from bayesalloc.cli.budget import budget
from bayesalloc.cli.certify import certify
from bayesalloc.cli.compare import compare
from bayesalloc.cli.counterfactual import counterfactual
from bayesalloc.cli.dashboard import dashboard
from bayesalloc.cli.discover import discover
from bayesalloc.cli.effect import effect
from bayesalloc.cli.fit import fit
from bayesalloc.cli.init import init
from bayesalloc.cli.mechanisms import mechanisms
from bayesalloc.cli.models import models
from bayesalloc.cli.optimize import optimize
from bayesalloc.cli.reproduce import reproduce
from bayesalloc.cli.rerun import rerun
from bayesalloc.cli.runs import runs
from bayesalloc.cli.train import train
from bayesalloc.cli.verify import verify
from bayesalloc.errors import sentence

app = App(
    suppress_keyboard_interrupt=False,  # `main` says what an interrupt left
    name="bayesalloc",
    version=__version__,
    help="What would happen to the common good if resources were shared out by another rule, and how sure are we?",
)
for command in (compare, fit, counterfactual, allocate, train, discover, effect, budget, reproduce, models, mechanisms):
    app.command(command)
for command in (runs, rerun, certify, verify, dashboard, init, optimize):
    app.command(command)


def main() -> None:
    """Run the command line, with one host device per core."""
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(os.cpu_count() or 1))
    try:
        app(sys.argv[1:], exit_on_error=False, print_error=False)
    except CycloptsError as error:
        print(f"bayesalloc: {sentence(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("bayesalloc: interrupted; no results were written", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`: the results are written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
