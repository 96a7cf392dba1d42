"""`bayesalloc reproduce`: published claims beside what is measured."""

import sys
from pathlib import Path

from bayesalloc import limits
from bayesalloc.cli.options import DEFAULT, Common, Flag, Names, Whole
from bayesalloc.cli.session import session


def reproduce(
    name: str,
    *,
    full: Flag = False,
    experiments: Names = None,
    graphs: Whole | None = None,
    worlds: Whole | None = None,
    rounds: Whole | None = None,
    training: Whole = 0,
    keep: Path | None = None,
    common: Common = DEFAULT,
) -> None:
    """Published claims beside what is measured.

    Args:
        name: watershed, srap, altruism, or budget.
        full: Measure more: watershed over 20 seeds instead of one, srap on twice as many graphs, altruism over 500
            rounds instead of 60, in 40 worlds and in all settings instead of one, budget with 20 seeds instead of one.
        experiments: Which experiments of srap, by their numbers in the thesis, which settings of
            altruism or experiments of budget, by name; default: all, of altruism the first one.
        graphs: Graphs of each kind of network in srap; default: 30, and 60 with --full.
        training: Episodes for which srap's published learned methods are trained on each graph, 20,000 in the thesis;
            by default they are left out.
        worlds: Worlds of each setting of altruism; default: 20.
        rounds: Rounds of funding in altruism.
        keep: Folder for srap's trained networks, or for the finished cells of altruism and budget (default:
            runs/altruism-cells, runs/budget-cells); what is there already is not computed again.
        common: What every command takes.
    """
    with session(common, "reproduce", "report.html", "results.nc") as (say, folder):
        limits.counted(graphs=graphs, training=training, worlds=worlds, rounds=rounds)

        from bayesalloc import claims
        from bayesalloc.inference.files import save_tree
        from bayesalloc.report import claims as documents

        given = {
            "experiments": experiments,
            "graphs": graphs,
            "training": training or None,
            "worlds": worlds,
            "rounds": rounds,
            "keep": keep,
        }
        options = {option: value for option, value in given.items() if value is not None}
        progress = not common.quiet and sys.stderr.isatty()
        found = claims.measure(name, claims.Asked(common.seed, full=full, progress=progress, options=options))
        documents.write(found, folder.path / "report.html", common.seed)
        save_tree(found.data, folder.path / "results.nc")
        files = folder.files("report.html", "results.nc")
        say(documents.text(found), {"seed": common.seed, **found.record, "files": files})
