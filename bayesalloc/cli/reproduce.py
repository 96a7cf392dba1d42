"""`bayesalloc reproduce`: published claims beside what is measured."""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Literal

from bayesalloc import limits
from bayesalloc.cli.options import DEFAULT, Common, Flag, Names, Whole
from bayesalloc.cli.session import session
from bayesalloc.errors import InputError


def reproduce(
    name: Literal["watershed", "srap"],
    *,
    full: Flag = False,
    experiments: Names = None,
    graphs: Whole | None = None,
    training: Whole = 0,
    keep: Path | None = None,
    common: Common = DEFAULT,
) -> None:
    """Published claims beside what is measured.

    Args:
        name: Which published result.
        full: Measure more: watershed over 20 seeds instead of one, srap on twice as many graphs.
        experiments: Which experiments of srap, by their numbers in the thesis; default: all.
        graphs: Graphs of each kind of network in srap; default: 30, and 60 with --full.
        training: Episodes for which srap's published learned methods are trained on each graph, 20,000 in the thesis;
            by default they are left out.
        keep: Folder for the trained networks; what is there already is not trained again.
        common: What every command takes.
    """
    with session(common, "reproduce", "report.html", "results.nc") as (say, folder):
        limits.counted(graphs=graphs, training=training)
        if name == "srap":
            from bayesalloc.allocators import experiments as measured
            from bayesalloc.inference.files import save_tree
            from bayesalloc.report import experiments as documents

            published = measured.load_experiments().only(experiments)
            effort = measured.FULL if full else measured.Effort()
            graphs = effort.graphs if graphs is None else graphs
            if keep is not None:
                if not training:
                    raise InputError("--keep is for trained networks, and --training asks for none")
                try:
                    keep.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise InputError(f"{keep}: cannot be written to: {error.strerror}") from None
            effort = dataclasses.replace(
                effort, graphs=graphs, workers=os.cpu_count() or 1, training=training, keep=keep
            )  # fmt: skip
            found = measured.run(
                published.experiments, effort, common.seed, progress=not common.quiet and sys.stderr.isatty()
            )
            result = measured.reproduce(published, found)
            documents.write_experiments(published, found, result, folder.path / "report.html", common.seed)
            save_tree(documents.tree(found), folder.path / "results.nc")
            files = folder.files("report.html", "results.nc")
            say(documents.experiments_text(result), {"seed": common.seed, **result, "files": files})
            return
        if experiments is not None or graphs is not None or training or keep:
            raise InputError(f"--experiments, --graphs, --training and --keep belong to srap; {name} has none of them")
        from bayesalloc import reproduce as reproduction

        seeds = range(common.seed, common.seed + (20 if full else 1))
        result = reproduction.reproduce(name, seeds)
        say(reproduction.text(result), {**result, "files": folder.files()})
