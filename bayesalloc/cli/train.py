"""`bayesalloc train`: a learned policy, from checkpoint to checkpoint."""

import dataclasses
import importlib
import math
import shlex
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bayesalloc import limits
from bayesalloc.cli.options import DEFAULT, Common, Whole
from bayesalloc.cli.session import refusing, session
from bayesalloc.errors import InputError, listed, quoted, visible

LEARNABLE = {  # problem -> the module with its registry
    "srap": "bayesalloc.allocators.learned.registry",
    "altruism": "bayesalloc.models.funding.registry",
    "budget": "bayesalloc.models.budgets.registry",
}


def train(
    problem: str,
    *,
    method: str | None = None,
    preset: str | None = None,
    setting: Path | None = None,
    episodes: Whole | None = None,
    books: Path | None = None,
    knowledge: Path | None = None,
    price: Annotated[float | None, Parameter(name="--lambda")] = None,
    resume: Path | None = None,
    common: Common = DEFAULT,
) -> None:
    """Train a policy of a learned method; a run that was interrupted can go on.

    Args:
        problem: What is decided about: srap, altruism, or budget.
        method: One of the problem's learned methods, which the answer to an unknown one lists; default: the first.
        preset: ours (the default), or another that the answer to an unknown one lists, as thesis: as published.
        setting: A TOML file: what arrives in an episode, or what the world is like, where it differs from the preset's.
        episodes: How many to play; default: the preset's number of steps or episodes.
        books: A CSV file as `bayesalloc budget` takes it: the causal risk that it tells lowers every objective.
        knowledge: A TOML file beside them, likewise.
        price: What a unit of causal risk costs each objective; default: 1.
        resume: The folder of a run that goes on; it remembers what was asked for.
        common: What every command takes.
    """
    checkpoint = None
    with refusing():
        if problem not in LEARNABLE:
            raise InputError(f"there is nothing to train for '{quoted(problem)}'; there is for {listed(LEARNABLE)}")
        if price is not None and not 0 <= price < math.inf:
            raise InputError(f"lambda is {price:g}; it must be at least 0")
        if (books is None) != (knowledge is None) or (books is None and price is not None):
            missing = "--books" if books is None else "--knowledge"
            raise InputError(f"{missing} is missing; a causal risk is told by --books and --knowledge together")

        from bayesalloc.agents.policies import file_name
        from bayesalloc.agents.training import CHECKPOINT, Interrupted

        registry = importlib.import_module(LEARNABLE[problem]).REGISTRY
        if resume is not None:
            checkpoint = resume / CHECKPOINT if resume.is_dir() else resume
            if not checkpoint.is_file():
                raise InputError(f"{resume}: holds no checkpoint of a training run")
            common = dataclasses.replace(common, out=common.out or checkpoint.parent)
    files = ("report.html", "results.nc", "curve.svg", *map(file_name, registry.methods), CHECKPOINT)
    with session(common, "train", *files) as (say, folder):
        limits.counted(episodes=episodes)

        import jax

        from bayesalloc.agents import curves, orders, policies, training
        from bayesalloc.inference.files import save_tree
        from bayesalloc.report import training as documents

        mine = folder.target / CHECKPOINT
        same = checkpoint is not None and mine.exists() and mine.samefile(checkpoint)
        if not same and training.unfinished(mine):
            raise InputError(
                f"{folder.target}: holds a run that is not over; go on with {_resume(problem, folder.target)}, or give"
                " another folder"
            )
        order = orders.order(
            registry,
            method,
            preset=preset,
            setting=setting,
            episodes=episodes,
            books=orders.Books(books, knowledge, price) if books and knowledge else None,
            seed=common.seed,
            checkpoint=checkpoint,
        )
        try:
            done = training.train(
                order.course,
                jax.random.key(order.seed),
                checkpoint=mine,
                asked=order.asked,
                resume=checkpoint,
                progress=not common.quiet and sys.stderr.isatty(),
            )
        except Interrupted as stop:
            steps = stop.rows[-1].steps
            go_on = _resume(problem, folder.target)
            print(f"bayesalloc: interrupted after {steps} steps; go on with: {visible(go_on)}", file=sys.stderr)
            raise SystemExit(130) from None
        except KeyboardInterrupt:
            print("bayesalloc: interrupted; what was done since the last checkpoint is lost", file=sys.stderr)
            raise SystemExit(130) from None
        name = file_name(order.method)
        files = folder.files("report.html", "results.nc", policy=name, curve="curve.svg", checkpoint=CHECKPOINT)
        curve = curves.curve(done.rows, order.course.trainer.series, order.course.goal)
        policy = order.policy(done)
        policies.save(folder.path / name, policy)
        save_tree(curve, folder.path / "results.nc")
        judged = order.judged(policy)
        result = documents.as_json(order.asked, curve, done.seconds, files, judged)
        documents.write(result, order.asked, curve, folder.path, judged)
        say(documents.text(result, judged), result)


def _resume(problem: str, run: Path) -> str:
    """The command that goes on with a run, as a shell takes it."""
    folder = f"./{run}" if str(run).startswith("-") else str(run)
    return shlex.join(["bayesalloc", "train", problem, "--resume", folder])
